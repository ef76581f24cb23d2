"""The two failures of the additive memory: keys collide, and what was written last is not what is read."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from derivations.claim import Counterexample, EverySize, Sizes, claim
from derivations.engines import arrays
from derivations.engines.ring import Ring
from derivations.engines.trees import Block, Expr
from derivations.engines.words import Algebra, equation
from gdn_core import reference
from gdn_core.reference import Array, Token
from gdn_core.rules import Source

SCHLAG = "Linear Transformers Are Secretly Fast Weight Programmers"
CAPACITY = Source("2102.11174", "sec. 4.1", SCHLAG)
ADDITIVE = Source("2102.11174", "eqs. 17 to 19, sec. 3.2", SCHLAG)
DELTA = Source("2102.11174", "eqs. 20 to 25, sec. 4.2", SCHLAG)
DECAYED = Source("2412.06464", "sec. 2.1", "Gated Delta Networks: Improving Mamba2 with Delta Rule")


def step(S: Expr, *, k: Expr, v: Expr, q: Expr | None = None, **gates: Expr | int) -> tuple[Expr, Expr]:
    """Run the code's step on words; return the new memory and the output."""
    x = arrays.token(q=k if q is None else q, k=k, v=v, **gates)
    written, read = reference.step(arrays.Array(S, 2), x, exp=arrays.exp)
    return written.word, read.word


class Additive:
    """The letters of an additive memory of n writes, the keys K and values N row by row, and of one more write."""

    def __init__(self, scalars: str = "alpha beta c kappa") -> None:
        words = self.algebra = Algebra(scalars)
        self.K, self.N, self.S0 = (
            words.matrix("K", "n", "K"),
            words.matrix("N", "n", "V"),
            words.matrix("S_0", "V", "K"),
        )
        self.k, self.v, self.q = words.vector("k", "K"), words.vector("v", "V"), words.vector("q", "K")
        self.memory = self.N.T @ self.K

    @property
    def longer(self) -> Expr:
        """The memory of n + 1 writes."""
        return Block([[self.N], [self.v.T]]).T @ Block([[self.K], [self.k.T]])

    @property
    def answer(self) -> Expr:
        """What it answers to the last key: its value, and the others weighed by how far the keys overlap."""
        return (self.k.T @ self.k) * self.v + self.N.T @ self.K @ self.k


# 9. Keys collide.


def _interference() -> str:
    words = Additive()
    written, _ = step(words.memory, k=words.k, v=words.v)
    orthonormal = words.algebra.matrix("S'", "K", "V", tex=r"S^\top")
    return (
        rf"S = {written.normal().tex()}: \quad S k = {words.answer.tex()}, \quad "
        rf"{equation(words.K @ words.K.T, words.algebra.identity('n'))} \;\Rightarrow\; "
        rf"{equation(words.K @ orthonormal, words.N)} \text{{ for }} S = {words.memory.tex()}"
    )


@claim(
    statement=_interference,
    assumptions=("The memory starts empty, and $K$ and $N$ hold the keys and values written, row by row.",),
    scope=EverySize("n", "dk", "dv"),
    engine="words",
    source=CAPACITY,
    code=(reference.step,),
)
def memory_answers_the_value_and_the_overlaps() -> Any:
    """An additive memory answers a key with its value and with every other value, weighed by how far the keys overlap.

    The induction step: one more write by the code makes the memory N'K of one more row; and with a row (k, v) set
    apart from the others, a unit key k is answered by v and by N'(K k), the others weighed by their overlaps.
    """
    words = Additive()
    written, read = step(words.memory, k=words.k, v=words.v)
    return [(written - words.longer).normal(), (read - words.answer).normal()]


@memory_answers_the_value_and_the_overlaps.step(engine="words", scope=EverySize("n", "dk", "dv"))
def orthonormal_keys_are_recalled() -> Any:
    """Where the keys are orthonormal every value is recalled exactly, all of them at once: K S' = K K' N = N."""
    words = Additive()
    words.algebra.rule(words.K @ words.K.T, words.algebra.identity("n"))
    return (words.K @ words.memory.T - words.N).normal()


