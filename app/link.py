"""A choice as a link and back. A link says only what differs from the defaults; one that says
nothing is a first visit's. Every link ever shared can be read.

Text and table travel in it compressed; an uploaded file cannot, so the link names it and carries a digest of it, by
which the page knows the file again.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from enum import StrEnum
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from app.choice import (
    FIRST,
    MOST_RULES,
    OPENING,
    STARTING_TABLE,
    STARTING_TEXT,
    TEXTS,
    WINDOW,
    Choice,
    File,
    Origin,
    Panel,
    Stage,
    TableRow,
    named,
    starting,
)
from gdn_core.lab.limits import LIMITS
from gdn_core.lab.scenarios import COLUMNS, Reading, Settings
from gdn_core.ops.checks import shown
from gdn_core.rules import Discretisation

MOST_LINK = 8_000  # characters of one packed field: browsers, proxies and chats cut long links
DAMAGED = "it is damaged or too long, so copy the link again, whole"
MOST_NAMED = 3  # unknown fields that a sentence names
SPLIT = "~"  # between the names of arrays
RESERVED = ("embed", "embed_options")  # Streamlit's own


def to_query(choice: Choice) -> dict[str, str]:
    """Write the choice as the fields of a link, without the defaults.

    A text or table too long for a link is left out; :meth:`left_out` says so.
    """
    if choice == OPENING:
        return {}
    base, query = starting(choice.origin, choice.preset), {}
    if choice.origin is not Origin.PRESET:
        query["from"] = choice.origin.value
    elif choice.preset != FIRST:
        query["preset"] = choice.preset
    query |= {name: packed for name, packed in _packed(choice).items() if len(packed) <= MOST_LINK}
    if choice.origin is Origin.ARRAYS:
        if choice.files:  # no name of a file has a slash in it
            query |= {"file": "/".join(f.name for f in choice.files), "sha": "/".join(f.digest for f in choice.files)}
        query |= {name: str(getattr(choice, name)) for name in WINDOW if getattr(choice, name)}
        query |= _written_reading(choice.reading)
    if choice.rules != base.rules:
        query["rules"] = ".".join(choice.rules)
    if choice.discretisation:
        query["disc"] = choice.discretisation.value
    for name in (f.name for f in fields(Settings)):
        if name == "alpha" and choice.half_life is not None:
            query["half-life"] = repr(choice.half_life)
        elif getattr(choice.settings, name) != getattr(base.settings, name):
            query[name] = repr(getattr(choice.settings, name))
    for name, short in (("token", "t"), ("panel", "see"), ("stage", "stage")):
        if getattr(choice, name) != getattr(base, name):
            query[short] = str(getattr(choice, name))
    return query or {"preset": FIRST}  # a link that says nothing is a first visit's


def address(page: str, choice: Choice) -> str:
    """Return the address that opens what a choice shows, whatever is drawn below it.

    Args:
        page: the address of the lab; "" where it is not known.
        choice: what is shown. Its token is left out: ``&t=`` and a token may be added.
    """
    place = urlsplit(page)
    if place.scheme not in ("http", "https"):
        return ""
    bare = choice.numbers()
    query = to_query(replace(bare, panel=starting(bare.origin, bare.preset).panel))
    return urlunsplit((place.scheme, place.netloc, place.path or "/", urlencode(query), ""))


def left_out(choice: Choice) -> list[str]:
    """Return what a link to this choice cannot carry, a sentence each with what to do."""
    sentences = [
        f"This {name} is too long for a link ({len(packed)} of at most {MOST_LINK} characters): whoever opens the "
        f"link has to paste the {name} again."
        for name, packed in _packed(choice).items()
        if len(packed) > MOST_LINK
    ]
    if choice.origin is Origin.ARRAYS and choice.files:
        sentences.append(f"A link cannot carry a file: whoever opens it is asked for {named(choice.files)}.")
    return sentences


def from_query(query: Mapping[str, str | Sequence[str]]) -> tuple[Choice, list[str]]:
    """Read a link.

    Args:
        query: the fields of the link; of a field given twice the last counts.

    Returns:
        A valid choice, and one sentence for each field that was unknown, missing or invalid; such a field keeps its
        default.
    """
    given = {name: v if isinstance(v, str) else (list(v) or [""])[-1] for name, v in query.items()}
    brought = [origin.value for name, origin in _BROUGHT_BY.items() if name in given]
    if brought and not {"from", "preset"} & set(given):
        given["from"] = brought[0]
    if not set(given) - set(RESERVED):
        return OPENING, []
    sentences: list[str] = []
    choice = Choice()
    for name in [n for n in _ORDER if n in given]:
        try:
            choice = _READERS[name](choice, given[name])
        except ValueError as error:
            sentences.append(f"The link's field {shown(name)} was left out: {_reason(error)}.")
    if "file" in given or "sha" in given:
        try:
            choice = replace(choice, files=_files(given.get("file", ""), given.get("sha", "")))
        except ValueError as error:
            sentences.append(f"The link's file was left out, choose it again: {_reason(error)}.")
    for name, origin in _BROUGHT_BY.items():
        if name in given and choice.origin is not origin:
            sentences.append(f"The link's {name} was not used: its tokens are to come from the {choice.origin}.")
    unknown = [name for name in given if name not in _READERS and name not in (*RESERVED, "file", "sha")]
    if len(unknown) == 1:
        sentences.append(f"The link has a field {shown(unknown[0])} that this page does not know; it was left out.")
    elif unknown:
        few = ", ".join(map(shown, unknown[:MOST_NAMED])) + (", ..." if len(unknown) > MOST_NAMED else "")
        sentences.append(f"The link has {len(unknown)} fields that this page does not know, left out: {few}.")
    return choice, sentences


def _packed(choice: Choice) -> dict[str, str]:
    """Pack the text or the table that the origin uses, unless it is the starting one."""
    if choice.origin is Origin.TEXT and choice.text != STARTING_TEXT:
        return {"text": pack(choice.text)}
    if choice.origin is Origin.TABLE and choice.table != STARTING_TABLE:
        rows = [[getattr(row, name) for name in COLUMNS] for row in choice.table]
        return {"table": pack(json.dumps(rows, ensure_ascii=False, separators=(",", ":")))}
    return {}


def pack(text: str) -> str:
    """Compress a text into characters that a link may contain."""
    return base64.urlsafe_b64encode(zlib.compress(text.encode(), 9)).decode().rstrip("=")


def unpack(packed: str) -> str:
    """Undo :func:`pack`, reading no more than a text may have.

    Raises:
        ValueError: if it is not what :func:`pack` writes.
    """
    if len(packed) > 4 * MOST_LINK:
        raise ValueError(f"expected at most {4 * MOST_LINK} characters, got {len(packed)}")
    try:
        data = base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True)
        inflate = zlib.decompressobj()
        text = inflate.decompress(data, 4 * LIMITS.characters).decode()
    except (binascii.Error, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(DAMAGED) from error
    if not inflate.eof:
        raise ValueError(DAMAGED)
    return text


def _table(packed: str) -> tuple[TableRow, ...]:
    try:
        rows = json.loads(unpack(packed))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(DAMAGED) from error
    width = len(COLUMNS)
    if not isinstance(rows, list) or not all(isinstance(row, list) and len(row) == width for row in rows):
        raise ValueError(f"expected rows of {width} cells")
    read = []
    for cells in rows:
        row = dict(zip(COLUMNS, cells, strict=True))
        for name, cell in row.items():
            if name in TEXTS and not isinstance(cell, str):
                raise ValueError(f"expected text as {name}, got {shown(cell)}")
            if name not in TEXTS and cell is not None:
                if isinstance(cell, bool) or not isinstance(cell, int | float) or not abs(cell) < math.inf:
                    raise ValueError(f"expected a finite number as {name}, got {shown(cell)}")
                row[name] = float(cell)
        read.append(TableRow(**row))
    return tuple(read)


def _written_reading(reading: Reading) -> dict[str, str]:
    """Write how arrays are read, without the defaults."""
    query = {}
    if reading.names:
        plain = not any(SPLIT in name for _, name in reading.names)
        query["names"] = (
            SPLIT.join(f"{role}:{name}" for role, name in reading.names)
            if plain
            else json.dumps(dict(reading.names), ensure_ascii=False, separators=(",", ":"))
        )
    if reading.axes != "auto":
        query["axes"] = reading.axes
    return query | {name: "1" for name in ("normalise", "from_empty") if getattr(reading, name)}


def _names(text: str) -> tuple[tuple[str, str], ...]:
    """Read the roles of arrays: k:keys~q:asked, or a mapping in JSON."""
    if not text.startswith("{") and len(text) <= MOST_LINK:
        pairs = [part.partition(":") for part in text.split(SPLIT)]
        if not all(colon for _, colon, _ in pairs):
            raise ValueError(f"expected a role and a name, such as k:keys, got {shown(text)}")
        return tuple((role, name) for role, _, name in pairs)
    try:
        names = json.loads(text) if len(text) <= MOST_LINK else None
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(DAMAGED) from error
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise ValueError("expected a name of an array for each of q, k, v, g, beta, w, delta and alpha")
    return tuple(names.items())


def _yes(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(f"expected 0 or 1, got {shown(text)}")
    return text == "1"


def _files(names: str, digests: str) -> tuple[File, ...]:
    files, shas = (text.split("/") if text else [] for text in (names, digests))
    if not files or len(files) != len(shas):
        raise ValueError(f"expected a name (file) and a digest (sha) of each, got {len(files)} and {len(shas)}")
    return tuple(map(File, files, shas))


def whole(text: str) -> int:
    """Read a whole number.

    Raises:
        ValueError: if it is none.
    """
    if not re.fullmatch(r"[+-]?\d{1,12}", text.strip()):
        raise ValueError(f"expected a whole number, got {shown(text)}")
    return int(text)


def number(text: str) -> float:
    """Read a finite number.

    Raises:
        ValueError: if it is none.
    """
    try:
        number = float(text) if len(text) < 40 else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"expected a number, got {shown(text)}")
    return number


def _member(kind: type[StrEnum]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if text not in list(kind):
            raise ValueError(f"expected one of {', '.join(kind)}, got {shown(text)}")
        return kind(text)

    return read


def _discretisation(text: str) -> Discretisation:
    if text not in [d.value for d in Discretisation]:
        raise ValueError(f"expected one of {', '.join(d.value for d in Discretisation)}, got {shown(text)}")
    return Discretisation(text)


def _reader(name: str, read: Callable[[str], Any]) -> Callable[[Choice, str], Choice]:
    return lambda choice, text: replace(choice, **{name: read(text)})


def _setting(name: str, read: Callable[[str], Any]) -> Callable[[Choice, str], Choice]:
    return lambda choice, text: replace(choice, settings=replace(choice.settings, **{name: read(text)}))


def _part(name: str, read: Callable[[str], Any]) -> Callable[[Choice, str], Choice]:
    return lambda choice, text: replace(choice, reading=replace(choice.reading, **{name: read(text)}))


def _start_preset(choice: Choice, text: str) -> Choice:
    replace(choice, preset=text)  # raises the sentence for a preset that there is not
    return starting(choice.origin, text)


_READERS: dict[str, Callable[[Choice, str], Choice]] = {
    # These two come first: the rest is read against what they start from.
    "from": lambda choice, text: starting(_member(Origin)(text), choice.preset),
    "preset": _start_preset,
    "text": _reader("text", unpack),
    "table": _reader("table", _table),
    **{name: _reader(name, whole) for name in WINDOW},
    "names": _part("names", _names),
    "axes": _part("axes", str),
    "normalise": _part("normalise", _yes),
    "from_empty": _part("from_empty", _yes),
    "rules": _reader("rules", lambda text: tuple(re.split(r"[.,\s]+", text)[: 4 * MOST_RULES])),
    "disc": _reader("discretisation", _discretisation),
    **{f.name: _setting(f.name, whole if f.type == "int" else number) for f in fields(Settings)},
    "half-life": _reader("half_life", number),
    "t": _reader("token", whole),
    "see": _reader("panel", _member(Panel)),
    "stage": _reader("stage", _member(Stage)),
}
_ORDER = tuple(_READERS)
_BROUGHT_BY = {"text": Origin.TEXT, "table": Origin.TABLE, "file": Origin.ARRAYS}  # what only one origin needs


def _reason(error: ValueError) -> str:
    """Return an error's message without the name of the field, which the sentence has already."""
    reason = str(error).rstrip(".")
    return re.sub(r"^[\w-]+: ", "", reason)
