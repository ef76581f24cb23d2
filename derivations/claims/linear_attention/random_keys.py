"""Recall of random keys: what the other keys add to an answer on average."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from derivations.engines import arrays
from derivations.engines.algebra import Algebra, equation
from derivations.engines.ring import Ring
from derivations.engines.trees import Expr
from derivations.papers import ours
from derivations.registry import claim
from derivations.scope import Every, EverySize
from gdn_core import reference
from gdn_core.reference import Token


class Recall:
    """The squared error of the answer to a key c of length 1 when one more pair is written, in words.

    ``m I`` is the mean of k k' over the new key, and t its size, so that the mean of a power of t can be taken.
    """

    def __init__(self) -> None:
        a = self.algebra = Algebra("t m")
        self.t, self.m = a.all_scalars()
        self.S, self.c, self.k = a.matrix("S", "V", "K"), a.vector("c", "K"), a.vector("k", "K")
        self.v, self.e, self.wanted = a.vector("v", "V"), a.vector("e", "V"), a.vector("v_c", "V")
        a.rule(self.c.T @ self.c, a.number(1))

    def following(self) -> Expr:
        """Return the error behind the new pair, by the code, less that before it."""
        x = arrays.token(q=self.c, k=self.t * self.k, v=self.v)
        _, read = reference.step(arrays.Array(self.S, 2), x, exp=arrays.exp)
        return (read.word - self.wanted) - (self.S @ self.c - self.wanted)

    def squared(self) -> Expr:
        """Return the squared error behind the new pair, of the error e before it."""
        error = self.e + self.t * ((self.k.T @ self.c) * self.v)
        return error.T @ error

    def mean(self, n: int) -> Expr:
        """Return the mean of the part of the squared error of order n in the key: of order 1 it is 0."""
        of_keys = self.m * self.algebra.identity("K")  # of k k'
        return (self.e.T @ self.e, 0 * self.m, (self.c.T @ of_keys @ self.c) * (self.v.T @ self.v))[n]

    def residual(self, *, centred: bool = True) -> dict[str, Any]:
        """Return the residuals of one more pair: its error, and each part of the squared error before the mean."""
        along = self.k.T @ self.c
        of_keys = self.k @ self.k.T
        parts = (
            self.e.T @ self.e,
            2 * along * (self.v.T @ self.e),
            (self.c.T @ of_keys @ self.c) * (self.v.T @ self.v),
        )
        squared = self.squared().normal()
        found = {f"order {n}": squared.part("t", n) - part.normal() for n, part in enumerate(parts)}
        if not centred:
            found["order 1"] = squared.part("t", 1) - self.mean(1).normal()
        return {
            "the code": (self.following() - self.t * (along * self.v)).normal(),
            **found,
            "mean": (self.mean(2) - self.m * (self.v.T @ self.v)).normal(),
        }


def _statement() -> str:
    words = Recall()
    added = words.mean(2).normal().tex()
    means = (("x", r"\mathbb E |e'|^2"), ("y", r"\mathbb E |e|^2"))
    x, y = (words.algebra.vector(name, "1", tex=tex) for name, tex in means)
    return (
        rf"e' = e + {(words.following()).normal().part('t', 1).tex()}, \quad {equation(x, y)} + {added}, \; "
        r"m = \tfrac{1}{d_k} \;\Rightarrow\; \mathbb E |e|^2 = \frac{n - 1}{d_k} "
        r"\text{ for } n \text{ pairs}, \; |v_i| = 1"
    )


@claim(
    statement=_statement,
    assumptions=(
        r"The keys are independent, with mean 0 and $\mathbb E[k k^\top] = I / d_k$; the values do not depend on them.",
        r"The memory starts empty, and $e$ is the error of the answer to a key $c$ of length 1 that is stored itself: "
        "without other keys it is 0.",
    ),
    scope=EverySize("n", "dk", "dv"),
    engine="words",
    source=ours("the mean over the keys, one pair at a time"),
    code=(reference.step,),
    uses=("memory_answers_the_value_and_the_overlaps",),
)
def random_keys_are_recalled_with_error_n_over_d() -> Any:
    """An additive memory of n random keys and values of length 1 answers each with a mean squared error (n - 1) / dk.

    The induction step: one more pair adds (k'c) v to the error. The mean of the part that is linear in k is 0, and that
    of (c'k)(k'c) is c' (I / dk) c = 1 / dk.
    """
    return Recall().residual()


def sign_keys(n: int, d: int) -> Iterator[np.ndarray]:
    """Yield all n keys of d entries 1 or -1."""
    return (np.array(signs).reshape(n, d) for signs in itertools.product((1, -1), repeat=n * d))


def mean_error(n: int, d: int, asked: int, keys: Iterator[np.ndarray]) -> tuple[Any, Any]:
    """Return the sum of the squared errors of the code's answers over all keys, and the values, letters.

    Keys are not divided by their length sqrt(d), so an answer is d times the value and an error d times too large.
    """
    ring = Ring(v=(n, 1), never=())
    v = ring["v"]
    none = np.zeros((n, 1), dtype=int)
    total = 0 * ring.one
    for k in keys:
        x = Token(q=k, k=k, v=v, g=none[:, :, None], b=none, w=none + 1)
        S, _ = reference.recurrent(0 * v[:1] * k[:1], x, exp=lambda g: 1 + g)
        total += (S @ k[asked] - d * v[asked])[0] ** 2
    return total, v


def enumerated(n: int, d: int, *, own: bool = False) -> Any:
    """Compare the mean over all sign keys with 1 / d for each other value, and with ``own`` for its own too."""
    found = {}
    for asked in {0, n - 1}:
        total, v = mean_error(n, d, asked, sign_keys(n, d))
        wanted = sum(v[i, 0] ** 2 for i in range(n) if own or i != asked)
        found[f"n = {n}, d = {d}, key {asked}"] = total - 2 ** (n * d) * d * wanted
    return found


@random_keys_are_recalled_with_error_n_over_d.step(
    engine="ring", scope=Every("value of one channel, over all sign keys of n <= 3 pairs with dk <= 3 and n dk <= 6")
)
def all_sign_keys() -> Iterator[Any]:
    """Over all keys of entries +-1 / sqrt(dk) the code's mean squared error is the sum of the other |v|^2 over dk."""
    return (enumerated(n, d) for n in (1, 2, 3) for d in (1, 2, 3) if n * d <= 6)


@random_keys_are_recalled_with_error_n_over_d.refute
def own_key_counted_too() -> Any:
    """The key's own value is said to add to the error, n / dk in all."""
    return enumerated(2, 2, own=True)


@random_keys_are_recalled_with_error_n_over_d.refute
def keys_that_are_not_centred() -> Any:
    """The part linear in the key is said to vanish before the mean is taken, whatever the mean of the keys."""
    return Recall().residual(centred=False)


@random_keys_are_recalled_with_error_n_over_d.refute
def keys_of_zeros_and_ones() -> Any:
    """The same is said of keys of entries 0 and 1, whose mean is not 0."""
    n, d = 2, 2
    keys = (np.array(bits).reshape(n, d) for bits in itertools.product((0, 1), repeat=n * d))
    total, v = mean_error(n, d, 0, keys)
    return total - 2 ** (n * d) * d * v[1, 0] ** 2
