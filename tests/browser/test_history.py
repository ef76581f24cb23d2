"""Links, reloads, back and forward: the controls, the player and the link agree, whatever comes when."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from gdn_core.lab import scenarios
from tests.browser.conftest import forget
from tests.browser.lab_steps import (
    check,
    expect_link,
    fill,
    follow,
    frames,
    give,
    moments,
    npz,
    number,
    numbers,
    settle,
    unfold,
    visit,
)


def test_a_control_changed_while_the_player_comes_to_rest_is_not_lost(page: Page) -> None:
    player = visit(page, "dk=6&dv=5&T=24&rules=deltanet")
    fold = page.locator(".st-key-more details")
    expect(fold).not_to_have_attribute("open", "")
    unfold(page)
    more = page.get_by_test_id("stNumberInput").filter(has_text="Seed").get_by_test_id("stNumberInputStepUp")
    for seed, wait in enumerate((0, 9, 15, 17, 20, 24), start=1):  # frames; the player reports 18 after a step
        picture = player.get_attribute("data-ready")
        player.locator(".scrubber").focus()
        player.locator(".scrubber").press("ArrowLeft")
        frames(page, wait)
        more.click()
        expect(player).not_to_have_attribute("data-ready", picture)
        settle(page)
        preset = next(iter(scenarios.PRESETS.values()))
        scenario = preset.build(
            scenarios.Settings(**{**vars(preset.settings), "dk": 6, "dv": 5, "T": 24, "seed": seed})
        )
        expect(number(page, "Seed")).to_have_value(str(seed))
        expect(fold.locator("summary")).to_contain_text(f"More settings: seed {seed}")
        expect(fold).to_have_attribute("open", "")
        check(player, scenario, ("deltanet",), 23 - seed)
        link = {"dk": "6", "dv": "5", "T": "24", "rules": "deltanet"}
        expect_link(page, link | {"t": str(23 - seed), "seed": str(seed)})


def test_a_reload_and_the_link_elsewhere_show_the_same(page: Page) -> None:
    player = visit(page, "see=moment")
    fill(page, "Key channels", "7")
    settle(page)
    fill(page, "Tokens", "11")
    settle(page)
    player.locator(".scrubber").focus()
    player.locator(".scrubber").press("Home")
    player.locator(".scrubber").press("ArrowRight")
    expect(page.get_by_text("Token 1,")).to_be_visible()
    settle(page)
    expect_link(page, {"dk": "7", "T": "11", "t": "1", "see": "moment"})
    preset = next(iter(scenarios.PRESETS.values()))
    scenario = preset.build(scenarios.Settings(**{**vars(preset.settings), "dk": 7, "T": 11}))

    page.reload()
    again = settle(page)
    expect(number(page, "Key channels")).to_have_value("7")
    check(again, scenario, preset.rules, 1)

    link = page.url
    forget(page)
    page.goto(link)
    check(settle(page), scenario, preset.rules, 1)


def test_a_link_to_one_head_shows_that_head_to_whoever_has_the_file(page: Page) -> None:
    rng = np.random.default_rng(0)
    arrays = {"k": rng.normal(size=(1, 40, 4, 3)) / 2, "v": rng.normal(size=(1, 40, 4, 2))}
    page.goto("/?from=arrays&rules=deltanet")
    give(page, "heads.npz", npz(**arrays))
    for label, value in (("Head", "3"), ("First token", "5")):
        settle(page)
        fill(page, label, value)
    settle(page)
    page.wait_for_function("new URLSearchParams(location.search).get('start') === '5'")
    link = page.url

    forget(page)
    page.goto(link)
    expect(page.get_by_text("file that this link cannot carry")).to_be_visible()
    give(page, "heads.npz", npz(**arrays))
    player = settle(page)
    for label, value in (("Head", "3"), ("First token", "5")):
        expect(number(page, label)).to_have_value(value)
    whole = scenarios.from_arrays(arrays, scenarios.Settings(), head=3)
    want = moments(whole.stream, "deltanet", 39).written  # from token 0 on, not from the window's first
    np.testing.assert_allclose(numbers(player, "deltanet", "written"), want.ravel(), atol=2e-5)
    assert page.url == link


def test_back_and_forward_move_through_the_changes(page: Page) -> None:
    link = {"dk": "6", "dv": "5", "T": "9"}
    player = visit(page, "dk=6&dv=5&T=9")
    pictures = {"0": player.get_attribute("data-ready")}
    for seed in ("1", "2"):
        fill(page, "Seed", seed)
        for picture in pictures.values():
            expect(player).not_to_have_attribute("data-ready", picture)
        expect_link(page, link | {"seed": seed})
        pictures[seed] = player.get_attribute("data-ready")
    for step, seed in ((page.go_back, "1"), (page.go_back, "0"), (page.go_forward, "1"), (page.go_forward, "2")):
        step()
        expect(number(page, "Seed")).to_have_value(seed)
        expect(player).to_have_attribute("data-ready", pictures[seed])
        expect_link(page, link | ({} if seed == "0" else {"seed": seed}))
    fill(page, "Seed", "5")
    expect_link(page, link | {"seed": "5"})


SLOW = """{
    const { addEventListener, send } = WebSocket.prototype;
    WebSocket.prototype.addEventListener = function (type, hear, options) {
        const late = (event) => setTimeout(() => hear(event), 300);
        addEventListener.call(this, type, type === "message" ? late : hear, options);
    };
    WebSocket.prototype.send = function (data) { setTimeout(() => send.call(this, data), 300); };
}"""


@pytest.fixture
def slow_page(page: Page) -> Iterator[Page]:
    """A page to which every message from the server, and back, takes 300 ms longer."""
    session = page.context.new_cdp_session(page)
    session.send("Page.enable")
    script = session.send("Page.addScriptToEvaluateOnNewDocument", {"source": SLOW})
    yield page
    session.send("Page.removeScriptToEvaluateOnNewDocument", script)
    session.detach()


def rests(page: Page, token: int, T: int, link: dict[str, str]) -> None:
    """Check that the controls, the player, what is below it and the link agree, and still do when all is quiet."""
    for quiet in (0, 40):  # frames: a report that comes late comes by then
        frames(page, quiet)
        settle(page)
        expect(number(page, "Tokens")).to_have_value(str(T))
        expect(page.locator("section.player")).to_have_attribute("data-token", str(token))
        expect(page.get_by_text(f"Token {token},")).to_be_visible()
        expect_link(page, link)


def test_going_back_as_soon_as_the_stream_is_shorter_goes_back(page: Page) -> None:
    link = {"preset": "parity", "T": "9", "dk": "4", "see": "moment"}
    player = visit(page, "preset=parity&T=9&dk=4&see=moment")
    for wait in (0, 6, 12, 17, 20, 24):  # frames; a player that reports does so after 18
        fill(page, "Tokens", "8")
        expect(player).to_have_attribute("data-token", "7")
        frames(page, wait)
        page.evaluate("history.back()")
        rests(page, 8, 9, link)


def test_going_back_counts_against_a_step_just_made(slow_page: Page) -> None:
    link = {"preset": "parity", "T": "9", "dk": "4", "see": "moment"}
    player = visit(slow_page, "preset=parity&T=9&dk=4&see=moment")
    assert "late" in slow_page.evaluate("String(WebSocket.prototype.addEventListener)")
    rests(slow_page, 8, 9, link)
    for wait in (0, 12, 24):  # frames: before the report, or while it is under way
        fill(slow_page, "Tokens", "8")
        rests(slow_page, 7, 8, link | {"T": "8"})
        player.get_by_role("button", name="Step back").click()
        frames(slow_page, wait)
        slow_page.evaluate("history.back()")
        frames(slow_page, 90)
        rests(slow_page, 8, 9, link)


def test_going_back_and_forward_brings_the_token_too(page: Page) -> None:
    link = {"preset": "parity", "T": "9", "dk": "4", "see": "moment"}
    player = visit(page, "preset=parity&T=9&dk=4&see=moment")
    for token in (7, 6, 5):
        player.get_by_role("button", name="Step back").click()
        rests(page, token, 9, link | {"t": str(token)})
    for step, token in ((page.go_back, 6), (page.go_back, 7), (page.go_forward, 6)):
        step()
        rests(page, token, 9, link | {"t": str(token)})
    player.get_by_role("button", name="Step back").click()
    rests(page, 5, 9, link | {"t": "5"})  # the same token as before going back


def test_a_stream_that_shrinks_and_grows_again_shows_what_its_link_shows(page: Page) -> None:
    link = {"preset": "parity", "dk": "4", "see": "moment"}
    player = visit(page, "preset=parity&T=9&dk=4&see=moment")
    for T in (20, 5, 12):  # nobody asked for a token: the last
        fill(page, "Tokens", str(T))
        rests(page, T - 1, T, link | {"T": str(T)})
    player.get_by_role("button", name="Step back").click()
    rests(page, 10, 12, link | {"T": "12", "t": "10"})
    said = page.get_by_text("There is no token 10 here")
    for T, token in ((5, 4), (12, 10)):
        fill(page, "Tokens", str(T))
        rests(page, token, T, link | {"T": str(T), "t": "10"})
        expect(said).to_have_count(int(T == 5))
    fill(page, "Tokens", "5")
    rests(page, 4, 5, link | {"T": "5", "t": "10"})
    page.reload()
    rests(page, 4, 5, link | {"T": "5", "t": "10"})
    expect(said).to_have_count(1)
    player.get_by_role("button", name="Step back").click()
    rests(page, 3, 5, link | {"T": "5", "t": "3"})
    expect(said).to_have_count(0)


def test_looking_at_the_tour_loses_nothing(page: Page) -> None:
    visit(page, "preset=parity&T=9&dk=4")
    page.get_by_role("link", name="Tour", exact=True).click()
    expect(page.get_by_role("heading", name="One memory, many rules")).to_be_visible()
    follow(page, "Write-rule lab")
    settle(page)
    expect(number(page, "Tokens")).to_have_value("9")
    expect_link(page, {"preset": "parity", "T": "9", "dk": "4"})
    fill(page, "Tokens", "8")
    settle(page)
    page.go_back()
    expect(number(page, "Tokens")).to_have_value("9")
    expect_link(page, {"preset": "parity", "T": "9", "dk": "4"})


def test_an_absurd_link_is_a_sentence_and_the_page_goes_on(page: Page) -> None:
    visit(page, "dk=zebra&colour=red&T=9")
    warnings = page.get_by_test_id("stAlert")
    expect(warnings).to_have_count(2)
    expect(warnings.filter(has_text="zebra")).to_be_visible()
    expect(number(page, "Tokens")).to_have_value("9")
    fill(page, "Seed", "4")
    settle(page)
    expect(warnings).to_have_count(0)
    expect_link(page, {"T": "9", "seed": "4"})


def test_five_hundred_unknown_fields_are_one_sentence(page: Page) -> None:
    visit(page, "T=9&" + "&".join(f"x{n}=1" for n in range(500)))
    expect(page.get_by_test_id("stAlert")).to_have_count(1)
    expect(page.get_by_test_id("stAlert")).to_contain_text("500 fields")
