"""The gradients of queries, keys and gates on Hopper, in one pass over the scans' results, with copies ahead."""

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

from gdn_core.ops.kernels.hopper.tiles import TILES, barrier, clear_rows, rows_of
from gdn_core.ops.kernels.launches import launcher
from gdn_core.ops.kernels.stages import CHUNK, Gradients, Prepared
from gdn_core.ops.kernels.windows import Window


@gluon.jit
def copy_tokens(d_e, d_do, d_dv, s_e, s_do, s_dx, bar, i_e, i_t, column, pred, ERASE: gl.constexpr):
    """Start copies of the tokens of a value head: errors, and gradients of outputs and values."""
    mbarrier.expect(bar, (3 if ERASE else 2) * d_e.block_type.nbytes, pred=pred)
    tma.async_copy_global_to_shared(d_e, [i_e if ERASE else i_t, column], bar, s_e, pred=pred)
    if ERASE:
        tma.async_copy_global_to_shared(d_dv, [i_t, column], bar, s_dx, pred=pred)
    tma.async_copy_global_to_shared(d_do, [i_t, column], bar, s_do, pred=pred)


@gluon.jit
def copy_memory(d_h, s_h, bar, i_row, pred):
    """Start the copy of a memory, or of the gradient of one."""
    mbarrier.expect(bar, d_h.block_type.nbytes, pred=pred)
    tma.async_copy_global_to_shared(d_h, [i_row, 0], bar, s_h, pred=pred)


