"""A pool of worker processes for kernel launches, which contains crashes and hangs.

A worker runs one launch at a time. It is a separate program driven over pipes, so it works from a notebook, from a
script without a main guard and from any thread, and imports nothing of the calling program. This module imports neither
torch nor Triton.
"""

from __future__ import annotations

import atexit
import functools
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from gdn_core.extras import need
from gdn_core.lab.worker.frames import Arrays, Header, read_frame, write_frame

COMMAND = (sys.executable, "-P", "-m", "gdn_core.lab.worker.process")
WORKERS = min(2, os.cpu_count() or 1)
START = 120.0  # seconds for a worker to import torch and Triton from a cold disk
LIMIT = 10.0  # seconds for a launch
TRIES = 3  # runs of a launch if the process crashes during it
PATIENCE = 60.0  # seconds to wait for a free worker

_Answer = TypeVar("_Answer")


class LaunchError(RuntimeError):
    """A launch gave no result; the message says why."""


class _Crash(Exception):
    """The worker ended by itself; the message says how."""


class _Worker:
    """A worker process, started on first use, and used by one caller at a time."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self.command, self.env = command, env
        self.process: subprocess.Popen[bytes] | None = None
        self.facts: Header = {}  # what the process reported when it was ready

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process if it is not running, without waiting until it is ready."""
        if self.process is None:
            try:
                self.process = subprocess.Popen(
                    self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=self.env
                )
            except OSError as error:
                raise LaunchError(f"the process that runs the kernels did not start: {error}") from error
        return self.process

    def ready(self) -> Header:
        """Wait until the process is ready, and return what it can run."""
        self.start()
        if not self.facts:
            self.facts, _ = self._answer(START)
        return self.facts

    def call(self, header: Header, arrays: Arrays, limit: float) -> tuple[Header, Arrays]:
        """Send a frame and return the answer to it."""
        self.ready()
        stdin = self.start().stdin
        assert stdin
        try:
            write_frame(stdin, {**header, "limit": limit}, arrays)
        except OSError as error:
            raise _Crash(self.stop()) from error
        return self._answer(limit)

    def _answer(self, limit: float) -> tuple[Header, Arrays]:
        """Return the next frame, or kill the process when ``limit`` seconds have passed."""
        process = self.start()
        assert process.stdout
        late = threading.Event()

        def cut() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(limit, cut)
        timer.daemon = True
        timer.start()
        try:
            return read_frame(process.stdout)
        except (EOFError, OSError, ValueError) as error:
            ending = self.stop()
            if late.is_set():
                raise LaunchError(f"a launch took longer than {limit:g} s and was stopped") from error
            raise _Crash(ending) from error
        finally:
            timer.cancel()

    def stop(self) -> str:
        """End the process and return how it ended; the next call starts another."""
        process, self.process, self.facts = self.process, None, {}
        if process is None:
            return "not started"
        for pipe in (process.stdin, process.stdout):
            try:
                if pipe:
                    pipe.close()
            except OSError:
                pass  # the process that would read the rest has ended
        try:
            process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        return f"exit status {process.returncode}"


