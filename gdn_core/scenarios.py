"""Token streams worth looking at: presets, one's own text, one's own arrays, and a table to edit by hand.

Presets, text and table all come down to rows, a :class:`Row` a token, and one function makes the stream of them; so
what a preset or a text does can be read, and edited, as a table.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np

from gdn_core.inputs import (
    LAYOUTS,
    LIMITS,
    check_choice,
    check_integer,
    check_layout,
    check_number,
    check_ranges,
    check_stream,
    check_text,
    check_window,
    shown,
)
from gdn_core.streams import Stream
from gdn_core.words import direction, gaussians, normal, words


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
        ValueError: if one is out of its range; the limits are :data:`gdn_core.inputs.LIMITS`.
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


def alpha_of(half_life: float) -> float:
    """Return the decay a token that halves a memory in ``half_life`` tokens, above 0; infinity gives 1."""
    half_life = check_number("half_life", half_life, 0, math.inf, above=True)
    return max(2 ** (-1 / half_life), 5e-324)


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


@dataclass(frozen=True)
class Preset:
    """A stream that shows one thing.

    Args:
        slug: its name in a link.
        title: its name on a page.
        look_for: what to look for, true of the stream that its own settings make.
        settings: the settings it is meant for.
        rules: the slugs worth comparing on it.
        rows: makes the tokens of any settings, with notes.
    """

    slug: str
    title: str
    look_for: str
    settings: Settings
    rules: tuple[str, ...]
    rows: Callable[[Settings], tuple[list[Row], list[str]]]

    def build(self, settings: Settings | None = None) -> Scenario:
        """Make the stream, by default with the preset's own settings."""
        settings = settings or self.settings
        rows, notes = self.rows(settings)
        call = f"scenarios.from_preset({self.slug!r}, settings)"
        return _scenario(rows, settings, title=self.title, look_for=self.look_for, notes=notes, call=call)


def from_preset(slug: str, settings: Settings | None = None) -> Scenario:
    """Make the stream of a preset.

    Args:
        slug: one of :data:`PRESETS`.
        settings: all of them act; by default the preset's own.

    Raises:
        ValueError: if there is no such preset.
    """
    return PRESETS[check_choice("preset", slug, PRESETS)].build(settings)


def from_text(text: str, settings: Settings) -> Scenario:
    """Make a stream of one's own words; a repeated word repeats its key and value.

    If at least half of the lines that are not empty read ``key = value`` (``->`` and ``→`` do as well), each of them
    stores a pair, in order, and the others are left out; then every key is asked for once, in order. A line
    ``key = ?`` asks at its place, and then only such lines ask.

    Any other text is read word by word: each token stores the word under the word before it, and asks what has
    followed the word itself so far. :func:`gdn_core.words.words` says what a word is, and
    :func:`gdn_core.words.direction` which vector it has.

    Args:
        text: at most ``LIMITS.characters`` characters.
        settings: all but T act; a text longer than ``LIMITS.tokens`` tokens is cut there, with a note.

    Raises:
        TypeError: if it is no text.
        ValueError: if it is too long, or has fewer than two words and no pair.
    """
    check_text("text", text, LIMITS.characters)
    if not text.strip():
        raise ValueError("text: expected some words, or lines such as 'key = value', got an empty text")
    call = f"scenarios.from_text({text!r}, settings)"
    lines = [line for line in text.splitlines() if line.strip()]
    pairs = [pair for pair in map(_pair, lines) if pair]
    if 2 * len(pairs) >= len(lines):
        rows, notes = _rows_of_pairs(pairs, len(lines), LIMITS.tokens)
        title, look_for = "Pairs to be recalled", LOOK_FOR_PAIRS
    else:
        rows, notes = _rows_of_words(words(text), LIMITS.tokens)
        title, look_for = "Text: each word under the word before it", LOOK_FOR_WORDS
    return _scenario(rows, settings, title=title, look_for=look_for, notes=notes, call=call)


