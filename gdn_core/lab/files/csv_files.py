"""A .csv to arrays: a row a token, checked cell by cell."""

from __future__ import annotations

import csv
import io
import math
import re
from array import array
from collections.abc import Iterator, Sequence

import numpy as np

from gdn_core.lab.files.members import Found, Member
from gdn_core.lab.limits import LIMITS
from gdn_core.lab.names import guesses
from gdn_core.ops.checks import shown

Column = tuple[str, int | None]  # the name of an array and its channel

_COLUMN = re.compile(r"([a-z][a-z_.]*?)[_.\[]?(\d{1,3})?\]?")
_COMMA = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")  # a number with a comma for a point


def read_csv(place: str, alone: str, data: bytes) -> Found:
    """Read a .csv, which a sentence calls ``place``; ``alone`` is its one array where no line names the columns."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ValueError(f"{place}: expected UTF-8 text, got UTF-16: save it as 'CSV UTF-8'")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{place}: expected UTF-8 text, got byte {data[error.start]:#04x} at {error.start}") from error
    there = text.splitlines()
    if len(there) > LIMITS.csv_lines:
        raise ValueError(f"{place}: expected at most {LIMITS.csv_lines:,} lines, got {len(there):,}")
    first = next((line for line in there if line.strip()), "")
    separator = next((mark for mark in (";", "\t") if mark in first), ",")
    lines = _lines(place, text, separator)
    try:
        number, header = next(lines)
    except StopIteration:
        raise ValueError(f"{place}: expected a line for each token, got no line with anything in it") from None
    if len(header) > LIMITS.csv_columns:
        raise ValueError(f"{place}: expected at most {LIMITS.csv_columns:,} columns, got {len(header):,}")
    numbers = array("d")
    columns: list[Column | None]
    left: list[str] = []
    names = _column_numbers(header, text, separator)
    if names or all(_is_number(cell) for cell in header):
        held = len(names or header)
        gate = held == 1 and not {"q", "k", "v"} & set(guesses([alone]))
        columns = [None] * (len(header) - held)
        columns += [(alone, None if gate else channel) for channel in range(held)]
        if names:
            left = [*header[:-held], f"the first line, {names[0]} to {names[-1]}"]
        else:
            numbers.extend(_numbers(place, number, header, columns))
    else:
        columns = [_column(cell) for cell in header]
        left = [cell for cell, column in zip(header, columns, strict=True) if column is None]
        if len(left) == len(header):
            raise ValueError(
                f"{place}, line {number}: expected columns such as k0, k1, v0, g, beta, w or delta, "
                f"got {shown(left[0])}"
            )
        _check_columns(f"{place}, line {number}", [column for column in columns if column])
    for number, cells in lines:
        if len(cells) != len(columns):
            raise ValueError(f"{place}, line {number}: expected {len(columns)} cells, as before, got {len(cells)}")
        numbers.extend(_numbers(place, number, cells, columns))
    if not numbers:
        raise ValueError(f"{place}: expected a line for each token after the names of the columns, got none")
    kept = [column for column in columns if column]
    table = np.array(numbers).reshape(-1, len(kept))
    arrays = {name: _gathered(table, kept, name) for name in dict.fromkeys(name for name, _ in kept)}
    found: Found = [(Member(name, x.shape, "float64"), x) for name, x in arrays.items()]
    for cell in left:
        why = f"{place}: expected a column such as k0, got {shown(cell)}"
        found.append((Member(cell or "a column without a name", left=why), ValueError(why)))
    return found


def _lines(place: str, text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the lines that are not empty, each with its number."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        at = f"{place}, line {reader.line_num}"
        raise ValueError(f"{at}: expected cells of numbers, got a damaged one ({error})") from error


def _column_numbers(header: list[str], text: str, separator: str) -> list[str]:
    """Return the cells of a first line that number the columns, as pandas does: 0, 1, ...; none if it is a token.

    A column before them, whose name is no number, is an index. Without it a line of 0, 1, 2 and so on is a token where
    all numbers of the file are written without a point. So is a line of 0, or of 0 and 1: gates and keys may be that.
    """
    cells = header if _is_number(header[0]) else header[1:]
    if cells != [str(channel) for channel in range(len(cells))]:
        return []
    point = "." if separator == "," else ".,"
    return cells if cells is not header or (len(cells) > 2 and any(mark in text for mark in point)) else []


def _is_number(cell: str) -> bool:
    """Whether a cell is a number; an underscore is none, though Python reads it as one."""
    return _number(cell) is not None


def _number(cell: str) -> float | None:
    """Read a number, with a comma for a point where it has one."""
    if _COMMA.fullmatch(cell):
        cell = cell.replace(",", ".")
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _numbers(place: str, line: int, cells: list[str], columns: Sequence[Column | None]) -> list[float]:
    """Read the cells of a line, but for columns that are left."""
    read = []
    for cell, column in zip(cells, columns, strict=True):
        if column is None:
            continue
        number = _number(cell)
        if number is None or not math.isfinite(number):
            name = f"{column[0]}{'' if column[1] is None else column[1]}"
            raise ValueError(f"{place}, line {line}, column {name}: expected a finite number, got {shown(cell)}")
        read.append(number)
    return read


def _column(cell: str) -> Column | None:
    """Read the name of a column: an array and a channel, or a gate alone; None if it is no column of an array."""
    match = _COLUMN.fullmatch(cell.strip().lower())
    role = next(iter(guesses([match[1]])), "") if match else ""
    if not match or not role or (match[2] is None and role in ("q", "k", "v")):
        return None
    return match[1], None if match[2] is None else int(match[2])


def _check_columns(place: str, columns: Sequence[Column]) -> None:
    """Check that every array has its channels from 0 without a gap, each once."""
    for name in dict.fromkeys(name for name, _ in columns):
        channels = [channel for other, channel in columns if other == name]
        if None in channels and len(channels) > 1:
            raise ValueError(f"{place}: expected {name} once or with channels, {name}0 and so on, got both")
        if None not in channels and sorted(c for c in channels if c is not None) != list(range(len(channels))):
            got = ", ".join(f"{name}{channel}" for channel in channels)
            raise ValueError(f"{place}: expected {name}0 to {name}{len(channels) - 1}, each once, got {shown(got, 80)}")


def _gathered(table: np.ndarray, columns: Sequence[Column], name: str) -> np.ndarray:
    """Gather the columns of one array: [T] for a gate alone, [T, channels] otherwise."""
    places = {channel: i for i, (other, channel) in enumerate(columns) if other == name}
    if None in places:
        return table[:, places[None]]
    return table[:, [places[channel] for channel in range(len(places))]]
