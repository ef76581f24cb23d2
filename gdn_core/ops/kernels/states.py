"""Pick the memories of sequences from those of their segments, and hand them over in the caller's layout."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gdn_core.ops.kernels.blocks import Blocks
from gdn_core.ops.kernels.launches import launcher


@triton.jit(do_not_specialize=["HV"])
def chunk_states_kernel(
    kept, states, segment_offsets, HV,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, LAST: tl.constexpr, V_FIRST: tl.constexpr,
):  # fmt: skip
    """Copy BV rows of one head's memory, of the first or the last segment of a sequence."""
    NV: tl.constexpr = (V + BV - 1) // BV
    i_v = tl.program_id(0) % NV
    i_hv = tl.program_id(0) // NV % HV
    i_n = (tl.program_id(0) // NV // HV).to(tl.int64)
    i_s = tl.load(segment_offsets + i_n + LAST).to(tl.int64) - LAST
    o_k = tl.arange(0, BK)
    o_v = i_v * BV + tl.arange(0, BV)
    m_S = (o_v < V)[:, None] & (o_k < K)[None, :]
    b_S = tl.load(kept + (i_s * HV + i_hv) * (V * K) + o_v[:, None] * K + o_k[None, :], mask=m_S, other=0.0)
    p_S = states + (i_n * HV + i_hv) * (V * K)
    if V_FIRST:
        tl.store(p_S + o_v[:, None] * K + o_k[None, :], b_S, mask=m_S)
    else:
        tl.store(p_S + o_k[None, :] * V + o_v[:, None], b_S, mask=m_S)


def states_of(kept: Tensor, segments: Blocks, *, last: bool, state_v_first: bool) -> Tensor:
    """Return the memory of one segment of each sequence.

    Args:
        kept: a memory for each segment, [segment, HV, V, K] float32, contiguous.
        segments: the sequences cut into segments.
        last: of the last segment of a sequence, not of the first.
        state_v_first: return [N, HV, V, K], not [N, HV, K, V].
    """
    count, HV, V, K = kept.shape
    N = segments.offsets.shape[0] - 1
    if count == N and state_v_first:
        return kept
    states = torch.empty(N, HV, *((V, K) if state_v_first else (K, V)), dtype=kept.dtype, device=kept.device)
    BK = triton.next_power_of_2(K)
    BV = min(triton.next_power_of_2(V), max(1, 4096 // BK))
    launcher(chunk_states_kernel, (triton.cdiv(V, BV) * N * HV,))(
        kept, states, segments.offsets, HV, K=K, V=V, BK=BK, BV=BV, LAST=int(last), V_FIRST=state_v_first, num_warps=4
    )  # fmt: skip
    return states
