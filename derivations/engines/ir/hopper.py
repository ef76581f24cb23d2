"""Hopper's own operations: copies by tensor maps, barriers that count, products of warp groups, and partitions.

What a copy writes is no number until a wait for its barrier, and neither is a product before it was waited for.
Partitions take turns at each barrier, in a random order, and in half of the launches one of them is kept back for as
long as another one can go on. What is right only because of these turns is found by
:mod:`derivations.engines.ir.order`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial

import numpy as np

from derivations.engines.ir.carrier import EMPTY, NotModelled, Unsound
from derivations.engines.ir.operations import MEANINGS, Machine, Meaning, Operands, Value, read_tile, write_tile
from derivations.engines.ir.order import COPIES, PRODUCTS, Order
from derivations.engines.ir.shared import Shared
from derivations.engines.ir.text import Operation


class Barriers:
    """Barriers in shared memory: for each program and place the arrivals that a phase needs, and what is missing.

    Args:
        programs: of the launch.
        places: the number of barriers.
        order: of accesses to shared memory, which a phase tells those that wait for it.
    """

    def __init__(self, programs: int, places: int, order: Order) -> None:
        shape = programs, places
        self.count, self.missing, self.bytes, self.done = (np.zeros(shape, np.int64) for _ in range(4))
        self._order, self._first = order, order.phases(places)
        self._copies: list[tuple[np.ndarray, np.ndarray, int]] = []  # programs, places, bytes
        self._known, self._fenced = (np.zeros((*shape, order.known.shape[-1]), np.int64) for _ in range(2))
        self._at: list[tuple[np.ndarray, np.ndarray]] = []  # what was known at the end of each phase

    def copy(self, programs: np.ndarray, places: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Begin a copy that lands when it is waited for; return its agents, and when it is."""
        self._copies.append((programs, places, size))
        return self._first + places, self.done[programs, places] + 1

    def land(self, programs: np.ndarray, places: np.ndarray) -> None:
        """End the copies that some programs wait for, each at its place."""
        kept = []
        for of, where, size in self._copies:
            mine = np.isin(of, programs) & (where == places[of])
            self.bytes[of[mine], where[mine]] -= size
            if not mine.all():
                kept.append((of[~mine], where[~mine], size))
        self._copies = kept
        self.turn(programs, places[programs])

    def turn(self, programs: np.ndarray, places: np.ndarray) -> None:
        """Begin the next phase where nothing is missing."""
        done = (self.missing[programs, places] == 0) & (self.bytes[programs, places] == 0)
        at = programs[done], places[done]
        self.done[at] += 1
        self.missing[at] = self.count[at]
        for phase in {*self.done[at].tolist()}:
            while len(self._at) <= phase:
                self._at.append((np.zeros_like(self._known), np.zeros_like(self._fenced)))
            now = tuple(of[self.done[at] == phase] for of in at)
            self._at[phase][0][now], self._at[phase][1][now] = self._known[now], self._fenced[now]

    def arrive(self, programs: np.ndarray, places: np.ndarray, number: int) -> None:
        """Count arrivals."""
        self.missing[programs, places] -= number
        if (self.missing[programs, places] < 0).any():
            raise Unsound("more arrivals at a barrier than its phase has")
        known, fenced = self._order.released(programs)
        self._known[programs, places] = np.maximum(self._known[programs, places], known)
        self._fenced[programs, places] = np.maximum(self._fenced[programs, places], fenced)
        self.turn(programs, places)

    def passed(self, programs: np.ndarray, places: np.ndarray, phase: np.ndarray) -> None:
        """Learn what was known at the first phase, behind those that are known of, at which a wait may have ended."""
        order, agents = self._order, self._first + places
        before = order.known[order.turn, programs, agents]
        ended = before + (before + phase + 1) % 2
        for of in {*ended[ended > before].tolist()}:
            now = (ended == of) & (ended > before)
            order.learned(programs[now], *(x[programs[now], places[now]] for x in self._at[of]))
            order.known[order.turn, programs[now], agents[now]] = of


def _means(*names: str) -> Callable[[Meaning], Meaning]:
    def add(run: Meaning) -> Meaning:
        MEANINGS.update(dict.fromkeys(names, run))
        return run

    return add


def _barrier(machine: Machine, x: Shared) -> tuple[Barriers, np.ndarray]:
    assert machine.order
    found = machine.barriers.get(id(x.entries))
    if found is None:
        found = machine.barriers[id(x.entries)] = Barriers(len(x.entries), x.entries.shape[1], machine.order)
        machine.kept.append(x.entries)
    places = np.zeros(len(x.entries), np.int64) if x.places is None else x.places
    return found, places


def _under(programs: np.ndarray, condition: np.ndarray) -> np.ndarray:
    """Return the programs for which a condition holds."""
    return programs[np.broadcast_to(condition, programs.shape)]


