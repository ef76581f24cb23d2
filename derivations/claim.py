"""What a claim is: a function named after its conclusion, whose residual must be zero, and wrong variants of it.

    @claim(statement=r"...", scope=Sizes(C=4, K=3, V=2), engine="ring", source=Source("2412.06464", "sec. 3.3"),
           code=(reference.chunk, reference.recurrent))
    def chunk_equals_recurrence():
        '''The chunk form is the recurrence.'''
        return residual  # 0, an array of zeros, or an empty list holds; anything else is shown

    @chunk_equals_recurrence.step(engine="words", scope=EverySize("C", "d_k", "d_v"))
    def induction(): ...

    @chunk_equals_recurrence.refute
    def error_read_before_the_decay(): ...  # must return a residual that is not zero

The claim's own function is its first step. A step or a mutant may ask for ``rng``, a seeded ``random.Random``, and in
a claim that is stated for many rules for ``rule``: then it is run for each of them. A residual is exact: a truth
value, a float or None is refused, because each can pass without having compared anything. A step of many residuals
may yield them: then the first that is not zero ends it.
"""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from functools import cache, cached_property
from typing import Any, Literal, get_args

import numpy as np

from gdn_core.rules import RULES, Source, WriteRule

Engine = Literal["words", "series", "ring", "gram", "field", "sympy", "exact"]
ENGINES: dict[str, str] = {
    "words": "noncommutative words of matrices with checked shapes",
    "series": "coefficients of power series in one matrix",
    "ring": "the code on symbols: polynomials with integer coefficients",
    "gram": "the code on vectors of any width, known by their inner products",
    "field": "the code on random integers mod a prime",
    "sympy": "a computer algebra system's own proof",
    "exact": "rational numbers, with no rounding",
}
Residual = Any
RulePredicate = Callable[[WriteRule], bool]


# What a verdict reaches.


@dataclass(frozen=True)
class Scope:
    """For what a step decides its statement; printed beside every verdict."""

    @property
    def proof(self) -> bool:
        """Whether a step of this scope proves what it says, rather than checks it at random."""
        return True


@dataclass(frozen=True)
class Every(Scope):
    """For every ``what``, such as "square A, singular and defective ones included"."""

    what: str

    def __str__(self) -> str:
        return f"for every {self.what}"


@dataclass(frozen=True)
class EverySize(Scope):
    """For every value of the named sizes."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names or ("C", "dk", "dv"))

    def __str__(self) -> str:
        return f"for every {_listed(self.names)}"


@dataclass(frozen=True)
class EveryWidth(Scope):
    """For every dk and dv, at streams of at most ``C`` tokens."""

    C: int

    def __str__(self) -> str:
        return f"for C <= {self.C}, every dk and dv"


@dataclass(frozen=True)
class Sizes(Scope):
    """At these sizes only, every entry a symbol: ``Sizes(C=4, K=3, V=2)``."""

    sizes: tuple[tuple[str, int], ...]

    def __init__(self, **sizes: int) -> None:
        object.__setattr__(self, "sizes", tuple(sizes.items()))

    def __str__(self) -> str:
        return f"at {_equations(self.sizes)} only, every entry a symbol"


@dataclass(frozen=True)
class Counterexample(Scope):
    """By one example in exact numbers, which is enough where the statement is that something fails or exists."""

    what: str

    def __str__(self) -> str:
        return f"by example: {self.what}"


@dataclass(frozen=True)
class OverField(Scope):
    """At these sizes only, at random points mod several primes: a check, and never a proof.

    Args:
        degree: an upper bound on the total degree of the residual as a polynomial.
        smallest: the size of the smallest set that a letter is drawn from.
        primes: how many primes, drawn independently.
        sizes: the sizes.
    """

    degree: int
    smallest: int
    primes: int
    sizes: tuple[tuple[str, int], ...]

    def __init__(self, *, degree: int, smallest: int = 1 << 28, primes: int = 3, **sizes: int) -> None:
        for name, value in (("degree", degree), ("smallest", smallest), ("primes", primes)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "sizes", tuple(sizes.items()))

    @property
    def proof(self) -> bool:
        """A random point proves nothing, however unlikely the error."""
        return False

    @property
    def error(self) -> float:
        """The probability that a wrong formula passes, at most: Schwartz and Zippel's degree / |set|, per prime."""
        return (self.degree / self.smallest) ** self.primes

    def __str__(self) -> str:
        exponent = math.ceil(math.log10(self.error))
        return (
            f"at {_equations(self.sizes)} only, at random points mod {self.primes} primes: "
            f"a wrong formula passes with probability below 1e{exponent}"
        )


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _equations(sizes: tuple[tuple[str, int], ...]) -> str:
    return ", ".join(f"{name} = {size}" for name, size in sizes)


