"""Faults planted in the source of Triton's kernels, for as long as a check runs."""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from derivations.claim import Claim
from derivations.functions import Unplanted
from derivations.residual import Residual

KERNELS = "gdn_core.ops.kernels"


@dataclass(frozen=True)
class Fault:
    """A fault of the kind that ships: one place of a kernel's source, and what stands there instead.

    Args:
        name: the fault, as an identifier.
        summary: a sentence.
        kernel: module and name of the function under ``gdn_core.ops.kernels``, such as ``scan.chunk_scan_kernel``.
        right: the text to replace, which occurs once.
        wrong: the replacement.
    """

    name: str
    summary: str
    kernel: str
    right: str
    wrong: str

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Change the kernel inside a ``with`` block.

        Raises:
            Unplanted: if the text occurs not once, because the kernel has been written in another way.
        """
        module, _, name = self.kernel.rpartition(".")
        kernel = vars(import_module(f"{KERNELS}.{module}"))[name]
        source = kernel.src
        if source.count(self.right) != 1:
            raise Unplanted(f"{name}: expected {self.right!r} once, found it {source.count(self.right)} times")
        affected = _calling(name)
        kernel._unsafe_update_src(source.replace(self.right, self.wrong))
        for each in affected:
            each.hash = None  # Triton remembers what a kernel is made of, with that of what it calls
        try:
            yield
        finally:
            kernel._unsafe_update_src(source)
            for each in affected:
                each.hash = None


def _calling(name: str) -> tuple[Any, ...]:
    """Return the kernels and their parts that call a function, or call what calls it."""
    sources = [
        (part, value)
        for module, of in list(sys.modules.items()) if module.startswith(f"{KERNELS}.")
        for part, value in vars(of).items() if hasattr(value, "_unsafe_update_src")
    ]  # fmt: skip
    found, todo = {name}, [name]
    while todo:
        called = re.compile(rf"\b{todo.pop()}\b")
        more = {part for part, value in sources if part not in found and called.search(value.src)}
        found |= more
        todo += more
    return tuple(value for part, value in sources if part in found)  # modules have parts of one name


def refuting(made: Claim, fault: Fault, check: Callable[[random.Random], Iterator[Residual]]) -> None:
    """Add a fault to the mutants of a claim.

    Args:
        made: the claim.
        fault: the fault.
        check: yields the residuals that must notice it.
    """

    def run(rng: random.Random) -> Iterator[Residual]:
        with fault.in_place():
            yield from check(rng)

    run.__name__ = run.__qualname__ = fault.name
    run.__doc__ = fault.summary
    made.refute(run)
