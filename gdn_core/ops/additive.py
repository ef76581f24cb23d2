"""Functions of the rules that erase nothing and have one decay a head or none: Mamba-2, RetNet, linear attention.

Symbols, the choice of a backend and what holds for every function are described in :mod:`gdn_core.ops.api`, from where
these functions are imported.
"""

from __future__ import annotations

from typing import Any

import torch

from gdn_core.ops import arguments, calls, checks, rearranged
from gdn_core.ops.backends import Backend, Form

Tensor = torch.Tensor

__all__ = [
    "chunk_linear_attn",
    "chunk_retention",
    "chunk_simple_gla",
    "fused_recurrent_linear_attn",
    "fused_recurrent_retention",
    "fused_recurrent_simple_gla",
]


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
    cu_seqlens_cpu: Tensor | None = None,
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
        cu_seqlens_cpu: no effect here.
        backend: what to run on; chosen by default.
        kwargs: ``chunk_indices``, and ``chunk_size``, a power of 2, both without effect.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the final memories in float32, or None.

    Raises:
        TypeError: if an array holds no floating-point numbers, or an argument is not supported.
        ValueError: if sizes, devices, numbers or layouts do not fit, both decays are given, or the backend cannot run
            this.
    """
    given = arguments.supported("chunk_simple_gla", kwargs)
    return calls.run(
        "chunk", q, k, v, _decay(g, g_gamma, v), scale=scale, initial_state=initial_state, final=output_final_state,
        state_v_first=arguments.layout(state_v_first, given), cu_seqlens=cu_seqlens, backend=backend,
    )  # fmt: skip


def fused_recurrent_simple_gla(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None = None,
    g_gamma: Tensor | None = None,
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
    """Run Mamba-2's or RetNet's rule token by token, to decode: T = 1 with a state is its main case.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, HV, V].
        g: log decay in nats, [B, T, HV], <= 0, for Mamba-2; none by default.
        g_gamma: log decay in nats, [HV], <= 0, the same for every token, for RetNet.
        scale: factor on the queries; K**-0.5 by default.
        initial_state: memory before each sequence, [N, HV, K, V]; zero by default. It is left as it was.
        output_final_state: return the memory after each sequence.
        reverse: read the tokens of each sequence from the last to the first.
        state_v_first: states are [N, HV, V, K].
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1], int32 or int64.
        backend: what to run on; chosen by default.
        kwargs: as of :func:`chunk_simple_gla`, and ``transpose_state_layout``, the former name of ``state_v_first``.

    Returns:
        Outputs [B, T, HV, V] in the dtype of v, and the final memories in float32, or None.

    Raises:
        TypeError: if an array holds no floating-point numbers, or an argument is not supported.
        ValueError: if sizes, devices, numbers or layouts do not fit, both decays are given, or the backend cannot run
            this.
    """
    given = arguments.supported("fused_recurrent_simple_gla", kwargs)
    return rearranged.run(
        "recurrent", q, k, v, _decay(g, g_gamma, v), scale=scale, initial_state=initial_state,
        final=output_final_state, state_v_first=arguments.layout(state_v_first, given), cu_seqlens=cu_seqlens,
        reverse=reverse, backend=backend,
    )  # fmt: skip


def _decay(g: Tensor | None, g_gamma: Tensor | None, v: Tensor) -> dict[str, Tensor]:
    """Return the log decay of every token and head, if there is one."""
    if g_gamma is None:
        return {} if g is None else {"g": g}
    if g is not None:
        raise ValueError("g_gamma: expected none beside g, got both: a rule has one decay")
    arguments.check_heads({"g_gamma": g_gamma}, v)
    return {"g": g_gamma.expand(*v.shape[:2], -1)}


def chunk_retention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: Tensor | None = None,
    *,
    backend: Backend | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Run RetNet in chunks: head h decays by 1 - 2**(-5 - h) at every token, and nothing is erased.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, H, V].
        scale: factor on the queries; K**-0.5 by default.
        initial_state: memory before each sequence, [N, H, K, V]; zero by default.
        output_final_state: return the memory after each sequence.
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1], int32 or int64.
        backend: what to run on; chosen by default.
        kwargs: as of :func:`chunk_simple_gla`.

    Returns:
        Outputs [B, T, H, V] in the dtype of v, and the final memories in float32, or None.

    Raises:
        TypeError: if an array holds no floating-point numbers, or an argument is not supported.
        ValueError: if sizes, devices, numbers or layouts do not fit, or the backend cannot run this.

    Source: Retentive Network, arXiv 2307.08621, eqs. 5 to 8; as in fla, without the rotation of queries and keys, which
    the layer does.
    """
    given = arguments.supported("chunk_retention", kwargs)
    return calls.run(
        "chunk", q, k, v, _retention(q, k, v), scale=scale, initial_state=initial_state, final=output_final_state,
        state_v_first=arguments.layout(False, given), cu_seqlens=cu_seqlens, backend=backend,
    )  # fmt: skip


