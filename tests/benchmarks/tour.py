"""The tour in a real browser: moving along a picture, from step to step, and a control to its picture."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from app.lessons import showing
from app.lessons.frame import OneOf, Range
from app.lessons.place import PATH, Place, starting
from app.lessons.registry import LESSONS
from tests.benchmarks.clients import EVERY, VISITORS, Client
from tests.benchmarks.correct import TOLERANCE, error
from tests.benchmarks.result import Result
from tests.benchmarks.served import chromium, resident, server
from tests.browser.server import Server

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


CHANGES = 20  # of controls, in each lesson


def lessons(repeats: int) -> Iterator[Result]:
    """Measure each lesson: moving along its pictures, to its next step, and a control to the new picture."""
    del repeats
    sent: list[object] = []
    with server() as app, chromium() as browser:
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        page.on("websocket", lambda channel: channel.on("framesent", lambda frame: sent.append(frame)))
        page.goto(f"{app.url}/tour?lesson={PATH[0][0]}")
        page.locator(REEL).first.wait_for(timeout=90_000)
        where = starting(*PATH[0])
        for lesson in LESSONS.values():
            moved, went, changed, asked = [], [], [], 0
            for _ in lesson.steps:
                page.wait_for_timeout(1500)
                before = len(sent)
                moved += page.locator(REEL).first.evaluate(MOVE)
                page.wait_for_timeout(500)
                asked += len(sent) - before
                for label, key, there in _keys(where, len(lesson.steps)):
                    changed.append(press(page, label, key))
                    where = there
                if following := where.beside(1):
                    page.evaluate(CLICKED)
                    page.locator(".st-key-next button").click()
                    went.append(page.wait_for_function(SHOWN, timeout=60_000).json_value())
                    where = following
            yield Result(f"{lesson.slug}: a frame or token, script", "ms", moved, None, 16, f"{asked} messages sent")
            yield Result(f"{lesson.slug}: to the next page", "ms", went, 500, None, "each new to the server")
            yield Result(f"{lesson.slug}: control to new picture", "ms", changed, 200, 400, "each new to the server")


def press(page: Any, label: str, key: str) -> float:
    """Change a control, a slider by a key or one of a few options by its name, and return the ms to its picture."""
    from playwright.sync_api import TimeoutError as Late

    page.wait_for_timeout(400)
    if key.startswith("Arrow"):
        slider = page.get_by_test_id("stSlider").filter(has_text=label).get_by_role("slider")
        slider.focus()
        page.evaluate(CLICKED)
        slider.press(key)
    else:
        page.evaluate(CLICKED)
        group = page.get_by_role("radiogroup", name=label, exact=True)
        group.get_by_role("radio", name=key, exact=True).press("Space")  # which no header covers
    try:
        return float(page.wait_for_function(SHOWN, timeout=10_000).json_value())
    except Late:
        return 10_000.0  # no other picture came


def _keys(where: Place, steps: int) -> list[tuple[str, str, Place]]:
    """Return what is pressed in a step, with the place that it leads to, which the server has not shown yet."""
    found: list[tuple[str, str, Place]] = []
    for control in where.at[1].controls:
        at = dict(where.values)[control.name]
        if isinstance(control, Range) and not isinstance(at, str):
            up = control.high - at >= at - control.low
            by, room = (control.step, control.high - at) if up else (-control.step, at - control.low)
            values = [control.check(round(at + n * by, 6)) for n in range(1, 1 + int(room / control.step + 1e-6))]
            keys = ["ArrowRight" if up else "ArrowLeft"] * len(values)
        elif isinstance(control, OneOf):
            values = [value for value in control.options if value != at]
            keys = [control.options[str(value)] for value in values]
        else:
            continue
        for value, key in zip(values, keys, strict=True):
            if len(found) < -(-CHANGES // steps):
                where = where.with_values({control.name: value})
                found.append((control.label, key, where))
    return found


def starts(repeats: int) -> Iterator[Result]:
    """Measure from a start of the server to the first lesson, for a browser that has been there before."""
    times = []
    with server() as app, chromium() as browser:
        context = browser.new_context()
        for _ in range(1 + max(5, repeats // 10)):
            app.stop()
            began = time.time()
            app.start()
            page = context.new_page()
            page.goto(f"{app.url}/tour?lesson={PATH[0][0]}", wait_until="commit")
            page.locator(REEL).first.wait_for(timeout=90_000)
            times.append(time.time() - began)
            page.close()
    yield Result("second start to first lesson", "s", times[1:], 3)


def right(place: Place, data: bytes) -> bool:
    """Tell whether a picture is that of the place: on the reel to the bit, on the player within rounding."""
    shown = showing.show(place)
    return data == shown.buffer if shown.moves else bool(data) and error(data, shown.choice) <= TOLERANCE


def learners(repeats: int) -> Iterator[Result]:
    """Measure twenty people on lessons at once, check each picture, and measure what a session holds.

    Each moves a slider every two seconds, to a value that nobody has asked for. Behind that forty more sessions open.
    """
    del repeats
    sliders = [
        (starting(*at), control)
        for at in PATH
        for control in starting(*at).at[1].controls[:1]
        if isinstance(control, Range) and not starting(*at).at[1].measured
        if (control.high - control.low) / control.step > 9
    ]
    times: list[float] = []
    wrong: list[str] = []

    async def one(url: str, number: int, begin: float, channels: contextlib.AsyncExitStack) -> None:
        where, control = sliders[number * len(sliders) // VISITORS]
        client = Client(urlencode({"lesson": where.lesson, "step": where.step}), "tour")
        await client.open(url, channels)
        await client.run()
        for turn in range(10):
            due = begin + EVERY * (turn + number / VISITORS)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            value = control.check(control.low + turn * control.step)
            client.change(control.label, float(value))
            data, came = await client.run()
            times.append(1e3 * (came - due))
            place = where.with_values({control.name: value})
            if not await asyncio.to_thread(right, place, data):
                wrong.append(f"{place}: {client.errors[:1]}")

    async def all_at_once(app: Server) -> float:
        async with contextlib.AsyncExitStack() as channels:
            begin = time.monotonic() + 12.0  # after all have opened a lesson
            await asyncio.gather(*(one(app.url, number, begin, channels) for number in range(VISITORS)))
            before = resident(app.process)
            for _ in range(2 * VISITORS):
                client = Client(urlencode({"lesson": PATH[0][0]}), "tour")
                await client.open(app.url, channels)
                await client.run()
            return (resident(app.process) - before) / (2 * VISITORS)

    with server() as app:
        held = asyncio.run(all_at_once(app))
    note = f"{len(wrong)} of {len(times)} pictures wrong or missing{': ' + wrong[0] if wrong else ''}"
    yield Result(f"{VISITORS} people on lessons, a change every {EVERY:g} s", "ms", times, None, 1000, note)
    yield Result("a session on a lesson", "MB", [held], 50, None, f"mean of {2 * VISITORS} more")
    if wrong:
        yield Result("wrong pictures", "", [float(len(wrong))], 0, 0)
