"""The product of a chunk's transitions in WY form, and the UT transform that makes it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import sympy

from derivations.engines import arrays
from derivations.engines.algebra import Algebra, equation
from derivations.engines.cases import Case, points, symbols
from derivations.engines.trees import Block, Expr
from derivations.models.chunk_matrices import inverse_of_unit_lower, ut_transform, written_transform
from derivations.models.delta_rule import code_acts_as
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import EverySize, OverField, Sizes
from gdn_core import reference
from gdn_core.reference import Array, Token
from gdn_core.rules import DELTANET

SEVERAL = OverField(C=64, dk=128, dv=128)


# Products of transitions.


class Products:
    """A chunk of n tokens under a tied gate and without decay, and the next token, in words.

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
        """Return the new row of W or U: the new key or value, less what the earlier rows answer to the key."""
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
    source=cite("2412.06464", "eqs. 3 to 9, sec. 2.2"),
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
    """The code's transition over four tokens and its memory after them, on symbols."""
    return wy_of_the_code(symbols(DELTANET, 4, 2, 2))


@product_of_transitions_has_a_wy_form.step(engine="field", scope=SEVERAL)
def the_code_at_real_sizes(rng: random.Random) -> Any:
    """The same at the sizes of a kernel."""
    return [wy_of_the_code(points(DELTANET, 64, 128, 128, rng)) for _ in range(SEVERAL.primes)]


@product_of_transitions_has_a_wy_form.refute
def what_is_answered_already_added() -> Any:
    """The earlier rows are added to the new row, not subtracted."""
    return Products().wy_residual(sign=-1)


@product_of_transitions_has_a_wy_form.refute
def added_with_matrix_symbols() -> Any:
    """The same, in SymPy's matrix symbols."""
    return matrix_symbols(-1)


@product_of_transitions_has_a_wy_form.refute
def last_transition_first() -> Any:
    """The transitions are multiplied in the other order."""
    return wy_of_the_code(symbols(DELTANET, 2, 2, 2), order=-1)


@claim(
    statement=written_transform,
    assumptions=(
        "A unit lower triangle has an inverse, so each system has one solution.",
        r"$K$ and $V$ hold the keys and values of the chunk, row by row.",
    ),
    scope=EverySize("C", "dk", "dv"),
    engine="words",
    source=cite("2406.06484", "eqs. 10 and 11"),
    code=(reference.recurrent,),
    uses=("product_of_transitions_has_a_wy_form",),
)
def ut_transform_makes_the_wy_form() -> Any:
    """The rows of the WY form are found at once by inverting one unit lower triangular matrix: the UT transform.

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
    """W and U of the transform give the memory of the code's recurrence, on symbols."""
    return wy_of_the_code(symbols(DELTANET, 4, 2, 2))


@ut_transform_makes_the_wy_form.step(engine="field", scope=SEVERAL)
def transform_of_the_code_at_real_sizes(rng: random.Random) -> Any:
    """The same at the sizes of a kernel."""
    return [wy_of_the_code(points(DELTANET, 64, 128, 128, rng)) for _ in range(SEVERAL.primes)]


@ut_transform_makes_the_wy_form.step(engine="ring", scope=Sizes(C=4, dk=3, dv=2))
def on_symbols() -> Any:
    """The rows computed one by one are those of the UT transform, on symbols."""
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
