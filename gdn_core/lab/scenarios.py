"""Token streams to run rules on: presets, one's own text, one's own arrays, and a table to edit by hand."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import pairwise
from typing import Any

import numpy as np

from gdn_core.lab.limits import LIMITS, check_ranges, check_stream, check_text, check_window
from gdn_core.lab.presets import PRESETS, Preset
from gdn_core.lab.rows import ASKING, COLUMNS, Cell, Row, Scenario, Settings, diagonal, many, scenario_of, short
from gdn_core.lab.text import normal, visible, words
from gdn_core.ops.checks import LAYOUTS, check_choice, check_integer, check_layout, check_number, shown
from gdn_core.rules import Discretisation
from gdn_core.streams import Stream

__all__ = [
    "COLUMNS",
    "PRESETS",
    "Preset",
    "Row",
    "Scenario",
    "Settings",
    "from_arrays",
    "from_preset",
    "from_table",
    "from_text",
    "python_source",
    "table_of",
]


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
    followed the word itself so far. :func:`gdn_core.lab.text.words` says what a word is, and
    :func:`gdn_core.lab.text.direction` which vector it has.

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
    return scenario_of(rows, settings, title=title, look_for=look_for, notes=notes, call=call)


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
    notes = [] if len(kept) == len(read) else [f"Left out: {many(len(read) - len(kept), 'empty row')}."]
    listed = "".join(f"    {_cells(row)!r},\n" for row in kept)
    return scenario_of(
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
                    f"{name}: expected at most {kept} {what} channels, got {n}; channels = {kept} keeps the first ones"
                )
    window = {}
    for name, x in known.items():
        x = np.asarray(x)
        x = x[None] if rank == 3 else x[None, :, None] if rank == 2 else x
        shared = sizes.HV // sizes.H if name in ("q", "k") else 1
        x = x[batch, start : start + length, head // shared].astype(float)
        window[name] = x[:, :kept] if x.ndim == 2 else x
    check_ranges(window, start=start)
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
        A=diagonal(K),
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


def python_source(
    scenario: Scenario,
    rules: Sequence[str],
    *,
    files: Sequence[str] = ("stream.npz",),
    discretisation: Discretisation | None = None,
) -> str:
    """Return the Python that reproduces a scenario and what rules do to it, by the public API alone.

    Args:
        scenario: any scenario of this module.
        rules: slugs of :data:`gdn_core.rules.RULES`.
        files: for a scenario of arrays, the names of the files they were read from.
        discretisation: replaces the own one of the rules that have one.
    """
    read, method = "", ""
    imports = "from gdn_core import RULES, scenarios, trajectory\n"
    if scenario.call.startswith("scenarios.from_arrays"):
        imports = f"from pathlib import Path\n\n{imports}from gdn_core.lab.files import read\n"
        read = f"given = {{}}\nfor name in {list(files)!r}:\n    given |= read(name, Path(name).read_bytes())\n"
    if discretisation:
        imports += "from gdn_core.rules import Discretisation\n"
        method = f", discretisation={discretisation}"
    return (
        f"{imports}\n"
        f"settings = scenarios.{scenario.settings!r}\n"
        f"{read}"
        f"scenario = {scenario.call}\n"
        f"rules = [RULES[slug] for slug in {list(rules)!r}]\n"
        f"run = trajectory(rules, scenario.stream{method})\n"
        "print(run.states.shape)  # rule, token (0: before the first), value channel, key channel\n"
    )


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
    return Row(**read, label="" if _blank(label) else short(visible(str(label)), 60))


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
        notes.append(f"Left out: {many(lines - len(pairs), 'line')} without key = value.")
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
    rows = [replace(ASKING, query=key) if value is None else Row(key=key, value=value) for key, value in kept]
    if asks:
        return rows, notes
    queries = [replace(ASKING, query=key) for key in dict.fromkeys(key for key, _ in kept)]
    notes.append(f"{many(len(rows), 'pair')}, then {many(len(queries), 'question')}.")
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
