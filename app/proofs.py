"""The claims of the derivations for the page: checked in worker processes, with their results.

SymPy and the claims take about a second to import, so they are loaded when a page first needs them.
"""

from __future__ import annotations

import gc
import inspect
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from derivations import composed
from derivations.claim import Claim, name_of, source_of
from derivations.registry import load
from derivations.result import Kind, Result
from derivations.run import steps_by_kind
from derivations.workers import Worker, WorkerError

if TYPE_CHECKING:
    from derivations.models.errata import Erratum

LIMIT = 120.0  # seconds for a claim, or for a process to start
WATCHED = 10.0  # seconds for which a look at the list keeps the background going; the page looks each 1.5


@dataclass(frozen=True)
class Finding:
    """The result of a claim, with the time of the check.

    Args:
        result: the result.
        when: time of the check, seconds since the epoch.
    """

    result: Result
    when: float


@cache
def claims() -> dict[str, Claim]:
    """Return the claims by name, in the order of their subjects."""
    loaded = load()
    gc.collect()
    gc.freeze()  # the imported modules stay, so Streamlit's garbage collection may skip them
    return loaded


@cache
def number(name: str) -> int:
    """Return the place of a claim in their order, from 1 on."""
    return list(claims()).index(name) + 1


def beside(name: str, by: int) -> str:
    """Return the name of the claim so many places on, or back; "" past the ends."""
    at, names = number(name) - 1 + by, list(claims())
    return names[at] if 0 <= at < len(names) else ""


def found(text: str) -> dict[str, Claim]:
    """Return the claims in which every word of a text occurs: in a name, a conclusion, a derivation, or a source."""
    words = text.casefold().split()
    return {name: made for name, made in claims().items() if all(word in _said(name) for word in words)}


@cache
def _said(name: str) -> str:
    """Return all that is said of a claim, for a search."""
    made = claims()[name]
    steps = [f"{step.name} {step.summary}" for step in (*made.steps, *made.mutants)]
    codes = [name_of(code) for code in made.code]
    source = (made.source.title, made.source.paper, made.source.place)
    said = (name, made.subject, made.conclusion, made.derivation, *steps, *codes, *source, *made.assumptions)
    return " ".join(part for part in (*said, name.replace("_", " ")) if part).casefold()


@cache
def used_by(name: str) -> tuple[str, ...]:
    """Return the names of the claims that use a claim."""
    return tuple(other for other, made in claims().items() if name in made.uses)


@cache
def source(name: str) -> tuple[tuple[str, str], ...]:
    """Return the code that a claim is about, each object by its dotted name."""
    found = []
    for code in claims()[name].code:
        found.append((name_of(code), source_of(code)[2]))
    return tuple(found)


@cache
def check_source(name: str) -> str:
    """Return the source of a claim's own function, its first step."""
    return inspect.getsource(claims()[name].run)


def erratum(name: str) -> Erratum | None:
    """Return the entry of the errata that a claim checks, if it checks one."""
    from derivations.models.errata import errata

    return errata().get(name)


class Ledger:
    """The findings of this server: claims are checked in the background while somebody looks at their list, each once,
    and any claim again on demand.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: dict[str, Finding] = {}
        self._todo: list[str] | None = None  # None: nobody has looked yet
        self._looked = 0.0
        self._running = False
        self._live, self._behind = (Worker(limit=LIMIT, nice=10) for _ in range(2))
        self._composed = Worker(limit=LIMIT, nice=10, command=composed.COMMAND)

    def look(self) -> None:
        """Say that somebody looks at the list: the background begins, or goes on for a while."""
        with self._lock:
            self._looked = time.monotonic()
            if self._todo is None:
                self._todo = list(claims())
            if self._running or not self._todo:
                return
            self._running = True
        threading.Thread(target=self._check_all, name="claims", daemon=True).start()

    @property
    def left(self) -> int:
        """The number of claims that the background has still to check."""
        return len(self._todo or ())

    def finding(self, name: str) -> Finding | None:
        """Return the finding of a claim, or None if it has not been checked."""
        return self._found.get(name)

    def check(self, name: str) -> Finding:
        """Check a claim now.

        Raises:
            WorkerError: if the check gave no result.
        """
        return self._keep(self._live.check(name))

    def check_composed(self, **choice: str | int) -> dict[str, np.ndarray]:
        """Run :func:`derivations.composed.claims_of` in a process of its own.

        Raises:
            WorkerError: if the check gave no result.
        """
        return {name: np.array(column) for name, column in self._composed.do("claims_of", choice).items()}

    def _check_all(self) -> None:
        """Check what is left, a claim at a time, until nobody has looked for a while."""
        while name := self._next():
            if name not in self._found:
                with suppress(WorkerError):  # the claim stays unchecked, and the page says so
                    self._keep(self._behind.check(name))
            with self._lock:
                assert self._todo
                self._todo.remove(name)

    def _next(self) -> str:
        """Return the claim that the background checks next, "" where it stops."""
        with self._lock:
            if self._todo and time.monotonic() - self._looked <= WATCHED:
                return self._todo[0]
            self._running = False
            return ""

    def _keep(self, result: Result) -> Finding:
        found = Finding(result, time.time())
        self._found[result.claim] = found
        return found


@cache
def ledger() -> Ledger:
    """Return the one ledger of this server."""
    return Ledger()


def kinds(findings: Sequence[Finding | None]) -> dict[Kind, int]:
    """Count the steps of the claims that were checked by what they are about."""
    return steps_by_kind(found.result for found in findings if found)


def counted(findings: Sequence[Finding | None]) -> dict[str, int]:
    """Count claims by verdict; "unchecked" counts the claims without a finding."""
    counts: dict[str, int] = {}
    for found in findings:
        verdict: Any = found.result.verdict.value if found else "unchecked"
        counts[verdict] = counts.get(verdict, 0) + 1
    return counts
