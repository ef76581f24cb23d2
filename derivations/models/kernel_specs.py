"""What a kernel of other people is given, and what it is to compute: the parts of a specification.

This module needs neither PyTorch nor Triton.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PRIMES = 3
ROLES = ("values", "decays", "output", "integers")
DTYPES = ("float64", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Argument:
    """An array that a kernel is given.

    Args:
        role: random values, random log decays, an output that was never written, or integers.
        shape: its sizes.
        dtype: of its entries, as the kernel sees them.
        entries: integers that are given.
        base_2: log decays are to the base 2, times log2(e), as ``exp2`` takes them.
    """

    role: str
    shape: tuple[int, ...]
    dtype: str
    entries: tuple[int, ...] = ()
    base_2: bool = False

    def __post_init__(self) -> None:
        if self.role != "integers" and self.dtype not in DTYPES:
            raise ValueError(f"dtype: expected one of {', '.join(DTYPES)}, got {self.dtype!r}")
        if not all(isinstance(size, int) and size > 0 for size in self.shape):
            raise ValueError(f"shape: expected sizes of 1 and more, got {list(self.shape)}")


def values(*shape: int, dtype: str = "float32") -> Argument:
    """Return an array of random values."""
    return Argument("values", shape, dtype)


def decays(*shape: int, dtype: str = "float32", base_2: bool = False) -> Argument:
    """Return an array of random log decays, of decays below 1: the only numbers of which there is an exponential.

    Args:
        shape: its sizes.
        dtype: of its entries.
        base_2: they are to the base 2, as a kernel's ``exp2`` takes them, and not in nats. ``expected`` is given them
            in the same way for both, with the one ``exp``.
    """
    return Argument("decays", shape, dtype, base_2=base_2)


def output(*shape: int, dtype: str = "float32") -> Argument:
    """Return an array that was never written."""
    return Argument("output", shape, dtype)


def integers(entries: Sequence[int], dtype: str = "int32") -> Argument:
    """Return an array of given integers, such as where packed sequences start."""
    if dtype not in ("int32", "int64"):
        raise ValueError(f"dtype: expected int32 or int64, got {dtype!r}")
    return Argument("integers", (len(entries),), dtype, tuple(entries))


class Launch:
    """A launch of a kernel.

    Args:
        grid: its programs, along one to three axes.
        arguments: by the names of the kernel's parameters: arrays, numbers and constants; and options of compilation,
            such as ``num_warps``.
    """

    def __init__(self, grid: Sequence[int], **arguments: Any) -> None:
        if not 1 <= len(grid) <= 3 or not all(isinstance(n, int) and n > 0 for n in grid):
            raise ValueError(f"grid: expected one to three numbers of programs, got {grid!r}")
        self.grid, self.arguments = tuple(grid), arguments


@dataclass(frozen=True)
class Spec:
    """A specification, as a file has it.

    Args:
        sizes: the sizes at which the kernel is checked, by the names of the parameters of ``launch``.
        launch: returns the launch at a size.
        expected: returns the outputs by name; its parameters are names of the launch's arguments, and ``exp``. Arrays
            are integers mod a prime, with ``+ - * @`` and indexing; log decays have an exponential.
    """

    sizes: tuple[Mapping[str, int], ...]
    launch: Callable[..., Launch]
    expected: Callable[..., Mapping[str, Any]]


def in_words(size: Mapping[str, int]) -> str:
    """Print a size."""
    return ", ".join(f"{name} = {number}" for name, number in size.items())
