"""The gradients of queries, keys and gates, from the memory before each chunk and its gradient after it."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from gdn_core.kernels.chunk_prepare import CHUNK, Prepared, precision
from gdn_core.kernels.chunk_scan import Tiles, chip_of
from gdn_core.kernels.chunk_scan_backward import Scans, tiles_of
from gdn_core.kernels.chunk_windows import Window
from gdn_core.kernels.tensor_maps import fits_hopper


@triton.jit
def decay_between(gates, g, i_block, i_gate, HV, m_t, m_pairs, DTYPE: tl.constexpr, C: tl.constexpr):
    """Return exp(G_i - G_j) where m_pairs, and zero elsewhere, [C, C]."""
    o_c = tl.arange(0, C)
    b_G = tl.load(gates + i_block * (4 * C) + o_c)
    b_between = b_G[:, None] - b_G[None, :]
    if tl.float32 == DTYPE:
        # A difference is small where it matters, between sums that one forgetful token has made large: what the sums
        # lose in float32 is added back. Beside the rounding of narrower operands it is nothing.
        b_g = tl.load(g + i_gate + o_c * HV, mask=m_t, other=0.0).to(tl.float64)
        b_sum = tl.cumsum(tl.where(b_g < -100.0, -100.0, b_g), 0)
        b_lost = (b_sum - b_sum.to(tl.float32).to(tl.float64)).to(tl.float32)
        b_between += b_lost[:, None] - b_lost[None, :]
    return tl.exp(tl.where(m_pairs, b_between, float("-inf")))


@triton.jit
def rows_less_columns(b_D, DTYPE: tl.constexpr):
    """Return the sums of rows less those of columns, [C]; they nearly cancel, so float32 is summed in float64."""
    SUM: tl.constexpr = tl.float64 if tl.float32 == DTYPE else tl.float32
    b_D = b_D.to(SUM)
    return (tl.sum(b_D, 1) - tl.sum(b_D, 0)).to(tl.float32)


@triton.jit(do_not_specialize=["H", "HV"])
def chunk_query_gradients_kernel(
    q, k, errors, do, g, gates, states, dq, dqk, dg, dbeta, spans, scale, H, HV,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, C: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Compute dq of one chunk of one key head, and what the reads give to the gradients of the gates.

    dqk gets the gradient of q k^T, dg that of the cumulated decay, until chunk_key_gradients_kernel adds the rest.
    """
    i_p, i_h = (tl.program_id(0) // H).to(tl.int64), tl.program_id(0) % H
    start = tl.load(spans + 2 * i_p)
    stop = tl.load(spans + 2 * i_p + 1)
    if start >= stop:  # an empty sequence has a chunk, and nobody wrote its memory
        return
    DTYPE: tl.constexpr = k.dtype.element_ty
    GROUP = HV // H
    o_c = tl.arange(0, C)
    o_k = tl.arange(0, BK)
    m_t = start + o_c < stop
    m_k = o_k < K
    m_qk = m_t[:, None] & m_k[None, :]
    o_qk = (start * H + i_h) * K + o_c[:, None] * (H * K) + o_k[None, :]
    b_q = tl.load(q + o_qk, mask=m_qk, other=0.0)
    b_k = tl.load(k + o_qk, mask=m_qk, other=0.0)
    b_dq = tl.zeros((C, BK), tl.float32)
    b_dqk = tl.zeros((C, C), tl.float32)
    b_dP = tl.zeros((C, C), tl.float32)
    b_dG = tl.zeros((C,), tl.float32)
    m_lower = (o_c[:, None] >= o_c[None, :]) & m_t[:, None]
    i_z = i_p * C if ERASE else start
    NV: tl.constexpr = (V + BV - 1) // BV
    for j in range(GROUP * NV):  # one loop and not two, so that the next head is loaded ahead
        i_v = j % NV
        i_hv = i_h * GROUP + j // NV
        i_gates = i_p * HV + i_hv
        i_gate = start * HV + i_hv
        p_gates = gates + i_gates * (4 * C) + o_c
        o_v = i_v * BV + tl.arange(0, BV)
        m_v = o_v < V
        o_vo = o_c[:, None] * (HV * V) + o_v[None, :]
        m_vo = m_t[:, None] & m_v[None, :]
        o_S = (i_p * HV + i_hv) * (V * K) + o_v[:, None] * K + o_k[None, :]
        b_z = tl.load(errors + (i_z * HV + i_hv) * V + o_vo, mask=m_vo, other=0.0)
        b_do = tl.load(do + i_gate * V + o_vo, mask=m_vo, other=0.0)
        b_S = tl.load(states + o_S, mask=m_v[:, None] & m_k[None, :], other=0.0)
        b_part = tl.dot(b_do, b_S, input_precision=PREC)
        b_dP = tl.dot(b_do, tl.trans(b_z), b_dP, input_precision=PREC)
        if DECAY:
            b_part *= (tl.load(p_gates + C) * scale)[:, None]
            b_dG += tl.sum(b_part * b_q.to(tl.float32), 1)
        else:
            b_part *= scale
        b_dq += b_part
        if i_v == NV - 1:
            if DECAY:
                b_dP *= decay_between(gates, g, i_gates, i_gate, HV, m_t, m_lower, DTYPE, C)
            b_dP = tl.where(m_lower, b_dP * scale, 0.0)
            b_D = b_dP * tl.dot(b_q, tl.trans(b_k), input_precision=PREC)
            if ERASE:
                b_beta = tl.load(p_gates + 3 * C)
                tl.store(dbeta + i_gate + o_c * HV, tl.sum(b_D, 0), mask=m_t)
                b_D *= b_beta[None, :]
                b_dP *= b_beta[None, :]
            b_dqk += b_dP
            if DECAY:
                # The diagonal does not decay: it would cancel between the two sums, but not to the last bit.
                b_D = tl.where(o_c[:, None] == o_c[None, :], 0.0, b_D)
                b_dG += rows_less_columns(b_D, DTYPE)
                tl.store(dg + i_gate + o_c * HV, b_dG, mask=m_t)
            b_dP = tl.zeros((C, C), tl.float32)
            b_dG = tl.zeros((C,), tl.float32)
    b_dqk = b_dqk.to(DTYPE)
    tl.store(dqk + (i_p * H + i_h) * (C * C) + o_c[:, None] * C + o_c[None, :], b_dqk)
    b_dq = tl.dot(b_dqk, b_k, b_dq, input_precision=PREC)
    tl.store(dq + o_qk, b_dq.to(DTYPE), mask=m_qk)


@triton.jit(do_not_specialize=["H", "HV"])
def chunk_key_gradients_kernel(
    q, k, errors, dv, g, gates, states, dstates, dqk, dk, dg, dbeta, spans, H, HV,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, C: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Compute dk of one chunk of one key head, and finish dg and dbeta.

    With z the errors before their gate and u = beta z, every gradient of a gate is a sum of products already at hand,
    so nothing is divided by beta.
    """
    i_p, i_h = (tl.program_id(0) // H).to(tl.int64), tl.program_id(0) % H
    start = tl.load(spans + 2 * i_p)
    stop = tl.load(spans + 2 * i_p + 1)
    if start >= stop:
        return
    DTYPE: tl.constexpr = k.dtype.element_ty
    SUM: tl.constexpr = tl.float64 if tl.float32 == DTYPE else tl.float32
    GROUP = HV // H
    o_c = tl.arange(0, C)
    o_k = tl.arange(0, BK)
    m_t = start + o_c < stop
    m_k = o_k < K
    m_qk = m_t[:, None] & m_k[None, :]
    o_qk = (start * H + i_h) * K + o_c[:, None] * (H * K) + o_k[None, :]
    b_k = tl.load(k + o_qk, mask=m_qk, other=0.0)
    b_dk = tl.zeros((C, BK), tl.float32)
    b_dkk = tl.zeros((C, C), tl.float32)
    b_dA = tl.zeros((C, C), tl.float32)
    b_row = tl.zeros((C,), tl.float32)
    b_dG = tl.zeros((C,), tl.float32)
    b_SdS = tl.zeros((BK,), tl.float32)
    m_strict = (o_c[:, None] > o_c[None, :]) & m_t[:, None]
    i_z = i_p * C if ERASE else start
    NV: tl.constexpr = (V + BV - 1) // BV
    for j in range(GROUP * NV):
        i_v = j % NV
        i_hv = i_h * GROUP + j // NV
        i_gates = i_p * HV + i_hv
        i_gate = start * HV + i_hv
        p_gates = gates + i_gates * (4 * C) + o_c
        o_v = i_v * BV + tl.arange(0, BV)
        m_v = o_v < V
        o_vo = o_c[:, None] * (HV * V) + o_v[None, :]
        m_vo = m_t[:, None] & m_v[None, :]
        o_S = (i_p * HV + i_hv) * (V * K) + o_v[:, None] * K + o_k[None, :]
        m_S = m_v[:, None] & m_k[None, :]
        b_z = tl.load(errors + (i_z * HV + i_hv) * V + o_vo, mask=m_vo, other=0.0)
        b_dS = tl.load(dstates + o_S, mask=m_S, other=0.0)
        if ERASE:
            b_dx = tl.load(dv + i_gate * V + o_vo, mask=m_vo, other=0.0)
        if ERASE or DECAY:
            b_S = tl.load(states + o_S, mask=m_S, other=0.0)
        b_part = tl.dot(b_z, b_dS, input_precision=PREC)  # write
        if ERASE:
            b_dA = tl.dot(b_dx, tl.trans(b_z), b_dA, input_precision=PREC)
        if DECAY:
            b_SdS += tl.sum(b_S.to(tl.float32) * b_dS.to(tl.float32), 0)
            b_part *= tl.load(p_gates + 2 * C)[:, None]
        b_row += tl.sum(b_part * b_k.to(tl.float32), 1)
        if ERASE:  # error
            b_dk += b_part * tl.load(p_gates + 3 * C)[:, None]
            b_part = tl.dot(b_dx, b_S, input_precision=PREC)
            if DECAY:
                b_part *= tl.load(p_gates + C)[:, None]
                b_dG -= tl.sum(b_part * b_k.to(tl.float32), 1)
            b_dk -= b_part
        else:
            b_dk += b_part
        if i_v == NV - 1:
            if ERASE:
                if DECAY:
                    b_dA *= decay_between(gates, g, i_gates, i_gate, HV, m_t, m_strict, DTYPE, C)
                b_dA = tl.where(m_strict, -b_dA, 0.0)
                b_D = b_dA * tl.dot(b_k, tl.trans(b_k), input_precision=PREC)
                b_beta = tl.load(p_gates + 3 * C)
                p_dbeta = dbeta + i_gate + o_c * HV
                tl.store(p_dbeta, tl.load(p_dbeta, mask=m_t) + tl.sum(b_D, 0) + b_row, mask=m_t)
                b_dkk += b_dA * b_beta[None, :]
                b_row *= b_beta
                if DECAY:
                    b_D *= b_beta[None, :]
                    b_dG += rows_less_columns(b_D, DTYPE)
            if DECAY:
                p_dg = dg + i_gate + o_c * HV
                b_dG += tl.load(p_dg, mask=m_t, other=0.0) - b_row
                b_all = tl.load(gates + i_gates * (4 * C) + 2 * C - 1)
                b_dG = tl.cumsum(b_dG.to(SUM), 0, reverse=True)
                # The sum over all tokens, as rows of a square: Triton 3.7 fails on the plain one for sm_100.
                b_dG += tl.sum(tl.broadcast_to(b_row.to(SUM)[None, :], (C, C)), 1)
                b_dG += b_all.to(SUM) * tl.sum(b_SdS.to(SUM), 0)
                tl.store(p_dg, b_dG.to(tl.float32), mask=m_t)
            b_dA = tl.zeros((C, C), tl.float32)
            b_row = tl.zeros((C,), tl.float32)
            b_dG = tl.zeros((C,), tl.float32)
            b_SdS = tl.zeros((BK,), tl.float32)
    b_q = tl.load(q + o_qk, mask=m_qk, other=0.0)
    b_dqk = tl.load(dqk + (i_p * H + i_h) * (C * C) + o_c[:, None] * C + o_c[None, :])
    b_dk += tl.dot(tl.trans(b_dqk), b_q, input_precision=PREC)
    if ERASE:
        b_dk += tl.dot((b_dkk + tl.trans(b_dkk)).to(DTYPE), b_k, input_precision=PREC)
    tl.store(dk + o_qk, b_dk.to(DTYPE), mask=m_qk)


# What the gradients may pick: by the compute capability from which it holds, for two-byte and for float32 operands,
# each for keys of at most 128 channels and for wider ones. Float32 takes 16 warps on Blackwell: four or eight would use
# its tensor memory, which is too small for it.
CONFIGS: dict[int, dict[str, list[Tiles]]] = {
    80: {"narrow": [Tiles(32, 8, 1), Tiles(32, 8, 1)], "float32": [Tiles(32, 8, 1), Tiles(16, 8, 1)]},
    100: {"narrow": [Tiles(32, 8, 1), Tiles(32, 8, 1)], "float32": [Tiles(32, 16, 1), Tiles(16, 16, 1)]},
}


class Gradients(NamedTuple):
    """Where gradients go.

    Args:
        dq: of queries, [..., H, K].
        dk: of keys, [..., H, K].
        dg: of the log decay, [..., HV] float32; None for no decay.
        dbeta: of the gate, [..., HV] float32; None where nothing is erased.
    """

    dq: Tensor
    dk: Tensor
    dg: Tensor | None
    dbeta: Tensor | None


def chunk_gradients(
    q: Tensor,
    k: Tensor,
    g: Tensor | None,
    do: Tensor,
    dv: Tensor,
    prepared: Prepared,
    scanned: Scans,
    written: Gradients,
    *,
    window: Window,
    tiles: Tiles | None = None,
) -> None:
    """Compute the gradients of queries, keys and gates in the chunks of a window.

    Args:
        q: queries, [..., H, K], contiguous.
        k: keys, [..., H, K], contiguous.
        g: log decay, [..., HV], contiguous; None for no decay.
        do: gradient of the outputs, [..., HV, V], contiguous.
        dv: gradient of the values, [..., HV, V], contiguous.
        prepared: from ``chunk_prepare``.
        scanned: from ``scans``.
        written: where the gradients go.
        window: the chunks to look at.
        tiles: how the kernels are cut; by default as ``tiles_of`` says.
    """
    H, K = k.shape[-2:]
    HV, V = do.shape[-2:]
    chip = chip_of(k.device)
    x, errors, states, dstates = prepared, scanned.errors, scanned.states, scanned.dstates
    if tiles is None and V in (64, 128) and fits_hopper(K, q, k, errors, do, dv):
        from gdn_core.kernels.chunk_gradients_hopper import launch

        launch(q, k, errors, do, dv, x, states, dstates, written, window=window, processors=chip.processors)
        return
    tiles = tiles or tiles_of(CONFIGS, K, V, k.dtype, chip=chip)
    dqk = torch.empty(window.places, H, CHUNK, CHUNK, dtype=k.dtype, device=k.device)
    # Not 16: with keys of at most 16 channels float32 gradients came out wrong on an H200, or read what is not there;
    # eight warps then share instructions of 8 columns. With 20 and more they were right.
    options: dict[str, Any] = {
        "K": K, "V": V, "BK": max(32, triton.next_power_of_2(K)), "BV": tiles.BV, "C": CHUNK, "DECAY": x.decay,
        "ERASE": x.erase, "PREC": precision(k.dtype), "num_warps": tiles.num_warps, "num_stages": tiles.num_stages,
    }  # fmt: skip
    dq, dk, dg, dbeta = written
    grid = (window.places * H,)
    chunk_query_gradients_kernel[grid](
        q, k, errors, do, g, x.gates, states, dq, dqk, dg, dbeta, window.spans, x.scale, H, HV, **options
    )  # fmt: skip
    chunk_key_gradients_kernel[grid](
        q, k, errors, dv, g, x.gates, states, dstates, dqk, dk, dg, dbeta, window.spans, H, HV, **options
    )  # fmt: skip
