"""Recursive least squares is a delta rule with a gain, and a solve at read time is the same memory."""

from __future__ import annotations

from typing import Any

from derivations.engines import arrays
from derivations.engines.algebra import Algebra, equation
from derivations.engines.trees import Expr
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import EverySize
from gdn_core import reference


class LeastSquares:
    """One more pair of a regression, in words.

    H is the sum of the keys' outer products and F that of values by keys, both before the pair, P the inverse of H, and
    the memory S = F P. g is the gain, with P k = (1 + kappa) g and kappa = k'P k, and c = 1 / (1 + kappa).
    """

    def __init__(self) -> None:
        a = self.algebra = Algebra("c kappa")
        self.c, self.kappa = a.all_scalars()
        self.H, self.P = a.matrix("H", "K", "K", symmetric=True), a.matrix("P", "K", "K", symmetric=True)
        self.F, self.D = a.matrix("F", "V", "K"), a.diagonal("D", "K")
        self.k, self.v, self.g = a.vector("k", "K"), a.vector("v", "V"), a.vector("g", "K")
        self.q, self.x = a.vector("q", "K"), a.vector("x", "K")
        a.relation(self.c * (1 + self.kappa), 1)
        a.rule(self.H @ self.P, a.identity("K"))
        a.rule(self.P @ self.k, (1 + self.kappa) * self.g)
        a.rule(self.k.T @ self.g, self.c * self.kappa)
        a.rule(self.H @ self.g, self.c * self.k)
        a.rule(self.D @ self.g, self.k)  # an erase gate by channel, for which the gain has to have no zeros

    @property
    def memory(self) -> Expr:
        """The memory before the pair."""
        return self.F @ self.P

    def inverse(self, *, sign: int = 1) -> Expr:
        """Return the inverse behind the pair, by Sherman and Morrison."""
        return self.P - sign * (1 + self.kappa) * (self.g @ self.g.T)

    def step(self, *, erase: Expr | int | None = None) -> Expr:
        """Run the code's step: it writes at the gain, and reads the error at the key."""
        gate = self.D if erase is None else erase
        x = arrays.token(q=self.q, k=self.g, v=self.v, erase=gate)
        return reference.step(arrays.Array(self.memory, 2), x, exp=arrays.exp)[0].word

    def inverse_residual(self, inverse: Expr) -> Any:
        """Compare the longer H times an inverse with the identity."""
        return ((self.H + self.k @ self.k.T) @ inverse - self.algebra.identity("K")).normal()

    def residual(self, **wrong: Any) -> Any:
        """Compare the code's step with the longer F times the longer inverse."""
        return (self.step(**wrong) - (self.F + self.v @ self.k.T) @ self.inverse()).normal()


def _statement() -> str:
    words = LeastSquares()
    a = words.algebra
    S, after, g = a.matrix("S", "V", "K"), a.matrix("S'", "V", "K"), a.vector("gain", "K", tex="g")
    gain = a.matrix("Pc", "K", "K", tex=r"\tfrac{1}{1 + k^\top P k} P")
    update = S + (words.v - S @ words.k) @ g.T
    return (
        rf"{equation(S, words.memory)}, \; P = H^{{-1}}: \quad {equation(after, update)} = "
        rf"({(words.F + words.v @ words.k.T).tex()}) (H + k k^\top)^{{-1}}, \quad {equation(g, gain @ words.k)}, \quad "
        r"H x = q \Rightarrow S q = F x"
    )


@claim(
    statement=_statement,
    assumptions=(
        r"$H = \Lambda + \sum_i k_i k_i^\top$ is positive definite and $F = \sum_i v_i k_i^\top$; a weight of a pair "
        "is part of its key and value.",
        r"A decay of $H$ and $F$ together leaves $S$ as it is. MesaNet decays the sums and not $\Lambda$, so "
        "for it this holds where nothing is forgotten.",
        "The code's erase gate by channel reads at $k$ and writes along $g$, which has no zeros.",
    ),
    scope=EverySize("dk", "dv"),
    engine="words",
    source=cite("2506.05233", "its code in fla, ops/mesa_net/naive.py; the rule follows by Sherman and Morrison"),
    code=(reference.step,),
)
def recursive_least_squares_is_a_delta_rule_with_a_gain() -> Any:
    """The solution of a regression on all pairs so far follows from the last one by a delta rule that writes at a gain.

    So what MesaNet reads by a solve, F times the inverse of H, is a memory that a rule with an erase by channel keeps,
    where no entry of the gain is zero.
    """
    words = LeastSquares()
    solved = words.F @ (words.P @ words.H @ words.x) - words.F @ words.x
    return [words.inverse_residual(words.inverse()), words.residual(), solved.normal()]


@recursive_least_squares_is_a_delta_rule_with_a_gain.refute
def inverse_that_grows() -> Any:
    """Sherman and Morrison's term is added."""
    words = LeastSquares()
    return words.inverse_residual(words.inverse(sign=-1))


@recursive_least_squares_is_a_delta_rule_with_a_gain.refute
def error_read_at_the_gain() -> Any:
    """The error is read at the gain and not at the key."""
    return LeastSquares().residual(erase=1)


@recursive_least_squares_is_a_delta_rule_with_a_gain.refute
def nothing_erased() -> Any:
    """The pair is added at the gain, and nothing is erased."""
    return LeastSquares().residual(erase=0)
