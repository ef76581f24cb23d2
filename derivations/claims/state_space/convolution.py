"""With constant parameters the outputs are a convolution of the inputs; with a step for each token they are not."""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np

from derivations.engines import notation
from derivations.engines.algebra import Algebra
from derivations.engines.trees import Block, Expr
from derivations.models.state_space import Model
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import Counterexample, EverySize, Sizes
from gdn_core import reference, ssm
from gdn_core.reference import Token
from gdn_core.rules import Discretisation


class Reach:
    """The state as a function of t inputs: R has a column for each, Abar^j Bbar for the input j tokens ago."""

    def __init__(self) -> None:
        words = self.algebra = Algebra()
        self.A, self.B = words.matrix("A", "N", "N", tex=r"\bar A"), words.vector("B", "N", tex=r"\bar B")
        self.C = words.vector("C", "N")
        self.R, self.U, self.u = words.matrix("R", "N", "t"), words.vector("U", "t"), words.vector("u", "1")

    @property
    def longer(self) -> Expr:
        """The columns after one more input: each is multiplied by Abar, and the newest is Bbar."""
        return Block([[self.A @ self.R, self.B]])

    def following(self, state: Expr, u: Expr) -> Expr:
        """Return the state after an input."""
        return self.A @ state + self.B @ u

    def residual(self, longer: Expr) -> Any:
        """Compare one more token of the recurrence with the longer convolution, state and output."""
        inputs = Block([[self.U], [self.u]])
        state = self.following(self.R @ self.U, self.u)
        return [(state - longer @ inputs).normal(), (self.C.T @ state - self.C.T @ longer @ inputs).normal()]


def _convolution() -> str:
    words = Reach()
    R = words.algebra.matrix("R_{t+1}", "N", "t", tex="R_{t+1}")
    first, *later = (words.algebra.vector(f"u_{t}", "1", tex=f"u_{t}") for t in (1, 2, 3))
    state = reduce(words.following, later, words.B @ first)
    return (
        rf"y_3 = {(words.C.T @ state).tex()}, \quad \ldots, \quad "
        rf"{R.tex()} = {words.longer.tex()} \;\Rightarrow\; y_t = C^\top R_t\, u_{{1..t}} = "
        r"\sum_{j=0}^{t-1} (C^\top \bar A^j \bar B)\, u_{t-j}"
    )


@claim(
    statement=_convolution,
    assumptions=(r"$A$, $B$, $C$ and $\Delta$ are the same at every token, and $h_0 = 0$.",),
    scope=EverySize("length", "N"),
    engine="words",
    source=cite("2111.00396", "eqs. 4 and 5"),
    code=(ssm.tokens, reference.recurrent),
    uses=("state_space_model_is_a_write_rule",),
)
def fixed_recurrence_is_a_convolution() -> Any:
    """With constant parameters the outputs are a convolution of the inputs with the kernel C Abar^j Bbar.

    The induction step, for any A: one more token multiplies every column of R by Abar. With no token R is empty.
    """
    words = Reach()
    return words.residual(words.longer)


def convolution_residual(model: Model, x: Token, T: int) -> Any:
    """Compare the code's outputs from an empty memory with the convolution."""
    _, o = model.run(x, 0 * model.S)
    kernel = [((model.decay[0] ** j) * model.factor(Discretisation.ZOH)[0] * model.B[0]) @ model.C[0] for j in range(T)]
    wanted = [sum(kernel[j] * model.u[t - j] for j in range(t + 1)) for t in range(T)]
    return model.ring.residual(o, np.stack(wanted))


@fixed_recurrence_is_a_convolution.step(engine="ring", scope=Sizes(T=5, V=2, K=2))
def the_code() -> Any:
    """The code's recurrence on fixed tokens is the convolution."""
    model = Model(5, 2, 2, fixed=True)
    return convolution_residual(model, model.tokens(Discretisation.ZOH), 5)


@fixed_recurrence_is_a_convolution.refute
def newest_input_decayed_too() -> Any:
    """The kernel is said to start at C Abar Bbar."""
    words = Reach()
    return words.residual(Block([[words.A @ words.R, words.A @ words.B]]))


@fixed_recurrence_is_a_convolution.refute
def memory_not_empty() -> Any:
    """The memory before the first token is not empty: its part of the output is no convolution of the inputs."""
    model = Model(2, 2, 2, fixed=True)
    _, o = model.run(model.tokens(Discretisation.ZOH))
    _, from_zero = model.run(model.tokens(Discretisation.ZOH), 0 * model.S)
    return model.ring.residual(o, from_zero)


def lag_one(deltas: tuple[int, int, int]) -> tuple[Fraction, Fraction]:
    """Return the outputs one token after an impulse at token 0 and at token 1, in base 2, with A = -1, B = C = 1."""
    one = np.array([[Fraction(1)]], dtype=object)
    answers = []
    for at in (0, 1):
        u = np.array([[Fraction(t == at)] for t in range(3)], dtype=object)
        delta = np.array([[Fraction(step)] for step in deltas], dtype=object)
        maps = np.concatenate([one] * 3)
        x = ssm.tokens(u, delta, -one, maps, maps, method=Discretisation.MAMBA)
        _, o = reference.recurrent(0 * one, x, exp=np.frompyfunc(lambda log: Fraction(2) ** log, 1, 1))
        answers.append(o[at + 1, 0])
    return answers[0], answers[1]


def _lags() -> str:
    steps = (1, 1, 2)
    first, second = map(notation.number, lag_one(steps))
    return (
        rf"\Delta = {steps}, \; A = -1: \quad \frac{{\partial y_1}}{{\partial u_0}} = {first} \ne {second} = "
        r"\frac{\partial y_2}{\partial u_1}"
    )


@claim(
    statement=_lags,
    assumptions=("Decays are powers of 2, so the numbers are exact; tokens are counted from 0.",),
    scope=Counterexample("three tokens, one state, Delta = 1, 1, 2"),
    engine="exact",
    source=cite("2312.00752", "eq. 2a and Algorithm 2, sec. 3.2"),
    code=(ssm.tokens, reference.recurrent),
)
def selective_recurrence_is_no_convolution() -> Any:
    """With a step that depends on the token there is no such kernel: the impulse response depends on the time."""
    first, second = lag_one((1, 1, 2))
    return [first - Fraction(1, 2), second - Fraction(1, 4)]


@selective_recurrence_is_no_convolution.step(engine="exact", scope=Counterexample("three tokens, Delta = 2, 2, 2"))
def a_fixed_step_is_one() -> Any:
    """With the same step at every token both responses are equal."""
    first, second = lag_one((2, 2, 2))
    return first - second


@selective_recurrence_is_no_convolution.refute
def same_answer_at_every_time() -> Any:
    """The response is said not to depend on the time of the impulse."""
    first, second = lag_one((1, 1, 2))
    return first - second


@selective_recurrence_is_no_convolution.refute
def same_answer_where_only_the_first_steps_agree() -> Any:
    """Equal steps at the two impulses are said to be enough."""
    first, second = lag_one((2, 2, 1))
    return first - second
