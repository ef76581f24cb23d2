"""Uploads and downloads: what goes in is shown and comes out, and what cannot be read is a sentence."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from playwright.sync_api import Page, expect

from app import link
from app.choice import Choice, Origin, Panel, TableRow
from gdn_core.lab import scenarios
from tests.browser.lab_steps import check, give, npz, numbers, press, save, settle, visit
from tests.browser.server import ROOT


def test_an_upload_is_shown_and_comes_out_of_the_download_as_it_went_in(page: Page) -> None:
    rng = np.random.default_rng(3)
    given = {
        "q": rng.normal(size=(7, 4)), "k": rng.normal(size=(7, 4)) / 2, "v": rng.normal(size=(7, 3)),
        "g": -rng.uniform(0, 1, 7), "beta": rng.uniform(0, 1, 7),
    }  # fmt: skip
    page.goto("/?from=arrays")
    expect(page.get_by_text("Choose a file of arrays")).to_be_visible()
    give(page, "mine.npz", npz(**given))
    player = settle(page)
    check(player, scenarios.from_arrays(given, scenarios.Settings()), ("deltanet", "gated-deltanet"), 6)
    press(page, "Numbers and files")
    settle(page)
    data = save(page, "Every array (NPZ)")
    with np.load(io.BytesIO(data)) as saved:
        for name, array in given.items():
            np.testing.assert_array_equal(saved[name], array)
        for stage, t in (("before", 6), ("written", 7)):
            held = numbers(player, "gated-deltanet", stage)
            np.testing.assert_array_equal(saved["gated-deltanet.states"][t].ravel(), held)

    shown = player.get_attribute("data-ready")
    page.goto("/?from=arrays&see=numbers")
    give(page, "again.npz", data)
    assert settle(page).get_attribute("data-ready") == shown


def test_the_python_that_is_downloaded_makes_the_numbers_again_and_the_table_has_a_line_each(
    page: Page, tmp_path: Path
) -> None:
    player = visit(page, "preset=recency&dk=5&T=6&see=numbers&disc=zoh&rules=mamba.deltanet")
    code = save(page, "The Python that makes them").decode() + "\nimport sys\nrun.states.tofile(sys.argv[1])\n"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "states")], cwd=ROOT, check=True, timeout=120)
    states = np.fromfile(tmp_path / "states", np.float32).reshape(2, 7, -1)
    for states_of_rule, rule in zip(states, ("mamba", "deltanet"), strict=True):
        np.testing.assert_array_equal(states_of_rule[6], numbers(player, rule, "written").astype(np.float32))
    lines = save(page, "Numbers of each token (CSV)").decode().splitlines()
    assert lines[0].startswith("rule,token,label")
    assert len(lines) == 1 + 2 * 6


def test_no_table_saves_cells_that_are_formulas(page: Page) -> None:
    row = TableRow("a", "b", label="=1+1")
    table = link.to_query(Choice(origin=Origin.TABLE, table=(row,), rules=("deltanet",), panel=Panel.NUMBERS))
    visit(page, urlencode(table))
    assert save(page, "Numbers of each token (CSV)").decode().splitlines()[1].startswith("deltanet,0,'=1+1,")
    expect(page.get_by_test_id("stDataFrame")).to_have_count(2)  # what is edited, and the numbers
    buttons = page.get_by_test_id("stBaseButton-elementToolbar").filter(visible=True)
    expect(buttons.and_(page.get_by_label("Fullscreen"))).to_have_count(2)
    expect(buttons.and_(page.get_by_label("Download as CSV"))).to_have_count(0)


BAD = (
    ("damaged.npz", b"PK\x03\x04 nothing here", "damaged.npz"),
    ("infinite.npz", npz(k=np.full((3, 2), np.inf)), "finite"),
    ("ragged.csv", b"k0,k1\n1,2\n3\n", "ragged.csv"),
)


def test_a_bad_upload_is_a_sentence_and_the_page_goes_on(page: Page, tmp_path: Path) -> None:
    page.goto("/?from=arrays")
    for name, data, says in BAD:
        give(page, name, data)
        expect(page.get_by_test_id("stAlert").filter(has_text=says).first).to_be_visible()
        expect(page.get_by_text("Traceback")).to_have_count(0)
    huge = tmp_path / "huge.npz"
    with huge.open("wb") as file:
        file.truncate(200 * 10**6)
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(huge)
    expect(page.get_by_text("128.0MB or smaller")).to_be_visible()
    press(page, "Preset")
    settle(page)
