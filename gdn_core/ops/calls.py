"""One call, from its arguments to the operator that runs it: checks, the choice of a backend, dtypes.

Calls whose facts (shapes, dtypes, devices, options) were accepted once go to the kernels without being checked again.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from typing import Any

import torch

from gdn_core.ops import arguments, backends, checks
from gdn_core.ops.backends import Backend, Form, Request
from gdn_core.ops.operators import direct, running
from gdn_core.ops.operators.chunks import chunk
from gdn_core.ops.operators.recurrence import recurrent
from gdn_core.ops.operators.rows import l2norm, normalised
from gdn_core.ops.torch import differentiable

Tensor = torch.Tensor

HAS_TRITON = importlib.util.find_spec("triton") is not None  # found, not imported: a compiler cannot trace a look-up

MOST_ACCEPTED = 4096

_warned: set[str] = set()
_accepted: set[Any] = set()  # the facts of calls that passed all checks, and run on kernels as they are


def run(
    form: Form,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gates: dict[str, Tensor],
    *,
    scale: float | None,
    initial_state: Tensor | None,
    final: bool,
    cu_seqlens: Tensor | None,
    backend: Backend | None,
    normalise: bool = False,
    state_v_first: bool = False,
    channels: dict[str, str] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Check everything, choose a backend, and run.

    Args:
        form: the form of the computation.
        q: queries.
        k: keys.
        v: values.
        gates: by the caller's names: the log decay g or gk; beta, or an erase gate b and a write gate w.
        scale: factor on the queries; None for the default.
        initial_state: memories, or None.
        final: return the memories after each sequence.
        cu_seqlens: bounds of packed sequences, or None.
        backend: named by the caller, or None.
        normalise: divide queries and keys by their length first.
        state_v_first: states are [N, HV, V, K].
        channels: the axis, K or V, of each gate that has a number for each channel.
    """
    g, beta, w = gates.get("g"), gates.get("beta"), None
    if channels is not None:
        g, beta, w = gates.get("gk", g), gates.get("b", beta), gates.get("w")
    arrays = (q, k, v, g, beta, initial_state, cu_seqlens)
    facts: Any = None
    given = arrays if w is None else (*arrays, w)
    needs_grad = torch.is_grad_enabled() and any(x is not None and getattr(x, "requires_grad", False) for x in given)
    if channels is None and direct.possible(arrays) and not running.debugging():
        interpreting = os.environ.get("TRITON_INTERPRET")
        facts = (form, backend, interpreting, needs_grad, state_v_first, *map(_facts, arrays))
        if facts in _accepted:
            return _run_directly(form, arrays, scale, final, normalise, state_v_first, needs_grad)
    optional = {"initial_state": initial_state, "cu_seqlens": cu_seqlens}
    optional = {name: x for name, x in optional.items() if x is not None}
    arguments.check_tensors({"q": q, "k": k, "v": v, **gates, **optional})
    sizes = checks.check_layout({"q": q, "k": k, "v": v}, no_tokens=True)
    checks.check_gates(gates, sizes, channels)
    N = sizes.B if cu_seqlens is None else checks.check_packing("cu_seqlens", cu_seqlens, sizes)
    if initial_state is not None:
        checks.check_states("initial_state", initial_state, sizes, N=N, state_v_first=state_v_first)
    checks.check_device({"v": v, **gates, **optional})
    narrow = dtype = v.dtype
    if q.dtype != dtype or k.dtype != dtype:
        dtype = torch.promote_types(torch.promote_types(q.dtype, k.dtype), dtype)
        q, k, v = q.to(dtype), k.to(dtype), v.to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    if initial_state is not None:
        initial_state = initial_state.to(wide)
    transformed = transforming()
    if needs_grad or transformed:
        form = "chunk"
    chosen = _backend(form, v, max(sizes.K, sizes.V), needs_grad, backend, transformed)
    scale = sizes.K**-0.5 if scale is None else float(scale)
    if chosen == "interpreter":  # the interpreter has no bfloat16
        q, k, v = q.to(wide), k.to(wide), v.to(wide)
    if chosen != "torch" and sizes.T == 0:  # nothing to launch
        chosen = "torch"
    tensors = (g, beta, initial_state, cu_seqlens)
    options = (scale, state_v_first, final)
    as_given = (q, k, v, *tensors)
    if facts is not None and chosen == "triton" and all(x is y for x, y in zip(arrays, as_given, strict=True)):
        _accept(facts)
        return _run_directly(form, arrays, scale, final, normalise, state_v_first, needs_grad)
    if normalise and form != "recurrent":
        q, k = (normalised(x) if chosen == "torch" else l2norm(x, chosen) for x in (q, k))
    if transformed:
        o, final_state = _by_operations(q, k, v, *tensors, scale=scale, state_v_first=state_v_first, w=w)
    elif form == "recurrent":
        o, final_state = recurrent(q, k, v, *tensors, *options, normalise, chosen, w)
    else:
        o, final_state, _ = chunk(q, k, v, *tensors, *options, needs_grad, chosen, w)
    if narrow != dtype:  # a state is as wide as v
        final_state = final_state.to(torch.promote_types(narrow, torch.float32))
    return o.to(narrow), final_state if final else None


