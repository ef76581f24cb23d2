"""The registry: all claims by name."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from derivations.claim import Claim, Engine, RulePredicate
from derivations.residual import Residual
from derivations.scope import Scope, listed
from derivations.subjects import MODULES, PACKAGE
from gdn_core.rules import Source

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
    needs: Iterable[str] = (),
) -> Callable[[Callable[..., Residual]], Claim]:
    """Register a claim; use as a decorator on the function that is its first step.

    Args:
        statement: TeX, or a function that prints it from what is checked.
        scope: the sizes or values for which the first step decides it.
        engine: the engine that decides the first step.
        source: where it is published.
        assumptions: sentences, with TeX between dollars.
        code: the functions and classes of gdn_core that it is about; a ``Code`` if it needs an optional package.
        uses: the names of the claims that it depends on.
        rules: selects the rules it is stated for, ``every_rule`` or narrower, if its steps take ``rule``.
        needs: optional packages that its steps import; where one is missing the claim is not checked.

    Raises:
        ValueError: if the name is taken, or if the function has no docstring with the conclusion.
    """

    def register(run: Callable[..., Residual]) -> Claim:
        if run.__name__ in CLAIMS and CLAIMS[run.__name__].run.__module__ != run.__module__:
            raise ValueError(f"{run.__name__}: a claim of this name is stated in {CLAIMS[run.__name__].run.__module__}")
        if not run.__doc__:
            raise ValueError(f"{run.__name__}: expected a docstring that says the conclusion in words")
        made = Claim(run, statement, tuple(assumptions), source, tuple(code), tuple(uses), rules, tuple(needs))
        made.step(engine=engine, scope=scope)(run)
        CLAIMS[run.__name__] = made
        return made

    return register


@cache
def load() -> dict[str, Claim]:
    """Import every module of claims and return the claims by name, in the order of the subjects.

    Raises:
        ValueError: if a claim uses one that does not exist, or a module of claims is missing in the subjects.
    """
    package = importlib.import_module(PACKAGE)
    found = [module.name for module in pkgutil.walk_packages(package.__path__, f"{PACKAGE}.") if not module.ispkg]
    if forgotten := sorted(set(found) - {f"{PACKAGE}.{name}" for name in MODULES}):
        raise ValueError(f"{listed(tuple(forgotten))}: expected a place in derivations/subjects.py")
    for name in MODULES:
        importlib.import_module(f"{PACKAGE}.{name}")
    for made in CLAIMS.values():
        if unknown := [name for name in made.uses if name not in CLAIMS]:
            raise ValueError(f"{made.name}: uses {listed(tuple(unknown))}, and there is no such claim")
    return dict(sorted(CLAIMS.items(), key=lambda item: MODULES.index(item[1].module)))
