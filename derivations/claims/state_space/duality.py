"""State space duality: a rule that erases nothing is masked attention, whatever its length."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np

from derivations.engines import arrays
from derivations.engines.algebra import Algebra, equation
from derivations.engines.cases import Case, points, scalar_gates, vectors
from derivations.engines.trees import Block, Expr
from derivations.engines.written import Kind, Written, letters
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import WIDE, EverySize, OverField
from gdn_core import reference
from gdn_core.reference import Array
from gdn_core.rules import MAMBA2, Gate, WriteRule

# A weight has a key, a query and the decays between; the output adds a value and, from a full memory, its own entries.
LONG = OverField(T=256, dk=128, dv=144)


def additive(rule: WriteRule) -> bool:
    """Tell whether a rule has a scalar decay or none, erases nothing and writes everything."""
    return scalar_gates(rule) and rule.erase is rule.write is Gate.NONE


class Duality:
    """n tokens of masked attention, and the next token, in words.

    Of the tokens so far, K and V are the keys and values, row by row; L is the diagonal of the decays from each of them
    to now, and c the decay from the start to now.
    """

    def __init__(self) -> None:
        a = self.algebra = Algebra("alpha c")
        self.alpha, self.c = a.all_scalars()
        self.S0, self.V, self.K = a.matrix("S_0", "V", "K"), a.matrix("V", "n", "V"), a.matrix("K", "n", "K")
        self.L = a.diagonal("L", "n", tex=r"\Lambda")
        self.q, self.k, self.v = a.vector("q", "K"), a.vector("k", "K"), a.vector("v", "V")
        self.hypothesis = self.c * self.S0 + self.V.T @ self.L @ self.K

    def attention(self, *, decay: Expr | None = None, own: int = 1) -> Expr:
        """Return the last output as attention: the row of the mask that belongs to it, times scores, times values."""
        a = self.algebra
        none, decay = a.zero("n", "1"), self.alpha if decay is None else decay
        row = Block([[decay * self.L, none], [none.T, a.number(own) * a.identity("1")]])
        keys, values = Block([[self.K], [self.k.T]]), Block([[self.V], [self.v.T]])
        return decay * self.c * (self.S0 @ self.q) + values.T @ row @ (keys @ self.q)

    def residual(self, output: Expr) -> list[Any]:
        """Compare an output, and the hypothesis of one more token, with the code's step on the hypothesis."""
        x = arrays.token(q=self.q, k=self.k, v=self.v, decay=self.alpha)
        S, o = reference.step(arrays.Array(self.hypothesis, 2), x, exp=arrays.exp)
        following = self.alpha * self.c * self.S0 + self.V.T @ (self.alpha * self.L) @ self.K + self.v @ self.k.T
        return [(output - o.word).normal(), (following - S.word).normal()]


def _statement() -> str:
    words = Duality()
    S_n = words.algebra.matrix("S_n", "V", "K")
    outputs = attention(Written(r"\gamma", Kind.COLUMN), *letters(Kind.MATRIX, "S_0", "Q", "K", "V", "L"))
    return (
        rf"O = {outputs}, \quad "
        rf"L_{{ij}} = \prod_{{s=j+1}}^{{i}} \alpha_s \text{{ for }} j \le i, \qquad {equation(S_n, words.hypothesis)}"
    )


@claim(
    statement=_statement,
    assumptions=(
        r"$L_{ij} = 0$ above the diagonal; $\Lambda$ holds the row of $L$ that belongs to token $n$; $\gamma$ and $c$ "
        r"are the decays from the start. From an empty memory the second term is 0.",
        r"The induction starts at no tokens, where $c = 1$.",
    ),
    scope=EverySize("T", "dk", "dv"),
    engine="words",
    source=cite("2405.21060", "secs. 4.3 and 5.1, eq. 16, structured masked attention"),
    code=(reference.step, reference.recurrent),
    rules=additive,
)
def additive_recurrence_is_masked_attention() -> Any:
    """A recurrence without erase is attention under a mask: the product of the decays between two tokens.

    The induction step: the token after n others reads the row of attention that belongs to it.
    """
    words = Duality()
    return words.residual(words.attention())


def attention(gamma: Array, S: Array, q: Array, k: Array, v: Array, mask: Array) -> Array:
    """Return the outputs as attention under a mask of decays."""
    return (mask * (q @ k.T)) @ v + gamma * (q @ S.T)


def masked_attention(case: Case, *, strict: bool = False, from_start: bool = False) -> tuple[Any, Any]:
    """Return the last memory and the outputs as masked attention."""
    T = len(case.x)
    G = [case.x.g[0, 0]]
    for t in range(1, T):
        G.append(G[-1] + case.x.g[t, 0])
    G = case.stack(G)
    causal = np.tri(T, T, -1 if strict else 0, dtype=int)
    between = case.exp(np.tri(T, T, 0, dtype=int) * (G - (0 * G.T if from_start else G.T)))
    gamma, to_end = case.exp(G), case.exp(G[T - 1] - G)
    return (
        gamma[T - 1] * case.S + case.x.v.T @ (to_end * case.x.k),
        attention(gamma, case.S, case.x.q, case.x.k, case.x.v, causal * between),
    )


def attention_against_recurrence(case: Case, **wrong: bool) -> dict[str, Any]:
    """Compare masked attention with the recurrence."""
    return case.compare(masked_attention(case, **wrong), case.run(reference.recurrent))


@additive_recurrence_is_masked_attention.step(engine="gram", scope=WIDE)
def the_code_on_vectors_of_any_width(rule: WriteRule) -> Any:
    """The reference's recurrence is masked attention."""
    return (attention_against_recurrence(vectors(rule, C)) for C in WIDE.lengths)


@additive_recurrence_is_masked_attention.step(engine="field", scope=LONG)
def the_code_at_real_sizes(rng: random.Random) -> Iterator[Any]:
    """The reference's recurrence under Mamba-2 is masked attention."""
    T, K, V = (size for _, size in LONG.sizes)
    cases = (points(MAMBA2, T, V, K, rng) for _ in range(LONG.primes))
    return (attention_against_recurrence(case) for case in cases)


@additive_recurrence_is_masked_attention.refute
def own_token_masked() -> Any:
    """The mask is strict: a token does not read what it has written itself."""
    words = Duality()
    return words.residual(words.attention(own=0))


@additive_recurrence_is_masked_attention.refute
def own_decay_left_out() -> Any:
    """The product of decays ends before the token that reads."""
    words = Duality()
    return words.residual(words.attention(decay=words.algebra.number(1)))


@additive_recurrence_is_masked_attention.refute(rules=lambda rule: rule.decay is not Gate.NONE)
def decays_counted_from_the_start(rule: WriteRule) -> Any:
    """The mask has the decays from the start of the stream, not from the token that wrote."""
    return attention_against_recurrence(vectors(rule, 3), from_start=True)


@additive_recurrence_is_masked_attention.refute
def strict_mask(rule: WriteRule) -> Any:
    """The mask is strict, with the code's own products."""
    return attention_against_recurrence(vectors(rule, 3), strict=True)
