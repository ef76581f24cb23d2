"""Plotly figures: units on every axis, one symmetric scale for the memories compared, a colour for each rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from textwrap import wrap
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

Floats = np.ndarray


@dataclass(frozen=True)
class Palette:
    """The colours of a figure.

    Args:
        rules: one colour for each rule compared, told apart with any common colour deficiency.
        diverging: an even number of colours, from the most negative to the most positive.
        zero: the middle of the diverging scale and the low end of a sequential one: the page's background.
    """

    rules: tuple[str, ...]
    diverging: tuple[str, ...]
    zero: str

    def symmetric(self) -> list[list[float | str]]:
        """Return the diverging scale with an empty zero, as Plotly wants it."""
        half = len(self.diverging) // 2
        return _scale((*self.diverging[:half], self.zero, *self.diverging[half:]))

    def sequential(self) -> list[list[float | str]]:
        """Return the positive half of the diverging scale, from the background up."""
        return _scale((self.zero, *self.diverging[len(self.diverging) // 2 :]))


def _scale(colours: Sequence[str]) -> list[list[float | str]]:
    return [[i / (len(colours) - 1), colour] for i, colour in enumerate(colours)]


LIGHT = Palette(
    rules=("#1b5fa6", "#d06a1c", "#5a1230", "#3f9c8a"),
    diverging=(
        "#08366a", "#1b5fa6", "#4a8dcc", "#8dbbe5", "#d2e4f4",
        "#fbe2cd", "#f4b684", "#e2813c", "#bd550f", "#7a3202",
    ),
    zero="#ffffff",
)  # fmt: skip

# Streamlit's page replaces these by the colours of its theme, and again when a visitor changes from light to dark.
THEMED = Palette(
    rules=("#000001", "#000002", "#000003", "#000004"),
    diverging=tuple(f"#0000{i}" for i in range(21, 31)),
    zero="#000038",
)
MATRIX = {"autorange": "reversed", "showgrid": False, "zeroline": False, "constrain": "domain"}  # row 0 on top
DASHES = ("solid", "dash", "dot", "dashdot")  # in addition to colours, for the colour-blind


def memories(
    memories: Sequence[Floats], titles: Sequence[str], *, limit: float | None = None, palette: Palette = LIGHT
) -> go.Figure:
    """Draw the memory of each rule as a heatmap, all on one symmetric scale.

    Args:
        memories: one [V, K] array for each rule.
        titles: what stands above each.
        limit: the end of the scale, > 0; by default the largest magnitude shown.
        palette: the colours.
    """
    if limit is None:
        limit = max((float(np.abs(S).max()) for S in memories), default=0.0) or 1.0
    traces = [
        go.Heatmap(
            z=S,
            coloraxis="coloraxis",
            hovertemplate=f"{title}<br>value channel %{{y}}, key channel %{{x}}<br>%{{z:.6g}}<extra></extra>",
            **_axes(i),
        )
        for i, (S, title) in enumerate(zip(memories, titles, strict=True))
    ]
    layout = _panels(titles, palette, x="key channel", y="value channel", matrix=True, square=True)
    layout["coloraxis"] = {
        "cmin": -limit,
        "cmax": limit,
        "colorscale": palette.symmetric(),
        "colorbar": _bar("entry, on a linear scale"),
    }
    return go.Figure(traces, layout)


def recall(errors: Floats, titles: Sequence[str], labels: Sequence[str], *, palette: Palette = LIGHT) -> go.Figure:
    """Draw the recall error of every key written so far, after every token.

    Args:
        errors: [R, T, T], row t, column j: distance from the value that key j holds to the memory's answer after token
            t, relative to that value; NaN where j > t.
        titles: of the R rules.
        labels: of the T tokens.
        palette: the colours.
    """
    worst = float(np.nanmax(errors, initial=0.0)) if np.isfinite(errors).any() else 0.0
    names = [f"{j} {label}" for j, label in enumerate(labels)]  # as categories, so that no two labels are one
    traces = [
        go.Heatmap(
            z=errors[i],
            coloraxis="coloraxis",
            x=names,
            hovertemplate=f"{title}<br>after token %{{y}}, key of token %{{x}}<br>error %{{z:.4g}}<extra></extra>",
            hoverongaps=False,
            **_axes(i),
        )
        for i, title in enumerate(titles)
    ]
    layout = _panels(titles, palette, x="key of token", y="after token", matrix=True)
    every = range(0, len(names), max(1, len(names) // 4))
    for i in range(len(titles)):
        layout[_axes(i)["xaxis"].replace("x", "xaxis")] |= {
            "tickvals": [names[j] for j in every],
            "ticktext": [str(j) for j in every],
        }
    layout["meta"] = {"tokens": "y"}
    layout["plot_bgcolor"] = "rgba(128, 128, 128, 0.18)"  # what was not yet written differs from an error of 0
    layout["coloraxis"] = {
        "cmin": 0,
        "cmax": min(max(worst, 1.0), 2.0),
        "colorscale": palette.sequential(),
        "colorbar": _bar("error of the answer:<br>0 is the value itself, 1 as far off as an empty memory"),
    }
    return go.Figure(traces, layout)


def norm_and_rank(norm: Floats, rank: Floats, titles: Sequence[str], *, palette: Palette = LIGHT) -> go.Figure:
    """Draw the size of each memory over time: its Frobenius norm, and its effective rank.

    Args:
        norm: [R, T].
        rank: [R, T].
        titles: of the R rules.
        palette: the colours.
    """
    curves = [
        go.Scatter(
            y=values[i],
            name=title,
            legendgroup=title,
            showlegend=row == 0,
            mode="lines",
            line={"color": palette.rules[i], "dash": DASHES[i], "width": 2},
            hovertemplate=f"{title}<br>after token %{{x}}: {unit} %{{y:.4g}}<extra></extra>",
            **_axes(row),
        )
        for row, (values, unit) in enumerate(((norm, "norm"), (rank, "rank")))
        for i, title in enumerate(titles)
    ]
    layout = _grid(2, 1, shared_xaxes=True, vertical_spacing=0.08)
    layout["xaxis2"] |= {"title": {"text": "token"}}
    layout["yaxis"] |= {"title": {"text": "Frobenius norm"}, "rangemode": "tozero"}
    layout["yaxis2"] |= {"title": {"text": "effective rank, directions"}, "rangemode": "tozero"}
    # At the bottom: a phone has room for one thing beside the chart's buttons at the top.
    layout["legend"] = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"}
    layout["meta"] = {"tokens": "x"}  # which axis counts tokens: the player marks its own there
    return go.Figure(curves, layout | {"height": 460, "margin": {"t": 40, "b": 80}})


def spectrum(eigenvalues: Sequence[Floats], titles: Sequence[str], *, palette: Palette = LIGHT) -> go.Figure:
    """Draw the eigenvalues of each token's transition: 1 keeps a direction, 0 erases it, below 0 reverses it.

    Args:
        eigenvalues: [T, N] for each rule, ascending in the last axis.
        titles: of the rules.
        palette: the colours.
    """
    traces = []
    for i, (values, title) in enumerate(zip(eigenvalues, titles, strict=True)):
        last = values.shape[1] - 1
        for name, part, dash in QUARTERS:
            traces.append(
                go.Scatter(
                    y=values[:, round(part * last / 4)],
                    name=name,
                    mode="lines",
                    line={"color": palette.rules[i], "width": 2 if dash == "solid" else 1, "dash": dash},
                    fill="tonexty" if name == "largest" else None,
                    fillcolor="rgba(128, 128, 128, 0.15)",
                    hovertemplate=f"{title}, token %{{x}}<br>{name} of {last + 1}: %{{y:.4g}}<extra></extra>",
                    **_axes(i),
                )
            )
    layout = _panels(titles, palette, x="token", y="eigenvalue")
    layout["showlegend"] = False
    layout["meta"] = {"tokens": "x"}
    return go.Figure(traces, layout)


QUARTERS = (  # which eigenvalues are drawn, in which dash; the two ends follow each other, since one fills to the other
    ("smallest", 0, "solid"),
    ("largest", 4, "solid"),
    ("lower quarter", 1, "dot"),
    ("median", 2, "dash"),
    ("upper quarter", 3, "dot"),
)


def _number(i: int) -> str:
    """Return what Plotly puts behind the names of the axes of panel i."""
    return "" if i == 0 else str(i + 1)


def _axes(i: int) -> dict[str, str]:
    """Return the axes of a trace of panel i."""
    return {"xaxis": f"x{_number(i)}", "yaxis": f"y{_number(i)}"}


@cache
def _made(rows: int, columns: int, **options: Any) -> dict[str, Any]:
    """Have Plotly lay out the axes of a grid, once: it takes longer than everything else about a figure."""
    layout = make_subplots(rows, columns, **options).to_dict()["layout"]
    return {name: axis for name, axis in layout.items() if name != "template"}


def _grid(rows: int, columns: int, **options: Any) -> dict[str, Any]:
    """Return the axes of a grid of panels, numbered from the top left, as a layout to add to."""
    return {name: dict(axis) for name, axis in _made(rows, columns, **options).items()}


def _panels(
    titles: Sequence[str], palette: Palette, *, x: str, y: str, matrix: bool = False, square: bool = False
) -> dict[str, Any]:
    """Lay panels out in rows of two, which a phone has room for, all zoomed together.

    Args:
        titles: one for each panel.
        palette: the colours of the titles.
        x, y: what the axes show.
        matrix: row 0 is on top, and a panel is high.
        square: the cells of a matrix are squares, for axes that count: beside an axis of names Plotly gives a panel
            that is squeezed.
    """
    count = len(titles)
    columns, rows = min(count, 2), -(-count // 2)
    layout = _grid(rows, columns, horizontal_spacing=0.1, vertical_spacing=0.24 / rows)
    for i in range(count, rows * columns):
        del layout[f"xaxis{_number(i)}"], layout[f"yaxis{_number(i)}"]
    each = 340 if matrix else 240  # pixels
    layout |= {"height": 150 + each * rows, "margin": {"t": 64, "b": 48}, "annotations": []}
    for i, title in enumerate(titles):
        n = _number(i)
        along, across = layout[f"xaxis{n}"], layout[f"yaxis{n}"]
        along |= {"showgrid": False, "zeroline": False, "constrain": "domain"}
        across |= MATRIX if matrix else {"zeroline": True}
        if square:
            across["scaleanchor"] = f"x{n}"
        along["showticklabels"] = i + 2 >= count  # nothing stands below it
        if i + 2 >= count:
            along["title"] = {"text": x}
        if i % 2 == 0:
            across["title"] = {"text": y}
        if i > 0:
            along["matches"], across["matches"] = "x", "y"
        layout["annotations"].append(
            {
                "text": "<br>".join(wrap(title, 20)),
                "x": 0,
                "y": 1.02,
                "xref": f"x{n} domain",
                "yref": f"y{n} domain",
                "xanchor": "left",
                "yanchor": "bottom",
                "align": "left",
                "showarrow": False,
                "font": {"color": palette.rules[i], "size": 14, "weight": 600},
            }
        )
    return layout


def _bar(title: str) -> dict[str, Any]:
    """Lay a colour scale under the panels, where it takes no width from them."""
    return {
        "title": {"text": title, "side": "bottom"},
        "orientation": "h",
        "thickness": 12,
        "len": 0.7,
        "x": 0.5,
        "xanchor": "center",
        "y": 0,
        "yref": "container",
        "yanchor": "bottom",
    }
