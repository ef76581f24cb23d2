"""The part of a memory that is shown, the scale it has, and what words and pictures say, in a real Chromium."""

from __future__ import annotations

import re

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from app.player.source import HERE as PLAYER
from gdn_core.lab.trajectory import Trajectory
from tests.browser.lab_steps import frames
from tests.browser.player.player_steps import T, open_player, pixels, run

WIDE, HIGH = 80, 96  # channels of the buffer named "wide"


@pytest.fixture(scope="module")
def wide() -> np.ndarray:
    """The memory of DeltaNet after the last token of the buffer named "wide"."""
    return run(("deltanet", "retnet"), T=3, V=HIGH, K=WIDE).states[0, 3]


def part(page: Page) -> tuple[int, int, int, int]:
    """The first and last value channel, and the first and last key channel, as the axes of a memory say."""
    axes = page.locator("[data-rule=deltanet]").locator(".value-axis, .key-axis")
    found = axes.evaluate_all(
        "axes => axes.map(a => [a.querySelector('.from'), a.querySelector('.to')].map(e => +e.textContent))"
    )
    return (*found[0], *found[1])


def expect_drawn(page: Page, memory: np.ndarray) -> None:
    """Expect that the large map has a pixel for each entry of the part that its axes name."""
    top, bottom, left, right = part(page)
    drawn = pixels(page, "deltanet", "large")
    shown = memory[top : bottom + 1, left : right + 1]
    assert drawn.shape[:2] == shown.shape
    clear = np.abs(shown) > 0.02 * np.abs(memory).max()
    warm = drawn[..., 0].astype(int) - drawn[..., 2]
    assert clear.sum() > 100
    assert (np.sign(warm)[clear] == np.sign(shown)[clear]).all()


def test_buttons_keys_and_the_wheel_zoom_into_what_is_asked_for(page: Page, wide: np.ndarray) -> None:
    open_player(page, "?payload=wide&token=2")
    player = page.locator(".player")
    assert part(page) == (0, HIGH - 1, 0, WIDE - 1)
    expect_drawn(page, wide)
    page.get_by_role("button", name="Zoom in").click()
    assert part(page) == (24, 71, 20, 59)  # half of it, around the middle
    expect_drawn(page, wide)
    expect(player.locator(".part-said")).to_have_text("value channels 24 to 71 of 96, key channels 20 to 59 of 80")

    frame = player.locator("[data-rule=deltanet] [data-map=large]")
    box = frame.bounding_box()
    assert box
    frame.hover(position={"x": box["width"] * 3.5 / 40, "y": box["height"] * 7.5 / 48})
    assert player.locator(".tip-place").inner_text() == "value channel 31, key channel 23"
    assert float(player.locator(".tip-value").get_attribute("data-value") or "nan") == wide[31, 23]
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    top, bottom, left, right = part(page)
    assert (bottom - top, right - left) == (23, 19)
    assert top <= 31 <= bottom
    assert left <= 23 <= right  # what was pointed at is still shown
    expect_drawn(page, wide)
    page.mouse.wheel(0, 100)  # without ctrl the page scrolls
    assert part(page) == (top, bottom, left, right)

    page.mouse.move(0, 0)
    maps = player.locator("[data-rule=deltanet] .maps")
    maps.focus()
    page.keyboard.press("0")
    assert part(page) == (0, HIGH - 1, 0, WIDE - 1)
    page.keyboard.press("ArrowRight")
    for _ in range(9):
        page.keyboard.press("+")  # towards the entry at hand, as far as it goes
    assert part(page) == (0, 3, 0, 3)
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert part(page) == (0, 3, 1, 4)  # the entry that is read comes into view
    expect(player.locator(".tip-value")).to_have_attribute("data-value", str(float(wide[0, 4])))
    page.get_by_role("button", name="Whole").click()
    expect_drawn(page, wide)


def test_two_fingers_zoom_and_one_scrolls(phone: Page) -> None:
    page = open_player(phone, "?payload=wide&token=2")
    box = page.locator("[data-rule=deltanet] [data-map=large]").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    touch = page.context.new_cdp_session(page)
    main = page.get_by_test_id("stMain")

    def drag(*fingers: tuple[float, float]) -> None:
        """Touch the middle of the map with fingers that move by so much."""
        for kind, far in (("touchStart", 0.1), *(("touchMove", n / 10) for n in range(1, 11))):
            points = [{"x": x + dx * far, "y": y + dy * far, "id": n} for n, (dx, dy) in enumerate(fingers)]
            touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        frames(page, 10)

    at = main.evaluate("main => main.scrollTop")
    drag((60, 40), (-60, -40))
    top, bottom, left, right = part(page)
    assert bottom - top + 1 < HIGH / 4
    assert right - left + 1 < WIDE / 4
    assert top <= HIGH / 2 <= bottom
    assert left <= WIDE / 2 <= right
    assert main.evaluate("main => main.scrollTop") == at
    drag((0, -120))
    assert main.evaluate("main => main.scrollTop") > at
    assert part(page) == (top, bottom, left, right)


