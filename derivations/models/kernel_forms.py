"""The kernels of the project beside the reference's recurrence: the launches of a pass, on exact numbers.

A pass of :mod:`gdn_core.ops.kernels` runs on tensors without a device, and its launches are recorded, as for a plan.
Each is compiled for a GPU that need not be here, and evaluated in place of run.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from derivations.engines import cases
from derivations.engines.aten.degrees import Degrees
from derivations.engines.aten.mode import exactly
from derivations.engines.aten.numbers import Numbers
from derivations.engines.aten.tensors import Exact
from derivations.engines.degree import Degree
from derivations.engines.field import Dual, Field, Residues, is_counting
from derivations.engines.ir.carrier import Carrier
from derivations.engines.ir.chain import Chain
from derivations.models.kernel_sizes import Setting
from derivations.models.torch_forms import SCALE, backward_residual, difference, exact, forward_residual, unsound
from derivations.models.torch_sizes import Size
from derivations.ran import compared
from gdn_core import reference
from gdn_core.ops.compile_check import Launch, on_chip, pretending
from gdn_core.ops.kernels import channels, chunk, gradients, l2norm, recurrent
from gdn_core.ops.kernels import trajectory as lab
from gdn_core.ops.kernels.arithmetic import EPSILON
from gdn_core.ops.kernels.chip import Chip
from gdn_core.ops.kernels.launches import recording
from gdn_core.ops.kernels.operands import Operands, Packed
from gdn_core.reference import Token
from gdn_core.rules import Gate, WriteRule

CPU = torch.device("cpu")
GATES = ("g", "beta", "b", "w", "S", "dS")  # float32 whatever the dtype of the rest
Given = dict[str, Any]  # tensors by name, None for what is absent


class Kernels:
    """The kernels as they are launched in a setting, on exact numbers.

    Args:
        setting: the GPU, the dtype, and how a sequence is cut.
        numbers: the field, or another arithmetic of entries.
        rng: draws what nobody knows.

    Attributes:
        edited: returns the text that is run in the place of a kernel's, by its name and text.
    """

    def __init__(self, setting: Setting, numbers: Numbers | Carrier, rng: random.Random) -> None:
        self._setting, self._numbers, self._rng = setting, numbers, rng
        self.edited: Callable[[str, str], str] | None = None

    def _run(self, launcher: Callable[[Given], Sequence[Tensor | None]], given: Given) -> list[Exact | None]:
        """Record what a pass launches, run it, and return the pass's outputs."""
        setting = self._setting
        chip = Chip(setting.processors, setting.arch, memory=setting.memory)
        chain = Chain(self._numbers, self._rng, arch=setting.arch, level=setting.level, edited=self.edited)
        with on_chip(chip), recording(CPU) as recorder:
            inputs = {name: self._meta(name, x) for name, x in given.items() if x is not None}
            outputs = launcher({**dict.fromkeys(given), **inputs})
        for name, x in inputs.items():
            chain.put(x, self._laid_out(name, given[name].entries).numpy())
        chain.run_all(recorder.launches)
        for name, x in inputs.items():  # a kernel that writes to its inputs is noticed
            given[name].entries.copy_(self._laid_out(name, torch.from_numpy(chain.get(x))))
        return [None if x is None else Exact(torch.from_numpy(chain.get(x)), x.dtype) for x in outputs]

    def _meta(self, name: str, x: Exact) -> Tensor:
        dtype = torch.float32 if name in GATES else getattr(torch, self._setting.dtype)
        return torch.empty(self._laid_out(name, x.entries).shape, dtype=dtype, device="meta")

    def _laid_out(self, name: str, x: Tensor) -> Tensor:
        """Return entries in the order of the kernels' arguments, or back: states may have V before K."""
        return x.mT.contiguous() if self._setting.state_v_first and name in ("S", "dS") else x

    def _state(self, S: Exact | None) -> Any:
        return None if S is None else Exact(self._laid_out("S", S.entries), S.dtype)

    def forward(self, size: Size, given: Given) -> tuple[Any, Any]:
        """Run the chunk form."""
        return self._outputs(lambda x: self._forward(size, x)[:2], given)

    def _outputs(self, launcher: Callable[[Given], Sequence[Tensor | None]], given: Given) -> tuple[Any, Any]:
        """Run a pass that returns outputs and last memories."""
        with _disable_current_modes():
            o, S = self._run(launcher, given)
            return o, self._state(S)

    def _forward(self, size: Size, x: Given) -> Any:
        setting, q, k = self._setting, x["q"], x["k"]
        if setting.normalise:
            q, k = l2norm.l2norm(q), l2norm.l2norm(k)
        return chunk.forward(
            q, k, x["v"], x["g"], x["beta"], **self._options(size, x), save_for_backward=True, length=setting.length
        )

    def _options(self, size: Size, x: Given) -> dict[str, Any]:
        """Return what every pass forward takes."""
        return {"scale": SCALE, "initial_state": x["S"], "state_v_first": self._setting.state_v_first,
                "cu_seqlens": _cu_seqlens(size), "output_final_state": True}  # fmt: skip

    def backward(self, size: Size, given: Given, do: Any, dS: Any) -> dict[str, Any]:
        """Run the chunk form and its backward pass; return gradients by name."""

        def launch(x: Given) -> Sequence[Tensor | None]:
            return chunk.gradients(self._forward(size, x)[2], x["do"], x["dS"], at_once=bool(self._setting.memory))

        with _disable_current_modes():
            dq, dk, dv, *parts, dstate = self._run(launch, {**given, "do": do, "dS": dS})
        with exactly(cast(Numbers, self._numbers)):  # as the public function ends; letters have one block, and no sum
            dg, dbeta = (gradients.summed(*each) for each in zip(parts, (given["g"], given["beta"]), strict=True))
        return {"q": dq, "k": dk, "v": dv, "g": dg, "beta": dbeta, "S": self._state(dstate)}

    def unit_gradient(self, x: Exact, dy: Exact) -> Exact | None:
        """Return the gradient of vectors from that of the vectors divided by their length."""
        with _disable_current_modes():
            return self._run(lambda x: (l2norm.l2norm_backward(x["x"], x["dy"]),), {"x": x, "dy": dy})[0]

    def recurrent(self, size: Size, given: Given) -> tuple[Any, Any]:
        """Run the recurrence token by token."""

        def launch(x: Given) -> Sequence[Tensor | None]:
            return recurrent.recurrent(
                x["q"], x["k"], x["v"], x["g"], x["beta"], **self._options(size, x), normalise=self._setting.normalise
            )

        return self._outputs(launch, given)

    def by_channel(self, size: Size, given: Given) -> tuple[Any, Any]:
        """Run the chunk form with gates by channel."""
        return self._outputs(lambda x: channels.chunk.forward(*_tokens_of(x), **self._options(size, x)), given)

    def backward_by_channel(self, size: Size, given: Given, do: Any, dS: Any) -> dict[str, Any]:
        """Run the backward pass of the chunk form with gates by channel; return gradients by name."""

        def launch(x: Given) -> Sequence[Tensor | None]:
            options = self._options(size, x)
            del options["output_final_state"]
            return channels.chunk.gradients(x["do"], x["dS"], *_tokens_of(x), **options)

        with _disable_current_modes():
            dq, dk, dv, dg, dbeta, dw, dstate = self._run(launch, {**given, "do": do, "dS": dS})
        gates = _tokens_of(given)[3:5]
        with exactly(cast(Numbers, self._numbers)):  # as the public function ends; letters have one block, and no sum
            of_gates = [channels.chunk.finished(*each) for each in zip((dg, dbeta), gates, strict=True)]
        named = dict(zip(("g", "beta", "b"), (*of_gates, of_gates[1]), strict=True))
        return {"q": dq, "k": dk, "v": dv, "w": dw, "S": self._state(dstate), **named}

    def recurrent_by_channel(self, size: Size, given: Given) -> tuple[Any, Any]:
        """Run the recurrence token by token with gates by channel."""

        def launch(x: Given) -> Sequence[Tensor | None]:
            options = self._options(size, x)
            return channels.steps.steps(*_tokens_of(x), **options, normalise=self._setting.normalise)

        return self._outputs(launch, given)