def from_table(rows: Iterable[Mapping[str, Any]], settings: Settings) -> Scenario:
    """Make a stream of a table, a row a token, with the columns :data:`COLUMNS`; a missing column is blank.

    Args:
        rows: key, value and query are names, or numbers as a list or as text, [0.5, -1] or 0.5, -1; alpha, beta, write
            and delta are numbers. A blank cell (None, "", NaN) is as :class:`Row` says; a row of blanks is left out.
        settings: what a blank gate takes, and sizes, seed and noise; T does not act.

    Raises:
        ValueError: at the first cell that cannot be read, by row number (from 1) and column; if there is no row, or
            more than ``LIMITS.tokens``.
    """
    given = list(rows)
    if len(given) > LIMITS.tokens:
        raise ValueError(f"table: expected at most {LIMITS.tokens} rows, got {len(given)}")
    read = [_row(number, cells, settings) for number, cells in enumerate(given, start=1)]
    kept = [row for row in read if row != Row(label=row.label)]
    if not kept:
        raise ValueError("table: expected at least one row with a key and a value, got none")
    notes = [] if len(kept) == len(read) else [f"Left out: {_many(len(read) - len(kept), 'empty row')}."]
    listed = "".join(f"    {_cells(row)!r},\n" for row in kept)
    return _scenario(
        kept,
        settings,
        title="Table",
        look_for="What you wrote: each token's own alpha, beta and delta act at that token alone.",
        notes=notes,
        call=f"scenarios.from_table([\n{listed}], settings)",
    )


def table_of(scenario: Scenario) -> list[dict[str, Any]]:
    """Return a scenario as a table, a dict a token with the columns :data:`COLUMNS`, for :func:`from_table`.

    Numbers stand as text in brackets, to every digit. With the same settings the table gives the same stream; gates
    per channel, which only arrays can have beyond ``spread``, come back as their means.
    """
    return [{name: _text_of(cell) for name, cell in asdict(row).items()} for row in scenario.rows]


