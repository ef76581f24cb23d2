"""What a file holds, and numbers of formats that NumPy has no type for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Member:
    """One array of a file, or something else that lies beside the arrays.

    Args:
        name: what it is called.
        shape: its sizes; () where nobody knows them.
        dtype: what its numbers are, as people call it: "bfloat16", "int64"; "" where nobody knows it.
        left: why it cannot be used, a sentence; "" if it can.
    """

    name: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    left: str = ""

    def __str__(self) -> str:
        """Say what it is: ``k: bfloat16 [1, 5000, 16, 128]``."""
        return f"{self.name}: {self.dtype} {list(self.shape)}" if self.dtype else self.name


@dataclass(frozen=True, eq=False)
class Contents:
    """What a file holds.

    Args:
        arrays: what can be used, by name: float16, float32 or float64.
        members: everything, in the order of the file.
    """

    arrays: dict[str, np.ndarray]
    members: tuple[Member, ...]


class LeftError(TypeError):
    """An array that is there and holds something else than floating-point numbers.

    Args:
        sentence: what was expected, and what came.
        shape: its sizes; () where nobody knows them.
        dtype: what it holds.
    """

    def __init__(self, sentence: str, shape: tuple[int, ...] = (), dtype: str = "") -> None:
        super().__init__(sentence)
        self.shape, self.dtype = shape, dtype


Found = list[tuple[Member, "np.ndarray | Exception"]]  # an array, or why there is none

NARROW = ("bfloat16", "float8_e4m3fn", "float8_e5m2")


def widened(raw: np.ndarray, dtype: str) -> np.ndarray:
    """Return numbers of a format that NumPy has no type for, given as their bits, in float32; each is exact.

    Source: OCP 8-bit Floating Point Specification 1.0, sec. 5: E4M3 has bias 7, no infinity and one NaN; E5M2 is the
    upper half of a float16, as bfloat16 is of a float32.
    """
    if dtype == "bfloat16":
        return (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if dtype == "float8_e5m2":
        return (raw.astype(np.uint16) << np.uint16(8)).view(np.float16).astype(np.float32)
    return _E4M3[raw]


def _e4m3() -> np.ndarray:
    """List the numbers of E4M3 by their bits."""
    bits = np.arange(256)
    exponent, mantissa = bits >> 3 & 15, bits & 7
    size = np.where(exponent == 0, mantissa / 8 * 2.0**-6, (1 + mantissa / 8) * 2.0 ** (exponent - 7))
    size = np.where(bits & 127 == 127, np.nan, size)
    return np.where(bits & 128, -size, size).astype(np.float32)


_E4M3 = _e4m3()
