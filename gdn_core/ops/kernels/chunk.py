"""The chunk form of the rules with a scalar decay and one beta: the order of the stages, forward and backward.

Forward: prepare, scan. If sequences are split into segments, the segments' affine maps are computed and composed in
between. Backward, one window after the other: prepare, both scans, gradients.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import torch
import triton
from torch import Tensor

from gdn_core.ops.kernels import scan_backward
from gdn_core.ops.kernels.blocks import Blocks, batch, cut, cut_batch
from gdn_core.ops.kernels.chip import chip_of, scans_on_hopper
from gdn_core.ops.kernels.compose import chunk_compose
from gdn_core.ops.kernels.gradients import chunk_gradients, room, summed
from gdn_core.ops.kernels.launches import device_of
from gdn_core.ops.kernels.limits import poison
from gdn_core.ops.kernels.padding import clear_padding
from gdn_core.ops.kernels.prepare import chunk_prepare
from gdn_core.ops.kernels.scan import scan_maps, scan_outputs
from gdn_core.ops.kernels.scan_backward import scan_added_gradients, scans
from gdn_core.ops.kernels.stages import CHUNK, Prepared
from gdn_core.ops.kernels.states import states_of
from gdn_core.ops.kernels.windows import Window, batch_windows, everything

LONG = 256  # chunks of a sequence that is split even if its scans fill half of the chip
SHARE = 64  # the part of the device's memory that the backward pass may take for what it recomputes at once


class Saved(NamedTuple):
    """What the forward pass saves for the backward pass.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V].
        g: log decay in nats, [B, T, HV]; None for no decay.
        beta: erase and write gate, [B, T, HV]; None where nothing is erased.
        initial_state: memory before each sequence, float32, or None for zero.
        h_kept: memory before each segment, [segment, HV, V, K] float32, where sequences were split; else None.
        maps: M of each segment but the first of a sequence, [segment, HV, K, K] float32, where sequences were split
            and ``keeps_maps``; else None.
        cu_seqlens: where each packed sequence starts, [N + 1]; None for B sequences of T tokens.
        limits: where segments have a token that is not finite, int32 [segment, HV], as ``limits_of`` says.
        scale: factor on the queries.
        state_v_first: states are [N, HV, V, K], not [N, HV, K, V].
        length: chunks in a segment.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    g: Tensor | None
    beta: Tensor | None
    initial_state: Tensor | None
    h_kept: Tensor | None
    maps: Tensor | None
    cu_seqlens: Tensor | None
    limits: Tensor
    scale: float
    state_v_first: bool
    length: int


def segment_length(*, sequences: int, total: int, heads: int, V: int, processors: int) -> int:
    """Choose the number of chunks in a segment, so that few heads still fill the chip.

    A split scan runs every segment twice, for its map and for its outputs. So it pays only if most of the chip is idle,
    or half of it for long (DECISIONS 79 has the measurements).

    Args:
        sequences: the number of sequences.
        total: tokens of all sequences together.
        heads: value heads.
        V: value channels.
        processors: multiprocessors of the device.

    Returns:
        Chunks in a segment; at least those of the whole stream if nothing is to be split.
    """
    whole = triton.cdiv(total, CHUNK) + 1
    each = triton.cdiv(total, CHUNK * sequences)  # mean number of chunks in a sequence
    at_once = processors // (sequences * heads * triton.cdiv(V, 64))  # scans of all memories, 64 rows a program
    if at_once < 2 or each < (LONG if at_once == 2 else 32):
        return whole
    return max(8, triton.cdiv(each, 4 if at_once == 2 else at_once))


def keeps_maps(B: int, HV: int, V: int, *, packed: bool, processors: int) -> bool:
    """Tell whether the backward pass of split sequences needs the maps of their segments.

    It does not if one segment of each sequence fills the chip. Then segments are processed one after the other, the
    last one first, and each starts from the gradient that the segment behind it ends with.
    """
    return packed or 8 * B * HV * triton.cdiv(V, 64) < 3 * processors


