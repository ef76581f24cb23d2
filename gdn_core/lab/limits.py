"""The limits of the lab, all in one place, and the checks of a stream against them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gdn_core.ops.checks import check_floating, check_layout, check_shape, check_values
from gdn_core.streams import Stream

Array = Any  # anything with .shape and .dtype


@dataclass(frozen=True)
class Limits:
    """The limits of the lab: largest sizes and numbers that it accepts.

    Args:
        channels: key channels dk, and value channels dv, of a memory.
        tokens: tokens of a window.
        characters: characters of a text.
        file_bytes: bytes of an uploaded file.
        csv_bytes: bytes of an uploaded .csv file, whose numbers are read one by one.
        csv_lines: lines of a .csv file.
        csv_columns: columns of a .csv file.
        unpacked_bytes: bytes of all arrays of a file that hold floating-point numbers, after decompression.
        visitor_bytes: bytes of the arrays of all files that the server keeps for one visitor.
        visitors_bytes: the same for all visitors together.
        arrays: arrays in a file.
        gate: erase and write gates, from 0.
        delta: step of the discretised rules, from 0.
        noise: noise, from 0, in lengths of the vector it is added to.
        magnitude: the largest number of a query, key or value, either sign.
        seed: seeds, from 0.
    """

    channels: int = 256
    tokens: int = 256
    characters: int = 200_000
    file_bytes: int = 128 * 2**20
    csv_bytes: int = 4 * 2**20
    csv_lines: int = 100_000
    csv_columns: int = 4096
    unpacked_bytes: int = 160 * 2**20
    visitor_bytes: int = 160 * 2**20
    visitors_bytes: int = 256 * 2**20
    arrays: int = 512
    gate: float = 2.0
    delta: float = 100.0
    noise: float = 10.0
    magnitude: float = 1e6
    seed: int = 2**32 - 1

    def sentences(self) -> tuple[str, ...]:
        """Return the limits as sentences, for a page or a terminal."""
        return (
            f"A memory has at most {self.channels} key and {self.channels} value channels.",
            f"A window has at most {self.tokens} tokens.",
            f"A text has at most {self.characters:,} characters.",
            f"A file has at most {size(self.file_bytes)} ({size(self.csv_bytes)} if .csv), "
            f"{self.arrays} arrays, and {size(self.unpacked_bytes)} when unpacked.",
            f"The server keeps {size(self.visitor_bytes)} of arrays for a visitor and {size(self.visitors_bytes)} for "
            "all, and lets go first of what was not used for longest.",
            f"beta and the write gate lie in 0 to {self.gate:g}, alpha in 0 to 1 without 0.",
        )


#: The limits that uploads, streams and the page keep to.
LIMITS = Limits()


def size(count: int) -> str:
    """Format a number of bytes: 32 MB, 1.5 MB, 700 bytes."""
    for unit, bytes_in in (("GB", 2**30), ("MB", 2**20), ("kB", 2**10)):
        if count >= bytes_in:
            return f"{count / bytes_in:.3g} {unit}"
    return f"{count} bytes"


def check_text(name: str, value: object, most: int) -> str:
    """Return a text of at most ``most`` characters.

    Raises:
        TypeError: if it is no text.
        ValueError: if it is too long.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name}: expected text, got {type(value).__name__}")
    if len(value) > most:
        raise ValueError(f"{name}: expected at most {most:,} characters, got {len(value):,}")
    return value


RANGES: dict[str, tuple[float, float, str]] = {
    "q": (-LIMITS.magnitude, LIMITS.magnitude, ""),
    "k": (-LIMITS.magnitude, LIMITS.magnitude, ""),
    "v": (-LIMITS.magnitude, LIMITS.magnitude, ""),
    "g": (-math.inf, 0.0, "log decays in nats"),
    "beta": (0.0, LIMITS.gate, "erase gates"),
    "w": (0.0, LIMITS.gate, "write gates"),
    "delta": (0.0, 2 * LIMITS.delta, "steps"),
    "A": (-math.inf, 0.0, "diagonal entries"),
}


MOST = float(np.finfo(float).max)


def check_ranges(arrays: Mapping[str, Array], *, start: int = 0) -> None:
    """Check the numbers of named arrays against the range of each: g <= 0, beta in 0 to 2, and so on.

    Args:
        arrays: arrays by the names of the API's layout, or A.
        start: the token that they begin at, if they are a window of a longer stream; places are counted from 0 of that.

    Raises:
        ValueError: at the first number that is NaN, infinite or out of its range, with its place.
    """
    for name, x in arrays.items():
        low, high, meaning = RANGES[name]
        if isinstance(x, np.ndarray) and x.size and max(low, -MOST) <= float(x.min()) and float(x.max()) <= high:
            continue  # NaN fails the comparisons; no copy of a long stream is made
        check_values(name, x, low, high, meaning=meaning, start=start)


def check_stream(stream: Stream, limits: Limits | None = None) -> None:
    """Check a stream before it is run: types, every size, every number, and the lab's limits if they are given.

    Args:
        stream: T tokens of a memory of V value channels by K key channels.
        limits: :data:`LIMITS` in the lab; None, as in notebooks, checks no size.

    Raises:
        TypeError: if a field is no array of floating-point numbers.
        ValueError: if sizes disagree, there is no token or channel, a number is out of range, or a limit is passed.
    """
    fields = {name: getattr(stream, name) for name in ("k", "v", "q", "g", "beta", "w", "delta")}
    sizes = check_layout(fields, ranks=(2,))
    check_floating("A", stream.A)
    check_shape("A", stream.A, (("K",), ("V", "K")), {"K": sizes.K, "V": sizes.V})
    if limits:
        check_window(T=sizes.T, K=sizes.K, V=sizes.V, limits=limits)
    check_ranges({**fields, "A": stream.A})


def check_window(*, T: int, K: int, V: int, limits: Limits = LIMITS) -> None:
    """Check the sizes of a memory and its stream against the lab's limits.

    Raises:
        ValueError: if a limit is passed.
    """
    for name, n, most, what in (
        ("k", K, limits.channels, "key channels"),
        ("v", V, limits.channels, "value channels"),
        ("k", T, limits.tokens, "tokens in a window"),
    ):
        if n > most:
            raise ValueError(f"{name}: expected at most {most} {what}, got {n}")
