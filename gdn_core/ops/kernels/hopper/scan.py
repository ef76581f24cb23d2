"""The scan on Hopper, with specialised warps.

One warp copies chunks ahead, one warpgroup computes Aqk, which stays in shared memory, and the other warpgroups carry
64 rows of the memory each.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.language.extra.cuda import gdc_wait

from gdn_core.ops.kernels.blocks import Blocks
from gdn_core.ops.kernels.hopper.arithmetic import exp2, narrow
from gdn_core.ops.kernels.hopper.tiles import HALF_TILES, clear_rows, gates_of, lower_rows_of, rows_of
from gdn_core.ops.kernels.launches import device_of, launcher
from gdn_core.ops.kernels.limits import NO_LIMIT, limits_of, no_limits
from gdn_core.ops.kernels.stages import CHUNK, Prepared


@gluon.jit
def copy_chunks(
    q, k, v, gates, first, below, s_q, s_k, s_v, s_gates, s_first, s_below, full, empty,
    count, i_t, i_block, HV, i_qk, i_v, load_v,
    C: gl.constexpr, GROUPS: gl.constexpr, STAGES: gl.constexpr, ERASE: gl.constexpr, WRITE_O: gl.constexpr,
):  # fmt: skip
    """Copy one chunk after the other, each as soon as the warpgroups have released its buffer."""
    bytes_qk: gl.constexpr = k.block_type.nbytes
    common: gl.constexpr = bytes_qk + 4 * C * 4
    erase: gl.constexpr = first.block_type.nbytes + below.block_type.nbytes if ERASE else 0
    outputs: gl.constexpr = bytes_qk if WRITE_O else 0
    values: gl.constexpr = GROUPS * v.block_type.nbytes
    for i in range(count):
        stage = i % STAGES
        bar = full.index(stage)
        mbarrier.wait(empty.index(stage), ((i // STAGES) & 1) ^ 1)
        if load_v:
            mbarrier.expect(bar, common + erase + outputs + values)
            for w in gl.static_range(GROUPS):
                tma.async_copy_global_to_shared(v, [i_t, i_v + w * 64], bar, s_v.index(stage * GROUPS + w))
        else:
            mbarrier.expect(bar, common + erase + outputs)
        tma.async_copy_global_to_shared(k, [i_t, i_qk], bar, s_k.index(stage))
        tma.async_copy_global_to_shared(gates, [i_block, 0], bar, s_gates.index(stage))
        if ERASE:
            tma.async_copy_global_to_shared(first, [i_block * (3 * C // 2), 0], bar, s_first.index(stage))
            tma.async_copy_global_to_shared(below, [i_block * (3 * C // 4) + C // 4, 0], bar, s_below.index(stage))
        if WRITE_O:
            tma.async_copy_global_to_shared(q, [i_t, i_qk], bar, s_q.index(stage))
        i_t += C
        i_block += HV


@gluon.jit
def read_within(
    s_q, s_k, s_gates, s_Aqk, full, empty, ready, free, count, start, stop, scale,
    C: gl.constexpr, STAGES: gl.constexpr, DECAY: gl.constexpr,
):  # fmt: skip
    """Compute Aqk of one chunk after the other, into two buffers taken in turn."""
    HALF: gl.constexpr = C // 2  # half of the tokens at a time, to save registers
    L_P: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, HALF, 16])
    L_T: gl.constexpr = gl.BlockedLayout([1, 8], [4, 8], [4, 1], [1, 0])
    o_r = gl.arange(0, C, layout=gl.SliceLayout(1, L_P))
    o_c = gl.arange(0, HALF, layout=gl.SliceLayout(0, L_P))
    i_t = start.to(gl.int32)
    for i in range(count):
        stage = i % STAGES
        t_q = s_q.index(stage)
        t_k = s_k.index(stage)
        t_G = s_gates.index(stage).slice(0, C, dim=1)
        mbarrier.wait(full.index(stage), (i // STAGES) & 1)
        rows = (stop - i_t).to(gl.int32)
        if rows < C:
            clear_rows(t_k, rows, L_T)
            clear_rows(t_q, rows, L_T)
            fence_async_shared()
        mbarrier.wait(free.index(i & 1), ((i >> 1) & 1) ^ 1)
        for j in gl.static_range(2):
            b_zero = gl.zeros((C, HALF), gl.float32, layout=L_P)
            t_half = t_k.slice(j * HALF, HALF).permute((1, 0))
            b_Aqk = warpgroup_mma(t_q, t_half, b_zero, use_acc=False, is_async=True)
            if DECAY:
                b_later = t_G.permute((1, 0)).load(L_P) * 1.4426950408889634
                b_earlier = t_G.slice(j * HALF, HALF, dim=1).load(L_P) * 1.4426950408889634
                b_Gamma = exp2(b_later - b_earlier) * scale
            b_Aqk = warpgroup_mma_wait(0, deps=[b_Aqk])
            b_Aqk = b_Aqk * b_Gamma if DECAY else b_Aqk * scale
            b_Aqk = narrow(gl.where(j * HALF + o_c[None, :] <= o_r[:, None], b_Aqk, 0.0), s_k.dtype)
            s_Aqk.index(i & 1).slice(j * HALF, HALF, dim=1).store(b_Aqk)
        fence_async_shared()
        mbarrier.arrive(ready.index(i & 1), count=1)
        mbarrier.arrive(empty.index(stage), count=1)
        i_t += C


@gluon.jit
def carry_rows(
    w: gl.constexpr, d_o, o, gates, state, ends, s_q, s_k, s_v, s_gates, s_first, s_below, s_Aqk, s_o,
    full, empty, ready, free, count, start, stop, i_block, HV, i_s, i_state, i_hv, i_v,
    stride_n, stride_h, stride_k, stride_v, scale, load_v, identity, load_state, unlimited,
    K: gl.constexpr, V: gl.constexpr, ROWS: gl.constexpr, C: gl.constexpr, GROUPS: gl.constexpr, STAGES: gl.constexpr,
    DECAY: gl.constexpr, ERASE: gl.constexpr, STATE: gl.constexpr, MAP: gl.constexpr, WRITE_O: gl.constexpr,
):  # fmt: skip
    """Carry 64 rows of the memory from chunk to chunk."""
    DTYPE: gl.constexpr = s_k.dtype
    L_S: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, K, 16])
    L_C: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, C, 16])
    L_H: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, C // 2, 16])
    L_A: gl.constexpr = gl.DotOperandLayout(0, L_C, 2)
    L_AH: gl.constexpr = gl.DotOperandLayout(0, L_H, 2)
    L_AS: gl.constexpr = gl.DotOperandLayout(0, L_S, 2)
    L_T: gl.constexpr = gl.BlockedLayout([1, 8], [4, 8], [4, 1], [1, 0])
    o_v = i_v + w * 64 + gl.arange(0, 64, layout=gl.SliceLayout(1, L_S))
    o_k = gl.arange(0, K, layout=gl.SliceLayout(0, L_S))
    b_S = gl.zeros((64, K), gl.float32, layout=L_S)
    if MAP:
        b_S += gl.where(((o_v - V)[:, None] == o_k[None, :]) & identity, 1.0, 0.0)
    if STATE:  # noqa: SIM102 - a constant, unlike the next condition
        if load_state:
            p_S = state + i_state * stride_n + i_hv * stride_h + o_v[:, None] * stride_v + o_k[None, :] * stride_k
            b_S = gl.load(p_S).to(gl.float32)
    p_gamma_C = gates + i_block * (4 * C) + 2 * C - 1
    b_gamma_C = gl.load(p_gamma_C) if DECAY else 1.0
    i_t = start.to(gl.int32)
    for i in range(count):
        stage = i % STAGES
        mbarrier.wait(full.index(stage), (i // STAGES) & 1)
        t_k = s_k.index(stage)
        rows = (stop - i_t).to(gl.int32)
        if rows < C:
            clear_rows(t_k, rows, L_T)
            fence_async_shared()
        b_Sd = gl.convert_layout(b_S.to(DTYPE), L_A)
        b_zero = gl.zeros((64, C), gl.float32, layout=L_C)
        if ERASE:
            b_read = warpgroup_mma(b_Sd, t_k.permute((1, 0)), b_zero, use_acc=False, is_async=True)
        if WRITE_O:
            b_o = warpgroup_mma(b_Sd, s_q.index(stage).permute((1, 0)), b_zero, use_acc=False, is_async=True)
        t_gates = s_gates.index(stage)
        if DECAY:
            p_gamma_C += HV * (4 * C)
            b_next = gl.load(p_gamma_C, mask=i + 1 < count, other=0.0)
        # Loaded this late to save registers while two products are in flight.
        if ERASE:
            if WRITE_O:
                b_read = warpgroup_mma_wait(1, deps=[b_read])
            else:
                b_read = warpgroup_mma_wait(0, deps=[b_read])
            if DECAY:
                b_read = b_read * t_gates.slice(C, C, dim=1).load(L_C)
        b_v = s_v.index(stage * GROUPS + w).permute((1, 0)).load(L_C)
        if rows < C:
            b_v = gl.where((gl.arange(0, C, layout=gl.SliceLayout(0, L_C)) < rows)[None, :], b_v, 0.0)
        b_v_new = b_v.to(gl.float32)
        if MAP:
            b_v_new = gl.where(load_v, b_v_new, 0.0)
        if ERASE:
            b_x = (b_v_new - b_read).to(DTYPE)
            b_first, _ = gl.split(gl.permute(gl.reshape(b_x, (64, 2, C // 2)), (0, 2, 1)))
            b_first, b_x = gl.convert_layout(b_first, L_AH), gl.convert_layout(b_x, L_AH)
            b_half = gl.zeros((64, C // 2), gl.float32, layout=L_H)
            b_e0 = warpgroup_mma(b_first, s_first.index(stage).permute((1, 0)), b_half, use_acc=False, is_async=True)
            b_e1 = warpgroup_mma(b_x, s_below.index(stage).permute((1, 0)), b_half, use_acc=False, is_async=True)
        if WRITE_O:
            b_o = warpgroup_mma_wait(2 if ERASE else 0, deps=[b_o])
            b_o = b_o * (t_gates.slice(C, C, dim=1).load(L_C) * scale) if DECAY else b_o * scale
        if DECAY:
            b_S = b_S * b_gamma_C
            b_gamma_C = b_next
        if ERASE:
            b_e0, b_e1 = warpgroup_mma_wait(0, deps=[b_e0, b_e1])
            b_v_new = gl.reshape(gl.permute(gl.join(b_e0, b_e1), (0, 2, 1)), (64, C))
            b_v_new = gl.convert_layout(b_v_new, L_C)
            b_v_new = b_v_new * t_gates.slice(3 * C, C, dim=1).load(L_C)
        b_w = b_v_new * t_gates.slice(2 * C, C, dim=1).load(L_C) if DECAY else b_v_new
        b_w = gl.convert_layout(b_w.to(DTYPE), L_AS)
        b_S = warpgroup_mma(b_w, t_k, b_S, is_async=True)
        if WRITE_O:
            b_v_new = gl.convert_layout(b_v_new.to(DTYPE), L_A)
            mbarrier.wait(ready.index(i & 1), (i >> 1) & 1)
            b_o = warpgroup_mma(b_v_new, s_Aqk.index(i & 1).permute((1, 0)), b_o, is_async=True)
            b_S, b_o = warpgroup_mma_wait(0, deps=[b_S, b_o])
            mbarrier.arrive(empty.index(stage), count=1)
            mbarrier.arrive(free.index(i & 1), count=1)
            t_o = s_o.index(w)
            tma.store_wait(0)
            t_o.permute((1, 0)).store(b_o.to(DTYPE))
            if rows < C:  # the tokens behind belong to another sequence
                o_t = gl.arange(0, C, layout=gl.SliceLayout(1, L_T))
                o_r = i_v + w * 64 + gl.arange(0, 64, layout=gl.SliceLayout(0, L_T))
                p_o = o + ((i_t + o_t).to(gl.int64) * HV + i_hv)[:, None] * V + o_r[None, :]
                gl.store(p_o, t_o.load(L_T), mask=(o_t < rows)[:, None])
            else:
                fence_async_shared()
                tma.async_copy_shared_to_global(d_o, [i_t, i_hv * V + i_v + w * 64], t_o)
        else:
            b_S = warpgroup_mma_wait(0, deps=[b_S])
            mbarrier.arrive(empty.index(stage), count=1)
        i_t += C
    p_end = ends + (i_s * HV + i_hv) * (ROWS * K) + o_v[:, None] * K + o_k[None, :]
    if unlimited:
        gl.store(p_end, b_S)
    if WRITE_O:
        tma.store_wait(0)


@gluon.jit(do_not_specialize=["N", "H", "HV", "LENGTH", "stride_n", "stride_h", "stride_k", "stride_v"])
def chunk_scan_hopper_kernel(
    q, k, v, d_gates, d_T_first, d_T_below, d_o, gates, state, o, ends, limits,
    cu_seqlens, chunk_offsets, segment_offsets, segment_owner, scale, N, H, HV, LENGTH,
    stride_n, stride_h, stride_k, stride_v,
    K: gl.constexpr, V: gl.constexpr, C: gl.constexpr, GROUPS: gl.constexpr, STAGES: gl.constexpr,
    DECAY: gl.constexpr, ERASE: gl.constexpr, STATE: gl.constexpr, MAP: gl.constexpr, WRITE_O: gl.constexpr,
):  # fmt: skip
    """Scan the chunks of one segment for 64 * GROUPS rows of one head's memory, as ``chunk_scan_kernel`` does."""
    BV: gl.constexpr = 64 * GROUPS
    NV: gl.constexpr = V // BV
    BLOCKS: gl.constexpr = NV + K // BV if MAP else NV
    ROWS: gl.constexpr = V + K if MAP else V
    i_b = gl.program_id(0) % BLOCKS
    i_s = (gl.program_id(0) // BLOCKS // HV).to(gl.int64)
    i_hv = gl.program_id(0) // BLOCKS % HV
    i_h = i_hv // (HV // H)
    i_n = gl.load(segment_owner + i_s)
    if i_n >= N:
        return
    first = (i_s - gl.load(segment_offsets + i_n)) * LENGTH
    start = gl.load(cu_seqlens + i_n).to(gl.int64) + first * C
    stop = gl.minimum(start + LENGTH * C, gl.load(cu_seqlens + i_n + 1).to(gl.int64))
    i_block = (gl.load(chunk_offsets + i_n) + first) * HV + i_hv
    last = i_s == gl.load(segment_offsets + i_n + 1) - 1
    identity = i_b >= NV
    if MAP:
        if identity & (first == 0):
            return
        if (i_b < NV) & last:
            return
    i_v = i_b * BV
    load_v = i_b < NV
    load_state = load_v & (first == 0) if MAP else load_v
    i_state = i_n.to(gl.int64) if MAP else i_s

    DTYPE: gl.constexpr = k.dtype
    s_k = gl.allocate_shared_memory(DTYPE, [STAGES, C, K], k.layout)
    s_v = gl.allocate_shared_memory(DTYPE, [STAGES * GROUPS, C, 64], k.layout)
    s_gates = gl.allocate_shared_memory(gl.float32, [STAGES, 1, 4 * C], d_gates.layout)
    s_first = gl.allocate_shared_memory(DTYPE, [STAGES if ERASE else 1, C // 2, C // 2], HALF_TILES)
    s_below = gl.allocate_shared_memory(DTYPE, [STAGES if ERASE else 1, C // 2, C], k.layout)
    s_q = gl.allocate_shared_memory(DTYPE, [STAGES if WRITE_O else 1, C, K], k.layout)
    s_Aqk = gl.allocate_shared_memory(DTYPE, [2 if WRITE_O else 1, C, C], k.layout)
    s_o = gl.allocate_shared_memory(DTYPE, [GROUPS if WRITE_O else 1, C, 64], k.layout)
    full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    ready = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    free = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(STAGES):
        mbarrier.init(full.index(i), count=1)
        mbarrier.init(empty.index(i), count=GROUPS + 1 if WRITE_O else GROUPS)
    for i in gl.static_range(2):
        mbarrier.init(ready.index(i), count=1)
        mbarrier.init(free.index(i), count=GROUPS)
    gdc_wait()  # this kernel may start before chunk_prepare has ended
    limit = gl.load(limits + i_s * HV + i_hv)
    if limit == 0:
        return
    stop = gl.minimum(stop, limit.to(gl.int64) - 1)
    count = gl.cdiv(gl.maximum(stop - start, 0), C).to(gl.int32)
    unlimited = limit == NO_LIMIT
    # A named tuple loses the constants in it, so the arguments are written at each place. Of the 512 registers of a row
    # of threads, carry_rows gets those that the others leave: with 8 fewer, no two products would be in flight.
    if GROUPS == 2 and WRITE_O:
        gl.warp_specialize([
            (carry_rows, (
                0, d_o, o, gates, state, ends, s_q, s_k, s_v, s_gates, s_first, s_below, s_Aqk, s_o, full, empty,
                ready, free, count, start, stop, i_block, HV, i_s, i_state, i_hv, i_v, stride_n, stride_h, stride_k,
                stride_v, scale, load_v, identity, load_state, unlimited, K, V, ROWS, C, GROUPS, STAGES, DECAY, ERASE,
                STATE, MAP, WRITE_O,
            )),
            (carry_rows, (
                1, d_o, o, gates, state, ends, s_q, s_k, s_v, s_gates, s_first, s_below, s_Aqk, s_o, full, empty,
                ready, free, count, start, stop, i_block, HV, i_s, i_state, i_hv, i_v, stride_n, stride_h, stride_k,
                stride_v, scale, load_v, identity, load_state, unlimited, K, V, ROWS, C, GROUPS, STAGES, DECAY, ERASE,
                STATE, MAP, WRITE_O,
            )),
            (read_within, (
                s_q, s_k, s_gates, s_Aqk, full, empty, ready, free, count, start, stop, scale, C, STAGES, DECAY,
            )),
            (copy_chunks, (
                q, k, v, d_gates, d_T_first, d_T_below, s_q, s_k, s_v, s_gates, s_first, s_below, full, empty,
                count, start.to(gl.int32), i_block.to(gl.int32), HV, i_h * K, i_hv * V + i_v, load_v,
                C, GROUPS, STAGES, ERASE, WRITE_O,
            )),
        ], [4, 4, 1], [208, 72, 24])  # fmt: skip
    elif GROUPS == 2:
        gl.warp_specialize([
            (carry_rows, (
                0, d_o, o, gates, state, ends, s_q, s_k, s_v, s_gates, s_first, s_below, s_Aqk, s_o, full, empty,
                ready, free, count, start, stop, i_block, HV, i_s, i_state, i_hv, i_v, stride_n, stride_h, stride_k,
                stride_v, scale, load_v, identity, load_state, unlimited, K, V, ROWS, C, GROUPS, STAGES, DECAY, ERASE,
                STATE, MAP, WRITE_O,
            )),
            (carry_rows, (
                1, d_o, o, gates, state, ends, s_q, s_k, s_v, s_gates, s_first, s_below, s_Aqk, s_o, full, empty,
                ready, free, count, start, stop, i_block, HV, i_s, i_state, i_hv, i_v, stride_n, stride_h, stride_k,
                stride_v, scale, load_v, identity, load_state, unlimited, K, V, ROWS, C, GROUPS, STAGES, DECAY, ERASE,
                STATE, MAP, WRITE_O,
            )),
            (copy_chunks, (
                q, k, v, d_gates, d_T_first, d_T_below, s_q, s_k, s_v, s_gates, s_first, s_below, full, empty,
                count, start.to(gl.int32), i_block.to(gl.int32), HV, i_h * K, i_hv * V + i_v, load_v,
                C, GROUPS, STAGES, ERASE, WRITE_O,
            )),
        ], [4, 1], [240, 24])  # fmt: skip
    elif WRITE_O:
        gl.warp_specialize([
            (carry_rows, (
                0, d_o, o, gates, state, ends, s_q, s_k, s_v, s_gates, s_first, s_below, s_Aqk, s_o, full, empty,
                ready, free, count, start, stop, i_block, HV, i_s, i_state, i_hv, i_v, stride_n, stride_h, stride_k,
                stride_v, scale, load_v, identity, load_state, unlimited, K, V, ROWS, C, GROUPS, STAGES, DECAY, ERASE,
                STATE, MAP, WRITE_O,
            )),
            (read_within, (
                s_q, s_k, s_gates, s_Aqk, full, empty, ready, free, count, start, stop, scale, C, STAGES, DECAY,
            )),
            (copy_chunks, (
                q, k, v, d_gates, d_T_first, d_T_below, s_q, s_k, s_v, s_gates, s_first, s_below, full, empty,
                count, start.to(gl.int32), i_block.to(gl.int32), HV, i_h * K, i_hv * V + i_v, load_v,
                C, GROUPS, STAGES, ERASE, WRITE_O,
            )),
        ], [4, 1], [144, 24])  # fmt: skip
    else:
        gl.warp_specialize([
            (carry_rows, (
                0, d_o, o, gates, state, ends, s_q, s_k, s_v, s_gates, s_first, s_below, s_Aqk, s_o, full, empty,
                ready, free, count, start, stop, i_block, HV, i_s, i_state, i_hv, i_v, stride_n, stride_h, stride_k,
                stride_v, scale, load_v, identity, load_state, unlimited, K, V, ROWS, C, GROUPS, STAGES, DECAY, ERASE,
                STATE, MAP, WRITE_O,
            )),
            (copy_chunks, (
                q, k, v, d_gates, d_T_first, d_T_below, s_q, s_k, s_v, s_gates, s_first, s_below, full, empty,
                count, start.to(gl.int32), i_block.to(gl.int32), HV, i_h * K, i_hv * V + i_v, load_v,
                C, GROUPS, STAGES, ERASE, WRITE_O,
            )),
        ], [1], [24])  # fmt: skip


class Tiles(NamedTuple):
    """The tile sizes of the kernel.

    Args:
        GROUPS: warpgroups that carry 64 rows each.
        STAGES: chunks in flight.
    """

    GROUPS: int
    STAGES: int


# Two warpgroups share their loads and fill a multiprocessor. One warpgroup a program makes twice as many programs.
# Three chunks in flight: one in carry_rows, one in read_within, one in copy_chunks.
WIDE, NARROW = Tiles(2, 3), Tiles(1, 3)


def launch(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    prepared: Prepared,
    state: Tensor | None,
    segments: Blocks,
    *,
    o: Tensor | None,
    processors: int,
) -> tuple[Tensor, Tensor]:
    """Scan every segment, where ``scans_on_hopper`` holds: with o for the outputs, without it for the affine map.

    Returns:
        The memory or map after each segment, and the limits of the segments.
    """
    H, K = k.shape[-2:]
    HV, V = v.shape[-2:]
    x, square = prepared, (CHUNK, CHUNK)
    halves = segments.count * HV * V // 64
    few = o is not None and halves <= processors
    tiles = NARROW if V % 128 or K % 128 or few else WIDE
    rows = V if o is not None else V + K
    ends = torch.empty(segments.count, HV, rows, K, dtype=torch.float32, device=k.device)
    tensor_maps = (
        rows_of(q if o is not None else None, H * K, (CHUNK, K)), rows_of(k, H * K, (CHUNK, K)),
        rows_of(v, HV * V, square), gates_of(x.gates), *lower_rows_of(x.T), rows_of(o, HV * V, square),
    )  # fmt: skip

    def scan(limits: Tensor) -> None:
        launcher(chunk_scan_hopper_kernel, (rows // (64 * tiles.GROUPS) * segments.count * HV,))(
            *tensor_maps, x.gates, state, o, ends, limits,
            x.cu_seqlens, x.chunks.offsets, segments.offsets, segments.owner, x.scale,
            x.cu_seqlens.shape[0] - 1, H, HV, segments.size // CHUNK,
            *(state.stride() if state is not None else (0,) * 4),
            K=K, V=V, C=CHUNK, GROUPS=tiles.GROUPS, STAGES=tiles.STAGES, DECAY=x.decay, ERASE=x.erase,
            STATE=state is not None, MAP=o is None, WRITE_O=o is not None, num_warps=4, launch_pdl=True,
        )  # fmt: skip

    limits = no_limits(segments.count, HV, device_of(k))
    scan(limits)
    if o is not None:
        limits = limits_of(k, v, x, ends, segments=segments)
        scan(limits)
    return ends, limits
