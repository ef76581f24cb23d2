"""The passes over contiguous inputs, by a plan where one is found; without one they run as they are written.

Outputs are the same bits either way. A planned backward pass may process more at once, and need more memory for it.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from gdn_core.ops import varlen
from gdn_core.ops.kernels import channels, chunk, l2norm, recurrent
from gdn_core.ops.kernels.chip import chip_of
from gdn_core.ops.kernels.gradients import summed
from gdn_core.ops.kernels.launches import device_of
from gdn_core.ops.kernels.plans import Plans

Inputs = tuple[Tensor | None, ...]

_forward, _backward, _recurrent, _by_channel, _by_channel_backward, _l2norm, _l2norm_backward = (
    Plans() for _ in range(7)
)


def segment_length(v: Tensor, cu_seqlens: Tensor | None) -> int:
    """Choose the chunks in a segment; forward pass, backward pass and fake shapes must agree on it."""
    B, T, HV, V = v.shape
    return chunk.segment_length(
        sequences=varlen.count(cu_seqlens, B), total=B * T, heads=HV, V=V, processors=chip_of(device_of(v)).processors
    )


def forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    initial_state: Tensor | None,
    cu_seqlens: Tensor | None,
    scale: float,
    state_v_first: bool,
    output_final_state: bool,
    keep: bool,
) -> tuple[Tensor, Tensor | None, list[Tensor]]:
    """Run the chunk form, as ``chunk.forward`` does.

    Returns:
        Outputs, final memories or None, and what ``backward`` needs if it is to be kept.
    """

    def run(*given: Any) -> Inputs:
        q, k, v, g, beta, state, cu_seqlens, scale = given
        o, ends, saved = chunk.forward(
            q, k, v, g, beta, scale=scale, initial_state=state, state_v_first=state_v_first, cu_seqlens=cu_seqlens,
            output_final_state=output_final_state, save_for_backward=keep, length=segment_length(v, cu_seqlens),
        )  # fmt: skip
        return (o, ends) if saved is None else (o, ends, saved.limits, saved.h_kept, saved.maps)

    inputs = (q, k, v, g, beta, initial_state, cu_seqlens)
    o, ends, *kept = _forward.run((state_v_first, output_final_state, keep), run, inputs, scale) or run(*inputs, scale)
    assert o is not None  # for mypy: there always is one
    return o, ends, [x for x in kept if x is not None]


def backward(
    do: Tensor,
    dfinal_state: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    initial_state: Tensor | None,
    cu_seqlens: Tensor | None,
    kept: list[Tensor],
    scale: float,
    state_v_first: bool,
) -> tuple[Tensor | None, ...]:
    """Run the backward pass of the chunk form, as ``chunk.backward`` does.

    Returns:
        The gradients of q, k, v, g, beta and initial_state, each None where that is None.
    """

    def differentiate(at_once: bool, *given: Any) -> Inputs:
        do, dstate, q, k, v, g, beta, state, cu_seqlens, limits, h_kept, maps, scale = given
        saved = chunk.Saved(
            q, k, v, g, beta, state, h_kept, maps, cu_seqlens, limits, scale, state_v_first,
            segment_length(v, cu_seqlens),
        )  # fmt: skip
        found = chunk.gradients(saved, do, dstate, at_once=at_once)
        return tuple(x.squeeze(-1) if i in (3, 4) and x is not None and x.shape[-1] == 1 else x
                     for i, x in enumerate(found))  # fmt: skip

    limits, h_kept, maps = (*kept, None, None)[:3]
    inputs = (do, dfinal_state, q, k, v, g, beta, initial_state, cu_seqlens, limits, h_kept, maps)
    found = _backward.run(state_v_first, lambda *given: differentiate(True, *given), inputs, scale)
    dq, dk, dv, dg, dbeta, dstate = found or differentiate(False, *inputs, scale)
    return dq, dk, dv, _finished(dg, g), _finished(dbeta, beta), dstate


def _finished(parts: Tensor | None, gate: Tensor | None) -> Tensor | None:
    """Sum a gate's gradient over blocks of key channels, if there are several, and convert it."""
    if parts is None or gate is None or (parts.ndim == gate.ndim and parts.dtype == gate.dtype):
        return parts
    return summed(parts if parts.ndim > gate.ndim else parts[..., None], gate)


