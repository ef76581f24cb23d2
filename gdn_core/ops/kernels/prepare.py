"""Prepare chunks: decays, the UT transform T, and the products Aqk. None of them depends on the memory."""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from gdn_core.ops.kernels.arithmetic import dot, least_log, operand_dtype, sum_dtype
from gdn_core.ops.kernels.blocks import Blocks
from gdn_core.ops.kernels.chip import chip_of, fits_hopper, most_registers, of_capability, sliced
from gdn_core.ops.kernels.launches import device_of, launcher
from gdn_core.ops.kernels.stages import CHUNK, Prepared, stored_dtypes


@triton.jit
def below(x, SIZE: tl.constexpr):
    """Return the block under the diagonal of matrices x [P, 2 * SIZE, 2 * SIZE]."""
    P: tl.constexpr = x.shape[0]
    o_n = tl.arange(0, 2)
    b_x = tl.reshape(x, (P, 2, SIZE, 2, SIZE))
    b_x = tl.sum(tl.where(o_n[None, None, None, :, None] == 0, b_x, 0.0), 3)
    return tl.sum(tl.where(o_n[None, :, None, None] == 1, b_x, 0.0), 1)


@triton.jit
def diagonal(x, N: tl.constexpr, SIZE: tl.constexpr):
    """Return the diagonal blocks [P * N, SIZE, SIZE] of matrices x [P, N * SIZE, N * SIZE]."""
    P: tl.constexpr = x.shape[0]
    o_n = tl.arange(0, N)
    b_x = tl.reshape(x, (P, N, SIZE, N, SIZE))
    b_x = tl.where(o_n[None, :, None, None, None] == o_n[None, None, None, :, None], b_x, 0.0)
    return tl.reshape(tl.sum(b_x, 3), (P * N, SIZE, SIZE))


