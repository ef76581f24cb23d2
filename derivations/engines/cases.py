"""The stream of a rule on each carrier: free letters, at the widths of the rule's gates.

Absent and tied gates are as in the rule; everything else is free. So a check of these tokens holds for all values,
feature maps and discretisations that produce them.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.engines import field, gram, ring
from gdn_core.reference import Array, Exp, Stack, Token
from gdn_core.rules import Clock, Gate, WriteRule

Shapes = dict[str, tuple[int, ...]]


def shapes(rule: WriteRule, T: int, V: int, K: int) -> Shapes:
    """Return the shapes of the letters of a memory ``S`` and of a stream of T tokens.

    An absent gate has a letter of scalar width, whose value :func:`tokens` sets.
    """
    V += rule.normalised  # the normaliser is one more value channel, whose value 1 is a special case of a letter
    return _shapes(rule.decay, rule.erase, rule.write, T, V, K)


def every_width(T: int, V: int, K: int) -> Iterator[Shapes]:
    """Yield the shapes for every combination of the widths that the gates of the family have.

    An absent gate is a scalar gate at a fixed value, so it needs no combination of its own.
    """
    erase, write = (Gate.SCALAR, Gate.KEY), (Gate.SCALAR, Gate.VALUE, Gate.MATRIX)
    decay = (Gate.SCALAR, Gate.KEY, Gate.VALUE, Gate.MATRIX)
    return (_shapes(*widths, T, V, K) for widths in itertools.product(decay, erase, write))


def _shapes(decay: Gate, erase: Gate, write: Gate, T: int, V: int, K: int) -> Shapes:
    return {
        "S": (V, K),
        "q": (T, K),
        "k": (T, V, K) if write is Gate.MATRIX else (T, K),  # a key for each value channel
        "v": (T, V),
        "g": (T, *decay.shape(V, K)),
        "b": (T, erase.shape(V, K)[1]),
        "w": (T, V if write is Gate.VALUE else 1),
    }


def told(shapes: Shapes) -> str:
    """Return the sizes of a stream, and the widths of its gates, in words."""
    (V, K), T = shapes["S"], shapes["v"][0]
    return f"T = {T}, K = {K}, V = {V}, with " + ", ".join(f"{name} {list(shapes[name])}" for name in "kgbw")


def tokens(rule: WriteRule, letters: dict[str, Array]) -> Token:
    """Make the stream of a rule from free letters, with absent, tied and constant gates as in the rule.

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
    """A memory, a stream, and the operations of their carrier.

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
        """Return the residuals of two results, of the memories and of the outputs."""
        return {name: self.residual(one, other) for name, one, other in zip("So", left, right, strict=True)}


def free_symbols(sizes: Shapes) -> Case:
    """Return a stream of these shapes whose every entry is a letter."""
    letters = ring.Ring(exponentials={"a": sizes["g"]}, **sizes)
    letters.let_exp(letters["g"], "a")
    x = Token(**{name: letters[name] for name in sizes if name != "S"})
    return Case(letters["S"], x, letters.exp, np.stack, letters.residual)


def symbols(rule: WriteRule, T: int, V: int, K: int) -> Case:
    """Return a stream of the rule whose every entry is a letter."""
    case = free_symbols(shapes(rule, T, V, K))
    return replace(case, x=tokens(rule, vars(case.x)))


def points(rule: WriteRule, T: int, V: int, K: int, rng: random.Random) -> Case:
    """Return a stream of the rule at a random point mod a random prime."""
    numbers = field.Field(rng)
    letters = numbers.letters(shapes(rule, T, V, K))
    return Case(letters["S"], tokens(rule, letters), numbers.exp, field.stack, numbers.residual)


def free_points(sizes: Shapes, numbers: field.Field) -> Case:
    """Return a stream of these shapes at a random point of a field."""
    letters = numbers.letters(sizes)
    x = Token(**{name: letters[name] for name in sizes if name != "S"})
    return Case(letters["S"], x, numbers.exp, field.stack, numbers.residual)


class Log(Fraction):
    """The logarithm of a power of two, to base 2; ``np.exp`` takes the power, as it takes ``exp`` of any object."""

    def exp(self) -> Fraction:
        """Return the power of two."""
        return Fraction(2) ** int(self)

    def __add__(self, other: Any) -> Any:
        return Log(Fraction.__add__(self, other))

    def __sub__(self, other: Any) -> Any:
        return Log(Fraction.__sub__(self, other))


def fractions(sizes: Shapes, rng: random.Random) -> Case:
    """Return a stream of these shapes in fractions, on which NumPy's own ``exp`` and ``stack`` are exact."""

    def drawn(name: str, shape: tuple[int, ...]) -> Array:
        made = np.empty(shape, dtype=object)
        for i in np.ndindex(shape):
            made[i] = Log(-rng.randrange(4)) if name == "g" else Fraction(rng.randrange(-9, 10), rng.randrange(1, 5))
        return made

    letters = {name: drawn(name, shape) for name, shape in sizes.items()}
    x = Token(**{name: letters[name] for name in sizes if name != "S"})
    power = np.frompyfunc(Log.exp, 1, 1)
    return Case(letters["S"], x, power, np.stack, exactly)


