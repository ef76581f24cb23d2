"""A chain of launches on exact numbers: tensors are buffers, and each launch runs as its kernel was compiled."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from derivations.engines.aten.degrees import Degrees
from derivations.engines.aten.numbers import Numbers
from derivations.engines.ir.addresses import Extents, Nowhere, corners, extent
from derivations.engines.ir.carrier import Carrier, NotModelled, Unsound
from derivations.engines.ir.degrees import OnDegrees
from derivations.engines.ir.evaluator import launch
from derivations.engines.ir.front import Compiled, compiled
from derivations.engines.ir.memory import Buffer, Descriptor, Memory
from derivations.engines.ir.operations import Machine, Value
from derivations.engines.ir.order import Lost, Order
from derivations.engines.ir.text import Function
from derivations.engines.unmodelled import note
from derivations.engines.used import use

BEHIND = "what becomes of this code on the way to machine code"
ELEMENTS = {
    torch.float64: "f64", torch.float32: "f32", torch.float16: "f16", torch.bfloat16: "bf16",
    torch.int64: "i64", torch.int32: "i32", torch.int16: "i16", torch.int8: "i8", torch.uint8: "i8", torch.bool: "i1",
}  # fmt: skip


class Chain:
    """Launches that follow each other, on the same buffers.

    Args:
        numbers: the field, or another arithmetic of entries.
        rng: draws what nobody knows.
        arch: compute capability of the target.
        level: of the code that runs, ``ttir`` or ``ttgir``.
        insist: read the text of a Triton that was not tested.
        edited: returns the text that is run in the place of a kernel's, by its name and text.
    """

    def __init__(
        self,
        numbers: Numbers | Carrier,
        rng: random.Random,
        *,
        arch: int,
        level: str = "ttir",
        insist: bool = False,
        edited: Callable[[str, str], str] | None = None,
    ) -> None:
        self._edited = edited
        arithmetic = OnDegrees if isinstance(numbers, Degrees) else Carrier
        self._carrier = numbers if isinstance(numbers, Carrier) else arithmetic(numbers)
        self._addresses_only = isinstance(numbers, Nowhere)
        self._memory = Extents() if self._addresses_only else Memory()
        self._rng = np.random.default_rng(rng.getrandbits(64))
        self._arch, self._level, self._insist = arch, level, insist
        self._addresses: dict[int, int] = {}  # of the first entry of each storage
        self._buffers: dict[int, Buffer] = {}
        self._kept: list[torch.Tensor] = []  # so that no storage takes the place of another
        self.kernels: set[str] = set()
        self.operations = 0

    def put(self, x: torch.Tensor, entries: np.ndarray) -> None:
        """Give a contiguous tensor, which may be of no device, its entries."""
        self._buffer(x, "an input").entries[:] = entries.reshape(-1)

    def get(self, x: torch.Tensor) -> np.ndarray:
        """Return the entries of a tensor."""
        buffer = self._buffer(x, "an output")
        bytes_each = buffer.entries.itemsize
        strides = [stride * bytes_each for stride in x.stride()]
        return np.lib.stride_tricks.as_strided(buffer.entries[x.storage_offset() :], x.shape, strides).copy()

    def _buffer(self, x: torch.Tensor, name: str) -> Buffer:
        storage = x.untyped_storage()
        key = storage._cdata
        if key not in self._buffers:
            size = int(storage.nbytes() // x.element_size())
            entries = None
            if x.device.type != "meta":  # a table that the host made
                whole = x.as_strided((size,), (1,), 0)
                floating = x.is_floating_point()
                entries = self._carrier.lifted(whole.double().numpy()) if floating else whole.long().numpy().copy()
            buffer = (extent if self._addresses_only else Buffer)(name, size, ELEMENTS[x.dtype], entries)
            self._addresses[key] = self._memory.add(buffer)
            self._buffers[key] = buffer
            self._kept.append(x)
        return self._buffers[key]

    def _address(self, x: torch.Tensor, name: str) -> int:
        self._buffer(x, name).name = name
        return self._addresses[x.untyped_storage()._cdata] + int(x.storage_offset())

    def run(self, kernel: Any, grid: tuple[int, ...], arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Run a launch.

        Raises:
            Unsound: if it does what fails on real numbers, or on real memory.
            NotModelled: if it does what has no meaning here.
        """
        made = compiled(kernel, arguments, options, arch=self._arch, level=self._level)
        if self._edited:
            made = replace(made, text=self._edited(made.name, made.text))
        x, y, z = (*grid, 1, 1)[:3]
        try:
            casts = self._launched(made, (x, y, z))
        except (Unsound, NotModelled) as error:
            raise type(error)(f"{made.name}: {error}") from error
        self.kernels.add(made.name)
        use("ir")
        for what in ("rounding", BEHIND, *casts):
            note(what)

    def _launched(self, made: Compiled, grid: tuple[int, int, int]) -> set[str]:
        """Run a launch, again where it has shown that its partitions do not wait for each other; return the casts."""
        function = made.function(insist=self._insist)
        given, lost = self._given(made, function), Lost()
        ordered = "ttg.local_alloc" in made.text and self._carrier.computes
        before = [buffer.entries.copy() for buffer in self._memory.buffers] if ordered else []
        while True:
            machine = Machine(self._carrier, self._memory, grid, self._rng)
            machine.order = Order(int(np.prod(grid)), lost) if ordered else None
            self.operations += launch(function, given, machine, corners(grid) if self._addresses_only else None)
            if not lost.more:
                return machine.casts
            lost.more = False
            for buffer, entries in zip(self._memory.buffers, before, strict=True):
                buffer.entries[:] = entries

    def run_all(self, launches: Iterable[Any]) -> None:
        """Run launches that were recorded, each with ``kernel``, ``grid``, ``arguments`` and ``options``."""
        for each in launches:
            self.run(each.kernel, each.grid, each.arguments, each.options)

    def _given(self, made: Compiled, function: Function) -> dict[str, Value]:
        """Pair the parameters of the code with the arguments of a launch."""
        values = [value for argument in made.arguments for value in self._value(*argument)]
        return dict(zip((name for name, _ in function.parameters), values, strict=True))

    def _value(self, name: str, kind: str, x: Any) -> list[Value]:
        if isinstance(x, torch.Tensor):
            return [np.array([self._address(x, name)])]
        if hasattr(x, "block_shape"):
            address = self._address(x.base, name)
            descriptor = Descriptor(address, x.shape, x.strides, x.block_shape)
            return [descriptor, *(np.array([int(n)]) for n in (*x.shape, *x.strides))]
        if isinstance(x, bool):
            return [np.array([x])]
        if isinstance(x, int) and not kind.startswith("fp"):
            return [np.array([x])]
        if isinstance(x, int | float):
            return [np.array([self._carrier.constant(float(np.float32(x)) if kind == "fp32" else x)])]
        raise NotModelled(f"the argument {name} of the type {type(x).__name__}")