def _facts(x: Tensor | None) -> Any:
    """Return what the checks depend on."""
    return None if x is None else (x.shape, x.dtype, x.device)


def _accept(facts: Any) -> None:
    """Remember that calls of these facts pass the checks, are converted to no other dtype, and run on kernels."""
    if len(_accepted) >= MOST_ACCEPTED:
        _accepted.clear()
    _accepted.add(facts)


def _run_directly(
    form: Form,
    arrays: tuple[Any, ...],
    scale: float | None,
    final: bool,
    normalise: bool,
    state_v_first: bool,
    needs_grad: bool,
) -> tuple[Tensor, Tensor | None]:
    """Run a call that was accepted."""
    scale = arrays[0].shape[-1] ** -0.5 if scale is None else float(scale)
    if form == "recurrent" and not needs_grad:
        return direct.recurrent(arrays, scale, state_v_first, final, normalise)
    if normalise:
        arrays = (direct.unit(arrays[0]), direct.unit(arrays[1]), *arrays[2:])
    return direct.chunk(arrays, scale, state_v_first, final, needs_grad)


def transforming() -> bool:
    """Tell whether a torch.func transform or a forward-mode derivative is active; operators support neither."""
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0


def _by_operations(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    initial_state: Tensor | None,
    cu_seqlens: Tensor | None,
    *,
    scale: float,
    state_v_first: bool,
    w: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Check the numbers, then run the chunk form as ordinary PyTorch operations, which transforms support."""
    if not torch.compiler.is_compiling():
        arrays = running.named(q, k, v, g, beta, w, initial_state)
        bounds = None if cu_seqlens is None else torch.func.debug_unwrap(cu_seqlens)
        if bounds is not None and bounds.ndim != 1:
            raise ValueError("cu_seqlens: expected the same for all that torch.vmap maps over, got one for each")
        running.look(
            {name: None if x is None else torch.func.debug_unwrap(x) for name, x in arrays.items()}, bounds, q.shape[1]
        )  # fmt: skip
    state = running.kv(initial_state, state_v_first)
    with running.outside_autocast(v):
        o, S = differentiable.chunk(q, k, v, g, beta, state, cu_seqlens, scale=scale, w=w)
    return o, S.transpose(-1, -2) if state_v_first else S


def _backend(
    form: Form,
    v: Tensor,
    channels: int,
    needs_grad: bool,
    named: Backend | None,
    transformed: bool = False,
) -> Backend:
    """Return the named backend or refuse it; or choose one, and warn once if it is a slow one."""
    if named is not None and named not in backends.BACKENDS:
        raise ValueError(f"backend: expected one of {', '.join(backends.BACKENDS)}, got {named!r}")
    interpreting = os.environ.get("TRITON_INTERPRET") == "1"
    on_gpu = v.device.type == "cuda"
    refused = ""
    if on_gpu and interpreting and named != "interpreter":
        refused = "TRITON_INTERPRET=1 is set"
    elif not on_gpu:
        refused = f"it needs tensors on an NVIDIA GPU, and these are on {v.device}"
    if named == "interpreter" and not interpreting:
        raise ValueError("backend: Triton's interpreter does not run: start Python with TRITON_INTERPRET=1")
    request = Request(
        form=form, triton=HAS_TRITON, cuda=not refused and named != "interpreter",
        refused=refused if HAS_TRITON else "",
        dtype=str(v.dtype).removeprefix("torch."), needs_grad=needs_grad, channels=channels,
        transformed=transformed,
    )  # fmt: skip
    if named is not None:
        if sentence := backends.refusal(named, request):
            raise ValueError(f"backend: {sentence}")
        return named
    chosen, refusals = backends.choose(request)
    if on_gpu and chosen == "torch":
        remedy = "" if HAS_TRITON or transformed else " (pip install triton)"
        _warn_once(f"{refusals['triton']}{remedy}; running the slower chunk form in plain PyTorch on {v.device}")
    return chosen


def _warn_once(sentence: str) -> None:
    """Warn once of a slow path; a compiled graph warns when it is traced."""
    if sentence not in _warned:
        _warned.add(sentence)
        warnings.warn(sentence, RuntimeWarning, stacklevel=5)
