"""The delta rule: a step of gradient descent, the spectrum of what it does to the memory, and its products."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import sympy

from derivations.claim import Every, EverySize, OverField, Sizes, claim
from derivations.claims.gated_delta_rule import inverse_of_unit_lower
from derivations.engines import arrays, series
from derivations.engines.printed import Below, Kind, inverse, letters
from derivations.engines.ring import Ring
from derivations.engines.series import Variables, unproved
from derivations.engines.tokens import Case, points, symbols
from derivations.engines.trees import Block, Expr
from derivations.engines.words import Algebra, equation, trace
from gdn_core import reference
from gdn_core.reference import Array, Token
from gdn_core.rules import DELTANET, Source

SCHLAG = Source("2102.11174", "eqs. 20 to 25, sec. 4.2", "Linear Transformers Are Secretly Fast Weight Programmers")
GATED = "Gated Delta Networks: Improving Mamba2 with Delta Rule"
PARALLEL = "Parallelizing Linear Transformers with the Delta Rule over Sequence Length"
TRANSITION = Source("2412.06464", "sec. 2.2 and footnote 2", GATED)
SEVERAL = OverField(degree=5 * 64, C=64, dk=128, dv=128)


def code_acts_as(k: Expr, gate: Expr) -> Expr:
    """Run the code's step from the identity with no value: what comes out is what it multiplies the memory by."""
    words = k.algebra
    x = arrays.token(q=k, k=k, v=words.zero("K", "1"), erase=gate, write=gate)
    return reference.step(arrays.Array(words.identity("K"), 2), x, exp=arrays.exp)[0].word


class Delta:
    """The letters of one token under the delta rule, its squared key length kappa = k'k a scalar."""

    def __init__(self, scalars: str = "t theta beta kappa", *, V: str = "V") -> None:
        words = self.algebra = Algebra(scalars)
        self.S, self.H = words.matrix("S", V, "K"), words.matrix("H", V, "K")
        self.k, self.v, self.q = words.vector("k", "K"), words.vector("v", V), words.vector("q", "K")
        self.beta, self.kappa = words.scalar("beta"), words.scalar("kappa")
        words.rule(self.k.T @ self.k, self.kappa)

    def step(self, gate: Expr, *, q: Expr | None = None, decay: Expr | int = 1) -> tuple[Expr, Expr]:
        """Run the code's step with a tied gate."""
        x = arrays.token(q=self.k if q is None else q, k=self.k, v=self.v, decay=decay, erase=gate, write=gate)
        S, o = reference.step(arrays.Array(self.S, 2), x, exp=arrays.exp)
        return S.word, o.word

    @property
    def transition(self) -> Expr:
        """What a token does to the memory, by the code: I - beta k k'."""
        return code_acts_as(self.k, self.beta)


# 12. One step of gradient descent.


class Loss(Delta):
    """The loss 1/2 ||S k - v||^2 and its gradient."""

    @property
    def gradient(self) -> Expr:
        """The gradient with respect to S."""
        return (self.S @ self.k - self.v) @ self.k.T

    def slope_residual(self, gradient: Expr) -> Any:
        """Compare the slope of the loss along any H with the inner product of H and the gradient, both doubled."""
        error = (self.S + self.algebra.scalar("t") * self.H) @ self.k - self.v
        slope = (error.T @ error).normal().part(self.algebra.scalar("t"), 1)
        return slope - trace(2 * (gradient.T @ self.H))

    def step_residual(self, rate: Expr, **options: Any) -> Any:
        """Compare the code's step with one step of gradient descent."""
        return (self.step(self.beta, **options)[0] - (self.S - rate * self.gradient)).normal()


def _gradient() -> str:
    loss = Loss()
    descended = loss.S - loss.beta * loss.gradient
    return (
        rf"S_t = S - \beta \nabla_S \tfrac{{1}}{{2}} \|S k - v\|^2, \quad "
        rf"\nabla_S \tfrac{{1}}{{2}} \|S k - v\|^2 = {loss.gradient.tex()}, \quad "
        rf"{equation(loss.algebra.matrix('S_t', 'V', 'K', tex='S_t'), descended)}"
    )


@claim(
    statement=_gradient,
    scope=EverySize("dk", "dv"),
    engine="words",
    source=Source("2412.06464", "sec. 3.1, the view as stochastic gradient descent", GATED),
    code=(reference.step,),
)
def delta_rule_is_a_gradient_step() -> Any:
    """One token under the delta rule is one step of gradient descent, of rate beta, on 1/2 ||S k - v||^2."""
    loss = Loss()
    return {"gradient": loss.slope_residual(loss.gradient), "step": loss.step_residual(loss.beta)}


