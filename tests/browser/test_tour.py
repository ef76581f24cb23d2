"""The tour in a browser: the whole path by "next", wide and narrow, and what it links to."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, ViewportSize, expect

from app.lessons import showing
from app.lessons.frame import OneOf
from app.lessons.place import PATH, Place, starting, to_query
from app.lessons.registry import LESSONS
from gdn_core.lab.studies import lineage
from gdn_core.rules import LINEAGE
from tests.browser.lab_steps import expect_link, follow, frames, quiet
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
    quiet(page)
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


def change(page: Page, before: Locator, where: Place) -> Locator:
    """Choose what makes another place of the step that is shown, and wait for its picture."""
    drawn = before.get_attribute("data-ready")
    assert drawn
    start = where.at[1].start
    for name, value in where.values:
        if value != start[name]:
            control = where.at[1].control(name)
            assert isinstance(control, OneOf)
            page.get_by_role("radio", name=control.options[str(value)], exact=True).click()
    expect_link(page, to_query(where))
    expect(before).not_to_have_attribute("data-ready", drawn)
    return picture(page)


def arrive(page: Page, number: int) -> Locator:
    """Wait for a step of the tour, look at what every step must be, and return its picture."""
    lesson, step = PATH[number]
    where = starting(lesson, step)
    expect(page.get_by_role("heading", level=2, name=where.at[1].title, exact=True)).to_be_visible()
    shown = picture(page)
    frame = int(shown.get_attribute("data-frame") or shown.get_attribute("data-token") or 0)
    expect_said(page, where, frame)
    top = "document.querySelector('[data-testid=stMain]').scrollTop"
    page.wait_for_function(f"{top} === 0")  # whoever went on at the bottom sees the top of the next
    return shown


def collision_first(page: Page, reel: Locator) -> tuple[float, float]:
    """Read from the page how far linear attention's answer is off at the tenth pair, and compute it by lstsq."""
    where = starting("collision", "overlaps")
    reel.evaluate("reel => reel.seek(9)")
    said = reel.locator(".said").inner_text()
    k = np.array(showing.show(where).numbers["overlaps"][0, :10])
    v = values_of_collision(10)
    return float(said.split("off by ")[1].rstrip(".")), float(np.linalg.norm(k[1:] @ v[1:]))


def values_of_collision(n: int) -> np.ndarray:
    """The values of the collision lesson, drawn again."""
    v = np.random.default_rng(1).standard_normal((24, 16))[:n]
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def recency_weight(page: Page, reel: Locator) -> tuple[float, float]:
    """Read the weight of the oldest of twelve values under Mamba-2: eleven decays of 0.8."""
    reel.evaluate("reel => reel.seek(11)")
    said = reel.locator(".said").inner_text()
    return float(said.split("Mamba-2 ")[1].split(" ")[0]), 0.8**11


def ode_euler(page: Page, reel: Locator) -> tuple[float, float]:
    """Read Euler's state at time 3 after six steps of 0.5: each halves the distance to 1."""
    reel.evaluate("reel => reel.seek(5)")
    return float(reel.locator(".said").inner_text().split("Euler ")[1].split(",")[0]), 1 - 0.5**6


def one_equation_longhorn(page: Page, reel: Locator) -> tuple[float, float]:
    """Read the share that Longhorn removes at βκ = 1.5, in per cent."""
    reel.evaluate("reel => reel.seek(15)")
    return float(reel.locator(".said").inner_text().split("Longhorn ")[1].split(" ")[0]), 60.0


def linear_sum(page: Page, reel: Locator) -> tuple[float, float]:
    """Read the length of the answer without normaliser after 48 tokens of one key: 48 times a value of length 1."""
    reel = change(page, reel, Place("linear", "normaliser", (("keys", "same"),)))
    reel.evaluate("reel => reel.seek(47)")
    return float(reel.locator(".said").inner_text().split("without it ")[1].rstrip(".")), 48.0


def delta_loss(page: Page, reel: Locator) -> tuple[float, float]:
    """Read the loss before the step: half the squared distance of the answer, 0.9 cos 30 + 1.1 sin 30, from 0.5."""
    reel.evaluate("reel => reel.seek(0)")
    said = reel.locator(".said").inner_text()
    answer = 0.9 * 3**0.5 / 2 + 1.1 / 2
    return float(said.split("loss from ")[1].split(" ")[0]), (answer - 0.5) ** 2 / 2


