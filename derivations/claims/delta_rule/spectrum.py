"""The spectrum of a transition I - beta k k': its eigenvalue, two special values, and its stability."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from derivations.engines import series
from derivations.engines.algebra import equation
from derivations.engines.ring import Ring, determinant
from derivations.engines.series import Variables
from derivations.engines.signs import unproved
from derivations.engines.trees import Block, Expr, Identity, Zero
from derivations.models.delta_rule import Delta, Length
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import Every, EverySize, Sizes
from gdn_core import reference
from gdn_core.reference import Array, Token


class Bordered(Delta):
    """The bordered matrix whose determinant, in two ways, gives the characteristic polynomial; mu = lambda - 1."""

    def __init__(self) -> None:
        super().__init__("mu beta kappa")
        words = self.algebra
        self.mu, self.one = words.scalar("mu"), words.identity("K")
        self.column, self.row = words.zero("K", "1"), words.zero("1", "K")
        self.matrix = Block([[self.mu * self.one, -self.beta * self.k], [self.k.T, words.number(1)]])

    def first(self, *, sign: int = 1) -> Any:
        """Split it into factors of determinant 1 and det(mu I + beta k k')."""
        words = self.algebra
        left = Block([[self.one, -self.beta * self.k], [self.row, words.number(1)]])
        inner = self.mu * self.one + sign * (self.one - self.transition)  # lambda I less the transition
        return (left @ Block([[inner, self.column], [self.k.T, words.number(1)]]) - self.matrix).normal()

    @property
    def corner(self) -> Expr:
        """The factor of the characteristic polynomial that is not mu."""
        return self.mu + self.beta * self.kappa

    def second(self, *, corner: Expr | None = None) -> Any:
        """Multiply it by a factor of determinant mu: the product has determinant mu^dk (mu + beta kappa)."""
        left = Block([[self.one, self.column], [-self.k.T, self.mu]])
        right = Block(
            [[self.mu * self.one, -self.beta * self.k], [self.row, self.corner if corner is None else corner]]
        )
        return (left @ self.matrix - right).normal()


@claim(
    statement=lambda: (
        rf"\det\bigl(\lambda I - ({Bordered().transition.normal().tex()})\bigr) = \mu^{{d_k - 1}} "
        rf"({Bordered().corner.tex()}), \quad \mu = \lambda - 1, \; \kappa = \|k\|^2"
    ),
    assumptions=(
        r"A block triangular matrix has the product of its blocks' determinants, so "
        r"$\det(\mu I + \beta k k^\top)\, \mu = \mu^{d_k} (\mu + \beta \kappa)$.",
    ),
    scope=EverySize("dk"),
    engine="words",
    source=cite("2412.06464", "sec. 2.2 and footnote 2"),
    code=(reference.step,),
)
def delta_transition_has_one_eigenvalue_off_one() -> Any:
    """The transition has the eigenvalue 1 - beta kappa along the key, and 1 on everything orthogonal to it."""
    words = Bordered()
    along = words.transition @ words.k - (1 - words.beta * words.kappa) * words.k
    words.algebra.rule(words.k.T @ words.q, 0)
    return [words.first(), words.second(), along.normal(), (words.transition @ words.q - words.q).normal()]


def code_transition(K: int) -> tuple[Ring, Array]:
    """Return the code's transition on symbols: its step from the identity with value 0."""
    ring = Ring(k=(K,), b=(1,), g=(1, 1), lam=())
    none = 0 * ring["k"]
    x = Token(q=ring["k"], k=ring["k"], v=none, g=0 * ring["g"], b=ring["b"], w=ring["b"])
    M, _ = reference.step(none[:, None] + np.eye(K, dtype=int), x, exp=ring.exp)
    return ring, M


def characteristic_residual(K: int, *, squared: bool = True) -> Any:
    """Compare the characteristic polynomial of the code's transition, by Laplace, with the stated one."""
    ring, M = code_transition(K)
    lam, kappa = ring["lam"][()], ring["k"] @ ring["k"]
    found = determinant(np.eye(K, dtype=int) * lam - M)
    return found - (lam - 1) ** (K - 1) * (lam - 1 + ring["b"][0] * (kappa if squared else ring["k"].sum()))


@delta_transition_has_one_eigenvalue_off_one.step(engine="ring", scope=Sizes(dk=4))
def of_the_code() -> Any:
    """The characteristic polynomial of the code's transition, on symbols."""
    return characteristic_residual(4)


@delta_transition_has_one_eigenvalue_off_one.refute
def border_of_the_other_sign() -> Any:
    """The characteristic polynomial of I + beta k k'."""
    return Bordered().first(sign=-1)


@delta_transition_has_one_eigenvalue_off_one.refute
def key_length_not_squared() -> Any:
    """The eigenvalue is said to be 1 - beta s with s linear in the key, as 1 - beta ||k|| is."""
    return characteristic_residual(3, squared=False)


@delta_transition_has_one_eigenvalue_off_one.refute
def corner_without_beta() -> Any:
    """The eigenvalue is said to be 1 - kappa."""
    words = Bordered()
    return words.second(corner=words.mu + words.kappa)


class Special(Delta):
    """A transition with beta kappa fixed to a number."""

    def __init__(self, product: int) -> None:
        super().__init__("beta kappa")
        self.algebra.relation(self.beta * self.kappa, product)


Equations = list[tuple[Expr, Expr]]


def projection(P: Expr, k: Expr) -> Equations:
    """Return the equations by which P is the orthogonal projection that takes k to 0."""
    return [(P @ P, P), (P.T, P), (P @ k, Zero(P.algebra, "K", "1"))]


def reflection(P: Expr, k: Expr) -> Equations:
    """Return the equations by which P is the reflection that takes k to -k."""
    return [(P @ P.T, Identity(P.algebra, "K")), (P @ k, -k)]


def transition_at(product: int, what: Callable[[Expr, Expr], Equations]) -> list[Any]:
    """Return the residuals of the transition at this value of beta kappa as a projection or a reflection."""
    words = Special(product)
    return [(left - right).normal() for left, right in what(words.transition, words.k)]


def _projection_and_reflection() -> str:
    words = Delta()
    P = words.algebra.matrix("P", "K", "K")
    shown = [
        rf"\beta \kappa = {product} \Rightarrow " + r", \; ".join(equation(*pair) for pair in what(P, words.k))
        for product, what in ((1, projection), (2, reflection))
    ]
    return r", \quad ".join([rf"P = {words.transition.normal().tex()}", *shown])


@claim(
    statement=_projection_and_reflection,
    scope=EverySize("dk"),
    engine="words",
    source=cite("2406.06484", "sec. 3.3, on beta = 1"),
    code=(reference.step,),
    uses=("delta_transition_has_one_eigenvalue_off_one",),
)
def delta_transition_is_a_projection_at_one_and_a_reflection_at_two() -> Any:
    """At beta kappa = 1 the transition is the projection orthogonal to the key; at 2 it is a reflection."""
    return [transition_at(1, projection), transition_at(2, reflection)]


@delta_transition_is_a_projection_at_one_and_a_reflection_at_two.refute
def projection_at_two() -> Any:
    """It is said to be a projection at 2."""
    return transition_at(2, projection)


@delta_transition_is_a_projection_at_one_and_a_reflection_at_two.refute
def reflection_at_one() -> Any:
    """It is said to be a reflection at 1."""
    return transition_at(1, reflection)


def room(c: series.Series) -> series.Series:
    """Return 1 - (1 - c)^2, which is not negative if the powers are bounded; c = beta kappa."""
    return 1 - (1 - c) ** 2


def _stable() -> str:
    words = Length()
    product = room(*Variables("c", {"c": r"\beta \kappa"}).all())
    return (
        rf"P = {words.transition.normal().tex()}: \quad \|P q\|^2 = {words.kept(words.loss).tex()}, \quad "
        rf"P^n k = ({words.eigenvalue.tex()})^n k, \quad 1 - ({words.eigenvalue.tex()})^2 = {product.tex()}: \quad "
        r"\sup_n \|P^n\| < \infty \iff 0 \le \beta \kappa \le 2"
    )


@claim(
    statement=_stable,
    assumptions=(r"$\kappa = \|k\|^2$, with $\beta$ real; for $k = 0$, $P = I$.",),
    scope=EverySize("dk"),
    engine="words",
    source=cite("2412.06464", "sec. 2.2 and footnote 2"),
    code=(reference.step,),
)
def delta_transition_is_stable_exactly_for_beta_kappa_in_zero_to_two() -> Any:
    """A transition lengthens no vector if 0 <= beta kappa <= 2; otherwise its powers grow without bound.

    Inside the interval beta (2 - beta kappa) is not negative, so ||P q|| <= ||q|| for every q; this holds for products
    of such transitions too. Outside, |1 - beta kappa| > 1, and the powers of P stretch k without bound.
    """
    words = Length()
    return [words.residual(words.loss), (words.transition @ words.k - words.eigenvalue * words.k).normal()]


@delta_transition_is_stable_exactly_for_beta_kappa_in_zero_to_two.step(engine="series", scope=Every("real beta kappa"))
def the_interval() -> Any:
    """1 - (1 - c)^2 = c (2 - c) for c = beta kappa: positive inside (0, 2), zero at its ends, negative outside."""
    return interval_residual(2)


def interval_residual(end: int) -> Any:
    """Return the residuals of the signs of 1 - (1 - c)^2 on intervals that cover all real c, each with s > 0."""
    c, s = Variables("c s").all()
    return {
        "as a product": room(c) - c * (2 - c),
        "at the ends": [room(c).at(c, 0), room(c).at(c, end)],
        "below": unproved(-room(-s), s),
        "inside": unproved(room(end * s / (1 + s)), s),
        "above": unproved(-room(end + s), s),
        "never zero between": ["" if room(line) else "zero" for line in (-s, end * s / (1 + s), end + s)],
    }


@delta_transition_is_stable_exactly_for_beta_kappa_in_zero_to_two.refute
def only_up_to_one() -> Any:
    """It is said to be stable for beta kappa in [0, 1] only."""
    return interval_residual(1)


@delta_transition_is_stable_exactly_for_beta_kappa_in_zero_to_two.refute
def up_to_three() -> Any:
    """It is said to be stable up to 3."""
    return interval_residual(3)


@delta_transition_is_stable_exactly_for_beta_kappa_in_zero_to_two.refute
def length_lost_without_the_two() -> Any:
    """The squared length is said to lose beta (1 - beta kappa) (k'q)^2."""
    words = Length()
    return words.residual(words.beta * (1 - words.beta * words.kappa))
