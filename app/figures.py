"""Arrays as Plotly figures: units on every axis, one symmetric scale for the memories compared, one colour a rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

import numpy as np
import plotly.graph_objects as go

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
DASHES = ("solid", "dash", "dot", "dashdot")  # beside the colours, for those who cannot use them


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
    layout = _panels(titles, palette, x="key channel", y="value channel", square=True)
    layout["coloraxis"] = {
        "cmin": -limit,
        "cmax": limit,
        "colorscale": palette.symmetric(),
        "colorbar": _bar("entry, on a linear scale"),
    }
    return go.Figure(traces, layout)


def recall(errors: Floats, titles: Sequence[str], labels: Sequence[str], *, palette: Palette = LIGHT) -> go.Figure:
    """Draw how well every key written so far is still answered, after every token.

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
    layout = _panels(titles, palette, x="key of token", y="after token", square=True)
    every = range(0, len(names), max(1, len(names) // 4))
    for i in range(len(titles)):
        layout[_axes(i)["xaxis"].replace("x", "xaxis")] |= {
            "tickvals": [names[j] for j in every],
            "ticktext": [str(j) for j in every],
        }
    layout["plot_bgcolor"] = "rgba(128, 128, 128, 0.18)"  # what was not yet written differs from an error of 0
    layout["coloraxis"] = {
        "cmin": 0,
        "cmax": min(max(worst, 1.0), 2.0),
        "colorscale": palette.sequential(),
        "colorbar": _bar("error of the answer, relative to the value"),
    }
    return go.Figure(traces, layout)


def sizes(norm: Floats, rank: Floats, titles: Sequence[str], *, palette: Palette = LIGHT) -> go.Figure:
    """Draw the size of each memory over time: its Frobenius norm, and its effective rank.

    Args:
        norm: [R, T].
        rank: [R, T].
        titles: of the R rules.
        palette: the colours.
    """
    traces = []
    for row, (values, unit) in enumerate(((norm, "norm"), (rank, "rank"))):
        for i, title in enumerate(titles):
            traces.append(
                go.Scatter(
                    y=values[i],
                    name=title,
                    legendgroup=title,
                    showlegend=row == 0,
                    mode="lines",
                    line={"color": palette.rules[i], "dash": DASHES[i], "width": 2},
                    hovertemplate=f"{title}<br>after token %{{x}}: {unit} %{{y:.4g}}<extra></extra>",
                    xaxis="x" if row == 0 else "x2",
                    yaxis="y" if row == 0 else "y2",
                )
            )
    layout = {
        "grid": {"rows": 2, "columns": 1, "pattern": "independent", "ygap": 0.12},
        "xaxis": {"matches": "x2", "showticklabels": False, "anchor": "y"},
        "xaxis2": {"title": {"text": "token"}, "anchor": "y2"},
        "yaxis": {"title": {"text": "Frobenius norm"}, "rangemode": "tozero", "domain": [0.54, 1.0]},
        "yaxis2": {"title": {"text": "effective rank, directions"}, "rangemode": "tozero", "domain": [0.0, 0.46]},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom"},
        "height": 460,
        "margin": {"t": 40, "b": 40},
    }
    return go.Figure(traces, layout)


def spectrum(eigenvalues: Sequence[Floats], titles: Sequence[str], *, palette: Palette = LIGHT) -> go.Figure:
    """Draw the eigenvalues of each token's transition: 1 keeps a direction, 0 erases it, below 0 turns it round.

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
    layout = _panels(titles, palette, x="token", y="eigenvalue", square=False)
    layout["showlegend"] = False
    return go.Figure(traces, layout)


QUARTERS = (  # which eigenvalues are drawn, in which dash; the two ends follow each other, since one fills to the other
    ("smallest", 0, "solid"),
    ("largest", 4, "solid"),
    ("lower quarter", 1, "dot"),
    ("median", 2, "dash"),
    ("upper quarter", 3, "dot"),
)


def _axes(i: int) -> dict[str, str]:
    n = "" if i == 0 else str(i + 1)
    return {"xaxis": f"x{n}", "yaxis": f"y{n}"}


def _panels(titles: Sequence[str], palette: Palette, *, x: str, y: str, square: bool) -> dict[str, Any]:
    """Lay panels out in rows of two, which a phone has room for, all zoomed together."""
    count = len(titles)
    columns, rows = min(count, 2), -(-count // 2)
    across, down = 0.1, 0.2 / rows  # gaps
    width, height = (1 - across * (columns - 1)) / columns, (1 - down * (rows - 1)) / rows
    each = 340 if square else 240  # pixels
    layout: dict[str, Any] = {"height": 150 + each * rows, "margin": {"t": 64, "b": 48}, "annotations": []}
    for i, title in enumerate(titles):
        n = "" if i == 0 else str(i + 1)
        left, top = (i % 2) * (width + across), 1 - (i // 2) * (height + down)
        lowest = i + 2 >= count
        layout[f"xaxis{n}"] = {
            "domain": [left, left + width],
            "anchor": f"y{n}",
            "title": {"text": x if lowest else ""},
            "showgrid": False,
            "zeroline": False,
            "constrain": "domain",
            **({} if i == 0 else {"matches": "x"}),
        }
        layout[f"yaxis{n}"] = {
            "domain": [max(0.0, top - height), top],
            "anchor": f"x{n}",
            "title": {"text": y if i % 2 == 0 else ""},
            **(MATRIX | {"scaleanchor": f"x{n}"} if square else {"zeroline": True}),
            **({} if i == 0 else {"matches": "y"}),
        }
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
