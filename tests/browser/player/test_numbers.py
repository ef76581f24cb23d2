"""The player in a real Chromium: its numbers, its pixels, its words and what stands beside an entry."""

from __future__ import annotations

import base64
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from app.player import payload
from app.player.caption import Caption, behind
from app.player.source import HERE as PLAYER
from gdn_core.lab.trajectory import Trajectory, trajectory
from gdn_core.rules import RULES
from gdn_core.streams import Stream
from tests.browser.lab_steps import BACKGROUNDS, frames
from tests.browser.player.player_steps import FOUR, K, T, V, numbers, open_player, seek, token

INSIDE = """p => [...p.querySelectorAll('.frame, button, select, input, .numbers, .unit')]
    .every(e => { const r = e.getBoundingClientRect(); return r.width === 0 || (r.left >= 0 && r.right <= 390); })"""
MOMENTS = ("before", "decayed", "taken", "erased", "added", "written")


@pytest.fixture
def script(browser: Browser) -> Iterator[Page]:
    """An empty page that has the player's replay, and nothing else of it."""
    page = browser.new_page()
    page.add_script_tag(content=(PLAYER / "replay.js").read_text(encoding="utf-8"))
    yield page
    page.close()


def expected(ran: Trajectory, r: int, t: int) -> dict[str, np.ndarray]:
    """Return every moment of a token of rule r."""
    moments, x = ran.moments(r, t)._asdict(), ran.operands[r]
    k = np.broadcast_to(x.k, (T, *x.k.shape[1:]))[t, :V]
    moments |= {"taken": ran.read[r, t][:, None] * k, "added": ran.wv[r, t][:, None] * k}
    return {name: moments[name] for name in MOMENTS}


def test_the_numbers_behind_the_maps_are_the_trajectory_to_the_bit(page: Page, ran: Trajectory) -> None:
    open_player(page)
    for t in (0, 1, 2, T - 1, 7, 8, 3):  # forwards by one, and leaps both ways
        seek(page, t)
        for r, rule in enumerate(FOUR):
            for moment, want in expected(ran, r, t).items():
                np.testing.assert_array_equal(numbers(page, rule, moment), np.broadcast_to(want, (V, K)))


def test_states_kept_only_now_and_then_give_the_same_numbers(script: Page, ran: Trajectory) -> None:
    data = behind(payload.of(ran, [""] * T), key="key", token=5, visit=7, caption=Caption(title="a title"))
    states = script.evaluate(
        """data => {
            const shifted = Uint8Array.from(" " + atob(data), (c) => c.charCodeAt(0)); // misaligned, as protobuf may
            const { header, floats, token, visit, caption } = decode(shifted.subarray(1));
            if (token !== 5 || visit !== 7 || caption.title !== "a title") throw new Error("the tail was read wrongly");
            const memory = new Memory(header.rules[2], header, floats, 4 * header.V * header.K);
            if (memory.kept.length > 4 * header.V * header.K) throw new Error("more states were kept than asked for");
            let replayed = 0;
            memory.advance = function (...given) { replayed++; return Memory.prototype.advance.apply(this, given); };
            const back = [...Array(header.T).keys()].reverse();
            const at = (t) => { memory.seek(t); return [t, [...memory.maps.before], [...memory.maps.written]]; };
            const states = [back, [23, 0, 11, 12, 13, 5, 6, 5, 4]].map((way) => way.map(at));
            memory.seek(header.T - 1);
            replayed = 0;
            for (const t of back) memory.seek(t);
            if (replayed > header.T) throw new Error(`${replayed} tokens were replayed`); // each once
            return states.flat();
        }""",
        base64.b64encode(data).decode(),
    )
    for t, *flat in states:
        np.testing.assert_array_equal(np.float32(flat).reshape(2, V, K), ran.states[2, t : t + 2])


