"""The public functions, with the signatures, layouts and return values of flash-linear-attention's (fla's) functions.

They differ from fla's in four ways. An argument of fla's that is not supported raises an error and is never ignored,
except those that only affect fla's speed. Bad input raises an error. float32 inputs are accepted everywhere. And
``backend=`` selects what runs: "triton" (kernels on an NVIDIA GPU), "torch" (the chunk form in plain PyTorch, on any
device) or "interpreter" (the kernels on the CPU, to check them; start Python with ``TRITON_INTERPRET=1``). The default
is "triton" if it can run the call, else "torch".

Symbols: B sequences of T tokens, or with ``cu_seqlens`` N sequences laid end to end in T tokens, B = 1; H key heads,
HV value heads, a multiple of H; K key channels, V value channels. On the CPU the values of log decays and
``cu_seqlens`` are checked. With ``GDN_CORE_DEBUG=1`` in the environment they are checked on every device, and so are
the range of beta and every array for NaN and infinity.

A log decay of -inf, or one whose exponential is 0, clears the memory at its token. The numbers of a token, NaN
included, never reach the outputs of earlier tokens, nor the gradients of those outputs. Queries, keys and values of
different dtypes are promoted to a common one. Autocast does not act here. T may be 0. A packed buffer may be longer
than its sequences: outputs and gradients of the padding are 0. The error of plain PyTorch in float32 is at most twice
that of the plain scan; on a device without float64 (an Apple GPU) 200 times, see :mod:`gdn_core.ops.torch.chunk`. Under
the transforms of ``torch.func``, for forward-mode derivatives and for second derivatives the chunk form runs as
ordinary PyTorch operations, on any device.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from typing import Any

from gdn_core import extras

try:
    import torch
    import torch.nn.functional as F
except ModuleNotFoundError as error:
    raise extras.explained(error) from None

from gdn_core.ops import backends, checks
from gdn_core.ops.backends import Backend, Form, Request
from gdn_core.ops.operators import direct, running
from gdn_core.ops.operators.chunks import chunk
from gdn_core.ops.operators.recurrence import recurrent
from gdn_core.ops.operators.rows import l2norm, normalised
from gdn_core.ops.torch import differentiable, precision

Tensor = torch.Tensor

__all__ = [
    "chunk_delta_rule",
    "chunk_gated_delta_rule",
    "chunk_linear_attn",
    "chunk_simple_gla",
    "fused_recurrent_gated_delta_rule",
]

HINTS = ("cu_seqlens_cpu", "chunk_indices", "chunk_size")  # arguments that change only fla's speed

HAS_TRITON = importlib.util.find_spec("triton") is not None  # found, not imported: a compiler cannot trace a look-up

MOST_ACCEPTED = 4096

_warned: set[str] = set()
_accepted: set[Any] = set()  # the facts of calls that passed all checks, and run on kernels as they are


def chunk_gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    beta: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    *,
    backend: Backend | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Run Gated DeltaNet in chunks.

    Args:
        q: queries, [B, T, H, K], bfloat16, float16 or float32 (float64 in plain PyTorch).
        k: keys, [B, T, H, K]; of length 1 for a stable memory. In float16 the products of two keys times beta must stay
            below 65,504; beyond that the outputs are not finite.
        v: values, [B, T, HV, V].
        g: log decay in nats, [B, T, HV], <= 0; -inf forgets everything.
        beta: erase and write gate, [B, T, HV], in [0, 2].
        scale: factor on the queries; K**-0.5 by default.
        initial_state: memory before each sequence, [N, HV, K, V]; zero by default.
        output_final_state: return the memory after each sequence.
        use_qk_l2norm_in_kernel: divide queries and keys by their length first, with 1e-6 inside the root.
        use_beta_sigmoid_in_kernel: beta is given before its sigmoid.
        allow_neg_eigval: twice the sigmoid; only with ``use_beta_sigmoid_in_kernel``.
        state_v_first: states are [N, HV, V, K].
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1], int32 or int64.
        backend: what to run on; chosen by default.
        kwargs: ``use_gate_in_kernel`` with ``A_log`` [HV] and ``dt_bias`` [HV] or None: g is given before its
            activation, -exp(A_log) * softplus(g + dt_bias); ``transpose_state_layout``, the former name of
            ``state_v_first``; ``cu_seqlens_cpu``, ``chunk_indices`` and ``chunk_size``, which are swallowed.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the final memories in float32, or None.

    Raises:
        TypeError: if an array holds no floating-point numbers, or an argument is not supported.
        ValueError: if sizes, devices, numbers or layouts do not fit, or the backend cannot run this.

    Source: Gated DeltaNet, arXiv 2412.06464, eq. 10, with the decay before the error.
    """
    extras = _extras("chunk_gated_delta_rule", kwargs, "use_gate_in_kernel", "A_log", "dt_bias")
    if extras.get("use_gate_in_kernel"):
        g = _gate(g, extras.get("A_log"), extras.get("dt_bias"), v)
    beta = _opened(beta, sigmoid=use_beta_sigmoid_in_kernel, twice=allow_neg_eigval)
    return _run(
        "chunk", q, k, v, {"g": g, "beta": beta}, scale=scale, initial_state=initial_state, final=output_final_state,
        normalise=use_qk_l2norm_in_kernel, state_v_first=_layout(state_v_first, extras), cu_seqlens=cu_seqlens,
        backend=backend,
    )  # fmt: skip


