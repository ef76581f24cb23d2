"""The gradients of queries, keys and gates, from the memory before each chunk and its gradient after it."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gdn_core.kernels.chunk_prepare import CHUNK, Prepared, precision
from gdn_core.kernels.chunk_scan import Chip, Tiles, chip_of


@triton.jit(do_not_specialize=["H", "HV"])
def chunk_query_gradients_kernel(
    q, k, errors, do, gates, states, dq, dg, dbeta,
    spans, scale, H, HV,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, C: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Compute dq of one chunk of one key head, and what the reads give to the gradients of the gates.

    dg holds the gradient of the cumulated decay until chunk_key_gradients_kernel adds the rest.
    """
    i_c, i_h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    start = tl.load(spans + 2 * i_c)
    stop = tl.load(spans + 2 * i_c + 1)
    if start >= stop:  # an empty sequence has a chunk, and nobody wrote its memory
        return
    DTYPE: tl.constexpr = k.dtype.element_ty
    GROUP = HV // H
    o_c = tl.arange(0, C)
    o_k = tl.arange(0, BK)
    m_t = start + o_c < stop
    m_k = o_k < K
    m_qk = m_t[:, None] & m_k[None, :]
    i_qk = (start * H + i_h) * K
    o_qk = o_c[:, None] * (H * K) + o_k[None, :]
    b_k = tl.load(k + i_qk + o_qk, mask=m_qk, other=0.0)
    b_q = tl.load(q + i_qk + o_qk, mask=m_qk, other=0.0)
    b_dq = tl.zeros((C, BK), tl.float32)
    b_dqk = tl.zeros((C, C), tl.float32)
    m_lower = o_c[:, None] >= o_c[None, :]
    for i_r in range(GROUP):
        i_hv = i_h * GROUP + i_r
        i_block = i_c * HV + i_hv
        p_gates = gates + i_block * (4 * C) + o_c
        i_vo = (start * HV + i_hv) * V
        b_dP = tl.zeros((C, C), tl.float32)
        b_dG = tl.zeros((C,), tl.float32)
        b_gamma = tl.load(p_gates + C) if DECAY else tl.full((C,), 1.0, tl.float32)
        for i_v in range((V + BV - 1) // BV):
            o_v = i_v * BV + tl.arange(0, BV)
            m_v = o_v < V
            o_vo = o_c[:, None] * (HV * V) + o_v[None, :]
            m_vo = m_t[:, None] & m_v[None, :]
            b_z = tl.load(errors + i_vo + o_vo, mask=m_vo, other=0.0)
            b_do = tl.load(do + i_vo + o_vo, mask=m_vo, other=0.0)
            p_S = states + i_block * (V * K) + o_v[:, None] * K + o_k[None, :]
            b_S = tl.load(p_S, mask=m_v[:, None] & m_k[None, :], other=0.0)
            b_dP = tl.dot(b_do, tl.trans(b_z), b_dP, input_precision=PREC)
            b_part = tl.dot(b_do, b_S, input_precision=PREC) * (scale * b_gamma)[:, None]
            b_dq += b_part
            if DECAY:
                b_dG += tl.sum(b_part * b_q.to(tl.float32), 1)
        if DECAY:
            b_G = tl.load(p_gates)
            b_decay = tl.exp(tl.where(m_lower, b_G[:, None] - b_G[None, :], float("-inf")))
        else:
            b_decay = tl.where(m_lower, 1.0, 0.0)
        b_dP *= b_decay * scale
        b_D = b_dP * tl.dot(b_q, tl.trans(b_k), input_precision=PREC)
        i_gate = start * HV + i_hv
        if ERASE:
            b_beta = tl.load(p_gates + 3 * C)
            tl.store(dbeta + i_gate + o_c * HV, tl.sum(b_D, 0), mask=m_t)
            b_D *= b_beta[None, :]
            b_dqk += b_dP * b_beta[None, :]
        else:
            b_dqk += b_dP
        if DECAY:
            # The diagonal does not decay: it would cancel between the two sums, but not to the last bit.
            b_D = tl.where(o_c[:, None] == o_c[None, :], 0.0, b_D)
            tl.store(dg + i_gate + o_c * HV, b_dG + tl.sum(b_D, 1) - tl.sum(b_D, 0), mask=m_t)
    b_dq = tl.dot(b_dqk.to(DTYPE), b_k, b_dq, input_precision=PREC)
    tl.store(dq + i_qk + o_qk, b_dq.to(dq.dtype.element_ty), mask=m_qk)


@triton.jit(do_not_specialize=["H", "HV"])
def chunk_key_gradients_kernel(
    q, k, errors, do, dv, gates, states, dstates, dk, dg, dbeta,
    spans, scale, H, HV,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, C: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Compute dk of one chunk of one key head, and finish dg and dbeta.

    With z the errors before their gate and u = beta z, every gradient of a gate is a sum of products already at hand,
    so nothing is divided by beta.
    """
    i_c, i_h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    start = tl.load(spans + 2 * i_c)
    stop = tl.load(spans + 2 * i_c + 1)
    if start >= stop:
        return
    DTYPE: tl.constexpr = k.dtype.element_ty
    GROUP = HV // H
    o_c = tl.arange(0, C)
    o_k = tl.arange(0, BK)
    m_t = start + o_c < stop
    m_k = o_k < K
    m_qk = m_t[:, None] & m_k[None, :]
    i_qk = (start * H + i_h) * K
    o_qk = o_c[:, None] * (H * K) + o_k[None, :]
    b_k = tl.load(k + i_qk + o_qk, mask=m_qk, other=0.0)
    b_dk = tl.zeros((C, BK), tl.float32)
    b_dqk = tl.zeros((C, C), tl.float32)  # its transpose: a row for each key
    b_dkk = tl.zeros((C, C), tl.float32)
    m_strict = o_c[:, None] > o_c[None, :]
    m_upper = o_c[:, None] <= o_c[None, :]
    for i_r in range(GROUP):
        i_hv = i_h * GROUP + i_r
        i_block = i_c * HV + i_hv
        p_gates = gates + i_block * (4 * C) + o_c
        i_vo = (start * HV + i_hv) * V
        i_gate = start * HV + i_hv
        b_dP = tl.zeros((C, C), tl.float32)
        b_dA = tl.zeros((C, C), tl.float32)
        b_row = tl.zeros((C,), tl.float32)
        b_dG = tl.zeros((C,), tl.float32)
        b_SdS = tl.zeros((BK,), tl.float32)
        b_gamma = tl.load(p_gates + C) if DECAY else tl.full((C,), 1.0, tl.float32)
        b_rest = tl.load(p_gates + 2 * C) if DECAY else tl.full((C,), 1.0, tl.float32)
        b_beta = tl.load(p_gates + 3 * C) if ERASE else tl.full((C,), 1.0, tl.float32)
        for i_v in range((V + BV - 1) // BV):
            o_v = i_v * BV + tl.arange(0, BV)
            m_v = o_v < V
            o_vo = o_c[:, None] * (HV * V) + o_v[None, :]
            m_vo = m_t[:, None] & m_v[None, :]
            o_S = i_block * (V * K) + o_v[:, None] * K + o_k[None, :]
            m_S = m_v[:, None] & m_k[None, :]
            b_z = tl.load(errors + i_vo + o_vo, mask=m_vo, other=0.0)
            b_do = tl.load(do + i_vo + o_vo, mask=m_vo, other=0.0)
            b_dS = tl.load(dstates + o_S, mask=m_S, other=0.0)
            b_dP = tl.dot(b_z, tl.trans(b_do), b_dP, input_precision=PREC)
            b_part = tl.dot(b_z, b_dS, input_precision=PREC) * b_rest[:, None]  # write
            b_dk += b_part * b_beta[:, None]
            b_row += tl.sum(b_part * b_k.to(tl.float32), 1)
            if ERASE or DECAY:
                b_S = tl.load(states + o_S, mask=m_S, other=0.0)
            if DECAY:
                b_SdS += tl.sum(b_S.to(tl.float32) * b_dS.to(tl.float32), 0)
            if ERASE:  # error
                b_dx = tl.load(dv + i_vo + o_vo, mask=m_vo, other=0.0)
                b_dA = tl.dot(b_dx, tl.trans(b_z), b_dA, input_precision=PREC)
                b_part = tl.dot(b_dx, b_S, input_precision=PREC) * b_gamma[:, None]
                b_dk -= b_part
                if DECAY:
                    b_dG -= tl.sum(b_part * b_k.to(tl.float32), 1)
        if DECAY:
            b_G = tl.load(p_gates)
            b_decay = tl.exp(tl.where(m_strict, b_G[:, None] - b_G[None, :], float("-inf")))
            b_later = tl.exp(tl.where(m_upper, b_G[None, :] - b_G[:, None], float("-inf")))
        else:
            b_decay = tl.where(m_strict, 1.0, 0.0)
            b_later = tl.where(m_upper, 1.0, 0.0)
        b_dqk += b_dP * b_later * (b_beta * scale)[:, None]
        if ERASE:
            b_dA *= -b_decay
            b_D = b_dA * tl.dot(b_k, tl.trans(b_k), input_precision=PREC)
            b_dkk += b_dA * b_beta[None, :]
            p_dbeta = dbeta + i_gate + o_c * HV
            tl.store(p_dbeta, tl.load(p_dbeta, mask=m_t) + tl.sum(b_D, 0) + b_row, mask=m_t)
            if DECAY:
                b_D *= b_beta[None, :]
                b_dG += tl.sum(b_D, 1) - tl.sum(b_D, 0)
        if DECAY:
            b_row *= b_beta
            p_dg = dg + i_gate + o_c * HV
            b_dG += tl.load(p_dg, mask=m_t, other=0.0) - b_row
            b_all = tl.load(gates + i_block * (4 * C) + 2 * C - 1)
            b_dlast = tl.sum(b_row, 0) + b_all * tl.sum(b_SdS, 0)
            tl.store(p_dg, tl.cumsum(b_dG, 0, reverse=True) + b_dlast, mask=m_t)
    b_q = tl.load(q + i_qk + o_qk, mask=m_qk, other=0.0)
    b_dk = tl.dot(b_dqk.to(DTYPE), b_q, b_dk, input_precision=PREC)
    if ERASE:
        b_dk = tl.dot((b_dkk + tl.trans(b_dkk)).to(DTYPE), b_k, b_dk, input_precision=PREC)
    tl.store(dk + i_qk + o_qk, b_dk.to(dk.dtype.element_ty), mask=m_qk)


def gradients_tiles(K: int, V: int, dtype: torch.dtype, *, chip: Chip) -> Tiles:
    """Choose the tiles of the gradients: as many row blocks in flight as the chip's shared memory holds."""
    wide = K > 128 or dtype is torch.float32
    BV = min(32 if wide else 64, max(16, triton.next_power_of_2(V)))
    if wide or chip.shared < 160_000 or chip.major >= 10:  # Triton 3.7 fails to pipeline these for sm_100
        stages = 1
    else:
        stages = 2 if chip.shared < 200_000 else 3
    return Tiles(BV=BV, num_warps=8, num_stages=stages)


def chunk_gradients(
    q: Tensor,
    k: Tensor,
    errors: Tensor,
    do: Tensor,
    dv: Tensor,
    prepared: Prepared,
    states: Tensor,
    dstates: Tensor,
    *,
    tiles: Tiles | None = None,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Compute the gradients of queries, keys and gates.

    Args:
        q: queries, [..., H, K], contiguous.
        k: keys, [..., H, K], contiguous.
        errors: the errors before their gate, [..., HV, V]; the values where nothing is erased.
        do: gradient of the outputs, [..., HV, V], contiguous.
        dv: gradient of the values, [..., HV, V], contiguous.
        prepared: from ``chunk_prepare``.
        states: the memory before each chunk, [chunk, HV, V, K].
        dstates: the gradient of the memory after each chunk, [chunk, HV, V, K].
        tiles: how the kernel is cut; by default as ``gradients_tiles`` says.

    Returns:
        dq and dk [..., H, K] in the dtype of q; dg and dbeta [..., HV] float32, each None where there is no such gate.
    """
    H, K = k.shape[-2:]
    HV, V = do.shape[-2:]
    tiles = tiles or gradients_tiles(K, V, k.dtype, chip=chip_of(k.device))
    x = prepared
    dq, dk = torch.empty_like(q), torch.empty_like(k)
    dg = torch.empty(do.shape[:-1], dtype=torch.float32, device=q.device) if x.decay else None
    dbeta = torch.empty(do.shape[:-1], dtype=torch.float32, device=q.device) if x.erase else None
    tables = x.chunks.spans, x.scale, H, HV
    options = {
        "K": K, "V": V, "BK": max(16, triton.next_power_of_2(K)), "BV": tiles.BV, "C": CHUNK, "DECAY": x.decay,
        "ERASE": x.erase, "PREC": precision(k.dtype), "num_warps": tiles.num_warps, "num_stages": tiles.num_stages,
    }  # fmt: skip
    grid = (x.chunks.count, H)
    chunk_query_gradients_kernel[grid](q, k, errors, do, x.gates, states, dq, dg, dbeta, *tables, **options)
    chunk_key_gradients_kernel[grid](
        q, k, errors, do, dv, x.gates, states, dstates, dk, dg, dbeta, *tables, **options
    )  # fmt: skip
    return dq, dk, dg, dbeta
