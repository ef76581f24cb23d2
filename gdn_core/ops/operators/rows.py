"""The L2 norm of queries and keys: the operator on kernels, and the same in plain PyTorch."""

from __future__ import annotations

from typing import Any

import torch

from gdn_core.ops.operators.running import launching

Tensor = torch.Tensor


def normalised(x: Tensor) -> Tensor:
    """Divide rows by their length, in float32 at least, with 1e-6 inside the root."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return x * torch.rsqrt((x * x).sum(-1, keepdim=True) + 1e-6)


@torch.library.custom_op("gdn_core::l2norm", mutates_args=(), schema="(Tensor x, str backend) -> Tensor")
def l2norm(x: Tensor, backend: str) -> Tensor:
    """Divide rows by their length, with 1e-6 inside the root, in one kernel.

    Args:
        x: queries or keys, [..., K].
        backend: "triton" or "interpreter".
    """
    from gdn_core.ops.kernels import planned

    with launching(backend, x):
        return planned.unit(x.contiguous())


@l2norm.register_fake
def _(x: Tensor, backend: str) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.custom_op(
    "gdn_core::l2norm_backward", mutates_args=(), schema="(Tensor x, Tensor dy, str backend) -> Tensor"
)
def l2norm_backward(x: Tensor, dy: Tensor, backend: str) -> Tensor:
    """Return the gradient of x from that of ``l2norm(x)``."""
    from gdn_core.ops.kernels import planned

    with launching(backend, x):
        return planned.unit_backward(x.contiguous(), dy.contiguous())


@l2norm_backward.register_fake
def _(x: Tensor, dy: Tensor, backend: str) -> Tensor:
    return x.new_empty(x.shape)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, ctx.backend = inputs
    ctx.save_for_backward(*tensors)


def _gradient(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
    return l2norm_backward(*ctx.saved_tensors, dy, ctx.backend), None


def _second_gradients(ctx: Any, ddx: Tensor) -> tuple[Tensor | None, ...]:
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        x, dy = (y.view_as(y) if y.requires_grad else y.detach().requires_grad_() for y in ctx.saved_tensors)
        (dx,) = torch.autograd.grad(normalised(x).to(dy.dtype), x, dy, create_graph=True)
        return *torch.autograd.grad(dx, (x, dy), ddx, create_graph=again), None


l2norm.register_autograd(_gradient, setup_context=_remember)
l2norm_backward.register_autograd(_second_gradients, setup_context=_remember)
