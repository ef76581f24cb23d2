"""The lab as a visitor uses it, in a real Chromium: what is seen is what the reference computes."""

from __future__ import annotations

import contextlib
from typing import Literal

import pytest
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as TooLate

from gdn_core.lab import scenarios
from tests.browser.lab_steps import check, choose, expect_link, frames, moments, ours, press, settle, visit

DRAWN = "document.querySelector('.js-plotly-plot')?._fullLayout?.width"  # of the chart below the player


def test_a_preset_is_chosen_and_scrubbed_and_the_numbers_are_the_reference_s(page: Page, errors: list[str]) -> None:
    player = visit(page)
    picture = player.get_attribute("data-ready")
    choose(page, "Preset", "A token to be ignored")
    preset = scenarios.PRESETS["ignore"]
    expect(page.get_by_text(preset.look_for)).to_be_visible()
    expect(player).not_to_have_attribute("data-ready", picture)
    settle(page)
    scenario = preset.build()
    scrubber = player.locator(".scrubber")
    scrubber.focus()
    scrubber.press("Home")
    check(player, scenario, preset.rules, 0)
    for _ in range(8):
        scrubber.press("ArrowRight")
    check(player, scenario, preset.rules, 8)
    scrubber.press("End")
    check(player, scenario, preset.rules, len(scenario.labels) - 1)
    assert ours(errors) == []


def test_scrubbing_asks_the_server_only_once_it_rests(own_page: Page) -> None:
    sent: list[str | bytes] = []
    own_page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    player = visit(own_page, "preset=long&see=moment")
    sent.clear()
    own_page.clock.install()
    own_page.clock.pause_at(own_page.evaluate("Date.now() + 1000"))  # no machine is too slow where time stands
    player.locator(".scrubber").focus()
    for _ in range(30):
        player.locator(".scrubber").press("ArrowLeft")
        own_page.clock.run_for(250)  # ms; it rests after 300
    assert sent == []
    own_page.clock.run_for(100)
    own_page.clock.resume()
    expect(own_page.get_by_text("Token 225,")).to_be_visible()
    assert len(sent) == 1


def test_the_figure_and_the_link_follow_the_token_at_rest(page: Page) -> None:
    player = visit(page, "preset=overwrite&rules=deltanet.retnet&see=moment")
    scrubber = player.locator(".scrubber")
    scrubber.focus()
    scrubber.press("Home")
    for _ in range(8):  # the token that overwrites: there erasing shows
        scrubber.press("ArrowRight")
    expect(page.get_by_text("Token 8,")).to_be_visible()
    press(page, "erased")
    settle(page)
    scenario = scenarios.from_preset("overwrite")
    page.wait_for_function(
        """wanted => {
            const same = (a, b) => Array.isArray(a)
                ? a.length === b?.length && a.every((x, i) => same(x, b[i])) : Math.abs(a - b) < 2e-5;
            return same(wanted, document.querySelector('.js-plotly-plot')?._fullData?.map(({z}) => z));
        }""",
        arg=[moments(scenario.stream, rule, 8).erased.tolist() for rule in ("deltanet", "retnet")],
    )
    link = {"preset": "overwrite", "rules": "deltanet.retnet", "see": "moment"}
    expect_link(page, link | {"t": "8", "stage": "erased"})


def test_one_s_own_text_is_shown_and_travels_in_the_link(page: Page) -> None:
    visit(page)
    press(page, "Text")
    box = page.get_by_role("textbox", name="Your text")
    box.fill("sun = hot\nمرحبا = 👋\nsun = gone")
    box.press("Control+Enter")
    expect(page.get_by_text("sun → gone").first).to_be_attached()
    player = settle(page)
    labels = player.locator(".now .label")
    page.reload()
    player = settle(page)
    expect(page.get_by_role("textbox", name="Your text")).to_have_value("sun = hot\nمرحبا = 👋\nsun = gone")
    player.locator(".scrubber").focus()
    player.locator(".scrubber").press("Home")
    player.locator(".scrubber").press("ArrowRight")
    expect(labels).to_contain_text("👋")


def test_a_cell_of_the_table_is_edited_and_counts_after_a_reload(page: Page) -> None:
    visit(page, "from=table")
    editor = page.get_by_test_id("stDataFrame")
    editor.wait_for()
    for text in ("cherry", "grape"):  # every change counts, the second too
        settle(page)  # what stands above the table has its place
        first, opened = editor.get_by_test_id("glide-cell-1-0"), page.locator("textarea.gdg-input")
        for _ in range(10):  # the page may move between the look and the click
            box = editor.bounding_box()
            assert box
            page.mouse.click(box["x"] + 120, box["y"] + 52)
            frames(page, 40)  # a second click too soon would be a double one, and open the cell as it is
            if first.get_attribute("aria-selected") == "true":
                page.keyboard.press("Enter")
                with contextlib.suppress(TooLate):
                    opened.wait_for(timeout=2000)
                    break
        opened.fill(text)
        page.keyboard.press("Enter")
        expect(first).to_have_text(text)
        expect(page.get_by_text(f"{text} → red").first).to_be_attached()
    page.reload()
    settle(page)
    expect(page.get_by_text("grape → red").first).to_be_attached()


@pytest.mark.parametrize(("scheme", "curve"), [("light", "rgb(27, 95, 166)"), ("dark", "rgb(90, 168, 238)")])
def test_curves_have_the_colours_of_the_theme(page: Page, scheme: Literal["light", "dark"], curve: str) -> None:
    page.emulate_media(color_scheme=scheme)
    visit(page, "see=size&T=9")
    line = page.locator(".js-plotly-plot .scatterlayer .trace path.js-line").first
    line.wait_for()
    assert line.evaluate("path => getComputedStyle(path).stroke") == curve


def test_nothing_is_wider_than_the_page(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 800})
    visit(page, "preset=overwrite")
    main, drawn = page.locator("[data-testid=stMain]"), 0.0
    for width in (360, 768, 1360):
        page.set_viewport_size({"width": width, "height": 800})
        page.wait_for_function(f"drawn => ({DRAWN} ?? drawn) !== drawn", arg=drawn)
        drawn = page.evaluate(DRAWN)
        too_wide = page.evaluate("document.scrollingElement.scrollWidth - document.documentElement.clientWidth")
        assert too_wide <= 0
        assert main.evaluate("e => e.scrollWidth - e.clientWidth") <= 0

