"""The heads of a layer at a glance: what a rule makes of each head's memory, at some tokens of a long stream.

The memory is that of :mod:`gdn_core.lab.before`, float64 and exact: it is carried from one token that is measured to
the next, and nothing between them is kept. One head is worked on at a time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gdn_core import streams
from gdn_core.lab import metrics
from gdn_core.lab.before import memory_after
from gdn_core.lab.limits import check_ranges, check_window
from gdn_core.lab.scenarios.arrays import filled, layer_of, normalised
from gdn_core.lab.scenarios.reading import Reading
from gdn_core.lab.scenarios.settings import Settings
from gdn_core.rules import Discretisation, WriteRule

POINTS = 32  # tokens of a head that are measured
MOST_HEADS = 128
# Nanoseconds that one core took, rounded up: of a token, of an entry of the memory and a token, and of such an entry
# where every row of the memory decays in its own way.
A_TOKEN, AN_ENTRY, AN_ENTRY_BY_ROW = 3000.0, 2.0, 50.0
BUDGET = 4e9  # nanoseconds


@dataclass(frozen=True, eq=False)
class Heads:
    """The heads of one layer under one rule.

    Args:
        tokens: the tokens after which the memory was measured, counted from 0, [P].
        norm: its Frobenius norm, [heads, P]; NaN from where it overflows float64.
        rank: how many directions carry it (:func:`gdn_core.lab.metrics.effective_rank_of`), [heads, P].
        half_life: tokens until half of what is stored is left, at the mean log decay of the head, [heads]; inf where
            nothing decays.
        beta: the mean erase gate, [heads].
        of: tokens and heads that there are.
    """

    tokens: np.ndarray
    norm: np.ndarray
    rank: np.ndarray
    half_life: np.ndarray
    beta: np.ndarray
    of: tuple[int, int]

    @property
    def left(self) -> str:
        """Say which tokens and heads were left out, "" for none."""
        (T, H), used, shown = self.of, int(self.tokens[-1]) + 1, len(self.norm)
        said = [f"the first {used:,} of {T:,} tokens"] if used < T else []
        said += [f"the first {shown} of {H:,} heads"] if shown < H else []
        return f"To take no longer than some seconds, only {' and '.join(said)} are here." if said else ""


def heads(
    arrays: Mapping[str, np.ndarray],
    settings: Settings,
    rule: WriteRule,
    *,
    batch: int = 0,
    channels: int | None = None,
    reading: Reading = Reading(),  # noqa: B008  # it is frozen
    discretisation: Discretisation | None = None,
) -> Heads:
    """Measure the memory of every head of one sequence, from its first token on, at up to 32 tokens.

    It takes a few seconds of one core at the most: of a longer stream the first tokens are taken, of more than 128
    heads the first ones (:attr:`Heads.left`). Beside the arrays it needs memory for one head in float64 and for one
    state.

    Args:
        arrays, settings, batch, channels, reading: as ``gdn_core.lab.scenarios.from_arrays`` takes them.
        rule: whose memory it is.
        discretisation: replaces the rule's own.

    Raises:
        TypeError, ValueError: as ``gdn_core.lab.scenarios.from_arrays`` does.
    """
    layer = layer_of(arrays, reading)
    sizes = layer.sizes
    layer.checked(batch, 0)
    H = min(sizes.HV, MOST_HEADS)
    _, first = layer.of_head(batch, 0, channels)
    K, V = first["k"].shape[1], first["v"].shape[1]
    check_window(T=1, K=K, V=V)
    by_row = bool(rule.discretisation) and first.get("delta", first["k"][:, 0]).ndim == 2
    cost = A_TOKEN + V * K * (AN_ENTRY_BY_ROW if by_row else AN_ENTRY)
    T = int(min(sizes.T, max(1, BUDGET / (H * cost))))
    stops = np.unique(np.linspace(0, T, min(POINTS, T) + 1).round().astype(int))[1:]
    found = Heads(
        tokens=stops - 1,
        norm=np.full((H, len(stops)), np.nan),
        rank=np.full((H, len(stops)), np.nan),
        half_life=np.empty(H),
        beta=np.empty(H),
        of=(sizes.T, sizes.HV),
    )
    for head in range(H):
        given = layer.of_head(batch, head, channels)[1]
        given |= {name: given[name][:T] for name in ("q", "k", "v") if name in given}  # gates: rules may hold them
        check_ranges(given)
        if reading.normalise:
            given |= {name: normalised(given[name]) for name in ("q", "k") if name in given}
        stream = streams.held(rule, filled(given, settings, sizes.T, K))
        fades = -float(np.mean(stream.g, dtype=float))
        found.half_life[head] = math.log(2) / fades if fades > 0 else math.inf
        found.beta[head] = np.mean(stream.beta, dtype=float)
        S, start = np.zeros((V + rule.normalised, K)), 0
        for i, stop in enumerate(stops):
            S = memory_after(rule, stream.window(start, stop), initial=S, discretisation=discretisation)
            if not np.isfinite(S).all():
                break
            found.norm[head, i], found.rank[head, i] = metrics.norm_of(S[:V]), metrics.effective_rank_of(S[:V])
            start = stop
    return found
