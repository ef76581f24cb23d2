"""The chunk form and the recurrence as PyTorch operators: opaque to a compiler, with shapes and gradients registered.

What is passed here went through the door; what only a look at the numbers can tell is looked at here, where a compiled
graph runs too: on the CPU always, elsewhere where ``GDN_CORE_DEBUG=1`` is set, since there a look waits for the device.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from gdn_core.ops import checks, varlen
from gdn_core.ops.torch import chunk as torch_chunk
from gdn_core.ops.torch import recurrent as torch_recurrent

Tensor = torch.Tensor

MOST_STEPS = 16  # of the recurrence in plain PyTorch
DEBUG = "GDN_CORE_DEBUG"  # set to 1: every number of every call is checked, on every device

_one_at_a_time = threading.Lock()  # Triton's interpreter is not thread-safe


@contextmanager
def _launching(backend: str, x: Tensor) -> Iterator[None]:
    """Launch kernels on the device of x, and in the interpreter one at a time."""
    with _one_at_a_time if backend == "interpreter" else nullcontext(), _device(x):
        yield


def _device(x: Tensor) -> Any:
    return torch.cuda.device(x.device) if x.device.type == "cuda" else nullcontext()


def _look(arrays: dict[str, Tensor | None], cu_seqlens: Tensor | None, T: int) -> None:
    """Check numbers: log decays and bounds on the CPU, all of them everywhere under the debug switch."""
    debug = os.environ.get(DEBUG) == "1"
    given = {name: x for name, x in arrays.items() if x is not None}
    if debug:
        for name, x in given.items():
            checks.check_values(name, x)
    g = given.get("g")
    if g is not None and (debug or g.device.type == "cpu") and not bool(g.max() <= 0):  # NaN, too, is looked at
        checks.check_values("g", g.masked_fill(~(g > 0), 0), high=0.0, meaning="log decays in nats")
    if cu_seqlens is not None and (debug or cu_seqlens.device.type == "cpu"):
        checks.check_bounds("cu_seqlens", cu_seqlens.tolist(), T)


def _contiguous(*tensors: Tensor | None) -> list[Any]:
    return [None if x is None else x.contiguous() for x in tensors]


def _segment_length(v: Tensor, cu_seqlens: Tensor | None) -> int:
    """Choose the chunks of a segment: the same for a forward pass, its backward, and the shapes that it announces."""
    from gdn_core.ops.kernels.chip import chip_of
    from gdn_core.ops.kernels.chunk import segment_length

    B, T, HV, V = v.shape
    return segment_length(
        sequences=varlen.count(cu_seqlens, B), total=B * T, heads=HV, V=V, processors=chip_of(v.device).processors
    )


def _kv(state: Tensor | None, state_v_first: bool) -> Tensor | None:
    return state.transpose(-1, -2) if state is not None and state_v_first else state


# --- the chunk form -------------------------------------------------------------------------------------------


@torch.library.custom_op(
    "gdn_core::chunk",
    mutates_args=(),
    schema="(Tensor q, Tensor k, Tensor v, Tensor? g, Tensor? beta, Tensor? initial_state, Tensor? cu_seqlens, "
    "float scale, bool state_v_first, bool output_final_state, bool keep, str backend) -> (Tensor, Tensor, Tensor[])",
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
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Run the chunk form on a named backend.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V].
        g: log decay in nats, [B, T, HV]; None for no decay.
        beta: erase and write gate, [B, T, HV]; None to erase nothing and write everything.
        initial_state: memory before each sequence, [N, HV, K, V] float32; None for zero.
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1]; None for a batch.
        scale: factor of the queries.
        state_v_first: states are [N, HV, V, K].
        output_final_state: return the memories after each sequence.
        keep: keep what the backward pass needs.
        backend: "triton", "interpreter" or "torch".

    Returns:
        Outputs, final memories (without elements where not asked for), and what is kept.
    """
    _look({"q": q, "k": k, "v": v, "g": g, "beta": beta, "initial_state": initial_state}, cu_seqlens, q.shape[1])
    if backend == "torch":
        o, S, buffers = _torch_forward(q, k, v, g, beta, _kv(initial_state, state_v_first), cu_seqlens, scale, keep)
        S = S.transpose(-1, -2).contiguous() if state_v_first else S
        return o, S if output_final_state else S.new_empty(0), list(buffers or ())
    from gdn_core.ops.kernels import chunk as kernels

    q, k, v, g, beta = _contiguous(q, k, v, g, beta)
    with _launching(backend, q):
        o, ends, saved = kernels.forward(
            q, k, v, g, beta, scale=scale, initial_state=initial_state, state_v_first=state_v_first,
            cu_seqlens=cu_seqlens, output_final_state=output_final_state, save_for_backward=keep,
            length=_segment_length(v, cu_seqlens),
        )  # fmt: skip
    kept: list[Tensor] = []
    if saved is not None and saved.h_kept is not None:
        kept = [saved.h_kept, *([saved.maps.contiguous()] if saved.maps is not None else [])]
    return o, q.new_empty(0, dtype=torch.float32) if ends is None else ends, kept


