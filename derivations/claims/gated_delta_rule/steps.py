"""The step is the equation, and the recurrence is its steps, one after the other and row by row."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from derivations.engines import written
from derivations.engines.cases import Case, every_width, floats, fractions, free_points, special, told
from derivations.engines.field import Field, is_counting
from derivations.engines.ring import difference
from derivations.models import stream_sizes
from derivations.models.stream_sizes import Stream
from derivations.mutants.by_hand import planted
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import AtPoints
from gdn_core import reference
from gdn_core.reference import Array, Token

TOKENS = tuple(sizes for sizes in stream_sizes.tokens() if len(sizes.shapes["k"]) == 2)  # with one key for all rows
ALL_GATES = range(stream_sizes.COMBINATIONS)
LENGTHS = (1, 2, 3, 4, 5, 8, 9, 16, 17, 33, 64, 65, 100, 129)
STREAMS = (
    *(Stream(T, T, K, V) for T in LENGTHS for K, V in ((3, 2), (2, 3), (2, 2))),
    *(Stream(3, 3, K, V, gates) for gates in ALL_GATES for K, V in stream_sizes.PAIRS),
    *(Stream(T, T, 2, V, gates) for gates in ALL_GATES for T, V in ((1, 3), (2, 12), (5, 2), (8, 3))),
    *(Stream(T, T, 3, 2, gates) for gates in ALL_GATES for T in (4, 6, 7, 9)),
)


def equation(case: Case, S: Array, x: Token) -> tuple[Array, Array]:
    """Return the memory and the output that one token leaves by the equation, as a product with its transition."""
    K = x.k.shape[0]
    transition = np.eye(K, dtype=int) - (x.b * x.k)[:, None] * x.k[None, :]
    S = (case.exp(x.g) * S) @ transition + (x.w * x.v)[:, None] * x.k[None, :]
    return S, S @ x.q


def against_equation(case: Case, step: Callable[..., Any] = reference.step) -> dict[str, Any]:
    """Compare the code's step with the equation, for the first token of a stream."""
    x = _token(case.x, 0)
    return case.compare(step(case.S, x, exp=case.exp), equation(case, case.S, x))


def _token(x: Token, t: int) -> Token:
    return Token(q=x.q[t], k=x.k[t], v=x.v[t], g=x.g[t], b=x.b[t], w=x.w[t])


def _rows(S: Array, x: Token) -> Iterator[tuple[Array, Token]]:
    """Yield the memories that have one key for all of their rows, and their streams: the rows, if each has its own."""
    if len(x.k.shape) == 2:
        yield S, x
        return
    for d in range(S.shape[0]):
        row = slice(d, d + 1)
        g, w = (gate if gate.shape[1] == 1 else gate[:, row] for gate in (x.g, x.w))
        yield S[row], Token(q=x.q, k=x.k[:, d], v=x.v[:, row], g=g, b=x.b, w=w)


def against_steps(case: Case, code: Callable[..., Any] = reference.recurrent) -> dict[str, Any]:
    """Compare the code's recurrence with the code's steps, one after the other, for each row that has its own keys."""
    S, o = case.run(code)
    found: dict[str, Any] = {}
    start = 0
    for memory, x in _rows(case.S, case.x):
        after, outputs = memory, []
        for t in range(x.v.shape[0]):
            after, output = reference.step(after, _token(x, t), exp=case.exp)
            outputs.append(output)
        rows = slice(start, start + memory.shape[0])
        start = rows.stop
        found |= {
            f"S, rows from {rows.start}": case.residual(S[rows], after),
            f"o, rows from {rows.start}": case.residual(o[:, rows], case.stack(outputs)),
        }
    return found


def _statement() -> str:
    letter = {name: written.entry(name) for name in "qkvgbw"}
    x = Token(**{name: value if name == "g" else value[0] for name, value in letter.items()})
    S, o = reference.step(written.entry("S"), x, exp=written.exp)
    return rf"S_t = {S[0, 0]}, \quad o_t = {o[0]}, \quad \text{{for one row and one key channel}}"


@claim(
    statement=_statement,
    assumptions=("Gates of a channel each are vectors or matrices in the same places.",),
    scope=stream_sizes.scope(TOKENS, "K", "V"),
    engine="field",
    source=cite("2412.06464", "eq. 10"),
    code=(reference.step, reference.recurrent, Token.row),
)
def recurrence_is_the_equation_token_by_token(rng: random.Random) -> Any:
    """The step of a token is the equation, a product of the decayed memory and the token's transition, plus its write.

    For every combination of gates, at every width.
    """
    numbers = Field(rng)
    every = stream_sizes.longest(TOKENS) if is_counting() else TOKENS
    return ({f"{sizes}:": against_equation(free_points(sizes.shapes, numbers))} for sizes in every)


