"""Time a case with every runner, in rounds: replayed, eager, and the host's part."""

from __future__ import annotations

import gc
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from gdn_core.ops.bench.cases import Case, draw
from gdn_core.ops.bench.runners import Rule, inputs_for, prepare, runners

Tensor = torch.Tensor

ROUNDS = {"cpu": 5, "gpu": 7}
CALLS = 10  # eager calls that are timed together on a GPU
REFUSALS = (RuntimeError, ValueError, TypeError, NotImplementedError, AssertionError)  # of a library, for a case


@dataclass(frozen=True)
class Time:
    """The times of one runner, in milliseconds.

    Args:
        runner: the library that was timed.
        median: median over the rounds; on a GPU of graph replays.
        least: minimum over the rounds.
        rounds: the time of each round.
        eager: median of a call among others, the host included.
        host: median of the time until a call returns, on a GPU that is idle.
        first: seconds of the first call, compilation included.
        peak: peak bytes allocated during a call on a GPU, inputs included; 0 elsewhere.
    """

    runner: str
    median: float
    least: float
    rounds: list[float] = field(repr=False)
    eager: float
    host: float
    first: float
    peak: int


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


def _replayed(call: Callable[[], Any], stream: Any) -> Callable[[], Any]:
    """Capture a call in a CUDA graph, so that only GPU time is measured; return the call itself if it cannot be."""
    try:
        with torch.cuda.stream(stream):
            for _ in range(3):
                call()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            call()
    except RuntimeError as error:
        print(f"not captured in a graph, timed with its launches: {str(error).splitlines()[0]}", file=sys.stderr)
        torch.cuda.synchronize()
        return call
    return graph.replay


def _first(rule: Rule, case: Case, given: dict[str, Tensor], stream: Any) -> tuple[Callable[[], Any], float, int]:
    """Prepare a call and run it once; return it, the seconds that took, and the peak bytes allocated."""
    began = time.perf_counter()
    if stream is None:
        call = prepare(rule, case, given)
        call()
        return call, time.perf_counter() - began, 0
    with torch.cuda.stream(stream):  # a backward pass runs on the stream of its forward pass
        call = prepare(rule, case, given)
        call()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
    return call, seconds, torch.cuda.max_memory_allocated()


def race(case: Case, device: str) -> list[Time]:
    """Time a case with every runner, in turn."""
    gc.collect()
    before = torch.cuda.memory_allocated() if device == "cuda" else 0  # by everything but this case
    given = draw(case, device)
    calls: dict[str, Callable[[], Any]] = {}
    measured: dict[str, tuple[float, int]] = {}
    stream = torch.cuda.Stream() if device == "cuda" else None
    if stream is not None:
        stream.wait_stream(torch.cuda.current_stream())  # the inputs were drawn there
    rules = runners(case.what, device)
    for name, rule in rules.items():
        if name == "transformers" and (case.lengths or (device == "cuda" and case.T > 2048)):
            continue  # it takes no packed sequences, and seconds a call
        try:
            call, seconds, peak = _first(rule, case, inputs_for(name, given), stream)
        except REFUSALS as error:
            if name == "gdn_core":
                raise
            print(f"{name} does not run {case.name}: {(str(error) or type(error).__name__).splitlines()[0]}")
            continue
        measured[name] = seconds, max(0, peak - before)
        del call  # its memory must not count for the next
    kept = []  # the calls: a graph reads their tensors without owning them
    for name in measured:
        call, _, _ = _first(rules[name], case, inputs_for(name, given), stream)
        kept.append(call)
        calls[name] = _replayed(call, stream) if stream is not None and name != "transformers" else call
    times: dict[str, list[float]] = {name: [] for name in calls}
    eager: dict[str, list[float]] = {name: [] for name in calls}
    host: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS["gpu" if device == "cuda" else "cpu"]):
        for call, (name, replay) in zip(kept, calls.items(), strict=True):
            repeats = 1 if case.what != "decode" else 20
            times[name].append(sum(once(replay, device) for _ in range(repeats)) / repeats)
            if stream is None:
                eager[name], host[name] = times[name], times[name]
            else:
                with torch.cuda.stream(stream):
                    eager[name].append(_eagerly(call))
                    host[name].append(_until_it_returns(call))
    return [
        Time(
            name, statistics.median(x), min(x), x, statistics.median(eager[name]), statistics.median(host[name]),
            *measured[name],
        )
        for name, x in times.items()
    ]  # fmt: skip


def _eagerly(call: Callable[[], Any]) -> float:
    """Time a call among others that follow each other, in milliseconds of wall time."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(CALLS):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / CALLS * 1e3


def _until_it_returns(call: Callable[[], Any]) -> float:
    """Time the host in a call, in milliseconds; the GPU is idle when it begins, and is not waited for."""
    spent = []
    for _ in range(CALLS):
        torch.cuda.synchronize()
        began = time.perf_counter()
        call()
        spent.append((time.perf_counter() - began) * 1e3)
    return statistics.median(spent)
