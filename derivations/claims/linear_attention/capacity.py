"""Interference of keys in an additive memory, and the number of pairs that any memory can hold."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from derivations.engines.algebra import Algebra, equation
from derivations.engines.ring import Ring, determinant
from derivations.engines.trees import Expr
from derivations.models.additive_memory import Additive, step
from derivations.papers import cite
from derivations.registry import claim
from derivations.scope import EverySize, Sizes
from gdn_core import reference
from gdn_core.reference import Array, Token


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
    source=cite("2102.11174", "sec. 4.1"),
    code=(reference.step,),
)
def memory_answers_the_value_and_the_overlaps() -> Any:
    """An additive memory answers a key with its value plus every other value times the inner product of the keys.

    The induction step: one more write by the code makes the memory N'K with one more row. And for a row (k, v) beside
    the others, the answer to a unit key k is v plus N'(K k), the other values times their keys' inner products with k.
    """
    words = Additive()
    written, read = step(words.memory, k=words.k, v=words.v)
    return [(written - words.longer).normal(), (read - words.answer).normal()]


@memory_answers_the_value_and_the_overlaps.step(engine="words", scope=EverySize("n", "dk", "dv"))
def orthonormal_keys_are_recalled() -> Any:
    """If the keys are orthonormal, all values are recalled exactly: K S' = K K' N = N."""
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
    """Compare the code's answer to each key with the weighted sum of values; ``own`` weights its own value too."""
    ring, x, answers = recalls(4, 2, 3)
    weight = x.k @ x.k.T
    wanted = [sum(x.v[i] * (weight[i, j] if own or i != j else 1) for i in range(4)) for j in range(4)]
    return [ring.residual(answer, value) for answer, value in zip(answers, wanted, strict=True)]


@memory_answers_the_value_and_the_overlaps.step(engine="ring", scope=Sizes(n=4, dk=3, dv=2))
def the_code() -> Any:
    """The code's answer to each of four keys is the sum of all values, weighted by the inner products."""
    return overlap_residual(own=True)


@memory_answers_the_value_and_the_overlaps.refute
def recalled_whatever_the_keys() -> Any:
    """Every value is said to be recalled, with keys that are not orthonormal."""
    words = Additive()
    return (words.K @ words.memory.T - words.N).normal()


@memory_answers_the_value_and_the_overlaps.refute
def length_of_the_key_left_out() -> Any:
    """The weight of a key's own value is said to be 1 whatever the length of the key."""
    return overlap_residual(own=False)


class TooMany:
    """One more pair than key channels: then c'K = 0 for some c that is not zero."""

    def __init__(self, *, dependent: bool = True) -> None:
        words = self.algebra = Algebra("")
        self.c, self.K, self.S = words.vector("c", "n"), words.matrix("K", "n", "K"), words.matrix("S", "V", "K")
        self.v = words.vector("v", "V")
        if dependent:
            words.rule(self.c.T @ self.K, words.zero("1", "K"))

    def error(self) -> tuple[Expr, Expr]:
        """Return c' times the recall error for the values c v', and its value -|c|^2 v', for any S."""
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
    source=cite("2102.11174", "sec. 4.1"),
)
def more_pairs_than_channels_cannot_all_be_recalled() -> Any:
    """For n = dk + 1 pairs no matrix, however it is written, recalls arbitrary values."""
    return TooMany().residual()


def cofactors(keys: Array) -> Array:
    """Return c with sum c_i k_i = 0 for dk + 1 keys: the signed minors, by Laplace along a repeated column."""
    return np.array([(-1) ** i * determinant(np.delete(keys, i, axis=0)) for i in range(len(keys))], dtype=object)


@more_pairs_than_channels_cannot_all_be_recalled.step(engine="ring", scope=Sizes(dk=3))
def dependence_in_symbols() -> Any:
    """Four keys of three channels: their signed minors are such a c, and none is zero for keys in general."""
    keys = Ring(k=(4, 3))["k"]
    c = cofactors(keys)
    return {"combination": c @ keys, "not zero": "" if c.all() else "a minor is zero for all keys"}


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
