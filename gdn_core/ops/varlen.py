"""Packed sequences: where each begins and ends, and how many blocks they need at most. All arithmetic of cu_seqlens.

The tables that kernels look up on the device are made of the same numbers beside the kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

Array = Any  # a one-dimensional tensor of integers


def count(cu_seqlens: Array | None, B: int) -> int:
    """Count the sequences: those that are packed, or the B of a batch."""
    return B if cu_seqlens is None else cu_seqlens.shape[0] - 1


def most_blocks(total: int, size: int, cu_seqlens: Array | None) -> int:
    """Bound the blocks of ``size`` tokens that sequences are cut into, without a look at their lengths.

    Args:
        total: tokens of one sequence of a batch, or of all packed sequences.
        size: tokens a block.
        cu_seqlens: where packed sequences start, or None for a batch: then the bound is exact.
    """
    if cu_seqlens is None:
        return -(-total // size)
    return total // size + cu_seqlens.shape[0] - 1  # no sum of lengths rounded up is larger


def slices(cu_seqlens: Array) -> Iterator[slice]:
    """Yield the tokens of each packed sequence, reading the bounds back from the device."""
    for start, stop in pairwise(cu_seqlens.tolist()):
        yield slice(start, stop)
