"""Online learning: after each token the memory minimises an objective of that token."""

from __future__ import annotations

from typing import Any

import numpy as np

from derivations.claim import every_rule
from derivations.engines.cases import shapes, tokens
from derivations.engines.ring import Ring
from derivations.engines.written import entry, exp
from derivations.models.objectives import Objective
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import EverySize, Sizes
from gdn_core import reference
from gdn_core.reference import Array, Exp, Token
from gdn_core.rules import Gate, WriteRule


def _statement() -> str:
    words = Objective()
    decayed, error, made = words.rows()["Gated DeltaNet"]
    return (
        rf"F(S) = \bigl\| S - {decayed.tex()} \bigr\|_F^2 "
        rf"- 2 \bigl\langle S k, {error.tex()} \bigr\rangle, "
        rf"\qquad F(S) = F(S_t) + \| S - S_t \|_F^2, \quad S_t = {made.normal().tex()}"
    )


@claim(
    statement=_statement,
    assumptions=(
        "The rows of the table for linear attention, Mamba-2, DeltaNet and Gated DeltaNet; Longhorn's has a claim of "
        "its own. The statement shows the last of them.",
    ),
    scope=EverySize("dk", "dv"),
    engine="words",
    source=cite("2412.06464", "table 1"),
    code=(reference.step,),
    uses=("longhorn_step_is_the_delta_rule_with_a_smaller_gate",),
)
def rules_minimise_their_published_objectives() -> Any:
    """What a token makes of the memory is the only minimum of the rule's objective, for four rules of the table.

    Any other memory is worse by its squared distance.
    """
    words = Objective()
    return {name: words.above_the_minimum(*row) for name, row in words.rows().items()}


def objective(M: Array, decayed: Array, error: Array, k: Array) -> Any:
    """Return the objective at a memory M; k has a key for each row."""
    return ((M - decayed) ** 2).sum() - 2 * ((M * k).sum(1) * error).sum()


def decayed_and_error(S: Array, x: Token, k: Array, exp: Exp, *, gated: bool = True) -> tuple[Array, Array]:
    """Return the decayed memory and the error of a token; without ``gated`` the error is read before the decay."""
    decayed = exp(x.g) * S
    return decayed, x.w * x.v - ((decayed if gated else S) * (x.b * k)).sum(1)


def partial_derivatives(rule: WriteRule, *, decay: bool = True, gated: bool = True) -> Array:
    """Differentiate a rule's objective by every entry of the memory, at the memory that the code's step makes.

    The objective is the table's, with the gates at the rule's widths: ``|S - e^g * S'|^2 - 2 <S k, w * v - (e^g * S')
    (b * k)>``, each row of the memory by its own key where the rule has one for each.
    """
    sizes = shapes(rule, 1, 2, 3)
    ring = Ring(exponentials={"a": sizes["g"]}, **sizes, M=sizes["S"])
    ring.let_exp(ring["g"], "a")
    stream = tokens(rule, {name: ring[name] for name in sizes})
    x = stream[0]
    k = np.broadcast_to(x.k, sizes["S"])
    decayed, error = decayed_and_error(ring["S"], x, k, ring.exp, gated=gated)
    M = ring["M"]
    value = objective(M, decayed if decay else ring["S"], error, k)
    written, _ = reference.recurrent(ring["S"], stream, exp=ring.exp)
    at = list(zip(M.flat, written.flat, strict=True))
    found = [value.diff(letter).compose(at) for letter in M.flat]
    return np.array(found, dtype=object).reshape(M.shape)


@rules_minimise_their_published_objectives.refute
def objective_of_mamba_2_for_gated_deltanet() -> Any:
    """Gated DeltaNet's objective with the value in place of the error, as if nothing were erased."""
    words = Objective()
    decayed, _, minimiser = words.rows()["Gated DeltaNet"]
    return words.above_the_minimum(decayed, words.beta * words.v, minimiser)


@rules_minimise_their_published_objectives.refute
def known_value_read_before_the_decay() -> Any:
    """The error is read from the memory before the decay."""
    words = Objective()
    decayed, _, minimiser = words.rows()["Gated DeltaNet"]
    return words.above_the_minimum(decayed, words.beta * (words.v - words.M @ words.k), minimiser)


def _objective() -> str:
    x = Token(**{name: entry(name) if name == "g" else entry(name)[0] for name in "qkvgbw"})
    S, before, k = entry("S"), entry("S_{t-1}"), x.k[None]
    made, _ = reference.step(before, x, exp=exp)
    return (
        rf"F(S) = {objective(S, *decayed_and_error(before, x, k, exp), k)}, \quad S_t = {made[0, 0]} \;\Rightarrow\; "
        r"\nabla F(S_t) = 0, \quad \text{for one row and one key channel}"
    )


@claim(
    statement=_objective,
    assumptions=(
        "The published objective of Gated DeltaNet with the gates of the rule; F is strictly convex, so its stationary "
        "point is its only minimum.",
    ),
    scope=Sizes(dk=3, dv=2),
    engine="ring",
    source=cite("2412.06464", "table 1"),
    code=(reference.step,),
    uses=("rules_minimise_their_published_objectives",),
    rules=every_rule,
)
def every_rule_minimises_an_objective(rule: WriteRule) -> Any:
    """The memory after a token is where every partial derivative of the rule's objective is zero."""
    return partial_derivatives(rule)


@every_rule_minimises_an_objective.refute(rules=lambda rule: rule.decay is not Gate.NONE)
def memory_kept_as_it_was(rule: WriteRule) -> Any:
    """The memory before the decay is taken in place of the decayed one."""
    return partial_derivatives(rule, decay=False)


@every_rule_minimises_an_objective.refute(rules=lambda rule: Gate.NONE not in (rule.decay, rule.erase))
def known_value_not_decayed(rule: WriteRule) -> Any:
    """The error is read before the decay."""
    return partial_derivatives(rule, gated=False)
