"""The derivations as a visitor reads them, in a real Chromium, in light and in dark."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Browser, Page, expect

from derivations.claim import load

CLAIM = "delta_rule_is_a_gradient_step"
BROKEN = "document.querySelectorAll('.katex-error, [data-testid=stException]').length"
CUT = """Array.from(document.querySelectorAll('.katex-display'))
         .filter(e => e.scrollWidth > e.clientWidth + 2).length"""


def visit(page: Page, query: str = "") -> None:
    page.goto(f"/derivations{query}")
    page.get_by_role("button").filter(has_text=re.compile("Check it now|held over the step")).first.wait_for(
        timeout=90_000
    )


def colours(page: Page) -> tuple[float, float]:
    """Return the brightness of the page's ground and of its text, 0 to 255."""
    read = "e => getComputedStyle(e)[{0}].match(/\\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 3"
    ground = page.locator("[data-testid=stApp]").evaluate(read.replace("{0}", "'backgroundColor'"))
    ink = page.locator("[data-testid=stHeading]").first.evaluate(read.replace("{0}", "'color'"))
    return ground, ink


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_claim_is_read_checked_and_linked_to(browser: Browser, app_url: str, scheme: str) -> None:
    page = browser.new_page(base_url=app_url, color_scheme=scheme, viewport={"width": 1280, "height": 900})
    visit(page)
    made = load()[CLAIM]
    page.get_by_role("button", name=made.words).click()
    expect(page).to_have_url(re.compile(f"claim={CLAIM}$"))
    expect(page.get_by_role("heading", name=made.words)).to_be_visible()
    page.get_by_role("button", name="Check it now").click()
    expect(page.get_by_text(f"{len(made.mutants)} of {len(made.mutants)} wrong variants refuted")).to_be_visible(
        timeout=60_000
    )
    assert page.evaluate(BROKEN) == page.evaluate(CUT) == 0
    ground, ink = colours(page)
    assert abs(ground - ink) > 120
    assert (ground > ink) is (scheme == "light")
    page.go_back()
    expect(page.get_by_role("heading", name="Derivations")).to_be_visible()
    page.close()


@pytest.mark.parametrize(
    "name",
    [
        "block_exponential_holds_both_matrices_of_zoh",
        "ut_transform_is_the_gated_triangular_system",
        "decays_count_once_in_w",
    ],
)
def test_a_linked_claim_prints_its_formulas_whole(browser: Browser, app_url: str, name: str) -> None:
    page = browser.new_page(base_url=app_url, viewport={"width": 1280, "height": 900})
    visit(page, f"?claim={name}")
    expect(page.locator(".katex-display").first).to_be_visible()
    assert page.evaluate(BROKEN) == page.evaluate(CUT) == 0
    page.close()
