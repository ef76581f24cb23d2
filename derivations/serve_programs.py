"""The program of the process that runs a PyTorch program of other people: :mod:`derivations.serve` with other tasks."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from derivations.models import torch_programs
from derivations.models.programs import Program, decoded_size, encoded_size
from derivations.serve import serve

_FUNCTIONS: dict[str, torch_programs.Function] = {}


def _answered(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return run()
    except torch_programs.Refused as refused:
        return {"refused": str(refused)}


def read(program: dict[str, Any]) -> dict[str, Any]:
    """Import a program; return what is found of its parameters, and the sizes."""

    def run() -> dict[str, Any]:
        asked = Program.decoded(program)
        _FUNCTIONS[asked.where] = function = torch_programs.found(asked.where)
        known, sizes = torch_programs.fitted(function, asked)
        return {"program": known.encoded(), "sizes": [encoded_size(size) for size in sizes]}

    return _answered(run)


def compare(program: dict[str, Any], size: dict[str, Any], seed: str) -> dict[str, Any]:
    """Compare a program that was read with the recurrence, at a size and on a point that the seed draws."""
    known = Program.decoded(program)

    def run() -> dict[str, Any]:
        function = _FUNCTIONS[known.where]
        return asdict(torch_programs.compare(function, known, decoded_size(size), random.Random(seed)))

    return _answered(run)


if __name__ == "__main__":
    serve({"read": read, "compare": compare})
