"""What a visitor chose: frozen, validated, and whole in a link. Knows no Streamlit.

A link says only what differs from the defaults. Text and table travel in it compressed; an uploaded file cannot, so
the link names it and carries a digest of it, by which the page knows the file again.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Any

from gdn_core.lab.limits import LIMITS
from gdn_core.lab.scenarios import COLUMNS, PRESETS, Settings
from gdn_core.ops.checks import shown
from gdn_core.rules import RULES, Discretisation

MOST_RULES = 4
MOST_FILES = 8
MOST_LINK = 8_000  # characters of one packed field: browsers, proxies and chats cut long links
LEAST_ALPHA = 0.005  # below it one token empties a memory, and a slider has no place for it
HALF_LIVES = (0.25, 256.0)  # tokens
WINDOW = ("head", "batch", "start", "length", "channels")
DAMAGED = "it is damaged or too long, so copy the link again, whole"
RESERVED = ("embed", "embed_options")  # Streamlit's own


class Source(StrEnum):
    """Where the tokens come from."""

    PRESET = "preset"
    TEXT = "text"
    ARRAYS = "arrays"
    TABLE = "table"


class Panel(StrEnum):
    """What is drawn under the player."""

    RECALL = "recall"
    SIZE = "size"
    SPECTRUM = "spectrum"
    MOMENT = "moment"
    NUMBERS = "numbers"


class Stage(StrEnum):
    """A matrix that a token passes through or adds, in the order in which they happen."""

    BEFORE = "before"
    DECAYED = "decayed"
    TAKEN = "taken"
    ERASED = "erased"
    ADDED = "added"
    WRITTEN = "written"


@dataclass(frozen=True)
class File:
    """An upload, known again by its content.

    Args:
        name: its file name.
        digest: the first 16 hexadecimal digits of its SHA-256.
    """

    name: str
    digest: str

    def __post_init__(self) -> None:
        if not self.name or len(self.name) > 200:
            raise ValueError(f"file: expected a name of 1 to 200 characters, got {len(self.name)}")
        if not re.fullmatch(r"[0-9a-f]{16}", self.digest):
            raise ValueError(f"sha: expected 16 hexadecimal digits, got {self.digest[:40]!r}")


@dataclass(frozen=True)
class Row:
    """One token of the table, as :func:`gdn_core.lab.scenarios.from_table` takes it: "" and None are blank cells."""

    key: str = ""
    value: str = ""
    query: str = ""
    alpha: float | None = None
    beta: float | None = None
    write: float | None = None
    delta: float | None = None
    label: str = ""


TEXTS = ("key", "value", "query", "label")  # columns of the table that hold text; the others hold numbers
STARTING_TEXT = "France = Paris\nItaly = Rome\nJapan = Tokyo\nFrance = Lyon\nPeru = Lima\n"
STARTING_TABLE = (
    Row("apple", "red"),
    Row("pear", "green"),
    Row("plum", "blue"),
    Row("noise", "noise", alpha=1.0, beta=0.0, write=0.0, delta=0.0),
    Row("apple", "yellow"),
    Row(query="pear", alpha=1.0, beta=0.0, write=0.0, delta=0.0),
)
STARTING_RULES = ("linear-attention", "mamba-2", "deltanet", "gated-deltanet")
FIRST = next(iter(PRESETS))


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Everything a visitor may choose on the lab page.

    Args:
        source: where the tokens come from.
        preset: a slug of :data:`gdn_core.lab.scenarios.PRESETS`.
        text: the visitor's text.
        files: the visitor's upload, one file or several whose arrays belong together.
        head, batch, start, length, channels: which memory, which tokens and how many channels of an upload; length 0
            is as many as fit, channels 0 is all.
        table: the visitor's tokens.
        rules: 1 to 4 slugs of :data:`gdn_core.rules.RULES`.
        discretisation: replaces the own one of every rule that has one; None leaves each its own.
        settings: sizes, gates, noise and seed.
        half_life: tokens until half is left, where the visitor gives the decay so; ``settings.alpha`` follows.
        token: the token at rest in the player, counted from 0; -1 is the last.
        panel: what is drawn under the player.
        stage: which matrix of the moment is drawn.

    Raises:
        ValueError: if a field is out of its range; the sentence names the field.
    """

    source: Source = Source.PRESET
    preset: str = FIRST
    text: str = STARTING_TEXT
    files: tuple[File, ...] = ()
    head: int = 0
    batch: int = 0
    start: int = 0
    length: int = 0
    channels: int = 0
    table: tuple[Row, ...] = STARTING_TABLE
    rules: tuple[str, ...] = PRESETS[FIRST].rules
    discretisation: Discretisation | None = None
    settings: Settings = PRESETS[FIRST].settings
    half_life: float | None = None
    token: int = -1
    panel: Panel = Panel.RECALL
    stage: Stage = Stage.WRITTEN

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ValueError(f"preset: expected one of {', '.join(PRESETS)}, got {shown(self.preset)}")
        if not 1 <= len(self.rules) <= MOST_RULES:
            raise ValueError(f"rules: expected 1 to {MOST_RULES} rules, got {len(self.rules)}")
        for slug in self.rules:
            if slug not in RULES:
                raise ValueError(f"rules: expected slugs among {', '.join(RULES)}, got {shown(slug)}")
        if len(set(self.rules)) < len(self.rules):
            raise ValueError("rules: expected each rule once")
        if len(self.text) > LIMITS.characters:
            raise ValueError(f"text: expected at most {LIMITS.characters:,} characters, got {len(self.text):,}")
        if len(self.table) > LIMITS.tokens:
            raise ValueError(f"table: expected at most {LIMITS.tokens} rows, got {len(self.table)}")
        if len(self.files) > MOST_FILES:
            raise ValueError(f"files: expected at most {MOST_FILES}, got {len(self.files)}")
        for name, least in (("token", -1), *((name, 0) for name in WINDOW)):
            if not least <= getattr(self, name) < 10**9:
                raise ValueError(f"{name}: expected a whole number from {least}, got {getattr(self, name)}")
        if self.half_life is not None:
            low, high = HALF_LIVES
            if not low <= self.half_life <= high:
                raise ValueError(f"half-life: expected {low:g} to {high:g} tokens, got {shown(self.half_life)}")
            object.__setattr__(self, "settings", replace(self.settings, alpha=2 ** (-1 / self.half_life)))
        elif self.settings.alpha < LEAST_ALPHA:
            raise ValueError(f"alpha: expected a number from {LEAST_ALPHA} to 1, got {self.settings.alpha:g}")

    def defaults(self) -> Choice:
        """Return what this source starts from."""
        return starting(self.source, self.preset)

    def numbers(self) -> Choice:
        """Return the part that the numbers depend on: two choices that compute the same are equal here."""
        bare = replace(self, half_life=None, token=-1, panel=Panel.RECALL, stage=Stage.WRITTEN)
        used = {
            Source.PRESET: ("preset",),
            Source.TEXT: ("text",),
            Source.TABLE: ("table",),
            Source.ARRAYS: ("files", *WINDOW),
        }[self.source]
        blank, unused = Choice(), {"preset", "text", "table", "files", *WINDOW} - set(used)
        if not any(RULES[slug].discretisation for slug in self.rules):
            unused.add("discretisation")
        return replace(bare, **{name: getattr(blank, name) for name in unused})

    def to_query(self) -> dict[str, str]:
        """Write the choice as the fields of a link, without the defaults.

        A text or table too long for a link is left out; :meth:`left_out` says so.
        """
        base, query = self.defaults(), {}
        if self.source is not Source.PRESET:
            query["from"] = self.source.value
        elif self.preset != FIRST:
            query["preset"] = self.preset
        query |= {name: packed for name, packed in self._packed().items() if len(packed) <= MOST_LINK}
        if self.source is Source.ARRAYS:
            if self.files:  # no name of a file has a slash in it
                query |= {"file": "/".join(f.name for f in self.files), "sha": "/".join(f.digest for f in self.files)}
            query |= {name: str(getattr(self, name)) for name in WINDOW if getattr(self, name)}
        if self.rules != base.rules:
            query["rules"] = ".".join(self.rules)
        if self.discretisation:
            query["disc"] = self.discretisation.value
        for name in (f.name for f in fields(Settings)):
            if name == "alpha" and self.half_life is not None:
                query["half-life"] = repr(self.half_life)
            elif getattr(self.settings, name) != getattr(base.settings, name):
                query[name] = repr(getattr(self.settings, name))
        for name, short in (("token", "t"), ("panel", "see"), ("stage", "stage")):
            if getattr(self, name) != getattr(base, name):
                query[short] = str(getattr(self, name))
        return query

    def left_out(self) -> list[str]:
        """Say what a link to this choice cannot carry, and what to do about it."""
        sentences = [
            f"This {name} is too long for a link ({len(packed)} of at most {MOST_LINK} characters): whoever opens the "
            f"link has to paste the {name} again."
            for name, packed in self._packed().items()
            if len(packed) > MOST_LINK
        ]
        if self.source is Source.ARRAYS and self.files:
            sentences.append(f"A link cannot carry a file: whoever opens it is asked for {named(self.files)}.")
        return sentences

    def _packed(self) -> dict[str, str]:
        """Pack the text or the table, whichever the source needs and is not the starting one."""
        if self.source is Source.TEXT and self.text != STARTING_TEXT:
            return {"text": pack(self.text)}
        if self.source is Source.TABLE and self.table != STARTING_TABLE:
            rows = [[getattr(row, name) for name in COLUMNS] for row in self.table]
            return {"table": pack(json.dumps(rows, ensure_ascii=False, separators=(",", ":")))}
        return {}

    @classmethod
    def from_query(cls, query: Mapping[str, str | Sequence[str]]) -> tuple[Choice, list[str]]:
        """Read a link.

        Args:
            query: the fields of the link; of a field given twice the last counts.

        Returns:
            A choice that always works, and one sentence for each field that was unknown, missing or absurd; such a
            field keeps its default.
        """
        given = {name: v if isinstance(v, str) else (list(v) or [""])[-1] for name, v in query.items()}
        brought = [source.value for name, source in _BROUGHT.items() if name in given]
        if brought and not {"from", "preset"} & set(given):
            given["from"] = brought[0]
        sentences: list[str] = []
        choice = cls()
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
        for name, source in _BROUGHT.items():
            if name in given and choice.source is not source:
                sentences.append(f"The link's {name} was not used: its tokens are to come from the {choice.source}.")
        for name in given:
            if name not in _READERS and name not in (*RESERVED, "file", "sha"):
                sentences.append(f"The link has a field {shown(name)} that this page does not know; it was left out.")
        return choice, sentences


