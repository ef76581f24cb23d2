"""The scans of the backward pass on Hopper, with the next chunks copied ahead."""

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
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from gdn_core.ops.kernels.blocks import Blocks
from gdn_core.ops.kernels.hopper.tiles import barrier, clear_rows, rows_of
from gdn_core.ops.kernels.launches import launcher
from gdn_core.ops.kernels.stages import CHUNK, Prepared
from gdn_core.ops.kernels.windows import Window


@gluon.jit
def copy_chunk(
    d_k, s_k, d_q, s_q, d_x, s_x, d_T, s_T, d_Aqk, s_Aqk, bar, i_t, i_row, qk_column, vo_column, pred,
    K: gl.constexpr, BACK: gl.constexpr, ERASE: gl.constexpr,
):  # fmt: skip
    """Start the copies of one chunk's operands."""
    BYTES: gl.constexpr = 2 * 64 * ((2 * K + 64 + 64 if BACK else K + 64) + (64 if ERASE else 0))
    mbarrier.expect(bar, BYTES, pred=pred)
    tma.async_copy_global_to_shared(d_k, [i_t, qk_column], bar, s_k, pred=pred)
    tma.async_copy_global_to_shared(d_x, [i_t, vo_column], bar, s_x, pred=pred)
    if BACK:
        tma.async_copy_global_to_shared(d_q, [i_t, qk_column], bar, s_q, pred=pred)
        tma.async_copy_global_to_shared(d_Aqk, [i_row, 0], bar, s_Aqk, pred=pred)
    if ERASE:
        tma.async_copy_global_to_shared(d_T, [i_row, 0], bar, s_T, pred=pred)


