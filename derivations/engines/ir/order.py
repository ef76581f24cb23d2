"""What is ordered with what in shared memory: partitions, copies by tensor maps, and products of warp groups.

Partitions run one at a time here, and side by side on a GPU. So what is known to have happened is counted: each
partition, each queue of copies or products, and each phase of a barrier is an agent with a clock, and a partition knows
of each agent how far it has come. It learns that at a barrier, and where it waits. An access that is in order with
another one only because of the turns that were taken here is found in whatever order they are taken:

- a read of what another agent writes meanwhile sees no number, where the write changes one. If the write comes later
  here, the launch is run again, now that this is known;
- a write of other numbers to what another agent writes meanwhile fails;
- what was written by a partition is seen by a copy or a product only behind a fence.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from derivations.engines.ir.carrier import EMPTY, NotModelled, Unsound

_AGENTS = 128
_LOG = 64
PARTITIONS = 8  # at most; theirs are the first clocks
COPIES, PRODUCTS = PARTITIONS, 2 * PARTITIONS  # the first clocks of the queues that partitions have
_BARRIERS = 3 * PARTITIONS  # the first clock of a phase
Read = tuple[int, int, int]  # the buffer's number, the agent, and how often it has read from the buffer before


@dataclass
class Lost:
    """What reads must not see, since it is written meanwhile, as earlier runs of the launch have shown.

    Args:
        of: entries, by the read.
        more: whether this run has shown more.
    """

    of: dict[Read, np.ndarray] = field(default_factory=dict)
    more: bool = False


@dataclass
class Accesses:
    """The accesses to a buffer in shared memory, by program, place and agent: when they were.

    Args:
        writes: the first of each agent that wrote the numbers that are there, all of them the same.
        latest: the last one.
        reads: the last one of these numbers.
        changed: the entries that the first of these writes changed.
        entries: the buffer.
        number: of the buffer.
        times: how often each agent has read from it.
        log: the last reads, each with its agent, programs, places, and when it was.
    """

    writes: np.ndarray
    latest: np.ndarray
    reads: np.ndarray
    changed: np.ndarray
    entries: np.ndarray
    number: int
    times: Counter[int] = field(default_factory=Counter)
    log: deque[tuple[Read, np.ndarray, np.ndarray, np.ndarray]] = field(default_factory=lambda: deque(maxlen=_LOG))


@dataclass
class Order:
    """Who knows what.

    Args:
        programs: of the launch.
        lost: what is known from earlier runs of the launch.

    Attributes:
        turn: the partition that runs.
    """

    programs: int
    lost: Lost = field(default_factory=Lost)
    turn: int = 0
    known: np.ndarray = field(init=False)  # by partition, program and agent
    fenced: np.ndarray = field(init=False)  # and of that, what a fence came behind
    agents: int = _BARRIERS

    def __post_init__(self) -> None:
        """Begin with one partition, which knows nothing."""
        self.known = np.zeros((PARTITIONS, self.programs, _AGENTS), np.int64)
        self.fenced = np.zeros_like(self.known)
        self.issued = np.zeros((self.programs, _AGENTS), np.int64)
        self._accesses: dict[tuple[int, bool], Accesses] = {}
        for n in range(PARTITIONS):
            self.known[n, :, n] = 1

    def phases(self, places: int) -> int:
        """Return the first of as many clocks of phases."""
        self.agents += places
        if self.agents > _AGENTS:
            raise NotModelled(f"more than {_AGENTS - _BARRIERS} barriers")
        return self.agents - places

    def split(self, partitions: int) -> None:
        """Begin partitions, which know what the first one knows."""
        if partitions > PARTITIONS:
            raise NotModelled(f"more than {PARTITIONS} partitions")
        own = self.known[np.arange(PARTITIONS), :, np.arange(PARTITIONS)]
        self.known[1:partitions], self.fenced[1:partitions] = self.known[0], self.fenced[0]
        self.known[np.arange(PARTITIONS), :, np.arange(PARTITIONS)] = own
        self.known[0, :, 0] += 1

    def join(self, partitions: int) -> None:
        """End them: the first one knows what all of them know."""
        self.known[0] = self.known[:partitions].max(0)
        self.fenced[0] = self.fenced[:partitions].max(0)

    def released(self, programs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return what the partition knows, which others learn; what it does from here on is later."""
        of = self.turn, programs
        found = self.known[of].copy(), self.fenced[of].copy()
        self.known[(*of, self.turn)] += 1
        return found

    def learned(self, programs: np.ndarray, known: np.ndarray, fenced: np.ndarray) -> None:
        """Learn what others knew when they released it."""
        of = self.turn, programs
        self.known[of] = np.maximum(self.known[of], known)
        self.fenced[of] = np.maximum(self.fenced[of], fenced)

    def fence(self, programs: np.ndarray) -> None:
        """Let copies and products see what is known to be written."""
        of = self.turn, programs
        self.fenced[of] = self.known[of]
        self.known[(*of, self.turn)] += 1

    def queued(self, programs: np.ndarray, queue: int) -> tuple[int, np.ndarray]:
        """Put a copy or a product into a queue of the partition; return its agent, and when it is."""
        agent = queue + self.turn
        self.issued[programs, agent] += 1
        return agent, self.issued[programs, agent]

    def waited(self, programs: np.ndarray, queue: int, left: int) -> None:
        """Wait for all of a queue but the last so many."""
        agent = queue + self.turn
        self.known[self.turn, programs, agent] = np.maximum(self.issued[programs, agent] - left, 0)

    def _of(
        self, entries: np.ndarray, programs: np.ndarray, places: np.ndarray | None
    ) -> tuple[Accesses, np.ndarray]:  # fmt: skip
        key = id(entries), places is None
        found = self._accesses.get(key)
        if found is None:
            if (key[0], not key[1]) in self._accesses:
                raise NotModelled("shared memory whose parts are used, and all of it")
            size = len(entries), 1 if places is None else entries.shape[1], _AGENTS
            writes, latest, reads = (np.zeros(size, np.int64) for _ in range(3))
            changed = np.zeros(entries.shape, bool)
            found = Accesses(writes, latest, reads, changed, entries, len(self._accesses))
            self._accesses[key] = found
        return found, np.zeros(len(programs), np.int64) if places is None else places[programs]

    def read(
        self, entries: np.ndarray, programs: np.ndarray, places: np.ndarray | None, values: np.ndarray,
        index: Any, queued: tuple[int, np.ndarray] | None = None,
    ) -> np.ndarray:  # fmt: skip
        """Read; return the values, without those that may not be there yet.

        Args:
            entries: all of the buffer.
            programs: that read.
            places: the index of the first axis of each of them, if it is taken.
            values: what is there.
            index: of these values in all.
            queued: the agent of a copy or product that reads, and when it is.

        Raises:
            Unsound: if no fence is between what was written and a copy or product.
        """
        found, at = self._of(entries, programs, places)
        writes = found.writes[programs, at]
        known = self.known[self.turn, programs]
        there = _one(writes, known)
        if queued is not None and (there & ~_one(writes, self._asynchronous(programs))).any():
            raise Unsound("a copy or a product reads what was written to shared memory without a fence")
        agent, when = queued or (self.turn, known[:, self.turn])
        found.reads[programs, at, agent] = when
        read = found.number, agent, found.times[agent]
        found.times[agent] += 1
        found.log.append((read, programs, at, when))
        meanwhile = ~there & (writes > 0).any(-1)
        if meanwhile.any():
            values = np.where(found.changed[index] & _along(meanwhile, values), EMPTY, values)
        return np.where(self.lost.of[read][index], EMPTY, values) if read in self.lost.of else values

    def _asynchronous(self, programs: np.ndarray) -> np.ndarray:
        """Return what a copy or a product sees of each agent: of partitions what is behind a fence."""
        seen = self.known[self.turn, programs].copy()
        seen[:, :PARTITIONS] = self.fenced[self.turn, programs][:, :PARTITIONS]
        return seen

    def free(self, entries: np.ndarray, programs: np.ndarray) -> None:
        """Give a buffer back.

        Raises:
            Unsound: if it is being read or written meanwhile.
        """
        known = self.known[self.turn, programs][:, None]
        for by_place in (True, False):
            found = self._accesses.pop((id(entries), by_place), None)
            if found and any((of[programs] > known).any() for of in (found.reads, found.latest)):
                raise Unsound("gives shared memory back that another partition, a copy or a product uses meanwhile")

    def write(
        self, entries: np.ndarray, programs: np.ndarray, places: np.ndarray | None, index: Any, changed: np.ndarray,
        copy: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:  # fmt: skip
        """Write.

        Args:
            entries: all of the buffer.
            programs: that write.
            places: the index of the first axis of each of them, if it is taken.
            index: of what is written in all.
            changed: which of these entries change.
            copy: the agent of each program and when it is, if a copy writes when it lands.

        Raises:
            Unsound: if other numbers are written to what is written meanwhile, or no fence is between what was written
                and a copy.
        """
        found, at = self._of(entries, programs, places)
        known = self.known[self.turn, programs]
        other: Any = changed.reshape(len(programs), -1).any(-1)
        latest = found.latest[programs, at]
        if (other & (latest > known).any(-1)).any():
            raise Unsound("writes to shared memory what another partition or copy writes meanwhile")
        if (other & (found.reads[programs, at] > known).any(-1)).any():
            self._lose(found, programs, at, index, changed)
        if copy is not None and (other & (latest > self._asynchronous(programs)).any(-1)).any():
            raise Unsound("a copy writes over what was written without a fence")
        agent, when = (self.turn, known[:, self.turn]) if copy is None else copy
        anew = programs[other], at[other]
        found.writes[anew] = found.latest[anew] = found.reads[anew] = 0
        found.changed[anew if places is not None else anew[0]] = False
        first = found.writes[programs, at, agent]
        found.writes[programs, at, agent] = np.where(first > 0, first, when)
        found.latest[programs, at, agent] = when
        found.changed[index] |= changed & _along(other, changed)

    def _lose(
        self, found: Accesses, programs: np.ndarray, at: np.ndarray, index: Any, changed: np.ndarray
    ) -> None:  # fmt: skip
        """Note which reads may have seen what is written now."""
        where = np.full((2, self.programs), -1)  # the place of each program, and its number among those that write
        where[:, programs] = at, np.arange(len(programs))
        for read, of, places, when in found.log:
            agent = read[1]
            meanwhile = (places == where[0, of]) & (when > self.known[self.turn, of, agent])
            rows = where[1, of[meanwhile]]
            if not len(rows):
                continue
            which = np.zeros(len(programs), bool)
            which[rows] = True
            now = np.zeros(found.entries.shape, bool)
            now[index] = changed & _along(which, changed)
            before = self.lost.of.get(read)
            self.lost.more |= bool(now.any() if before is None else (now & ~before).any())
            self.lost.of[read] = now if before is None else now | before


def _along(of: np.ndarray, entries: np.ndarray) -> np.ndarray:
    """Return what is said of programs, for their entries."""
    return of.reshape(-1, *(1,) * (entries.ndim - 1))


def _one(writes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Tell which programs know of one write at least."""
    found: Any = ((writes > 0) & (writes <= known)).any(-1)
    return found