def _tokens_of(x: Given) -> list[Any]:
    """Return queries, keys, values and the three gates in the order of the launchers with gates by channel."""
    erase = x.get("beta") if x.get("b") is None else x["b"]
    return [x["q"], x["k"], x["v"], x.get("g"), erase, x.get("w")]


def _cu_seqlens(size: Size) -> Tensor | None:
    return torch.tensor(size.bounds, dtype=torch.int32) if size.lengths else None


def forward(size: Size, setting: Setting, rng: random.Random) -> dict[str, Any]:
    """Compare the chunk form's kernels with the recurrence."""
    numbers, unit = (_with_roots(rng), UNDER_THE_ROOT) if setting.normalise else (_numbers(rng), None)
    run = Kernels(setting, numbers, rng).forward
    return _named(setting, forward_residual(size, rng, run, numbers, unit=unit, launch=setting.launch))


def backward(size: Size, setting: Setting, rng: random.Random) -> dict[str, Any]:
    """Compare the gradients of the chunk form's kernels with the derivative of the recurrence."""
    numbers = _numbers(rng)
    run = Kernels(setting, numbers, rng).backward
    return _named(setting, backward_residual(size, rng, run, numbers, launch=setting.launch))


def token_by_token(size: Size, setting: Setting, rng: random.Random) -> dict[str, Any]:
    """Compare the kernel of the recurrence with it."""
    numbers, unit = _numbers(rng), UNDER_THE_ROOT if setting.normalise else None
    run = Kernels(setting, numbers, rng).recurrent
    return _named(setting, forward_residual(size, rng, run, numbers, unit=unit, launch=setting.launch))


