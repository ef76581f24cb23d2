"""Run claims in parallel over the cores, and mutate the code they are about."""

from __future__ import annotations

import importlib.metadata
import itertools
import multiprocessing
import platform
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from derivations.claim import Result, load
from derivations.mutants import EQUIVALENT, Mutant, Refutation, attempts, mutants, refute
from gdn_core.rules import WriteRule

BATCH = 12  # mutants a task


@dataclass(frozen=True)
class Mutation:
    """What became of the mutants of the code.

    Args:
        refuted: each with the step that refuted it.
        survivors: those that no step refuted, and that are not listed as equivalent.
        equivalent: those that change nothing, by their keys, with the reason.
        stale: keys that are listed as equivalent, and that no mutant has.
        seconds: wall time.
    """

    refuted: tuple[Refutation, ...]
    survivors: tuple[Refutation, ...]
    equivalent: dict[tuple[str, str, str], str]
    stale: tuple[tuple[str, str, str], ...]
    seconds: float

    @property
    def faults(self) -> tuple[str, ...]:
        """Say what went wrong, a sentence each."""
        return (
            *(f"no claim refutes the mutant {mutant.mutant}" for mutant in self.survivors),
            *(f"listed as equivalent, but no mutant of the code: {' | '.join(key)}" for key in self.stale),
        )


@dataclass(frozen=True)
class Report:
    """A run of the claims.

    Args:
        results: of the claims, in the order of the subjects.
        mutation: of the code, or None where the code was not mutated: nobody asked, or a claim about it as it is fails.
        seconds: wall time.
        seed: of the random points.
        jobs: worker processes.
        versions: what was run with what.
    """

    results: tuple[Result, ...]
    mutation: Mutation | None
    seconds: float
    seed: int
    jobs: int
    versions: dict[str, str]

    @property
    def faults(self) -> tuple[str, ...]:
        """Say what went wrong, a sentence each."""
        found = tuple(fault for result in self.results for fault in result.faults)
        return found + (self.mutation.faults if self.mutation else ())


@dataclass(frozen=True)
class Progress:
    """What has just been done, for whoever shows it.

    Args:
        done: claims and mutants that are done.
        total: claims and mutants in all.
        result: the claim that has just been checked, or None for a mutant.
    """

    done: int
    total: int
    result: Result | None


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python, of the project and of what decides the claims."""
    packages = ("gated-deltanet-first-principles", "sympy", "numpy")
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}


def check_rule(rule: WriteRule, *, seed: int = 0) -> tuple[Result, ...]:
    """Check a rule of your own against every claim that is stated for all rules, or for rules of its kind.

    >>> from gdn_core.rules import Gate, Source
    >>> mine = WriteRule(slug="mine", title="Mine", year=2026, source=Source("none", "none"), summary="A test.",
    ...                  decay=Gate.KEY, erase=Gate.SCALAR, write=Gate.VALUE)
    >>> results = check_rule(mine)
    >>> [fault for result in results for fault in result.faults]
    []

    Args:
        rule: a write rule, of the lineage or not.
        seed: of the random points.

    Returns:
        A result for each claim, with the steps and the mutants that are run for a rule, run for this one.
    """
    stated = [made for made in load().values() if any(step.per_rule and step.cases([rule]) for step in made.steps)]
    return tuple(made.check(seed=seed, rules=[rule]) for made in stated)


def run(
    names: Sequence[str],
    *,
    mutate: bool,
    jobs: int,
    seed: int = 0,
    show: Callable[[Progress], None] = lambda progress: None,
) -> Report:
    """Check claims, and mutate the code.

    Args:
        names: the claims.
        mutate: where every claim holds, break the code in every small way, and look for a claim that notices.
        jobs: worker processes, >= 1.
        seed: of the random points.
        show: is told of everything that is done.
    """
    started = time.perf_counter()
    broken = [mutant for mutant in mutants() if mutant.key not in EQUIVALENT] if mutate else []
    total = len(names) + len(broken)
    results: dict[str, Result] = {}
    with workers(jobs) as pool:
        for future in as_completed([pool.submit(_check, name, seed) for name in names]):
            result = future.result()
            results[result.claim] = result
            show(Progress(len(results), total, result))
        ordered = tuple(results[name] for name in names)
        mutation = None
        if mutate and not any(result.faults for result in ordered):
            mutation = _mutate(pool, broken, ordered, seed, lambda n: show(Progress(len(results) + n, total, None)))
    return Report(ordered, mutation, time.perf_counter() - started, seed, jobs, versions())


@contextmanager
def workers(jobs: int) -> Iterator[ProcessPoolExecutor]:
    """Start worker processes, and end them at once where the run is interrupted."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["derivations.run"])
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start)
    try:
        yield pool
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the workers
    load()


def _check(name: str, seed: int) -> Result:
    return load()[name].check(seed=seed)


def _mutate(
    pool: ProcessPoolExecutor,
    broken: Sequence[Mutant],
    results: Sequence[Result],
    seed: int,
    show: Callable[[int], None],
) -> Mutation:
    started = time.perf_counter()
    seconds = attempts(results)
    by_place = [list(group) for _, group in itertools.groupby(broken, key=lambda mutant: mutant.place)]
    batches = [group[n : n + BATCH] for group in by_place for n in range(0, len(group), BATCH)]
    found: list[Refutation] = []
    for future in as_completed([pool.submit(refute, batch, seconds, seed=seed) for batch in batches]):
        found += future.result()
        show(len(found))
    keys = {mutant.key for mutant in mutants()}
    return Mutation(
        refuted=tuple(mutant for mutant in found if mutant.by),
        survivors=tuple(mutant for mutant in found if not mutant.by),
        equivalent={key: reason for key, reason in EQUIVALENT.items() if key in keys},
        stale=tuple(key for key in EQUIVALENT if key not in keys),
        seconds=time.perf_counter() - started,
    )