def tables(q: Tensor, cu_seqlens: Tensor | None, length: int) -> tuple[Tensor, Blocks, Blocks]:
    """Return ``cu_seqlens``, and the sequences cut into chunks and into segments of ``length`` chunks."""
    B, T = q.shape[:2]
    if cu_seqlens is None:
        device = device_of(q)
        return batch(B, T, device), cut_batch(B, T, CHUNK, device), cut_batch(B, T, CHUNK * length, device)
    return cu_seqlens, *cut(cu_seqlens, total=B * T, size=CHUNK, size_2=CHUNK * length)


def as_kv(state: Tensor | None, state_v_first: bool) -> Tensor | None:
    """View a state as [N, HV, K, V], whatever its layout."""
    return state.transpose(-1, -2) if state is not None and state_v_first else state


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    *,
    scale: float,
    initial_state: Tensor | None = None,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    output_final_state: bool = False,
    save_for_backward: bool = False,
    length: int | None = None,
) -> tuple[Tensor, Tensor | None, Saved | None]:
    """Run the chunk form.

    Args:
        q: queries, [B, T, H, K], contiguous.
        k: keys, [B, T, H, K], contiguous.
        v: values, [B, T, HV, V], contiguous, HV a multiple of H.
        g: log decay in nats, [B, T, HV], <= 0, contiguous; None for no decay.
        beta: erase and write gate, [B, T, HV], contiguous; None where nothing is erased and all is written.
        scale: factor on the queries.
        initial_state: memory before each sequence, [N, HV, K, V] float32; None for zero.
        state_v_first: states are [N, HV, V, K].
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1]; then B is 1.
        output_final_state: return the memory after each sequence.
        save_for_backward: return what ``backward`` needs.
        length: chunks in a segment; by default as ``segment_length`` chooses.

    Returns:
        The outputs [B, T, HV, V] in the dtype of v; the memories after each sequence, float32, or None; and what
        ``backward`` needs, or None.
    """
    B, T = q.shape[:2]
    HV, V = v.shape[-2:]
    N = B if cu_seqlens is None else cu_seqlens.shape[0] - 1
    if length is None:
        processors = chip_of(device_of(q)).processors
        length = segment_length(sequences=N, total=B * T, heads=HV, V=V, processors=processors)
    starts_at, chunks, segments = tables(q, cu_seqlens, length)
    prepared = chunk_prepare(
        q, k, g, beta, HV=HV, scale=scale, cu_seqlens=starts_at, chunks=chunks,
        with_Aqk=not scans_on_hopper(q.shape[-1], V, q, k, v),  # this scan computes Aqk itself
    )  # fmt: skip
    state, h_kept, maps = as_kv(initial_state, state_v_first), None, None
    if segments.count > N:
        maps, added = scan_maps(q, k, v, prepared, state, segments=segments)
        h_kept = chunk_compose(maps, added, state, V=V, segments=segments, x=k)
        state = h_kept.transpose(-1, -2)
    o, ends, limits = scan_outputs(q, k, v, prepared, state, segments=segments)
    if cu_seqlens is not None:
        clear_padding(cu_seqlens, o)
    final_state = None
    if output_final_state:
        final_state = states_of(ends, segments, last=True, state_v_first=state_v_first)
    saved = None
    if save_for_backward:
        if not keeps_maps(B, HV, V, packed=cu_seqlens is not None, processors=chip_of(device_of(q)).processors):
            maps = None
        saved = Saved(
            q, k, v, g, beta, initial_state, h_kept, maps, cu_seqlens, limits, scale, state_v_first, length
        )  # fmt: skip
    return o, final_state, saved


