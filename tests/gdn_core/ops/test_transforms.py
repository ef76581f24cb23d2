"""The public functions under torch.func, forward-mode derivatives, second derivatives and torch.export."""

from __future__ import annotations

import math
import os
from typing import Any

import pytest
import torch
import torch.nn.functional as F

if not torch.cuda.is_available():  # read when a kernel is decorated, so before any is imported
    os.environ["TRITON_INTERPRET"] = "1"

from gdn_core.ops import api
from gdn_core.ops.torch import reference as torch_reference

Tensor = torch.Tensor
Arrays = tuple[Tensor, ...]

B, T, H, HV, K, V = 2, 40, 1, 2, 8, 6


def draw(dtype: torch.dtype = torch.float64) -> Arrays:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    g = -normal(B, T, HV).abs()
    g[0, 20] = -math.inf
    arrays = (
        normal(B, T, H, K), F.normalize(normal(B, T, H, K), dim=-1), normal(B, T, HV, V), g,
        2 * normal(B, T, HV).sigmoid(), normal(B, HV, K, V),
    )  # fmt: skip
    return tuple(x.to(dtype) for x in arrays)


def gated(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, S: Tensor) -> Any:
    return api.chunk_gated_delta_rule(q, k, v, g, beta, scale=0.5, initial_state=S, output_final_state=True)


def fused(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, S: Tensor) -> Any:
    return api.fused_recurrent_gated_delta_rule(
        q, k, v, g, beta=beta, scale=0.5, initial_state=S, output_final_state=True
    )  # fmt: skip


def delta(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, S: Tensor) -> Any:
    return api.chunk_delta_rule(q, k, v, beta, scale=0.5, initial_state=S, output_final_state=True)


def simple_gla(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, S: Tensor) -> Any:
    return api.chunk_simple_gla(q, k, v, g, scale=0.5, initial_state=S, output_final_state=True)


def linear(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, S: Tensor) -> Any:
    return api.chunk_linear_attn(q, k, v, scale=0.5, initial_state=S, output_final_state=True, normalize=False)


def scan(q: Tensor, k: Tensor, v: Tensor, g: Tensor | None, beta: Tensor | None, S: Tensor) -> Any:
    o, S = torch_reference.recurrent(q, k, v, g, beta, beta, scale=0.5, initial_state=S.mT)
    return o, S.mT


FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "gated": (gated, scan),
    "fused": (fused, scan),
    "delta": (delta, lambda q, k, v, g, beta, S: scan(q, k, v, None, beta, S)),
    "simple_gla": (simple_gla, lambda q, k, v, g, beta, S: scan(q, k, v, g, None, S)),
    "linear": (linear, lambda q, k, v, g, beta, S: scan(q, k, v, None, None, S)),
}


def close(got: Any, want: Any, atol: float = 1e-10) -> None:
    torch.testing.assert_close(got, want, rtol=1e-9, atol=atol)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_tangent_is_that_of_the_recurrence(name: str) -> None:
    run, rule = FUNCTIONS[name]
    arrays = draw()
    tangents = tuple(torch.randn_like(x) for x in arrays)
    want = torch.func.jvp(rule, arrays, tangents)
    close(torch.func.jvp(run, arrays, tangents), want)
    with torch.autograd.forward_ad.dual_level():
        duals = [torch.autograd.forward_ad.make_dual(x, dx) for x, dx in zip(arrays, tangents, strict=True)]
        close(torch.autograd.forward_ad.unpack_dual(run(*duals)[0]).tangent, want[1][0])


def test_jacobians_of_both_modes_are_those_of_the_recurrence() -> None:
    q, k, v, g, beta, S = (x[:, :5] if x.ndim < 4 or x.shape[1] == T else x for x in draw())
    for argument in range(6):
        def of(x: Tensor, rule: Any, argument: int = argument) -> Tensor:
            return rule(*(x if i == argument else y for i, y in enumerate((q, k, v, g, beta, S))))[0][0, :, 1, 2]

        x = (q, k, v, g, beta, S)[argument]
        want = torch.func.jacrev(lambda x: of(x, scan))(x)
        for jacobian in (torch.func.jacfwd, torch.func.jacrev):
            close(jacobian(lambda x: of(x, gated))(x), want)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_of_each_sample_are_those_of_the_recurrence(name: str) -> None:
    run, rule = FUNCTIONS[name]
    arrays = draw()

    def loss(*sample: Tensor, rule: Any) -> Tensor:
        o, S = rule(*(x[None] for x in sample))
        return o.sin().sum() + S.square().sum()

    argnums = tuple(range(6))
    for transform in (torch.func.grad, torch.func.vjp):
        if transform is torch.func.grad:
            got, want = (
                torch.vmap(torch.func.grad(lambda *x, each=each: loss(*x, rule=each), argnums))(*arrays)
                for each in (run, rule)
            )
        else:
            got, want = (
                torch.func.vjp(lambda *x, each=each: each(*x)[0].sin().sum(), *arrays)[1](torch.tensor(1.0).double())
                for each in (run, rule)
            )
        close(got, want)
    close(torch.vmap(lambda *x: run(*(y[None] for y in x))[0])(*arrays)[:, 0], rule(*arrays)[0])


