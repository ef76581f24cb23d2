"""Refute mutants: run steps of claims on a mutant until one leaves a residual."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from derivations.claim import Code, name_of
from derivations.mutants.by_machine import TORCH, Mutant, every_mutant
from derivations.registry import load
from derivations.result import Checked, Result, Verdict
from gdn_core.rules import RULES

Attempt = tuple[str, int, str]  # a claim, the number of its step, and the rule it is run for or ""
CRASHES = 24  # steps that may crash at a mutant before it is taken for one at which all do
SAMPLE = 24  # mutants of a function of which a claim that names it must notice one


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


def attempts(results: Sequence[Result]) -> dict[Attempt, float]:
    """Return the steps of checked claims, with the seconds of each."""
    return {attempt: step.seconds for attempt, step in _steps(results)}


def _steps(results: Sequence[Result]) -> Iterable[tuple[Attempt, Checked]]:
    for result in results:
        numbers = {step.name: n for n, step in enumerate(load()[result.claim].steps)}
        for step in result.steps:
            if step.verdict is Verdict.HOLDS:
                yield (result.claim, numbers[step.name], step.rule), step


def reaching(results: Sequence[Result], place: str) -> dict[Attempt, float]:
    """Return the steps that may notice a change of a function, with their seconds: those that reached it.

    Args:
        results: results of claims.
        place: the dotted name of the function; every step may notice one whose calls are not recorded everywhere.
    """
    found = list(_steps(results))
    recorded = any(place in step.reached for _, step in found) and not place.startswith(TORCH)
    return {attempt: step.seconds for attempt, step in found if place in step.reached or not recorded}


def refute(broken: Sequence[Mutant], seconds: dict[Attempt, float], *, seed: int = 0) -> list[Refutation]:
    """Run steps of claims on each mutant until one leaves a residual; then run each that did on the unchanged code.

    A step that raises an exception has noticed a mutant, but has not refuted it: others are tried, up to ``CRASHES``.

    Args:
        broken: mutants of one function.
        seconds: every step that may notice them, with its seconds. Steps of claims about the function are tried first,
            then of those about its module; among them those that have refuted a mutant, then the fast ones.
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
    limit = 1 if modules <= {*TORCH} else CRASHES  # steps of the PyTorch forms are long
    refuted: Counter[Attempt] = Counter()
    found = []
    for mutant in broken:
        best, crashes = Refutation(str(mutant), mutant.key, "", ""), 0
        with mutant.in_place():
            for attempt in sorted(seconds, key=lambda a: (about[a[0]], not refuted[a], seconds[a])):
                checked = _try(attempt, seed)
                if checked.verdict is Verdict.FAILS:
                    refuted[attempt] += 1
                    best = Refutation(str(mutant), mutant.key, _named(attempt), checked.residual)
                    break
                if checked.verdict is Verdict.ERROR and not best.by:
                    best = Refutation(str(mutant), mutant.key, _named(attempt), checked.residual, raises=True)
                crashes += checked.verdict is Verdict.ERROR
                if crashes == limit:
                    break
        found.append(best)
    for attempt in refuted:
        if _try(attempt, seed).verdict is not Verdict.HOLDS:
            raise RuntimeError(f"{_named(attempt)}: refutes a mutant and fails without it, so it remembers the mutant")
    return found


def unearned(name: str, seconds: dict[Attempt, float], *, seed: int = 0) -> tuple[str, ...]:
    """Return the functions that a claim names, and of which its steps notice no mutant.

    Args:
        name: the claim.
        seconds: its steps, with their seconds.
        seed: seed of the random points.
    """
    quick = sorted((attempt for attempt in seconds if attempt[0] == name), key=seconds.__getitem__)
    named = [name_of(code) for code in load()[name].code if not isinstance(code, Code)]
    broken = {place: [mutant for mutant in every_mutant() if mutant.place == place] for place in named}
    return tuple(
        place for place in named if broken[place] and not any(_notices(m, quick, seed) for m in _spread(broken[place]))
    )


def _spread(mutants: Sequence[Mutant]) -> Sequence[Mutant]:
    """Return some of the mutants of a function, from all over it."""
    return mutants[:: max(1, len(mutants) // SAMPLE)]


def _notices(mutant: Mutant, quick: Iterable[Attempt], seed: int) -> bool:
    with mutant.in_place():
        return any(_try(attempt, seed).verdict is Verdict.FAILS for attempt in quick)


def _try(attempt: Attempt, seed: int) -> Checked:
    name, number, slug = attempt
    made = load()[name]
    return made.check_step(made.steps[number], seed=seed, rule=RULES[slug] if slug else None)


def _named(attempt: Attempt) -> str:
    name, number, slug = attempt
    return f"{name}: {load()[name].steps[number].name}" + (f" ({slug})" if slug else "")
