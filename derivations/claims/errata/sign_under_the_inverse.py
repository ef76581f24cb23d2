"""The sign under the inverse of the UT transform."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from derivations.models.chunk_matrices import inverse_of_unit_lower, ut_transform, written_transform
from derivations.models.errata import Erratum, against, entries, erratum, in_letters, in_numbers, scalars
from derivations.papers import cite
from derivations.scope import Sizes
from gdn_core import reference
from gdn_core.reference import Token
from gdn_core.rules import Source

ENTRY = Erratum(
    title="The UT transform inverts I minus the triangle, where I plus it is meant.",
    printed=r"T = \bigl(I - \operatorname{tril}(\operatorname{diag}(\beta) K K^\top, -1)\bigr)^{-1} "
    r"\operatorname{diag}(\beta)",
    seen=(
        cite("2412.06464", "v1, sec. 3.2; version 3 has the plus"),
        Source(
            "github.com/fla-org/flash-linear-attention",
            "fla/ops/delta_rule/naive.py, a comment above right code",
        ),
    ),
    numbers=scalars(s=(0,), a=(1, 1), b=(1, Fraction(1, 2)), k=(1, 2), v=(3, 5), q=(1, 1)),
    gives="11/2",
    should_give="-1/2",
    compared="the error of token 2",
    proved_by=("ut_transform_makes_the_wy_form", "ut_transform_is_the_gated_triangular_system"),
)


def error_of_token_two(x: Token, sign: int) -> Any:
    """Return the error of token 2 by the UT transform from an empty memory, with a sign before the triangle."""
    below = np.tri(2, 2, -1, dtype=int)
    return ut_transform(x, below, lambda A: inverse_of_unit_lower(sign * A, np.stack))[1][1, 0]


def signs() -> tuple[Any, Any]:
    """Compute the error of token 2 by the printed form, and by the code."""
    case = in_numbers(ENTRY)
    after, _ = case.run(reference.recurrent)
    first, _ = reference.step(case.S, case.x[0], exp=case.exp)
    by_the_code = (after[0, 0] - first[0, 0]) / case.x.k[1, 0]  # token 2 adds u k to the memory of one entry
    return error_of_token_two(case.x, -1), by_the_code


def sign_difference() -> Any:
    """Return the difference of the errors of token 2, in letters."""
    x = in_letters(2).x
    return error_of_token_two(x, 1) - error_of_token_two(x, -1)


def sign_residual(*, factor: int = 2) -> Any:
    """Compare the difference of the two errors with its value in letters, -2 b1 b2 k1 k2 v1."""
    y = entries(in_letters(2))
    return sign_difference() + factor * y["b"][0] * y["b"][1] * y["k"][0] * y["k"][1] * y["v"][0]


@erratum(ENTRY, signs, written_transform, sign_difference, code=(reference.step, reference.recurrent))
def ut_transform_inverts_i_plus_the_triangle() -> Any:
    """The UT transform inverts I plus the triangle, since a write subtracts what its key already answers."""
    right = error_of_token_two(in_numbers(ENTRY).x, 1)
    return [*against(ENTRY, signs), right - signs()[1]]


@ut_transform_inverts_i_plus_the_triangle.step(engine="ring", scope=Sizes(C=2, dk=1, dv=1))
def residual_of_the_sign() -> Any:
    """In letters the right error of token 2 less the printed one is -2 b1 b2 k1 k2 v1."""
    return sign_residual()


@ut_transform_inverts_i_plus_the_triangle.refute
def sign_does_not_matter() -> Any:
    """The sign is said not to matter."""
    return sign_residual(factor=0)


@ut_transform_inverts_i_plus_the_triangle.refute
def printed_form_solves_the_system() -> Any:
    """The printed inverse is said to give the errors of the code."""
    case = in_letters(2)
    y = entries(case)
    u1 = y["b"][0] * y["v"][0]
    right = y["b"][1] * (y["v"][1] - y["k"][1] * y["k"][0] * u1)
    return error_of_token_two(case.x, -1) - right
