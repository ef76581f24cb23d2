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

The functions with a decay for each channel (``kda``, ``gla``, ``gdn2``) are defined in :mod:`gdn_core.ops.channels`.
"""

from __future__ import annotations

from typing import Any

from gdn_core import extras

try:
    import torch
except ModuleNotFoundError as error:
    raise extras.explained(error) from None

from gdn_core.ops import arguments, calls, checks
from gdn_core.ops.backends import Backend
from gdn_core.ops.channels import chunk_gdn2 as chunk_gdn2
from gdn_core.ops.channels import chunk_gla as chunk_gla
from gdn_core.ops.channels import chunk_kda as chunk_kda
from gdn_core.ops.channels import fused_recurrent_gdn2 as fused_recurrent_gdn2
from gdn_core.ops.channels import fused_recurrent_gla as fused_recurrent_gla
from gdn_core.ops.channels import fused_recurrent_kda as fused_recurrent_kda

Tensor = torch.Tensor

__all__ = [
    "chunk_delta_rule",
    "chunk_gated_delta_rule",
    "chunk_linear_attn",
    "chunk_simple_gla",
    "fused_recurrent_gated_delta_rule",
]


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
    given = arguments.supported("chunk_gated_delta_rule", kwargs, "use_gate_in_kernel", "A_log", "dt_bias")
    if given.get("use_gate_in_kernel"):
        g = arguments.log_decay(g, given.get("A_log"), given.get("dt_bias"), v)
    beta = arguments.opened(beta, sigmoid=use_beta_sigmoid_in_kernel, twice=allow_neg_eigval)
    return calls.run(
        "chunk", q, k, v, {"g": g, "beta": beta}, scale=scale, initial_state=initial_state, final=output_final_state,
        normalise=use_qk_l2norm_in_kernel, state_v_first=arguments.layout(state_v_first, given), cu_seqlens=cu_seqlens,
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
    given = arguments.supported(name, kwargs)
    if use_gate_in_kernel:
        g = arguments.log_decay(g, A_log, dt_bias, v)
    if beta is None:
        arguments.check_tensors({"v": v})
        beta = torch.ones(v.shape[:3], dtype=torch.float32, device=v.device)
    beta = arguments.opened(beta, sigmoid=use_beta_sigmoid_in_kernel, twice=allow_neg_eigval)
    gates = {"beta": beta} if g is None else {"g": g, "beta": beta}
    return calls.run(
        "recurrent", q, k, v, gates, scale=scale, initial_state=initial_state, final=output_final_state,
        normalise=use_qk_l2norm_in_kernel, state_v_first=arguments.layout(state_v_first, given), cu_seqlens=cu_seqlens,
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
    given = arguments.supported("chunk_delta_rule", kwargs)
    return calls.run(
        "chunk", q, k, v, {"beta": beta}, scale=scale, initial_state=initial_state, final=output_final_state,
        normalise=use_qk_l2norm_in_kernel, state_v_first=arguments.layout(state_v_first, given), cu_seqlens=cu_seqlens,
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
    given = arguments.supported("chunk_simple_gla", kwargs)
    if g_gamma is not None:
        if g is not None:
            raise ValueError("g_gamma: expected none beside g, got both: a rule has one decay")
        arguments.check_heads({"g_gamma": g_gamma}, v)
        g = g_gamma.expand(*v.shape[:2], -1)
    return calls.run(
        "chunk", q, k, v, {} if g is None else {"g": g}, scale=scale, initial_state=initial_state,
        final=output_final_state, state_v_first=arguments.layout(state_v_first, given), cu_seqlens=cu_seqlens,
        backend=backend,
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
        return calls.run("chunk", q, k, v, {}, initial_state=memory, final=output_final_state, **common)
    arguments.check_tensors({"q": q, "k": k, "v": v})
    checks.check_layout({"q": q, "k": k, "v": v}, no_tokens=True)
    narrow = v.dtype
    wide = torch.promote_types(torch.promote_types(q.dtype, k.dtype), torch.promote_types(narrow, torch.float32))
    q, k, v = q.to(wide), k.to(wide), v.to(wide)  # the dividend may be beyond the range of float16
    o, final_state = calls.run("chunk", q, k, v, {}, initial_state=memory, final=output_final_state, **common)
    # The sum of the keys is a memory whose value is always 1, and its output is the denominator.
    ones = torch.ones(*k.shape[:3], 1, dtype=wide, device=v.device)
    keys = keys if keys is None else keys.transpose(1, 2).transpose(2, 3)
    sums, keys = calls.run("chunk", q, k, ones, {}, initial_state=keys, final=True, **common)
    sums = sums.repeat_interleave(v.shape[2] // k.shape[2], dim=2) + 1e-10
    if keys is not None:
        keys = keys.transpose(2, 3).transpose(1, 2)
    mean = o / sums if calls.transforming() else _Quotient.apply(o, sums)
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
