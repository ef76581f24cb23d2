"""A step of a claim while it runs: it gives one residual after the other, and the first that is not zero ends it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from derivations.functions import Unplanted
from derivations.residual import Residual, describe, is_zero, typeset
from derivations.result import Verdict


class Running:
    """A step that runs, a residual at a time.

    Args:
        run: the step's function.
        arguments: its arguments.

    Attributes:
        verdict: how it ended; None while it can go on.
        residual: the residual that is not zero, or the message of an exception; else "".
        tex: that residual in TeX, "" where it is no formula.
        compared: how many residuals were looked at.
        seconds: CPU time so far.
    """

    def __init__(self, run: Callable[..., Residual], arguments: dict[str, Any]) -> None:
        self._left = _residuals(run, arguments)
        self.verdict: Verdict | None = None
        self.residual, self.tex = "", ""
        self.compared = 0
        self.seconds = 0.0

    def go_on(self, seconds: float = math.inf, residuals: float = math.inf) -> None:
        """Look at residuals until the step has ended, or has taken this much CPU time, or given as many, in all."""
        while self.verdict is None and self.seconds < seconds and self.compared < residuals:
            started = time.process_time()
            self._next()
            if self.verdict:
                self._left.close()  # which ends the blocks that it has opened
            self.seconds += time.process_time() - started

    def _next(self) -> None:
        try:
            residual = next(self._left)
            self.compared += 1
            if not is_zero(residual):
                self.verdict, self.residual, self.tex = Verdict.FAILS, describe(residual), typeset(residual)
        except StopIteration:
            self.verdict = Verdict.HOLDS
            if not self.compared:
                self.verdict, self.residual = Verdict.ERROR, "TypeError: expected a residual, and nothing was yielded"
        except Unplanted as error:
            self.verdict, self.residual = Verdict.SKIPPED, str(error)
        except Exception as error:  # noqa: BLE001 - the code may fail in any way; an exception is the verdict ERROR
            self.verdict, self.residual = Verdict.ERROR, f"{type(error).__name__}: {error}"


def _residuals(run: Callable[..., Residual], arguments: dict[str, Any]) -> Generator[Residual]:
    residual = run(**arguments)
    if isinstance(residual, Iterator):
        yield from residual
    else:
        yield residual
