"""A chunk of the gated delta rule beside its recurrence, in words and by the code."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

from derivations.engines import arrays
from derivations.engines.algebra import Algebra
from derivations.engines.cases import Case, points
from derivations.engines.trees import Block, Expr
from derivations.scope import OverField
from gdn_core import reference
from gdn_core.rules import Gate, WriteRule

# The last chunk is a short one.
STREAM = OverField(C=64, dk=128, dv=144, T=260)
SHORTER_STREAM = OverField(C=64, dk=128, dv=144, T=130)
ONE_CHUNK = OverField(C=64, dk=128, dv=144)
SHORT_CHUNKS = OverField(C=8, dk=12, dv=10, T=21)


def chunks_against_recurrence(rule: WriteRule, rng: random.Random, scope: OverField) -> Iterator[Any]:
    """Compare the chunks of a rule with its recurrence at the sizes of a scope, mod its primes."""
    sizes = dict(scope.sizes)
    for _ in range(scope.primes):
        case = points(rule, sizes["T"], sizes["dv"], sizes["dk"], rng)
        chunks = case.run(reference.chunkwise, chunk_size=sizes["C"])
        yield case.compare(chunks, case.run(reference.recurrent))


def chunk_against_recurrence(case: Case, chunk: Callable[..., Any] | None = None) -> dict[str, Any]:
    """Compare one chunk with the recurrence."""
    return case.compare(case.run(chunk or reference.chunk), case.run(reference.recurrent))


class Induction:
    """A chunk of n tokens and the next token, in words.

    Of the tokens so far, K are the keys and N the errors, row by row; L is the diagonal of the decays from each of them
    to now, and c the decay from the start of the chunk to now.
    """

    def __init__(self) -> None:
        a = self.algebra = Algebra("alpha beta c")
        self.alpha, self.beta, self.c = a.all_scalars()
        self.S0, self.N, self.K = a.matrix("S_0", "V", "K"), a.matrix("N", "n", "V"), a.matrix("K", "n", "K")
        self.L = a.diagonal("L", "n", tex=r"\Lambda")
        self.q, self.k, self.v = a.vector("q", "K"), a.vector("k", "K"), a.vector("v", "V")
        self.hypothesis = self.c * self.S0 + self.N.T @ self.L @ self.K

    def recurrence(self) -> tuple[Expr, Expr]:
        """Run the code's step on the memory of the hypothesis."""
        x = arrays.token(q=self.q, k=self.k, v=self.v, decay=self.alpha, erase=self.beta, write=self.beta)
        S, o = reference.step(arrays.Array(self.hypothesis, 2), x, exp=arrays.exp)
        return S.word, o.word

    def error(self, *, from_start: Expr | None = None, gram: Expr | None = None) -> Expr:
        """Return the error of the new token, by the new row of the triangular system, as a column."""
        from_start = self.alpha * self.c if from_start is None else from_start
        gram = self.alpha * self.L if gram is None else gram
        erase = self.beta * self.k
        return self.beta * self.v - from_start * (self.S0 @ erase) - self.N.T @ gram @ self.K @ erase

    def chunk(self, error: Expr, *, mask: Expr | None = None) -> tuple[Expr, Expr]:
        """Return the chunk form of n + 1 tokens: the memory, and the last output."""
        errors, keys = Block([[self.N], [error.T]]), Block([[self.K], [self.k.T]])
        n, one = self.algebra.zero("n", "1"), self.algebra.identity("1")
        decays = Block([[self.alpha * self.L, n], [n.T, one]])
        S = self.alpha * self.c * self.S0 + errors.T @ decays @ keys
        to_output = decays if mask is None else Block([[mask, n], [n.T, one]])
        return S, self.alpha * self.c * (self.S0 @ self.q) + errors.T @ to_output @ (keys @ self.q)

    def residual(self, error: Expr, *, mask: Expr | None = None) -> list[Any]:
        """Compare the chunk form with the recurrence, for n + 1 tokens."""
        forms = zip(self.chunk(error, mask=mask), self.recurrence(), strict=True)
        return [(chunk - recurrence).normal() for chunk, recurrence in forms]


# Every rule of the family.

SCALARS = {
    f"{letter}{t}": rf"\{name}" + (f"_{t}" if t else "")
    for letter, name in (("a", "alpha"), ("b", "beta"))
    for t in ("", 1, 2)
}


def erases(rule: WriteRule) -> bool:
    """Tell whether a rule erases."""
    return rule.erase is not Gate.NONE


def decays(rule: WriteRule) -> bool:
    """Tell whether a rule decays."""
    return rule.decay is not Gate.NONE
