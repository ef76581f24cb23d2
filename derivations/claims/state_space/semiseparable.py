"""The matrix from inputs to outputs is semiseparable: what a later output sees of earlier inputs passes one memory."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np

from derivations.engines import arrays
from derivations.engines.algebra import Algebra, equation
from derivations.engines.cases import Case, points, symbols
from derivations.engines.ring import determinant
from derivations.engines.trees import Block, Expr
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import EverySize, OverField, Sizes
from gdn_core import reference
from gdn_core.reference import Token
from gdn_core.rules import GATED_DELTANET, MAMBA2, WriteRule

POINTS = OverField(T=8, dk=2, dv=8, primes=2)


class Through:
    """Inputs before a token and outputs behind it, in words: Y holds what the memory keeps of each input.

    X holds the inputs row by row, so the memory is X'Y; P is the product of the transitions since.
    """

    def __init__(self) -> None:
        a = self.algebra = Algebra("alpha beta w")
        self.alpha, self.beta, self.w = a.all_scalars()
        self.X, self.Y, self.P = a.matrix("X", "n", "V"), a.matrix("Y", "n", "K"), a.matrix("P", "K", "K")
        self.k, self.q, self.v = a.vector("k", "K"), a.vector("q", "K"), a.vector("x", "V")

    def step(self, S: Expr, v: Expr) -> tuple[Expr, Expr]:
        """Run the code's step."""
        x = arrays.token(q=self.q, k=self.k, v=v, decay=self.alpha, erase=self.beta, write=self.w)
        after, o = reference.step(arrays.Array(S, 2), x, exp=arrays.exp)
        return after.word, o.word

    @property
    def transition(self) -> Expr:
        """The transition of a token."""
        return self.alpha * (self.algebra.identity("K") - self.beta * (self.k @ self.k.T))

    def residual(self, *, decayed: bool = True) -> dict[str, Any]:
        """Compare one more input with one more row of Y, and an output without new inputs with X'Y times one column."""
        kept = self.Y @ (self.transition if decayed else self.algebra.identity("K"))
        inputs, rows = Block([[self.X], [self.v.T]]), Block([[kept], [self.w * self.k.T]])
        S, _ = self.step(self.X.T @ self.Y, self.v)
        later, o = self.step(self.X.T @ self.Y @ self.P, self.algebra.zero("V", "1"))
        return {
            "one more input": (S - inputs.T @ rows).normal(),
            "one more output": (o - self.X.T @ (self.Y @ (self.P @ self.transition @ self.q))).normal(),
            "its memory": (later - self.X.T @ self.Y @ (self.P @ self.transition)).normal(),
        }


def _statement() -> str:
    words = Through()
    o, read = words.algebra.vector("o_t", "V"), words.algebra.vector("z", "K")
    _, output = words.step(words.X.T @ words.Y @ words.P, words.algebra.zero("V", "1"))
    return (
        rf"{equation(o, words.X.T @ (words.Y @ read))} = {output.normal().tex()}, \; z \in \mathbb{{R}}^{{d_k}} "
        r"\quad\Rightarrow\quad \operatorname{rank} \bigl(\partial o_t / \partial x_j\bigr)_{t \ge s \ge j} \le d_k"
    )


@claim(
    statement=_statement,
    assumptions=(
        "$X$ and $Y$ have a row for each input up to token $s$, and $z$ is a column for each output from it on; later "
        "inputs are left out, which do not change the block.",
        "For one value channel; the channels do not meet.",
    ),
    scope=EverySize("T", "dk", "dv"),
    engine="words",
    source=cite("2405.21060", "abstract, on semiseparable matrices; with the delta rule it is ours"),
    code=(reference.step, reference.recurrent),
    rules=lambda rule: rule in (MAMBA2, GATED_DELTANET),
)
def input_output_matrix_has_semiseparable_rank_dk() -> Any:
    """Under scalar gates each block of the matrix from inputs to outputs on or below its diagonal has rank dk at most.

    It is a product of a column of dk numbers for each output and a row of dk numbers for each input.
    """
    return Through().residual()


def input_output(case: Case) -> Any:
    """Return the matrix from inputs to outputs of a case with as many value channels as tokens, by the code."""
    x = case.x
    inputs = 0 * x.v + np.eye(len(x), dtype=int)
    impulses = Token(q=x.q, k=x.k, v=inputs, g=x.g, b=x.b, w=x.w)
    _, o = reference.recurrent(0 * case.S, impulses, exp=case.exp, stack=case.stack)
    return o


def block(M: Any, rows: tuple[int, ...], columns: tuple[int, ...]) -> np.ndarray:
    """Return a square block of a matrix of any carrier, entry by entry."""
    found = np.empty((len(rows), len(columns)), dtype=object)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            found[i, j] = M[row, column]
    return found


def minors(M: Any, size: int, *, beyond: int = 0) -> Iterator[Any]:
    """Yield every determinant of this size in the blocks of rows from s on and columns up to s, and ``beyond`` it."""
    return (
        determinant(block(M, rows, columns))
        for s in range(len(M))
        for rows in combinations(range(s, len(M)), size)
        for columns in combinations(range(min(s + 1 + beyond, len(M))), size)
    )


@input_output_matrix_has_semiseparable_rank_dk.step(engine="ring", scope=Sizes(T=4, dk=1, dv=4))
def of_the_code_on_symbols(rule: WriteRule) -> Iterator[Any]:
    """By the code with one key channel: every determinant of order 2 on or below the diagonal vanishes."""
    return minors(input_output(symbols(rule, 4, 4, 1)), 2)


@input_output_matrix_has_semiseparable_rank_dk.step(engine="field", scope=POINTS)
def of_the_code_at_points(rule: WriteRule, rng: random.Random) -> Iterator[Any]:
    """By the code with two key channels: every determinant of order 3 on or below the diagonal vanishes."""
    return (minor for _ in range(POINTS.primes) for minor in minors(input_output(points(rule, 8, 8, 2, rng)), 3))


@input_output_matrix_has_semiseparable_rank_dk.refute
def one_less_than_dk(rule: WriteRule) -> Iterator[Any]:
    """The rank is said to be dk - 1."""
    return minors(input_output(symbols(rule, 3, 3, 2)), 2)


@input_output_matrix_has_semiseparable_rank_dk.refute
def blocks_across_the_diagonal(rule: WriteRule) -> Iterator[Any]:
    """The same is said of blocks that reach one column above the diagonal."""
    return minors(input_output(symbols(rule, 3, 3, 1)), 2, beyond=1)


@input_output_matrix_has_semiseparable_rank_dk.refute
def inputs_kept_without_the_transition() -> Any:
    """What the memory keeps of an input is said not to change."""
    return Through().residual(decayed=False)