def gating_left(page: Page, reel: Locator) -> tuple[float, float]:
    """Read what RetNet has left of a write after ten tokens of its constant decay, half the mean one in nats."""
    reel.evaluate("reel => reel.seek(10)")
    return float(reel.locator(".said").inner_text().split("has ")[1].split(" ")[0]), 0.93 ** (0.5 * 10)


def gated_limit(page: Page, reel: Locator) -> tuple[float, float]:
    """Read how the difference to Mamba-2 falls from eps 0.01 to 0.001: by a hundred."""
    values = reel.evaluate("reel => reel.values(0).difference")
    return values[8] / values[12], 100.0


def chunkwise_exponent(page: Page, reel: Locator) -> tuple[float, float]:
    """Read the factor exp(-G) that a chunk of 64 tokens needs under a decay of one half: 2 to the 64."""
    reel.evaluate("reel => reel.seek([...Array(60).keys()].find(n => (reel.seek(n), reel.querySelector('.counts')"
                  ".textContent.endsWith(': 64'))))")
    values = reel.evaluate("reel => reel.values(0)['exp(−Gⱼ), formed alone'][Number(reel.dataset.frame)]")
    return float(values), 2.0**64


def lineage_inside(page: Page, reel: Locator) -> tuple[float, float]:
    """Read how far Gated DeltaNet without a gate, which holds nothing, is from Mamba-2: the largest entry of that."""
    reel = change(page, reel, Place("lineage", "inside", (("narrow", "mamba-2"),)))
    reel.evaluate("reel => reel.seek(10)")
    s, S = lineage.stream_of(), np.zeros((4, 6))
    for t in range(12):
        S = np.exp(s.g[t].mean()) * S + np.outer(s.v[t], s.k[t])
    return float(reel.locator(".said").inner_text().split("differ by ")[1].split(" ")[0]), float(np.abs(S).max())


def step_old_share(page: Page, reel: Locator) -> tuple[float, float]:
    """Read what is left of the old picture at the step 0.7."""
    reel.evaluate("reel => reel.seek(7)")
    return float(reel.locator(".said").inner_text().split("holds ")[1].split(" ")[0]), 2.718281828**-0.7


def attention_below_zero(page: Page, reel: Locator) -> tuple[float, float]:
    """Read the weight of the first value with the second key half-way to the query: less sin 45 times cos 45."""
    reel.evaluate("reel => reel.seek(9)")
    return float(reel.locator(".said").inner_text().split("= ")[1].split(":")[0].replace("−", "-")), -0.5


def softmax_crossing(page: Page, reel: Locator) -> tuple[float, float]:
    """Read where cache and state of OLMo are equal: 24 memories of 192 by 96 in 4 bytes, 8 times two of 128 in 2."""
    reel = change(page, reel, Place("softmax", "models", (("model", "olmo-hybrid"), ("kept", "4"))))
    said = reel.locator(".said").inner_text()
    return float(said.split("equal at ")[1].split(" ")[0]), 24 * 192 * 96 * 4 / (8 * 2 * 128 * 2)


def mamba_bound(page: Page, reel: Locator) -> tuple[float, float]:
    """Read the most that a fixed step keeps of a fact behind ten fillers: of all shares p, p (1 - p)^10 at 1/11."""
    said = reel.locator(".said").inner_text()
    return float(said.split("can keep is ")[1].split(",")[0]), (10 / 11) ** 10 / 11


def s4_kernel(page: Page, reel: Locator) -> tuple[float, float]:
    """Read the output three tokens behind a 1: four states, each written once and decayed three times."""
    said = reel.locator(".said").inner_text()
    states = zip((4, -24, 36, -14), np.exp(-0.2 * np.arange(1, 5)), strict=True)
    kernel = sum(c * e**3 * (1 - e) / rate for rate, (c, e) in enumerate(states, 1))
    return float(said.split("later is ")[1].split(",")[0].replace("−", "-")), float(kernel)


def errata_output(page: Page, reel: Locator) -> tuple[float, float]:
    """Read what the causal mask makes of the output of token 2, where the erratum says 49/8."""
    return float(reel.locator(".said").inner_text().split("token 2 is ")[1].split(";")[0]), 49 / 8


