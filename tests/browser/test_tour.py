"""The tour in a browser: the whole path by "next", wide and narrow, and what it links to."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, expect

from app.lessons import showing
from app.lessons.place import PATH, Place, starting, to_query
from app.lessons.registry import LESSONS
from gdn_core.lab.studies import lineage
from tests.browser.conftest import new_profile
from tests.browser.lab_steps import QUIET, expect_link, frames
from tests.browser.test_access import axe, bad  # noqa: F401  # a fixture

WIDE: ViewportSize = {"width": 1366, "height": 768}
MIDDLE: ViewportSize = {"width": 768, "height": 1024}
NARROW: ViewportSize = {"width": 390, "height": 844}
OVERFLOWS = """() => [document.documentElement, document.querySelector('[data-testid=stMain]')]
    .some(e => e.scrollWidth > e.clientWidth)"""
SMALL = """() => [...document.querySelector('section.reel')?.querySelectorAll('button') ?? []]
    .map(e => e.getBoundingClientRect()).filter(r => r.width && (r.width < 44 || r.height < 44)).length"""
# What of a step's controls, and of the top two thirds of its picture, is below the first screen, in pixels.
BELOW = """() => {
  const inner = [...document.querySelectorAll('[data-testid=stBidiComponentIsolated]')]
    .map(host => host.shadowRoot?.querySelector('.panels, .rules-box')).find(Boolean).getBoundingClientRect();
  const controls = document.querySelector('.st-key-controls')?.getBoundingClientRect().bottom ?? 0;
  return Math.max(controls, inner.top + 2 / 3 * inner.height) - innerHeight;
}"""


def picture(page: Page) -> Locator:
    """Wait until the page has stopped changing, and return the reel or the player."""
    shown = page.locator("section.reel[data-ready], section.player[data-ready]")
    shown.first.wait_for(timeout=90_000)
    frames(page, 2)
    page.wait_for_function(QUIET, timeout=60_000)
    expect(shown).to_have_count(1)  # the one of the step before stays until the page has run
    return shown


def visit(page: Page, where: Place) -> Locator:
    page.goto("/tour?" + "&".join(f"{name}={value}" for name, value in to_query(where).items()))
    return picture(page)


def expect_said(page: Page, where: Place, frame: int) -> None:
    """Compare the sentence on the page with the one of the numbers."""
    said = page.locator("section.reel .said, section.player .now .event")
    sentence = showing.show(where).said[frame]
    if where.at[1].measured:  # by the server, so that only the words are those of this process
        words = (re.escape(part) for part in re.split(r"[\d.,]*\d", sentence))
        expect(said).to_have_text(re.compile(r"[\d.,]*\d".join(words)))
    else:
        expect(said).to_have_text(sentence)


def keep(page: Page, name: str) -> None:
    """Keep a screenshot where CI collects them."""
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def arrive(page: Page, number: int) -> None:
    """Wait for a step of the tour, and look at what every step must be, on the page as wide as it is."""
    lesson, step = PATH[number]
    where = starting(lesson, step)
    expect(page.get_by_role("heading", level=2, name=where.at[1].title, exact=True)).to_be_visible()
    shown = picture(page)
    frame = int(shown.get_attribute("data-frame") or shown.get_attribute("data-token") or 0)
    expect_said(page, where, frame)
    top = "document.querySelector('[data-testid=stMain]').scrollTop"
    page.wait_for_function(f"{top} === 0")  # whoever went on at the bottom sees the top of the next


def test_the_whole_tour_by_next_wide_and_narrow_in_light_and_dark(
    page: Page,
    axe: str,  # noqa: F811
    errors: list[str],
) -> None:
    """The colours of a lesson's first step are checked for contrast: its other steps are drawn with the same ones."""
    lessons: set[str] = set()
    page.set_viewport_size(WIDE)
    page.goto("/tour")
    for number, (lesson, step) in enumerate(PATH):
        if number:
            page.locator(".st-key-next button").click()
            expect_link(page, to_query(starting(lesson, step)))
        arrive(page, number)
        scheme: Literal["light", "dark"] = "dark" if number % 2 else "light"
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        expect(page.get_by_role("heading", level=1)).to_have_count(1)
        frames(page, 5)
        assert bad(page, axe, contrast=lesson not in lessons) == []
        lessons.add(lesson)
        for name, size in {"wide": WIDE, "middle": MIDDLE, "narrow": NARROW}.items():
            page.set_viewport_size(size)
            frames(page, 2)
            assert not page.evaluate(OVERFLOWS), f"{lesson}, {step}: the page is wider than the window"
            if size is NARROW:
                assert page.evaluate(SMALL) == 0, f"{lesson}, {step}: a button is under 44 pixels"
                assert page.evaluate(BELOW) <= 0, f"{lesson}, {step}: controls and picture are not seen together"
            keep(page, f"tour-{number:02}-{lesson}-{step}-{name}")
        page.set_viewport_size(WIDE)
    expect(page.locator(".st-key-next button")).to_have_count(0)
    assert [error for error in errors if "404" not in error] == []