def from_arrays(
    arrays: Mapping[str, np.ndarray],
    settings: Settings,
    *,
    head: int = 0,
    batch: int = 0,
    start: int = 0,
    length: int | None = None,
    channels: int | None = None,
) -> Scenario:
    """Make a stream of one head of one's own arrays, as they are: no noise is added and nothing is normalised.

    Args:
        arrays: k [B, T, H, K] alone, or with v [B, T, HV, V], q as k, g and beta [B, T, HV] or [B, T, HV, K], w and
            delta [B, T, HV] or [B, T, HV, V]; g is a log decay in nats. All without B, or without B and heads, also do.
            What is missing: v is k, q is k, w is beta, and if that is missing too the gates are the settings'.
        settings: alpha, beta, write and delta for what is missing; the others do not act.
        head: the value head, 0 to HV - 1; the heads of q and k are shared by HV / H value heads each.
        batch: the sequence, 0 to B - 1.
        start: the first token of the window.
        length: tokens of the window; by default as many as there are, at most ``LIMITS.tokens``.
        channels: keep only so many key channels and value channels, the first; by default all.

    Raises:
        TypeError: if an array holds something other than floating-point numbers.
        ValueError: if arrays disagree, a number is NaN, infinite or out of range, there is no such head, sequence or
            window, or the memory would pass the limits.
    """
    known = {name: arrays[name] for name in LAYOUTS if name in arrays}
    notes = []
    if others := sorted(set(arrays) - set(known)):
        notes.append(f"Left out, not being one of {', '.join(LAYOUTS)}: {shown(', '.join(map(str, others)), 80)}.")
    if "k" not in known:
        given = shown(", ".join(map(str, arrays)), 80)
        raise ValueError(f"k: expected an array of keys, got none; the arrays given are {given}")
    if "v" not in known:
        known["v"] = known["k"]
        notes.append("No v: every token stores its own key.")
    sizes = check_layout(known, ranks=(4, 3, 2))
    if (rank := len(known["k"].shape)) < 4:
        notes.append("Read as [T, H, K]: one sequence." if rank == 3 else "Read as [T, K]: one sequence of one head.")
    head, batch = check_integer("head", head, 0, sizes.HV - 1), check_integer("batch", batch, 0, sizes.B - 1)
    start = check_integer("start", start, 0, sizes.T - 1)
    most = min(sizes.T - start, LIMITS.tokens)
    length = most if length is None else check_integer("length", length, 1, most)
    kept = LIMITS.channels if channels is None else check_integer("channels", channels, 1, LIMITS.channels)
    if channels is None:
        for name, what, n in (("k", "key", sizes.K), ("v", "value", sizes.V)):
            if n > kept:
                raise ValueError(
                    f"{name}: expected at most {kept} {what} channels, got {n}; with channels={kept} the first are kept"
                )
    window = {}
    for name, x in known.items():
        x = np.asarray(x)
        x = x[None] if rank == 3 else x[None, :, None] if rank == 2 else x
        shared = sizes.HV // sizes.H if name in ("q", "k") else 1
        x = x[batch, start : start + length, head // shared].astype(float)
        window[name] = x[:, :kept] if x.ndim == 2 else x
    check_ranges(window)
    notes += _notes_of_window(sizes.T, start, length, kept, sizes.K, sizes.V)
    K, V = window["k"].shape[1], window["v"].shape[1]
    check_window(T=length, K=K, V=V)
    even = np.ones(length)
    beta = window.get("beta", settings.beta * even)
    mean = beta.mean(axis=1) if beta.ndim == 2 else beta
    stream = Stream(
        q=window.get("q", window["k"]),
        k=window["k"],
        v=window["v"],
        g=window.get("g", math.log(settings.alpha) * even),
        beta=beta,
        w=window.get("w", mean if "beta" in window else settings.write * even),
        delta=window.get("delta", settings.delta * even),
        A=_diagonal(K),
    )
    check_stream(stream, LIMITS)
    notes += _notes_of_missing(window, settings)
    longest = float((mean * (stream.k**2).sum(axis=1)).max())
    if longest > 2:
        notes.append(
            f"beta |k|^2 reaches {longest:.3g}: above 2 a delta rule amplifies what it should erase. "
            "Models divide keys by their lengths first."
        )
    asked = {"head": head, "batch": batch, "start": start, "length": length, "channels": channels}
    return Scenario(
        stream=stream,
        labels=tuple(f"token {t}" for t in range(start, start + length)),
        title="Arrays",
        look_for="How the memory of this head fills, and which keys it still answers.",
        notes=tuple(notes),
        settings=settings,
        rows=_rows_of_stream(stream),
        call=f"scenarios.from_arrays(given, settings, {', '.join(f'{k}={v!r}' for k, v in asked.items())})",
    )


def python_source(scenario: Scenario, rules: Sequence[str], *, files: Sequence[str] = ("stream.npz",)) -> str:
    """Return the Python that reproduces a scenario and what rules do to it, by the public API alone.

    Args:
        scenario: any scenario of this module.
        rules: slugs of :data:`gdn_core.rules.RULES`.
        files: for a scenario of arrays, the names of the files they were read from.
    """
    read = ""
    imports = "from gdn_core import RULES, scenarios, trajectory\n"
    if scenario.call.startswith("scenarios.from_arrays"):
        imports = f"from pathlib import Path\n\n{imports}from gdn_core.arrays import read\n"
        read = f"given = {{}}\nfor name in {list(files)!r}:\n    given |= read(name, Path(name).read_bytes())\n"
    return (
        f"{imports}\n"
        f"settings = scenarios.{scenario.settings!r}\n"
        f"{read}"
        f"scenario = {scenario.call}\n"
        f"rules = [RULES[slug] for slug in {list(rules)!r}]\n"
        "run = trajectory(rules, scenario.stream)\n"
        "print(run.states.shape)  # rule, token (0: before the first), value channel, key channel\n"
    )


# From rows to the stream.


def _scenario(
    rows: Sequence[Row], settings: Settings, *, title: str, look_for: str, notes: Sequence[str], call: str
) -> Scenario:
    """Make the scenario of rows."""
    stream = _stream(rows, settings)
    check_stream(stream, LIMITS)
    labels = tuple(row.label or _label(row) for row in rows)
    return Scenario(stream, labels, title, look_for, tuple(notes), settings, tuple(rows), call)


def _stream(rows: Sequence[Row], settings: Settings) -> Stream:
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
        A=_diagonal(K),
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


def _diagonal(K: int) -> np.ndarray:
    """Return the diagonal of the discretised rules, -1 to -K."""
    return -np.arange(1.0, K + 1)


def _or(value: float | None, otherwise: float) -> float:
    """Return the value, or what a blank stands for."""
    return otherwise if value is None else value


def _label(row: Row) -> str:
    """Name a token by its key and value."""
    named = [_short(cell) for cell in (row.key, row.value)]
    if row.key is None:
        return "nothing" if row.query is None else f"{_short(row.query)}?"
    return named[0] if row.value is None else f"{named[0]} → {named[1]}"


def _short(cell: Cell) -> str:
    """Name a cell in a label."""
    if not isinstance(cell, str):
        return "[...]"
    return cell if len(cell) <= 24 else f"{cell[:23]}…"


# Tables.


def _row(number: int, cells: Mapping[str, Any], settings: Settings) -> Row:
    """Read one row of a table."""
    if not isinstance(cells, Mapping):
        raise ValueError(f"row {number}: expected a dict of columns, got {type(cells).__name__}")
    for name in cells:
        check_choice(f"row {number}", name, COLUMNS)
    sizes = {"key": settings.dk, "value": settings.dv, "query": settings.dk}
    read: dict[str, Any] = {
        name: _cell(f"row {number}, {name}", cells.get(name), count, "dv" if name == "value" else "dk")
        for name, count in sizes.items()
    }
    for name, high, above in (
        ("alpha", 1.0, True),
        ("beta", LIMITS.gate, False),
        ("write", LIMITS.gate, False),
        ("delta", LIMITS.delta, False),
    ):
        read[name] = _gate(f"row {number}, {name}", cells.get(name), high, above)
    if read["key"] is None and read["value"] is not None:
        raise ValueError(f"row {number}, key: expected a name or {settings.dk} numbers beside the value, got nothing")
    label = cells.get("label")
    return Row(**read, label="" if _blank(label) else normal(str(label)))


# Numbers as text: [ and ] around anything, or two or more numbers between commas.
NUMBERS = re.compile(r"\[[^\[\]]*\]|[-+]?[\d.][-+.\deE]*(\s*,\s*[-+]?[\d.][-+.\deE]*)+")


def _blank(value: object) -> bool:
    """Whether a cell is empty: None, NaN, or text of spaces."""
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float | np.floating) and math.isnan(value))


