"""Windows: the segments that the backward pass works on at a time. What it computes again is kept for those alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gdn_core.ops.kernels.blocks import Blocks, cut_batch, made_once
from gdn_core.ops.kernels.stages import CHUNK


@dataclass(frozen=True)
class Window:
    """Segments ``first``, ``first + step``, ... of which there are ``count``, and places for the chunks in them.

    Args:
        first: first segment.
        step: from one segment to the next.
        count: how many segments.
        dense: the window is all there is, and a chunk's place is its number; else a segment has as many places as
            the longest one has chunks.
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

    def of(self, table: Tensor | None) -> Tensor | None:
        """Take the entries of a table [segment, ...] that this window is about."""
        if table is None:
            return None
        return table[self.first : self.first + (self.count - 1) * self.step + 1 : self.step]


def everything(chunks: Blocks, segments: Blocks) -> Window:
    """Return the window that holds all segments."""
    return Window(0, 1, segments.count, True, chunks.spans)


@made_once
def batch_windows(B: int, T: int, length: int, count: int | None, device: torch.device) -> tuple[Window, ...]:
    """Cut B sequences of T tokens each into windows; the tables of a shape are made once.

    Args:
        B: sequences.
        T: tokens a sequence.
        length: chunks a segment.
        count: segments a window, from the first one on; None for one of each sequence, from the last one on.
        device: where the tables are.
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
