"""Carry the gradient of the memory from chunk to chunk, last chunk first, and beside it the memory itself once more."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from gdn_core.ops.kernels.blocks import Blocks
from gdn_core.ops.kernels.prepare import CHUNK, Prepared, dot, most_registers, operand_dtype, sliced, sum_dtype
from gdn_core.ops.kernels.scan import Chip, Tiles, chip_of, narrowed
from gdn_core.ops.kernels.tensor_maps import fits_hopper, fits_tensor_maps, of_capability, rows_of
from gdn_core.ops.kernels.windows import Window


@triton.jit
def load_tokens(
    x, d_x, i_t, stop, row, column, channel, D: tl.constexpr, B: tl.constexpr, C: tl.constexpr,
    TMA: tl.constexpr, TAIL: tl.constexpr,
):  # fmt: skip
    """Load B channels of C tokens, [C, B]: by the descriptor d_x, or where a sequence ends among them by a mask.

    A descriptor would read on into the next sequence, whose NaN a product with zero would not drop.
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
    """Load the triangle of one chunk and value head, [C, C]."""
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
    """Load the decay since a chunk's start, the one to its end, beta, and the decay of the whole chunk."""
    SUM: tl.constexpr = gates.dtype.element_ty
    p_gates = gates + i_block.to(tl.int64) * (4 * C)
    o_c = tl.arange(0, C)
    b_gamma = tl.load(p_gates + C + o_c) if DECAY else tl.full((C,), 1.0, SUM)
    b_rest = tl.load(p_gates + 2 * C + o_c) if DECAY else tl.full((C,), 1.0, SUM)
    b_beta = tl.load(p_gates + 3 * C + o_c) if ERASE else tl.full((C,), 1.0, SUM)
    b_all = tl.load(p_gates + 2 * C - 1) if DECAY else tl.full((), 1.0, SUM)
    return b_gamma, b_rest, b_beta, b_all


@triton.jit
def gradient_step(
    b_dS, b_dSd, b_k, b_q, b_do, b_P, b_T, b_gamma, b_rest, b_beta, b_all, scale,
    ERASE: tl.constexpr, SLICED: tl.constexpr,
):  # fmt: skip
    """Run the stages of state_step and of the read backwards, for one chunk.

    Returns:
        The gradient of the memory before the chunk [BV, BK], and that of the values [BV, C].
    """
    b_du = dot(b_dSd, tl.trans(b_k), SLICED=SLICED) * b_rest[None, :]  # write
    b_du = dot(tl.trans(b_do), b_P, b_du, SLICED=SLICED)
    b_dv = b_du
    if ERASE:
        b_dv = dot((b_du * b_beta[None, :]).to(b_k.dtype), b_T, SLICED=SLICED)
    b_r = tl.trans(b_do).to(b_dS.dtype) * (b_gamma * scale)[None, :]  # read
    b_dS = dot(b_r.to(b_k.dtype), b_q, b_dS * b_all, SLICED=SLICED)
    if ERASE:  # error
        b_dS = dot((b_dv * (-b_gamma)[None, :]).to(b_k.dtype), b_k, b_dS, SLICED=SLICED)
    return b_dS, b_dv.to(b_k.dtype)


@triton.jit
def state_step(b_S, b_Sd, b_k, b_v, b_T, b_gamma, b_rest, b_beta, b_all, ERASE: tl.constexpr, SLICED: tl.constexpr):
    """Carry the memory over one chunk: error, decay, write.

    Returns:
        The memory after the chunk [BV, BK], and the errors before their gate [BV, C].
    """
    b_e = tl.trans(b_v).to(b_S.dtype)
    if ERASE:
        b_x = b_e - dot(b_Sd, tl.trans(b_k), SLICED=SLICED) * b_gamma[None, :]
        b_e = dot(b_x.to(b_k.dtype), tl.trans(b_T), SLICED=SLICED)
    b_w = b_e * (b_beta * b_rest)[None, :]
    return dot(b_w.to(b_k.dtype), b_k, b_S * b_all, SLICED=SLICED), b_e.to(b_k.dtype)