# Residuals.


def is_zero(residual: Residual) -> bool:
    """Decide whether a residual is zero: a number, an expression, an array or a collection of residuals.

    Raises:
        TypeError: if the residual is nothing that could show a difference: None, a truth value, a float, an array
            without entries, or an object that has no notion of zero.
    """
    if residual is None or isinstance(residual, bool | np.bool_):
        raise TypeError(f"expected a residual that shows the difference, got {residual}")
    if isinstance(residual, float | complex | np.floating | np.complexfloating):
        raise TypeError(f"expected an exact residual, got the floating point number {residual}")
    if isinstance(residual, int | Fraction | str | np.integer):
        return not residual
    if isinstance(residual, np.ndarray):
        if not residual.size:
            raise TypeError(f"expected an array with entries, got one of shape {list(residual.shape)}")
        return all(is_zero(entry) for entry in residual.flat)
    if type(residual) is dict:  # and no class of its own that has the entries of one, such as a polynomial
        return all(is_zero(entry) for entry in residual.values())
    if isinstance(residual, list | tuple | set | frozenset):
        return all(is_zero(entry) for entry in residual)
    if hasattr(residual, "is_Boolean") and residual.is_Boolean:
        raise TypeError(f"expected a residual that shows the difference, got {residual}")
    if hasattr(residual, "is_commutative") and hasattr(residual, "expand"):  # a SymPy expression or matrix
        return bool(residual.expand() == 0 * residual)
    if hasattr(type(residual), "__bool__") or hasattr(type(residual), "__len__"):
        return not residual
    raise TypeError(f"expected a residual, got {type(residual).__name__}, which has no notion of zero")


def describe(residual: Residual, *, width: int = 240) -> str:
    """Print a residual that is not zero: of a collection the first entry that is not, with its place."""
    place, entry = next(_nonzero(residual, ""), ("", residual))
    text = " ".join(str(entry).split())
    text = text if len(text) <= width else text[: width - 4].rstrip() + " ..."
    return f"{place}: {text}" if place else text


def _nonzero(residual: Residual, place: str) -> Iterator[tuple[str, Residual]]:
    if isinstance(residual, np.ndarray) and residual.ndim:
        entries: Iterable[tuple[str, Residual]] = ((str(list(i)), entry) for i, entry in np.ndenumerate(residual))
    elif type(residual) is dict:
        entries = ((str(name), entry) for name, entry in residual.items())
    elif isinstance(residual, list | tuple):
        entries = ((f"[{i}]", entry) for i, entry in enumerate(residual))
    else:
        if not is_zero(residual):
            yield place, residual
        return
    for name, entry in entries:
        yield from _nonzero(entry, f"{place} {name}".strip())


# Results.


class Verdict(Enum):
    """How a step, a mutant or a claim came out."""

    HOLDS = "holds"
    FAILS = "fails"  # a residual is not zero, or a mutant was not refuted
    ERROR = "error"  # something raised


