"""What a lesson is made of: steps with a question, controls, numbers, and a picture of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from app.choice import Choice, Origin, TableRow
from app.reel.panels import Reel
from gdn_core.lab.limits import check_text
from gdn_core.lab.scenarios import Settings
from gdn_core.lab.text import split_words
from gdn_core.ops.checks import check_choice, check_integer, check_number, shown
from gdn_core.rules import RULES, Discretisation, Source
from gdn_core.streams import Stream

Value = int | float | str
Numbers = Mapping[str, Any]  # arrays, by name
MOST_CONTROLS, MOST_PARTS = 2, 4
MOST_CHARACTERS, MOST_WORDS = 200, 24  # of a text
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True, kw_only=True)
class Range:
    """A control for a number, which is whole where its step is.

    Args:
        name: in links, and of the argument.
        label: what the page calls it.
        low, high, step: its range.
        start: its value at first.
    """

    name: str
    label: str
    low: float
    high: float
    step: float
    start: float

    @property
    def ends(self) -> tuple[Value, Value]:
        """The lowest and the highest value."""
        return self.low, self.high

    def check(self, value: Value) -> Value:
        """Return the value.

        Raises:
            TypeError: if it is no number.
            ValueError: if it is out of the range.
        """
        if isinstance(self.step, int):
            return check_integer(self.name, value, int(self.low), int(self.high))
        return round(check_number(self.name, value, self.low, self.high), 6)


@dataclass(frozen=True, kw_only=True)
class OneOf:
    """A control for one of a few options.

    Args:
        name: in links, and of the argument.
        label: what the page calls it.
        options: what the page calls each of its values.
        start: its value at first.
    """

    name: str
    label: str
    options: Mapping[str, str]
    start: str

    @property
    def ends(self) -> tuple[Value, Value]:
        """The first and the last value."""
        values = list(self.options)
        return values[0], values[-1]

    def check(self, value: Value) -> Value:
        """Return the value.

        Raises:
            ValueError: if it is no option.
        """
        return check_choice(self.name, value, self.options)


@dataclass(frozen=True, kw_only=True)
class Text:
    """A control for a text of one's own.

    Args:
        name: in links, and of the argument.
        label: what the page calls it.
        start: its value at first.
    """

    name: str
    label: str
    start: str

    @property
    def ends(self) -> tuple[Value, Value]:
        """A text of the fewest words, and one of the most."""
        return "word word", " ".join(f"word{n}" for n in range(MOST_WORDS))

    def check(self, value: Value) -> Value:
        """Return the value.

        Raises:
            TypeError: if it is no text.
            ValueError: if it is too long, or has too few words or too many.
        """
        check_text(self.name, value, MOST_CHARACTERS)
        words = len(split_words(str(value)))
        if not 2 <= words <= MOST_WORDS:
            raise ValueError(f"{self.name}: expected 2 to {MOST_WORDS} words, got {words}")
        return value


@dataclass(frozen=True, kw_only=True)
class Row:
    """A control for a row of numbers, as text with spaces, commas or semicolons between them.

    Args:
        name: in links, and of the argument.
        label: what the page calls it.
        low, high: the range of each number.
        most: how many there may be.
        start: its value at first.
    """

    name: str
    label: str
    low: float
    high: float
    most: int
    start: str

    @property
    def ends(self) -> tuple[Value, Value]:
        """One number, the lowest, and as many as there may be, the highest."""
        return f"{self.low:g}", " ".join([f"{self.high:g}"] * self.most)

    def check(self, value: Value) -> Value:
        """Return the value, with a space between its numbers.

        Raises:
            TypeError: if it is no text.
            ValueError: if it is too long, has too many numbers or none, or one is none or out of its range.
        """
        parts = re.split(r"[\s,;]+", check_text(self.name, value, MOST_CHARACTERS).strip(" ,;\n"))
        if len(parts) > self.most or not parts[0]:
            raise ValueError(f"{self.name}: expected 1 to {self.most} numbers, got {len(parts) if parts[0] else 0}")
        for part in parts:
            if not (re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]{1,9})?", part) and self.low <= float(part) <= self.high):
                raise ValueError(f"{self.name}: expected numbers from {self.low:g} to {self.high:g}, got {shown(part)}")
        return " ".join(parts)


Control = Range | OneOf | Text | Row


@dataclass(frozen=True)
class Lit:
    """The part of an equation that is at work, in TeX."""

    tex: str


Equation = tuple[str | Lit, ...]
BREAK = ""  # a part of an equation that begins a new line


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of a lesson: one question and one picture that answers it.

    Args:
        slug: its name in links.
        title: its name on the page.
        question: asked before the answer.
        controls: at most two.
        equation: in parts, between which a narrow page may break it; or what makes it of the controls' values.
        where: what the letters of the equation are, in a sentence; or what makes it of the controls' values.
        claims: the names of the claims that it rests on.
        numbers: computes what the picture shows from the controls' values; its source reads as a script.
        picture: draws that.
        watch: instead of these two, what happens at each token of the stream, in sentences of the player.
        stream: the choice of the lab that has its stream; the player shows it.
        lab: the words of the link to the lab, which say what it opens where that is not the whole stream of the step.
        token: where the player begins.
        measured: the names of numbers that a clock gave, so that another run has others.
        sources: where it is published, besides the sources of its claims.
        composes: its controls are the parts of one choice, of which there may be four.
        waits: what the page says while the numbers are computed, where that takes long.
        lineage: the page has every rule of the lineage too, folded.
    """

    slug: str
    title: str
    question: str
    controls: tuple[Control, ...] = ()
    equation: Equation | Callable[..., Equation]
    where: str | Callable[..., str] = ""
    claims: tuple[str, ...]
    numbers: Callable[..., Numbers] | None = None
    picture: Callable[..., Reel] | None = None
    watch: Callable[..., list[str]] | None = None
    stream: Callable[..., Choice]
    lab: str = "Open in the lab"
    token: int = 0
    measured: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    composes: bool = False
    waits: str = ""
    lineage: bool = False

    def __post_init__(self) -> None:
        most = MOST_PARTS if self.composes else MOST_CONTROLS
        if len(self.controls) > most:
            raise ValueError(f"controls: expected at most {most}, got {len(self.controls)}")
        if (self.numbers is None) is not (self.picture is None) or (self.watch is None) is (self.picture is None):
            raise ValueError("step: expected numbers and their picture, or what to watch in the player")

    @property
    def start(self) -> dict[str, Value]:
        """The values that its controls start from."""
        return {control.name: control.start for control in self.controls}

    def written(self, values: Mapping[str, Value]) -> tuple[Equation, str]:
        """Return the equation, and what its letters are, for the controls' values."""
        equation = self.equation(**values) if callable(self.equation) else self.equation
        return equation, self.where(**values) if callable(self.where) else self.where

    def control(self, name: str) -> Control:
        """Return a control by its name."""
        return next(control for control in self.controls if control.name == name)


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """A lesson of the tour.

    Args:
        slug: its name in links.
        title: its name on the page.
        about: what it is about, in a sentence.
        steps: three to six.
    """

    slug: str
    title: str
    about: str
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        if not 3 <= len(self.steps) <= 6:
            raise ValueError(f"steps: expected 3 to 6, got {len(self.steps)}")

    def step(self, slug: str) -> Step:
        """Return a step by its slug."""
        return next(step for step in self.steps if step.slug == slug)


