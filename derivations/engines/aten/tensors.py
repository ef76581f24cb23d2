"""The tensor whose entries are exact, and the mode that sends every ATen operation of a program to its meaning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from derivations.engines.aten.numbers import EMPTY, Entries, NotModelled, Numbers
from derivations.engines.unmodelled import note
from derivations.engines.used import use

Call = tuple[Any, tuple[Any, ...], dict[str, Any]]


class Exact(torch.Tensor):
    """A tensor of floats, as the program sees it, with exact entries.

    Args:
        entries: the entries; a view of them is a view of the tensor.
        dtype: the floating-point type that the program sees.
    """

    entries: Entries

    @staticmethod
    def __new__(cls, entries: Entries, dtype: torch.dtype) -> Exact:  # noqa: D102
        made = torch.Tensor._make_wrapper_subclass(
            cls, entries.shape, strides=entries.stride(), storage_offset=entries.storage_offset(), dtype=dtype,
            device=entries.device,
        )  # fmt: skip
        made.entries = entries
        return made

    def __repr__(self, **options: Any) -> str:  # type: ignore[override]
        return f"Exact({list(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Refuse: outside of the mode an exact tensor has no operations."""
        raise NotModelled(f"{func}, outside of the program that is checked")


class Magnitude(Exact):
    """The absolute values of exact entries, which have no order: only whether they are infinite can be asked."""


class Exactly(TorchDispatchMode):
    """A mode in which ATen operations run on exact numbers.

    Args:
        numbers: the field.

    Attributes:
        casts: the casts between float types, which are the identity here, with how often each ran.
        narrowed: the types to which numbers of a wider type were cast.
        operations: the names of the operations that ran on exact numbers.
        computed: the types in which sums, products and exponentials were computed.
    """

    def __init__(self, numbers: Numbers) -> None:
        from derivations.engines.aten.operations import FACTORIES, meaning  # which needs the tensor

        super().__init__()
        self._meaning, self._factories = meaning, FACTORIES
        self.numbers = numbers
        self.casts: Counter[str] = Counter()
        self.narrowed: set[torch.dtype] = set()
        self.operations: set[str] = set()
        self.computed: set[torch.dtype] = set()

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
            run = self._meaning(func)
            if run is None:
                if func._can_decompose():
                    with self:
                        return func.decompose(*args, **kwargs)
                raise NotModelled(f"the operation {func}")
            return run(self, func, args, kwargs)
        made = func(*args, **kwargs)
        if name in self._factories and made.dtype.is_floating_point:
            empty = "empty" in name
            return Exact(torch.full_like(made, EMPTY, dtype=torch.int64) if empty else self.numbers.lifted(made),
                         made.dtype)  # fmt: skip
        return made

    @property
    def unmodelled(self) -> tuple[str, ...]:
        """What is not modelled of the operations that ran, in words."""
        return ("rounding", *(f"the cast of {cast}" for cast in sorted(self.casts)))

    def entries(self, x: Any) -> Entries:
        """Return the entries of an exact tensor, of an ordinary one, or of a number."""
        if isinstance(x, Exact):
            return x.entries
        if isinstance(x, torch.Tensor):
            return self.numbers.lifted(x)
        return torch.tensor(self.numbers.constant(x))

    def cast(self, of: torch.dtype, to: torch.dtype) -> None:
        """Note a cast.

        Raises:
            NotModelled: if it rounds to integers.
        """
        if not to.is_floating_point:
            raise NotModelled(f"a cast of {_short(of)} to {_short(to)}")
        if of != to and of.is_floating_point:
            self.casts[f"{_short(of)} to {_short(to)}"] += 1
            if torch.promote_types(of, to) != to:
                self.narrowed.add(to)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


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


Meaning = Callable[[Exactly, Any, tuple[Any, ...], dict[str, Any]], Any]
