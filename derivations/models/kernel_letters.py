"""The kernels of the project on letters, beside the reference on polynomials: for all inputs of a small size."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from derivations.engines import cases
from derivations.engines.aten.tensors import Exact
from derivations.engines.ir.letters import Letters
from derivations.models.kernel_forms import Kernels, side_by_side
from derivations.models.kernel_sizes import Setting
from derivations.models.torch_forms import SCALE, exact, unsound
from derivations.models.torch_sizes import Size
from derivations.ran import compared
from gdn_core import reference
from gdn_core.ops.kernels.operands import Operands
from gdn_core.reference import Token
from gdn_core.rules import Gate, WriteRule


class _Stream:
    """A stream of letters, with the recurrence's polynomials.

    Args:
        size: its sizes.
        some: the tokens that have letters; the others are zero. By default all.
        gradients: whether there are those of the outputs and of the last memories, too.
    """

    def __init__(self, size: Size, some: Sequence[int] = (), *, gradients: bool = False) -> None:
        s, self.size = size, size
        tokens = list(some) or list(range(s.T))
        wide = {Gate.SCALAR: (), Gate.KEY: (s.K,), Gate.VALUE: (s.V,)}
        of_tokens: dict[str, tuple[int, ...]] = {"q": (s.H, s.K), "k": (s.H, s.K), "v": (s.HV, s.V)}
        of_tokens |= {name: (s.HV, *wide[gate]) for name, gate in s.gates.items()}
        of_tokens |= {"do": (s.HV, s.V)} if gradients else {}
        states = dict.fromkeys(("S", "dS")[: 1 + gradients], (s.N, s.HV, s.K, s.V))
        shapes = {name: (s.B, len(tokens), *shape) for name, shape in of_tokens.items()} | states
        self.letters = Letters(shapes, SCALE)
        self.entries = dict(self.letters.entries)
        for name, shape in of_tokens.items():
            self.entries[name] = np.zeros((s.B, s.T, *shape), np.int64)
            self.entries[name][:, tokens] = self.letters.entries[name]

    def tensors(self) -> dict[str, Any]:
        """Return the inputs, as tensors of a program."""
        return {name: exact(torch.from_numpy(x)) for name, x in self.entries.items()}

    def named(self, name: str) -> np.ndarray:
        """Return an array of letters."""
        return self.letters.polynomials(self.entries[name])

    def recurrence(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the outputs and last memories of the reference."""
        s, shape = self.size, (self.size.B, self.size.T, self.size.HV)
        q, k, v, S = (self.named(name) for name in "qkvS")
        erase, write = ("beta", "beta") if s.rule.tied else ("b", "w")
        b = self.named(erase) if erase in s.gates else np.zeros(shape, object)
        w = self.named(write) if write in s.gates else np.ones(shape, object)
        g, o, scale = self.entries["g"], np.zeros((*shape, s.V), object), self.letters.scale
        parts = list(pairwise(s.bounds)) if s.lengths else [(0, s.T)] * s.B
        for n, (start, stop) in enumerate(parts):
            row, t = 0 if s.lengths else n, slice(start, stop)
            for head in range(s.HV if start < stop else 0):
                i, T = head // (s.HV // s.H), stop - start
                x = Token(q=q[row, t, i] * scale, k=k[row, t, i], v=v[row, t, head],
                          g=g[row, t, head].reshape(T, *s.rule.decay.shape(s.V, s.K)),
                          b=b[row, t, head].reshape(T, -1), w=w[row, t, head].reshape(T, -1))  # fmt: skip
                last, o[row, t, head] = reference.recurrent(S[n, head].T, x, exp=self.letters.exp)
                S[n, head] = last.T
        return o, S

    def difference(self, got: Any, want: np.ndarray) -> Any:
        """Compare a tensor of a program with polynomials."""
        if not isinstance(got, Exact) or tuple(got.shape) != want.shape:
            return f"expected a tensor {list(want.shape)}, got {getattr(got, 'shape', got)}"
        return self.letters.polynomials(got.entries.numpy()) - want


def forward(size: Size, setting: Setting, some: Sequence[int], rng: random.Random) -> dict[str, Any]:
    """Compare the chunk form's kernels with the recurrence, for all inputs."""
    return _compared(size, setting, some, lambda s: Kernels(setting, s.letters, rng).forward(size, s.tensors()))


def token_by_token(size: Size, setting: Setting, some: Sequence[int], rng: random.Random) -> dict[str, Any]:
    """Compare the kernel of the recurrence with it, for all inputs."""
    return _compared(size, setting, some, lambda s: Kernels(setting, s.letters, rng).recurrent(size, s.tensors()))


def by_channel(size: Size, setting: Setting, some: Sequence[int], rng: random.Random) -> dict[str, Any]:
    """Compare the kernels with gates by channel with the recurrence, for all inputs."""
    return _compared(size, setting, some, lambda s: Kernels(setting, s.letters, rng).by_channel(size, s.tensors()))