def _cell(place: str, value: object, count: int, size: str) -> Cell:
    """Read a name or a list of numbers."""
    if _blank(value):
        return None
    if isinstance(value, str):
        if not NUMBERS.fullmatch(check_text(place, value, LIMITS.characters).strip()):
            if not (name := normal(value)):
                raise ValueError(f"{place}: expected a name with a visible character, got {shown(value)}")
            return name
        value = [part for part in re.split(r"[,\s]+", value.strip("[] \t\n")) if part]
    if isinstance(value, bool | complex) or not isinstance(value, list | tuple | np.ndarray | int | float | np.number):
        raise ValueError(f"{place}: expected a name or a list of numbers, got {type(value).__name__}")
    if isinstance(value, int | float | np.number):
        return f"{value:g}"  # a number alone is a name, as 7 is in a list of digits
    if len(value) != count:
        raise ValueError(f"{place}: expected {count} numbers ({size}), got {len(value)}")
    return tuple(_number(place, part, -LIMITS.magnitude, LIMITS.magnitude) for part in value)


def _gate(place: str, value: object, high: float, above: bool) -> float | None:
    """Read a gate, or None where the cell is blank."""
    return None if _blank(value) else _number(place, value, 0, high, above=above)


def _number(place: str, value: object, low: float, high: float, *, above: bool = False) -> float:
    """Read a number that may come as text."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise ValueError(f"{place}: expected a number, got {shown(value)}") from None
    try:
        return check_number(place, value, low, high, above=above)
    except TypeError as error:
        raise ValueError(str(error)) from None  # to a table every bad cell is a bad value


def _text_of(cell: object) -> object:
    """Write numbers as text in brackets, and leave everything else as it is."""
    return f"[{', '.join(map(repr, cell))}]" if isinstance(cell, tuple) else cell


def _cells(row: Row) -> dict[str, Any]:
    """Return the cells of a row that are not blank."""
    return {name: cell for name, cell in asdict(row).items() if cell not in (None, "")}


def _many(count: int, what: str) -> str:
    """Say how many."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


