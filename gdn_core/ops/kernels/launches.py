"""Launch kernels, or record what a pass would launch, so that it is planned once and replayed.

A launcher calls ``launcher(kernel, grid)`` and passes the result its arguments. While a pass is recorded its inputs are
meta tensors: allocations cost nothing, and every tensor keeps the place that it has in its storage. Only allocations,
views and launches may occur in such a pass; any other operation on its tensors raises ``NotPlanned``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

Grid = tuple[int, ...]

_aten = torch.ops.aten
ALLOCATIONS = {
    _aten.empty.memory_format,
    _aten.empty_like.default,
    _aten.empty_strided.default,
    _aten.new_empty.default,
    _aten.new_empty_strided.default,
}


class NotPlanned(Exception):
    """A pass does more than allocate and launch, and cannot be replayed."""


class Scale(float):
    """The factor on the queries of a recorded pass: it is known in the arguments by what it is, not by its value."""


@dataclass(frozen=True)
class Launch:
    """A launch that was recorded.

    Args:
        kernel: Triton's function.
        grid: its programs.
        arguments: those given by place.
        options: those given by name, and the options of compilation.
    """

    kernel: Any
    grid: Grid
    arguments: tuple[Any, ...]
    options: dict[str, Any]


@dataclass
class Recorder:
    """What a recorded pass launches, in order.

    Args:
        device: the device that it is planned for.
        launches: its launches.
        allocated: every tensor that it allocated, alive so that no storage takes the name of another.
    """

    device: torch.device
    launches: list[Launch] = field(default_factory=list)
    allocated: list[Tensor] = field(default_factory=list)

    def add(self, kernel: Any, grid: Grid, *arguments: Any, **options: Any) -> None:
        """Record a launch."""
        self.launches.append(Launch(kernel, grid, arguments, options))


class _Here(threading.local):
    recorder: Recorder | None = None


_here = _Here()


class _Guard(TorchDispatchMode):
    """Let allocations and views of meta tensors pass, and refuse every other operation on them."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and found.device.type == "meta":
            if func in ALLOCATIONS:
                assert _here.recorder is not None
                _here.recorder.allocated.append(found)
            elif not func.is_view:
                raise NotPlanned(f"{func} is neither an allocation nor a view")
        return found


def launcher(kernel: Any, grid: Grid) -> Callable[..., Any]:
    """Return the function that launches a kernel on a grid, or that records the launch."""
    recorder = _here.recorder
    return kernel[grid] if recorder is None else partial(recorder.add, kernel, grid)


def device_of(x: Tensor) -> torch.device:
    """Return the device that work on x is launched on."""
    recorder = _here.recorder
    return x.device if recorder is None else recorder.device


@contextmanager
def recording(device: torch.device) -> Iterator[Recorder]:
    """Record launches instead of launching, in this thread."""
    recorder = _here.recorder = Recorder(device)
    try:
        with _Guard():
            yield recorder
    finally:
        _here.recorder = None


@contextmanager
def unrecorded() -> Iterator[None]:
    """Compute and launch at once, also while a pass is recorded: for tables that depend on shapes alone."""
    recorder, _here.recorder = _here.recorder, None
    try:
        with _disable_current_modes():
            yield
    finally:
        _here.recorder = recorder