@triton.jit
def merge(b_X, b_N, SIZE: tl.constexpr, DTYPE: tl.constexpr):
    """Merge the inverses of pairs of diagonal blocks of SIZE into one, on whole matrices [16, 16]."""
    o_r = tl.arange(0, 16)[None, :, None]
    o_c = tl.arange(0, 16)[None, None, :]
    b_L = tl.where((o_r // (2 * SIZE) == o_c // (2 * SIZE)) & (o_r // SIZE != o_c // SIZE), b_N, 0.0)
    b_Xd = b_X.to(DTYPE)
    b_LX = tl.dot(b_L.to(DTYPE), b_Xd)
    return tl.dot(b_Xd, b_LX.to(DTYPE), b_X)


@triton.jit
def invert_blocks(b_N, DTYPE: tl.constexpr):
    """Return (I - N)^-1 of strictly lower triangular N [4, 16, 16], in float32 from products in DTYPE.

    A refinement X + X (I - (I - N) X) squares the error that narrow products leave.
    """
    o_r = tl.arange(0, 16)[None, :, None]
    o_c = tl.arange(0, 16)[None, None, :]
    b_X = tl.where(o_r // 2 == o_c // 2, b_N, 0.0) + tl.where(o_r == o_c, 1.0, 0.0)
    b_X = merge(b_X, b_N, 2, DTYPE)
    b_X = merge(b_X, b_N, 4, DTYPE)
    b_X = merge(b_X, b_N, 8, DTYPE)
    b_Xd = b_X.to(DTYPE)
    b_X = b_Xd.to(tl.float32)
    b_high = b_N.to(DTYPE)
    b_low = (b_N - b_high.to(tl.float32)).to(DTYPE)
    b_R = tl.where(o_r == o_c, 1.0, 0.0) - b_X
    b_R = tl.dot(b_high, b_Xd, b_R)
    b_R = tl.dot(b_low, b_Xd, b_R)
    return tl.dot(b_Xd, b_R.to(DTYPE), b_X)


@triton.jit
def unit_lower_inverse(b_N, DTYPE: tl.constexpr):
    """Return (I - N)^-1 for a strictly lower triangular N [64, 64], in blocks of 32: first, second, below the first.

    The inverse of two diagonal blocks with a block N below the first is [[X, 0], [Y N X, Y]], X and Y their inverses.
    This is applied from blocks of 2, whose inverse is I + N, up to 64. No power of N is formed, since it can be large
    while the inverse is small. Up to blocks of 16 the products are in DTYPE, and refined. Above that, errors would add
    up over many tokens, so float32 operands are split into halves and multiplied in three products.
    """
    PREC: tl.constexpr = "bf16x3"
    b_N = tl.reshape(b_N, (1, 64, 64))
    b_32 = diagonal(b_N, 2, 32)
    b_X = invert_blocks(diagonal(b_32, 2, 16), DTYPE)
    b_X = tl.reshape(b_X, (2, 2, 16, 16))
    o_i = tl.arange(0, 2)[None, :, None, None]
    b_first = tl.sum(tl.where(o_i == 0, b_X, 0.0), 1)
    b_second = tl.sum(tl.where(o_i == 1, b_X, 0.0), 1)
    b_below = tl.dot(below(b_32, 16), b_first, input_precision=PREC)
    b_below = tl.dot(b_second, b_below, input_precision=PREC)
    o_i = tl.arange(0, 2)[None, :, None, None, None]
    o_j = tl.arange(0, 2)[None, None, None, :, None]
    b_Y = tl.where(o_j == 0, b_below[:, None, :, None, :], b_second[:, None, :, None, :])
    b_Y = tl.where(o_i == 1, b_Y, tl.where(o_j == 0, b_first[:, None, :, None, :], 0.0))
    b_Y = tl.reshape(b_Y, (2, 32, 32))
    o_i = tl.arange(0, 2)[:, None, None]
    b_first = tl.sum(tl.where(o_i == 0, b_Y, 0.0), 0)
    b_second = tl.sum(tl.where(o_i == 1, b_Y, 0.0), 0)
    b_below = tl.reshape(below(b_N, 32), (32, 32))
    b_below = tl.dot(b_second, tl.dot(b_below, b_first, input_precision=PREC), input_precision=PREC)
    return b_first, b_second, b_below


@triton.jit
def wide_inverse(b_N, C: tl.constexpr, SLICED: tl.constexpr):
    """Return (I - N)^-1 for a strictly lower triangular N [C, C] of float64, merged as above from blocks of 1.

    Each merge multiplies whole matrices, most of whose entries are zero: then one loop does all merges, and compiles
    fast.
    """
    o_r = tl.arange(0, C)[:, None]
    o_c = tl.arange(0, C)[None, :]
    b_X = tl.where(o_r == o_c, 1.0, 0.0).to(b_N.dtype)
    size = 1
    while size < C:
        b_L = tl.where((o_r // (2 * size) == o_c // (2 * size)) & (o_r // size != o_c // size), b_N, 0.0)
        b_X = dot(b_X, dot(b_L, b_X, SLICED=SLICED), b_X, SLICED=SLICED)
        size *= 2
    return b_X


@triton.jit(do_not_specialize=["H", "HV"])
def chunk_prepare_kernel(
    q, k, g, beta, gates, T, Aqk, spans, scale, H, HV,
    K: tl.constexpr, BK: tl.constexpr, C: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, SLICED: tl.constexpr,
):  # fmt: skip
    """Prepare one chunk of one value head, as ``Prepared`` describes it."""
    OPERAND: tl.constexpr = operand_dtype(k.dtype.element_ty)
    SUM: tl.constexpr = sum_dtype(k.dtype.element_ty)
    i_c = (tl.program_id(0) // HV).to(tl.int64)
    i_hv = tl.program_id(0) % HV  # value heads of a key head run side by side, since they read the same keys
    i_h = i_hv // (HV // H)
    start = tl.load(spans + 2 * i_c)
    stop = tl.load(spans + 2 * i_c + 1)
    if start >= stop:  # the one chunk of an empty sequence, which is never read
        return
    o_c = tl.arange(0, C)
    o_t = start + o_c
    m_t = o_t < stop
    i_cc = (i_c * HV + i_hv) * (C * C)
    p_gates = gates + (i_c * HV + i_hv) * (4 * C) + o_c
    if DECAY:
        b_g = tl.load(g + o_t * HV + i_hv, mask=m_t, other=0.0).to(tl.float64)
        b_g = tl.where(b_g < least_log(SUM), least_log(SUM), b_g)
        # One strong decay makes the sums large, and the differences that matter are small.
        b_G64 = tl.cumsum(b_g, 0)
        b_G = b_G64.to(SUM)
        b_rest = (tl.sum(tl.where(o_c == C - 1, b_G64, 0.0), 0) - b_G64).to(SUM)
        tl.store(p_gates, b_G)
        tl.store(p_gates + C, tl.exp(b_G))
        tl.store(p_gates + 2 * C, tl.exp(b_rest))
    o_k = tl.arange(0, BK)
    o_qk = (o_t[:, None] * H + i_h) * K + o_k[None, :]
    b_k = tl.load(k + o_qk, mask=m_t[:, None] & (o_k < K)[None, :], other=0.0).to(OPERAND)
    b_q = tl.load(q + o_qk, mask=m_t[:, None] & (o_k < K)[None, :], other=0.0).to(OPERAND)
    b_qk = dot(b_q, tl.trans(b_k), SLICED=SLICED)
    for i_k in range(BK, K, BK):  # the channels beyond the first block
        m_qk = m_t[:, None] & (i_k + o_k < K)[None, :]
        b_kmore = tl.load(k + o_qk + i_k, mask=m_qk, other=0.0).to(OPERAND)
        b_qmore = tl.load(q + o_qk + i_k, mask=m_qk, other=0.0).to(OPERAND)
        b_qk = dot(b_qmore, tl.trans(b_kmore), b_qk, SLICED=SLICED)
    m_lower = o_c[:, None] >= o_c[None, :]
    if DECAY:
        b_D = b_G[:, None] - b_G[None, :]
        b_Gamma = tl.exp(tl.where(m_lower, b_D, float("-inf")))
    else:
        b_Gamma = tl.where(m_lower, 1.0, 0.0)
    b_Aqk = tl.where(m_lower, b_qk * b_Gamma * scale, 0.0)  # zero times the NaN of a later key is NaN
    tl.store(Aqk + i_cc + o_c[:, None] * C + o_c[None, :], b_Aqk.to(Aqk.dtype.element_ty))
    if ERASE:
        b_beta = tl.load(beta + o_t * HV + i_hv, mask=m_t, other=0.0).to(SUM)
        tl.store(p_gates + 3 * C, b_beta)
        b_kk = dot(b_k, tl.trans(b_k), SLICED=SLICED)
        for i_k in range(BK, K, BK):
            b_kmore = tl.load(k + o_qk + i_k, mask=m_t[:, None] & (i_k + o_k < K)[None, :], other=0.0).to(OPERAND)
            b_kk = dot(b_kmore, tl.trans(b_kmore), b_kk, SLICED=SLICED)
        b_N = tl.where(o_c[:, None] > o_c[None, :], -b_kk * b_Gamma * b_beta[None, :], 0.0)
        if tl.float64 == OPERAND:
            tl.store(T + i_cc + o_c[:, None] * C + o_c[None, :], wide_inverse(b_N, C, SLICED))
        else:
            b_first, b_second, b_below = unit_lower_inverse(b_N, OPERAND)
            o_half = tl.arange(0, C // 2)
            p_T = T + i_cc + o_half[:, None] * C + o_half[None, :]
            tl.store(p_T, b_first.to(OPERAND))
            tl.store(p_T + C // 2, tl.zeros((C // 2, C // 2), OPERAND))
            tl.store(p_T + C // 2 * C, b_below.to(OPERAND))
            tl.store(p_T + C // 2 * C + C // 2, b_second.to(OPERAND))


class Config(NamedTuple):
    """The tile sizes of the kernel. They affect its speed, and not its result.

    Args:
        BK: most key channels in a block.
        num_warps: warps of a program.
    """

    BK: int
    num_warps: int


# By the least compute capability, for two-byte and for float32 operands. On Blackwell float32 takes 16 warps: with
# fewer, Triton uses its matrix unit for float64, which that does not support.
CONFIGS: dict[int, dict[str, Config]] = {
    80: {"narrow": Config(32, 4), "float32": Config(16, 8)},
    90: {"narrow": Config(128, 4), "float32": Config(16, 8)},
    100: {"narrow": Config(128, 4), "float32": Config(16, 16)},
}


def chunk_prepare(
    q: Tensor,
    k: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    *,
    HV: int,
    scale: float,
    cu_seqlens: Tensor,
    chunks: Blocks,
    with_Aqk: bool = True,
) -> Prepared:
    """Compute the part of each chunk that does not depend on the memory.

    Args:
        q: queries, [..., H, K], contiguous.
        k: keys, [..., H, K], contiguous.
        g: log decay in nats, [..., HV], <= 0, contiguous; None for no decay.
        beta: erase and write gate, [..., HV], contiguous; None where nothing is erased.
        HV: value heads, a multiple of H.
        scale: factor on the queries.
        cu_seqlens: where each sequence starts, [N + 1].
        chunks: the sequences cut into chunks.
        with_Aqk: compute ``Prepared.Aqk``; the portable kernel always does.
    """
    H, K = q.shape[-2:]
    chip, hopper = chip_of(device_of(q)), fits_hopper(K, q, k)
    decay, erase, with_Aqk = g is not None, beta is not None, with_Aqk or not hopper
    of_gates, of_T = stored_dtypes(q.dtype)
    gates = torch.empty(chunks.count, HV, 4, CHUNK, dtype=of_gates, device=q.device)
    Aqk = torch.empty(chunks.count, HV, CHUNK, CHUNK, dtype=q.dtype, device=q.device) if with_Aqk else None
    rows = CHUNK if with_Aqk else 3 * CHUNK // 4
    T = torch.empty(chunks.count, HV, rows, CHUNK, dtype=of_T, device=q.device) if erase else None
    prepared = Prepared(gates, T, Aqk, cu_seqlens, chunks, scale, decay, erase)
    if hopper:
        from gdn_core.ops.kernels.hopper.prepare import launch

        launch(q, k, g, beta, prepared, processors=chip.processors)
        return prepared
    config = of_capability(CONFIGS, chip.capability)["float32" if q.dtype is torch.float32 else "narrow"]
    launcher(chunk_prepare_kernel, (chunks.count * HV,))(
        q, k, g, beta, gates, T, Aqk, chunks.spans, scale, H, HV,
        K=K, BK=min(max(16, triton.next_power_of_2(K)), config.BK), C=CHUNK, DECAY=decay, ERASE=erase, SLICED=sliced(k),
        num_warps=config.num_warps, num_stages=1, maxnreg=most_registers(config.num_warps),
    )  # fmt: skip
    return prepared
