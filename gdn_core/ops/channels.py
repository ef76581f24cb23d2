"""The public functions of rules with a decay for each key channel: Kimi Delta Attention, GLA and Gated DeltaNet-2.

Symbols, the choice of a backend and what holds for every function are described in :mod:`gdn_core.ops.api`, from where
these can be imported too.
"""

from __future__ import annotations

from typing import Any

import torch

from gdn_core.ops import arguments, calls, rearranged
from gdn_core.ops.backends import Backend

Tensor = torch.Tensor

__all__ = [
    "chunk_gdn2",
    "chunk_gla",
    "chunk_kda",
    "fused_recurrent_gdn2",
    "fused_recurrent_gla",
    "fused_recurrent_kda",
]


def chunk_kda(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    beta: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    safe_gate: bool = False,
    lower_bound: float | None = None,
    disable_recompute: bool = False,
    return_intermediate_states: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    cp_context: Any = None,
    use_graph: bool = False,
    max_num_seqs: int | None = None,
    *,
    backend: Backend | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Run Kimi Delta Attention in chunks: Gated DeltaNet with a decay for each key channel.

    Args:
        q: queries, [B, T, H, K], bfloat16, float16 or float32, or float64.
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V].
        g: log decay in nats, [B, T, HV, K], <= 0; -inf forgets what the channel holds.
        beta: erase and write gate, [B, T, HV], in [0, 2].
        scale: factor on the queries; K**-0.5 by default.
        initial_state: memory before each sequence, [N, HV, K, V]; zero by default.
        output_final_state: return the memory after each sequence.
        use_qk_l2norm_in_kernel: divide queries and keys by their length first, with 1e-6 inside the root.
        use_gate_in_kernel: g is given before its activation, -exp(A_log) * softplus(g + dt_bias), or with
            ``lower_bound`` lower_bound * sigmoid(exp(A_log) * (g + dt_bias)).
        use_beta_sigmoid_in_kernel: beta is given before its sigmoid.
        allow_neg_eigval: twice the sigmoid; only with ``use_beta_sigmoid_in_kernel``.
        safe_gate: the log decays are -5 at least; with ``use_gate_in_kernel`` it needs a ``lower_bound`` of -5 to 0.
        lower_bound: the smallest log decay, below 0; it acts with ``use_gate_in_kernel`` only.
        disable_recompute: swallowed.
        return_intermediate_states: not supported.
        state_v_first: states are [N, HV, V, K].
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1], int32 or int64.
        cu_seqlens_cpu: swallowed.
        cp_context: not supported.
        use_graph: not supported.
        max_num_seqs: swallowed.
        backend: what to run on; chosen by default.
        kwargs: ``A_log`` [HV] and ``dt_bias`` [HV * K] or None, which act with ``use_gate_in_kernel``; with
            ``lower_bound`` A_log may be None, for a factor of 1; ``transpose_state_layout``, the former name of
            ``state_v_first``; ``chunk_indices``, and ``chunk_size`` of a size that fla takes, without effect.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the final memories in float32, or None.

    Raises:
        TypeError: if an array holds no floating-point numbers, or an argument is not supported.
        ValueError: if sizes, devices, numbers or layouts do not fit, or the backend cannot run this.

    Source: Kimi Linear, arXiv 2510.26692, eq. 1.
    """
    given = arguments.supported(
        "chunk_kda",
        kwargs | {"cp_context": cp_context, "return_intermediate_states": return_intermediate_states}
        | {"use_graph": use_graph},
        "A_log",
        "dt_bias",
    )  # fmt: skip
    if use_gate_in_kernel:
        arguments.check_bound(lower_bound, safe=safe_gate)
        g = arguments.log_decay(
            g, given.get("A_log"), given.get("dt_bias"), v, channels=True, lower_bound=lower_bound
        )  # fmt: skip
    beta = arguments.opened(beta, sigmoid=use_beta_sigmoid_in_kernel, twice=allow_neg_eigval)
    return calls.run(
        "chunk", q, k, v, {"g": g, "beta": beta}, scale=scale, initial_state=initial_state, final=output_final_state,
        normalise=use_qk_l2norm_in_kernel, state_v_first=arguments.layout(state_v_first, given), cu_seqlens=cu_seqlens,
        backend=backend, channels={"g": "K"},
    )  # fmt: skip


def fused_recurrent_kda(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    beta: Tensor,
    A_log: Tensor | None = None,
    dt_bias: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    use_beta_sigmoid_in_kernel: bool = False,
    allow_neg_eigval: bool = False,
    lower_bound: float | None = None,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    *,
    backend: Backend | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Run Kimi Delta Attention token by token, to decode: T = 1 with a state is its main case.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V].
        g: log decay in nats, [B, T, HV, K], <= 0.
        beta: erase and write gate, [B, T, HV], in [0, 2].
        A_log: decay parameter, [HV]; with ``lower_bound`` None for a factor of 1.
        dt_bias: bias of g, [HV * K]; none by default.
        scale: factor on the queries; K**-0.5 by default.
        initial_state: memory before each sequence, [N, HV, K, V]; zero by default.
        output_final_state: return the memory after each sequence.
        use_qk_l2norm_in_kernel: divide queries and keys by their length first, with 1e-6 inside the root.
        use_gate_in_kernel: g is given before its activation, -exp(A_log) * softplus(g + dt_bias), or with
            ``lower_bound`` lower_bound * sigmoid(exp(A_log) * (g + dt_bias)).
        use_beta_sigmoid_in_kernel: beta is given before its sigmoid.
        allow_neg_eigval: twice the sigmoid; only with ``use_beta_sigmoid_in_kernel``.
        lower_bound: the smallest log decay, below 0; it acts with ``use_gate_in_kernel`` only.
        state_v_first: states are [N, HV, V, K].
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1], int32 or int64.
        backend: what to run on; chosen by default.
        kwargs: ``transpose_state_layout``, the former name of ``state_v_first``; ``cu_seqlens_cpu``,
            ``chunk_indices``, and ``chunk_size`` of a size that fla takes, without effect.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the final memories in float32, or None.

    Raises:
        TypeError: if an array holds no floating-point numbers, or an argument is not supported.
        ValueError: if sizes, devices, numbers or layouts do not fit, or the backend cannot run this.
    """
    given = arguments.supported("fused_recurrent_kda", kwargs)
    if use_gate_in_kernel:
        arguments.check_bound(lower_bound)
        g = arguments.log_decay(g, A_log, dt_bias, v, channels=True, lower_bound=lower_bound)
    beta = arguments.opened(beta, sigmoid=use_beta_sigmoid_in_kernel, twice=allow_neg_eigval)
    return calls.run(
        "recurrent", q, k, v, {"g": g, "beta": beta}, scale=scale, initial_state=initial_state,
        final=output_final_state, normalise=use_qk_l2norm_in_kernel,
        state_v_first=arguments.layout(state_v_first, given), cu_seqlens=cu_seqlens, backend=backend,
        channels={"g": "K"},
    )  # fmt: skip


