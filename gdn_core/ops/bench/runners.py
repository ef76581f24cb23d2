"""Who runs a case: this project, and the other libraries that are installed, each called as it wants to be."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch

from gdn_core.ops import api
from gdn_core.ops.bench.cases import Case

Tensor = torch.Tensor
Rule = Callable[..., tuple[Tensor, Tensor | None]]


def own_function(what: str) -> Rule:
    """Return this project's function for what is timed."""
    return api.fused_recurrent_gated_delta_rule if what == "decode" else api.chunk_gated_delta_rule


def runners(what: str, device: str) -> dict[str, Rule]:
    """Return this project's function and those of the other installed libraries, by name."""
    ours = own_function(what)
    found: dict[str, Rule] = {"gdn_core": ours}
    fallback = "torch_recurrent_gated_delta_rule" if what == "decode" else "torch_chunk_gated_delta_rule"
    places = [("transformers", "transformers.models.qwen3_next.modeling_qwen3_next", fallback)]
    if device == "cuda":
        if what == "forward":
            places.append(("flashinfer", "flashinfer.gdn_prefill", ours.__name__))
        places += [("fla", "fla.ops.gated_delta_rule", ours.__name__), ("flash-qla", "flash_qla", ours.__name__)]
    for name, module, function in places:
        try:
            theirs = getattr(importlib.import_module(module), function, None)
        except ImportError:
            continue
        if theirs is not None:
            adapted = {"transformers": _repeating, "flashinfer": _in_a_row}.get(name, lambda rule: rule)
            found[name] = adapted(getattr(theirs, "__wrapped__", theirs) if name == "transformers" else theirs)
    return found


def _in_a_row(rule: Rule) -> Rule:
    """Give FlashInfer all sequences in a row, [T, H, D], and say where each starts; its g is a decay and not a log."""
    bounds: dict[Any, Tensor] = {}

    def run(q: Tensor, k: Tensor, v: Tensor, *, g: Tensor, beta: Tensor, **options: Any) -> tuple[Tensor, None]:
        B, T = q.shape[:2]
        cu_seqlens = options.get("cu_seqlens")
        if cu_seqlens is None:
            if (B, T) not in bounds:
                bounds[B, T] = torch.arange(0, (B + 1) * T, T, device=q.device)
            cu_seqlens = bounds[B, T]
        flat = (x.flatten(0, 1) for x in (q, k, v))
        return rule(*flat, g=g.flatten(0, 1), beta=beta.flatten(0, 1), cu_seqlens=cu_seqlens), None  # type: ignore[return-value]

    return run


def _repeating(rule: Rule) -> Rule:
    """Repeat the keys for the value heads they serve, as transformers' layers did before its functions took groups."""

    def repeated(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> tuple[Tensor, Tensor | None]:
        groups = v.shape[2] // k.shape[2]
        return rule(*(x.repeat_interleave(groups, dim=2) if groups > 1 else x for x in (q, k)), v, **options)

    return repeated


def prepare(rule: Rule, case: Case, given: dict[str, Tensor]) -> Callable[[], tuple[Tensor, ...]]:
    """Return the call that is timed; it returns outputs, and gradients if the case has them."""
    q, k, v, *gates = (given[name] for name in ("q", "k", "v", "g", "beta"))
    options: dict[str, Any] = {"initial_state": given.get("initial_state"), "output_final_state": case.what == "decode"}
    if case.lengths:
        options["cu_seqlens"] = given["cu_seqlens"]

    def inference() -> tuple[Tensor, ...]:
        with torch.no_grad():
            return tuple(x for x in rule(q, k, v, g=gates[0], beta=gates[1], **options) if x is not None)

    def forward() -> tuple[list[Tensor], Tensor]:
        leaves = [x.detach().requires_grad_() for x in (q, k, v, *gates)]
        return leaves, rule(*leaves[:3], g=leaves[3], beta=leaves[4], **options)[0]

    def both() -> tuple[Tensor, ...]:
        leaves, o = forward()
        return (o, *torch.autograd.grad(o, leaves, o.detach()))

    if case.what == "both":
        return both
    if case.what != "backward":
        return inference
    leaves, o = forward()
    return lambda: (o, *torch.autograd.grad(o, leaves, o.detach(), retain_graph=True))


def inputs_for(name: str, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the inputs as a library takes them: FlashInfer takes the decay, not its log."""
    return {**given, "g": given["g"].exp()} if name == "flashinfer" else given
