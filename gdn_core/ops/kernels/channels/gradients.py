"""The gradients with gates by channel, from the memory before each chunk and the gradient of that after it.

A decay from token j to token i is a factor of the row of i, a query or an erase key, and of the key of j. So the
gradient of the log decays summed up to a token is row times gradient of the row, less key times gradient of the key.
That of a token's log decay is the sum over this token and all later ones of the chunk.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gdn_core.ops.kernels.arithmetic import dot, least_log
from gdn_core.ops.kernels.blocks import Blocks
from gdn_core.ops.kernels.channels.prepare import CHUNK, Prepared, load_sums
from gdn_core.ops.kernels.channels.scan import load_whole
from gdn_core.ops.kernels.channels.scans import Scanned
from gdn_core.ops.kernels.channels.widths import Widths, load_gate
from gdn_core.ops.kernels.chip import most_registers, sliced
from gdn_core.ops.kernels.launches import launcher

BLOCK = 32  # key channels that a program handles, or value channels that it holds at a time


@triton.jit(do_not_specialize=["HV"])
def channel_value_gradients_kernel(
    do, v, beta, w, u, r, dv, dw, products, spans, HV,
    V: tl.constexpr, BV: tl.constexpr, C: tl.constexpr, ERASE: tl.constexpr, WRITE: tl.constexpr, TIED: tl.constexpr,
    SLICED: tl.constexpr,
):  # fmt: skip
    """Compute dv and dw of one chunk of one value head, and the gradients of its products with keys.

    Those of queries and keys come first in ``products``, and those of erase keys and keys second. Where beta is the
    write gate, too, its gradient as such is the last row.
    """
    DTYPE: tl.constexpr = u.dtype.element_ty
    i_c = (tl.program_id(0) // HV).to(tl.int64)
    i_hv = tl.program_id(0) % HV
    start = tl.load(spans + 2 * i_c)
    stop = tl.load(spans + 2 * i_c + 1)
    if start >= stop:
        return
    o_c = tl.arange(0, C)
    o_t = start + o_c
    m_t = o_t < stop
    i_chunk = i_c * HV + i_hv
    o_token = o_t * HV + i_hv
    b_beta = tl.zeros((C,), DTYPE)
    if TIED:
        b_beta = tl.load(beta + o_token, mask=m_t, other=0.0).to(DTYPE)
    elif WRITE == 1:
        b_beta = tl.load(w + o_token, mask=m_t, other=0.0).to(DTYPE)
    b_sum = tl.zeros((C,), DTYPE)
    b_qk = tl.zeros((C, C), DTYPE)
    b_ek = tl.zeros((C, C), DTYPE)
    for i_v in range(0, V, BV):
        o_v = i_v + tl.arange(0, BV)
        m_v = o_v < V
        m_tv = m_t[:, None] & m_v[None, :]
        p_tv = o_token[:, None] * V + o_v[None, :]
        p_cv = (i_chunk * C + o_c[:, None]) * V + o_v[None, :]
        b_do = tl.load(do + p_tv, mask=m_tv, other=0.0).to(DTYPE)
        b_u = tl.trans(tl.load(u + p_cv, mask=m_v[None, :], other=0.0))
        b_r = tl.load(r + p_cv, mask=m_v[None, :], other=0.0)
        b_qk = dot(b_do, b_u, b_qk, SLICED=SLICED)
        if ERASE > 0:
            b_ek = dot(b_r, b_u, b_ek, SLICED=SLICED)
        b_dv = b_r
        if TIED or WRITE > 0:
            b_dw = b_r * tl.load(v + p_tv, mask=m_tv, other=0.0).to(DTYPE)
            if WRITE > 1:
                b_dv *= tl.load(w + p_tv, mask=m_tv, other=0.0).to(DTYPE)
                tl.store(dw + p_tv, b_dw.to(dw.dtype.element_ty), mask=m_tv)
            else:
                b_dv *= b_beta[:, None]
                b_sum += tl.sum(b_dw, 1)
        tl.store(dv + p_tv, b_dv.to(dv.dtype.element_ty), mask=m_tv)
    p_products = products + i_chunk * ((2 * C + 1) * C)
    if TIED:
        tl.store(p_products + 2 * C * C + o_c, b_sum)
    elif WRITE == 1:
        tl.store(dw + o_token, b_sum.to(dw.dtype.element_ty), mask=m_t)
    o_cc = o_c[:, None] * C + o_c[None, :]
    tl.store(p_products + o_cc, tl.where(o_c[:, None] >= o_c[None, :], b_qk, 0.0))
    if ERASE > 0:
        tl.store(p_products + C * C + o_cc, tl.where(o_c[:, None] > o_c[None, :], -b_ek, 0.0))


@triton.jit(do_not_specialize=["H", "HV"])
def channel_gradients_kernel(
    do, q, k, g, beta, G, u, r, h, dh, limits, products, dq, dk, dg, dbeta, spans, owner, scale, H, HV,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, C: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, TIED: tl.constexpr, PROGRAMS: tl.constexpr, SLICED: tl.constexpr,
):  # fmt: skip
    """Compute the gradients of BK channels of one chunk and key head: of its queries and keys, and of their gates.

    Blocks of the chunk are halved as in ``channel_prepare_kernel``: a product of two tokens is decayed to the middle of
    a block on one side and from it on the other, and so is its gradient.
    """
    DTYPE: tl.constexpr = u.dtype.element_ty
    NK: tl.constexpr = (K + BK - 1) // BK
    i_k = tl.program_id(0) % NK
    i_c = (tl.program_id(0) // NK // H).to(tl.int64)
    i_h = tl.program_id(0) // NK % H
    start = tl.load(spans + 2 * i_c)
    stop = tl.load(spans + 2 * i_c + 1)
    if start >= stop:
        return
    i_n = tl.load(owner + i_c).to(tl.int64)
    GROUP = HV // H
    o_c = tl.arange(0, C)
    o_k = i_k * BK + tl.arange(0, BK)
    o_t = start + o_c
    m_t = o_t < stop
    m_k = o_k < K
    m_tk = m_t[:, None] & m_k[None, :]
    i_tk = (start * H + i_h) * K
    o_tk = o_c[:, None] * (H * K) + o_k[None, :]
    # What the last token writes to the end does not decay. It would cancel in dg, but not to the last bit.
    m_last = (o_t == stop - 1)[:, None]
    b_k = tl.load(k + i_tk + o_tk, mask=m_tk, other=0.0).to(DTYPE)
    b_q = tl.load(q + i_tk + o_tk, mask=m_tk, other=0.0).to(DTYPE) * scale
    b_q = b_q.to(DTYPE)
    b_dq_all = tl.zeros((C, BK), DTYPE)
    b_dk_all = tl.zeros((C, BK), DTYPE)
    for j in range(GROUP):
        i_hv = i_h * GROUP + j
        i_chunk = i_c * HV + i_hv
        i_token = start * HV + i_hv
        o_token = o_c * HV
        o_gate = o_token[:, None] * K + o_k[None, :]
        b_e = b_k
        if ERASE > 0:
            b_b = load_gate(beta, o_t, i_hv, HV, m_t, o_k, m_k, ERASE).to(DTYPE)
            b_e = b_k * b_b
        b_dq = tl.zeros((C, BK), DTYPE)
        b_de = tl.zeros((C, BK), DTYPE)
        b_dk = tl.zeros((C, BK), DTYPE)
        b_hdh = tl.zeros((BK,), DTYPE)
        for i_v in range(0, V, BV):
            o_v = i_v + tl.arange(0, BV)
            m_v = o_v < V
            o_cv = o_c[:, None] * V + o_v[None, :]
            o_h = o_v[:, None] * K + o_k[None, :]
            m_h = m_v[:, None] & m_k[None, :]
            b_h = tl.load(h + i_chunk * (V * K) + o_h, mask=m_h, other=0.0).to(DTYPE)
            b_dh = tl.load(dh + i_chunk * (V * K) + o_h, mask=m_h, other=0.0).to(DTYPE)
            m_tv = m_t[:, None] & m_v[None, :]
            b_do = tl.load(do + i_token * V + o_token[:, None] * V + o_v[None, :], mask=m_tv, other=0.0).to(DTYPE)
            b_u = tl.load(u + i_chunk * (C * V) + o_cv, mask=m_v[None, :], other=0.0)
            b_dq = dot(b_do, b_h, b_dq, SLICED=SLICED)  # read
            b_dk = dot(b_u, b_dh, b_dk, SLICED=SLICED)  # write
            if ERASE > 0:
                b_r = tl.load(r + i_chunk * (C * V) + o_cv, mask=m_v[None, :], other=0.0)
                b_de = dot(-b_r, b_h, b_de, SLICED=SLICED)  # error
            if DECAY > 0:
                b_hdh += tl.sum(b_h * b_dh, 0)
        b_all = tl.zeros((BK,), DTYPE)
        if DECAY > 0:
            b_G = load_sums(G, i_chunk, o_c, o_k, m_k, DECAY, C)
            b_whole = load_whole(G, i_chunk, o_k, m_k, DECAY, C)
            b_dq *= tl.exp(b_G)
            b_de *= tl.exp(b_G)
            b_dk *= tl.exp(b_whole[None, :] - b_G)
            b_all += tl.sum(tl.where(m_last, 0.0, b_k * b_dk), 0) + tl.exp(b_whole) * b_hdh
        p_products = products + i_chunk * ((2 * C + 1) * C)
        o_cc = o_c[:, None] * C + o_c[None, :]
        half = 1
        while half < C:
            middle = o_c // (2 * half) * (2 * half) + half - 1
            second = o_c // half % 2 == 1
            m_pair = (o_c[:, None] // (2 * half) == o_c[None, :] // (2 * half)) & second[:, None] & ~second[None, :]
            b_D = tl.full((C, BK), 1.0, DTYPE)
            if DECAY > 0:
                b_D *= tl.exp(-tl.abs(b_G - load_sums(G, i_chunk, middle, o_k, m_k, DECAY, C)))
            b_first = tl.where(second[:, None], 0.0, b_k * b_D)
            b_d = tl.where(m_pair, tl.load(p_products + o_cc), 0.0)
            b_dq += dot(b_d, b_first, SLICED=SLICED) * b_D
            b_back = dot(tl.trans(b_d), tl.where(second[:, None], b_q * b_D, 0.0), SLICED=SLICED)
            if ERASE > 0:
                b_d = tl.where(m_pair, tl.load(p_products + C * C + o_cc), 0.0)
                b_de += dot(b_d, b_first, SLICED=SLICED) * b_D
                b_back = dot(tl.trans(b_d), tl.where(second[:, None], b_e * b_D, 0.0), b_back, SLICED=SLICED)
            b_dk += b_back * b_D
            half *= 2
        limit = tl.load(limits + (i_n * HV + i_hv) * PROGRAMS)
        for i in tl.static_range(1, PROGRAMS):
            limit = tl.minimum(limit, tl.load(limits + (i_n * HV + i_hv) * PROGRAMS + i))
        m_lost = o_t >= limit
        if DECAY > 0:
            b_dG = b_q * b_dq - tl.where(m_last, 0.0, b_k * b_dk)
            if ERASE > 0:
                b_dG += b_e * b_de
            b_g = load_gate(g, o_t, i_hv, HV, m_t, o_k, m_k, DECAY).to(DTYPE)
            m_reset = b_g <= least_log(DTYPE)  # what is before such a token is nothing after it
            if DECAY == 1:
                b_dg = tl.cumsum(tl.sum(b_dG, 1), 0, reverse=True)
                # The sum over all channels, as row sums: Triton 3.7 fails on plain sums in a place like this.
                b_dg += tl.sum(tl.broadcast_to(b_all[None, :], (C, BK)), 1)
                b_dg = tl.where(m_lost, float("nan"), tl.where(tl.sum(m_reset.to(tl.int32), 1) > 0, 0.0, b_dg))
                tl.store(dg + i_token * NK + o_token * NK + i_k, b_dg, mask=m_t)
            else:
                b_dg = tl.cumsum(b_dG, 0, reverse=True) + b_all[None, :]
                b_dg = tl.where(m_lost[:, None], float("nan"), tl.where(m_reset, 0.0, b_dg))
                tl.store(dg + i_token * K + o_gate, b_dg.to(dg.dtype.element_ty), mask=m_tk)
        b_same = tl.load(p_products + o_c * (C + 1))[:, None]  # which does not decay
        b_dq += b_same * b_k
        b_dk += b_same * b_q
        if ERASE > 0:
            b_dk += b_de * b_b
            b_db = tl.where(m_lost[:, None], float("nan"), b_de * b_k)
            if ERASE == 1:
                b_part = tl.sum(b_db, 1)
                if TIED:  # noqa: SIM102  # the one is known to the compiler, the other is not
                    if i_k == 0:
                        b_part += tl.load(p_products + 2 * C * C + o_c)
                tl.store(dbeta + i_token * NK + o_token * NK + i_k, b_part, mask=m_t)
            else:
                tl.store(dbeta + i_token * K + o_gate, b_db.to(dbeta.dtype.element_ty), mask=m_tk)
        b_dq_all += tl.where(m_lost[:, None], float("nan"), b_dq)
        b_dk_all += tl.where(m_lost[:, None], float("nan"), b_dk)
    tl.store(dq + i_tk + o_tk, (b_dq_all * scale).to(dq.dtype.element_ty), mask=m_tk)
    tl.store(dk + i_tk + o_tk, b_dk_all.to(dk.dtype.element_ty), mask=m_tk)


def key_block(K: int, dtype: torch.dtype) -> int:
    """Return the number of key channels that a program handles: 32 at least, as in the kernels for scalar decays."""
    return min(max(32, triton.next_power_of_2(K)), 32 if dtype is torch.float32 else 64)


def value_gradients(
    do: Tensor,
    v: Tensor,
    beta: Tensor | None,
    w: Tensor | None,
    scanned: Scanned,
    *,
    chunks: Blocks,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Compute the gradients of values and of their gate, and those of the products of each chunk.

    Args:
        do: gradient of the outputs, [..., HV, V], contiguous.
        v: values, likewise.
        beta: erase gate, [..., HV] or [..., HV, K], contiguous; None where nothing is erased.
        w: write gate, [..., HV] or [..., HV, V], contiguous; None for beta, or to write everything.
        scanned: from ``scans``.
        chunks: the sequences cut into chunks.

    Returns:
        dv; dw or None; and the gradients of the products, and of beta as the write gate, [chunk, HV, 2 C + 1, C].
    """
    HV, V = v.shape[-2:]
    widths = Widths.of(None, beta, w)
    dv, dw = torch.empty_like(v), None if w is None else torch.empty_like(w)
    products = torch.empty(chunks.count, HV, 2 * CHUNK + 1, CHUNK, dtype=scanned.u.dtype, device=v.device)
    launcher(channel_value_gradients_kernel, (chunks.count * HV,))(
        do, v, beta, w, scanned.u, scanned.r, dv, dw, products, chunks.spans, HV,
        V=V, BV=min(BLOCK, max(16, triton.next_power_of_2(V))), C=CHUNK, ERASE=widths.ERASE, WRITE=widths.WRITE,
        TIED=widths.TIED, SLICED=sliced(v), num_warps=8, num_stages=1, maxnreg=most_registers(8),
    )  # fmt: skip
    return dv, dw, products


