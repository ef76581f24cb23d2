"""What a reel shows: curves, matrices, bars, arrows, graphs and words, and a sentence for each frame.

The buffer is that of the player in outline: a little-endian uint32, the length of the header in bytes; the header, JSON
padded with spaces to a multiple of 4; and float32 arrays at offsets counted in floats from the end of the header. An
array that changes from frame to frame has the frames as its first axis; one that rests has not.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np

Floats = np.ndarray  # converted to float32
MOST_BYTES = 4 * 2**20
TEXT = -1  # the colour of the text, in place of a rule's


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of a chart.

    Args:
        name: as the legend has it.
        y: [P], or [N, P] where it changes with the frame; a gap where it is not finite, or not above 0 on a log axis.
        colour: of the four colours of the rules, or TEXT.
        dash: "solid", "dash", "dot" or "dashdot".
    """

    name: str
    y: Floats
    colour: int = 0
    dash: str = "solid"


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Lines over one axis, with a mark that moves along it.

    Args:
        title: what is shown.
        x: [P].
        lines: each over x.
        x_title, y_title: what the axes count, with units.
        at: where the mark stands in each frame, [N]; None for no mark.
        log: the axes with a logarithmic scale: "", "x", "y" or "xy".
        top, bottom: the ends of the y axis; None for what is shown.
        places: values of x with a name, a thin line each.
    """

    title: str
    x: Floats
    lines: tuple[Line, ...]
    x_title: str
    y_title: str
    at: Floats | None = None
    log: str = ""
    top: float | None = None
    bottom: float | None = None
    places: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Map:
    """A matrix as coloured cells.

    Args:
        name: what stands above it.
        values: [rows, columns], or [N, rows, columns]; not finite is hatched.
    """

    name: str
    values: Floats


@dataclass(frozen=True, kw_only=True)
class Maps:
    """Matrices on one symmetric colour scale; an entry that is pointed at is said, and its like in the others lit.

    Args:
        title: what is shown.
        maps: the matrices.
        rows, columns: what the rows and the columns are.
        limit: the end of the scale; None for the largest magnitude of all frames.
        small: the side of a matrix at most, in CSS pixels.
    """

    title: str
    maps: tuple[Map, ...]
    rows: str
    columns: str
    limit: float | None = None
    small: int = 280


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Groups of bars.

    Args:
        title: what is shown.
        groups: what stands below each group.
        names: the bars of a group, as the legend has them.
        values: [groups, names], or [N, groups, names].
        y_title: what the bars count.
        top, bottom: the ends of the axis; None for what is shown.
    """

    title: str
    groups: tuple[str, ...]
    names: tuple[str, ...]
    values: Floats
    y_title: str
    top: float | None = None
    bottom: float | None = None


@dataclass(frozen=True, kw_only=True)
class Arrow:
    """An arrow in the plane.

    Args:
        name: what stands at its end.
        to: [2], or [N, 2].
        start: where it begins, [2] or [N, 2]; None for the origin.
        colour: of the four colours of the rules, or TEXT.
        dash: as of a line.
    """

    name: str
    to: Floats
    start: Floats | None = None
    colour: int = TEXT
    dash: str = "solid"


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Arrows in a plane whose axes have one scale.

    Args:
        title: what is shown.
        arrows: the arrows.
        limit: the plane is shown from -limit to limit.
        paths: lines through points, as ``y`` [P, 2] or [N, P, 2].
    """

    title: str
    arrows: tuple[Arrow, ...]
    limit: float
    paths: tuple[Line, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Surface:
    """A height over a plane, seen from a side that a visitor turns, and a way on it.

    Args:
        title: what is shown.
        x, y: the two axes, [P] and [Q].
        heights: [Q, P], from 0 on.
        way: points of the way, [M, 3] or [N, M, 3]: two coordinates and a height.
        names: of the axes, and of the height.
        step: of the way.
    """

    title: str
    x: Floats
    y: Floats
    heights: Floats
    way: Floats
    names: tuple[str, str, str]
    step: str


@dataclass(frozen=True, kw_only=True)
class Node:
    """A box of a graph.

    Args:
        name: what stands in it.
        x, y: where its middle is, in columns and rows from the top left.
        link: where it leads; "" for nowhere.
    """

    name: str
    x: float
    y: float
    link: str = ""


@dataclass(frozen=True, kw_only=True)
class Edge:
    """An arrow from one node to another, by their places in the list.

    Args:
        start, end: the nodes.
        dash: as of a line.
    """

    start: int
    end: int
    dash: str = "solid"


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Boxes with arrows between them, one arrow of which is lit in each frame.

    Args:
        title: what is shown.
        nodes, edges: the boxes and the arrows.
        lit: the place of the lit arrow in each frame, [N].
        dashes: what each dash means, by its name.
    """

    title: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    lit: Floats
    dashes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Words:
    """A text, once for each of some ways to weigh its words; a weight stands below its word and is its colour.

    Args:
        title: what is shown.
        words: the text.
        names: the ways, one below the other.
        values: the weights, [names, words], or [N, names, words]; not finite is a word that is not reached.
        at: the word that is framed in each frame, [N].
        framed: what the frame means.
    """

    title: str
    words: tuple[str, ...]
    names: tuple[str, ...]
    values: Floats
    at: Floats
    framed: str


