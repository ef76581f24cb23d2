"""What fla's arguments mean here: those that are refused, former names, and gates given before their activation."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
import torch.nn.functional as F

from gdn_core.ops import checks
from gdn_core.ops.torch import precision

Tensor = torch.Tensor

HINTS = ("cu_seqlens_cpu", "chunk_indices", "chunk_size")  # arguments that change only fla's speed

CHUNK_SIZES = {  # those that fla takes
    "chunk_gated_delta_rule": (16, 32, 64),
    "chunk_delta_rule": (16, 32, 64),
    "chunk_kda": (32, 64),
    "chunk_gdn2": (64,),
}

REFUSED = {
    "cp_context": "one sequence is not shared by several devices",
    "return_intermediate_states": "memories between chunks are not returned",
    "use_graph": "where the sequences end is read on the host",
}


def supported(name: str, kwargs: dict[str, Any], *more: str) -> dict[str, Any]:
    """Return those of fla's extra arguments that act here; refuse unsupported ones.

    Args:
        name: the function's name.
        kwargs: the arguments by name.
        more: names of further arguments that the function takes.

    Raises:
        DeprecationWarning: if ``head_first`` is given, as fla does.
        TypeError: if one is not supported.
        ValueError: if ``chunk_size`` is none that fla takes.
    """
    for argument, x in kwargs.items():
        if argument == "head_first":
            raise DeprecationWarning(f"{name} does not take head_first: arrays are [B, T, H, ...]")
        if argument == "chunk_size":
            _check_chunk_size(name, x)
        if argument in REFUSED:
            if x is None or x is False:
                continue
            raise TypeError(f"{name} does not take {argument}: {REFUSED[argument]}")
        if argument not in (*HINTS, "transpose_state_layout", *more):
            raise TypeError(f"{name} does not take {argument}")
    return {argument: x for argument, x in kwargs.items() if argument not in (*HINTS, *REFUSED)}


def _check_chunk_size(name: str, size: int | None) -> None:
    """Check a chunk size, which has no effect here, as fla does."""
    if size is None:
        return
    sizes = CHUNK_SIZES.get(name)
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"chunk_size: expected an integer, got {checks.shown(size)}")
    if sizes is None and (size < 1 or size & (size - 1)):
        raise ValueError(f"chunk_size: expected a power of 2, got {size}")
    if sizes is not None and size not in sizes:
        *most, last = map(str, sizes)
        wanted = f"{', '.join(most)} or {last}" if most else last
        raise ValueError(f"chunk_size: expected {wanted}, got {size}")


def layout(state_v_first: bool, given: dict[str, Any]) -> bool:
    """Return ``state_v_first``, which may be given by its former name."""
    former = given.get("transpose_state_layout")
    if former is None:
        return state_v_first
    if state_v_first:
        raise ValueError("transpose_state_layout: expected none beside state_v_first, its new name, got both")
    warnings.warn("transpose_state_layout is called state_v_first now", DeprecationWarning, stacklevel=3)
    return bool(former)


def check_tensors(arrays: dict[str, Any]) -> None:
    """Refuse anything but tensors: the other checks accept NumPy arrays too."""
    for name, x in arrays.items():
        if not isinstance(x, Tensor):
            kind = f"{type(x).__module__}.".removeprefix("builtins.") + type(x).__name__
            raise TypeError(f"{name}: expected a torch.Tensor, got {kind}")


def check_heads(arrays: dict[str, Tensor], v: Tensor) -> None:
    """Check arrays with one number for each head of v."""
    check_tensors({**arrays, "v": v})
    for name, x in arrays.items():
        checks.check_floating(name, x)
        checks.check_shape(name, x, (("HV",),), {"HV": v.shape[2]} if v.ndim == 4 else {})
    checks.check_device({"v": v, **arrays})


def check_bound(lower_bound: float | None, *, safe: bool = False) -> None:
    """Check the smallest log decay of a gate before its activation.

    Args:
        lower_bound: the bound, below 0; None for none.
        safe: whether the caller promises log decays of -5 at least.

    Raises:
        TypeError: if it is no number.
        ValueError: if it is not below 0; or, where ``safe``, if it is missing or below -5.
    """
    if lower_bound is not None:
        checks.check_number("lower_bound", lower_bound, -5.0 if safe else -math.inf, 0.0)
    if lower_bound == 0 or (safe and lower_bound is None):
        raise ValueError(f"lower_bound: expected a log decay below 0, got {lower_bound}")


def log_decay(
    g: Tensor | None,
    A_log: Tensor | None,
    dt_bias: Tensor | None,
    v: Tensor,
    *,
    channels: bool = False,
    lower_bound: float | None = None,
) -> Tensor:
    """Return the log decays of gates before their activation.

    They are -exp(A_log) * softplus(g + dt_bias), which is at least -exp(80). The product is computed as one exponential
    of a sum of logs, since a factor may underflow or overflow where the product does not. A decay of exp(-exp(80)) is 0
    in every dtype, and the gradient of its log is 0. With a lower bound they are lower_bound * sigmoid(exp(A_log) *
    (g + dt_bias)).

    Args:
        g: the gates, [B, T, HV], or with ``channels`` [B, T, HV, K].
        A_log: decay parameter, [HV]; with a lower bound None for a factor of 1.
        dt_bias: bias, [HV], or with ``channels`` [HV * K]; None for zero.
        v: values, whose heads and device count.
        channels: each key channel has a decay.
        lower_bound: the smallest log decay, below 0; None for the softplus.

    Raises:
        TypeError: if one is no array of floating-point numbers.
        ValueError: if an array is missing, or has another shape or device.
    """
    for argument, x in (("g", g), ("A_log", A_log)):
        if x is None and not (lower_bound is not None and argument == "A_log"):
            raise ValueError(f"{argument}: expected an array with use_gate_in_kernel, got none")
    assert g is not None  # for mypy: the loop has checked it
    check_tensors({"g": g, "v": v})
    checks.check_floating("g", g)
    axes = ("B", "T", "HV", "K") if channels else ("B", "T", "HV")
    if v.ndim == 4:
        checks.check_shape("g", g, (axes,), dict(zip(axes[:3], v.shape[:3], strict=True)))
    K = g.shape[-1] if channels else 1
    of_heads = {"A_log": A_log, "dt_bias": None if channels else dt_bias}
    check_heads({name: x for name, x in of_heads.items() if x is not None}, v)
    if channels and dt_bias is not None:
        check_tensors({"dt_bias": dt_bias})
        checks.check_floating("dt_bias", dt_bias)
        checks.check_shape("dt_bias", dt_bias, (("HV * K",),), {"HV * K": v.shape[2] * K})
        checks.check_device({"v": v, "dt_bias": dt_bias})
    wide, dtype = precision.wide(v.device), torch.promote_types(g.dtype, torch.float32)
    x, A = g.to(wide), None if A_log is None else A_log.to(wide)
    if dt_bias is not None:
        x = x + (dt_bias.to(wide).view(-1, K) if channels else dt_bias.to(wide))
    if A is not None and channels:
        A = A[:, None]
    if lower_bound is not None:
        return (lower_bound * (x if A is None else A.clamp(max=80).exp() * x).sigmoid()).to(dtype)
    assert A is not None  # for mypy, too
    small = x < -37  # here softplus equals exp to the last digit of float64
    logs = torch.where(small, x, (-F.logsigmoid(-x.masked_fill(small, 0))).log())
    return -(A + logs).clamp(max=80).exp().to(dtype)


def opened(beta: Tensor, *, sigmoid: bool, twice: bool) -> Tensor:
    """Return beta; with ``sigmoid`` the sigmoid of it, with ``twice`` twice that."""
    if twice and not sigmoid:
        raise ValueError("allow_neg_eigval: expected use_beta_sigmoid_in_kernel with it: it doubles the sigmoid")
    if not sigmoid:
        return beta
    check_tensors({"beta": beta})
    checks.check_floating("beta", beta)
    opened = beta.to(torch.promote_types(beta.dtype, torch.float32)).sigmoid()
    return 2 * opened if twice else opened
