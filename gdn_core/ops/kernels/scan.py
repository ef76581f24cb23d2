"""Scan chunks: carry the memory from chunk to chunk, with all errors of a chunk computed at once."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from gdn_core.ops.kernels.arithmetic import dot, operand_dtype, sum_dtype
from gdn_core.ops.kernels.blocks import Blocks
from gdn_core.ops.kernels.chip import (
    Chip,
    Tiles,
    chip_of,
    most_registers,
    narrowed,
    of_capability,
    scans_on_hopper,
    sliced,
)
from gdn_core.ops.kernels.launches import device_of, launcher
from gdn_core.ops.kernels.limits import NO_LIMIT, limits_of, no_limits
from gdn_core.ops.kernels.stages import CHUNK, Prepared


@triton.jit(do_not_specialize=["N", "H", "HV", "LENGTH", "stride_n", "stride_h", "stride_k", "stride_v"])
def chunk_scan_kernel(
    q, k, v, gates, T, Aqk, state, o, ends, limits,
    cu_seqlens, chunk_offsets, segment_offsets, segment_owner, scale, N, H, HV, LENGTH,
    stride_n, stride_h, stride_k, stride_v,
    K: tl.constexpr, V: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, C: tl.constexpr,
    DECAY: tl.constexpr, ERASE: tl.constexpr, STATE: tl.constexpr, MAP: tl.constexpr,
    WRITE_O: tl.constexpr, SLICED: tl.constexpr,
):  # fmt: skip
    """Scan the chunks of one segment for BV rows of one head's memory, as in gdn_core.reference.chunk.

    The memory is held as [V, K], so that a row block is the left operand of every product and stays in registers.
    Loads never read another sequence, since 0 times its numbers may be NaN. If ``limits`` limits a segment, it ends
    there, and its last memory is not stored.
    """
    NV: tl.constexpr = (V + BV - 1) // BV
    BLOCKS: tl.constexpr = NV + (BK + BV - 1) // BV if MAP else NV
    i_v = tl.program_id(0) % BLOCKS  # row blocks of one head run side by side, since they read the same keys
    i_s = (tl.program_id(0) // BLOCKS // HV).to(tl.int64)
    i_hv = tl.program_id(0) // BLOCKS % HV
    i_h = i_hv // (HV // H)
    i_n = tl.load(segment_owner + i_s)
    if i_n >= N:
        return
    first = (i_s - tl.load(segment_offsets + i_n)) * LENGTH  # chunk of the sequence
    start = tl.load(cu_seqlens + i_n).to(tl.int64) + first * C
    stop = tl.minimum(start + LENGTH * C, tl.load(cu_seqlens + i_n + 1).to(tl.int64))
    limit = tl.load(limits + i_s * HV + i_hv)
    stop = tl.minimum(stop, limit.to(tl.int64) - 1)
    i_c = tl.load(chunk_offsets + i_n) + first

    OPERAND: tl.constexpr = operand_dtype(k.dtype.element_ty)
    SUM: tl.constexpr = sum_dtype(k.dtype.element_ty)
    o_c = tl.arange(0, C)
    o_k = tl.arange(0, BK)
    o_v = i_v * BV + tl.arange(0, BV)
    m_v = o_v < V
    m_k = o_k < K
    m_S = m_v[:, None] & m_k[None, :]
    if MAP:
        # The memory before the first segment is known, and the map of the last one is not needed.
        if (i_v >= NV) & (first == 0):
            return
        if (i_v < NV) & (i_s == tl.load(segment_offsets + i_n + 1) - 1):
            return
        # The rows past V start from the identity and end as M.
        b_S = tl.where((o_v - NV * BV)[:, None] == o_k[None, :], 1.0, 0.0).to(SUM)
        if STATE:
            p_S = state + i_n * stride_n + i_hv * stride_h + o_v[:, None] * stride_v + o_k[None, :] * stride_k
            b_S += tl.load(p_S, mask=m_S & (first == 0), other=0.0).to(SUM)
    elif STATE:
        p_S = state + i_s * stride_n + i_hv * stride_h + o_v[:, None] * stride_v + o_k[None, :] * stride_k
        b_S = tl.load(p_S, mask=m_S, other=0.0).to(SUM)
    else:
        b_S = tl.zeros((BV, BK), SUM)

    for i in range(tl.cdiv(tl.maximum(stop - start, 0), C).to(tl.int32)):
        i_block = (i_c + i) * HV + i_hv
        o_t = start + i * C + o_c
        m_t = o_t < stop
        o_vo = (o_t[None, :] * HV + i_hv) * V + o_v[:, None]
        m_vo = m_v[:, None] & m_t[None, :]
        o_qk = (o_t[:, None] * H + i_h) * K + o_k[None, :]
        m_qk = m_t[:, None] & m_k[None, :]
        o_cc = i_block * (C * C) + o_c[:, None] * C + o_c[None, :]
        b_k = tl.load(k + o_qk, mask=m_qk, other=0.0).to(OPERAND)
        b_v = tl.load(v + o_vo, mask=m_vo, other=0.0)
        p_gates = gates + i_block * (4 * C) + o_c
        if DECAY:
            b_gamma = tl.load(p_gates + C)
            b_rest = tl.load(p_gates + 2 * C)
            b_gamma_C = tl.load(gates + i_block * (4 * C) + 2 * C - 1)
        b_Sd = b_S.to(OPERAND)

        if ERASE:  # error: v less what the decayed memory answers, for all tokens of the chunk
            b_read = dot(b_Sd, tl.trans(b_k), SLICED=SLICED)
            if DECAY:
                b_read = b_read * b_gamma[None, :]
            b_x = b_v.to(SUM) - b_read
            b_T = tl.load(T + o_cc)
            b_e = dot(b_x.to(OPERAND), tl.trans(b_T), SLICED=SLICED)
            b_beta = tl.load(p_gates + 3 * C)
            b_v_new = b_e * b_beta[None, :]
        else:
            b_v_new = b_v.to(SUM)

        if WRITE_O:
            b_q = tl.load(q + o_qk, mask=m_qk, other=0.0).to(OPERAND)
            b_o = dot(b_Sd, tl.trans(b_q), SLICED=SLICED)
            b_o *= (b_gamma * scale)[None, :] if DECAY else scale

        # decay, then write
        if DECAY:
            b_w = (b_v_new * b_rest[None, :]).to(OPERAND)
            b_S = dot(b_w, b_k, b_S * b_gamma_C, SLICED=SLICED)
        else:
            b_S = dot(b_v_new.to(OPERAND), b_k, b_S, SLICED=SLICED)

        if WRITE_O:  # read
            b_Aqk = tl.load(Aqk + o_cc).to(OPERAND)
            b_o = dot(b_v_new.to(OPERAND), tl.trans(b_Aqk), b_o, SLICED=SLICED)
            tl.store(o + o_vo, b_o.to(o.dtype.element_ty), mask=m_vo)

    ROWS: tl.constexpr = NV * BV + BK if MAP else V
    p_end = ends + (i_s * HV + i_hv) * (ROWS * K) + o_v[:, None] * K + o_k[None, :]
    tl.store(p_end, b_S, mask=(o_v < ROWS)[:, None] & m_k[None, :] & (limit == NO_LIMIT))


# Tiles of the scan by the least compute capability, for two-byte operands and for float32, each for keys of at most 128
# channels and for wider ones. float32 is computed in float64 and does not fit into the registers.
CONFIGS: dict[int, dict[str, list[Tiles]]] = {
    80: {"narrow": [Tiles(32, 4, 2)], "wide": [Tiles(32, 8, 1)], "float32": [Tiles(32, 8, 1)]},
    90: {
        "narrow": [Tiles(64, 4, 3), Tiles(128, 8, 2)],  # 64 rows fill one matrix instruction; 128 share their loads
        "wide": [Tiles(32, 8, 1)],
        "float32": [Tiles(32, 8, 1)],
    },
    100: {"narrow": [Tiles(64, 8, 2)], "wide": [Tiles(32, 8, 1)], "float32": [Tiles(16, 8, 1)]},
}


def scan_tiles(K: int, V: int, dtype: torch.dtype, *, memories: int, chip: Chip) -> Tiles:
    """Choose the tiles of a scan.

    Args:
        K: key channels.
        V: value channels.
        dtype: of queries, keys and values.
        memories: memories that are scanned in parallel: segments times value heads.
        chip: the GPU.
    """
    rows = max(16, triton.next_power_of_2(V))
    if chip.capability == 0:  # an interpreter's programs run one after the other
        return Tiles(BV=min(64, rows), num_warps=4, num_stages=1)
    kind = "float32" if dtype is torch.float32 else "narrow" if K <= 128 else "wide"
    choices = of_capability(CONFIGS, chip.capability)[kind]
    many = rows >= 128 and 4 * memories * triton.cdiv(V, 128) >= 3 * chip.processors
    return narrowed(choices[-1 if many else 0], V)


def _launch(
    q: Tensor, k: Tensor, v: Tensor, prepared: Prepared, state: Tensor | None, segments: Blocks, o: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Scan every segment: with o for the outputs, which are written to it, without it for the affine map.

    Returns:
        The memory or map after each segment, and the limits of the segments.
    """
    maps = o is None
    H, K = k.shape[-2:]
    HV, V = v.shape[-2:]
    x, chip = prepared, chip_of(device_of(k))
    if scans_on_hopper(K, V, q, k, v):
        from gdn_core.ops.kernels.hopper.scan import launch

        return launch(q, k, v, x, state, segments, o=o, processors=chip.processors)
    # Without outputs there are few products, and two small programs on a multiprocessor hide latency better than one.
    tiles = scan_tiles(K, V, k.dtype, memories=0 if maps else segments.count * HV, chip=chip)
    BK, NV = max(16, triton.next_power_of_2(K)), triton.cdiv(V, tiles.BV)
    rows = NV * tiles.BV + BK if maps else V
    ends = torch.empty(segments.count, HV, rows, K, dtype=torch.float32, device=k.device)
    strides = state.stride() if state is not None else (0, 0, 0, 0)
    row_blocks = NV + triton.cdiv(BK, tiles.BV) if maps else NV

    def scan(limits: Tensor) -> None:
        launcher(chunk_scan_kernel, (row_blocks * segments.count * HV,))(
            q, k, v, x.gates, x.T, x.Aqk, state, o, ends, limits,
            x.cu_seqlens, x.chunks.offsets, segments.offsets, segments.owner, x.scale,
            x.cu_seqlens.shape[0] - 1, H, HV, segments.size // CHUNK, *strides,
            K=K, V=V, BK=BK, BV=tiles.BV, C=CHUNK, DECAY=x.decay, ERASE=x.erase, STATE=state is not None, MAP=maps,
            WRITE_O=not maps, SLICED=sliced(k),
            num_warps=tiles.num_warps, num_stages=tiles.num_stages, maxnreg=most_registers(tiles.num_warps),
        )  # fmt: skip

    limits = no_limits(segments.count, HV, device_of(k))
    scan(limits)
    if not maps:
        limits = limits_of(k, v, x, ends, segments=segments)
        scan(limits)
    return ends, limits


