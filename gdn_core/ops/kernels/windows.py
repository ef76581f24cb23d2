"""Windows: the segments that the backward pass processes at a time, to bound the memory for what it recomputes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import overload

import torch
from torch import Tensor

from gdn_core.ops.kernels.blocks import Blocks, cut_batch, made_once
from gdn_core.ops.kernels.stages import CHUNK


@dataclass(frozen=True)
class Window:
    """The ``count`` segments ``first``, ``first + step``, ... and the places of their chunks in the window's tensors.

    Args:
        first: first segment.
        step: distance from one segment to the next.
        count: the number of segments.
        dense: a chunk's place is its number in all sequences. Otherwise each segment has as many places as the longest
            has chunks.
        spans: the first token of the chunk at each place and the one past its last, int64 [place, 2]; both 0 where
            there is none.
    """

    first: int
    step: int
    count: int
    dense: bool
    spans: Tensor

    @property
    def places(self) -> int:
        """Count the places."""
        return self.spans.shape[0]

    @overload
    def of(self, table: Tensor) -> Tensor: ...

    @overload
    def of(self, table: None) -> None: ...

    def of(self, table: Tensor | None) -> Tensor | None:
        """Return the entries of a table [segment, ...] for this window's segments."""
        if table is None:
            return None
        return table[self.first : self.first + (self.count - 1) * self.step + 1 : self.step]

    def after(self, table: Tensor) -> Tensor:
        """Return the entries of a table for the segments behind this window's."""
        return replace(self, first=self.first + 1).of(table)


def everything(chunks: Blocks, segments: Blocks) -> Window:
    """Return the window that holds all segments."""
    return Window(0, 1, segments.count, True, chunks.spans)


@made_once
def batch_windows(B: int, T: int, length: int, count: int | None, device: torch.device) -> tuple[Window, ...]:
    """Cut B sequences of T tokens each into windows; the tables are cached by shape.

    Args:
        B: sequences.
        T: tokens a sequence.
        length: chunks in a segment.
        count: segments in a window, the first segments first; None for one segment of each sequence, the last first.
        device: the device of the tables.
    """
    chunks = cut_batch(B, T, CHUNK, device)
    each = chunks.count // B
    segments = -(-each // length)  # of a sequence
    if count is None:
        cuts = [(r, segments, B) for r in reversed(range(segments))]
    else:
        cuts = [(first, 1, min(count, B * segments - first)) for first in range(0, B * segments, count)]
    windows = []
    for first, step, held in cuts:
        segment = first + step * torch.arange(held, device=device)[:, None]
        within = segment % segments * length + torch.arange(length, device=device)
        chunk = segment // segments * each + within.clamp(max=each - 1)
        spans = chunks.spans[chunk.flatten()] * (within < each).flatten()[:, None]
        windows.append(Window(first, step, held, False, spans))
    return tuple(windows)
