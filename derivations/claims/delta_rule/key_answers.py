"""The answers to a key, and to keys orthogonal to it, after a write under that key."""

from __future__ import annotations

from typing import Any

from derivations.engines.trees import Expr
from derivations.models.delta_rule import Delta
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import EverySize
from gdn_core import reference


def mean(delta: Delta) -> Expr:
    """Return the answer to the key after the write."""
    return (1 - delta.beta * delta.kappa) * (delta.S @ delta.k) + delta.beta * delta.kappa * delta.v


def _answers() -> str:
    orthogonal = other_key(orthogonal=True)[0].normal().tex()
    return (
        rf"S_t k = {mean(Delta()).tex()}, \quad k^\top q = 0 \;\Rightarrow\; S_t q = {orthogonal}, \quad "
        r"\kappa = \|k\|^2"
    )


@claim(
    statement=_answers,
    scope=EverySize("dk", "dv"),
    engine="words",
    source=cite("2102.11174", "eqs. 20 to 25, sec. 4.2"),
    code=(reference.step,),
)
def key_answers_a_mean_and_orthogonal_keys_are_left_alone() -> Any:
    """After a write a key answers a mean of its old answer and the new value, and orthogonal keys answer as before."""
    delta = Delta()
    return (delta.step(delta.beta)[1] - mean(delta)).normal()


def other_key(*, orthogonal: bool) -> tuple[Expr, Expr]:
    """Return the answers to another key after the write and before it."""
    delta = Delta()
    if orthogonal:
        delta.algebra.rule(delta.k.T @ delta.q, 0)
    return delta.step(delta.beta, q=delta.q)[1], delta.S @ delta.q


@key_answers_a_mean_and_orthogonal_keys_are_left_alone.step(engine="words", scope=EverySize("dk", "dv"))
def orthogonal_keys() -> Any:
    """The answer to a key orthogonal to the one written does not change."""
    after, before = other_key(orthogonal=True)
    return (after - before).normal()


@key_answers_a_mean_and_orthogonal_keys_are_left_alone.refute
def keys_that_overlap() -> Any:
    """The answer to a key that is not orthogonal is said not to change."""
    after, before = other_key(orthogonal=False)
    return (after - before).normal()


@key_answers_a_mean_and_orthogonal_keys_are_left_alone.refute
def length_of_the_key_forgotten() -> Any:
    """The weight of the new value is said to be beta, whatever the length of the key."""
    delta = Delta()
    return (delta.step(delta.beta)[1] - ((1 - delta.beta) * (delta.S @ delta.k) + delta.beta * delta.v)).normal()