def scan_outputs(
    q: Tensor, k: Tensor, v: Tensor, prepared: Prepared, state: Tensor | None, *, segments: Blocks
) -> tuple[Tensor, Tensor, Tensor]:
    """Scan every segment from its own memory, for the outputs.

    Args:
        q: queries, [..., H, K], contiguous.
        k: keys, [..., H, K], contiguous.
        v: values, [..., HV, V], contiguous.
        prepared: from ``chunk_prepare``.
        state: memory before each segment, [segment, HV, K, V] float32 with any strides; None for zero.
        segments: the sequences cut into segments of whole chunks.

    Returns:
        The outputs [..., HV, V]; the memories after each segment, [segment, HV, V, K] float32; and the limits that
        ``limits_of`` describes, which the backward pass needs.
    """
    o = torch.empty_like(v)
    return o, *_launch(q, k, v, prepared, state, segments, o)


def scan_maps(
    q: Tensor, k: Tensor, v: Tensor, prepared: Prepared, state: Tensor | None, *, segments: Blocks
) -> tuple[Tensor, Tensor]:
    """Compute the affine map of every segment: it takes a memory S, [V, K], to S M + B.

    The arguments are those of ``scan_outputs``, except that ``state`` is the memory before each sequence.

    Returns:
        M [segment, HV, K, K] and B [segment, HV, V, K], float32, as views whose last two axes are contiguous. For the
        first segment of a sequence B is the memory after it, and M is not written; for the last, B is not.
    """
    K, V = k.shape[-1], v.shape[-1]
    ends, _ = _launch(q, k, v, prepared, state, segments, None)
    first = ends.shape[2] - max(16, triton.next_power_of_2(K))
    return ends[:, :, first : first + K], ends[:, :, :V]
