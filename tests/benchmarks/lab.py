"""The lab in a real browser: a change to its picture, scrubbing, a first visit, and many tabs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from app.choice import Choice
from tests.benchmarks.correct import TOLERANCE, memories
from tests.benchmarks.result import Result
from tests.benchmarks.served import chromium, processor, server

TABS = 20
SIZES = "dk=32&dv=32&T=64"
LARGE = "preset=long&dk=64&dv=64&T=256"
WIDE = "preset=long&dk=128&dv=128&T=256&rules=linear-attention.gated-deltanet"
CHANGES = (
    (SIZES, 200, 400, "4 rules, 32 x 32, T = 64"),
    (LARGE, 200, None, "4 rules, 64 x 64, T = 256"),
    (WIDE, 400, None, "2 rules, 128 x 128, T = 256"),
)
PLAYER = "section.player[data-ready]"
# The click's own time is the start; the end is the second frame after the player took the new numbers, by which the
# first one has been drawn.
WATCH = """player => {
  window.times = [];
  window.addEventListener("click", () => { window.began = performance.now(); }, true);
  new MutationObserver(() => requestAnimationFrame(() => requestAnimationFrame(
    () => window.times.push(performance.now() - window.began)
  ))).observe(player, { attributes: true, attributeFilter: ["data-ready"] });
}"""
# Asked in every frame, since a page that is busy answers no one from outside.
ARRIVE = """(() => {
  const seen = window.seen = {};
  const look = () => {
    const now = (performance.timeOrigin + performance.now()) / 1000;
    if (document.querySelector("[data-testid=stMultiSelect]")) seen.page ??= now;
    const hosts = [...document.querySelectorAll("[data-testid=stBidiComponentIsolated]")];
    if (hosts.some(host => host.shadowRoot?.querySelector("section.player[data-ready]"))) seen.picture ??= now;
    if (!seen.picture) requestAnimationFrame(look);
  };
  look();
})()"""
SCRUB = """async player => {
  const scrubber = player.querySelector(".scrubber"), work = [], gaps = [];
  let last = await new Promise(requestAnimationFrame);
  for (let t = 0; t <= scrubber.max; t++) {
    const began = performance.now();
    scrubber.value = t;
    scrubber.dispatchEvent(new InputEvent("input", { bubbles: true, composed: true }));
    work.push(performance.now() - began);
    const now = await new Promise(requestAnimationFrame);
    gaps.push(now - last);
    last = now;
  }
  return [work, gaps, Number(player.dataset.token)];
}"""


def change(repeats: int) -> Iterator[Result]:
    """Measure a changed control to the new picture."""
    for query, target, p95, what in CHANGES:
        with server() as app, chromium() as browser:
            page = browser.new_page(viewport={"width": 1360, "height": 900})
            page.goto(f"{app.url}/?{query}")
            player = page.locator(PLAYER)
            player.wait_for(timeout=90_000)
            page.wait_for_timeout(3000)
            player.evaluate(WATCH)
            page.locator(".st-key-more summary").click()
            more = page.get_by_test_id("stNumberInput").filter(has_text="Seed").get_by_test_id("stNumberInputStepUp")
            used = processor(app.process, *app.children())
            for done in range(repeats + 3):
                more.click()
                page.wait_for_function(f"window.times.length > {done}")
                page.wait_for_timeout(400)
            used = 1e3 * (processor(app.process, *app.children()) - used) / (repeats + 3)
            times = page.evaluate("window.times")[3:]
        note = f"{what}; {used:.0f} ms of a core each in the server and its workers"
        yield Result("changed control to new picture", "ms", times, target, p95, note)


def scrub(repeats: int) -> Iterator[Result]:
    """Measure a step of the scrubber at the largest sizes, and what it asks of the server."""
    for query, what in ((LARGE, "4 rules, 64 x 64, T = 256"), (WIDE, "2 rules, 128 x 128, T = 256")):
        sent: list[object] = []
        work: list[float] = []
        gaps: list[float] = []
        asked = 0
        with server() as app, chromium() as browser:
            page = browser.new_page(viewport={"width": 1360, "height": 900})
            page.on("websocket", lambda channel, sent=sent: channel.on("framesent", lambda frame: sent.append(frame)))
            page.goto(f"{app.url}/?{query}")
            player = page.locator(PLAYER)
            player.wait_for(timeout=90_000)
            page.wait_for_timeout(4000)
            for _ in range(max(1, repeats // 20)):
                before = len(sent)
                did, waited, token = player.evaluate(SCRUB)
                asked += len(sent) - before
                if token != 255:
                    sys.exit(f"the player stands at token {token} after scrubbing to 255: nothing is measured")
                work += did
                gaps += waited
                page.wait_for_timeout(1500)
        yield Result("step of the scrubber, script", "ms", work, None, 16, what)
        late = sum(gap > 1.5 * 1000 / 60 for gap in gaps) / len(gaps)
        note = f"{what}; {late:.0%} of frames late, {asked} messages to the server"
        yield Result("step of the scrubber, frame to frame", "ms", gaps, 17, None, note)


def start(repeats: int) -> Iterator[Result]:
    """Measure a second start of the app, and a second visit in one profile, to the first picture."""
    pages, pictures, warm = [], [], []
    with server() as app, chromium() as browser:
        context = browser.new_context()  # one browser profile, as a visitor has who comes back to the same address
        context.add_init_script(ARRIVE)

        def visit(began: float) -> tuple[float, float]:
            page = context.new_page()
            page.goto(app.url, wait_until="commit")
            page.wait_for_function("window.seen?.picture", timeout=90_000)
            seen = page.evaluate("window.seen")
            page.close()
            return seen["page"] - began, seen["picture"] - began

        visit(time.time())
        for _ in range(max(3, repeats // 10)):
            app.stop()
            began = time.time()
            app.start()
            to_page, to_picture = visit(began)
            pages.append(to_page)
            pictures.append(to_picture)
            time.sleep(3)  # until all its processes have started
            warm.append(visit(time.time())[1])
    yield Result("second start to first page", "s", pages, 3)
    yield Result("second start to first picture", "s", pictures, 3)
    yield Result("first picture in a warm profile", "s", warm, 1)


def tabs(repeats: int) -> Iterator[Result]:
    """Measure twenty tabs of one browser that are opened at once, and check what each shows."""
    del repeats
    choices = [Choice(settings=replace(Choice().settings, seed=seed)) for seed in range(1, TABS + 1)]
    with server() as app, chromium() as browser:
        processes = [app.process, *app.children()]
        began, used = time.monotonic(), processor(*processes)
        context = browser.new_context(viewport={"width": 1360, "height": 900}, reduced_motion="reduce")
        pages = [context.new_page() for _ in choices]
        for page, choice in zip(pages, choices, strict=True):
            page.goto(f"{app.url}/?seed={choice.settings.seed}", wait_until="commit")
        times, wrong = [], 0
        for page, choice in zip(pages, choices, strict=True):
            player = page.locator(PLAYER)
            player.wait_for(timeout=600_000)
            times.append(time.monotonic() - began)
            for slug, memory in zip(choice.rules, memories(choice), strict=True):
                got = player.evaluate("(player, slug) => Array.from(player.numbers(slug, 'written'))", slug)
                wrong += np.abs(got - memory.ravel()).max() > TOLERANCE * np.abs(memory).max()
        share = (processor(*processes) - used) / (time.monotonic() - began)
    note = f"{wrong} memories wrong; the server and its workers took {share:.0%} of a core meanwhile"
    yield Result(f"{TABS} tabs at once, to a picture in each", "s", times, None, None, note)
    if wrong:
        yield Result("memories that are wrong", "", [float(wrong)], 0, 0)
