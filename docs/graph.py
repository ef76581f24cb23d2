"""The graph of which claim rests on which, laid out in layers and drawn as SVG.

A claim stands one layer to the right of the last that it uses. Within a layer the claims are sorted by the mean place
of their neighbours (Sugiyama's barycentre method), in a few sweeps to the right and back. Claims without neighbours
are left out: the caller lists them.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from html import escape

BOX, GAP, AIR, LINE = 178, 36, 10, 15  # pixels: a box's width, between layers, between boxes, a line of text
CHARACTERS = 22  # of a name in a line of a box
SWEEPS = 12


def layers(uses: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Put every claim that has a neighbour in a layer, one to the right of all that it uses.

    Args:
        uses: for each claim the claims it rests on; no claim may rest on itself, through others either.

    Raises:
        ValueError: if it does.
    """
    depth: dict[str, int] = {}

    def place(name: str, above: tuple[str, ...]) -> int:
        if name in above:
            raise ValueError(f"{name} rests on itself, through {', '.join(above)}")
        if name not in depth:
            depth[name] = 1 + max((place(other, (*above, name)) for other in uses[name]), default=-1)
        return depth[name]

    used = {other for others in uses.values() for other in others}
    found: list[list[str]] = []
    for name in uses:
        if uses[name] or name in used:
            while len(found) <= place(name, ()):
                found.append([])
            found[depth[name]].append(name)
    return _sorted(found, uses)


def _sorted(found: list[list[str]], uses: Mapping[str, Sequence[str]]) -> list[list[str]]:
    neighbours: dict[str, list[str]] = {name: list(uses[name]) for layer in found for name in layer}
    for name in list(neighbours):
        for other in uses[name]:
            neighbours[other].append(name)
    for sweep in range(SWEEPS):
        place = {name: n / max(1, len(layer) - 1) for layer in found for n, name in enumerate(layer)}
        for layer in found if sweep % 2 else reversed(found):
            layer.sort(key=lambda name: sum(place[other] for other in neighbours[name]) / len(neighbours[name]))
            place |= {name: n / max(1, len(layer) - 1) for n, name in enumerate(layer)}
    return found


def svg(uses: Mapping[str, Sequence[str]], link: Callable[[str], str], title: Callable[[str], str]) -> str:
    """Draw the graph; an arrow leads from what is used to what uses it.

    Args:
        uses: for each claim the claims it rests on.
        link: the address of a claim.
        title: what is said of it when it is pointed at.
    """
    found = layers(uses)
    lines = {name: textwrap.wrap(name.replace("_", " "), CHARACTERS) for layer in found for name in layer}
    high = {name: LINE * len(lines[name]) + 12 for name in lines}
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
    for name in lines:
        for other in uses[name]:
            (x1, y1), (x2, y2) = place[other], place[name]
            x1, y1, y2 = x1 + BOX, y1 + high[other] / 2, y2 + high[name] / 2
            bend = max(GAP, (x2 - x1) / 2)
            curve = f"M{x1:.0f} {y1:.0f}C{x1 + bend:.0f} {y1:.0f} {x2 - bend:.0f} {y2:.0f} {x2 - 5:.0f} {y2:.0f}"
            drawn.append(f'<path d="{curve}" marker-end="url(#claim-arrow)"/>')
    for name, (x, y) in place.items():
        rows = "".join(
            f'<tspan x="{x + 9:.0f}" y="{y + 18 + LINE * n:.0f}">{escape(line)}</tspan>'
            for n, line in enumerate(lines[name])
        )
        drawn.append(
            f'<a href="{escape(link(name))}"><title>{escape(title(name))}</title>'
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{BOX}" height="{high[name]}" rx="5"/><text>{rows}</text></a>'
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
