"""Mutants planted by hand: a claim names a place in the code and its replacement."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from derivations.functions import Unplanted


@cache
def planted(code: Callable[..., Any], right: str, wrong: str) -> Callable[..., Any]:
    """Return a function of gdn_core with one place of its source replaced: a misprint in the code itself.

    Args:
        code: the function.
        right: the text to replace, as ``ast.unparse`` prints it; it must occur once.
        wrong: the replacement.

    Raises:
        Unplanted: if the text occurs not once, because the code has been written in another way; that is no verdict
            on the code, so what plants it is then not run.
    """
    source = ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(code))))
    if source.count(right) != 1:
        raise Unplanted(f"{code.__name__}: expected {right!r} once, found it {source.count(right)} times")
    names = dict(code.__globals__)  # a copy, in which the wrong function is bound to its name
    exec(compile(source.replace(right, wrong), f"<{code.__name__}, with {wrong}>", "exec"), names)  # noqa: S102 - our own source
    return names[code.__name__]


@contextmanager
def misprinted(code: Any, right: str, wrong: str) -> Iterator[None]:
    """Replace one place in a function's source inside a ``with`` block, for every module that uses it.

    Args:
        code: the function, or a method of a class.
        right: the text to replace, as ``ast.unparse`` prints it; it must occur once.
        wrong: the replacement.
    """
    changed, unchanged = planted(code, right, wrong).__code__, code.__code__
    code.__code__ = changed
    try:
        yield
    finally:
        code.__code__ = unchanged
