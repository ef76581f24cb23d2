"""A server that is restarted under an open page: the first change counts, and no file only looks present."""

from __future__ import annotations

import socket
import subprocess
import sys
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
