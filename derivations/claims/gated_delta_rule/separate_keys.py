"""Diagonal plus low rank: keys of their own to remove and to replace by, as in RWKV-7, are two tokens of the family."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from derivations.engines import arrays
from derivations.engines.algebra import Algebra, equation
from derivations.engines.cases import Case, Shapes, free_symbols
from derivations.engines.field import Field, stack
from derivations.engines.trees import Block, Expr
from derivations.mutants.by_hand import planted
from derivations.registry import claim
from derivations.scope import EverySize, OverField, Sizes
from gdn_core import reference
from gdn_core.reference import Token
from gdn_core.rules import Source

STREAM = OverField(C=16, T=70, dk=24, dv=20)  # tokens of the code, two for each of the model


class DiagonalPlusLowRank:
    """One token ``S A + (S a) r' + v k'`` in words: a is the key that is removed, r what it is replaced by."""

    def __init__(self) -> None:
        w = self.algebra = Algebra("")
        self.S, self.v, self.q = w.matrix("S", "V", "K"), w.vector("v", "V"), w.vector("q", "K")
        self.a, self.r, self.k = w.vector("a", "K"), w.vector("r", "K"), w.vector("k", "K")
        self.A, self.D = w.diagonal("A", "K"), w.diagonal("D", "K")
        self.A_inverse = w.inverse(self.A)
        w.rule(self.D @ self.r, -(self.A_inverse @ self.a))  # the erase gate by channel

    @property
    def wanted(self) -> Expr:
        """The memory behind the token."""
        return self.S @ self.A + (self.S @ self.a) @ self.r.T + self.v @ self.k.T

    def tokens(self, *, second_decays: bool = False, replaced_by: Expr | None = None) -> tuple[Expr, Expr]:
        """Return the memory and the output behind the code's two tokens: remove and replace, then write."""
        nothing = self.algebra.zero("V", "1")
        removed = arrays.token(
            q=self.q, k=self.r if replaced_by is None else replaced_by, v=nothing, decay=self.A, erase=self.D
        )
        written = arrays.token(q=self.q, k=self.k, v=self.v, decay=self.A if second_decays else 1)
        S, _ = reference.step(arrays.Array(self.S, 2), removed, exp=arrays.exp)
        S, o = reference.step(S, written, exp=arrays.exp)
        return S.word, o.word

    def residual(self, **wrong: Any) -> list[Any]:
        """Compare them with the token."""
        S, o = self.tokens(**wrong)
        return [(S - self.wanted).normal(), (o - self.wanted @ self.q).normal()]


class OfItsOwn(DiagonalPlusLowRank):
    """The chunk form of n tokens and the next one, in words, for replacement keys that may have zeros.

    U has the answers S a of the tokens so far, row by row, W their values; R and K have the keys to replace by and to
    write, as they have decayed to now, and C the decays from the start of the chunk.
    """

    def __init__(self) -> None:
        super().__init__()
        w = self.algebra
        self.S0, self.C = w.matrix("S_0", "V", "K"), w.diagonal("C", "K")
        self.U, self.W = w.matrix("U", "n", "V"), w.matrix("W", "n", "V")
        self.R, self.K = w.matrix("R", "n", "K", tex=r"\bar R"), w.matrix("Kn", "n", "K", tex=r"\bar K")

    def chunk(self, *, decayed: bool = False) -> Any:
        """Compare one more row with the token; ``decayed`` has the answer read behind the decay."""
        before = self.S0 @ self.C + self.U.T @ self.R + self.W.T @ self.K
        u = (before @ self.A if decayed else before) @ self.a  # from the rows above: forward substitution
        answers, values = Block([[self.U], [u.T]]), Block([[self.W], [self.v.T]])
        replaced, written = Block([[self.R @ self.A], [self.r.T]]), Block([[self.K @ self.A], [self.k.T]])
        S = self.S0 @ self.C @ self.A + answers.T @ replaced + values.T @ written
        wanted = before @ self.A + (before @ self.a) @ self.r.T + self.v @ self.k.T
        return (S - wanted).normal()


def _statement() -> str:
    words = DiagonalPlusLowRank()
    S = words.algebra.matrix("S_t", "V", "K", tex="S_t")
    return (
        rf"{equation(S, words.wanted)} \quad\text{{is two tokens: }} \alpha = A, \; k = r, \; v = 0, \; "
        rf"b \odot r = {(words.D @ words.r).normal().tex()} \text{{, then }} \alpha = 1, \; b = 0, \; w = 1: \; "
        rf"{words.tokens()[0].normal().tex()}"
    )


@claim(
    statement=_statement,
    assumptions=(
        "$A$ is diagonal, and no decay is 0. A gate $b$ for each key channel is $-A^{-1} a / r$, so $r$ has no zeros.",
        r"RWKV-7 removes $a = -\hat\kappa$ and replaces by $r = a' \odot \hat\kappa$, with its own $a'$.",
    ),
    scope=EverySize("dk", "dv"),
    engine="words",
    source=Source(
        "github.com/fla-org/flash-linear-attention",
        "fla/ops/generalized_delta_rule/dplr/naive.py, dplr_recurrence",
        "flash-linear-attention",
    ),
    code=(reference.step, reference.recurrent, reference.chunkwise),
    uses=("chunk_by_channel_equals_recurrence", "every_rule_has_a_chunk_form"),
)
def separate_removal_keys_are_two_tokens_of_the_family() -> Any:
    """A memory that removes at one key and replaces by another, without zeros, is an erase by channel, then a write.

    So it needs no token of its own, and its chunk form is that of the family, over twice as many tokens.
    """
    return DiagonalPlusLowRank().residual()