def recalls(n: int, V: int, K: int) -> tuple[Ring, Token, list[Array]]:
    """Write n pairs on symbols by the code, and read the memory with every key."""
    ring = Ring(k=(n, K), v=(n, V), g=(n, 1, 1), never=())
    none = 0 * ring["v"][:, :1]
    x = Token(q=ring["k"], k=ring["k"], v=ring["v"], g=0 * ring["g"], b=none, w=none + 1)
    S, _ = reference.recurrent(0 * ring["v"][0][:, None] * ring["k"][0][None], x, exp=ring.exp)
    return ring, x, [S @ key for key in ring["k"]]


def overlap_residual(*, own: bool) -> Any:
    """Compare what the code answers to each key with the sum over values; ``own`` weighs a key's own value too."""
    ring, x, answers = recalls(4, 2, 3)
    weight = x.k @ x.k.T
    wanted = [sum(x.v[i] * (weight[i, j] if own or i != j else 1) for i in range(4)) for j in range(4)]
    return [ring.residual(answer, value) for answer, value in zip(answers, wanted, strict=True)]


@memory_answers_the_value_and_the_overlaps.step(engine="ring", scope=Sizes(n=4, dk=3, dv=2))
def the_code() -> Any:
    """What the code answers to each of four keys is the sum over all values, weighed by the inner products."""
    return overlap_residual(own=True)


@memory_answers_the_value_and_the_overlaps.refute
def recalled_whatever_the_keys() -> Any:
    """Every value is said to be recalled, with keys that are not orthonormal."""
    words = Additive()
    return (words.K @ words.memory.T - words.N).normal()


@memory_answers_the_value_and_the_overlaps.refute
def length_of_the_key_left_out() -> Any:
    """A key of any length is said to be answered by its value with weight 1."""
    return overlap_residual(own=False)


class TooMany:
    """One more pair than the keys have channels: some c that is not zero has c'K = 0, for any S to run into."""

    def __init__(self, *, dependent: bool = True) -> None:
        words = self.algebra = Algebra("")
        self.c, self.K, self.S = words.vector("c", "n"), words.matrix("K", "n", "K"), words.matrix("S", "V", "K")
        self.v = words.vector("v", "V")
        if dependent:
            words.rule(self.c.T @ self.K, words.zero("1", "K"))

    def error(self) -> tuple[Expr, Expr]:
        """Return c' of the recall error for the values c v', and what it is: -|c|^2 v', whatever S is."""
        error = self.K @ self.S.T - self.c @ self.v.T  # row i: S k_i less the value c_i v
        return self.c.T @ error, -((self.c.T @ self.c) * self.v.T)

    def residual(self) -> Any:
        """Compare the two."""
        error, left = self.error()
        return (error - left).normal()


def _too_many() -> str:
    words = TooMany()
    dependence = equation(words.c.T @ words.K, words.algebra.zero("1", "K"))
    return rf"{dependence} \;\Rightarrow\; {equation(*words.error())} \ne 0 \quad\text{{for every }} S"


@claim(
    statement=_too_many,
    assumptions=(
        r"$n > d_k$ keys in $\mathbb{R}^{d_k}$ are linearly dependent: some $c \ne 0$ has $\sum_i c_i k_i = 0$.",
        r"The values to recall are $c_i v$ for some $v \ne 0$.",
    ),
    scope=EverySize("dk", "dv"),
    engine="words",
    source=CAPACITY,
)
def more_pairs_than_channels_cannot_all_be_recalled() -> Any:
    """With n = dk + 1 pairs no matrix at all, however it is written, recalls arbitrary values."""
    return TooMany().residual()


def cofactors(keys: Array) -> Array:
    """Return c with sum c_i k_i = 0 for dk + 1 keys: the signed minors, by Laplace along a repeated column."""
    return np.array([(-1) ** i * _determinant(np.delete(keys, i, axis=0)) for i in range(len(keys))], dtype=object)


