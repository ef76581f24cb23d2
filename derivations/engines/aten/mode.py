"""The mode that sends every ATen operation of a program to its meaning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from derivations.engines.aten.numbers import EMPTY, NotModelled, Numbers
from derivations.engines.aten.operations import FACTORIES, meaning
from derivations.engines.aten.tensors import Computation, Exact, Magnitude
from derivations.engines.unmodelled import note
from derivations.engines.used import use


class Exactly(Computation, TorchDispatchMode):
    """A mode in which ATen operations run on exact numbers."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Return False: nothing is compiled here, and the wrapper that PyTorch would add costs a third of the time."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one ATen operation."""
        kwargs = kwargs or {}
        kinds = set(_kinds(args, kwargs))
        name = func.overloadpacket.__name__
        if Exact in kinds or Magnitude in kinds:
            if Magnitude in kinds and name not in ("eq", "ne"):
                raise NotModelled("the absolute value of a number, which has no order here")
            self.operations.add(name)
            run = meaning(func)
            if run is None:
                if func._can_decompose():
                    with self:
                        return func.decompose(*args, **kwargs)
                raise NotModelled(f"the operation {func}")
            return run(self, func, args, kwargs)
        made = func(*args, **kwargs)
        if name in FACTORIES and made.dtype.is_floating_point:
            empty = "empty" in name
            return Exact(torch.full_like(made, EMPTY, dtype=torch.int64) if empty else self.numbers.lifted(made),
                         made.dtype)  # fmt: skip
        return made


def _kinds(args: Any, kwargs: dict[str, Any]) -> Iterator[type]:
    """Yield the types of the arguments of an operation, and those in its lists."""
    for x in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(x, list | tuple):
            yield from map(type, x)
        else:
            yield type(x)


@contextmanager
def exactly(numbers: Numbers) -> Iterator[Exactly]:
    """Run the program inside a ``with`` block on exact numbers."""
    mode = Exactly(numbers)
    try:
        with torch.no_grad(), mode:
            yield mode
    finally:
        for what in mode.unmodelled:
            note(what)
        if mode.operations:
            use("aten")
