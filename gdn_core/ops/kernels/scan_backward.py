"""The scans of the backward pass: the gradient of the memory, last chunk first, and the memory, recomputed."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from gdn_core.ops.kernels.arithmetic import dot, operand_dtype, sum_dtype
from gdn_core.ops.kernels.blocks import Blocks
from gdn_core.ops.kernels.chip import (
    Tiles,
    fits_tensor_maps,
    most_registers,
    scans_on_hopper,
    sliced,
    tiles_of,
)
from gdn_core.ops.kernels.launches import launcher
from gdn_core.ops.kernels.stages import CHUNK, Prepared, Scanned
from gdn_core.ops.kernels.windows import Window


@triton.jit
def load_tokens(
    x, d_x, i_t, stop, row, column, channel, D: tl.constexpr, B: tl.constexpr, C: tl.constexpr,
    TMA: tl.constexpr, TAIL: tl.constexpr,
):  # fmt: skip
    """Load B channels of C tokens, [C, B]: by the tensor map d_x, or under a mask if a sequence ends among them.

    A tensor map would read into the next sequence, and 0 times its numbers may be NaN.
    """
    if TMA and not TAIL:
        b_x = d_x.load([i_t, column])
    else:
        o_t = i_t + tl.arange(0, C)
        o_d = tl.arange(0, B)
        m_x = (channel + o_d < D)[None, :]
        if TAIL:
            m_x &= (o_t < stop)[:, None]
        b_x = tl.load(x + o_t.to(tl.int64)[:, None] * row + column + o_d[None, :], mask=m_x, other=0.0)
    return b_x.to(operand_dtype(b_x.dtype))


@triton.jit
def store_tokens(
    x, d_x, b_x, i_t, stop, row, column, channel, D: tl.constexpr, B: tl.constexpr, C: tl.constexpr,
    TMA: tl.constexpr, TAIL: tl.constexpr,
):  # fmt: skip
    """Store B channels of C tokens, given as [B, C]."""
    if TMA and not TAIL:
        d_x.store([i_t, column], tl.trans(b_x))
    else:
        o_t = i_t + tl.arange(0, C)
        o_d = tl.arange(0, B)
        m_x = (channel + o_d < D)[:, None]
        if TAIL:
            m_x &= (o_t < stop)[None, :]
        tl.store(x + o_t.to(tl.int64)[None, :] * row + column + o_d[:, None], b_x, mask=m_x)


@triton.jit
def load_block(x, i_block, C: tl.constexpr, TMA: tl.constexpr):
    """Load the T or Aqk of one chunk and value head, [C, C]."""
    if TMA:
        b_x = x.load([i_block * C, 0])
    else:
        o_c = tl.arange(0, C)
        b_x = tl.load(x + i_block.to(tl.int64) * (C * C) + o_c[:, None] * C + o_c[None, :])
    return b_x.to(operand_dtype(b_x.dtype))


@triton.jit
def store_memory(
    x, b_x, i_block, i_v, K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, TMA: tl.constexpr
):  # fmt: skip
    """Store BV rows of a memory, [BV, BK]."""
    if TMA:
        x.store([i_block * V + i_v * BV, 0], b_x)
    else:
        o_v = i_v * BV + tl.arange(0, BV)
        o_k = tl.arange(0, BK)
        p_x = x + i_block.to(tl.int64) * (V * K) + o_v[:, None] * K + o_k[None, :]
        tl.store(p_x, b_x, mask=(o_v < V)[:, None] & (o_k < K)[None, :])


@triton.jit
def load_gates(gates, i_block, C: tl.constexpr, DECAY: tl.constexpr, ERASE: tl.constexpr):
    """Load gamma, rest and beta of a chunk's tokens, and the decay of the whole chunk."""
    SUM: tl.constexpr = gates.dtype.element_ty
    p_gates = gates + i_block.to(tl.int64) * (4 * C)
    o_c = tl.arange(0, C)
    b_gamma = tl.load(p_gates + C + o_c) if DECAY else tl.full((C,), 1.0, SUM)
    b_rest = tl.load(p_gates + 2 * C + o_c) if DECAY else tl.full((C,), 1.0, SUM)
    b_beta = tl.load(p_gates + 3 * C + o_c) if ERASE else tl.full((C,), 1.0, SUM)
    b_gamma_C = tl.load(p_gates + 2 * C - 1) if DECAY else tl.full((), 1.0, SUM)
    return b_gamma, b_rest, b_beta, b_gamma_C


