"""A server that is restarted under an open page, and processes of it that are killed or hang: nothing is lost."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from tests.browser.conftest import ROOT, new_profile, wait_until_healthy
from tests.browser.lab_steps import expect_link, fill, give, npz, number, settle, visit


@pytest.fixture
def server(chromium_path: str, tmp_path: Path) -> Iterator[Callable[[], str]]:
    """Start a server of the app, and end it first if it runs; its address stays."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running: list[subprocess.Popen[bytes]] = []
    log = tmp_path / "log.txt"

    def end() -> None:
        while running:
            running[-1].terminate()
            running.pop().wait(timeout=20)

    def start() -> str:
        end()
        options = [f"--server.port={port}", "--server.headless=true"]
        command = [sys.executable, "-m", "streamlit", "run", "app/main.py", *options]
        with log.open("a") as output:
            running.append(subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT))
        url = f"http://127.0.0.1:{port}"
        wait_until_healthy(url, running[-1], log)
        return url

    yield start
    end()


def test_the_first_change_after_a_restart_counts_and_a_file_is_asked_for_again(
    server: Callable[[], str], browser: Browser
) -> None:
    profile = new_profile(browser, server())
    page = profile.new_page()
    visit(page, "T=9&dk=6&dv=5")
    fill(page, "Seed", "1")
    settle(page)
    expect_link(page, {"T": "9", "dk": "6", "dv": "5", "seed": "1"})
    server()
    fill(page, "Seed", "5")  # before the page has found the new server
    expect_link(page, {"T": "9", "dk": "6", "dv": "5", "seed": "5"})
    settle(page)
    expect(number(page, "Seed")).to_have_value("5")
    fill(page, "Seed", "6")
    expect_link(page, {"T": "9", "dk": "6", "dv": "5", "seed": "6"})

    visit(page, "from=arrays")
    give(page, "mine.npz", npz(k=np.ones((1, 4, 2, 3)) / 3))
    expect(page.get_by_text("In use: mine.npz")).to_be_visible()
    settle(page)
    fill(page, "Head", "1")
    settle(page)
    server()
    expect(page.get_by_text("file that this link cannot carry")).to_be_visible()
    expect(page.get_by_test_id("stFileUploaderFile")).to_have_count(0)
    give(page, "mine.npz", npz(k=np.ones((1, 4, 2, 3)) / 3))
    expect(page.get_by_text("In use: mine.npz")).to_be_visible()
    settle(page)
    expect(number(page, "Head")).to_have_value("1")
    profile.close()


def workers(url: str, count: int) -> list[int]:
    """Return the processes that run the kernels of the server at a url, in the order in which they were started."""
    port = url.rsplit(":", 1)[1]
    for _ in range(600):
        table = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
        rows = [line.split(maxsplit=2) for line in table.splitlines()]
        servers = {pid for pid, _, command in rows if f"--server.port={port}" in command}
        found = [int(pid) for pid, parent, command in rows if parent in servers and "worker.process" in command]
        if len(found) >= count:
            return found
        time.sleep(0.05)
    pytest.fail(f"expected {count} processes that run the kernels, found {found}")


def test_a_killed_worker_is_not_noticed_and_one_that_hangs_can_be_left(
    server: Callable[[], str], browser: Browser
) -> None:
    url = server()
    profile = new_profile(browser, url)
    page, other = profile.new_page(), profile.new_page()
    player = visit(page, "T=9&dk=6&dv=5")
    alerts = page.get_by_test_id("stAlert")
    workers(url, 2)

    # The one given back last is taken first: with one visitor, always the first. It is killed twice under a launch.
    before = player.get_attribute("data-ready")
    for kills in range(2):
        busy = workers(url, 2)[0] if kills == 0 else max(workers(url, 2))
        os.kill(busy, signal.SIGSTOP)
        if kills == 0:
            fill(page, "Seed", "1")
            expect(page.get_by_role("button", name="Stop waiting")).to_be_visible()
        os.kill(busy, signal.SIGKILL)
    expect(player).not_to_have_attribute("data-ready", before)
    settle(page)
    expect(alerts).to_have_count(0)
    expect(number(page, "Seed")).to_have_value("1")

    # It hangs: its visitor may stop waiting, and nobody else waits.
    before = player.get_attribute("data-ready")
    hangs = max(workers(url, 2))
    os.kill(hangs, signal.SIGSTOP)
    fill(page, "Seed", "2")
    page.get_by_role("button", name="Stop waiting").click()
    expect(alerts.filter(has_text="You stopped waiting")).to_be_visible()
    expect(page.locator(".st-key-picture")).to_have_css("opacity", "0.4")
    expect(player).to_have_attribute("data-ready", before)

    # Asked for again it is waited for again: after 10 s it is ended, and the next one answers.
    again = page.get_by_role("button", name="Try again")
    again.click()
    visit(other, "T=9&dk=6&dv=5&seed=3")
    expect(other.get_by_test_id("stAlert")).to_have_count(0)
    expect(alerts.filter(has_text=re.compile("longer than 10 s"))).to_be_visible()
    expect(player).to_have_attribute("data-ready", before)
    assert hangs not in workers(url, 1)
    again.click()
    expect(player).not_to_have_attribute("data-ready", before)
    expect(alerts).to_have_count(0)
    expect(page.locator(".st-key-picture")).to_have_css("opacity", "1")
    expect_link(page, {"T": "9", "dk": "6", "dv": "5", "seed": "2"})
    profile.close()