def _torch_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    state: Tensor | None,
    cu_seqlens: Tensor | None,
    scale: float,
    keep: bool,
) -> tuple[Tensor, Tensor, torch_chunk.Kept | None]:
    """Run packed sequences one after the other, so that each gives the same bits as alone."""
    K = k.shape[-1]
    kept = _room(v, K, cu_seqlens, erase=beta is not None) if keep else None
    if cu_seqlens is None:
        o, S = torch_chunk.forward(q, k, v, g, beta, scale=scale, initial_state=state, kept=kept)
        return o, S, kept
    HV, V = v.shape[-2:]
    o = torch.empty(v.shape, dtype=v.dtype, device=v.device)
    S = v.new_zeros(varlen.count(cu_seqlens, 1), HV, K, V, dtype=torch.promote_types(v.dtype, torch.float32))
    if state is not None:
        S += state
    spans = chunks = 0
    for n, tokens in enumerate(varlen.slices(cu_seqlens)):
        if tokens.start == tokens.stop:
            continue
        own = kept and torch_chunk.Kept(kept.starts[spans:], kept.errors[chunks:])
        spans += varlen.most_blocks(tokens.stop - tokens.start, torch_chunk.SPAN, None)
        chunks += varlen.most_blocks(tokens.stop - tokens.start, torch_chunk.CHUNK_SIZE, None)
        o[:, tokens], S[n] = torch_chunk.forward(
            *_at(tokens, q, k, v, g, beta), scale=scale, initial_state=S[n : n + 1], kept=own
        )
    if kept is not None:
        kept.starts[spans:].zero_()
        kept.errors[chunks:].zero_()
    return o, S, kept


def _room(v: Tensor, K: int, cu_seqlens: Tensor | None, *, erase: bool) -> torch_chunk.Kept:
    spans, chunks = (varlen.most_blocks(v.shape[1], n, cu_seqlens) for n in (torch_chunk.SPAN, torch_chunk.CHUNK_SIZE))
    return torch_chunk.room(v, K, spans=spans, chunks=chunks if erase else 0)


def _at(tokens: slice, *tensors: Tensor | None) -> list[Any]:
    """Copy the tokens of one sequence: sums and products of other strides or alignment differ in their last bits."""
    return [None if x is None else x[:, tokens].clone(memory_format=torch.contiguous_format) for x in tensors]


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
) -> tuple[Tensor, Tensor, list[Tensor]]:
    B, T, _, K = q.shape
    HV, V = v.shape[-2:]
    o, S = _like(v, K, varlen.count(cu_seqlens, B), state_v_first, output_final_state)
    if not keep:
        return o, S, []
    if backend == "torch":
        return o, S, list(_room(v, K, cu_seqlens, erase=beta is not None))
    from gdn_core.ops.kernels.chip import chip_of
    from gdn_core.ops.kernels.chunk import keeps_maps
    from gdn_core.ops.kernels.stages import CHUNK

    size = CHUNK * _segment_length(v, cu_seqlens)
    segments = (B if cu_seqlens is None else 1) * varlen.most_blocks(T, size, cu_seqlens)
    if segments <= varlen.count(cu_seqlens, B):
        return o, S, []
    maps = keeps_maps(B, HV, V, packed=cu_seqlens is not None, processors=chip_of(v.device).processors)
    return o, S, [q.new_empty(segments, HV, rows, K, dtype=torch.float32) for rows in ((V, K) if maps else (V,))]


def _like(v: Tensor, K: int, N: int, state_v_first: bool, output_final_state: bool) -> tuple[Tensor, Tensor]:
    """Make room for outputs and final memories."""
    HV, V = v.shape[-2:]
    shape = (N, HV, *((V, K) if state_v_first else (K, V))) if output_final_state else (0,)
    return v.new_empty(v.shape), v.new_empty(shape, dtype=torch.promote_types(v.dtype, torch.float32))


