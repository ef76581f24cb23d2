"""Wrong variants planted by hand: a claim names the place in the code and what stands there instead."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from functools import cache
from typing import Any


@cache
def planted(code: Callable[..., Any], right: str, wrong: str) -> Callable[..., Any]:
    """Return a function of gdn_core with one place of its source replaced: a misprint, in the code itself.

    Args:
        code: the function.
        right: what stands there, as ``ast.unparse`` prints it; it must stand there once.
        wrong: what stands there instead.

    Raises:
        ValueError: if the place is not found, or found more than once: the misprint describes code that has changed.
    """
    source = ast.unparse(ast.parse(textwrap.dedent(inspect.getsource(code))))
    if source.count(right) != 1:
        raise ValueError(f"{code.__name__}: expected {right!r} once, found it {source.count(right)} times")
    names = dict(code.__globals__)  # a copy, in which the wrong function calls itself by its own name
    exec(compile(source.replace(right, wrong), f"<{code.__name__}, with {wrong}>", "exec"), names)  # noqa: S102 - our own source
    return names[code.__name__]
