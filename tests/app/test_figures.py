"""Figures: they hold the numbers that were given, on scales that can be compared, in the colours of the palette."""

import json
import re
from itertools import combinations

import numpy as np
import plotly.graph_objects as go
import plotly.io
import pytest

from app import figures
from app.figures import LIGHT, THEMED, Palette

TITLES = ["DeltaNet", "Gated DeltaNet", "RetNet", "Linear attention, feature map and normaliser"]
LABELS = ["a", "a", "b", "c", "d"]
rng = np.random.default_rng(5)
MEMORIES = [rng.normal(size=(3, 4)) * scale for scale in (1, 5, 0.1, 2)]
ERRORS = np.where(np.tri(5, dtype=bool), rng.uniform(0, 3, (4, 5, 5)), np.nan)
EIGENVALUES = [np.sort(rng.uniform(-1, 1, (5, size))) for size in (4, 4, 1, 12)]


def all_figures(palette: Palette) -> dict[str, go.Figure]:
    return {
        "memories": figures.memories(MEMORIES, TITLES, palette=palette),
        "recall": figures.recall(ERRORS, TITLES, LABELS, palette=palette),
        "norm and rank": figures.norm_and_rank(ERRORS[:, :, 0], ERRORS[:, :, 0], TITLES, palette=palette),
        "spectrum": figures.spectrum(EIGENVALUES, TITLES, palette=palette),
    }


def test_a_heatmap_holds_the_memory_with_row_0_on_top() -> None:
    figure = figures.memories(MEMORIES, TITLES)
    for i, (trace, memory) in enumerate(zip(figure.data, MEMORIES, strict=True)):
        np.testing.assert_array_equal(trace.z, memory)
        assert figure.layout[f"yaxis{i + 1 if i else ''}"].autorange == "reversed"


def test_all_memories_share_one_scale_that_is_symmetric_about_zero() -> None:
    figure = figures.memories(MEMORIES, TITLES)
    assert {trace.coloraxis for trace in figure.data} == {"coloraxis"}
    scale = figure.layout.coloraxis
    assert scale.cmax == -scale.cmin == max(np.abs(S).max() for S in MEMORIES)
    places = [place for place, _ in scale.colorscale]
    assert places == sorted(places)
    assert (places[0], places[-1]) == (0, 1)
    np.testing.assert_allclose(places, [1 - place for place in reversed(places)])
    assert dict(scale.colorscale)[0.5] == LIGHT.zero


def test_a_given_limit_is_the_end_of_the_scale() -> None:
    assert figures.memories(MEMORIES, TITLES, limit=7.0).layout.coloraxis.cmax == 7.0


def test_an_empty_memory_has_a_scale_all_the_same() -> None:
    assert figures.memories([np.zeros((2, 2))], ["DeltaNet"]).layout.coloraxis.cmax > 0


def test_recall_holds_every_error_and_keeps_tokens_of_one_label_apart() -> None:
    figure = figures.recall(ERRORS, TITLES, LABELS)
    for trace, errors in zip(figure.data, ERRORS, strict=True):
        np.testing.assert_array_equal(trace.z, errors)
        assert len(set(trace.x)) == len(LABELS)
    assert figure.layout.coloraxis.cmin == 0


def test_recall_of_nothing_written_is_drawn() -> None:
    figure = figures.recall(np.full((1, 2, 2), np.nan), ["DeltaNet"], ["a", "b"])
    assert figure.layout.coloraxis.cmax == 1


def test_sizes_hold_both_curves_of_every_rule() -> None:
    norm, rank = ERRORS[:, :, 0], ERRORS[:, :, 0] + 1
    figure = figures.norm_and_rank(norm, rank, TITLES)
    np.testing.assert_array_equal([trace.y for trace in figure.data], [*norm, *rank])
    assert [trace.name for trace in figure.data if trace.showlegend] == TITLES


def test_a_spectrum_holds_its_ends() -> None:
    figure = figures.spectrum(EIGENVALUES, TITLES)
    for values, title in zip(EIGENVALUES, TITLES, strict=True):
        ends = {trace.name: trace.y for trace in figure.data if trace.hovertemplate.startswith(f"{title},")}
        np.testing.assert_array_equal(ends["smallest"], values[:, 0])
        np.testing.assert_array_equal(ends["largest"], values[:, -1])


def test_a_rule_has_one_colour_in_every_figure() -> None:
    norm = ERRORS[:, :, 0]
    for figure in (figures.norm_and_rank(norm, norm, TITLES), figures.spectrum(EIGENVALUES, TITLES)):
        for trace in figure.data:
            title = next(title for title in TITLES if trace.hovertemplate.startswith((f"{title},", f"{title}<")))
            assert trace.line.color == LIGHT.rules[TITLES.index(title)]
    for figure in (figures.memories(MEMORIES, TITLES), figures.spectrum(EIGENVALUES, TITLES)):
        assert [(note.text.replace("<br>", " "), note.font.color) for note in figure.layout.annotations] == list(
            zip(TITLES, LIGHT.rules, strict=True)
        )


@pytest.mark.parametrize("name", all_figures(LIGHT))
def test_every_axis_has_a_name_and_every_scale_a_unit(name: str) -> None:
    layout = all_figures(LIGHT)[name].layout.to_plotly_json()
    axes = {key: axis for key, axis in layout.items() if re.match(r"[xy]axis\d*$", key)}
    assert len(axes) >= 2
    for axis in axes.values():  # one that shares its place with others has its name at the edge of the figure
        matched = [axis, *(other for other in axes.values() if other.get("domain") == axis.get("domain"))]
        assert any(one.get("title", {}).get("text") for one in matched) or axis.get("showticklabels") is False
    if "coloraxis" in layout:
        assert layout["coloraxis"]["colorbar"]["title"]["text"]


@pytest.mark.parametrize("name", all_figures(LIGHT))
def test_a_themed_figure_takes_every_colour_from_the_page(name: str) -> None:
    """Streamlit knows the placeholders by their exact text; any other colour would stay as it is in dark mode."""
    text = plotly.io.to_json(all_figures(THEMED)[name], validate=False)
    own = {key: value for key, value in json.loads(text).items() if key == "data"}
    layout = {key: value for key, value in json.loads(text)["layout"].items() if key != "template"}
    colours = set(re.findall(r"#[0-9a-fA-F]{6}", json.dumps([own, layout])))
    assert colours <= {*THEMED.rules, *THEMED.diverging, THEMED.zero}


def rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def luminance(colour: str) -> float:
    x = rgb(colour)
    return float(np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])


def test_the_colours_of_rules_differ_in_hue_or_lightness_and_in_dash() -> None:
    assert len(set(figures.DASHES)) == len(LIGHT.rules)
    for colour in LIGHT.rules:
        assert 1.05 / (luminance(colour) + 0.05) >= 3  # contrast with a white page
    for a, b in combinations(LIGHT.rules, 2):
        assert np.abs(rgb(a) - rgb(b)).max() > 0.2