# Text.

LOOK_FOR_PAIRS = (
    "First the pairs are stored, then each key is asked for. The colour of a key's error says whether its newest value "
    "still stands: with more different keys than dk no rule can keep them all."
)
LOOK_FOR_WORDS = (
    "Each token stores a word under the word before it, and asks what has followed the word itself so far. Where a "
    "word comes again with another follower, additive rules answer a blend of both, delta rules the newer one."
)


def _pair(line: str) -> tuple[str, str | None] | None:
    """Split a line such as ``key = value``; the value of ``key = ?`` is None; None for any other line."""
    parts = re.split(r"=>|->|→|=", line, maxsplit=1)
    if len(parts) < 2:
        return None
    key, value = normal(parts[0]), normal(parts[1])
    return (key, None if value == "?" else value) if key and value else None


def _rows_of_pairs(pairs: Sequence[tuple[str, str | None]], lines: int, most: int) -> tuple[list[Row], list[str]]:
    """Store pairs, then ask for every key once, unless the pairs themselves ask."""
    if all(value is None for _, value in pairs):
        raise ValueError("text: expected a line 'key = value' before any 'key = ?', got questions only")
    notes = []
    if lines > len(pairs):
        notes.append(f"Left out: {_many(lines - len(pairs), 'line')} without key = value.")
    asks = any(value is None for _, value in pairs)
    kept: list[tuple[str, str | None]] = []
    different: set[str] = set()
    for key, value in pairs:
        if len(kept) + 1 + (0 if asks else len(different | {key})) > most:
            break
        kept.append((key, value))
        different.add(key)
    if len(kept) < len(pairs):
        notes.append(f"Windowed: the first {len(kept):,} of {len(pairs):,} lines, with their questions.")
    rows = [
        replace(ASKING, query=key) if value is None else Row(key=key, value=value) for key, value in kept
    ]
    if asks:
        return rows, notes
    queries = [replace(ASKING, query=key) for key in dict.fromkeys(key for key, _ in kept)]
    notes.append(f"{_many(len(rows), 'pair')}, then {_many(len(queries), 'question')}.")
    return rows + queries, notes


def _rows_of_words(found: Sequence[str], most: int) -> tuple[list[Row], list[str]]:
    """Store each word under the word before it, and ask for the word."""
    if len(found) < 2:
        got = f"one ({shown(found[0])})" if found else "none"
        raise ValueError(f"text: expected at least two words, since each is stored under the one before it, got {got}")
    notes = []
    if len(set(found)) == 1:
        notes.append("One word only: every token stores the same pair again.")
    if len(found) - 1 > most:
        notes.append(f"Windowed: the first {most + 1:,} of {len(found):,} words, which give {most} tokens.")
    pairs = list(pairwise(found))[:most]
    return [Row(key=before, value=word, query=word) for before, word in pairs], notes


# Arrays.


def _notes_of_window(T: int, start: int, length: int, kept: int, K: int, V: int) -> list[str]:
    """Say what of the arrays is not shown."""
    notes = []
    if length < T:
        notes.append(f"Windowed: tokens {start} to {start + length - 1} of {T:,}; the memory is empty before them.")
    if kept < K:
        notes.append(f"Narrowed: the first {kept} of {K} key channels, which changes what the memory answers.")
    if kept < V:
        notes.append(f"Narrowed: the first {kept} of {V} value channels; a value channel never depends on the others.")
    return notes


def _notes_of_missing(window: Mapping[str, np.ndarray], settings: Settings) -> list[str]:
    """Say what stands for the arrays that were not given."""
    stands = {
        "q": "q is k",
        "g": f"g is log({settings.alpha:g})",
        "beta": f"beta is {settings.beta:g}",
        "w": "w is beta" if "beta" in window else f"w is {settings.write:g}",
        "delta": f"delta is {settings.delta:g}",
    }
    missing = [sentence for name, sentence in stands.items() if name not in window]
    return [f"Not given: {', '.join(missing)}."] if missing else []


