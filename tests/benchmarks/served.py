"""The app as it is measured: served by a process of its own, to a browser of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.browser.server import ROOT, Server, serving

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-dev-shm-usage", "--no-first-run"]


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """Start the app, and end it behind the block."""
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder) / "log.txt") as running:
        yield running


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


def resident(process: int) -> float:
    """Return the MB of memory that a process holds, without those it started."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def processor(*processes: int) -> float:
    """Return the seconds of a core that processes have taken so far."""
    taken = 0
    for process in processes:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        taken += int(fields[11]) + int(fields[12])
    return taken / os.sysconf("SC_CLK_TCK")