def fused_recurrent_gated_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None = None,
    gk: Tensor | None = None,
    gv: Tensor | None = None,
    beta: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    A_log: Tensor | None = None,
    dt_bias: Tensor | None = None,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    *,
    backend: Backend | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Run Gated DeltaNet token by token, to decode: T = 1 with a state is its main case.

    The chunk form, which computes the same and is faster there, runs instead if a gradient is needed, or in plain
    PyTorch if a sequence has more than 16 tokens.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V].
        g: log decay in nats, [B, T, HV], <= 0; none by default.
        gk: a decay for each key channel; not supported.
        gv: a decay for each value channel; not supported.
        beta: erase and write gate, [B, T, HV], in [0, 2]; 1 by default.
        scale: factor on the queries; K**-0.5 by default.
        initial_state: memory before each sequence, [N, HV, K, V]; zero by default. It is left as it was.
        output_final_state: return the memory after each sequence.
        use_qk_l2norm_in_kernel: divide queries and keys by their length first, with 1e-6 inside the root.
        use_gate_in_kernel: g is given before its activation, -exp(A_log) * softplus(g + dt_bias).
        A_log: decay parameter, [HV].
        dt_bias: bias of g, [HV].
        use_beta_sigmoid_in_kernel: beta is given before its sigmoid.
        allow_neg_eigval: twice the sigmoid; only with ``use_beta_sigmoid_in_kernel``.
        state_v_first: states are [N, HV, V, K].
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1], int32 or int64.
        backend: what to run on; chosen by default.
        kwargs: as in :func:`chunk_gated_delta_rule`.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the final memories in float32, or None.

    Raises:
        TypeError: if an array holds no floating-point numbers, or an argument is not supported.
        ValueError: if sizes, devices, numbers or layouts do not fit, or the backend cannot run this.
    """
    name = "fused_recurrent_gated_delta_rule"
    for argument, x in (("gk", gk), ("gv", gv)):
        if x is not None:
            raise TypeError(f"{name} does not take {argument}: its decay is one number a token and head, g")
    extras = _extras(name, kwargs)
    if use_gate_in_kernel:
        g = _gate(g, A_log, dt_bias, v)
    if beta is None:
        _check_tensors({"v": v})
        beta = torch.ones(v.shape[:3], dtype=torch.float32, device=v.device)
    beta = _opened(beta, sigmoid=use_beta_sigmoid_in_kernel, twice=allow_neg_eigval)
    gates = {"beta": beta} if g is None else {"g": g, "beta": beta}
    return _run(
        "recurrent", q, k, v, gates, scale=scale, initial_state=initial_state, final=output_final_state,
        normalise=use_qk_l2norm_in_kernel, state_v_first=_layout(state_v_first, extras), cu_seqlens=cu_seqlens,
        backend=backend,
    )  # fmt: skip


def chunk_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: Tensor | None = None,
    *,
    state_v_first: bool = False,
    backend: Backend | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Run DeltaNet in chunks: Gated DeltaNet without decay.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V].
        beta: erase and write gate, [B, T, HV], in [0, 2].
        scale: factor on the queries; K**-0.5 by default.
        initial_state: memory before each sequence, [N, HV, K, V]; zero by default.
        output_final_state: return the memory after each sequence.
        use_qk_l2norm_in_kernel: divide queries and keys by their length first, with 1e-6 inside the root.
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1], int32 or int64.
        state_v_first: states are [N, HV, V, K].
        backend: what to run on; chosen by default.
        kwargs: ``cu_seqlens_cpu``, ``chunk_indices`` and ``chunk_size``, which are swallowed.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the final memories in float32, or None.

    Raises:
        TypeError: if an array holds no floating-point numbers, or an argument is not supported.
        ValueError: if sizes, devices, numbers or layouts do not fit, or the backend cannot run this.

    Source: Parallelizing Linear Transformers with the Delta Rule, arXiv 2406.06484.
    """
    extras = _extras("chunk_delta_rule", kwargs)
    return _run(
        "chunk", q, k, v, {"beta": beta}, scale=scale, initial_state=initial_state, final=output_final_state,
        normalise=use_qk_l2norm_in_kernel, state_v_first=_layout(state_v_first, extras), cu_seqlens=cu_seqlens,
        backend=backend,
    )  # fmt: skip


