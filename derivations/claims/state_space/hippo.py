"""HiPPO-LegS is normal plus rank one, which gives S4 its kernel by Woodbury's identity."""

from __future__ import annotations

from typing import Any

import numpy as np

from derivations.engines import polynomials
from derivations.engines.algebra import Algebra
from derivations.engines.ring import Ring
from derivations.engines.trees import Expr
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import EverySize, Sizes

LETTERS = {"rn": r"\sqrt{2 n + 1}", "rk": r"\sqrt{2 k + 1}", "n": "n"}


class Entries:
    """Entries of HiPPO-LegS at two places n > k, doubled, so that no coefficient is a fraction.

    The root of 2 n + 1 is a letter, and so is that of 2 k + 1.
    """

    def __init__(self) -> None:
        ring = self.ring = Ring(n=(), rn=(), rk=(), never=())
        self.n, self.rn, self.rk = (ring[name][()] for name in ("n", "rn", "rk"))

    def hippo(self, *, diagonal: int = 1) -> dict[str, Any]:
        """Return 2 A below, on and above the diagonal."""
        return {"below": -2 * self.rn * self.rk, "on": -2 * (self.n + diagonal), "above": 0 * self.n}

    def corrected(self, *, weight: int = 1, **wrong: int) -> dict[str, Any]:
        """Return 2 (A + p p'), with p_n the root of n + 1/2, so that 2 p_n p_k = rn rk."""
        squared = 2 * self.n + 1  # rn^2
        added = {"below": self.rn * self.rk, "on": squared, "above": self.rn * self.rk}
        return {name: entry + weight * added[name] for name, entry in self.hippo(**wrong).items()}

    def residual(self, **wrong: int) -> dict[str, Any]:
        """Compare 2 (A + p p') with -I and twice a matrix that changes its sign under transposition."""
        made = self.corrected(**wrong)
        return {"diagonal": made["on"] + 1, "antisymmetric": made["below"] + made["above"]}


class Normal:
    """Normality of -I/2 + K with K antisymmetric, and the resolvent of normal plus rank one, in words.

    h is the half, kappa is p'R p with R the inverse of M, and c = 1 / (1 + kappa). G sums the powers of X up to
    n - 1, and Q its power n.
    """

    def __init__(self) -> None:
        a = self.algebra = Algebra("h c kappa")
        self.h, self.c, kappa = a.all_scalars()
        self.one, self.K = a.identity("N"), a.matrix("K", "N", "N")
        self.M, self.R, self.p = a.matrix("M", "N", "N"), a.matrix("R", "N", "N"), a.vector("p", "N")
        self.X, self.G, self.Q = a.matrix("X", "N", "N"), a.matrix("G", "N", "N"), a.matrix("Q", "N", "N")
        a.rule(self.M @ self.R, self.one)
        a.rule(self.p.T @ self.R @ self.p, kappa)
        a.relation(self.c * (1 + kappa), 1)
        a.rule(self.G @ self.X, self.G - self.one + self.Q)

    def commutes(self, *, sign: int = -1) -> Any:
        """Return the commutator of A + p p' and its transpose, that of K being ``sign`` times K."""
        made, transposed = self.K - self.h * self.one, sign * self.K - self.h * self.one
        return (made @ transposed - transposed @ made).normal()

    def resolvent(self, *, sign: int = -1) -> Expr:
        """Return the inverse of M + p p', by Woodbury."""
        term = self.c * (self.R @ self.p @ self.p.T @ self.R)
        return self.R - term if sign < 0 else self.R + term

    def woodbury(self, **wrong: int) -> Any:
        """Compare M + p p' times its inverse with the identity."""
        return ((self.M + self.p @ self.p.T) @ self.resolvent(**wrong) - self.one).normal()

    def kernel(self) -> Any:
        """Compare one more power in the sum, times I - X, with I less the next power: X is z times Abar."""
        return ((self.G + self.Q) @ (self.one - self.X) - (self.one - self.Q @ self.X)).normal()


class Bilinear:
    """The bilinear rule of a step 2 h in words: N = I - h A has an inverse, and h A is I - N."""

    def __init__(self) -> None:
        a = self.algebra = Algebra("h z")
        self.h, self.z = a.all_scalars()
        self.one, self.p, self.B = a.identity("N"), a.vector("p", "N"), a.vector("B", "N")
        self.N = a.matrix("N", "N", "N")
        self.inverse = a.inverse(self.N)

    def residual(self, *, sign: int = -1) -> dict[str, Any]:
        """Compare N (I - z Abar), N Bbar, and the rank-one term, with what the transform of the kernel has for them."""
        hA = self.one - self.N
        decay, made = self.inverse @ (self.one + hA), self.inverse @ (2 * self.h * self.B)  # Abar, Bbar
        shifted = (1 - self.z) * self.one + sign * (1 + self.z) * hA
        normal = hA + self.h * (self.p @ self.p.T)  # h (A + p p')
        rank_one = (1 + self.z) * self.h * (self.p @ self.p.T)
        return {
            "I - z Abar": (self.N @ (self.one - self.z * decay) - shifted).normal(),
            "Bbar": (self.N @ made - 2 * self.h * self.B).normal(),
            "normal and rank one": (shifted - ((1 - self.z) * self.one - (1 + self.z) * normal) - rank_one).normal(),
        }


