"""Progress in a terminal or a pipe."""

from __future__ import annotations

import os
from typing import ClassVar, TextIO

from derivations.result import Verdict
from derivations.run import Progress


class Screen:
    """Progress output: a bar on the last line of a terminal, or a line for each claim in a pipe."""

    _CODES: ClassVar[dict[str, str]] = {"red": "31", "green": "32", "dim": "2"}

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._bar = out.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = self._bar and not os.environ.get("NO_COLOR")

    def show(self, progress: Progress) -> None:
        """Print a claim that has been checked, and update the bar."""
        if result := progress.result:
            self.clear()
            scope = "; ".join(result.said)
            verdict = self._painted(f"{result.verdict.value:5}", "green" if result.verdict is Verdict.HOLDS else "red")
            if result.unmodelled:
                scope += f"; not modelled: {', '.join(result.unmodelled)}"
            self.print(f"{verdict} {result.seconds:6.2f} s  {result.claim}  {self._painted(scope, 'dim')}")
        if self._bar:
            width = 30
            full = width * progress.done // progress.total
            what = "" if result else " mutants of the code"
            self._out.write(f"\r\x1b[K[{'#' * full}{'.' * (width - full)}] {progress.done}/{progress.total}{what}")
        self._out.flush()

    def clear(self) -> None:
        """Clear the bar."""
        if self._bar:
            self._out.write("\r\x1b[K")

    def print(self, text: str, colour: str = "") -> None:
        """Print a line, in colour on a terminal."""
        self._out.write(self._painted(text, colour) + "\n")

    def _painted(self, text: str, colour: str) -> str:
        return f"\x1b[{self._CODES[colour]}m{text}\x1b[0m" if self._colour and colour else text
