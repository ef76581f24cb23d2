"""A scenario: a stream, its labels and notes, and how rows become a stream."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gdn_core.lab.limits import LIMITS, check_stream
from gdn_core.lab.scenarios.rows import Cell, TokenRow, label_of
from gdn_core.lab.scenarios.settings import Settings
from gdn_core.lab.text import direction, gaussians
from gdn_core.streams import Stream


@dataclass(frozen=True, eq=False)
class Scenario:
    """A stream with what a reader should know of it.

    Args:
        stream: the tokens.
        labels: what each token is called, T of them.
        title: what the stream is.
        look_for: what to look for when rules run on it.
        notes: what was windowed, left out or filled in, a sentence each.
        settings: the settings it was made with.
        rows: the tokens as a table has them.
        call: the call that makes it, as Python; ``settings`` and, for arrays, ``given`` are names in it.
    """

    stream: Stream
    labels: tuple[str, ...]
    title: str
    look_for: str
    notes: tuple[str, ...]
    settings: Settings
    rows: tuple[TokenRow, ...]
    call: str


def scenario_of(
    rows: Sequence[TokenRow], settings: Settings, *, title: str, look_for: str, notes: Sequence[str], call: str
) -> Scenario:
    """Make a scenario of rows; its own labels are made of key and value where a row has none."""
    stream = stream_of(rows, settings)
    check_stream(stream, LIMITS)
    labels = tuple(row.label or label_of(row) for row in rows)
    return Scenario(stream, labels, title, look_for, tuple(notes), settings, tuple(rows), call)


def stream_of(rows: Sequence[TokenRow], settings: Settings) -> Stream:
    """Write rows as a stream: names to directions, then noise, then the gates, spread over the channels."""
    K, V, seed = settings.dk, settings.dv, settings.seed
    k = np.stack([_vector(row.key, "key", K, seed) for row in rows])
    v = np.stack([_vector(row.value, "value", V, seed) for row in rows])
    k, v = _noisy(k, "noise of keys", settings, keep=True), _noisy(v, "noise of values", settings, keep=False)
    asked = np.stack([_vector(row.query, "key", K, seed) for row in rows])
    own = np.array([row.query is None for row in rows])[:, None]
    q = np.where(own, k, _noisy(asked, "noise of queries", settings, keep=True))
    alpha = np.array([_or(row.alpha, settings.alpha) for row in rows])
    beta = np.array([_or(row.beta, settings.beta) for row in rows])
    w = np.array([_or(row.write, _or(row.beta, settings.write)) for row in rows])
    delta = np.array([_or(row.delta, settings.delta) for row in rows])
    g = np.log(alpha)
    over_keys, over_values = _ramp(K) * settings.spread, _ramp(V) * settings.spread  # [K], [V]
    return Stream(
        q=q,
        k=k,
        v=v,
        g=g[:, None] * (1 + over_keys),
        beta=beta[:, None] + np.minimum(beta, LIMITS.gate - beta)[:, None] * over_keys,
        w=w[:, None] + np.minimum(w, LIMITS.gate - w)[:, None] * over_values,
        delta=delta[:, None] * (1 + over_values),
        A=diagonal(K),
    )


def _vector(cell: Cell, role: str, count: int, seed: int) -> np.ndarray:
    """Return the vector of a cell, [count]: a direction, the numbers, or zeros."""
    if cell is None:
        return np.zeros(count)
    return direction(seed, role, cell, count) if isinstance(cell, str) else np.array(cell)


def _noisy(x: np.ndarray, role: str, settings: Settings, *, keep: bool) -> np.ndarray:
    """Add Gaussian noise of ``settings.noise`` times each row's length, and keep the lengths if asked to."""
    if settings.noise == 0:
        return x
    length = np.sqrt((x * x).sum(axis=1, keepdims=True))
    noise = gaussians(settings.seed, role, "", x.size).reshape(x.shape) / math.sqrt(x.shape[1])
    y = x + settings.noise * length * noise
    if not keep:
        return y
    now = np.sqrt((y * y).sum(axis=1, keepdims=True))
    return y * np.divide(length, now, out=np.zeros_like(now), where=now > 0)


def _ramp(count: int) -> np.ndarray:
    """Return a straight line from -1 to 1 over the channels, of mean zero."""
    return np.linspace(-1, 1, count) if count > 1 else np.zeros(1)


def diagonal(K: int) -> np.ndarray:
    """Return the diagonal of the discretised rules, -1 to -K."""
    return -np.arange(1.0, K + 1)


def _or(value: float | None, otherwise: float) -> float:
    """Return the value, or what a blank stands for."""
    return otherwise if value is None else value
