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
from typing import Any

from derivations.against import difference
from derivations.claim import Claim, name_of
from derivations.mutants.by_machine import changed, every_mutant
from derivations.mutants.equivalent import EQUIVALENT
from derivations.mutants.refutation import Refutation, attempts, reaching
from derivations.registry import load
from derivations.result import Checked, Kind, Result, Verdict
from derivations.workers import Worker, Workers
from gdn_core.rules import RULES, WriteRule

BATCH = 32  # mutants of one function in a task: it learns which steps refute them


@dataclass(frozen=True)
class Mutation:
    """The results for the mutants of the code.

    Args:
        refuted: the mutants that a residual refuted, each with the step that left it.
        crashed: the mutants at which steps only crash, each with the first of them and what it raised.
        survivors: the mutants that no step noticed and that are not listed as equivalent.
        unearned: functions that a claim names, and of which it notices no mutant, each with the claim.
        equivalent: the listed mutants that change nothing, by key, with the reason.
        stale: listed keys that no mutant has.
        seconds: wall time.
    """

    refuted: tuple[Refutation, ...]
    crashed: tuple[Refutation, ...]
    survivors: tuple[Refutation, ...]
    equivalent: dict[tuple[str, str, str], str]
    stale: tuple[tuple[str, str, str], ...]
    unearned: tuple[tuple[str, str], ...]
    seconds: float

    @property
    def faults(self) -> tuple[str, ...]:
        """Say what went wrong, a sentence each."""
        return (
            *(f"no claim refutes the mutant {mutant.mutant}" for mutant in self.survivors),
            *(f"{claim}: names {code} as code, and notices no mutant of it" for claim, code in self.unearned),
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
    def notes(self) -> tuple[str, ...]:
        """Say what was not run, a sentence each."""
        return tuple(note for result in self.results for note in result.notes)

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


def check_rule(
    rule: WriteRule, function: Callable[..., Any] | None = None, *, seed: int = 0
) -> tuple[Result, ...]:
    """Check a write rule against every claim that is stated for rules with its gates, or a function against the rule.

    A rule is data, and the claims hold for every rule of the family, so a rule alone can hardly fail. A function of
    one's own can: a step, a recurrence or a chunk form.

    >>> from gdn_core.rules import LINEAR_ATTENTION, Gate, Source
    >>> mine = WriteRule(slug="mine", title="Mine", year=2026, source=Source("none", "none"), summary="A test.",
    ...                  decay=Gate.KEY, erase=Gate.SCALAR, write=Gate.VALUE)
    >>> results = check_rule(mine)
    >>> [fault for result in results for fault in result.faults]
    []
    >>> def forgets(S, q, k, v):
    ...     for t in range(len(v)):
    ...         S = S / 2 + v[t][:, None] * k[t]
    ...     return S
    >>> check_rule(LINEAR_ATTENTION, forgets)[0].faults  # doctest: +ELLIPSIS
    ('forgets: forgets (linear-attention): forgets is not Linear attention: at T = 1, K = 2, V = 3 S[0, 0] is ...

    Args:
        rule: a write rule, of the lineage or not.
        function: a function on arrays; :mod:`derivations.against` says by which names it takes them.
        seed: seed of the random points.

    Returns:
        A result for each such claim, of the steps and mutants that take a rule. With a function one result, which has
        its name, and fails with the sentence that says where it differs from the rule.
    """
    if function:
        started = time.perf_counter()
        wrong = difference(function, rule, seed=seed)
        verdict = Verdict.FAILS if wrong else Verdict.HOLDS
        seconds = time.perf_counter() - started
        scope = "at sizes that break code, at random points only"
        step = Checked(function.__name__, verdict, wrong, seconds, "exact", scope, rule.slug, Kind.POINTS)
        return (Result(function.__name__, rule.title, (step,), (), seconds, seed),)
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
        tasks = [partial(Worker.check, name=name, seed=seed) for name in longest_first(names)]
        for future in as_completed([workers.submit(task) for task in tasks]):
            result = future.result()
            results[result.claim] = result
            show(Progress(len(results), total, result))
        ordered = tuple(results[name] for name in names)
        mutation = None
        if mutate and not any(result.faults for result in ordered):
            mutation = _mutate(workers, broken, ordered, seed, lambda n: show(Progress(len(results) + n, total, None)))
    return Report(ordered, mutation, time.perf_counter() - started, seed, jobs, versions())


def longest_first(names: Iterable[str]) -> list[str]:
    """Sort claims by how long they may take, the longest first, so that none is left for the end and runs alone.

    Compiled kernels take longer than PyTorch's operations, and these longer than the rest; among claims that need the
    same packages, one takes the longer the more often it runs the code, for its steps or for its mutants.
    """

    def work(name: str) -> tuple[int, int]:
        made = load()[name]
        runs = sum(step.scope.runs * len(step.runs(RULES.values())) for step in made.steps if step.scope)
        return len(made.needs), runs + len(made.mutants)

    return sorted(names, key=work, reverse=True)


def _mutate(
    workers: Workers,
    broken: Sequence[int],
    results: Sequence[Result],
    seed: int,
    show: Callable[[int], None],
) -> Mutation:
    started = time.perf_counter()
    by_place = {
        place: list(group) for place, group in itertools.groupby(broken, key=lambda n: every_mutant()[n].place)
    }
    costs = {place: reaching(results, place) for place in by_place}
    batches = [(place, group[n : n + BATCH]) for place, group in by_place.items() for n in range(0, len(group), BATCH)]
    batches.sort(key=lambda batch: -len(batch[1]) * min(cost.first for cost in costs[batch[0]].values()))
    found: list[Refutation] = []
    tasks = [partial(Worker.refute, places=batch, costs=costs[place], seed=seed) for place, batch in batches]
    for future in as_completed([workers.submit(task) for task in tasks]):
        found += future.result()
        show(len(found))
    noticed = {(mutant.by.partition(":")[0], mutant.key[0]) for mutant in found if not mutant.raises}
    left = {
        result.claim: [name for name in map(name_of, load()[result.claim].code) if (result.claim, name) not in noticed]
        for result in results
    }
    every = attempts(results)
    naming = {
        workers.submit(partial(Worker.unearned, name=claim, places=places, costs=every, seed=seed)): claim
        for claim, places in left.items()
        if places
    }
    unearned = tuple((claim, code) for future, claim in naming.items() for code in future.result())
    keys = {mutant.key for mutant in every_mutant()}
    return Mutation(
        refuted=tuple(mutant for mutant in found if mutant.by and not mutant.raises),
        crashed=tuple(mutant for mutant in found if mutant.raises),
        survivors=tuple(mutant for mutant in found if not mutant.by),
        equivalent={key: reason for key, reason in EQUIVALENT.items() if key in keys},
        stale=tuple(key for key in EQUIVALENT if key not in keys and key[0].startswith(changed())),
        unearned=unearned,
        seconds=time.perf_counter() - started,
    )
