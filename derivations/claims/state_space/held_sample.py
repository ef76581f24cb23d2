"""Which sample is held over a step: the input at its end or at its start, two conventions of one equation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from derivations.engines.algebra import Algebra, equation
from derivations.engines.trees import Block, Expr
from derivations.models.state_space import Model
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import EverySize, Sizes
from gdn_core import reference, ssm
from gdn_core.reference import Token
from gdn_core.rules import Discretisation


class Samples:
    """The state behind t inputs and one more, in words: R has a column for each input, Abar^j Bbar."""

    def __init__(self) -> None:
        words = self.algebra = Algebra()
        self.A, self.B = words.matrix("A", "N", "N", tex=r"\bar A"), words.vector("B", "N", tex=r"\bar B")
        self.C, self.R = words.vector("C", "N"), words.matrix("R", "N", "t")
        self.U, self.u = words.vector("U", "t"), words.vector("u", "1")

    @property
    def held(self) -> Expr:
        """The state at the end of the step over which the newest input is held."""
        return self.A @ (self.R @ self.U) + self.B @ self.u

    def at_its_end(self) -> tuple[Expr, Expr]:
        """Return the output that belongs to the newest input if it is read behind its step, and the kernel's row."""
        return self.C.T @ self.held, Block([[self.C.T @ self.A @ self.R, self.C.T @ self.B]])

    def at_its_start(self, *, at_once: bool = False) -> tuple[Expr, Expr]:
        """Return the same if it is read before its step; ``at_once`` has the kernel answer the newest input."""
        newest = self.C.T @ self.B if at_once else self.algebra.zero("1", "1")
        return self.C.T @ (self.R @ self.U), Block([[self.C.T @ self.R, newest]])

    def residual(self, *sides: tuple[Expr, Expr]) -> list[Any]:
        """Compare outputs with the rows of their kernels, times all inputs."""
        inputs = Block([[self.U], [self.u]])
        return [(output - row @ inputs).normal() for output, row in sides]


def _statement() -> str:
    words = Samples()
    end, start = words.at_its_end(), words.at_its_start()
    h, y = (words.algebra.vector(name, "N" if name == "h_t" else "1") for name in ("h_t", "y_t"))
    before = words.R @ words.U
    return (
        rf"h_{{t-1}} = {before.tex()}: \quad \text{{the newest input held before }} h_t: \; "
        rf"{equation(h, words.held)}, \; {equation(y, end[0])}, \; K = {end[1].tex()} \quad "
        rf"\text{{held behind it}}: \; {equation(h, before)}, \; {equation(y, start[0])}, \; K = {start[1].tex()}"
    )


@claim(
    statement=_statement,
    assumptions=(
        r"$u$ is the newest input and $U$ the earlier ones; $K$ is the kernel's row, $\bar A^j \bar B$ times $C^\top$.",
        r"Both hold an input over a step of $h' = A h + B u$, so $\bar A$ and $\bar B$ are the same.",
    ),
    scope=EverySize("length", "N"),
    engine="words",
    source=cite("2111.00396", "eq. 3, which has u_k in h_k; texts on control have h_(k+1) from h_k and u_k"),
    code=(ssm.tokens, reference.recurrent, reference.moments),
    uses=("fixed_recurrence_is_a_convolution",),
)
def held_sample_decides_when_the_first_output_comes() -> Any:
    """With h_t from u_t the first output is C Bbar u_0, with h_t from u_(t-1) it is 0: the same outputs a token later.

    So the kernel of the second convention is that of the first with a zero in front.
    """
    words = Samples()
    return words.residual(words.at_its_end(), words.at_its_start())


def read_before(S: Any, x: Token, exp: Any) -> list[Any]:
    """Read the memory with each token's query before the token acts, by the code."""
    outputs = []
    for t in range(len(x)):
        found = reference.moments(S, x[t], exp=exp)
        outputs.append(found.before @ x[t].q)
        S = found.written
    return outputs


def later(x: Token, *names: str) -> Token:
    """Return a stream whose fields of these names come a token later, the first of them made nothing."""
    return replace(x, **{name: np.concatenate([0 * getattr(x, name)[:1], getattr(x, name)[:-1]]) for name in names})


def conventions(T: int, V: int, K: int, *, fixed: bool, moved: tuple[str, ...]) -> dict[str, Any]:
    """Compare what is read before each token with the code's outputs on a stream that comes a token later."""
    model = Model(T, V, K, fixed=fixed)
    S, x = 0 * model.S, model.tokens(Discretisation.ZOH)
    before = read_before(S, x, model.ring.exp)
    _, o = model.run(later(x, *moved), S)
    answered = (model.factor(Discretisation.ZOH)[0] * model.B[0] * model.u[0][:, None]) @ model.C[0]  # C Bbar u_0
    return {
        "a token later": model.ring.residual(np.stack(before), o),
        "first, of the input": model.ring.residual(model.run(x, S)[1][0], answered),
        "first, before it": before[0],
    }


@held_sample_decides_when_the_first_output_comes.step(engine="ring", scope=Sizes(T=4, V=2, K=2))
def constant_parameters_in_the_code() -> Any:
    """By the code with constant parameters: reading before each token is the same model on inputs a token later."""
    return conventions(4, 2, 2, fixed=True, moved=("v",))


@held_sample_decides_when_the_first_output_comes.step(engine="ring", scope=Sizes(T=3, V=2, K=2))
def parameters_of_each_token_in_the_code() -> Any:
    """By the code with a step for each token: step, input map and input come a token later, the output map does not."""
    return conventions(3, 2, 2, fixed=False, moved=("v", "k", "g"))


@held_sample_decides_when_the_first_output_comes.refute
def answer_at_once() -> Any:
    """The second convention is said to answer the newest input with C Bbar."""
    words = Samples()
    return words.residual(words.at_its_start(at_once=True))


@held_sample_decides_when_the_first_output_comes.refute
def step_of_the_reading_token() -> Any:
    """With a step for each token the input alone is said to come later, and its step not."""
    return conventions(3, 1, 1, fixed=False, moved=("v",))


@held_sample_decides_when_the_first_output_comes.refute
def output_map_of_the_token_before() -> Any:
    """The output map is said to come a token later too."""
    return conventions(3, 1, 1, fixed=False, moved=("v", "k", "g", "q"))
