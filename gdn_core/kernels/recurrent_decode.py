"""Token by token: the memory in registers, read once and written once however many tokens there are."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

EPS = 1e-6  # inside the root of the l2 norm


@triton.jit(do_not_specialize=["T", "H", "HV"])
def recurrent_decode_kernel(
    q, k, v, g, beta, state, o, final, cu_seqlens, scale, T, H, HV,
    stride_n, stride_h, stride_k, stride_v, final_n, final_h, final_k, final_v,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, NORM: tl.constexpr, STATE: tl.constexpr, FINAL: tl.constexpr,
    PACKED: tl.constexpr, EPS: tl.constexpr,
):  # fmt: skip
    """Decay, error, write, read: as in gdn_core.reference.step, for BV rows of one head's memory."""
    NV: tl.constexpr = (V + BV - 1) // BV
    i_v = tl.program_id(0) % NV
    i_hv = tl.program_id(0) // NV % HV
    i_n = (tl.program_id(0) // NV // HV).to(tl.int64)
    i_h = i_hv // (HV // H)
    if PACKED:
        start = tl.load(cu_seqlens + i_n).to(tl.int64)
        count = (tl.load(cu_seqlens + i_n + 1).to(tl.int64) - start).to(tl.int32)
    else:
        start = i_n * T
        count = T
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
    for i in range(count):
        i_t = start + i
        b_q = tl.load(q + (i_t * H + i_h) * K + o_k, mask=m_k, other=0.0).to(tl.float32)
        b_k = tl.load(k + (i_t * H + i_h) * K + o_k, mask=m_k, other=0.0).to(tl.float32)
        b_u = tl.load(v + (i_t * HV + i_hv) * V + o_v, mask=m_v, other=0.0).to(tl.float32)
        if NORM:
            b_q = b_q / tl.sqrt(tl.sum(b_q * b_q, 0) + EPS)
            b_k = b_k / tl.sqrt(tl.sum(b_k * b_k, 0) + EPS)
        if DECAY:
            b_S *= tl.exp(tl.load(g + i_t * HV + i_hv).to(tl.float32))  # decay
        if ERASE:
            b_beta = tl.load(beta + i_t * HV + i_hv).to(tl.float32)
            b_u = b_beta * (b_u - tl.sum(b_S * b_k[None, :], 1))  # error
        b_S += b_u[:, None] * b_k[None, :]  # write
        b_o = tl.sum(b_S * b_q[None, :], 1) * scale  # read
        tl.store(o + (i_t * HV + i_hv) * V + o_v, b_o.to(o.dtype.element_ty), mask=m_v)
    if FINAL:
        p_S = final + i_n * final_n + i_hv * final_h + o_v[:, None] * final_v + o_k[None, :] * final_k
        tl.store(p_S, b_S, mask=m_S)


def recurrent_decode(
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
    """Run the rule token by token; decoding is T = 1 with a state.

    Args:
        q: queries, [B, T, H, K], contiguous.
        k: keys, [B, T, H, K], contiguous.
        v: values, [B, T, HV, V], contiguous, HV a multiple of H.
        g: log decay in nats, [B, T, HV], <= 0, contiguous; None for no decay.
        beta: erase and write gate, [B, T, HV], contiguous; None where nothing is erased and all is written.
        scale: factor of the queries.
        initial_state: memory before each sequence, [N, HV, K, V] float32; None for zero.
        state_v_first: states are [N, HV, V, K].
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1]; then B is 1.
        output_final_state: return the memory after each sequence.
        normalise: divide queries and keys by their l2 norm.

    Returns:
        The outputs [B, T, HV, V] in the dtype of v, and the memories after each sequence, float32, or None.
    """
    B, T, H, K = q.shape
    HV, V = v.shape[-2:]
    N = B if cu_seqlens is None else cu_seqlens.shape[0] - 1
    BK = max(16, triton.next_power_of_2(K))
    BV = max(8, min(triton.next_power_of_2(V), 4096 // BK))
    o = torch.empty_like(v)
    final = None
    if output_final_state:
        final = torch.empty(N, HV, *((V, K) if state_v_first else (K, V)), dtype=torch.float32, device=q.device)
    as_kv = [s.transpose(-1, -2) if s is not None and state_v_first else s for s in (initial_state, final)]
    strides = [s.stride() if s is not None else (0, 0, 0, 0) for s in as_kv]
    recurrent_decode_kernel[(triton.cdiv(V, BV) * HV * N,)](
        q, k, v, g, beta, initial_state, o, final, cu_seqlens, scale, T, H, HV, *strides[0], *strides[1],
        K=K, V=V, BK=BK, BV=BV, DECAY=g is not None, ERASE=beta is not None, NORM=normalise,
        STATE=initial_state is not None, FINAL=output_final_state, PACKED=cu_seqlens is not None, EPS=EPS,
        num_warps=4, num_stages=2,
    )  # fmt: skip
    return o, final
