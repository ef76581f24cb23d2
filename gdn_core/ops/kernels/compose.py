"""Compose the affine maps of segments into the memory before each, so that all segments can be scanned at once."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gdn_core.ops.kernels.arithmetic import dot
from gdn_core.ops.kernels.blocks import Blocks
from gdn_core.ops.kernels.chip import most_registers, sliced
from gdn_core.ops.kernels.launches import launcher


@triton.jit(do_not_specialize=["HV", "stride_n", "stride_h", "stride_k", "stride_v"])
def chunk_compose_kernel(
    maps, added, state, h_kept, segment_offsets, HV,
    stride_n, stride_h, stride_k, stride_v, stride_map, stride_added,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BM: tl.constexpr, BV: tl.constexpr,
    STATE: tl.constexpr, REVERSE: tl.constexpr, WIDE: tl.constexpr, SLICED: tl.constexpr,
):  # fmt: skip
    """Carry BV rows of one head's memory from segment to segment: S M + B, or dS M^T + B for gradients.

    A map is read BM rows at a time, since a wide one does not fit into registers.
    """
    SUM: tl.constexpr = tl.float64 if WIDE else tl.float32
    NV: tl.constexpr = (V + BV - 1) // BV
    i_v = tl.program_id(0) % NV
    i_n = (tl.program_id(0) // NV // HV).to(tl.int64)
    i_hv = tl.program_id(0) // NV % HV
    first = tl.load(segment_offsets + i_n).to(tl.int64)
    stop = tl.load(segment_offsets + i_n + 1).to(tl.int64)
    o_k = tl.arange(0, BK)
    o_v = i_v * BV + tl.arange(0, BV)
    m_S = (o_v < V)[:, None] & (o_k < K)[None, :]
    o_S = o_v[:, None] * K + o_k[None, :]
    if STATE:
        p_S = state + i_n * stride_n + i_hv * stride_h + o_v[:, None] * stride_v + o_k[None, :] * stride_k
        b_S = tl.load(p_S, mask=m_S, other=0.0).to(SUM)
    else:
        b_S = tl.zeros((BV, BK), SUM)
    for i in range((stop - first).to(tl.int32)):
        i_block = ((stop - 1 - i) if REVERSE else (first + i)) * HV + i_hv
        tl.store(h_kept + i_block * (V * K) + o_S, b_S, mask=m_S)
        b_B = tl.load(added + i_block * stride_added + o_S, mask=m_S, other=0.0).to(SUM)
        b_new = b_B
        for j in tl.static_range(BK // BM):
            b_part = b_S
            if BM < BK:  # columns of the memory that meet these rows of the map
                b_part = tl.reshape(b_S, (BV, BK // BM, BM))
                b_part = tl.sum(tl.where(tl.arange(0, BK // BM)[None, :, None] == j, b_part, 0.0), 1)
            o_m = j * BM + tl.arange(0, BM)
            if REVERSE:
                o_M = o_k[None, :] * K + o_m[:, None]
            else:
                o_M = o_m[:, None] * K + o_k[None, :]
            m_M = (o_m < K)[:, None] & (o_k < K)[None, :]
            b_M = tl.load(maps + i_block * stride_map + o_M, mask=m_M, other=0.0).to(SUM)
            b_new = dot(b_part, b_M, b_new, SLICED=SLICED)
        b_S = b_new
        if not REVERSE:  # the first segment was run from the memory before it, and has no map
            b_S = tl.where(i > 0, b_S, b_B)


def chunk_compose(
    maps: Tensor,
    added: Tensor,
    state: Tensor | None,
    *,
    V: int,
    segments: Blocks,
    x: Tensor,
    reverse: bool = False,
) -> Tensor:
    """Return the memory before each segment, or with ``reverse`` the gradient of the memory after each.

    Args:
        maps: M of each segment, [segment, HV, K, K] float32, its blocks contiguous.
        added: B of each segment, [segment, HV, >= V, K] float32, its blocks contiguous; forward, that of the first
            segment of a sequence is the memory after it.
        state: the memory before the first segment of each sequence, or with ``reverse`` the gradient of the memory
            after the last, [N, HV, K, V] float32 with any strides; None for zero.
        V: value channels.
        segments: the sequences cut into segments.
        x: any of the inputs; float32 inputs are composed in float64, others in tf32, which is precise enough for them.
        reverse: compose the transposed maps, last segment first.

    Returns:
        [segment, HV, V, K] float32.
    """
    count, HV, K = maps.shape[0], maps.shape[1], maps.shape[-1]
    h_kept = torch.empty(count, HV, V, K, dtype=torch.float32, device=maps.device)
    strides = state.stride() if state is not None else (0, 0, 0, 0)
    wide = x.dtype is torch.float32
    BK, BV, num_warps = max(16, triton.next_power_of_2(K)), 16, 8
    N = segments.offsets.shape[0] - 1
    launcher(chunk_compose_kernel, (triton.cdiv(V, BV) * N * HV,))(
        maps, added, state, h_kept, segments.offsets, HV, *strides, maps.stride(1), added.stride(1),
        K=K, V=V, BK=BK, BM=BK if BK <= 128 else 32, BV=BV, STATE=state is not None, REVERSE=reverse,
        WIDE=wide, SLICED=sliced(x), num_warps=num_warps, maxnreg=most_registers(num_warps),
        num_stages=2 if BK <= 128 else 1,
    )  # fmt: skip
    return h_kept