@triton.jit
def gradient_step(
    b_dS, b_dSd, b_k, b_q, b_do, b_Aqk, b_T, b_gamma, b_rest, b_beta, b_gamma_C, scale,
    ERASE: tl.constexpr, SLICED: tl.constexpr,
):  # fmt: skip
    """Carry the gradient of the memory back over one chunk: write, read, error.

    Returns:
        The gradient of the memory before the chunk [BV, BK], and that of the values [BV, C].
    """
    b_du = dot(b_dSd, tl.trans(b_k), SLICED=SLICED) * b_rest[None, :]  # write
    b_du = dot(tl.trans(b_do), b_Aqk, b_du, SLICED=SLICED)
    b_dv = b_du
    if ERASE:
        b_dv = dot((b_du * b_beta[None, :]).to(b_k.dtype), b_T, SLICED=SLICED)
    b_r = tl.trans(b_do).to(b_dS.dtype) * (b_gamma * scale)[None, :]  # read
    b_dS = dot(b_r.to(b_k.dtype), b_q, b_dS * b_gamma_C, SLICED=SLICED)
    if ERASE:  # error
        b_dS = dot((b_dv * (-b_gamma)[None, :]).to(b_k.dtype), b_k, b_dS, SLICED=SLICED)
    return b_dS, b_dv.to(b_k.dtype)


@triton.jit
def state_step(b_S, b_Sd, b_k, b_v, b_T, b_gamma, b_rest, b_beta, b_gamma_C, ERASE: tl.constexpr, SLICED: tl.constexpr):
    """Carry the memory over one chunk: error, decay, write.

    Returns:
        The memory after the chunk [BV, BK], and the errors before their gate [BV, C].
    """
    b_e = tl.trans(b_v).to(b_S.dtype)
    if ERASE:
        b_x = b_e - dot(b_Sd, tl.trans(b_k), SLICED=SLICED) * b_gamma[None, :]
        b_e = dot(b_x.to(b_k.dtype), tl.trans(b_T), SLICED=SLICED)
    b_w = b_e * (b_beta * b_rest)[None, :]
    return dot(b_w.to(b_k.dtype), b_k, b_S * b_gamma_C, SLICED=SLICED), b_e.to(b_k.dtype)


@triton.jit
def back_over_chunk(
    b_dS, q, d_q, k, d_k, do, d_do, gates, T, Aqk, dv, d_dv, dh, i_t, i_block, stop,
    qk_row, qk_column, vo_row, vo_column, i_v, scale,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, C: tl.constexpr, DECAY: tl.constexpr,
    ERASE: tl.constexpr, WRITE: tl.constexpr, TMA: tl.constexpr, TAIL: tl.constexpr, SLICED: tl.constexpr,
):  # fmt: skip
    """Carry the gradient of the memory back over one chunk; store the gradients of that memory and of the values."""
    b_k = load_tokens(k, d_k, i_t, stop, qk_row, qk_column, 0, K, BK, C, TMA, TAIL)
    b_q = load_tokens(q, d_q, i_t, stop, qk_row, qk_column, 0, K, BK, C, TMA, TAIL)
    b_do = load_tokens(do, d_do, i_t, stop, vo_row, vo_column, i_v * BV, V, BV, C, TMA, TAIL)
    b_Aqk = load_block(Aqk, i_block, C, TMA)
    b_T = load_block(T, i_block, C, TMA) if ERASE else b_Aqk
    b_gamma, b_rest, b_beta, b_gamma_C = load_gates(gates, i_block, C, DECAY, ERASE)
    b_dSd = b_dS.to(b_k.dtype)
    if WRITE:
        store_memory(dh, b_dSd, i_block, i_v, K, V, BK, BV, TMA)
    b_dS, b_dv = gradient_step(
        b_dS, b_dSd, b_k, b_q, b_do, b_Aqk, b_T, b_gamma, b_rest, b_beta, b_gamma_C, scale, ERASE, SLICED
    )
    if WRITE:
        store_tokens(dv, d_dv, b_dv, i_t, stop, vo_row, vo_column, i_v * BV, V, BV, C, TMA, TAIL)
    return b_dS


