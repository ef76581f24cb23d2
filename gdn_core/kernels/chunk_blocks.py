"""Packed sequences cut into blocks of tokens, as tables that kernels look up.

Everything stays on the device: no length is read back, so a launch never waits and can be captured in a graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Blocks:
    """Sequences cut into blocks of ``size`` tokens; an empty sequence has one empty block.

    Args:
        offsets: the first block of each sequence, int32 [N + 1].
        owner: the sequence of each block, int32 [count]; N for the blocks past the last one.
        size: tokens a block.
    """

    offsets: Tensor
    owner: Tensor
    size: int

    @property
    def count(self) -> int:
        """Count the blocks, those past the last one included."""
        return self.owner.shape[0]


def cut(cu_seqlens: Tensor, *, total: int, size: int) -> Blocks:
    """Cut packed sequences into blocks.

    Args:
        cu_seqlens: where each sequence starts, and the last one ends, [N + 1].
        total: tokens of all sequences together.
        size: tokens a block, >= 1.
    """
    lengths = cu_seqlens[1:] - cu_seqlens[:-1]
    ends = torch.cumsum((lengths + size - 1).div(size, rounding_mode="floor").clamp(min=1), 0)
    offsets = torch.nn.functional.pad(ends, (1, 0)).to(torch.int32)
    # No sum of lengths rounded up is larger, so the count needs no look at the lengths.
    count = total // size + lengths.shape[0]
    owner = torch.searchsorted(ends, torch.arange(count, device=ends.device), right=True).to(torch.int32)
    return Blocks(offsets, owner, size)


@lru_cache(maxsize=64)
def batch(B: int, T: int, device: torch.device) -> Tensor:
    """Return ``cu_seqlens``, int32 [B + 1], of B sequences of T tokens each."""
    return torch.arange(0, (B + 1) * T, T, dtype=torch.int32, device=device)


@lru_cache(maxsize=64)
def cut_batch(B: int, T: int, size: int, device: torch.device) -> Blocks:
    """Cut B sequences of T tokens each into blocks; the tables of a shape are made once."""
    each = max(1, -(-T // size))
    owner = torch.arange(B, dtype=torch.int32, device=device).repeat_interleave(each)
    return Blocks(torch.arange(0, (B + 1) * each, each, dtype=torch.int32, device=device), owner, size)
