"""The recurrence token by token with gates by channel, for decoding; each memory is read and written once."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gdn_core.ops.kernels.arithmetic import EPSILON
from gdn_core.ops.kernels.channels.widths import Widths, memories, strides
from gdn_core.ops.kernels.launches import launcher
from gdn_core.ops.kernels.padding import clear_padding


@triton.jit(do_not_specialize=["T", "H", "HV"])
def channel_steps_kernel(
    q, k, v, g, beta, w, state, o, ends, cu_seqlens, scale, T, H, HV,
    stride_n, stride_h, stride_k, stride_v, end_n, end_h, end_k, end_v,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, EPSILON: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, WRITE: tl.constexpr, TIED: tl.constexpr,
    STATE: tl.constexpr, PACKED: tl.constexpr, WRITE_END: tl.constexpr, NORMALISE: tl.constexpr,
):  # fmt: skip
    """Run one sequence for BV rows of one head's memory, held as [V, K]."""
    NV: tl.constexpr = (V + BV - 1) // BV
    i_v = tl.program_id(0) % NV
    i_hv = tl.program_id(0) // NV % HV
    i_n = (tl.program_id(0) // NV // HV).to(tl.int64)
    i_h = i_hv // (HV // H)
    start, stop = i_n * T, i_n * T + T
    if PACKED:
        start = tl.load(cu_seqlens + i_n).to(tl.int64)
        stop = tl.load(cu_seqlens + i_n + 1).to(tl.int64)
    o_k = tl.arange(0, BK)
    o_v = i_v * BV + tl.arange(0, BV)
    m_k = o_k < K
    m_v = o_v < V
    m_S = m_v[:, None] & m_k[None, :]
    if STATE:
        p_S = state + i_n * stride_n + i_hv * stride_h + o_v[:, None] * stride_v + o_k[None, :] * stride_k
        b_S = tl.load(p_S, mask=m_S, other=0.0).to(tl.float32)
    else:
        b_S = tl.zeros((BV, BK), tl.float32)
    for i_t in range(start, stop):
        i_g = i_t * HV + i_hv
        b_k = tl.load(k + (i_t * H + i_h) * K + o_k, mask=m_k, other=0.0).to(tl.float32)
        b_q = tl.load(q + (i_t * H + i_h) * K + o_k, mask=m_k, other=0.0).to(tl.float32)
        b_u = tl.load(v + i_g * V + o_v, mask=m_v, other=0.0).to(tl.float32)
        if NORMALISE:
            b_k *= tl.rsqrt(tl.sum(b_k * b_k, 0) + EPSILON)
            b_q *= tl.rsqrt(tl.sum(b_q * b_q, 0) + EPSILON)
        if DECAY == 1:
            b_S *= tl.exp(tl.load(g + i_g).to(tl.float32))  # decay
        elif DECAY > 1:
            b_g = tl.load(g + i_g * K + o_k, mask=m_k, other=0.0).to(tl.float32)
            b_S *= tl.exp(b_g)[None, :]  # decay
        if WRITE == 1:
            b_u *= tl.load(w + i_g).to(tl.float32)
        elif WRITE > 1:
            b_u *= tl.load(w + i_g * V + o_v, mask=m_v, other=0.0).to(tl.float32)
        if ERASE > 0:
            if ERASE == 1:
                b_b = tl.load(beta + i_g).to(tl.float32)
                b_e = b_k * b_b
                if TIED:
                    b_u *= b_b
            else:
                b_e = b_k * tl.load(beta + i_g * K + o_k, mask=m_k, other=0.0).to(tl.float32)
            b_u -= tl.sum(b_S * b_e[None, :], 1)  # error
        b_S += b_u[:, None] * b_k[None, :]  # write
        b_o = tl.sum(b_S * b_q[None, :], 1) * scale  # read
        tl.store(o + i_g * V + o_v, b_o.to(o.dtype.element_ty), mask=m_v)
    if WRITE_END:
        p_S = ends + i_n * end_n + i_hv * end_h + o_v[:, None] * end_v + o_k[None, :] * end_k
        tl.store(p_S, b_S, mask=m_S)


def steps(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    w: Tensor | None,
    *,
    scale: float,
    initial_state: Tensor | None = None,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    output_final_state: bool = False,
    normalise: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Run the recurrence token by token.

    Args:
        q: queries, [B, T, H, K], contiguous, and so are the others but the memories.
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V], HV a multiple of H.
        g: log decay in nats, [B, T, HV] or [B, T, HV, K], <= 0; None for no decay.
        beta: erase gate, [B, T, HV] or [B, T, HV, K]; None where nothing is erased.
        w: write gate, [B, T, HV] or [B, T, HV, V]; None for beta, or to write everything where beta is None.
        scale: factor on the queries.
        initial_state: memory before each sequence, [N, HV, K, V] float32, any strides; None for zero.
        state_v_first: states are [N, HV, V, K].
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1]; then B is 1.
        output_final_state: return the memory after each sequence.
        normalise: divide queries and keys by their length first, with 1e-6 inside the root.

    Returns:
        The outputs [B, T, HV, V] in the dtype of v, and the memories after each sequence, float32, or None.
    """
    B, T, H, K = q.shape
    HV, V = v.shape[-2:]
    N = B if cu_seqlens is None else cu_seqlens.shape[0] - 1
    o = torch.empty_like(v)
    ends = memories(N, HV, K, V, v.device, state_v_first=state_v_first) if output_final_state else None
    BK = triton.next_power_of_2(K)
    BV = min(triton.next_power_of_2(V), max(1, 4096 // BK))  # 16 KB of memory a program, 32 numbers a thread
    launcher(channel_steps_kernel, (triton.cdiv(V, BV) * N * HV,))(
        q, k, v, g, beta, w, initial_state, o, ends, cu_seqlens, scale, T, H, HV,
        *strides(initial_state, state_v_first), *strides(ends, state_v_first),
        K=K, V=V, BK=BK, BV=BV, EPSILON=EPSILON, **Widths.of(g, beta, w)._asdict(),
        STATE=initial_state is not None, PACKED=cu_seqlens is not None, WRITE_END=ends is not None,
        NORMALISE=normalise, num_warps=4, num_stages=2,
    )  # fmt: skip
    if cu_seqlens is not None:
        clear_padding(cu_seqlens, o)
    return o, ends
