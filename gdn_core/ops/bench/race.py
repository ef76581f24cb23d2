"""A race of libraries that run in processes of their own, case by case and round by round, on one machine."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field

from gdn_core.ops.bench.cases import Case
from gdn_core.ops.bench.children import START, Child, Failed, Late
from gdn_core.ops.bench.runners import OURS

FEWEST = 3  # rounds, of a runner that is slow
SLOW = 1.0  # seconds a round
# Processes that compile for a library at the same time. FlashInfer's kernels are not kept on disk.
HELPERS = {"flash-qla": 5, "fla": 4}


@dataclass(frozen=True)
class Plan:
    """How to race.

    Args:
        device: "cuda" or "cpu".
        libraries: who runs; this project is the first.
        paths: the folders that a library's imports are taken from, as in PYTHONPATH, where they are not installed.
        environments: more variables of a library's processes.
        rounds: how often each is timed at a case.
        limit: seconds for a library to prepare a case, or for a round.
        warm_up: seconds for the others to compile all cases.
        until: no case is begun after this time, on the clock of ``time.monotonic``.
    """

    device: str
    libraries: tuple[str, ...]
    paths: dict[str, str]
    environments: dict[str, dict[str, str]]
    rounds: int
    limit: float
    warm_up: float
    until: float


@dataclass
class Entry:
    """What is known of a runner at a case.

    Args:
        runner: the library.
        refused: a sentence on why it is not timed; "" if it is.
        replayed: milliseconds of a graph replay, one a round; none if it was not captured. On a CPU, of a call.
        eager: milliseconds of a call among others, the host included.
        host: milliseconds until a call returns, on a GPU that is idle.
        first: seconds of the first call, compilation included.
        alone: whether nothing else ran during the first call.
        peak: peak bytes allocated during a call on a GPU, inputs included; 0 elsewhere.
        errors: of each array, against float64.
        not_captured: a sentence on why the call was not captured in a graph.
    """

    runner: str
    refused: str = ""
    replayed: list[float] = field(default_factory=list)
    eager: list[float] = field(default_factory=list)
    host: list[float] = field(default_factory=list)
    first: float = 0.0
    alone: bool = False
    peak: int = 0
    errors: dict[str, float] = field(default_factory=dict)
    not_captured: str = ""


class Race:
    """The processes of a race, and what they have answered.

    Args:
        cases: what is run.
        plan: how.
        say: prints a line.
    """

    def __init__(self, cases: list[Case], plan: Plan, say: Callable[[str], None]) -> None:
        """Start a process for each library."""
        self.cases, self.plan, self.say = cases, plan, say
        self.entries = {case.name: {name: Entry(name) for name in plan.libraries} for case in cases}
        self.children = {name: self._start(name) for name in plan.libraries}

    def _start(self, library: str, *, compiling: bool = False) -> Child:
        environment = self.plan.environments.get(library, {})
        if compiling and library == "fla":  # a configuration that was run once was not compared
            environment = {**environment, "FLA_CACHE_RESULTS": "0"}
        path = self.plan.paths.get(library, "")
        return Child(library, self.plan.device, path=path, environment=environment, compiling=compiling)

    def facts(self) -> dict[str, dict[str, str]]:
        """Return the versions of each library that is there, and drop the others with a sentence."""
        versions = {}
        for name in self.plan.libraries:
            try:
                versions[name] = self.children[name].ask("facts", START)["versions"]
            except Failed as failure:
                if name == OURS:
                    raise
                self.say(f"{name} is not timed: {failure}")
                self.children.pop(name).end()
                for case in self.cases:
                    del self.entries[case.name][name]
        return versions

    def rates(self, dtypes: set[str]) -> dict[str, dict[str, float]]:
        """Measure the machine, for each dtype."""
        return {dtype: self.children[OURS].ask("measure", START, dtype=dtype) for dtype in sorted(dtypes)}

    def first_calls(self) -> None:
        """Time the first call of this project at every case, while nothing else runs."""
        for case in self.cases:
            if self._call(OURS, case, self.plan.limit, alone=True):
                entry = self.entries[case.name][OURS]
                self.say(f"  first call {entry.first:6.2f} s  {case.name}")

    def _child(self, library: str) -> Child:
        """Return a library's process; start it again if it has ended."""
        if not self.children[library].alive:
            self.children[library].end()
            self.children[library] = self._start(library)
        return self.children[library]

    def _call(self, library: str, case: Case, seconds: float, *, alone: bool, child: Child | None = None) -> bool:
        """Let a library run a case for the first time; tell whether it did."""
        entry = self.entries[case.name][library]
        try:
            answer = (child or self._child(library)).ask("first", seconds, case=asdict(case))
        except Failed as failure:
            if not isinstance(failure, Late) or alone:
                entry.refused = str(failure)
            return False
        entry.first, entry.alone = max(entry.first, answer["first"]), alone
        entry.peak = answer["peak"]
        return True

    def _check(self, library: str, case: Case, seconds: float) -> None:
        """Let a library compare its numbers at a case with float64."""
        entry = self.entries[case.name][library]
        try:
            answer = self._child(library).ask("check", seconds, case=asdict(case))
        except Failed as failure:
            entry.refused = str(failure)
            return
        entry.errors, entry.refused = answer["errors"], answer["wrong"]

    def warm_up(self) -> None:
        """Let all libraries compile every case and check their numbers, at the same time and within a limit."""
        ends = time.monotonic() + self.plan.warm_up
        threads = [threading.Thread(target=self._checks, args=(ends,))]
        for library in self.children:
            if library == OURS:
                continue
            todo = deque(sorted(self.cases, key=lambda x: (x.rule != "gated_delta_rule", x.what != "both")))
            ready: queue.SimpleQueue[Case | None] = queue.SimpleQueue()
            count = min(HELPERS.get(library, 0), len(todo)) if self.plan.device == "cuda" else 0
            if not count:
                for case in (*todo, None):
                    ready.put(case)
            left = [count]
            threads += [
                threading.Thread(target=self._compile, args=(library, todo, ready, left, ends)) for _ in range(count)
            ]
            threads.append(threading.Thread(target=self._make_ready, args=(library, ready, ends)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for library in self.children:  # those that were ended are there again before the first round
            with contextlib.suppress(Failed):
                self._child(library).ask("drop", START)
        for entries in self.entries.values():
            for entry in entries.values():
                if not entry.refused and not entry.errors:
                    entry.refused = f"it was not ready within the {self.plan.warm_up:.0f} s in which all compile"

    def _checks(self, ends: float) -> None:
        for case in self.cases:
            if not self.entries[case.name][OURS].refused and time.monotonic() < ends:
                self._check(OURS, case, ends - time.monotonic())

    def _compile(
        self, library: str, todo: deque[Case], ready: queue.SimpleQueue[Case | None], left: list[int], ends: float
    ) -> None:
        """Fill a library's caches on disk, in a process beside others."""
        child = self._start(library, compiling=True)
        while time.monotonic() < ends:
            try:
                case = todo.popleft()
            except IndexError:
                break
            if self._call(library, case, ends - time.monotonic(), alone=False, child=child):
                ready.put(case)
            if not child.alive and time.monotonic() < ends:
                child = self._start(library, compiling=True)
        child.end()
        left[0] -= 1
        if not left[0]:
            ready.put(None)

    def _make_ready(self, library: str, ready: queue.SimpleQueue[Case | None], ends: float) -> None:
        """Run what is compiled in the process that will be timed, and check it."""
        while (left := ends - time.monotonic()) > 0:
            try:
                case = ready.get(timeout=left)
            except queue.Empty:
                break
            if case is None:
                break
            if self._call(library, case, left, alone=False):
                self._check(library, case, max(1.0, ends - time.monotonic()))

    def results(self) -> Iterator[tuple[Case, list[Entry]]]:
        """Time every case, in rounds in which all libraries have a turn; yield each case as it is done."""
        for case in self.cases:
            if time.monotonic() > self.plan.until:
                self.say("\nthe time is up: the cases that are left are not timed")
                return
            entries = self.entries[case.name]
            if not entries[OURS].refused:
                self._time(case, entries)
            yield case, list(entries.values())

    def _time(self, case: Case, entries: dict[str, Entry]) -> None:
        runs = []
        for name, entry in entries.items():
            if entry.refused:
                continue
            try:
                answer = self._child(name).ask("prepare", self.plan.limit, case=asdict(case))
                entry.not_captured, entry.peak = answer["not_captured"], answer["peak"]
                runs.append(name)
            except Failed as failure:
                entry.refused = str(failure)
        slow: set[str] = set()
        for i in range(self.plan.rounds):
            for name in list(runs):
                if name in slow and i >= FEWEST:
                    continue
                began = time.monotonic()
                try:
                    answer = self.children[name].ask("round", self.plan.limit)
                except Failed as failure:
                    entries[name].refused = str(failure)
                    runs.remove(name)
                    continue
                if time.monotonic() - began > SLOW:
                    slow.add(name)
                for kind in ("replayed", "eager", "host"):
                    if answer[kind] is not None:
                        getattr(entries[name], kind).append(answer[kind])
        for name in runs:
            with contextlib.suppress(Failed):  # it is started again when it is asked for the next case
                self.children[name].ask("drop", self.plan.limit)

    def end(self) -> None:
        """End all processes."""
        for child in self.children.values():
            child.end()
