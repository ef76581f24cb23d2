"""Stepping, playing and scrubbing in a real Chromium, and what the server hears of it."""

from __future__ import annotations

import re

import numpy as np
from playwright.sync_api import Page, expect

from tests.browser.lab_steps import QUIET, frames
from tests.browser.player.player_steps import (
    FOUR,
    T,
    at_rest,
    nothing_more_happens,
    numbers,
    open_player,
    reports,
    run,
    runs,
    token,
)


def test_keys_step_inside_the_player_and_nowhere_else(page: Page) -> None:
    open_player(page)
    scrubber = page.get_by_role("slider", name="Token")
    scrubber.focus()
    for key, want in [("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", T - 1), ("Home", 0)]:
        page.keyboard.press(key)
        assert token(page) == want
    assert scrubber.get_attribute("aria-valuetext") == f"t = 0 of 0 to {T - 1}: word 0 → مرحبا 🦉"
    page.get_by_role("button", name="Step forward").focus()
    for key, want in [("ArrowRight", 1), ("PageUp", 3), ("PageDown", 1), ("End", T - 1), ("ArrowRight", T - 1)]:
        page.keyboard.press(key)
        assert token(page) == want
    at_rest(page, T - 1)
    page.get_by_label("go to").focus()
    for key in ("Home", "ArrowLeft", " "):
        page.keyboard.press(key)
    page.get_by_role("combobox", name="Speed").focus()
    page.keyboard.press("ArrowLeft")
    assert token(page) == T - 1
    assert page.get_by_role("button", name="Play", exact=True).is_visible()


def test_space_plays_and_the_pause_is_reported(page: Page) -> None:
    page.emulate_media(reduced_motion="no-preference")
    open_player(page)
    page.get_by_role("slider", name="Token").focus()
    page.keyboard.press(" ")
    page.wait_for_function("() => [...document.querySelectorAll('*')].some(e => e.shadowRoot?.querySelector("
                           "'.player')?.dataset.token >= 5)")  # fmt: skip
    before = runs(page)
    page.keyboard.press(" ")
    reached = token(page)
    assert 5 <= reached < T - 1
    at_rest(page, reached)
    assert runs(page) == before + 1
    frames(page, 20)
    assert token(page) == reached


def test_playing_ends_at_the_last_token_and_loops_when_told_to(page: Page) -> None:
    open_player(page, f"?token={T - 3}")
    page.locator(".speed").select_option("60")
    page.get_by_role("button", name="Play", exact=True).click()
    at_rest(page, T - 1)
    page.get_by_role("button", name="Loop").click()
    page.get_by_role("button", name="Play", exact=True).click()
    page.locator(".player").evaluate(  # to the end, and on from the beginning
        """player => new Promise(done => {
            const seen = [];
            const watch = new MutationObserver(() => {
                seen.push(Number(player.dataset.token));
                const last = seen.indexOf(Number(player.querySelector(".scrubber").max));
                if (last >= 0 && seen.indexOf(1, last) > 0) watch.disconnect(), done();
            });
            watch.observe(player, { attributes: true, attributeFilter: ["data-token"] });
        })"""
    )
    expect(page.get_by_role("button", name="Pause")).to_be_visible()


def test_scrubbing_sends_nothing_until_it_is_let_go(page: Page) -> None:
    sent: list[object] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    open_player(page)
    page.wait_for_function(QUIET)
    box = page.locator(".scrubber").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 10, middle)
    page.mouse.down()
    sent.clear()
    seen = set()
    for step in range(40):
        page.mouse.move(box["x"] + 10 + step * (box["width"] - 300) / 40, middle)
        seen.add(token(page))
    frames(page, 40)
    assert len(seen) > 10
    assert sent == []
    page.mouse.up()
    at_rest(page, token(page))
    assert len(sent) == 1


def test_a_burst_of_steps_is_one_report(page: Page) -> None:
    open_player(page)
    before = runs(page)
    # In one task of the page: between clicks from outside a slow machine may come to rest.
    page.get_by_role("button", name="Step forward").evaluate("b => { for (let i = 0; i < 6; i++) b.click(); }")
    at_rest(page, 6)
    nothing_more_happens(page)
    assert runs(page) == before + 1