def _determinant(square: Array) -> Any:
    if len(square) == 1:
        return square[0, 0]
    minors = (np.delete(np.delete(square, 0, axis=0), j, axis=1) for j in range(len(square)))
    return sum((-1) ** j * square[0, j] * _determinant(minor) for j, minor in enumerate(minors))


@more_pairs_than_channels_cannot_all_be_recalled.step(engine="ring", scope=Sizes(dk=3))
def dependence_in_symbols() -> Any:
    """Four keys of three channels: their signed minors are such a c, and not zero for keys in general."""
    keys = Ring(k=(4, 3))["k"]
    return cofactors(keys) @ keys


@more_pairs_than_channels_cannot_all_be_recalled.refute
def independent_keys() -> Any:
    """The keys are not dependent, as dk of them need not be: then some S recalls any values."""
    return TooMany(dependent=False).residual()


@more_pairs_than_channels_cannot_all_be_recalled.refute
def as_many_pairs_as_channels() -> Any:
    """Recall is said to fail with dk pairs already; orthonormal keys recall them, by the code."""
    keys = np.array(np.eye(3, dtype=int), dtype=object)
    values = np.array([[Fraction(i * j + 1) for j in range(2)] for i in range(3)], dtype=object)
    none = np.zeros((3, 1), dtype=object)
    x = Token(q=keys, k=keys, v=values, g=np.zeros((3, 1, 1), dtype=object), b=none, w=none + 1)
    S, _ = reference.recurrent(np.zeros((2, 3), dtype=object), x, exp=lambda g: g + 1)
    wrong_by = [not (S @ key - value).any() for key, value in zip(keys, values, strict=True)]
    return sum(wrong_by)  # pairs recalled where none should be


# 10. No recency.


def both_orders(**gates: Any) -> tuple[Expr, Expr]:
    """Write two tokens in both orders, by the code; return the memories."""
    words = Additive()
    other_k, other_v = words.algebra.vector("k'", "K"), words.algebra.vector("v'", "V")
    made = {name: words.algebra.scalar(gate) if isinstance(gate, str) else gate for name, gate in gates.items()}
    first, second = {"k": words.k, "v": words.v}, {"k": other_k, "v": other_v}
    one = step(step(words.S0, **first, **made)[0], **second, **made)[0]
    return one, step(step(words.S0, **second, **made)[0], **first, **made)[0]


def exchanged(**gates: Any) -> Any:
    """Return the difference of the memories of two tokens in both orders."""
    one, other = both_orders(**gates)
    return (one - other).normal()


def permuted() -> tuple[Expr, Expr]:
    """Return the rows of K and N in another order, as a memory, and as they were."""
    words = Additive()
    P = words.algebra.matrix("P", "n", "n")
    words.algebra.rule(P.T @ P, words.algebra.identity("n"))
    return (P @ words.N).T @ (P @ words.K), words.memory


@claim(
    statement=lambda: (
        rf"S_2 = {both_orders()[0].normal().tex()} \text{{ in either order}}, \quad "
        rf"{equation(*permuted())} \text{{ for every permutation }} P"
    ),
    scope=EverySize("T", "dk", "dv"),
    engine="words",
    source=ADDITIVE,
    code=(reference.step,),
)
def additive_memory_forgets_the_order() -> Any:
    """The additive memory does not depend on the order of the writes: it cannot know what is recent.

    Two neighbouring writes may be exchanged, and exchanges of neighbours make every order.
    """
    return exchanged()


@additive_memory_forgets_the_order.step(engine="words", scope=EverySize("n", "dk", "dv"))
def every_permutation_at_once() -> Any:
    """A permutation of the rows of K and N leaves N'K as it is."""
    moved, memory = permuted()
    return (moved - memory).normal()