def test_the_scale_reaches_the_largest_entry_of_every_moment(script: Page) -> None:
    """One key again and again, erased half as much again as it holds: what is taken away is larger than any memory."""
    flat = np.ones((3, V))
    key = np.ones((3, K)) / np.sqrt(K)
    stream = Stream(
        q=key, k=key, v=-flat, g=np.zeros(3), beta=np.full(3, 1.5), w=np.ones(3), delta=np.ones(3), A=-np.ones(K)
    )
    ran = trajectory("deltanet", stream, backend="torch")
    taken = ran.read[0, 1][:, None] * key[1].astype(np.float32)
    assert np.abs(taken).max() > np.abs(ran.states[0]).max()
    peaks = script.evaluate(
        """data => {
            const { header, floats } = decode(Uint8Array.from(atob(data), (c) => c.charCodeAt(0)));
            return [...new Memory(header.rules[0], header, floats, Infinity).peaks];
        }""",
        base64.b64encode(behind(payload.of(ran, [""] * 3), key="", token=0, caption=Caption())).decode(),
    )
    np.testing.assert_array_equal(np.float32(peaks)[1], np.abs(taken).max())


def test_the_scale_of_a_token_is_the_largest_entry_of_its_moments_under_every_rule(
    script: Page, ran: Trajectory
) -> None:
    peaks = script.evaluate(
        """data => {
            const { header, floats } = decode(Uint8Array.from(atob(data), (c) => c.charCodeAt(0)));
            return header.rules.map((rule) => [...new Memory(rule, header, floats, Infinity).peaks]);
        }""",
        base64.b64encode(behind(payload.of(ran, [""] * T), key="", token=0, caption=Caption())).decode(),
    )
    for r, (rule, found) in enumerate(zip(ran.rules, peaks, strict=True)):
        for t in range(T):
            want = max(np.abs(moment).max() for moment in expected(ran, r, t).values())
            assert np.float32(found[t]) == want, (rule.slug, t)


def test_the_colours_tell_the_sign_and_fade_into_the_page(page: Page) -> None:
    open_player(page, "?token=9")
    for scheme, background in BACKGROUNDS.items():
        page.emulate_media(color_scheme=scheme)
        expect(page.get_by_test_id("stApp")).to_have_css("background-color", background)
        frames(page, 2)
        expect_signs_and_ground(page, scheme)


def expect_signs_and_ground(page: Page, scheme: str) -> None:
    """Expect red for what is above zero, blue below, and the page's ground for zero."""
    for moment in ("large", "erased", "added"):
        frame = page.locator(f"[data-rule=gated-deltanet] [data-map={moment}]")
        pixels = np.array(
            frame.locator("canvas").evaluate("c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]")
        ).reshape(V, K, 4)
        values = numbers(page, "gated-deltanet", "written" if moment == "large" else moment)
        red, blue = pixels[..., 0].astype(int), pixels[..., 2].astype(int)
        clear = np.abs(values) > 0.02
        assert clear.sum() > 10
        assert (np.sign(red - blue)[clear] == np.sign(values)[clear]).all()
        assert (pixels[..., 3] == 255).all()
    background = page.locator(".player").evaluate("p => getComputedStyle(p).getPropertyValue('--st-background-color')")
    zero = page.locator("[data-rule=mamba] [data-map=taken] canvas").evaluate(
        "c => [...c.getContext('2d').getImageData(2, 2, 1, 1).data].slice(0, 3)"
    )  # a rule that erases nothing
    assert "#" + "".join(f"{x:02x}" for x in zero) == background.strip()
    assert (sum(zero) > 384) == (scheme == "light")