DIGITS = {6: 1200, 4: 1800, 3: math.inf}  # of numbers in a table, by how many there are: links have an end


def on_table(
    stream: Stream, *rules: str, labels: Mapping[int, str] | None = None, spread: float = 0.0, how: str = ""
) -> Choice:
    """Return a stream with one step a token as a table of the lab under some rules.

    Its vectors have six digits, or as many as there is room for in a link. A query that is the key is left blank.

    Args:
        stream: one with a decay for each token or key channel, of which a table has the mean.
        rules: what the lab shows.
        labels: what a token is called, by its place; the others are pairs with their number.
        spread: how far the gates of single channels are from the mean.
        how: the discretisation of all rules that have one; "" for that of each.
    """
    T, V, K = stream.sizes
    asks = (stream.q != stream.k).any(axis=1)
    count = stream.v.size + stream.k.size + int(asks.sum()) * K
    digits = next(digits for digits, most in DIGITS.items() if count <= most)

    def cell(x: np.ndarray) -> str:
        return f"[{', '.join(f'{n:.{digits}g}' for n in x)}]"

    g, b, w, steps = (x if x.ndim == 1 else x.mean(axis=1) for x in (stream.g, stream.beta, stream.w, stream.delta))
    names = {t: f"pair {t}" for t in range(T)} | dict(labels or {})
    rows = tuple(
        TableRow(cell(k), cell(v), cell(q) if asks[t] else "", alpha=float(np.exp(g)), beta=float(beta),
                 write=float(w), delta=float(D), label=names[t])
        for t, (q, k, v, g, beta, w, D) in enumerate(
            zip(stream.q, stream.k, stream.v, g, b, w, steps, strict=True)
        )
    )  # fmt: skip
    size = Settings(dk=K, dv=V, spread=spread)
    return Choice(origin=Origin.TABLE, table=rows, rules=rules, settings=size,
                  discretisation=Discretisation(how) if how else None)  # fmt: skip


def quoted(word: str) -> str:
    """Write a word of a visitor in quotation marks; isolated, since it may be written from right to left."""
    return f"“\u2068{word}\u2069”"


def many(count: int, what: str) -> str:
    """Write a count with its noun: 1 pair, 2 pairs."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def named(slug: str) -> str:
    """Return the title of a rule for the middle of a sentence: linear attention, Gated DeltaNet."""
    title = RULES[slug].title
    return title[0].lower() + title[1:] if title.split()[-1].islower() else title


def said(x: float, digits: int = 2, least: float = 1e-6) -> str:
    """Write a number for a sentence: 0.25, 3 × 10⁻⁵, 12,000; 0 where it is smaller than ``least``, mere rounding.

    >>> said(3.04e-5), said(0.256), said(-1.0), said(1.2e-7), said(1.2e-7, least=0.0), said(12345.0, 3)
    ('3 × 10⁻⁵', '0.26', '−1', '0', '1.2 × 10⁻⁷', '12,300')
    """
    if abs(x) < least:
        return "0"
    rounded = float(f"{x:.{digits}g}")
    if rounded and (abs(rounded) < 1e-3 or abs(rounded) >= 1e6):
        mantissa, power = f"{rounded:.{digits - 1}e}".split("e")
        text = f"{float(mantissa):g} × 10{str(int(power)).translate(RAISED)}"
    else:
        text = re.sub(r"\.?0+$", "", f"{rounded:,.{digits + 3}f}")
    return text.replace("-", "−")