def floats(sizes: Shapes, rng: random.Random) -> Case:
    """Return a stream of these shapes in float64, compared to the last bit."""
    normal = np.random.default_rng(rng.getrandbits(32)).normal
    letters = {name: -abs(normal(size=shape)) if name == "g" else normal(size=shape) for name, shape in sizes.items()}
    x = Token(**{name: letters[name] for name in sizes if name != "S"})
    return Case(letters["S"], x, np.exp, np.stack, exactly)


CLEARS = -1000  # a log decay whose decay is 0 in float64, to the last bit
FINE = (1 << 24) + 1  # of which no multiple by a small odd number is a number of 32 bits


def special(sizes: Shapes, rng: random.Random, *, remembers: bool = True) -> Case:
    """Return a stream of integers in float64, on which the code is exact, with the values at which code branches.

    Gates are 0, 1 and 2, decays 0 and 1, and each entry of a vector is often 0; some keys are zero. Values and memory
    are small multiples of a number that 32 bits do not hold, so code that rounds to them on its way is off.

    Args:
        sizes: the shapes.
        rng: draws the stream.
        remembers: whether the memory before the first token is not zero.
    """

    def drawn(name: str, shape: tuple[int, ...]) -> Array:
        values = {"g": (0, 0, 0, CLEARS), "b": (0, 1, 2), "w": (0, 1, 2)}.get(name, (-1, 0, 0, 1, 2))
        return np.array([rng.choice(values) for _ in range(math.prod(shape))], dtype=float).reshape(shape)

    letters = {name: drawn(name, shape) for name, shape in sizes.items()}
    letters["k"][rng.randrange(len(letters["k"]))] = 0
    letters |= {name: letters[name] * FINE for name in ("v", "S")}
    x = Token(**{name: letters[name] for name in sizes if name != "S"})
    return Case(letters["S"] * remembers, x, np.exp, np.stack, exactly)


def exactly(left: Array, right: Array) -> Any:
    """Return the difference of two arrays of floats or fractions, in fractions, or a sentence."""
    fraction: Any = np.frompyfunc(Fraction, 1, 1)
    try:
        return ring.difference(fraction(left), fraction(right))
    except (OverflowError, ValueError):  # of inf and NaN
        return "a number is not finite"


BITS = 40  # in which computations in float64 agree whose rounding differs


def nearly(left: Array, right: Array) -> Any:
    """Return the difference of two arrays of float64 in units of 2^-40 of the largest number, or a sentence."""
    if left.dtype != np.float64:
        return f"the type is {left.dtype}, and not float64"
    units = exactly(left, right)
    largest = Fraction(max(1.0, float(abs(right).max())))
    return units if isinstance(units, str) else np.frompyfunc(lambda off: round(off / largest * 2**BITS), 1, 1)(units)


def vectors(rule: WriteRule, T: int) -> Case:
    """Return a stream of the rule with keys, queries and values of any width; the rule's gates must be scalars.

    Raises:
        ValueError: if the rule has a gate for each channel.
    """
    if not scalar_gates(rule):
        raise ValueError(f"{rule.title} has a gate for each channel: its keys are not known by their inner products")
    numbers = gram.Gram(T, tied=rule.tied)
    return Case(numbers.S, tokens(rule, vars(numbers.x)), numbers.exp, gram.stack, numbers.residual)


def scalar_gates(rule: WriteRule) -> bool:
    """Tell whether all gates of a rule are scalars."""
    return {rule.decay, rule.erase, rule.write} <= {Gate.NONE, Gate.SCALAR}
