"""The code on words: arrays of symbolic size, on which :func:`gdn_core.reference.step` itself runs.

An array is a word and a number of axes. A gate is a scalar or a diagonal matrix, on the key channels or the value
channels. The operations are those that the code uses. Broadcasting along a wrong axis, which equal sizes would hide,
raises here, since the shapes of words are names.
"""

from __future__ import annotations

from typing import Any

from derivations.engines.trees import Expr, ShapeError, expression, shape
from gdn_core.reference import Token


class Array:
    """A memory, or a vector as a column with one axis.

    Args:
        word: the matrix or column.
        ndim: its number of axes: 2, or 1 for a column.
    """

    __array_ufunc__ = None

    def __init__(self, word: Expr, ndim: int) -> None:
        if ndim == 1 and word.cols != ("1",):
            raise ShapeError(f"{word}: expected a column, got {shape(word)}")
        self.word, self.ndim = word, ndim

    @property
    def T(self) -> Array:
        """The array with its axes reversed."""
        return Array(self.word.T, 2) if self.ndim == 2 else self

    def __getitem__(self, index: Any) -> Array:
        if self.ndim == 1 and index == (slice(None), None):
            return Array(self.word, 2)
        if self.ndim == 1 and index == (None, slice(None)):
            return Array(self.word.T, 2)
        raise ShapeError(f"{self.word}: expected a new axis beside a vector's, got the index {index}")

    def __add__(self, other: Array) -> Array:
        return Array(self.word + self._like(other), self.ndim)

    def __sub__(self, other: Array) -> Array:
        return Array(self.word - self._like(other), self.ndim)

    def __neg__(self) -> Array:
        return Array(-self.word, self.ndim)

    def __matmul__(self, other: Array) -> Array:
        if self.ndim != 2:
            raise ShapeError(f"{self.word} @ {other.word}: expected a matrix first")
        return Array(self.word @ other.word, other.ndim)

    def __mul__(self, other: Array | int) -> Array:
        if isinstance(other, int):
            return Array(other * self.word, self.ndim)
        if not isinstance(other, Array):
            return NotImplemented
        left, right = (self, other) if self.word.cols == ("1",) else (other, self)
        if self.ndim == other.ndim == 2 and left.word.cols == right.word.rows == ("1",):
            return Array(left.word @ right.word, 2)  # a column times a row is their outer product
        raise ShapeError(f"{self.word} * {other.word}: expected a column and a row")

    def __rmul__(self, other: int) -> Array:
        return self * other

    def _like(self, other: Array) -> Expr:
        if not isinstance(other, Array) or other.ndim != self.ndim:
            raise ShapeError(f"{self.word}: expected an array of {self.ndim} axes beside it")
        return other.word


class GateArray:
    """A gate: a scalar, or a diagonal matrix that multiplies the channels of its size.

    Args:
        word: a 1 x 1 or a diagonal word.
        axes: the number of axes it has as an array: 2 for a decay, 1 for an erase or write gate.
    """

    __array_ufunc__ = None

    def __init__(self, word: Expr, axes: int) -> None:
        self.word, self.ndim = word, axes

    def __mul__(self, other: Array) -> Array:
        if not isinstance(other, Array):
            return NotImplemented
        if self.ndim != other.ndim:
            raise ShapeError(f"{self.word} * {other.word}: expected a gate of {other.ndim} axes")
        if self.word.is_scalar:
            return Array(self.word * other.word, other.ndim)
        if self.word.cols == other.word.rows:
            return Array(self.word @ other.word, other.ndim)
        return Array(other.word @ self.word, other.ndim)

    def __rmul__(self, other: Array) -> Array:
        return self * other


class LogGate:
    """The logarithm of a decay; its exponential is the only operation."""

    def __init__(self, gate: GateArray) -> None:
        self.gate = gate


def exp(log: LogGate) -> GateArray:
    """Return the decay of a log decay."""
    return log.gate


def token(*, q: Expr, k: Expr, v: Expr, decay: Expr | int = 1, erase: Expr | int = 0, write: Expr | int = 1) -> Token:
    """Make a token of words.

    Args:
        q: query, K x 1.
        k: key, K x 1.
        v: value, V x 1.
        decay: exp(g): a scalar, or a diagonal K x K or V x V; V and K must be different names.
        erase: a scalar or a diagonal K x K.
        write: a scalar or a diagonal V x V.
    """

    def gate(word: Expr | int, axes: int) -> GateArray:
        return GateArray(expression(k.algebra, word), axes)

    arrays = {"q": Array(q, 1), "k": Array(k, 1), "v": Array(v, 1)}
    return Token(**arrays, g=LogGate(gate(decay, 2)), b=gate(erase, 1), w=gate(write, 1))