def chunk_simple_gla(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None = None,
    g_gamma: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    *,
    backend: Backend | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Run Mamba-2's or RetNet's rule in chunks: a scalar decay, and nothing is erased.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V].
        g: log decay in nats, [B, T, HV], <= 0, for Mamba-2; none by default.
        g_gamma: log decay in nats, [HV], <= 0, the same for every token, for RetNet.
        scale: factor on the queries; K**-0.5 by default.
        initial_state: memory before each sequence, [N, HV, K, V]; zero by default.
        output_final_state: return the memory after each sequence.
        state_v_first: states are [N, HV, V, K].
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1], int32 or int64.
        backend: what to run on; chosen by default.
        kwargs: ``cu_seqlens_cpu``, ``chunk_indices`` and ``chunk_size``, which are swallowed.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the final memories in float32, or None.

    Raises:
        TypeError: if an array holds no floating-point numbers, or an argument is not supported.
        ValueError: if sizes, devices, numbers or layouts do not fit, both decays are given, or the backend cannot run
            this.
    """
    extras = _extras("chunk_simple_gla", kwargs)
    if g_gamma is not None:
        if g is not None:
            raise ValueError("g_gamma: expected none beside g, got both: a rule has one decay")
        _check_heads({"g_gamma": g_gamma}, v)
        g = g_gamma.expand(*v.shape[:2], -1)
    return _run(
        "chunk", q, k, v, {} if g is None else {"g": g}, scale=scale, initial_state=initial_state,
        final=output_final_state, state_v_first=_layout(state_v_first, extras), cu_seqlens=cu_seqlens, backend=backend,
    )  # fmt: skip


def chunk_linear_attn(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    initial_state: Tensor | tuple[Tensor, Tensor] | None = None,
    output_final_state: bool = False,
    normalize: bool = True,
    cu_seqlens: Tensor | None = None,
    *,
    backend: Backend | None = None,
) -> tuple[Tensor, Any]:
    """Run linear attention in chunks: nothing decays, nothing is erased.

    Args:
        q: queries after their feature map, [B, T, H, K].
        k: keys after their feature map, [B, T, H, K].
        v: values, [B, T, HV, V].
        scale: factor on the queries; K**-0.5 by default.
        initial_state: memory before each sequence, [N, HV, K, V]; with ``normalize`` a pair of it and the sum of the
            keys so far, [N, 1, H, K]. A memory alone is taken with a sum of zero.
        output_final_state: return what ``initial_state`` takes.
        normalize: divide outputs by the query times the sum of the keys so far, plus 1e-10.
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1], int32 or int64.
        backend: what to run on; chosen by default.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the final state or None. With ``normalize`` the state is always a
        pair, as in fla; its memory is None without ``output_final_state``.

    Raises:
        TypeError: if an array holds no floating-point numbers.
        ValueError: if sizes, devices, numbers or layouts do not fit, or the backend cannot run this.

    Source: Transformers are RNNs, arXiv 2006.16236, eqs 16 to 20; the scale divides out but for the 1e-10.
    """
    memory, keys = initial_state if isinstance(initial_state, tuple) else (initial_state, None)
    if not normalize and keys is not None:
        raise ValueError("initial_state: expected a memory without normalize, got a pair")
    common: dict[str, Any] = {"scale": scale, "cu_seqlens": cu_seqlens, "backend": backend}
    if not normalize:
        return _run("chunk", q, k, v, {}, initial_state=memory, final=output_final_state, **common)
    _check_tensors({"q": q, "k": k, "v": v})
    checks.check_layout({"q": q, "k": k, "v": v}, no_tokens=True)
    narrow = v.dtype
    wide = torch.promote_types(torch.promote_types(q.dtype, k.dtype), torch.promote_types(narrow, torch.float32))
    q, k, v = q.to(wide), k.to(wide), v.to(wide)  # the dividend may be beyond the range of float16
    o, final_state = _run("chunk", q, k, v, {}, initial_state=memory, final=output_final_state, **common)
    # The sum of the keys is a memory whose value is always 1, and its output is the denominator.
    ones = torch.ones(*k.shape[:3], 1, dtype=wide, device=v.device)
    keys = keys if keys is None else keys.transpose(1, 2).transpose(2, 3)
    sums, keys = _run("chunk", q, k, ones, {}, initial_state=keys, final=True, **common)
    sums = sums.repeat_interleave(v.shape[2] // k.shape[2], dim=2) + 1e-10
    if keys is not None:
        keys = keys.transpose(2, 3).transpose(1, 2)
    mean = o / sums if _transformed() else _Quotient.apply(o, sums)
    return mean.to(narrow), (final_state, keys)


class _Quotient(torch.autograd.Function):
    """A quotient whose gradients are 0 wherever the incoming gradient is, NaN in its arguments notwithstanding."""

    @staticmethod
    def forward(x: Tensor, by: Tensor) -> Tensor:
        return x / by

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, d: Tensor) -> tuple[Tensor, Tensor]:
        x, by = ctx.saved_tensors
        dx = (d / by).masked_fill(d == 0, 0)
        return dx, (-dx * x / by).masked_fill(d == 0, 0).sum(-1, keepdim=True)


def _extras(name: str, kwargs: dict[str, Any], *more: str) -> dict[str, Any]:
    """Return those of fla's extra arguments that act here; refuse unsupported ones."""
    for argument, x in kwargs.items():
        if argument == "cp_context" and x is None:
            continue
        if argument == "cp_context":
            raise TypeError(f"{name} does not take cp_context: one sequence is not shared by several devices")
        if argument == "head_first":
            raise TypeError(f"{name} does not take head_first: arrays are [B, T, H, ...]")
        if argument not in (*HINTS, "transpose_state_layout", *more):
            raise TypeError(f"{name} does not take {argument}")
    return {argument: x for argument, x in kwargs.items() if argument not in HINTS}


