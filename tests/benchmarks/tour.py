"""The tour in a real browser: moving along a picture, from step to step, and a control to its picture."""

from __future__ import annotations

import time
from collections.abc import Iterator

from app.lessons.place import PATH
from tests.benchmarks.result import Result
from tests.benchmarks.served import chromium, server

REEL = "section.reel[data-ready], section.player[data-ready]"
# Time from a click to a picture of other numbers, or of another step; the heading tells that the page is the new one.
CLICKED = """() => {
  window.began = performance.now();
  window.before = [...document.querySelectorAll("[data-testid=stBidiComponentIsolated]")]
    .map(host => host.shadowRoot?.querySelector("[data-ready]")?.dataset.ready).join();
}"""
SHOWN = """() => {
  const now = [...document.querySelectorAll("[data-testid=stBidiComponentIsolated]")]
    .map(host => host.shadowRoot?.querySelector("[data-ready]")?.dataset.ready);
  return now.length && now.every(Boolean) && now.join() !== window.before ? performance.now() - window.began : 0;
}"""
MOVE = """async reel => {
  const slider = reel.querySelector("input[type=range]"), work = [];
  for (let n = 0; n <= slider.max; n++) {
    const began = performance.now();
    slider.value = n;
    slider.dispatchEvent(new InputEvent("input", { bubbles: true, composed: true }));
    work.push(performance.now() - began);
    await new Promise(requestAnimationFrame);
  }
  return work;
}"""


def lessons(repeats: int) -> Iterator[Result]:
    """Measure the tour: moving along a picture, a control to the new picture, page to page, and a start to a lesson."""
    moved: list[float] = []
    went: list[float] = []
    sent: list[object] = []
    asked = 0
    with server() as app, chromium() as browser:
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        page.on("websocket", lambda channel: channel.on("framesent", lambda frame: sent.append(frame)))
        page.goto(f"{app.url}/tour?lesson={PATH[0][0]}")
        for number in range(len(PATH)):
            page.locator(REEL).first.wait_for(timeout=90_000)
            page.wait_for_timeout(1500)
            before = len(sent)
            moved += page.locator(REEL).first.evaluate(MOVE)
            page.wait_for_timeout(500)
            asked += len(sent) - before
            if number + 1 < len(PATH):
                page.evaluate(CLICKED)
                page.locator(".st-key-next button").click()
                went.append(page.wait_for_function(SHOWN, timeout=60_000).json_value())
        yield Result("lessons: a frame or token, script", "ms", moved, None, 16, f"{asked} messages to the server")
        yield Result("lessons: page to page", "ms", went, 500, None, f"{len(PATH)} steps, each new to the server")
        page.goto(f"{app.url}/tour?lesson=collision&step=proof")
        page.locator(REEL).wait_for(timeout=90_000)
        slider = page.get_by_test_id("stSlider").get_by_role("slider")
        changed = []
        for number in range(min(repeats, 10)):
            page.wait_for_timeout(400)
            slider.focus()
            page.evaluate(CLICKED)
            slider.press("ArrowLeft" if number < 10 else "ArrowRight")
            changed.append(page.wait_for_function(SHOWN, timeout=60_000).json_value())
        yield Result("lessons: control to new picture, browser", "ms", changed, 200, 400, "37 angles of three keys")
    starts = []
    with server() as app, chromium() as browser:
        context = browser.new_context()
        for _ in range(1 + max(3, repeats // 20)):
            app.stop()
            began = time.time()
            app.start()
            page = context.new_page()
            page.goto(f"{app.url}/tour?lesson={PATH[0][0]}", wait_until="commit")
            page.locator(REEL).first.wait_for(timeout=90_000)
            starts.append(time.time() - began)
            page.close()
    yield Result("second start to first lesson", "s", starts[1:], 3)