@gluon.jit
def scan(
    d_q, d_k, d_x, gates, d_T, d_Aqk, b_S, y, d_y, d_h,
    s_q0, s_k0, s_x0, s_T0, s_Aqk0, s_S0, s_y0, s_g0, bars, start, stop, i_c, i_v, i_hv, i_h, HV, scale,
    K: gl.constexpr, V: gl.constexpr, STAGES: gl.constexpr, BACK: gl.constexpr,
    DECAY: gl.constexpr, ERASE: gl.constexpr, WRITE: gl.constexpr,
):  # fmt: skip
    """Carry 64 rows of a memory over the chunks of a segment, or the gradient of one backwards."""
    C: gl.constexpr = 64
    BV: gl.constexpr = 64
    DTYPE: gl.constexpr = d_k.dtype
    WIDE: gl.constexpr = gl.NVMMADistributedLayout(version=[3, 0], warps_per_cta=[4, 1], instr_shape=[16, K, 16])
    PAIR: gl.constexpr = gl.NVMMADistributedLayout(version=[3, 0], warps_per_cta=[4, 1], instr_shape=[16, 64, 16])
    A_WIDE: gl.constexpr = gl.DotOperandLayout(0, WIDE, 2)
    A_PAIR: gl.constexpr = gl.DotOperandLayout(0, PAIR, 2)
    COLUMN: gl.constexpr = gl.SliceLayout(0, PAIR)
    A_COLUMN: gl.constexpr = gl.SliceLayout(0, A_WIDE)
    FLAT: gl.constexpr = gl.BlockedLayout([1, 8], [2, 16], [4, 1], [1, 0])
    SHORT: gl.constexpr = gl.BlockedLayout([1, 8], [4, 8], [4, 1], [1, 0])
    LINE: gl.constexpr = gl.BlockedLayout([2], [32], [4], [0])
    o_g = gl.arange(0, 4 * C, layout=LINE)
    zero_pair = gl.zeros([BV, C], gl.float32, PAIR)
    qk_column = i_h * K
    vo_column = i_hv * V + i_v * BV
    count = (stop - start + C - 1) // C
    for j in gl.static_range(STAGES):
        i = count - 1 - j if BACK else j
        copy_chunk(
            d_k, s_k0.index(j), d_q, s_q0.index(j), d_x, s_x0.index(j), d_T, s_T0.index(j), d_Aqk, s_Aqk0.index(j),
            bars.index(j), start + i * C, ((i_c + i) * HV + i_hv) * C, qk_column, vo_column, j < count, K, BACK, ERASE,
        )  # fmt: skip
    i = gl.maximum(count - 1, 0) if BACK else count * 0
    s_g0.index(0).store(gl.load(gates + ((i_c + i) * HV + i_hv).to(gl.int64) * (4 * C) + o_g))
    barrier()
    stage = count * 0
    phase = count * 0
    for j in range(count):
        zero = j >> 30  # always 0, which the compiler does not know
        i = count - 1 - j if BACK else j
        i_t = start + i * C
        i_block = (i_c + i) * HV + i_hv
        later = gl.minimum(j + 1, count - 1)
        n_i = count - 1 - later if BACK else later
        n_gates = gl.load(gates + ((i_c + n_i) * HV + i_hv).to(gl.int64) * (4 * C) + o_g)
        s_k, s_q, s_x = s_k0.index(stage), s_q0.index(stage), s_x0.index(stage)
        s_T, s_Aqk = s_T0.index(stage), s_Aqk0.index(stage)
        s_S, s_y, s_g = s_S0.index(zero), s_y0.index(zero), s_g0.index(zero)
        b_Sd = b_S.to(DTYPE)
        if WRITE:
            s_S.store(b_Sd)
        fence_async_shared()
        tma.store_wait(0)
        mbarrier.wait(bars.index(stage), phase)
        if stop - i_t < C:
            clear_rows(s_k, stop - i_t, FLAT)
            clear_rows(s_x, stop - i_t, SHORT)
            if BACK:
                clear_rows(s_q, stop - i_t, FLAT)
            fence_async_shared()
        barrier()
        if WRITE:
            tma.async_copy_shared_to_global(d_h, [i_block * V + i_v * BV, 0], s_S)
        b_Sa = gl.convert_layout(b_Sd, A_PAIR)
        if BACK:
            du = warpgroup_mma(b_Sa, s_k.permute((1, 0)), zero_pair, use_acc=False, is_async=True)
            b_r = s_x.permute((1, 0)).load(A_WIDE).to(gl.float32)
            if DECAY:
                b_r = b_r * (s_g.slice(C, C).load(A_COLUMN) * scale)[None, :]
                b_S *= gl.load(gates + i_block.to(gl.int64) * (4 * C) + 2 * C - 1)
            else:
                b_r = b_r * scale
            dS = warpgroup_mma(b_r.to(DTYPE), s_q, b_S, is_async=True)
            b_y = warpgroup_mma_wait(1, deps=[du])
            if DECAY:
                b_y = b_y * s_g.slice(2 * C, C).load(COLUMN)[None, :]
            dv = warpgroup_mma(s_x.permute((1, 0)), s_Aqk, b_y, is_async=True)
            b_S, b_y = warpgroup_mma_wait(0, deps=[dS, dv])
            if ERASE:
                b_y = b_y * s_g.slice(3 * C, C).load(COLUMN)[None, :]
                b_ya = gl.convert_layout(b_y.to(DTYPE), A_PAIR)
                dv = warpgroup_mma(b_ya, s_T, zero_pair, use_acc=False, is_async=True)
                b_y = warpgroup_mma_wait(0, deps=[dv])
                b_w = b_y * (0.0 - s_g.slice(C, C).load(COLUMN))[None, :] if DECAY else 0.0 - b_y
                b_wa = gl.convert_layout(b_w.to(DTYPE), A_WIDE)
                dS = warpgroup_mma(b_wa, s_k, b_S, is_async=True)
        else:
            b_y = s_x.permute((1, 0)).load(PAIR).to(gl.float32)
            if ERASE:
                rd = warpgroup_mma(b_Sa, s_k.permute((1, 0)), zero_pair, use_acc=False, is_async=True)
                b_x = warpgroup_mma_wait(0, deps=[rd])
                if DECAY:
                    b_x = b_x * s_g.slice(C, C).load(COLUMN)[None, :]
                b_xa = gl.convert_layout((b_y - b_x).to(DTYPE), A_PAIR)
                e = warpgroup_mma(b_xa, s_T.permute((1, 0)), zero_pair, use_acc=False, is_async=True)
                b_y = warpgroup_mma_wait(0, deps=[e])
            b_w = b_y
            if ERASE:
                b_w = b_w * s_g.slice(3 * C, C).load(COLUMN)[None, :]
            if DECAY:
                b_w = b_w * s_g.slice(2 * C, C).load(COLUMN)[None, :]
                b_S *= gl.load(gates + i_block.to(gl.int64) * (4 * C) + 2 * C - 1)
            dS = warpgroup_mma(gl.convert_layout(b_w.to(DTYPE), A_WIDE), s_k, b_S, is_async=True)
        if WRITE:
            if BACK or ERASE:
                b_yd = b_y.to(DTYPE)
                if not BACK or stop - i_t >= C:
                    s_y.permute((1, 0)).store(b_yd)
                    fence_async_shared()
                    barrier()
                    tma.async_copy_shared_to_global(d_y, [i_t if BACK else (i_c + i) * C, vo_column], s_y)
                    tma.store_wait(1)  # the copy of the memory is done
                else:
                    o_t = i_t + gl.arange(0, C, layout=COLUMN)
                    o_v = gl.arange(0, BV, layout=gl.SliceLayout(1, PAIR))
                    p_y = y + o_t.to(gl.int64)[None, :] * (HV * V) + (vo_column + o_v)[:, None]
                    gl.store(p_y, b_yd, mask=(o_t < stop)[None, :] & (o_v < BV)[:, None])
                    tma.store_wait(0)
            else:
                tma.store_wait(0)
        if ERASE or not BACK:
            b_S = warpgroup_mma_wait(0, deps=[dS])
        barrier()  # all warps have read this stage
        s_g.store(n_gates)
        n_j = j + STAGES
        n_i = count - 1 - n_j if BACK else n_j
        copy_chunk(
            d_k, s_k, d_q, s_q, d_x, s_x, d_T, s_T, d_Aqk, s_Aqk, bars.index(stage), start + n_i * C,
            ((i_c + n_i) * HV + i_hv) * C, qk_column, vo_column, n_j < count, K, BACK, ERASE,
        )  # fmt: skip
        stage += 1
        phase = gl.where(stage == STAGES, phase ^ 1, phase)
        stage = gl.where(stage == STAGES, 0, stage)
    tma.store_wait(0)
    return b_S


