"""The recurrence as an operator without gradients, for decoding."""

from __future__ import annotations

import torch

from gdn_core.ops.operators import running
from gdn_core.ops.operators.rows import normalised
from gdn_core.ops.torch import channels, sequences

Tensor = torch.Tensor


@torch.library.custom_op(
    "gdn_core::recurrent",
    mutates_args=(),
    schema="(Tensor q, Tensor k, Tensor v, Tensor? g, Tensor? beta, Tensor? initial_state, Tensor? cu_seqlens, "
    "float scale, bool state_v_first, bool output_final_state, bool normalise, str backend, "
    "Tensor? w) -> (Tensor, Tensor)",
)
def recurrent(
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
    backend: str,
    w: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Run the recurrence on a named backend, without gradients.

    Args:
        q: as in :func:`gdn_core.ops.operators.chunks.chunk`, and so are the others.
        k: keys.
        v: values.
        g: log decay.
        beta: gate.
        initial_state: memories before each sequence.
        cu_seqlens: bounds of packed sequences.
        scale: factor on the queries.
        state_v_first: states are [N, HV, V, K].
        output_final_state: return the memories after each sequence.
        normalise: divide queries and keys by their length first, with 1e-6 inside the root.
        backend: "triton", "interpreter" or "torch".
        w: write gate.

    Returns:
        Outputs, and final memories (an empty tensor without ``output_final_state``).
    """
    running.look(running.named(q, k, v, g, beta, w, initial_state), cu_seqlens, q.shape[1])
    if backend != "torch":
        from gdn_core.ops.kernels import planned

        q, k, v, g, beta, w = running.contiguous(q, k, v, g, beta, w)
        with running.launching(backend, q):
            if channels.by_channel(g, beta, w):
                inputs = (q, k, v, g, beta, w, initial_state, cu_seqlens)
                o, ends = planned.by_channel(
                    "recurrent", inputs, scale, state_v_first, output_final_state, normalise
                )  # fmt: skip
            else:
                o, ends = planned.step(
                    q, k, v, g, beta, initial_state, cu_seqlens, scale, state_v_first, output_final_state, normalise
                )
        return o, q.new_empty(0, dtype=torch.float32) if ends is None else ends
    with running.outside_autocast(v):
        if normalise:
            q, k = normalised(q), normalised(k)
        state = running.kv(initial_state, state_v_first)
        o, S = sequences.steps(q, k, v, g, beta, state, cu_seqlens, scale=scale, w=w)
    S = S.transpose(-1, -2).contiguous() if state_v_first else S
    return o, S if output_final_state else S.new_empty(0)


@recurrent.register_fake
def _(
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
    backend: str,
    w: Tensor | None,
) -> tuple[Tensor, Tensor]:
    return running.room(v, q.shape[-1], cu_seqlens, state_v_first=state_v_first, final=output_final_state)