def step(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    initial_state: Tensor | None,
    cu_seqlens: Tensor | None,
    scale: float,
    state_v_first: bool,
    output_final_state: bool,
    normalise: bool,
) -> tuple[Tensor, Tensor | None]:
    """Run the recurrence, as ``recurrent.recurrent`` does."""

    def run(*given: Any) -> Inputs:
        q, k, v, g, beta, state, cu_seqlens, scale = given
        return recurrent.recurrent(
            q, k, v, g, beta, scale=scale, initial_state=state, state_v_first=state_v_first, cu_seqlens=cu_seqlens,
            output_final_state=output_final_state, normalise=normalise,
        )  # fmt: skip

    inputs = (q, k, v, g, beta, initial_state, cu_seqlens)
    key = (state_v_first, output_final_state, normalise)
    o, ends = _recurrent.run(key, run, inputs, scale) or run(*inputs, scale)
    assert o is not None  # for mypy: there always is one
    return o, ends


def by_channel(
    form: Literal["chunk", "recurrent"],
    inputs: Inputs,
    scale: float,
    state_v_first: bool,
    output_final_state: bool,
    normalise: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Run the chunk form, as ``channels.chunk.forward`` does, or the recurrence, as ``channels.steps.steps`` does.

    Args:
        form: which of them.
        inputs: q, k, v, g, beta, w, initial memories and ``cu_seqlens``.
        scale: factor on the queries.
        state_v_first: states are [N, HV, V, K].
        output_final_state: return the memories after each sequence.
        normalise: divide queries and keys by their length first; in the recurrence only.
    """

    def run(*given: Any) -> Inputs:
        q, k, v, g, beta, w, state, cu_seqlens, scale = given
        options = {"scale": scale, "initial_state": state, "state_v_first": state_v_first, "cu_seqlens": cu_seqlens,
                   "output_final_state": output_final_state}  # fmt: skip
        if form == "chunk":
            return channels.chunk.forward(q, k, v, g, beta, w, **options)
        return channels.steps.steps(q, k, v, g, beta, w, **options, normalise=normalise)

    key = (form, state_v_first, output_final_state, normalise)
    o, ends = _by_channel.run(key, run, inputs, scale) or run(*inputs, scale)
    assert o is not None  # for mypy: there always is one
    return o, ends


def by_channel_backward(
    do: Tensor, dfinal_state: Tensor | None, inputs: Inputs, scale: float, state_v_first: bool
) -> tuple[Tensor | None, ...]:
    """Run the backward pass of the chunk form with gates by channel, as ``channels.chunk.backward`` does.

    Args:
        do: gradient of the outputs.
        dfinal_state: gradient of the final memories; None for zero.
        inputs: as of ``by_channel``.
        scale: factor on the queries.
        state_v_first: states are [N, HV, V, K].

    Returns:
        The gradients of q, k, v, g, beta, initial_state and w, each None where that is None.
    """

    def run(*given: Any) -> Inputs:
        do, dstate, q, k, v, g, beta, w, state, cu_seqlens, scale = given
        return channels.chunk.gradients(
            do, dstate, q, k, v, g, beta, w, scale=scale, initial_state=state, state_v_first=state_v_first,
            cu_seqlens=cu_seqlens,
        )  # fmt: skip

    given = (do, dfinal_state, *inputs)
    found = _by_channel_backward.run(state_v_first, run, given, scale) or run(*given, scale)
    dq, dk, dv, dg, dbeta, dw, dstate = found
    g, beta = inputs[3:5]
    return dq, dk, dv, channels.chunk.finished(dg, g), channels.chunk.finished(dbeta, beta), dstate, dw


def unit(x: Tensor) -> Tensor:
    """Divide rows by their length, as ``l2norm.l2norm`` does."""
    (y,) = _l2norm.run(None, lambda x, _: (l2norm.l2norm(x),), (x,), 1.0) or (l2norm.l2norm(x),)
    assert y is not None  # for mypy: there always is one
    return y


def unit_backward(x: Tensor, dy: Tensor) -> Tensor:
    """Return the gradient of x from that of ``unit(x)``."""
    found = _l2norm_backward.run(None, lambda x, dy, _: (l2norm.l2norm_backward(x, dy),), (x, dy), 1.0)
    (dx,) = found or (l2norm.l2norm_backward(x, dy),)
    assert dx is not None  # for mypy: there always is one
    return dx
