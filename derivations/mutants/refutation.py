"""Refute mutants: run steps of claims on a mutant until one leaves a residual."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from derivations.claim import name_of
from derivations.mutants.by_machine import Mutant, every_mutant
from derivations.registry import load
from derivations.result import Checked, Result, Verdict
from derivations.running import Running
from gdn_core.rules import RULES

Attempt = tuple[str, int, str]  # a claim, the number of its step, and the rule it is run for or ""
Noticed = tuple[Attempt, Running]
#: Of each step that may notice a mutant so much CPU time in all, in rounds: small sizes of all steps come before large
#: sizes of any.
ROUNDS = (0.01, 0.05, 0.3, 1.5, math.inf)
CRASHES = 2  # rules for which a step may crash at a mutant before it is not run for the others
MOST = 8  # steps that may crash at a mutant before it is taken for one at which all do
PATIENCE = 0.2  # seconds of CPU time in which a residual is looked for, of a mutant at which steps crash
SAMPLE = 24  # mutants of a function of which a claim that names it must notice one


@dataclass(frozen=True)
class Cost:
    """What a step costs on the unchanged code.

    Args:
        seconds: CPU time of the whole step.
        compared: how many residuals it gives.
    """

    seconds: float
    compared: int = 1

    @property
    def first(self) -> float:
        """The seconds to its first residual, at most: small sizes come first."""
        return self.seconds / max(1, self.compared)


@dataclass(frozen=True)
class Refutation:
    """The result for one mutant.

    Args:
        mutant: the mutant as text.
        key: its key in ``EQUIVALENT``.
        by: the claim and the step that refuted it; "" for a survivor.
        residual: the residual of that step, or the message of the exception that it raised.
        raises: whether no step left a residual, and this one raised.
    """

    mutant: str
    key: tuple[str, str, str]
    by: str
    residual: str
    raises: bool = False


def attempts(results: Sequence[Result]) -> dict[Attempt, Cost]:
    """Return the steps of checked claims, with the cost of each."""
    return {attempt: _cost(step) for attempt, step in _steps(results)}


def _steps(results: Sequence[Result]) -> Iterable[tuple[Attempt, Checked]]:
    for result in results:
        numbers = {step.name: n for n, step in enumerate(load()[result.claim].steps)}
        for step in result.steps:
            if step.verdict is Verdict.HOLDS:
                yield (result.claim, numbers[step.name], step.rule), step


def _cost(step: Checked) -> Cost:
    return Cost(step.cpu, step.compared)


def reaching(results: Sequence[Result], place: str) -> dict[Attempt, Cost]:
    """Return the steps that may notice a change of a function, with their costs: those that reached it.

    Args:
        results: results of claims.
        place: the dotted name of the function; every step may notice one whose calls are not recorded.
    """
    found = list(_steps(results))
    recorded = any(place in step.reached for _, step in found)
    return {attempt: _cost(step) for attempt, step in found if place in step.reached or not recorded}


def refute(broken: Sequence[Mutant], costs: Mapping[Attempt, Cost], *, seed: int = 0) -> list[Refutation]:
    """Run steps of claims on each mutant until one leaves a residual; then run each that did on the unchanged code.

    The steps take turns: each gives its residuals at the smallest sizes first, and goes on where it was in the next
    round. A step that raises an exception has noticed a mutant, but has not refuted it: others are tried.

    Args:
        broken: mutants of one function.
        costs: every step that may notice them, with its cost. Those that have refuted a mutant of the function are
            tried first, then those of claims about the function, then about its module; among them the cheap ones.
        seed: seed of the random points.

    Raises:
        RuntimeError: if a step that refuted a mutant fails on the unchanged code, because it keeps state.
    """
    places, modules = ({getattr(mutant, what) for mutant in broken} for what in ("place", "module"))
    about = {
        name: (not any(name_of(code) in places for code in made.code),
               not any(getattr(code, "__module__", "") in modules for code in made.code))
        for name, made in load().items()
    }  # fmt: skip
    refuted: Counter[Attempt] = Counter()
    compared: Counter[Attempt] = Counter()  # residuals until it did
    found = []
    for mutant in broken:
        order = sorted(costs, key=lambda a: (-refuted[a], about[a[0]], costs[a].first))
        with mutant.in_place():
            noticed = _first_to_notice(order, costs, seed, tried=refuted)
        if not noticed:
            found.append(Refutation(str(mutant), mutant.key, "", ""))
            continue
        attempt, running = noticed
        raises = running.verdict is Verdict.ERROR
        found.append(Refutation(str(mutant), mutant.key, _named(attempt), running.residual, raises))
        if not raises:
            refuted[attempt] += 1
            compared[attempt] = max(compared[attempt], running.compared)
    for attempt, residuals in compared.items():
        unchanged = _started(attempt, seed)
        unchanged.go_on(residuals=residuals)
        if unchanged.verdict not in (None, Verdict.HOLDS):
            raise RuntimeError(f"{_named(attempt)}: refutes a mutant and fails without it, so it remembers the mutant")
    return found


def _first_to_notice(
    order: Sequence[Attempt],
    costs: Mapping[Attempt, Cost],
    seed: int,
    *,
    tried: Collection[Attempt] = (),
    rounds: Sequence[float] = ROUNDS,
    started: dict[Attempt, Running] | None = None,
) -> Noticed | None:
    """Return the first step that leaves a residual; or else the first one that raises; None where none notices.

    Args:
        order: the steps, in the order of their turns.
        costs: the cost of each.
        seed: seed of the random points.
        tried: steps that are run from the first round on, whatever they cost.
        rounds: the CPU time of each step up to the end of each round.
        started: the steps that have run on this mutant before, which go on where they were.
    """
    started = {} if started is None else started
    crashes: Counter[tuple[str, int]] = Counter()
    raised: Noticed | None = None
    spent = 0.0
    for seconds in rounds:
        for attempt in order:
            running = started.get(attempt)
            if not running:
                waits = costs[attempt].first > seconds and attempt not in tried
                if waits or crashes[attempt[:2]] == CRASHES:
                    continue
                running = started[attempt] = _started(attempt, seed)
            if running.verdict:
                continue
            before = running.seconds
            running.go_on(seconds)
            spent += running.seconds - before
            if running.verdict is Verdict.FAILS:
                return attempt, running
            if running.verdict is Verdict.ERROR:
                crashes[attempt[:2]] += 1
                raised = raised or (attempt, running)
            if raised and (spent > PATIENCE or crashes.total() == MOST):
                return raised
    return raised


def unearned(
    name: str, places: Iterable[str], costs: Mapping[Attempt, Cost], *, seed: int = 0
) -> tuple[str, ...]:  # fmt: skip
    """Return those functions of which a claim notices no mutant.

    Args:
        name: the claim.
        places: dotted names of functions.
        costs: the claim's steps, with their costs.
        seed: seed of the random points.
    """
    quick = sorted((attempt for attempt in costs if attempt[0] == name), key=lambda a: costs[a].first)
    broken = {place: [mutant for mutant in every_mutant() if mutant.place == place] for place in places}
    unseen = (place for place, of in broken.items() if of and not _any_noticed(of, quick, costs, seed))
    return tuple(unseen)


def _any_noticed(
    mutants: Sequence[Mutant], quick: Sequence[Attempt], costs: Mapping[Attempt, Cost], seed: int
) -> bool:  # fmt: skip
    """Tell whether a step leaves a residual of one of a sample of mutants, which take turns as the steps do."""
    sample: list[tuple[Mutant, dict[Attempt, Running]]] = [(m, {}) for m in mutants[:: max(1, len(mutants) // SAMPLE)]]
    for seconds in ROUNDS:
        for mutant, started in sample:
            with mutant.in_place():
                noticed = _first_to_notice(quick, costs, seed, rounds=(seconds,), started=started)
            if noticed and noticed[1].verdict is Verdict.FAILS:
                return True
    return False


def _started(attempt: Attempt, seed: int) -> Running:
    name, number, slug = attempt
    made = load()[name]
    return made.running(made.steps[number], seed=seed, rule=RULES[slug] if slug else None)


def _named(attempt: Attempt) -> str:
    name, number, slug = attempt
    return f"{name}: {load()[name].steps[number].name}" + (f" ({slug})" if slug else "")