def chunk_gla(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    *,
    backend: Backend | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Run gated linear attention (GLA) in chunks: a decay for each key channel, and nothing is erased.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V].
        g: log decay in nats, [B, T, HV, K], <= 0.
        scale: factor on the queries; K**-0.5 by default.
        initial_state: memory before each sequence, [N, HV, K, V]; zero by default.
        output_final_state: return the memory after each sequence.
        state_v_first: states are [N, HV, V, K].
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1], int32 or int64.
        cu_seqlens_cpu: swallowed.
        backend: what to run on; chosen by default.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the final memories in float32, or None.

    Raises:
        TypeError: if an array holds no floating-point numbers, or an argument is not supported.
        ValueError: if sizes, devices, numbers or layouts do not fit, or the backend cannot run this.

    Source: Gated Linear Attention Transformers, arXiv 2312.06635, eq. 3.
    """
    return calls.run(
        "chunk", q, k, v, {"g": g}, scale=scale, initial_state=initial_state, final=output_final_state,
        state_v_first=state_v_first, cu_seqlens=cu_seqlens, backend=backend, channels={"g": "K"},
    )  # fmt: skip


def fused_recurrent_gla(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    gk: Tensor | None = None,
    gv: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    *,
    backend: Backend | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Run gated linear attention (GLA) token by token, to decode: T = 1 with a state is its main case.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V].
        gk: log decay in nats, [B, T, HV, K], <= 0; none by default. Messages about its numbers call it g.
        gv: log decay of each value channel, [B, T, HV, V], <= 0; none by default. Each value channel then runs as a
            head of its own, which is slow.
        scale: factor on the queries; K**-0.5 by default.
        initial_state: memory before each sequence, [N, HV, K, V]; zero by default.
        output_final_state: return the memory after each sequence.
        reverse: read the tokens of each sequence from the last to the first.
        state_v_first: states are [N, HV, V, K].
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1], int32 or int64.
        backend: what to run on; chosen by default.
        kwargs: as of :func:`fused_recurrent_kda`.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the final memories in float32, or None.

    Raises:
        TypeError: if an array holds no floating-point numbers, or an argument is not supported.
        ValueError: if sizes, devices, numbers or layouts do not fit, or the backend cannot run this.
    """
    given = arguments.supported("fused_recurrent_gla", kwargs)
    gates = {name: x for name, x in (("gk", gk), ("gv", gv)) if x is not None}
    return rearranged.run(
        "recurrent", q, k, v, gates, scale=scale, initial_state=initial_state, final=output_final_state,
        state_v_first=arguments.layout(state_v_first, given), cu_seqlens=cu_seqlens, reverse=reverse, backend=backend,
        channels={name: {"gk": "K", "gv": "V"}[name] for name in gates} or None,
    )  # fmt: skip


