"""Firefox and WebKit, where they are installed: the lab loads, is scrubbed, and shows the reference's numbers.

Every phone of Apple's has WebKit. Chromium, which the other tests drive, is the one browser that CI has.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gdn_core.lab.scenarios import PRESETS, Settings
from tests.browser.drivers import Driver, firefox, missing, press, until, webkit
from tests.browser.lab_steps import moments

PLAYER = """[...document.querySelectorAll("[data-testid=stBidiComponentIsolated]")]
    .map(host => host.shadowRoot?.querySelector("section.player[data-ready]")).find(Boolean)"""
STANDS = "document.querySelector('[data-testid=stApp]').dataset.testScriptState === 'notRunning'"
SIZES = {"dk": 6, "dv": 5, "T": 9}
MADE = PRESETS["overwrite"]
STREAM = MADE.build(Settings(**{**vars(MADE.settings), **SIZES})).stream


def part(driver: Driver, selector: str) -> Any:
    """Return left, top, width and height of a part of the player, brought into view."""
    return driver.value(
        f"""(e => {{
            e.scrollIntoView({{ block: "center", behavior: "instant" }});
            const {{ left, top, width, height }} = e.getBoundingClientRect();
            return [left, top, width, height];
        }})(({PLAYER}).querySelector({selector!r}))"""
    )


def shows(driver: Driver, token: int) -> None:
    """Wait for a token, and compare the memory and the numbers beside it with the reference."""
    until(driver, f"({PLAYER})?.dataset.token === '{token}'")
    want = moments(STREAM, "deltanet", token).written
    held = driver.value(f"Array.from(({PLAYER}).numbers('deltanet', 'written'))")
    np.testing.assert_allclose(held, want.ravel(), atol=2e-5)
    norm = driver.value(f"Number(({PLAYER}).querySelector('[data-number=S]').dataset.value)")
    assert norm == pytest.approx(np.linalg.norm(want), abs=1e-4)


def reads(driver: Driver, token: int, i: int, j: int, pointer: str) -> None:
    """Point at an entry of the large map, or touch it, and compare what is said of it with the reference."""
    left, top, width, height = part(driver, ".frame[data-map=large]")
    press(driver, left + (j + 0.5) * width / SIZES["dk"], top + (i + 0.5) * height / SIZES["dv"], pointer)
    until(driver, f"!({PLAYER}).querySelector('.tip').hidden")
    said = driver.value(f"({PLAYER}).querySelector('.tip').innerText")
    assert f"value channel {i}, key channel {j}" in said
    value = driver.value(f"Number(({PLAYER}).querySelector('.tip-value').dataset.value)")
    assert value == pytest.approx(moments(STREAM, "deltanet", token).written[i, j], abs=2e-5)


@pytest.mark.parametrize("name", ["firefox", "webkit"])
def test_the_lab_loads_is_scrubbed_and_read_by_mouse_and_by_touch(name: str, app_url: str, tmp_path: Path) -> None:
    if lacks := missing(name):
        pytest.skip(lacks)
    start = {"firefox": firefox, "webkit": webkit}[name]
    with contextlib.ExitStack() as ends:
        driver = ends.enter_context(start(tmp_path))
        driver.go(f"{app_url}/?preset=overwrite&rules=deltanet&" + "&".join(f"{n}={x}" for n, x in SIZES.items()))
        until(driver, f"!!({PLAYER}) && {STANDS}")
        shows(driver, 8)
        painted = f"""(c => new Set(c.getContext("2d").getImageData(0, 0, c.width, c.height).data).size)(
            ({PLAYER}).querySelector(".frame[data-map=large] canvas"))"""
        assert driver.value(painted) > 10
        assert driver.value("document.documentElement.scrollWidth <= innerWidth")

        left, top, width, height = part(driver, ".scrubber")
        press(driver, left + width / 2, top + height / 2, "mouse")
        shows(driver, 4)
        reads(driver, 4, 1, 2, "mouse")
        until(driver, "new URLSearchParams(location.search).get('t') === '4'")

        left, top, width, height = part(driver, ".forward")
        press(driver, left + width / 2, top + height / 2, "touch")
        shows(driver, 5)
        reads(driver, 5, 3, 1, "touch")
        until(driver, "new URLSearchParams(location.search).get('t') === '5'")
