"""The chunk form as an operator: shapes, gradients, and second derivatives."""

from __future__ import annotations

from typing import Any

import torch

from gdn_core.ops import varlen
from gdn_core.ops.operators import running
from gdn_core.ops.torch import channels, differentiable, sequences
from gdn_core.ops.torch import chunk as torch_chunk

Tensor = torch.Tensor


@torch.library.custom_op(
    "gdn_core::chunk",
    mutates_args=(),
    schema="(Tensor q, Tensor k, Tensor v, Tensor? g, Tensor? beta, Tensor? initial_state, Tensor? cu_seqlens, "
    "float scale, bool state_v_first, bool output_final_state, bool keep, str backend, Tensor? w) "
    "-> (Tensor, Tensor, Tensor[])",
)
def chunk(
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
    backend: str,
    w: Tensor | None,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Run the chunk form on a named backend.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V].
        g: log decay in nats, [B, T, HV] or [B, T, HV, K]; None for no decay.
        beta: erase gate, [B, T, HV] or [B, T, HV, K]; None to erase nothing.
        initial_state: memory before each sequence, [N, HV, K, V] float32; None for zero.
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1]; None for a batch.
        scale: factor on the queries.
        state_v_first: states are [N, HV, V, K].
        output_final_state: return the memories after each sequence.
        keep: save what the backward pass needs.
        backend: "triton", "interpreter" or "torch".
        w: write gate, [B, T, HV] or [B, T, HV, V]; None for beta, or to write everything where beta is None.

    Returns:
        Outputs, final memories (an empty tensor without ``output_final_state``), and what is saved.
    """
    running.look(running.named(q, k, v, g, beta, w, initial_state), cu_seqlens, q.shape[1])
    if backend == "torch":
        room = sequences.room(v, k.shape[-1], cu_seqlens, erase=_keeps_errors(g, beta, w)) if keep else None
        state = running.kv(initial_state, state_v_first)
        with running.outside_autocast(v):
            o, S = sequences.forward(q, k, v, g, beta, state, cu_seqlens, scale=scale, w=w, kept=room)
        S = S.transpose(-1, -2).contiguous() if state_v_first else S
        return o, S if output_final_state else S.new_empty(0), list(room or ())
    from gdn_core.ops.kernels import planned

    q, k, v, g, beta, w = running.contiguous(q, k, v, g, beta, w)
    kept: list[Tensor] = []
    with running.launching(backend, q):
        if channels.by_channel(g, beta, w):
            inputs = (q, k, v, g, beta, w, initial_state, cu_seqlens)
            o, ends = planned.by_channel("chunk", inputs, scale, state_v_first, output_final_state)
        else:
            o, ends, kept = planned.forward(
                q, k, v, g, beta, initial_state, cu_seqlens, scale, state_v_first, output_final_state, keep
            )
    empty = q.new_empty(0, dtype=torch.float32) if ends is None else ends
    return o, empty, [x.contiguous() for x in kept]


@chunk.register_fake
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
    keep: bool,
    backend: str,
    w: Tensor | None,
) -> tuple[Tensor, Tensor, list[Tensor]]:
    B, T, _, K = q.shape
    HV, V = v.shape[-2:]
    o, S = running.room(v, K, cu_seqlens, state_v_first=state_v_first, final=output_final_state)
    if not keep:
        return o, S, []
    if backend == "torch":
        return o, S, list(sequences.room(v, K, cu_seqlens, erase=_keeps_errors(g, beta, w)))
    if channels.by_channel(g, beta, w):  # these kernels compute everything again
        return o, S, []
    from gdn_core.ops.kernels.chip import chip_of
    from gdn_core.ops.kernels.chunk import keeps_maps
    from gdn_core.ops.kernels.planned import segment_length
    from gdn_core.ops.kernels.stages import CHUNK

    size = CHUNK * segment_length(v, cu_seqlens)
    segments = (B if cu_seqlens is None else 1) * varlen.most_blocks(T, size, cu_seqlens)
    limits = q.new_empty(segments, HV, dtype=torch.int32)
    if segments <= varlen.count(cu_seqlens, B):
        return o, S, [limits]
    maps = keeps_maps(B, HV, V, packed=cu_seqlens is not None, processors=chip_of(v.device).processors)
    rows = (V, K) if maps else (V,)
    return o, S, [limits, *(q.new_empty(segments, HV, n, K, dtype=torch.float32) for n in rows)]


def _keeps_errors(g: Tensor | None, beta: Tensor | None, w: Tensor | None) -> bool:
    """Tell whether plain PyTorch keeps the errors for the backward pass; the form by channel computes them again."""
    return beta is not None and not channels.by_channel(g, beta, w)


@torch.library.custom_op(
    "gdn_core::chunk_backward",
    mutates_args=(),
    schema="(Tensor do, Tensor? dfinal_state, Tensor q, Tensor k, Tensor v, Tensor? g, Tensor? beta, "
    "Tensor? initial_state, Tensor? cu_seqlens, Tensor[] kept, float scale, bool state_v_first, str backend, "
    "Tensor? w) -> Tensor[]",
)
def chunk_backward(
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
    backend: str,
    w: Tensor | None,
) -> list[Tensor]:
    """Run the backward pass of the chunk form.

    Args:
        do: gradient of the outputs, [B, T, HV, V].
        dfinal_state: gradient of the final memories; None for zero.
        q: as in the forward pass, and so are k, v, g, beta, initial_state and cu_seqlens.
        k: keys.
        v: values.
        g: log decay.
        beta: gate.
        initial_state: memories before each sequence.
        cu_seqlens: bounds of packed sequences.
        kept: from the forward pass.
        scale: factor on the queries.
        state_v_first: states are [N, HV, V, K].
        backend: the backend of the forward pass.
        w: write gate.

    Returns:
        The gradients of q, k, v, g, beta, initial_state and w, without those that are None.
    """
    if backend == "torch":
        dS = running.kv(dfinal_state, state_v_first)
        with running.outside_autocast(v):
            found = sequences.backward(
                do, dS, q, k, v, g, beta, cu_seqlens, scale=scale, w=w, kept=torch_chunk.Kept(*kept)
            )  # fmt: skip
        gradients = [found.q, found.k, found.v, found.g, found.beta]
        if initial_state is not None:
            gradients.append(found.S.transpose(-1, -2).contiguous() if state_v_first else found.S)
        if w is not None and isinstance(found, channels.Gradients):
            gradients.append(found.w)
        return [x for x in gradients if x is not None]
    from gdn_core.ops.kernels import planned

    q, k, v, g, beta, w, do = running.contiguous(q, k, v, g, beta, w, do)
    by_kernels: tuple[Tensor | None, ...]
    with running.launching(backend, q):
        if channels.by_channel(g, beta, w):
            inputs = (q, k, v, g, beta, w, initial_state, cu_seqlens)
            by_kernels = planned.by_channel_backward(do, dfinal_state, inputs, scale, state_v_first)
        else:
            by_kernels = planned.backward(
                do, dfinal_state, q, k, v, g, beta, initial_state, cu_seqlens, kept, scale, state_v_first
            )
    return [x for x in by_kernels if x is not None]


@chunk_backward.register_fake
def _(
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
    backend: str,
    w: Tensor | None,
) -> list[Tensor]:
    return [x.new_empty(x.shape) for x in (q, k, v, g, beta, initial_state, w) if x is not None]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, list[Tensor]]) -> None:
    *tensors, scale, state_v_first, _, keep, backend, w = inputs
    ctx.save_for_backward(*tensors, w, *output[2])
    ctx.scale, ctx.state_v_first, ctx.keep, ctx.backend = scale, state_v_first, keep, backend
    ctx.set_materialize_grads(False)


def _gradients(ctx: Any, do: Tensor | None, dfinal_state: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
    q, k, v, g, beta, initial_state, cu_seqlens, w, *kept = ctx.saved_tensors
    if not ctx.keep:
        raise RuntimeError("gdn_core::chunk ran with keep=False: what its gradients need was not kept")
    if do is None:
        do = torch.zeros_like(v)
    if dfinal_state is not None and dfinal_state.numel() == 0:
        dfinal_state = None
    found = chunk_backward(
        do, dfinal_state, q, k, v, g, beta, initial_state, cu_seqlens, kept, ctx.scale, ctx.state_v_first,
        ctx.backend, w,
    )  # fmt: skip
    rest = iter(found)
    *by_input, dw = (None if x is None else next(rest) for x in (q, k, v, g, beta, initial_state, w))
    return (*by_input, None, None, None, None, None, None, dw)


def _remember_gradients(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    *tensors, kept, scale, state_v_first, _, w = inputs
    ctx.save_for_backward(*tensors, w)
    ctx.kept, ctx.scale, ctx.state_v_first = len(kept), scale, state_v_first


def _alias(x: Tensor) -> Tensor:
    """Return a view of x to differentiate by: do may depend on v."""
    return x.view_as(x) if x.requires_grad else x.detach().requires_grad_()


def _second_gradients(ctx: Any, found: list[Tensor | None]) -> tuple[Any, ...]:
    """Differentiate the gradients, by the chunk form in ordinary PyTorch operations."""
    again = torch.is_grad_enabled()
    with torch.enable_grad(), running.outside_autocast(ctx.saved_tensors[0]):
        *given, cu_seqlens, w = ctx.saved_tensors
        dS, g, beta, state, w = (None if x is None else _alias(x) for x in (given[1], *given[5:], w))
        do, q, k, v = (_alias(x) for x in (given[0], *given[2:5]))
        leaves = [x for x in (q, k, v, g, beta, state, w) if x is not None]
        o, S = differentiable.chunk(
            q, k, v, g, beta, running.kv(state, ctx.state_v_first), cu_seqlens, scale=ctx.scale, w=w
        )  # fmt: skip
        outputs, cotangents = [o], [do]
        if dS is not None:
            outputs.append(S)
            cotangents.append(dS.transpose(-1, -2) if ctx.state_v_first else dS)
        first = torch.autograd.grad(outputs, leaves, cotangents, create_graph=True, materialize_grads=True)
        pairs = [(x, dx) for x, dx in zip(first, found, strict=True) if dx is not None and x.requires_grad]
        inputs = [x for x in (do, dS, *leaves) if x is not None]
        second = iter(
            torch.autograd.grad(
                [x for x, _ in pairs], inputs, [dx for _, dx in pairs], create_graph=again, materialize_grads=True
            )
        )
    *by_input, dw = (None if x is None else next(second) for x in (do, dS, q, k, v, g, beta, state, w))
    return (*by_input, None, [None] * ctx.kept, None, None, None, dw)


chunk.register_autograd(_gradients, setup_context=_remember)
chunk_backward.register_autograd(_second_gradients, setup_context=_remember_gradients)