@delta_rule_is_a_gradient_step.step(engine="ring", scope=Sizes(dk=3, dv=2))
def every_partial_derivative() -> Any:
    """On symbols: the step takes beta times each partial derivative of the loss from the entry it belongs to."""
    ring = Ring(S=(2, 3), k=(3,), v=(2,), b=(1,), g=(1, 1))
    x = Token(q=ring["k"], k=ring["k"], v=ring["v"], g=0 * ring["g"], b=ring["b"], w=ring["b"])
    S, _ = reference.step(ring["S"], x, exp=ring.exp)
    error = ring["S"] @ ring["k"] - ring["v"]
    doubled_loss = error @ error
    slopes = np.array([[doubled_loss.diff(entry) for entry in row] for row in ring["S"]], dtype=object)
    return ring.residual(2 * (ring["S"] - S), slopes * ring["b"][0])


@delta_rule_is_a_gradient_step.refute
def twice_the_rate() -> Any:
    """The loss without its half, and so twice the rate."""
    loss = Loss()
    return loss.step_residual(2 * loss.beta)


@delta_rule_is_a_gradient_step.refute
def after_a_decay() -> Any:
    """A decay before it: then it is the gradient at the decayed memory."""
    loss = Loss()
    return loss.step_residual(loss.beta, decay=loss.algebra.scalar("theta"))


@delta_rule_is_a_gradient_step.refute
def gradient_of_the_wrong_sign() -> Any:
    """(v - S k) k' is said to be the gradient."""
    loss = Loss()
    return loss.slope_residual(-loss.gradient)


def mean(delta: Delta) -> Expr:
    """Return what the key answers after the write."""
    return (1 - delta.beta * delta.kappa) * (delta.S @ delta.k) + delta.beta * delta.kappa * delta.v


def _answers() -> str:
    orthogonal = other_key(orthogonal=True)[0].normal().tex()
    return (
        rf"S_t k = {mean(Delta()).tex()}, \quad k^\top q = 0 \;\Rightarrow\; S_t q = {orthogonal}, \quad "
        r"\kappa = \|k\|^2"
    )


@claim(
    statement=_answers,
    scope=EverySize("dk", "dv"),
    engine="words",
    source=SCHLAG,
    code=(reference.step,),
)
def key_answers_a_mean_and_orthogonal_keys_are_left_alone() -> Any:
    """After a write a key answers a mean of its old answer and the new value, and orthogonal keys answer as before."""
    delta = Delta()
    return (delta.step(delta.beta)[1] - mean(delta)).normal()


def other_key(*, orthogonal: bool) -> tuple[Expr, Expr]:
    """Return what another key answers after the write, and what it answered before."""
    delta = Delta()
    if orthogonal:
        delta.algebra.rule(delta.k.T @ delta.q, 0)
    return delta.step(delta.beta, q=delta.q)[1], delta.S @ delta.q


@key_answers_a_mean_and_orthogonal_keys_are_left_alone.step(engine="words", scope=EverySize("dk", "dv"))
def orthogonal_keys() -> Any:
    """A key orthogonal to the one written answers what it answered before."""
    after, before = other_key(orthogonal=True)
    return (after - before).normal()


@key_answers_a_mean_and_orthogonal_keys_are_left_alone.refute
def keys_that_overlap() -> Any:
    """A key that is not orthogonal is said to be left alone."""
    after, before = other_key(orthogonal=False)
    return (after - before).normal()


@key_answers_a_mean_and_orthogonal_keys_are_left_alone.refute
def length_of_the_key_forgotten() -> Any:
    """The mean is said to be weighed by beta, whatever the length of the key."""
    delta = Delta()
    return (delta.step(delta.beta)[1] - ((1 - delta.beta) * (delta.S @ delta.k) + delta.beta * delta.v)).normal()


# 13. The spectrum of a transition.