def by_channel(size: Size, setting: Setting, rng: random.Random) -> dict[str, Any]:
    """Compare the kernels with gates by channel with the recurrence."""
    numbers = _numbers(rng)
    run = Kernels(setting, numbers, rng).by_channel
    return _named(setting, forward_residual(size, rng, run, numbers, launch=setting.launch))


def backward_by_channel(size: Size, setting: Setting, rng: random.Random) -> dict[str, Any]:
    """Compare the gradients of the kernels with gates by channel with the derivative of the recurrence."""
    numbers = _numbers(rng)
    run = Kernels(setting, numbers, rng).backward_by_channel
    return _named(setting, backward_residual(size, rng, run, numbers, launch=setting.launch))


def token_by_token_by_channel(size: Size, setting: Setting, rng: random.Random) -> dict[str, Any]:
    """Compare the kernel of the recurrence with gates by channel with it."""
    numbers, unit = _numbers(rng), UNDER_THE_ROOT if setting.normalise else None
    run = Kernels(setting, numbers, rng).recurrent_by_channel
    return _named(setting, forward_residual(size, rng, run, numbers, unit=unit, launch=setting.launch))


def unit_length(size: Size, setting: Setting, rng: random.Random) -> dict[str, Any]:
    """Compare the gradient through vectors divided by their length with the derivative, along a random direction."""
    numbers = _with_roots(rng)
    kernels = Kernels(setting, numbers, rng)
    x = numbers.draw_lengths(size.T, size.K, plus=UNDER_THE_ROOT)
    dy, along = numbers.draw(size.T, size.K), numbers.draw(size.T, size.K)

    def run() -> dict[str, Any]:
        dx = kernels.unit_gradient(exact(x), exact(dy))
        p = numbers.p
        rows = [Residues(of.numpy(), p) for of in (x, dy, along)]
        length = Dual(rows[0], rows[2])
        squared = Dual((length * length).value.sum(-1), (length * length).tangent.sum(-1))
        root = numbers.root(torch.from_numpy(squared.value.values) + numbers.constant(UNDER_THE_ROOT))
        inverse = Residues(numbers.invert(root).numpy(), p)
        half = numbers.constant(0.5)
        slope = -(squared.tangent * half * inverse * inverse * inverse)  # of 1 / root: that of the root over its square
        tangent = rows[2] * inverse[:, None] + rows[0] * slope[:, None]
        want = (rows[1] * tangent).sum()
        compared(size.compared(prime=numbers.p, launch=setting.launch))
        got = difference(numbers, dx, np.zeros(tuple(x.shape), np.int64))
        return {"dx": got if isinstance(got, str) else (got * rows[2]).sum() - want}

    return _named(setting, {str(size): unsound(run)})


