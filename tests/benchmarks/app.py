"""Measure the app as people use it: ``./run bench [--only NAME ...] [--json FILE]``.

A check comes first: unless every rule's numbers are those of the float64 reference, nothing is measured. Times are wall
clock, so other work on the machine shows in them; the load average stands beside them for that reason.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.metadata
import io
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from app import compute
from app.choice import Choice
from app.lessons.place import PATH
from app.player import payload
from gdn_core import reference, streams
from gdn_core.rules import RULES

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run"]
SIZES = "dk=32&dv=32&T=64"
LARGEST = "preset=long&dk=64&dv=64&T=256"
VISITORS, EVERY, SECONDS = 20, 2.0, 30.0
UPLOADERS = 50
TOLERANCE = 1e-4  # of the largest output: float32 over 64 tokens stays far below, a wrong rule or seed far above


@dataclass(frozen=True)
class Result:
    """One figure.

    Args:
        name: what was measured.
        unit: of the values.
        values: one a repeat.
        median: the target of the median, None where there is none.
        p95: the target of the 95th percentile.
        note: what else was seen.
    """

    name: str
    unit: str
    values: list[float] = field(repr=False)
    median: float | None = None
    p95: float | None = None
    note: str = ""

    def percentile(self, percent: float) -> float:
        """Return a percentile of the values: the smallest that so many percent do not pass."""
        return sorted(self.values)[max(0, -(-len(self.values) * int(percent) // 100) - 1)]

    @property
    def met(self) -> bool:
        """Whether every target is met."""
        targets = ((self.median, statistics.median(self.values)), (self.p95, self.percentile(95)))
        return all(target is None or got <= target for target, got in targets)

    def line(self) -> str:
        """Return the row of the table."""
        targets = " / ".join("-" if x is None else f"{x:g}" for x in (self.median, self.p95))
        return (
            f"{self.name:<44} {len(self.values):>4} {statistics.median(self.values):>9.1f} {self.percentile(95):>9.1f} "
            f"{self.unit:<3} {targets:>11}  {'met' if self.met else 'MISSED'}  {self.note}"
        )


def outputs(choice: Choice) -> list[np.ndarray]:
    """Compute the outputs of a choice's rules by the float64 reference, [T, V] each."""
    stream = compute.scenario(choice).stream
    found = []
    for rule in (RULES[slug] for slug in choice.rules):
        tokens = streams.tokens(rule, stream)
        start = np.zeros((tokens.v.shape[1], tokens.q.shape[1]))
        found.append(streams.answer(rule, reference.recurrent(start, tokens)[1]))
    return found