def test_all_maps_share_one_symmetric_scale(page: Page, ran: Trajectory) -> None:
    open_player(page)
    largest = 0.0
    for r in range(len(FOUR)):
        for t in range(T):
            want, wv = ran.moments(r, t), ran.wv[r, t]
            x = ran.operands[r]
            k = np.broadcast_to(x.k, (T, *x.k.shape[1:]))[t, :V]
            rank_one = [ran.read[r, t][:, None] * k, wv[:, None] * k]
            largest = max(largest, *(float(np.abs(m).max()) for m in [*want[:4], *rank_one]))
    ticks = page.locator(".ticks span").all_inner_texts()
    ends = [float(ticks[n].replace("−", "-")) for n in (0, 2, 4)]
    assert ends == [-float(f"{largest:.2g}"), 0, float(f"{largest:.2g}")]
    page.locator(".limit").select_option("token linear")
    assert page.locator(".unit").inner_text().endswith("this token")
    assert float(page.locator(".ticks span").last.inner_text()) < largest


def test_every_cell_has_its_number_in_a_tip_inside_the_window(page: Page, ran: Trajectory) -> None:
    open_player(page, "?token=9")
    for width in (1440, 390):
        page.set_viewport_size({"width": width, "height": 844})
        frames(page, 2)
        expect_tips(page, ran, width)
    page.mouse.move(0, 0)
    expect(page.locator(".tip")).to_be_hidden()


def expect_tips(page: Page, ran: Trajectory, width: int) -> None:
    """Expect at three corners of six maps a tip with the number that was computed, beside the map and in the window."""
    for r, rule in ((0, FOUR[0]), (3, FOUR[3])):
        for moment in ("large", "before", "erased"):
            frame = page.locator(f"[data-rule={rule}] [data-map={moment}]")
            frame.scroll_into_view_if_needed()
            page.locator(".player").evaluate("p => p.querySelector('.transport').style.position = 'static'")
            size = frame.bounding_box()
            for i, j in ((0, 0), (V - 1, K - 1), (2, 7)):
                frame.hover(position={"x": (j + 0.5) / K * size["width"], "y": (i + 0.5) / V * size["height"]})
                tip = page.locator(".tip")
                want = ran.moments(r, 9)._asdict()["written" if moment == "large" else moment][i, j]
                value = tip.locator(".tip-value")
                assert np.float32(float(value.get_attribute("data-value"))) == want
                assert float(value.inner_text().replace("−", "-")) == float(f"{want:.4g}")
                assert tip.locator(".tip-place").inner_text() == f"value channel {i}, key channel {j}"
                assert tip.locator(".tip-rule").inner_text().startswith(RULES[rule].title)
                box = tip.bounding_box()
                assert box["x"] >= 0 and box["x"] + box["width"] <= width
                assert box["y"] >= 0 and box["y"] + box["height"] <= 844
                beside = box["x"] + box["width"] <= size["x"] or box["x"] >= size["x"] + size["width"]
                assert beside or box["y"] + box["height"] <= size["y"] or box["y"] >= size["y"] + size["height"]


def test_a_touch_shows_the_number_until_the_next(phone: Page) -> None:
    page = open_player(phone, "?token=9")
    page.locator("[data-rule=mamba] [data-map=large]").tap()
    frames(page, 12)
    expect(page.locator(".tip")).to_be_visible()
    page.locator(".now").tap()
    expect(page.locator(".tip")).to_be_hidden()


def test_keys_read_the_entries_aloud(page: Page, ran: Trajectory) -> None:
    open_player(page, "?token=9")
    page.locator("[data-rule=gated-deltanet] .maps").focus()
    page.keyboard.press("ArrowRight")
    page.set_viewport_size({"width": 1440, "height": 500})
    main = page.get_by_test_id("stMain")
    main.evaluate("main => main.scrollBy(0, 40)")  # as focus may make the page do: it forgets nothing
    assert main.evaluate("main => main.scrollTop") > 0
    frames(page, 2)
    for key in ("ArrowRight", "ArrowDown", "m"):
        page.keyboard.press(key)
    said = page.locator(".said").inner_text()
    value = f"{ran.moments(2, 9).decayed[1, 1]:.4g}".replace("-", "−")
    assert said == f"Gated DeltaNet · decayed, {value}, value channel 1, key channel 1"
    assert token(page) == 9
    page.keyboard.press("Escape")
    expect(page.locator(".tip")).to_be_hidden()