def _rows_of_stream(stream: Stream) -> tuple[Row, ...]:
    """Write a stream as rows; a gate per channel as its mean."""

    def means(x: np.ndarray) -> list[float]:
        return [float(n) for n in (x.mean(axis=1) if x.ndim == 2 else x)]

    gates = zip(means(stream.g), means(stream.beta), means(stream.w), means(stream.delta), strict=True)
    vectors = zip(stream.k.tolist(), stream.v.tolist(), stream.q.tolist(), strict=True)
    return tuple(
        Row(
            key=tuple(k),
            value=tuple(v),
            query=None if k == q else tuple(q),
            alpha=max(math.exp(g), 5e-324),
            beta=beta,
            write=w,
            delta=delta,
        )
        for (k, v, q), (g, beta, w, delta) in zip(vectors, gates, strict=True)
    )


# Presets.


def _at_right_angles(seed: int, count: int, size: int, first: np.ndarray | None = None) -> list[tuple[float, ...]]:
    """Return unit vectors, each at right angles to ``first`` and to those before it while there is room.

    Where no direction is left a new block begins, at right angles among itself and to ``first``.
    """
    found: list[tuple[float, ...]] = []
    start = [] if first is None else [first]
    basis = list(start)
    for i in range(count):
        if len(basis) == size:
            basis = list(start)
        x = direction(seed, "key", f"direction {i}", size)
        if len(basis) < size:
            for _ in range(2 if basis else 0):  # once more against rounding
                x = x - np.stack(basis).T @ (np.stack(basis) @ x)
            x = x / np.sqrt((x * x).sum())
        basis.append(x)
        found.append(tuple(x.tolist()))
    return found


def _collision(settings: Settings) -> tuple[list[Row], list[str]]:
    """Store as many pairs as there are tokens, the first dk keys at right angles."""
    keys = _at_right_angles(settings.seed, settings.T, settings.dk)
    notes = ["Every token asks for the first key."]
    if settings.dk >= settings.T:
        notes.append(f"T = {settings.T} pairs fit into dk = {settings.dk}: raise T or lower dk for a collision.")
    rows = [
        Row(key=key, value=f"value {i}", query=keys[0], label=f"pair {i}") for i, key in enumerate(keys, start=1)
    ]
    return rows, notes


