"""Carry the gradient of the memory from chunk to chunk, last chunk first."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gdn_core.kernels.chunk_blocks import Blocks
from gdn_core.kernels.chunk_prepare import CHUNK, Prepared, precision
from gdn_core.kernels.chunk_scan import Tiles, chip_of, scan_tiles
from gdn_core.kernels.tensor_maps import fits_tensor_maps, rows_of


@triton.jit(do_not_specialize=["N", "H", "HV", "LENGTH"])
def chunk_scan_backward_kernel(
    q, k, do, gates, solve, reads, dstate, dv, d_dv, dstates, d_dstates, dends,
    cu_seqlens, chunk_offsets, segment_offsets, segment_owner, scale, N, H, HV, LENGTH,
    stride_n, stride_h, stride_k, stride_v,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, C: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, STATE: tl.constexpr, WRITE: tl.constexpr,
    TMA: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Run the stages of chunk_scan_kernel backwards for BV rows of one head's memory; WRITE keeps what they give.

    With TMA, q, k, do, solve, reads and every d_ are descriptors.
    """
    NV: tl.constexpr = (V + BV - 1) // BV
    i_v = tl.program_id(0) % NV
    i_s = (tl.program_id(0) // NV // HV).to(tl.int64)
    i_hv = tl.program_id(0) // NV % HV
    i_h = i_hv // (HV // H)
    i_n = tl.load(segment_owner + i_s)
    if i_n >= N:
        return
    first = (i_s - tl.load(segment_offsets + i_n)) * LENGTH  # chunk of the sequence
    start = tl.load(cu_seqlens + i_n).to(tl.int64) + first * C
    stop = tl.minimum(start + LENGTH * C, tl.load(cu_seqlens + i_n + 1).to(tl.int64))
    i_c = tl.load(chunk_offsets + i_n) + first

    DTYPE: tl.constexpr = k.dtype if TMA else k.dtype.element_ty
    o_c = tl.arange(0, C)
    o_k = tl.arange(0, BK)
    o_v = i_v * BV + tl.arange(0, BV)
    m_v = o_v < V
    m_k = o_k < K
    m_S = m_v[:, None] & m_k[None, :]
    if STATE:
        p_S = dstate + i_s * stride_n + i_hv * stride_h + o_v[:, None] * stride_v + o_k[None, :] * stride_k
        b_dS = tl.load(p_S, mask=m_S, other=0.0).to(tl.float32)
    else:
        b_dS = tl.zeros((BV, BK), tl.float32)

    count = tl.cdiv(tl.maximum(stop - start, 0), C).to(tl.int32)
    for j in range(count):
        i = count - 1 - j
        i_block = (i_c + i) * HV + i_hv
        o_t = start + i * C + o_c
        m_t = o_t < stop
        o_vo = (o_t[None, :] * HV + i_hv) * V + o_v[:, None]
        m_vo = m_v[:, None] & m_t[None, :]
        o_qk = (o_t[:, None] * H + i_h) * K + o_k[None, :]
        m_qk = m_t[:, None] & m_k[None, :]
        o_cc = i_block * (C * C) + o_c[:, None] * C + o_c[None, :]
        i_t = (start + i * C).to(tl.int32)
        i_r = i_block.to(tl.int32) * C
        whole = i_t + C <= stop
        if TMA:
            b_k = k.load([i_t, i_h * K])
            b_q = q.load([i_t, i_h * K])
            b_do = tl.where(m_t[None, :], tl.trans(do.load([i_t, i_hv * V + i_v * BV])), 0.0)
            b_P = reads.load([i_r, 0])
        else:
            b_k = tl.load(k + o_qk, mask=m_qk, other=0.0)
            b_q = tl.load(q + o_qk, mask=m_qk, other=0.0)
            b_do = tl.load(do + o_vo, mask=m_vo, other=0.0)
            b_P = tl.load(reads + o_cc)
        b_dSd = b_dS.to(DTYPE)
        if WRITE and TMA:
            d_dstates.store([i_block.to(tl.int32) * V + i_v * BV, 0], b_dSd)
        elif WRITE:
            tl.store(dstates + i_block * (V * K) + o_v[:, None] * K + o_k[None, :], b_dSd, mask=m_S)

        p_gates = gates + i_block * (4 * C) + o_c
        b_du = tl.dot(b_dSd, tl.trans(b_k), input_precision=PREC)
        if DECAY:
            b_gamma = tl.load(p_gates + C)
            b_du *= tl.load(p_gates + 2 * C)[None, :]
            b_all = tl.load(gates + i_block * (4 * C) + 2 * C - 1)
        b_du = tl.dot(b_do, b_P, b_du, input_precision=PREC)
        if ERASE:
            b_beta = tl.load(p_gates + 3 * C)
            if TMA:
                b_T = solve.load([i_r, 0])
            else:
                b_T = tl.load(solve + o_cc)
            b_dv = tl.dot((b_du * b_beta[None, :]).to(DTYPE), b_T, input_precision=PREC)
        else:
            b_dv = b_du
        if WRITE:
            if TMA and whole:
                d_dv.store([i_t, i_hv * V + i_v * BV], tl.trans(b_dv).to(DTYPE))
            else:
                tl.store(dv + o_vo, b_dv.to(DTYPE), mask=m_vo)

        b_r = b_do.to(tl.float32) * scale
        if DECAY:
            b_dS *= b_all
            b_r *= b_gamma[None, :]
        b_dS = tl.dot(b_r.to(DTYPE), b_q, b_dS, input_precision=PREC)
        if ERASE:
            b_x = -b_dv * b_gamma[None, :] if DECAY else -b_dv
            b_dS = tl.dot(b_x.to(DTYPE), b_k, b_dS, input_precision=PREC)

    p_end = dends + (i_s * HV + i_hv) * (V * K) + o_v[:, None] * K + o_k[None, :]
    tl.store(p_end, b_dS, mask=m_S)


def scan_gradients(
    q: Tensor,
    k: Tensor,
    do: Tensor,
    prepared: Prepared,
    dstate: Tensor | None,
    *,
    segments: Blocks,
    tiles: Tiles | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Scan every segment backwards from the gradient of the memory after it.

    Args:
        q: queries, [..., H, K], contiguous.
        k: keys, [..., H, K], contiguous.
        do: gradient of the outputs, [..., HV, V], contiguous.
        prepared: from ``chunk_prepare``.
        dstate: gradient of the memory after each segment, [segment, HV, K, V] float32 with any strides; None for zero.
        segments: the sequences cut into segments of whole chunks.
        tiles: how the kernel is cut; by default as ``scan_tiles`` says.

    Returns:
        dv [..., HV, V] and the gradient of the memory after each chunk [chunk, HV, V, K] in the dtype of k; the
        gradient of the memory before each segment, [segment, HV, V, K] float32.
    """
    dv = torch.empty_like(do)
    dstates = torch.empty(prepared.chunks.count, *do.shape[-2:], k.shape[-1], dtype=k.dtype, device=k.device)
    return dv, dstates, _launch(q, k, do, prepared, dstate, segments, tiles, dv, dstates)


def scan_added_gradients(
    q: Tensor, k: Tensor, do: Tensor, prepared: Prepared, *, segments: Blocks, tiles: Tiles | None = None
) -> Tensor:
    """Scan every segment backwards from zero: what its own outputs add to the gradient of the memory before it.

    Takes what ``scan_gradients`` takes, and returns [segment, HV, V, K] float32.
    """
    return _launch(q, k, do, prepared, None, segments, tiles, None, None)


def _launch(
    q: Tensor,
    k: Tensor,
    do: Tensor,
    prepared: Prepared,
    dstate: Tensor | None,
    segments: Blocks,
    tiles: Tiles | None,
    dv: Tensor | None,
    dstates: Tensor | None,
) -> Tensor:
    H, K = k.shape[-2:]
    HV, V = do.shape[-2:]
    if tiles is None:
        memories = segments.count * HV if dv is not None else 0
        tiles = scan_tiles(K, V, k.dtype, memories=memories, chip=chip_of(k.device))
    dends = torch.empty(segments.count, HV, V, K, dtype=torch.float32, device=k.device)
    strides = dstate.stride() if dstate is not None else (0, 0, 0, 0)
    x = prepared
    BK = max(16, triton.next_power_of_2(K))
    tma = fits_tensor_maps(K, V, BK, tiles.BV, k)
    tokens: list[Any] = [q, k, do]
    blocks: list[Any] = [x.solve, x.reads]
    d_dv, d_dstates = None, None
    if tma:
        tokens = [rows_of(q, H * K, (CHUNK, K)), rows_of(k, H * K, (CHUNK, K)), rows_of(do, HV * V, (CHUNK, tiles.BV))]
        blocks = [rows_of(block, CHUNK, (CHUNK, CHUNK)) for block in blocks]
        d_dv = rows_of(dv, HV * V, (CHUNK, tiles.BV)) if dv is not None else None
        d_dstates = rows_of(dstates, K, (tiles.BV, K)) if dstates is not None else None
    chunk_scan_backward_kernel[(triton.cdiv(V, tiles.BV) * segments.count * HV,)](
        *tokens, x.gates, *blocks, dstate, dv, d_dv, dstates, d_dstates, dends,
        x.cu_seqlens, x.chunks.offsets, segments.offsets, segments.owner, x.scale,
        x.cu_seqlens.shape[0] - 1, H, HV, segments.size // CHUNK, *strides,
        K=K, V=V, BK=BK, BV=tiles.BV, C=CHUNK, DECAY=x.decay, ERASE=x.erase,
        STATE=dstate is not None, WRITE=dv is not None, TMA=tma, PREC=precision(k.dtype),
        num_warps=tiles.num_warps, num_stages=tiles.num_stages,
    )  # fmt: skip
    return dends
