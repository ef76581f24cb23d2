"""A token under the delta rule is a step of gradient descent."""

from __future__ import annotations

from typing import Any

import numpy as np

from derivations.engines.algebra import equation, trace
from derivations.engines.ring import Ring
from derivations.engines.trees import Expr
from derivations.models.delta_rule import Delta
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import EverySize, Sizes
from gdn_core import reference
from gdn_core.reference import Token


class Loss(Delta):
    """The loss 1/2 ||S k - v||^2 and its gradient."""

    @property
    def gradient(self) -> Expr:
        """The gradient with respect to S."""
        return (self.S @ self.k - self.v) @ self.k.T

    def slope_residual(self, gradient: Expr) -> Any:
        """Compare the slope of the loss along any H with the inner product of H and the gradient, both doubled."""
        error = (self.S + self.algebra.scalar("t") * self.H) @ self.k - self.v
        slope = (error.T @ error).normal().part("t", 1)
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
    source=cite("2412.06464", "sec. 3.1, the view as stochastic gradient descent"),
    code=(reference.step,),
)
def delta_rule_is_a_gradient_step() -> Any:
    """One token under the delta rule is one step of gradient descent, of rate beta, on 1/2 ||S k - v||^2."""
    loss = Loss()
    return {"gradient": loss.slope_residual(loss.gradient), "step": loss.step_residual(loss.beta)}


@delta_rule_is_a_gradient_step.step(engine="ring", scope=Sizes(dk=3, dv=2))
def every_partial_derivative() -> Any:
    """On symbols: the step subtracts from each entry beta times the partial derivative of the loss by it."""
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
    """With a decay before the step, which is then the gradient at the decayed memory."""
    loss = Loss()
    return loss.step_residual(loss.beta, decay=loss.algebra.scalar("theta"))


@delta_rule_is_a_gradient_step.refute
def gradient_of_the_wrong_sign() -> Any:
    """(v - S k) k' is said to be the gradient."""
    loss = Loss()
    return loss.slope_residual(-loss.gradient)