def compose_forgets(page: Page, reel: Locator) -> tuple[float, float]:
    """Read the score of linear attention where three of twelve facts are to be forgotten: nine are answered well."""
    reel.evaluate("reel => reel.seek(1)")
    return float(reel.locator(".said").inner_text().split("attention has ")[1].split(",")[0]), 9 / 12


def layer_parameters(page: Page, reel: Locator) -> tuple[float, float]:
    """Read the parameters of a layer of Qwen3-Next, and add up its weights."""
    said = reel.locator(".said").inner_text()
    mixed = 2 * 16 * 128 + 32 * 128
    expected = 2048 * (mixed + 2 * 32 * 128 + 2 * 32) + 4 * mixed + 2 * 32 + 128
    return float(said.split("of the ")[1].split(" ")[0].replace(",", "")), float(expected)


def softmax_measured(page: Page, reel: Locator) -> tuple[list[float], list[float]]:
    """Read the times that the sentence says, and those that its picture shows, at the shortest and a longer text."""
    read, shown = [], []
    for frame in (0, 4):
        reel.evaluate("(reel, frame) => reel.seek(frame)", frame)
        said = reel.locator(".said").inner_text()
        lines = reel.evaluate("(reel, frame) => Object.values(reel.values(0)).map((line) => line[frame])", frame)
        read += [float(part.split(" ms")[0].split(" ")[-1]) for part in said.split(" with ")[:2]]
        shown += lines
    assert len(read) == len(shown) == 4
    return read, shown


#: Numbers that a step's page says, each by another way too: of every lesson one at least.
NUMBERS = {
    ("softmax", "live"): softmax_measured,
    ("softmax", "models"): softmax_crossing,
    ("s4", "kernel"): s4_kernel,
    ("mamba", "fixed"): mamba_bound,
    ("step", "pictures"): step_old_share,
    ("lineage", "inside"): lineage_inside,
    ("collision", "overlaps"): collision_first,
    ("recency", "weights"): recency_weight,
    ("ode", "sampled"): ode_euler,
    ("one-equation", "four"): one_equation_longhorn,
    ("linear", "normaliser"): linear_sum,
    ("gating", "left"): gating_left,
    ("delta", "gradient"): delta_loss,
    ("gated", "limit"): gated_limit,
    ("chunkwise", "overflow"): chunkwise_exponent,
    ("attention", "negative"): attention_below_zero,
    ("errata", "chunk"): errata_output,
    ("compose", "tasks"): compose_forgets,
    ("layer", "sizes"): layer_parameters,
}
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
#: Steps whose picture is a plane with names in it.
PLANES = {
    ("collision", "proof"),
    ("delta", "plane"),
    ("delta", "space"),
    ("attention", "negative"),
}


def test_the_whole_tour_by_next_wide_and_narrow_in_light_and_dark(
    page: Page,
    axe: str,  # noqa: F811
    errors: list[str],
) -> None:
    """One walk looks at all that is to be seen of a step: to open each step anew takes three times as long.

    The colours of a lesson's first step are checked for contrast: its other steps are drawn with the same ones.
    """
    lessons: set[str] = set()
    numbers: set[str] = set()
    planes = 0
    page.set_viewport_size(WIDE)
    page.goto("/tour")
    for number, (lesson, step) in enumerate(PATH):
        if number:
            page.locator(".st-key-next button").click()
            expect_link(page, to_query(starting(lesson, step)))
        reel = arrive(page, number)
        scheme: Literal["light", "dark"] = "dark" if number % 2 else "light"
        page.emulate_media(color_scheme=scheme)
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
        for size in (NARROW, WIDE) if (lesson, step) in PLANES else ():
            page.set_viewport_size(size)
            frames(page, 3)
            assert reel.evaluate(COVERED) == [], f"{lesson}, {step}: names cover each other"
            planes += 1
        page.set_viewport_size(WIDE)
        if number_of := NUMBERS.get((lesson, step)):
            read, expected = number_of(page, reel)
            assert read == pytest.approx(expected, rel=0.05), f"{lesson}, {step}"
            numbers.add(lesson)
    expect(page.locator(".st-key-next button")).to_have_count(0)
    assert numbers == set(dict(PATH)), "of some lesson no number was read"
    assert planes == 2 * len(PLANES)
    assert [error for error in errors if "404" not in error] == []


