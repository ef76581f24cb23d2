"""The addresses of a launch at sizes that no memory here could hold: integers are computed, and floats are not.

Of the grid only some programs at its corners run, and of a long loop the first two rounds and the last. What a loop
carries from round to round is taken to change by as much in each, as pointers and counters do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from derivations.engines.ir.carrier import INFINITE, Carrier, Entries
from derivations.engines.ir.memory import UNWRITTEN, Buffer, Memory


class Nowhere(Carrier):
    """Floats that are not computed: every one is zero, of the right shape."""

    computes = False

    def __init__(self) -> None:
        """Need no field."""

    def _pair(self, a: Entries, b: Entries) -> Entries:
        return np.broadcast_to(np.int64(0), np.broadcast_shapes(a.shape, b.shape))

    def _one(self, x: Entries) -> Entries:
        return x

    add = subtract = multiply = divide = _pair
    root = inverse_root = exponential = exponential_2 = magnitude = _one

    def total(self, x: Entries, axis: int) -> Entries:
        """Return zeros."""
        return x.sum(axis)

    def cumulated(self, x: Entries, axis: int) -> Entries:
        """Return zeros."""
        return x

    def matrices(self, a: Entries, b: Entries, c: Entries) -> Entries:
        """Return zeros."""
        shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2], c.shape[:-2])
        return np.broadcast_to(np.int64(0), (*shape, *c.shape[-2:]))

    def finite(self, x: Entries) -> np.ndarray:
        """Return that all are."""
        return np.ones(x.shape, bool)

    def nats(self, x: Entries) -> np.ndarray:
        """Return zeros."""
        return x.astype(float)

    def same(self, a: Entries, b: Entries) -> np.ndarray:
        """Return that none are."""
        return np.zeros(np.broadcast_shapes(a.shape, b.shape), bool)

    def constant(self, number: float) -> int:
        """Return 0, and infinity as it is."""
        return INFINITE if number == np.inf else 0

    def lifted(self, x: np.ndarray) -> Entries:
        """Return zeros."""
        return np.zeros(x.shape, np.int64)


class Extents(Memory):
    """Buffers of floats of which only the size is known; integers are held, since they lead to addresses."""

    def load(self, addresses: np.ndarray, programs: Callable[[], np.ndarray], element: str) -> np.ndarray:
        """Check addresses; return zeros, or integers, those that other programs write being 0."""
        buffer, places = self._buffer(addresses, element, "reads")
        if buffer.floating:
            return np.zeros(len(places), np.int64)
        found = buffer.entries[places]
        return np.where(found == UNWRITTEN[False], 0, found)

    def store(self, addresses: np.ndarray, values: np.ndarray, programs: np.ndarray, element: str) -> None:
        """Check addresses; keep integers."""
        buffer, _ = self._buffer(addresses, element, "writes")
        if not buffer.floating:
            super().store(addresses, values, programs, element)


def extent(name: str, size: int, element: str, entries: np.ndarray | None = None) -> Buffer:
    """Return a buffer that has a size, and entries only if they are integers."""
    if not element.startswith(("f", "bf")):
        return Buffer(name, size, element, entries)
    sized: Any = range(size)
    return Buffer(name, size, element, sized)


_SEVERAL = 4  # parts that a program's first number may hold, beside heads and chunks


def corners(grid: tuple[int, int, int]) -> np.ndarray:
    """Return the numbers of the programs at the corners of a grid, and of several along its first axis."""
    x, y, _ = grid
    ends: list[tuple[int, ...]] = [(0, n - 1) for n in grid]
    ends[0] = tuple({*range(min(x, _SEVERAL)), *range(max(x - _SEVERAL, 0), x)})
    return np.unique([i + x * (j + y * k) for i in ends[0] for j in ends[1] for k in ends[2]])
