"""Tokens as rows, and the stream that settings make of them.

Presets, text and table all come down to rows, a :class:`Row` a token; so what a preset or a text does can be read, and
edited, as a table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from gdn_core.lab.limits import LIMITS, check_stream
from gdn_core.lab.text import direction, gaussians
from gdn_core.ops.checks import check_integer, check_number
from gdn_core.streams import Stream


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What all tokens share; a row of a table overrides alpha, beta, write and delta for its token.

    Args:
        dk: key channels K.
        dv: value channels V.
        T: tokens of a preset; text, table and arrays bring their own.
        alpha: decay a token, above 0 and at most 1; its logarithm is g.
        beta: erase gate, and write gate of the tied rules, 0 to 2.
        write: write gate of the untied rules, 0 to 2; by default beta, filled in.
        delta: step of the discretised rules, above 0. 0.1 is the largest that Mamba starts from.
        spread: how far per-channel gates differ from the scalar, 0 to 1: over the channels a gate runs linearly from
            (1 - spread) to (1 + spread) times its value, a gate that may not pass 2 within what is left to 0 or 2.
            The mean stays, and the mean is what a rule with a scalar gate takes.
        noise: the length of the Gaussian noise on keys, values and queries, relative to theirs; keys and queries keep
            their lengths.
        seed: 0 to 2**32 - 1; other directions, other noise.

    Raises:
        TypeError: if one is no number.
        ValueError: if one is out of its range; the limits are :data:`gdn_core.lab.limits.LIMITS`.
    """

    dk: int = 16
    dv: int = 16
    T: int = 32
    alpha: float = 0.95
    beta: float = 1.0
    write: float = None  # type: ignore[assignment]  # beta, as soon as it is known
    delta: float = 0.1
    spread: float = 0.5
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        checked = {
            "dk": check_integer("dk", self.dk, 1, LIMITS.channels),
            "dv": check_integer("dv", self.dv, 1, LIMITS.channels),
            "T": check_integer("T", self.T, 1, LIMITS.tokens),
            "alpha": check_number("alpha", self.alpha, 0, 1, above=True),
            "beta": check_number("beta", self.beta, 0, LIMITS.gate),
            "write": check_number("write", self.beta if self.write is None else self.write, 0, LIMITS.gate),
            "delta": check_number("delta", self.delta, 0, LIMITS.delta, above=True),
            "spread": check_number("spread", self.spread, 0, 1),
            "noise": check_number("noise", self.noise, 0, LIMITS.noise),
            "seed": check_integer("seed", self.seed, 0, LIMITS.seed),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)  # NumPy's numbers become Python's: equal settings print alike

    @property
    def half_life(self) -> float:
        """Tokens until a memory has faded to one half; infinite at alpha = 1."""
        return math.inf if self.alpha == 1 else -1 / math.log2(self.alpha)


Cell = str | tuple[float, ...] | None  # a name, numbers, or nothing


@dataclass(frozen=True)
class Row:
    """One token, as a table has it; None in a gate: what the settings say.

    Args:
        key: a name, whose key is its direction, or dk numbers; None: no key, and nothing is written.
        value: a name, whose value is its direction, or dv numbers; None: v = 0, so that a delta rule only erases.
        query: what the token asks for, as a key; None: its own key.
        alpha: decay, above 0 and at most 1.
        beta: erase gate, and write gate of the tied rules.
        write: write gate of the untied rules; None: this row's beta if it has one.
        delta: step of the discretised rules, 0 or more.
        label: what the token is called; "": made of key and value.
    """

    key: Cell = None
    value: Cell = None
    query: Cell = None
    alpha: float | None = None
    beta: float | None = None
    write: float | None = None
    delta: float | None = None
    label: str = ""


COLUMNS = tuple(field.name for field in fields(Row))

# A row that only asks: no rule writes in it or forgets, but those whose gates cannot follow the token.
ASKING = Row(alpha=1.0, beta=0.0, write=0.0, delta=0.0)


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
    rows: tuple[Row, ...]
    call: str


def scenario_of(
    rows: Sequence[Row], settings: Settings, *, title: str, look_for: str, notes: Sequence[str], call: str
) -> Scenario:
    """Make a scenario of rows; its own labels are made of key and value where a row has none."""
    stream = stream_of(rows, settings)
    check_stream(stream, LIMITS)
    labels = tuple(row.label or _label(row) for row in rows)
    return Scenario(stream, labels, title, look_for, tuple(notes), settings, tuple(rows), call)


def stream_of(rows: Sequence[Row], settings: Settings) -> Stream:
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


def _label(row: Row) -> str:
    """Name a token by its key and value."""
    named = [short(cell) for cell in (row.key, row.value)]
    if row.key is None:
        return "nothing" if row.query is None else f"{short(row.query)}?"
    return named[0] if row.value is None else f"{named[0]} → {named[1]}"


def short(cell: Cell, most: int = 24) -> str:
    """Name a cell in a label, in no more than so many characters."""
    if not isinstance(cell, str):
        return "[...]"
    return cell if len(cell) <= most else f"{cell[: most - 1]}…"


def many(count: int, what: str) -> str:
    """Say how many."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