@triton.jit
def forth_over_chunk(
    b_S, k, d_k, v, d_v, gates, T, e, d_e, h, i_t, i_e, i_block, stop, qk_row, qk_column, vo_row, vo_column, i_v,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, C: tl.constexpr, DECAY: tl.constexpr,
    ERASE: tl.constexpr, TMA: tl.constexpr, TAIL: tl.constexpr, SLICED: tl.constexpr,
):  # fmt: skip
    """Carry the memory over one chunk; store the memory before it and its errors."""
    b_k = load_tokens(k, d_k, i_t, stop, qk_row, qk_column, 0, K, BK, C, TMA, TAIL)
    b_v = load_tokens(v, d_v, i_t, stop, vo_row, vo_column, i_v * BV, V, BV, C, TMA, TAIL)
    b_T = load_block(T, i_block, C, TMA) if ERASE else b_k
    b_gamma, b_rest, b_beta, b_gamma_C = load_gates(gates, i_block, C, DECAY, ERASE)
    b_Sd = b_S.to(b_k.dtype)
    store_memory(h, b_Sd, i_block, i_v, K, V, BK, BV, TMA)
    b_S, b_e = state_step(b_S, b_Sd, b_k, b_v, b_T, b_gamma, b_rest, b_beta, b_gamma_C, ERASE, SLICED)
    if ERASE:
        store_tokens(e, d_e, b_e, i_e, stop, vo_row, vo_column, i_v * BV, V, BV, C, TMA, False)
    return b_S