@torch.library.custom_op(
    "gdn_core::chunk_backward",
    mutates_args=(),
    schema="(Tensor do, Tensor? dfinal_state, Tensor q, Tensor k, Tensor v, Tensor? g, Tensor? beta, "
    "Tensor? initial_state, Tensor? cu_seqlens, Tensor[] kept, float scale, bool state_v_first, str backend) "
    "-> Tensor[]",
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
) -> list[Tensor]:
    """Run the chunk form backwards.

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
        scale: factor of the queries.
        state_v_first: states are [N, HV, V, K].
        backend: the one of the forward pass.

    Returns:
        The gradients of those of q, k, v, g, beta and initial_state that there are.
    """
    if backend == "torch":
        gradients = _torch_backward(
            do, _kv(dfinal_state, state_v_first), q, k, v, g, beta, initial_state is not None, cu_seqlens, kept, scale
        )
        if initial_state is not None and state_v_first:
            gradients[-1] = gradients[-1].transpose(-1, -2).contiguous()
        return gradients
    from gdn_core.ops.kernels import chunk as kernels

    q, k, v, g, beta, do = _contiguous(q, k, v, g, beta, do)
    h_kept, maps = (*kept, None, None)[:2]
    saved = kernels.Saved(
        q, k, v, g, beta, initial_state, h_kept, maps, cu_seqlens, scale, state_v_first, _segment_length(v, cu_seqlens)
    )  # fmt: skip
    with _launching(backend, q):
        return [x for x in kernels.backward(saved, do, dfinal_state) if x is not None]


def _torch_backward(
    do: Tensor,
    dS: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    has_state: bool,
    cu_seqlens: Tensor | None,
    kept: list[Tensor],
    scale: float,
) -> list[Tensor]:
    starts, errors = kept
    if cu_seqlens is None:
        all_kept = torch_chunk.Kept(starts, errors)
        *gradients, dstate = torch_chunk.backward(do, dS, q, k, v, g, beta, scale=scale, kept=all_kept)
        return [x for x in (*gradients, dstate if has_state else None) if x is not None]
    given = [x for x in (q, k, v, g, beta) if x is not None]
    out = [torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in given]
    HV, V = v.shape[-2:]
    dstate = v.new_zeros(varlen.count(cu_seqlens, 1), HV, k.shape[-1], V, dtype=starts.dtype)
    if dS is not None:
        dstate += dS
    spans = chunks = 0
    for n, tokens in enumerate(varlen.slices(cu_seqlens)):
        if tokens.start == tokens.stop:
            continue
        own = torch_chunk.Kept(starts[spans:], errors[chunks:])
        spans += varlen.most_blocks(tokens.stop - tokens.start, torch_chunk.SPAN, None)
        chunks += varlen.most_blocks(tokens.stop - tokens.start, torch_chunk.CHUNK_SIZE, None)
        do_n, *given_n = _at(tokens, do, q, k, v, g, beta)
        *gradients, dstate[n] = torch_chunk.backward(do_n, dstate[n : n + 1], *given_n, scale=scale, kept=own)
        for whole, part in zip(out, (x for x in gradients if x is not None), strict=True):
            whole[:, tokens] = part
    return [*out, dstate] if has_state else out


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
) -> list[Tensor]:
    return [x.new_empty(x.shape) for x in (q, k, v, g, beta, initial_state) if x is not None]


def _remember(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, list[Tensor]]) -> None:
    *tensors, scale, state_v_first, _, keep, backend = inputs
    ctx.save_for_backward(*tensors, *output[2])
    ctx.scale, ctx.state_v_first, ctx.keep, ctx.backend = scale, state_v_first, keep, backend
    ctx.set_materialize_grads(False)


def _gradients(ctx: Any, do: Tensor | None, dfinal_state: Tensor | None, _: Any) -> tuple[Tensor | None, ...]:
    q, k, v, g, beta, initial_state, cu_seqlens, *kept = ctx.saved_tensors
    if not ctx.keep:
        raise RuntimeError("gdn_core::chunk ran with keep=False: what its gradients need was not kept")
    if do is None:
        do = torch.zeros_like(v)
    if dfinal_state is not None and dfinal_state.numel() == 0:
        dfinal_state = None
    found = chunk_backward(
        do, dfinal_state, q, k, v, g, beta, initial_state, cu_seqlens, kept, ctx.scale, ctx.state_v_first, ctx.backend
    )
    rest = iter(found)
    by_input = [None if x is None else next(rest) for x in (q, k, v, g, beta, initial_state)]
    return (*by_input, None, None, None, None, None, None)


chunk.register_autograd(_gradients, setup_context=_remember)


# --- queries and keys of unit length --------------------------------------------------------------------------


@torch.library.custom_op("gdn_core::l2norm", mutates_args=(), schema="(Tensor x, str backend) -> Tensor")
def l2norm(x: Tensor, backend: str) -> Tensor:
    """Divide rows by their length, with 1e-6 inside the root, in one kernel.

    Args:
        x: queries or keys, [..., K].
        backend: "triton" or "interpreter".
    """
    from gdn_core.ops.kernels import l2norm as kernels

    with _launching(backend, x):
        return kernels.l2norm(x.contiguous())


