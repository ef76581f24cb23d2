"""An additive memory of n writes, and the code's step on words."""

from __future__ import annotations

from derivations.engines import arrays
from derivations.engines.algebra import Algebra
from derivations.engines.trees import Block, Expr
from gdn_core import reference


def step(S: Expr, *, k: Expr, v: Expr, q: Expr | None = None, **gates: Expr | int) -> tuple[Expr, Expr]:
    """Run the code's step on words; return the new memory and the output."""
    x = arrays.token(q=k if q is None else q, k=k, v=v, **gates)
    written, read = reference.step(arrays.Array(S, 2), x, exp=arrays.exp)
    return written.word, read.word


class Additive:
    """The letters of an additive memory of n writes, the keys K and values N row by row, and of one more write."""

    def __init__(self) -> None:
        words = self.algebra = Algebra("alpha beta c kappa")
        self.K, self.N, self.S0 = (
            words.matrix("K", "n", "K"),
            words.matrix("N", "n", "V"),
            words.matrix("S_0", "V", "K"),
        )
        self.k, self.v, self.q = words.vector("k", "K"), words.vector("v", "V"), words.vector("q", "K")
        self.memory = self.N.T @ self.K

    @property
    def longer(self) -> Expr:
        """The memory of n + 1 writes."""
        return Block([[self.N], [self.v.T]]).T @ Block([[self.K], [self.k.T]])

    @property
    def answer(self) -> Expr:
        """The answer to the last key: its value, plus the other values weighted by the inner products of the keys."""
        return (self.k.T @ self.k) * self.v + self.N.T @ self.K @ self.k
