"""What a chunk needs before any memory is known: decays, the inverse of the unit triangle, and the reads within it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from gdn_core.kernels.chunk_blocks import Blocks

CHUNK = 64  # tokens a chunk


@triton.jit
def unit_lower_inverse(b_A, p_T, PREC: tl.constexpr):
    """Store (I + A)^-1 for a strictly lower triangular A [64, 64], float32, at p_T, row by row.

    Blocks of 4 are inverted by (I - L)(I + L^2), which is exact as L^4 = 0, and merged: [[X, 0], [-Y L X, Y]].
    """
    o_4 = tl.arange(0, 4)
    o_2 = tl.arange(0, 2)
    o_16 = tl.arange(0, 16)
    o_32 = tl.arange(0, 32)
    b_A4 = tl.reshape(b_A, (4, 16, 4, 16))
    m_diagonal = o_4[:, None, None, None] == o_4[None, None, :, None]
    b_D = tl.sum(tl.where(m_diagonal, b_A4, 0.0), 2)  # [4, 16, 16], the blocks on the diagonal
    o_r = o_16[None, :, None]
    o_c = o_16[None, None, :]

    b_L = tl.where(o_r // 4 == o_c // 4, b_D, 0.0)
    b_X = tl.where(o_r == o_c, 1.0, 0.0) - b_L
    b_X += tl.dot(b_X, tl.dot(b_L, b_L, input_precision=PREC), input_precision=PREC)
    b_L = tl.where((o_r // 8 == o_c // 8) & (o_r // 4 != o_c // 4), b_D, 0.0)
    b_X -= tl.dot(tl.dot(b_X, b_L, input_precision=PREC), b_X, input_precision=PREC)
    b_L = tl.where(o_r // 8 != o_c // 8, b_D, 0.0)
    b_X -= tl.dot(tl.dot(b_X, b_L, input_precision=PREC), b_X, input_precision=PREC)

    # 16 to 32, the two halves side by side
    b_A2 = tl.reshape(b_A, (2, 32, 2, 32))
    m_half = o_2[:, None, None, None] == o_2[None, None, :, None]
    b_L = tl.sum(tl.where(m_half, b_A2, 0.0), 2)  # [2, 32, 32]
    o_r = o_32[None, :, None]
    o_c = o_32[None, None, :]
    b_L = tl.where(o_r // 16 != o_c // 16, b_L, 0.0)
    b_Y = tl.reshape(b_X, (2, 2, 16, 1, 16))
    m_pair = o_2[None, :, None, None, None] == o_2[None, None, None, :, None]
    b_Y = tl.reshape(tl.where(m_pair, b_Y, 0.0), (2, 32, 32))
    b_Y -= tl.dot(tl.dot(b_Y, b_L, input_precision=PREC), b_Y, input_precision=PREC)

    # 32 to 64
    m_corner = (o_2[:, None, None, None] == 1) & (o_2[None, None, :, None] == 0)
    b_L = tl.sum(tl.sum(tl.where(m_corner, b_A2, 0.0), 2), 0)  # [32, 32]
    b_first = tl.sum(tl.where(o_2[:, None, None] == 0, b_Y, 0.0), 0)
    b_second = tl.sum(tl.where(o_2[:, None, None] == 1, b_Y, 0.0), 0)
    b_Z = -tl.dot(tl.dot(b_second, b_L, input_precision=PREC), b_first, input_precision=PREC)

    DTYPE: tl.constexpr = p_T.dtype.element_ty
    tl.store(p_T + o_2[:, None, None] * (32 * 65) + o_r * 64 + o_c, b_Y.to(DTYPE))
    o_corner = o_32[:, None] * 64 + o_32[None, :]
    tl.store(p_T + 32 * 64 + o_corner, b_Z.to(DTYPE))
    tl.store(p_T + 32 + o_corner, tl.zeros((32, 32), DTYPE))


@triton.jit(do_not_specialize=["N", "H", "HV"])
def chunk_prepare_kernel(
    q, k, g, beta, gates, solve, reads, cu_seqlens, chunk_offsets, chunk_owner, scale, N, H, HV,
    K: tl.constexpr, BK: tl.constexpr, C: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, PREC: tl.constexpr,
):  # fmt: skip
    """Prepare one chunk for every value head of one key head."""
    i_c, i_h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    i_n = tl.load(chunk_owner + i_c)
    if i_n >= N:
        return
    start = tl.load(cu_seqlens + i_n).to(tl.int64) + (i_c - tl.load(chunk_offsets + i_n)) * C
    stop = tl.load(cu_seqlens + i_n + 1)
    o_c = tl.arange(0, C)
    o_k = tl.arange(0, BK)
    o_t = start + o_c
    m_t = o_t < stop
    m_k = m_t[:, None] & (o_k < K)[None, :]
    o_qk = (o_t[:, None] * H + i_h) * K + o_k[None, :]
    b_k = tl.load(k + o_qk, mask=m_k, other=0.0)
    b_q = tl.load(q + o_qk, mask=m_k, other=0.0)
    b_qk = tl.dot(b_q, tl.trans(b_k), input_precision=PREC) * scale
    if ERASE:
        b_kk = tl.dot(b_k, tl.trans(b_k), input_precision=PREC)
    m_lower = o_c[:, None] >= o_c[None, :]

    for i_r in range(HV // H):
        i_hv = i_h * (HV // H) + i_r
        p_gates = gates + (i_c * HV + i_hv) * (2 * C)
        if DECAY:
            b_g = tl.load(g + o_t * HV + i_hv, mask=m_t, other=0.0).to(tl.float32)
            # exp(-100) is already zero beside 1 in float32, and a cumulated infinity has no differences.
            b_G = tl.cumsum(tl.where(b_g < -100.0, -100.0, b_g), 0)
            tl.store(p_gates + o_c, b_G)
            b_decay = tl.exp(tl.where(m_lower, b_G[:, None] - b_G[None, :], float("-inf")))
        else:
            b_decay = tl.where(m_lower, 1.0, 0.0)
        o_block = (i_c * HV + i_hv) * (C * C)
        tl.store(reads + o_block + o_c[:, None] * C + o_c[None, :], (b_qk * b_decay).to(reads.dtype.element_ty))
        if ERASE:
            b_beta = tl.load(beta + o_t * HV + i_hv, mask=m_t, other=0.0).to(tl.float32)
            tl.store(p_gates + C + o_c, b_beta)
            b_A = tl.where(o_c[:, None] > o_c[None, :], b_kk * b_decay * b_beta[None, :], 0.0)
            unit_lower_inverse(b_A, solve + o_block, PREC="tf32x3")


@dataclass(frozen=True)
class Prepared:
    """What each chunk needs before any memory is known.

    Args:
        gates: the log decay cumulated from the chunk's start, and beta, [chunk, HV, 2, 64] float32.
        solve: (I + A)^-1 with A_ij = exp(G_i - G_j) (k_i . k_j) beta_j for j < i, [chunk, HV, 64, 64]: it takes the
            values, less what the memory before the chunk answers, to the errors before their gate.
        reads: scale exp(G_i - G_j) (q_i . k_j) for j <= i, [chunk, HV, 64, 64].
        cu_seqlens: where each sequence starts, [N + 1].
        chunks: the sequences cut into chunks of 64.
        scale: factor of the queries.
        decay: whether the memory decays.
        erase: whether the memory is read before it is written.
    """

    gates: Tensor
    solve: Tensor
    reads: Tensor
    cu_seqlens: Tensor
    chunks: Blocks
    scale: float
    decay: bool
    erase: bool


def precision(dtype: torch.dtype) -> str:
    """Name the precision of a dot: three tf32 products for float32, and no matter for narrower operands."""
    return "tf32x3" if dtype is torch.float32 else "tf32"


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
) -> Prepared:
    """Compute what each chunk needs before any memory is known.

    Args:
        q: queries, [..., H, K], contiguous.
        k: keys, [..., H, K], contiguous.
        g: log decay in nats, [..., HV], <= 0, contiguous; None for no decay.
        beta: erase and write gate, [..., HV], contiguous; None where nothing is erased.
        HV: value heads, a multiple of H.
        scale: factor of the queries.
        cu_seqlens: where each sequence starts, [N + 1].
        chunks: the sequences cut into chunks of 64.
    """
    H, K = q.shape[-2:]
    gates = torch.empty(chunks.count, HV, 2, CHUNK, dtype=torch.float32, device=q.device)
    reads = torch.empty(chunks.count, HV, CHUNK, CHUNK, dtype=q.dtype, device=q.device)
    solve = torch.empty_like(reads) if beta is not None else reads
    decay, erase = g is not None, beta is not None
    chunk_prepare_kernel[(chunks.count, H)](
        q, k, g, beta, gates, solve, reads, cu_seqlens, chunks.offsets, chunks.owner, scale,
        cu_seqlens.shape[0] - 1, H, HV, K=K, BK=max(16, triton.next_power_of_2(K)), C=CHUNK,
        DECAY=decay, ERASE=erase, PREC=precision(q.dtype), num_warps=4, num_stages=1,
    )  # fmt: skip
    return Prepared(gates, solve, reads, cu_seqlens, chunks, scale, decay, erase)
