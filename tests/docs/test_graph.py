"""The graph of the claims is drawn whole, and every arrow points to the right."""

from __future__ import annotations

import pytest

from derivations.registry import load
from docs import graph

USES = {"a": (), "b": ("a",), "c": ("a", "b"), "alone": (), "d": ("c",)}


def test_a_claim_stands_right_of_all_that_it_uses() -> None:
    assert graph.layers(USES) == [["a"], ["b"], ["c"], ["d"]]
    uses = {name: made.uses for name, made in load().items()}
    layer = {name: n for n, layer in enumerate(graph.layers(uses)) for name in layer}
    for name, others in uses.items():
        assert all(layer[other] < layer[name] for other in others)


def test_every_claim_with_a_neighbour_is_drawn_once_and_no_other() -> None:
    found = [name for layer in graph.layers(USES) for name in layer]
    assert sorted(found) == ["a", "b", "c", "d"]
    drawn = graph.svg(USES, lambda name: f"#{name}", str.upper)
    for name in found:
        assert drawn.count(f'href="#{name}"') == 1
    assert "alone" not in drawn
    assert drawn.count("marker-end") == sum(map(len, USES.values()))


def test_neighbours_stand_at_the_same_height_where_they_can() -> None:
    uses = {"a": (), "b": (), "c": (), "of c": ("c",), "of b": ("b",), "of a": ("a",)}
    left, right = graph.layers(uses)
    assert [f"of {name}" for name in left] == right


def test_a_circle_is_refused() -> None:
    with pytest.raises(ValueError, match="rests on itself"):
        graph.layers({"a": ("b",), "b": ("a",)})
