"""The errors of a chunk solve one triangular system, which makes the paper's U and W."""

from __future__ import annotations

import random
from typing import Any

from derivations.engines.algebra import Algebra
from derivations.engines.cases import points, vectors
from derivations.engines.trees import Block, Expr
from derivations.models.chunk_matrices import BETA, GAMMA, matrix_form, written_chunk, written_U_and_W
from derivations.models.gated_chunk import ONE_CHUNK, Induction
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import WIDE, EverySize
from gdn_core import reference
from gdn_core.rules import GATED_DELTANET


def _triangular() -> str:
    U, W = written_U_and_W()
    system, right = written_chunk()[1]["A_decayed"], Triangular().right()
    return (
        rf"\bigl(I + {system}\bigr) N = {right.tex()} \;\Rightarrow\; N = U - W S_0^\top, \quad U = {U}, \quad W = {W}"
    )


class Triangular:
    """The triangular system of n tokens, and the row that the next token adds to it, in words.

    B, D and M are the write gates, the decays from the start of the chunk and the system's matrix of the tokens so far.
    """

    def __init__(self) -> None:
        words = self.words = Induction()
        a = self.algebra = words.algebra
        self.V = a.matrix("V", "n", "V")
        self.B, self.D = (
            a.diagonal(name, "n", tex=rf"\operatorname{{diag}}({tex})") for name, tex in (("B", BETA), ("D", GAMMA))
        )
        self.M = a.matrix("M", "n", "n")

    def right(self) -> Expr:
        """Return the right-hand side of n tokens."""
        return self.B @ (self.V - self.D @ self.words.K @ self.words.S0.T)

    def residual(self, row: Expr) -> Any:
        """Apply the system of n + 1 tokens, whose last row is given, to their errors, and take off the right side."""
        words, a = self.words, self.algebra
        a.rule(self.M @ words.N, self.right())
        n, one = a.zero("n", "1"), a.identity("1")
        system = Block([[self.M, n], [row, one]])
        errors = Block([[words.N], [words.error().T]])
        last = words.beta * (words.v.T - words.alpha * words.c * (words.k.T @ words.S0.T))
        return (system @ errors - Block([[self.right()], [last]])).normal()


@claim(
    statement=_triangular,
    assumptions=(r"$\Gamma_{ij} = \gamma_i / \gamma_j$ for $j \le i$; no decay is exactly 0, as $e^{g}$ never is.",),
    scope=EverySize("C", "dk", "dv"),
    engine="words",
    source=cite("2412.06464", "sec. 3.3 and appendix A"),
    code=(reference.chunk,),
)
def ut_transform_is_the_gated_triangular_system() -> Any:
    r"""The errors of a chunk solve one triangular system: U by the inverse with decays, W by the one without, decayed.

    The induction step: the row of the next token in the system gives its error. For the memory before token i, decayed,
    is $\gamma_i S_0$ and the earlier errors, $\sum_{j<i} \Gamma_{ij} \nu_j k_j^\top$. The error is
    $\nu_i = \beta_i (v_i - \gamma_i S_0 k_i - \sum_{j<i} \Gamma_{ij} (k_j^\top k_i) \nu_j)$. With all errors at the
    left, as rows of $N$, this is row i of the system.
    """
    t = Triangular()
    return t.residual(t.words.beta * (t.words.k.T @ t.words.K.T @ (t.words.alpha * t.words.L)))


@ut_transform_is_the_gated_triangular_system.step(engine="words", scope=EverySize("C", "dk"))
def W_is_the_ungated_W_decayed() -> Any:
    """With Gamma = D 1 D^-1 below the diagonal, the gated inverse is D (ungated inverse) D^-1, and D^-1 D cancels."""
    a = Algebra()
    A, T, K = a.matrix("A", "n", "n"), a.matrix("T", "n", "n"), a.matrix("K", "n", "K")
    B, D = a.diagonal("B", "n"), a.diagonal("D", "n")
    inverse = a.inverse(D)
    a.rule(A @ T, a.identity("n") - T)  # T is the inverse of I + A
    gated_system = a.identity("n") + D @ A @ inverse
    return (gated_system @ (D @ T @ B @ K) - B @ D @ K).normal()


@ut_transform_is_the_gated_triangular_system.step(engine="gram", scope=WIDE)
def matrix_form_is_the_code() -> Any:
    """The reference's chunk is the matrix form with this U and W."""
    cases = (vectors(GATED_DELTANET, C) for C in WIDE.lengths)
    return (case.compare(case.run(reference.chunk), case.run(matrix_form)) for case in cases)


@ut_transform_is_the_gated_triangular_system.step(engine="field", scope=ONE_CHUNK)
def matrix_form_is_the_code_at_real_sizes(rng: random.Random) -> Any:
    """The reference's chunk is the matrix form with this U and W."""
    cases = (points(GATED_DELTANET, 64, 144, 128, rng) for _ in range(ONE_CHUNK.primes))
    return (case.compare(case.run(reference.chunk), case.run(matrix_form)) for case in cases)


@ut_transform_is_the_gated_triangular_system.refute
def row_without_the_new_decay() -> Any:
    """The new row has the decays up to the previous token, without the token's own."""
    t = Triangular()
    return t.residual(t.words.beta * (t.words.k.T @ t.words.K.T @ t.words.L))


@ut_transform_is_the_gated_triangular_system.refute
def W_from_the_gated_inverse() -> Any:
    """W is made with the inverse with decays, so that they count twice."""
    case = vectors(GATED_DELTANET, 3)
    return case.compare(case.run(reference.chunk), case.run(matrix_form, ungated="A_decayed"))


@ut_transform_is_the_gated_triangular_system.refute
def U_from_the_ungated_inverse() -> Any:
    """U is made with the inverse without decays."""
    case = vectors(GATED_DELTANET, 3)
    return case.compare(case.run(reference.chunk), case.run(matrix_form, gated="A"))