def _overwrite(settings: Settings) -> tuple[list[Row], list[str]]:
    """Write one key twice, the other keys at right angles to it."""
    again = max(1, settings.T // 2)
    key = direction(settings.seed, "key", "the key", settings.dk)
    others = _at_right_angles(settings.seed, settings.T, settings.dk, first=key)
    cell = tuple(key.tolist())
    rows = [
        Row(key=other, value=f"value {i}", query=cell, label=f"other key → value {i}") for i, other in enumerate(others)
    ]
    rows[0] = Row(key=cell, value="first value", label="the key → first value")
    notes = [f"Token {again} writes the key of token 0 again. Every token asks for that key."]
    if settings.T > 1:
        rows[again] = Row(key=cell, value="second value", label="the key → second value")
    else:
        notes = ["T = 1: the key is written once; it takes T = 2 to write it again."]
    return rows, notes + _one_direction(settings)


def _recency(settings: Settings) -> tuple[list[Row], list[str]]:
    """Store pairs whose keys are at right angles, so that only the decay can lose them."""
    keys = _at_right_angles(settings.seed, settings.T, settings.dk)
    notes = ["Every token asks for the first key."]
    if settings.dk < settings.T:
        notes.append(f"T = {settings.T} pairs do not fit into dk = {settings.dk}: later keys collide with earlier.")
    rows = [
        Row(key=key, value=f"value {i}", query=keys[0], label=f"pair {i}") for i, key in enumerate(keys, start=1)
    ]
    return rows, notes


def _ignored(settings: Settings) -> tuple[list[Row], list[str]]:
    """Close every gate at one token."""
    at = settings.T // 2
    rows = [Row(key=f"key {i}", value=f"value {i}") for i in range(1, settings.T + 1)]
    rows[at] = Row(
        key="noise", value="noise", alpha=1.0, beta=0.0, write=0.0, delta=0.0, label="noise, to be ignored"
    )
    return rows, [f"At token {at} delta, beta and write are 0 and alpha is 1. Every token asks for its own key."]


def _reset(settings: Settings) -> tuple[list[Row], list[str]]:
    """Forget everything at one token, which stores nothing."""
    at = settings.T // 2
    rows = [Row(key=f"key {i}", value=f"value {i}", query="key 1") for i in range(1, settings.T + 1)]
    rows[at] = Row(query="key 1", alpha=2.0**-40, delta=LIMITS.delta, label="reset")
    notes = [f"At token {at} alpha is 2^-40, delta {LIMITS.delta:g}, nothing is stored. Every token asks for key 1."]
    if settings.T == 1:
        notes.append("T = 1: the reset is the only token, and there is nothing to forget.")
    return rows, notes


def _correlated(settings: Settings) -> tuple[list[Row], list[str]]:
    """Store pairs whose keys share most of their direction."""
    common = direction(settings.seed, "key", "common", settings.dk)
    own = _at_right_angles(settings.seed, settings.T, settings.dk, first=common)
    rows = []
    for i, x in enumerate(own, start=1):
        key = math.sqrt(SHARED) * common + math.sqrt(1 - SHARED) * np.array(x)
        key = key / np.sqrt((key * key).sum())
        rows.append(Row(key=tuple(key.tolist()), value=f"value {i}", label=f"pair {i}"))
    return rows, [f"Cosine between two keys: {SHARED:g}. Every token asks for its own key.", *_one_direction(settings)]


SHARED = 0.8  # cosine between two of the correlated keys


def _long(settings: Settings) -> tuple[list[Row], list[str]]:
    """Give a few keys new values again and again, in another order each time."""
    count = max(1, min(settings.dk * 3 // 4, settings.T))
    rows: list[Row] = []
    for time in range(math.ceil(settings.T / count)):
        order = np.argsort(gaussians(settings.seed, "order", str(time), count), kind="stable")
        rows += [Row(key=f"key {i + 1}", value=f"value {time + 1} of key {i + 1}") for i in order]
    notes = [f"{_many(count, 'key')}, each with a new value every {count} tokens. Every token asks for its own key."]
    return rows[: settings.T], notes


def _parity(settings: Settings) -> tuple[list[Row], list[str]]:
    """Store one pair, then erase with beta at every 1 of a stream of bits."""
    bits = gaussians(settings.seed, "bits", "", settings.T) > 0
    rows = [
        Row(key="switch", beta=None if bit else 0.0, label="1" if bit else "0") for bit in bits
    ]
    rows[0] = Row(key="switch", value="on", beta=1.0, label="switch → on")
    return rows, ["After the first token every token is a bit: at a 1 beta acts, at a 0 it is 0. No value is written."]


def _one_direction(settings: Settings) -> list[str]:
    """Say that with one key channel all keys are alike."""
    return [] if settings.dk > 1 else ["dk = 1: there is one direction, so all keys are the same up to their sign."]


PRESETS: dict[str, Preset] = {
    preset.slug: preset
    for preset in (
        Preset(
            slug="collision",
            title="More pairs than dk",
            look_for="The first dk keys are at right angles: linear attention and DeltaNet answer every one of them "
            "exactly. From then on no direction is free: linear attention blurs all keys, the newest too, while "
            "DeltaNet with beta = 1 answers the newest exactly and older ones worse.",
            settings=Settings(dk=16, dv=16, T=32, alpha=0.98),
            rules=("linear-attention", "mamba-2", "deltanet", "gated-deltanet"),
            rows=_collision,
        ),
        Preset(
            slug="overwrite",
            title="The same key written twice",
            look_for="At the second write linear attention answers the sum of both values, Mamba-2 the second value "
            "plus what its decay has left of the first. DeltaNet and Gated DeltaNet with beta = 1 answer the second "
            "value alone: they take away what the key answered before they write.",
            settings=Settings(dk=16, dv=16, T=16, alpha=0.95),
            rules=("linear-attention", "mamba-2", "deltanet", "gated-deltanet"),
            rows=_overwrite,
        ),
        Preset(
            slug="recency",
            title="Recency",
            look_for="The keys are at right angles, so nothing collides: linear attention and DeltaNet answer all of "
            "them exactly. Under RetNet and Gated DeltaNet an answer shrinks by alpha at every token after its own, "
            "whatever it says: new pairs outweigh old ones.",
            settings=Settings(dk=16, dv=16, T=16, alpha=0.8),
            rules=("linear-attention", "retnet", "deltanet", "gated-deltanet"),
            rows=_recency,
        ),
        Preset(
            slug="ignore",
            title="A token to be ignored",
            look_for="At the token in the middle the gates are shut: Mamba (delta = 0) and Gated DeltaNet (beta = 0, "
            "alpha = 1) leave the memory exactly as it was. Linear attention and RetNet have no gate to shut and write "
            "the token like any other.",
            settings=Settings(dk=16, dv=16, T=16, alpha=0.95, delta=0.5),
            rules=("linear-attention", "retnet", "mamba", "gated-deltanet"),
            rows=_ignored,
        ),
        Preset(
            slug="reset",
            title="A reset",
            look_for="At the token in the middle alpha is almost 0, and delta large: the norm of Gated DeltaNet and of "
            "Mamba falls to almost nothing. DeltaNet has no decay and keeps everything; so does RetNet, whose decay "
            "cannot follow the token.",
            settings=Settings(dk=16, dv=16, T=24, alpha=0.98, delta=0.5),
            rules=("retnet", "mamba", "deltanet", "gated-deltanet"),
            rows=_reset,
        ),
        Preset(
            slug="correlated",
            title="Correlated keys",
            look_for="Any two keys share most of their direction. Linear attention answers every key with nearly the "
            "same sum of all values. DeltaNet writes only what the key does not answer yet: the newest pair is exact, "
            "and the older ones are far closer than linear attention's.",
            settings=Settings(dk=16, dv=16, T=12, alpha=0.98),
            rules=("linear-attention", "mamba-2", "deltanet", "gated-deltanet"),
            rows=_correlated,
        ),
        Preset(
            slug="long",
            title="A long stream",
            look_for="A few keys get new values again and again. The norm of linear attention keeps growing, roughly "
            "with the square root of the tokens; those of Mamba-2, DeltaNet and Gated DeltaNet level off, because "
            "they forget or overwrite.",
            settings=Settings(dk=16, dv=16, T=256, alpha=0.97),
            rules=("linear-attention", "mamba-2", "deltanet", "gated-deltanet"),
            rows=_long,
        ),
        Preset(
            slug="parity",
            title="Beta = 2: counting by sign",
            look_for="With beta = 2 an erase is a reflection: DeltaNet's answer changes its sign at every 1, and tells "
            "whether the ones so far are even or odd. Linear attention has nothing to write here and stays as it was.",
            settings=Settings(dk=8, dv=8, T=24, alpha=1.0, beta=2.0),
            rules=("linear-attention", "deltanet", "gated-deltanet"),
            rows=_parity,
        ),
    )
}

EXAMPLE_TEXT = (
    "The cat sat on the mat. The dog sat on the rug. The cat saw the dog, and the dog saw the cat. "
    "Then the cat sat on the rug and the dog sat on the mat."
)
EXAMPLE_PAIRS = """France = Paris
Italy = Rome
Japan = Tokyo
France = Lyon
Peru = Lima
"""
EXAMPLE_ROWS: list[dict[str, Any]] = [
    {"key": "apple", "value": "red"},
    {"key": "pear", "value": "green"},
    {"key": "plum", "value": "blue"},
    {"key": "noise", "value": "noise", "alpha": 1.0, "beta": 0.0, "delta": 0.0},
    {"key": "apple", "value": "yellow"},
    {"query": "pear", "alpha": 1.0, "beta": 0.0, "delta": 0.0},
]
