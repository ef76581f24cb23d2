"""How every operator runs: the look at numbers, autocast switched off, and kernels launched on their device."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

from gdn_core.ops import checks, varlen

Tensor = torch.Tensor

DEBUG = "GDN_CORE_DEBUG"  # set to 1: every number of every call is checked, on every device

_one_at_a_time = threading.Lock()  # Triton's interpreter is not thread-safe


def look(arrays: Mapping[str, Tensor | None], cu_seqlens: Tensor | None, T: int) -> None:
    """Check what only the numbers can tell: log decays and bounds on the CPU, all of it everywhere under the switch.

    It is looked where a compiled graph runs too. Off the CPU a look waits for the device.

    Raises:
        ValueError: at the first number that is out of place.
    """
    debug = os.environ.get(DEBUG) == "1"
    g, beta = arrays["g"], arrays["beta"]
    if debug:
        for name, x in arrays.items():
            if x is not None and x.numel() and name != "g":
                checks.check_values(name, x)
        if beta is not None and beta.numel():
            checks.check_values("beta", beta, 0.0, 2.0, meaning="erase and write gates")
    looked_at = g is not None and g.numel() and (debug or g.device.type == "cpu")
    if g is not None and looked_at and not bool(g.max() <= 0):  # NaN, too
        passing = g == -math.inf if debug else ~(g > 0)
        checks.check_values("g", g.masked_fill(passing, 0), high=0.0, meaning="log decays in nats")
    if cu_seqlens is not None and (debug or cu_seqlens.device.type == "cpu"):
        checks.check_bounds("cu_seqlens", cu_seqlens.tolist(), T)


def outside_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """Compute in the dtypes that are written: autocast would have products in 16 bits."""
    device = x.device.type
    # Dynamo of PyTorch 2.11 does not trace the first question. Nobody compiles for a device without autocast, "meta".
    available = torch.compiler.is_compiling() or torch.amp.is_autocast_available(device)
    if available and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


@contextmanager
def launching(backend: str, x: Tensor) -> Iterator[None]:
    """Launch kernels on the device of x, and in the interpreter one at a time."""
    device = torch.cuda.device(x.device) if x.device.type == "cuda" else nullcontext()
    with _one_at_a_time if backend == "interpreter" else nullcontext(), device:
        yield


def contiguous(*tensors: Tensor | None) -> list[Any]:
    """Lay arrays out as kernels read them."""
    return [None if x is None else x.contiguous() for x in tensors]


def room(v: Tensor, K: int, cu_seqlens: Tensor | None, *, state_v_first: bool, final: bool) -> tuple[Tensor, Tensor]:
    """Make room for outputs, and for final memories, which have no elements where they are not asked for."""
    HV, V = v.shape[-2:]
    N = varlen.count(cu_seqlens, v.shape[0])
    shape = (N, HV, *((V, K) if state_v_first else (K, V))) if final else (0,)
    return v.new_empty(v.shape), v.new_empty(shape, dtype=torch.promote_types(v.dtype, torch.float32))


def kv(state: Tensor | None, state_v_first: bool) -> Tensor | None:
    """View memories of either layout as [N, HV, K, V]."""
    return state.transpose(-1, -2) if state is not None and state_v_first else state
