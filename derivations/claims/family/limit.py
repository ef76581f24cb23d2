"""Gated DeltaNet contains Mamba-2 in a limit, and never exactly."""

from __future__ import annotations

from typing import Any

import numpy as np

from derivations.engines import arrays
from derivations.engines.algebra import Algebra
from derivations.engines.ring import Ring
from derivations.engines.trees import Expr, Zero
from derivations.engines.written import Kind, letters
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import EverySize, Sizes
from gdn_core import reference
from gdn_core.reference import Token


class Limit:
    """Gated DeltaNet on the keys eps k and the values v / eps, in words: u is v / eps, so that nothing is divided."""

    def __init__(self) -> None:
        a = self.algebra = Algebra("alpha epsilon")
        self.alpha, self.eps = a.all_scalars()
        self.S = a.matrix("S", "V", "K")
        self.q, self.k, self.u = a.vector("q", "K"), a.vector("k", "K"), a.vector("u", "V")

    def step(self, k: Expr, v: Expr, gate: int, *, error: Expr | None = None) -> Expr:
        """Run the code's step, tied with write gate 1 or without an erase gate, and return the memory."""
        x = arrays.token(q=self.q, k=k, v=v, decay=self.alpha, erase=gate, write=1)
        memory = self.S if error is None else self.S + error
        return reference.step(arrays.Array(memory, 2), x, exp=arrays.exp)[0].word

    def error(self, before: Expr | None = None) -> Expr:
        """Return the error of Gated DeltaNet against Mamba-2 after a token, given the error before it."""
        return self.step(self.eps * self.k, self.u, 1, error=before) - self.step(self.k, self.eps * self.u, 0)

    def leading(self) -> Expr:
        """Return the claimed error."""
        return -(self.eps * self.eps * self.alpha) * (self.S @ self.k @ self.k.T)


def _limit() -> str:
    # The letters that the certificate is run on: M is a transition of two key channels.
    alpha, beta, k_1, *M = letters(Kind.SCALAR, r"\alpha", r"\beta", "k_1", "M_{11}", "M_{12}", "M_{22}")
    wiped, rest = certificate_sides(alpha * beta * k_1**2, *M)
    return (
        r"\operatorname{GDN}(\epsilon k, v/\epsilon, \beta = 1) - \operatorname{Mamba2}(k, v) = "
        rf"{Limit().error().normal().tex()}, \quad {wiped} = {rest}\text{{: }} "
        r"M = \alpha' I \;\Rightarrow\; \beta k = 0"
    )


@claim(
    statement=_limit,
    assumptions=(
        r"Linear attention is the case $\alpha = 1$, and DeltaNet contains it in the same limit.",
        "At dk = 1 there is nothing to show: there the transition is a number, and any decay can be made.",
    ),
    scope=EverySize("dk", "dv"),
    engine="words",
    source=cite("2412.06464", "table 1"),
    code=(reference.step,),
)
def gated_deltanet_contains_mamba2_only_in_the_limit() -> Any:
    """Gated DeltaNet on keys eps k and values v / eps differs from Mamba-2 by O(eps^2), and never by zero.

    The first step is the exact error of one token.
    """
    words = Limit()
    return (words.error() - words.leading()).normal()


@gated_deltanet_contains_mamba2_only_in_the_limit.step(engine="words", scope=EverySize("T", "dk", "dv"))
def error_of_every_stream_is_of_order_two() -> Any:
    """After a stream of any length the error is eps^2 E, with E a polynomial in eps.

    The induction step: after one more token it is eps^2 (alpha E - alpha (S + eps^2 E) k k'). With no token E is 0.
    """
    return carried_error()


def carried_error(*, erased: bool = True) -> Any:
    """Compare the error after one more token with its formula in terms of the error before."""
    words = Limit()
    E, k = words.algebra.matrix("E", "V", "K"), words.k
    square = words.eps * words.eps
    wiped = (words.S + square * E) @ k @ k.T if erased else words.S @ k @ k.T
    return (words.error(square * E) - square * (words.alpha * E - words.alpha * wiped)).normal()


