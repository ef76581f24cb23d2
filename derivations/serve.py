"""A process that checks claims for another program: a name a line comes in, a result a line of JSON goes out.

``python -m derivations.serve`` imports the claims once, says ``ready``, and ends when its input ends.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict

from derivations.claim import Checked, Result, Verdict, load

READY = "ready"


def encode(result: Result) -> str:
    """Print a result as one line of JSON."""
    return json.dumps(asdict(result), default=lambda verdict: verdict.value)


def decode(line: str) -> Result:
    """Read a result that :func:`encode` printed."""
    read = json.loads(line)
    for part in ("steps", "mutants"):
        read[part] = tuple(Checked(**{**entry, "verdict": Verdict(entry["verdict"])}) for entry in read[part])
    return Result(**read)


def main() -> None:
    """Answer names with results until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program that asked ends this one by closing the input
    if hasattr(os, "nice"):
        os.nice(10)  # whoever watches a page comes first
    # What a claim prints must not come between the results.
    answers, sys.stdout = sys.stdout, sys.stderr
    claims = load()
    answers.write(f"{READY}\n")
    answers.flush()
    for line in sys.stdin:
        answers.write(encode(claims[line.strip()].check()) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
