"""The gradients of queries, keys and gates for Hopper: one pass over what the scans left, copied ahead."""

from __future__ import annotations

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

from gdn_core.ops.kernels.hopper.prepare import TILES, barrier, rows_of
from gdn_core.ops.kernels.hopper.scan_backward import clear_from
from gdn_core.ops.kernels.prepare import CHUNK, Prepared
from gdn_core.ops.kernels.windows import Window


@gluon.jit
def copy_tokens(d_z, d_do, d_dv, s_z, s_do, s_dx, bar, i_z, i_t, column, pred, ERASE: gl.constexpr):
    """Start to copy the tokens of a value head: errors, and the gradients of outputs and values."""
    mbarrier.expect(bar, (3 if ERASE else 2) * d_z.block_type.nbytes, pred=pred)
    tma.async_copy_global_to_shared(d_z, [i_z if ERASE else i_t, column], bar, s_z, pred=pred)
    if ERASE:
        tma.async_copy_global_to_shared(d_dv, [i_t, column], bar, s_dx, pred=pred)
    tma.async_copy_global_to_shared(d_do, [i_t, column], bar, s_do, pred=pred)


@gluon.jit
def copy_memory(d_S, s_S, bar, i_row, pred):
    """Start to copy a memory, or the gradient of one."""
    mbarrier.expect(bar, d_S.block_type.nbytes, pred=pred)
    tma.async_copy_global_to_shared(d_S, [i_row, 0], bar, s_S, pred=pred)