def starting(source: Source, preset: str) -> Choice:
    """Return the choice that a source, or a preset, starts from."""
    if source is Source.PRESET:
        return Choice(preset=preset, rules=PRESETS[preset].rules, settings=PRESETS[preset].settings)
    return Choice(source=source, preset=preset, rules=STARTING_RULES, settings=Settings())


def named(files: Sequence[File]) -> str:
    """Name files with their digests."""
    return ", ".join(f"{file.name} (sha {file.digest})" for file in files)


def pack(text: str) -> str:
    """Compress a text into the letters that a link may carry."""
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


def _table(packed: str) -> tuple[Row, ...]:
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
        read.append(Row(**row))
    return tuple(read)


def _files(names: str, digests: str) -> tuple[File, ...]:
    files, shas = (text.split("/") if text else [] for text in (names, digests))
    if not files or len(files) != len(shas):
        raise ValueError(f"expected a name (file) and a digest (sha) of each, got {len(files)} and {len(shas)}")
    return tuple(map(File, files, shas))


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?\d{1,12}", text.strip()):
        raise ValueError(f"expected a whole number, got {shown(text)}")
    return int(text)


def _number(text: str) -> float:
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


def _start_preset(choice: Choice, text: str) -> Choice:
    replace(choice, preset=text)  # raises the sentence for a preset that there is not
    return starting(choice.source, text)


_READERS: dict[str, Callable[[Choice, str], Choice]] = {
    # These two come first: the rest is read against what they start from.
    "from": lambda choice, text: starting(_member(Source)(text), choice.preset),
    "preset": _start_preset,
    "text": _reader("text", unpack),
    "table": _reader("table", _table),
    **{name: _reader(name, _whole) for name in WINDOW},
    "rules": _reader("rules", lambda text: tuple(re.split(r"[.,\s]+", text)[: 4 * MOST_RULES])),
    "disc": _reader("discretisation", _discretisation),
    **{f.name: _setting(f.name, _whole if f.type == "int" else _number) for f in fields(Settings)},
    "half-life": _reader("half_life", _number),
    "t": _reader("token", _whole),
    "see": _reader("panel", _member(Panel)),
    "stage": _reader("stage", _member(Stage)),
}
_ORDER = tuple(_READERS)
_BROUGHT = {"text": Source.TEXT, "table": Source.TABLE, "file": Source.ARRAYS}  # what only one source has


def _reason(error: ValueError) -> str:
    """Return what an error says, without the name that the sentence has already."""
    reason = str(error).rstrip(".")
    return re.sub(r"^[\w-]+: ", "", reason)
