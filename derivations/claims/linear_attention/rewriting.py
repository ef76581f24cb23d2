"""A key written twice: the answers under the additive rule and under the delta rule."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from derivations.engines.algebra import Algebra
from derivations.engines.trees import Expr
from derivations.models.additive_memory import step
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import Counterexample, EverySize
from gdn_core import reference
from gdn_core.reference import Token


class Rewrite:
    """Two writes under one key, and the answer to that key."""

    def __init__(self, *, unit: bool = True) -> None:
        words = self.algebra = Algebra("beta")
        self.S, self.k = words.matrix("S", "V", "K"), words.vector("k", "K")
        self.v1, self.v2 = words.vector("v_1", "V"), words.vector("v_2", "V")
        if unit:
            words.rule(self.k.T @ self.k, 1)

    def answer(self, **gates: Any) -> Expr:
        """Write v_1 and then v_2 under the key, by the code, and read the key."""
        S, _ = step(self.S, k=self.k, v=self.v1, **gates)
        return step(S, k=self.k, v=self.v2, **gates)[1]


def _rewrite() -> str:
    words = Rewrite()
    return (
        rf"\text{{additive: }} S_2 k = {words.answer().normal().tex()}, \quad "
        rf"\text{{delta rule, }} \beta = 1: \; S_2 k = {words.answer(erase=1, write=1).normal().tex()}"
    )


@claim(
    statement=_rewrite,
    assumptions=(r"$\|k\| = 1$; $S_2$ is the memory $S$ after writing $v_1$ and then $v_2$ under $k$.",),
    scope=EverySize("dk", "dv"),
    engine="words",
    source=cite("2102.11174", "eqs. 20 to 25, sec. 4.2"),
    code=(reference.step,),
)
def new_value_replaces_the_old_only_under_the_delta_rule() -> Any:
    """A key written twice answers the sum of both values under the additive rule, the new one under the delta rule.

    The additive answer also keeps what the memory held before; the answer of the delta rule does not depend on it.
    """
    words = Rewrite()
    return [
        (words.answer() - (words.S @ words.k + words.v1 + words.v2)).normal(),
        (words.answer(erase=1, write=1) - words.v2).normal(),
    ]


@new_value_replaces_the_old_only_under_the_delta_rule.step(
    engine="exact", scope=Counterexample("V = K = 2, in numbers")
)
def in_numbers() -> Any:
    """At k = (3/5, 4/5), v_1 = (1, 2), v_2 = (5, -1) the additive memory answers (6, 1), the delta rule (5, -1)."""
    key = np.array([Fraction(3, 5), Fraction(4, 5)], dtype=object)
    values = [np.array([Fraction(1), Fraction(2)]), np.array([Fraction(5), Fraction(-1)])]
    zero, one = np.array([Fraction(0)]), np.array([Fraction(1)])
    found = []
    for erase in (zero, one):
        S = np.full((2, 2), Fraction(0), dtype=object)
        for value in values:
            x = Token(q=key, k=key, v=value, g=np.array([[0]]), b=erase, w=one)
            S, o = reference.step(S, x, exp=lambda g: 1 + g)
        found.append(o)
    return [found[0] - np.array([6, 1]), found[1] - values[1]]


@new_value_replaces_the_old_only_under_the_delta_rule.refute
def additive_rule_replaces() -> Any:
    """The additive rule is said to answer v_2."""
    words = Rewrite()
    return (words.answer() - words.v2).normal()


@new_value_replaces_the_old_only_under_the_delta_rule.refute
def key_of_any_length() -> Any:
    """The key is not of unit length: the delta rule with beta = 1 does not answer v_2."""
    words = Rewrite(unit=False)
    return (words.answer(erase=1, write=1) - words.v2).normal()


@new_value_replaces_the_old_only_under_the_delta_rule.refute
def gate_that_is_not_one() -> Any:
    """A gate beta that is not 1: part of the old answer stays."""
    words = Rewrite()
    beta = words.algebra.scalar("beta")
    return (words.answer(erase=beta, write=beta) - words.v2).normal()
