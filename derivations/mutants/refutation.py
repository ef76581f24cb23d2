"""Refute mutants: run steps of claims on a mutant until one fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from derivations.claim import name_of
from derivations.mutants.by_machine import Mutant
from derivations.registry import load
from derivations.result import Checked, Result, Verdict
from gdn_core.rules import RULES

Attempt = tuple[str, int, str]  # a claim, the number of its step, and the rule it is run for or ""


@dataclass(frozen=True)
class Refutation:
    """The result for one mutant.

    Args:
        mutant: the mutant as text.
        key: its key in ``EQUIVALENT``.
        by: the claim and the step that refuted it; "" for a survivor.
        residual: the residual of that step, or the message of the exception that it raised.
        raises: whether it raised, and showed no wrong number.
    """

    mutant: str
    key: tuple[str, str, str]
    by: str
    residual: str
    raises: bool = False


def attempts(results: Sequence[Result]) -> dict[Attempt, float]:
    """Return the steps of checked claims, with the seconds of each."""
    found: dict[Attempt, float] = {}
    for result in results:
        numbers = {step.name: n for n, step in enumerate(load()[result.claim].steps)}
        found |= {(result.claim, numbers[step.name], step.rule): step.seconds for step in result.steps}
    return found


def refute(broken: Sequence[Mutant], seconds: dict[Attempt, float], *, seed: int = 0) -> list[Refutation]:
    """Run steps of claims on each mutant until one fails; then run each step that failed on the unchanged code.

    Args:
        broken: mutants of one function.
        seconds: every step, with its seconds. Steps of claims about the function are tried first, then of those about
            its module; among them those that have refuted a mutant, then the fast ones.
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
    found = []
    for mutant in broken:
        by = None
        with mutant.in_place():
            for attempt in sorted(seconds, key=lambda a: (about[a[0]], not refuted[a], seconds[a])):
                checked = _try(attempt, seed)
                if checked.verdict is not Verdict.HOLDS:
                    refuted[attempt] += 1
                    raises = checked.verdict is Verdict.ERROR
                    by = Refutation(str(mutant), mutant.key, _named(attempt), checked.residual, raises)
                    break
        found.append(by or Refutation(str(mutant), mutant.key, "", ""))
    for attempt in refuted:
        if _try(attempt, seed).verdict is not Verdict.HOLDS:
            raise RuntimeError(f"{_named(attempt)}: refutes a mutant and fails without it, so it remembers the mutant")
    return found


def _try(attempt: Attempt, seed: int) -> Checked:
    name, number, slug = attempt
    made = load()[name]
    return made.check_step(made.steps[number], seed=seed, rule=RULES[slug] if slug else None)


def _named(attempt: Attempt) -> str:
    name, number, slug = attempt
    return f"{name}: {load()[name].steps[number].name}" + (f" ({slug})" if slug else "")
