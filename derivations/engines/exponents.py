"""The code on log decays as sums of letters: which exponentials it forms, and whether one of them can grow.

A log decay is a letter that is never positive, and an array of sums of them has an integer for each letter. Only the
exponential leaves this carrier: it notes each sum and returns zeros, since what the code does with a decay makes no new
exponent. A sum without a negative coefficient is at most 0 whatever the log decays are, and one with a negative
coefficient is positive for some.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gdn_core.reference import Token


class Logs:
    """An array of sums of log decays.

    Args:
        sums: integers, the last axis over the letters.
    """

    __array_ufunc__ = None

    def __init__(self, sums: np.ndarray) -> None:
        self.sums = sums

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.sums.shape[:-1]

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.sums.ndim - 1

    def __len__(self) -> int:
        return len(self.sums)

    def __getitem__(self, index: Any) -> Logs:
        return Logs(self.sums[(*index, slice(None)) if isinstance(index, tuple) else index])

    def __add__(self, other: Logs) -> Logs:
        return Logs(self.sums + other.sums)

    def __sub__(self, other: Logs) -> Logs:
        return Logs(self.sums - other.sums)

    def __neg__(self) -> Logs:
        return Logs(-self.sums)


class Exponents:
    """The sums of log decays that the code has taken the exponential of.

    Args:
        shape: the shape of the array of log decays.
    """

    def __init__(self, *shape: int) -> None:
        self.shape = shape
        self._seen: list[np.ndarray] = []  # each [number of sums, letters]

    @property
    def seen(self) -> set[tuple[int, ...]]:
        """The sums, each once."""
        return {sums for array in self._seen for sums in map(tuple, array.tolist())}

    @property
    def letters(self) -> Logs:
        """The log decays, each a letter."""
        count = int(np.prod(self.shape))
        return Logs(np.eye(count, dtype=np.int64).reshape(*self.shape, count))

    def exp(self, x: Logs) -> np.ndarray:
        """Note the sums, and return zeros of their shape.

        Raises:
            ArithmeticError: if x is no sum of log decays.
        """
        if not isinstance(x, Logs):
            raise ArithmeticError("the exponential of what is not a sum of log decays")
        self._seen.append(x.sums.reshape(-1, x.sums.shape[-1]))
        return np.zeros(x.shape)

    def positive(self) -> list[str]:
        """Return a text for each exponential, empty where none grows; letters g are counted from 1.

        Raises:
            ArithmeticError: if the code has taken no exponential.
        """
        if not self._seen:
            raise ArithmeticError("the code takes no exponential")
        first = (array[array.min(axis=1) < 0][:1] for array in self._seen)
        return [
            "exp(" + " ".join(f"{n:+d} g{i + 1}" for i, n in enumerate(found[0]) if n) + ")" if len(found) else ""
            for found in first
        ]


def stack(arrays: Sequence[Any]) -> Any:
    """Stack arrays along a new first axis."""
    return Logs(np.stack([a.sums for a in arrays])) if isinstance(arrays[0], Logs) else np.stack(arrays)


def stream(shapes: dict[str, tuple[int, ...]]) -> tuple[np.ndarray, Token, Exponents]:
    """Return a memory and a stream of these shapes, whose numbers are zeros and whose log decays are letters."""
    exponents = Exponents(*shapes["g"])
    zeros = {name: np.zeros(shape) for name, shape in shapes.items() if name != "g"}
    S = zeros.pop("S")
    return S, Token(g=exponents.letters, **zeros), exponents
