"""The code on shapes: count the multiplications of a form by running it.

An array has only a shape. Every operation returns an array of the resulting shape, and adds the number of its
multiplications to a count. There are at most as many additions, which are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gdn_core.reference import Token


class Count:
    """The multiplications so far."""

    def __init__(self) -> None:
        self.multiplications = 0


class Shaped:
    """An array with only a shape, whose operations are counted."""

    __array_ufunc__ = None

    def __init__(self, shape: tuple[int, ...], count: Count) -> None:
        self.shape, self._count = shape, count
        self._probe = np.broadcast_to(np.empty((), dtype=np.int8), shape)  # indexes and broadcasts as the array would

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def T(self) -> Shaped:
        """The array with its axes reversed."""
        return self._of(self.shape[::-1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> Shaped:
        return self._of(self._probe[index].shape)

    def __add__(self, other: Shaped) -> Shaped:
        return self._of(np.broadcast_shapes(self.shape, other.shape))

    __sub__ = __add__

    def __mul__(self, other: Shaped) -> Shaped:
        shape = np.broadcast_shapes(self.shape, other.shape)
        self._count.multiplications += int(np.prod(shape))
        return self._of(shape)

    def __matmul__(self, other: Shaped) -> Shaped:
        shape = np.matmul(self._probe, other._probe).shape
        self._count.multiplications += int(np.prod(shape)) * self.shape[-1]
        return self._of(shape)

    def _of(self, shape: tuple[int, ...]) -> Shaped:
        return Shaped(shape, self._count)


def exp(x: Shaped) -> Shaped:
    """Return the shape of an exponential."""
    return x


def stack(arrays: Sequence[Shaped]) -> Shaped:
    """Return the shape of a stack along a new first axis."""
    return arrays[0]._of((len(arrays), *arrays[0].shape))


def stream(T: int, V: int, K: int) -> tuple[Shaped, Token, Count]:
    """Return a memory and a stream with scalar gates, and the count of the operations on them."""
    count = Count()
    shapes = {"q": (T, K), "k": (T, K), "v": (T, V), "g": (T, 1, 1), "b": (T, 1), "w": (T, 1)}
    return Shaped((V, K), count), Token(**{name: Shaped(shape, count) for name, shape in shapes.items()}), count
