"""The graph of claims and the claims that they use, laid out in layers and drawn as SVG.

A claim is one layer to the right of the last claim that it uses. An arrow over several layers passes through a joint in
each layer between, so that it goes around the claims there. Within a layer, claims and joints are sorted by the mean
place of their neighbours (Sugiyama's barycentre method), in a few sweeps to the right and back. Claims without
neighbours are not drawn; the caller lists them.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Callable, Mapping, Sequence
from html import escape

BOX, GAP, AIR, LINE = 178, 42, 10, 15  # pixels: a box's width, between layers, between boxes, a line of text
CHARACTERS = 22  # of a name in a line of a box
SWEEPS = 12


def layers(uses: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Put every claim that has a neighbour in a layer, one to the right of all that it uses.

    Args:
        uses: for each claim the claims that it uses, without a cycle.

    Raises:
        ValueError: if there is a cycle.
    """
    return [[name for name in layer if name in uses] for layer in _with_joints(uses)[0]]


def _with_joints(uses: Mapping[str, Sequence[str]]) -> tuple[list[list[str]], dict[tuple[str, str], list[str]]]:
    """Lay out the graph: the sorted layers, and for each arrow the names that it passes, joints included."""
    depth: dict[str, int] = {}

    def place(name: str, above: tuple[str, ...]) -> int:
        if name in above:
            raise ValueError(f"{name} rests on itself, through {', '.join(above)}")
        if name not in depth:
            depth[name] = 1 + max((place(other, (*above, name)) for other in uses[name]), default=-1)
        return depth[name]

    used = {other for others in uses.values() for other in others}
    drawn = [name for name in uses if uses[name] or name in used]
    found: list[list[str]] = [[] for _ in range(1 + max((place(name, ()) for name in drawn), default=-1))]
    neighbours: dict[str, list[str]] = {}
    paths = {}
    for name in drawn:
        found[depth[name]].append(name)
    for name in drawn:
        for other in uses[name]:
            joints = [f"{other} > {name} {layer}" for layer in range(depth[other] + 1, depth[name])]
            for joint, layer in zip(joints, found[depth[other] + 1 :], strict=False):
                layer.append(joint)
            paths[other, name] = path = [other, *joints, name]
            for one, next_ in itertools.pairwise(path):
                neighbours.setdefault(one, []).append(next_)
                neighbours.setdefault(next_, []).append(one)
    for sweep in range(SWEEPS):
        at = {name: n / max(1, len(layer) - 1) for layer in found for n, name in enumerate(layer)}
        for layer in found if sweep % 2 else reversed(found):
            layer.sort(key=lambda name: sum(at[other] for other in neighbours[name]) / len(neighbours[name]))
            at |= {name: n / max(1, len(layer) - 1) for n, name in enumerate(layer)}
    return found, paths


def svg(uses: Mapping[str, Sequence[str]], link: Callable[[str], str], title: Callable[[str], str]) -> str:
    """Draw the graph; an arrow leads from a claim to one that uses it.

    Args:
        uses: for each claim the claims that it uses.
        link: the address of a claim.
        title: the tooltip of a claim.
    """
    found, paths = _with_joints(uses)
    lines = {
        name: textwrap.wrap(name.replace("_", " "), CHARACTERS) for layer in found for name in layer if name in uses
    }
    high = {name: LINE * len(lines[name]) + 12 if name in lines else 0 for layer in found for name in layer}
    tall = max(sum(high[name] + AIR for name in layer) for layer in found)
    place: dict[str, tuple[float, float]] = {}
    for n, layer in enumerate(found):
        spare = (tall - sum(high[name] for name in layer)) / (len(layer) + 1)
        y = 0.0
        for name in layer:
            y += spare
            place[name] = (2 + n * (BOX + GAP), y)
            y += high[name]
    width, height = len(found) * (BOX + GAP) - GAP + 4, tall + AIR
    drawn = []
    for path in paths.values():
        curve = ""
        for one, next_ in itertools.pairwise(path):
            (x1, y1), (x2, y2) = place[one], place[next_]
            x1, y1, y2 = x1 + BOX, y1 + high[one] / 2, y2 + high[next_] / 2
            x2 -= 5 * (next_ in lines)  # room for the head
            curve += f"M{x1:.0f} {y1:.0f}C{x1 + GAP:.0f} {y1:.0f} {x2 - GAP:.0f} {y2:.0f} {x2:.0f} {y2:.0f}"
            if next_ not in lines:
                curve += f"H{x2 + BOX:.0f}"
        drawn.append(f'<path d="{curve}" marker-end="url(#claim-arrow)"/>')
    for name, rows in lines.items():
        x, y = place[name]
        spans = "".join(
            f'<tspan x="{x + 9:.0f}" y="{y + 18 + LINE * n:.0f}">{escape(line)}</tspan>' for n, line in enumerate(rows)
        )
        drawn.append(
            f'<a href="{escape(link(name))}"><title>{escape(title(name))}</title>'
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{BOX}" height="{high[name]}" rx="5"/><text>{spans}</text></a>'
        )
    arrow = (
        '<defs><marker id="claim-arrow" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>'
    )
    return (
        f'<svg class="claims-graph" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" '
        f'width="{width}" height="{height:.0f}" role="img" aria-label="Which claim uses which">'
        f"{arrow}{''.join(drawn)}</svg>"
    )