@l2norm.register_fake
def _(x: Tensor, backend: str) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.custom_op(
    "gdn_core::l2norm_backward", mutates_args=(), schema="(Tensor x, Tensor dy, str backend) -> Tensor"
)
def l2norm_backward(x: Tensor, dy: Tensor, backend: str) -> Tensor:
    """Return the gradient of x from that of ``l2norm(x)``."""
    from gdn_core.ops.kernels import l2norm as kernels

    with _launching(backend, x):
        return kernels.l2norm_backward(x.contiguous(), dy.contiguous())


@l2norm_backward.register_fake
def _(x: Tensor, dy: Tensor, backend: str) -> Tensor:
    return x.new_empty(x.shape)


def _remember_rows(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, ctx.backend = inputs
    ctx.save_for_backward(x)


def _gradient_of_rows(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
    return l2norm_backward(*ctx.saved_tensors, dy, ctx.backend), None


l2norm.register_autograd(_gradient_of_rows, setup_context=_remember_rows)


# --- the recurrence -------------------------------------------------------------------------------------------


@torch.library.custom_op(
    "gdn_core::recurrent",
    mutates_args=(),
    schema="(Tensor q, Tensor k, Tensor v, Tensor? g, Tensor? beta, Tensor? initial_state, Tensor? cu_seqlens, "
    "float scale, bool state_v_first, bool output_final_state, bool normalise, str backend) -> (Tensor, Tensor)",
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
) -> tuple[Tensor, Tensor]:
    """Run the recurrence on a named backend, without gradients.

    Args:
        q: as in :func:`chunk`, and so are the others.
        k: keys.
        v: values.
        g: log decay.
        beta: gate.
        initial_state: memories before each sequence.
        cu_seqlens: bounds of packed sequences.
        scale: factor of the queries.
        state_v_first: states are [N, HV, V, K].
        output_final_state: return the memories after each sequence.
        normalise: divide queries and keys by their length first, with 1e-6 inside the root.
        backend: "triton", "interpreter" or "torch".

    Returns:
        Outputs, and final memories (without elements where not asked for).
    """
    _look({"q": q, "k": k, "v": v, "g": g, "beta": beta, "initial_state": initial_state}, cu_seqlens, q.shape[1])
    if backend != "torch":
        from gdn_core.ops.kernels import recurrent as kernels

        q, k, v, g, beta = _contiguous(q, k, v, g, beta)
        with _launching(backend, q):
            o, ends = kernels.recurrent(
                q, k, v, g, beta, scale=scale, initial_state=initial_state, state_v_first=state_v_first,
                cu_seqlens=cu_seqlens, output_final_state=output_final_state, normalise=normalise,
            )  # fmt: skip
        return o, q.new_empty(0, dtype=torch.float32) if ends is None else ends
    if normalise:
        q, k = normalised(q), normalised(k)
    state = _kv(initial_state, state_v_first)
    if cu_seqlens is None:
        o, S = _steps(q, k, v, g, beta, scale=scale, initial_state=state)
    else:
        o = torch.empty(v.shape, dtype=v.dtype, device=v.device)
        N = varlen.count(cu_seqlens, 1)
        S = v.new_zeros(N, v.shape[2], k.shape[-1], v.shape[-1], dtype=torch.promote_types(v.dtype, torch.float32))
        if state is not None:
            S += state
        length = varlen.equal_length(cu_seqlens)
        if length:  # decoding: one step for all
            fold: list[Any] = [None if x is None else x.reshape(N, length, *x.shape[2:]) for x in (q, k, v, g, beta)]
            o_of_all, S = _steps(*fold, scale=scale, initial_state=S)
            o = o_of_all.reshape(v.shape)
        else:
            for n, tokens in enumerate(varlen.slices(cu_seqlens)):
                o[:, tokens], S[n] = _steps(
                    *_at(tokens, q, k, v, g, beta), scale=scale, initial_state=S[n : n + 1].clone()
                )
    S = S.transpose(-1, -2).contiguous() if state_v_first else S
    return o, S if output_final_state else S.new_empty(0)


def _steps(q: Tensor, *others: Any, scale: float, initial_state: Tensor | None) -> tuple[Tensor, Tensor]:
    """Run sequences of one length: few tokens one by one, many in chunks, which is the same function and faster."""
    form = torch_recurrent.recurrent if q.shape[1] <= MOST_STEPS else torch_chunk.forward
    return form(q, *others, scale=scale, initial_state=initial_state)


def normalised(x: Tensor) -> Tensor:
    """Divide rows by their length, in float32 at least, with 1e-6 inside the root."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return x * torch.rsqrt((x * x).sum(-1, keepdim=True) + 1e-6)


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
) -> tuple[Tensor, Tensor]:
    return _like(v, q.shape[-1], varlen.count(cu_seqlens, q.shape[0]), state_v_first, output_final_state)
