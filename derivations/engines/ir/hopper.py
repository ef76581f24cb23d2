"""Hopper's own operations: copies by tensor maps, barriers that count, products of warp groups, and partitions.

What a copy writes is no number until a wait for its barrier, and neither is a product before it was waited for. What
is copied out of shared memory is read as late as may be: when the copy is waited for. Partitions take turns at each
barrier, in a random order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field

import numpy as np

from derivations.engines.ir.carrier import EMPTY, NotModelled, Unsound
from derivations.engines.ir.operations import MEANINGS, Machine, Meaning, Operands, Value, read_tile, write_tile
from derivations.engines.ir.shared import Shared
from derivations.engines.ir.text import Operation


@dataclass
class Barriers:
    """Barriers in shared memory: for each program and place the arrivals that a phase needs, and what is missing."""

    count: np.ndarray
    missing: np.ndarray
    bytes: np.ndarray
    phase: np.ndarray
    copies: list[tuple[np.ndarray, np.ndarray, np.ndarray, int, Callable[[np.ndarray], None]]] = field(
        default_factory=list
    )  # programs, which are still to land, places, bytes, and how they end

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> Barriers:
        """Return barriers that were not made yet."""
        count, missing, size, phase = (np.zeros(shape, np.int64) for _ in range(4))
        return cls(count, missing, size, phase)

    def land(self, programs: np.ndarray, places: np.ndarray) -> None:
        """End the copies that some programs wait for, each at its place."""
        kept = []
        for of, there, where, size, end in self.copies:
            mine = there & np.isin(of, programs) & (where == places[of])
            if mine.any():
                end(of[mine])
                self.bytes[of[mine], where[mine]] -= size
                there = there & ~mine
            if there.any():
                kept.append((of, there, where, size, end))
        self.copies = kept
        self.turn(programs, places[programs])

    def turn(self, programs: np.ndarray, places: np.ndarray) -> None:
        """Begin the next phase where nothing is missing."""
        done = (self.missing[programs, places] == 0) & (self.bytes[programs, places] == 0)
        at = programs[done], places[done]
        self.phase[at] ^= 1
        self.missing[at] = self.count[at]

    def arrive(self, programs: np.ndarray, places: np.ndarray, number: int) -> None:
        """Count arrivals."""
        self.missing[programs, places] -= number
        if (self.missing[programs, places] < 0).any():
            raise Unsound("more arrivals at a barrier than its phase has")
        self.turn(programs, places)


def _means(*names: str) -> Callable[[Meaning], Meaning]:
    def add(run: Meaning) -> Meaning:
        MEANINGS.update(dict.fromkeys(names, run))
        return run

    return add


def _barrier(machine: Machine, x: Shared) -> tuple[Barriers, np.ndarray]:
    found = machine.barriers.get(id(x.entries))
    if found is None:
        found = machine.barriers[id(x.entries)] = Barriers.of(x.entries.shape[:2])
        machine.kept.append(x.entries)
    places = np.zeros(len(x.entries), np.int64) if x.places is None else x.places
    return found, places


def _under(programs: np.ndarray, condition: np.ndarray) -> np.ndarray:
    """Return the programs for which a condition holds."""
    return programs[np.broadcast_to(condition, programs.shape)]


@_means("ttng.init_barrier")
def _init(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    barriers, places = _barrier(machine, operands[0])
    number = int(operation.head.rpartition(",")[2])
    at = programs, places[programs]
    barriers.count[at] = barriers.missing[at] = number
    barriers.bytes[at] = barriers.phase[at] = 0
    return None


@_means("ttng.inval_barrier", "ttng.fence_async_shared")
def _nothing(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    return None


@_means("ttng.barrier_expect")
def _expect(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    barriers, places = _barrier(machine, operands[0])
    of = _under(programs, operands[1])
    barriers.bytes[of, places[of]] += int(operation.head.split(",")[1])
    barriers.arrive(of, places[of], 1)
    machine.switch(None)
    return None


@_means("ttng.arrive_barrier")
def _arrive(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    barriers, places = _barrier(machine, operands[0])
    of = _under(programs, operands[1]) if len(operands) > 1 else programs
    barriers.arrive(of, places[of], int(operation.head.split(",")[1]))
    machine.switch(None)
    return None


@_means("ttng.wait_barrier")
def _wait(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    barriers, places = _barrier(machine, operands[0])
    phase = np.broadcast_to(operands[1], programs.shape)
    wanted = np.broadcast_to(operands[2], programs.shape) if len(operands) > 2 else np.ones(programs.shape, bool)

    def passed() -> bool:
        late = wanted & (barriers.phase[programs, places[programs]] == phase)
        if late.any():
            barriers.land(programs[late], places)
            late = wanted & (barriers.phase[programs, places[programs]] == phase)
        return not late.any()

    machine.switch(passed)
    return None


@_means("ttng.async_tma_copy_global_to_local")
def _copy_in(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    descriptor, *starts, to, bar, condition = operands
    of = _under(programs, condition)
    if not len(of):
        return None
    chosen = np.flatnonzero(np.broadcast_to(condition, programs.shape))
    starts = [x[chosen] if x.shape[0] > 1 else x for x in starts]
    values = read_tile(machine, of, operation.takes[0], descriptor, starts)
    shape = to.load(of[:1]).shape[1:]
    values = np.broadcast_to(values.reshape(len(of), *shape), (len(of), *shape))
    to.store(of, np.int64(EMPTY))
    at = np.full(len(to.entries), -1)
    at[of] = np.arange(len(of))
    barriers, places = _barrier(machine, bar)
    size = int(np.prod(shape)) * _bytes(operation)
    copy = of, np.ones(len(of), bool), places[of], size, lambda which: to.store(which, values[at[which]])
    barriers.copies.append(copy)
    return None


def _bytes(operation: Operation) -> int:
    """Return the bytes of an entry of a tile."""
    return 4 if "f32" in operation.takes[0].element else 2


@_means("ttng.async_tma_copy_local_to_global")
def _copy_out(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    descriptor, *starts, source = operands
    before = source.load(programs).copy()

    def end() -> None:
        now = source.load(programs)
        write_tile(machine, programs, operation.takes[0], descriptor, starts, np.where(now == before, now, EMPTY))

    machine.stores.setdefault(machine.turn, []).append(end)
    return None


@_means("ttng.async_tma_store_wait")
def _store_wait(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    stores = machine.stores.setdefault(machine.turn, [])
    while len(stores) > operation.number("pendings"):
        stores.pop(0)()
    return None


@_means("ttng.warp_group_dot")
def _dot(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    a, b, c, *use = operands
    a, b = (x.load(programs) if isinstance(x, Shared) else x for x in (a, b))
    pending = machine.products.setdefault(machine.turn, [])
    for waiting, value in pending:
        c = value if c is waiting else c
    if use:
        if not (use[0] == use[0].flat[0]).all():
            raise NotModelled(f"a product that some programs add: {operation.text}")
        c = c if use[0].flat[0] else np.zeros_like(c)
    made = machine.carrier.matrices(a, b, c)
    if not operation.flag("isAsync"):
        return made
    hidden = np.full(made.shape, EMPTY)
    pending.append((hidden, made))
    return hidden


@_means("ttng.warp_group_dot_wait")
def _dot_wait(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    pending = machine.products.setdefault(machine.turn, [])
    number = len(pending) - operation.number("pendings")
    done, machine.products[machine.turn] = pending[: max(number, 0)], pending[max(number, 0) :]
    known = {id(hidden): made for hidden, made in done}
    return [known.get(id(x), x) for x in operands]


class _Stopped(BaseException):
    """Ends a partition whose launch has failed."""


class Partitions:
    """Partitions of a launch, each in a thread, of which one runs at a time.

    Args:
        machine: of the launch.
        bodies: what each partition runs.
    """

    def __init__(self, machine: Machine, bodies: list[Callable[[], None]]) -> None:
        self._machine = machine
        self._failed: list[Exception] = []
        self._go = [threading.Semaphore(0) for _ in bodies]
        self._back = threading.Semaphore(0)
        self._ready: dict[int, Callable[[], bool] | None] = dict.fromkeys(range(len(bodies)))
        self._threads = [
            threading.Thread(target=copy_context().run, args=(self._body, n, body), daemon=True)
            for n, body in enumerate(bodies)
        ]
        self._stopped = False

    def _body(self, n: int, body: Callable[[], None]) -> None:
        self._go[n].acquire()
        try:
            if not self._stopped:
                body()
        except _Stopped:
            pass
        except Exception as error:  # noqa: BLE001 - which the main thread raises
            self._failed.append(error)
        del self._ready[n]
        self._back.release()

    def switch(self, passed: Callable[[], bool] | None) -> None:
        """Let another partition run, and go on when a condition holds."""
        n = self._machine.turn
        self._ready[n] = passed
        self._back.release()
        self._go[n].acquire()
        if self._stopped:
            raise _Stopped

    def run(self) -> None:
        """Run all to their ends.

        Raises:
            Unsound: if all that are left wait.
        """
        for thread in self._threads:
            thread.start()
        while self._ready and not self._failed:
            order = self._machine.rng.permutation(list(self._ready)).tolist()
            n = next((n for n in order if (passed := self._ready[n]) is None or passed()), None)
            if n is None:
                self._failed.append(Unsound("all partitions wait at a barrier for each other: none goes on"))
            else:
                self._step(n)
        self._stopped = True
        for n in list(self._ready):
            self._step(n)
        self._machine.turn = 0
        if self._failed:
            raise self._failed[0]

    def _step(self, n: int) -> None:
        self._machine.turn = n
        self._go[n].release()
        self._back.acquire()


def take_turns(machine: Machine, bodies: list[Callable[[], None]]) -> None:
    """Run partitions side by side."""
    partitions, alone = Partitions(machine, bodies), machine.switch
    machine.switch = partitions.switch
    try:
        partitions.run()
    finally:
        machine.switch = alone


__all__ = ["take_turns"]
