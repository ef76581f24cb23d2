"""Shared memory and asynchronous copies: what a copy writes is no number until a wait covers it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from derivations.engines.ir.carrier import EMPTY, NotModelled
from derivations.engines.ir.operations import MEANINGS, Machine, Meaning, Operands, Value, gathered
from derivations.engines.ir.order import Order
from derivations.engines.ir.text import Operation, Type, parsed_type

TOKEN = np.zeros(1, np.int64)  # of an asynchronous copy, which waits by number here


@dataclass(frozen=True)
class Shared:
    """A buffer in shared memory, or a part of one; each program has its own.

    Args:
        entries: those of all programs of the launch, [programs, ...].
        places: the index that was taken of the first axis behind the programs, for each program, if any.
        part: what is seen of each axis that is left.
        axes: the order of the axes that are seen, if they were transposed.
        order: of accesses.
        views: the entries as they are seen in other ways, to which writing leaves no number.
    """

    entries: np.ndarray
    places: np.ndarray | None = None
    part: tuple[slice, ...] = ()
    axes: tuple[int, ...] | None = None
    order: Order | None = None
    views: list[np.ndarray] = field(default_factory=list)

    def _index(self, programs: np.ndarray) -> tuple[Any, ...]:
        return (programs, *(() if self.places is None else (self.places[programs],)), *self.part)

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of what is seen, before it was transposed."""
        return self.entries[self._index(np.zeros(1, np.int64))].shape[1:]

    def load(self, programs: np.ndarray, queued: tuple[int, np.ndarray] | None = None) -> np.ndarray:
        """Return the entries that some programs see.

        Args:
            programs: the programs.
            queued: the agent of a copy or product that reads, and when it is.
        """
        index = self._index(programs)
        found = self.entries[index]
        if self.order is not None:
            found = self.order.read(self.entries, programs, self.places, found, index, queued)
        return found if self.axes is None else found.transpose(0, *(1 + axis for axis in self.axes))

    def store(
        self, programs: np.ndarray, values: np.ndarray, copy: tuple[np.ndarray, np.ndarray] | None = None
    ) -> None:  # fmt: skip
        """Write all entries that some programs see.

        Args:
            programs: the programs.
            values: what they write.
            copy: the agent of each and when it is, if a copy writes.
        """
        if not self.entries.flags.writeable:  # of no numbers
            return
        if self.axes is not None and values.ndim:
            values = values.transpose(0, *(1 + self.axes.index(axis) for axis in range(len(self.axes))))
        index = self._index(programs)
        if self.order is not None:
            before = self.entries[index]
            changed = np.ones(before.shape, bool) if copy is not None else before != values
            self.order.write(self.entries, programs, self.places, index, changed, copy)
        self.entries[index] = values
        for view in self.views:
            if view is not self.entries:
                view[programs] = EMPTY

    def sliced(self, starts: tuple[int, ...], shape: tuple[int, ...]) -> Shared:
        """Return a part that starts at a place of what is seen."""
        if self.part and self.axes is not None:
            raise NotModelled("a part of a transposed part of shared memory")
        before = self.part or tuple(slice(0, None) for _ in shape)
        if self.axes is not None:
            starts, shape = (tuple(of[self.axes.index(axis)] for axis in range(len(of))) for of in (starts, shape))
        part = tuple(slice(of.start + first, of.start + first + size)
                     for of, first, size in zip(before, starts, shape, strict=True))  # fmt: skip
        return replace(self, part=part)


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
    shape = (x * y * z, *kind.shape)
    if not machine.carrier.computes:
        return Shared(np.broadcast_to(np.int64(0), shape))
    made = Shared(np.full(shape, EMPTY), order=machine.order)
    made.views.append(made.entries)
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
    if of.places is not None or of.part or of.axes is not None:
        raise NotModelled(f"a part of a part of shared memory: {operation.text}")
    if not machine.carrier.computes:
        place = np.zeros_like(place)  # a loop whose rounds are left out does not say which
    if (place < 0).any() or (place >= of.entries.shape[1]).any():
        raise NotModelled(f"a part of shared memory outside of it: {operation.text}")
    places = np.zeros(len(of.entries), np.int64)
    places[programs] = place
    return replace(of, places=places)


@_means("ttg.memdesc_trans")
def _transpose(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    order = re.search(r"order = array<i32: ([\d, ]+)>", operation.head)
    if order is None or operands[0].axes is not None:
        raise NotModelled(f"a transposition without an order, or a second one: {operation.text}")
    return replace(operands[0], axes=tuple(int(axis) for axis in order[1].split(",")))


@_means("ttg.memdesc_reinterpret")
def _reinterpret(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    """See memory in another layout: what was written in one is no number in the other."""
    (of,) = operands
    if of.places is not None or of.part or of.axes is not None:
        raise NotModelled(f"a part of shared memory in another layout: {operation.text}")
    shape = _memory(operation.makes[0].element).shape
    if not machine.carrier.computes:
        return Shared(np.broadcast_to(np.int64(0), (len(of.entries), *shape)))
    made = Shared(np.full((len(of.entries), *shape), EMPTY), order=of.order, views=of.views)
    made.views.append(made.entries)
    return made


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
    (of,) = operands
    if of.order is not None:
        of.order.free(of.entries, programs)
    replace(of, order=None).store(programs, np.int64(EMPTY))
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
