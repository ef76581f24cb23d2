"""What visitors see when the server, or a process that runs the kernels, ends or hangs under an open page."""

from __future__ import annotations

import array
import fcntl
import os
import signal
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from gdn_core.lab.scenarios import PRESETS, Scenario, Settings
from tests.browser.conftest import forget, new_profile
from tests.browser.lab_steps import check, expect_link, fill, give, npz, number, numbers, settle, visit
from tests.browser.server import Server, serving

SIZES = {"dk": 6, "dv": 5, "T": 9}
LINK = {**{name: str(size) for name, size in SIZES.items()}, "rules": "deltanet"}
QUERY = "&".join(f"{name}={value}" for name, value in LINK.items())
_Found = TypeVar("_Found")


@pytest.fixture(scope="module")
def server(chromium_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that these tests may break."""
    with serving(tmp_path_factory.mktemp("broken") / "log.txt") as server:
        yield server


@pytest.fixture(scope="module")
def visitor(browser: Browser, server: Server) -> Iterator[BrowserContext]:
    """A profile of that server's, with two pages."""
    profile = new_profile(browser, server.url)
    for _ in range(2):
        profile.new_page()
    yield profile
    profile.close()


@pytest.fixture
def pages(visitor: BrowserContext) -> Iterator[list[Page]]:
    """Two pages that know nothing of the test before."""
    yield visitor.pages
    for page in visitor.pages:
        forget(page)


def tokens(seed: int) -> Scenario:
    """Make the tokens that a page of these sizes shows."""
    preset = next(iter(PRESETS.values()))
    return preset.build(Settings(**{**vars(preset.settings), **SIZES, "seed": seed}))


def soon(look: Callable[[], _Found | None]) -> _Found:
    """Wait until a look finds something."""
    end = time.monotonic() + 60
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def test_after_a_restart_of_the_server_the_first_change_counts_and_a_file_is_asked_for(
    server: Server, pages: list[Page]
) -> None:
    rng = np.random.default_rng(0)
    arrays = {"k": rng.normal(size=(1, 9, 3, 4)) / 2, "v": rng.normal(size=(1, 9, 3, 2))}
    preset, own = pages
    player = visit(preset, QUERY)
    own.goto("/?from=arrays&rules=linear-attention")
    give(own, "mine.npz", npz(**arrays))
    settle(own)

    server.stop()
    server.start()

    fill(preset, "Seed", "9")  # the field waits until the page has found the server again
    expect_link(preset, LINK | {"seed": "9"})
    settle(preset)
    expect(number(preset, "Seed")).to_have_value("9")
    check(player, tokens(9), ("deltanet",), 8)

    fill(own, "Head", "2")
    expect(own.get_by_text("Choose in the controls the file")).to_be_visible()
    expect(own.get_by_test_id("stFileUploaderFile")).to_have_count(0)
    expect(number(own, "Head")).to_have_value("2")
    give(own, "mine.npz", npz(**arrays))
    expect(own.get_by_text("In use: mine.npz")).to_be_visible()
    held = numbers(settle(own), "linear-attention", "written").reshape(2, 4)
    np.testing.assert_allclose(held, arrays["v"][0, :, 2].T @ arrays["k"][0, :, 2], atol=2e-5)


def workers(server: Server) -> list[int]:
    """Return the processes that run the kernels."""

    def command(pid: int) -> bytes:
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):  # it has ended since
            return b""

    return [pid for pid in server.children() if b"gdn_core.lab.worker" in command(pid)]


def halt(pid: int) -> None:
    """Stop a process, and wait until each of its threads stands."""
    os.kill(pid, signal.SIGSTOP)
    threads = Path(f"/proc/{pid}/task")
    soon(lambda: all(f.read_text().rpartition(")")[2].split()[0] == "T" for f in threads.glob("*/stat")))


def stop_whom_it_is_asked(pair: list[int], ask: Callable[[], None]) -> int:
    """Stop both workers, ask for a picture, let the one go on that was not asked, and return the other."""

    def unread(pid: int) -> bool:
        with open(f"/proc/{pid}/fd/0", "rb", buffering=0) as request:
            count = array.array("i", [0])
            fcntl.ioctl(request, termios.FIONREAD, count)
            return count[0] > 0

    for pid in pair:
        halt(pid)
    ask()
    asked = soon(lambda: next(filter(unread, pair), None))
    for pid in set(pair) - {asked}:
        os.kill(pid, signal.SIGCONT)
    return asked


def test_a_worker_that_hangs_or_is_killed_holds_up_nobody_else_and_can_be_asked_again(
    server: Server, pages: list[Page]
) -> None:
    page, colleague = pages
    player = visit(page, QUERY)
    said, again = page.get_by_test_id("stAlert"), page.get_by_role("button", name="Try again")

    pair = soon(lambda: two if len(two := workers(server)) == 2 else None)
    stopped = stop_whom_it_is_asked(pair, lambda: fill(page, "Seed", "1"))
    check(visit(colleague, f"{QUERY}&seed=2"), tokens(2), ("deltanet",), 8)
    expect(said).to_contain_text("took longer than 10 s and was stopped")
    expect(page.locator(".st-key-picture")).to_have_css("opacity", "0.85")
    check(player, tokens(0), ("deltanet",), 8)  # the last good one
    soon(lambda: stopped not in workers(server))
    again.click()
    expect(said).to_have_count(0)
    settle(page)
    check(player, tokens(1), ("deltanet",), 8)

    before = workers(server)
    os.kill(stop_whom_it_is_asked(before, lambda: fill(page, "Seed", "3")), signal.SIGKILL)
    second = soon(lambda: next((pid for pid in workers(server) if pid not in before), None))
    halt(second)  # while it starts
    page.get_by_role("button", name="Stop waiting").click()
    expect(said).to_contain_text("You stopped waiting for this picture")
    again.click()
    expect(said).to_have_count(0)
    os.kill(second, signal.SIGKILL)
    expect(player).to_have_attribute("data-token", "8")
    page.wait_for_function("new URLSearchParams(location.search).get('seed') === '3'")
    settle(page)
    check(player, tokens(3), ("deltanet",), 8)
    check(visit(colleague, f"{QUERY}&seed=4"), tokens(4), ("deltanet",), 8)
