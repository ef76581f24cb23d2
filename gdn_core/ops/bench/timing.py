"""Time one runner at one case: its first call, and in rounds graph replays, eager calls, and the host's part."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch

from gdn_core.ops.bench.cases import Case, draw
from gdn_core.ops.bench.runners import find, inputs_for, prepare

CALLS = 10  # eager calls that are timed together, at most
BRIEF = 60.0  # milliseconds for them, about
# How a library refuses a case. Anything else ends its process, which is seen too.
REFUSALS = (RuntimeError, ValueError, TypeError, AssertionError, LookupError, AttributeError, ImportError, OSError)


def once(call: Callable[[], Any], device: str) -> float:
    """Time one call in milliseconds."""
    if device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e3


class Prepared:
    """A runner at a case, called once.

    Args:
        library: who runs it.
        case: what is run.
        device: "cuda" or "cpu".

    Raises:
        Missing: if the library has no function for the case.
    """

    def __init__(self, library: str, case: Case, device: str) -> None:
        """Draw the inputs and call once."""
        self.device = device
        before = torch.cuda.memory_allocated() if device == "cuda" else 0
        rule = find(library, case, device)
        given = inputs_for(library, case, draw(case, device))
        self.stream = torch.cuda.Stream() if device == "cuda" else None
        began = time.perf_counter()
        if self.stream is None:
            self.call = prepare(rule, case, given)
            self.call()
            self.first, self.peak = time.perf_counter() - began, 0
        else:
            torch.cuda.synchronize()  # the inputs were drawn on another stream
            began = time.perf_counter()
            with torch.cuda.stream(self.stream):  # a backward pass runs on the stream of its forward pass
                self.call = prepare(rule, case, given)
                self.call()
                torch.cuda.synchronize()
                self.first = time.perf_counter() - began
                torch.cuda.reset_peak_memory_stats()
                self.call()
                torch.cuda.synchronize()
            self.peak = max(0, torch.cuda.max_memory_allocated() - before)
        self.replay: Callable[[], Any] | None = None
        self.not_captured = ""
        self.repeats = 20 if case.what == "decode" else 1  # of a call that is too short for one pair of events
        self.calls = 1

    def capture(self) -> None:
        """Capture the call in a CUDA graph, so that the work of the GPU is measured alone; or say why it cannot be."""
        if self.stream is None:
            self.replay = self.call
        else:
            try:
                with torch.cuda.stream(self.stream):
                    for _ in range(3):
                        self.call()
                torch.cuda.synchronize()
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, stream=self.stream):
                    self.kept = self.call()
                self.replay = graph.replay
                self.replay()
            except RuntimeError as error:
                self.replay, self.not_captured = None, f"not captured in a graph: {sentence(error)}"
                torch.cuda.synchronize()
        with self._current():
            self.calls = max(1, min(CALLS, int(BRIEF / max(self._eagerly(1), 1e-3))))

    def round(self) -> dict[str, float | None]:
        """Return one time of each kind in milliseconds: of a replay, of an eager call, of the host in a call."""
        replayed = None
        if self.replay is not None:
            if self.stream is not None:
                self.replay()  # the clock of the GPU rises
            replayed = sum(once(self.replay, self.device) for _ in range(self.repeats)) / self.repeats
        if self.stream is None:
            return {"replayed": replayed, "eager": replayed, "host": replayed}
        with self._current():
            return {"replayed": replayed, "eager": self._eagerly(self.calls), "host": self._until_it_returns()}

    def _current(self) -> Any:
        """Make the stream of the case the current one."""
        return nullcontext() if self.stream is None else torch.cuda.stream(self.stream)

    def _eagerly(self, calls: int) -> float:
        """Time a call among others that follow each other, in milliseconds of wall time."""
        if self.stream is not None:
            torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(calls):
            self.call()
        if self.stream is not None:
            torch.cuda.synchronize()
        return (time.perf_counter() - began) / calls * 1e3

    def _until_it_returns(self) -> float:
        """Time the host in a call, in milliseconds; the GPU is idle when it begins, and is not waited for."""
        spent = []
        for _ in range(self.calls):
            torch.cuda.synchronize()
            began = time.perf_counter()
            self.call()
            spent.append((time.perf_counter() - began) * 1e3)
        torch.cuda.synchronize()
        return statistics.median(spent)


def release(device: str) -> None:
    """Give back the memory of cases that are over."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def sentence(error: BaseException) -> str:
    """Return the first line of an error, or its kind."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


