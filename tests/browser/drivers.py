"""Firefox and WebKit, each driven by the protocol that it speaks itself, so that no other package is needed.

Debian's Firefox speaks WebDriver BiDi over a WebSocket, and WebKit has a driver that speaks WebDriver over HTTP. The
actions of a pointer are written alike in both.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import Any, Protocol

from websockets.sync.client import ClientConnection, connect

from tests.browser.server import free_port

SIZE = (1280, 900)  # CSS pixels of a window
SECONDS = 60.0  # for a browser to start, and for a page to come to a state


class Driver(Protocol):
    """A browser with one page."""

    def go(self, url: str) -> None:
        """Open an address."""

    def value(self, expression: str) -> Any:
        """Return what an expression of JavaScript is worth in the page, by way of JSON."""

    def act(self, actions: list[dict[str, Any]]) -> None:
        """Perform actions of WebDriver, one list a pointer."""


def until(driver: Driver, expression: str) -> Any:
    """Wait until an expression is true, and return what it is worth."""
    deadline = time.monotonic() + SECONDS
    while not (found := driver.value(expression)):
        assert time.monotonic() < deadline, f"the page did not come to: {expression}"
        time.sleep(0.1)
    return found


def press(driver: Driver, x: float, y: float, pointer: str) -> None:
    """Click, or tap, at a place of the window."""
    moves = [
        {"type": "pointerMove", "x": round(x), "y": round(y), "duration": 0},
        {"type": "pointerDown", "button": 0},
        {"type": "pause", "duration": 50},
        {"type": "pointerUp", "button": 0},
    ]
    source = {"type": "pointer", "id": pointer, "parameters": {"pointerType": pointer}, "actions": moves}
    driver.act([source])


class _Firefox:
    def __init__(self, channel: ClientConnection) -> None:
        self._channel = channel
        self._sent = 0
        self._ask("session.new", capabilities={})
        self._page = self._ask("browsingContext.getTree")["contexts"][0]["context"]

    def _ask(self, method: str, **params: Any) -> Any:
        self._sent += 1
        self._channel.send(json.dumps({"id": self._sent, "method": method, "params": params}))
        while True:
            answer = json.loads(self._channel.recv(SECONDS))
            if answer.get("id") == self._sent:
                assert answer["type"] == "success", answer
                return answer["result"]

    def go(self, url: str) -> None:
        self._ask("browsingContext.navigate", context=self._page, url=url, wait="complete")

    def value(self, expression: str) -> Any:
        said = self._ask(
            "script.evaluate",
            expression=f"JSON.stringify(({expression}) ?? null)",
            target={"context": self._page},
            awaitPromise=False,
        )
        assert said["type"] == "success", said
        return json.loads(said["result"]["value"])

    def act(self, actions: list[dict[str, Any]]) -> None:
        self._ask("input.performActions", context=self._page, actions=actions)


class _WebKit:
    def __init__(self, address: str, browser: str) -> None:
        self._address = address
        options = {"webkitgtk:browserOptions": {"binary": browser, "args": ["--automation"]}}
        session = self._ask("/session", capabilities={"alwaysMatch": options})["sessionId"]
        self._address += f"/session/{session}"
        self._ask("/window/rect", width=SIZE[0], height=SIZE[1])

    def _ask(self, path: str, **body: Any) -> Any:
        asked = urllib.request.Request(self._address + path, json.dumps(body).encode())
        with urllib.request.urlopen(asked, timeout=SECONDS) as answer:
            return json.load(answer)["value"]

    def go(self, url: str) -> None:
        self._ask("/url", url=url)

    def value(self, expression: str) -> Any:
        said = self._ask("/execute/sync", script=f"return JSON.stringify(({expression}) ?? null)", args=[])
        return json.loads(said)

    def act(self, actions: list[dict[str, Any]]) -> None:
        self._ask("/actions", actions=actions)


@contextlib.contextmanager
def _running(*command: str, log: Path, **more: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program, its output in a file, and end it behind the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, **more)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _said(log: Path, before: str) -> str:
    """Wait until a program has said something, and return the rest of that line."""
    deadline = time.monotonic() + SECONDS
    while not (lines := [line for line in log.read_text(errors="replace").splitlines() if before in line]):
        assert time.monotonic() < deadline, log.read_text(errors="replace")
        time.sleep(0.1)
    return lines[0].partition(before)[2].strip()


def missing(name: str) -> str:
    """Say what is missing to drive a browser, "" if nothing is."""
    if name == "firefox":
        return "" if _firefox() else "Firefox is not installed (on Debian: apt-get install firefox-esr)"
    programs = {
        "Xvfb": shutil.which("Xvfb"),
        "WebKitWebDriver": shutil.which("WebKitWebDriver"),
        "MiniBrowser": _minibrowser(),
    }
    absent = ", ".join(program for program, path in programs.items() if not path)
    return f"{absent}: not installed (on Debian: apt-get install webkit2gtk-driver xvfb)" if absent else ""


def _firefox() -> str | None:
    return shutil.which("firefox-esr") or shutil.which("firefox")


def _minibrowser() -> str | None:
    return next(iter(sorted(glob("/usr/lib/*/webkit2gtk-4*/MiniBrowser"), reverse=True)), None)


@contextlib.contextmanager
def firefox(folder: Path) -> Iterator[Driver]:
    """Start a headless Firefox with a profile in a folder, with touch events."""
    browser = _firefox()
    assert browser
    (folder / "user.js").write_text('user_pref("dom.w3c_touch_events.enabled", 1);\n')
    options = ["--headless", "--profile", str(folder), "--remote-debugging-port=0"]
    size = [f"--width={SIZE[0]}", f"--height={SIZE[1]}"]
    log = folder / "log.txt"
    with contextlib.ExitStack() as ends:
        ends.enter_context(_running(browser, *options, *size, "about:blank", log=log))
        address = _said(log, "WebDriver BiDi listening on ")
        yield _Firefox(ends.enter_context(connect(f"{address}/session", max_size=2**26)))


@contextlib.contextmanager
def webkit(folder: Path) -> Iterator[Driver]:
    """Start WebKit's MiniBrowser on a screen of its own, and its driver."""
    port = free_port()
    browser, screen, log = _minibrowser(), folder / "screen.txt", folder / "log.txt"
    assert browser
    with _running("Xvfb", "-displayfd", "1", "-screen", "0", "1400x1000x24", log=screen):
        deadline = time.monotonic() + SECONDS
        while not (number := screen.read_text(errors="replace").strip().splitlines()):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        env = {**os.environ, "DISPLAY": f":{number[-1]}", "LIBGL_ALWAYS_SOFTWARE": "1", "HOME": str(folder)}
        with _running("WebKitWebDriver", f"--port={port}", log=log, env=env):
            address = f"http://127.0.0.1:{port}"
            while time.monotonic() < deadline:
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/status", timeout=5):
                    break
                time.sleep(0.1)
            yield _WebKit(address, browser)