@triton.jit(do_not_specialize=["N", "H", "HV", "LENGTH", "FIRST", "STEP", "DENSE"])
def chunk_scans_kernel(
    q, d_q, k, d_k, v, d_v, do, d_do, gates, solve, reads, state, dstate,
    errors, d_errors, dv, d_dv, states, dstates, dends,
    cu_seqlens, chunk_offsets, segment_offsets, segment_owner, scale, N, H, HV, LENGTH, FIRST, STEP, DENSE,
    state_n, state_h, state_k, state_v, dstate_n, dstate_h, dstate_k, dstate_v,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, C: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, STATE: tl.constexpr, DSTATE: tl.constexpr, WRITE: tl.constexpr,
    TMA: tl.constexpr, SLICED: tl.constexpr,
):  # fmt: skip
    """Scan the chunks of one segment for BV rows of one head's memory: half of the programs backwards, half forwards.

    The two scans need nothing of each other, and each alone leaves half of the chip idle. Both hold rows as the left
    operands of their products, so that the chain from chunk to chunk stays in registers. With TMA, solve, reads,
    states, dstates and every d_ are descriptors. Without WRITE only the gradient of the first memory is wanted.
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
    # A descriptor cannot stop where a sequence does, so there the last chunk is read apart.
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
                i_t = start + whole * C
                i_block = (i_c + whole) * HV + i_hv
                b_k = load_tokens(k, d_k, i_t, stop, qk_row, qk_column, 0, K, BK, C, TMA, True)
                b_q = load_tokens(q, d_q, i_t, stop, qk_row, qk_column, 0, K, BK, C, TMA, True)
                b_do = load_tokens(do, d_do, i_t, stop, vo_row, vo_column, i_v * BV, V, BV, C, TMA, True)
                b_P = load_block(reads, i_block, C, TMA)
                b_T = load_block(solve, i_block, C, TMA) if ERASE else b_P
                b_gamma, b_rest, b_beta, b_all = load_gates(gates, i_block, C, DECAY, ERASE)
                b_Sd = b_S.to(b_k.dtype)
                if WRITE:
                    store_memory(dstates, b_Sd, i_block, i_v, K, V, BK, BV, TMA)
                b_S, b_dv = gradient_step(
                    b_S, b_Sd, b_k, b_q, b_do, b_P, b_T, b_gamma, b_rest, b_beta, b_all, scale, ERASE, SLICED
                )  # fmt: skip
                if WRITE:
                    store_tokens(dv, d_dv, b_dv, i_t, stop, vo_row, vo_column, i_v * BV, V, BV, C, TMA, True)
        for j in range(whole):
            i = whole - 1 - j
            i_t = start + i * C
            i_block = (i_c + i) * HV + i_hv
            b_k = load_tokens(k, d_k, i_t, stop, qk_row, qk_column, 0, K, BK, C, TMA, not TMA)
            b_q = load_tokens(q, d_q, i_t, stop, qk_row, qk_column, 0, K, BK, C, TMA, not TMA)
            b_do = load_tokens(do, d_do, i_t, stop, vo_row, vo_column, i_v * BV, V, BV, C, TMA, not TMA)
            b_P = load_block(reads, i_block, C, TMA)
            b_T = load_block(solve, i_block, C, TMA) if ERASE else b_P
            b_gamma, b_rest, b_beta, b_all = load_gates(gates, i_block, C, DECAY, ERASE)
            b_Sd = b_S.to(b_k.dtype)
            if WRITE:
                store_memory(dstates, b_Sd, i_block, i_v, K, V, BK, BV, TMA)
            b_S, b_dv = gradient_step(
                b_S, b_Sd, b_k, b_q, b_do, b_P, b_T, b_gamma, b_rest, b_beta, b_all, scale, ERASE, SLICED
            )  # fmt: skip
            if WRITE:
                store_tokens(dv, d_dv, b_dv, i_t, stop, vo_row, vo_column, i_v * BV, V, BV, C, TMA, not TMA)
        p_end = dends + (i_l * HV + i_hv) * (V * K) + o_v[:, None] * K + o_k[None, :]
        tl.store(p_end, b_S, mask=m_S)
    elif WRITE:
        if STATE:
            p_S = state + i_l * state_n + i_hv * state_h + o_v[:, None] * state_v + o_k[None, :] * state_k
            b_S = tl.load(p_S, mask=m_S, other=0.0).to(SUM)
        for i in range(whole):
            i_t = start + i * C
            i_block = (i_c + i) * HV + i_hv
            b_k = load_tokens(k, d_k, i_t, stop, qk_row, qk_column, 0, K, BK, C, TMA, not TMA)
            b_v = load_tokens(v, d_v, i_t, stop, vo_row, vo_column, i_v * BV, V, BV, C, TMA, not TMA)
            b_T = load_block(solve, i_block, C, TMA) if ERASE else b_k
            b_gamma, b_rest, b_beta, b_all = load_gates(gates, i_block, C, DECAY, ERASE)
            b_Sd = b_S.to(b_k.dtype)
            store_memory(states, b_Sd, i_block, i_v, K, V, BK, BV, TMA)
            b_S, b_e = state_step(b_S, b_Sd, b_k, b_v, b_T, b_gamma, b_rest, b_beta, b_all, ERASE, SLICED)
            if ERASE:
                i_e = (i_c + i) * C
                store_tokens(errors, d_errors, b_e, i_e, stop, vo_row, vo_column, i_v * BV, V, BV, C, TMA, False)
        if TMA:  # noqa: SIM102  # the one is known to the compiler, the other is not
            if tail:  # nobody reads the memory after it
                i_t = start + whole * C
                i_block = (i_c + whole) * HV + i_hv
                b_k = load_tokens(k, d_k, i_t, stop, qk_row, qk_column, 0, K, BK, C, TMA, True)
                b_v = load_tokens(v, d_v, i_t, stop, vo_row, vo_column, i_v * BV, V, BV, C, TMA, True)
                b_T = load_block(solve, i_block, C, TMA) if ERASE else b_k
                b_gamma, b_rest, b_beta, b_all = load_gates(gates, i_block, C, DECAY, ERASE)
                b_Sd = b_S.to(b_k.dtype)
                store_memory(states, b_Sd, i_block, i_v, K, V, BK, BV, TMA)
                if ERASE:
                    b_S, b_e = state_step(b_S, b_Sd, b_k, b_v, b_T, b_gamma, b_rest, b_beta, b_all, ERASE, SLICED)
                    i_e = (i_c + whole) * C
                    store_tokens(errors, d_errors, b_e, i_e, stop, vo_row, vo_column, i_v * BV, V, BV, C, TMA, False)


# What the scans may pick: by the compute capability from which it holds, for two-byte and for float32 operands, each
# for keys of at most 128 channels and for wider ones. Eight warps, since the registers of four do not hold 64 rows;
# one chunk in flight on Blackwell, for which Triton 3.7 fails to pipeline the scans of rules without a gate.
CONFIGS: dict[int, dict[str, list[Tiles]]] = {
    80: {"narrow": [Tiles(64, 8, 1), Tiles(32, 8, 1)], "float32": [Tiles(32, 8, 1), Tiles(32, 8, 1)]},
    90: {"narrow": [Tiles(64, 8, 2), Tiles(32, 8, 1)], "float32": [Tiles(32, 8, 1), Tiles(32, 8, 1)]},
    100: {"narrow": [Tiles(64, 8, 1), Tiles(32, 8, 1)], "float32": [Tiles(16, 8, 1), Tiles(16, 8, 1)]},
}


def tiles_of(configs: dict[int, dict[str, list[Tiles]]], K: int, V: int, dtype: torch.dtype, *, chip: Chip) -> Tiles:
    """Choose the tiles of a kernel of the backward pass from what it may pick."""
    narrower, wider = of_capability(configs, 10 * chip.major)["float32" if dtype is torch.float32 else "narrow"]
    return narrowed(narrower if K <= 128 else wider, V)


class Scans(NamedTuple):
    """What the scans leave for the gradients of queries, keys and gates.

    Args:
        errors: the errors before their gate, [place, 64, HV, V]; where nothing is erased they are the values, and
            these [..., HV, V].
        states: the memory before the chunk at each place, [place, HV, V, K] in the dtype of k.
        dstates: gradient of the memory after the chunk at each place, likewise.
        dends: gradient of the memory before each segment of the window, [segment, HV, V, K] float32.
    """

    errors: Tensor
    states: Tensor
    dstates: Tensor
    dends: Tensor


def scans(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    do: Tensor,
    prepared: Prepared,
    state: Tensor | None,
    dstate: Tensor | None,
    dv: Tensor,
    *,
    segments: Blocks,
    window: Window,
    tiles: Tiles | None = None,
) -> Scans:
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
        segments: the sequences cut into segments of whole chunks.
        window: the segments to scan.
        tiles: how the kernel is cut; by default as ``tiles_of`` says.
    """
    HV, V = v.shape[-2:]
    states = torch.empty(window.places, HV, V, k.shape[-1], dtype=k.dtype, device=k.device)
    dstates = torch.empty_like(states)
    errors = torch.empty(window.places, CHUNK, HV, V, dtype=v.dtype, device=v.device) if prepared.erase else v
    dends = _launch(q, k, v, do, prepared, state, dstate, segments, window, tiles, (errors, dv, states, dstates))
    return Scans(errors, states, dstates, dends)


