"""What axe-core finds on the pages, in light and dark: nothing serious, and nothing moderate."""

from __future__ import annotations

import importlib.util
import io
import os
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.lab_steps import BACKGROUNDS, frames, quiet

LAB, TOUR = "section.player[data-ready]", "section:is(.reel, .player)[data-ready]"
PAGES = {
    "/": LAB,
    "/?from=table&see=numbers": LAB,
    "/?from=text": LAB,  # where the text is then taken away
    "/derivations": "h1",
    "/derivations?claim=delta_rule_is_a_gradient_step": ".katex",
    "/tour": TOUR,
}
LOOKS: tuple[tuple[Literal["light", "dark"], int, bool], ...] = (  # and whether its contrast is looked at
    ("light", 1360, True),
    ("dark", 1360, True),
    ("dark", 390, False),  # the same colours
)


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, as its package brings it; in CI it must be there."""
    spec = importlib.util.find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        in_ci = os.environ.get("CI", "").lower() in ("1", "true")
        (pytest.fail if in_ci else pytest.skip)("axe-playwright-python is not installed: pip install it, or ./run")
    return (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def bad(page: Page, axe: str, *, contrast: bool = True) -> list[tuple[str, str, str]]:
    """Return what axe finds on a page that is moderate or worse; contrast takes it most of its time."""
    if not page.evaluate("typeof window.axe === 'object'"):  # half a megabyte of script, once a page
        page.evaluate(axe)
    options = {"resultTypes": ["violations"], "rules": {"color-contrast": {"enabled": contrast}}}
    found = page.evaluate("options => axe.run(document, options)", options)["violations"]
    return [
        (violation["id"], node["html"][:120], node.get("failureSummary", "")[-160:])
        for violation in found
        if violation["impact"] in ("moderate", "serious", "critical")
        for node in violation["nodes"]
    ]


def test_axe_finds_nothing_serious_or_moderate_and_each_page_has_a_title_of_its_own(page: Page, axe: str) -> None:
    titles, found = set(), []
    for address, ready in PAGES.items():
        page.set_viewport_size({"width": 1360, "height": 900})
        page.goto(address)
        page.locator(ready).first.wait_for(timeout=90_000)
        quiet(page)
        if "from=text" in address:
            text = page.get_by_role("textbox", name="Your text")
            text.fill("")
            text.press("Control+Enter")
            expect(page.get_by_test_id("stAlert")).to_contain_text("expected some words")
            quiet(page)
        titles.add(page.title())
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
        for scheme, width, contrast in LOOKS:
            page.set_viewport_size({"width": width, "height": 844})
            page.emulate_media(color_scheme=scheme)
            expect(page.get_by_test_id("stApp")).to_have_css("background-color", BACKGROUNDS[scheme])
            frames(page, 30)
            found += [(address, scheme, width, *violation) for violation in bad(page, axe, contrast=contrast)]
    assert found == []
    assert len(titles) == 3


def opened(page: Page) -> None:
    """Open the lab, and wait until it stands."""
    page.goto("/")
    page.locator(LAB).wait_for(timeout=90_000)
    quiet(page)


def test_whatever_has_the_focus_in_the_lab_has_a_frame_around_it(page: Page) -> None:
    opened(page)
    frame = """() => {
        let at = document.activeElement;
        while (at?.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
        if (!at || at === document.body || at.closest("[data-testid=stDataFrame]")) return null; // or a table
        const near = [at, at.closest(".stSlider") && at.parentElement.parentElement].filter(Boolean);
        const framed = near.some(e => {
            const { outlineStyle, outlineWidth, boxShadow } = getComputedStyle(e);
            const { width, height } = e.getBoundingClientRect();
            return width > 1 && height > 1 && ((outlineStyle !== "none" && parseFloat(outlineWidth) >= 2)
                || (e.matches(".maps") && boxShadow !== "none"));
        });
        return framed ? "" : at.outerHTML.slice(0, 200);
    }"""
    seen = 0
    for _ in range(60):
        page.keyboard.press("Tab")
        found = page.evaluate(frame)
        seen += found is not None
        assert not found
    assert seen > 20


def test_forced_colours_show_the_sliders_and_reduced_motion_does_not_play(page: Page) -> None:
    page.emulate_media(forced_colors="active", reduced_motion="reduce")
    opened(page)
    player = page.locator("section.player")
    assert player.get_attribute("data-moving") is None
    for slider in (page.locator(".stSlider").first, player.locator(".scrubber")):
        slider.scroll_into_view_if_needed()
        shot = np.asarray(Image.open(io.BytesIO(slider.screenshot())).convert("RGB")).astype(int)
        drawn = np.abs(shot - shot[0, 0]).sum(axis=2) > 60
        assert drawn.any(axis=0).mean() > 0.8  # a line from end to end
        assert drawn.sum(axis=0).max() >= 8  # with a handle on it


def test_zoomed_to_200_percent_the_player_leaves_half_the_screen(page: Page) -> None:
    page.set_viewport_size({"width": 683, "height": 384})  # 1366 x 768 in pixels twice as large
    opened(page)
    page.locator(".rules").scroll_into_view_if_needed()
    transport, header = page.locator(".transport").bounding_box(), page.get_by_test_id("stHeader").bounding_box()
    assert transport and header
    assert transport["y"] - header["y"] - header["height"] >= 384 / 2
