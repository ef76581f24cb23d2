"""The recurrence token by token, for decoding: each memory is read once, kept in registers, and written once."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gdn_core.ops.kernels.arithmetic import EPSILON
from gdn_core.ops.kernels.launches import launcher
from gdn_core.ops.kernels.padding import clear_padding


@triton.jit(do_not_specialize=["T", "H", "HV"])
def recurrent_kernel(
    q, k, v, g, beta, state, o, ends, cu_seqlens, scale, T, H, HV,
    stride_n, stride_h, stride_k, stride_v, end_n, end_h, end_k, end_v,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, EPSILON: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, STATE: tl.constexpr, PACKED: tl.constexpr,
    WRITE_END: tl.constexpr, NORMALISE: tl.constexpr,
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
        b_k = tl.load(k + (i_t * H + i_h) * K + o_k, mask=m_k, other=0.0).to(tl.float32)
        b_q = tl.load(q + (i_t * H + i_h) * K + o_k, mask=m_k, other=0.0).to(tl.float32)
        b_u = tl.load(v + (i_t * HV + i_hv) * V + o_v, mask=m_v, other=0.0).to(tl.float32)
        if NORMALISE:
            b_k *= tl.rsqrt(tl.sum(b_k * b_k, 0) + EPSILON)
            b_q *= tl.rsqrt(tl.sum(b_q * b_q, 0) + EPSILON)
        if DECAY:
            b_S *= tl.exp(tl.load(g + i_t * HV + i_hv).to(tl.float32))  # decay
        if ERASE:
            b_beta = tl.load(beta + i_t * HV + i_hv).to(tl.float32)
            b_u = b_beta * (b_u - tl.sum(b_S * b_k[None, :], 1))  # error
        b_S += b_u[:, None] * b_k[None, :]  # write
        b_o = tl.sum(b_S * b_q[None, :], 1) * scale  # read
        tl.store(o + (i_t * HV + i_hv) * V + o_v, b_o.to(o.dtype.element_ty), mask=m_v)
    if WRITE_END:
        p_S = ends + i_n * end_n + i_hv * end_h + o_v[:, None] * end_v + o_k[None, :] * end_k
        tl.store(p_S, b_S, mask=m_S)


def recurrent(
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
    normalise: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Run the recurrence token by token.

    Args:
        q: queries, [B, T, H, K], contiguous.
        k: keys, [B, T, H, K], contiguous.
        v: values, [B, T, HV, V], contiguous, HV a multiple of H.
        g: log decay in nats, [B, T, HV], <= 0, contiguous; None for no decay.
        beta: erase and write gate, [B, T, HV], contiguous; None where nothing is erased and all is written.
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
    last = (V, K) if state_v_first else (K, V)
    ends = torch.empty(N, HV, *last, dtype=torch.float32, device=v.device) if output_final_state else None

    def strides(x: Tensor | None) -> tuple[int, ...]:
        """Return the strides over sequences, heads, key channels and value channels."""
        if x is None:
            return 0, 0, 0, 0
        n, h, *channels = x.stride()
        return (n, h, *(reversed(channels) if state_v_first else channels))

    BK = triton.next_power_of_2(K)
    BV = min(triton.next_power_of_2(V), max(1, 4096 // BK))  # 16 KB of memory a program, 64 numbers a thread
    launcher(recurrent_kernel, (triton.cdiv(V, BV) * N * HV,))(
        q, k, v, g, beta, initial_state, o, ends, cu_seqlens, scale, T, H, HV,
        *strides(initial_state), *strides(ends),
        K=K, V=V, BK=BK, BV=BV, EPSILON=EPSILON, DECAY=g is not None, ERASE=beta is not None,
        STATE=initial_state is not None, PACKED=cu_seqlens is not None, WRITE_END=ends is not None,
        NORMALISE=normalise, num_warps=2, num_stages=2,
    )  # fmt: skip
    if cu_seqlens is not None:
        clear_padding(cu_seqlens, o)
    return o, ends