@triton.jit(do_not_specialize=["N", "H", "HV", "LENGTH", "FIRST", "STEP", "DENSE"])
def chunk_scans_kernel(
    q, d_q, k, d_k, v, d_v, do, d_do, gates, T, Aqk, state, dstate,
    e, d_e, dv, d_dv, h, dh, dh_kept, limits,
    cu_seqlens, chunk_offsets, segment_offsets, segment_owner, scale, N, H, HV, LENGTH, FIRST, STEP, DENSE,
    state_n, state_h, state_k, state_v, dstate_n, dstate_h, dstate_k, dstate_v,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, C: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, STATE: tl.constexpr, DSTATE: tl.constexpr, WRITE: tl.constexpr,
    TMA: tl.constexpr, SLICED: tl.constexpr,
):  # fmt: skip
    """Scan the chunks of one segment for BV rows of one head's memory: half of the programs backwards, half forwards.

    The two scans are independent, and each alone leaves half of the chip idle. Both hold rows as the left operands of
    their products, so that the memory stays in registers from chunk to chunk. With TMA, T, Aqk, h, dh and every d_ are
    tensor maps. Without WRITE only the gradient of the first memory is computed. If ``limits`` limits a segment, the
    forward scan ends there, and nothing is written behind it.
    """
    NV: tl.constexpr = (V + BV - 1) // BV
    PARTS: tl.constexpr = 2 * NV if WRITE else NV
    i_v = tl.program_id(0) % PARTS % NV
    backwards = tl.program_id(0) % PARTS < NV
    i_l = (tl.program_id(0) // PARTS // HV).to(tl.int64)  # of the segments of this launch
    i_s = FIRST + i_l.to(tl.int32) * STEP
    i_hv = tl.program_id(0) // PARTS % HV
    i_h = i_hv // (HV // H)
    i_n = tl.load(segment_owner + i_s)
    if i_n >= N:
        return
    first = i_s - tl.load(segment_offsets + i_n)  # segment of the sequence
    start = tl.load(cu_seqlens + i_n).to(tl.int32) + first * LENGTH * C
    stop = tl.minimum(start + LENGTH * C, tl.load(cu_seqlens + i_n + 1).to(tl.int32))
    stop = tl.maximum(start, stop)
    i_c = i_l.to(tl.int32) * LENGTH  # place of the first chunk
    i_c = tl.where(DENSE != 0, tl.load(chunk_offsets + i_n).to(tl.int32) + first * LENGTH, i_c)
    # A tensor map cannot stop at the end of a sequence, so a last chunk that is not full is read under a mask.
    whole = (stop - start) // C if TMA else tl.cdiv(stop - start, C)
    tail = stop - start > whole * C

    SUM: tl.constexpr = sum_dtype(k.dtype.element_ty)
    o_k = tl.arange(0, BK)
    o_v = i_v * BV + tl.arange(0, BV)
    m_S = (o_v < V)[:, None] & (o_k < K)[None, :]
    qk_row, vo_row = H * K, HV * V
    qk_column, vo_column = i_h * K, i_hv * V + i_v * BV
    b_S = tl.zeros((BV, BK), SUM)
    if backwards:
        if DSTATE:
            p_S = dstate + i_l * dstate_n + i_hv * dstate_h + o_v[:, None] * dstate_v + o_k[None, :] * dstate_k
            b_S = tl.load(p_S, mask=m_S, other=0.0).to(SUM)
        if TMA:  # noqa: SIM102  # the one is known to the compiler, the other is not
            if tail:
                b_S = back_over_chunk(
                    b_S, q, d_q, k, d_k, do, d_do, gates, T, Aqk, dv, d_dv, dh,
                    start + whole * C, (i_c + whole) * HV + i_hv, stop,
                    qk_row, qk_column, vo_row, vo_column, i_v, scale,
                    K, V, BK, BV, C, DECAY, ERASE, WRITE, TMA, True, SLICED,
                )  # fmt: skip
        for j in range(whole):
            i = whole - 1 - j
            b_S = back_over_chunk(
                b_S, q, d_q, k, d_k, do, d_do, gates, T, Aqk, dv, d_dv, dh,
                start + i * C, (i_c + i) * HV + i_hv, stop,
                qk_row, qk_column, vo_row, vo_column, i_v, scale,
                K, V, BK, BV, C, DECAY, ERASE, WRITE, TMA, not TMA, SLICED,
            )  # fmt: skip
        p_end = dh_kept + (i_s.to(tl.int64) * HV + i_hv) * (V * K) + o_v[:, None] * K + o_k[None, :]
        tl.store(p_end, b_S, mask=m_S)
    elif WRITE:
        if STATE:
            p_S = state + i_l * state_n + i_hv * state_h + o_v[:, None] * state_v + o_k[None, :] * state_k
            b_S = tl.load(p_S, mask=m_S, other=0.0).to(SUM)
        if ERASE:  # without erasing, no product takes a value to an earlier token
            limit = tl.load(limits + i_s * HV + i_hv)
            stop = tl.where(limit > 0, tl.minimum(stop, limit - 1), stop)
            whole = (stop - start) // C if TMA else tl.cdiv(stop - start, C)
            tail = stop - start > whole * C
        for i in range(whole):
            b_S = forth_over_chunk(
                b_S, k, d_k, v, d_v, gates, T, e, d_e, h, start + i * C, (i_c + i) * C, (i_c + i) * HV + i_hv, stop,
                qk_row, qk_column, vo_row, vo_column, i_v, K, V, BK, BV, C, DECAY, ERASE, TMA, not TMA, SLICED,
            )  # fmt: skip
        if TMA:  # noqa: SIM102  # the one is known to the compiler, the other is not
            if tail:
                forth_over_chunk(
                    b_S, k, d_k, v, d_v, gates, T, e, d_e, h,
                    start + whole * C, (i_c + whole) * C, (i_c + whole) * HV + i_hv, stop,
                    qk_row, qk_column, vo_row, vo_column, i_v, K, V, BK, BV, C, DECAY, ERASE, TMA, True, SLICED,
                )  # fmt: skip


# Tiles of the scans: by the least compute capability, for two-byte and for float32 operands, each for keys of at most
# 128 channels and for wider ones. Eight warps, since the registers of four do not hold 64 rows. One chunk in flight on
# Blackwell, for which Triton 3.7 fails to pipeline the scans of rules without a gate.
CONFIGS: dict[int, dict[str, list[Tiles]]] = {
    80: {"narrow": [Tiles(64, 8, 1), Tiles(32, 8, 1)], "float32": [Tiles(32, 8, 1), Tiles(32, 8, 1)]},
    90: {"narrow": [Tiles(64, 8, 2), Tiles(32, 8, 1)], "float32": [Tiles(32, 8, 1), Tiles(32, 8, 1)]},
    100: {"narrow": [Tiles(64, 8, 1), Tiles(32, 8, 1)], "float32": [Tiles(16, 8, 1), Tiles(16, 8, 1)]},
}


def rows_of(x: Tensor | None, channels: int, tile: tuple[int, int]) -> TensorDescriptor | None:
    """Make a tensor map of a contiguous tensor as rows of ``channels`` numbers, to be copied in tiles."""
    if x is None:
        return None
    return TensorDescriptor(x, [x.numel() // channels, channels], [channels, 1], list(tile))


def room(q: Tensor, v: Tensor, *, erase: bool, window: Window) -> Scanned:
    """Allocate what the scans of a window write; without ``erase`` the errors are the values."""
    (K,), (HV, V) = q.shape[-1:], v.shape[-2:]
    h = torch.empty(window.places, HV, V, K, dtype=q.dtype, device=q.device)
    e = torch.empty(window.places, CHUNK, HV, V, dtype=v.dtype, device=v.device) if erase else v
    return Scanned(e, h, torch.empty_like(h))


def scans(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    do: Tensor,
    prepared: Prepared,
    state: Tensor | None,
    dstate: Tensor | None,
    dv: Tensor,
    scanned: Scanned,
    dh_kept: Tensor,
    *,
    limits: Tensor,
    segments: Blocks,
    window: Window,
) -> None:
    """Scan each segment of a window forwards from the memory before it, and backwards from the gradient after it.

    Args:
        q: queries, [..., H, K], contiguous.
        k: keys, [..., H, K], contiguous.
        v: values, [..., HV, V], contiguous.
        do: gradient of the outputs, [..., HV, V], contiguous.
        prepared: from ``chunk_prepare``.
        state: memory before each segment of the window, [segment, HV, K, V] float32 with any strides; None for zero.
        dstate: gradient of the memory after each, likewise.
        dv: where the gradient of the values goes, [..., HV, V], contiguous.
        scanned: where the results go that the gradients need.
        dh_kept: where the gradient of the memory before each segment goes, [segment, HV, V, K] float32, of all windows.
        limits: the limits of segments, from ``limits_of``; nothing is written behind them.
        segments: the sequences cut into segments of whole chunks.
        window: the segments to scan.
    """
    e, h, dh = scanned
    _launch(q, k, v, do, prepared, state, dstate, segments, window, dh_kept, (e, dv, h, dh, limits))


def scan_added_gradients(
    q: Tensor, k: Tensor, do: Tensor, prepared: Prepared, *, segments: Blocks, window: Window
) -> Tensor:
    """Scan every segment backwards from zero: the gradient of the memory before it through its own outputs.

    The arguments are those of ``scans``.

    Returns:
        [segment, HV, V, K] float32.
    """
    added = kept(q, do, segments)
    _launch(q, k, None, do, prepared, None, None, segments, window, added, None)
    return added


def kept(q: Tensor, v: Tensor, segments: Blocks) -> Tensor:
    """Allocate a memory, or the gradient of one, for each segment: [segment, HV, V, K] float32."""
    return torch.empty(segments.count, *v.shape[-2:], q.shape[-1], dtype=torch.float32, device=q.device)


def _launch(
    q: Tensor,
    k: Tensor,
    v: Tensor | None,
    do: Tensor,
    prepared: Prepared,
    state: Tensor | None,
    dstate: Tensor | None,
    segments: Blocks,
    window: Window,
    dh_kept: Tensor,
    written: tuple[Tensor, Tensor, Tensor, Tensor, Tensor] | None,
) -> None:
    H, K = k.shape[-2:]
    HV, V = do.shape[-2:]
    x = prepared
    if scans_on_hopper(K, V, *(each for each in (q, k, v, do) if each is not None)):
        from gdn_core.ops.kernels.hopper.scan_backward import launch

        launch(q, k, v, do, x, state, dstate, segments, window, dh_kept, written)
        return
    tiles = tiles_of(CONFIGS, K, V, k)
    BK, BV = max(32, triton.next_power_of_2(K)), tiles.BV  # 32: as in the gradients
    e, dv, h, dh, limits = written or (None, None, None, None, None)
    of_keys: list[Any] = [q, None, k, None]
    of_values: list[Any] = [v, None, do, None]
    of_errors: list[Any] = [e, None, dv, None]
    blocks: list[Any] = [x.T, x.Aqk]
    memories: list[Any] = [h, dh]
    tma = fits_tensor_maps(K, V, BK, BV, k)
    if tma:
        of_keys[1::2] = (rows_of(each, H * K, (CHUNK, K)) for each in of_keys[::2])
        for of in (of_values, of_errors):
            of[1::2] = (rows_of(each, HV * V, (CHUNK, BV)) for each in of[::2])
        blocks = [rows_of(each, CHUNK, (CHUNK, CHUNK)) for each in blocks]
        memories = [rows_of(each, K, (BV, K)) for each in memories]
    strides = [each.stride() if each is not None else (0, 0, 0, 0) for each in (state, dstate)]
    parts = triton.cdiv(V, BV) * (1 if written is None else 2)
    launcher(chunk_scans_kernel, (parts * window.count * HV,))(
        *of_keys, *of_values, x.gates, *blocks, state, dstate, *of_errors, *memories, dh_kept, limits,
        x.cu_seqlens, x.chunks.offsets, segments.offsets, segments.owner, x.scale,
        x.cu_seqlens.shape[0] - 1, H, HV, segments.size // CHUNK, window.first, window.step, int(window.dense),
        *strides[0], *strides[1],
        K=K, V=V, BK=BK, BV=BV, C=CHUNK, DECAY=x.decay, ERASE=x.erase,
        STATE=state is not None, DSTATE=dstate is not None, WRITE=written is not None, TMA=tma, SLICED=sliced(k),
        num_warps=tiles.num_warps, num_stages=tiles.num_stages, maxnreg=most_registers(tiles.num_warps),
    )  # fmt: skip