class Bordered(Delta):
    """The bordered matrix whose determinant, in two ways, is the characteristic polynomial; mu = lambda - 1."""

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
    source=TRANSITION,
    code=(reference.step,),
)
def delta_transition_has_one_eigenvalue_off_one() -> Any:
    """The transition has the eigenvalue 1 - beta kappa along the key, and 1 on everything orthogonal to it."""
    words = Bordered()
    along = words.transition @ words.k - (1 - words.beta * words.kappa) * words.k
    words.algebra.rule(words.k.T @ words.q, 0)
    return [words.first(), words.second(), along.normal(), (words.transition @ words.q - words.q).normal()]


def code_transition(K: int) -> tuple[Ring, Array]:
    """Run the code from the identity with no value: what comes out is what it multiplies the memory by."""
    ring = Ring(k=(K,), b=(1,), g=(1, 1), lam=())
    none = 0 * ring["k"]
    x = Token(q=ring["k"], k=ring["k"], v=none, g=0 * ring["g"], b=ring["b"], w=ring["b"])
    M, _ = reference.step(none[:, None] + np.eye(K, dtype=int), x, exp=ring.exp)
    return ring, M


def characteristic_residual(K: int, *, squared: bool = True) -> Any:
    """Compare the characteristic polynomial of the code's transition, by Laplace, with the stated one."""
    ring, M = code_transition(K)
    lam, kappa = ring["lam"][()], ring["k"] @ ring["k"]
    found = _determinant(np.eye(K, dtype=int) * lam - M)
    return found - (lam - 1) ** (K - 1) * (lam - 1 + ring["b"][0] * (kappa if squared else ring["k"].sum()))


def _determinant(square: Array) -> Any:
    if len(square) == 1:
        return square[0, 0]
    minors = (np.delete(np.delete(square, 0, axis=0), j, axis=1) for j in range(len(square)))
    return sum((-1) ** j * square[0, j] * _determinant(minor) for j, minor in enumerate(minors))


@delta_transition_has_one_eigenvalue_off_one.step(engine="ring", scope=Sizes(dk=4))
def of_the_code() -> Any:
    """The characteristic polynomial of what the code multiplies the memory by, on symbols."""
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
    """Return what makes P the orthogonal projection that takes k to 0."""
    return [(P @ P, P), (P.T, P), (P @ k, P.algebra.zero("K", "1"))]


def reflection(P: Expr, k: Expr) -> Equations:
    """Return what makes P the reflection that takes k to -k."""
    return [(P @ P.T, P.algebra.identity("K")), (P @ k, -k)]


def transition_at(product: int, what: Callable[[Expr, Expr], Equations]) -> list[Any]:
    """Say how far the transition at this value of beta kappa is from a projection or a reflection."""
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
    source=Source("2406.06484", "sec. 3.3, on beta = 1", PARALLEL),
    code=(reference.step,),
    uses=("delta_transition_has_one_eigenvalue_off_one",),
)
def delta_transition_is_a_projection_at_one_and_a_reflection_at_two() -> Any:
    """At beta kappa = 1 a token projects what the memory holds off its key; at 2 it reflects it."""
    return [transition_at(1, projection), transition_at(2, reflection)]


@delta_transition_is_a_projection_at_one_and_a_reflection_at_two.refute
def projection_at_two() -> Any:
    """It is said to be a projection at 2."""
    return transition_at(2, projection)


@delta_transition_is_a_projection_at_one_and_a_reflection_at_two.refute
def reflection_at_one() -> Any:
    """It is said to be a reflection at 1."""
    return transition_at(1, reflection)


class Length(Delta):
    """What a transition takes from the squared length of a vector, and what it makes of its key."""

    @property
    def loss(self) -> Expr:
        """The multiple of (k'q)^2 that is taken from the squared length of q."""
        return self.beta * (2 - self.beta * self.kappa)

    @property
    def eigenvalue(self) -> Expr:
        """What the key is multiplied by."""
        return 1 - self.beta * self.kappa

    def kept(self, loss: Expr) -> Expr:
        """Return the squared length that is left."""
        return self.q.T @ self.q - loss * (self.k.T @ self.q) ** 2

    def residual(self, loss: Expr) -> Any:
        """Compare it with what the transition leaves."""
        moved = self.transition @ self.q
        return (moved.T @ moved - self.kept(loss)).normal()


def room(c: series.Series) -> series.Series:
    """Return 1 - (1 - c)^2, which is not negative where c = beta kappa keeps the powers bounded."""
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
    source=TRANSITION,
    code=(reference.step,),
)
def delta_transition_is_stable_exactly_for_beta_kappa_in_zero_to_two() -> Any:
    """A transition lengthens no vector where 0 <= beta kappa <= 2, and outside its powers grow without bound.

    Inside, beta (2 - beta kappa) is not negative, so ||P q|| <= ||q|| for every q, products of such transitions
    included. Outside, |1 - beta kappa| > 1 and the powers of P stretch k without bound.
    """
    words = Length()
    return [words.residual(words.loss), (words.transition @ words.k - words.eigenvalue * words.k).normal()]