def fused_recurrent_retention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
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
    """Run RetNet token by token, to decode: T = 1 with a state is its main case.

    Args:
        q: queries, [B, T, H, K].
        k: keys, [B, T, H, K].
        v: values, [B, T, H, V].
        scale: factor on the queries; K**-0.5 by default.
        initial_state: memory before each sequence, [N, H, K, V]; zero by default. It is left as it was.
        output_final_state: return the memory after each sequence.
        reverse: read the tokens of each sequence from the last to the first.
        state_v_first: states are [N, H, V, K].
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1], int32 or int64.
        backend: what to run on; chosen by default.
        kwargs: as of :func:`fused_recurrent_simple_gla`.

    Returns:
        Outputs [B, T, H, V] in the dtype of v, and the final memories in float32, or None.

    Raises:
        TypeError: if an array holds no floating-point numbers, or an argument is not supported.
        ValueError: if sizes, devices, numbers or layouts do not fit, or the backend cannot run this.

    Source: Retentive Network, arXiv 2307.08621, eqs. 5 to 8.
    """
    given = arguments.supported("fused_recurrent_retention", kwargs)
    return rearranged.run(
        "recurrent", q, k, v, _retention(q, k, v), scale=scale, initial_state=initial_state, final=output_final_state,
        state_v_first=arguments.layout(state_v_first, given), cu_seqlens=cu_seqlens, reverse=reverse, backend=backend,
    )  # fmt: skip


def _retention(q: Tensor, k: Tensor, v: Tensor) -> dict[str, Tensor]:
    """Return RetNet's log decays, of as many heads as the keys have."""
    arguments.check_tensors({"q": q, "k": k, "v": v})
    sizes = checks.check_layout({"q": q, "k": k, "v": v}, no_tokens=True)
    if sizes.HV != sizes.H:
        raise ValueError(f"v: expected as many heads as k has, {sizes.H}, got {sizes.HV}")
    heads = torch.arange(sizes.H, dtype=torch.float32, device=v.device)
    return _decay(None, torch.log1p(-(2.0 ** (-5 - heads))), v)


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
    return _linear("chunk", q, k, v, scale, initial_state, output_final_state, normalize, cu_seqlens, backend)


def fused_recurrent_linear_attn(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    initial_state: Tensor | tuple[Tensor, Tensor] | None = None,
    output_final_state: bool = False,
    reverse: bool = False,
    normalize: bool = False,
    cu_seqlens: Tensor | None = None,
    *,
    backend: Backend | None = None,
) -> tuple[Tensor, Any]:
    """Run linear attention token by token, to decode: T = 1 with a state is its main case.

    Args:
        q: queries after their feature map, [B, T, H, K].
        k: keys after their feature map, [B, T, H, K].
        v: values, [B, T, HV, V].
        scale: factor on the queries; K**-0.5 by default.
        initial_state: as of :func:`chunk_linear_attn`. It is left as it was.
        output_final_state: return what ``initial_state`` takes.
        reverse: read the tokens of each sequence from the last to the first.
        normalize: divide outputs by the query times the sum of the keys so far, plus 1e-10.
        cu_seqlens: where each packed sequence starts, and the last one ends, [N + 1], int32 or int64.
        backend: what to run on; chosen by default.

    Returns:
        As :func:`chunk_linear_attn`.

    Raises:
        TypeError: if an array holds no floating-point numbers.
        ValueError: if sizes, devices, numbers or layouts do not fit, or the backend cannot run this.

    Source: Transformers are RNNs, arXiv 2006.16236, eqs 16 to 20; the scale divides out but for the 1e-10.
    """
    return _linear(
        "recurrent", q, k, v, scale, initial_state, output_final_state, normalize, cu_seqlens, backend, reverse=reverse
    )


def _linear(
    form: Form,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None,
    initial_state: Tensor | tuple[Tensor, Tensor] | None,
    final: bool,
    normalize: bool,
    cu_seqlens: Tensor | None,
    backend: Backend | None,
    *,
    reverse: bool = False,
) -> tuple[Tensor, Any]:
    """Run linear attention in either form."""
    memory, keys = initial_state if isinstance(initial_state, tuple) else (initial_state, None)
    if not normalize and keys is not None:
        raise ValueError("initial_state: expected a memory without normalize, got a pair")
    common: dict[str, Any] = {"scale": scale, "cu_seqlens": cu_seqlens, "backend": backend, "reverse": reverse}
    if not normalize:
        return rearranged.run(form, q, k, v, {}, initial_state=memory, final=final, **common)
    arguments.check_tensors({"q": q, "k": k, "v": v})
    checks.check_layout({"q": q, "k": k, "v": v}, no_tokens=True)
    narrow = v.dtype
    wide = torch.promote_types(torch.promote_types(q.dtype, k.dtype), torch.promote_types(narrow, torch.float32))
    q, k, v = q.to(wide), k.to(wide), v.to(wide)  # the dividend may be beyond the range of float16
    o, final_state = rearranged.run(form, q, k, v, {}, initial_state=memory, final=final, **common)
    # The sum of the keys is a memory whose value is always 1, and its output is the denominator.
    ones = torch.ones(*k.shape[:3], 1, dtype=wide, device=v.device)
    keys = keys if keys is None else keys.transpose(1, 2).transpose(2, 3)
    sums, keys = rearranged.run(form, q, k, ones, {}, initial_state=keys, final=True, **common)
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
