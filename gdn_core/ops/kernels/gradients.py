"""The gradients of queries, keys and gates, from the memory before each chunk and the gradient of that after it."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from gdn_core.ops.kernels.arithmetic import dot, finite, operand_dtype, sum_dtype
from gdn_core.ops.kernels.chip import Tiles, chip_of, differentiates_on_hopper, most_registers, sliced, tiles_of
from gdn_core.ops.kernels.launches import device_of, launcher
from gdn_core.ops.kernels.stages import CHUNK, Gradients, Prepared, Scanned, stored_dtypes
from gdn_core.ops.kernels.windows import Window


@triton.jit
def decay_mask(gates, i_block, m_pairs, C: tl.constexpr):
    """Return Gamma_ij = exp(G_i - G_j) where m_pairs, and zero elsewhere, [C, C].

    For float32 inputs both steps are in float64. The difference: one strong decay makes the sums G large, and the
    differences that matter are small. The exponential: the hardware's float32 one is off by up to three roundings, six
    times the error budget of the gradient of g, which is a sum that nearly cancels.
    """
    o_c = tl.arange(0, C)
    b_G = tl.load(gates + i_block * (4 * C) + o_c)
    b_between = b_G[:, None] - b_G[None, :]
    return tl.exp(tl.where(m_pairs, b_between, float("-inf")))


@triton.jit(do_not_specialize=["H", "HV"])
def chunk_query_gradients_kernel(
    q, k, e, do, gates, h, dq, dqk, dg, dbeta, spans, scale, H, HV,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, C: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, SLICED: tl.constexpr,
):  # fmt: skip
    """Compute dq of one chunk of one key head, and the part of the gates' gradients that comes from the reads.

    dqk gets the gradient of q k^T, and dg that of G from the reads; chunk_key_gradients_kernel adds the rest. If keys
    are wider than BK, a program handles BK of their channels and stores their contribution to dg and dbeta. All these
    programs compute the same dqk and write the same values.
    """
    i_p, i_h = (tl.program_id(0) // H).to(tl.int64), tl.program_id(0) % H
    start = tl.load(spans + 2 * i_p)
    stop = tl.load(spans + 2 * i_p + 1)
    if start >= stop:  # the one chunk of an empty sequence, whose memory was never written
        return
    OPERAND: tl.constexpr = operand_dtype(k.dtype.element_ty)
    SUM: tl.constexpr = sum_dtype(k.dtype.element_ty)
    GROUP = HV // H
    o_c = tl.arange(0, C)
    o_k = tl.arange(0, BK)
    NK: tl.constexpr = (K + BK - 1) // BK
    i_k = tl.program_id(1) if NK > 1 else 0
    if NK > 1:
        o_k += i_k * BK
    m_t = start + o_c < stop
    m_k = o_k < K
    m_qk = m_t[:, None] & m_k[None, :]
    o_qk = (start * H + i_h) * K + o_c[:, None] * (H * K) + o_k[None, :]
    b_q = tl.load(q + o_qk, mask=m_qk, other=0.0)
    b_k = tl.load(k + o_qk, mask=m_qk, other=0.0)
    b_dq = tl.zeros((C, BK), SUM)
    b_dqk = tl.zeros((C, C), SUM)
    b_dAqk = tl.zeros((C, C), SUM)
    b_dG = tl.zeros((C,), SUM)
    b_bad = tl.zeros((C,), SUM)  # NaN for tokens whose value is not finite
    m_lower = (o_c[:, None] >= o_c[None, :]) & m_t[:, None]
    i_e = i_p * C if ERASE else start
    NV: tl.constexpr = (V + BV - 1) // BV
    for j in range(GROUP * NV):  # one loop instead of two, so that loads of the next head are pipelined
        i_v = j % NV
        i_hv = i_h * GROUP + j // NV
        i_gates = i_p * HV + i_hv
        i_gate = start * HV + i_hv
        p_gates = gates + i_gates * (4 * C) + o_c
        o_v = i_v * BV + tl.arange(0, BV)
        m_v = o_v < V
        o_vo = o_c[:, None] * (HV * V) + o_v[None, :]
        m_vo = m_t[:, None] & m_v[None, :]
        o_h = (i_p * HV + i_hv) * (V * K) + o_v[:, None] * K + o_k[None, :]
        b_e = tl.load(e + (i_e * HV + i_hv) * V + o_vo, mask=m_vo, other=0.0).to(OPERAND)
        b_do = tl.load(do + i_gate * V + o_vo, mask=m_vo, other=0.0).to(OPERAND)
        b_h = tl.load(h + o_h, mask=m_v[:, None] & m_k[None, :], other=0.0).to(OPERAND)
        b_part = dot(b_do, b_h, SLICED=SLICED)
        b_dAqk = dot(b_do, tl.trans(b_e), b_dAqk, SLICED=SLICED)
        if DECAY and not ERASE:
            b_bad += tl.sum(b_e.to(SUM) * 0.0, 1)
        if DECAY:
            b_part *= (tl.load(p_gates + C) * scale)[:, None]
            b_dG += tl.sum(b_part * b_q.to(SUM), 1)
        else:
            b_part *= scale
        b_dq += b_part
        if i_v == NV - 1:
            if DECAY:
                b_dAqk *= decay_mask(gates, i_gates, m_lower, C)
            b_dAqk = tl.where(m_lower, b_dAqk * scale, 0.0)
            b_D = b_dAqk * dot(b_q.to(OPERAND), tl.trans(b_k.to(OPERAND)), SLICED=SLICED)
            if ERASE:
                b_beta = tl.load(p_gates + 3 * C)
                tl.store(dbeta + (i_gate * NK + i_k) + o_c * (HV * NK), tl.sum(b_D, 0), mask=m_t)
                b_D *= b_beta[None, :]
                b_dAqk *= b_beta[None, :]
            b_dqk += b_dAqk
            if DECAY:
                # The diagonal does not decay. It would cancel between the two sums, but not to the last bit.
                b_D = tl.where(o_c[:, None] == o_c[None, :], 0.0, b_D)
                if not ERASE:  # a later token's share cancels, unless it is NaN
                    b_D = tl.where((b_bad != b_bad)[None, :], 0.0, b_D)
                b_dG += tl.sum(b_D, 1) - tl.sum(b_D, 0)
                tl.store(dg + (i_gate * NK + i_k) + o_c * (HV * NK), b_dG, mask=m_t)
            b_dAqk = tl.zeros((C, C), SUM)
            b_dG = tl.zeros((C,), SUM)
            b_bad = tl.zeros((C,), SUM)
    b_dqk = b_dqk.to(OPERAND)
    tl.store(dqk + (i_p * H + i_h) * (C * C) + o_c[:, None] * C + o_c[None, :], b_dqk)
    b_dq = dot(b_dqk, b_k.to(OPERAND), b_dq, SLICED=SLICED)
    tl.store(dq + o_qk, b_dq.to(dq.dtype.element_ty), mask=m_qk)


@triton.jit(do_not_specialize=["H", "HV"])
def chunk_key_gradients_kernel(
    q, k, e, dv, gates, h, dh, dqk, dk, dg, dbeta, spans, H, HV,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, C: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, SLICED: tl.constexpr,
):  # fmt: skip
    """Compute dk of one chunk of one key head, and finish dg and dbeta.

    With e the errors before their gate and v_new = beta e, the gradients of the gates are sums of products that are
    computed anyway, and nothing is divided by beta.
    """
    i_p, i_h = (tl.program_id(0) // H).to(tl.int64), tl.program_id(0) % H
    start = tl.load(spans + 2 * i_p)
    stop = tl.load(spans + 2 * i_p + 1)
    if start >= stop:
        return
    OPERAND: tl.constexpr = operand_dtype(k.dtype.element_ty)
    SUM: tl.constexpr = sum_dtype(k.dtype.element_ty)
    GROUP = HV // H
    o_c = tl.arange(0, C)
    o_k = tl.arange(0, BK)
    NK: tl.constexpr = (K + BK - 1) // BK
    i_k = tl.program_id(1) if NK > 1 else 0
    if NK > 1:
        o_k += i_k * BK
    m_t = start + o_c < stop
    m_k = o_k < K
    m_qk = m_t[:, None] & m_k[None, :]
    o_qk = (start * H + i_h) * K + o_c[:, None] * (H * K) + o_k[None, :]
    b_k = tl.load(k + o_qk, mask=m_qk, other=0.0)
    b_dk = tl.zeros((C, BK), SUM)
    b_dkk = tl.zeros((C, C), SUM)
    b_dAkk = tl.zeros((C, C), SUM)
    b_row = tl.zeros((C,), SUM)
    b_dG = tl.zeros((C,), SUM)
    b_hdh = tl.zeros((BK,), SUM)
    m_strict = (o_c[:, None] > o_c[None, :]) & m_t[:, None]
    i_e = i_p * C if ERASE else start
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
        o_h = (i_p * HV + i_hv) * (V * K) + o_v[:, None] * K + o_k[None, :]
        m_h = m_v[:, None] & m_k[None, :]
        b_e = tl.load(e + (i_e * HV + i_hv) * V + o_vo, mask=m_vo, other=0.0).to(OPERAND)
        b_dh = tl.load(dh + o_h, mask=m_h, other=0.0).to(OPERAND)
        if ERASE:
            b_dx = tl.load(dv + i_gate * V + o_vo, mask=m_vo, other=0.0).to(OPERAND)
        if ERASE or DECAY:
            b_h = tl.load(h + o_h, mask=m_h, other=0.0).to(OPERAND)
        b_part = dot(b_e, b_dh, SLICED=SLICED)  # write
        if ERASE:
            b_dAkk = dot(b_dx, tl.trans(b_e), b_dAkk, SLICED=SLICED)
        if DECAY:
            b_hdh += tl.sum(b_h.to(SUM) * b_dh.to(SUM), 0)
            b_part *= tl.load(p_gates + 2 * C)[:, None]
        b_row += tl.sum(b_part * b_k.to(SUM), 1)
        if ERASE:  # error
            b_dk += b_part * tl.load(p_gates + 3 * C)[:, None]
            b_part = dot(b_dx, b_h, SLICED=SLICED)
            if DECAY:
                b_part *= tl.load(p_gates + C)[:, None]
                b_dG -= tl.sum(b_part * b_k.to(SUM), 1)
            b_dk -= b_part
        else:
            b_dk += b_part
        if i_v == NV - 1:
            if ERASE:
                if DECAY:
                    b_dAkk *= decay_mask(gates, i_gates, m_strict, C)
                b_dAkk = tl.where(m_strict, -b_dAkk, 0.0)
                b_D = b_dAkk * dot(b_k.to(OPERAND), tl.trans(b_k.to(OPERAND)), SLICED=SLICED)
                b_beta = tl.load(p_gates + 3 * C)
                p_dbeta = dbeta + (i_gate * NK + i_k) + o_c * (HV * NK)
                tl.store(p_dbeta, tl.load(p_dbeta, mask=m_t) + tl.sum(b_D, 0) + b_row, mask=m_t)
                b_dkk += b_dAkk * b_beta[None, :]
                b_row *= b_beta
                if DECAY:
                    b_D *= b_beta[None, :]
                    b_dG += tl.sum(b_D, 1) - tl.sum(b_D, 0)
            else:  # a later token's share cancels, unless it is NaN
                b_row = tl.where(finite(b_row), b_row, 0.0)
            if DECAY:
                p_dg = dg + (i_gate * NK + i_k) + o_c * (HV * NK)
                b_dG += tl.load(p_dg, mask=m_t, other=0.0)
                # A log decay is in the sums of its own and later tokens, and in what earlier ones write to the end. No
                # token takes back what it or a later one writes to the end: that would cancel, but not to the last bit.
                b_sum = tl.sum(tl.where(o_c[None, :] >= o_c[:, None], b_dG[None, :], b_row[None, :]), 1)
                b_gamma_C = tl.load(gates + i_gates * (4 * C) + 2 * C - 1)
                b_dG = b_sum + b_gamma_C * tl.sum(b_hdh, 0)
                tl.store(p_dg, b_dG, mask=m_t)
            b_dAkk = tl.zeros((C, C), SUM)
            b_row = tl.zeros((C,), SUM)
            b_dG = tl.zeros((C,), SUM)
            b_hdh = tl.zeros((BK,), SUM)
    b_q = tl.load(q + o_qk, mask=m_qk, other=0.0).to(OPERAND)
    b_dqk = tl.load(dqk + (i_p * H + i_h) * (C * C) + o_c[:, None] * C + o_c[None, :]).to(OPERAND)
    b_dk += dot(tl.trans(b_dqk), b_q, SLICED=SLICED)
    if ERASE:
        b_dk += dot((b_dkk + tl.trans(b_dkk)).to(OPERAND), b_k.to(OPERAND), SLICED=SLICED)
    tl.store(dk + o_qk, b_dk.to(dk.dtype.element_ty), mask=m_qk)


# Tiles of the gradient kernels: by the least compute capability, for two-byte and for float32 operands, each for keys
# of at most 128 channels and for wider ones. Float32 takes 32 channels at a time, since the sums over tokens alone fill
# half of the registers, and 16 warps on Blackwell, as chunk_prepare does.
CONFIGS: dict[int, dict[str, list[Tiles]]] = {
    80: {"narrow": [Tiles(32, 8, 1), Tiles(32, 8, 1)], "float32": [Tiles(32, 8, 1, BK=32)] * 2},
    100: {"narrow": [Tiles(32, 8, 1), Tiles(32, 8, 1)], "float32": [Tiles(32, 16, 1, BK=32)] * 2},
}


def key_block(K: int, tiles: Tiles) -> int:
    """Return the number of key channels that a program handles, at least 32.

    With 16, where eight warps share instructions of 8 columns, float32 gradients were wrong on an H200, or read out of
    bounds. With keys of 20 and more channels they were right.
    """
    return min(max(32, triton.next_power_of_2(K)), tiles.BK)


def room(q: Tensor, k: Tensor, v: Tensor, *, decay: bool, erase: bool) -> Gradients:
    """Allocate the gradients for these inputs; dg only with ``decay``, dbeta only with ``erase``."""
    K, V = k.shape[-1], v.shape[-1]
    blocks, dtype = triton.cdiv(K, key_block(K, tiles_of(CONFIGS, K, V, k))), stored_dtypes(k.dtype)[0]
    dg, dbeta = (
        torch.empty(*v.shape[:-1], blocks, dtype=dtype, device=v.device) if has else None for has in (decay, erase)
    )
    return Gradients(torch.empty_like(q), torch.empty_like(k), dg, dbeta)


def summed(parts: Tensor | None, gate: Tensor | None) -> Tensor | None:
    """Sum the contributions of the blocks of key channels to the gradient of a gate, and convert to its dtype."""
    if parts is None or gate is None:
        return None
    return (parts.sum(-1) if parts.shape[-1] > 1 else parts.squeeze(-1)).to(gate.dtype)


def chunk_gradients(
    q: Tensor,
    k: Tensor,
    do: Tensor,
    dv: Tensor,
    prepared: Prepared,
    scanned: Scanned,
    written: Gradients,
    *,
    window: Window,
) -> None:
    """Compute the gradients of queries, keys and gates in the chunks of a window.

    Args:
        q: queries, [..., H, K], contiguous.
        k: keys, [..., H, K], contiguous.
        do: gradient of the outputs, [..., HV, V], contiguous.
        dv: gradient of the values, [..., HV, V], contiguous.
        prepared: from ``chunk_prepare``.
        scanned: from ``scans``.
        written: the tensors that the gradients are written to.
        window: the chunks to compute.
    """
    H, K = k.shape[-2:]
    HV, V = do.shape[-2:]
    x, e, h, dh = prepared, scanned.e, scanned.h, scanned.dh
    if differentiates_on_hopper(K, V, q, k, e, do, dv):
        from gdn_core.ops.kernels.hopper.gradients import launch

        launch(q, k, e, do, dv, x, h, dh, written, window=window, processors=chip_of(device_of(k)).processors)
        return
    tiles = tiles_of(CONFIGS, K, V, k)
    dqk = torch.empty(window.places, H, CHUNK, CHUNK, dtype=k.dtype, device=k.device)
    options: dict[str, Any] = {
        "K": K, "V": V, "BK": key_block(K, tiles), "BV": tiles.BV, "C": CHUNK, "DECAY": x.decay,
        "ERASE": x.erase, "SLICED": sliced(k), "num_warps": tiles.num_warps, "num_stages": tiles.num_stages,
        "maxnreg": most_registers(tiles.num_warps),
    }  # fmt: skip
    dq, dk, dg, dbeta = written
    grid = (window.places * H, triton.cdiv(K, options["BK"]))
    launcher(chunk_query_gradients_kernel, grid)(
        q, k, e, do, x.gates, h, dq, dqk, dg, dbeta, window.spans, x.scale, H, HV, **options
    )  # fmt: skip
    launcher(chunk_key_gradients_kernel, grid)(
        q, k, e, dv, x.gates, h, dh, dqk, dk, dg, dbeta, window.spans, H, HV, **options
    )  # fmt: skip
