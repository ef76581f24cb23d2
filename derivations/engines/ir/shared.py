"""Shared memory and asynchronous copies: what a copy writes is no number until a wait covers it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from derivations.engines.ir.carrier import EMPTY, NotModelled
from derivations.engines.ir.operations import MEANINGS, Machine, Meaning, Operands, Value, gathered
from derivations.engines.ir.text import Operation, Type, parsed_type

TOKEN = np.zeros(1, np.int64)  # of an asynchronous copy, which waits by number here


@dataclass(frozen=True)
class Shared:
    """A buffer in shared memory, or a part of one; each program has its own.

    Args:
        entries: those of all programs of the launch, [programs, ...].
        places: the index that was taken of the first axis behind the programs, for each program, if any.
        part: what is seen of each axis that is left.
        order: the order of the axes that are seen, if they were transposed.
    """

    entries: np.ndarray
    places: np.ndarray | None = None
    part: tuple[slice, ...] = ()
    order: tuple[int, ...] | None = None

    def _index(self, programs: np.ndarray) -> tuple[Any, ...]:
        return (programs, *(() if self.places is None else (self.places[programs],)), *self.part)

    def load(self, programs: np.ndarray) -> np.ndarray:
        """Return the entries that some programs see."""
        found = self.entries[self._index(programs)]
        return found if self.order is None else found.transpose(0, *(1 + axis for axis in self.order))

    def store(self, programs: np.ndarray, values: np.ndarray) -> None:
        """Write all entries that some programs see."""
        if self.order is not None and values.ndim:
            values = values.transpose(0, *(1 + self.order.index(axis) for axis in range(len(self.order))))
        self.entries[self._index(programs)] = values

    def sliced(self, starts: tuple[int, ...], shape: tuple[int, ...]) -> Shared:
        """Return a part that starts at a place of what is seen."""
        if self.part and self.order is not None:
            raise NotModelled("a part of a transposed part of shared memory")
        before = self.part or tuple(slice(0, None) for _ in shape)
        if self.order is not None:
            starts, shape = (tuple(of[self.order.index(axis)] for axis in range(len(of))) for of in (starts, shape))
        part = tuple(slice(of.start + first, of.start + first + size)
                     for of, first, size in zip(before, starts, shape, strict=True))  # fmt: skip
        return Shared(self.entries, self.places, part, self.order)


@dataclass
class Group:
    """Copies that are waited for together: the programs that have not yet waited for them, and how each ends."""

    waiting: np.ndarray
    copies: list[Callable[[np.ndarray], None]] = field(default_factory=list)


def _means(*names: str) -> Callable[[Meaning], Meaning]:
    def add(run: Meaning) -> Meaning:
        MEANINGS.update(dict.fromkeys(names, run))
        return run

    return add


def _memory(text: str) -> Type:
    """Return the shape and the entries of the type of a buffer in shared memory."""
    inside = re.search(r"<([^,]*)", text)
    if inside is None:
        raise NotModelled(f"shared memory of the type {text}")
    return parsed_type(f"tensor<{inside[1]}>")


@_means("ttg.local_alloc")
def _allocate(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    kind = _memory(operation.makes[0].element)
    x, y, z = machine.grid
    made = Shared(np.full((x * y * z, *kind.shape), EMPTY))
    if operands:
        made.store(programs, operands[0])
    return made


@_means("ttg.local_store")
def _store(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    operands[1].store(programs, operands[0])
    return None


@_means("ttg.local_load")
def _load(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    return operands[0].load(programs)


@_means("ttg.memdesc_index")
def _index(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    of, place = operands
    if of.places is not None or of.part or of.order is not None:
        raise NotModelled(f"a part of a part of shared memory: {operation.text}")
    if (place < 0).any() or (place >= of.entries.shape[1]).any():
        raise NotModelled(f"a part of shared memory outside of it: {operation.text}")
    places = np.zeros(len(of.entries), np.int64)
    places[programs] = place
    return Shared(of.entries, places)


@_means("ttg.memdesc_trans")
def _transpose(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    order = re.search(r"order = array<i32: ([\d, ]+)>", operation.head)
    if order is None or operands[0].order is not None:
        raise NotModelled(f"a transposition without an order, or a second one: {operation.text}")
    of = operands[0]
    return Shared(of.entries, of.places, of.part, tuple(int(axis) for axis in order[1].split(",")))


@_means("ttg.memdesc_subslice")
def _subslice(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    starts = re.search(r"\[([\d, ]+)\]", operation.head)
    if starts is None:
        raise NotModelled(f"a part of shared memory without a place: {operation.text}")
    shape = _memory(operation.makes[0].element).shape
    return operands[0].sliced(tuple(int(start) for start in starts[1].split(",")), shape)


@_means("ttg.convert_layout")
def _layout(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    return operands[0]


@_means("ttg.local_dealloc")
def _free(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    operands[0].store(programs, np.int64(EMPTY))
    return None


@_means("ttg.async_copy_global_to_local")
def _copy(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    addresses, to, *rest = operands
    mask = rest.pop(0) if " mask " in operation.head else None
    other = rest.pop(0) if " other " in operation.head else None
    values = gathered(machine, programs, operation.takes[0], addresses, mask, other)
    values = np.broadcast_to(values, (len(programs), *values.shape[1:]))
    to.store(programs, np.int64(EMPTY))
    at = np.full(len(to.entries), -1)
    at[programs] = np.arange(len(programs))
    machine.copies.append(lambda of: to.store(of, values[at[of]]))
    return TOKEN


@_means("ttg.async_commit_group")
def _commit(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    x, y, z = machine.grid
    waiting = np.zeros(x * y * z, bool)
    waiting[programs] = True
    machine.groups.append(Group(waiting, machine.copies))
    machine.copies = []
    return TOKEN


@_means("ttg.async_wait")
def _wait(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    """End all groups of copies but the last so many, for the programs that wait."""
    number = operation.number("num")
    later: Any = np.zeros(len(machine.groups[0].waiting) if machine.groups else 0, np.int64)
    for group in reversed(machine.groups):
        ready = np.zeros(len(later), bool)
        ready[programs] = True
        ready &= group.waiting & (later >= number)
        later = later + group.waiting
        if ready.any():
            for copy in group.copies:
                copy(np.flatnonzero(ready))
            group.waiting &= ~ready
    machine.groups = [group for group in machine.groups if group.waiting.any()]
    return TOKEN