def mark(page: Page) -> None:
    page.locator(".player").evaluate(
        "p => { p.querySelector('canvas').marked = p.querySelector('.token').marked = true; }"
    )


def untouched(page: Page) -> bool:
    return page.locator(".player").evaluate("p => p.querySelector('canvas').marked && p.querySelector('.token').marked")


def test_a_rerun_with_the_same_numbers_touches_nothing(page: Page) -> None:
    open_player(page, "?token=4")
    mark(page)
    page.get_by_role("button", name="Step forward").click()
    at_rest(page, 5)
    before = runs(page)
    page.get_by_role("button", name="run again").click()
    page.wait_for_function(f"() => document.body.innerText.includes('runs: {before + 1}')")
    assert token(page) == 5
    assert untouched(page)


def test_other_numbers_keep_the_token_and_fewer_tokens_show_the_last_for_as_long(page: Page) -> None:
    open_player(page, "?token=17")
    player = page.locator(".player")
    first, picture = numbers(page, "gated-deltanet", "written"), player.get_attribute("data-ready")
    page.get_by_role("button", name="other numbers").click()
    expect(player).not_to_have_attribute("data-ready", picture)
    assert token(page) == 17
    other = run(FOUR, seed=1)
    np.testing.assert_array_equal(numbers(page, "gated-deltanet", "written"), other.states[2, 18])
    assert not np.array_equal(first, other.states[2, 18])
    page.get_by_role("button", name="fewer tokens").click()
    expect(player).to_have_attribute("data-token", "4")
    assert page.locator(".token").count() == 5
    page.locator("[data-rule=mamba] [data-moment=erased] button").click()
    nothing_more_happens(page)
    assert reports(page) == 0  # nobody has moved
    page.get_by_role("button", name="other numbers").click()
    expect(player).to_have_attribute("data-token", "17")
    page.get_by_role("button", name="fewer tokens").click()
    expect(player).to_have_attribute("data-token", "4")
    page.get_by_role("button", name="Step back").click()
    at_rest(page, 3)
    page.get_by_role("button", name="other numbers").click()
    expect(page.get_by_text(re.compile("runs: 7$"))).to_be_visible()
    nothing_more_happens(page)
    assert token(page) == 3


def test_the_last_token_stays_the_last(page: Page) -> None:
    open_player(page, "?token=-1")
    player = page.locator(".player")
    for button, last in (("fewer tokens", 4), ("other numbers", T - 1)):
        page.get_by_role("button", name=button).click()
        expect(player).to_have_attribute("data-token", str(last))
    nothing_more_happens(page)
    assert reports(page) == 0


def test_the_page_can_send_the_player_to_a_token_and_back(page: Page) -> None:
    open_player(page, "?token=3")
    at_rest(page, 3)
    asked = page.get_by_label("go to")
    player = page.locator(".player")
    for n, there in enumerate((9, 3, 9), start=1):
        asked.fill(str(there))
        asked.press("Enter")
        expect(player).to_have_attribute("data-token", str(there))
        nothing_more_happens(page)
        assert reports(page) == n - 1  # the page knows where it has sent the player
        page.get_by_role("button", name="First token").click()
        at_rest(page, 0)  # the same token is news at every visit
        expect(page.get_by_text(f"reports: {n};")).to_be_visible()


def test_going_back_takes_back_what_was_about_to_be_reported(page: Page) -> None:
    open_player(page, "?token=3")
    page.evaluate("history.pushState({}, '', location.search + '&more')")
    # In one task of the page: between two calls from outside a slow machine may come to rest.
    page.get_by_role("button", name="Step back").evaluate("b => { b.click(); history.back(); }")
    nothing_more_happens(page)
    assert reports(page) == 0


def test_its_own_report_handed_back_moves_nothing(page: Page) -> None:
    open_player(page)
    page.get_by_text("hand the token at rest back").click()
    expect(page.get_by_text(re.compile("runs: 2$"))).to_be_visible()
    mark(page)
    forward = page.get_by_role("button", name="Step forward")
    for _ in range(12):  # slower than the rest time: reports and steps interleave
        forward.click()
        frames(page, 20)
    assert token(page) == 12
    at_rest(page, 12)
    nothing_more_happens(page)
    assert token(page) == 12
    assert untouched(page)  # the buffer came again, with another end
