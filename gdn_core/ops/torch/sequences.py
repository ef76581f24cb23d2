"""The plain PyTorch forms over a batch or over packed sequences, forward and backward.

Scalar decays and a beta go to :mod:`gdn_core.ops.torch.chunk`, gates by channel to :mod:`gdn_core.ops.torch.channels`.

Packed sequences of the same length are run as batches of bounded size; the result is the same to the bit as for each
sequence alone. Outputs and gradients of the padding behind the last sequence are 0. This module decides whether a run
is guarded (see :mod:`gdn_core.ops.torch.chunk`): on the CPU by checking the numbers, on other devices always, since a
check would wait for the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from gdn_core.ops import varlen
from gdn_core.ops.torch import channels, chunk, precision, recurrent

Tensor = torch.Tensor

MOST_STEPS = 16  # tokens up to which the recurrence is used
# Memories (sequences times heads) in a batch of packed sequences; more would not fit into the cache.
MOST_CHUNKS = 256
MOST_MEMORIES = 1024  # the same token by token, which needs no other buffers


def room(v: Tensor, K: int, cu_seqlens: Tensor | None, *, erase: bool) -> chunk.Kept:
    """Allocate what :func:`forward` keeps for :func:`backward`."""
    spans, chunks = (varlen.most_blocks(v.shape[1], n, cu_seqlens) for n in (chunk.SPAN, chunk.CHUNK_SIZE))
    return chunk.room(v, K, spans=spans, chunks=chunks if erase else 0)


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    state: Tensor | None,
    cu_seqlens: Tensor | None,
    *,
    scale: float,
    w: Tensor | None = None,
    kept: chunk.Kept | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the chunk form; arguments as of :func:`gdn_core.ops.torch.channels.forward`, and a state [N, HV, K, V]."""
    if cu_seqlens is None:
        return _chunks(q, k, v, g, beta, w, scale=scale, initial_state=state, kept=kept)
    o, S = _room_packed(k, v, state, cu_seqlens)
    if kept is not None:
        for x in kept:
            x.zero_()
    for group in _groups(cu_seqlens, v.shape[2]):
        own = None if kept is None else group.take_kept(kept)
        o_of_group, S[group.numbers] = _chunks(
            *group.take(q, k, v, g, beta, w), scale=scale, initial_state=S[group.numbers], kept=own
        )
        group.put(o_of_group, o)
        if kept is not None and own is not None:
            group.put_kept(own, kept)
    return o, S


def backward(
    do: Tensor,
    dS: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    cu_seqlens: Tensor | None,
    *,
    scale: float,
    w: Tensor | None = None,
    kept: chunk.Kept,
) -> chunk.Gradients | channels.Gradients:
    """Run the backward pass, with the arguments of :func:`forward`."""
    if cu_seqlens is None:
        return _chunks_backward(do, dS, q, k, v, g, beta, w, scale=scale, kept=kept)
    dq, dk, dv = (torch.zeros_like(x) for x in (q, k, v))
    dg, dbeta, dw = (None if x is None else torch.zeros_like(x) for x in (g, beta, w))
    gates = (dg, dbeta, dw) if channels.by_channel(g, beta, w) else (dg, dbeta)
    _, dstate = _room_packed(k, v, dS, cu_seqlens)
    for group in _groups(cu_seqlens, v.shape[2]):
        do_of_group, *given = group.take(do, q, k, v, g, beta, w)
        *gradients, dstate[group.numbers] = _chunks_backward(
            do_of_group, dstate[group.numbers], *given, scale=scale, kept=group.take_kept(kept)
        )
        for part, whole in zip(gradients, (dq, dk, dv, *gates), strict=True):
            if part is not None and whole is not None:
                group.put(part, whole)
    if channels.by_channel(g, beta, w):
        return channels.Gradients(dq, dk, dv, dg, dbeta, dw, dstate)
    return chunk.Gradients(dq, dk, dv, dg, dbeta, dstate)


