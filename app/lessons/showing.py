"""What a place of the tour shows, computed once for all visitors."""

from __future__ import annotations

import csv as csv_module
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from app import compute, link
from app.cache import Once
from app.choice import Choice
from app.lessons.frame import Numbers
from app.lessons.place import Place
from app.lessons.script import script
from app.player import payload
from app.reel.panels import encode
from gdn_core.lab import scenarios
from gdn_core.lab.answers import answers

MOST_BYTES = 64 * 2**20  # of what is kept
MOST_COLUMNS = 12  # that one array has in a table


@dataclass(frozen=True)
class Shown:
    """What a place shows.

    Args:
        numbers: what its picture shows, arrays by name.
        buffer: of the reel, or of the player.
        moves: the reel shows it, and not the player.
        choice: the same stream in the lab.
        lab: the fields of the link to it.
        python: the script that computes the numbers.
        said: the sentences of its frames, or tokens.
    """

    numbers: Numbers
    buffer: bytes
    moves: bool
    choice: Choice
    lab: Mapping[str, str]
    python: str
    said: tuple[str, ...]


_once = Once(MOST_BYTES)


def show(place: Place) -> Shown:
    """Return what a place shows, computed unless it is kept.

    Raises:
        ValueError: with a sentence that says what was expected and what came.
        LaunchError: if a kernel gave no result.
    """
    return _once.get(place, lambda: _made(place))


def _made(place: Place) -> Shown:
    values, step = dict(place.values), place.at[1]
    choice = step.stream(**values)
    lab = link.to_query(choice) or {"preset": choice.preset}
    if step.numbers and step.picture:
        numbers = step.numbers(**values)
        reel = step.picture(numbers, **values)
        return Shown(numbers, encode(reel), True, choice, lab, script(step.numbers, values), reel.said)
    assert step.watch
    picture = compute.picture(choice)
    run, scenario = picture.trajectory, picture.scenario
    told = step.watch(picture, **values)
    packed = payload.of(run, scenario.labels, answers(run, scenario.rows, scenario.labels), events=told)
    python = scenarios.python_source(scenario, choice.rules, discretisation=choice.discretisation)
    numbers = {name: getattr(run, name) for name in ("states", "read", "u", "wv", "o")}
    keep = f"numbers = {{name: getattr(run, name) for name in {tuple(numbers)!r}}}\n"
    return Shown(numbers, packed, False, choice, lab, python + keep, tuple(told))


def table(shown: Shown) -> list[dict[str, Any]]:
    """Return the numbers as rows: the arrays of the most common length, those of two axes as several columns.

    The player's numbers are the lab's.
    """
    if not shown.moves:
        return compute.numbers(shown.choice, compute.picture(shown.choice))
    arrays = {name: np.asarray(array) for name, array in shown.numbers.items()}
    lengths = [len(array) for array in arrays.values() if array.ndim in (1, 2)]
    if not lengths:
        return [{name: float(array) for name, array in arrays.items() if array.ndim == 0}]
    length = max(lengths, key=lengths.count)
    columns: dict[str, list[Any]] = {}
    for name, array in arrays.items():
        if array.ndim == 1 and len(array) == length:
            columns[name] = array.tolist()
        elif array.ndim == 2 and len(array) == length and array.shape[1] <= MOST_COLUMNS:
            columns |= {f"{name} {i}": column.tolist() for i, column in enumerate(array.T)}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def csv(shown: Shown) -> bytes:
    """Return the table as a .csv file."""
    rows = table(shown)
    file = io.StringIO()
    writer = csv_module.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def npz(numbers: Mapping[str, Any]) -> bytes:
    """Return the numbers as an .npz file."""
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **{name: np.asarray(array) for name, array in numbers.items()})
    return file.getvalue()
