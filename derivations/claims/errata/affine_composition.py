"""The composition of two affine maps with its translation on the wrong side."""

from __future__ import annotations

from typing import Any

import numpy as np

from derivations.engines.algebra import Algebra
from derivations.models.affine_maps import Segments, composition, composition_residual, then
from derivations.models.errata import Erratum, against, erratum, fits
from derivations.scope import EverySize

ENTRY = Erratum(
    title="Two affine maps are composed as [M_i M_j, M_j X_i + X_j], where X_i M_j + X_j is meant.",
    printed=r"(M_i, X_i) \cdot (M_j, X_j) = (M_i M_j,\; M_j X_i + X_j)",
    seen=(),
    numbers={},
    gives="0",
    should_give="3",
    compared="the first entry of the memory, with M_j = (1 0; 3 1), X_i = (0 1; 0 0) and the rest zero",
    proved_by=("affine_maps_compose_associatively", "two_segments_merge_exactly"),
    note="With dk unlike dv the printed product does not even fit; for scalar decays alone both agree. A like "
    "slip, of maps that act from the left, is issue 5 of github.com/srush/annotated-mamba.",
)


def translations() -> tuple[Any, Any]:
    """Compute the first entry of the translation of two composed maps in both orders."""
    M, X = (np.array(entries, dtype=object) for entries in ([[1, 0], [3, 1]], [[0, 1], [0, 0]]))
    return (M @ X)[0, 0], (X @ M)[0, 0]


@erratum(ENTRY, translations, composition)
def affine_maps_carry_the_translation_through_the_second_map() -> Any:
    """The translation of two composed maps is X_i M_j + X_j: the second map acts on the first one's from the right."""
    return against(ENTRY, translations)


@affine_maps_carry_the_translation_through_the_second_map.step(engine="words", scope=EverySize("dk", "dv"))
def right_composition() -> Any:
    """X_i M_j + X_j composes and associates for every size; M_j X_i does not fit unless dk = dv."""
    return [composition_residual(then), "M_j X_i fits" if fits(_printed_composition) else ""]


def _printed_composition() -> Any:
    words = Algebra()
    return words.matrix("M_j", "K", "K") @ words.matrix("X_i", "V", "K")


@affine_maps_carry_the_translation_through_the_second_map.refute
def printed_composition_of_square_memories() -> Any:
    """The printed composition on the code's segments, where dk = dv lets it fit."""
    return Segments(T=4, V=2, K=2).residual(lambda a, b: (a[0] @ b[0], b[0] @ a[1] + b[1]))


@affine_maps_carry_the_translation_through_the_second_map.refute
def translation_not_carried() -> Any:
    """The translations are added, without the second map."""
    return composition_residual(lambda first, second: (first[0] @ second[0], first[1] + second[1]))
