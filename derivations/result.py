"""Results: the verdicts of steps, mutants and claims."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum


class Verdict(Enum):
    """The outcome of a step, a mutant or a claim."""

    HOLDS = "holds"
    FAILS = "fails"  # a residual is not zero, or a mutant was not refuted
    ERROR = "error"  # an exception was raised
    SKIPPED = "skipped"  # a misprint that it plants is not in the code, which has been written in another way


class Kind(StrEnum):
    """What a step that holds is about."""

    ALGEBRA = "algebra"
    CODE = "code"
    POINTS = "points"


KINDS: dict[Kind, str] = {
    Kind.ALGEBRA: "a theorem on paper, checked by machine, about no code",
    Kind.CODE: "these functions, for all inputs of these sizes",
    Kind.POINTS: "these functions at points, an example or random ones; of random points a probability",
}


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
        kind: what the step is about, as it follows from what it ran; None of a mutant.
        ran: the functions of the code that the step called.
        reached: these functions and those that they called.
        degree: of a step at random points the bound on the residual's degree, counted by the code; else 0.
        cpu: CPU time in seconds, which other processes do not lengthen.
        compared: how many residuals it compared with zero.
        unmodelled: what its engine does not model of what ran, in words.
        tex: the residual in TeX, "" where it is no formula.
    """

    name: str
    verdict: Verdict
    residual: str
    seconds: float
    engine: str = ""
    scope: str = ""
    rule: str = ""
    kind: Kind | None = None
    ran: tuple[str, ...] = ()
    reached: tuple[str, ...] = ()
    degree: int = 0
    cpu: float = 0.0
    compared: int = 0
    unmodelled: tuple[str, ...] = ()
    tex: str = ""

    @property
    def labelled(self) -> str:
        """The name, with the rule that it was run for."""
        return f"{self.name} ({self.rule})" if self.rule else self.name

    @property
    def fault(self) -> str:
        """Say what went wrong, and at which sizes; "" if it holds. A mutant that fails has no residual."""
        if self.verdict in (Verdict.HOLDS, Verdict.SKIPPED):
            return ""
        if not self.residual:
            return f"{self.labelled} was not refuted"
        told = self.verdict is Verdict.ERROR or " = " in self.residual  # a step of several sizes names the one
        at = "" if told or not self.scope else f", {self.stated}"
        return f"{self.labelled}{at}: {self.residual}"

    @property
    def functions(self) -> tuple[str, ...]:
        """The functions of the code that it ran, without the name of the package."""
        return tuple(name.removeprefix("gdn_core.") for name in self.ran)

    @property
    def stated(self) -> str:
        """The scope without the probability of an error."""
        return self.scope.partition(": of degree")[0]


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
        if all(step.verdict is Verdict.SKIPPED for step in self.steps) or Verdict.ERROR in verdicts:
            return Verdict.ERROR
        return Verdict.FAILS if Verdict.FAILS in verdicts else Verdict.HOLDS

    @property
    def said(self) -> tuple[str, ...]:
        """The scopes of the steps, each once with its kind; those of algebra first, those at points last.

        Of a scope at random points, which a step may have for several rules, the largest degree is said.
        """
        largest: dict[tuple[Kind, str], Checked] = {}
        for kind in Kind:
            for step in self.steps:
                if step.kind is kind and step.degree >= largest.get((kind, step.stated), step).degree:
                    largest[kind, step.stated] = step
        return tuple(f"{kind}: {step.scope}" for (kind, _), step in largest.items())

    @property
    def unmodelled(self) -> tuple[str, ...]:
        """What the engines of its steps do not model of what ran, each once."""
        return tuple(dict.fromkeys(what for step in self.steps for what in step.unmodelled))

    @property
    def faults(self) -> tuple[str, ...]:
        """The failures, a sentence each."""
        nothing = all(step.verdict is Verdict.SKIPPED for step in self.steps)
        found = [f"{self.claim}: no step applies, so nothing was checked"] if nothing else []
        found += [f"{self.claim}: {step.fault}" for step in self.steps if step.fault]
        found += [f"{self.claim}: the mutant {mutant.fault}" for mutant in self.mutants if mutant.fault]
        return tuple(found)

    @property
    def notes(self) -> tuple[str, ...]:
        """Say what was not run, a sentence each."""
        skipped = [each for each in (*self.steps, *self.mutants) if each.verdict is Verdict.SKIPPED]
        return tuple(f"{self.claim}: {each.labelled} was not run: {each.residual}" for each in skipped)
