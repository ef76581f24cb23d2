"""Run claims in parallel, and then the mutants of the code that they are about."""

from __future__ import annotations

import importlib.metadata
import itertools
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec

from derivations.claim import Claim
from derivations.mutants.by_machine import changed, every_mutant
from derivations.mutants.equivalent import EQUIVALENT
from derivations.mutants.refutation import Refutation, attempts
from derivations.registry import load
from derivations.result import Kind, Result
from derivations.workers import Worker, Workers
from gdn_core.rules import WriteRule

BATCH = 64  # mutants of one function in a task: it learns which steps refute them


@dataclass(frozen=True)
class Mutation:
    """The results for the mutants of the code.

    Args:
        refuted: the refuted mutants, each with the step that refuted it.
        survivors: the mutants that no step refuted and that are not listed as equivalent.
        equivalent: the listed mutants that change nothing, by key, with the reason.
        stale: listed keys that no mutant has.
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
    """The report of a run of the claims.

    Args:
        results: results of the claims, in the order of the subjects.
        mutation: results of the mutants of the code; None if it was not requested, or if a claim fails.
        seconds: wall time.
        seed: seed of the random points.
        jobs: number of worker processes.
        versions: versions of Python, of this project and of its dependencies.
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

    @property
    def kinds(self) -> dict[Kind, int]:
        """Count the steps by what they are about, each once for all rules."""
        return steps_by_kind(self.results)


def steps_by_kind(results: Iterable[Result]) -> dict[Kind, int]:
    """Count the steps of results by kind, each once for all rules."""
    steps = {(result.claim, step.name): step for result in results for step in result.steps}
    return {kind: sum(step.kind is kind for step in steps.values()) for kind in Kind}


@dataclass(frozen=True)
class Progress:
    """The progress of a run.

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
    """Return the versions of Python, of this project, and of the packages that decide the claims."""
    packages = ("gated-deltanet-first-principles", "sympy", "numpy", *(["torch"] if find_spec("torch") else []))
    return {"python": platform.python_version(), **{name: importlib.metadata.version(name) for name in packages}}


def check_rule(rule: WriteRule, *, seed: int = 0) -> tuple[Result, ...]:
    """Check a write rule against every claim that is stated for all rules, or for rules with its gates.

    >>> from gdn_core.rules import Gate, Source
    >>> mine = WriteRule(slug="mine", title="Mine", year=2026, source=Source("none", "none"), summary="A test.",
    ...                  decay=Gate.KEY, erase=Gate.SCALAR, write=Gate.VALUE)
    >>> results = check_rule(mine)
    >>> [fault for result in results for fault in result.faults]
    []

    Args:
        rule: a write rule, of the lineage or not.
        seed: seed of the random points.

    Returns:
        A result for each such claim, of the steps and mutants that take a rule.
    """
    return tuple(made.check(seed=seed, rules=[rule]) for made in stated_for(rule))


def stated_for(rule: WriteRule) -> tuple[Claim, ...]:
    """Return the claims with steps that are run for a rule."""
    claims = load().values()
    return tuple(made for made in claims if any(step.per_rule and step.runs([rule]) for step in made.steps))


def run(
    names: Sequence[str],
    *,
    mutate: bool,
    jobs: int,
    seed: int = 0,
    show: Callable[[Progress], None] = lambda progress: None,
) -> Report:
    """Check claims; then check that mutants of the code are refuted.

    Args:
        names: the claims.
        mutate: if every claim holds, run the claims on every mutant of the code.
        jobs: number of worker processes, >= 1.
        seed: seed of the random points.
        show: called after each claim and each mutant.
    """
    started = time.perf_counter()
    broken = [n for n, mutant in enumerate(every_mutant()) if mutant.key not in EQUIVALENT] if mutate else []
    total = len(names) + len(broken)
    results: dict[str, Result] = {}
    with Workers(jobs) as workers:
        for future in as_completed([workers.submit(partial(Worker.check, name=name, seed=seed)) for name in names]):
            result = future.result()
            results[result.claim] = result
            show(Progress(len(results), total, result))
        ordered = tuple(results[name] for name in names)
        mutation = None
        if mutate and not any(result.faults for result in ordered):
            mutation = _mutate(workers, broken, ordered, seed, lambda n: show(Progress(len(results) + n, total, None)))
    return Report(ordered, mutation, time.perf_counter() - started, seed, jobs, versions())


def _mutate(
    workers: Workers,
    broken: Sequence[int],
    results: Sequence[Result],
    seed: int,
    show: Callable[[int], None],
) -> Mutation:
    started = time.perf_counter()
    seconds = attempts(results)
    by_place = [list(group) for _, group in itertools.groupby(broken, key=lambda n: every_mutant()[n].place)]
    batches = [group[n : n + BATCH] for group in by_place for n in range(0, len(group), BATCH)]
    found: list[Refutation] = []
    tasks = [partial(Worker.refute, places=batch, seconds=seconds, seed=seed) for batch in batches]
    for future in as_completed([workers.submit(task) for task in tasks]):
        found += future.result()
        show(len(found))
    keys = {mutant.key for mutant in every_mutant()}
    return Mutation(
        refuted=tuple(mutant for mutant in found if mutant.by),
        survivors=tuple(mutant for mutant in found if not mutant.by),
        equivalent={key: reason for key, reason in EQUIVALENT.items() if key in keys},
        stale=tuple(key for key in EQUIVALENT if key not in keys and key[0].startswith(changed())),
        seconds=time.perf_counter() - started,
    )
