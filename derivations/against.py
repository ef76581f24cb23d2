"""A user's function against a rule: where it differs from the reference, with sizes and the first wrong number.

The function may be a step, a recurrence or a chunk form, on one memory. It takes the arrays by these names, in any
order, and as many of them as it needs: the memory ``S`` [V, K]; the stream ``q``, ``k`` [T, K], ``v`` [T, V]; a log
decay ``g`` or a decay ``alpha``; gates ``beta`` or ``b``, and ``w``; a :class:`~gdn_core.reference.Token` as ``x``; and
``chunk_size``. A step takes one token, without the axis T. It returns the memory, the outputs, or both in any order.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from derivations.engines import field
from derivations.engines.cases import Case, free_points, shapes, tokens
from derivations.engines.field import Field
from gdn_core import reference
from gdn_core.reference import Array, Token
from gdn_core.rules import WriteRule

Function = Callable[..., Any]
ROUNDING = 1e-8  # relative: far more than a stable form loses in float64, far less than a wrong index makes
NAMES = {
    "S": "S", "state": "S", "memory": "S", "initial_state": "S", "h": "S", "x": "x", "token": "x", "tokens": "x",
    "q": "q", "query": "q", "queries": "q", "k": "k", "key": "k", "keys": "k", "v": "v", "value": "v", "values": "v",
    "g": "g", "log_decay": "g", "alpha": "alpha", "decay": "alpha", "beta": "b", "b": "b", "w": "w",
    "exp": "exp", "stack": "stack", "chunk_size": "chunk_size",
}  # fmt: skip
# T, K and V, the small ones first: no two alike, then K = V, and the sizes around powers of two.
SIZES = (
    (1, 2, 3), (2, 3, 1), (3, 1, 2), (5, 3, 2), (4, 3, 3), (7, 2, 5), (8, 12, 10), (16, 3, 5), (17, 5, 3), (31, 2, 3),
    (33, 3, 2), (64, 5, 3), (65, 2, 3), (100, 3, 5),
)  # fmt: skip
CHUNK_SIZES = [1, 2, 3, 7, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65]
MANY = 20  # tokens, from which chunks of few are not run
FEW = 8  # tokens, up to which gates of 0, 1 and 2 and decays of 0 and 1 run too


@dataclass(frozen=True)
class _Call:
    """One call: its sizes, the arrays by the names of the reference, and what the rule gives."""

    text: str
    case: Case
    chunk_size: int
    want: dict[str, Array]


def difference(function: Function, rule: WriteRule, *, seed: int = 0) -> str:
    """Return a sentence that says where a function differs from a rule, or "" where it differs nowhere.

    It is run in float64, and if it takes ``exp`` also on integers mod a prime, exactly, at each of ``SIZES``.

    Args:
        function: a step, a recurrence or a chunk form on one memory, with arguments as the module says.
        rule: the rule; its gates have their widths: an erase gate of the memory is [T, 1], a decay [T, 1, 1].
        seed: seed of the random points.

    Raises:
        TypeError: if the function takes an argument without a default that is not among those names.
    """
    parameters = _parameters(function)
    a_step = "step" in function.__name__ and "chunk_size" not in parameters
    for sizes in SIZES:
        for chunk_size in _chunk_sizes(sizes[0]) if "chunk_size" in parameters else (0,):
            for call in _calls(rule, sizes, chunk_size, exact="exp" in parameters, a_step=a_step, seed=seed):
                if wrong := _compared(function, parameters, call, a_step):
                    return f"{function.__name__} is not {rule.title}: at {call.text} {wrong}"
    return ""


def _chunk_sizes(T: int) -> list[int]:
    """Return the chunk sizes for T tokens: up to a token more than there are, and one that is far too large."""
    return [C for C in CHUNK_SIZES if C <= T + 1 and (T < MANY or C >= MANY // 2)] + CHUNK_SIZES[-1:] * (T == 1)


def _parameters(function: Function) -> dict[str, str]:
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if name in NAMES:
            found[name] = NAMES[name]
        elif parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise TypeError(f"{function.__name__}: {name}: expected arguments among {', '.join(NAMES)}")
    return found


def _calls(
    rule: WriteRule, sizes: tuple[int, int, int], chunk_size: int, *, exact: bool, a_step: bool, seed: int
) -> Iterator[_Call]:
    T, K, V = sizes
    text = f"T = {T}, K = {K}, V = {V}" + (f", C = {chunk_size}" if chunk_size else "")
    rng = random.Random(f"{seed} {text}")
    letters = shapes(rule, T, V, K)
    draw = np.random.default_rng(rng.getrandbits(32))
    numbers = {name: draw.normal(size=shape) for name, shape in letters.items()}
    numbers |= {name: draw.uniform(0.1, 0.9, size=letters[name]) for name in "bw"}
    numbers["g"] = -draw.uniform(0.05, 0.5, size=letters["g"])
    floats = Case(numbers["S"], tokens(rule, numbers), np.exp, np.stack, lambda left, right: left - right)
    cases = {text: floats}
    if T <= FEW:
        cases[f"{text}, with gates of 0, 1 and 2,"] = _special(rule, numbers, draw)
    if exact:
        point = free_points(letters, Field(rng))
        made = {"S": point.S, **{each.name: getattr(point.x, each.name) for each in fields(Token)}}
        cases[f"{text}, in integers mod a prime,"] = Case(
            point.S, tokens(rule, made), point.exp, field.stack, point.residual
        )
    for said, case in cases.items():
        if a_step:
            S, o = reference.step(case.S, case.x[0], exp=case.exp) if T == 1 else (None, None)
            if T > 1:
                return
            yield _Call(said, case, chunk_size, {"S": S, "o": o})
        else:
            S, o = case.run(reference.recurrent)
            yield _Call(said, case, chunk_size, {"S": S, "o": o})


def _special(rule: WriteRule, numbers: dict[str, Array], draw: np.random.Generator) -> Case:
    """Return the same queries and values with gates and decays at which code branches, unit keys, and no memory."""
    made = dict(numbers)
    made |= {name: draw.choice((0.0, 1.0, 2.0), size=numbers[name].shape) for name in "bw"}
    made["g"] = draw.choice((0.0, -2.0, -20.0), size=numbers["g"].shape)
    made["k"] = numbers["k"] / np.linalg.norm(numbers["k"], axis=-1, keepdims=True)
    made["S"] = 0 * numbers["S"]
    return Case(made["S"], tokens(rule, made), np.exp, np.stack, lambda left, right: left - right)


def _compared(function: Function, parameters: dict[str, str], call: _Call, a_step: bool) -> str:
    """Call a function, and say how what it returns differs; "" if it does not."""
    case = call.case
    x = case.x[0] if a_step else case.x
    given = {"S": case.S, "x": x, "exp": case.exp, "stack": case.stack, "chunk_size": call.chunk_size}
    given |= {each.name: getattr(x, each.name) for each in fields(Token)}
    given["alpha"] = case.exp(x.g)
    try:
        made = function(**{name: given[meant] for name, meant in parameters.items()})
    except Exception as error:  # noqa: BLE001 - a user's function may fail in any way
        hint = "" if a_step else "; what takes one token has to have step in its name"
        return f"it raises {type(error).__name__}: {error}{hint}"
    arrays = made if isinstance(made, tuple | list) else (made,)
    matched = _matched(arrays, call.want)
    if not matched:
        got = ", ".join(str(list(np.shape(array))) for array in arrays)
        want = ", ".join(f"{name} {list(array.shape)}" for name, array in call.want.items())
        return f"it returns {got}, and the rule has {want}"
    for name, array in matched.items():
        if wrong := _first_wrong(name, array, call.want[name]):
            return wrong
    return ""


def _matched(arrays: Any, want: dict[str, Array]) -> dict[str, Array]:
    """Return the arrays by name, by their shapes; where the shapes are alike the memory comes first, as in the code."""
    left, found = dict(want), {}
    for array in arrays:
        name = next((name for name, one in left.items() if one.shape == getattr(array, "shape", None)), None)
        if name:
            found[name] = array
            del left[name]
    return found


def _first_wrong(name: str, got: Array, want: Array) -> str:
    """Say which entry differs first, in time if the array has one; "" if none does."""
    difference = got - want
    if isinstance(difference, field.Residues):
        if not difference:
            return ""
        return f"{name} differs by {difference}"
    size = max(1.0, float(np.abs(want).max()))
    wrong = np.argwhere(~(np.abs(difference) <= ROUNDING * size))
    if not len(wrong):
        return ""
    place = tuple(int(i) for i in wrong[0])
    told = f"{name}{list(place)} is {float(got[place]):.6g} and should be {float(want[place]):.6g}"
    return f"{told}, a difference of {float(difference[place]):.3g}; {len(wrong)} of {want.size} entries are wrong"