def test_two_lessons_on_a_phone_by_touch(browser: Browser, app_url: str) -> None:
    phone = new_profile(browser, app_url, viewport=NARROW, has_touch=True, is_mobile=True, color_scheme="dark")
    page = phone.new_page()
    page.goto("/tour")
    first, second, *_ = LESSONS.values()
    for number in range(len(first.steps) + len(second.steps)):
        if number:
            page.locator(".st-key-next button").tap()
            expect_link(page, to_query(starting(*PATH[number])))
        arrive(page, number)
        assert not page.evaluate(OVERFLOWS)
    phone.close()


def collision_first(page: Page) -> tuple[float, float]:
    """Read from the page how far linear attention's answer is off at the tenth pair, and compute it by lstsq."""
    where = starting("collision", "overlaps")
    reel = visit(page, where)
    reel.evaluate("reel => reel.seek(9)")
    said = reel.locator(".said").inner_text()
    k = np.array(showing.show(where).numbers["overlaps"][0, :10])
    v = values_of_collision(10)
    return float(said.split("off by ")[1].rstrip(".")), float(np.linalg.norm(k[1:] @ v[1:]))


def values_of_collision(n: int) -> np.ndarray:
    """The values of the collision lesson, drawn again."""
    v = np.random.default_rng(1).standard_normal((24, 16))[:n]
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def recency_weight(page: Page) -> tuple[float, float]:
    """Read the weight of the oldest of twelve values under Mamba-2: eleven decays of 0.8."""
    reel = visit(page, starting("recency", "weights"))
    reel.evaluate("reel => reel.seek(11)")
    said = reel.locator(".said").inner_text()
    return float(said.split("Mamba-2 ")[1].split(" ")[0]), 0.8**11


def ode_euler(page: Page) -> tuple[float, float]:
    """Read Euler's state at time 3 after six steps of 0.5: each halves the distance to 1."""
    reel = visit(page, starting("ode", "sampled"))
    reel.evaluate("reel => reel.seek(5)")
    return float(reel.locator(".said").inner_text().split("Euler ")[1].split(",")[0]), 1 - 0.5**6


def one_equation_longhorn(page: Page) -> tuple[float, float]:
    """Read the share that Longhorn removes at z = 1.5, in per cent."""
    reel = visit(page, starting("one-equation", "four"))
    reel.evaluate("reel => reel.seek(15)")
    return float(reel.locator(".said").inner_text().split("Longhorn ")[1].split(" ")[0]), 60.0


def linear_sum(page: Page) -> tuple[float, float]:
    """Read the length of the answer without normaliser after 48 tokens of one key: 48 times a value of length 1."""
    reel = visit(page, Place("linear", "normaliser", (("keys", "same"),)))
    reel.evaluate("reel => reel.seek(47)")
    return float(reel.locator(".said").inner_text().split("without it ")[1].rstrip(".")), 48.0


def delta_loss(page: Page) -> tuple[float, float]:
    """Read the loss before the step: half the squared distance of the answer, 0.9 cos 30 + 1.1 sin 30, from 0.5."""
    reel = visit(page, starting("delta", "gradient"))
    reel.evaluate("reel => reel.seek(0)")
    said = reel.locator(".said").inner_text()
    answer = 0.9 * 3**0.5 / 2 + 1.1 / 2
    return float(said.split("loss from ")[1].split(" ")[0]), (answer - 0.5) ** 2 / 2


def gating_left(page: Page) -> tuple[float, float]:
    """Read what RetNet has left of a write after ten tokens of its constant decay, half the mean one in nats."""
    reel = visit(page, starting("gating", "left"))
    reel.evaluate("reel => reel.seek(10)")
    return float(reel.locator(".said").inner_text().split("has ")[1].split(" ")[0]), 0.93 ** (0.5 * 10)


def gated_limit(page: Page) -> tuple[float, float]:
    """Read how the difference to Mamba-2 falls from eps 0.01 to 0.001: by a hundred."""
    reel = visit(page, starting("gated", "limit"))
    values = reel.evaluate("reel => reel.values(0).difference")
    return values[8] / values[12], 100.0


def chunkwise_exponent(page: Page) -> tuple[float, float]:
    """Read the factor exp(-G) that a chunk of 64 tokens needs under a decay of one half: 2 to the 64."""
    reel = visit(page, starting("chunkwise", "overflow"))
    reel.evaluate("reel => reel.seek([...Array(60).keys()].find(n => (reel.seek(n), reel.querySelector('.counts')"
                  ".textContent.endsWith(': 64'))))")
    values = reel.evaluate("reel => reel.values(0)['exp(−Gⱼ), formed alone'][Number(reel.dataset.frame)]")
    return float(values), 2.0**64