@gluon.jit(do_not_specialize=["N", "H", "HV", "LENGTH", "FIRST", "STEP", "DENSE"])
def chunk_scans_hopper_kernel(
    d_q, d_k, d_v, d_do, gates, d_T, d_Aqk, state, dstate, d_e, dv, d_dv, d_h, d_dh, dh_kept, limits,
    cu_seqlens, chunk_offsets, segment_offsets, segment_owner, scale, N, H, HV, LENGTH, FIRST, STEP, DENSE,
    state_n, state_h, state_k, state_v, dstate_n, dstate_h, dstate_k, dstate_v,
    K: gl.constexpr, V: gl.constexpr, STAGES: gl.constexpr, DECAY: gl.constexpr, ERASE: gl.constexpr,
    STATE: gl.constexpr, DSTATE: gl.constexpr, WRITE: gl.constexpr,
):  # fmt: skip
    """Compute what ``chunk_scans_kernel`` does, on Hopper; every d_ is a tensor map.

    The part of a tile past the end of its sequence is cleared. To save registers, addresses are made to depend on the
    loop variable: the compiler would keep every loop-invariant address in a register.
    """
    C: gl.constexpr = 64
    BV: gl.constexpr = 64
    NV: gl.constexpr = V // BV
    PARTS: gl.constexpr = 2 * NV if WRITE else NV
    DTYPE: gl.constexpr = d_k.dtype
    WIDE: gl.constexpr = gl.NVMMADistributedLayout(version=[3, 0], warps_per_cta=[4, 1], instr_shape=[16, K, 16])
    i_v = gl.program_id(0) % PARTS % NV
    backwards = gl.program_id(0) % PARTS < NV
    i_l = gl.program_id(0) // PARTS // HV  # of the segments of this launch
    i_s = FIRST + i_l * STEP
    i_hv = gl.program_id(0) // PARTS % HV
    i_h = i_hv // (HV // H)
    i_n = gl.load(segment_owner + i_s)
    real = i_n < N
    i_n = gl.where(real, i_n, 0)
    first = i_s - gl.load(segment_offsets + i_n)
    start = gl.load(cu_seqlens + i_n).to(gl.int32) + first * LENGTH * C
    stop = gl.minimum(start + LENGTH * C, gl.load(cu_seqlens + i_n + 1).to(gl.int32))
    stop = gl.where(real, gl.maximum(start, stop), start)
    i_c = i_l * LENGTH  # place of the first chunk
    i_c = gl.where(DENSE != 0, gl.load(chunk_offsets + i_n).to(gl.int32) + first * LENGTH, i_c)

    s_q = gl.allocate_shared_memory(DTYPE, [STAGES, C, K], d_k.layout)
    s_k = gl.allocate_shared_memory(DTYPE, [STAGES, C, K], d_k.layout)
    s_x = gl.allocate_shared_memory(DTYPE, [STAGES, C, BV], d_do.layout)
    s_T = gl.allocate_shared_memory(DTYPE, [STAGES, C, C], d_Aqk.layout)
    s_Aqk = gl.allocate_shared_memory(DTYPE, [STAGES, C, C], d_Aqk.layout)
    s_S = gl.allocate_shared_memory(DTYPE, [1, BV, K], d_k.layout)
    s_y = gl.allocate_shared_memory(DTYPE, [1, C, BV], d_do.layout)
    s_g = gl.allocate_shared_memory(gl.float32, [1, 4 * C], gl.SwizzledSharedLayout(1, 1, 1, [0]))
    bars = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    for j in gl.static_range(STAGES):
        mbarrier.init(bars.index(j), count=1)
    fence_async_shared()
    barrier()
    gdc_launch_dependents()
    gdc_wait()  # for chunk_prepare

    o_v = i_v * BV + gl.arange(0, BV, layout=gl.SliceLayout(1, WIDE))
    o_k = gl.arange(0, K, layout=gl.SliceLayout(0, WIDE))
    b_S = gl.zeros([BV, K], gl.float32, WIDE)
    if backwards:
        if DSTATE:
            p_S = dstate + i_l.to(gl.int64) * dstate_n + i_hv * dstate_h
            p_S += o_v[:, None] * dstate_v + o_k[None, :] * dstate_k
            b_S = gl.load(p_S, mask=(o_v < V)[:, None] & real, other=0.0)
        b_S = scan(
            d_q, d_k, d_do, gates, d_T, d_Aqk, b_S, dv, d_dv, d_dh,
            s_q, s_k, s_x, s_T, s_Aqk, s_S, s_y, s_g, bars, start, stop, i_c, i_v, i_hv, i_h, HV, scale,
            K, V, STAGES, True, DECAY, ERASE, WRITE,
        )  # fmt: skip
        if real:
            p_end = dh_kept + (i_s.to(gl.int64) * HV + i_hv) * (V * K)
            gl.store(p_end + o_v[:, None] * K + o_k[None, :], b_S)
    else:
        if WRITE:
            if STATE:
                p_S = state + i_l.to(gl.int64) * state_n + i_hv * state_h
                p_S += o_v[:, None] * state_v + o_k[None, :] * state_k
                b_S = gl.load(p_S, mask=(o_v < V)[:, None] & real, other=0.0)
            if ERASE:  # without erasing, no product takes a value to an earlier token
                limit = gl.load(limits + i_s * HV + i_hv)
                stop = gl.where(limit > 0, gl.minimum(stop, limit - 1), stop)
            scan(
                d_q, d_k, d_v, gates, d_T, d_Aqk, b_S, dv, d_e, d_h,
                s_q, s_k, s_x, s_T, s_Aqk, s_S, s_y, s_g, bars, start, stop, i_c, i_v, i_hv, i_h, HV, scale,
                K, V, STAGES, False, DECAY, ERASE, WRITE,
            )  # fmt: skip


