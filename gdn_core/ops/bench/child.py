"""A process that runs one library: ``python -m gdn_core.ops.bench.child LIBRARY DEVICE [compile]``.

It reads requests from its input and writes an answer to each, as JSON, a line each. A request names what to ``do``, and
the ``case``. An answer that cannot be given has a sentence under ``refused``. With ``compile`` the process only fills
the caches on disk: configurations that are to be compared are run once each, and none is chosen for later.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
import warnings
from typing import Any

from gdn_core.ops.bench.cases import Case
from gdn_core.ops.bench.check import check, errors, wrong
from gdn_core.ops.bench.floor import measure_chunk, measure_machine
from gdn_core.ops.bench.runners import LIBRARIES, OURS, Missing
from gdn_core.ops.bench.timing import REFUSALS, Prepared, release, sentence

TUNING = {"warmup": 2, "rep": 10}  # milliseconds for a configuration of Triton's autotuner, which has 25 and 100


def main() -> int:
    """Answer requests until the input ends."""
    library, device, *only = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    warnings.simplefilter("once")
    if library == "fla":
        _tune_briefly(once="compile" in only)
    child = _Child(library, device)
    for line in sys.stdin:
        try:
            answer = child.answer(json.loads(line))
        except (Missing, *REFUSALS) as error:
            answer = {"refused": sentence(error)}
        print(json.dumps(answer), file=answers, flush=True)
    return 0


class _Child:
    """What a process holds between requests."""

    def __init__(self, library: str, device: str) -> None:
        self.library = library
        self.device = device
        self.prepared: Prepared | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request says."""
        do = request["do"]
        if do == "facts":
            return {"versions": _versions(self.library)}
        if do == "measure":
            copy, rate = measure_machine(self.device, request["dtype"])
            return {"copy": copy, "rate": rate, "chunk": measure_chunk(self.device)}
        if do == "round":
            assert self.prepared is not None, "expected a case that is prepared"
            return dict(self.prepared.round())
        self.prepared = None
        release(self.device)
        if do == "drop":
            return {}
        case = Case(**{**request["case"], "lengths": tuple(request["case"]["lengths"])})
        if do == "check":
            sentences = [] if self.library != OURS else [check(case, self.device)]
            found = errors(self.library, case, self.device)
            release(self.device)
            wrongs = [x for x in (*sentences, wrong(found)) if x]
            return {"errors": found, "wrong": wrongs[0] if wrongs else ""}
        prepared = Prepared(self.library, case, self.device)
        if do == "prepare":
            prepared.capture()
            self.prepared = prepared
        return {"first": prepared.first, "peak": prepared.peak, "not_captured": prepared.not_captured}


def _tune_briefly(*, once: bool) -> None:
    """Let Triton's autotuner take less time for a configuration, or run each one time only."""
    import triton

    full = triton.testing.do_bench

    def brief(call: Any, **options: Any) -> Any:
        if not once:
            return full(call, **{**options, **TUNING})
        call()
        return [1.0] * len(options.get("quantiles") or (0,))

    triton.testing.do_bench = brief


def _versions(library: str) -> dict[str, str]:
    """Import a library, and return the version of its package and of what it runs on."""
    package, module = LIBRARIES[library]
    loaded = importlib.import_module(module)
    found = {}
    for name in (package, "torch", "triton"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            if name == package:
                found[name] = str(getattr(loaded, "__version__", "unknown"))
    return found


if __name__ == "__main__":
    sys.exit(main())