def _counts(*names: str) -> Callable[[Meaning], Meaning]:
    """Say what operations on barriers do; where numbers are not computed, nothing waits for anything."""

    def add(run: Meaning) -> Meaning:
        def meaning(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
            return run(machine, programs, operation, operands) if machine.order else None

        _means(*names)(meaning)
        return run

    return add


@_counts("ttng.init_barrier")
def _init(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    barriers, places = _barrier(machine, operands[0])
    number = int(operation.head.rpartition(",")[2])
    at = programs, places[programs]
    barriers.count[at] = barriers.missing[at] = number
    barriers.bytes[at] = barriers.done[at] = 0
    return None


@_means("ttng.inval_barrier")
def _nothing(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    return None


@_counts("ttng.fence_async_shared")
def _fence(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    assert machine.order
    machine.order.fence(programs)
    return None


@_counts("ttng.barrier_expect")
def _expect(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    barriers, places = _barrier(machine, operands[0])
    of = _under(programs, operands[1])
    barriers.bytes[of, places[of]] += int(operation.head.split(",")[1])
    barriers.arrive(of, places[of], 1)
    machine.switch(None)
    return None


@_counts("ttng.arrive_barrier")
def _arrive(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    barriers, places = _barrier(machine, operands[0])
    of = _under(programs, operands[1]) if len(operands) > 1 else programs
    barriers.arrive(of, places[of], int(operation.head.split(",")[1]))
    machine.switch(None)
    return None


@_counts("ttng.wait_barrier")
def _wait(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    barriers, places = _barrier(machine, operands[0])
    phase = np.broadcast_to(operands[1], programs.shape)
    wanted = np.broadcast_to(operands[2], programs.shape) if len(operands) > 2 else np.ones(programs.shape, bool)

    def waits() -> np.ndarray:
        return wanted & (barriers.done[programs, places[programs]] % 2 == phase)

    def passed() -> bool:
        late = waits()
        if late.any():
            barriers.land(programs[late], places)
            late = waits()
        return not late.any()

    machine.switch(passed)
    of = programs[wanted]
    barriers.passed(of, places[of], phase[wanted])
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
    if machine.order:
        shape = (len(of), *to.shape)
        barriers, places = _barrier(machine, bar)
        lands = barriers.copy(of, places[of], int(np.prod(to.shape)) * _bytes(operation))
        to.store(of, np.broadcast_to(values.reshape(shape), shape), lands)
    return None


def _bytes(operation: Operation) -> int:
    """Return the bytes of an entry of a tile."""
    return 4 if "f32" in operation.takes[0].element else 2


@_means("ttng.async_tma_copy_local_to_global")
def _copy_out(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    descriptor, *starts, source = operands
    values = source.load(programs, _queued(machine, programs, COPIES))
    end = partial(write_tile, machine, programs, operation.takes[0], descriptor, starts, values)
    machine.stores.setdefault(machine.turn, []).append(end)
    return None


def _queued(machine: Machine, programs: np.ndarray, queue: int) -> tuple[int, np.ndarray] | None:
    return machine.order.queued(programs, queue) if machine.order else None


@_means("ttng.async_tma_store_wait")
def _store_wait(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    stores, left = machine.stores.setdefault(machine.turn, []), operation.number("pendings")
    while len(stores) > left:
        stores.pop(0)()
    if machine.order:
        machine.order.waited(programs, COPIES, left)
    return None


@_means("ttng.warp_group_dot")
def _dot(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    a, b, c, *use = operands
    queued = _queued(machine, programs, PRODUCTS)
    a, b = (x.load(programs, queued) if isinstance(x, Shared) else x for x in (a, b))
    pending = machine.products.setdefault(machine.turn, [])
    for waiting, value in pending:
        c = value if c is waiting else c
    if use:
        if not (use[0] == use[0].flat[0]).all():
            raise NotModelled(f"a product that some programs add: {operation.text}")
        c = c if use[0].flat[0] else np.zeros_like(c)
    made = machine.carrier.matrices(a, b, c)
    if not operation.flag("isAsync"):
        if machine.order:
            machine.order.waited(programs, PRODUCTS, 0)
        return made
    hidden = np.full(made.shape, EMPTY)
    pending.append((hidden, made))
    return hidden


@_means("ttng.warp_group_dot_wait")
def _dot_wait(machine: Machine, programs: np.ndarray, operation: Operation, operands: Operands) -> Value:
    pending, left = machine.products.setdefault(machine.turn, []), operation.number("pendings")
    number = len(pending) - left
    done, machine.products[machine.turn] = pending[: max(number, 0)], pending[max(number, 0) :]
    if machine.order:
        machine.order.waited(programs, PRODUCTS, left)
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
        last = int(self._machine.rng.integers(2 * len(self._threads)))  # in half of the launches one is kept back
        while self._ready and not self._failed:
            order = sorted(self._machine.rng.permutation(list(self._ready)).tolist(), key=lambda n: n == last)
            n = next((n for n in order if (passed := self._ready[n]) is None or passed()), None)
            if n is None:
                self._failed.append(Unsound("all partitions wait at a barrier for each other: none goes on"))
            else:
                self._step(n)
        self._stopped = True
        for n in list(self._ready):
            self._step(n)
        self._turn(0)
        if self._failed:
            raise self._failed[0]

    def _turn(self, n: int) -> None:
        self._machine.turn = n
        if self._machine.order:
            self._machine.order.turn = n

    def _step(self, n: int) -> None:
        self._turn(n)
        self._go[n].release()
        self._back.acquire()


def take_turns(machine: Machine, bodies: list[Callable[[], None]]) -> None:
    """Run partitions side by side."""
    partitions, alone = Partitions(machine, bodies), machine.switch
    machine.switch = partitions.switch
    if machine.order:
        machine.order.split(len(bodies))
    try:
        partitions.run()
    finally:
        machine.switch = alone
    if machine.order:
        machine.order.join(len(bodies))


__all__ = ["take_turns"]
