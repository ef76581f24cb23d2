"""Whether a runner's numbers are right, before it is timed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch

from gdn_core.ops import api
from gdn_core.ops.bench.cases import GATES, Case, draw
from gdn_core.ops.bench.runners import OURS, find, inputs_for, prepare
from gdn_core.ops.torch import reference as torch_reference

Tensor = torch.Tensor

MOST = {"o": 0.02, "S": 0.02}  # of the error of a part of an array, over its size
MOST_OF_GRADIENTS = 0.05
PARTS = 8  # of the tokens, each compared by itself


def names(case: Case) -> tuple[str, ...]:
    """Name what a call of a case returns."""
    if case.what in ("both", "backward"):
        return ("o", *(f"d{name}" for name in ("q", "k", "v", *GATES[case.rule])))
    return ("o", "S") if case.what == "decode" else ("o",)


def errors(library: str, case: Case, device: str) -> dict[str, float]:
    """Compare a runner with plain PyTorch in float64, at the size that is timed, in the first and the last key head.

    Returns:
        For each array the largest error of a part of it: the root mean square of the difference over that of the
        array, for each head and eighth of the tokens by itself.

    Raises:
        Missing: if the library has no function for the case.
    """
    given = draw(case, device)
    heads = sorted({0, case.H - 1})
    groups = case.HV // case.H
    values = [head * groups + i for head in heads for i in range(groups)]

    def part(name: str, x: Tensor) -> Tensor:
        x = x.detach()
        if name == "cu_seqlens":
            return x
        if name in ("S", "initial_state"):
            return x[:, values].double()
        return x[:, :, heads if name.removeprefix("d") in ("q", "k") else values].double()

    got = prepare(find(library, case, device), case, inputs_for(library, case, given))()
    few = replace(case, H=len(heads), HV=len(values))
    exact = prepare(
        partial(getattr(api, case.function), backend="torch"), few, {name: part(name, x) for name, x in given.items()}
    )()
    return {name: _worst(name, part(name, a), b.detach()) for name, a, b in zip(names(case), got, exact, strict=True)}


def _worst(name: str, got: Tensor, want: Tensor) -> float:
    """Return the largest relative error of a head and of an eighth of its tokens, or of the channels of a memory."""
    if got.shape != want.shape:
        return float("nan")
    worst = torch.zeros((), dtype=torch.float64, device=want.device)
    axis = 1 if name == "S" else 2
    for a, b in zip(got.unbind(axis), want.unbind(axis), strict=True):
        for x, y in zip(a.tensor_split(PARTS, dim=1), b.tensor_split(PARTS, dim=1), strict=True):
            if y.numel():
                worst = torch.maximum(worst, (x - y).square().mean().sqrt() / y.square().mean().sqrt())
    return float(worst)


def wrong(found: dict[str, float]) -> str | None:
    """Return a sentence on the first array whose error is too large, or None."""
    for name, error in found.items():
        most = MOST.get(name, MOST_OF_GRADIENTS)
        if not error <= most:
            return f"{name} is off by {error:.1e} of its size, and {most:g} is allowed"
    return None


def check(case: Case, device: str) -> str | None:
    """Compare this project with the float64 reference, at a small length and with the case's heads.

    The error budget is that of the tests: twice the error of the plain scan in float32, plus a few units in the last
    place of the outputs' dtype.

    Returns:
        A sentence on the first array that is over its budget, or None.
    """
    small = replace(case, B=min(case.B, 8), T=min(case.T, 150), lengths=())
    given = draw(small, device)

    def scan(q: Tensor, k: Tensor, v: Tensor, g: Tensor, initial_state: Any, **gates: Any) -> Any:
        state = None if initial_state is None else initial_state.transpose(2, 3)
        beta = gates.get("beta")
        b, w = gates.get("b", beta), gates.get("w", beta)
        o, S = torch_reference.recurrent(q, k, v, g, b, w, scale=small.K**-0.5, initial_state=state)
        return o, S.transpose(2, 3) if small.what == "decode" else None

    got = prepare(find(OURS, small, device), small, given)()
    plain = prepare(scan, small, {name: x.float() for name, x in given.items()})()
    exact = prepare(scan, small, {name: x.double() for name, x in given.items()})()
    rounding = 4 * torch.finfo(getattr(torch, case.dtype)).eps
    for name, a, b, want in zip(names(case), got, plain, exact, strict=True):
        budget = 2 * (b - want).abs().max() + rounding * want.abs().max()
        error = (a - want).abs().max()
        if not error <= budget:
            return f"{name} is off by {error:.1e}, the budget is {budget:.1e}"
    return None
