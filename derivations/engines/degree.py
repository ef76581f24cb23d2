"""Degrees in place of numbers: the code run on them gives a bound on the degree of what it computes.

A value has a bound on its degree as a polynomial in the letters, and one on the negative exponents of its decays: times
a monomial of that degree it is a polynomial. A log decay has how often each token's letter is in it, with its sign, and
its exponential is a monomial. The bounds of sums and products follow. Channels of one array are alike, so an axis of
channels is kept as one entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

_OF_ZERO = -(1 << 30)  # the degree of what is zero: less than any, and not more in a product


class Degree:
    """An array with bounds on the degrees of its entries.

    Args:
        shape: the shape of the array.
        top: the bound on the degree; each axis full, or of one entry where all are alike.
        low: the bound on the negative exponents, of the axes of ``top``.
        logs: of a log decay how often each letter is in it, with the letters on the last axis; else None.
    """

    __array_ufunc__ = None
    __slots__ = ("logs", "low", "shape", "top")

    def __init__(self, shape: tuple[int, ...], top: Any, low: Any, logs: Any = None) -> None:
        self.shape, self.top, self.low, self.logs = shape, top, low, logs

    @property
    def bound(self) -> int:
        """The largest degree of an entry, once no exponent is negative."""
        return max(0, int((self.top + self.low).max()))

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def T(self) -> Degree:
        """The array with its axes reversed."""
        logs = None if self.logs is None else self.logs.transpose(*reversed(range(self.ndim)), self.ndim)
        return Degree(self.shape[::-1], self.top.T, self.low.T, logs)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Degree:
        if isinstance(index, int | slice) and self.top.shape[0] == self.shape[0]:  # as a form goes through its tokens
            logs = None if self.logs is None else self.logs[index]
            top = self.top[index]
            return Degree((*top.shape[:1], *self.shape[1:]) if isinstance(index, slice) else self.shape[1:], top,
                          self.low[index], logs)  # fmt: skip
        index = index if isinstance(index, tuple) else (index,)
        shape = _probe(self.shape)[index].shape
        axes = iter(zip(self.top.shape, self.shape, strict=True))
        alike = []
        for entry in index:
            held, size = (0, 0) if entry is None else next(axes)
            if entry is None or held == size:
                alike.append(entry)
            else:  # one entry stands for all of the axis
                alike.append(slice(None) if isinstance(entry, slice | list) else 0)
        logs = None if self.logs is None else self.logs[tuple(alike)]
        return Degree(shape, self.top[tuple(alike)], self.low[tuple(alike)], logs)

    def __add__(self, other: Any) -> Degree:
        return self._sum(other, 1)

    def __sub__(self, other: Any) -> Degree:
        return self._sum(other, -1)

    def __mul__(self, other: Any) -> Degree:
        if not isinstance(other, Degree):
            shape = np.broadcast_shapes(self.shape, np.shape(other))
            if self.logs is None and np.ndim(other) == 0 and other == 0:
                return Degree(shape, 0 * self.top + _OF_ZERO, 0 * self.low)
            if self.logs is None:
                return Degree(shape, self.top, self.low)
            factor = np.asarray(other)
            return Degree(shape, self.top, self.low, self.logs * (factor[..., None] if factor.ndim else factor))
        return Degree(_broadcast(self.shape, other.shape), self.top + other.top, self.low + other.low)

    def __neg__(self) -> Degree:
        return -1 * self

    __radd__ = __rsub__ = __add__  # a bound is the same for either sign, and numbers have no log decays
    __rmul__ = __mul__

    def __matmul__(self, other: Degree) -> Degree:
        shape = _of_product(self.shape, other.shape)
        (top, low), (right, below) = (x._as_matrix(first) for x, first in ((self, True), (other, False)))
        alike, others = (self.shape[-1] // x for x in (low.shape[-1], below.shape[-2]))  # entries that one stands for
        low = low.sum(-1)[..., None] * alike + below.sum(-2)[..., None, :] * others
        top = (top[..., :, :, None] + right[..., None, :, :]).max(-2)
        kept = (slice(None) if self.ndim > 1 else 0, slice(None) if other.ndim > 1 else 0)
        return Degree(shape, top[(..., *kept)], low[(..., *kept)])

    def _as_matrix(self, row: bool) -> tuple[Any, Any]:
        """Return the bounds, those of a vector as a matrix of one row or one column."""
        if self.ndim > 1:
            return self.top, self.low
        return (self.top[None], self.low[None]) if row else (self.top[:, None], self.low[:, None])

    def sum(self, axis: int | None = None) -> Degree:
        """Add the entries along an axis."""
        if axis is None:
            return Degree((), self.top.max(), self.low.sum() * (np.prod(self.shape) // max(1, self.low.size)))
        alike = self.shape[axis] if self.low.shape[axis] == 1 else 1
        axis %= self.ndim
        return Degree(self.shape[:axis] + self.shape[axis + 1 :], self.top.max(axis), self.low.sum(axis) * alike)

    def _sum(self, other: Any, sign: int) -> Degree:
        if not isinstance(other, Degree):
            shape = np.broadcast_shapes(self.shape, np.shape(other))
            return Degree(shape, np.maximum(self.top, 0), self.low, self.logs)  # a number has degree 0
        shape = _broadcast(self.shape, other.shape)
        if (self.logs is None) is not (other.logs is None):
            raise ArithmeticError("a log decay met what it is the log of: their carriers do not mix")
        if self.logs is not None:
            return Degree(shape, self.top + 0 * other.top, self.low + 0 * other.low, self.logs + sign * other.logs)
        return Degree(shape, np.maximum(self.top, other.top), self.low + other.low)


def _probe(shape: tuple[int, ...]) -> np.ndarray:
    """Return an array of a shape that holds one number, to see which shape an index or a product has."""
    return np.ndarray(shape, np.int8, b"\0", strides=(0,) * len(shape))


def _broadcast(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return one if one == other else np.broadcast_shapes(one, other)


@cache
def _of_product(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a product of matrices."""
    return np.matmul(_probe(one), _probe(other)).shape


