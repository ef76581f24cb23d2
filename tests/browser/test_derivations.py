"""The derivations as a visitor reads them, in a real Chromium, in light and in dark."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from derivations.registry import load
from tests.browser.lab_steps import BACKGROUNDS, frames
from tests.browser.server import serving

CLAIM = "delta_rule_is_a_gradient_step"
TOP = "document.querySelector('[data-testid=stMain]').scrollTop"
BROKEN = "document.querySelectorAll('.katex-error, [data-testid=stException]').length"
CUT = """Array.from(document.querySelectorAll('[data-testid=stMain] .katex .base'))
    .filter(e => e.getBoundingClientRect().right
                 > e.closest('[data-testid=stMarkdownContainer]').getBoundingClientRect().right + 2)
    .map(e => e.innerText)"""

#: Headings that reach below their place, into the line or the box under them.
STRUCK = """Array.from(document.querySelectorAll('[data-testid=stMain] h2 [data-heading-text]'))
    .filter(e => e.getBoundingClientRect().bottom
                 > e.closest('[data-testid=stHeading]').getBoundingClientRect().bottom + 1)
    .map(e => e.innerText)"""


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


def test_a_claim_is_read_checked_and_linked_to(page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 900})
    visit(page)
    made = load()[CLAIM]
    assert page.evaluate(STRUCK) == []
    page.get_by_role("button", name=made.conclusion).click()
    expect(page).to_have_url(re.compile(f"claim={CLAIM}$"))
    expect(page.get_by_role("heading", name=made.conclusion)).to_be_visible()
    page.get_by_role("button", name="Check it now").click()
    expect(page.get_by_text(f"{len(made.mutants)} of {len(made.mutants)} wrong variants refuted")).to_be_visible(
        timeout=60_000
    )
    assert page.evaluate(BROKEN) == 0 and page.evaluate(CUT) == [] and page.evaluate(STRUCK) == []
    for scheme, background in BACKGROUNDS.items():
        page.emulate_media(color_scheme=scheme)
        expect(page.get_by_test_id("stApp")).to_have_css("background-color", background)
        ground, ink = colours(page)
        assert abs(ground - ink) > 120
        assert (ground > ink) is (scheme == "light")
    page.go_back()
    expect(page.get_by_role("heading", name="Derivations")).to_be_visible()


def test_a_claim_opens_at_its_top_and_the_list_is_where_it_was_when_one_comes_back(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    visit(page)
    made = load()["outputs_are_effective_attention"]
    link = page.get_by_role("button", name=made.conclusion)
    for back in (page.go_back, page.get_by_role("button", name="All claims").click):
        link.scroll_into_view_if_needed()
        was = page.evaluate(TOP)
        assert was > 1000
        link.click()
        expect(page.get_by_role("heading", name=made.conclusion)).to_be_visible()
        page.wait_for_function(f"{TOP} === 0")
        back()
        page.wait_for_function(f"Math.abs({TOP} - {was}) < 200")
        expect(link).to_be_in_viewport()


def test_the_claims_are_searched_and_going_back_keeps_what_was_found(page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 900})
    page.goto("/derivations?search=chunk")
    field = page.get_by_label("Search the claims")
    expect(field).to_have_value("chunk", timeout=90_000)
    field.fill("positive exponential")
    field.press("Enter")
    expect(page).to_have_url(re.compile("search=positive"))
    found = page.get_by_role("button", name=load()["no_exponential_of_a_positive_number"].conclusion)
    found.click()
    expect(page).to_have_url(re.compile("claim=no_exponential_of_a_positive_number$"))
    page.go_back()
    expect(found).to_be_visible()
    expect(field).to_have_value("positive exponential")


@pytest.fixture(scope="module")
def statements_url(chromium_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a page with every claim's statement, as the page of derivations shows it."""
    log = tmp_path_factory.mktemp("statements") / "log.txt"
    with serving(log, "tests/browser/derivations_page.py") as server:
        yield server.url


def test_every_statement_is_printed_whole(page: Page, statements_url: str) -> None:
    page.set_viewport_size({"width": 390, "height": 900})
    page.goto(statements_url)
    page.get_by_text("That is all.").wait_for(timeout=60_000)
    expect(page.locator("[data-testid=stMain] h3")).to_have_count(len(load()))
    page.wait_for_function("document.fonts.status === 'loaded'")
    page.wait_for_function(  # a slow machine prints them after the last word
        "n => document.querySelectorAll('[data-testid=stMain] .katex').length >= n", arg=len(load()), timeout=60_000
    )
    assert page.evaluate(BROKEN) == 0
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        frames(page, 2)
        assert page.evaluate(CUT) == []


def test_a_linked_claim_prints_its_formula(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    visit(page, "?claim=ut_transform_is_the_gated_triangular_system")
    expect(page.locator("[data-testid=stMain] .katex").first).to_be_visible()
    assert page.evaluate(BROKEN) == 0 and page.evaluate(CUT) == []
