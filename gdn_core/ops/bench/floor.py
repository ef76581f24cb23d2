"""The least time that a case could take on a machine: what has to move, what has to be computed, what has to wait."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from gdn_core.ops.bench.cases import GATES, Case
from gdn_core.ops.bench.timing import once

C = 64  # tokens a chunk, for the operations of the floor
FEW, MANY = 64, 1024  # chunks, whose times are subtracted
COLUMNS = 16  # value channels of a program: the fewest of a product


@dataclass(frozen=True)
class Rates:
    """What a machine can do.

    Args:
        copy: bytes a second, read and written together.
        rate: operations a second, of a large matrix product in the case's dtype.
        chunk: seconds between the memories before two chunks that follow each other; 0 if it was not measured.
    """

    copy: float
    rate: float
    chunk: float = 0.0


@dataclass(frozen=True)
class Floor:
    """A lower bound on the time of the chunk form on this machine, and the time of its chunks in sequence.

    Args:
        bytes: inputs read once and outputs written once, gradients included.
        operations: floating-point operations of the chunk form with chunks of 64.
        memory: milliseconds that the bytes take.
        matrix: milliseconds that the operations take.
        chunks: chunks of the longest sequence, both ways if there is a backward pass; 0 to decode.
        sequence: milliseconds of these chunks if one follows the other. It is no bound for a scan that cuts a sequence
            into segments and composes them, which costs it more operations.
        milliseconds: the larger of ``memory`` and ``matrix``.
        bound: "memory" or "matrix", whichever is the larger.
    """

    bytes: int
    operations: int
    memory: float
    matrix: float
    chunks: int
    sequence: float
    milliseconds: float
    bound: str


def floor(case: Case, rates: Rates) -> Floor:
    """Compute the floor of a case on a machine."""
    size = getattr(torch, case.dtype).itemsize
    tokens, widths = case.B * case.T, {"": 1, "K": case.K, "V": case.V}
    gates = 4 * tokens * case.HV * sum(widths[axis] for axis in GATES[case.rule].values())
    keys, values = tokens * 2 * case.H * case.K, tokens * case.HV * case.V
    moved = size * (keys + 2 * values) + gates
    erases = len(GATES[case.rule]) > 1  # not by its decay alone
    # A token's products with the memory, and with the tokens of its chunk: triangles are half a square.
    one = 2 * case.HV * ((2 + erases) * case.K * case.V + C * (1 + erases) * (case.K + case.V) // 2)
    operations, ways = tokens * one, 1
    if case.what in ("backward", "both"):  # reads the inputs and do, writes their gradients
        moved_back, operations_back = moved + size * (keys + values) + gates, 2 * operations
        ways = 1 + (case.what == "both")
        moved, operations = moved_back + (ways - 1) * moved, operations_back + (ways - 1) * operations
    chunks = ways * -(-case.longest // C)
    if case.what == "decode":
        moved += 2 * 4 * case.B * case.HV * case.K * case.V
        operations, chunks = case.B * 6 * case.HV * case.K * case.V, 0
    memory, matrix = moved / rates.copy * 1e3, operations / rates.rate * 1e3
    return Floor(
        moved, operations, memory, matrix, chunks, chunks * rates.chunk * 1e3, max(memory, matrix),
        "memory" if memory > matrix else "matrix",
    )  # fmt: skip


def measure_machine(device: str, dtype: str) -> tuple[float, float]:
    """Measure the copy bandwidth in bytes a second, and the rate of a large matrix product in operations a second."""
    n, side = (2**28, 8192) if device == "cuda" else (2**24, 1024)
    x, y = (torch.empty(n, dtype=torch.float32, device=device).fill_(1) for _ in range(2))
    a = torch.randn(side, side, device=device).to(getattr(torch, dtype))
    copy = min(once(lambda: y.copy_(x), device) for _ in range(8))
    product = min(once(lambda: a @ a, device) for _ in range(8))
    return 2 * 4 * n / copy * 1e3, 2 * side**3 / product * 1e3


def measure_chunk(device: str, channels: int = 128) -> float:
    """Measure the seconds from the memory before a chunk to the memory after it, on a GPU; 0 elsewhere.

    One program runs many chunks of 64 tokens: the errors of a chunk wait for the memory before it, and the next memory
    for the errors. These two products are all that it computes, with operands that are there already.
    """
    if device != "cuda":
        return 0.0
    from gdn_core.ops.bench.sequence import in_sequence

    def least(chunks: int) -> float:
        return min(once(lambda: in_sequence(chunks, channels, C, COLUMNS, device), device) for _ in range(8))

    return (least(MANY) - least(FEW)) / (MANY - FEW) / 1e3
