"""Whether this project's numbers are right, before anything is timed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from gdn_core.ops.bench.cases import Case, draw
from gdn_core.ops.bench.runners import own_function, prepare
from gdn_core.ops.torch import reference as torch_reference

Tensor = torch.Tensor


def check(case: Case, device: str) -> str | None:
    """Compare this project with the float64 reference, at a small length and with the case's heads.

    The error budget is that of the tests: twice the error of the plain scan in float32, plus a few units in the last
    place of the outputs' dtype.

    Returns:
        A sentence on the first array that is over its budget, or None.
    """
    small = replace(case, B=min(case.B, 8), T=min(case.T, 150), lengths=())
    given = draw(small, device)

    def scan(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, initial_state: Any, **_: Any) -> Any:
        state = None if initial_state is None else initial_state.transpose(2, 3)
        o, S = torch_reference.recurrent(q, k, v, g, beta, beta, scale=small.K**-0.5, initial_state=state)
        return o, S.transpose(2, 3) if small.what == "decode" else None

    got = prepare(own_function(case.what), small, given)()
    plain = prepare(scan, small, {name: x.float() for name, x in given.items()})()
    exact = prepare(scan, small, {name: x.double() for name, x in given.items()})()
    rounding = 4 * torch.finfo(getattr(torch, case.dtype)).eps
    for name, a, b, want in zip(("o", "dq or S", "dk", "dv", "dg", "dbeta"), got, plain, exact, strict=False):
        budget = 2 * (b - want).abs().max() + rounding * want.abs().max()
        error = (a - want).abs().max()
        if not error <= budget:
            return f"{case.name}: {name} is off by {error:.1e}, the budget is {budget:.1e}"
    return None
