"""Which engines evaluated a program: they note it while a step runs, and a step that names another one fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_USED: ContextVar[set[str] | None] = ContextVar("used", default=None)


def use(engine: str) -> None:
    """Note that an engine has evaluated operations of a program."""
    found = _USED.get()
    if found is not None:
        found.add(engine)


@contextmanager
def used() -> Iterator[set[str]]:
    """Collect the engines that evaluate programs inside a ``with`` block."""
    found: set[str] = set()
    token = _USED.set(found)
    try:
        yield found
    finally:
        _USED.reset(token)
