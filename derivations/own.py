"""Rules of one's own: read from a Python file, and checked against every claim that is stated for all rules."""

from __future__ import annotations

import importlib.util
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from derivations.registry import load
from derivations.run import Progress, Report, versions
from gdn_core.rules import LINEAGE, WriteRule


def rules_of(path: Path) -> tuple[WriteRule, ...]:
    """Run a Python file and return the write rules that it defines.

    Args:
        path: the file; it may import what is beside it. A rule is one that a name of the file is bound to; those of
            the lineage, which it may import, are not its own.

    Raises:
        ValueError: if the file is not there, is no Python, raises, or defines no rule or two of one slug.
    """
    if not path.is_file():
        raise ValueError(f"{path}: there is no such file")
    spec = importlib.util.spec_from_file_location("own_rules", path.resolve())
    if spec is None or spec.loader is None:
        raise ValueError(f"{path}: expected a Python file, with a name that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise ValueError(f"{error.filename}:{error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:  # it runs code that may be wrong in any way
        raise ValueError(f"{path}:{_line(error, path)}: {type(error).__name__}: {error}") from error
    found = {id(value): value for value in vars(module).values() if isinstance(value, WriteRule)}
    own = tuple(rule for rule in found.values() if not any(rule is known for known in LINEAGE))
    if not own:
        raise ValueError(f"{path}: expected a WriteRule, bound to a name, and found none but the lineage's")
    slugs = [rule.slug for rule in own]
    if twice := {slug for slug in slugs if slugs.count(slug) > 1}:
        raise ValueError(f"{path}: expected each slug once, got {', '.join(sorted(twice))} more than once")
    return own


def _line(error: BaseException, path: Path) -> int:
    """Return the last line of the file that was running when it raised."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame.lineno or 0 for frame in reversed(frames) if frame.filename == str(path.resolve())), 0)


def check_rules(
    rules: Sequence[WriteRule],
    names: Sequence[str],
    *,
    seed: int = 0,
    show: Callable[[Progress], None] = lambda progress: None,
) -> Report:
    """Check rules of one's own, in this process.

    Args:
        rules: the rules, each with a slug of its own.
        names: the claims among which to take those that are stated for rules.
        seed: of the random points.
        show: is told of every claim that is done.

    Returns:
        A result for each claim that is stated for one of the rules, with its steps and mutants run for these.

    Raises:
        ValueError: if none of these claims is stated for one of the rules.
    """
    started = time.perf_counter()
    stated = [made for made in (load()[name] for name in names) if any(step.per_rule for step in made.steps)]
    results = []
    for done, made in enumerate(stated, start=1):
        result = made.check(seed=seed, rules=rules)
        if result.steps:
            results.append(result)
            show(Progress(done, len(stated), result))
    reached = {step.rule for result in results for step in result.steps}
    if missed := [rule.slug for rule in rules if rule.slug not in reached]:
        raise ValueError(f"{', '.join(missed)}: none of the chosen claims is stated for rules of this kind")
    return Report(tuple(results), None, time.perf_counter() - started, seed, 1, versions())
