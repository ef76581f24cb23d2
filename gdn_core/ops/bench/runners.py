"""Who runs a case: this project, and other libraries, each called as it wants to be."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch

from gdn_core.ops.bench.cases import GATES, Case

Tensor = torch.Tensor
Rule = Callable[..., tuple[Tensor, Tensor | None]]

OURS = "gdn_core"
# Each library: the package whose version counts, and what is imported.
LIBRARIES = {
    OURS: ("torch", "gdn_core.ops.api"),
    "flashinfer": ("flashinfer-python", "flashinfer"),
    "flash-qla": ("flash-qla", "flash_qla"),
    "fla": ("fla-core", "fla"),
    "transformers": ("transformers", "transformers"),
}
# Environments in which a library means its own kernels.
ENVIRONMENTS = {"fla": {"FLA_FLASH_QLA": "0", "FLA_FLASH_KDA": "0"}}
BLACKWELL = "its function for this rule runs on Blackwell only"
# Why a library has no function for a rule: by library, rule, and what is timed; "" stands for all.
LACKING = {
    ("flashinfer", "kda", "forward"): BLACKWELL,
    ("flashinfer", "kda", "decode"): "its function for this rule takes a memory in bfloat16, and not in float32",
    ("flashinfer", "gdn2", "forward"): BLACKWELL,
}
MOST_OF_TRANSFORMERS = 2048  # tokens on a GPU: beyond, a call takes seconds


class Missing(Exception):
    """A library has no function for a case; the message is a sentence."""


def find(library: str, case: Case, device: str) -> Rule:
    """Return the function with which a library runs a case; it takes q, k, v, and the rest by name.

    Raises:
        Missing: if there is none.
        ImportError: if the library cannot be imported.
    """
    if library == OURS:
        from gdn_core.ops import api

        ours: Rule = getattr(api, case.function)
        return ours
    if sentence := LACKING.get((library, case.rule, case.what)):
        raise Missing(sentence)
    if library == "fla":
        return _named(f"fla.ops.{case.rule}", case.function)
    if case.rule != "gated_delta_rule":
        raise Missing("it has no such function")
    if library == "flash-qla":
        return _named("flash_qla", case.function)
    if library == "flashinfer":
        if case.what in ("both", "backward"):
            raise Missing("it has no backward pass")
        if case.what == "decode":
            return _one_token(_named("flashinfer.gdn_decode", "gated_delta_rule_decode_pretranspose"))
        return _in_a_row(_named("flashinfer.gdn_prefill", case.function))
    if case.lengths:
        raise Missing("it takes no packed sequences")
    if device == "cuda" and case.T > MOST_OF_TRANSFORMERS:
        raise Missing(f"its form in plain PyTorch is not timed beyond {MOST_OF_TRANSFORMERS} tokens")
    form = "recurrent" if case.what == "decode" else "chunk"
    fallback = _named("transformers.models.qwen3_next.modeling_qwen3_next", f"torch_{form}_gated_delta_rule")
    return _repeating(getattr(fallback, "__wrapped__", fallback))


def _named(module: str, function: str) -> Rule:
    """Return a function of a module."""
    found: Rule | None = getattr(importlib.import_module(module), function, None)
    if found is None:
        raise Missing("it has no such function")
    return found


def _in_a_row(rule: Rule) -> Rule:
    """Give FlashInfer all sequences in a row, [T, H, D], and say where each starts."""
    bounds: dict[Any, Tensor] = {}

    def run(q: Tensor, k: Tensor, v: Tensor, *, g: Tensor, beta: Tensor, **options: Any) -> tuple[Tensor, None]:
        B, T = q.shape[:2]
        cu_seqlens = options.get("cu_seqlens")
        if cu_seqlens is None:
            if (B, T) not in bounds:
                bounds[B, T] = torch.arange(0, (B + 1) * T, T, device=q.device)
            cu_seqlens = bounds[B, T]
        flat = (x.flatten(0, 1) for x in (q, k, v))
        o: Tensor = rule(*flat, g=g.flatten(0, 1), beta=beta.flatten(0, 1), cu_seqlens=cu_seqlens)  # type: ignore[assignment]
        return o.view(v.shape), None

    return run


def _one_token(rule: Rule) -> Rule:
    """Give FlashInfer the logits of the gates, and a memory [N, HV, V, K], which it changes in place."""
    zeros: dict[int, Tensor] = {}

    def run(q: Tensor, k: Tensor, v: Tensor, *, g: Tensor, beta: Tensor, **options: Any) -> tuple[Tensor, Any]:
        HV = v.shape[2]
        if HV not in zeros:
            zeros[HV] = torch.zeros(HV, device=q.device)
        o, S = rule(
            q, k, v, state=options["initial_state"], A_log=zeros[HV], a=g, dt_bias=zeros[HV], b=beta,
            use_qk_l2norm=False,
        )  # fmt: skip
        return o, None if S is None else S.transpose(2, 3)

    return run


def _repeating(rule: Rule) -> Rule:
    """Repeat the keys for the value heads they serve, as transformers' layers did before its functions took groups."""

    def repeated(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> tuple[Tensor, Tensor | None]:
        groups = v.shape[2] // k.shape[2]
        return rule(*(x.repeat_interleave(groups, dim=2) if groups > 1 else x for x in (q, k)), v, **options)

    return repeated


def inputs_for(library: str, case: Case, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the inputs as a library takes them.

    FlashInfer takes the decay and not its log; to decode it takes logits, and a memory that it changes.
    """
    if library != "flashinfer":
        return given
    if case.what != "decode":
        return given | {"g": given["g"].exp()}
    state = given["initial_state"].transpose(2, 3).contiguous()
    return given | {"g": given["a"], "beta": given["logits"], "initial_state": state}


def prepare(rule: Rule, case: Case, given: dict[str, Tensor]) -> Callable[[], tuple[Tensor, ...]]:
    """Return the call that is timed; it returns outputs, and final memories or gradients if the case has them."""
    names = GATES[case.rule]
    q, k, v, *gates = (given[name] for name in ("q", "k", "v", *names))
    options: dict[str, Any] = {"initial_state": given.get("initial_state"), "output_final_state": case.what == "decode"}
    if case.lengths:
        options["cu_seqlens"] = given["cu_seqlens"]

    def inference() -> tuple[Tensor, ...]:
        with torch.no_grad():
            o, S = rule(q, k, v, **dict(zip(names, gates, strict=True)), **options)
            return (o,) if S is None else (o, S)

    def forward() -> tuple[list[Tensor], Tensor]:
        leaves = [x.detach().requires_grad_() for x in (q, k, v, *gates)]
        return leaves, rule(*leaves[:3], **dict(zip(names, leaves[3:], strict=True)), **options)[0]

    def both() -> tuple[Tensor, ...]:
        leaves, o = forward()
        return (o, *torch.autograd.grad(o, leaves, given["do"]))

    if case.what == "both":
        return both
    if case.what != "backward":
        return inference
    leaves, o = forward()
    return lambda: (o, *torch.autograd.grad(o, leaves, given["do"], retain_graph=True))
