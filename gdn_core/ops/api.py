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

The functions with a decay for each channel (``kda``, ``gla``, ``gdn2``) are defined in :mod:`gdn_core.ops.channels`,
those that erase nothing and have one decay a head or none (``simple_gla``, ``retention``, ``linear_attn``) in
:mod:`gdn_core.ops.additive`.
"""

from __future__ import annotations

from typing import Any

from gdn_core import extras

try:
    import torch
except ModuleNotFoundError as error:
    raise extras.explained(error) from None

from gdn_core.ops import arguments, calls, checks, rearranged
from gdn_core.ops.additive import chunk_linear_attn as chunk_linear_attn
from gdn_core.ops.additive import chunk_retention as chunk_retention
from gdn_core.ops.additive import chunk_simple_gla as chunk_simple_gla
from gdn_core.ops.additive import fused_recurrent_linear_attn as fused_recurrent_linear_attn
from gdn_core.ops.additive import fused_recurrent_retention as fused_recurrent_retention
from gdn_core.ops.additive import fused_recurrent_simple_gla as fused_recurrent_simple_gla
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
    "fused_recurrent_delta_rule",
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
    cu_seqlens_cpu: Tensor | None = None,
    chunk_indices: Tensor | None = None,
    cp_context: Any = None,
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
        cu_seqlens_cpu: no effect here.
        chunk_indices: no effect here.
        cp_context: not supported.
        backend: what to run on; chosen by default.
        kwargs: ``use_gate_in_kernel`` with ``A_log`` [HV] and ``dt_bias`` [HV] or None: g is given before its
            activation, -exp(A_log) * softplus(g + dt_bias); ``transpose_state_layout``, the former name of
            ``state_v_first``; ``chunk_size`` of 16, 32 or 64, without effect.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the final memories in float32, or None.

    Raises:
        TypeError: if an array holds no floating-point numbers, or an argument is not supported.
        ValueError: if sizes, devices, numbers or layouts do not fit, or the backend cannot run this.

    Source: Gated DeltaNet, arXiv 2412.06464, eq. 10, with the decay before the error.
    """
    given = arguments.supported(
        "chunk_gated_delta_rule", kwargs | {"cp_context": cp_context}, "use_gate_in_kernel", "A_log", "dt_bias"
    )
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
        gk: log decay of each key channel, [B, T, HV, K], <= 0; none by default. It adds to g.
        gv: log decay of each value channel, [B, T, HV, V], <= 0; none by default. It adds to g and gk. Each value
            channel then runs as a head of its own, which is slow.
        beta: erase and write gate, [B, T, HV], in [0, 2]; 1 by default. One for each value channel, [B, T, HV, V], is
            run as ``gv`` is.
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
    given = arguments.supported("fused_recurrent_gated_delta_rule", kwargs)
    if use_gate_in_kernel:
        g = arguments.log_decay(g, A_log, dt_bias, v)
    beta = arguments.opened(_beta(beta, v), sigmoid=use_beta_sigmoid_in_kernel, twice=allow_neg_eigval)
    gates = {"beta": beta} if g is None else {"g": g, "beta": beta}
    common: dict[str, Any] = {
        "scale": scale, "initial_state": initial_state, "final": output_final_state, "cu_seqlens": cu_seqlens,
        "normalise": use_qk_l2norm_in_kernel, "state_v_first": arguments.layout(state_v_first, given),
        "backend": backend,
    }  # fmt: skip
    if gk is None and gv is None and beta.ndim != 4:
        return calls.run("recurrent", q, k, v, gates, **common)
    channels = {"beta": "V"} if beta.ndim == 4 else {}
    if gk is not None:
        arguments.check_tensors({"gk": gk, "v": v})
        if g is not None:
            checks.check_shape("g", g, (("B", "T", "HV"),), dict(zip(("B", "T", "HV"), gk.shape, strict=False)))
            gk = gk + gates.pop("g")[..., None]
        gates["gk"], channels["gk"] = gk, "K"
    if gv is not None:
        gates["gv"], channels["gv"] = gv, "V"
    return rearranged.run("recurrent", q, k, v, gates, channels=channels, **common)


def _beta(beta: Tensor | None, v: Tensor) -> Tensor:
    """Return the erase and write gate, 1 by default."""
    arguments.check_tensors({"v": v} if beta is None else {"v": v, "beta": beta})
    return torch.ones(v.shape[:3], dtype=torch.float32, device=v.device) if beta is None else beta


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
    cu_seqlens_cpu: Tensor | None = None,
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
        cu_seqlens_cpu: no effect here.
        state_v_first: states are [N, HV, V, K].
        backend: what to run on; chosen by default.
        kwargs: ``chunk_indices``, and ``chunk_size`` of 16, 32 or 64, both without effect.

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


def fused_recurrent_delta_rule(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    beta: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    cu_seqlens: Tensor | None = None,
    *,
    state_v_first: bool = False,
    backend: Backend | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Run DeltaNet token by token, to decode: Gated DeltaNet without decay.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V].
        beta: erase and write gate, [B, T, HV], in [0, 2]; 1 by default. One for each value channel, [B, T, HV, V], runs
            each value channel as a head of its own, which is slow.
        scale: factor on the queries; K**-0.5 by default.
        initial_state: memory before each sequence, [N, HV, K, V]; zero by default. It is left as it was.
        output_final_state: return the memory after each sequence.
        use_qk_l2norm_in_kernel: divide queries and keys by their length first, with 1e-6 inside the root.
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1], int32 or int64.
        state_v_first: states are [N, HV, V, K].
        backend: what to run on; chosen by default.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the final memories in float32, or None.

    Raises:
        TypeError: if an array holds no floating-point numbers.
        ValueError: if sizes, devices, numbers or layouts do not fit, or the backend cannot run this.

    Source: Parallelizing Linear Transformers with the Delta Rule, arXiv 2406.06484.
    """
    return fused_recurrent_gated_delta_rule(
        q, k, v, beta=beta, scale=scale, initial_state=initial_state, output_final_state=output_final_state,
        use_qk_l2norm_in_kernel=use_qk_l2norm_in_kernel, state_v_first=state_v_first, cu_seqlens=cu_seqlens,
        backend=backend,
    )  # fmt: skip