@gluon.jit(do_not_specialize=["H", "HV", "units"])
def chunk_gradients_hopper_kernel(
    d_q, d_k, d_z, d_do, d_dv, gates, d_S, d_dS, dq, dk, dg, dbeta, spans, scale, H, HV, units,
    K: gl.constexpr, V: gl.constexpr, DECAY: gl.constexpr, ERASE: gl.constexpr,
):  # fmt: skip
    """Compute dq, dk, dg and dbeta of one key head of one chunk after the other; every d_ is a descriptor.

    What the next value head needs is copied into a place as soon as everybody has read it. As in the scans, addresses
    are made to depend on the loop, so that they are not all kept in registers.
    """
    C: gl.constexpr = 64
    DTYPE: gl.constexpr = d_k.dtype
    WIDE: gl.constexpr = gl.NVMMADistributedLayout(version=[3, 0], warps_per_cta=[4, 2], instr_shape=[16, K // 2, 16])
    PAIR: gl.constexpr = gl.NVMMADistributedLayout(version=[3, 0], warps_per_cta=[4, 2], instr_shape=[16, 32, 16])
    FLAT: gl.constexpr = gl.BlockedLayout([1, 8], [2, 16], [8, 1], [1, 0])
    ROW: gl.constexpr = gl.SliceLayout(1, WIDE)
    R: gl.constexpr = gl.SliceLayout(1, PAIR)
    L: gl.constexpr = gl.SliceLayout(0, PAIR)
    LINE: gl.constexpr = gl.BlockedLayout([1], [32], [8], [0])
    GROUP = HV // H

    s_q0 = gl.allocate_shared_memory(DTYPE, [1, C, K], TILES)
    s_k0 = gl.allocate_shared_memory(DTYPE, [1, C, K], TILES)
    s_S0 = gl.allocate_shared_memory(DTYPE, [1, V, K], TILES)
    s_dS0 = gl.allocate_shared_memory(DTYPE, [1, V, K], TILES)
    s_z = gl.allocate_shared_memory(DTYPE, [2, C, V], TILES)
    s_do = gl.allocate_shared_memory(DTYPE, [2, C, V], TILES)
    s_dx = gl.allocate_shared_memory(DTYPE, [2, C, V], TILES)
    s_P0 = gl.allocate_shared_memory(DTYPE, [1, C, C], TILES)
    s_A0 = gl.allocate_shared_memory(DTYPE, [1, C, C], TILES)
    s_g0 = gl.allocate_shared_memory(gl.float32, [1, 4 * C], gl.SwizzledSharedLayout(1, 1, 1, [0]))
    bars = gl.allocate_shared_memory(gl.int64, [5, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(5):
        mbarrier.init(bars.index(i), count=1)
    bar_qk = bars.index(2)
    bar_S = bars.index(3)
    bar_dS = bars.index(4)
    fence_async_shared()
    barrier()
    gdc_wait()  # for the scans

    first = gl.program_id(0)
    step = gl.num_programs(0)
    mine = (units - first + step - 1) // step * GROUP  # value heads that this program does
    start = gl.load(spans + 2 * (first // H)).to(gl.int32)
    stop = gl.load(spans + 2 * (first // H) + 1).to(gl.int32)
    i_hv = first % H * GROUP
    i_block = first // H * HV + i_hv  # among the places
    i_gates = i_block.to(gl.int64)
    # In flight from here on: the tokens of two value heads, the memories of one.
    mbarrier.expect(bar_qk, 2 * d_q.block_type.nbytes)
    tma.async_copy_global_to_shared(d_k, [start, first % H * K], bar_qk, s_k0.index(0))
    tma.async_copy_global_to_shared(d_q, [start, first % H * K], bar_qk, s_q0.index(0))
    copy_tokens(
        d_z, d_do, d_dv, s_z.index(0), s_do.index(0), s_dx.index(0), bars.index(0),
        first // H * C, start, i_hv * V, True, ERASE,
    )  # fmt: skip
    copy_memory(d_dS, s_dS0.index(0), bar_dS, i_block * V, True)
    copy_memory(d_S, s_S0.index(0), bar_S, i_block * V, True)

    o_g = gl.arange(0, 4 * C, layout=LINE)
    s_g0.index(0).store(gl.load(gates + i_gates * (4 * C) + o_g))
    barrier()
    o_r = gl.arange(0, C, layout=R)
    o_l = gl.arange(0, C, layout=L)
    o_row = gl.arange(0, C, layout=ROW)
    b_dq = gl.zeros([C, K], gl.float32, WIDE)
    b_dk = gl.zeros([C, K], gl.float32, WIDE)
    zero_wide = gl.zeros([C, K], gl.float32, WIDE)
    zero_pair = gl.zeros([C, C], gl.float32, PAIR)
    unit = first
    i_h = first % H
    i_r = first * 0
    turn = first * 0  # of the unit
    for n in range(mine):
        zero = n >> 30  # always, but the compiler cannot know
        s_q = s_q0.index(zero)
        s_k = s_k0.index(zero)
        s_S = s_S0.index(zero)
        s_dS = s_dS0.index(zero)
        s_P = s_P0.index(zero)
        s_A = s_A0.index(zero)
        i_hv = i_h * GROUP + i_r
        p = n & 1
        phase = (n >> 1) & 1
        # the value head after this one
        last = i_r == GROUP - 1
        n_unit = gl.where(last, unit + step, unit)
        n_r = gl.where(last, 0, i_r + 1)
        more = n + 1 < mine
        n_unit = gl.where(more, n_unit, unit)
        n_place = n_unit // H
        n_h = n_unit - n_place * H
        n_start = gl.load(spans + 2 * n_place).to(gl.int32)
        n_stop = gl.load(spans + 2 * n_place + 1).to(gl.int32)
        n_hv = n_h * GROUP + n_r
        n_block = n_place * HV + n_hv
        copy_tokens(
            d_z, d_do, d_dv, s_z.index(1 - p), s_do.index(1 - p), s_dx.index(1 - p), bars.index(1 - p),
            n_place * C, n_start, n_hv * V, more, ERASE,
        )  # fmt: skip
        n_gates = gl.load(gates + n_block.to(gl.int64) * (4 * C) + o_g)
        s_g = s_g0.index(zero)
        if i_r == 0:
            mbarrier.wait(bar_qk, turn & 1)
            if stop - start < C:
                clear_from(s_k, stop - start, C, FLAT)
                clear_from(s_q, stop - start, C, FLAT)
                fence_async_shared()
                barrier()
        mbarrier.wait(bars.index(p), phase)
        z, x, y = s_z.index(p), s_dx.index(p), s_do.index(p)

        # write
        mbarrier.wait(bar_dS, n & 1)
        part = warpgroup_mma(z, s_dS, zero_wide, use_acc=False, is_async=True)
        mbarrier.wait(bar_S, n & 1)
        b_SdS = 0.0
        if DECAY:
            b_sum = gl.zeros([32, K], gl.float32, FLAT)
            for i in gl.static_range(V // 32):
                b_rows = s_S.slice(32 * i, 32).load(FLAT).to(gl.float32)
                b_sum += b_rows * s_dS.slice(32 * i, 32).load(FLAT).to(gl.float32)
            b_SdS = gl.sum(gl.sum(b_sum, 1), 0) * gl.load(gates + i_gates * (4 * C) + 2 * C - 1)
        b_part = warpgroup_mma_wait(0, deps=[part])
        if DECAY:
            b_part *= s_g.slice(2 * C, C).load(ROW)[:, None]
        b_row = gl.sum(b_part * s_k.load(WIDE).to(gl.float32), 1)
        b_dk += b_part * s_g.slice(3 * C, C).load(ROW)[:, None] if ERASE else b_part
        b_dG = gl.zeros([C], gl.float32, ROW)
        if ERASE:  # error
            part = warpgroup_mma(x, s_S, zero_wide, use_acc=False, is_async=True)
            barrier()  # everybody has read dS
            copy_memory(d_dS, s_dS, bar_dS, n_block * V, more)
            b_part = warpgroup_mma_wait(0, deps=[part])
            if DECAY:
                b_part *= s_g.slice(C, C).load(ROW)[:, None]
                b_dG -= gl.sum(b_part * s_k.load(WIDE).to(gl.float32), 1)
            b_dk -= b_part
        part = warpgroup_mma(y, s_S, zero_wide, use_acc=False, is_async=True)
        if not ERASE:
            barrier()
            copy_memory(d_dS, s_dS, bar_dS, n_block * V, more)
        b_part = warpgroup_mma_wait(0, deps=[part])
        dP = warpgroup_mma(y, z.permute((1, 0)), zero_pair, use_acc=False, is_async=True)
        qk = warpgroup_mma(s_q, s_k.permute((1, 0)), zero_pair, use_acc=False, is_async=True)
        barrier()  # everybody has read S
        copy_memory(d_S, s_S, bar_S, n_block * V, more)
        # read
        if DECAY:
            b_part *= (s_g.slice(C, C).load(ROW) * scale)[:, None]
            b_dG += gl.sum(b_part * s_q.load(WIDE).to(gl.float32), 1)
        else:
            b_part *= scale
        b_dq += b_part

        m_r = start + o_r < stop
        m_row = start + o_row < stop
        m_lower = (o_r[:, None] >= o_l[None, :]) & m_r[:, None]
        b_decay = gl.where(m_lower, gl.full([C, C], 1.0, gl.float32, PAIR), 0.0)
        if DECAY:
            b_later = s_g.slice(0, C).load(R)[:, None] - s_g.slice(0, C).load(L)[None, :]
            b_decay = gl.exp(gl.where(m_lower, b_later, float("-inf")))
        b_dP, b_qk = warpgroup_mma_wait(0, deps=[dP, qk])
        if ERASE:
            dA = warpgroup_mma(x, z.permute((1, 0)), zero_pair, use_acc=False, is_async=True)
            kk = warpgroup_mma(s_k, s_k.permute((1, 0)), zero_pair, use_acc=False, is_async=True)
        b_dP = gl.where(m_lower, b_dP, 0.0) * b_decay * scale
        b_D = b_dP * b_qk
        p_gate = i_hv + (start + o_r).to(gl.int64) * HV
        b_row = gl.where(m_row, b_row, 0.0)
        b_dG = gl.where(m_row, b_dG, 0.0)
        if ERASE:
            s_P.store((b_dP * s_g.slice(3 * C, C).load(L)[None, :]).to(DTYPE))
            m_strict = (o_r[:, None] > o_l[None, :]) & m_r[:, None]
            b_dA, b_kk = warpgroup_mma_wait(0, deps=[dA, kk])
            b_dA = gl.where(m_strict, b_dA, 0.0) * -b_decay
            s_A.store((b_dA * s_g.slice(3 * C, C).load(L)[None, :]).to(DTYPE))
            b_DA = b_dA * b_kk
            b_dbeta = gl.convert_layout(gl.sum(b_D + b_DA, 0), R) + gl.convert_layout(b_row, R)
            gl.store(dbeta + p_gate, b_dbeta, mask=m_r)
            b_row *= s_g.slice(3 * C, C).load(ROW)
            # The diagonal does not decay: it would cancel between the two sums, but not to the last bit.
            b_D = (gl.where(m_strict, b_D, 0.0) + b_DA) * s_g.slice(3 * C, C).load(L)[None, :]
        else:
            s_P.store(b_dP.to(DTYPE))
            b_D = gl.where(o_r[:, None] > o_l[None, :], b_D, 0.0)
        fence_async_shared()
        barrier()
        b_dq = warpgroup_mma(s_P, s_k, b_dq, is_async=True)
        b_dk = warpgroup_mma(s_P.permute((1, 0)), s_q, b_dk, is_async=True)
        if ERASE:
            b_dk = warpgroup_mma(s_A, s_k, b_dk, is_async=True)
            b_dk = warpgroup_mma(s_A.permute((1, 0)), s_k, b_dk, is_async=True)
        if DECAY:
            b_dG = gl.convert_layout(b_dG - b_row, R) + gl.sum(b_D, 1) - gl.convert_layout(gl.sum(b_D, 0), R)
            b_dlast = gl.sum(b_row, 0) + b_SdS
            b_later = gl.where(o_l[None, :] >= o_r[:, None], gl.convert_layout(b_dG, L)[None, :], 0.0)
            gl.store(dg + p_gate, gl.sum(b_later, 1) + b_dlast, mask=m_r)

        b_dq, b_dk = warpgroup_mma_wait(0, deps=[b_dq, b_dk])
        barrier()  # everybody has read the tokens
        s_g.store(n_gates)
        if last:
            s_q.store(b_dq.to(DTYPE))
            s_k.store(b_dk.to(DTYPE))
            o_f = gl.arange(0, C, layout=gl.SliceLayout(1, FLAT))
            o_d = gl.arange(0, K, layout=gl.SliceLayout(0, FLAT))
            p_qk = ((start + o_f).to(gl.int64) * H + i_h)[:, None] * K + o_d[None, :]
            m_qk = (start + o_f < stop)[:, None] & (o_d < K)[None, :]
            barrier()
            gl.store(dq + p_qk, s_q.load(FLAT), mask=m_qk)
            gl.store(dk + p_qk, s_k.load(FLAT), mask=m_qk)
            fence_async_shared()
            barrier()
            mbarrier.expect(bar_qk, 2 * d_q.block_type.nbytes, pred=more)
            tma.async_copy_global_to_shared(d_k, [n_start, n_h * K], bar_qk, s_k, pred=more)
            tma.async_copy_global_to_shared(d_q, [n_start, n_h * K], bar_qk, s_q, pred=more)
            b_dq = gl.zeros([C, K], gl.float32, WIDE)
            b_dk = gl.zeros([C, K], gl.float32, WIDE)
            turn += 1
        barrier()
        unit, i_h, i_r, start, stop, i_gates = n_unit, n_h, n_r, n_start, n_stop, n_block.to(gl.int64)
    for i in gl.static_range(5):
        mbarrier.invalidate(bars.index(i))


# Programs stay on their multiprocessors, one each.
CONFIGS = {90: {"num_warps": 8}}


def launch(
    q: Tensor,
    k: Tensor,
    errors: Tensor,
    do: Tensor,
    dv: Tensor,
    prepared: Prepared,
    states: Tensor,
    dstates: Tensor,
    written: tuple[Tensor, Tensor, Tensor | None, Tensor | None],
    *,
    window: Window,
    processors: int,
) -> None:
    """Compute gradients; as ``chunk_gradients``, for what ``fits_hopper`` takes and V of 64 or 128.

    Args:
        q: queries, [..., H, K].
        k: keys, [..., H, K].
        errors: the errors before their gate, by place; the values where nothing is erased.
        do: gradient of the outputs, [..., HV, V].
        dv: gradient of the values, [..., HV, V].
        prepared: from ``chunk_prepare``.
        states: the memory before the chunk at each place.
        dstates: the gradient of the memory after it.
        written: where dq, dk, dg and dbeta go.
        window: the chunks to look at.
        processors: multiprocessors of the device.
    """
    H, K = k.shape[-2:]
    HV, V = do.shape[-2:]
    x, units = prepared, window.places * H
    values = [rows_of(each, HV * V, (CHUNK, V)) for each in (errors, do, dv)]
    chunk_gradients_hopper_kernel[(min(units, processors),)](
        rows_of(q, H * K, (CHUNK, K)), rows_of(k, H * K, (CHUNK, K)), *values, x.gates,
        rows_of(states, K, (V, K)), rows_of(dstates, K, (V, K)), *written, window.spans, x.scale,
        H, HV, units, K=K, V=V, DECAY=x.decay, ERASE=x.erase, launch_pdl=True, **CONFIGS[90],
    )  # fmt: skip