def backward(
    saved: Saved, do: Tensor, dfinal_state: Tensor | None, *, at_once: bool = False
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Run the backward pass of the chunk form; large intermediates are recomputed window by window, not stored.

    Args:
        saved: from ``forward``.
        do: gradient of the outputs, [B, T, HV, V], contiguous.
        dfinal_state: gradient of the memory after each sequence, float32 in the layout of the states; None for zero.
        at_once: process all windows at once where the device has memory to spare; the gradients are the same bits.

    Returns:
        dq, dk, dv, dg, dbeta, each in the dtype of its input, and the gradient of the initial state, float32 in its
        layout; None for an input that was not given.
    """
    dq, dk, dv, dg, dbeta, dinitial_state = gradients(saved, do, dfinal_state, at_once=at_once)
    return dq, dk, dv, summed(dg, saved.g), summed(dbeta, saved.beta), dinitial_state


def gradients(
    saved: Saved, do: Tensor, dfinal_state: Tensor | None, *, at_once: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None]:
    """Launch the backward pass: as ``backward``, but dg and dbeta are still to be ``summed``."""
    q, k, v, g, beta = saved.q, saved.k, saved.v, saved.g, saved.beta
    B, T, HV, V = v.shape
    length = saved.length
    if saved.cu_seqlens is None:  # no longer than a sequence, so that its chunks fill their places
        length = min(length, max(1, triton.cdiv(T, CHUNK)))
    starts_at, chunks, segments = tables(q, saved.cu_seqlens, length)
    state, dstate = as_kv(saved.initial_state, saved.state_v_first), as_kv(dfinal_state, saved.state_v_first)
    dv = torch.empty_like(v)
    written = room(q, k, v, decay=g is not None, erase=beta is not None)
    dh_kept = scan_backward.kept(q, v, segments)
    programs = 2 * HV * triton.cdiv(V, 64)  # that scan one segment at a time
    chip = chip_of(device_of(q))
    one_after_the_other = saved.h_kept is not None and saved.maps is None
    whole = everything(chunks, segments)
    windows: tuple[Window, ...] = (whole,)
    if one_after_the_other:
        windows = batch_windows(B, T, length, None, device_of(q))
    elif saved.cu_seqlens is None and segments.count * programs > chip.processors:
        windows = batch_windows(B, T, length, max(1, chip.processors // programs), device_of(q))
    parts = [(window, [window]) for window in windows]  # what is prepared, and differentiated, in one launch each
    if at_once and SHARE * recomputed(q, v, chunks.count) <= chip.memory:
        steps = [replace(window, dense=True, spans=whole.spans) for window in windows if one_after_the_other]
        parts = [(whole, steps or [whole])]

    def prepare(window: Window) -> Prepared:
        here = replace(chunks, spans=window.spans)
        return chunk_prepare(q, k, g, beta, HV=HV, scale=saved.scale, cu_seqlens=starts_at, chunks=here)

    prepared = None
    if saved.h_kept is not None:
        state = saved.h_kept.transpose(-1, -2)
        if saved.maps is not None:  # what each segment adds to the gradient, composed over the segments
            prepared = prepare(whole)
            added = scan_added_gradients(q, k, do, prepared, segments=segments, window=whole)
            dstate = chunk_compose(
                saved.maps, added, dstate, V=V, segments=segments, x=k, reverse=True
            ).transpose(-1, -2)
    for window, steps in parts:
        if prepared is None or window is not whole:
            prepared = None  # before the next window takes as much room
            prepared = prepare(window)
        scanned = scan_backward.room(q, v, erase=beta is not None, window=window)
        for step in steps:
            behind = dstate
            if not one_after_the_other:
                behind = step.of(dstate)
            elif step.first < windows[0].first:  # segments are scanned last first
                behind = step.after(dh_kept).transpose(-1, -2)
            scans(
                q, k, v, do, prepared, step.of(state), behind, dv, scanned, dh_kept,
                limits=saved.limits, segments=segments, window=step,
            )  # fmt: skip
        chunk_gradients(q, k, do, dv, prepared, scanned, written, window=window)
        del scanned  # before the next window takes as much room
    poison(written, saved.limits, starts_at, segments=segments)
    if saved.cu_seqlens is not None:
        clear_padding(saved.cu_seqlens, dv, *written)
    dinitial_state = None
    if saved.initial_state is not None:
        dinitial_state = states_of(dh_kept, segments, last=False, state_v_first=saved.state_v_first)
    return written.dq, written.dk, dv, written.dg, written.dbeta, dinitial_state


def recomputed(q: Tensor, v: Tensor, places: int) -> int:
    """Return about how many bytes a window of this many places takes."""
    K, (HV, V) = q.shape[-1], v.shape[-2:]
    return places * HV * q.element_size() * (2 * V * K + CHUNK * V + 2 * CHUNK * CHUNK)
