"""Check a PyTorch program of other people: it runs unchanged on exact numbers, and is compared with a recurrence."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from derivations.models.programs import PRIMES, Program, decoded_size, encoded_size
from derivations.models.torch_sizes import Size
from derivations.workers import TookTooLongError, Worker, WorkerError
from gdn_core.extras import need
from gdn_core.rules import RULES

LIMIT = 60.0  # seconds for the import, and for each size
START = 300.0  # for PyTorch's import
COMMAND = (sys.executable, "-P", "-m", "derivations.serve_programs")


class CannotBeCheckedError(ValueError):
    """A program that cannot be compared with a recurrence; the message is a sentence that says why."""


@dataclass(frozen=True)
class Verdict:
    """What came of a comparison.

    Args:
        program: the program, with what each of its parameters was taken for.
        sizes: the sizes at which it was compared, up to the first at which it is wrong.
        residual: the first wrong output, with its sizes and indices; "" if it is the recurrence at all of them.
        unmodelled: what is not modelled of the operations that it ran, in words.
        operations: the names of the ATen operations that it ran.
        seed: of the random points.
    """

    program: Program
    sizes: tuple[Size, ...]
    residual: str
    unmodelled: tuple[str, ...]
    operations: tuple[str, ...]
    seed: int

    @property
    def holds(self) -> bool:
        """Whether it is the recurrence at these sizes."""
        return not self.residual

    @property
    def sentence(self) -> str:
        """Say it."""
        of = f"the recurrence of {RULES[self.program.rule].title}"
        if not self.holds:
            return f"{self.program.where} is not {of}: {self.residual}"
        sizes = "; ".join(size.stream for size in self.sizes)
        return f"{self.program.where} is {of} at {sizes}; random points mod {PRIMES} primes"

    @property
    def taken(self) -> str:
        """Say what each parameter was taken for."""
        parts = [f"{name} is {role}" for name, role in self.program.roles.items()]
        parts += [f"{name} = {value!r}" for name, value in self.program.constants.items()]
        if "scale" not in self.program.roles.values():
            scale = self.program.scale
            parts.append(f"queries times {'1 / sqrt(K)' if scale is None else format(scale, 'g')}")
        return ", ".join([*parts, f"axes {self.program.layout} and {self.program.state}"])

    def as_json(self) -> str:
        """Print it as JSON."""
        own = asdict(self) | {"program": self.program.encoded(), "holds": self.holds, "sentence": self.sentence}
        return json.dumps(own, indent=1, default=lambda gate: gate.value)


def check_torch(where: str, *, seed: int = 0, limit: float = LIMIT, **told: Any) -> Verdict:
    """Compare a PyTorch function with the recurrence of a rule, in a process of its own.

    Args:
        where: ``MODULE:FUNCTION`` or ``FILE.py:FUNCTION``; nothing else is imported.
        seed: seed of the random points.
        limit: seconds for its import, and for each size.
        told: what else is known of it: the arguments of :class:`~derivations.models.programs.Program`, such as
            ``roles={"query": "q"}``, ``constants={"chunk_size": 16}``, ``rule="gla"``, ``layout="BHTD"``.

    Raises:
        CannotBeCheckedError: if it cannot be imported, has other arguments than was told, raises, takes too long, or
            does what is not modelled.
        ModuleNotFoundError: if PyTorch is not installed.
    """
    need("torch")
    try:
        asked = Program(where, **told)
    except ValueError as error:
        raise CannotBeCheckedError(str(error)) from error
    worker = Worker(limit=limit, start=START, command=COMMAND)
    try:
        found = ask(worker, where, "its import", limit, "read", program=asked.encoded())
        program = Program.decoded(found["program"])
        return _compared(worker, program, tuple(decoded_size(size) for size in found["sizes"]), seed, limit)
    finally:
        worker.kill()


def _compared(worker: Worker, program: Program, sizes: Iterable[Size], seed: int, limit: float) -> Verdict:
    unmodelled: dict[str, None] = {}
    operations: set[str] = set()
    done: list[Size] = []
    residual = ""
    for size in sizes:
        done.append(size)
        for prime in range(PRIMES):
            given = {"program": program.encoded(), "size": encoded_size(size), "seed": f"{seed} {prime}"}
            found = ask(worker, program.where, size.stream, limit, "compare", **given)
            unmodelled |= dict.fromkeys(found["unmodelled"])
            operations |= set(found["operations"])
            if found["residual"]:
                residual = f"at {size.stream}: {found['residual']}"
                break
        if residual:
            break
    return Verdict(program, tuple(done), residual, tuple(unmodelled), tuple(sorted(operations)), seed)


def ask(worker: Worker, where: str, what: str, limit: float, task: str, /, **arguments: Any) -> dict[str, Any]:
    """Ask a worker for a task.

    Args:
        worker: the process.
        where: the program that it runs, for messages.
        what: what it is asked, for messages.
        limit: its seconds, for messages.
        task: the task.
        arguments: those of the task.

    Raises:
        CannotBeCheckedError: if the process ends or takes too long, or the task is refused.
    """
    try:
        found = worker.do(task, arguments)
    except TookTooLongError as error:
        raise CannotBeCheckedError(f"{where}: took longer than {limit:g} s: {what}") from error
    except WorkerError as error:
        raise CannotBeCheckedError(f"{where}: it ended the process that ran it: {what}") from error
    if "refused" in found:
        raise CannotBeCheckedError(found["refused"])
    return found
