"""A server of the app, or of a page that a test brings, in a process of its own."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
APP = "app/main.py"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server on a port of its own, which it keeps when it is started again.

    Args:
        log: where its output goes.
        script: the page, a path from the project's folder.
        arguments: what the page is given.
    """

    def __init__(self, log: Path, script: str = APP, *arguments: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._log = log
        options = [f"--server.port={port}", "--server.headless=true"]
        self._command = [sys.executable, "-m", "streamlit", "run", script, *options, "--", *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self._log.open("a") as output:
            self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(urllib.error.URLError, OSError):
                urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=5).close()
                return
            time.sleep(0.02)
        raise RuntimeError(f"{self._command[4]} did not start; its output was:\n{self._log.read_text()}")

    def stop(self) -> None:
        """End it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    @property
    def process(self) -> int:
        """The number of its process."""
        assert self._process
        return self._process.pid

    def children(self) -> list[int]:
        """Return the processes that it has started and that run, in the order in which they began."""
        found: list[int] = []
        for listed in Path(f"/proc/{self.process}/task").glob("*/children"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the thread has ended since
                found += map(int, listed.read_text().split())
        return sorted(found)


@contextlib.contextmanager
def serving(log: Path, script: str = APP, *arguments: str) -> Iterator[Server]:
    """Start a server, and end it behind the block."""
    server = Server(log, script, *arguments)
    try:
        server.start()
        yield server
    finally:
        server.stop()
