"""Mutants made by machine: the source of the code, with one small change each."""

from __future__ import annotations

import ast
import copy
import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

from derivations.functions import ARITHMETIC, TORCH, compiled, found, of_module

MODULES = (*ARITHMETIC, "gdn_core.streams")
#: Of other modules the methods that claims name or tokens are made with; the rest refuses what a user gives.
METHODS = ("gdn_core.rules.Gate.shape", "gdn_core.rules.WriteRule.floats", "gdn_core.rules.KVCache.floats")
# Defaults of parameters, each with a wrong one.
_DEFAULTS: dict[str, Any] = {"np.exp": np.negative, "np.stack": np.concatenate, "phi1": np.negative}


@dataclass(frozen=True)
class Mutant:
    """One function of the code with one change.

    Args:
        module: the function's module.
        function: the function's name, with its class if it is a method.
        line: the line of the change in the module's file.
        before: the original statement, or its head.
        after: the changed statement.
        compiled: compiles the changed function.
        default: a parameter with its changed default; None where the change is in the function's body.
    """

    module: str
    function: str
    line: int
    before: str
    after: str
    compiled: Callable[[], CodeType]
    default: tuple[str, Any] | None = None

    @property
    def place(self) -> str:
        """The dotted name of the function."""
        return f"{self.module}.{self.function}"

    @property
    def key(self) -> tuple[str, str, str]:
        """The key of the mutant in ``EQUIVALENT``."""
        return self.place, self.before, self.after

    def __str__(self) -> str:
        same = next((i for i, (a, b) in enumerate(zip(self.before, self.after, strict=False)) if a != b), 0)
        start = max(0, same - 30)
        cut = "... " if start else ""
        before, after = (cut + text[start : same + 40] for text in (self.before, self.after))
        return f"{self.place}, line {self.line}: {before}  ->  {after}"

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Change the function in place, for every module that has imported it, inside a ``with`` block."""
        function = found(self.module, self.function)
        right, by_name = function.__code__, function.__kwdefaults__
        function.__code__ = self.compiled()
        if self.default:
            function.__kwdefaults__ = {**(by_name or {}), self.default[0]: self.default[1]}
        try:
            with np.errstate(all="ignore"):  # a mutant may divide by zero
                yield
        finally:
            function.__code__, function.__kwdefaults__ = right, by_name


def changed() -> tuple[str, ...]:
    """Return the modules of the code that is changed."""
    return (*MODULES, *(TORCH if find_spec("torch") else ()))


@cache
def every_mutant() -> tuple[Mutant, ...]:
    """Return every change of the functions of ``changed()``, of their defaults, and of ``METHODS``, each once.

    The modules are not imported.
    """
    made: dict[tuple[str, str, str], Mutant] = {}
    for name in dict.fromkeys([*changed(), *(method.rsplit(".", 2)[0] for method in METHODS)]):
        package, _, last = name.rpartition(".")
        path = Path(importlib.import_module(package).__path__[0]) / f"{last}.py"
        for function, node in of_module(ast.parse(path.read_text(encoding="utf-8"))):
            if _is_property(node) or (name not in changed() and f"{name}.{function}" not in METHODS):
                continue
            for mutant in _of_function(name, function, node, str(path)):
                made.setdefault(mutant.key, mutant)
    return tuple(made.values())


def _is_property(node: ast.FunctionDef) -> bool:
    return any(isinstance(decorator, ast.Name) and decorator.id == "property" for decorator in node.decorator_list)


def _of_function(module: str, function: str, node: ast.FunctionDef, filename: str) -> Iterator[Mutant]:
    for parameter, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
        before = ast.unparse(value) if value else ""
        if wrong := _DEFAULTS.get(before):
            after = f"{parameter.arg}=np.{wrong.__name__}"
            unchanged = partial(compiled, node, filename)
            default = parameter.arg, wrong
            yield Mutant(module, function, parameter.lineno, f"{parameter.arg}={before}", after, unchanged, default)
    for statement in _statements(node):
        before = _head(statement)
        places = {id(place) for inner in ast.walk(statement) for place in _places(inner)}
        for parent, place, index, child in _expressions(statement):
            if module in TORCH and _is_number(child) and id(child) not in places:
                continue  # the number of an axis, or of axes: another one raises, or is the same axis
            for variant in _variants(child):
                _put(parent, place, index, ast.copy_location(variant, child))
                after = _head(statement)
                _put(parent, place, index, child)
                if after != before:
                    compiler = partial(_compiled, node, filename, parent, place, index, variant, child)
                    yield Mutant(module, function, child.lineno, before, after, compiler)


def _is_number(node: ast.expr) -> bool:
    return isinstance(node.operand if isinstance(node, ast.UnaryOp) else node, ast.Constant)


def _places(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the indices of a subscript, and the bounds of a slice."""
    if isinstance(node, ast.Subscript):
        yield from node.slice.elts if isinstance(node.slice, ast.Tuple) else (node.slice,)
    if isinstance(node, ast.Slice):
        yield from (bound for bound in (node.lower, node.upper) if bound)


