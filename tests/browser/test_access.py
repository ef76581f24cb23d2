"""What axe-core finds on the pages, in light and dark: nothing serious, and nothing moderate."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.lab_steps import BACKGROUNDS, QUIET, frames

PAGES = {
    "/": "section.player[data-ready]",
    "/?from=table&see=numbers": "section.player[data-ready]",
    "/lineage": "h1",
    "/derivations": "h1",
    "/tour": "section:is(.reel, .player)[data-ready]",
}


@pytest.fixture(scope="module")
def axe() -> str:
    """The script of axe-core, as its package brings it; in CI it must be there."""
    spec = importlib.util.find_spec("axe_playwright_python")
    if spec is None or spec.origin is None:
        in_ci = os.environ.get("CI", "").lower() in ("1", "true")
        (pytest.fail if in_ci else pytest.skip)("axe-playwright-python is not installed: pip install it, or ./run")
    return (Path(spec.origin).parent / "axe.min.js").read_text(encoding="utf-8")


def bad(page: Page, axe: str) -> list[tuple[str, str, str]]:
    """Return what axe finds on a page that is moderate or worse."""
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [
        (violation["id"], node["html"][:120], node.get("failureSummary", "")[-160:])
        for violation in found
        if violation["impact"] in ("moderate", "serious", "critical")
        for node in violation["nodes"]
    ]


def test_axe_finds_nothing_serious_or_moderate_and_each_page_has_a_title_of_its_own(page: Page, axe: str) -> None:
    titles, found = set(), []
    for address, ready in PAGES.items():
        page.goto(address)
        page.locator(ready).first.wait_for(timeout=90_000)
        page.wait_for_function(QUIET, timeout=60_000)
        titles.add(page.title())
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
        for scheme, background in BACKGROUNDS.items():
            page.emulate_media(color_scheme=scheme)
            expect(page.get_by_test_id("stApp")).to_have_css("background-color", background)
            frames(page, 30)
            found += [(address, scheme, *violation) for violation in bad(page, axe)]
    assert found == []
    assert len(titles) == 4
