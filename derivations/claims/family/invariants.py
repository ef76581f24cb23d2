"""Relations that hold for a narrower rule at all its gates, and not for the next wider rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from derivations.engines.cases import symbols
from derivations.engines.written import Written
from derivations.models.containment import transition
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import Sizes
from gdn_core import reference
from gdn_core.rules import (
    DELTANET,
    GATED_DELTANET,
    GATED_DELTANET_2,
    GLA,
    KIMI_DELTA_ATTENTION,
    LINEAR_ATTENTION,
    MAMBA2,
    RETNET,
    WriteRule,
)

Invariant = Callable[[Any, Any, Any, Any], Any]  # of a transition M, what is written W, the key and the value


def _unchanged_across_the_key(M: Any, W: Any, k: Any, v: Any) -> Any:
    return [M[0, 1] * k[0] - M[0, 0] * k[1] + k[1], M[1, 1] * k[0] - M[1, 0] * k[1] - k[0]]


def _scaled_across_the_key(M: Any, W: Any, k: Any, v: Any) -> Any:
    return (M[0, 1] * k[0] - M[0, 0] * k[1]) * k[0] + (M[1, 1] * k[0] - M[1, 0] * k[1]) * k[1]


def _erased_as_much_as_written(M: Any, W: Any, k: Any, v: Any) -> Any:
    return M[0, 1] * (v[0] - k[0] * W[0, 0]) + k[1] * W[0, 0] * M[0, 0]


def _nothing_off_the_diagonal(M: Any, W: Any, k: Any, v: Any) -> Any:
    return [M[0, 1], M[1, 0]]


def _alike_on_the_diagonal(M: Any, W: Any, k: Any, v: Any) -> Any:
    return M[0, 0] - M[1, 1]


def _one_on_the_diagonal(M: Any, W: Any, k: Any, v: Any) -> Any:
    return M[0, 0] - 1


NON_EDGES: tuple[tuple[WriteRule, WriteRule, Invariant], ...] = (
    (DELTANET, GATED_DELTANET, _unchanged_across_the_key),
    (GATED_DELTANET, KIMI_DELTA_ATTENTION, _scaled_across_the_key),
    (KIMI_DELTA_ATTENTION, GATED_DELTANET_2, _erased_as_much_as_written),
    (GLA, GATED_DELTANET_2, _nothing_off_the_diagonal),
    (MAMBA2, GLA, _alike_on_the_diagonal),
    (LINEAR_ATTENTION, MAMBA2, _one_on_the_diagonal),
    (LINEAR_ATTENTION, RETNET, _one_on_the_diagonal),
    (LINEAR_ATTENTION, DELTANET, _nothing_off_the_diagonal),
)


def alike_at_every_token(M: Any, N: Any) -> Any:
    """Return the difference of the decays of two tokens."""
    return M[0, 0] - N[0, 0]


def kept(rule: WriteRule, keeps: Invariant) -> Any:
    """Return the value of an invariant for a token of a rule, by the code."""
    case, M, W = transition(rule)
    return keeps(M, W, case.x.k[0], case.x.v[0])


def _kept() -> str:
    M, W = (np.array([[Written(f"{name}_{{{i}{j}}}") for j in (1, 2)] for i in (1, 2)], dtype=object) for name in "MW")
    k, v = ([Written(f"{name}_{i}") for i in (1, 2)] for name in "kv")
    lines = []
    for narrow, wide, keeps in NON_EDGES:
        zeros = ", \\; ".join(f"{x} = 0" for x in np.ravel(keeps(M, W, k, v)))
        lines.append(rf"\text{{{narrow.title},}} \quad \text{{unlike {wide.title}}} &: \quad {zeros}")
    N = np.array([[Written("N_{11}")]], dtype=object)
    lines.append(rf"\text{{RetNet,}} \quad \text{{unlike Mamba-2}} &: \quad {alike_at_every_token(M, N)} = 0")
    return r"\begin{aligned} " + r" \\ ".join(lines) + r" \end{aligned}"


@claim(
    statement=_kept,
    assumptions=(
        r"$S_t = S_{t-1} M + W$ with one token of two key channels, and $N$ for the next token. On the same keys and "
        "values a wider rule breaks "
        "what the narrower one keeps: the mutants show by how much.",
    ),
    scope=Sizes(dk=2, dv=2),
    engine="ring",
    source=cite("2605.22791", "abstract; the equation as in flash-linear-attention"),
    code=(reference.step,),
)
def narrower_rules_keep_what_wider_ones_break() -> Any:
    """On two key channels a narrower rule keeps at all its gates what the next wider one breaks: so it is narrower.

    A relation between the entries of a token's transition, and of what it writes, holds for the one and not the other.
    """
    return {f"{narrow.slug}: {keeps.__name__}": kept(narrow, keeps) for narrow, _, keeps in NON_EDGES}


@narrower_rules_keep_what_wider_ones_break.step(engine="ring", scope=Sizes(T=2, dk=2, dv=2))
def retnet_decays_alike_at_every_token() -> Any:
    """RetNet, whose decay is constant, has the same decay at two tokens."""
    return alike_at_every_token(*two_transitions(RETNET))


def two_transitions(rule: WriteRule) -> list[Any]:
    """Return the transitions of two tokens over two channels, by the code."""
    case = symbols(rule, 2, 2, 2)
    zero = 0 * case.S
    return [
        reference.step(zero + np.eye(2, dtype=int), case.x[t], exp=case.exp)[0]
        - reference.step(zero, case.x[t], exp=case.exp)[0]
        for t in (0, 1)
    ]


@narrower_rules_keep_what_wider_ones_break.refute
def retnet_decays_by_token_too() -> Any:
    """RetNet contains Mamba-2."""
    return alike_at_every_token(*two_transitions(MAMBA2))


@narrower_rules_keep_what_wider_ones_break.refute
def linear_attention_decays_at_a_constant_rate_too() -> Any:
    """Linear attention contains RetNet."""
    return _broken_by(LINEAR_ATTENTION, RETNET)


def _broken_by(narrow: WriteRule, wide: WriteRule) -> Any:
    return next(kept(wide, keeps) for one, other, keeps in NON_EDGES if (one, other) == (narrow, wide))


@narrower_rules_keep_what_wider_ones_break.refute
def deltanet_decays_too() -> Any:
    """DeltaNet contains Gated DeltaNet."""
    return _broken_by(DELTANET, GATED_DELTANET)


@narrower_rules_keep_what_wider_ones_break.refute
def gated_deltanet_decays_by_channel_too() -> Any:
    """Gated DeltaNet contains KDA."""
    return _broken_by(GATED_DELTANET, KIMI_DELTA_ATTENTION)


@narrower_rules_keep_what_wider_ones_break.refute
def kda_erases_apart_from_writing_too() -> Any:
    """KDA contains Gated DeltaNet-2."""
    return _broken_by(KIMI_DELTA_ATTENTION, GATED_DELTANET_2)


@narrower_rules_keep_what_wider_ones_break.refute
def gla_erases_too() -> Any:
    """GLA contains Gated DeltaNet-2."""
    return _broken_by(GLA, GATED_DELTANET_2)


@narrower_rules_keep_what_wider_ones_break.refute
def mamba_2_decays_by_channel_too() -> Any:
    """Mamba-2 contains GLA."""
    return _broken_by(MAMBA2, GLA)


@narrower_rules_keep_what_wider_ones_break.refute
def linear_attention_decays_too() -> Any:
    """Linear attention contains Mamba-2."""
    return _broken_by(LINEAR_ATTENTION, MAMBA2)


@narrower_rules_keep_what_wider_ones_break.refute
def linear_attention_erases_too() -> Any:
    """Linear attention contains DeltaNet."""
    return _broken_by(LINEAR_ATTENTION, DELTANET)
