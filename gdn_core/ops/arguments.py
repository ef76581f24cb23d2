"""What fla's arguments mean here: those that are refused, former names, and gates given before their activation."""

from __future__ import annotations

import warnings
from typing import Any

import torch
import torch.nn.functional as F

from gdn_core.ops import checks
from gdn_core.ops.torch import precision

Tensor = torch.Tensor

HINTS = ("cu_seqlens_cpu", "chunk_indices", "chunk_size")  # arguments that change only fla's speed


def supported(name: str, kwargs: dict[str, Any], *more: str) -> dict[str, Any]:
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


def log_decay(g: Tensor | None, A_log: Tensor | None, dt_bias: Tensor | None, v: Tensor) -> Tensor:
    """Return the log decays -exp(A_log) * softplus(g + dt_bias), which are at least -exp(80).

    The product is computed as one exponential of a sum of logs, since a factor may underflow or overflow where the
    product does not. A decay of exp(-exp(80)) is 0 in every dtype, and the gradient of its log is 0.
    """
    for argument, x in (("g", g), ("A_log", A_log)):
        if x is None:
            raise ValueError(f"{argument}: expected an array with use_gate_in_kernel, got none")
    assert g is not None and A_log is not None  # for mypy: the loop has checked it
    check_tensors({"g": g})
    checks.check_floating("g", g)
    check_heads({"A_log": A_log} if dt_bias is None else {"A_log": A_log, "dt_bias": dt_bias}, v)
    if v.ndim == 4:
        checks.check_shape("g", g, (("B", "T", "HV"),), dict(zip(("B", "T", "HV"), v.shape[:3], strict=True)))
    wide = precision.wide(v.device)
    x = g.to(wide) if dt_bias is None else g.to(wide) + dt_bias.to(wide)
    small = x < -37  # here softplus equals exp to the last digit of float64
    logs = torch.where(small, x, (-F.logsigmoid(-x.masked_fill(small, 0))).log())
    return -(A_log.to(wide) + logs).clamp(max=80).exp().to(torch.promote_types(g.dtype, torch.float32))


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