def scan_added_gradients(
    q: Tensor,
    k: Tensor,
    do: Tensor,
    prepared: Prepared,
    *,
    segments: Blocks,
    window: Window,
    tiles: Tiles | None = None,
) -> Tensor:
    """Scan every segment backwards from zero: what its own outputs add to the gradient of the memory before it.

    Takes what ``scans`` takes, and returns [segment, HV, V, K] float32.
    """
    return _launch(q, k, None, do, prepared, None, None, segments, window, tiles, None)


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
    tiles: Tiles | None,
    written: tuple[Tensor, Tensor, Tensor, Tensor] | None,
) -> Tensor:
    H, K = k.shape[-2:]
    HV, V = do.shape[-2:]
    given = [x for x in (q, k, v, do) if x is not None]
    if tiles is None and V % 64 == 0 and fits_hopper(K, *given):
        from gdn_core.ops.kernels.hopper.scan_backward import launch

        return launch(q, k, v, do, prepared, state, dstate, segments, window, written)
    tiles = tiles or tiles_of(CONFIGS, K, V, k.dtype, chip=chip_of(k.device))
    dends = torch.empty(window.count, HV, V, K, dtype=torch.float32, device=k.device)
    x = prepared
    BK, BV = max(32, triton.next_power_of_2(K)), tiles.BV  # 32: as in the gradients
    errors, dv, states, dstates = written or (None, None, None, None)
    of_keys: list[Any] = [q, None, k, None]
    of_values: list[Any] = [v, None, do, None]
    of_errors: list[Any] = [errors, None, dv, None]
    blocks: list[Any] = [x.solve, x.reads]
    memories: list[Any] = [states, dstates]
    tma = fits_tensor_maps(K, V, BK, BV, k)
    if tma:
        of_keys[1::2] = (rows_of(each, H * K, (CHUNK, K)) for each in of_keys[::2])
        for of in (of_values, of_errors):
            of[1::2] = (None if each is None else rows_of(each, HV * V, (CHUNK, BV)) for each in of[::2])
        blocks = [None if each is None else rows_of(each, CHUNK, (CHUNK, CHUNK)) for each in blocks]
        memories = [None if each is None else rows_of(each, K, (BV, K)) for each in memories]
    strides = [each.stride() if each is not None else (0, 0, 0, 0) for each in (state, dstate)]
    parts = triton.cdiv(V, BV) * (1 if written is None else 2)
    chunk_scans_kernel[(parts * window.count * HV,)](
        *of_keys, *of_values, x.gates, *blocks, state, dstate, *of_errors, *memories, dends,
        x.cu_seqlens, x.chunks.offsets, segments.offsets, segments.owner, x.scale,
        x.cu_seqlens.shape[0] - 1, H, HV, segments.size // CHUNK, window.first, window.step, int(window.dense),
        *strides[0], *strides[1],
        K=K, V=V, BK=BK, BV=BV, C=CHUNK, DECAY=x.decay, ERASE=x.erase,
        STATE=state is not None, DSTATE=dstate is not None, WRITE=written is not None, TMA=tma, SLICED=sliced(k),
        num_warps=tiles.num_warps, num_stages=tiles.num_stages, maxnreg=most_registers(tiles.num_warps),
    )  # fmt: skip
    return dends
