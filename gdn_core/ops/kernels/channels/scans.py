"""The scans of the backward pass with gates by channel: the gradient of the memory, and the memory, recomputed.

Values that are not finite change no gradient of an earlier token, as in the kernels for scalar decays: in the forward
scan the errors of a row of the memory are 0 from its first token on that is not finite, since those of later tokens
cancel in every earlier gradient. ``Scanned.limits`` says from which token on gradients are to be NaN instead.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from gdn_core.ops.kernels.arithmetic import dot
from gdn_core.ops.kernels.blocks import Blocks
from gdn_core.ops.kernels.channels.prepare import CHUNK, Prepared
from gdn_core.ops.kernels.channels.scan import decayed, load_errors, up_to_lost
from gdn_core.ops.kernels.channels.widths import Widths, memories, strides
from gdn_core.ops.kernels.chip import chip_of, most_registers, sliced
from gdn_core.ops.kernels.launches import device_of, launcher

NO_LIMIT = tl.constexpr(2**62)


class Scanned(NamedTuple):
    """The results of the scans that the gradients need; C tokens a chunk.

    Args:
        u: the errors, or the gated values where nothing is erased, [chunk, HV, C, V] in the dtype of ``Prepared``.
        r: their gradients, before the UT transform, likewise.
        h: memory before each chunk, [chunk, HV, V, K]; bfloat16 for bfloat16 inputs, else float32.
        dh: gradient of the memory after each chunk, likewise.
        limits: the first token that is not finite in the rows of a program, or ``NO_LIMIT``, int64 [N, HV, program].
        dstart: gradient of the memory before each sequence, float32; None where there is none.
    """

    u: Tensor
    r: Tensor
    h: Tensor
    dh: Tensor
    limits: Tensor
    dstart: Tensor | None


@triton.jit(do_not_specialize=[
    "HV", "state_n", "state_h", "state_k", "state_v", "dstate_n", "dstate_h", "dstate_k", "dstate_v",
    "dstart_n", "dstart_h", "dstart_k", "dstart_v",
])  # fmt: skip
def channel_scans_kernel(
    do, v, beta, w, G, erasing, reading, writing, T, Aqk, state, dstate, u, r, h, dh, limits, dstart,
    cu_seqlens, chunk_offsets, HV,
    state_n, state_h, state_k, state_v, dstate_n, dstate_h, dstate_k, dstate_v,
    dstart_n, dstart_h, dstart_k, dstart_v,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, C: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, WRITE: tl.constexpr, TIED: tl.constexpr,
    STATE: tl.constexpr, DSTATE: tl.constexpr, SLICED: tl.constexpr,
):  # fmt: skip
    """Scan one sequence for BV rows of one head's memory [V, K]: half of the programs backwards, half forwards.

    The two scans are independent, and each alone leaves processors idle where heads are few.
    """
    DTYPE: tl.constexpr = Aqk.dtype.element_ty
    NV: tl.constexpr = (V + BV - 1) // BV
    i_v = tl.program_id(0) % NV
    backwards = tl.program_id(0) // NV % 2 == 0
    i_hv = tl.program_id(0) // (2 * NV) % HV
    i_n = (tl.program_id(0) // (2 * NV) // HV).to(tl.int64)
    start = tl.load(cu_seqlens + i_n).to(tl.int64)
    stop = tl.load(cu_seqlens + i_n + 1).to(tl.int64)
    i_c = tl.load(chunk_offsets + i_n).to(tl.int64)
    o_c = tl.arange(0, C)
    o_k = tl.arange(0, BK)
    o_v = i_v * BV + tl.arange(0, BV)
    m_v = o_v < V
    m_k = o_k < K
    m_S = m_v[:, None] & m_k[None, :]
    count = tl.cdiv(stop - start, C).to(tl.int32)
    b_S = tl.zeros((BV, BK), DTYPE)
    if backwards:
        if DSTATE:
            p_S = dstate + i_n * dstate_n + i_hv * dstate_h + o_v[:, None] * dstate_v + o_k[None, :] * dstate_k
            b_S = tl.load(p_S, mask=m_S, other=0.0).to(DTYPE)
        for j in range(count):
            i = count - 1 - j
            i_chunk = (i_c + i) * HV + i_hv
            o_t = start + i * C + o_c
            o_cc = i_chunk * (C * C) + o_c[:, None] * C + o_c[None, :]
            p_ck = (i_chunk * C + o_c[:, None]) * K + o_k[None, :]
            p_h = i_chunk * (V * K) + o_v[:, None] * K + o_k[None, :]
            tl.store(dh + p_h, b_S.to(dh.dtype.element_ty), mask=m_S)
            p_do = do + (o_t[None, :] * HV + i_hv) * V + o_v[:, None]
            b_do = tl.load(p_do, mask=m_v[:, None] & (o_t < stop)[None, :], other=0.0).to(DTYPE)
            b_k = tl.load(writing + p_ck, mask=m_k[None, :], other=0.0)
            b_r = dot(b_S, tl.trans(b_k), SLICED=SLICED)  # write
            b_r = dot(b_do, tl.load(Aqk + o_cc), b_r, SLICED=SLICED)  # read, of what the chunk wrote
            if ERASE > 0:
                b_r = dot(b_r, tl.load(T + o_cc), SLICED=SLICED)
            tl.store(r + (i_chunk * C + o_c[None, :]) * V + o_v[:, None], b_r, mask=m_v[:, None])
            b_S = decayed(b_S, G, i_chunk, o_k, m_k, C, DECAY)
            b_q = tl.load(reading + p_ck, mask=m_k[None, :], other=0.0)
            b_S = dot(b_do, b_q, b_S, SLICED=SLICED)  # read
            if ERASE > 0:
                b_e = tl.load(erasing + p_ck, mask=m_k[None, :], other=0.0)
                b_S = dot(-b_r, b_e, b_S, SLICED=SLICED)  # error
        if STATE:
            p_S = dstart + i_n * dstart_n + i_hv * dstart_h + o_v[:, None] * dstart_v + o_k[None, :] * dstart_k
            tl.store(p_S, b_S, mask=m_S)
    else:
        if STATE:
            p_S = state + i_n * state_n + i_hv * state_h + o_v[:, None] * state_v + o_k[None, :] * state_k
            b_S = tl.load(p_S, mask=m_S, other=0.0).to(DTYPE)
        limit = tl.full((), NO_LIMIT, tl.int64)
        for i in range(count):
            i_chunk = (i_c + i) * HV + i_hv
            o_t = start + i * C + o_c
            p_h = i_chunk * (V * K) + o_v[:, None] * K + o_k[None, :]
            tl.store(h + p_h, b_S.to(h.dtype.element_ty), mask=m_S)
            b_u = load_errors(
                b_S, v, beta, w, erasing, T, i_chunk, o_t, o_t < stop, o_v, m_v, o_k, m_k, i_hv, HV,
                K, V, C, ERASE, WRITE, TIED, SLICED,
            )  # fmt: skip
            b_u, m_lost = up_to_lost(b_u, o_c)
            limit = tl.minimum(limit, tl.min(tl.min(tl.where(m_lost, o_t[None, :], NO_LIMIT), 1), 0))
            tl.store(u + (i_chunk * C + o_c[None, :]) * V + o_v[:, None], b_u, mask=m_v[:, None])
            b_S = decayed(b_S, G, i_chunk, o_k, m_k, C, DECAY)
            b_k = tl.load(writing + (i_chunk * C + o_c[:, None]) * K + o_k[None, :], mask=m_k[None, :], other=0.0)
            b_S = dot(b_u, b_k, b_S, SLICED=SLICED)  # write
        tl.store(limits + (i_n * HV + i_hv) * NV + i_v, limit)


def scans(
    do: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    w: Tensor | None,
    prepared: Prepared,
    state: Tensor | None,
    dstate: Tensor | None,
    *,
    cu_seqlens: Tensor,
    chunks: Blocks,
    state_v_first: bool,
) -> Scanned:
    """Scan every sequence backwards and forwards.

    Args:
        do: gradient of the outputs, [..., HV, V], contiguous.
        v: values, [..., HV, V], contiguous.
        g: log decay, [..., HV] or [..., HV, K]; None for no decay.
        beta: erase gate, [..., HV] or [..., HV, K], contiguous; None where nothing is erased.
        w: write gate, [..., HV] or [..., HV, V], contiguous; None for beta, or to write everything.
        prepared: from ``prepare``.
        state: memory before each sequence, float32 with any strides; None for zero.
        dstate: gradient of the memory after each sequence, likewise.
        cu_seqlens: where each sequence starts, [N + 1].
        chunks: the sequences cut into chunks.
        state_v_first: states are [N, HV, V, K], not [N, HV, K, V].
    """
    x, K = prepared, prepared.writing.shape[-1]
    HV, V = v.shape[-2:]
    N = cu_seqlens.shape[0] - 1
    capability = chip_of(device_of(v)).capability
    BK = max(32, triton.next_power_of_2(K))  # 32: as in the gradients
    BV = min(max(16, triton.next_power_of_2(V)), 64 if capability == 0 else 32 if BK <= 128 else 16)
    u = torch.empty(chunks.count, HV, CHUNK, V, dtype=x.Aqk.dtype, device=v.device)
    stored = torch.bfloat16 if v.dtype is torch.bfloat16 else torch.float32
    h = torch.empty(chunks.count, HV, V, K, dtype=stored, device=v.device)
    programs = triton.cdiv(V, BV)
    limits = torch.empty(N, HV, programs, dtype=torch.int64, device=v.device)
    dstart = None if state is None else memories(N, HV, K, V, v.device, state_v_first=state_v_first)
    found = Scanned(u, torch.empty_like(u), h, torch.empty_like(h), limits, dstart)
    num_warps = 8 if v.dtype is torch.float32 else 4
    launcher(channel_scans_kernel, (2 * programs * N * HV,))(
        do, v, beta, w, x.G, x.erasing, x.reading, x.writing, x.T, x.Aqk, state, dstate, *found,
        cu_seqlens, chunks.offsets, HV, *(n for each in (state, dstate, dstart) for n in strides(each, state_v_first)),
        K=K, V=V, BK=BK, BV=BV, C=CHUNK, **Widths.of(g, beta, w)._asdict(),
        STATE=state is not None, DSTATE=dstate is not None, SLICED=sliced(v), num_warps=num_warps, num_stages=1,
        maxnreg=most_registers(num_warps),
    )  # fmt: skip
    return found
