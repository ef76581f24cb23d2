"""The tensor whose entries are exact, and what is noted while a program computes with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from derivations.engines.aten.numbers import Entries, NotModelled, Numbers


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


class Computation:
    """The run of a program on exact numbers: their arithmetic, and what the program was seen to do.

    Args:
        numbers: the field.

    Attributes:
        casts: the casts between float types, which are the identity here, with how often each ran.
        narrowed: the types to which numbers of a wider type were cast.
        operations: the names of the operations that ran on exact numbers.
        computed: the types in which sums, products and exponentials were computed.
    """

    def __init__(self, numbers: Numbers) -> None:
        super().__init__()
        self.numbers = numbers
        self.casts: Counter[str] = Counter()
        self.narrowed: set[torch.dtype] = set()
        self.operations: set[str] = set()
        self.computed: set[torch.dtype] = set()

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


Meaning = Callable[[Computation, Any, tuple[Any, ...], dict[str, Any]], Any]
