"""The Python of a step: the source of the function that computes its numbers, with all that it needs."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any


def script(function: Callable[..., Any], values: Mapping[str, Any]) -> str:
    """Return a script that computes a step's ``numbers`` as the page does.

    It is the source of ``function`` and of what that uses of its module, the imports of these, and a call.

    Args:
        function: of a module of lessons; it uses nothing of the app.
        values: the arguments of the call.
    """
    call = ", ".join(f"{name}={value!r}" for name, value in values.items())
    return (
        f"{_needed(function)}\n\n"
        f"numbers = {function.__name__}({call})\n"
        "for name, array in numbers.items():\n"
        "    print(name, array, sep=\"\\n\")\n"
    )


@cache
def _needed(function: Callable[..., Any]) -> str:
    """Return the imports and definitions of a module that a function of it needs, in their order."""
    source = inspect.getsource(importlib.import_module(function.__module__))
    named: dict[str, ast.stmt] = {}
    imported: dict[str, str] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            named[node.name] = node
        elif isinstance(node, ast.Assign):
            named |= {name: node for target in node.targets for name in _names(target)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                what = f"{alias.name} as {alias.asname}" if alias.asname else alias.name
                place = f"from {node.module} import {what}" if isinstance(node, ast.ImportFrom) else f"import {what}"
                imported[alias.asname or alias.name] = place
    used, found = [function.__name__], set[str]()
    while used:
        name = used.pop()
        if name not in found and name in named:
            used += _names(named[name])
        found.add(name)
    wanted = sorted({id(node): node for name, node in named.items() if name in found}.values(), key=lambda n: n.lineno)
    lines = sorted({line for name, line in imported.items() if name in found and "__future__" not in line}, key=_order)
    return "\n".join(lines) + "\n\n\n" + "\n\n\n".join(_written(source, node) for node in wanted)


def _written(source: str, node: ast.stmt) -> str:
    """Return the source of a definition, with its decorators."""
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    above = "".join(f"@{ast.get_source_segment(source, decorator)}\n" for decorator in decorators)
    return above + (ast.get_source_segment(source, node) or "")


def _names(node: ast.AST) -> list[str]:
    """List the names in a piece of code."""
    return [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]


def _order(line: str) -> tuple[bool, str]:
    return "gdn_core" in line, line
