"""The chunk form with a decay and gates for each channel is the recurrence."""

from __future__ import annotations

import random
from typing import Any

from derivations.engines import arrays
from derivations.engines.algebra import Algebra, equation
from derivations.engines.cases import symbols
from derivations.engines.trees import Block, Expr
from derivations.models.gated_chunk import SHORTER_STREAM, chunk_against_recurrence, chunks_against_recurrence
from derivations.mutants.by_hand import planted
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import EverySize, Sizes
from gdn_core import reference
from gdn_core.rules import Gate, WriteRule


class ByChannel:
    """A chunk of n tokens and the next token, in words, with gates a channel.

    C is the diagonal of the decays from the start of the chunk to now, K the keys as they have decayed to now, N the
    errors; A, E and W are the new token's decay, erase and write gates, diagonal.
    """

    def __init__(self) -> None:
        a = self.algebra = Algebra()
        self.S0, self.N, self.K = (
            a.matrix("S_0", "V", "K"),
            a.matrix("N", "n", "V"),
            a.matrix("K", "n", "K", tex=r"\bar K"),
        )
        self.C, self.A, self.E = a.diagonal("C", "K"), a.diagonal("A", "K"), a.diagonal("E", "K")
        self.W = a.diagonal("W", "V")
        self.q, self.k, self.v = a.vector("q", "K"), a.vector("k", "K"), a.vector("v", "V")
        self.hypothesis = self.S0 @ self.C + self.N.T @ self.K

    def error(self, keys: Expr | None = None, read_by: Expr | None = None) -> Expr:
        """Return the error of the new token, from the keys as they have decayed to it."""
        keys = self.K @ self.A if keys is None else keys
        read_by = self.E @ self.k if read_by is None else read_by
        return self.W @ self.v - (self.S0 @ self.C @ self.A + self.N.T @ keys) @ read_by

    def residual(self, *, decay_of_keys: Expr | None = None, read_by: Expr | None = None) -> list[Any]:
        """Compare the chunk form of n + 1 tokens with the code's step on the memory of the hypothesis."""
        keys = self.K @ (self.A if decay_of_keys is None else decay_of_keys)
        error = self.error(keys, read_by)
        S = self.S0 @ self.C @ self.A + Block([[self.N], [error.T]]).T @ Block([[keys], [self.k.T]])
        x = arrays.token(q=self.q, k=self.k, v=self.v, decay=self.A, erase=self.E, write=self.W)
        want, o = reference.step(arrays.Array(self.hypothesis, 2), x, exp=arrays.exp)
        return [(S - want.word).normal(), (S @ self.q - o.word).normal()]


def decays_by_key_channel(rule: WriteRule) -> bool:
    """Hold for the rules with a decay for each key channel."""
    return rule.decay is Gate.KEY


def _statement_by_channel() -> str:
    words = ByChannel()
    S_n, nu = words.algebra.matrix("S_n", "V", "K"), words.algebra.vector("nu", "V", tex=r"\nu")
    return rf"{equation(S_n, words.hypothesis)}, \quad {equation(nu, words.error())}"


@claim(
    statement=_statement_by_channel,
    assumptions=(
        r"$C = \operatorname{diag}(\gamma_n)$, the decays of each key channel from the start; row $j$ of $\bar K$ is "
        r"$k_j \odot \gamma_n / \gamma_j$, and row $j$ of $N$ the error $\nu_j$; $A$, $E$ and $W$ hold the decays, the "
        r"erase gates and the write gates of token $n + 1$, and $\nu$ is its error.",
        r"The induction starts at the empty chunk, where $C = I$ and $N$ has no rows.",
    ),
    scope=EverySize("C", "dk", "dv"),
    engine="words",
    source=cite("2510.26692", "eqs. 2 to 9, sec. 3.1, for one erase gate"),
    code=(reference.step, reference.chunk),
    uses=("gated_chunk_equals_recurrence",),
    rules=decays_by_key_channel,
)
def chunk_by_channel_equals_recurrence() -> Any:
    """The chunk form with a decay, an erase and a write gate for each channel is the recurrence.

    The induction step, with diagonal gates of any size: a scalar gate is a diagonal of equal entries.
    """
    return ByChannel().residual()


@chunk_by_channel_equals_recurrence.step(engine="ring", scope=Sizes(C=4, dk=3, dv=2))
def code_by_channel_on_symbols(rule: WriteRule) -> Any:
    """The reference's chunk is the reference's recurrence."""
    return chunk_against_recurrence(symbols(rule, 4, 2, 3))


@chunk_by_channel_equals_recurrence.step(engine="field", scope=SHORTER_STREAM)
def code_by_channel_at_real_sizes(rule: WriteRule, rng: random.Random) -> Any:
    """The reference's chunks, one after the other, are the reference's recurrence."""
    return chunks_against_recurrence(rule, rng, SHORTER_STREAM)


@chunk_by_channel_equals_recurrence.refute
def keys_not_decayed_to_now() -> Any:
    """The earlier keys are not decayed by the new token."""
    words = ByChannel()
    return words.residual(decay_of_keys=words.algebra.identity("K"))


@chunk_by_channel_equals_recurrence.refute
def erase_gate_left_out() -> Any:
    """The erase gate is left out: the error is read with the key itself."""
    words = ByChannel()
    return words.residual(read_by=words.k)


@chunk_by_channel_equals_recurrence.refute
def decays_between_tokens_taken_from_the_start(rule: WriteRule) -> Any:
    """In the outputs a key is decayed from the start of the chunk, not from its own token."""
    wrong = planted(reference.chunk, "exp(G[i] - G[:i + 1])", "exp(G[i] + 0 * G[:i + 1])")
    return chunk_against_recurrence(symbols(rule, 2, 2, 3), wrong)