def test_packed_sequences_are_mapped_and_differentiated_forward_too() -> None:
    bounds = torch.tensor([0, 7, 7, 36])
    q, k, v, g, beta, S = draw()
    S = torch.stack([S[:1].expand(3, -1, -1, -1)] * 2)

    def packed(*x: Tensor) -> Any:
        q, k, v, g, beta, S = x
        return api.chunk_gated_delta_rule(
            q[None], k[None], v[None], g[None], beta[None], scale=0.5, initial_state=S, output_final_state=True,
            cu_seqlens=bounds,
        )  # fmt: skip

    arrays = (q, k, v, g, beta, S)
    each = [packed(*(x[i] for x in arrays)) for i in range(2)]
    close(torch.vmap(packed)(*arrays), tuple(torch.stack(x) for x in zip(*each, strict=True)))
    first = tuple(x[0] for x in arrays)
    tangents = tuple(torch.randn_like(x) for x in first)
    _, (do, _) = torch.func.jvp(packed, first, tangents)
    alone = tuple(x[None, 7:36] for x in first[:5]), tuple(x[None, 7:36] for x in tangents[:5])
    _, (want, _) = torch.func.jvp(scan, (*alone[0], first[5][2:]), (*alone[1], tangents[5][2:]))
    close(do[:, 7:36], want)
    assert (do[:, 36:] == 0).all()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_second_derivative_is_that_of_the_recurrence(name: str, packed: bool) -> None:
    results = []
    for run in FUNCTIONS[name]:
        arrays = [x.requires_grad_() for x in draw()]
        if packed and run is FUNCTIONS[name][0] and name == "gated":
            flat = [x.flatten(0, 1)[None] for x in arrays[:5]]
            o, S = api.chunk_gated_delta_rule(
                *flat, scale=0.5, initial_state=arrays[5], output_final_state=True,
                cu_seqlens=torch.tensor([0, T, 2 * T]),
            )  # fmt: skip
            o = o.unflatten(1, (2, T))[0]
        else:
            o, S = run(*arrays)
        loss = o.sin().sum() + S.square().sum()
        first = torch.autograd.grad(loss, arrays, create_graph=True, allow_unused=True, materialize_grads=True)
        again = sum(x.square().sum() for x in first)
        second = torch.autograd.grad(again, arrays, create_graph=True, allow_unused=True, materialize_grads=True)
        third = torch.autograd.grad(second[2].sin().sum(), arrays[2])
        results.append((*first, *second, *third))
    for got, want in zip(*results, strict=True):
        close(got, want, atol=1e-8 * (1 + want.abs().max().item()))


def test_a_compiler_takes_the_transforms_too() -> None:
    arrays = draw(torch.float32)
    tangents = tuple(torch.randn_like(x) for x in arrays)

    def tangent(*x: Tensor) -> Any:
        return torch.func.jvp(lambda *y: gated(*y)[0], x, tangents)[1]

    compiled = torch.compile(tangent, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*arrays), tangent(*arrays))
    assert tangent(*arrays).any()


def test_kernels_refuse_a_transform_in_a_sentence() -> None:
    arrays = draw(torch.float32)
    backend = "triton" if torch.cuda.is_available() else "interpreter"
    with pytest.raises(ValueError, match="kernels have no forward-mode derivatives"):
        torch.func.jvp(
            lambda v: api.chunk_gated_delta_rule(*arrays[:2], v, *arrays[3:5], backend=backend)[0],
            arrays[2:3], arrays[2:3],
        )  # fmt: skip


def test_numbers_are_looked_at_under_a_transform_too() -> None:
    arrays = list(draw())
    arrays[3][0, 3] = 0.5
    with pytest.raises(ValueError, match="g: expected log decays in nats, at most 0"):
        torch.vmap(lambda *x: gated(*(y[None] for y in x))[0])(*arrays)
    bounds = torch.tensor([[0, 40], [0, 30]])
    one = [x[:1] for x in arrays[:3]]
    with pytest.raises(ValueError, match="cu_seqlens: expected the same for all that"):
        torch.vmap(lambda cu_seqlens: api.chunk_linear_attn(*one, cu_seqlens=cu_seqlens))(bounds)


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("name", [*FUNCTIONS, "normalised"])
def test_a_program_is_exported_with_any_number_of_tokens(name: str, strict: bool) -> None:
    run = FUNCTIONS[name][0] if name in FUNCTIONS else lambda q, k, v, g, beta, S: api.chunk_linear_attn(q, k, v)

    class Module(torch.nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, S: Tensor) -> Tensor:
            return run(q, k, v, g, beta, S)[0]

    arrays = draw(torch.float32)
    tokens = torch.export.Dim("tokens")
    shapes = (*[{1: tokens}] * 5, None)
    program = torch.export.export(Module(), arrays, dynamic_shapes=shapes, strict=strict)
    shorter = (*(x[:, :17] for x in arrays[:5]), arrays[5])
    for given in (arrays, shorter):
        torch.testing.assert_close(program.module()(*given), Module()(*given))
