"""The README's timings are the measured ones, and its pictures exist and are small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs import picture, speed

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_has_the_measured_timings_as_they_are_written() -> None:
    assert speed.written(README) == README
    found = speed.measured()
    for said in ("card", "date", "commit"):
        assert found[said] in README


def test_the_readme_counts_the_rows_that_are_ahead() -> None:
    for table in speed.measured()["tables"]:
        ahead = sum(float(row.ours) < float(row.other) for row in table["rows"])
        assert f"- {table['title']}, beside {table['other']}: {ahead} of {len(table['rows'])}\n" in README


def test_what_stands_between_the_marks_is_replaced_and_nothing_else() -> None:
    first, last = speed.MARKS
    written = speed.written(f"before\n{first}\nold\n{last}\nafter\n")
    assert written.startswith(f"before\n{first}\n") and written.endswith(f"{last}\nafter\n") and "old" not in written


def test_measurements_are_taken_from_reports_of_one_card() -> None:
    def result(what: str, lengths: list[int], **times: tuple[float, float]) -> dict[str, object]:
        case = {"what": what, "B": 1, "T": 4096, "H": 2, "HV": 4, "lengths": lengths}
        runners = [
            {"runner": name.replace("_", "-"), "median": x, "eager": y, "host": y / 2} for name, (x, y) in times.items()
        ]
        runners[0]["runner"] = "gdn_core"
        return {"case": case, "times": runners}

    first = {
        "machine": {"device": "card", "commit": "abc", "flash-qla": "0.1.3"},
        "results": [
            result("both", [2048, 2048], gdn_core=(2.0, 4.0), flash_qla=(1.0, 5.0)),
            result("both", [], gdn_core=(1.0, 1.5), flash_qla=(2.0, 1.0), fla=(9.0, 9.0)),
            result("backward", [], gdn_core=(1.0, 1.5), flash_qla=(2.0, 1.0)),
        ],
    }
    second = {
        "machine": {"device": "card", "commit": "abc", "flashinfer-python": "0.7"},
        "results": [result("forward", [1024, 3072], gdn_core=(0.5, 1.0), flashinfer=(0.25, 1.0))],
    }
    found = speed.taken([first, second], "2026-01-01")
    assert (found["card"], found["date"], found["commit"]) == ("card", "2026-01-01", "abc")
    assert [table["other"] for table in found["tables"]] == ["FlashInfer 0.7"] * 2 + ["FlashQLA 0.1.3"] * 2
    assert [table["rows"] for table in found["tables"]] == [
        [["packed 1024 + 3072", "2/4", "0.500", "0.250"]],
        [["packed 1024 + 3072", "2/4", "1.000", "1.000", "0.500"]],
        [["1 x 4096", "2/4", "1.000", "2.000"], ["packed 2 x 2048", "2/4", "2.000", "1.000"]],
        [["packed 2 x 2048", "2/4", "4.000", "5.000", "2.000"], ["1 x 4096", "2/4", "1.500", "1.000", "0.750"]],
    ]
    with pytest.raises(ValueError, match="one card"):
        speed.taken([first, {"machine": {"device": "other"}, "results": []}], "")


def test_the_faster_of_two_is_bold() -> None:
    rows = [line for line in speed.tables().splitlines() if line.count("|") in (4, 5) and line.count("**") == 2]
    assert len(rows) == sum(len(table["rows"]) for table in speed.measured()["tables"])
    for row in rows:
        ours, other = (cell.strip() for cell in row.split("|")[2:4])
        assert ours.startswith("**") is (float(ours.strip("*")) < float(other.strip("*")))


def test_the_chart_is_drawn_from_what_was_measured() -> None:
    assert speed.CHART.read_text(encoding="utf-8") == speed.chart()


def test_every_picture_that_the_readme_shows_is_there() -> None:
    shown = re.findall(r'(?:src|srcset)="([^"]+)"', README)
    assert shown and all((ROOT / path).is_file() for path in shown)


@pytest.mark.parametrize("path", sorted(picture.FOLDER.iterdir()), ids=lambda path: path.name)
def test_a_picture_is_small_and_shown(path: Path) -> None:
    assert path.stat().st_size <= picture.MOST_BYTES
    assert f"docs/pictures/{path.name}" in README
