"""Check a user's Python file: its write rules and its functions, against the claims.

A rule is checked against every claim that is stated for rules with its gates. A function replaces the one of the same
name in :mod:`gdn_core.reference`, :mod:`gdn_core.reference_backward` or :mod:`gdn_core.ssm`, and every claim about that
one is checked with it, for every rule of the lineage and of the file.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from derivations.claim import Claim
from derivations.mutants.by_machine import MODULES
from derivations.registry import load
from derivations.result import Checked, Result
from derivations.run import Progress, Report, versions
from gdn_core.rules import LINEAGE, RULES, WriteRule


@dataclass(frozen=True)
class Own:
    """The rules and functions that a user's file defines.

    Args:
        rules: its write rules, with different slugs.
        functions: its functions, by the function of gdn_core that each replaces.
    """

    rules: tuple[WriteRule, ...] = ()
    functions: Mapping[FunctionType, Callable[..., Any]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The slugs of the rules and the names of the functions."""
        return tuple(rule.slug for rule in self.rules) + tuple(theirs.__name__ for theirs in self.functions)


def read(path: Path) -> Own:
    """Run a Python file and return the write rules and the functions that it defines.

    Args:
        path: the file; it may import modules beside it. Its rules are the module-level names bound to a WriteRule,
            except rules of the lineage. Its functions are those defined in the file that have the name of a public
            function of the reference, such as ``step``, ``recurrent`` or ``chunk``.

    Raises:
        ValueError: if the file does not exist, is not Python, raises, defines neither a rule nor such a function, has
            two rules of one slug, or a function with other arguments than the one it replaces.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    spec = importlib.util.spec_from_file_location("own_rules", path.resolve())
    if spec is None or spec.loader is None:
        raise ValueError(f"{path}: expected a Python file, with a name that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look up their module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ValueError(f"{error.filename}:{error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:  # it runs code that may be wrong in any way
        raise ValueError(f"{path}:{_line(error, path)}: {type(error).__name__}: {error}") from error
    own = Own(_rules(module, path), _functions(module, path))
    if not own.names:
        raise ValueError(
            f"{path}: expected a WriteRule, bound to a name, or a function such as {', '.join(list(_public())[:3])}, "
            "and found none but the lineage's"
        )
    return own


def _rules(module: ModuleType, path: Path) -> tuple[WriteRule, ...]:
    found = {id(value): value for value in vars(module).values() if isinstance(value, WriteRule)}
    own = tuple(rule for rule in found.values() if not any(rule is known for known in LINEAGE))
    slugs = [rule.slug for rule in own]
    if twice := {slug for slug in slugs if slugs.count(slug) > 1}:
        raise ValueError(f"{path}: expected each slug once, got {', '.join(sorted(twice))} more than once")
    return own


def _functions(module: ModuleType, path: Path) -> dict[FunctionType, Callable[..., Any]]:
    found: dict[FunctionType, Callable[..., Any]] = {}
    for name, theirs in _public().items():
        own = vars(module).get(name)
        if not inspect.isfunction(own) or own.__module__ != module.__name__:
            continue
        wanted = inspect.signature(theirs)
        try:
            given = [p for p in wanted.parameters.values() if p.kind is not p.KEYWORD_ONLY]
            by_name = [p.name for p in wanted.parameters.values() if p.kind is p.KEYWORD_ONLY]
            inspect.signature(own).bind(*given, **dict.fromkeys(by_name))
        except TypeError as error:
            wants = ", ".join(wanted.parameters)
            raise ValueError(f"{path}: {name}: expected a function of ({wants}), got one for which {error}") from error
        found[theirs] = own
    return found


def _public() -> dict[str, FunctionType]:
    """Return the functions that a file may replace, by name."""
    return {
        name: value
        for module in map(importlib.import_module, MODULES)
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }


@contextmanager
def in_place(functions: Mapping[FunctionType, Callable[..., Any]]) -> Iterator[None]:
    """Replace functions of gdn_core, in every module that has imported them, inside a ``with`` block."""
    taken = [
        (module, name, value)
        for module in list(sys.modules.values())
        if getattr(module, "__name__", "").partition(".")[0] in ("gdn_core", "derivations")
        for name, value in list(vars(module).items())
        if inspect.isfunction(value) and value in functions
    ]
    try:
        for module, name, value in taken:
            setattr(module, name, functions[value])
        yield
    finally:
        for module, name, value in taken:
            setattr(module, name, value)


def _line(error: BaseException, path: Path) -> int:
    """Return the last line of the file that was running when it raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno or 0 for frame in reversed(frames) if frame.filename == str(path.resolve())), 0)


def check_own(
    own: Own,
    names: Sequence[str],
    *,
    seed: int = 0,
    show: Callable[[Progress], None] = lambda progress: None,
) -> Report:
    """Check the rules and functions of a file, in this process.

    Args:
        own: the rules and functions.
        names: the claims to choose from: those with a ``rule`` and those about one of the functions are checked.
        seed: seed of the random points.
        show: called after each claim.

    Returns:
        A result for each of these claims. Steps and mutants are run for the rules. Steps alone are run with the
        functions, since the mutants are variants of the code that the functions replace.

    Raises:
        ValueError: if no claim is stated for one of the rules, or is about one of the functions.
    """
    started = time.perf_counter()
    claims = [load()[name] for name in names]
    results = []
    for done, made in enumerate(claims, start=1):
        result = _check(made, own, seed)
        if result.steps:
            results.append(result)
            show(Progress(done, len(claims), result))
    reached = {step.rule for result in results for step in result.steps}
    if missed := [rule.slug for rule in own.rules if rule.slug not in reached]:
        raise ValueError(f"{', '.join(missed)}: none of the chosen claims is stated for rules of this kind")
    about = {code for made in claims for code in made.code if inspect.isfunction(code)}
    if missed := [theirs.__name__ for theirs in own.functions if theirs not in about]:
        raise ValueError(f"{', '.join(missed)}: none of the chosen claims is about a function of this name")
    return Report(tuple(results), None, time.perf_counter() - started, seed, 1, versions())


def _check(made: Claim, own: Own, seed: int) -> Result:
    started = time.perf_counter()
    steps: tuple[Checked, ...] = ()
    mutants: tuple[Checked, ...] = ()
    if own.rules and any(step.per_rule for step in made.steps):
        result = made.check(seed=seed, rules=own.rules)
        steps, mutants = result.steps, result.mutants if result.steps else ()
    if any(code in own.functions for code in made.code if inspect.isfunction(code)):
        with in_place(own.functions):
            among = (*RULES.values(), *own.rules)
            steps += tuple(
                made.check_step(step, seed=seed, rule=rule) for step in made.steps for rule in step.runs(among)
            )
    return Result(made.name, made.subject, steps, mutants, time.perf_counter() - started, seed)
