"""What a check leaves out: an engine notes it while a step runs, and the verdict shows it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_NOTED: ContextVar[set[str] | None] = ContextVar("noted", default=None)


def note(what: str) -> None:
    """Note what the arithmetic of an engine does not model, in words."""
    found = _NOTED.get()
    if found is not None:
        found.add(what)


@contextmanager
def noted() -> Iterator[set[str]]:
    """Collect what engines note inside a ``with`` block."""
    found: set[str] = set()
    token = _NOTED.set(found)
    try:
        yield found
    finally:
        _NOTED.reset(token)
