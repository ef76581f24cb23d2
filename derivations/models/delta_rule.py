"""One token under the delta rule, in words."""

from __future__ import annotations

from typing import Any

from derivations.engines import arrays
from derivations.engines.algebra import Algebra
from derivations.engines.trees import Expr, Identity, Zero
from gdn_core import reference


def code_acts_as(k: Expr, gate: Expr) -> Expr:
    """Return the code's transition: its step from the identity with value 0."""
    x = arrays.token(q=k, k=k, v=Zero(k.algebra, "K", "1"), erase=gate, write=gate)
    return reference.step(arrays.Array(Identity(k.algebra, "K"), 2), x, exp=arrays.exp)[0].word


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
        """The transition of a token by the code, I - beta k k'."""
        return code_acts_as(self.k, self.beta)


class Length(Delta):
    """The effect of a transition on the squared length of a vector, and on its key."""

    @property
    def loss(self) -> Expr:
        """The factor of (k'q)^2 that is subtracted from the squared length of q."""
        return self.beta * (2 - self.beta * self.kappa)

    @property
    def eigenvalue(self) -> Expr:
        """The eigenvalue along the key."""
        return 1 - self.beta * self.kappa

    def kept(self, loss: Expr) -> Expr:
        """Return the squared length of q after the transition, for this factor."""
        return self.q.T @ self.q - loss * (self.k.T @ self.q) ** 2

    def residual(self, loss: Expr) -> Any:
        """Compare it with the code's transition."""
        moved = self.transition @ self.q
        return (moved.T @ moved - self.kept(loss)).normal()


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
        """Return the gradient at the code's step with gate theta, and the error of the loss around it."""
        made, _ = self.step(self.theta)
        gradient = made - self.S + sign * self.beta * (made @ self.k - self.v) * self.k.T
        above = self.H @ self.H.T + self.beta * (self.H @ self.k) ** 2
        return [gradient.normal(), (self.loss(made + self.H) - self.loss(made) - above).normal()]