@recurrence_is_the_equation_token_by_token.step(engine="field", scope=stream_sizes.scope(STREAMS, "T", "K", "V"))
def recurrence_of_steps(rng: random.Random) -> Any:
    """The recurrence takes the steps one after the other, in each row on its own where rows have their own keys."""
    numbers = Field(rng)
    every = stream_sizes.longest(STREAMS) if is_counting() else STREAMS
    return ({f"{sizes}:": against_steps(free_points(sizes.shapes, numbers))} for sizes in every)


@recurrence_is_the_equation_token_by_token.step(
    engine="exact", scope=AtPoints(f"{len(STREAMS)} streams of integers, T from {min(LENGTHS)} to {max(LENGTHS)},")
)
def tokens_and_rows_of_a_stream() -> Any:
    """A stream is as long as its values; its tokens, its windows and its rows have the entries in their places."""
    return ({f"{sizes}:": parts_of_a_stream(sizes.shapes)} for sizes in STREAMS)


def parts_of_a_stream(shapes: dict[str, tuple[int, ...]]) -> list[Any]:
    """Compare the parts of a stream whose entries are numbered with the entries that they should have."""
    x = {name: _numbered(shapes[name], start) for name, start in zip("qkvgbw", range(0, 6 * 10**6, 10**6), strict=True)}
    stream, T = Token(**x), len(x["v"])
    found = [len(stream) - T]
    for place in (0, T - 1, -1, slice(1, None), slice(T // 2, T)):
        part = stream[place]
        found += [_differs(getattr(part, name), values[place]) for name, values in x.items()]
    for d in range(shapes["S"][0]):
        row = stream.row(d)
        own = {"k": len(shapes["k"]) == 3, "v": True, "g": shapes["g"][1] > 1, "w": shapes["w"][1] > 1}
        for name, values in x.items():
            want = values if not own.get(name) else values[:, d] if name == "k" else values[:, [d]]
            found.append(_differs(getattr(row, name), want))
    return found


def _numbered(shape: tuple[int, ...], start: int) -> Array:
    return start + np.arange(np.prod(shape)).reshape(shape)


def _differs(got: Array, want: Array) -> Any:
    """Return the first difference of two arrays, 0 if there is none; a sentence where their shapes differ."""
    off = difference(got, want)
    return off if isinstance(off, str) else next((x for x in off.flat if x), 0)


@recurrence_is_the_equation_token_by_token.step(
    engine="exact", scope=AtPoints("streams of three tokens in float64 and in fractions, V = 2 and K = 3,")
)
def parameters_left_at_their_defaults(rng: random.Random) -> Any:
    """With exp and stack left out the step and the recurrence are the same as with NumPy's."""
    for sizes, carrier in itertools.product(every_width(3, 2, 3), (floats, fractions)):
        case = carrier(sizes, rng)
        yield case.compare(reference.recurrent(case.S, case.x), case.run(reference.recurrent))
        if len(sizes["k"]) == 2:
            x = _token(case.x, 0)
            yield case.compare(reference.step(case.S, x), reference.step(case.S, x, exp=case.exp))
            if carrier is fractions:
                yield case.compare(reference.step(case.S, x), equation(case, case.S, x))


@recurrence_is_the_equation_token_by_token.step(
    engine="exact", scope=AtPoints("T = 5, of integers in float64, V = 2 and K = 3 and V = K = 2,")
)
def gates_of_0_1_and_2(rng: random.Random) -> Any:
    """The same at gates of 0, 1 and 2, decays of 0 and 1, keys of zeros, and from an empty memory."""
    for K, remembers in itertools.product((3, 2), (True, False)):
        for sizes in every_width(5, 2, K):
            case = special(sizes, rng, remembers=remembers)
            yield {f"{told(sizes)}:": against_equations(case)}


def against_equations(case: Case) -> dict[str, Any]:
    """Compare the code's recurrence with the equation, token by token."""
    S, o = case.run(reference.recurrent)
    memories, outputs = [], []
    for memory, x in _rows(case.S, case.x):
        read = []
        for t in range(x.v.shape[0]):
            memory, output = equation(case, memory, _token(x, t))
            read.append(output)
        memories.append(memory)
        outputs.append(np.stack(read))
    return case.compare((S, o), (np.concatenate(memories), np.concatenate(outputs, 1)))


@recurrence_is_the_equation_token_by_token.refute
def error_read_before_the_decay(rng: random.Random) -> Any:
    """The error is read from the memory before the decay."""
    decay, error = "S = exp(x.g) * S", "u = x.w * x.v - S @ (x.b * x.k)"
    wrong = planted(reference.step, f"{decay}\n    {error}", f"{error}\n    {decay}")
    return against_equation(free_points(Stream(1, 1, 3, 2).shapes, Field(rng)), wrong)


@recurrence_is_the_equation_token_by_token.refute
def each_token_taken_a_token_late(rng: random.Random) -> Any:
    """The recurrence starts with the last token, and then takes each one where the next should be."""
    wrong = planted(reference.recurrent, "x[t]", "x[t - 1]")
    return against_steps(free_points(Stream(3, 3, 3, 2).shapes, Field(rng)), wrong)
