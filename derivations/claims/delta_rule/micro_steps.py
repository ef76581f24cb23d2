"""DeltaProduct: several micro-steps a token are one product of transitions, in WY form."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from derivations.engines import arrays
from derivations.engines.algebra import Algebra, equation
from derivations.engines.cases import Case, points, symbols
from derivations.engines.trees import Block, Expr
from derivations.models.chunk_matrices import inverse_of_unit_lower, ut_transform
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import EverySize, OverField, Sizes
from gdn_core import reference
from gdn_core.rules import GATED_DELTANET

STREAM = OverField(C=8, dk=12, dv=10, T=24)  # micro-steps, three a token, so that chunks end within tokens


class MicroSteps:
    """The memory behind n micro-steps of a token, and one more, in words; W and U have a row for each."""

    def __init__(self) -> None:
        a = self.algebra = Algebra("alpha beta")
        self.alpha, self.beta = a.all_scalars()
        self.K, self.W, self.U = a.matrix("K", "n", "K"), a.matrix("W", "n", "K"), a.matrix("U", "n", "V")
        self.k, self.v, self.S0 = a.vector("k", "K"), a.vector("v", "V"), a.matrix("S_0", "V", "K")

    def memory(self, keys: Expr, W: Expr, U: Expr) -> Expr:
        """Return the memory in WY form: decayed once, times the product of the transitions, and what is written."""
        return self.alpha * (self.S0 @ (self.algebra.identity("K") - W.T @ keys)) + U.T @ keys

    def row(self, of: Expr, new: Expr) -> Expr:
        """Return the new row of W or U: the new key or value, less what the earlier rows answer to the key."""
        return self.beta * new.T - self.beta * (self.k.T @ self.K.T @ of)

    def residual(self, *, decay: Expr | int = 1, answered: bool = True) -> Any:
        """Compare one more micro-step of the code with one more row."""
        W, U = self.row(self.W, self.k), self.row(self.U, self.v) if answered else self.beta * self.v.T
        longer = Block([[self.K], [self.k.T]]), Block([[self.W], [W]]), Block([[self.U], [U]])
        x = arrays.token(q=self.k, k=self.k, v=self.v, decay=decay, erase=self.beta, write=self.beta)
        S, _ = reference.step(arrays.Array(self.memory(self.K, self.W, self.U), 2), x, exp=arrays.exp)
        return (S.word - self.memory(*longer)).normal()


def _statement() -> str:
    words = MicroSteps()
    S, w, u = (
        words.algebra.matrix(name, *size, tex=tex)
        for name, size, tex in (
            ("S_t", ("V", "K"), "S_t"),
            ("w", ("1", "K"), r"w_{n+1}^\top"),
            ("u", ("1", "V"), r"u_{n+1}^\top"),
        )
    )
    memory = equation(S, words.memory(words.K, words.W, words.U))
    rows = rf"{equation(w, words.row(words.W, words.k))}, \quad {equation(u, words.row(words.U, words.v))}"
    return rf"{memory}, \quad {rows}"


@claim(
    statement=_statement,
    assumptions=(
        r"$K$ holds the keys of a token's $n_h$ micro-steps, row by row; the memory decays once, before them.",
        r"With no micro-step $K$, $W$ and $U$ have no rows, and the memory is $\alpha S_0$.",
    ),
    scope=EverySize("n", "dk", "dv"),
    engine="words",
    source=cite("2502.10297", "abstract, and its code in fla, naive_recurrent_gated_delta_product"),
    code=(reference.step, reference.recurrent, reference.chunkwise),
    uses=("product_of_transitions_has_a_wy_form",),
)
def micro_steps_of_a_token_are_one_product() -> Any:
    """n_h micro-steps of a token are one transition, a decay times I less a matrix of rank n_h, and one write.

    The induction step: one more micro-step of the code adds a row to K, W and U.
    """
    return MicroSteps().residual()


def micro(case: Case, n: int, *, every: bool = False) -> Case:
    """Return a stream whose tokens decay only at the first of n micro-steps, or at ``every`` one."""
    first = np.arange(len(case.x)) % n == 0
    return case if every else replace(case, x=replace(case.x, g=case.x.g * (first.astype(int)[:, None, None])))


def by_tokens(case: Case, n: int) -> tuple[Any, Any]:
    """Run the tokens, each of n micro-steps, as one transition and one write; read behind each token."""
    S, outputs = case.S, []
    below = np.tri(n, n, -1, dtype=int)
    identity = np.eye(case.S.shape[1], dtype=int)
    for start in range(0, len(case.x), n):
        x = case.x[start : start + n]
        W, U = ut_transform(x, below, lambda A: inverse_of_unit_lower(A, case.stack))
        S = (case.exp(x.g[0]) * S) @ (identity - W.T @ x.k) + U.T @ x.k
        outputs.append(S @ x.q[n - 1])
    return S, case.stack(outputs)


def tokens_against_stream(case: Case, n: int, *, last: bool = True, **options: Any) -> dict[str, Any]:
    """Compare the tokens with the code on the stream of micro-steps, read at the last or first of each token."""
    S, o = case.run(reference.chunkwise, **options) if options else case.run(reference.recurrent)
    return case.compare(by_tokens(case, n), (S, o[n - 1 if last else 0 :: n]))


@micro_steps_of_a_token_are_one_product.step(engine="ring", scope=Sizes(T=4, dk=3, dv=2))
def two_micro_steps_in_the_code() -> Any:
    """By the code: a stream of micro-steps that is read behind every second is a product for each token."""
    return tokens_against_stream(micro(symbols(GATED_DELTANET, 4, 2, 3), 2), 2)


@micro_steps_of_a_token_are_one_product.step(engine="field", scope=STREAM)
def three_micro_steps_in_chunks(rng: random.Random) -> Iterator[Any]:
    """The code's chunks over the micro-steps, three a token, are a product for each token, wherever a chunk ends."""
    return (
        tokens_against_stream(micro(points(GATED_DELTANET, 24, 10, 12, rng), 3), 3, chunk_size=8)
        for _ in range(STREAM.primes)
    )


@micro_steps_of_a_token_are_one_product.refute
def decay_at_every_micro_step() -> Any:
    """Every micro-step decays."""
    words = MicroSteps()
    return words.residual(decay=words.alpha)


@micro_steps_of_a_token_are_one_product.refute
def written_as_if_nothing_were_answered() -> Any:
    """The rows of U leave out what the earlier micro-steps have written at the key."""
    return MicroSteps().residual(answered=False)


@micro_steps_of_a_token_are_one_product.refute
def decay_at_every_micro_step_in_the_code() -> Any:
    """Every micro-step decays, by the code."""
    return tokens_against_stream(micro(symbols(GATED_DELTANET, 2, 2, 2), 2, every=True), 2)


@micro_steps_of_a_token_are_one_product.refute
def read_after_the_first_micro_step() -> Any:
    """The output is read behind the first micro-step."""
    return tokens_against_stream(micro(symbols(GATED_DELTANET, 2, 2, 2), 2), 2, last=False)
