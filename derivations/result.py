"""Results: the verdicts of steps, mutants and claims."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Verdict(Enum):
    """The outcome of a step, a mutant or a claim."""

    HOLDS = "holds"
    FAILS = "fails"  # a residual is not zero, or a mutant was not refuted
    ERROR = "error"  # an exception was raised


@dataclass(frozen=True)
class Checked:
    """The result of one run of a step or a mutant; for a mutant HOLDS means that it was refuted.

    Args:
        name: the step or mutant.
        verdict: the outcome.
        residual: the residual of a failed step or a refuted mutant, or the message of an exception.
        seconds: wall time.
        engine: the engine of a step, "" of a mutant.
        scope: the scope of a step in words, "" of a mutant.
        rule: the slug of the rule it was run for, or "".
    """

    name: str
    verdict: Verdict
    residual: str
    seconds: float
    engine: str = ""
    scope: str = ""
    rule: str = ""


@dataclass(frozen=True)
class Result:
    """The result of a claim: those of its steps and mutants."""

    claim: str
    subject: str
    steps: tuple[Checked, ...]
    mutants: tuple[Checked, ...]
    seconds: float
    seed: int

    @property
    def verdict(self) -> Verdict:
        """Hold where every step holds and every mutant is refuted; an error outweighs a failure."""
        verdicts = {checked.verdict for checked in (*self.steps, *self.mutants)}
        if not self.steps or Verdict.ERROR in verdicts:
            return Verdict.ERROR
        return Verdict.FAILS if Verdict.FAILS in verdicts else Verdict.HOLDS

    @property
    def faults(self) -> tuple[str, ...]:
        """The failures, a sentence each."""
        found = [] if self.steps else [f"{self.claim}: no step applies, so nothing was checked"]
        for checked in self.steps:
            if checked.verdict is not Verdict.HOLDS:
                found.append(f"{self.claim}: {_labelled(checked)}: {checked.residual}")
        for checked in self.mutants:
            if checked.verdict is Verdict.FAILS:
                found.append(f"{self.claim}: the mutant {_labelled(checked)} was not refuted")
            elif checked.verdict is Verdict.ERROR:
                found.append(f"{self.claim}: the mutant {_labelled(checked)}: {checked.residual}")
        return tuple(found)


def _labelled(checked: Checked) -> str:
    return f"{checked.name} ({checked.rule})" if checked.rule else checked.name
