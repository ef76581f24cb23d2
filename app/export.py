"""A picture as files: every array, the numbers of each token, and the Python that makes them again."""

from __future__ import annotations

import csv as csv_module
import io
import re
from dataclasses import fields

import numpy as np

from app import compute
from app.choice import Choice
from gdn_core.lab import scenarios


def name(picture: compute.Picture) -> str:
    """Name a picture's files, by its title in letters that every file system takes."""
    return re.sub(r"[^a-z0-9]+", "-", picture.scenario.title.lower()).strip("-")


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
    rows = [row | {"label": _cell(row["label"])} for row in compute.numbers(choice, picture)]
    file = io.StringIO()
    writer = csv_module.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


def _cell(text: str) -> str:
    """Return a text as a cell that no spreadsheet takes for a formula.

    Source: OWASP, CSV Injection: a cell that begins with = + - @, a tab or a carriage return is run as one.
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def python(choice: Choice, picture: compute.Picture) -> bytes:
    """Return the Python that makes the numbers of a picture again."""
    files = [file.name for file in choice.files]
    return scenarios.python_source(
        picture.scenario, choice.rules, files=files, discretisation=choice.numbers().discretisation
    ).encode()