def _statement() -> str:
    words, entries = Normal(), Entries()
    A = {name: polynomials.polynomial(entry, LETTERS) for name, entry in entries.hippo().items()}
    below = polynomials.polynomial(entries.corrected()["below"], LETTERS)
    return (
        rf"2 A_{{nk}} = {A['below']} \; (n > k), \; {A['on']} \; (n = k), \; {A['above']} \; (n < k), \quad "
        rf"p_n = \sqrt{{n + \tfrac12}}: \quad A + p p^\top = -\tfrac12 I + K, \; 2 K_{{nk}} = -2 K_{{kn}} = {below}, "
        rf"\quad R = M^{{-1}}: \; (M + p p^\top)^{{-1}} = {words.resolvent().tex()}, \; c = 1 / (1 + p^\top R p), "
        r"\quad \sum_{j < L} \bar A^j z^j = (I - \bar A^L z^L) (I - \bar A z)^{-1}"
    )


@claim(
    statement=_statement,
    assumptions=(
        r"$n$ and $k$ count from 0. A matrix $-\tfrac12 I + K$ with real antisymmetric $K$ is normal.",
        r"$M = z I - (A + p p^\top)$, which a unitary matrix makes diagonal, at a $z$ where $1 + p^\top R p \ne 0$.",
    ),
    scope=EverySize("N"),
    engine="words",
    source=cite("2111.00396", "its code, transition and rank_correction of src/models/hippo/hippo.py, on legs"),
)
def hippo_is_normal_plus_rank_one() -> Any:
    """HiPPO-LegS is a normal matrix less p p', so its resolvent is that of a diagonal matrix and a rank-one term.

    A + p p' is -I/2 plus an antisymmetric matrix, entry by entry, which commutes with its transpose; and Woodbury's
    identity gives (z I - A)^-1. The transform of the kernel, a geometric sum, is such an inverse too.
    """
    words = Normal()
    return {
        "entries": Entries().residual(),
        "normal": words.commutes(),
        "Woodbury": words.woodbury(),
        "kernel": words.kernel(),
    }


@hippo_is_normal_plus_rank_one.step(engine="words", scope=EverySize("N"))
def kernel_under_the_bilinear_rule() -> Any:
    r"""S4 samples by the bilinear rule, and the transform of its kernel is an inverse of normal plus rank one as well.

    With half a step h, $(I - h A)(I - z \bar A) = (1 - z) I - (1 + z) h A$ and $(I - h A) \bar B = 2 h B$. So
    $(I - z \bar A)^{-1} \bar B = 2 h ((1 - z) I - (1 + z) h A)^{-1} B$, whose matrix is a normal one and
    $(1 + z) h \, p p^\top$: Woodbury's identity again.
    """
    return Bilinear().residual()


@hippo_is_normal_plus_rank_one.refute
def euler_for_the_bilinear_rule() -> Any:
    """I - z Abar is said to have h A with the other sign."""
    return Bilinear().residual(sign=1)


def matrix(N: int) -> tuple[Ring, Any, Any]:
    """Return the ring of the roots r_n of 2 n + 1, and 2 (A + p p') of N states with entries of these roots."""
    ring = Ring(r=(N,), never=())
    r, n = ring["r"], np.arange(N)
    A = -2 * np.tril(np.ones((N, N), dtype=int), -1) * (r[:, None] * r[None, :]) - 2 * np.diag(n + 1)
    off = 1 - np.eye(N, dtype=int)
    return ring, A, A + off * (r[:, None] * r[None, :]) + np.diag(2 * n + 1)


@hippo_is_normal_plus_rank_one.step(engine="ring", scope=Sizes(N=5))
def of_five_states() -> Any:
    """The whole matrix of five states commutes with its transpose once p p' is added."""
    _, _, normal = matrix(5)
    return normal @ normal.T - normal.T @ normal


@hippo_is_normal_plus_rank_one.refute
def hippo_itself_normal() -> Any:
    """HiPPO-LegS is said to be normal itself."""
    _, A, _ = matrix(3)
    return A @ A.T - A.T @ A


@hippo_is_normal_plus_rank_one.refute
def p_twice_as_large() -> Any:
    """p p' is added twice."""
    return Entries().residual(weight=2)


@hippo_is_normal_plus_rank_one.refute
def diagonal_counted_from_zero() -> Any:
    """The diagonal is said to be -n."""
    return Entries().residual(diagonal=0)


@hippo_is_normal_plus_rank_one.refute
def rank_one_term_added() -> Any:
    """Woodbury's term is added."""
    return Normal().woodbury(sign=1)