@additive_memory_forgets_the_order.refute
def under_a_decay() -> Any:
    """The same under a decay, which makes the order count."""
    return exchanged(decay="alpha")


@additive_memory_forgets_the_order.refute
def under_the_delta_rule() -> Any:
    """The same under the delta rule, where the later write wins."""
    return exchanged(erase="beta", write="beta")


class Weighed:
    """An additive memory under decays: the weights of the n writes so far on the diagonal of L, by hypothesis."""

    def __init__(self) -> None:
        self.words = Additive()
        self.alpha, _, self.c, _ = self.words.algebra.all_scalars()
        self.L = self.words.algebra.diagonal("L", "n", tex=r"\Lambda")
        self.memory = self.c * self.words.S0 + self.words.N.T @ self.L @ self.words.K

    def longer(self, *, own: Expr | int = 1, before: Expr | None = None) -> Expr:
        """Return the memory with one more write, of weight ``own``; ``before`` are the weights of the others."""
        words = self.words
        empty = words.algebra.zero("n", "1")
        own = words.algebra.number(own) if isinstance(own, int) else own
        weights = Block([[self.alpha * self.L if before is None else before, empty], [empty.T, own]])
        rows = Block([[words.K], [words.k.T]])
        return self.alpha * self.c * words.S0 + Block([[words.N], [words.v.T]]).T @ weights @ rows

    def residual(self, longer: Expr) -> Any:
        """Compare a longer memory with one more step of the code."""
        written, _ = step(self.memory, k=self.words.k, v=self.words.v, decay=self.alpha)
        return (written - longer).normal()


def _weighed() -> str:
    weighed = Weighed()
    S = weighed.words.algebra.matrix("S_n", "V", "K")
    return (
        rf"{equation(S, weighed.memory)}, \quad c = \prod_{{t \le n}} \alpha_t, \quad "
        r"\Lambda = \operatorname{diag}_i \Bigl(\prod_{t = i + 1}^{n} \alpha_t\Bigr)"
    )


@claim(
    statement=_weighed,
    scope=EverySize("T", "dk", "dv"),
    engine="words",
    source=DECAYED,
    code=(reference.step,),
)
def write_weighs_the_decays_since() -> Any:
    """Under a decay the weight of a write is the product of the decays since: recency, whatever the token says.

    The induction step: one more token multiplies every weight by its decay, and enters with weight 1. With no token
    the memory is S_0 and c = 1.
    """
    weighed = Weighed()
    return weighed.residual(weighed.longer())


@write_weighs_the_decays_since.step(engine="ring", scope=Sizes(T=4, dk=2, dv=3))
def the_code_over_four_tokens() -> Any:
    """The code's memory after four tokens is the sum of the writes, each times the decays of the tokens behind it."""
    return four_tokens(since=1)


def four_tokens(*, since: int) -> Any:
    """Compare the code's memory with weighed writes, the decays counted from ``since`` tokens after each write."""
    T, V, K = 4, 3, 2
    ring = Ring(exponentials={"a": (T, 1, 1)}, g=(T, 1, 1), S=(V, K), k=(T, K), v=(T, V))
    ring.let_exp(ring["g"], "a")
    none = 0 * ring["v"][:, :1]
    x = Token(q=ring["k"], k=ring["k"], v=ring["v"], g=ring["g"], b=none, w=none + 1)
    S, _ = reference.recurrent(ring["S"], x, exp=ring.exp)
    a = ring["a"][:, 0, 0]
    writes = [x.v[i][:, None] * x.k[i][None, :] * np.prod(a[i + since :]) for i in range(T)]
    return ring.residual(S, ring["S"] * np.prod(a) + sum(writes[1:], writes[0]))


@write_weighs_the_decays_since.refute
def own_decay_counted() -> Any:
    """A write is said to be decayed by its own token too."""
    weighed = Weighed()
    return weighed.residual(weighed.longer(own=weighed.alpha))


@write_weighs_the_decays_since.refute
def own_decay_counted_in_the_code() -> Any:
    """The same, against the code over four tokens."""
    return four_tokens(since=0)


