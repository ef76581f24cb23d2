"""The choice of a visitor on the lab page, immutable and validated. :mod:`app.link` writes it as a link."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from gdn_core.lab.limits import LIMITS
from gdn_core.lab.scenarios import PRESETS, Reading, Settings
from gdn_core.ops.checks import shown
from gdn_core.rules import RULES, Discretisation

MOST_RULES = 4
MOST_FILES = 8
LEAST_ALPHA = 0.005  # below it one token clears a memory; the slider starts here
HALF_LIVES = (0.25, 256.0)  # tokens
WINDOW = ("head", "batch", "start", "length", "channels")


class Origin(StrEnum):
    """The origin of the tokens."""

    PRESET = "preset"
    TEXT = "text"
    ARRAYS = "arrays"
    TABLE = "table"


class Panel(StrEnum):
    """The chart below the player."""

    RECALL = "recall"
    SIZE = "size"
    SPECTRUM = "spectrum"
    MOMENT = "moment"
    KEYS = "keys"
    NUMBERS = "numbers"
    HEADS = "heads"  # of arrays alone


class Stage(StrEnum):
    """A matrix before, between or after the stages of a token, or one that a stage subtracts or adds, in order."""

    BEFORE = "before"
    DECAYED = "decayed"
    TAKEN = "taken"
    ERASED = "erased"
    ADDED = "added"
    WRITTEN = "written"


@dataclass(frozen=True)
class File:
    """An uploaded file, identified by its content.

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
class TableRow:
    """A token as a visitor typed it, for :func:`gdn_core.lab.scenarios.from_table`: "" and None are blank cells."""

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
    TableRow("apple", "red"),
    TableRow("pear", "green"),
    TableRow("plum", "blue"),
    TableRow("noise", "noise", alpha=1.0, beta=0.0, write=0.0, delta=0.0),
    TableRow("apple", "yellow"),
    TableRow(query="pear", alpha=1.0, beta=0.0, write=0.0, delta=0.0),
)
STARTING_RULES = ("linear-attention", "mamba-2", "deltanet", "gated-deltanet")
FIRST = next(iter(PRESETS))


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Everything a visitor may choose on the lab page.

    Args:
        origin: where the tokens come from.
        preset: a slug of :data:`gdn_core.lab.scenarios.PRESETS`.
        text: the visitor's text.
        files: the visitor's upload, one file or several whose arrays belong together.
        head, batch, start, length, channels: which memory, which tokens and how many channels of an upload; length 0
            is as many as fit, channels 0 is all.
        reading: the role of each array of an upload, the order of axes, and the transformations.
        table: the visitor's tokens.
        rules: 1 to 4 slugs of :data:`gdn_core.rules.RULES`.
        discretisation: replaces the discretisation of every rule that has one; None keeps each rule's own.
        settings: sizes, gates, noise and seed.
        half_life: the decay as tokens until half is left, if the visitor gave it so; ``settings.alpha`` follows.
        token: the token at rest in the player, counted from 0; -1 is the last.
        panel: the chart below the player.
        stage: the matrix that is drawn of the token at rest.

    Raises:
        ValueError: if a field is out of its range; the sentence names the field.
    """

    origin: Origin = Origin.PRESET
    preset: str = FIRST
    text: str = STARTING_TEXT
    files: tuple[File, ...] = ()
    head: int = 0
    batch: int = 0
    start: int = 0
    length: int = 0
    channels: int = 0
    reading: Reading = Reading()  # noqa: RUF009  # it is frozen
    table: tuple[TableRow, ...] = STARTING_TABLE
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
        if self.panel is Panel.HEADS and self.origin is not Origin.ARRAYS:
            object.__setattr__(self, "panel", Panel.RECALL)
        if self.half_life is not None:
            low, high = HALF_LIVES
            if not low <= self.half_life <= high:
                raise ValueError(f"half-life: expected {low:g} to {high:g} tokens, got {shown(self.half_life)}")
            object.__setattr__(self, "settings", replace(self.settings, alpha=2 ** (-1 / self.half_life)))
        elif self.settings.alpha < LEAST_ALPHA:
            raise ValueError(f"alpha: expected a number from {LEAST_ALPHA} to 1, got {self.settings.alpha:g}")

    def numbers(self) -> Choice:
        """Return the part on which the numbers depend: it is equal for two choices with the same numbers."""
        bare = replace(self, half_life=None, token=-1, panel=Panel.RECALL, stage=Stage.WRITTEN)
        used = {
            Origin.PRESET: ("preset",),
            Origin.TEXT: ("text",),
            Origin.TABLE: ("table",),
            Origin.ARRAYS: ("files", "reading", *WINDOW),
        }[self.origin]
        blank, unused = Choice(), {"preset", "text", "table", "files", "reading", *WINDOW} - set(used)
        if not any(RULES[slug].discretisation for slug in self.rules):
            unused.add("discretisation")
        return replace(bare, **{name: getattr(blank, name) for name in unused})


def starting(origin: Origin, preset: str) -> Choice:
    """Return the choice that an origin, or a preset, starts from."""
    if origin is Origin.PRESET:
        made = PRESETS[preset]
        return Choice(preset=preset, rules=made.rules, settings=made.settings, panel=Panel(made.panel))
    return Choice(origin=origin, preset=preset, rules=STARTING_RULES, settings=Settings())


def differing(own: Settings, start: Settings, names: Sequence[str]) -> dict[str, float]:
    """Return those of these settings that are not what they started from."""
    return {name: getattr(own, name) for name in names if getattr(own, name) != getattr(start, name)}


# What a first visit sees: the same key written twice, at the token where it happens.
OPENING = replace(starting(Origin.PRESET, "overwrite"), token=PRESETS["overwrite"].settings.T // 2)


def named(files: Sequence[File]) -> str:
    """Format files with their digests."""
    return ", ".join(f"{file.name} (sha {file.digest})" for file in files)
