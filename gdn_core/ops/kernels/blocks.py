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
import triton
import triton.language as tl
from torch import Tensor

from gdn_core.ops.kernels.launches import launcher, unrecorded
from gdn_core.ops.varlen import most_blocks

BLOCK, SEQUENCES = 64, 64  # blocks that a program of cut_kernel writes, and sequences that it looks at, at a time

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


@triton.jit
def cut_into(cu_seqlens, offsets, owner, spans, N, count, size, BLOCK: tl.constexpr, SEQUENCES: tl.constexpr):
    """Write one program's part of the tables of ``Blocks``."""
    o_b = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    o_n = tl.arange(0, SEQUENCES)
    first_program = tl.program_id(0) == 0
    b_owner = tl.zeros((BLOCK,), tl.int32)
    b_first = tl.zeros((BLOCK,), tl.int64)  # the first block of the owner
    before = tl.sum(tl.zeros((BLOCK,), tl.int64), 0)
    for n in range(0, N, SEQUENCES):
        m_n = n + o_n < N
        b_length = tl.load(cu_seqlens + n + o_n + 1, mask=m_n, other=0).to(tl.int64)
        b_length -= tl.load(cu_seqlens + n + o_n, mask=m_n, other=0).to(tl.int64)
        b_blocks = tl.where(m_n, tl.maximum((b_length + size - 1) // size, 1), 0)
        b_ends = before + tl.cumsum(b_blocks, 0)
        tl.store(offsets + n + o_n + 1, b_ends.to(tl.int32), mask=m_n & first_program)
        m_passed = (b_ends[None, :] <= o_b[:, None]) & m_n[None, :]
        b_owner += tl.sum(m_passed.to(tl.int32), 1)
        b_first = tl.maximum(b_first, tl.max(tl.where(m_passed, b_ends[None, :], 0), 1))
        before += tl.sum(b_blocks, 0)
    tl.store(offsets, 0, mask=first_program)
    m_b = o_b < count
    m_real = m_b & (b_owner < N)
    b_start = tl.load(cu_seqlens + b_owner, mask=m_real, other=0).to(tl.int64)
    b_start = tl.where(m_real, b_start + (o_b - b_first) * size, 0)
    b_stop = tl.load(cu_seqlens + b_owner + 1, mask=m_real, other=0).to(tl.int64)
    tl.store(owner + o_b, b_owner, mask=m_b)
    tl.store(spans + 2 * o_b, b_start, mask=m_b)
    tl.store(spans + 2 * o_b + 1, tl.minimum(b_start + size, b_stop), mask=m_b)


@triton.jit(do_not_specialize=["N", "count", "size", "count_2", "size_2"])
def cut_kernel(
    cu_seqlens, offsets, owner, spans, offsets_2, owner_2, spans_2, N, count, size, count_2, size_2,
    BLOCK: tl.constexpr, SEQUENCES: tl.constexpr,
):  # fmt: skip
    """Cut packed sequences into blocks of one size and of another."""
    if tl.program_id(1) == 0:
        cut_into(cu_seqlens, offsets, owner, spans, N, count, size, BLOCK, SEQUENCES)
    else:
        cut_into(cu_seqlens, offsets_2, owner_2, spans_2, N, count_2, size_2, BLOCK, SEQUENCES)


def cut(cu_seqlens: Tensor, *, total: int, size: int, size_2: int) -> tuple[Blocks, Blocks]:
    """Cut packed sequences into blocks of ``size`` tokens, and into blocks of ``size_2``, in one launch.

    The counts are upper bounds, since the lengths are not read; blocks past the last one are empty.

    Args:
        cu_seqlens: where each sequence starts, and the last one ends, [N + 1].
        total: tokens of all sequences together.
        size: tokens a block, >= 1.
        size_2: likewise.
    """
    N = cu_seqlens.shape[0] - 1

    def room(size: int) -> Blocks:
        offsets, owner, spans = (
            torch.empty(shape, dtype=dtype, device=cu_seqlens.device)
            for shape, dtype in (
                ((N + 1,), torch.int32),
                ((most_blocks(total, size, cu_seqlens),), torch.int32),
                ((most_blocks(total, size, cu_seqlens), 2), torch.int64),
            )
        )
        return Blocks(offsets, owner, spans, size)

    x, y = room(size), room(size_2)
    grid = (triton.cdiv(max(x.count, y.count, 1), BLOCK), 2)
    launcher(cut_kernel, grid)(
        cu_seqlens, x.offsets, x.owner, x.spans, y.offsets, y.owner, y.spans, N, x.count, size, y.count, size_2,
        BLOCK=BLOCK, SEQUENCES=SEQUENCES, num_warps=4,
    )  # fmt: skip
    return x, y


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
        with unrecorded():
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
    each = max(1, -(-T // size))
    starts = torch.arange(each, dtype=torch.int64, device=device) * size
    spans = torch.stack([starts, (starts + size).clamp(max=T)], 1)
    spans = (spans + T * torch.arange(B, device=device)[:, None, None]).flatten(0, 1)
    owner = torch.arange(B, dtype=torch.int32, device=device).repeat_interleave(each)
    return Blocks(torch.arange(0, (B + 1) * each, each, dtype=torch.int32, device=device), owner, spans, size)