def chunk_gdn2(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    b: Tensor,
    w: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    cu_seqlens: Tensor | None = None,
    cu_seqlens_cpu: Tensor | None = None,
    safe_gate: bool = False,
    lower_bound: float | None = None,
    disable_recompute: bool = False,
    return_intermediate_states: bool = False,
    state_v_first: bool = False,
    cp_context: Any = None,
    *,
    backend: Backend | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Run Gated DeltaNet-2 in chunks: a decay and an erase gate a key channel, and a write gate a value channel.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V].
        g: log decay in nats, [B, T, HV, K], <= 0.
        b: erase gate, [B, T, HV, K], in [0, 2].
        w: write gate, [B, T, HV, V].
        scale: factor on the queries; K**-0.5 by default.
        initial_state: memory before each sequence, [N, HV, K, V]; zero by default.
        output_final_state: return the memory after each sequence.
        use_qk_l2norm_in_kernel: divide queries and keys by their length first, with 1e-6 inside the root.
        use_gate_in_kernel: g is given before its activation, -exp(A_log) * softplus(g + dt_bias), or with
            ``lower_bound`` lower_bound * sigmoid(exp(A_log) * (g + dt_bias)).
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1], int32 or int64.
        cu_seqlens_cpu: swallowed.
        safe_gate: the log decays are -5 at least; with ``use_gate_in_kernel`` it needs a ``lower_bound`` of -5 to 0.
        lower_bound: the smallest log decay, below 0; it acts with ``use_gate_in_kernel`` only.
        disable_recompute: swallowed.
        return_intermediate_states: not supported.
        state_v_first: states are [N, HV, V, K].
        cp_context: not supported.
        backend: what to run on; chosen by default.
        kwargs: as of :func:`chunk_kda`.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the final memories in float32, or None.

    Raises:
        TypeError: if an array holds no floating-point numbers, or an argument is not supported.
        ValueError: if sizes, devices, numbers or layouts do not fit, or the backend cannot run this.

    Source: Gated DeltaNet-2, arXiv 2605.22791, eq. 10.
    """
    given = arguments.supported(
        "chunk_gdn2",
        kwargs | {"cp_context": cp_context, "return_intermediate_states": return_intermediate_states},
        "A_log",
        "dt_bias",
    )
    if use_gate_in_kernel:
        arguments.check_bound(lower_bound, safe=safe_gate)
        g = arguments.log_decay(
            g, given.get("A_log"), given.get("dt_bias"), v, channels=True, lower_bound=lower_bound
        )  # fmt: skip
    return calls.run(
        "chunk", q, k, v, {"g": g, "b": b, "w": w}, scale=scale, initial_state=initial_state, final=output_final_state,
        normalise=use_qk_l2norm_in_kernel, state_v_first=arguments.layout(state_v_first, given), cu_seqlens=cu_seqlens,
        backend=backend, channels={"g": "K", "b": "K", "w": "V"},
    )  # fmt: skip


def fused_recurrent_gdn2(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor,
    b: Tensor,
    w: Tensor,
    A_log: Tensor | None = None,
    dt_bias: Tensor | None = None,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    use_gate_in_kernel: bool = False,
    lower_bound: float | None = None,
    state_v_first: bool = False,
    cu_seqlens: Tensor | None = None,
    *,
    backend: Backend | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Run Gated DeltaNet-2 token by token, to decode: T = 1 with a state is its main case.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V].
        g: log decay in nats, [B, T, HV, K], <= 0.
        b: erase gate, [B, T, HV, K], in [0, 2].
        w: write gate, [B, T, HV, V].
        A_log: decay parameter, [HV]; with ``lower_bound`` None for a factor of 1.
        dt_bias: bias of g, [HV * K]; none by default.
        scale: factor on the queries; K**-0.5 by default.
        initial_state: memory before each sequence, [N, HV, K, V]; zero by default.
        output_final_state: return the memory after each sequence.
        use_qk_l2norm_in_kernel: divide queries and keys by their length first, with 1e-6 inside the root.
        use_gate_in_kernel: g is given before its activation, -exp(A_log) * softplus(g + dt_bias), or with
            ``lower_bound`` lower_bound * sigmoid(exp(A_log) * (g + dt_bias)).
        lower_bound: the smallest log decay, below 0; it acts with ``use_gate_in_kernel`` only.
        state_v_first: states are [N, HV, V, K].
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1], int32 or int64.
        backend: what to run on; chosen by default.
        kwargs: as of :func:`fused_recurrent_kda`.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the final memories in float32, or None.

    Raises:
        TypeError: if an array holds no floating-point numbers, or an argument is not supported.
        ValueError: if sizes, devices, numbers or layouts do not fit, or the backend cannot run this.
    """
    given = arguments.supported("fused_recurrent_gdn2", kwargs)
    if use_gate_in_kernel:
        arguments.check_bound(lower_bound)
        g = arguments.log_decay(g, A_log, dt_bias, v, channels=True, lower_bound=lower_bound)
    return calls.run(
        "recurrent", q, k, v, {"g": g, "b": b, "w": w}, scale=scale, initial_state=initial_state,
        final=output_final_state, normalise=use_qk_l2norm_in_kernel,
        state_v_first=arguments.layout(state_v_first, given), cu_seqlens=cu_seqlens, backend=backend,
        channels={"g": "K", "b": "K", "w": "V"},
    )  # fmt: skip
