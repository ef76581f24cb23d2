"""A scenario: a stream, its labels and notes, and how rows become a stream."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gdn_core.lab.limits import LIMITS, check_stream
from gdn_core.lab.scenarios.reading import Reading
from gdn_core.lab.scenarios.rows import Cell, TokenRow, label_of
from gdn_core.lab.scenarios.settings import Settings
from gdn_core.lab.text import direction, gaussians
from gdn_core.streams import Stream


@dataclass(frozen=True, eq=False)
class Scenario:
    """A stream with what a reader should know of it.

    Args:
        stream: the tokens that are shown.
        labels: what each token is called, T of them.
        title: what the stream is.
        look_for: what to look for when rules run on it.
        notes: what was windowed, left out or filled in, a sentence each.
        settings: the settings it was made with.
        rows: the tokens as a table has them.
        call: the call that makes it, as Python; ``settings`` and, for arrays, ``given`` are names in it.
        inactive: the settings that do not act, since every token brings its own, or nothing takes them.
        whole: the stream that ``stream`` is a window of, of any floating type; None where it is all there is.
        start: the token of ``whole`` that ``stream`` begins at.
        from_empty: the memory is empty before ``stream``, whatever comes before it.
        key_lengths: the smallest, middle and largest length of the keys, as they were given.
        reading: how arrays were read, every role and the order of axes filled in; None where there are none.
        meant: what the key of each token is to answer from that token on, [T, V]; None: its value.
    """

    stream: Stream
    labels: tuple[str, ...]
    title: str
    look_for: str
    notes: tuple[str, ...]
    settings: Settings
    rows: tuple[TokenRow, ...]
    call: str
    inactive: frozenset[str] = frozenset()
    whole: Stream | None = None
    start: int = 0
    from_empty: bool = False
    key_lengths: tuple[float, float, float] = (0.0, 0.0, 0.0)
    reading: Reading | None = None
    meant: np.ndarray | None = None

    @property
    def window(self) -> tuple[int, int]:
        """The first token of ``whole`` that is shown, and the one after the last."""
        return self.start, self.start + len(self.stream)


def scenario_of(
    rows: Sequence[TokenRow], settings: Settings, *, title: str, look_for: str, notes: Sequence[str], call: str
) -> Scenario:
    """Make a scenario of rows; its own labels are made of key and value where a row has none."""
    stream = stream_of(rows, settings)
    check_stream(stream, LIMITS)
    labels = tuple(row.label or label_of(row) for row in rows)
    return Scenario(
        stream=stream,
        labels=labels,
        title=title,
        look_for=look_for,
        notes=tuple(notes),
        settings=settings,
        rows=tuple(rows),
        call=call,
        inactive=inactive_of(rows),
        key_lengths=lengths_of(stream.k),
    )


def inactive_of(rows: Sequence[TokenRow]) -> frozenset[str]:
    """Name the settings of gates that change nothing in a memory, since every token they could act on brings its own.

    A token without a key neither erases nor writes, one without a value only erases; every token decays.
    """
    acts = {
        "alpha": any(row.alpha is None for row in rows),
        "beta": any(row.beta is None and row.key is not None for row in rows),
        "write": any(row.write is None and row.beta is None and None not in (row.key, row.value) for row in rows),
        "delta": any(row.delta is None for row in rows),
    }
    return frozenset(name for name, act in acts.items() if not act)


def lengths_of(k: np.ndarray) -> tuple[float, float, float]:
    """Return the smallest, the middle and the largest length of keys, [T, K]."""
    lengths = np.sqrt(np.einsum("tk,tk->t", k, k, dtype=float))
    return float(lengths.min()), float(np.median(lengths)), float(lengths.max())


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