@gluon.jit(do_not_specialize=["H", "HV", "units"])
def chunk_gradients_hopper_kernel(
    d_q, d_k, d_e, d_do, d_dv, gates, d_h, d_dh, dq, dk, dg, dbeta, spans, scale, H, HV, units,
    K: gl.constexpr, V: gl.constexpr, DECAY: gl.constexpr, ERASE: gl.constexpr,
):  # fmt: skip
    """Compute dq, dk, dg and dbeta of one key head for one chunk after the other; every d_ is a tensor map.

    The next value head's tokens and memory are copied into a buffer as soon as all warps have read it. As in the scans,
    addresses are made to depend on the loop variable, so that the compiler does not keep them all in registers.
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
    s_h0 = gl.allocate_shared_memory(DTYPE, [1, V, K], TILES)
    s_dh0 = gl.allocate_shared_memory(DTYPE, [1, V, K], TILES)
    s_e = gl.allocate_shared_memory(DTYPE, [2, C, V], TILES)
    s_do = gl.allocate_shared_memory(DTYPE, [2, C, V], TILES)
    s_dx = gl.allocate_shared_memory(DTYPE, [2, C, V], TILES)
    s_dAqk0 = gl.allocate_shared_memory(DTYPE, [1, C, C], TILES)
    s_dAkk0 = gl.allocate_shared_memory(DTYPE, [1, C, C], TILES)
    s_g0 = gl.allocate_shared_memory(gl.float32, [1, 4 * C], gl.SwizzledSharedLayout(1, 1, 1, [0]))
    bars = gl.allocate_shared_memory(gl.int64, [5, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(5):
        mbarrier.init(bars.index(i), count=1)
    bar_qk = bars.index(2)
    bar_h = bars.index(3)
    bar_dh = bars.index(4)
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
        d_e, d_do, d_dv, s_e.index(0), s_do.index(0), s_dx.index(0), bars.index(0),
        first // H * C, start, i_hv * V, True, ERASE,
    )  # fmt: skip
    copy_memory(d_dh, s_dh0.index(0), bar_dh, i_block * V, True)
    copy_memory(d_h, s_h0.index(0), bar_h, i_block * V, True)

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
        zero = n >> 30  # always 0, which the compiler does not know
        s_q = s_q0.index(zero)
        s_k = s_k0.index(zero)
        s_h = s_h0.index(zero)
        s_dh = s_dh0.index(zero)
        s_dAqk = s_dAqk0.index(zero)
        s_dAkk = s_dAkk0.index(zero)
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
            d_e, d_do, d_dv, s_e.index(1 - p), s_do.index(1 - p), s_dx.index(1 - p), bars.index(1 - p),
            n_place * C, n_start, n_hv * V, more, ERASE,
        )  # fmt: skip
        n_gates = gl.load(gates + n_block.to(gl.int64) * (4 * C) + o_g)
        s_g = s_g0.index(zero)
        if i_r == 0:
            mbarrier.wait(bar_qk, turn & 1)
            if stop - start < C:
                clear_rows(s_k, stop - start, FLAT)
                clear_rows(s_q, stop - start, FLAT)
                fence_async_shared()
                barrier()
        mbarrier.wait(bars.index(p), phase)
        z, x, y = s_e.index(p), s_dx.index(p), s_do.index(p)

        # write
        mbarrier.wait(bar_dh, n & 1)
        part = warpgroup_mma(z, s_dh, zero_wide, use_acc=False, is_async=True)
        mbarrier.wait(bar_h, n & 1)
        b_hdh = 0.0
        if DECAY:
            b_sum = gl.zeros([32, K], gl.float32, FLAT)
            for i in gl.static_range(V // 32):
                b_rows = s_h.slice(32 * i, 32).load(FLAT).to(gl.float32)
                b_sum += b_rows * s_dh.slice(32 * i, 32).load(FLAT).to(gl.float32)
            b_hdh = gl.sum(gl.sum(b_sum, 1), 0) * gl.load(gates + i_gates * (4 * C) + 2 * C - 1)
        b_part = warpgroup_mma_wait(0, deps=[part])
        if DECAY:
            b_part *= s_g.slice(2 * C, C).load(ROW)[:, None]
        b_row = gl.sum(b_part * s_k.load(WIDE).to(gl.float32), 1)
        b_dk += b_part * s_g.slice(3 * C, C).load(ROW)[:, None] if ERASE else b_part
        b_dG = gl.zeros([C], gl.float32, ROW)
        if ERASE:  # error
            part = warpgroup_mma(x, s_h, zero_wide, use_acc=False, is_async=True)
            barrier()  # all warps have read dS
            copy_memory(d_dh, s_dh, bar_dh, n_block * V, more)
            b_part = warpgroup_mma_wait(0, deps=[part])
            if DECAY:
                b_part *= s_g.slice(C, C).load(ROW)[:, None]
                b_dG -= gl.sum(b_part * s_k.load(WIDE).to(gl.float32), 1)
            b_dk -= b_part
        part = warpgroup_mma(y, s_h, zero_wide, use_acc=False, is_async=True)
        if not ERASE:
            barrier()
            copy_memory(d_dh, s_dh, bar_dh, n_block * V, more)
        b_part = warpgroup_mma_wait(0, deps=[part])
        dAqk = warpgroup_mma(y, z.permute((1, 0)), zero_pair, use_acc=False, is_async=True)
        qk = warpgroup_mma(s_q, s_k.permute((1, 0)), zero_pair, use_acc=False, is_async=True)
        barrier()  # all warps have read S
        copy_memory(d_h, s_h, bar_h, n_block * V, more)
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
        b_Gamma = gl.where(m_lower, gl.full([C, C], 1.0, gl.float32, PAIR), 0.0)
        if DECAY:
            b_later = s_g.slice(0, C).load(R)[:, None] - s_g.slice(0, C).load(L)[None, :]
            b_Gamma = gl.exp(gl.where(m_lower, b_later, float("-inf")))
        b_dAqk, b_qk = warpgroup_mma_wait(0, deps=[dAqk, qk])
        if ERASE:
            dAkk = warpgroup_mma(x, z.permute((1, 0)), zero_pair, use_acc=False, is_async=True)
            kk = warpgroup_mma(s_k, s_k.permute((1, 0)), zero_pair, use_acc=False, is_async=True)
        b_dAqk = gl.where(m_lower, b_dAqk, 0.0) * b_Gamma * scale
        b_D = b_dAqk * b_qk
        p_gate = i_hv + (start + o_r).to(gl.int64) * HV
        b_row = gl.where(m_row, b_row, 0.0)
        b_dG = gl.where(m_row, b_dG, 0.0)
        if ERASE:
            s_dAqk.store((b_dAqk * s_g.slice(3 * C, C).load(L)[None, :]).to(DTYPE))
            m_strict = (o_r[:, None] > o_l[None, :]) & m_r[:, None]
            b_dAkk, b_kk = warpgroup_mma_wait(0, deps=[dAkk, kk])
            b_dAkk = gl.where(m_strict, b_dAkk, 0.0) * -b_Gamma
            s_dAkk.store((b_dAkk * s_g.slice(3 * C, C).load(L)[None, :]).to(DTYPE))
            b_Dkk = b_dAkk * b_kk
            b_dbeta = gl.convert_layout(gl.sum(b_D + b_Dkk, 0), R) + gl.convert_layout(b_row, R)
            gl.store(dbeta + p_gate, b_dbeta, mask=m_r)
            b_row *= s_g.slice(3 * C, C).load(ROW)
            # The diagonal does not decay. It would cancel between the two sums, but not to the last bit.
            b_D = (gl.where(m_strict, b_D, 0.0) + b_Dkk) * s_g.slice(3 * C, C).load(L)[None, :]
        else:
            s_dAqk.store(b_dAqk.to(DTYPE))
            b_D = gl.where(o_r[:, None] > o_l[None, :], b_D, 0.0)
        fence_async_shared()
        barrier()
        b_dq = warpgroup_mma(s_dAqk, s_k, b_dq, is_async=True)
        b_dk = warpgroup_mma(s_dAqk.permute((1, 0)), s_q, b_dk, is_async=True)
        if ERASE:
            b_dk = warpgroup_mma(s_dAkk, s_k, b_dk, is_async=True)
            b_dk = warpgroup_mma(s_dAkk.permute((1, 0)), s_k, b_dk, is_async=True)
        if DECAY:
            if not ERASE:  # a later token's share cancels, unless it is NaN
                b_bad = b_row * 0.0
                b_row = gl.where(b_bad == 0.0, b_row, 0.0)
                b_D = gl.where(gl.convert_layout(b_bad, L)[None, :] == 0.0, b_D, 0.0)
            # What the last token writes to the end does not decay. It would cancel, but not to the last bit.
            b_row = gl.where(start + o_row + 1 < stop, b_row, 0.0)
            b_dG = gl.convert_layout(b_dG - b_row, R) + gl.sum(b_D, 1) - gl.convert_layout(gl.sum(b_D, 0), R)
            b_dlast = gl.sum(b_row, 0) + b_hdh
            b_later = gl.where(o_l[None, :] >= o_r[:, None], gl.convert_layout(b_dG, L)[None, :], 0.0)
            gl.store(dg + p_gate, gl.sum(b_later, 1) + b_dlast, mask=m_r)

        b_dq, b_dk = warpgroup_mma_wait(0, deps=[b_dq, b_dk])
        barrier()  # all warps have read the tokens
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


def launch(
    q: Tensor,
    k: Tensor,
    e: Tensor,
    do: Tensor,
    dv: Tensor,
    prepared: Prepared,
    h: Tensor,
    dh: Tensor,
    written: Gradients,
    *,
    window: Window,
    processors: int,
) -> None:
    """Compute gradients as ``chunk_gradients`` does, where ``differentiates_on_hopper`` holds.

    Args:
        q: queries, [..., H, K].
        k: keys, [..., H, K].
        e: the errors before their gate, by place; the values if nothing is erased.
        do: gradient of the outputs, [..., HV, V].
        dv: gradient of the values, [..., HV, V].
        prepared: from ``chunk_prepare``.
        h: the memory before the chunk at each place.
        dh: the gradient of the memory after it.
        written: the tensors that dq, dk, dg and dbeta are written to.
        window: the chunks to compute.
        processors: multiprocessors of the device.
    """
    H, K = k.shape[-2:]
    HV, V = do.shape[-2:]
    x, units = prepared, window.places * H
    values = [rows_of(each, HV * V, (CHUNK, V)) for each in (e, do, dv)]
    grid = (min(units, processors),)  # programs stay on their multiprocessors, one each
    launcher(chunk_gradients_hopper_kernel, grid)(
        rows_of(q, H * K, (CHUNK, K)), rows_of(k, H * K, (CHUNK, K)), *values, x.gates,
        rows_of(h, K, (V, K)), rows_of(dh, K, (V, K)), *written, window.spans, x.scale,
        H, HV, units, K=K, V=V, DECAY=x.decay, ERASE=x.erase, num_warps=8, launch_pdl=True,
    )  # fmt: skip