def test_the_numbers_in_words_are_those_of_the_token(page: Page, ran: Trajectory) -> None:
    open_player(page, "?token=9")
    for r, rule in enumerate(FOUR):
        line = page.locator(f"[data-rule={rule}] .numbers")
        shown = {
            name: float(line.locator(f"[data-number='{name}']").get_attribute("data-value"))
            for name in ("S", "u", "o")
        }
        want = {"S": ran.states[r, 10], "u": ran.u[r, 9], "o": ran.o[r, 9]}
        for name, array in want.items():
            np.testing.assert_allclose(shown[name], np.linalg.norm(array.astype(float)), rtol=1e-12)
    assert page.locator("[data-rule=linear-attention-normalised] [data-map=z]").count() == 1
    assert page.locator("[data-map=z]").count() == 1


def test_stages_take_the_large_map_through_decay_erase_and_write(page: Page) -> None:
    open_player(page, "?token=3")
    page.get_by_role("button", name="Stages").click()
    forward = page.get_by_role("button", name="Step forward")
    heading = page.locator("[data-rule=gated-deltanet] .large-name")
    for want in ("decayed, token 4", "erased, token 4", "S after token 4", "decayed, token 5"):
        forward.click()
        assert heading.inner_text() == want
    page.get_by_role("button", name="Step back").click()
    assert heading.inner_text() == "S after token 4"


def test_a_phone_shows_all_of_it_without_scrolling_sideways(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_player(page)
    for scheme, background in BACKGROUNDS.items():
        page.emulate_media(color_scheme=scheme)
        expect(page.get_by_test_id("stApp")).to_have_css("background-color", background)
        frames(page, 2)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.locator(".player").evaluate(INSIDE)
        assert page.locator(".scrubber").bounding_box()["y"] < 844  # it stays in view above what scrolls


def test_the_picture_is_saved_as_png(page: Page, tmp_path: Path) -> None:
    open_player(page, "?token=9")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save PNG").click()
    assert download.value.suggested_filename == "memory_t-9.png"
    download.value.save_as(tmp_path / "picture.png")
    data = (tmp_path / "picture.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    assert width > 2000
    assert height > 600
    assert len(data) > 20_000


def test_everything_that_can_be_pushed_has_a_name(page: Page) -> None:
    open_player(page)
    nameless = page.locator(".player").evaluate(
        """player => [...player.querySelectorAll('button, select, input, canvas, [tabindex], [role]')]
            .filter(e => !(e.getAttribute('aria-label') || e.closest('label') || e.textContent.trim())
                && e.getAttribute('role') !== 'tooltip')
            .map(e => e.outerHTML)"""
    )
    assert nameless == []
    ids = page.locator(".player").evaluate("p => [...p.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    small = page.locator(".player").evaluate(
        "p => [...p.querySelectorAll('.transport button')].filter(e => e.getBoundingClientRect().height < 24).length"
    )
    assert small == 0


def test_one_token_and_numbers_that_are_not_finite_are_shown_all_the_same(page: Page) -> None:
    open_player(page, "?payload=one")
    page.get_by_role("button", name="Play", exact=True).click()
    expect(page.get_by_role("button", name="Play", exact=True)).to_be_visible()
    assert token(page) == 0
    open_player(page, "?payload=infinite&token=5")
    line = page.locator("[data-rule=deltanet] [data-number=S]")
    assert line.inner_text() in ("—", "∞")
    page.locator(".limit").select_option("token linear")
    held = page.locator(".player").evaluate(
        "(player, moments) => moments.flatMap((moment) => [...player.numbers('deltanet', moment)].map(String))", MOMENTS
    )
    entries = np.array(held, dtype=float)
    assert not np.isfinite(entries).all()
    largest = np.abs(entries[np.isfinite(entries)]).max()
    assert float(page.locator(".ticks span").last.inner_text()) == float(f"{largest:.2g}")