@dataclass(frozen=True)
class Checked:
    """One step or one mutant, run once; of a mutant HOLDS means that it was refuted.

    Args:
        name: the step or mutant.
        verdict: how it came out.
        residual: the residual of a failed step or a refuted mutant, or the sentence of what was raised.
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
    """A claim, checked."""

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
        """Say what went wrong, a sentence each."""
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


# Claims.


def every_rule(rule: WriteRule) -> bool:
    """Hold for every rule of the family."""
    return True


@dataclass(frozen=True)
class Step:
    """A function whose residual is checked, and for what.

    Args:
        run: returns the residual; may take ``rng`` and ``rule``.
        engine: what decides it; "" for a mutant.
        scope: for what it is decided; None for a mutant.
        rules: the rules it is run for, where it takes one.
    """

    run: Callable[..., Residual]
    engine: str
    scope: Scope | None
    rules: RulePredicate

    @property
    def name(self) -> str:
        """The function's name, as words."""
        return self.run.__name__.replace("_", " ").strip()

    @property
    def words(self) -> str:
        """The first paragraph of the function's docstring, or its name."""
        return " ".join((inspect.getdoc(self.run) or self.name).split("\n\n")[0].split())

    @property
    def per_rule(self) -> bool:
        """Whether it is run once for each rule."""
        return "rule" in inspect.signature(self.run).parameters

    def cases(self, among: Iterable[WriteRule]) -> tuple[WriteRule | None, ...]:
        """Return the rules that it is run for, or None alone where it takes no rule."""
        return tuple(rule for rule in among if self.rules(rule)) if self.per_rule else (None,)


@dataclass(eq=False)
class Claim:
    """A statement with its scope, the steps that check it, and wrong variants that the check refutes.

    Args:
        run: the first step; the claim has its name.
        statement: in TeX, or a function that prints it from the object that is checked.
        assumptions: in words, with TeX between dollars.
        source: where the statement is published.
        code: the objects of gdn_core that it is about.
        uses: the names of other claims that it rests on.
        rules: the rules it is stated for; None for a claim that is not about one.
        steps: what is checked, the first one named after the claim.
        mutants: wrong variants; each must return a residual that is not zero.
    """

    run: Callable[..., Residual]
    statement: str | Callable[[], str]
    assumptions: tuple[str, ...]
    source: Source
    code: tuple[Any, ...]
    uses: tuple[str, ...]
    rules: RulePredicate | None
    steps: list[Step] = field(default_factory=list)
    mutants: list[Step] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The conclusion, as an identifier."""
        return self.run.__name__

    @property
    def words(self) -> str:
        """The conclusion, as the claim's docstring says it."""
        return self.steps[0].words

    @cached_property
    def tex(self) -> str:
        """The statement in TeX, printed when it is first asked for."""
        if isinstance(self.statement, str):
            return self.statement
        try:
            return self.statement()
        except Exception as error:  # noqa: BLE001 - it runs code that may be wrong in any way; its check says how
            return rf"\text{{what is checked cannot be printed: {type(error).__name__}}}"

    @property
    def module(self) -> str:
        """The last name of the module that states it."""
        return self.run.__module__.rpartition(".")[2]

    @property
    def subject(self) -> str:
        """The title of the subject that it belongs to."""
        return importlib.import_module("derivations.claims").SUBJECTS.get(self.module, self.module)

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """What the steps reach, each once, in their order."""
        return tuple(dict.fromkeys(step.scope for step in self.steps if step.scope))

    def step(
        self, *, engine: Engine, scope: Scope, rules: RulePredicate | None = None
    ) -> Callable[[Callable[..., Residual]], Callable[..., Residual]]:
        """Add a step; use as a decorator.

        Args:
            engine: what decides it.
            scope: for what it is decided.
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
            raise TypeError(f"{self.name}: {run.__name__} may take rule and rng, not {_listed(tuple(sorted(asked)))}")
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
            seed: of the random points; a step's points depend on its name and on nothing else that ran.
            rules: run only what is run for a rule, and for these; by default everything, for the whole lineage.
        """
        started = time.perf_counter()
        among = tuple(RULES.values() if rules is None else rules)

        def run(steps: list[Step]) -> list[Checked]:
            return [
                self.check_step(step, seed=seed, rule=rule)
                for step in steps
                if step.per_rule or rules is None
                for rule in step.cases(among)
            ]

        steps, mutants = run(self.steps), run(self.mutants)
        if not self.mutants:
            mutants = [Checked("none stated", Verdict.FAILS, "", 0.0)]
        return Result(self.name, self.subject, tuple(steps), tuple(mutants), time.perf_counter() - started, seed)

    def check_step(self, step: Step, *, seed: int = 0, rule: WriteRule | None = None) -> Checked:
        """Run one step or mutant, for a rule if it takes one."""
        arguments: dict[str, Any] = {"rule": rule} if rule else {}
        if "rng" in inspect.signature(step.run).parameters:
            arguments["rng"] = random.Random(f"{seed} {self.name} {step.run.__name__} {rule.slug if rule else ''}")
        started = time.perf_counter()
        verdict, text = _verdict(step.run, arguments, mutant=not step.engine)
        return Checked(
            name=step.name,
            verdict=verdict,
            residual=text,
            seconds=time.perf_counter() - started,
            engine=step.engine,
            scope=str(step.scope or ""),
            rule=rule.slug if rule else "",
        )


