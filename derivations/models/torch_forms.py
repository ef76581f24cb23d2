"""The PyTorch forms of the gated delta rule beside the reference's recurrence, on exact numbers.

A stream has the layout of the public functions: queries and keys [B, T, H, K], values [B, T, HV, V], gates [B, T, HV],
memories [N, HV, K, V]. The oracle is :func:`gdn_core.reference.recurrent`, on each head of each sequence, with integers
mod p in NumPy; dual numbers give its derivative.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from derivations.engines.aten.degrees import Degrees
from derivations.engines.aten.mode import Exactly, exactly
from derivations.engines.aten.numbers import EMPTY, FORGETS, Numbers, Unsound
from derivations.engines.aten.tensors import Exact
from derivations.engines.degree import Degree
from derivations.engines.field import Batch, Dual, Field, Residues, dual_exp, is_counting, stack
from derivations.models.torch_sizes import Launch, Size
from derivations.ran import compared
from gdn_core import reference
from gdn_core.ops.torch import chunk, differentiable
from gdn_core.reference import Token
from gdn_core.rules import Gate

Entries = torch.Tensor
FLOAT = torch.float32
SCALE = 0.125  # a binary fraction


class Outweighed(Numbers):
    """Numbers whose log decays decide the sign of a sum: in sequence n token n has more of them than all others.

    A sum of log decays with small integer coefficients, one of them negative, is positive in the sequence of its token.
    """

    def draw_logs(self, *shape: int) -> Entries:
        """Return log decays of -1, and one of -2^24 in each sequence."""
        logs = -torch.ones(shape, dtype=torch.int64)
        token = torch.arange(shape[0])
        logs[token, token % shape[1]] = -(1 << 24)
        return self._encoded(logs)


class Stream:
    """A stream of random exact numbers, and its recurrence.

    Gates wider than one number have axes [V], [K] or [V, K] behind those above.

    Args:
        size: its sizes.
        numbers: the field.
        unit: what is added to the squared length of queries and keys before they are divided by its root; None to
            leave them as they are.
    """

    def __init__(self, size: Size, numbers: Numbers, unit: float | None = None) -> None:
        self.size, self.numbers, self.rule, self.unit = size, numbers, size.rule, unit
        s, n = size, numbers
        axes = {Gate.SCALAR: (), Gate.KEY: (s.K,), Gate.VALUE: (s.V,), Gate.MATRIX: (s.V, s.K)}
        wide = {name: axes[gate] for name, gate in s.gates.items()}
        self.q, self.k = (
            n.draw(s.B, s.T, s.H, s.K) if unit is None else n.draw_lengths(s.B, s.T, s.H, s.K, plus=unit)
            for _ in range(2)
        )
        self.v = n.draw(s.B, s.T, s.HV, s.V)
        self.g = n.draw_logs(s.B, s.T, s.HV, *wide["g"]) if "g" in wide else None
        if self.g is not None and s.resets:
            self.g = torch.where(n.draw(*self.g.shape) % 4 == 0, FORGETS, self.g)
        self.beta, self.b, self.w = (
            n.draw(s.B, s.T, s.HV, *wide[name]) if name in wide else None for name in ("beta", "b", "w")
        )
        self.S = n.draw(s.N, s.HV, s.K, s.V) if s.remembers else None

    def entries(self) -> dict[str, Entries]:
        """Return what the stream is made of, by name."""
        names = ("q", "k", "v", "g", "beta", "b", "w", "S")
        return {name: x for name in names if (x := getattr(self, name)) is not None}

    def tensors(self, dtype: torch.dtype = FLOAT) -> dict[str, Any]:
        """Return the tensors of a program, by name; None for what is absent."""
        least = torch.promote_types(dtype, FLOAT)
        given = {name: exact(x, least if name == "S" else dtype) for name, x in self.entries().items()}
        return {**dict.fromkeys(("g", "beta", "b", "w", "S")), **given}

    def recurrence(self, scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the outputs [B, T, HV, V] and last memories [N, HV, K, V] of the reference, mod p."""
        ends = [self._run(part, scale, {}) for part in self._parts()]
        return self._joined([o.values for _, o in ends], [S.values for S, _ in ends])

    def derivative(self, scale: float, along: Mapping[str, Entries], do: Entries, dS: Entries) -> Residues:
        """Return the derivative of ``sum(do * o) + sum(dS * S)`` along a direction, which has some of the names."""
        total = Residues(0, self.numbers.p)
        for rows, tokens in self._parts():
            S, o = self._run((rows, tokens), scale, along)
            for gradient, of in ((self._by_head(do[:, tokens]), o), (dS[rows].flatten(0, 1).mT, S)):
                total = total + (Batch(gradient.numpy(), self.numbers.p) * of.tangent).sum()
        return total

    def _parts(self) -> list[tuple[slice, slice]]:
        """Return the memories and the tokens of each batch of sequences: all of them, or one packed sequence each."""
        if not self.size.lengths:
            return [(slice(None), slice(0, self.size.T))]
        ends = list(pairwise(self.size.bounds))
        return [(slice(n, n + 1), slice(start, stop)) for n, (start, stop) in enumerate(ends) if start < stop]

    def _by_head(self, x: Entries) -> Entries:
        """Return [B, T, H, ...] as [B * HV, T, ...], each head of keys repeated for its heads of values."""
        return x.repeat_interleave(self.size.HV // x.shape[2], 2).transpose(1, 2).flatten(0, 1)

    def _run(self, part: tuple[slice, slice], scale: float, along: Mapping[str, Entries]) -> tuple[Any, Any]:
        s, n = self.size, self.numbers
        rows, tokens = part
        heads = (s.B if not s.lengths else 1) * s.HV
        given = self.entries()
        exp: Callable[[Any], Any] = n.field.exp
        if s.resets and "g" in given:  # a decay of 0 has no logarithm mod q: decays stand for their logarithms
            given, exp = given | {"g": n.exponential(given["g"])}, lambda decay: decay
        if self.unit is not None:
            given |= {name: n.unit(given[name], plus=self.unit) for name in "qk"}

        def field(name: str, shape: tuple[int, ...], absent: int) -> Any:
            def taken(x: Entries) -> Entries:
                if name == "S":
                    return x[rows].flatten(0, 1).mT.reshape(heads, *shape)
                return self._by_head(x[:, tokens]).reshape(heads, *shape)

            if name in given:
                values = n.logs(given[name]) if name == "g" and not s.resets else n.residues(given[name])
                value = Batch(taken(torch.from_numpy(values.values)).numpy(), values.modulus)
            else:
                value = Batch(np.full((heads, *shape), absent), n.q if name == "g" else n.p)
            if not along:
                return value
            tangent = taken(along[name]).numpy() if name in along else np.zeros((heads, *shape))
            return Dual(value, Batch(tangent, n.p))

        T = tokens.stop - tokens.start
        q, k = field("q", (T, s.K), 0), field("k", (T, s.K), 0)
        factor = n.constant(scale)
        q = Dual(q.value * factor, q.tangent * factor) if along else q * factor
        erase, write = ("beta", "beta") if self.beta is not None else ("b", "w")
        x = Token(q=q, k=k, v=field("v", (T, s.V), 0), g=field("g", (T, *self.rule.decay.shape(s.V, s.K)), 0),
                  b=field(erase, (T, self.rule.erase.shape(s.V, s.K)[1]), 0),
                  w=field(write, (T, self.rule.write.shape(s.V, s.K)[0]), 1))  # fmt: skip
        exp = dual_exp(exp) if along else exp
        return reference.recurrent(field("S", (s.V, s.K), 0), x, exp=exp, stack=stack)

    def _joined(self, outputs: list[np.ndarray], memories: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        s = self.size
        o = np.zeros((s.B, s.T, s.HV, s.V), np.int64)
        S = np.zeros((s.N, s.HV, s.K, s.V), np.int64)
        if self.S is not None:
            S[...] = self.S.numpy()  # of sequences without tokens
        for (rows, tokens), of_part, memory in zip(self._parts(), outputs, memories, strict=True):
            o[:, tokens] = of_part.reshape(-1, s.HV, tokens.stop - tokens.start, s.V).swapaxes(1, 2)
            S[rows] = memory.reshape(-1, s.HV, s.V, s.K).swapaxes(2, 3)
        return o, S


def exact(entries: Entries, dtype: torch.dtype = FLOAT) -> Exact:
    """Return entries as a tensor of a program, which may write into it."""
    return Exact(entries.clone(), dtype)


def difference(numbers: Numbers, got: Any, want: np.ndarray) -> Residues | str:
    """Compare a tensor of a program with residues; a sentence if it is no tensor of this shape, or was not written."""
    if not isinstance(got, Exact):
        return f"expected a tensor of exact numbers, got {type(got).__name__}"
    if tuple(got.shape) != want.shape:
        return f"expected a tensor {list(want.shape)}, got one {list(got.shape)}"
    if lost := never_written(got.entries):
        return lost
    try:
        return Residues(numbers.residues(got.entries).values - want, numbers.p)
    except Unsound as error:
        return str(error)


def never_written(entries: Entries) -> str:
    """Say which entry is the first that was never written; "" if there is none."""
    lost = entries == EMPTY
    return f"never written at {lost.nonzero()[0].tolist()}" if bool(lost.any()) else ""


def written_to(given: Mapping[str, Any], entries: Mapping[str, Entries]) -> dict[str, str]:
    """Say which of a program's inputs it has changed."""
    return {name: "an input, which was written to" for name, x in entries.items()
            if given[name] is not None and not torch.equal(given[name].entries, x)}  # fmt: skip


def coarse(mode: Exactly, of: torch.dtype, results: Mapping[str, tuple[Any, torch.dtype]]) -> dict[str, str]:
    """Say where a program computes in less than float32, or than its inputs, or returns another type.

    Args:
        mode: what has run.
        of: the type of the inputs.
        results: tensors and their types, by name.
    """
    least = torch.promote_types(of, FLOAT)
    wrong = {name: f"of type {x.dtype}, expected {dtype}" for name, (x, dtype) in results.items()
             if isinstance(x, Exact) and x.dtype != dtype}  # fmt: skip
    rounded = sorted(str(x) for x in mode.computed if torch.promote_types(x, least) != x)
    # Numbers of 16 bits are what the results are rounded to at the end.
    rounded += sorted(str(x) for x in mode.narrowed if torch.promote_types(x, least) != x and x != of)
    return wrong | ({"arithmetic": f"rounds to {rounded[0]}"} if rounded else {})


def unsound(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Run a comparison; a program that does what fails on real numbers leaves a sentence as its residual."""
    try:
        return run()
    except Unsound as error:
        return {"fails": str(error)}


@contextmanager
def chunks_of(C: int) -> Iterator[None]:
    """Set the chunk size of the PyTorch forms inside a ``with`` block; their functions stay as they are."""
    own = {"CHUNK_SIZE": C, "SPAN": C * chunk.CHUNKS_AT_ONCE}
    before = [(module, name, vars(module)[name]) for module in (chunk, differentiable) for name in own
              if name in vars(module)]  # fmt: skip
    for module, name, _ in before:
        setattr(module, name, own[name])
    try:
        yield
    finally:
        for module, name, value in before:
            setattr(module, name, value)


Form = Callable[[Size, dict[str, Any]], tuple[Any, Any]]  # outputs and last memories, of a stream's tensors


def forward_residual(
    size: Size, rng: random.Random, form: Form, numbers: Numbers | None = None, *, unit: float | None = None,
    launch: Launch = ("", ""), dtype: torch.dtype = FLOAT,
) -> dict[str, Any]:  # fmt: skip
    """Compare the outputs and the last memories of a form with those of the recurrence.

    Args:
        size: the sizes.
        rng: draws the prime and the point.
        form: the form.
        numbers: the field, if the form needs it; by default it is drawn.
        unit: as for a stream.
        launch: what the form was compiled to, and how it is launched, in words.
        dtype: the float type of the inputs.
    """
    if is_counting():
        return {str(size): _forward_degrees(size, form, Field(rng), numbers or Degrees())}
    numbers = numbers or Numbers(rng)
    stream = Stream(size, numbers, unit=unit)

    def run() -> dict[str, Any]:
        given = stream.tensors(dtype)
        with chunks_of(size.C), exactly(numbers) as mode:
            got = form(size, given)
        want = stream.recurrence(SCALE)
        compared(size.compared(prime=numbers.p, launch=launch))
        residual = {name: difference(numbers, *pair) for name, *pair in zip("oS", got, want, strict=True)}
        types = {"o": (got[0], dtype), "S": (got[1], torch.promote_types(dtype, FLOAT))}
        wrong = {} if any(launch) else coarse(mode, dtype, types)
        return residual | wrong | written_to(given, stream.entries())

    return {str(size): unsound(run)}


Backward = Callable[[Size, dict[str, Any], Any, Any], Any]  # gradients by name, of a stream, do, and dS or None


def backward_residual(
    size: Size, rng: random.Random, form: Backward, numbers: Numbers | None = None, *,
    launch: Launch = ("", ""), dtype: torch.dtype = FLOAT,
) -> dict[str, Any]:  # fmt: skip
    """Compare the gradients of a form, along a random direction, with the derivative of the recurrence.

    The arguments are those of :func:`forward_residual`.
    """
    if is_counting():
        return {str(size): _backward_degrees(size, form, Field(rng), numbers or Degrees())}
    numbers = numbers or Numbers(rng)
    stream = Stream(size, numbers)
    do = numbers.draw(size.B, size.T, size.HV, size.V)
    do[:, size.bounds[-1] if size.lengths else size.T :] = 0  # nothing depends on the outputs behind the sequences
    dS = numbers.draw(size.N, size.HV, size.K, size.V) * size.remembers
    if size.resets:  # the forms clear what no output with a gradient depends on
        do[:, 0], do[:, size.T // 2 :], dS[:, 0] = 0, 0, 0  # of other heads the last memory alone depends on the rest
    along = {name: numbers.draw(*x.shape) for name, x in stream.entries().items()}

    def run() -> dict[str, Any]:
        given, least = stream.tensors(dtype), torch.promote_types(dtype, FLOAT)
        last = {"do": exact(do, dtype), "dS": exact(dS, least) if size.remembers else None}
        with chunks_of(size.C), exactly(numbers) as mode:
            got = form(size, given, *last.values())
        types = {f"d{name}": (got[name], least if name == "S" else dtype) for name in along}
        types |= {name: (x, least) for name, x in got.items() if name.startswith("kept")}
        if wrong := {} if any(launch) else coarse(mode, dtype, types):
            return wrong
        if touched := written_to(given | last, {**stream.entries(), "do": do, "dS": dS}):
            return touched
        terms: dict[str, Any] = {}
        for name, direction in along.items():
            gradient = difference(numbers, got[name], np.zeros(tuple(direction.shape), np.int64))
            if isinstance(gradient, str):
                return {f"d{name}": gradient}
            terms[name] = (gradient * Residues(direction.numpy(), numbers.p)).sum()
        compared(size.compared(prime=numbers.p, launch=launch))
        total = sum(terms.values()) - _from_empty(stream, dS, along) - stream.derivative(SCALE, along, do, dS)
        if not total:
            return {"the derivative": total}
        by_name = (
            (f"d{name}", terms[name] - _from_empty(stream, dS, {name: x})
             - stream.derivative(SCALE, {name: x}, do, dS))
            for name, x in along.items()
        )  # fmt: skip
        return dict([next(wrong for wrong in by_name if wrong[1])])

    return {str(size): unsound(run)}


def _from_empty(stream: Stream, dS: Entries, along: Mapping[str, Entries]) -> Residues:
    """Return the part of the derivative that sequences without tokens have: their last memory is their first."""
    zero = Residues(0, stream.numbers.p)
    if "S" not in along:
        return zero
    empty = [n for n, length in enumerate(stream.size.lengths) if not length]
    p = stream.numbers.p
    pairs = (Residues(dS[n].numpy(), p) * Residues(along["S"][n].numpy(), p) for n in empty)
    return sum((pair.sum() for pair in pairs), zero)


# Degrees in place of numbers: of what a form computes, and of what it is compared with.


def _forward_degrees(size: Size, form: Form, field: Field, numbers: Any) -> list[Degree]:
    given = Stream(size, numbers).tensors()
    with chunks_of(size.C), exactly(numbers):
        got = form(size, given)
    S, x = _letters(field.letters(_one_head(size)))
    return [*(numbers.largest(y.entries) for y in got), *reference.recurrent(S, x, exp=field.exp, stack=stack)]


def _backward_degrees(size: Size, form: Backward, field: Field, numbers: Any) -> list[Degree]:
    stream = Stream(size, numbers)
    do = exact(numbers.draw(size.B, size.T, size.HV, size.V))
    dS = exact(numbers.draw(size.N, size.HV, size.K, size.V)) if size.remembers else None
    given = stream.tensors()
    with chunks_of(size.C), exactly(numbers):
        got = form(size, given, do, dS)
    shapes = _one_head(size)
    along = {name: Dual(at, field.draw(*shapes[name])) for name, at in field.letters(shapes).items()}
    S, x = _letters(along)
    after, o = reference.recurrent(S, x, exp=dual_exp(field.exp), stack=stack)
    derivative = (field.draw(*shapes["v"]) * o.tangent).sum() + (field.draw(*shapes["S"]) * after.tangent).sum()
    return [derivative, *(numbers.largest(got[name].entries, times=1) for name in stream.entries())]


def _one_head(size: Size) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the longest sequence of one head, with gates of their own."""
    T, V, K, rule = max(size.lengths, default=size.T), size.V, size.K, size.rule
    return {"S": (V, K), "q": (T, K), "k": (T, K), "v": (T, V), "g": (T, *rule.decay.shape(V, K)),
            "b": (T, rule.erase.shape(V, K)[1]), "w": (T, rule.write.shape(V, K)[0])}  # fmt: skip


def _letters(of: dict[str, Any]) -> tuple[Any, Token]:
    return of["S"], Token(**{name: x for name, x in of.items() if name != "S"})
