"""What the operators share: checks of values, autocast switched off, and launching kernels on their device."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from gdn_core.ops import checks, varlen

Tensor = torch.Tensor

DEBUG = "GDN_CORE_DEBUG"  # set to 1 to check every number of every call, on every device

_one_at_a_time = threading.Lock()  # Triton's interpreter is not thread-safe


def debugging() -> bool:
    """Tell whether every number of every call is to be checked."""
    return os.environ.get(DEBUG) == "1"


def named(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    g: Tensor | None,
    beta: Tensor | None,
    w: Tensor | None,
    initial_state: Tensor | None,
) -> dict[str, Tensor | None]:
    """Return arrays by the names that the caller knows: an erase gate beside a write gate is b."""
    gates = {"beta": beta} if w is None else {"b": beta, "w": w}
    return {"q": q, "k": k, "v": v, "g": g, **gates, "initial_state": initial_state}


def look(arrays: Mapping[str, Tensor | None], cu_seqlens: Tensor | None, T: int) -> None:
    """Check values: log decays and ``cu_seqlens`` on the CPU; with ``GDN_CORE_DEBUG=1`` every array on every device.

    The check runs in compiled graphs too. Off the CPU it waits for the device.

    Raises:
        ValueError: at the first number that is out of range.
    """
    debug = debugging()
    g = arrays["g"]
    if debug:
        for name, x in arrays.items():
            if x is not None and x.numel() and name != "g":
                checks.check_values(name, x)
        for name, meaning in (("beta", "erase and write gates"), ("b", "erase gates")):
            gate = arrays.get(name)
            if gate is not None and gate.numel():
                checks.check_values(name, gate, 0.0, 2.0, meaning=meaning)
    looked_at = g is not None and g.numel() and (debug or g.device.type == "cpu")
    if g is not None and looked_at and not bool(g.max() <= 0):  # NaN, too
        passing = g == -math.inf if debug else ~(g > 0)
        checks.check_values("g", g.masked_fill(passing, 0), high=0.0, meaning="log decays in nats")
    if cu_seqlens is not None and (debug or cu_seqlens.device.type == "cpu"):
        checks.check_bounds("cu_seqlens", cu_seqlens.tolist(), T)


def outside_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """Switch autocast off, which would run products in 16 bits."""
    device = x.device.type
    # Dynamo of PyTorch 2.11 cannot trace is_autocast_available. Only "meta" has no autocast, and is never compiled for.
    available = torch.compiler.is_compiling() or torch.amp.is_autocast_available(device)
    if available and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def launching(backend: str, x: Tensor) -> AbstractContextManager[Any]:
    """Launch kernels on the device of x, and in the interpreter one at a time."""
    if backend == "interpreter":
        return _one_at_a_time
    device = x.device
    if device.type != "cuda" or device.index == torch._C._cuda_getDevice():
        return nullcontext()
    return torch.cuda.device(device)


def contiguous(*tensors: Tensor | None) -> list[Any]:
    """Return the tensors contiguous, as kernels read them; None stays None."""
    return [None if x is None else x.contiguous() for x in tensors]


def room(v: Tensor, K: int, cu_seqlens: Tensor | None, *, state_v_first: bool, final: bool) -> tuple[Tensor, Tensor]:
    """Allocate outputs and final memories; without ``final`` the latter are an empty tensor."""
    HV, V = v.shape[-2:]
    N = varlen.count(cu_seqlens, v.shape[0])
    shape = (N, HV, *((V, K) if state_v_first else (K, V))) if final else (0,)
    return v.new_empty(v.shape), v.new_empty(shape, dtype=torch.promote_types(v.dtype, torch.float32))


def kv(state: Tensor | None, state_v_first: bool) -> Tensor | None:
    """View memories of either layout as [N, HV, K, V]."""
    return state.transpose(-1, -2) if state is not None and state_v_first else state
