"""Which rule contains which, by the widths of their gates; and comparisons of their tokens."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from derivations.engines.cases import Case, symbols
from gdn_core import reference
from gdn_core.reference import Token
from gdn_core.rules import Clock, Gate, WriteRule

_WIDER = {
    Gate.NONE: set(Gate),
    Gate.SCALAR: {Gate.SCALAR, Gate.KEY, Gate.VALUE, Gate.MATRIX},
    Gate.KEY: {Gate.KEY, Gate.MATRIX},
    Gate.VALUE: {Gate.VALUE, Gate.MATRIX},
    Gate.MATRIX: {Gate.MATRIX},
}


def contains(wide: WriteRule, narrow: WriteRule) -> bool:
    """Tell by the widths of the gates whether ``narrow`` is ``wide`` at special values of its gates.

    False for discretised rules, whose gates all depend on one step; these have claims of their own. A rule whose gates
    an integrator makes contains none but those of the same integrator.
    """
    widths = ((wide.decay, narrow.decay), (wide.erase, narrow.erase), (wide.write, narrow.write))
    constant = narrow.clock is Clock.FIXED or {narrow.decay, narrow.erase, narrow.write} == {Gate.NONE}
    return (
        all(w in _WIDER[n] for w, n in widths)
        and (narrow.tied or not wide.tied)
        and (constant or wide.clock is Clock.TOKEN)
        and wide.integrator in (None, narrow.integrator)
        and (wide.discretisation, wide.features, wide.normalised)
        == (narrow.discretisation, narrow.features, narrow.normalised)
    )


def embedded(x: Token, wide: WriteRule) -> Token:
    """Write the tokens of a narrower rule at the widths of a wider one."""
    T, V, K = len(x), x.v.shape[1], x.q.shape[1]
    if wide.write is Gate.MATRIX and x.k.ndim == 2:
        k, w = x.w[:, :, None] * x.k[:, None, :] + 0 * x.v[:, :, None], 0 * x.w[:, :1] + 1
    else:
        k, w = x.k, np.broadcast_to(x.w, (T, wide.write.shape(V, K)[0] if wide.write is not Gate.MATRIX else 1))
    g, b = np.broadcast_to(x.g, (T, *wide.decay.shape(V, K))), np.broadcast_to(x.b, (T, wide.erase.shape(V, K)[1]))
    return replace(x, k=k, g=g, b=b, w=w)


def obeyed(rule: WriteRule, x: Token) -> dict[str, Any]:
    """Return the residuals that are zero for tokens that a rule can make."""
    found: dict[str, Any] = {}
    if rule.decay is Gate.NONE:
        found["no decay"] = x.g
    if rule.clock is Clock.FIXED:
        found["one decay"] = x.g - x.g[:1]
    if rule.erase is Gate.NONE:
        found["nothing erased"] = x.b
    if rule.tied:
        found["one gate"] = x.b - x.w
    elif rule.write in (Gate.NONE, Gate.MATRIX):
        found["everything written"] = x.w - 1
    return found


def edge(wide: WriteRule, narrow: WriteRule) -> dict[str, Any]:
    """Run the narrower rule's tokens under both rules, and compare."""
    case = symbols(narrow, 3, 2, 3)
    wider = replace(case, x=embedded(case.x, wide))
    return {
        **wider.compare(wider.run(reference.recurrent), case.run(reference.recurrent)),
        **obeyed(wide, wider.x),
    }


def transition(rule: WriteRule, K: int = 2) -> tuple[Case, Any, Any]:
    """Return a case of one token over K channels, its transition [K, K] and what it writes [K, K], by the code."""
    case = symbols(rule, 1, K, K)
    zero = 0 * case.S
    written, _ = reference.step(zero, case.x[0], exp=case.exp)
    moved, _ = reference.step(zero + np.eye(K, dtype=int), case.x[0], exp=case.exp)
    return case, moved - written, written
