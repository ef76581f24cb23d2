"""The table of tokens: what is read of its cells, and a scenario as a table and back."""

from dataclasses import replace

import numpy as np

from app import compute, table
from app.choice import Choice, Origin, TableRow

SMALL = replace(Choice().settings, dk=6, dv=5, T=9)


def test_a_table_s_cells_are_read_whatever_the_editor_leaves_in_them() -> None:
    cells = [
        {"key": " a ", "value": "b", "alpha": None},
        {"key": None, "value": None, "alpha": None},
        {"key": "c", "value": "", "alpha": float("nan"), "beta": 1},
        {},
        {"query": "a", "label": "asks"},
    ]
    assert table.rows(cells) == (TableRow("a", "b"), TableRow("c", beta=1.0), TableRow(query="a", label="asks"))


def test_the_table_of_a_scenario_gives_the_scenario_back() -> None:
    made = compute.scenario(Choice(settings=SMALL))
    again = compute.scenario(Choice(origin=Origin.TABLE, table=table.of(made), settings=SMALL))
    assert again.labels == made.labels
    for name in ("q", "k", "v", "g", "beta", "w", "delta"):
        np.testing.assert_array_equal(getattr(again.stream, name), getattr(made.stream, name))
