"""Worker processes that check claims, for the command, for a page and for library calls.

Each worker is a separate program, :mod:`derivations.serve`, driven over pipes. It imports nothing of the calling
program, so it works from a notebook, from a script without a main guard, and beside threads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

from derivations.mutants.refutation import Attempt, Cost, Refutation
from derivations.result import Result
from derivations.serve import encoded, refutation, result

COMMAND = (sys.executable, "-P", "-m", "derivations.serve")
ROOT = Path(__file__).resolve().parents[1]  # the folder of the packages, if they are not installed
# One thread a process: the matrices are small, and the processes already fill the cores.
THREADS = {f"{library}_NUM_THREADS": "1" for library in ("OPENBLAS", "MKL", "OMP")}

_Answer = TypeVar("_Answer")


class WorkerError(RuntimeError):
    """A task gave no result; the message says why."""


class TookTooLongError(WorkerError):
    """A task was stopped at its time limit."""


class Worker:
    """A process that runs one task at a time; it starts with the first task, and again after it has ended.

    Args:
        limit: seconds for a task; None for no limit.
        start: seconds for the process to start; None for those of a task.
        nice: added to the niceness of the process, so that checks yield to the page.
        command: the program.
    """

    def __init__(
        self,
        *,
        limit: float | None = None,
        start: float | None = None,
        nice: int = 0,
        command: Sequence[str] = COMMAND,
    ) -> None:
        self._limit, self._start_limit, self._command = limit, start or limit, (*command, str(nice))
        self._turn = threading.Lock()
        self._process: subprocess.Popen[str] | None = None

    def check(self, name: str, *, seed: int = 0) -> Result:
        """Check a claim.

        Raises:
            WorkerError: if the process ended or took too long; the next task starts another.
        """
        return result(self.do("check", {"name": name, "seed": seed}))

    def refute(self, places: Sequence[int], costs: Mapping[Attempt, Cost], *, seed: int = 0) -> list[Refutation]:
        """Refute mutants of one function, as :func:`derivations.mutants.refutation.refute` does.

        Args:
            places: numbers of the mutants.
            costs: every step, with its cost.
            seed: seed of the random points.

        Raises:
            WorkerError: if the process ended or took too long; the next task starts another.
        """
        found = self.do("refute_all", {"places": list(places), "costs": encoded(costs), "seed": seed})
        return [refutation(read) for read in found]

    def unearned(
        self, name: str, places: Sequence[str], costs: Mapping[Attempt, Cost], *, seed: int = 0
    ) -> tuple[str, ...]:  # fmt: skip
        """Return those functions of which a claim notices no mutant.

        Args:
            name: the claim.
            places: dotted names of functions.
            costs: its steps, with their costs.
            seed: seed of the random points.

        Raises:
            WorkerError: if the process ended or took too long; the next task starts another.
        """
        own = {attempt: cost for attempt, cost in costs.items() if attempt[0] == name}
        return tuple(self.do("not_earned", {"name": name, "places": list(places), "costs": encoded(own), "seed": seed}))

    def kill(self) -> None:
        """End the process, if there is one."""
        process, self._process = self._process, None
        if process:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    with suppress(OSError):  # the process that would read the rest has ended
                        pipe.close()

    def do(self, task: str, arguments: dict[str, Any]) -> Any:
        """Run a task of the program, and return its result as JSON has it.

        Raises:
            WorkerError: if the process ended or took too long; the next task starts another.
        """
        with self._turn:
            process = self._process or self._start()
            assert process.stdin
            try:
                process.stdin.write(json.dumps([task, arguments]) + "\n")
                process.stdin.flush()
            except OSError as error:
                self.kill()
                raise WorkerError("the process that checks claims has ended; check again to start another") from error
            return json.loads(self._answer(process, self._limit))

    def _start(self) -> subprocess.Popen[str]:
        path = os.pathsep.join(part for part in (str(ROOT), os.environ.get("PYTHONPATH")) if part)
        self._process = process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**THREADS, **_compiling(), "PYTHONPATH": path},
            # An interrupt at a terminal is for the calling program, which ends this one. No session of its own: Linux
            # divides the processor between sessions first, whatever the niceness.
            process_group=0 if os.name == "posix" else None,
        )
        self._answer(process, self._start_limit)
        return process

    def _answer(self, process: subprocess.Popen[str], limit: float | None) -> str:
        assert process.stdout
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(limit, stop) if limit else None
        if timer:
            timer.daemon = True
            timer.start()
        line = process.stdout.readline()
        if timer:
            timer.cancel()
        if not line:
            self.kill()
            if late.is_set():
                raise TookTooLongError(f"the process that checks claims took longer than {limit:g} s; check again")
            raise WorkerError("the process that checks claims ended; check again")
        return line


class Workers:
    """A pool of workers with a queue of tasks; used in a ``with`` statement.

    Args:
        jobs: number of workers, >= 1; each starts with its first task.
    """

    def __init__(self, jobs: int) -> None:
        self._workers = [Worker() for _ in range(jobs)]
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._threads = ThreadPoolExecutor(jobs, thread_name_prefix="claims")

    def submit(self, task: Callable[[Worker], _Answer]) -> Future[_Answer]:
        """Run a task on the next free worker."""

        def on_a_worker() -> _Answer:
            worker = self._idle.get()  # never blocks: there are as many threads as workers
            try:
                return task(worker)
            finally:
                self._idle.put(worker)

        return self._threads.submit(on_a_worker)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the processes: after the last task, or at once after an exception."""
        with ExitStack() as stack:  # which goes on where an interrupt arrives
            for worker in self._workers:
                stack.callback(worker.kill)
            self._threads.shutdown(wait=kind is None, cancel_futures=True)


def _compiling() -> dict[str, str]:
    """Return the environment without what makes Triton interpret kernels: the claims are about what it compiles."""
    return {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
