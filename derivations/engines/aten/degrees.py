"""Degrees in place of numbers: a program that runs on them gives a bound on the degree of what it computes.

An entry of a value is one more than a bound on its degree as a polynomial in the letters, and 0 for what is zero. A log
decay counts its letters; its exponential is a monomial of as many, since the exponential of a positive one raises.
"""

from __future__ import annotations

import numpy as np
import torch

from derivations.engines.aten.numbers import FORGETS, LEAST_LOG, Entries, NotModelled, Numbers, Unsound
from derivations.engines.degree import Degree

_MANY = 1 << 40  # more than any degree


class Degrees(Numbers):
    """The arithmetic of degrees, under the names of that of numbers."""

    p = LEAST_LOG  # more than any degree

    def __init__(self) -> None:
        """Draw nothing: letters have the degree 1."""

    def draw(self, *shape: int) -> Entries:
        """Return letters."""
        return torch.full(shape, 2)

    def draw_logs(self, *shape: int) -> Entries:
        """Return log decays of one letter each."""
        return self._encoded(torch.full(shape, -1))

    def constant(self, number: float) -> int:
        """Return a number of the program, of degree 0."""
        return int(number != 0)

    def lifted(self, x: torch.Tensor) -> Entries:
        """Return the entries of an ordinary tensor."""
        return super().lifted(x) if x.dtype.is_floating_point else (x != 0).long()

    def largest(self, x: Entries, *, times: int = 0) -> Degree:
        """Return the largest degree of values, times as many letters."""
        if self._logs(x):
            raise Unsound("a log decay stands where a value is expected")
        return Degree((), np.maximum(int(x.max()) - 1, 0) + times, np.int64(0))

    def add(self, a: Entries, b: Entries, alpha: int = 1) -> Entries:
        """Return the degrees of sums."""
        return super().add(a, b, alpha) if self._logs(a, b) else torch.maximum(*torch.broadcast_tensors(a, b))

    def multiply(self, a: Entries, b: Entries) -> Entries:
        """Return the degrees of products; a log decay may be multiplied by 0 or 1."""
        return super().multiply(a, b) if self._logs(a, b) else _times(a, b)

    def invert(self, x: Entries) -> Entries:
        """Return the degrees of inverses of numbers; a polynomial has none."""
        if bool((x != 1).any()):
            raise NotModelled("the degree of what divides by a letter")
        return x

    def root(self, x: Entries) -> Entries:
        """Refuse: a root has no degree."""
        raise NotModelled("the degree of a root")

    def exponential(self, x: Entries, *, base_2: bool = False) -> Entries:
        """Return the degrees of exponentials: as many as there are letters."""
        self._logs(x)
        logs = self._decoded(torch.where(x == FORGETS, 0, x))
        if bool((logs > 0).any()):
            raise Unsound("takes the exponential of a positive combination of log decays")
        return torch.where(x == FORGETS, 0, 1 - logs)

    def total(self, x: Entries, dims: list[int], *, keepdim: bool) -> Entries:
        """Return the degrees of sums over axes."""
        if self._logs(x) or not x.ndim:
            return super().total(x, dims, keepdim=keepdim)
        return x.amax(dims or list(range(x.ndim)), keepdim=keepdim)

    def cumulated(self, x: Entries, dim: int) -> Entries:
        """Return the degrees of cumulated sums."""
        return super().cumulated(x, dim) if self._logs(x) else x.cummax(dim).values

    def product(self, a: Entries, b: Entries) -> Entries:
        """Return the degrees of matrix products."""
        if self._logs(a, b):
            raise NotModelled("the degree of a product of a matrix and log decays")
        if b.ndim == 1:
            return _times(a, b).amax(-1)
        a, b = (torch.where(x == 0, -_MANY, x) for x in (a, b))
        batch = torch.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        found = torch.zeros(*batch, a.shape[-2], b.shape[-1], dtype=a.dtype)
        for i in range(a.shape[-1]):
            found = torch.maximum(found, a[..., :, i, None] + b[..., None, i, :] - 1)
        return found


def _times(a: Entries, b: Entries) -> Entries:
    return torch.where((a == 0) | (b == 0), 0, a + b - 1)
