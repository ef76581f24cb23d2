"""Claims: a function named after its conclusion, whose residual must be zero, and wrong variants of it.

    @claim(statement=r"...", scope=Sizes(C=4, K=3, V=2), engine="ring", source=Source("2412.06464", "sec. 3.3"),
           code=(reference.chunk, reference.recurrent))
    def chunk_equals_recurrence():
        '''The chunk form is the recurrence.'''
        return residual  # 0, or a collection of zeros or of "", holds; an empty one is refused; anything else is shown

    @chunk_equals_recurrence.step(engine="words", scope=EverySize("C", "d_k", "d_v"))
    def induction(): ...

    @chunk_equals_recurrence.refute
    def error_read_before_the_decay(): ...  # must return a residual that is not zero

The claim's own function is its first step. A step or a mutant may take ``rng``, a seeded ``random.Random``. In a claim
that is stated for several rules it may take ``rule``, and is then run for each of them. Residuals are exact: a truth
value, a float or None is refused, because each can pass without a comparison. A step with many residuals may yield
them; the first that is not zero ends the step.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

from derivations.engines.degree import largest
from derivations.engines.field import Field, counting
from derivations.engines.unmodelled import noted
from derivations.engines.used import used
from derivations.ran import Calls, kind, recording, wider
from derivations.residual import Residual
from derivations.result import Checked, Result, Verdict
from derivations.running import Running
from derivations.scope import OverField, Scope, in_words, listed
from derivations.subjects import PACKAGE, SUBJECTS
from gdn_core.rules import RULES, Source, WriteRule

Engine = Literal["words", "series", "ring", "gram", "field", "aten", "ir", "exponents", "sympy", "exact"]
ENGINES: dict[str, str] = {
    "words": "noncommutative words of matrices with checked shapes",
    "series": "coefficients of power series in one matrix",
    "ring": "the code on symbols: polynomials with integer coefficients",
    "gram": "the code on vectors of any width, known by their inner products",
    "field": "the code on random integers mod a prime",
    "aten": "the PyTorch program that runs, each of its operations on random integers mod a prime",
    "ir": "the kernel as Triton compiled it, each operation of its intermediate code on random integers mod a prime or "
          "on polynomials",
    "exponents": "the code on log decays as sums of letters: which exponentials it forms",
    "sympy": "a computer algebra system's own proof",
    "exact": "rational numbers, with no rounding",
}
RulePredicate = Callable[[WriteRule], bool]


class Code:
    """A function of a module that is not imported before a claim about it runs, because it needs an optional package.

    Args:
        module: the dotted name of the module.
        name: the name of the function.
    """

    def __init__(self, module: str, name: str) -> None:
        self.__module__, self.__qualname__ = module, name

    def __call__(self) -> Any:
        """Import the module and return the function."""
        return getattr(importlib.import_module(self.__module__), self.__qualname__)


def name_of(code: Any) -> str:
    """Return the dotted name of a function or class of the code."""
    return f"{getattr(code, '__module__', '')}.{getattr(code, '__qualname__', code)}".lstrip(".")


def source_of(code: Any) -> tuple[Path, int, str]:
    """Return the file of a function or class of the code, its line, and its source; nothing is imported for it."""
    if not isinstance(code, Code):
        lines, line = inspect.getsourcelines(code)
        return Path(inspect.getsourcefile(code) or "").resolve(), line, "".join(lines)
    package, _, module = code.__module__.rpartition(".")
    path = Path(importlib.import_module(package).__path__[0]).resolve() / f"{module}.py"
    text = path.read_text(encoding="utf-8")
    node = next(node for node in ast.parse(text).body if getattr(node, "name", None) == code.__qualname__)
    return path, node.lineno, "\n".join(text.splitlines()[node.lineno - 1 : node.end_lineno]) + "\n"


def every_rule(rule: WriteRule) -> bool:
    """Return True, for every rule of the family."""
    return True


@dataclass(frozen=True)
class Step:
    """One step or mutant of a claim: a function that returns a residual, with its engine and scope.

    Args:
        run: returns the residual; may take ``rng`` and ``rule``.
        engine: the engine that decides it; "" for a mutant.
        scope: the sizes or values for which it is decided; None for a mutant.
        rules: selects the rules it is run for, if it takes ``rule``.
    """

    run: Callable[..., Residual]
    engine: str
    scope: Scope | None
    rules: RulePredicate

    @property
    def name(self) -> str:
        """The function's name with spaces for underscores."""
        return self.run.__name__.replace("_", " ").strip()

    @property
    def summary(self) -> str:
        """The first paragraph of the function's docstring, or its name."""
        return self._paragraphs[0]

    @property
    def details(self) -> str:
        """The other paragraphs of the docstring; "" if there are none."""
        return " ".join(self._paragraphs[1:])

    @property
    def _paragraphs(self) -> list[str]:
        return [" ".join(text.split()) for text in (inspect.getdoc(self.run) or self.name).split("\n\n")]

    @property
    def per_rule(self) -> bool:
        """Whether it is run once for each rule."""
        return "rule" in inspect.signature(self.run).parameters

    def runs(self, among: Iterable[WriteRule]) -> tuple[WriteRule | None, ...]:
        """Return the rules that it is run for; only None if it takes no rule."""
        return tuple(rule for rule in among if self.rules(rule)) if self.per_rule else (None,)