def channel_gradients(
    do: Tensor,
    q: Tensor,
    k: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    prepared: Prepared,
    scanned: Scanned,
    products: Tensor,
    scale: float,
    *,
    tied: bool,
    chunks: Blocks,
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Compute the gradients of queries, keys, log decays and erase gates.

    Args:
        do: gradient of the outputs, [..., HV, V], contiguous.
        q: queries, [..., H, K], contiguous.
        k: keys, likewise.
        g: log decay, [..., HV] or [..., HV, K], contiguous; None for no decay.
        beta: erase gate, likewise; None where nothing is erased.
        prepared: from ``prepare``.
        scanned: from ``scans``.
        products: from ``value_gradients``.
        scale: factor on the queries.
        tied: whether beta is the write gate, too.
        chunks: the sequences cut into chunks.

    Returns:
        dq, dk, dg and dbeta. The gradient of a scalar gate has one term for each block of key channels, to be summed:
        [..., HV, block] in the dtype of ``Prepared``.
    """
    H, K = k.shape[-2:]
    HV, V = do.shape[-2:]
    widths, BK = Widths.of(g, beta, None), key_block(K, k.dtype)
    blocks = triton.cdiv(K, BK)

    def room(gate: Tensor | None, width: int) -> Tensor | None:
        if gate is None or width > 1:
            return None if gate is None else torch.empty_like(gate)
        return torch.empty(*gate.shape, blocks, dtype=products.dtype, device=gate.device)

    dq, dk, dg, dbeta = torch.empty_like(q), torch.empty_like(k), room(g, widths.DECAY), room(beta, widths.ERASE)
    launcher(channel_gradients_kernel, (blocks * chunks.count * H,))(
        do, q, k, g, beta, prepared.G, scanned.u, scanned.r, scanned.h, scanned.dh, scanned.limits, products,
        dq, dk, dg, dbeta, chunks.spans, chunks.owner, scale, H, HV,
        K=K, V=V, BK=BK, BV=min(BLOCK, max(16, triton.next_power_of_2(V))), C=CHUNK, DECAY=widths.DECAY,
        ERASE=widths.ERASE, TIED=tied, PROGRAMS=scanned.limits.shape[-1],
        SLICED=sliced(k), num_warps=8, num_stages=1, maxnreg=most_registers(8),
    )  # fmt: skip
    return dq, dk, dg, dbeta