def lineage_inside(page: Page) -> tuple[float, float]:
    """Read how far Gated DeltaNet without a gate, which holds nothing, is from Mamba-2: the largest entry of that."""
    reel = visit(page, Place("lineage", "inside", (("narrow", "mamba-2"),)))
    reel.evaluate("reel => reel.seek(10)")
    s, S = lineage.stream_of(), np.zeros((4, 6))
    for t in range(12):
        S = np.exp(s.g[t].mean()) * S + np.outer(s.v[t], s.k[t])
    return float(reel.locator(".said").inner_text().split("differ by ")[1].split(" ")[0]), float(np.abs(S).max())


def step_old_share(page: Page) -> tuple[float, float]:
    """Read what is left of the old picture at the step 0.7."""
    reel = visit(page, starting("step", "pictures"))
    reel.evaluate("reel => reel.seek(7)")
    return float(reel.locator(".said").inner_text().split("holds ")[1].split(" ")[0]), 2.718281828**-0.7


def attention_below_zero(page: Page) -> tuple[float, float]:
    """Read the weight of the first value with the second key half-way to the query: less sin 45 times cos 45."""
    reel = visit(page, starting("attention", "negative"))
    reel.evaluate("reel => reel.seek(9)")
    return float(reel.locator(".said").inner_text().split("= ")[1].split(":")[0].replace("−", "-")), -0.5


def softmax_crossing(page: Page) -> tuple[float, float]:
    """Read where cache and state of OLMo are equal: 24 memories of 192 by 96 in 4 bytes, 8 times two of 128 in 2."""
    reel = visit(page, Place("softmax", "models", (("model", "olmo-hybrid"), ("kept", "4"))))
    said = reel.locator(".said").inner_text()
    return float(said.split("equal at ")[1].split(" ")[0]), 24 * 192 * 96 * 4 / (8 * 2 * 128 * 2)


def mamba_bound(page: Page) -> tuple[float, float]:
    """Read the most that a fixed step keeps of a fact behind ten fillers: of all shares p, p (1 - p)^10 at 1/11."""
    reel = visit(page, starting("mamba", "fixed"))
    said = reel.locator(".said").inner_text()
    return float(said.split("can keep is ")[1].split(",")[0]), (10 / 11) ** 10 / 11


def s4_kernel(page: Page) -> tuple[float, float]:
    """Read the output three tokens behind a 1: four states, each written once and decayed three times."""
    reel = visit(page, starting("s4", "kernel"))
    said = reel.locator(".said").inner_text()
    states = zip((4, -24, 36, -14), np.exp(-0.2 * np.arange(1, 5)), strict=True)
    kernel = sum(c * e**3 * (1 - e) / rate for rate, (c, e) in enumerate(states, 1))
    return float(said.split("later is ")[1].split(",")[0].replace("−", "-")), float(kernel)


def errata_output(page: Page) -> tuple[float, float]:
    """Read what the causal mask makes of the output of token 2, where the erratum says 49/8."""
    reel = visit(page, starting("errata", "chunk"))
    return float(reel.locator(".said").inner_text().split("token 2 is ")[1].split(";")[0]), 49 / 8


def compose_forgets(page: Page) -> tuple[float, float]:
    """Read the score of linear attention where three of twelve facts are to be forgotten: nine are answered well."""
    reel = visit(page, starting("compose", "tasks"))
    reel.evaluate("reel => reel.seek(1)")
    return float(reel.locator(".said").inner_text().split("attention has ")[1].split(",")[0]), 9 / 12


def layer_parameters(page: Page) -> tuple[float, float]:
    """Read the parameters of a layer of Qwen3-Next, and add up its weights."""
    visit(page, starting("layer", "sizes"))
    said = page.locator("section.reel .said").inner_text()
    mixed = 2 * 16 * 128 + 32 * 128
    expected = 2048 * (mixed + 2 * 32 * 128 + 2 * 32) + 4 * mixed + 2 * 32 + 128
    return float(said.split("of the ")[1].split(" ")[0].replace(",", "")), float(expected)


#: One number of each lesson, as the page says it and by another way.
NUMBERS = {
    "softmax": softmax_crossing,
    "s4": s4_kernel,
    "mamba": mamba_bound,
    "step": step_old_share,
    "lineage": lineage_inside,
    "collision": collision_first,
    "recency": recency_weight,
    "ode": ode_euler,
    "one-equation": one_equation_longhorn,
    "linear": linear_sum,
    "gating": gating_left,
    "delta": delta_loss,
    "gated": gated_limit,
    "chunkwise": chunkwise_exponent,
    "attention": attention_below_zero,
    "errata": errata_output,
    "compose": compose_forgets,
    "layer": layer_parameters,
}


