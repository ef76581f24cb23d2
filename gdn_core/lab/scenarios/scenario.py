"""A scenario: a stream with its labels and notes; and how token rows become a stream."""

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
    """A stream with its labels, and with what a reader should know about it.

    Args:
        stream: the tokens that are shown.
        labels: a name for each token, T of them.
        title: what the stream is.
        look_for: what to look for when rules run on it.
        notes: what was windowed, left out or filled in, a sentence each.
        settings: the settings it was made with.
        rows: the tokens as rows of a table.
        call: the Python call that makes it; it uses the names ``settings`` and, for arrays, ``given``.
        inactive: the settings that are not used: every token has its own value, or nothing depends on them.
        whole: the stream of which ``stream`` is a window, of any floating type; None if ``stream`` is all of it.
        start: the token of ``whole`` at which ``stream`` begins.
        from_empty: the memory before ``stream`` is empty, and the tokens before it are ignored.
        key_lengths: the smallest, median and largest length of the keys as given.
        reading: how arrays were read, with every role and the order of axes; None if there are no arrays.
        read_as: how the axes of arrays were read, in words; "" if there are no arrays.
        meant: the value that the key of each token should answer from that token on, [T, V]; None: the value written.
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
    read_as: str = ""
    meant: np.ndarray | None = None

    @property
    def window(self) -> tuple[int, int]:
        """The first token of ``whole`` that is shown, and the one after the last."""
        return self.start, self.start + len(self.stream)


def scenario_of(
    rows: Sequence[TokenRow], settings: Settings, *, title: str, look_for: str, notes: Sequence[str], call: str
) -> Scenario:
    """Make a scenario from rows; a row without a label gets one made from its key and value."""
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
    """Return the gate settings that change nothing, since every token they could act on has its own value.

    A token without a key neither erases nor writes. A token without a value only erases. Every token decays.
    """
    acts = {
        "alpha": any(row.alpha is None for row in rows),
        "beta": any(row.beta is None and row.key is not None for row in rows),
        "write": any(row.write is None and row.beta is None and None not in (row.key, row.value) for row in rows),
        "delta": any(row.delta is None for row in rows),
    }
    return frozenset(name for name, act in acts.items() if not act)


def lengths_of(k: np.ndarray) -> tuple[float, float, float]:
    """Return the smallest, median and largest length of keys, [T, K]."""
    lengths = np.sqrt(np.einsum("tk,tk->t", k, k, dtype=float))
    return float(lengths.min()), float(np.median(lengths)), float(lengths.max())


def stream_of(rows: Sequence[TokenRow], settings: Settings) -> Stream:
    """Make a stream from rows: names become unit vectors, noise is added, gates are spread over the channels."""
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
    """Return the vector of a cell, [count]: the unit vector of a name, the numbers, or zeros."""
    if cell is None:
        return np.zeros(count)
    return direction(seed, role, cell, count) if isinstance(cell, str) else np.array(cell)


def _noisy(x: np.ndarray, role: str, settings: Settings, *, keep: bool) -> np.ndarray:
    """Add Gaussian noise of ``settings.noise`` times each row's length; with ``keep`` restore the lengths."""
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
    """Return numbers spaced evenly from -1 to 1 over the channels; their mean is 0."""
    return np.linspace(-1, 1, count) if count > 1 else np.zeros(1)


def diagonal(K: int) -> np.ndarray:
    """Return the diagonal of the discretised rules, -1 to -K."""
    return -np.arange(1.0, K + 1)


def _or(value: float | None, otherwise: float) -> float:
    """Return the value, or the default if it is None."""
    return otherwise if value is None else value