@delta_transition_is_stable_exactly_for_beta_kappa_in_zero_to_two.step(engine="series", scope=Every("real beta kappa"))
def the_interval() -> Any:
    """1 - (1 - c)^2 = c (2 - c) for c = beta kappa: positive inside (0, 2), zero at its ends, negative outside."""
    return interval_residual(2)


def interval_residual(end: int) -> Any:
    """Show where 1 - (1 - c)^2 is positive and where negative, on lines through all real c, with s > 0 on each."""
    c, s = Variables("c s").all()
    return {
        "as a product": room(c) - c * (2 - c),
        "at the ends": [room(c).at(c, 0), room(c).at(c, end)],
        "below": unproved(-room(-s), s),
        "inside": unproved(room(end * s / (1 + s)), s),
        "above": unproved(-room(end + s), s),
        "never zero between": ["zero" for line in (-s, end * s / (1 + s), end + s) if not room(line)],
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


# Longhorn's implicit step.


class Implicit(Delta):
    """One row s of the memory under the implicit step: it minimises ||s' - s||^2 + beta (s' k - v)^2 over s'."""

    def __init__(self, *, gate: bool = True) -> None:
        super().__init__(V="1")
        self.theta = self.algebra.scalar("theta")
        if gate:  # theta = beta / (1 + beta kappa)
            self.algebra.relation(*self.gate)

    @property
    def gate(self) -> tuple[Expr, Expr]:
        """The equation of the gate."""
        return self.theta * (1 + self.beta * self.kappa), self.beta

    def loss(self, row: Expr) -> Expr:
        """The objective at a row."""
        moved, error = row - self.S, row @ self.k - self.v
        return moved @ moved.T + self.beta * error**2

    def residual(self, *, sign: int = 1) -> list[Any]:
        """Say how far the code's step with gate theta is from the minimum: by the gradient, and by the whole loss."""
        made, _ = self.step(self.theta)
        gradient = made - self.S + sign * self.beta * (made @ self.k - self.v) * self.k.T
        above = self.H @ self.H.T + self.beta * (self.H @ self.k) ** 2
        return [gradient.normal(), (self.loss(made + self.H) - self.loss(made) - above).normal()]


def _implicit() -> str:
    words = Implicit()
    row = words.algebra.matrix("S'", "1", "K")
    return (
        rf"\operatorname*{{arg\,min}}_{{S'}} \; {words.loss(row).tex()} = {words.step(words.theta)[0].tex()}, \quad "
        rf"{equation(*words.gate)}, \quad \kappa = \|k\|^2"
    )


@claim(
    statement=_implicit,
    assumptions=(r"$\beta \ge 0$. The rows of $S'$ do not meet, so the statement and its proof are for one.",),
    scope=EverySize("dk", "dv"),
    engine="words",
    source=Source("2412.06464", "Table 1 and footnote 3, sec. 3.1, on Longhorn (arXiv 2407.14207)", GATED),
    code=(reference.step,),
)
def longhorn_step_is_the_delta_rule_with_a_smaller_gate() -> Any:
    """Longhorn's implicit step is the delta rule with the gate beta / (1 + beta kappa).

    The gradient vanishes there, and any other row s' + h costs ||h||^2 + beta (h k)^2 more.
    """
    return Implicit().residual()


@longhorn_step_is_the_delta_rule_with_a_smaller_gate.step(engine="series", scope=Every("beta > 0 and kappa > 0"))
def it_never_overshoots() -> Any:
    """Its theta kappa lies between 0 and 1, so it is stable whatever beta: it never passes the projection."""
    beta, kappa = Variables("beta kappa").all()
    product = beta / (1 + beta * kappa) * kappa
    return [unproved(product, beta), unproved(1 - product, beta)]


@longhorn_step_is_the_delta_rule_with_a_smaller_gate.refute
def explicit_step() -> Any:
    """The gate is beta itself, as in the explicit step."""
    words = Implicit(gate=False)
    words.algebra.relation(words.theta, words.beta)
    return words.residual()


@longhorn_step_is_the_delta_rule_with_a_smaller_gate.refute
def objective_with_a_minus() -> Any:
    """The objective is ||S' - S||^2 - beta ||S' k - v||^2."""
    return Implicit().residual(sign=-1)


# 14. Products of transitions.


class Products:
    """A chunk of n tokens under a tied gate and without decay, and the token behind it, in words.

    The hypothesis: W and U solve ``(I + A) W = diag(beta) K`` and ``(I + A) U = diag(beta) N``, with A the strict lower
    triangle of ``diag(beta) K K'``, and T is the inverse of I + A times diag(beta).
    """

    def __init__(self) -> None:
        words = self.algebra = Algebra("beta")
        self.beta = words.scalar("beta")
        self.K, self.N, self.A = words.matrix("K", "n", "K"), words.matrix("N", "n", "V"), words.matrix("A", "n", "n")
        self.B = words.diagonal("B", "n", tex=r"D_\beta")
        self.T, self.W, self.U = words.matrix("T", "n", "n"), words.matrix("W", "n", "K"), words.matrix("U", "n", "V")
        self.k, self.v, self.S0 = words.vector("k", "K"), words.vector("v", "V"), words.matrix("S_0", "V", "K")
        for solution, right in ((self.T, self.B), (self.W, self.B @ self.K), (self.U, self.B @ self.N)):
            words.rule(self.A @ solution, right - solution)

    @property
    def product(self) -> Expr:
        """The product of the n transitions, by hypothesis."""
        return self.algebra.identity("K") - self.W.T @ self.K

    @property
    def memory(self) -> Expr:
        """The memory after n tokens, by hypothesis."""
        return self.S0 @ self.product + self.U.T @ self.K

    def row(self, of: Expr, new: Expr, *, sign: int = 1) -> Expr:
        """Return the new row of W or of U: the new key or value, less what the rows before answer to the key."""
        return self.beta * new.T - sign * self.beta * (self.k.T @ self.K.T @ of)

    def wy_residual(self, *, sign: int = 1) -> dict[str, Any]:
        """Compare n + 1 tokens in WY form with one more transition, and with one more step of the code."""
        words, k = self.algebra, self.k
        keys = Block([[self.K], [k.T]])
        W = Block([[self.W], [self.row(self.W, k, sign=sign)]])
        U = Block([[self.U], [self.row(self.U, self.v, sign=sign)]])
        one = words.identity("K")
        x = arrays.token(q=k, k=k, v=self.v, erase=self.beta, write=self.beta)
        S, _ = reference.step(arrays.Array(self.memory, 2), x, exp=arrays.exp)
        return {
            "product": (self.product @ code_acts_as(k, self.beta) - (one - W.T @ keys)).normal(),
            "memory": (S.word - (self.S0 @ (one - W.T @ keys) + U.T @ keys)).normal(),
        }

    def ut_residual(self, *, sign: int = 1, below: Expr | None = None) -> dict[str, Any]:
        """Check that the longer T, W and U solve the longer triangular systems."""
        words, k, beta = self.algebra, self.k, self.beta
        column, zero = words.zero("n", "1"), words.zero("1", "1")
        one = words.identity("n", "1")
        longer = Block([[self.A, column], [beta * (k.T @ self.K.T) if below is None else below, zero]])
        B = Block([[self.B, column], [column.T, beta]])
        T = Block([[self.T, column], [-sign * beta * (k.T @ self.K.T @ self.T), beta]])
        W = Block([[self.W], [self.row(self.W, k, sign=sign)]])
        U = Block([[self.U], [self.row(self.U, self.v, sign=sign)]])
        keys, values = Block([[self.K], [k.T]]), Block([[self.N], [self.v.T]])
        return {
            "T": ((one + longer) @ T - B).normal(),
            "W": ((one + longer) @ W - B @ keys).normal(),
            "U": ((one + longer) @ U - B @ values).normal(),
            "W = T K": (self.T @ self.K - self.W + self.A @ (self.T @ self.K - self.W)).normal(),
        }


def _wy() -> str:
    words = Products()
    row = words.row(words.W, words.k)
    w = words.algebra.matrix("w", "1", "K", tex=r"w_{n+1}^\top")
    S = words.algebra.matrix("S_n", "V", "K")
    return (
        rf"P = {code_acts_as(words.k, words.beta).normal().tex()}: \quad "
        rf"P_1 P_2 \cdots P_n = {words.product.tex()}, \quad {equation(w, row)}, \quad {equation(S, words.memory)}"
    )


@claim(
    statement=_wy,
    assumptions=(
        r"Transitions act on the memory from the right, the first one leftmost; $K$ holds the keys, row by row.",
        r"With no token $K$, $W$ and $U$ have no rows, the product is $I$ and the memory $S_0$.",
    ),
    scope=EverySize("C", "dk", "dv"),
    engine="words",
    source=Source("2412.06464", "eqs. 3 to 9, sec. 2.2", GATED),
    code=(reference.step,),
)
def product_of_transitions_has_a_wy_form() -> Any:
    """The product of the transitions of a chunk is I - W'K, with a row of W for each token; so is its memory.

    The induction step: one more transition, and one more step of the code, add one row to K, W and U.
    """
    return Products().wy_residual()


@product_of_transitions_has_a_wy_form.step(engine="sympy", scope=EverySize("C", "dk"))
def with_matrix_symbols() -> Any:
    """The same induction step for the product, by SymPy's own matrix symbols of symbolic size."""
    return matrix_symbols(1)


def matrix_symbols(sign: int) -> Any:
    """Expand the induction step of the product in SymPy's matrix expressions."""
    n, d = sympy.symbols("n d", integer=True, positive=True)
    beta = sympy.Symbol("beta")
    W, K = (sympy.MatrixSymbol(name, n, d) for name in "WK")
    k, one = sympy.MatrixSymbol("k", d, 1), sympy.Identity(d)
    row = beta * (k - sign * W.T * K * k)
    return sympy.expand(((one - W.T * K) * (one - beta * k * k.T) - (one - W.T * K - row * k.T)).doit())


def ut_transform(x: Token, below: Any, inverse: Callable[[Array], Array]) -> tuple[Array, Array]:
    """Return W and U of a chunk, from its keys, values and gates.

    Args:
        x: the chunk.
        below: the mask of the strict lower triangle.
        inverse: takes A to the inverse of I + A.
    """
    T = inverse(below * ((x.b * x.k) @ x.k.T))
    return T @ (x.b * x.k), T @ (x.w * x.v)


def wy_of_the_code(case: Case, *, order: int = 1) -> list[Any]:
    """Compare the code, run from the identity and from a memory, with W and U made by the UT transform."""
    x, S = case.x, case.S
    C, K = x.k.shape
    W, U = ut_transform(x, np.tri(C, C, -1, dtype=int), lambda A: inverse_of_unit_lower(A, case.stack))
    identity = 0 * S + np.eye(K, dtype=int)
    nothing = replace(x, v=0 * x.v)
    product, _ = reference.recurrent(identity, nothing[::order], exp=case.exp, stack=case.stack)
    memory, _ = case.run(reference.recurrent)
    made = identity - W.T @ x.k
    return [case.residual(product, made), case.residual(memory, S @ made + U.T @ x.k)]


@product_of_transitions_has_a_wy_form.step(engine="ring", scope=Sizes(C=4, dk=2))
def the_code() -> Any:
    """What the code multiplies the memory by over four tokens, and what it makes of a memory, on symbols."""
    return wy_of_the_code(symbols(DELTANET, 4, 2, 2))


@product_of_transitions_has_a_wy_form.step(engine="field", scope=SEVERAL)
def the_code_at_real_sizes(rng: random.Random) -> Any:
    """The same at the sizes of a kernel."""
    return [wy_of_the_code(points(DELTANET, 64, 128, 128, rng)) for _ in range(SEVERAL.primes)]


@product_of_transitions_has_a_wy_form.refute
def what_is_answered_already_added() -> Any:
    """The rows before are added to the new row, where they must be taken from it."""
    return Products().wy_residual(sign=-1)


@product_of_transitions_has_a_wy_form.refute
def added_with_matrix_symbols() -> Any:
    """The same, in SymPy's matrix symbols."""
    return matrix_symbols(-1)


@product_of_transitions_has_a_wy_form.refute
def last_transition_first() -> Any:
    """The transitions are multiplied in the other order."""
    return wy_of_the_code(symbols(DELTANET, 2, 2, 2), order=-1)


def written_transform() -> str:
    """Print W and U of a chunk."""
    (K, V), (beta,) = letters(Kind.MATRIX, "K", "V"), letters(Kind.COLUMN, r"\beta")
    W, U = ut_transform(Token(q=K, k=K, v=V, g=beta, b=beta, w=beta), Below(-1), inverse)
    return rf"W = {W}, \quad U = {U}"


@claim(
    statement=written_transform,
    assumptions=(
        "A unit lower triangle has an inverse, so each system has one solution.",
        r"$K$ and $V$ hold the keys and values of the chunk, row by row.",
    ),
    scope=EverySize("C", "dk", "dv"),
    engine="words",
    source=Source("2406.06484", "eqs. 10 and 11", PARALLEL),
    code=(reference.recurrent,),
    uses=("product_of_transitions_has_a_wy_form",),
)
def ut_transform_makes_the_wy_form() -> Any:
    """The rows of the WY form are found at once by inverting one unit lower triangle: the UT transform.

    The induction step: the longer T, and the W and U with the rows of the WY form, solve the longer systems.
    """
    return Products().ut_residual()


@ut_transform_makes_the_wy_form.step(engine="sympy", scope=EverySize("C", "dk"))
def transform_with_matrix_symbols() -> Any:
    """The same induction step for T, and for W = T K, by SymPy's own matrix symbols of symbolic size."""
    return transform_symbols(1)


def transform_symbols(sign: int) -> list[Any]:
    """Expand the new rows of the triangular system and of W in SymPy's matrix expressions."""
    n, d = sympy.symbols("n d", integer=True, positive=True)
    beta = sympy.Symbol("beta")
    T, K, k = sympy.MatrixSymbol("T", n, n), sympy.MatrixSymbol("K", n, d), sympy.MatrixSymbol("k", d, 1)
    below = beta * k.T * K.T  # the new row of the triangle
    row = -sign * beta * k.T * K.T * T  # the new row of T, which ends in beta
    of_W = row * K + beta * k.T - (beta * k.T - below * (T * K))
    return [sympy.expand((below * T + row).doit()), sympy.expand(of_W.doit())]


@ut_transform_makes_the_wy_form.step(engine="ring", scope=Sizes(C=4, dk=2, dv=2))
def transform_of_the_code() -> Any:
    """W and U of the transform make of a memory what the code's recurrence makes of it, on symbols."""
    return wy_of_the_code(symbols(DELTANET, 4, 2, 2))


@ut_transform_makes_the_wy_form.step(engine="field", scope=SEVERAL)
def transform_of_the_code_at_real_sizes(rng: random.Random) -> Any:
    """The same at the sizes of a kernel."""
    return [wy_of_the_code(points(DELTANET, 64, 128, 128, rng)) for _ in range(SEVERAL.primes)]


@ut_transform_makes_the_wy_form.step(engine="ring", scope=Sizes(C=4, dk=3, dv=2))
def on_symbols() -> Any:
    """The rows one by one, as the WY form makes them, against the UT transform, on symbols."""
    return rows_against_transform(symbols(DELTANET, 4, 2, 3).x)


def rows_against_transform(x: Token, *, sign: int = 1) -> Any:
    """Make W row by row and by the UT transform, on symbols; ``sign`` stands before the triangle."""
    C = len(x.k)
    rows: list[Array] = []
    for t in range(C):
        seen = sum((rows[j] * (x.k[j] @ x.k[t]) for j in range(t)), 0 * x.k[0])
        rows.append((x.k[t] - seen) * x.b[t, 0])
    below = np.tri(C, C, -1, dtype=int)
    return ut_transform(x, below, lambda A: inverse_of_unit_lower(sign * A, np.stack))[0] - np.stack(rows)


@ut_transform_makes_the_wy_form.refute
def minus_under_the_inverse() -> Any:
    """I - tril(...) is inverted, where I + tril(...) is meant: a misprint seen in print and in code comments."""
    return rows_against_transform(symbols(DELTANET, 3, 2, 3).x, sign=-1)


@ut_transform_makes_the_wy_form.refute
def gate_left_out_below_the_diagonal() -> Any:
    """The triangle is that of K K', without the gates."""
    words = Products()
    return words.ut_residual(below=words.k.T @ words.K.T)


@ut_transform_makes_the_wy_form.refute
def row_of_the_wrong_sign_with_matrix_symbols() -> Any:
    """The new row of T has the other sign, in SymPy's matrix symbols."""
    return transform_symbols(-1)


@ut_transform_makes_the_wy_form.refute
def row_of_the_wrong_sign() -> Any:
    """The new row of T has the other sign."""
    return Products().ut_residual(sign=-1)
