"""The program of the process that runs a kernel of other people: :mod:`derivations.serve` with other tasks."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from derivations.models import kernel_programs
from derivations.models.kernel_specs import Spec
from derivations.models.torch_programs import Refused
from derivations.serve import serve

_READ: list[tuple[Any, Spec]] = []


def _answered(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return run()
    except Refused as refused:
        return {"refused": str(refused)}


def read(where: str, spec: str) -> dict[str, Any]:
    """Import a kernel and its specification; return the sizes."""

    def run() -> dict[str, Any]:
        _READ[:] = [(kernel_programs.kernel_of(where), kernel_programs.spec_of(spec))]
        return {"sizes": [dict(size) for size in _READ[0][1].sizes]}

    return _answered(run)


def compare(size: int, target: dict[str, Any], seed: str) -> dict[str, Any]:
    """Compare the kernel that was read with what is expected, at a size and on a point that the seed draws."""

    def run() -> dict[str, Any]:
        ((kernel, spec),) = _READ
        of = kernel_programs.Target(**target)
        residual, unmodelled = kernel_programs.compare(kernel, spec, spec.sizes[size], of, random.Random(seed))
        return {"residual": residual, "unmodelled": unmodelled}

    return _answered(run)


if __name__ == "__main__":
    serve({"read": read, "compare": compare})
