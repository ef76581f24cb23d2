"""The entries of floats in NumPy: those of :mod:`derivations.engines.aten.numbers`, and a short way for plain values.

What was never written, and what a masked load leaves where it is given nothing, is no number: it may be NaN. As NaN
does, it spreads to all that is computed with it, and a selection leaves it out. So it fails only where it reaches a
result, a comparison or an address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from derivations.engines.aten.numbers import (
    _LEAST_LOG_2,
    _LOG,
    _LOG_2,
    EMPTY,
    FORGETS,
    LEAST_LOG,
    NotModelled,
    Numbers,
    Unsound,
)
from derivations.engines.field import product

Entries = np.ndarray  # int64
INFINITE = FORGETS + 1  # a constant, for comparisons


class Carrier:
    """The arithmetic of entries as NumPy arrays.

    Args:
        numbers: the field, and the arithmetic of log decays.
    """

    computes = True  # rather than only shapes

    def __init__(self, numbers: Numbers) -> None:
        self.numbers, self.p = numbers, numbers.p

    def plain(self, *operands: Entries) -> bool:
        """Tell whether all entries are values, so that the short way is taken."""
        return all(map(_plain, operands))

    def add(self, a: Entries, b: Entries) -> Entries:
        """Return a + b."""
        if self.plain(a, b):
            return (a + b) % self.p
        return _by(self.numbers.add, a, b)

    def subtract(self, a: Entries, b: Entries) -> Entries:
        """Return a - b."""
        if self.plain(a, b):
            return (a - b) % self.p
        return _by(lambda x, y: self.numbers.add(x, y, -1), a, b)

    def multiply(self, a: Entries, b: Entries) -> Entries:
        """Return the products."""
        if self.plain(a, b):
            return a * b % self.p
        return _by(self.numbers.multiply, a, b)

    def divide(self, a: Entries, b: Entries) -> Entries:
        """Return a / b."""
        return self.multiply(a, _by(self.numbers.invert, b))

    def root(self, x: Entries) -> Entries:
        """Return square roots."""
        return _by(self.numbers.root, x)

    def inverse_root(self, x: Entries) -> Entries:
        """Return 1 over square roots."""
        return _by(lambda of: self.numbers.invert(self.numbers.root(of)), x)

    def exponential(self, x: Entries) -> Entries:
        """Return e to the power of log decays."""
        return _by(self.numbers.exponential, x)

    def exponential_2(self, x: Entries) -> Entries:
        """Return 2 to the power of log decays in base 2."""
        return _by(lambda of: self.numbers.exponential(of, base_2=True), x)

    def overflowing_2(self, x: Entries) -> Entries:
        """Return 2 to the power of log decays in base 2; what may overflow is no number, and may be left out."""
        lost = (x == EMPTY) | (x > _LOG_2) & (x < FORGETS) | (x > _LOG) & (x < _LEAST_LOG_2)  # degrees have one base
        return np.where(lost, EMPTY, self.exponential_2(np.where(lost, 0, x)))

    def magnitude(self, x: Entries) -> Entries:
        """Return the absolute values of log decays; values have no order."""
        return _by(self.numbers.magnitude, x)

    def total(self, x: Entries, axis: int) -> Entries:
        """Return sums over an axis."""
        if self.plain(x):
            return x.sum(axis) % self.p
        lost = x == EMPTY
        found = _torch(lambda of: self.numbers.total(of, [axis], keepdim=False), np.where(lost, 0, x))
        return np.where(lost.any(axis), EMPTY, found)

    def cumulated(self, x: Entries, axis: int) -> Entries:
        """Return cumulated sums over an axis."""
        if self.plain(x):
            return x.cumsum(axis) % self.p
        lost = x == EMPTY
        found = _torch(lambda of: self.numbers.cumulated(of, axis), np.where(lost, 0, x))
        return np.where(np.logical_or.accumulate(lost, axis), EMPTY, found)

    def matrices(self, a: Entries, b: Entries, c: Entries) -> Entries:
        """Return a b + c of matrices."""
        if self.plain(a, b):
            return self.add(product(a, b, self.p), c)
        lost = (a == EMPTY).any(-1)[..., None] | (b == EMPTY).any(-2)[..., None, :]
        found = _torch(self.numbers.product, *(np.where(x == EMPTY, 0, x) for x in (a, b)))
        return self.add(np.where(lost, EMPTY, found), c)

    def finite(self, x: Entries) -> np.ndarray:
        """Tell which entries are finite."""
        return _torch(self.numbers.finite, x)

    def nats(self, x: Entries) -> np.ndarray:
        """Return log decays as floats; values have no order."""
        return _torch(self.numbers.nats, x)

    def same(self, a: Entries, b: Entries) -> np.ndarray:
        """Tell which entries are equal."""
        return _torch(self.numbers.same, *np.broadcast_arrays(a, b))

    def lifted(self, x: np.ndarray) -> Entries:
        """Return integers, or floats in float64, as entries."""
        return x % self.p if x.dtype.kind == "i" else self.numbers.lifted(torch.from_numpy(x)).numpy()

    def constant(self, number: float) -> int:
        """Return a number of the program; one that is not finite may be held, and not be computed with."""
        if number != number:
            return EMPTY
        return INFINITE if number == np.inf else self.numbers.mask(number)


def _plain(x: Entries) -> bool:
    """Tell whether all entries are values."""
    return not x.size or int(np.asarray(x).view(np.uint64).max()) < LEAST_LOG


def _by(run: Callable[..., Any], *operands: Entries) -> Entries:
    """Run an operation on each entry; where one of its operands is no number, neither is the result."""
    lost = [x == EMPTY for x in operands]
    if not any(of.any() for of in lost):
        return _torch(run, *operands)
    nothing = np.logical_or.reduce(np.broadcast_arrays(*lost))
    stand_in = 0 if any(int(x.max()) >= LEAST_LOG for x in operands) else 1  # 0 is a log decay, 1 can be divided by
    found = _torch(run, *(np.where(of, stand_in, x) for of, x in zip(lost, operands, strict=True)))
    return np.where(nothing, EMPTY, found)


def _torch(run: Callable[..., Any], *operands: Entries) -> Entries:
    return run(*(torch.from_numpy(np.ascontiguousarray(x)) for x in operands)).numpy()


__all__ = ["EMPTY", "INFINITE", "Carrier", "Entries", "NotModelled", "Unsound"]
