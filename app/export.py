"""A picture as files: its name, every array, the numbers of each token, and the Python that makes them again."""

from __future__ import annotations

import csv as csv_module
import io
import re
import unicodedata
from dataclasses import fields
from typing import Any

import numpy as np

from app import compute, link
from app.choice import Choice, Origin
from app.player.caption import Caption, Line
from gdn_core.equation import text
from gdn_core.lab import scenarios

MOST_BYTES = 80  # of a part of a name: file systems take 255 for all of it


def name(choice: Choice, picture: compute.Picture) -> str:
    """Name a picture's files in letters that every file system takes, without an ending.

    Arrays are named after their file, their keys' array, sequence, head and window.
    """
    if choice.origin is not Origin.ARRAYS:
        return choice.preset if choice.origin is Origin.PRESET else str(choice.origin)
    first, *others = (file.name.rpartition(".")[0] or file.name for file in choice.files)
    file = f"{first} and {len(others)} more" if others else first
    return "_".join(_plain(part) for part in (file, *_part_shown(choice, picture, leave_out=first)))


def title(choice: Choice, picture: compute.Picture) -> str:
    """Say in words what a picture shows."""
    if choice.origin is not Origin.ARRAYS:
        return picture.scenario.title
    files = ", ".join(file.name for file in choice.files)
    return ", ".join((files, *_part_shown(choice, picture)))


def _part_shown(choice: Choice, picture: compute.Picture, leave_out: str = "k") -> list[str]:
    """Say which part of an upload is shown; an array called ``leave_out``, or just k, is not named."""
    reading = picture.scenario.reading
    keys = dict(reading.names).get("k", "") if reading else ""
    start, stop = picture.scenario.window
    return [
        *([keys] if keys not in ("", "k", leave_out) else []),
        *([f"sequence {choice.batch}"] if choice.batch else []),
        f"head {choice.head}",
        f"tokens {start} to {stop - 1}",
    ]


def _plain(part: str) -> str:
    """Return a part of a name in letters, digits and hyphens, of any script."""
    letters = re.sub(r"\W+", "-", unicodedata.normalize("NFC", part)).strip("-")
    return letters.encode()[:MOST_BYTES].decode(errors="ignore") or "unnamed"


def caption(choice: Choice, picture: compute.Picture, page: str) -> Caption:
    """Return what a saved picture says beside the memories.

    Args:
        choice, picture: what is shown.
        page: the address of the lab; "" where it is not known.
    """
    said = zip(compute.equations(choice), compute.gates(choice, picture), strict=True)
    return Caption(
        name=name(choice, picture),
        title=title(choice, picture),
        rules=tuple(Line(equation=text(equation), gates=_gates(gates)) for equation, gates in said),
        link=link.address(page, choice),
        notes=tuple(link.left_out(choice)),
    )


def _gates(gates: dict[str, tuple[float, float]]) -> str:
    """Write the gates of a rule, each as a number or as the two between which it lies."""
    written = []
    for letter, (least, most) in gates.items():
        low, high = f"{least:.4g}", f"{most:.4g}"
        written.append(f"{text(letter)} = {low}" if low == high else f"{text(letter)} from {low} to {high}")
    return ", ".join(written) or "no gates"


def npz(picture: compute.Picture) -> bytes:
    """Return every array of a picture as an .npz file.

    The stream stands under the names that an upload has (q, k, v, g, beta, w, delta), so the file can be uploaded
    again. What belongs to a rule stands under its slug: ``deltanet.states`` [T + 1, V, K] begins before the first
    token, ``deltanet.decay`` is what the kernel was given.
    """
    run = picture.trajectory
    arrays: dict[str, np.ndarray] = {f.name: getattr(run.stream, f.name) for f in fields(run.stream)}
    for r, (rule, operands) in enumerate(zip(run.rules, run.operands, strict=True)):
        recorded = {name: getattr(run, name)[r] for name in ("states", "normaliser", "read", "u", "wv", "o")}
        given = {f.name: getattr(operands, f.name) for f in fields(operands) if f.name not in recorded}
        arrays |= {f"{rule.slug}.{name}": x for name, x in (recorded | given).items()}
    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays)
    return file.getvalue()


def csv(choice: Choice, picture: compute.Picture) -> bytes:
    """Return the numbers of each token under each rule as a .csv file."""
    rows = numbers(choice, picture)
    file = io.StringIO()
    writer = csv_module.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def numbers(choice: Choice, picture: compute.Picture) -> list[dict[str, Any]]:
    """Return the numbers of each token under each rule, a dict a row, for a table that may end in a spreadsheet."""
    return [row | {"label": cell(row["label"])} for row in compute.numbers(choice, picture)]


def cell(words: str) -> str:
    """Return a text as a cell that no spreadsheet takes for a formula. A number stays one.

    Source: OWASP, CSV Injection: a cell that begins with = + - @, also full-width ones, a tab, a carriage return or a
    line feed is run as one. Blanks before it do not count here: some programs strip them.
    """
    formula = words.startswith(("\t", "\r", "\n")) or words.lstrip().startswith(tuple("=+-@＝＋－＠"))
    return f"'{words}" if formula and not re.fullmatch(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", words) else words


def python(choice: Choice, picture: compute.Picture) -> bytes:
    """Return the Python that makes the numbers of a picture again."""
    files = [file.name for file in choice.files]
    return scenarios.python_source(
        picture.scenario, choice.rules, files=files, discretisation=choice.numbers().discretisation
    ).encode()
