"""Prepare chunks on Hopper, with warpgroup products and tensor maps.

In Gluon the layout of every tensor is chosen by hand. Here the inverses of blocks of 16 of the UT transform stay in the
registers of one warp.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    mma_v2,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.language.extra.cuda import gdc_launch_dependents

from gdn_core.ops.kernels.arithmetic import least_log
from gdn_core.ops.kernels.hopper.arithmetic import exp2, halves, narrow
from gdn_core.ops.kernels.hopper.tiles import HALF_TILES, barrier, clear_rows, lower_rows_of, rows_of
from gdn_core.ops.kernels.launches import launcher
from gdn_core.ops.kernels.stages import CHUNK, Prepared


@gluon.jit
def add(a, b):
    """Add."""
    return a + b


@gluon.jit
def blocks(x, SECOND: gl.constexpr, L_B: gl.constexpr):
    """Return the diagonal blocks [16, 16] of x [64, 64]; with SECOND the blocks left of the second and the fourth."""
    b_left, b_right = gl.split(gl.permute(gl.reshape(x, (4, 16, 2, 32)), (0, 1, 3, 2)))
    b_0, b_1 = gl.split(gl.permute(gl.reshape(b_left, (4, 16, 2, 16)), (0, 1, 3, 2)))
    b_2, b_3 = gl.split(gl.permute(gl.reshape(b_right, (4, 16, 2, 16)), (0, 1, 3, 2)))
    o_b = gl.arange(0, 4, layout=gl.SliceLayout(1, gl.SliceLayout(2, b_0.type.layout)))[:, None, None]
    if SECOND:
        b_x = gl.where(o_b < 2, b_0, b_2)
    else:
        b_x = gl.where(o_b < 2, gl.where(o_b == 0, b_0, b_1), gl.where(o_b == 2, b_2, b_3))
    return gl.convert_layout(b_x, L_B)


@gluon.jit
def turned(x, L_B: gl.constexpr):
    """Transpose four blocks."""
    return gl.convert_layout(gl.permute(x, (0, 2, 1)), L_B)


@gluon.jit
def product(a, b_t, acc, L_B: gl.constexpr):
    """Return acc + a b for four two-byte blocks a and four blocks b, which are given transposed.

    A thread holds the same entries of a result and of the right operand that is its transpose, so no data moves
    between threads.
    """
    L_A: gl.constexpr = gl.DotOperandLayout(0, L_B, 2)
    L_O: gl.constexpr = gl.DotOperandLayout(1, L_B, 2)
    return mma_v2(gl.convert_layout(a, L_A), gl.convert_layout(gl.permute(b_t, (0, 2, 1)), L_O), acc)


@gluon.jit
def merge(b_X, b_Xt, b_D, SIZE: gl.constexpr, L_B: gl.constexpr, DTYPE: gl.constexpr):
    """Merge the inverses of pairs of diagonal blocks of SIZE: X + X L X, and likewise their transposes."""
    o_r = gl.arange(0, 16, layout=gl.SliceLayout(0, gl.SliceLayout(2, L_B)))[None, :, None]
    o_c = gl.arange(0, 16, layout=gl.SliceLayout(0, gl.SliceLayout(1, L_B)))[None, None, :]
    b_L = gl.where((o_r // (2 * SIZE) == o_c // (2 * SIZE)) & (o_r // SIZE != o_c // SIZE), b_D, 0.0)
    b_Xd, b_Xtd = narrow(b_X, DTYPE), narrow(b_Xt, DTYPE)
    b_LXt = narrow(product(b_Xtd, narrow(b_L, DTYPE), gl.zeros_like(b_X), L_B), DTYPE)
    return product(b_Xd, b_LXt, b_X, L_B), product(b_LXt, b_Xd, b_Xt, L_B)


@gluon.jit
def invert_blocks(b_D, b_Dt, L_B: gl.constexpr, DTYPE: gl.constexpr):
    """Return (I - D)^-1 of four strictly lower triangular D [16, 16], in float32 from two-byte products.

    A refinement X + X (I - (I - D) X) squares their error.
    """
    o_r = gl.arange(0, 16, layout=gl.SliceLayout(0, gl.SliceLayout(2, L_B)))[None, :, None]
    o_c = gl.arange(0, 16, layout=gl.SliceLayout(0, gl.SliceLayout(1, L_B)))[None, None, :]
    b_one = gl.where(o_r == o_c, 1.0, 0.0) + gl.zeros_like(b_D)
    b_X = b_one + gl.where(o_r // 2 == o_c // 2, b_D, 0.0)
    b_Xt = b_one + gl.where(o_r // 2 == o_c // 2, b_Dt, 0.0)
    b_X, b_Xt = merge(b_X, b_Xt, b_D, 2, L_B, DTYPE)
    b_X, b_Xt = merge(b_X, b_Xt, b_D, 4, L_B, DTYPE)
    b_X, b_Xt = merge(b_X, b_Xt, b_D, 8, L_B, DTYPE)
    b_high, b_low = halves(b_D, DTYPE)
    b_Xd, b_Xtd = narrow(b_X, DTYPE), narrow(b_Xt, DTYPE)
    b_Rt = product(b_Xtd, b_high, b_one - b_Xtd.to(gl.float32), L_B)
    b_Rt = product(b_Xtd, b_low, b_Rt, L_B)
    return product(b_Xd, narrow(b_Rt, DTYPE), b_Xd.to(gl.float32), L_B)


@gluon.jit
def split_product(a, b, acc, L_C: gl.constexpr, DTYPE: gl.constexpr):
    """Multiply float32 a [64, 32] in registers, split into two halves, by two-byte b [32, 32] in shared memory."""
    L_A: gl.constexpr = gl.DotOperandLayout(0, L_C, 2)
    a_high, a_low = halves(a, DTYPE)
    acc = warpgroup_mma(gl.convert_layout(a_high, L_A), b, acc, use_acc=False, is_async=True)
    acc = warpgroup_mma(gl.convert_layout(a_low, L_A), b, acc, is_async=True)
    return warpgroup_mma_wait(0, deps=[acc])


@gluon.jit
def unit_lower_inverse(b_N, s_x, s_y, s_w, L_64: gl.constexpr, DTYPE: gl.constexpr):
    """Return (I - N)^-1 for the part of N [64, 64] below the diagonal; the rest of N may be anything.

    The inverse of two diagonal blocks with a block N below the first is [[X, 0], [Y N X, Y]], X and Y their inverses.
    It is applied to blocks of 16, then to pairs of them, then to both pairs. Right operands of these products are
    two-byte numbers. Left operands are not, since they multiply the rounding errors of the right ones. Data that other
    warps need goes through s_x [4, 16, 16] and s_y and s_w [64, 32].
    """
    L_B: gl.constexpr = gl.NVMMADistributedLayout([2, 0], [4, 1, 1], [1, 16, 8])
    L_P: gl.constexpr = gl.NVMMADistributedLayout([2, 0], [2, 2, 1], [1, 16, 8])
    L_32: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, 32, 16])
    o_b = gl.arange(0, 4, layout=gl.SliceLayout(1, gl.SliceLayout(2, L_B)))[:, None, None]
    second = o_b % 2 == 1
    o_r = gl.arange(0, 16, layout=gl.SliceLayout(0, gl.SliceLayout(2, L_B)))[None, :, None]
    o_c = gl.arange(0, 16, layout=gl.SliceLayout(0, gl.SliceLayout(1, L_B)))[None, None, :]
    b_D = gl.where(o_r > o_c, blocks(b_N, False, L_B), 0.0)
    b_X = invert_blocks(b_D, turned(b_D, L_B), L_B, DTYPE)
    # of two blocks: the first inverse, as the warp of the second needs it
    x_high, x_low = halves(b_X, DTYPE)
    s_x.store(gl.reshape(gl.permute(gl.reshape(x_high, (2, 2, 16, 16)), (1, 0, 2, 3)), (4, 16, 16)))
    e_high, e_low = halves(gl.where(second, blocks(b_N, True, L_B), 0.0), DTYPE)
    L_PA: gl.constexpr = gl.DotOperandLayout(0, L_P, 2)
    L_PO: gl.constexpr = gl.DotOperandLayout(1, L_P, 2)
    e_high = gl.convert_layout(gl.reshape(e_high, (2, 32, 16)), L_PA)
    e_low = gl.convert_layout(gl.reshape(e_low, (2, 32, 16)), L_PA)
    b_F = s_x.slice(0, 2, dim=0).load(L_PO)
    b_EX = mma_v2(e_high, b_F, gl.zeros((2, 32, 16), gl.float32, layout=L_P))
    b_EX = mma_v2(e_low, b_F, b_EX)
    b_EXt = turned(narrow(gl.convert_layout(gl.reshape(b_EX, (4, 16, 16)), L_B), DTYPE), L_B)
    b_Z = product(x_high, b_EXt, gl.zeros_like(b_X), L_B)
    b_Z = product(x_low, b_EXt, b_Z, L_B)
    b_Y = gl.join(gl.where(second, b_Z, b_X), gl.where(second, b_X, 0.0))
    b_Y = gl.convert_layout(gl.reshape(gl.permute(b_Y, (0, 1, 3, 2)), (64, 32)), L_32)
    # of four: what is below the first two
    s_y.store(narrow(b_Y, DTYPE))
    fence_async_shared()
    b_left, _ = gl.split(gl.permute(gl.reshape(b_N, (64, 2, 32)), (0, 2, 1)))
    b_zero = gl.zeros((64, 32), gl.float32, layout=L_32)
    b_W = split_product(gl.convert_layout(b_left, L_32), s_y.slice(0, 32, dim=0), b_zero, L_32, DTYPE)
    s_w.store(narrow(b_W, DTYPE))
    fence_async_shared()
    b_Z = split_product(b_Y, s_w.slice(32, 32, dim=0), b_zero, L_32, DTYPE)
    upper = (gl.arange(0, 64, layout=gl.SliceLayout(1, L_32)) < 32)[:, None]
    b_T = gl.join(gl.where(upper, b_Y, b_Z), gl.where(upper, 0.0, b_Y))
    return gl.convert_layout(gl.reshape(gl.permute(b_T, (0, 2, 1)), (64, 64)), L_64)


@gluon.jit
def copy_keys(q, k, s_q, s_k, bar, i_t, column, pred, AQK: gl.constexpr):
    """Start the copy of the keys of one chunk and head, and with AQK of the queries."""
    mbarrier.expect(bar, (2 if AQK else 1) * k.block_type.nbytes, pred=pred)
    tma.async_copy_global_to_shared(k, [i_t, column], bar, s_k, pred=pred)
    if AQK:
        tma.async_copy_global_to_shared(q, [i_t, column], bar, s_q, pred=pred)


@gluon.jit(do_not_specialize=["HV", "GROUP", "RATIO", "units"])
def chunk_prepare_hopper_kernel(
    q, k, g, beta, gates, d_T_first, d_T_below, d_T, d_Aqk, spans, scale, HV, GROUP, RATIO, units,
    K: gl.constexpr, C: gl.constexpr, DECAY: gl.constexpr, ERASE: gl.constexpr, AQK: gl.constexpr,
    STAGES: gl.constexpr,
):  # fmt: skip
    """Prepare GROUP value heads of one chunk after the other, as ``Prepared`` describes it; Aqk only with AQK.

    A unit is a chunk and a group of GROUP value heads; RATIO groups share a key head. With two STAGES the keys of the
    next unit are copied during the current one. Every warp tracks its unit, so the position is incremented, which is
    cheaper than a division.
    """
    DTYPE: gl.constexpr = k.dtype
    LEAST: gl.constexpr = least_log(gl.float32)
    L_64: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, C, 16])
    L_1: gl.constexpr = gl.BlockedLayout([2], [32], [4], [0])
    L_T: gl.constexpr = gl.BlockedLayout([1, 8], [4, 8], [4, 1], [1, 0])
    s_q = gl.allocate_shared_memory(DTYPE, [STAGES, C if AQK else 8, K], k.layout)
    s_k = gl.allocate_shared_memory(DTYPE, [STAGES, C, K], k.layout)
    s_Aqk = gl.allocate_shared_memory(DTYPE, [C if AQK else 8, C], k.layout)
    s_T = gl.allocate_shared_memory(DTYPE, [C, C], k.layout)
    s_w = gl.allocate_shared_memory(DTYPE, [C, C // 2], HALF_TILES)
    s_y = gl.allocate_shared_memory(DTYPE, [C, C // 2], HALF_TILES)
    s_x = gl.allocate_shared_memory(DTYPE, [4, 16, 16], gl.SwizzledSharedLayout(1, 1, 1, [2, 1, 0]))
    bars = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    for i in gl.static_range(STAGES):
        mbarrier.init(bars.index(i), count=1)
    o_1 = gl.arange(0, C, layout=L_1)
    o_g = o_1 * HV
    o_r = gl.arange(0, C, layout=gl.SliceLayout(1, L_64))
    o_c = gl.arange(0, C, layout=gl.SliceLayout(0, L_64))
    step = gl.num_programs(0)
    left = units - gl.program_id(0)  # remaining units, other programs' included
    GROUPS = HV // GROUP
    step_chunk = step // GROUPS
    step_group = step - step_chunk * GROUPS
    chunk = gl.program_id(0) // GROUPS
    group = gl.program_id(0) - chunk * GROUPS
    start = gl.load(spans + 2 * chunk).to(gl.int32)
    rows = gl.load(spans + 2 * chunk + 1).to(gl.int32) - start
    copy_keys(q, k, s_q.index(0), s_k.index(0), bars.index(0), start, group // RATIO * K, True, AQK)
    here = start.to(gl.int64) * HV + group * GROUP  # the first token and value head among the gates
    i_block = chunk * HV + group * GROUP
    gdc_launch_dependents()
    n_g = gl.zeros([C], gl.float32, layout=L_1)
    n_beta = gl.zeros([C], gl.float32, layout=L_1)
    if DECAY:
        n_g = gl.load(g + here + o_g, mask=o_1 < rows, other=0.0).to(gl.float32)
    if ERASE:
        n_beta = gl.load(beta + here + o_g, mask=o_1 < rows, other=0.0).to(gl.float32)
    # the unit after this one
    n_chunk, n_start, n_rows, n_column, there, n_block = chunk, start, rows, chunk, here, i_block
    stage = chunk * 0
    phase = chunk * 0
    i_r = chunk * 0
    for _ in range((left + step - 1) // step * GROUP):
        t_q = s_q.index(stage)
        t_k = s_k.index(stage)
        b_g = n_g
        b_beta = n_beta
        more = left > step
        if i_r == 0:
            n_group = group + step_group
            n_chunk = chunk + step_chunk
            if n_group >= GROUPS:
                n_group -= GROUPS
                n_chunk += 1
            if not more:
                n_group, n_chunk = group, chunk
            group = n_group
            n_start = gl.load(spans + 2 * n_chunk).to(gl.int32)
            n_rows = gl.load(spans + 2 * n_chunk + 1).to(gl.int32) - n_start
            n_column = group * K
            if RATIO > 1:
                n_column = group // RATIO * K
            there = n_start.to(gl.int64) * HV + group * GROUP
            n_block = n_chunk * HV + group * GROUP
            if STAGES == 2:
                copy_keys(
                    q, k, s_q.index(1 - stage), s_k.index(1 - stage), bars.index(1 - stage), n_start, n_column, more,
                    AQK,
                )  # fmt: skip
            mbarrier.wait(bars.index(stage), phase)
            if rows < C:
                clear_rows(t_k, rows, L_T)
                if AQK:
                    clear_rows(t_q, rows, L_T)
                fence_async_shared()
        b_zero = gl.zeros((C, C), gl.float32, layout=L_64)
        if AQK:
            b_qk = warpgroup_mma(t_q, t_k.permute((1, 0)), b_zero, use_acc=False, is_async=True)
        if ERASE:
            b_kk = warpgroup_mma(t_k, t_k.permute((1, 0)), b_zero, use_acc=False, is_async=True)
        p_gates = gates + i_block.to(gl.int64) * (4 * C) + o_1
        if DECAY:
            b_g = gl.where(b_g < LEAST, LEAST, b_g)
            b_G = gl.associative_scan(b_g, 0, add)
            b_end = gl.sum(b_g, 0)
            b_G2 = b_G * 1.4426950408889634
            gl.store(p_gates, b_G)
            gl.store(p_gates + C, exp2(b_G2))
            gl.store(p_gates + 2 * C, exp2((b_end - b_G) * 1.4426950408889634))
            b_G2r = gl.convert_layout(b_G2, gl.SliceLayout(1, L_64))
            b_G2c = gl.convert_layout(b_G2, gl.SliceLayout(0, L_64))
            b_Gamma = exp2(b_G2r[:, None] - b_G2c[None, :])
        i_r += 1
        last = i_r == GROUP
        if last:  # the gates of the next value head are those of the next unit
            here, rows = there, n_rows
        else:
            here += 1
        if DECAY:
            n_g = gl.load(g + here + o_g, mask=o_1 < rows, other=0.0).to(gl.float32)
        if ERASE:
            n_beta = gl.load(beta + here + o_g, mask=o_1 < rows, other=0.0).to(gl.float32)
            gl.store(p_gates + 3 * C, b_beta)
        # both products are multiplied by the decays here, so that these leave the registers
        if AQK:
            b_qk = warpgroup_mma_wait(1 if ERASE else 0, deps=[b_qk])
            b_Aqk = b_qk * scale
            if DECAY:
                b_Aqk = b_Aqk * b_Gamma
            b_Aqk = narrow(gl.where(o_c[None, :] <= o_r[:, None], b_Aqk, 0.0), DTYPE)
        if ERASE:
            b_kk = warpgroup_mma_wait(0, deps=[b_kk])
            b_N = b_kk * gl.convert_layout(-b_beta, gl.SliceLayout(0, L_64))[None, :]
            if DECAY:
                b_N = b_N * b_Gamma
        tma.store_wait(0)
        if AQK:
            s_Aqk.store(b_Aqk)
            fence_async_shared()
            tma.async_copy_shared_to_global(d_Aqk, [i_block * C, 0], s_Aqk)
        if ERASE:
            b_T = unit_lower_inverse(b_N, s_x, s_y, s_w, L_64, DTYPE)
            s_T.store(narrow(b_T, DTYPE))
            fence_async_shared()
            if AQK:
                tma.async_copy_shared_to_global(d_T, [i_block * C, 0], s_T)
            else:  # without the zeros above the second half
                t_below = s_T.slice(C // 2, C // 2, dim=0)
                tma.async_copy_shared_to_global(d_T_first, [i_block * (3 * C // 2), 0], s_y.slice(0, C // 2, dim=0))
                tma.async_copy_shared_to_global(d_T_below, [i_block * (3 * C // 4) + C // 4, 0], t_below)
        i_block += 1
        if last:
            if STAGES == 1:
                barrier()  # all warps have read the keys
                copy_keys(q, k, t_q, t_k, bars.index(0), n_start, n_column, more, AQK)
                phase ^= 1
            else:
                phase ^= stage
                stage ^= 1
            chunk, i_block = n_chunk, n_block
            left -= step
            i_r = chunk * 0
    tma.store_wait(0)


class Config(NamedTuple):
    """The launch parameters of the kernel.

    Args:
        resident: programs that share a multiprocessor, and stay on it.
        maxnreg: most registers of a thread, so that ``resident`` programs fit.
        STAGES: units whose keys are in shared memory.
    """

    resident: int
    maxnreg: int
    STAGES: int


# Without Aqk; and with it, which needs more registers and shared memory.
CONFIGS = [Config(4, 128, 2), Config(3, 168, 1)]


def heads_at_once(chunks: int, H: int, HV: int, programs: int) -> int:
    """Choose the number of value heads in a unit: all of a key head, unless programs would be idle then.

    Args:
        chunks: the number of chunks.
        H: key heads.
        HV: value heads, a multiple of H.
        programs: programs that run in parallel.

    Returns:
        HV / H, for which keys are copied once; or 1, if that ends at least a tenth sooner.
    """
    ratio = HV // H
    together, alone = ratio * -(-chunks * H // programs), -(-chunks * HV // programs)
    return 1 if 10 * alone <= 9 * together else ratio


def launch(q: Tensor, k: Tensor, g: Tensor | None, beta: Tensor | None, prepared: Prepared, *, processors: int) -> None:
    """Fill ``prepared`` as ``chunk_prepare`` does, where ``fits_hopper`` holds."""
    H, K = q.shape[-2:]
    x, HV, square, with_Aqk = prepared, prepared.gates.shape[1], (CHUNK, CHUNK), prepared.Aqk is not None
    config = CONFIGS[with_Aqk]
    programs = config.resident * processors
    group = heads_at_once(x.chunks.count, H, HV, programs)
    units = x.chunks.count * HV // group
    parts, whole = ((None, None), rows_of(x.T, CHUNK, square)) if with_Aqk else (lower_rows_of(x.T), None)
    launcher(chunk_prepare_hopper_kernel, (min(units, programs),))(
        rows_of(q, H * K, (CHUNK, K)), rows_of(k, H * K, (CHUNK, K)), g, beta, x.gates, *parts, whole,
        rows_of(x.Aqk, CHUNK, square), x.chunks.spans, x.scale, HV, group, HV // H // group, units,
        K=K, C=CHUNK, DECAY=x.decay, ERASE=x.erase, AQK=with_Aqk, STAGES=config.STAGES,
        num_warps=4, maxnreg=config.maxnreg,
    )  # fmt: skip