def _statements(node: ast.FunctionDef) -> Iterator[ast.stmt]:
    """Yield the statements of a function and of its inner functions, except docstrings and raise statements."""
    for inner in ast.walk(node):
        head = inner is node or isinstance(inner, ast.FunctionDef | ast.Raise)
        docstring = isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant)
        if isinstance(inner, ast.stmt) and not head and not docstring:
            yield inner


def _expressions(statement: ast.stmt) -> Iterator[tuple[ast.AST, str, int | None, ast.expr]]:
    """Yield every expression of a statement, without those of nested statements, with its place."""
    todo: list[ast.AST] = [statement]
    while todo:
        parent = todo.pop()
        for place, value in ast.iter_fields(parent):
            if place == "annotation":
                continue
            for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(child, ast.expr):
                    yield parent, place, index, child
                if isinstance(child, ast.expr | ast.comprehension | ast.keyword):
                    todo.append(child)


def _variants(node: ast.expr) -> Iterator[ast.expr]:
    """Yield the changed forms of an expression."""
    match node:
        case ast.BinOp(left, ast.Add(), right):
            yield ast.BinOp(left, ast.Sub(), right)
            yield left
        case ast.BinOp(left, ast.Sub(), right):
            yield ast.BinOp(left, ast.Add(), right)
            yield ast.BinOp(right, ast.Sub(), left)
            yield left
        case ast.BinOp(left, ast.Mult(), right):
            yield left
            yield right
        case ast.BinOp(left, ast.Div(), right):
            yield ast.BinOp(left, ast.Mult(), right)
            yield left
        case ast.UnaryOp(ast.USub(), operand):
            yield operand
        case ast.Attribute(value, "T"):
            yield value
        case ast.Call(ast.Attribute(value, name), _, _) if name in _DROPPED:
            yield value
        case ast.Attribute(value, ("q" | "k" | "b" | "w") as name, context):
            yield ast.Attribute(value, {"q": "k", "k": "q", "b": "w", "w": "b"}[name], context)
        case ast.Constant(int(value) | float(value)) if not isinstance(value, bool):
            yield ast.Constant(value + 1)
            yield ast.UnaryOp(ast.USub(), ast.Constant(1)) if value == 0 else ast.Constant(value - 1)
        case ast.Slice(lower, upper, None):
            for bound, other in ((lower, "lower"), (upper, "upper")):
                if isinstance(bound, ast.Name):
                    for op in (ast.Add(), ast.Sub()):
                        moved = copy.copy(node)
                        setattr(moved, other, ast.BinOp(bound, op, ast.Constant(1)))
                        yield moved
        case ast.Subscript(value, ast.Slice(None, None, step)) if step is not None:
            yield value
        case ast.Subscript(value, ast.Name() as index, context):
            yield ast.Subscript(value, ast.BinOp(index, ast.Sub(), ast.Constant(1)), context)
        case ast.Call(ast.Name("exp" | "phi1"), [argument], []):
            yield ast.Call(node.func, [ast.BinOp(ast.Constant(0), ast.Mult(), argument)], [])
        case ast.Call(ast.Attribute(ast.Name("np"), "expm1"), [argument], []):
            yield ast.Call(ast.Attribute(ast.Name("np", ast.Load()), "exp", ast.Load()), [argument], [])
        case ast.Compare(left, [op], [right]) if type(op) in _OPPOSITE:
            yield ast.Compare(left, [_OPPOSITE[type(op)]()], [right])
        case ast.BoolOp(op, values):
            yield ast.BoolOp(ast.And() if isinstance(op, ast.Or) else ast.Or(), values)
            yield from values
        case ast.Name("scale", ast.Load()):
            yield ast.BinOp(node, ast.Mult(), ast.Constant(1.001))
        case ast.IfExp(_, body, orelse):
            yield body
            yield orelse
        case _:
            return


# Methods of tensors that may be left out: what comes out has the same shape, or another where a product wants it.
_DROPPED = frozenset((
    "transpose", "tril_", "exp_", "exp", "flip", "cumsum", "clone", "mul_", "masked_fill", "masked_fill_",
))  # fmt: skip
_OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.LtE,
    ast.Gt: ast.GtE,
    ast.LtE: ast.Lt,
    ast.GtE: ast.Gt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}


def _put(parent: ast.AST, place: str, index: int | None, child: ast.AST) -> None:
    if index is None:
        setattr(parent, place, child)
    else:
        getattr(parent, place)[index] = child


def _head(statement: ast.stmt) -> str:
    """Print a statement without its nested statements."""
    if hasattr(statement, "body"):
        statement = copy.copy(statement)
        statement.body = [ast.Pass()]
    return ast.unparse(ast.fix_missing_locations(statement)).partition("\n")[0]


def _compiled(
    node: ast.FunctionDef,
    filename: str,
    parent: ast.AST,
    place: str,
    index: int | None,
    variant: ast.expr,
    child: ast.expr,
) -> CodeType:
    """Compile a function with one expression in the place of another."""
    _put(parent, place, index, variant)
    code = compiled(node, filename)
    _put(parent, place, index, child)
    return code