def steps(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    state: Tensor | None,
    cu_seqlens: Tensor | None,
    *,
    scale: float,
    w: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Run short sequences token by token and long ones in chunks, whichever is faster; no gradients."""
    if cu_seqlens is None:
        form = _steps if q.shape[1] <= MOST_STEPS else _chunks
        return form(q, k, v, g, beta, w, scale=scale, initial_state=state)
    o, S = _room_packed(k, v, state, cu_seqlens)
    for group in _groups(cu_seqlens, v.shape[2], MOST_STEPS):
        form = _steps if group.length <= MOST_STEPS else _chunks
        given = group.take(q, k, v, g, beta, w)
        o_of_group, S[group.numbers] = form(*given, scale=scale, initial_state=S[group.numbers])
        group.put(o_of_group, o)
    return o, S


def _room_packed(k: Tensor, v: Tensor, state: Tensor | None, cu_seqlens: Tensor) -> tuple[Tensor, Tensor]:
    """Allocate outputs, zero behind the last sequence, and the memories before each sequence."""
    (HV, V), K = v.shape[-2:], k.shape[-1]
    dtype = torch.promote_types(v.dtype, torch.float32)
    S = v.new_zeros(varlen.count(cu_seqlens, 1), HV, K, V, dtype=dtype)
    if state is not None:
        S += state
    return torch.zeros(v.shape, dtype=v.dtype, device=v.device), S


class _Group(NamedTuple):
    """Packed sequences of the same length that are run as a batch."""

    length: int
    numbers: Tensor  # of the sequences
    tokens: Tensor  # [n, length], places of their tokens
    spans: Tensor  # [n, spans], places of the memories before their spans
    chunks: Tensor  # [n, chunks], places of their errors

    def take(self, *tensors: Tensor | None) -> list[Any]:
        """Copy the tokens [1, T, ...] of the sequences to [n, length, ...].

        Not a view: sums and products of other strides or alignment differ in their last bits.
        """
        return [None if x is None else x[0, self.tokens] for x in tensors]

    def put(self, values: Tensor, x: Tensor) -> None:
        """Write [n, length, ...] to the tokens [1, T, ...] of the sequences."""
        x[0, self.tokens] = values

    def take_kept(self, kept: chunk.Kept) -> chunk.Kept:
        """Copy what was kept of the sequences to the layout of a batch."""
        places = self.spans, self.chunks if kept.v_new.shape[0] else self.chunks[:, :0]
        return chunk.Kept(*(x[at].transpose(0, 1).flatten(1, 2) for x, at in zip(kept, places, strict=True)))

    def put_kept(self, own: chunk.Kept, kept: chunk.Kept) -> None:
        """Write what a batch has kept to the places of its sequences."""
        for x, whole, at in zip(own, kept, (self.spans, self.chunks), strict=True):
            if whole.shape[0]:
                whole[at] = x.unflatten(1, (len(self.numbers), -1)).transpose(0, 1)


def _groups(cu_seqlens: Tensor, heads: int, steps: int = 0) -> Iterator[_Group]:
    """Group the sequences that are not empty by length, reading the bounds back from the device.

    Args:
        cu_seqlens: their bounds.
        heads: value heads.
        steps: tokens up to which a sequence is run token by token.
    """
    sequences: dict[int, list[tuple[int, int, int, int]]] = {}
    spans = chunks = 0
    for n, tokens in enumerate(varlen.slices(cu_seqlens)):
        length = tokens.stop - tokens.start
        if length:
            sequences.setdefault(length, []).append((n, tokens.start, spans, chunks))
            spans += varlen.most_blocks(length, chunk.SPAN, None)
            chunks += varlen.most_blocks(length, chunk.CHUNK_SIZE, None)
    device = cu_seqlens.device
    for length, members in sequences.items():
        counts = (1, length, *(varlen.most_blocks(length, size, None) for size in (chunk.SPAN, chunk.CHUNK_SIZE)))
        most = MOST_MEMORIES if length <= steps else MOST_CHUNKS // min(counts[3], chunk.CHUNKS_AT_ONCE)
        at_once = max(1, most // heads)
        for first in range(0, len(members), at_once):
            starts = torch.tensor(members[first : first + at_once], device=device)
            numbers, *places = (
                start[:, None] + torch.arange(n, device=device)
                for start, n in zip(starts.unbind(1), counts, strict=True)
            )
            yield _Group(length, numbers[:, 0], *places)


def _steps(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    w: Tensor | None,
    *,
    scale: float,
    initial_state: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Run a batch token by token."""
    if channels.by_channel(g, beta, w):
        return channels.recurrent(q, k, v, g, beta, w, scale=scale, initial_state=initial_state)
    return recurrent.recurrent(q, k, v, g, beta, scale=scale, initial_state=initial_state)


def _chunks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    w: Tensor | None,
    *,
    scale: float,
    initial_state: Tensor | None,
    kept: chunk.Kept | None = None,
) -> tuple[Tensor, Tensor]:
    """Run the chunk form over a batch, guarded if need be.

    Whether there are numbers that are not finite is read from the last memory: a token with one that reaches others
    makes it not finite.
    """

    def run(guarded: bool) -> tuple[Tensor, Tensor]:
        if channels.by_channel(g, beta, w):
            return channels.forward(
                q, k, v, g, beta, w, scale=scale, initial_state=initial_state, kept=kept, guarded=guarded
            )  # fmt: skip
        return chunk.forward(
            q, k, v, g, beta, scale=scale, initial_state=initial_state, kept=kept, guarded=guarded
        )  # fmt: skip

    guarded = _forgets(g, v.device)
    o, S = run(guarded)
    return (o, S) if guarded or _finite(S) else run(True)


