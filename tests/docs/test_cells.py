"""A file of cells is taken apart and run as a notebook is."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs import cells

TOUR = Path(__file__).resolve().parents[2] / "docs" / "tour.py"
FILE = """# before the first cell

# %% [markdown]
# # Title
#
# A line.

# %%
x = 20
print("x is", x)
x + 1

# %%
y = x + 2
"""


def test_a_file_is_taken_apart_into_text_and_code() -> None:
    text, first, second = cells.cells(FILE)
    assert (text.kind, text.body) == ("markdown", "# Title\n\nA line.")
    assert (first.kind, first.body.splitlines()[0], first.line) == ("code", "x = 20", 9)
    assert second.body == "y = x + 2"


def test_a_cell_gives_what_it_prints_and_its_last_value() -> None:
    names: dict[str, object] = {}
    _, first, second = cells.cells(FILE)
    assert cells.run(first, names, "file") == ("x is 20\n", 21)
    assert cells.run(second, names, "file") == ("", None)
    assert names["y"] == 22


def test_an_error_names_the_line_of_the_file() -> None:
    (cell,) = cells.cells("# %%\n\nx = 1\n1 / 0\n")
    with pytest.raises(ZeroDivisionError) as caught:
        cells.run(cell, {}, "file")
    assert caught.traceback[-1].lineno + 1 == 4  # counted from 0


def test_the_output_stands_under_its_cell(tmp_path: Path) -> None:
    file = tmp_path / "file.py"
    file.write_text(FILE)
    text = cells.markdown(file)
    assert text.startswith("# Title")
    assert text.index("x = 20") < text.index("x is 20") < text.index("\n21\n") < text.index("y = x + 2")


def test_the_tour_has_under_thirty_cells_and_goes_from_a_rule_to_a_picture() -> None:
    tour = cells.cells(TOUR.read_text(encoding="utf-8"))
    assert len(tour) < 30
    code = [cell.body for cell in tour if cell.kind == "code"]
    stages = ("RULES[", "claim.check()", "trajectory(", "chunk_gated_delta_rule(", "px.imshow(")
    order = [next(n for n, body in enumerate(code) if stage in body) for stage in stages]
    assert order == sorted(order)
