"""The program that a worker process runs: tasks come in, a line of JSON each, and results go out.

``python -m derivations.serve`` imports the claims once, says ``ready``, and ends when its input ends. A task is a check
of one claim, or the refutation of mutants; mutants are named by their place among
:func:`~derivations.mutants.by_machine.every_mutant`, which is the same in every process.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import Any

from derivations.mutants.by_machine import every_mutant
from derivations.mutants.refutation import Refutation, refute
from derivations.registry import load
from derivations.result import Checked, Result, Verdict

READY = "ready"


def check(name: str, seed: int) -> dict[str, Any]:
    """Check a claim."""
    return asdict(load()[name].check(seed=seed))


def refute_all(places: list[int], seconds: list[tuple[str, int, str, float]], seed: int) -> list[dict[str, Any]]:
    """Refute mutants of one function.

    Args:
        places: the mutants, by their places among all.
        seconds: of every step that may refute them, the claim, the step's number, the rule, and what it costs.
        seed: of the random points.
    """
    broken = [every_mutant()[place] for place in places]
    costs = {(name, number, rule): cost for name, number, rule, cost in seconds}
    return [asdict(refutation) for refutation in refute(broken, costs, seed=seed)]


TASKS = {task.__name__: task for task in (check, refute_all)}


def encode(made: Any) -> str:
    """Print what a task returned as one line."""
    return json.dumps(made, default=lambda verdict: verdict.value)


def result(read: dict[str, Any]) -> Result:
    """Make a result of what :func:`check` returned, as it comes back."""
    checked = {
        part: tuple(Checked(**{**entry, "verdict": Verdict(entry["verdict"])}) for entry in read[part])
        for part in ("steps", "mutants")
    }
    return Result(**{**read, **checked})


def refutation(read: dict[str, Any]) -> Refutation:
    """Make a refutation of what :func:`refute_all` returned, as it comes back."""
    place, before, after = read["key"]
    return Refutation(**{**read, "key": (place, before, after)})


def main() -> None:
    """Do tasks until the input ends."""
    # What a claim prints must not come between the results.
    answers, sys.stdout = sys.stdout, sys.stderr
    if hasattr(os, "nice") and len(sys.argv) > 1:
        os.nice(int(sys.argv[1]))
    load()
    try:
        answers.write(f"{READY}\n")
        answers.flush()
        for line in sys.stdin:
            task, arguments = json.loads(line)
            answers.write(encode(TASKS[task](**arguments)) + "\n")
            answers.flush()
    except BrokenPipeError:  # the program that asked was killed
        os.dup2(os.open(os.devnull, os.O_WRONLY), answers.fileno())


if __name__ == "__main__":
    main()
