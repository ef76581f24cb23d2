"""Packed sequences: the arithmetic of ``cu_seqlens`` on the host.

The tables that kernels read on the device are made in :mod:`gdn_core.ops.kernels.blocks`.
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
    """Return an upper bound on the number of blocks of ``size`` tokens, without reading the sequences' lengths.

    Args:
        total: tokens of one sequence of a batch, or of all packed sequences.
        size: tokens a block.
        cu_seqlens: bounds of packed sequences; None for a batch, whose number is exact.
    """
    if cu_seqlens is None:
        return -(-total // size)
    return total // size + cu_seqlens.shape[0] - 1  # each rounding up adds less than one block


def slices(cu_seqlens: Array) -> Iterator[slice]:
    """Yield the tokens of each packed sequence, reading the bounds back from the device."""
    for start, stop in pairwise(cu_seqlens.tolist()):
        yield slice(start, stop)
