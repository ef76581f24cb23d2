"""A rule's stream on every carrier: letters at the widths that the rule gives its gates.

What a rule fixes is fixed here, and everything else stays free: what is checked of these tokens holds for whatever
values, feature maps and discretisations make them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from derivations.engines import field, gram, ring
from gdn_core.reference import Array, Exp, Stack, Token
from gdn_core.rules import Clock, Gate, WriteRule


def shapes(rule: WriteRule, T: int, V: int, K: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the letters of a memory ``S`` and of a stream of T tokens.

    Of a gate that the rule does not have, the letter is there at scalar width, and :func:`tokens` fixes it.
    """
    V += rule.normalised  # the normaliser is one more value channel; its value 1 is a special case of a letter
    return {
        "S": (V, K),
        "q": (T, K),
        "k": (T, V, K) if rule.write is Gate.MATRIX else (T, K),
        "v": (T, V),
        "g": (T, *rule.decay.shape(V, K)),
        "b": (T, rule.erase.shape(V, K)[1]),
        "w": (T, 1 if rule.write is Gate.MATRIX else rule.write.shape(V, K)[0]),
    }


def tokens(rule: WriteRule, letters: dict[str, Array]) -> Token:
    """Make the stream of a rule from free letters: absent, tied and fixed gates as it has them.

    Args:
        rule: a member of the family.
        letters: an array for each name of :func:`shapes`, ``g`` as log decays.
    """
    g, b, w = letters["g"], letters["b"], letters["w"]
    if rule.decay is Gate.NONE:
        g = 0 * g
    if rule.clock is Clock.FIXED:
        g = g[[0] * len(g)]
    if rule.erase is Gate.NONE:
        b = 0 * b
    if rule.tied:
        w = b
    elif rule.write in (Gate.NONE, Gate.MATRIX):
        w = 0 * w + 1
    return Token(q=letters["q"], k=letters["k"], v=letters["v"], g=g, b=b, w=w)


@dataclass(frozen=True)
class Case:
    """A memory, a stream, and the operations of the carrier that they live on.

    Args:
        S: the memory before the first token, [V, K].
        x: the stream.
        exp: the carrier's exponential.
        stack: the carrier's stacking.
        residual: the difference of two arrays of one shape, in normal form.
    """

    S: Array
    x: Token
    exp: Exp
    stack: Stack
    residual: Callable[[Array, Array], Any]

    def from_zero(self) -> Case:
        """Return the same stream on an empty memory."""
        return replace(self, S=0 * self.S)

    def run(self, code: Callable[..., tuple[Array, Array]], **options: Any) -> tuple[Array, Array]:
        """Run the stream through a function of the reference."""
        return code(self.S, self.x, exp=self.exp, stack=self.stack, **options)

    def compare(self, left: tuple[Array, Array], right: tuple[Array, Array]) -> dict[str, Any]:
        """Return the residuals of two ends: of the memories and of the outputs."""
        return {name: self.residual(one, other) for name, one, other in zip("So", left, right, strict=True)}


def symbols(rule: WriteRule, T: int, V: int, K: int) -> Case:
    """Return a stream of the rule whose every entry is a letter."""
    sizes = shapes(rule, T, V, K)
    letters = ring.Ring(exponentials={"a": sizes["g"]}, **sizes)
    letters.let_exp(letters["g"], "a")
    x = tokens(rule, {name: letters[name] for name in sizes})
    return Case(letters["S"], x, letters.exp, np.stack, letters.residual)


def points(rule: WriteRule, T: int, V: int, K: int, rng: random.Random) -> Case:
    """Return a stream of the rule at a random point mod a random prime."""
    numbers = field.Field(rng)
    letters = numbers.letters(shapes(rule, T, V, K))
    return Case(letters["S"], tokens(rule, letters), numbers.exp, field.stack, numbers.residual)


def vectors(rule: WriteRule, T: int) -> Case:
    """Return a stream of the rule whose keys, queries and values have any width: its gates must be scalars.

    Raises:
        ValueError: if the rule has a gate for each channel.
    """
    if not scalar_gates(rule):
        raise ValueError(f"{rule.title} has a gate for each channel: its keys are not known by their inner products")
    numbers = gram.Gram(T, tied=rule.tied)
    letters = {name: getattr(numbers.x, name) for name in ("q", "k", "v", "g", "b", "w")}
    return Case(numbers.S, tokens(rule, letters), numbers.exp, gram.stack, numbers.residual)


def scalar_gates(rule: WriteRule) -> bool:
    """Hold for the rules whose gates are one number for the whole memory."""
    return {rule.decay, rule.erase, rule.write} <= {Gate.NONE, Gate.SCALAR}
