"""The processes that run the libraries, as the command holds them."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from gdn_core.ops.bench.runners import ENVIRONMENTS

ROOT = Path(__file__).resolve().parents[3]
START = 120.0  # seconds for a process to import its library


class Failed(Exception):
    """A process gave no answer; the message is a sentence."""


class Late(Failed):
    """A process took too long, and was ended."""


class Child:
    """A process that runs one library, and is asked over pipes.

    Args:
        library: the library.
        device: "cuda" or "cpu".
        path: folders that its imports are taken from first, as in PYTHONPATH; "" for what is installed.
        environment: more variables.
        compiling: it only fills the caches on disk.
    """

    def __init__(
        self, library: str, device: str, *, path: str = "", environment: dict[str, str], compiling: bool = False
    ) -> None:
        """Start it."""
        self.library = library
        inherited = os.environ.get("PYTHONPATH", "")
        paths = (path, str(ROOT)) if path else (str(ROOT), inherited)
        variables = {**os.environ, **ENVIRONMENTS.get(library, {}), **environment}
        variables["PYTHONPATH"] = os.pathsep.join(x for x in paths if x)
        self._said = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed by end
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gdn_core.ops.bench.child", library, device, *(["compile"] if compiling else [])],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True, encoding="utf-8",
            env=variables,
        )  # fmt: skip
        self._answers: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def ask(self, do: str, seconds: float, **more: Any) -> dict[str, Any]:
        """Ask, and wait for the answer.

        Raises:
            Failed: if the process ends or takes longer, and is ended; or if it refuses, with its sentence.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **more}) + "\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=max(0.0, seconds))
        except queue.Empty:
            self.end()
            raise Late(f"it took longer than {seconds:.0f} s") from None
        except (BrokenPipeError, ValueError):
            line = None
        if line is None:
            raise Failed(self._how_it_ended())
        answer: dict[str, Any] = json.loads(line)
        if "refused" in answer:
            raise Failed(answer["refused"])
        return answer

    def _how_it_ended(self) -> str:
        if self._said.closed:
            return "its process was ended before"
        code = self._process.wait()
        self._said.seek(0)
        lines = [line.strip() for line in self._said.read().splitlines() if line.strip()]
        self.end()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        return f"its process ended with {how}" + (f": {lines[-1][:300]}" if lines else "")

    @property
    def alive(self) -> bool:
        """Tell whether the process runs."""
        return self._process.poll() is None

    def end(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._said):
            try:
                pipe.close()  # type: ignore[union-attr]
            except BrokenPipeError:
                continue
