"""Wrong variants of the code: planted by hand in a claim, or by machine throughout a file.

A claim that nothing can refute proves nothing, and code that no claim notices is not proved. So the source of the code
is broken in every small way there is a rule for, one at a time: a sign, the strictness of a slice, a factor or a decay
left out, a transpose, an index off by one. Each such mutant must be refuted by some step of some claim. What cannot be
refuted because it changes nothing stands in ``EQUIVALENT`` with its reason.
"""

from __future__ import annotations
import __future__

import ast
import copy
import importlib
import inspect
import marshal
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import CodeType, FunctionType
from typing import Any

from derivations.claim import Checked, Result, Verdict, load
from gdn_core.rules import RULES

MODULES = ("gdn_core.reference", "gdn_core.ssm", "gdn_core.reference_backward")

# Mutants that change nothing, each by its function, its statement and the mutated statement, with the reason.
_ONE_ROW = "A row is a memory of one value channel, so its first entry is its last."
_ONE_DECAY = "A stream whose decays differ by value channel has been cut into rows before, so there is one to take."
_MASKED = "What stands there is not looked at: the other branch is taken at 0."
EQUIVALENT: dict[tuple[str, str, str], str] = {
    (f"gdn_core.{function}", before, after): reason
    for function, before, after, reason in (
        (
            "reference.moments",
            "k = x.k if x.k.ndim == 2 else x.k[None, :]",
            "k = x.k",
            "A key for all rows broadcasts to the same products without the new axis.",
        ),
        (
            "reference.moments",
            "read = (decayed * (x.b * k)).sum(-1)",
            "read = (decayed * (x.b * k)).sum(1)",
            "The last of two axes is the second.",
        ),
        ("reference.chunk", "G = [x.g[0, 0]]", "G = [x.g[0, -1]]", _ONE_DECAY),
        ("reference.chunk", "G.append(G[-1] + x.g[i, 0])", "G.append(G[-1] + x.g[i, -1])", _ONE_DECAY),
        (
            "reference._by_rows",
            "ends = [run(S[d:d + 1], x.row(d), exp=exp, stack=stack) for d in range(len(S))]",
            "ends = [run(S[d:d + 2], x.row(d), exp=exp, stack=stack) for d in range(len(S))]",
            "A second row runs along and is dropped: rows never meet.",
        ),
        (
            "reference._by_rows",
            "return (stack([end[0] for end, _ in ends]), stack([o[:, 0] for _, o in ends]).T)",
            "return (stack([end[-1] for end, _ in ends]), stack([o[:, 0] for _, o in ends]).T)",
            _ONE_ROW,
        ),
        (
            "reference._by_rows",
            "return (stack([end[0] for end, _ in ends]), stack([o[:, 0] for _, o in ends]).T)",
            "return (stack([end[0] for end, _ in ends]), stack([o[:, -1] for _, o in ends]).T)",
            _ONE_ROW,
        ),
        ("ssm.phi1", "safe = np.where(z == 0, 1.0, z)", "safe = np.where(z == 0, 2.0, z)", _MASKED),
        (
            "ssm.tokens",
            "if factor.shape[1] < u.shape[1]:",
            "if factor.shape[1] <= u.shape[1]:",
            "Where the widths are equal, zeros of the same width are added.",
        ),
        (
            "ssm.tokens",
            "factor = factor + 0 * u[:, :, None]",
            "factor = factor - 0 * u[:, :, None]",
            "Zeros are taken off instead of added.",
        ),
        ("reference_backward.chunk_backward", "G = [x.g[0, 0]]", "G = [x.g[0, -1]]", _ONE_DECAY),
        (
            "reference_backward.chunk_backward",
            "G.append(G[-1] + x.g[i, 0])",
            "G.append(G[-1] + x.g[i, -1])",
            _ONE_DECAY,
        ),
        (
            "reference_backward._by_rows",
            "dv = gathered('v', shared=False)[:, :, 0]",
            "dv = gathered('v', shared=False)[:, :, -1]",
            _ONE_ROW,
        ),
        (
            "reference_backward._by_rows",
            "dg = gathered('g', shared=True) if x.g.shape[1] == 1 else gathered('g', shared=False)[:, :, 0]",
            "dg = gathered('g', shared=True) if x.g.shape[1] == 1 else gathered('g', shared=False)[:, :, -1]",
            _ONE_ROW,
        ),
        (
            "reference_backward._by_rows",
            "dw = gathered('w', shared=True) if x.w.shape[1] == 1 else gathered('w', shared=False)[:, :, 0]",
            "dw = gathered('w', shared=True) if x.w.shape[1] == 1 else gathered('w', shared=False)[:, :, -1]",
            _ONE_ROW,
        ),
        (
            "reference_backward._by_rows",
            "return (stack([before[0] for before, _ in rows]), Token(q=dq, k=dk, v=dv, g=dg, b=db, w=dw))",
            "return (stack([before[-1] for before, _ in rows]), Token(q=dq, k=dk, v=dv, g=dg, b=db, w=dw))",
            _ONE_ROW,
        ),
    )
}


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