def _layout(state_v_first: bool, extras: dict[str, Any]) -> bool:
    former = extras.get("transpose_state_layout")
    if former is None:
        return state_v_first
    if state_v_first:
        raise ValueError("transpose_state_layout: expected none beside state_v_first, its new name, got both")
    warnings.warn("transpose_state_layout is called state_v_first now", DeprecationWarning, stacklevel=3)
    return bool(former)


def _check_tensors(arrays: dict[str, Any]) -> None:
    """Refuse anything but tensors: the other checks accept NumPy arrays too."""
    for name, x in arrays.items():
        if not isinstance(x, Tensor):
            kind = f"{type(x).__module__}.".removeprefix("builtins.") + type(x).__name__
            raise TypeError(f"{name}: expected a torch.Tensor, got {kind}")


def _check_heads(arrays: dict[str, Tensor], v: Tensor) -> None:
    """Check arrays with one number for each head of v."""
    _check_tensors({**arrays, "v": v})
    for name, x in arrays.items():
        checks.check_floating(name, x)
        checks.check_shape(name, x, (("HV",),), {"HV": v.shape[2]} if v.ndim == 4 else {})
    checks.check_device({"v": v, **arrays})


def _gate(g: Tensor | None, A_log: Tensor | None, dt_bias: Tensor | None, v: Tensor) -> Tensor:
    """Return the log decays -exp(A_log) * softplus(g + dt_bias), which are at least -exp(80).

    The product is computed as one exponential of a sum of logs, since a factor may underflow or overflow where the
    product does not. A decay of exp(-exp(80)) is 0 in every dtype, and the gradient of its log is 0.
    """
    for argument, x in (("g", g), ("A_log", A_log)):
        if x is None:
            raise ValueError(f"{argument}: expected an array with use_gate_in_kernel, got none")
    assert g is not None and A_log is not None  # for mypy: the loop has checked it
    _check_tensors({"g": g})
    checks.check_floating("g", g)
    _check_heads({"A_log": A_log} if dt_bias is None else {"A_log": A_log, "dt_bias": dt_bias}, v)
    if v.ndim == 4:
        checks.check_shape("g", g, (("B", "T", "HV"),), dict(zip(("B", "T", "HV"), v.shape[:3], strict=True)))
    wide = precision.wide(v.device)
    x = g.to(wide) if dt_bias is None else g.to(wide) + dt_bias.to(wide)
    small = x < -37  # here softplus equals exp to the last digit of float64
    logs = torch.where(small, x, (-F.logsigmoid(-x.masked_fill(small, 0))).log())
    return -(A_log.to(wide) + logs).clamp(max=80).exp().to(torch.promote_types(g.dtype, torch.float32))


