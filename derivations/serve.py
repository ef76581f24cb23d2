"""The program of a worker process: it reads tasks and writes results, each a line of JSON.

``python -m derivations.serve`` imports the claims once, prints ``ready``, and ends when its input ends. A task is a
check of one claim, or the refutation of mutants; those of a program of other people are in ``serve_programs``. Mutants
are numbered as in :func:`~derivations.mutants.by_machine.every_mutant`, which is the same in every process.
"""

from __future__ import annotations

import json
import os
import select
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from derivations.mutants.by_machine import every_mutant
from derivations.mutants.refutation import Attempt, Cost, Refutation, refute, unearned
from derivations.registry import load
from derivations.result import Checked, Kind, Result, Verdict

READY = "ready"
Costs = list[tuple[str, int, str, float, int]]


def check(name: str, seed: int) -> dict[str, Any]:
    """Check a claim."""
    return asdict(load()[name].check(seed=seed))


def refute_all(places: list[int], costs: Costs, seed: int) -> list[dict[str, Any]]:
    """Refute mutants of one function.

    Args:
        places: numbers of the mutants.
        costs: for every step that may refute them: claim, number of the step, rule, seconds and number of residuals.
        seed: seed of the random points.
    """
    broken = [every_mutant()[place] for place in places]
    return [asdict(refutation) for refutation in refute(broken, _decoded(costs), seed=seed)]


def not_earned(name: str, places: list[str], costs: Costs, seed: int) -> tuple[str, ...]:
    """Return those functions of which a claim notices no mutant."""
    return unearned(name, places, _decoded(costs), seed=seed)


def encoded(costs: Mapping[Attempt, Cost]) -> Costs:
    """Encode the costs of steps for a task."""
    return [(*attempt, cost.seconds, cost.compared) for attempt, cost in costs.items()]


def _decoded(costs: Costs) -> dict[Attempt, Cost]:
    return {(name, number, rule): Cost(seconds, compared) for name, number, rule, seconds, compared in costs}


TASKS = {task.__name__: task for task in (check, refute_all, not_earned)}


def encode(made: Any) -> str:
    """Encode the result of a task as one line of JSON."""
    return json.dumps(made, default=lambda verdict: verdict.value)


def result(read: dict[str, Any]) -> Result:
    """Decode a result of :func:`check`."""
    checked = {
        part: tuple(Checked(**{**entry, **_checked(entry)}) for entry in read[part])
        for part in ("steps", "mutants")
    }
    return Result(**{**read, **checked})


def _checked(entry: dict[str, Any]) -> dict[str, Any]:
    kind = entry["kind"] and Kind(entry["kind"])
    lists = {name: tuple(entry[name]) for name in ("ran", "reached", "unmodelled")}
    return {"verdict": Verdict(entry["verdict"]), "kind": kind, **lists}


def refutation(read: dict[str, Any]) -> Refutation:
    """Decode a refutation of :func:`refute_all`."""
    place, before, after = read["key"]
    return Refutation(**{**read, "key": (place, before, after)})


def _end_with_the_reader(answers: int) -> None:
    """End this process, whatever task it runs, once nobody can read its answers: the calling program has ended."""
    reader = select.poll()
    reader.register(answers, 0)  # that the other end was closed is always reported
    reader.poll()
    os._exit(0)


def serve(tasks: Mapping[str, Callable[..., Any]]) -> None:
    """Run tasks until the input ends, or the program that reads the answers does.

    Args:
        tasks: by name; each returns what JSON can hold.
    """
    # What a task prints must not mix with the results, and what it reads must not be the next task.
    given, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    if hasattr(os, "nice") and len(sys.argv) > 1:
        os.nice(int(sys.argv[1]))
    if hasattr(select, "poll"):
        threading.Thread(target=_end_with_the_reader, args=(answers.fileno(),), daemon=True).start()
    try:
        answers.write(f"{READY}\n")
        answers.flush()
        for line in given:
            task, arguments = json.loads(line)
            answers.write(encode(tasks[task](**arguments)) + "\n")
            answers.flush()
    except BrokenPipeError:  # the calling program was killed
        os.dup2(os.open(os.devnull, os.O_WRONLY), answers.fileno())


if __name__ == "__main__":
    load()
    serve(TASKS)
