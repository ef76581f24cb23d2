"""Linear attention token by token, all at once, and chunk by chunk is one model."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from derivations.engines.algebra import Algebra
from derivations.engines.cases import Case, points, vectors
from derivations.engines.trees import Block, Expr
from derivations.engines.written import Below, Kind, letters
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import WIDE, EverySize, OverField
from gdn_core import reference
from gdn_core.equation import tex, tex_output
from gdn_core.reference import Array
from gdn_core.rules import LINEAR_ATTENTION

LONG = OverField(T=130, C=64, dk=128, dv=144)


# Three forms.


class TwoChunks:
    """A chunk of m tokens and one of n after it, in words. P and R are (Q K^T) under the causal mask, within each."""

    def __init__(self) -> None:
        a = self.algebra = Algebra()
        self.S0 = a.matrix("S_0", "V", "K")
        self.Q, self.K, self.V = (
            a.matrix(f"{name}_1", "m", size) for name, size in (("Q", "K"), ("K", "K"), ("V", "V"))
        )
        self.Q2, self.K2, self.V2 = (
            a.matrix(f"{name}_2", "n", size) for name, size in (("Q", "K"), ("K", "K"), ("V", "V"))
        )
        self.P, self.R = (
            a.matrix(f"P_{i}", size, size, tex=rf"\operatorname{{tril}}(Q_{i} K_{i}^\top)")
            for i, size in ((1, "m"), (2, "n"))
        )

    def parallel(self) -> tuple[Expr, Expr]:
        """Return the last memory and the outputs of all m + n tokens at once."""
        keys, values, queries = (
            Block([[x], [y]]) for x, y in ((self.K, self.K2), (self.V, self.V2), (self.Q, self.Q2))
        )
        weights = Block([[self.P, self.algebra.zero("m", "n")], [self.Q2 @ self.K.T, self.R]])
        return self.S0 + values.T @ keys, queries @ self.S0.T + weights @ values

    def chunkwise(self, *, memory: bool = True) -> tuple[Expr, Expr]:
        """Return the last memory and the outputs, chunk by chunk."""
        S1 = self.S0 + self.V.T @ self.K
        carried = S1 if memory else self.S0
        outputs = Block([[self.Q @ self.S0.T + self.P @ self.V], [self.Q2 @ carried.T + self.R @ self.V2]])
        return S1 + self.V2.T @ self.K2, outputs

    def residual(self, **wrong: bool) -> list[Any]:
        """Compare the two forms."""
        forms = zip(self.parallel(), self.chunkwise(**wrong), strict=True)
        return [(one - other).normal() for one, other in forms]


def _forms() -> str:
    words = TwoChunks()
    memory, outputs = words.chunkwise()
    together = all_at_once(Below(), *letters(Kind.MATRIX, "S_0", "Q", "K", "V"))[1]
    return (
        rf"{tex(LINEAR_ATTENTION)},\; {tex_output(LINEAR_ATTENTION)} \quad\Longleftrightarrow\quad O = {together} "
        rf"\quad\Longleftrightarrow\quad O = {outputs.tex()}, \quad S = {memory.tex()}"
    )


@claim(
    statement=_forms,
    scope=EverySize("m", "n", "dk", "dv"),
    engine="words",
    source=cite("2006.16236", "sec. 3.4"),
    code=(reference.recurrent, reference.chunk, reference.chunkwise),
    uses=("additive_recurrence_is_masked_attention",),
)
def linear_attention_is_recurrent_parallel_and_chunkwise() -> Any:
    """Linear attention token by token, all at once, and chunk by chunk is one model.

    All at once is masked attention without decays. Splitting a stream into two chunks changes nothing, wherever it is
    split. By induction this holds for any number of chunks of any lengths.
    """
    return TwoChunks().residual()


def all_at_once(causal: Any, S: Array, q: Array, k: Array, v: Array) -> tuple[Array, Array]:
    """Return the last memory and the outputs, all at once, under a mask."""
    return S + v.T @ k, q @ S.T + (causal * (q @ k.T)) @ v


def parallel(case: Case, *, diagonal: int = 0) -> tuple[Array, Array]:
    """Return the last memory and the outputs of a stream, all at once."""
    causal = np.tri(len(case.x), len(case.x), diagonal, dtype=int)
    return all_at_once(causal, case.S, case.x.q, case.x.k, case.x.v)


def forms(case: Case, chunk_size: int, **wrong: int) -> list[Any]:
    """Compare each form of the code with the parallel form."""
    want = parallel(case, **wrong)
    ends = (
        case.run(reference.recurrent),
        case.run(reference.chunk),
        case.run(reference.chunkwise, chunk_size=chunk_size),
    )
    return [case.compare(end, want) for end in ends]


@linear_attention_is_recurrent_parallel_and_chunkwise.step(engine="gram", scope=WIDE)
def the_code_on_vectors_of_any_width() -> Any:
    """The reference's recurrence, its one chunk, and its chunks of three tokens are the parallel form."""
    return (forms(vectors(LINEAR_ATTENTION, C), 3) for C in WIDE.lengths)


@linear_attention_is_recurrent_parallel_and_chunkwise.step(engine="field", scope=LONG)
def the_code_at_real_sizes(rng: random.Random) -> Iterator[Any]:
    """The reference's recurrence, its one chunk, and its chunks are the parallel form."""
    sizes = dict(LONG.sizes)
    cases = (points(LINEAR_ATTENTION, sizes["T"], sizes["dv"], sizes["dk"], rng) for _ in range(LONG.primes))
    return (forms(case, sizes["C"]) for case in cases)


@linear_attention_is_recurrent_parallel_and_chunkwise.refute
def chunks_without_the_memory_between() -> Any:
    """The second chunk starts from the first memory."""
    return TwoChunks().residual(memory=False)


@linear_attention_is_recurrent_parallel_and_chunkwise.refute
def strict_causal_mask() -> Any:
    """A token does not read its own write."""
    return forms(vectors(LINEAR_ATTENTION, 3), 2, diagonal=-1)