def _opened(beta: Tensor, *, sigmoid: bool, twice: bool) -> Tensor:
    """Return beta; with ``sigmoid`` the sigmoid of it, with ``twice`` twice that."""
    if twice and not sigmoid:
        raise ValueError("allow_neg_eigval: expected use_beta_sigmoid_in_kernel with it: it doubles the sigmoid")
    if not sigmoid:
        return beta
    _check_tensors({"beta": beta})
    checks.check_floating("beta", beta)
    opened = beta.to(torch.promote_types(beta.dtype, torch.float32)).sigmoid()
    return 2 * opened if twice else opened


def _run(
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
) -> tuple[Tensor, Tensor | None]:
    """Check everything, choose a backend, and run."""
    arrays = (q, k, v, gates.get("g"), gates.get("beta"), initial_state, cu_seqlens)
    facts: Any = None
    needs_grad = torch.is_grad_enabled() and any(x is not None and getattr(x, "requires_grad", False) for x in arrays)
    if direct.possible(arrays) and not running.debugging():
        interpreting = os.environ.get("TRITON_INTERPRET")
        facts = (form, backend, interpreting, needs_grad, state_v_first, *map(_facts, arrays))
        if facts in _accepted:
            return _run_directly(form, arrays, scale, final, normalise, state_v_first, needs_grad)
    optional = {"initial_state": initial_state, "cu_seqlens": cu_seqlens}
    optional = {name: x for name, x in optional.items() if x is not None}
    _check_tensors({"q": q, "k": k, "v": v, **gates, **optional})
    sizes = checks.check_layout({"q": q, "k": k, "v": v}, no_tokens=True)
    checks.check_gates(gates, sizes)
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
    transformed = _transformed()
    if needs_grad or transformed:
        form = "chunk"
    chosen = _backend(form, v, max(sizes.K, sizes.V), needs_grad, backend, transformed)
    scale = sizes.K**-0.5 if scale is None else float(scale)
    if chosen == "interpreter":  # the interpreter has no bfloat16
        q, k, v = q.to(wide), k.to(wide), v.to(wide)
    if chosen != "torch" and sizes.T == 0:  # nothing to launch
        chosen = "torch"
    tensors = (gates.get("g"), gates.get("beta"), initial_state, cu_seqlens)
    options = (scale, state_v_first, final)
    as_given = (q, k, v, *tensors)
    if facts is not None and chosen == "triton" and all(x is y for x, y in zip(arrays, as_given, strict=True)):
        _accept(facts)
        return _run_directly(form, arrays, scale, final, normalise, state_v_first, needs_grad)
    if normalise and form != "recurrent":
        q, k = (normalised(x) if chosen == "torch" else l2norm(x, chosen) for x in (q, k))
    if transformed:
        o, final_state = _by_operations(q, k, v, *tensors, scale=scale, state_v_first=state_v_first)
    elif form == "recurrent":
        o, final_state = recurrent(q, k, v, *tensors, *options, normalise, chosen)
    else:
        o, final_state, _ = chunk(q, k, v, *tensors, *options, needs_grad, chosen)
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


def _transformed() -> bool:
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
) -> tuple[Tensor, Tensor]:
    """Check the numbers, then run the chunk form as ordinary PyTorch operations, which transforms support."""
    if not torch.compiler.is_compiling():
        arrays = {"q": q, "k": k, "v": v, "g": g, "beta": beta, "initial_state": initial_state}
        bounds = None if cu_seqlens is None else torch.func.debug_unwrap(cu_seqlens)
        if bounds is not None and bounds.ndim != 1:
            raise ValueError("cu_seqlens: expected the same for all that torch.vmap maps over, got one for each")
        running.look(
            {name: None if x is None else torch.func.debug_unwrap(x) for name, x in arrays.items()}, bounds, q.shape[1]
        )  # fmt: skip
    state = running.kv(initial_state, state_v_first)
    with running.outside_autocast(v):
        o, S = differentiable.chunk(q, k, v, g, beta, state, cu_seqlens, scale=scale)
    return o, S.transpose(-1, -2) if state_v_first else S


def _backend(
    form: Form, v: Tensor, channels: int, needs_grad: bool, named: Backend | None, transformed: bool = False
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