def powers_of_eps(power: int) -> dict[str, Any]:
    """Return the terms of the error after three tokens whose order in eps is below ``power``.

    Values are eps u, so that a term in eps u is one in v: its order is the exponent of eps less the number of values.
    """
    sizes: dict[str, tuple[int, ...]] = {"S": (2, 2), "q": (3, 2), "k": (3, 2), "u": (3, 2), "g": (3, 1, 1), "eps": ()}
    ring = Ring(exponentials={"a": sizes["g"]}, **sizes)
    ring.let_exp(ring["g"], "a")
    eps, none = ring["eps"][()], 0 * ring["u"][:, :1]
    gated = Token(q=ring["q"], k=ring["k"] * eps, v=ring["u"], g=ring["g"], b=none + 1, w=none + 1)
    added = Token(q=ring["q"], k=ring["k"], v=ring["u"] * eps, g=ring["g"], b=none, w=none + 1)
    ends = [reference.recurrent(ring["S"], x, exp=ring.exp) for x in (gated, added)]
    values = [ring.one.ring.gens.index(letter) for letter in ring["u"].flat]
    at = ring.one.ring.gens.index(eps)

    def lower(entry: Any) -> Any:
        kept = entry.ring.zero
        for monomial, coefficient in entry.terms():
            if monomial[at] - sum(monomial[i] for i in values) < power:
                kept[monomial] = coefficient
        return kept

    return {name: np.frompyfunc(lower, 1, 1)(ring.residual(*pair)) for name, *pair in zip("So", *ends, strict=True)}


@gated_deltanet_contains_mamba2_only_in_the_limit.step(engine="ring", scope=Sizes(T=3, dk=2, dv=2))
def error_of_a_stream_is_of_order_two() -> Any:
    """After three tokens no term of the error, of memory or outputs, is of an order below eps squared."""
    return powers_of_eps(2)


class Channels:
    """Two channels e and f of a memory of any width, and the transition of a token of Gated DeltaNet, in words."""

    def __init__(self) -> None:
        a = self.algebra = Algebra("alpha beta")
        self.alpha, self.beta = a.all_scalars()
        self.k, self.e, self.f = a.vector("k", "K"), a.vector("e", "K"), a.vector("f", "K")
        for one, other, product in ((self.e, self.e, 1), (self.f, self.f, 1), (self.e, self.f, 0)):
            a.rule(one.T @ other, a.number(product))

    def transition(self) -> Expr:
        """Return the code's step from the identity with value 0."""
        nothing = Zero(self.algebra, "K", "1")
        x = arrays.token(q=self.k, k=self.k, v=nothing, decay=self.alpha, erase=self.beta, write=self.beta)
        return reference.step(arrays.Array(self.algebra.identity("K"), 2), x, exp=arrays.exp)[0].word

    def certificate(self, *, squared: bool = True) -> Any:
        """Write (alpha beta k_1^2)^2 as a combination of terms that are zero for a multiple of the identity."""
        M, e, f = self.transition(), self.e, self.f
        wiped = self.alpha * self.beta * (self.k.T @ e) ** 2
        left, right = certificate_sides(wiped, e.T @ M @ e, e.T @ M @ f, f.T @ M @ f, power=2 if squared else 1)
        return (left - right).normal()


def certificate_sides(wiped: Any, M_11: Any, M_12: Any, M_22: Any, *, power: int = 2) -> tuple[Any, Any]:
    """Return the two sides of the certificate, from alpha beta k_1^2 and the transition's entries."""
    return wiped**2, wiped * (M_22 - M_11) + M_12**power


@gated_deltanet_contains_mamba2_only_in_the_limit.step(engine="words", scope=EverySize("dk"))
def never_exactly() -> Any:
    """A transition that is a multiple of the identity has erased nothing, so with tied gates nothing was written.

    For any two of its channels the square of alpha beta k_1^2 is a combination of the difference on the diagonal and of
    the square off it.
    """
    return Channels().certificate()


@gated_deltanet_contains_mamba2_only_in_the_limit.refute
def contained_exactly() -> Any:
    """Gated DeltaNet contains Mamba-2, without an error."""
    return Limit().error().normal()


@gated_deltanet_contains_mamba2_only_in_the_limit.refute
def error_that_is_not_erased() -> Any:
    """The error before the token is decayed, but not erased."""
    return carried_error(erased=False)


@gated_deltanet_contains_mamba2_only_in_the_limit.refute
def error_of_order_three() -> Any:
    """The error is of a higher order."""
    return powers_of_eps(3)


@gated_deltanet_contains_mamba2_only_in_the_limit.refute
def wrong_certificate() -> Any:
    """The off-diagonal entry is taken in place of its square."""
    return Channels().certificate(squared=False)
