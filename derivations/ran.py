"""What a step ran: the functions of the code that it called, on which carrier, and at which sizes.

While a step runs, each function of the code starts with a statement that notes its call. What the step may say of the
code follows from these notes: its kind, the functions, and whether it ran every size that its scope names.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from types import CodeType, FunctionType
from typing import Any

import numpy as np
from sympy.polys.rings import PolyElement

from derivations.engines.arrays import Array as Word
from derivations.engines.field import Dual, Residues
from derivations.engines.gram import Axes
from derivations.engines.series import Series
from derivations.functions import ARITHMETIC, TORCH, compiled, found, of_module
from derivations.result import Kind
from derivations.scope import AllInputs, EverySize, EveryWidth, OverField, OverFields, Scope, Sizes
from gdn_core.reference import Token

WIDTHS = ("dk", "dv", "N", "P")  # sizes of a memory; the others are lengths of a stream
PROGRAMS = ("aten", "ir")  # the engines that evaluate programs, which take no arrays of the code
NOTED = ("gdn_core.streams", *ARITHMETIC)
Size = dict[str, int]


@dataclass(frozen=True)
class Call:
    """A call of a function of the code.

    Args:
        function: its dotted name.
        engine: the engine whose arrays it was called on, or "" where its arguments do not tell.
        sizes: tokens T, chunk size C, channels K and V of the arguments, those that have a number.
    """

    function: str
    engine: str
    sizes: Size


@dataclass(frozen=True)
class Compared:
    """A program that was run and compared with its oracle, in one case.

    Args:
        case: what tells it from other cases, in words.
        sizes: tokens T, chunk size C, channels K and V.
        rule: the widths of its gates, in words.
        built: what it was compiled to, in words; "" for a program that is not.
        prime: of the random point; 0 where every entry is a symbol.
        some: how many tokens have symbols, where the others are zero; 0 for all.
    """

    case: str
    sizes: tuple[tuple[str, int], ...]
    rule: str = ""
    built: str = ""
    prime: int = 0
    some: int = 0


class Calls(list[Call]):
    """The calls of the code that a step made itself, each once.

    Args:
        reached: the names of the functions that were called by these, or by the step.
        compared: the programs that were compared.
    """

    reached: tuple[str, ...] = ()
    compared: tuple[Compared, ...] = ()


class _Notes:
    """The notes of one recording."""

    def __init__(self) -> None:
        self.calls: dict[tuple[Any, ...], Call] = {}
        self.reached: dict[str, None] = {}
        self.compared: list[Compared] = []


_noted: list[_Notes] = []
_ENGINES = {Residues: "field", Dual: "field", Axes: "gram", Word: "words", Series: "series", PolyElement: "ring"}


def note(name: str, arguments: dict[str, Any]) -> None:
    """Note a call; the first statement of every function while calls are recorded."""
    if not _noted:
        return
    _noted[-1].reached[name] = None
    by_the_code = sys._getframe(2).f_globals.get("__name__", "").startswith("gdn_core")
    if by_the_code or name.startswith(f"{Token.__module__}.{Token.__qualname__}."):  # to take a token is no arithmetic
        return
    call = Call(name, _engine(arguments.values()), _sizes(arguments))
    _noted[-1].calls.setdefault((name, call.engine, *call.sizes.items()), call)


def compared(made: Compared) -> None:
    """Note a comparison of a program with its oracle."""
    if _noted:
        _noted[-1].compared.append(made)


def _engine(arguments: Iterable[Any]) -> str:
    for value in arguments:
        value = getattr(value, "v", value)  # a token, by its value
        while isinstance(value, np.ndarray) and value.dtype == object and value.size:
            value = value.flat[0]
        for kind, engine in _ENGINES.items():
            if isinstance(value, kind):
                return engine
        if isinstance(value, Fraction) or (isinstance(value, np.ndarray) and value.dtype != object):
            return "exact"
    return ""


def _sizes(arguments: dict[str, Any]) -> Size:
    S, x, u, A = (arguments.get(name) for name in ("S", "x", "u", "A"))
    shape: tuple[Any, ...] = getattr(S, "shape", ())
    shapes: dict[str, Any] = {"V": shape[0], "K": shape[-1]} if len(shape) == 2 else {}
    if isinstance(x, Token) and np.ndim(x.v):
        shapes["T"] = x.v.shape[0] if x.v.ndim == 2 else 0  # one token is no stream
    if u is not None and A is not None and np.ndim(u) == 2 and np.ndim(A) == 2:
        shapes |= {"T": u.shape[0], "V": u.shape[1], "K": A.shape[1]}
    shapes["C"] = arguments.get("chunk_size", 0)
    return {name: size for name, size in shapes.items() if isinstance(size, int) and size}


@cache
def _noting(function: FunctionType) -> CodeType:
    """Return the code of a function, with a statement in front that notes its call."""
    lines, line = inspect.getsourcelines(function)
    (node,) = ast.parse(textwrap.dedent("".join(lines))).body
    assert isinstance(node, ast.FunctionDef)
    name = f"{function.__module__}.{function.__qualname__}"
    call = f"__import__({__name__!r}, fromlist=['note']).note({name!r}, locals())"
    first = ast.parse(call).body[0]
    node.body.insert(0, ast.copy_location(first, node.body[0]))
    return compiled(ast.increment_lineno(node, line - 1), function.__code__.co_filename)


@cache
def _functions(modules: tuple[str, ...]) -> tuple[FunctionType, ...]:
    """Return the functions of modules, and the methods of their classes."""
    trees = {name: ast.parse(inspect.getsource(importlib.import_module(name))) for name in modules}
    all_ = (found(module, name) for module, tree in trees.items() for name, _ in of_module(tree))
    return tuple(function for function in all_ if inspect.isfunction(function))


@contextmanager
def recording(others: Iterable[Any] = ()) -> Iterator[Calls]:
    """Record the calls of the functions of the code, as far as it is imported, and of others, in a ``with`` block."""
    modules = (*NOTED, *(name for name in TORCH if name in sys.modules))
    functions = dict.fromkeys([*_functions(modules), *(f for f in others if inspect.isfunction(f))])
    plain = {function: function.__code__ for function in functions if not function.__code__.co_freevars}
    calls, notes = Calls(), _Notes()
    _noted.append(notes)
    try:
        for function in plain:
            function.__code__ = _noting(function)
        yield calls
    finally:
        for function, code in plain.items():
            function.__code__ = code
        _noted.remove(notes)
        calls += notes.calls.values()
        calls.reached = tuple(notes.reached)
        calls.compared = tuple(notes.compared)


def kind(scope: Scope, calls: Iterable[Call]) -> Kind:
    """Return what a step with this scope and these calls is.

    A statement for every length that ran one token of the code at a time is a theorem about sums and products of words:
    no function of the code ran at these lengths.
    """
    if not scope.proof:
        return Kind.POINTS
    if not any(True for _ in calls):
        return Kind.ALGEBRA
    if scope.example:
        return Kind.POINTS
    return Kind.ALGEBRA if isinstance(scope, EverySize) and set(scope.names) - {*WIDTHS} else Kind.CODE


def wider(
    scope: Scope, engine: str, calls: Calls, *, fields: int, more_rows: int = 0, programs: Collection[str] = ()
) -> str:  # fmt: skip
    """Say where a scope, or the engine's name, is wider than what ran; "" where it is not.

    Args:
        scope: the scope that the step states.
        engine: its engine.
        calls: the calls of the code, and the programs that were compared.
        fields: how many prime fields it drew.
        more_rows: rows of the memory besides the value channels: 1 for a normalised rule.
        programs: the engines that evaluated programs.
    """
    if engine in PROGRAMS and engine not in programs:
        by = f"by {', '.join(sorted(programs))} only" if programs else "by none"
        return f"the step is said to be decided by {engine}, and programs were evaluated {by}"
    if engine in PROGRAMS and isinstance(scope, OverFields | AllInputs):
        return _wider_than_compared(scope, calls.compared)
    engines = {call.engine for call in calls} - {""}
    if calls and engine in ("ring", "gram", "field") and engine not in engines:
        return f"the step is said to be decided by {engine}, and ran the code by {', '.join(sorted(engines))} only"
    if isinstance(scope, EveryWidth):
        ran = {call.sizes["T"] for call in calls if call.engine == "gram" and "T" in call.sizes}
        missed = [C for C in scope.lengths if C not in ran]
        return f"the scope says C <= {scope.C}, and C = {missed[0]} did not run" if missed else ""
    if isinstance(scope, OverField | OverFields) and engine == "field" and fields < scope.primes:
        return f"the scope says {scope.primes} random primes, and {fields} were drawn"
    if calls and isinstance(scope, Sizes | OverField | OverFields) and engine in ("ring", "field"):
        for name, values in scope.named:
            ran = {size - more_rows * (name in ("dv", "V")) for call in calls for size in _meant(name, call)}
            if missed := [value for value in values if ran and value not in ran]:
                return f"the scope says {name} = {missed[0]}, and the code ran at {sorted(ran)}"
    return ""


def _wider_than_compared(scope: OverFields | AllInputs, compared: Sequence[Compared]) -> str:
    """Say where a scope is wider than the cases in which programs were compared."""
    if isinstance(scope, AllInputs):
        if any(made.prime for made in compared):
            return "the scope says that every entry is a symbol, and programs ran at random points"
        least = max((made.some for made in compared), default=0)
        if least != scope.some:
            return f"the scope says {scope.some} tokens with symbols where others are zero, and there were {least}"
    cases: dict[str, set[int]] = {}
    for made in compared:
        cases.setdefault(made.case, set()).add(made.prime)
    primes = min(map(len, cases.values()), default=0)
    if isinstance(scope, OverFields) and primes < scope.primes:
        return f"the scope says {scope.primes} primes for each size, and {primes} were drawn"
    rules = {made.rule for made in compared}
    for what, said, count in (("sizes", scope.cases, len(cases)), ("widths of gates", scope.rules, len(rules))):
        if count < said:
            return f"the scope says {said} combinations of {what}, and {count} ran"
    sizes = [dict(made.sizes) for made in compared]
    named: list[tuple[str, Iterable[Any], set[Any]]] = [
        (f"{name} =", values, {of[name] for of in sizes}) for name, values in scope.named
    ]
    named.append(("code compiled to", scope.built, {made.built for made in compared}))
    for name, values, ran in named:
        if missed := [value for value in values if value not in ran]:
            return f"the scope says {name} {missed[0]}, and what ran is {', '.join(map(str, sorted(ran)))}"
    return ""


def _meant(name: str, call: Call) -> Iterator[int]:
    """Yield the sizes of a call that a name in a scope may mean."""
    names = {"dk": "K", "K": "K", "dv": "V", "V": "V", "C": "CT", "n": "CT"}.get(name, "T")
    yield from (call.sizes[each] for each in names if each in call.sizes)