def _numbers(rng: random.Random) -> Numbers:
    return Degrees() if is_counting() else Numbers(rng)


def _with_roots(rng: random.Random) -> Numbers:
    """Draw a field in which the length of a row of zeros has a root: kernels divide the rows behind the last by it."""
    while True:
        numbers = Numbers(rng)
        if pow(numbers.constant(UNDER_THE_ROOT), numbers.q, numbers.p) == 1:
            return numbers


UNDER_THE_ROOT = float(torch.tensor(EPSILON).float())  # as a constant of a kernel that computes in float32


def trajectory(rules: Sequence[WriteRule], size: Size, setting: Setting, rng: random.Random) -> dict[str, Any]:
    """Compare the kernel of the lab with the reference, rules side by side: each reading, output and last memory."""
    if is_counting():
        return _named(setting, {size.stream: _trajectory_degrees(rules, size, setting, rng)})
    numbers = Numbers(rng)
    tokens = [_tokens(rule, size, numbers) for rule in rules]
    given = [
        Operands(
            decay=numbers.field.exp(x.g).values, k=(x.k if x.k.ndim == 3 else x.k[:, None]).values,
            erase=(x.b[:, None] * (x.k[:, 0] if x.k.ndim == 3 else x.k)[:, None]).values, wv=(x.w * x.v).values,
            q=x.q.values,
        )
        for x in tokens
    ]  # fmt: skip
    S = numbers.draw(len(rules), max(len(x.v[0]) for x in tokens), size.K).numpy()

    def run() -> dict[str, Any]:
        found = {}
        for rule, x, first, (readings, last) in zip(rules, tokens, S, side_by_side(given, S, numbers, setting, rng),
                                                    strict=True):  # fmt: skip
            memory, read = Residues(first[: len(last)], numbers.p), []
            for t in range(size.T):
                moments = reference.moments(memory, x[t], exp=numbers.field.exp)
                memory = moments.written
                read.append(np.stack([moments.read.values, moments.o.values], -1))
            found[f"{rule.slug} readings"] = Residues(readings - np.stack(read), numbers.p)
            found[f"{rule.slug} S"] = Residues(last - memory.values, numbers.p)
        compared(size.compared(prime=numbers.p, launch=setting.launch))
        return found

    return _named(setting, {size.stream: unsound(run)})