@dataclass(eq=False)
class Claim:
    """A statement with its scope, the steps that check it, and wrong variants that the check refutes.

    Args:
        run: the first step; the claim has its name.
        statement: TeX, or a function that prints it from what is checked.
        assumptions: sentences, with TeX between dollars.
        source: where the statement is published.
        code: the functions and classes of gdn_core that it is about; a :class:`Code` if it needs an optional package.
        uses: the names of the claims that it depends on.
        rules: selects the rules it is stated for; None for a claim without a ``rule``.
        needs: optional packages that its steps import.
        steps: the checks; the first one has the claim's name.
        mutants: wrong variants; each must return a residual that is not zero.
    """

    run: Callable[..., Residual]
    statement: str | Callable[[], str]
    assumptions: tuple[str, ...]
    source: Source
    code: tuple[Any, ...]
    uses: tuple[str, ...]
    rules: RulePredicate | None
    needs: tuple[str, ...] = ()
    steps: list[Step] = field(default_factory=list)
    mutants: list[Step] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The conclusion, as an identifier."""
        return self.run.__name__

    @property
    def missing(self) -> tuple[str, ...]:
        """The packages that it needs and that are not installed."""
        return tuple(package for package in self.needs if importlib.util.find_spec(package) is None)

    @property
    def conclusion(self) -> str:
        """The conclusion as a sentence: the first line of the claim's docstring."""
        return self.steps[0].summary

    @property
    def derivation(self) -> str:
        """The derivation in words: what the steps show, one after the other, as their docstrings have it."""
        said = [" ".join((inspect.getdoc(step.run) or "").split()) for step in self.steps]
        said[0] = said[0].removeprefix(self.conclusion).strip()
        return " ".join(dict.fromkeys(text for text in said if text))

    @cached_property
    def tex(self) -> str:
        """The statement in TeX, printed on first use."""
        if isinstance(self.statement, str):
            return self.statement
        try:
            return self.statement()
        except Exception as error:  # noqa: BLE001 - the code that is run may fail in any way; the check reports how
            return rf"\text{{what is checked cannot be printed: {type(error).__name__}}}"

    @property
    def module(self) -> str:
        """The module that states it, relative to the package of claims: folder of the subject, and name."""
        return self.run.__module__.removeprefix(f"{PACKAGE}.")

    @property
    def subject(self) -> str:
        """The title of the subject that it belongs to."""
        folder = self.module.partition(".")[0]
        return SUBJECTS[folder].title if folder in SUBJECTS else self.module

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """The scopes of the steps, each once, in order."""
        return tuple(dict.fromkeys(step.scope for step in self.steps if step.scope))

    def step(
        self, *, engine: Engine, scope: Scope, rules: RulePredicate | None = None
    ) -> Callable[[Callable[..., Residual]], Callable[..., Residual]]:
        """Add a step; use as a decorator.

        Args:
            engine: the engine that decides it.
            scope: the sizes or values for which it is decided.
            rules: narrows the claim's rules, for a step that takes ``rule``.
        """

        def add(run: Callable[..., Residual]) -> Callable[..., Residual]:
            self.steps.append(self._checked_step(run, engine, scope, rules))
            return run

        return add

    def refute(self, run: Callable[..., Residual] | None = None, *, rules: RulePredicate | None = None) -> Any:
        """Add a mutant, named after its fault; use as a decorator, with or without arguments.

        Args:
            run: the wrong variant's check, whose residual must not be zero.
            rules: narrows the claim's rules to those that the fault touches, for a mutant that takes ``rule``.
        """

        def add(run: Callable[..., Residual]) -> Callable[..., Residual]:
            self.mutants.append(self._checked_step(run, "", None, rules))
            return run

        return add if run is None else add(run)

    def _checked_step(
        self, run: Callable[..., Residual], engine: str, scope: Scope | None, rules: RulePredicate | None
    ) -> Step:
        asked = set(inspect.signature(run).parameters)
        if not asked <= {"rule", "rng"}:
            raise TypeError(f"{self.name}: {run.__name__} may take rule and rng, not {listed(tuple(sorted(asked)))}")
        if engine and engine not in get_args(Engine):
            raise ValueError(f"{self.name}: engine: expected one of {', '.join(get_args(Engine))}, got {engine!r}")
        if "rule" in asked and self.rules is None:
            raise TypeError(
                f"{self.name}: {run.__name__} takes a rule, so the claim must say for which rules it is stated"
            )
        of_claim = self.rules or every_rule
        of_step = rules or every_rule
        return Step(run, engine, scope, lambda rule: of_claim(rule) and of_step(rule))

    def check(self, *, seed: int = 0, rules: Iterable[WriteRule] | None = None) -> Result:
        """Run every step and every mutant.

        Args:
            seed: seed of the random points; a step's points depend on the seed and its name only.
            rules: run only the steps and mutants that take a rule, for these rules; by default all, for the lineage.
        """
        started = time.perf_counter()
        among = tuple(RULES.values() if rules is None else rules)

        def run(steps: list[Step]) -> list[Checked]:
            checked = []
            for step in steps:
                if step.per_rule or rules is None:
                    checked += [
                        self.check_step(step, seed=seed, rule=rule, record=bool(step.engine))
                        for rule in step.runs(among)
                    ]
                if rules is None and not step.runs(among):
                    checked.append(Checked(step.name, Verdict.ERROR, "there is no rule that it is run for", 0.0))
            return checked

        steps, mutants = run(self.steps), run(self.mutants)
        if not self.mutants:
            mutants = [Checked("none stated", Verdict.FAILS, "", 0.0)]
        return Result(self.name, self.subject, tuple(steps), tuple(mutants), time.perf_counter() - started, seed)

    def check_step(
        self, step: Step, *, seed: int = 0, rule: WriteRule | None = None, record: bool = False
    ) -> Checked:
        """Run one step or mutant, with a rule if it takes one.

        Args:
            step: a step or mutant of this claim.
            seed: seed of the random points.
            rule: the rule, for a step that takes one.
            record: find what the step ran: its kind, the functions, and the degree of its residual.
        """
        started, fields = time.perf_counter(), Field.made
        recorded = recording(self._named_functions()) if record else nullcontext(Calls())
        with recorded as calls, noted() as unmodelled, used() as programs:
            running = self.running(step, seed=seed, rule=rule)
            running.go_on()
        verdict = running.verdict or Verdict.ERROR
        if not step.engine:  # a mutant
            verdict = {Verdict.HOLDS: Verdict.FAILS, Verdict.FAILS: Verdict.HOLDS}.get(verdict, verdict)
        seconds, fields = time.perf_counter() - started, Field.made - fields
        left_out = tuple(sorted(unmodelled, key=lambda what: (what.startswith("the"), what)))
        checked = Checked(
            step.name,
            verdict,
            running.residual,
            seconds,
            step.engine,
            str(step.scope or ""),
            rule.slug if rule else "",
            cpu=running.seconds,
            compared=running.compared,
            unmodelled=left_out,
            tex=running.tex,
        )
        if not record or not step.scope or verdict is Verdict.SKIPPED:
            return checked
        ran = tuple(dict.fromkeys(call.function for call in calls))
        checked = replace(checked, ran=ran, reached=calls.reached)
        if verdict is Verdict.ERROR:
            return checked
        more_rows = int(rule.normalised) if rule else 0
        if verdict is Verdict.HOLDS and (
            fault := wider(
                step.scope, step.engine, calls, fields=fields, more_rows=more_rows, programs=programs
            )
        ):
            return replace(checked, verdict=Verdict.ERROR, residual=fault)
        degree = getattr(step.scope, "degree", 0)
        if step.engine in ("field", "aten") or (step.engine == "ir" and step.scope.error(1) and not degree):
            degree = _degree(step, self._drawn(step, seed, rule))
        return replace(
            checked,
            scope=in_words(step.scope, degree),
            kind=kind(step.scope, calls),
            degree=degree,
        )

    def running(self, step: Step, *, seed: int = 0, rule: WriteRule | None = None) -> Running:
        """Start a step or mutant of this claim, which then gives its residuals one after the other."""
        return Running(step.run, self._drawn(step, seed, rule))

    def _drawn(self, step: Step, seed: int, rule: WriteRule | None) -> dict[str, Any]:
        """Return the arguments of a step: its rule, and its own random numbers."""
        arguments: dict[str, Any] = {"rule": rule} if rule else {}
        if "rng" in inspect.signature(step.run).parameters:
            name = f"{seed} {self.name} {step.run.__name__} {rule.slug if rule else ''}"
            arguments["rng"] = random.Random(name)
        return arguments

    def _named_functions(self) -> tuple[Any, ...]:
        """Return the functions of the code that it names, as far as they can be imported."""
        return tuple(code() if isinstance(code, Code) and not self.missing else code for code in self.code)


def _degree(step: Step, arguments: dict[str, Any]) -> int:
    """Count the degree of a step's residual by running it on degrees."""
    with counting():
        residual = step.run(**arguments)
        if isinstance(residual, Iterator):
            cases = 1 if isinstance(step.scope, OverField) else None  # one size mod several primes has one degree
            return max(map(largest, islice(residual, cases)))
        return largest(residual)