def test_a_pixel_of_several_entries_shows_the_strongest(browser: Browser) -> None:
    page = browser.new_page()
    page.add_script_tag(content=(PLAYER / "picture.js").read_text(encoding="utf-8"))
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((10, 9)).astype(np.float32)
    matrix[9, 8] = np.nan
    rows, columns, left = 4, 3, 2  # of the part from row 1, column 2
    drawn = page.evaluate(
        """([values, rows, columns]) => {
            const table = new Uint32Array(STEPS + 2).map((_, n) => n);
            const pixels = new Pixels(document.createElement("canvas"), 10, 9);
            const part = { i: 1, j: 2, rows: 9, columns: 7 };
            pixels.draw(values.map(x => x ?? NaN), 4, table, part, [rows, columns]);
            return [...pixels.packed];
        }""",
        [[None if np.isnan(x) else float(x) for x in matrix.ravel()], rows, columns],
    )
    want = np.zeros((rows, columns), np.float32)
    for i in range(9):
        for j in range(7):
            here = i * rows // 9, j * columns // 7
            x = matrix[1 + i, left + j]
            if np.isnan(x) or abs(x) > abs(want[here]):
                want[here] = x
    places = np.array(drawn).reshape(rows, columns)
    assert places[-1, -1] == 8193  # of what is not a number
    np.testing.assert_allclose(places.ravel()[:-1] / 1024 - 4, want.ravel()[:-1], atol=1 / 1024)
    page.close()


def test_a_rule_that_overflows_has_a_scale_of_its_own_and_so_has_each_that_is_asked_to(page: Page) -> None:
    open_player(page, "?payload=overflowing&token=2")
    ran = run(("deltanet", "gated-deltanet"))
    stays = 0.0  # largest |entry| of the rule that stays finite
    for t in range(T):
        moments = ran.moments(1, t)
        taken, added = (x[:, None] * ran.operands[1].k[t, :1] for x in (ran.read[1, t], ran.wv[1, t]))
        stays = max(stays, *(float(np.abs(m).max()) for m in (*moments[:4], taken, added)))

    def ends() -> list[str]:
        return page.locator(".ticks span").all_inner_texts()

    assert float(ends()[-1]) == float(f"{stays:.2g}")
    heading = page.locator(".large-name")
    assert heading.first.inner_text().startswith("S after token 2 · own scale ±")
    assert heading.last.inner_text() == "S after token 2"
    page.get_by_role("button", name="Own scale for each rule").click()
    assert heading.last.inner_text() == f"S after token 2 · own scale ±{stays:.2g}"
    assert ends()[-1] == "end"
    assert page.locator(".unit").inner_text().endswith("of each rule, all tokens")


def test_a_word_says_what_it_means_where_it_stands_by_mouse_and_by_touch(page: Page, phone: Page) -> None:
    for shown, way in ((phone, "tap"), (page, "hover")):
        open_player(shown)
        tip = shown.locator(".tip")
        for name, meaning in (("u", "the length of the error"), ("erase", "is taken away"), ("scale", "colour scale")):
            getattr(shown.locator(f"[data-word={name}]").first, way)()
            expect(tip).to_contain_text(meaning)
            box, size = tip.bounding_box(), shown.viewport_size
            assert box and size
            assert box["x"] >= 0 and box["x"] + box["width"] <= size["width"]
            assert box["y"] >= 0 and box["y"] + box["height"] <= size["height"]
        getattr(shown.locator(".now .t"), way)()
        expect(tip).to_be_hidden()


def test_a_picture_says_in_words_what_it_shows(page: Page, ran: Trajectory) -> None:
    open_player(page, "?token=9")
    card = page.locator("[data-rule=gated-deltanet]")
    expect(card.locator(".maps")).to_have_role("application")  # a screen reader leaves its arrow keys to it
    terms = {"decayed": "α S", "taken": "β α S k kᵀ", "added": "β v kᵀ"}
    for moment, term in terms.items():
        stage = card.locator(".stage").filter(has=page.locator(f"[data-moment={moment}]"))
        assert stage.locator(".gate").inner_text().startswith(term)
    for name, of in (("large", "written"), ("erased", "erased")):
        memory = getattr(ran.moments(2, 9), of)
        i, j = np.unravel_index(np.abs(memory).argmax(), memory.shape)
        most = float(f"{memory[i, j]:.2g}")
        said = f"largest entry {most:g} at value channel {i}, key channel {j}".replace("-", "−")
        label = f"Gated DeltaNet, {of} at token 9: "
        picture = card.locator(f"[data-map={name}]").get_by_role("img")
        expect(picture).to_have_attribute("aria-label", re.compile(f"^{re.escape(label)}.*{re.escape(said)}$"))