def test_where_the_lineage_had_a_page_its_map_and_its_rules_are_opened(page: Page) -> None:
    page.goto("/lineage")
    expect_link(page, {"lesson": "lineage", "step": "map"})
    expect(picture(page).get_by_role("link", name="Gated DeltaNet: open it in the lab")).to_be_visible()
    page.get_by_text("Every rule and its equation").click()
    for row in LINEAGE:
        expect(page.get_by_text(row.summary)).to_be_visible()
    expect(page.get_by_role("link", name="The lineage")).to_have_count(0)


def test_the_loss_is_a_surface_that_keys_and_a_drag_turn_and_a_swipe_scrolls_past(phone: Page) -> None:
    reel = visit(phone, starting("delta", "gradient"))
    surface, way = reel.locator(".turning"), reel.locator(".surface path.line")
    reel.evaluate("reel => reel.seek(0)")
    assert len(set(re.findall(r"[\d.]+ [\d.]+", str(way.get_attribute("d"))))) == 1  # a step of 0 moves nothing
    reel.evaluate("reel => reel.seek(20)")
    at_one = str(way.get_attribute("d"))
    assert len(set(re.findall(r"[\d.]+ [\d.]+", at_one))) > 5
    heights = reel.evaluate("reel => reel.values(0).way").copy()[2::3]
    answer = 0.9 * 3**0.5 / 2 + 1.1 / 2
    assert (heights[0], heights[-1]) == pytest.approx(((answer - 0.5) ** 2 / 2, 0), abs=1e-6)
    surface.focus()
    surface.press("ArrowRight")
    turned = str(way.get_attribute("d"))
    assert turned != at_one
    surface.press("ArrowLeft")
    expect(way).to_have_attribute("d", at_one)
    assert surface.evaluate("e => getComputedStyle(e).touchAction") == "pan-y"  # up and down are the page's


def test_two_lessons_on_a_phone_by_touch(phone: Page) -> None:
    phone.emulate_media(color_scheme="dark")
    phone.goto("/tour")
    first, second, *_ = LESSONS.values()
    for number in range(len(first.steps) + len(second.steps)):
        if number:
            phone.locator(".st-key-next button").tap()
            expect_link(phone, to_query(starting(*PATH[number])))
        arrive(phone, number)
        assert not phone.evaluate(OVERFLOWS)


def test_moving_along_asks_the_server_for_nothing_and_changes_sentence_and_picture(page: Page) -> None:
    sent: list[str] = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda data: sent.append("frame")))
    where = starting("collision", "rules")
    reel = visit(page, where)
    before, asked = reel.evaluate("reel => reel.seek(0) ?? reel.querySelector('.mark').getAttribute('x1')"), len(sent)
    slider = reel.get_by_role("slider")
    slider.focus()
    for _ in range(20):
        slider.press("ArrowRight")
    expect_said(page, where, 20)
    assert reel.evaluate("reel => reel.querySelector('.mark').getAttribute('x1')") != before
    expect(slider).to_have_attribute("aria-valuetext", "21")
    reel.get_by_role("button", name="Step back").click()
    expect_said(page, where, 19)

    where = starting("collision", "first")
    page.locator(".st-key-step-1 button").first.click()
    expect_link(page, to_query(where))
    player = picture(page)
    frames(page, 40)
    asked = len(sent)
    player.locator(".scrubber").focus()
    for _ in range(5):
        player.locator(".scrubber").press("ArrowRight")
    expect_said(page, where, 5)
    frames(page, 60)  # past the time after which the lab's player would tell the server
    assert len(sent) == asked


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
    follow(page, "Start the tour")
    picture(page)
    expect(page.get_by_role("heading", level=1)).to_have_text(starting(*PATH[0]).at[0].title)

    visit(page, starting("recency", "order"))
    page.get_by_text("Why it is true").click()
    expect(page.get_by_text("holds").first).to_be_visible(timeout=90_000)
    follow(page, "The whole derivation")
    expect_link(page, {"claim": "additive_memory_forgets_the_order"})
    follow(page, "In the lab: The same key twice")
    page.locator("section.player[data-ready]").wait_for(timeout=90_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("Your tokens")
    page.go_back()
    expect_link(page, {"claim": "additive_memory_forgets_the_order"})
    follow(page, "Shuffle the past")
    expect_link(page, {"lesson": "recency", "step": "order"})
    picture(page)
    follow(page, "Open in the lab")
    page.locator("section.player[data-ready]").wait_for(timeout=90_000)
    expect(page.get_by_role("heading", level=1)).to_have_text("Your tokens")
