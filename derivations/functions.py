"""The functions of the code, by module and name: their syntax trees, and variants of them compiled."""

from __future__ import annotations
import __future__

import ast
import copy
import importlib
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

ARITHMETIC = ("gdn_core.reference", "gdn_core.ssm", "gdn_core.integrators", "gdn_core.reference_backward")
#: Where PyTorch is installed.
TORCH = tuple(f"gdn_core.ops.torch.{name}" for name in ("reference", "chunk", "recurrent", "channels"))


class Unplanted(ValueError):
    """A misprint whose place is not in the code: the code has been written in another way."""


def found(module: str, name: str) -> FunctionType:
    """Return a function of a module, or a method by the name of its class and its own."""
    value: Any = importlib.import_module(module)
    for part in name.split("."):
        value = vars(value)[part]
    return value


def of_module(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the functions of a module, and the methods of its classes, by name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        if isinstance(node, ast.ClassDef):
            yield from (
                (f"{node.name}.{inner.name}", inner) for inner in node.body if isinstance(inner, ast.FunctionDef)
            )


def compiled(node: ast.FunctionDef, filename: str) -> CodeType:
    """Compile a function, without decorators and annotations, which are evaluated where it is defined."""
    bare = copy.copy(node)
    bare.decorator_list, bare.returns = [], None
    module = ast.fix_missing_locations(ast.Module([bare], []))
    made = compile(module, filename, "exec", flags=__future__.annotations.compiler_flag, dont_inherit=True)
    return next(c for c in made.co_consts if isinstance(c, CodeType) and c.co_name == node.name)