def error(data: bytes, choice: Choice) -> float:
    """Return the largest error of the outputs in a player's buffer, relative to the largest output."""
    header, body = payload.header(data), 4 + int.from_bytes(data[:4], "little")
    floats = np.frombuffer(data, "<f4", offset=body, count=(len(data) - body) // 4)
    worst = 0.0
    for rule, want in zip(header["rules"], outputs(choice), strict=True):
        place = rule["arrays"]["o"]
        got = floats[place["offset"] :][: want.size].reshape(want.shape)
        worst = max(worst, float(np.abs(got - want).max() / np.abs(want).max()))
    return worst


def check() -> None:
    """Check the numbers of every rule before any time is taken.

    Raises:
        SystemExit: if a number is wrong.
    """
    slugs = list(RULES)
    for start in range(0, len(slugs), 4):
        choice = Choice(rules=tuple(slugs[start : start + 4]))
        if (wrong := error(compute.picture(choice).payload, choice)) > TOLERANCE:
            sys.exit(f"the numbers of {', '.join(choice.rules)} are wrong by {wrong:.2g}: nothing was measured")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


servers: list[int] = []  # the processes that serve the app now


@contextlib.contextmanager
def server(port: int | None = None) -> Iterator[str]:
    """Start the app, and yield its address once it answers."""
    port = port or free_port()
    options = [f"--server.port={port}", "--server.headless=true", "--logger.level=error"]
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", *options]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    servers.append(running.pid)
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while time.monotonic() < deadline:
            with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(f"{url}/_stcore/health"):
                break
            time.sleep(0.01)
        yield url
    finally:
        servers.remove(running.pid)
        running.terminate()
        running.wait()


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Start a headless Chromium.

    Raises:
        SystemExit: if there is none; the message says how to get one.
    """
    from playwright.sync_api import sync_playwright

    found = subprocess.run(
        [sys.executable, "tests/browser/chromium.py"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if found.returncode:
        sys.exit(found.stderr.strip())
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found.stdout.strip(), args=FLAGS)
        yield running
        running.close()


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
    """Measure a changed control to the new picture, in a browser."""
    with server() as url, chromium() as browser:
        page = browser.new_page(viewport={"width": 1360, "height": 900})
        page.goto(f"{url}/?{SIZES}")
        player = page.locator(PLAYER)
        player.wait_for(timeout=90_000)
        page.wait_for_timeout(3000)
        player.evaluate(WATCH)
        page.locator(".st-key-more summary").click()
        more = page.get_by_test_id("stNumberInput").filter(has_text="Seed").get_by_test_id("stNumberInputStepUp")
        for done in range(repeats + 3):
            more.click()
            page.wait_for_function(f"window.times.length > {done}")
            page.wait_for_timeout(400)
        times = page.evaluate("window.times")[3:]
    yield Result("changed control to new picture, browser", "ms", times, 200, 400, f"4 rules, {SIZES}")


def scrub(repeats: int) -> Iterator[Result]:
    """Measure a step of the scrubber at the largest sizes, and what it asks of the server."""
    sent: list[object] = []
    with server() as url, chromium() as browser:
        page = browser.new_page(viewport={"width": 1360, "height": 900})
        page.on("websocket", lambda channel: channel.on("framesent", lambda frame: sent.append(frame)))
        page.goto(f"{url}/?{LARGEST}")
        player = page.locator(PLAYER)
        player.wait_for(timeout=90_000)
        page.wait_for_timeout(4000)
        work: list[float] = []
        gaps: list[float] = []
        asked = 0
        for _ in range(max(1, repeats // 20)):
            before = len(sent)
            did, waited, token = player.evaluate(SCRUB)
            asked += len(sent) - before
            if token != 255:
                sys.exit(f"the player stands at token {token} after scrubbing to 255: nothing is measured")
            work += did
            gaps += waited
            page.wait_for_timeout(1500)
    yield Result("step of the scrubber, script", "ms", work, None, 16, f"4 rules, {LARGEST}")
    late = sum(gap > 1.5 * 1000 / 60 for gap in gaps) / len(gaps)
    note = f"{late:.0%} of frames late, {asked} messages to the server"
    yield Result("step of the scrubber, frame to frame", "ms", gaps, 17, None, note)


def start(repeats: int) -> Iterator[Result]:
    """Measure a second start of the app to its first page and its first picture, the first one not counted."""
    pages, pictures, port = [], [], free_port()
    with chromium() as browser:
        context = browser.new_context()  # one browser profile, as a visitor has who comes back to the same address
        context.add_init_script(ARRIVE)
        for _ in range(1 + max(3, repeats // 10)):
            began = time.time()
            with server(port) as url:
                page = context.new_page()
                page.goto(url, wait_until="commit")
                page.wait_for_function("window.seen?.picture", timeout=90_000)
                seen = page.evaluate("window.seen")
                pages.append(seen["page"] - began)
                pictures.append(seen["picture"] - began)
                page.close()
    yield Result("second start to first page", "s", pages[1:], 3)
    yield Result("second start to first picture", "s", pictures[1:])


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
    with server() as url, chromium() as browser:
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        page.on("websocket", lambda channel: channel.on("framesent", lambda frame: sent.append(frame)))
        page.goto(f"{url}/tour?lesson={PATH[0][0]}")
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
        page.goto(f"{url}/tour?lesson=collision&step=proof")
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
    starts, port = [], free_port()
    with chromium() as browser:
        context = browser.new_context()
        for _ in range(1 + max(3, repeats // 20)):
            began = time.time()
            with server(port) as url:
                page = context.new_page()
                page.goto(f"{url}/tour?lesson={PATH[0][0]}", wait_until="commit")
                page.locator(REEL).first.wait_for(timeout=90_000)
                starts.append(time.time() - began)
                page.close()
    yield Result("second start to first lesson", "s", starts[1:], 3)


@dataclass
class Visitor:
    """One of many visitors, who speaks Streamlit's protocol without a browser."""

    number: int
    times: list[float] = field(default_factory=list)  # seconds from the change to the picture
    pictures: list[tuple[Choice, bytes]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    widgets: dict[str, str] = field(default_factory=dict)  # ids by label
    link: str = ""

    async def visit(self, url: str, begin: float) -> None:
        """Open the lab, and change something every two seconds."""
        from streamlit.proto.BackMsg_pb2 import BackMsg
        from streamlit.proto.WidgetStates_pb2 import WidgetStates
        from websockets.asyncio.client import connect

        choice = Choice(settings=replace(Choice().settings, dk=32, dv=32, T=64, seed=1000 * (self.number + 1)))
        self.link = f"{SIZES}&seed={choice.settings.seed}"
        address = url.replace("http", "ws") + "/_stcore/stream"
        async with connect(address, subprotocols=["streamlit"], max_size=2**27) as channel:  # type: ignore[list-item]
            states = WidgetStates()

            async def run(due: float | None = None) -> bytes:
                await channel.send(
                    BackMsg(
                        rerun_script={"query_string": self.link, "widget_states": states}  # type: ignore[arg-type]
                    ).SerializeToString()
                )
                return await self.picture(channel, due)

            self.pictures.append((choice, await run()))
            await asyncio.sleep(begin - time.monotonic() + EVERY * self.number / VISITORS)
            for turn in range(int(SECONDS / EVERY)):
                due = begin + EVERY * (turn + self.number / VISITORS)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                choice, label = self.changed(choice, turn)
                del states.widgets[:]
                state = states.widgets.add(id=self.widgets[label])
                if label == "Seed":
                    state.int_value = choice.settings.seed
                else:
                    state.double_array_value.data.append(
                        choice.settings.alpha if "α" in label else choice.settings.beta
                    )
                self.pictures.append((choice, await run(due)))

    def changed(self, choice: Choice, turn: int) -> tuple[Choice, str]:
        """Return the next choice and the label of the control that makes it."""
        settings = choice.settings
        if turn % 3 == 0:
            return replace(choice, settings=replace(settings, seed=settings.seed + 1)), "Seed"
        value = round(0.5 + 0.005 * ((7 * turn + 11 * self.number) % 90), 3)
        if turn % 3 == 1:
            return replace(choice, settings=replace(settings, alpha=value)), "Decay α"
        return replace(choice, settings=replace(settings, beta=value)), "Erase gate β"

    async def picture(self, channel: Any, due: float | None) -> bytes:
        """Read messages up to the end of the run, and return the player's buffer.

        Args:
            channel: the visitor's connection.
            due: when the change was due, whose wait for the picture counts; a late start is a wait as well.
        """
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        data = b""
        while True:
            message = ForwardMsg()
            message.ParseFromString(await asyncio.wait_for(channel.recv(), 60))
            kind = message.WhichOneof("type")
            if kind == "delta" and message.delta.WhichOneof("type") == "new_element":
                element = message.delta.new_element
                name = element.WhichOneof("type")
                if name == "bidi_component":
                    data = element.bidi_component.bytes
                    if due is not None:
                        self.times.append(time.monotonic() - due)
                elif name in ("exception", "alert"):
                    self.errors.append(str(getattr(element, name))[:300])
                elif name in ("number_input", "slider"):
                    self.widgets[getattr(element, name).label] = getattr(element, name).id
            elif kind == "page_info_changed":
                self.link = message.page_info_changed.query_string
            elif kind == "script_finished":
                if data:
                    return data
                self.errors.append("a run without a picture")
                return b""


def visitors(repeats: int) -> Iterator[Result]:
    """Measure twenty people at once, each changing something every two seconds, and check all that they are shown."""
    del repeats

    async def all_of_them(url: str) -> list[Visitor]:
        people = [Visitor(number) for number in range(VISITORS)]
        begin = time.monotonic() + 8.0  # after all have opened the page
        await asyncio.gather(*(person.visit(url, begin) for person in people))
        return people

    with server() as url:
        people = asyncio.run(all_of_them(url))
    wrong = sum(error(data, choice) > TOLERANCE for person in people for choice, data in person.pictures if data)
    shown = sum(len(person.pictures) for person in people)
    errors = [said for person in people for said in person.errors]
    times = [1e3 * seconds for person in people for seconds in person.times]
    note = f"{wrong} of {shown} pictures wrong, {len(errors)} errors{': ' + errors[0] if errors else ''}"
    yield Result(f"{VISITORS} people, a change every {EVERY:g} s each", "ms", times, None, 1000, note)
    if wrong or errors:
        yield Result("wrong pictures and errors", "", [float(wrong + len(errors))], 0, 0)


def uploads(repeats: int) -> Iterator[Result]:
    """Measure what the server keeps after fifty people have each given it a file of 10 MB, all still there."""
    del repeats

    async def all_of_them(url: str, process: int) -> tuple[float, list[Uploader]]:
        people = [Uploader(number) for number in range(UPLOADERS)]
        async with contextlib.AsyncExitStack() as channels:
            for person in people:  # one after the other: what is left counts, and not what is under way
                await person.visit(url, channels)
            await asyncio.sleep(2)
            return resident(process), people

    with server() as url:
        (process,) = servers
        before = resident(process)
        after, people = asyncio.run(all_of_them(url, process))
    errors = [said for person in people for said in person.errors]
    shown = sum(person.shown for person in people)
    note = f"{before:.0f} MB before; {shown} pictures, {len(errors)} errors{': ' + errors[0] if errors else ''}"
    yield Result(f"the server after {UPLOADERS} uploads of 10 MB", "MB", [after], 900, None, note)
    if errors or shown < UPLOADERS:
        yield Result("uploads without a picture, and errors", "", [float(UPLOADERS - shown + len(errors))], 0, 0)


def resident(process: int) -> float:
    """Return the MB of memory that a process holds, without those it started."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass
class Uploader:
    """Someone who gives the lab a file of arrays, by Streamlit's protocol."""

    number: int
    shown: bool = False
    errors: list[str] = field(default_factory=list)

    async def visit(self, url: str, channels: contextlib.AsyncExitStack) -> None:
        """Open the lab, give it a file of 10 MB, wait for the picture, and stay."""
        from streamlit.proto.BackMsg_pb2 import BackMsg
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
        from streamlit.proto.WidgetStates_pb2 import WidgetStates
        from websockets.asyncio.client import connect

        address = url.replace("http", "ws") + "/_stcore/stream"
        given: Any = connect(address, subprotocols=["streamlit"], max_size=2**27)  # type: ignore[list-item]
        channel = await channels.enter_async_context(given)
        states, link, uploader = WidgetStates(), "from=arrays", ""

        async def messages() -> AsyncIterator[ForwardMsg]:
            while True:
                message = ForwardMsg()
                message.ParseFromString(await asyncio.wait_for(channel.recv(), 300))
                yield message
                if message.WhichOneof("type") == "script_finished":
                    return

        async def run() -> None:
            nonlocal uploader, link
            rerun: Any = {"query_string": link, "widget_states": states}
            await channel.send(BackMsg(rerun_script=rerun).SerializeToString())
            async for message in messages():
                kind = message.WhichOneof("type")
                if kind == "page_info_changed":
                    link = message.page_info_changed.query_string
                if kind != "delta" or message.delta.WhichOneof("type") != "new_element":
                    continue
                element = message.delta.new_element
                name = element.WhichOneof("type")
                self.shown |= name == "bidi_component"
                if name == "file_uploader":
                    uploader = element.file_uploader.id
                elif name == "exception" or (name == "alert" and element.alert.format == element.alert.ERROR):
                    self.errors.append(str(getattr(element, str(name)))[:300])

        await run()
        wanted: Any = {"request_id": "1", "file_names": ["mine.npz"]}
        await channel.send(BackMsg(file_urls_request=wanted).SerializeToString())
        async for message in messages():
            if message.WhichOneof("type") == "file_urls_response":
                urls = message.file_urls_response.file_urls[0]
                break
        data = await asyncio.to_thread(arrays_of_10_mb, self.number)
        await asyncio.to_thread(put, url, urls.upload_url, data)
        info = states.widgets.add(id=uploader).file_uploader_state_value.uploaded_file_info.add()
        info.file_id, info.name, info.size = urls.file_id, "mine.npz", len(data)
        info.file_urls.CopyFrom(urls)
        await run()


def arrays_of_10_mb(seed: int) -> bytes:
    """Return keys and values of four heads of 64 channels, 10 MB of float32, as an .npz."""
    rng = np.random.default_rng(seed)
    k, v = (rng.standard_normal((1, 5000, 4, 64), np.float32) for _ in range(2))
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, k=k, v=v)
    return file.getvalue()


def put(url: str, path: str, data: bytes) -> None:
    """Send a file to the server, as a page does."""
    with urllib.request.urlopen(f"{url}/_stcore/health") as answer:
        cookie = answer.headers["Set-Cookie"].split(";")[0]
    head = b'--part\r\nContent-Disposition: form-data; name="file"; filename="mine.npz"\r\n\r\n'
    headers = {
        "Content-Type": "multipart/form-data; boundary=part",
        "Cookie": cookie,
        "X-Xsrftoken": cookie.partition("=")[2],
    }
    body = head + data + b"\r\n--part--\r\n"
    with urllib.request.urlopen(urllib.request.Request(url + path, body, headers, method="PUT")):
        pass


PARTS: dict[str, Callable[[int], Iterator[Result]]] = {
    "change": change,
    "scrub": scrub,
    "start": start,
    "lessons": lessons,
    "visitors": visitors,
    "uploads": uploads,
}


def machine() -> dict[str, str]:
    """Say on what the figures were taken."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    commit = "unknown"
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        describe = ["git", "describe", "--always", "--dirty"]
        commit = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    run = compute.picture(Choice()).trajectory.run
    names = ("torch", "triton", "numpy", "streamlit", "plotly")
    versions = []
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(name)}")
    return {
        "cpu": f"{cpu}, {os.cpu_count()} cores",
        "kernels": f"{run.backend} on {run.device}",
        "versions": f"Python {platform.python_version()}, {', '.join(versions)}",
        "commit": commit,
        "load average": ", ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark, and return 0 if every target was met."""
    parser = argparse.ArgumentParser(prog="./run bench", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="measure only these")
    parser.add_argument("--repeats", type=int, default=60, help="changes made in the browser (default: 60)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures, every value, to this file")
    given = parser.parse_args(arguments)
    check()
    about = machine()
    print(*(f"{name}: {value}" for name, value in about.items()), sep="\n")
    print(f"\n{'':<44} {'n':>4} {'median':>9} {'p95':>9}     {'targets':>11}")
    results = []
    for name in given.only:
        for result in PARTS[name](given.repeats):
            results.append(result)
            print(result.line(), flush=True)
    if given.json:
        given.json.write_text(
            json.dumps({"machine": about, "results": [asdict(result) for result in results]}, indent=1)
        )
    return 0 if all(result.met for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