@write_weighs_the_decays_since.refute
def weights_that_do_not_fade() -> Any:
    """The weights of the earlier writes stay as they were."""
    weighed = Weighed()
    return weighed.residual(weighed.longer(before=weighed.L))


# 11. The same key, a new value.


class Rewrite:
    """Two writes under one key, and what the key answers then."""

    def __init__(self, *, unit: bool = True) -> None:
        words = self.algebra = Algebra("beta")
        self.S, self.k = words.matrix("S", "V", "K"), words.vector("k", "K")
        self.v1, self.v2 = words.vector("v_1", "V"), words.vector("v_2", "V")
        if unit:
            words.rule(self.k.T @ self.k, 1)

    def answer(self, **gates: Any) -> Expr:
        """Write v_1 and then v_2 under the key, by the code, and read the key."""
        S, _ = step(self.S, k=self.k, v=self.v1, **gates)
        return step(S, k=self.k, v=self.v2, **gates)[1]


def _rewrite() -> str:
    words = Rewrite()
    return (
        rf"\text{{additive: }} S_2 k = {words.answer().normal().tex()}, \quad "
        rf"\text{{delta rule, }} \beta = 1: \; S_2 k = {words.answer(erase=1, write=1).normal().tex()}"
    )


@claim(
    statement=_rewrite,
    assumptions=(r"$\|k\| = 1$; $S_2$ is the memory $S$ after writing $v_1$ and then $v_2$ under $k$.",),
    scope=EverySize("dk", "dv"),
    engine="words",
    source=DELTA,
    code=(reference.step,),
)
def new_value_replaces_the_old_only_under_the_delta_rule() -> Any:
    """A key written twice answers both values, added, under the additive rule, and the new one under the delta rule.

    The additive answer also keeps what the memory held before; the answer of the delta rule does not depend on it.
    """
    words = Rewrite()
    return [
        (words.answer() - (words.S @ words.k + words.v1 + words.v2)).normal(),
        (words.answer(erase=1, write=1) - words.v2).normal(),
    ]


@new_value_replaces_the_old_only_under_the_delta_rule.step(
    engine="exact", scope=Counterexample("V = K = 2, in numbers")
)
def in_numbers() -> Any:
    """At k = (3/5, 4/5), v_1 = (1, 2), v_2 = (5, -1) the additive memory answers (6, 1), the delta rule (5, -1)."""
    key = np.array([Fraction(3, 5), Fraction(4, 5)], dtype=object)
    values = [np.array([Fraction(1), Fraction(2)]), np.array([Fraction(5), Fraction(-1)])]
    zero, one = np.array([Fraction(0)]), np.array([Fraction(1)])
    found = []
    for erase in (zero, one):
        S = np.full((2, 2), Fraction(0), dtype=object)
        for value in values:
            x = Token(q=key, k=key, v=value, g=np.array([[0]]), b=erase, w=one)
            S, o = reference.step(S, x, exp=lambda g: 1 + g)
        found.append(o)
    return [found[0] - np.array([6, 1]), found[1] - values[1]]


@new_value_replaces_the_old_only_under_the_delta_rule.refute
def additive_rule_replaces() -> Any:
    """The additive rule is said to answer v_2."""
    words = Rewrite()
    return (words.answer() - words.v2).normal()


@new_value_replaces_the_old_only_under_the_delta_rule.refute
def key_of_any_length() -> Any:
    """The key is not of unit length: the delta rule with beta = 1 does not answer v_2."""
    words = Rewrite(unit=False)
    return (words.answer(erase=1, write=1) - words.v2).normal()


@new_value_replaces_the_old_only_under_the_delta_rule.refute
def gate_that_is_not_one() -> Any:
    """A gate beta that is not 1: part of the old answer stays."""
    words = Rewrite()
    beta = words.algebra.scalar("beta")
    return (words.answer(erase=beta, write=beta) - words.v2).normal()