def _verdict(run: Callable[..., Residual], arguments: dict[str, Any], *, mutant: bool) -> tuple[Verdict, str]:
    try:
        residual = run(**arguments)
        if isinstance(residual, Iterator):
            residual = _first_not_zero(residual)
        zero = is_zero(residual)
        text = "" if zero else describe(residual)
    except Exception as error:  # noqa: BLE001 - it runs code that may be wrong in any way; whatever it raises is its verdict
        return Verdict.ERROR, f"{type(error).__name__}: {error}"
    return Verdict.HOLDS if zero is not mutant else Verdict.FAILS, text


def _first_not_zero(residuals: Iterator[Residual]) -> Residual:
    residual = None  # refused, where there was nothing to compare
    for residual in residuals:
        if not is_zero(residual):
            break
    return residual


CLAIMS: dict[str, Claim] = {}


def claim(
    *,
    statement: str | Callable[[], str],
    scope: Scope,
    engine: Engine,
    source: Source,
    assumptions: Iterable[str] = (),
    code: Iterable[Any] = (),
    uses: Iterable[str] = (),
    rules: RulePredicate | None = None,
) -> Callable[[Callable[..., Residual]], Claim]:
    """Register a claim; use as a decorator on the function that is its first step.

    Args:
        statement: in TeX, or a function that prints it from the object that is checked.
        scope: for what the first step decides it.
        engine: what decides the first step.
        source: where it is published.
        assumptions: in words, with TeX between dollars.
        code: the objects of gdn_core that it is about.
        uses: the names of other claims that it rests on.
        rules: the rules it is stated for, ``every_rule`` or narrower, where its steps take a ``rule``.

    Raises:
        ValueError: if the name is taken, or if the function has no docstring to say the conclusion in words.
    """

    def register(run: Callable[..., Residual]) -> Claim:
        if run.__name__ in CLAIMS and CLAIMS[run.__name__].run.__module__ != run.__module__:
            raise ValueError(f"{run.__name__}: a claim of this name is stated in {CLAIMS[run.__name__].run.__module__}")
        if not run.__doc__:
            raise ValueError(f"{run.__name__}: expected a docstring that says the conclusion in words")
        made = Claim(run, statement, tuple(assumptions), source, tuple(code), tuple(uses), rules)
        made.steps.append(made._checked_step(run, engine, scope, None))
        CLAIMS[run.__name__] = made
        return made

    return register


@cache
def load() -> dict[str, Claim]:
    """Import every module of claims and return the claims by name, in the order of the subjects.

    Raises:
        ValueError: if a claim uses one that does not exist, or a module of claims has no subject.
    """
    claims = importlib.import_module("derivations.claims")
    for module in pkgutil.iter_modules(claims.__path__):
        if module.name not in claims.SUBJECTS:
            raise ValueError(f"derivations/claims/{module.name}.py: expected a title in SUBJECTS")
        importlib.import_module(f"{claims.__name__}.{module.name}")
    for made in CLAIMS.values():
        if unknown := [name for name in made.uses if name not in CLAIMS]:
            raise ValueError(f"{made.name}: uses {_listed(tuple(unknown))}, which nobody claims")
    order = list(claims.SUBJECTS)
    return dict(sorted(CLAIMS.items(), key=lambda item: order.index(item[1].module)))
