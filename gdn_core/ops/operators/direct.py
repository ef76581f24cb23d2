"""The same as the operators, called by the shortest way: for eager calls that nothing traces, maps or watches.

PyTorch's machinery around an operator of Python takes longer than a short call's kernels. Its gradients are those of
the operators; a second derivative goes through them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from gdn_core.ops.operators import chunks, rows, running

Tensor = torch.Tensor

PLAIN = {Tensor, torch.nn.Parameter}


def possible(tensors: Sequence[Tensor | None]) -> bool:
    """Tell whether these are ordinary tensors, and nothing but autograd sees what is done with them."""
    if torch.compiler.is_compiling():
        return False
    c = torch._C
    return (
        all(x is None or type(x) in PLAIN for x in tensors)
        and c._len_torch_dispatch_stack() == 0
        and c._len_torch_function_stack() == 0
        and c._get_tracing_state() is None
        and not c._are_functorch_transforms_active()
        and torch.autograd.forward_ad._current_level < 0
    )


class _Chunk(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor | None]:
        *tensors, ctx.scale, ctx.state_v_first, final = inputs
        o, ends, kept = _forward(tensors, ctx.scale, ctx.state_v_first, final, True)
        ctx.save_for_backward(*tensors, *kept)
        ctx.set_materialize_grads(False)
        return o, ends

    @staticmethod
    def backward(ctx: Any, do: Tensor | None, dstate: Tensor | None) -> tuple[Tensor | None, ...]:
        q, k, v, g, beta, state, cu_seqlens, *kept = ctx.saved_tensors
        do = torch.zeros_like(v) if do is None else do
        if torch.is_grad_enabled():  # to be differentiated again
            found = iter(
                chunks.chunk_backward(
                    do, dstate, q, k, v, g, beta, state, cu_seqlens, kept, ctx.scale, ctx.state_v_first, "triton", None
                )
            )
            gradients = tuple(None if x is None else next(found) for x in (q, k, v, g, beta, state))
        else:
            from gdn_core.ops.kernels import planned

            q, k, v, g, beta, do = running.contiguous(q, k, v, g, beta, do)
            with running.launching("triton", q):
                gradients = planned.backward(
                    do, dstate, q, k, v, g, beta, state, cu_seqlens, kept, ctx.scale, ctx.state_v_first
                )
        return (*gradients, None, None, None, None)


class _Unit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return _unit(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        if torch.is_grad_enabled():
            found: Tensor = rows.l2norm_backward(x, dy, "triton")
            return found
        from gdn_core.ops.kernels import planned

        with running.launching("triton", x):
            return planned.unit_backward(x.contiguous(), dy.contiguous())


def _forward(
    tensors: Sequence[Any], scale: float, state_v_first: bool, final: bool, keep: bool
) -> tuple[Tensor, Tensor | None, list[Tensor]]:
    from gdn_core.ops.kernels import planned

    q, k, v, g, beta, state, cu_seqlens = tensors
    q, k, v, g, beta = running.contiguous(q, k, v, g, beta)
    with running.launching("triton", q):
        return planned.forward(q, k, v, g, beta, state, cu_seqlens, scale, state_v_first, final, keep)


def _unit(x: Tensor) -> Tensor:
    from gdn_core.ops.kernels import planned

    with running.launching("triton", x):
        return planned.unit(x.contiguous())


def chunk(
    tensors: Sequence[Tensor | None], scale: float, state_v_first: bool, final: bool, needs_grad: bool
) -> tuple[Tensor, Tensor | None]:
    """Run the chunk form by Triton's kernels, as ``chunks.chunk`` does.

    Args:
        tensors: q, k, v, g, beta, initial_state and cu_seqlens, as there; checked.
        scale: factor on the queries.
        state_v_first: states are [N, HV, V, K].
        final: return the memories after each sequence.
        needs_grad: whether a gradient is needed of any.
    """
    if needs_grad:
        found: tuple[Tensor, Tensor | None] = _Chunk.apply(*tensors, scale, state_v_first, final)
        return found
    return _forward(tensors, scale, state_v_first, final, False)[:2]


def unit(x: Tensor) -> Tensor:
    """Divide rows by their length, as ``rows.l2norm`` does."""
    if torch.is_grad_enabled() and x.requires_grad:
        found: Tensor = _Unit.apply(x)
        return found
    return _unit(x)


def recurrent(
    tensors: Sequence[Any], scale: float, state_v_first: bool, final: bool, normalise: bool
) -> tuple[Tensor, Tensor | None]:
    """Run the recurrence by Triton's kernel, as ``recurrence.recurrent`` does, without gradients."""
    from gdn_core.ops.kernels import planned

    q, k, v, g, beta, state, cu_seqlens = tensors
    q, k, v, g, beta = running.contiguous(q, k, v, g, beta)
    with running.launching("triton", q):
        return planned.step(q, k, v, g, beta, state, cu_seqlens, scale, state_v_first, final, normalise)