def _chunks_backward(
    do: Tensor,
    dS: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    w: Tensor | None,
    *,
    scale: float,
    kept: chunk.Kept,
) -> chunk.Gradients | channels.Gradients:
    """Run the backward pass over a batch, guarded if need be."""

    def run(guarded: bool, *given: Any, kept: chunk.Kept) -> chunk.Gradients | channels.Gradients:
        if channels.by_channel(g, beta, w):
            return channels.backward(do, dS, *given, scale=scale, kept=kept, guarded=guarded)
        return chunk.backward(do, dS, *given[:5], scale=scale, kept=kept, guarded=guarded)

    guarded = _forgets(g, v.device)
    if not guarded:
        gradients = run(False, q, k, v, g, beta, w, kept=kept)
        if _finite(*gradients):
            return gradients
    *given, kept = _needed(do, dS, q, k, v, g, beta, w, kept)
    return run(True, *given, kept=kept)


def _forgets(g: Tensor | None, device: torch.device) -> bool:
    """Tell whether there may be decays of 0: by the numbers on the CPU, always True elsewhere."""
    if device.type != "cpu":
        return True
    return g is not None and g.numel() > 0 and bool(g.min() <= precision.FORGETS[precision.wide(device)])


def _finite(*tensors: Tensor | None) -> bool:
    """Tell whether all numbers are finite, by their sums; if a sum overflows it is False, which costs only time."""
    given = [x for x in tensors if x is not None]
    return all(bool(x.sum(dtype=torch.promote_types(x.dtype, torch.float32)).isfinite()) for x in given)


def _needed(
    do: Tensor,
    dS: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    w: Tensor | None,
    kept: chunk.Kept,
) -> tuple[Any, ...]:
    """Replace the tokens behind the last output with a gradient by zeros.

    Their gradients are 0, and the other gradients do not depend on them; but if they hold NaN, products with 0 would.
    """
    T, HV = v.shape[1:3]
    H = k.shape[2]
    read = (do != 0).any(-1).flip(1).cumsum(1).flip(1) > 0  # this token or a later one
    if dS is not None:
        read |= (dS != 0).flatten(2).any(-1)[:, None]
    by_key = read.unflatten(2, (H, HV // H)).any(-1)

    def cleared(x: Tensor | None, keep: Tensor) -> Any:
        return None if x is None else x.masked_fill(~keep[(...,) + (None,) * (x.ndim - keep.ndim)], 0)

    h = cleared(kept.h, read[:, :: chunk.SPAN].movedim(1, 0).flatten(1))
    v_new = kept.v_new
    if v_new.shape[0]:
        padded = torch.nn.functional.pad(read, (0, 0, 0, -T % chunk.CHUNK_SIZE))
        rows = padded.unflatten(1, (-1, chunk.CHUNK_SIZE)).permute(1, 0, 3, 2).flatten(1, 2)  # [chunks, X, C]
        v_new = cleared(v_new, rows)
    return (
        *(cleared(x, by_key) for x in (q, k)), *(cleared(x, read) for x in (v, g, beta, w)), chunk.Kept(h, v_new),
    )  # fmt: skip
