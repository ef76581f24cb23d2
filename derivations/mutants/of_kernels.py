"""Faults planted in the source of Triton's kernels, for as long as a check runs."""

from __future__ import annotations

import random
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
        kernel._unsafe_update_src(source.replace(self.right, self.wrong))
        _forget()
        try:
            yield
        finally:
            kernel._unsafe_update_src(source)
            _forget()


def _forget() -> None:
    """Let every kernel find out anew what it is made of: Triton remembers it, with that of what it calls."""
    for kernel in _kernels():
        kernel.hash = None


def _kernels() -> Iterator[Any]:
    for name, module in list(sys.modules.items()):
        if name.startswith(f"{KERNELS}."):
            yield from (value for value in vars(module).values() if hasattr(value, "_unsafe_update_src"))


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
