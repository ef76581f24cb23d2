"""What a chunk needs before any memory is known: decays, the inverse of the unit triangle, and the reads within it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from gdn_core.kernels.chunk_blocks import Blocks

CHUNK = 64  # tokens a chunk
# Refinements of the inverse. Its products are in float16 for narrow inputs: 3 bits more than bfloat16, and range
# enough, as beta |k|^2 <= 2 in a memory that does not explode. Where keys are all alike float16 alone leaves 4 times
# the rounding of the result; one refinement takes that far below it.
REFINE = {torch.bfloat16: 1, torch.float16: 1, torch.float32: 0}


@triton.jit
def merge_four(b_X, b_B, o_r, o_c, SIZE: tl.constexpr, DTYPE: tl.constexpr, PREC: tl.constexpr):
    """Merge the inverses of four diagonal blocks of SIZE into one: X (I + M)(I + M^2) with M = L X."""
    b_L = tl.where((o_r // (4 * SIZE) == o_c // (4 * SIZE)) & (o_r // SIZE != o_c // SIZE), b_B, 0.0)
    b_Xd = b_X.to(DTYPE)
    b_M = tl.dot(b_L.to(DTYPE), b_Xd, input_precision=PREC).to(DTYPE)
    b_X = tl.dot(b_Xd, b_M, b_X, input_precision=PREC)
    b_MM = tl.dot(b_M, b_M, input_precision=PREC).to(DTYPE)
    return tl.dot(b_X.to(DTYPE), b_MM, b_X, input_precision=PREC)


@triton.jit
def unit_lower_inverse(b_B, o_r, o_c, DTYPE: tl.constexpr, PREC: tl.constexpr, REFINE: tl.constexpr):
    """Return (I - B)^-1 for a strictly lower triangular B [64, 64], float32, from products in DTYPE.

    Blocks of 4 are inverted by (I + L)(I + L^2), which is exact as L^4 = 0; four blocks of a size are merged into one
    by X (I + M)(I + M^2) with M = L X, which is exact as M^4 = 0. Powers stay small, so nothing cancels as it would
    in (I + B)(I + B^2)(I + B^4)... A refinement X + X (I - (I - B) X) squares the error that narrow products leave.
    """
    b_L = tl.where(o_r // 4 == o_c // 4, b_B, 0.0)
    b_Ld = b_L.to(DTYPE)
    b_LL = tl.dot(b_Ld, b_Ld, input_precision=PREC).to(DTYPE)
    b_X = tl.where(o_r == o_c, 1.0, b_L)
    b_X = tl.dot(b_X.to(DTYPE), b_LL, b_X, input_precision=PREC)
    b_X = merge_four(b_X, b_B, o_r, o_c, 4, DTYPE, PREC)
    b_X = merge_four(b_X, b_B, o_r, o_c, 16, DTYPE, PREC)
    for _ in tl.static_range(REFINE):
        b_Xd = b_X.to(DTYPE)
        b_M = tl.where(o_r == o_c, -1.0, b_B)
        b_high = b_M.to(DTYPE)
        b_low = (b_M - b_high.to(tl.float32)).to(DTYPE)
        b_R = tl.where(o_r == o_c, 1.0, 0.0)
        b_R = tl.dot(b_high, b_Xd, b_R, input_precision=PREC)
        b_R = tl.dot(b_low, b_Xd, b_R, input_precision=PREC)
        b_X = tl.dot(b_Xd, b_R.to(DTYPE), b_Xd.to(tl.float32), input_precision=PREC)
    return b_X


@triton.jit(do_not_specialize=["H", "HV"])
def chunk_prepare_kernel(
    q, k, g, beta, gates, solve, reads, spans, scale, H, HV,
    K: tl.constexpr, BK: tl.constexpr, C: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, PREC: tl.constexpr, REFINE: tl.constexpr,
):  # fmt: skip
    """Prepare one chunk of one value head."""
    i_c = (tl.program_id(0) // HV).to(tl.int64)
    i_hv = tl.program_id(0) % HV  # value heads are neighbours: they read the same keys
    i_h = i_hv // (HV // H)
    start = tl.load(spans + 2 * i_c)
    stop = tl.load(spans + 2 * i_c + 1)
    if start >= stop:  # an empty sequence has a chunk that nobody reads
        return
    o_c = tl.arange(0, C)
    o_k = tl.arange(0, BK)
    o_t = start + o_c
    m_t = o_t < stop
    o_cc = (i_c * HV + i_hv) * (C * C) + o_c[:, None] * C + o_c[None, :]
    p_gates = gates + (i_c * HV + i_hv) * (4 * C) + o_c
    DTYPE: tl.constexpr = k.dtype.element_ty
    NARROW: tl.constexpr = tl.float32 if tl.float32 == DTYPE else tl.float16
    o_qk = (o_t[:, None] * H + i_h) * K + o_k[None, :]
    b_k = tl.load(k + o_qk, mask=m_t[:, None] & (o_k < K)[None, :], other=0.0)
    b_q = tl.load(q + o_qk, mask=m_t[:, None] & (o_k < K)[None, :], other=0.0)
    b_qk = tl.dot(b_q, tl.trans(b_k), input_precision=PREC)
    for i_k in range(BK, K, BK):  # the channels that one block does not hold
        m_qk = m_t[:, None] & (i_k + o_k < K)[None, :]
        b_kmore = tl.load(k + o_qk + i_k, mask=m_qk, other=0.0)
        b_qmore = tl.load(q + o_qk + i_k, mask=m_qk, other=0.0)
        b_qk = tl.dot(b_qmore, tl.trans(b_kmore), b_qk, input_precision=PREC)
    m_lower = o_c[:, None] >= o_c[None, :]

    if DECAY:
        b_g = tl.load(g + o_t * HV + i_hv, mask=m_t, other=0.0).to(tl.float32)
        # exp(-100) is already zero beside 1 in float32, and a cumulated infinity has no differences.
        b_g = tl.where(b_g < -100.0, -100.0, b_g)
        b_G = tl.cumsum(b_g, 0)
        tl.store(p_gates, b_G)
        tl.store(p_gates + C, tl.exp(b_G))
        tl.store(p_gates + 2 * C, tl.exp(tl.sum(tl.where(o_c == C - 1, b_G, 0.0), 0) - b_G))
        b_decay = tl.exp(tl.where(m_lower, b_G[:, None] - b_G[None, :], float("-inf")))
    else:
        b_decay = tl.where(m_lower, 1.0, 0.0)
    tl.store(reads + o_cc, (b_qk * b_decay * scale).to(reads.dtype.element_ty))
    if ERASE:
        b_beta = tl.load(beta + o_t * HV + i_hv, mask=m_t, other=0.0).to(tl.float32)
        tl.store(p_gates + 3 * C, b_beta)
        b_kk = tl.dot(b_k, tl.trans(b_k), input_precision=PREC)
        for i_k in range(BK, K, BK):
            b_kmore = tl.load(k + o_qk + i_k, mask=m_t[:, None] & (i_k + o_k < K)[None, :], other=0.0)
            b_kk = tl.dot(b_kmore, tl.trans(b_kmore), b_kk, input_precision=PREC)
        b_B = tl.where(o_c[:, None] > o_c[None, :], -b_kk * b_decay * b_beta[None, :], 0.0)
        b_T = unit_lower_inverse(b_B, o_c[:, None], o_c[None, :], NARROW, PREC, REFINE)
        tl.store(solve + o_cc, b_T.to(solve.dtype.element_ty))


@dataclass(frozen=True)
class Prepared:
    """What each chunk needs before any memory is known.

    Args:
        gates: [chunk, HV, 4, 64] float32: the log decay cumulated from the chunk's start, G; the decay since the
            start, exp(G); the decay until the end, exp(G_63 - G); and beta.
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
    gates = torch.empty(chunks.count, HV, 4, CHUNK, dtype=torch.float32, device=q.device)
    reads = torch.empty(chunks.count, HV, CHUNK, CHUNK, dtype=q.dtype, device=q.device)
    solve = torch.empty_like(reads) if beta is not None else reads
    decay, erase = g is not None, beta is not None
    BK = min(max(16, triton.next_power_of_2(K)), 64 if q.dtype is torch.float32 else 128)
    chunk_prepare_kernel[(chunks.count * HV,)](
        q, k, g, beta, gates, solve, reads, chunks.spans, scale, H, HV, K=K, BK=BK, C=CHUNK,
        DECAY=decay, ERASE=erase, PREC=precision(q.dtype),
        REFINE=REFINE[q.dtype], num_warps=4, num_stages=1,
        **({} if q.dtype is torch.float32 else {"maxnreg": 168}),  # so that three programs fit a multiprocessor
    )  # fmt: skip
    return Prepared(gates, solve, reads, cu_seqlens, chunks, scale, decay, erase)