def token_by_token_by_channel(
    size: Size, setting: Setting, some: Sequence[int], rng: random.Random
) -> dict[str, Any]:  # fmt: skip
    """Compare the kernel of the recurrence with gates by channel with it, for all inputs."""
    return _compared(
        size, setting, some, lambda s: Kernels(setting, s.letters, rng).recurrent_by_channel(size, s.tensors())
    )


def _compared(
    size: Size, setting: Setting, some: Sequence[int], form: Callable[[_Stream], tuple[Any, Any]]
) -> dict[str, Any]:  # fmt: skip
    stream = _Stream(size, some)

    def run() -> dict[str, Any]:
        pairs = zip("oS", form(stream), stream.recurrence(), strict=True)
        compared(size.compared(prime=0, launch=setting.launch, some=len(some)))
        return {name: stream.difference(got, want) for name, got, want in pairs}

    return {f"{setting}, {size}": unsound(run)}


def backward(size: Size, setting: Setting, some: Sequence[int], rng: random.Random) -> dict[str, Any]:
    """Compare the gradients of the chunk form's kernels with the derivatives of the recurrence, for all inputs.

    Those of zeros are not compared.
    """
    return _differentiated(size, setting, some, lambda letters: Kernels(setting, letters, rng).backward)


def backward_by_channel(size: Size, setting: Setting, some: Sequence[int], rng: random.Random) -> dict[str, Any]:
    """Compare the gradients of the kernels with gates by channel with the derivatives, as :func:`backward` does."""
    return _differentiated(size, setting, some, lambda letters: Kernels(setting, letters, rng).backward_by_channel)


def _differentiated(
    size: Size, setting: Setting, some: Sequence[int], made: Callable[[Letters], Callable[..., dict[str, Any]]]
) -> dict[str, Any]:  # fmt: skip
    stream = _Stream(size, some, gradients=True)
    do, dS = stream.named("do"), stream.named("dS")

    def run() -> dict[str, Any]:
        given = stream.tensors()
        got = made(stream.letters)(size, given, given.pop("do"), given.pop("dS"))
        o, S = stream.recurrence()
        compared(size.compared(prime=0, launch=setting.launch, some=len(some)))
        loss = (do * o).sum() + (dS * S).sum()
        return {f"d{name}": _slopes(stream, loss, name, got[name]) for name in ("q", "k", "v", *size.gates, "S")}

    return {f"{setting}, {size}": unsound(run)}


def _slopes(stream: _Stream, loss: Any, name: str, got: Any) -> Any:
    """Compare a gradient with the derivatives of a polynomial; by a log decay it is that by the decay, times that."""
    entries = stream.entries[name]
    if not isinstance(got, Exact) or tuple(got.shape) != entries.shape:
        return f"expected a tensor {list(entries.shape)}, got {getattr(got, 'shape', got)}"
    letters = stream.letters.exp(entries) if name == "g" else stream.named(name)
    slopes = [loss.diff(x) * (x if name == "g" else 1) for x in letters[entries != 0]]
    return stream.letters.polynomials(got.entries.numpy()[entries != 0]) - np.array(slopes, object)


def trajectory(rule: WriteRule, size: Size, setting: Setting, rng: random.Random) -> dict[str, Any]:
    """Compare the kernel of the lab with the reference, for all inputs of a rule, with letters for the decays."""
    shapes = cases.shapes(rule, size.T, size.V, size.K)
    letters = Letters({"decay" if name == "g" else name: shape for name, shape in shapes.items()}, SCALE)
    named = {name: letters.polynomials(x) for name, x in letters.entries.items()}
    x = cases.tokens(rule, named | {"g": named["decay"]})
    if rule.decay is Gate.NONE:
        x = replace(x, g=x.g + 1)
    keys = x.k if x.k.ndim == 3 else x.k[:, None]
    given = Operands(**{name: letters.numbered(of) for name, of in {
        "decay": x.g, "k": keys, "erase": x.b[:, None] * keys[:, :1], "wv": x.w * x.v, "q": x.q}.items()})  # fmt: skip
    S = named["S"]

    def run() -> dict[str, Any]:
        ((readings, last),) = side_by_side([given], letters.entries["S"][None], letters, setting, rng)
        memory, read = S, []
        for t in range(size.T):
            moments = reference.moments(memory, x[t], exp=lambda decay: decay)
            memory = moments.written
            read.append(np.stack([moments.read, moments.o], -1))
        compared(size.compared(prime=0, launch=setting.launch))
        return {"readings": letters.polynomials(readings) - np.stack(read), "S": letters.polynomials(last) - memory}

    return {f"{setting}, {rule.slug}, {size.stream}": unsound(run)}
