"""Make a scenario from a table edited by hand, and such a table from a scenario."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from gdn_core.lab.limits import LIMITS, check_text
from gdn_core.lab.scenarios.rows import COLUMNS, Cell, TokenRow, many, short
from gdn_core.lab.scenarios.scenario import Scenario, scenario_of
from gdn_core.lab.scenarios.settings import Settings
from gdn_core.lab.text import normal, visible
from gdn_core.ops.checks import check_choice, check_number, shown

# Numbers as text: [ and ] around anything, or two or more numbers between commas.
NUMBERS = re.compile(r"\[[^\[\]]*\]|[-+]?[\d.][-+.\deE]*(\s*,\s*[-+]?[\d.][-+.\deE]*)+")


def from_table(rows: Iterable[Mapping[str, Any]], settings: Settings) -> Scenario:
    """Make a scenario from a table, one row for each token; a missing column is blank.

    The columns are :data:`~gdn_core.lab.scenarios.rows.COLUMNS`.

    Args:
        rows: key, value and query are names, or numbers as a list or as text, [0.5, -1] or 0.5, -1; alpha, beta, write
            and delta are numbers. A blank cell (None, "", NaN) is as :class:`TokenRow` says; a row of blanks is left
            out.
        settings: the gates of blank cells, and sizes, seed and noise; T is not used.

    Raises:
        ValueError: at the first cell that cannot be read, by row number (from 1) and column; if there is no row, or
            more than ``LIMITS.tokens``.
    """
    given = list(rows)
    if len(given) > LIMITS.tokens:
        raise ValueError(f"table: expected at most {LIMITS.tokens} rows, got {len(given)}")
    read = [_row(number, cells, settings) for number, cells in enumerate(given, start=1)]
    kept = [row for row in read if row != TokenRow(label=row.label)]
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
    """Return a scenario as a table for :func:`from_table`: for each token a dict by column name.

    Vectors are text in brackets, with every digit. With the same settings the table gives the same stream, except for
    the gates of single channels that arrays may have: these become their means.
    """
    return [{name: _text_of(cell) for name, cell in asdict(row).items()} for row in scenario.rows]


def _row(number: int, cells: Mapping[str, Any], settings: Settings) -> TokenRow:
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
    return TokenRow(**read, label="" if _blank(label) else short(visible(str(label)), 60))


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
        raise ValueError(str(error)) from None  # in a table a cell of the wrong type is a ValueError too


def _text_of(cell: object) -> object:
    """Write numbers as text in brackets, and leave everything else as it is."""
    return f"[{', '.join(map(repr, cell))}]" if isinstance(cell, tuple) else cell


def _cells(row: TokenRow) -> dict[str, Any]:
    """Return the cells of a row that are not blank."""
    return {name: cell for name, cell in asdict(row).items() if cell not in (None, "")}
