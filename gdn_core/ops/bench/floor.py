"""The least time that a case could take on a machine: what has to move, and what has to be computed."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gdn_core.ops.bench.cases import Case
from gdn_core.ops.bench.timing import once

C = 64  # tokens a chunk, for the operations of the floor


@dataclass(frozen=True)
class Floor:
    """A lower bound on the time of the chunk form on this machine.

    Args:
        bytes: inputs read once and outputs written once, gradients included.
        operations: floating-point operations of the chunk form with chunks of 64.
        milliseconds: the larger of bytes over bandwidth and operations over matrix rate.
        bound: "memory" or "matrix", whichever is the larger.
    """

    bytes: int
    operations: int
    milliseconds: float
    bound: str


def floor(case: Case, copy: float, rate: float) -> Floor:
    """Compute the floor of a case.

    Args:
        case: what is run.
        copy: copy bandwidth, bytes a second, read and written together.
        rate: matrix rate in the case's dtype, operations a second.
    """
    size = getattr(torch, case.dtype).itemsize
    keys, values, gates = (case.B * case.T * n for n in (2 * case.H * case.K, case.HV * case.V, 2 * case.HV))
    moved = size * (keys + 2 * values) + 4 * gates
    one = 2 * case.HV * (3 * case.K * case.V + C * (2 * case.K + 2 * case.V) // 2)  # triangles are half a square
    operations = case.B * case.T * one
    if case.what in ("backward", "both"):  # reads the inputs and do, writes their gradients
        moved_back, operations_back = moved + size * (keys + values) + 4 * gates, 2 * operations
        once = case.what == "both"
        moved, operations = moved_back + once * moved, operations_back + once * operations
    if case.what == "decode":
        moved += 2 * 4 * case.B * case.HV * case.K * case.V
        operations = case.B * 6 * case.HV * case.K * case.V
    memory, matrix = moved / copy * 1e3, operations / rate * 1e3
    return Floor(moved, operations, max(memory, matrix), "memory" if memory > matrix else "matrix")


def measure_machine(device: str, dtype: str) -> tuple[float, float]:
    """Measure the copy bandwidth in bytes a second, and the rate of a large matrix product in operations a second."""
    n, side = (2**28, 8192) if device == "cuda" else (2**24, 1536)
    x, y = (torch.empty(n, dtype=torch.float32, device=device).fill_(1) for _ in range(2))
    a = torch.randn(side, side, device=device).to(getattr(torch, dtype))
    copy = min(once(lambda: y.copy_(x), device) for _ in range(8))
    product = min(once(lambda: a @ a, device) for _ in range(8))
    return 2 * 4 * n / copy * 1e3, 2 * side**3 / product * 1e3
