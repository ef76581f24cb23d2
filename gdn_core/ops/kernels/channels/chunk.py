"""The chunk form with gates by channel. Forward: prepare, scan. Backward: prepare, both scans, gradients."""

from __future__ import annotations

from torch import Tensor

from gdn_core.ops.kernels.blocks import Blocks, batch, cut, cut_batch
from gdn_core.ops.kernels.channels.gradients import channel_gradients, value_gradients
from gdn_core.ops.kernels.channels.prepare import CHUNK, prepare
from gdn_core.ops.kernels.channels.scan import scan
from gdn_core.ops.kernels.channels.scans import scans
from gdn_core.ops.kernels.gradients import summed
from gdn_core.ops.kernels.launches import device_of
from gdn_core.ops.kernels.padding import clear_padding


def tables(q: Tensor, cu_seqlens: Tensor | None) -> tuple[Tensor, Blocks]:
    """Return ``cu_seqlens``, and the sequences cut into chunks."""
    B, T = q.shape[:2]
    if cu_seqlens is None:
        device = device_of(q)
        return batch(B, T, device), cut_batch(B, T, CHUNK, device)
    return cu_seqlens, cut(cu_seqlens, total=B * T, size=CHUNK, size_2=CHUNK)[0]


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    w: Tensor | None,
    *,
    scale: float,
    initial_state: Tensor | None = None,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    output_final_state: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Run the chunk form; arguments and results as of ``steps.steps``, without a norm."""
    starts, chunks = tables(q, cu_seqlens)
    prepared = prepare(q, k, g, beta, HV=v.shape[2], scale=scale, chunks=chunks)
    o, ends = scan(
        v, g, beta, w, prepared, initial_state, cu_seqlens=starts, chunks=chunks, state_v_first=state_v_first
    )  # fmt: skip
    if cu_seqlens is not None:
        clear_padding(cu_seqlens, o)
    return o, ends if output_final_state else None


def gradients(
    do: Tensor,
    dfinal_state: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    w: Tensor | None,
    *,
    scale: float,
    initial_state: Tensor | None = None,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Launch the backward pass: as ``backward``, but dg and dbeta of scalar gates are still to be ``summed``."""
    starts, chunks = tables(q, cu_seqlens)
    prepared = prepare(q, k, g, beta, HV=v.shape[2], scale=scale, chunks=chunks)
    scanned = scans(
        do, v, g, beta, w, prepared, initial_state, dfinal_state,
        cu_seqlens=starts, chunks=chunks, state_v_first=state_v_first,
    )  # fmt: skip
    dv, dw, products = value_gradients(do, v, beta, w, scanned, chunks=chunks)
    dq, dk, dg, dbeta = channel_gradients(
        do, q, k, g, beta, prepared, scanned, products, scale, tied=w is None and beta is not None, chunks=chunks
    )  # fmt: skip
    if cu_seqlens is not None:
        clear_padding(cu_seqlens, dq, dk, dv, dg, dbeta, dw)
    return dq, dk, dv, dg, dbeta, dw, scanned.dstart


def backward(
    do: Tensor,
    dfinal_state: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    w: Tensor | None,
    *,
    scale: float,
    initial_state: Tensor | None = None,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
    """Run the backward pass of the chunk form; everything between inputs and outputs is recomputed.

    Args:
        do: gradient of the outputs, [B, T, HV, V], contiguous.
        dfinal_state: gradient of the memory after each sequence, float32 in the layout of the states; None for zero.
        q: as in ``forward``, and so are the others.
        k: keys.
        v: values.
        g: log decay.
        beta: erase gate.
        w: write gate.
        scale: factor on the queries.
        initial_state: memory before each sequence.
        state_v_first: states are [N, HV, V, K].
        cu_seqlens: bounds of packed sequences.

    Returns:
        dq, dk, dv, dg, dbeta, dw, each in the dtype of its input, and the gradient of the initial state, float32 in its
        layout; None for an input that was not given.
    """
    dq, dk, dv, dg, dbeta, dw, dstart = gradients(
        do, dfinal_state, q, k, v, g, beta, w, scale=scale, initial_state=initial_state, state_v_first=state_v_first,
        cu_seqlens=cu_seqlens,
    )  # fmt: skip
    return dq, dk, dv, finished(dg, g), finished(dbeta, beta), dw, dstart


def finished(parts: Tensor | None, gate: Tensor | None) -> Tensor | None:
    """Return the gradient of a gate: that of a scalar one is summed over blocks of channels, and converted."""
    if parts is None or gate is None or parts.ndim == gate.ndim:
        return parts
    return summed(parts, gate)