@pytest.mark.parametrize("lesson", dict(PATH))
def test_a_number_of_the_lesson_is_what_another_way_gives(page: Page, lesson: str) -> None:
    read, expected = NUMBERS[lesson](page)
    assert read == pytest.approx(expected, rel=0.05)


def test_a_measured_sentence_says_what_its_picture_shows(page: Page) -> None:
    reel = visit(page, starting("softmax", "live"))
    for frame in (0, 4):
        reel.evaluate("(reel, frame) => reel.seek(frame)", frame)
        said = reel.locator(".said").inner_text()
        shown = reel.evaluate("(reel, frame) => Object.values(reel.values(0)).map((line) => line[frame])", frame)
        read = [float(part.split(" ms")[0].split(" ")[-1]) for part in said.split(" with ")[:2]]
        assert read == pytest.approx(shown, rel=0.06)


def test_moving_along_asks_the_server_for_nothing_and_changes_sentence_and_picture(own_page: Page) -> None:
    sent: list[str] = []
    own_page.on("websocket", lambda socket: socket.on("framesent", lambda data: sent.append("frame")))
    where = starting("collision", "rules")
    reel = visit(own_page, where)
    before, asked = reel.evaluate("reel => reel.seek(0) ?? reel.querySelector('.mark').getAttribute('x1')"), len(sent)
    slider = reel.get_by_role("slider")
    slider.focus()
    for _ in range(20):
        slider.press("ArrowRight")
    expect_said(own_page, where, 20)
    assert reel.evaluate("reel => reel.querySelector('.mark').getAttribute('x1')") != before
    expect(slider).to_have_attribute("aria-valuetext", "21")
    reel.get_by_role("button", name="Step back").click()
    expect_said(own_page, where, 19)

    where = starting("collision", "first")
    player = visit(own_page, where)
    frames(own_page, 40)
    asked = len(sent)
    player.locator(".scrubber").focus()
    for _ in range(5):
        player.locator(".scrubber").press("ArrowRight")
    expect_said(own_page, where, 5)
    frames(own_page, 60)  # past the time after which the lab's player would tell the server
    assert len(sent) == asked


COVERED = """reel => {
  const found = [];
  for (let n = 0; n <= reel.querySelector("input").max; n++) {
    reel.seek(n);
    for (const plane of reel.querySelectorAll(".plane")) {
      const names = [...plane.querySelectorAll("text")].filter(e => e.textContent)
        .map(e => [e.textContent, e.getBoundingClientRect()]);
      names.forEach(([a, p], i) => names.slice(0, i).forEach(([b, q]) => {
        const wide = Math.min(p.right, q.right) - Math.max(p.left, q.left);
        if (wide > 1 && Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 1) found.push(`${n}: ${a} on ${b}`);
      }));
    }
  }
  return found;
}"""


@pytest.mark.parametrize(
    "step", ["collision/proof", "delta/plane", "delta/space", "delta/gradient", "attention/negative"]
)
def test_names_in_a_plane_do_not_cover_each_other(page: Page, step: str) -> None:
    reel = visit(page, starting(*step.split("/")))
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        frames(page, 3)
        assert reel.evaluate(COVERED) == []


def test_a_control_changes_the_picture_and_keeps_the_frame_and_history_goes_back(page: Page) -> None:
    where = starting("recency", "order")
    reel = visit(page, where)
    reel.get_by_role("button", name="Step forward").click()
    page.get_by_role("radio", name="DeltaNet").click()
    other = Place("recency", "order", (("rule", "deltanet"),))
    expect_link(page, to_query(other))
    expect_said(page, other, 1)
    expect(reel).to_have_attribute("data-frame", "1")
    page.go_back()
    expect(page.get_by_role("radio", name="linear attention")).to_be_checked()
    expect_said(page, where, 1)


def test_lesson_claim_and_lab_link_to_each_other(page: Page) -> None:
    page.goto("/")
    page.locator("section.player[data-ready]").wait_for(timeout=90_000)
    page.get_by_role("link", name="Start the tour").click()
    picture(page)
    expect(page.get_by_role("heading", level=1)).to_have_text(starting(*PATH[0]).at[0].title)

    visit(page, starting("recency", "order"))
    page.get_by_text("Why it is true").click()
    expect(page.get_by_text("holds").first).to_be_visible(timeout=90_000)
    page.get_by_role("link", name="The whole derivation").click()
    expect_link(page, {"claim": "additive_memory_forgets_the_order"})
    page.get_by_role("link", name="Shuffle the past").click()
    expect_link(page, {"lesson": "recency", "step": "order"})
    picture(page)
    page.get_by_role("link", name="Open in the lab").click()
    page.locator("section.player[data-ready]").wait_for(timeout=90_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("Your tokens")