@dataclass(frozen=True)
class Mutant:
    """One function of the code with one place of it broken.

    Args:
        module: the module it stands in.
        function: the function's name, with its class if it is a method.
        line: the line of the break in the module's file.
        before: the statement that is broken, or the head of it.
        after: the statement as it is broken.
        code: the broken function, compiled and marshalled, so that it can be sent to a worker.
    """

    module: str
    function: str
    line: int
    before: str
    after: str
    code: bytes

    @property
    def place(self) -> str:
        """The function with its module."""
        return f"{self.module}.{self.function}"

    @property
    def key(self) -> tuple[str, str, str]:
        """What ``EQUIVALENT`` knows it by."""
        return self.place, self.before, self.after

    def __str__(self) -> str:
        same = next((i for i, (a, b) in enumerate(zip(self.before, self.after, strict=False)) if a != b), 0)
        start = max(0, same - 30)
        cut = "... " if start else ""
        before, after = (cut + text[start : same + 40] for text in (self.before, self.after))
        return f"{self.place}, line {self.line}: {before}  ->  {after}"

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Break the function in place, wherever it has been imported to, and mend it again."""
        function = _function(self.module, self.function)
        right = function.__code__
        function.__code__ = marshal.loads(self.code)
        try:
            yield
        finally:
            function.__code__ = right


@cache
def mutants(modules: Sequence[str] = MODULES) -> tuple[Mutant, ...]:
    """Break every function of the modules in every way there is a rule for, each break once."""
    found: dict[tuple[str, str, str], Mutant] = {}
    for name in modules:
        module = importlib.import_module(name)
        for function, node in _functions(ast.parse(inspect.getsource(module))):
            for mutant in _of_function(name, function, node, module.__file__ or name):
                found.setdefault(mutant.key, mutant)
    return tuple(found.values())


def _function(module: str, name: str) -> FunctionType:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = vars(found)[part]
    return found


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        if isinstance(node, ast.ClassDef):
            yield from (
                (f"{node.name}.{inner.name}", inner) for inner in node.body if isinstance(inner, ast.FunctionDef)
            )


def _of_function(module: str, function: str, node: ast.FunctionDef, filename: str) -> Iterator[Mutant]:
    for statement in _statements(node):
        before = _head(statement)
        for parent, place, index, child in _expressions(statement):
            for variant in _variants(child):
                _put(parent, place, index, ast.copy_location(variant, child))
                after = _head(statement)
                code = marshal.dumps(_compiled(node, filename))
                _put(parent, place, index, child)
                if after != before:
                    yield Mutant(module, function, child.lineno, before, after, code)


def _statements(node: ast.FunctionDef) -> Iterator[ast.stmt]:
    """Yield the statements of a function, and of the functions in it, but for docstrings and what it raises."""
    for inner in ast.walk(node):
        head = inner is node or isinstance(inner, ast.FunctionDef | ast.Raise)
        docstring = isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant)
        if isinstance(inner, ast.stmt) and not head and not docstring:
            yield inner


def _expressions(statement: ast.stmt) -> Iterator[tuple[ast.AST, str, int | None, ast.expr]]:
    """Yield every expression of a statement, not of the statements in it, with the place where it stands."""
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
    """Yield what an expression is broken into."""
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
        case ast.IfExp(_, body, orelse):
            yield body
            yield orelse
        case _:
            return


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
    """Print a statement without the statements in it."""
    return ast.unparse(ast.fix_missing_locations(statement)).partition("\n")[0]


def _compiled(node: ast.FunctionDef, filename: str) -> CodeType:
    bare = copy.copy(node)  # without what is evaluated where it is defined
    bare.decorator_list, bare.returns = [], None
    module = ast.fix_missing_locations(ast.Module([bare], []))
    made = compile(module, filename, "exec", flags=__future__.annotations.compiler_flag, dont_inherit=True)
    return next(c for c in made.co_consts if isinstance(c, CodeType) and c.co_name == node.name)


# Refuting them.

Attempt = tuple[str, int, str]  # a claim, the number of its step, and the rule it is run for or ""


@dataclass(frozen=True)
class Refutation:
    """What became of one mutant.

    Args:
        mutant: the mutant, in words.
        key: what ``EQUIVALENT`` knows it by.
        by: the claim and the step that refuted it, or "" for a survivor.
        residual: what that step found.
    """

    mutant: str
    key: tuple[str, str, str]
    by: str
    residual: str


def attempts(results: Sequence[Result]) -> dict[Attempt, float]:
    """Return the steps of checked claims, with the seconds that each took."""
    found: dict[Attempt, float] = {}
    for result in results:
        numbers = {step.name: n for n, step in enumerate(load()[result.claim].steps)}
        found |= {(result.claim, numbers[step.name], step.rule): step.seconds for step in result.steps}
    return found


def refute(broken: Sequence[Mutant], seconds: dict[Attempt, float], *, seed: int = 0) -> list[Refutation]:
    """Run the steps of claims on each mutant until one fails, and each step that failed once more on the code as it is.

    Args:
        broken: mutants of one function.
        seconds: every step, and what it costs. Tried first are the steps of claims that are about the function; among
            them those that have refuted a mutant, and then the fast ones.
        seed: of the random points.

    Raises:
        RuntimeError: if a step that refuted a mutant fails on the code as it is: it remembers what it was run on.
    """
    places = {mutant.place for mutant in broken}
    about = {name: any(_place(code) in places for code in made.code) for name, made in load().items()}
    refuted: Counter[Attempt] = Counter()
    found = []
    for mutant in broken:
        by = None
        with mutant.planted():
            for attempt in sorted(seconds, key=lambda a: (not about[a[0]], not refuted[a], seconds[a])):
                checked = _try(attempt, seed)
                if checked.verdict is not Verdict.HOLDS:
                    refuted[attempt] += 1
                    by = Refutation(str(mutant), mutant.key, _named(attempt), checked.residual)
                    break
        found.append(by or Refutation(str(mutant), mutant.key, "", ""))
    for attempt in refuted:
        if _try(attempt, seed).verdict is not Verdict.HOLDS:
            raise RuntimeError(f"{_named(attempt)}: refutes a mutant and fails without it, so it remembers the mutant")
    return found


def _try(attempt: Attempt, seed: int) -> Checked:
    name, number, slug = attempt
    made = load()[name]
    return made.check_step(made.steps[number], seed=seed, rule=RULES[slug] if slug else None)


def _named(attempt: Attempt) -> str:
    name, number, slug = attempt
    return f"{name}: {load()[name].steps[number].name}" + (f" ({slug})" if slug else "")


def _place(code: Any) -> str:
    return f"{getattr(code, '__module__', '')}.{getattr(code, '__qualname__', '')}"
