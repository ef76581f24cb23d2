"""Scan chunks with gates by channel: carry the memory from chunk to chunk, all errors of a chunk computed at once."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gdn_core.ops.kernels.arithmetic import dot, finite
from gdn_core.ops.kernels.blocks import Blocks
from gdn_core.ops.kernels.channels.prepare import CHUNK, Prepared
from gdn_core.ops.kernels.channels.widths import Widths, memories, strides
from gdn_core.ops.kernels.chip import chip_of, most_registers, sliced
from gdn_core.ops.kernels.launches import device_of, launcher


@triton.jit
def up_to_lost(b_x, o_c):
    """Return rows of tokens [BV, C] with zeros from the first token on that is not finite, and where these are.

    A product with a triangle multiplies what later tokens hold by 0, and 0 times NaN is NaN.
    """
    b_first = tl.min(tl.where(finite(b_x), b_x.shape[1], o_c[None, :]), 1)
    m_lost = o_c[None, :] >= b_first[:, None]
    return tl.where(m_lost, 0.0, b_x), m_lost


@triton.jit
def load_errors(
    b_S, v, beta, w, erasing, T, i_chunk, o_t, m_t, o_v, m_v, o_k, m_k, i_hv, HV,
    K: tl.constexpr, V: tl.constexpr, C: tl.constexpr, ERASE: tl.constexpr, WRITE: tl.constexpr, TIED: tl.constexpr,
    SLICED: tl.constexpr,
):  # fmt: skip
    """Return the errors of a chunk, [BV, C]: T of the gated values less what the memory before it answers."""
    DTYPE: tl.constexpr = b_S.dtype
    o_c = tl.arange(0, C)
    m_tv = m_v[:, None] & m_t[None, :]
    p_tv = (o_t[None, :] * HV + i_hv) * V + o_v[:, None]
    b_u = tl.load(v + p_tv, mask=m_tv, other=0.0).to(DTYPE)
    if WRITE == 1:
        b_u *= tl.load(w + o_t * HV + i_hv, mask=m_t, other=0.0).to(DTYPE)[None, :]
    elif WRITE > 1:
        b_u *= tl.load(w + p_tv, mask=m_tv, other=0.0).to(DTYPE)
    elif TIED:
        b_u *= tl.load(beta + o_t * HV + i_hv, mask=m_t, other=0.0).to(DTYPE)[None, :]
    if ERASE > 0:  # error: the gated value less what the decayed memory answers to the erase key
        p_ck = (i_chunk * C + o_c[:, None]) * K + o_k[None, :]
        b_e = tl.load(erasing + p_ck, mask=m_k[None, :], other=0.0)
        b_u -= dot(b_S, tl.trans(b_e), SLICED=SLICED)
        b_T = tl.load(T + i_chunk * (C * C) + o_c[:, None] * C + o_c[None, :])
        b_u, m_lost = up_to_lost(b_u, o_c)
        b_u = tl.where(m_lost, float("nan"), dot(b_u, tl.trans(b_T), SLICED=SLICED))
    return b_u


@triton.jit
def load_whole(G, i_chunk, o_k, m_k, D: tl.constexpr, C: tl.constexpr):
    """Load the log decay of a whole chunk, [channels]."""
    p_G = G + (i_chunk * C + C - 1) * D
    if D == 1:  # of channels behind the last one, too: a sum of log decays less another one is at most 0 there
        b_G = tl.load(p_G + o_k * 0)
    else:
        b_G = tl.load(p_G + o_k, mask=m_k, other=0.0)
    return b_G


@triton.jit
def decayed(b_S, G, i_chunk, o_k, m_k, C: tl.constexpr, DECAY: tl.constexpr):
    """Decay a memory over a chunk, or its gradient back over it."""
    if DECAY > 0:
        b_S *= tl.exp(load_whole(G, i_chunk, o_k, m_k, DECAY, C))[None, :]
    return b_S


@triton.jit(do_not_specialize=[
    "HV", "stride_n", "stride_h", "stride_k", "stride_v", "end_n", "end_h", "end_k", "end_v",
])  # fmt: skip
def channel_scan_kernel(
    v, beta, w, G, erasing, reading, writing, T, Aqk, state, o, ends, cu_seqlens, chunk_offsets, HV,
    stride_n, stride_h, stride_k, stride_v, end_n, end_h, end_k, end_v,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, C: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, WRITE: tl.constexpr, TIED: tl.constexpr,
    STATE: tl.constexpr, SLICED: tl.constexpr,
):  # fmt: skip
    """Scan the chunks of one sequence for BV rows of one head's memory, held as [V, K]."""
    DTYPE: tl.constexpr = Aqk.dtype.element_ty
    NV: tl.constexpr = (V + BV - 1) // BV
    i_v = tl.program_id(0) % NV
    i_hv = tl.program_id(0) // NV % HV
    i_n = (tl.program_id(0) // NV // HV).to(tl.int64)
    start = tl.load(cu_seqlens + i_n).to(tl.int64)
    stop = tl.load(cu_seqlens + i_n + 1).to(tl.int64)
    i_c = tl.load(chunk_offsets + i_n).to(tl.int64)
    o_c = tl.arange(0, C)
    o_k = tl.arange(0, BK)
    o_v = i_v * BV + tl.arange(0, BV)
    m_v = o_v < V
    m_k = o_k < K
    m_S = m_v[:, None] & m_k[None, :]
    if STATE:
        p_S = state + i_n * stride_n + i_hv * stride_h + o_v[:, None] * stride_v + o_k[None, :] * stride_k
        b_S = tl.load(p_S, mask=m_S, other=0.0).to(DTYPE)
    else:
        b_S = tl.zeros((BV, BK), DTYPE)
    for i in range(tl.cdiv(stop - start, C).to(tl.int32)):
        i_chunk = (i_c + i) * HV + i_hv
        o_t = start + i * C + o_c
        m_t = o_t < stop
        m_tv = m_v[:, None] & m_t[None, :]
        p_tv = (o_t[None, :] * HV + i_hv) * V + o_v[:, None]
        o_cc = i_chunk * (C * C) + o_c[:, None] * C + o_c[None, :]
        p_ck = (i_chunk * C + o_c[:, None]) * K + o_k[None, :]
        b_u = load_errors(
            b_S, v, beta, w, erasing, T, i_chunk, o_t, m_t, o_v, m_v, o_k, m_k, i_hv, HV,
            K, V, C, ERASE, WRITE, TIED, SLICED,
        )  # fmt: skip
        b_q = tl.load(reading + p_ck, mask=m_k[None, :], other=0.0)
        b_o = dot(b_S, tl.trans(b_q), SLICED=SLICED)
        b_S = decayed(b_S, G, i_chunk, o_k, m_k, C, DECAY)
        b_k = tl.load(writing + p_ck, mask=m_k[None, :], other=0.0)
        b_S = dot(b_u, b_k, b_S, SLICED=SLICED)  # write
        b_A = tl.load(Aqk + o_cc)
        b_u, m_lost = up_to_lost(b_u, o_c)
        b_o = tl.where(m_lost, float("nan"), dot(b_u, tl.trans(b_A), b_o, SLICED=SLICED))  # read
        tl.store(o + p_tv, b_o.to(o.dtype.element_ty), mask=m_tv)
    tl.store(ends + i_n * end_n + i_hv * end_h + o_v[:, None] * end_v + o_k[None, :] * end_k, b_S, mask=m_S)


def scan(
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    w: Tensor | None,
    prepared: Prepared,
    state: Tensor | None,
    *,
    cu_seqlens: Tensor,
    chunks: Blocks,
    state_v_first: bool,
) -> tuple[Tensor, Tensor]:
    """Scan every sequence.

    Args:
        v: values, [..., HV, V], contiguous.
        g: log decay, [..., HV] or [..., HV, K]; None for no decay.
        beta: erase gate, [..., HV] or [..., HV, K], contiguous; None where nothing is erased.
        w: write gate, [..., HV] or [..., HV, V], contiguous; None for beta, or to write everything.
        prepared: from ``prepare``.
        state: memory before each sequence, float32 with any strides; None for zero.
        cu_seqlens: where each sequence starts, [N + 1].
        chunks: the sequences cut into chunks.
        state_v_first: states are [N, HV, V, K], not [N, HV, K, V].

    Returns:
        The outputs [..., HV, V], and the memories after each sequence, float32.
    """
    x, K = prepared, prepared.writing.shape[-1]
    HV, V = v.shape[-2:]
    N = cu_seqlens.shape[0] - 1
    capability = chip_of(device_of(v)).capability
    BK = max(16, triton.next_power_of_2(K))
    BV = min(max(16, triton.next_power_of_2(V)), 64 if capability == 0 else 32 if BK <= 128 else 16)
    o = torch.empty_like(v)
    ends = memories(N, HV, K, V, v.device, state_v_first=state_v_first)
    num_warps = 8 if v.dtype is torch.float32 else 4
    launcher(channel_scan_kernel, (triton.cdiv(V, BV) * N * HV,))(
        v, beta, w, x.G, x.erasing, x.reading, x.writing, x.T, x.Aqk, state, o, ends, cu_seqlens, chunks.offsets, HV,
        *strides(state, state_v_first), *strides(ends, state_v_first),
        K=K, V=V, BK=BK, BV=BV, C=CHUNK, **Widths.of(g, beta, w)._asdict(),
        STATE=state is not None, SLICED=sliced(v), num_warps=num_warps, num_stages=1, maxnreg=most_registers(num_warps),
    )  # fmt: skip
    return o, ends
