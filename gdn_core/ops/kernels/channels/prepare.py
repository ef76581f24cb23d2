"""Prepare chunks with gates by channel: decayed rows, the UT transform, and products of queries and keys."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

from gdn_core.ops.kernels.arithmetic import dot, finite, least_log
from gdn_core.ops.kernels.blocks import Blocks
from gdn_core.ops.kernels.channels.widths import Widths, computing_dtype, load_gate
from gdn_core.ops.kernels.chip import most_registers, sliced
from gdn_core.ops.kernels.launches import launcher

CHUNK = 32  # tokens in a chunk
BLOCK = 32  # key channels that a program holds at a time


@dataclass(frozen=True)
class Prepared:
    """The part of each chunk that does not depend on the memory, in float32, or float64 for float32 inputs.

    Args:
        G: log decays summed from the start of the chunk, [chunk, HV, C, D], D the width of the decay; None without one.
        erasing: erase keys, decayed from the start of the chunk, [chunk, HV, C, K]; None if nothing is erased.
        reading: queries times the scale, likewise.
        writing: keys, decayed to the end of the chunk.
        T: UT transform, [chunk, HV, C, C]: applied to the gated values less what the memory before the chunk answers to
            the erase keys, it gives the errors. None if nothing is erased.
        Aqk: products of queries, times the scale, and keys under the decays, [chunk, HV, C, C].
    """

    G: Tensor | None
    erasing: Tensor | None
    reading: Tensor
    writing: Tensor
    T: Tensor | None
    Aqk: Tensor


@triton.jit(do_not_specialize=["H", "HV"])
def channel_rows_kernel(
    q, k, g, beta, G, erasing, reading, writing, spans, scale, H, HV,
    K: tl.constexpr, BK: tl.constexpr, C: tl.constexpr, DECAY: tl.constexpr, ERASE: tl.constexpr,
):  # fmt: skip
    """Sum the log decays of a chunk, and decay its queries and keys, for BK channels of one value head."""
    DTYPE: tl.constexpr = computing_dtype(k.dtype.element_ty)
    NK: tl.constexpr = (K + BK - 1) // BK
    i_c = (tl.program_id(0) // NK // HV).to(tl.int64)
    i_hv = tl.program_id(0) // NK % HV
    i_h = i_hv // (HV // H)
    start = tl.load(spans + 2 * i_c)
    stop = tl.load(spans + 2 * i_c + 1)
    if start >= stop:
        return
    o_c = tl.arange(0, C)
    o_k = tl.program_id(0) % NK * BK + tl.arange(0, BK)
    o_t = start + o_c
    m_t = o_t < stop
    m_k = o_k < K
    m_tk = m_t[:, None] & m_k[None, :]
    b_k = tl.load(k + (o_t[:, None] * H + i_h) * K + o_k[None, :], mask=m_tk, other=0.0).to(DTYPE)
    b_q = tl.load(q + (o_t[:, None] * H + i_h) * K + o_k[None, :], mask=m_tk, other=0.0).to(DTYPE) * scale
    b_e = b_k
    if ERASE > 0:
        b_e = b_k * load_gate(beta, o_t, i_hv, HV, m_t, o_k, m_k, ERASE).to(DTYPE)
    i_row = (i_c * HV + i_hv) * C + o_c[:, None]
    if DECAY > 0:
        b_g = load_gate(g, o_t, i_hv, HV, m_t, o_k, m_k, DECAY).to(tl.float64)
        # A sum over a token whose decay is 0 stays below the least log, so the decay over it is 0, too.
        b_g = tl.where(b_g < least_log(DTYPE), least_log(DTYPE), b_g)
        if DECAY == 1:  # Triton 3.6 does not compile a cumulated sum of a column
            b_G = tl.cumsum(tl.sum(b_g, 1), 0)[:, None]
        else:
            b_G = tl.cumsum(b_g, 0)
        b_rest = tl.sum(b_g, 0)[None, :] - b_G
        if DECAY == 1:
            tl.store(G + i_row, b_G.to(DTYPE))
        else:
            tl.store(G + i_row * K + o_k[None, :], b_G.to(DTYPE), mask=m_k[None, :])
        b_gamma = tl.exp(b_G.to(DTYPE))
        b_e *= b_gamma
        b_q = (b_q * b_gamma).to(DTYPE)
        b_k *= tl.exp(b_rest.to(DTYPE))
    p_row = i_row * K + o_k[None, :]
    if ERASE > 0:
        tl.store(erasing + p_row, b_e, mask=m_k[None, :])
    tl.store(reading + p_row, b_q, mask=m_k[None, :])
    tl.store(writing + p_row, b_k, mask=m_k[None, :])


@triton.jit
def load_sums(G, i_chunk, o_c, o_k, m_k, D: tl.constexpr, C: tl.constexpr):
    """Load the summed log decays of rows of a chunk, [rows, 1 or channels]."""
    p_G = G + (i_chunk * C + o_c[:, None]) * D
    if D == 1:
        b_G = tl.load(p_G)
    else:
        b_G = tl.load(p_G + o_k[None, :], mask=m_k[None, :], other=0.0)
    return b_G


@triton.jit
def channel_inverse(b_N, C: tl.constexpr, SLICED: tl.constexpr):
    """Return (I - N)^-1 for a strictly lower triangular N [C, C], merged from blocks of 1.

    The inverse of two diagonal blocks with a block N below the first is [[X, 0], [Y N X, Y]], X and Y their inverses.
    """
    o_r = tl.arange(0, C)[:, None]
    o_c = tl.arange(0, C)[None, :]
    b_X = tl.where(o_r == o_c, 1.0, 0.0).to(b_N.dtype)
    size = 1
    while size < C:
        b_L = tl.where((o_r // (2 * size) == o_c // (2 * size)) & (o_r // size != o_c // size), b_N, 0.0)
        if b_N.dtype == tl.float64:
            b_X = dot(b_X, dot(b_L, b_X, SLICED=SLICED), b_X, SLICED=SLICED)
        else:
            b_LX = tl.dot(b_L, b_X, input_precision="tf32x3")
            b_X = tl.dot(b_X, b_LX, b_X, input_precision="tf32x3")
        size *= 2
    return b_X


@triton.jit(do_not_specialize=["H", "HV"])
def channel_prepare_kernel(
    q, k, beta, G, T, Aqk, spans, scale, H, HV,
    K: tl.constexpr, BK: tl.constexpr, C: tl.constexpr, DECAY: tl.constexpr, ERASE: tl.constexpr, SLICED: tl.constexpr,
):  # fmt: skip
    """Prepare one chunk of one value head, as ``Prepared`` describes it.

    Blocks of the chunk are halved down to single tokens. Tokens i and j are on two sides of the middle m of one block,
    and exp(G_i - G_j) is exp(G_i - G_m) exp(G_m - G_j), neither above 1: for each token exp(-|G - G_m|).
    """
    DTYPE: tl.constexpr = computing_dtype(k.dtype.element_ty)
    i_c = (tl.program_id(0) // HV).to(tl.int64)
    i_hv = tl.program_id(0) % HV
    i_h = i_hv // (HV // H)
    start = tl.load(spans + 2 * i_c)
    stop = tl.load(spans + 2 * i_c + 1)
    if start >= stop:
        return
    o_c = tl.arange(0, C)
    o_k = tl.arange(0, BK)
    o_t = start + o_c
    m_t = o_t < stop
    i_chunk = i_c * HV + i_hv
    b_same = tl.zeros((C,), DTYPE)
    b_A = tl.zeros((C, C), DTYPE)
    b_N = tl.zeros((C, C), DTYPE)
    half = 1
    while half < C:
        middle = o_c // (2 * half) * (2 * half) + half - 1
        second = o_c // half % 2 == 1
        b_qk = tl.zeros((C, C), DTYPE)
        b_kk = tl.zeros((C, C), DTYPE)
        for i_k in range(0, K, BK):
            m_k = i_k + o_k < K
            m_tk = m_t[:, None] & m_k[None, :]
            p_tk = (o_t[:, None] * H + i_h) * K + i_k + o_k[None, :]
            b_k = tl.load(k + p_tk, mask=m_tk, other=0.0).to(DTYPE)
            b_q = tl.load(q + p_tk, mask=m_tk, other=0.0).to(DTYPE)
            if half == 1:
                b_same += tl.sum(b_q * b_k, 1)
            b_e = b_k
            if ERASE > 0:
                b_e = b_k * load_gate(beta, o_t, i_hv, HV, m_t, i_k + o_k, m_k, ERASE).to(DTYPE)
            if DECAY > 0:
                b_G = load_sums(G, i_chunk, o_c, i_k + o_k, m_k, DECAY, C)
                b_D = tl.exp(-tl.abs(b_G - load_sums(G, i_chunk, middle, i_k + o_k, m_k, DECAY, C))).to(DTYPE)
                b_k *= b_D
                b_q *= b_D
                b_e *= b_D
            b_k = tl.trans(tl.where(second[:, None], 0.0, b_k))
            b_qk = dot(b_q, b_k, b_qk, SLICED=SLICED)
            if ERASE > 0:
                b_kk = dot(b_e, b_k, b_kk, SLICED=SLICED)
        # Other products are zero times numbers, which may be NaN.
        m_pair = (o_c[:, None] // (2 * half) == o_c[None, :] // (2 * half)) & second[:, None] & ~second[None, :]
        b_A = tl.where(m_pair, b_qk, b_A)
        b_N = tl.where(m_pair, -b_kk, b_N)
        half *= 2
    b_A = tl.where(o_c[:, None] == o_c[None, :], b_same[:, None], b_A) * scale
    o_cc = i_chunk * (C * C) + o_c[:, None] * C + o_c[None, :]
    tl.store(Aqk + o_cc, tl.where(o_c[:, None] >= o_c[None, :], b_A, 0.0))
    if ERASE > 0:
        m_lost = o_c >= tl.min(tl.min(tl.where(finite(b_N), C, o_c[:, None]), 1), 0)  # from the first row that is lost
        b_T = channel_inverse(tl.where(m_lost[:, None], 0.0, b_N), C, SLICED)
        b_T = tl.where(m_lost[:, None], float("nan"), b_T)
        tl.store(T + o_cc, tl.where(o_c[:, None] >= o_c[None, :], b_T, 0.0))


def prepare(
    q: Tensor, k: Tensor, g: Tensor | None, beta: Tensor | None, *, HV: int, scale: float, chunks: Blocks
) -> Prepared:  # fmt: skip
    """Compute the part of each chunk that does not depend on the memory.

    Args:
        q: queries, [..., H, K], contiguous.
        k: keys, [..., H, K], contiguous.
        g: log decay in nats, [..., HV] or [..., HV, K], <= 0, contiguous; None for no decay.
        beta: erase gate, [..., HV] or [..., HV, K], contiguous; None where nothing is erased.
        HV: value heads, a multiple of H.
        scale: factor on the queries.
        chunks: the sequences cut into chunks.
    """
    H, K = q.shape[-2:]
    dtype = torch.float64 if q.dtype is torch.float32 else torch.float32
    widths = Widths.of(g, beta, None)

    def room(*shape: int) -> Tensor:
        return torch.empty(chunks.count, HV, CHUNK, *shape, dtype=dtype, device=q.device)

    G = None if g is None else room(widths.DECAY)
    erasing, T = (None, None) if beta is None else (room(K), room(CHUNK))
    reading, writing, Aqk = room(K), room(K), room(CHUNK)
    BK = min(BLOCK, max(16, triton.next_power_of_2(K)))
    launcher(channel_rows_kernel, (triton.cdiv(K, BK) * chunks.count * HV,))(
        q, k, g, beta, G, erasing, reading, writing, chunks.spans, scale, H, HV,
        K=K, BK=BK, C=CHUNK, DECAY=widths.DECAY, ERASE=widths.ERASE, num_warps=4,
    )  # fmt: skip
    num_warps = 8 if dtype is torch.float64 else 4
    launcher(channel_prepare_kernel, (chunks.count * HV,))(
        q, k, beta, G, T, Aqk, chunks.spans, scale, H, HV,
        K=K, BK=BK, C=CHUNK, DECAY=widths.DECAY, ERASE=widths.ERASE,
        SLICED=sliced(k), num_warps=num_warps, num_stages=1, maxnreg=most_registers(num_warps),
    )  # fmt: skip
    return Prepared(G, erasing, reading, writing, T, Aqk)
