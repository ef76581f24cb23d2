"""Limits of segments: the first token that is not finite, where a second scan of the segment ends.

No output may depend on a later token. But a chunk multiplies its tokens by triangular matrices, and 0 * NaN is NaN: one
value that is not finite would make all outputs of its chunk NaN, those of earlier tokens included. So a scan is
launched twice. The second time a segment ends before its first token that is not finite; a segment without one returns
at once. Then earlier outputs are the same to the bit whatever the values are. If a key or a gate is not finite, T is
not either: its rows before that token are computed again, and with operands of two bytes earlier outputs agree within
rounding. The host waits for nothing.

The backward pass uses the same limits. Its forward scan ends there, so that earlier errors come from finite tokens, and
the gradients from there on are set to NaN. A gradient depends on later tokens by definition, but not on later values:
the gradient of a value depends on no value, and the other gradients on no later value. So values that are not finite
change no gradient of an earlier token. Queries, keys, gates and output gradients that are not finite make the gradients
of earlier tokens NaN, rightly, and possibly those of later tokens in the chunk.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra.cuda import gdc_launch_dependents

from gdn_core.ops.kernels.arithmetic import finite, sum_dtype
from gdn_core.ops.kernels.blocks import Blocks, made_once
from gdn_core.ops.kernels.chip import chip_of, most_registers
from gdn_core.ops.kernels.launches import device_of, launcher
from gdn_core.ops.kernels.stages import CHUNK, Gradients, Prepared

NO_LIMIT = tl.constexpr(2**31 - 1)


@triton.jit
def lower_rows(p_k, row, b_k, p_gates, rows, K: tl.constexpr, C: tl.constexpr, DECAY: tl.constexpr):
    """Return the first ``rows`` rows of T [C, C], by forward substitution, and zeros below."""
    SUM: tl.constexpr = sum_dtype(b_k.dtype)
    o_c = tl.arange(0, C)
    o_k = tl.arange(0, b_k.shape[1])
    b_k = tl.where((o_c < rows)[:, None], b_k, 0.0).to(SUM)
    b_beta = tl.where(o_c < rows, tl.load(p_gates + 3 * C), 0.0)
    b_T = tl.zeros((C, C), SUM)
    for i in range(rows):
        b_row = tl.load(p_k + i * row, mask=o_k < K, other=0.0).to(SUM)
        b_N = -tl.sum(b_k * b_row[None, :], 1) * b_beta
        if DECAY:
            b_G = tl.load(p_gates)
            b_N *= tl.exp(tl.where(o_c < i, tl.sum(tl.where(o_c == i, b_G, 0.0), 0) - b_G, float("-inf")))
        b_N = tl.where(o_c < i, b_N, 0.0)
        b_row = tl.sum(b_N[:, None] * b_T, 0) + tl.where(o_c == i, 1.0, 0.0)
        b_T = tl.where((o_c == i)[:, None], b_row[None, :], b_T)
    return b_T


@triton.jit(do_not_specialize=["N", "H", "HV", "LENGTH"])
def chunk_limits_kernel(
    k, v, gates, T, ends, limits, cu_seqlens, chunk_offsets, segment_offsets, segment_owner, N, H, HV, LENGTH,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, C: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, DENSE: tl.constexpr, PDL: tl.constexpr,
):  # fmt: skip
    """Find the first token of a segment and value head that is not finite; clear gates and T of its chunk from there.

    Whether there is one shows in the memory after the segment. A value channel that is not finite makes its row NaN, a
    key channel its column, a gate everything. So the first row and the first column are enough.
    """
    i_s = (tl.program_id(0) // HV).to(tl.int64)
    i_hv = tl.program_id(0) % HV
    i_h = i_hv // (HV // H)
    i_n = tl.load(segment_owner + i_s)
    tl.store(limits + i_s * HV + i_hv, 0)
    if i_n >= N:
        return
    o_c = tl.arange(0, C)
    o_k = tl.arange(0, BK)
    o_v = tl.arange(0, BV)
    if PDL:
        gdc_launch_dependents()
    p_end = ends + (i_s * HV + i_hv) * (V * K)
    bad = tl.sum(tl.where(finite(tl.load(p_end + o_k, mask=o_k < K, other=0.0)), 0, 1), 0)
    bad += tl.sum(tl.where(finite(tl.load(p_end + o_v * K, mask=o_v < V, other=0.0)), 0, 1), 0)
    if bad == 0:
        return
    first = (i_s - tl.load(segment_offsets + i_n)) * LENGTH
    start = tl.load(cu_seqlens + i_n).to(tl.int64) + first * C
    stop = tl.minimum(start + LENGTH * C, tl.load(cu_seqlens + i_n + 1).to(tl.int64))
    i_block = (tl.load(chunk_offsets + i_n) + first) * HV + i_hv
    i_t = start
    found = stop
    while i_t < found:
        o_t = i_t + o_c
        m_t = o_t < stop
        b_k = tl.load(
            k + (o_t[:, None] * H + i_h) * K + o_k[None, :], mask=m_t[:, None] & (o_k < K)[None, :], other=0.0
        )
        b_v = tl.load(
            v + (o_t[:, None] * HV + i_hv) * V + o_v[None, :], mask=m_t[:, None] & (o_v < V)[None, :], other=0.0
        )
        b_bad = tl.sum(tl.where(finite(b_k), 0, 1), 1)
        p_gates = gates + i_block * (4 * C) + o_c
        if DECAY:
            b_bad += tl.where(finite(tl.load(p_gates)), 0, 1)
        if ERASE:
            b_bad += tl.where(finite(tl.load(p_gates + 3 * C)), 0, 1)
        of_T = tl.sum(b_bad, 0)
        b_bad += tl.sum(tl.where(finite(b_v), 0, 1), 1)
        found = tl.minimum(found, tl.min(tl.where(b_bad > 0, o_t, stop), 0))
        if found < stop:
            if ERASE:  # noqa: SIM102  # the one is known to the compiler, the other is not
                if of_T > 0:
                    p_k = k + (i_t * H + i_h) * K + o_k
                    rows = (found - i_t).to(tl.int32)
                    b_T = lower_rows(p_k, H * K, b_k, p_gates, rows, K, C, DECAY)
                    o_T = o_c[:, None] * C + o_c[None, :]
                    m_T = o_T >= 0
                    if not DENSE:  # two rows of the first block are stored as one, without the zeros beside it
                        half = (o_c < C // 2)[:, None]
                        o_T = tl.where(half, o_c[:, None] * (C // 2), C * C // 4 + (o_c[:, None] - C // 2) * C)
                        o_T += o_c[None, :]
                        m_T = (o_c < C // 2)[None, :] | (o_c >= C // 2)[:, None]
                    SIZE: tl.constexpr = C * C if DENSE else 3 * C * C // 4
                    tl.store(T + i_block * SIZE + o_T, b_T.to(T.dtype.element_ty), mask=m_T)
            for row in tl.static_range(4):
                tl.store(p_gates + row * C, tl.zeros((C,), gates.dtype.element_ty), mask=o_t >= found)
            tl.store(limits + i_s * HV + i_hv, (found + 1).to(tl.int32))
        i_t += C
        i_block += HV


@made_once
def no_limits(segments: int, HV: int, device: torch.device) -> Tensor:
    """Return limits that limit nothing, int32 [segment, HV], each ``NO_LIMIT``."""
    return torch.full((segments, HV), NO_LIMIT.value, dtype=torch.int32, device=device)


def limits_of(k: Tensor, v: Tensor, prepared: Prepared, ends: Tensor, *, segments: Blocks) -> Tensor:
    """Find the limits of segments, and make gates and T of the chunks with a limit finite.

    Args:
        k: keys, [..., H, K], contiguous.
        v: values, [..., HV, V], contiguous.
        prepared: from ``chunk_prepare``; its gates and T are changed.
        ends: memory after each segment, [segment, HV, V, K] float32.
        segments: the sequences cut into segments of whole chunks.

    Returns:
        int32 [segment, HV]: one more than the first token that is not finite, of all tokens; 0 where all are.
    """
    (H, K), (HV, V) = k.shape[-2:], v.shape[-2:]
    x = prepared
    limits = torch.empty(segments.count, HV, dtype=torch.int32, device=k.device)
    launcher(chunk_limits_kernel, (segments.count * HV,))(
        k, v, x.gates, x.T, ends, limits, x.cu_seqlens, x.chunks.offsets, segments.offsets, segments.owner,
        x.cu_seqlens.shape[0] - 1, H, HV, segments.size // CHUNK,
        K=K, V=V, BK=triton.next_power_of_2(K), BV=triton.next_power_of_2(V), C=CHUNK, DECAY=x.decay, ERASE=x.erase,
        DENSE=x.Aqk is not None,
        PDL=chip_of(device_of(k)).capability >= 90, num_warps=8, maxnreg=most_registers(8),
    )  # fmt: skip
    return limits


@triton.jit(do_not_specialize=["H", "HV", "LENGTH"])
def chunk_poison_kernel(
    limits, dq, dk, dg, dbeta, cu_seqlens, segment_offsets, segment_owner, H, HV, LENGTH,
    K: tl.constexpr, BK: tl.constexpr, NK: tl.constexpr, C: tl.constexpr, DECAY: tl.constexpr, ERASE: tl.constexpr,
):  # fmt: skip
    """Store NaN for the gradients of one segment and value head from its limit on."""
    i_s = (tl.program_id(0) // HV).to(tl.int64)
    i_hv = tl.program_id(0) % HV
    limit = tl.load(limits + i_s * HV + i_hv)
    if limit == 0:
        return
    i_n = tl.load(segment_owner + i_s)
    start = tl.load(cu_seqlens + i_n).to(tl.int64) + (i_s - tl.load(segment_offsets + i_n)) * (LENGTH * C)
    stop = tl.minimum(start + LENGTH * C, tl.load(cu_seqlens + i_n + 1).to(tl.int64))
    o_k = tl.arange(0, BK)
    for i_t in range(limit.to(tl.int64) - 1, stop):
        o_qk = (i_t * H + i_hv // (HV // H)) * K + o_k
        b_nan = tl.full((BK,), float("nan"), dq.dtype.element_ty)
        tl.store(dq + o_qk, b_nan, mask=o_k < K)
        tl.store(dk + o_qk, b_nan, mask=o_k < K)
        for i_k in tl.static_range(NK):
            if DECAY:
                tl.store(dg + (i_t * HV + i_hv) * NK + i_k, float("nan"))
            if ERASE:
                tl.store(dbeta + (i_t * HV + i_hv) * NK + i_k, float("nan"))


def poison(written: Gradients, limits: Tensor, cu_seqlens: Tensor, *, segments: Blocks) -> None:
    """Make the gradients of queries, keys and gates NaN for tokens that are not finite, and for all after them.

    Args:
        written: all gradients of the backward pass; that of the values depends on no value.
        limits: from ``limits_of``.
        cu_seqlens: where each sequence starts, [N + 1].
        segments: the sequences cut into segments of whole chunks.
    """
    dq, dk, dg, dbeta = written
    H, K = dk.shape[-2:]
    gate = dg if dg is not None else dbeta
    launcher(chunk_poison_kernel, (limits.numel(),))(
        limits, dq, dk, dg, dbeta, cu_seqlens, segments.offsets, segments.owner,
        H, limits.shape[1], segments.size // CHUNK,
        K=K, BK=triton.next_power_of_2(K), NK=1 if gate is None else gate.shape[-1], C=CHUNK,
        DECAY=dg is not None, ERASE=dbeta is not None, num_warps=4,
    )  # fmt: skip