def _trajectory_degrees(
    rules: Sequence[WriteRule], size: Size, setting: Setting, rng: random.Random
) -> list[Degree]:  # fmt: skip
    """Return the degrees of what the kernel of the lab computes, and of what it is compared with."""
    numbers, field, of_reference, given = Degrees(), Field(rng), [], []
    for rule in rules:
        letters = field.letters(cases.shapes(rule, size.T, size.V, size.K))
        x, memory = cases.tokens(rule, letters), letters["S"]
        for t in range(size.T):
            moments = reference.moments(memory, x[t], exp=field.exp)
            memory = moments.written
            of_reference += [moments.read, moments.o, memory]
        T, V, K = size.T, size.V + rule.normalised, size.K
        given.append(Operands(  # entries are one more than a degree
            decay=np.full((T, *rule.decay.shape(V, K)), 1 if rule.decay is Gate.NONE else 2),
            k=np.full((T, V if rule.write is Gate.MATRIX else 1, K), 2),
            erase=np.full((T, 1, K), 0 if rule.erase is Gate.NONE else 3),
            wv=np.full((T, V), 2 if rule.write in (Gate.NONE, Gate.MATRIX) else 3), q=np.full((T, K), 2),
        ))  # fmt: skip
    S = numbers.draw(len(rules), max(len(x.wv[0]) for x in given), size.K).numpy()
    found = side_by_side(given, S, numbers, setting, rng)
    return [*of_reference, *(numbers.largest(torch.from_numpy(of)) for each in found for of in each)]


def side_by_side(
    operands: Sequence[Operands], S: np.ndarray, numbers: Numbers | Carrier, setting: Setting, rng: random.Random
) -> list[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """Run the kernel of the lab on entries.

    The launcher packs arrays of float32. It is given the places of the entries in a table, and packs those.

    Args:
        operands: of each rule, entries in place of floats.
        S: the memories, [rules, rows, K].
        numbers: the field, or another arithmetic of entries.
        setting: the GPU and the level.
        rng: draws what nobody knows.

    Returns:
        The readings and outputs [T, rows, 2] and the last memory [rows, K] of each rule.
    """
    table = [np.zeros(1, np.int64)]

    def placed(x: np.ndarray) -> np.ndarray:
        first = sum(map(len, table))
        table.append(x.ravel())
        return (first + np.arange(x.size, dtype=np.float32)).reshape(x.shape)

    packed = Packed.of([Operands(*(placed(getattr(x, of.name)) for of in fields(x))) for x in operands])
    caught: list[Launch] = []
    with pretending(setting.arch, caught, [""]), suppress(NotImplementedError):  # what there is none of is not copied
        lab.launch(packed, np.empty(S.shape, np.float32), device="meta")
    (launch,) = caught
    chain = Chain(numbers, rng, arch=setting.arch, level=setting.level)
    entries = np.concatenate(table)
    for x, of in zip(launch.arguments, packed.arrays().values(), strict=False):
        chain.put(x, of if of.dtype == np.int64 else entries[of.astype(np.int64)])
    after, out = launch.arguments[5:7]
    chain.put(after, S)
    chain.run_all(caught)
    readings, last = chain.get(out), chain.get(after)
    return [(readings[r, :, :rows], last[r, :rows]) for r, rows in enumerate(packed.rows.tolist())]


def _tokens(rule: WriteRule, size: Size, numbers: Numbers) -> Token:
    """Draw tokens of a rule."""
    T, V, K, field = size.T, size.V + rule.normalised, size.K, numbers.field

    def gate(of: Gate, axis: int, absent: int) -> Any:
        if of is Gate.NONE:
            return Residues(np.full((T, 1), absent), numbers.p)
        return field.draw(T, of.shape(V, K)[axis])

    decay = rule.decay.shape(V, K)
    return Token(
        q=field.draw(T, K), k=field.draw(T, V, K) if rule.write is Gate.MATRIX else field.draw(T, K),
        v=field.draw(T, V),
        g=Residues(np.zeros((T, *decay)), numbers.q) if rule.decay is Gate.NONE else field.draw_logs(T, *decay),
        b=gate(rule.erase, 1, 0), w=gate(Gate.NONE if rule.write is Gate.MATRIX else rule.write, 0, 1),
    )  # fmt: skip


def _named(setting: Setting, residual: dict[str, Any]) -> dict[str, Any]:
    return {f"{setting}, {size}": of for size, of in residual.items()}