STAGES = 3  # chunks in flight: as many as the shared memory holds


def launch(
    q: Tensor,
    k: Tensor,
    v: Tensor | None,
    do: Tensor,
    prepared: Prepared,
    state: Tensor | None,
    dstate: Tensor | None,
    segments: Blocks,
    window: Window,
    dh_kept: Tensor,
    written: tuple[Tensor, Tensor, Tensor, Tensor, Tensor] | None,
) -> None:
    """Scan the segments of a window as ``scans`` does, where ``scans_on_hopper`` holds.

    Args:
        q: queries, [..., H, K].
        k: keys, [..., H, K].
        v: values, [..., HV, V]; None without ``written``.
        do: gradient of the outputs, [..., HV, V].
        prepared: from ``chunk_prepare``.
        state: memory before each segment; None for zero.
        dstate: gradient of the memory after each; None for zero.
        segments: the sequences cut into segments.
        window: the segments to scan.
        dh_kept: where the gradient of the memory before each segment goes, [segment, HV, V, K] float32.
        written: tensors for e, dv, h and dh, and the limits; None to scan backwards only, without these.
    """
    H, K = k.shape[-2:]
    HV, V = do.shape[-2:]
    x, square = prepared, (CHUNK, CHUNK)
    e, dv, h, dh, limits = written or (None, None, None, None, None)
    strides = [each.stride() if each is not None else (0, 0, 0, 0) for each in (state, dstate)]
    parts = V // 64 * (1 if written is None else 2)
    launcher(chunk_scans_hopper_kernel, (parts * window.count * HV,))(
        rows_of(q, H * K, (CHUNK, K)), rows_of(k, H * K, (CHUNK, K)), rows_of(v, HV * V, square),
        rows_of(do, HV * V, square), x.gates, rows_of(x.T, CHUNK, square) if x.erase else None,
        rows_of(x.Aqk, CHUNK, square), state, dstate, rows_of(e, HV * V, square) if x.erase else None,
        dv, rows_of(dv, HV * V, square), rows_of(h, K, (64, K)), rows_of(dh, K, (64, K)), dh_kept, limits,
        x.cu_seqlens, x.chunks.offsets, segments.offsets, segments.owner, x.scale, x.cu_seqlens.shape[0] - 1, H, HV,
        segments.size // CHUNK, window.first, window.step, int(window.dense), *strides[0], *strides[1],
        K=K, V=V, DECAY=x.decay, ERASE=x.erase, STATE=state is not None, DSTATE=dstate is not None,
        WRITE=written is not None, STAGES=STAGES, num_warps=4, launch_pdl=True,
    )  # fmt: skip
