"""The objective that a rule of scalar gates minimises at a token, in words."""

from __future__ import annotations

from typing import Any

from derivations.engines import arrays
from derivations.engines.algebra import Algebra, trace
from derivations.engines.trees import Expr
from gdn_core import reference


class Objective:
    """The objective of a rule of scalar gates, at a memory S, in words.

    It is ``|S - A|^2 - 2 <S k, u>``, where A is the decayed memory, made of the memory M before the token, and u is the
    error: what the token writes, less what A answers and the rule erases.
    """

    def __init__(self) -> None:
        a = self.algebra = Algebra("alpha beta")
        self.alpha, self.beta = a.all_scalars()
        self.S, self.M = a.matrix("S", "V", "K"), a.matrix("M", "V", "K", tex="S_{t-1}")
        self.q, self.k, self.v = a.vector("q", "K"), a.vector("k", "K"), a.vector("v", "V")

    def rows(self) -> dict[str, tuple[Expr, Expr, Expr]]:
        """Return A, u and the memory that the code's step makes, for each row of the table."""
        M, k, v, alpha, beta = self.M, self.k, self.v, self.alpha, self.beta
        return {
            "linear attention": (M, v, self.step(1, 0, 1)),
            "Mamba-2": (alpha * M, v, self.step(alpha, 0, 1)),
            "DeltaNet": (M, beta * (v - M @ k), self.step(1, beta, beta)),
            "Gated DeltaNet": (alpha * M, beta * (v - alpha * (M @ k)), self.step(alpha, beta, beta)),
        }

    def step(self, decay: Expr | int, erase: Expr | int, write: Expr | int) -> Expr:
        """Run the code's step, and return the memory."""
        x = arrays.token(q=self.q, k=self.k, v=self.v, decay=decay, erase=erase, write=write)
        return reference.step(arrays.Array(self.M, 2), x, exp=arrays.exp)[0].word

    def above_the_minimum(self, decayed: Expr, error: Expr, minimiser: Expr) -> Any:
        """Return F(S) - F(minimiser) - |S - minimiser|^2, which is 0 if ``minimiser`` is the only minimum."""

        def squared(x: Expr) -> Expr:
            return x @ x.T  # its trace is |x|^2

        def value(x: Expr) -> Expr:
            return squared(x - decayed) - x @ self.k @ error.T - error @ (x @ self.k).T

        return trace(value(self.S) - value(minimiser) - squared(self.S - minimiser))