def letters(*shape: int) -> Degree:
    """Return the degrees of letters."""
    ones = np.ones((1,) * len(shape), dtype=np.int64)
    return Degree(shape, ones, 0 * ones)


def logs(*shape: int) -> Degree:
    """Return the degrees of log decays: a letter for each token, which is the first axis."""
    zeros = np.zeros((shape[0], *(1,) * (len(shape) - 1)), dtype=np.int64)
    own = np.eye(shape[0], dtype=np.int64).reshape(*zeros.shape, shape[0])
    return Degree(shape, zeros, zeros, own)


def exp(x: Degree) -> Degree:
    """Return the degrees of an exponential.

    Raises:
        ArithmeticError: if x is not a log decay.
    """
    if x.logs is None:
        raise ArithmeticError("the exponential of what is not a log decay")
    return Degree(x.shape, np.maximum(x.logs, 0).sum(-1), np.maximum(-x.logs, 0).sum(-1))


def stack(arrays: Sequence[Degree]) -> Degree:
    """Stack arrays along a new first axis."""
    shape = (len(arrays), *arrays[0].shape)
    if any(x.shape != shape[1:] for x in arrays):
        raise ValueError(f"expected arrays of one shape, got {[list(x.shape) for x in arrays]}")
    parts = [[getattr(x, name) for x in arrays] for name in ("top", "low", "logs")]
    held = [None if part[0] is None else _stacked(part) for part in parts]
    return Degree(shape, *held)


def _stacked(arrays: list[np.ndarray]) -> np.ndarray:
    alike = all(array.shape == arrays[0].shape for array in arrays)
    return np.array(arrays if alike else np.broadcast_arrays(*arrays))


def largest(residual: Any) -> int:
    """Return the largest bound in a residual or a collection of residuals; 0 if there is none."""
    if isinstance(residual, Degree):
        return residual.bound
    if isinstance(residual, dict):
        residual = residual.values()
    return max(map(largest, residual), default=0) if not isinstance(residual, str | int) else 0