Panel = Curves | Maps | Bars | Plane | Surface | Graph | Words


@dataclass(frozen=True, kw_only=True)
class Reel:
    """A moving picture.

    Args:
        panels: side by side, or one below the other where there is no room.
        counts: what the frames count, as the slider has it.
        ticks: what the slider says at each frame, N of them.
        said: what happened at each frame, a sentence or two with its numbers, N of them.
        start: the frame that it begins with.
    """

    panels: tuple[Panel, ...]
    counts: str
    ticks: tuple[str, ...]
    said: tuple[str, ...]
    start: int = 0

    def __post_init__(self) -> None:
        if not self.ticks or len(self.ticks) != len(self.said):
            raise ValueError(f"said: expected one for each of {len(self.ticks)} frames, got {len(self.said)}")
        if not 0 <= self.start < len(self.ticks):
            raise ValueError(f"start: expected a frame of {len(self.ticks)}, got {self.start}")


#: Axes of an array that rests.
RESTING = {"x": 1, "y": 1, "at": 0, "to": 1, "start": 1, "lit": 0, "heights": 2, "way": 2}


def encode(reel: Reel) -> bytes:
    """Pack a reel into the buffer that :func:`app.reel.reel` shows.

    Raises:
        ValueError: if an array that moves has not as many frames as the reel, or the buffer would be too large.
    """
    parts: list[Floats] = []
    floats, N = 0, len(reel.ticks)

    def place(array: Floats, resting: int) -> dict[str, Any]:
        nonlocal floats
        part = np.ascontiguousarray(array, dtype="<f4")
        moves = part.ndim > resting
        if moves and len(part) != N:
            raise ValueError(f"panels: expected an array of {N} frames, got one of {len(part)}")
        where = {"offset": floats, "shape": list(part.shape), "moves": moves}
        parts.append(part)
        floats += part.size
        return where

    def described(value: Any, name: str, owner: Any) -> Any:
        if isinstance(value, np.ndarray):
            in_plane = isinstance(owner, Line) and value.shape[-1:] == (2,) and _of_plane(reel, owner)
            return place(value, 2 if name == "values" or in_plane else RESTING[name])
        if is_dataclass(value):
            return {"kind": type(value).__name__} | {
                f.name: described(getattr(value, f.name), f.name, value) for f in fields(value)
            }
        if isinstance(value, Sequence) and not isinstance(value, str):
            return [described(one, name, owner) for one in value]
        return value

    header = described(reel, "", None)
    body = b"".join(part.tobytes() for part in parts)
    header["digest"] = hashlib.blake2b(json.dumps(header).encode() + body, digest_size=16).hexdigest()
    packed = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    packed += b" " * (-len(packed) % 4)
    if len(packed) + len(body) > MOST_BYTES:
        raise ValueError(f"reel: expected at most {MOST_BYTES} bytes, got {len(packed) + len(body)}")
    return struct.pack("<I", len(packed)) + packed + body


def _of_plane(reel: Reel, line: Line) -> bool:
    """Tell whether a line is a path of a plane, whose points have two coordinates."""
    return any(line is path for panel in reel.panels if isinstance(panel, Plane) for path in panel.paths)