class _Line:
    """The idle workers, and the queue of callers that wait for one: first come, first served."""

    def __init__(self, workers: Sequence[_Worker]) -> None:
        self._lock = threading.Lock()
        self.idle = list(reversed(workers))  # the last one given back is the next one taken: it is warm
        self._waiting: deque[Future[_Worker]] = deque()

    def take(self, patience: float) -> _Worker:
        """Take an idle worker, or wait in the queue for one.

        Raises:
            LaunchError: if no worker is free within ``patience`` seconds.
        """
        with self._lock:
            if self.idle:
                return self.idle.pop()
            turn: Future[_Worker] = Future()
            self._waiting.append(turn)
        try:
            return turn.result(patience)
        except BaseException as error:
            with self._lock:
                if turn in self._waiting:
                    self._waiting.remove(turn)
            if turn.done():  # a worker came at the last moment
                self.give(turn.result())
            if isinstance(error, TimeoutError):
                raise LaunchError(f"no worker came free within {patience:g} s; try again in a while") from None
            raise

    def give(self, worker: _Worker) -> None:
        """Give a worker to the first caller in the queue, or keep it idle."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set_result(worker)
            else:
                self.idle.append(worker)

    def take_all(self) -> list[_Worker]:
        """Take every idle worker."""
        with self._lock:
            taken, self.idle = self.idle, []
        return taken


class Pool:
    """Worker processes that launch kernels for any number of threads.

    Args:
        workers: the largest number of processes.
        command: the program that each runs.
        env: variables added to this process's environment.
        patience: seconds that a caller waits for a worker.
    """

    def __init__(
        self,
        workers: int = WORKERS,
        *,
        command: Sequence[str] = COMMAND,
        env: Mapping[str, str] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        root = str(Path(__file__).resolve().parents[3])
        path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH")) if p)
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._patience = patience
        self._closed = False
        self._workers = [
            _Worker(command, {**os.environ, **threads, "PYTHONPATH": path, **(env or {})}) for _ in range(workers)
        ]
        self._line = _Line(self._workers)
        atexit.register(self.close)

    def warm(self, most: int | None = None) -> None:
        """Start idle workers, in the order in which they will be taken, without waiting for them.

        Args:
            most: how many; by default all.
        """
        idle = self._line.take_all()
        try:
            for worker in idle[::-1][:most]:
                worker.start()
        finally:
            for worker in idle:
                self._line.give(worker)

    def facts(self) -> Header:
        """Return what this machine can run, as a worker reports it; one is started if need be.

        Raises:
            LaunchError: if no worker starts.
        """
        for worker in self._workers:
            if facts := worker.facts:
                return facts
        return self._on_a_worker(lambda worker: worker.ready())

    def call(self, header: Header, arrays: Arrays, *, limit: float = LIMIT) -> tuple[Header, Arrays]:
        """Run one operation of :mod:`gdn_core.lab.worker.process`, and run it again if the process crashes.

        Raises:
            LaunchError: if it crashes ``TRIES`` times, takes longer than ``limit`` seconds, finds no free worker, or
                fails.
        """
        answer, results = self._on_a_worker(lambda worker: worker.call(header, arrays, limit))
        if "error" in answer:
            raise LaunchError(f"a launch failed: {answer['error']}")
        return answer, results

    def _on_a_worker(self, act: Callable[[_Worker], _Answer]) -> _Answer:
        """Run ``act`` on an idle worker, and again if that crashes."""
        if self._closed:
            raise LaunchError("the workers have been ended, as at the end of the program")
        worker = self._line.take(self._patience)
        try:
            return self._tried(worker, act)
        except BaseException:
            worker.stop()  # a late answer must not be taken for that of the next call
            raise
        finally:
            self._line.give(worker)

    def _tried(self, worker: _Worker, act: Callable[[_Worker], _Answer]) -> _Answer:
        """Run ``act`` on a worker, and again if it crashes: the system may have killed it for lack of memory."""
        crashes: list[_Crash] = []
        while len(crashes) < TRIES:
            try:
                return act(worker)
            except _Crash as crash:
                if self._closed:
                    raise LaunchError("the workers were ended under this launch") from crash
                crashes.append(crash)
        raise LaunchError(
            f"the process that runs the kernels ended {TRIES} times under this launch ({crashes[-1]})"
        ) from crashes[-1]

    def close(self) -> None:
        """End all workers, launches in progress included."""
        self._closed = True
        atexit.unregister(self.close)
        idle = self._line.take_all()
        for worker in self._workers:
            if worker in idle:
                worker.stop()
            elif worker.process:
                worker.process.kill()  # its caller then reads the end of the pipe


def pool(*, interpret: bool = False) -> Pool:
    """Return this process's pool; with ``interpret`` the one whose kernels run in the interpreter even with a GPU.

    Raises:
        ModuleNotFoundError: if torch is not installed.
    """
    need("torch")
    return _pool(interpret)


@functools.cache
def _pool(interpret: bool) -> Pool:
    return Pool(env={"TRITON_INTERPRET": "1"} if interpret else None)