@separate_removal_keys_are_two_tokens_of_the_family.step(engine="words", scope=EverySize("C", "dk", "dv"))
def a_chunk_form_of_its_own() -> Any:
    r"""It has a chunk form of its own as well, with one row a token, for any keys, zeros included.

    The induction step from $S_n = S_0 C + U^\top \bar R + W^\top \bar K$: the next answer $u = S_n a$ follows from the
    rows above, which makes the answers the solution of a triangular system, and $S_{n+1}$ has one more row of each.
    """
    return OfItsOwn().chunk()


@separate_removal_keys_are_two_tokens_of_the_family.refute
def chunk_that_answers_behind_the_decay() -> Any:
    """In the chunk form of its own the removal key is answered behind the decay."""
    return OfItsOwn().chunk(decayed=True)


def sizes_of(T: int, V: int, K: int) -> Shapes:
    """Return the shapes of T tokens of the code: decays and erase gates by key channel, and a scalar write gate."""
    return {"S": (V, K), "q": (T, K), "k": (T, K), "v": (T, V), "g": (T, 1, K), "b": (T, K), "w": (T, 1)}


def paired(case: Case) -> Case:
    """Return a stream whose even tokens remove and replace and whose odd tokens write, each one half of the model's."""
    x, odd = case.x, np.arange(len(case.x)) % 2
    even = 1 - odd
    tokens = Token(
        q=x.q, k=x.k, v=x.v * odd[:, None], g=x.g * even[:, None, None], b=x.b * even[:, None], w=0 * x.w + 1
    )
    return Case(case.S, tokens, case.exp, case.stack, case.residual)


def of_the_model(case: Case, *, decayed: bool = False) -> tuple[Any, Any]:
    """Run the model by its definition on the pairs; ``decayed`` reads at the removal key behind the decay."""
    S, x, outputs = case.S, case.x, []
    for t in range(0, len(x), 2):
        A, r, k, v = case.exp(x.g[t]), x.k[t], x.k[t + 1], x.v[t + 1]
        a = 0 * r - A[0] * (x.b[t] * r)  # b * r = -a / A
        S = S * A + ((S * A if decayed else S) @ a)[:, None] * r[None, :] + v[:, None] * k[None, :]
        outputs.append(S @ x.q[t + 1])
    return S, case.stack(outputs)


def against_the_code(case: Case, code: Any = reference.recurrent, *, decayed: bool = False, **options: int) -> Any:
    """Compare the model with the code's tokens, read behind every second."""
    case = paired(case)
    S, o = case.run(code, **options)
    return case.compare(of_the_model(case, decayed=decayed), (S, o[1::2]))


@separate_removal_keys_are_two_tokens_of_the_family.step(engine="ring", scope=Sizes(T=4, dk=2, dv=2))
def two_tokens_in_the_code() -> Any:
    """By the code's recurrence on symbols."""
    return against_the_code(free_symbols(sizes_of(4, 2, 2)))


@separate_removal_keys_are_two_tokens_of_the_family.step(engine="field", scope=STREAM)
def chunks_of_the_code(rng: random.Random) -> Iterator[Any]:
    """The chunk form: the code's chunks over both halves are the model's recurrence."""
    return (against_the_code(drawn(70, 20, 24, rng), reference.chunkwise, chunk_size=16) for _ in range(STREAM.primes))


def drawn(T: int, V: int, K: int, rng: random.Random) -> Case:
    """Draw a memory and a stream."""
    numbers = Field(rng)
    letters = numbers.letters(sizes_of(T, V, K))
    S = letters.pop("S")
    return Case(S, Token(**letters), numbers.exp, stack, numbers.residual)


@separate_removal_keys_are_two_tokens_of_the_family.refute
def write_decays_too() -> Any:
    """The second token decays the memory again."""
    return DiagonalPlusLowRank().residual(second_decays=True)


@separate_removal_keys_are_two_tokens_of_the_family.refute
def replaced_by_the_write_key() -> Any:
    """What is removed is replaced along the key that is written."""
    words = DiagonalPlusLowRank()
    return words.residual(replaced_by=words.k)


@separate_removal_keys_are_two_tokens_of_the_family.refute
def removed_behind_the_decay() -> Any:
    """The memory is read at the removal key behind the decay."""
    return against_the_code(free_symbols(sizes_of(2, 2, 2)), decayed=True)


@separate_removal_keys_are_two_tokens_of_the_family.refute
def memory_before_a_chunk_not_decayed(rng: random.Random) -> Any:
    """The code's chunk does not decay the memory before it."""
    wrong = planted(reference.chunk, "gamma[C - 1] * S", "S")
    return against_the_code(drawn(4, 2, 3, rng), wrong)
