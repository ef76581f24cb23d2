"""Packed sequences cut into blocks of tokens, as tables on the device that kernels read.

No length is read back to the host, so a launch never waits and can be captured in a CUDA graph.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

from gdn_core.ops.varlen import most_blocks

Key = ParamSpec("Key")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Blocks:
    """Sequences cut into blocks of ``size`` tokens; an empty sequence has one empty block.

    Args:
        offsets: the first block of each sequence, int32 [N + 1].
        owner: the sequence of each block, int32 [count]; N for the blocks past the last one.
        spans: the first token of each block and the one past its last, int64 [count, 2]; both 0 past the last block.
        size: tokens a block.
    """

    offsets: Tensor
    owner: Tensor
    spans: Tensor
    size: int

    @property
    def count(self) -> int:
        """Count the blocks, those past the last one included."""
        return self.spans.shape[0]


def cut(cu_seqlens: Tensor, *, total: int, size: int, count: int | None = None) -> Blocks:
    """Cut packed sequences into blocks.

    Args:
        cu_seqlens: where each sequence starts, and the last one ends, [N + 1].
        total: tokens of all sequences together.
        size: tokens a block, >= 1.
        count: the number of blocks, if it is known; by default an upper bound, and blocks past the last one are empty.
    """
    lengths = cu_seqlens[1:] - cu_seqlens[:-1]
    ends = torch.cumsum((lengths + size - 1).div(size, rounding_mode="floor").clamp(min=1), 0)
    offsets = torch.nn.functional.pad(ends, (1, 0)).to(torch.int32)
    if count is None:
        count = most_blocks(total, size, cu_seqlens)
    block = torch.arange(count, device=ends.device)
    owner = torch.searchsorted(ends, block, right=True)
    sequence = owner.clamp(max=lengths.shape[0] - 1)
    starts = cu_seqlens[sequence] + (block - offsets[sequence]) * size
    stops = torch.minimum(starts + size, cu_seqlens[sequence + 1])
    spans = torch.stack([starts, stops], 1).to(torch.int64) * (owner < lengths.shape[0])[:, None]
    return Blocks(offsets, owner.to(torch.int32), spans, size)


def made_once(make: Callable[Key, Made]) -> Callable[Key, Made]:
    """Cache the tables of the 64 most recent shapes; tables that a CUDA graph reads are kept for good.

    The last argument is the device. The next caller may use another stream, so a table is complete on the device before
    it is cached. A table made while a graph is captured is filled by replays of that graph only, and is not shared.
    """
    made: OrderedDict[Any, Made] = OrderedDict()
    read_by_graphs: dict[Any, Made] = {}

    @wraps(make)
    def tables(*key: Key.args, **nothing: Key.kwargs) -> Made:
        device: Any = key[-1]
        on_gpu = device.type == "cuda"
        captured = on_gpu and torch.cuda.is_current_stream_capturing()
        if key in read_by_graphs:
            return read_by_graphs[key]
        if key in made:
            made.move_to_end(key)
            if captured:
                read_by_graphs[key] = made[key]
            return made[key]
        found = make(*key, **nothing)
        if captured:
            return found
        if on_gpu:
            torch.cuda.current_stream(device).synchronize()
        made[key] = found
        if len(made) > 64:
            made.popitem(last=False)
        return found

    return tables


@made_once
def batch(B: int, T: int, device: torch.device) -> Tensor:
    """Return ``cu_seqlens``, int32 [B + 1], of B sequences of T tokens each."""
    return torch.arange(0, (B + 1) * T, T, dtype=torch.int32, device=device)


@made_once
def cut_batch(B: int, T: int, size: int, device: torch.device) -> Blocks:
    """Cut B sequences of T tokens each into blocks; the tables are cached by shape."""
    return cut(batch(B, T, device), total=B * T, size=size, count=B * max(1, -(-T // size)))
