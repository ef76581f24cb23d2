"""A .csv to arrays: a row a token, checked cell by cell."""

from __future__ import annotations

import csv
import io
import math
import re
from array import array
from collections.abc import Iterator, Sequence

import numpy as np

from gdn_core.lab.limits import LIMITS
from gdn_core.ops.checks import LAYOUTS, shown

Column = tuple[str, int | None]  # the name of an array and its channel

_COLUMN = re.compile(r"([a-z]+)[_.\[]?(\d{1,3})?\]?")


def read_csv(place: str, alone: str, data: bytes) -> dict[str, np.ndarray]:
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
    separator = max((",", ";", "\t"), key=first.count)
    lines = _lines(place, text, separator)
    try:
        number, header = next(lines)
    except StopIteration:
        raise ValueError(f"{place}: expected a line for each token, got no line with anything in it") from None
    if len(header) > LIMITS.csv_columns:
        raise ValueError(f"{place}: expected at most {LIMITS.csv_columns:,} columns, got {len(header):,}")
    numbers = array("d")
    columns: list[Column]
    if all(_is_number(cell) for cell in header):
        gate = len(header) == 1 and alone not in ("q", "k", "v")
        columns = [(alone, None if gate else channel) for channel in range(len(header))]
        numbers.extend(_numbers(place, number, header, columns))
    else:
        columns = [_column(f"{place}, line {number}", cell) for cell in header]
        _check_columns(f"{place}, line {number}", columns)
    for number, cells in lines:
        if len(cells) != len(columns):
            raise ValueError(f"{place}, line {number}: expected {len(columns)} cells, as before, got {len(cells)}")
        numbers.extend(_numbers(place, number, cells, columns))
    if not numbers:
        raise ValueError(f"{place}: expected a line for each token after the names of the columns, got none")
    table = np.array(numbers).reshape(-1, len(columns))
    names = dict.fromkeys(name for name, _ in columns)
    return {name: _gathered(table, columns, name) for name in names}


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


def _is_number(cell: str) -> bool:
    """Whether a cell is a number; an underscore is none, though Python reads it as one."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell


def _numbers(place: str, line: int, cells: list[str], columns: Sequence[Column]) -> list[float]:
    """Read the cells of a line."""
    for cell, (name, channel) in zip(cells, columns, strict=True):
        if not _is_number(cell) or not math.isfinite(float(cell)):
            column = f"{name}{'' if channel is None else channel}"
            hint = ", with a point and not a comma" if re.fullmatch(r"[-+]?\d*,\d+", cell) else ""
            raise ValueError(
                f"{place}, line {line}, column {column}: expected a finite number{hint}, got {shown(cell)}"
            )
    return [float(cell) for cell in cells]


def _column(place: str, cell: str) -> Column:
    """Read the name of a column: an array and a channel, or a gate alone."""
    match = _COLUMN.fullmatch(cell.strip().lower())
    if not match or match[1] not in LAYOUTS or (match[2] is None and match[1] in ("q", "k", "v")):
        raise ValueError(f"{place}: expected columns such as k0, k1, v0, g, beta, w or delta, got {shown(cell)}")
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
