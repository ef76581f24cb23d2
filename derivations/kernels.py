"""Check a Triton kernel of other people, as it was compiled and without a GPU, against what a specification expects.

A specification is a Python file::

    from derivations.kernels import Launch, decays, output, values

    SIZES = [{"T": 1, "K": 20}, {"T": 70, "K": 20}]

    def launch(T, K):
        return Launch((1,), x=values(T, K), g=decays(T), o=output(T, K), T=T, K=K, BK=32)

    def expected(x, g, *, exp):  # integers mod a prime, with + - * @ and indexing
        S, o = 0 * x[0], []
        for t in range(len(x)):
            S = exp(g[t]) * S + x[t]
            o.append(S)
        return {"o": o}
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from derivations.models.kernel_specs import PRIMES, Launch, decays, in_words, integers, output, values
from derivations.programs import LIMIT, START, CannotBeCheckedError, ask
from derivations.workers import Worker
from gdn_core.extras import need

__all__ = ["Launch", "Verdict", "check_kernel", "decays", "integers", "output", "values"]
COMMAND = (sys.executable, "-P", "-m", "derivations.serve_kernels")
ARCHS, LEVELS = range(75, 130), ("ttir", "ttgir")


@dataclass(frozen=True)
class Verdict:
    """What came of a comparison.

    Args:
        where: the kernel.
        spec: the file of its specification.
        built: what it was compiled to.
        sizes: the sizes at which it was compared, up to the first at which it is wrong.
        residual: the first wrong output, with its size and indices; "" if it is as expected at all of them.
        unmodelled: what is not modelled of what it does, in words.
        seed: of the random points.
    """

    where: str
    spec: str
    built: str
    sizes: tuple[Mapping[str, int], ...]
    residual: str
    unmodelled: tuple[str, ...]
    seed: int

    @property
    def holds(self) -> bool:
        """Whether it computes what is expected at these sizes."""
        return not self.residual

    @property
    def sentence(self) -> str:
        """Say it."""
        if not self.holds:
            return f"{self.where} does not compute what {self.spec} expects: {self.residual}"
        sizes = "; ".join(in_words(size) for size in self.sizes)
        return f"{self.where}, compiled to {self.built}, computes what {self.spec} expects at {sizes}; " \
               f"random points mod {PRIMES} primes"  # fmt: skip

    def as_json(self) -> str:
        """Print it as JSON."""
        return json.dumps(asdict(self) | {"holds": self.holds, "sentence": self.sentence}, indent=1)


def check_kernel(
    where: str, spec: str, *, arch: int = 80, level: str = "ttir", seed: int = 0, limit: float = LIMIT,
    insist: bool = False,
) -> Verdict:  # fmt: skip
    """Compile a kernel, and compare what it writes with what a specification expects, in a process of its own.

    Args:
        where: ``MODULE:FUNCTION`` or ``FILE.py:FUNCTION``; nothing else is imported but the specification.
        spec: the file of the specification.
        arch: compute capability of the GPU that it is compiled for, 90 for 9.0.
        level: the code that is run, ``ttir`` or ``ttgir``.
        seed: seed of the random points.
        limit: seconds for its import, and for each size.
        insist: read the text of a version of Triton that was not tested.

    Raises:
        CannotBeCheckedError: if it cannot be imported or compiled, raises, takes too long, or does what is not
            modelled.
        ModuleNotFoundError: if PyTorch or Triton is not installed.
    """
    need("torch", "triton")
    place, _, name = where.rpartition(":")
    if not place or not name.isidentifier():
        raise CannotBeCheckedError(f"{where}: expected MODULE:FUNCTION or FILE.py:FUNCTION")
    if arch not in ARCHS:
        raise CannotBeCheckedError(f"arch: expected a compute capability as one number, such as 80 or 90, got {arch}")
    if level not in LEVELS:
        raise CannotBeCheckedError(f"level: expected one of {', '.join(LEVELS)}, got {level}")
    worker = Worker(limit=limit, start=START, command=COMMAND)
    target = {"arch": arch, "level": level, "insist": insist}
    built = f"{level.upper()} for sm_{arch}"
    try:
        sizes = ask(worker, where, "its import", limit, "read", where=where, spec=spec)["sizes"]
        unmodelled: dict[str, None] = {}
        for number, size in enumerate(sizes):
            for prime in range(PRIMES):
                given = {"size": number, "target": target, "seed": f"{seed} {prime}"}
                found = ask(worker, where, in_words(size), limit, "compare", **given)
                unmodelled |= dict.fromkeys(found["unmodelled"])
                if found["residual"]:
                    residual = f"at {in_words(size)}: {found['residual']}"
                    done = tuple(sizes[: number + 1])
                    return Verdict(where, spec, built, done, residual, tuple(unmodelled), seed)
        return Verdict(where, spec, built, tuple(sizes), "", tuple(unmodelled), seed)
    finally:
        worker.kill()
