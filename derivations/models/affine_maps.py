"""Affine maps S -> S M + X of the memory: in words, and of segments of the code's recurrence."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from derivations.engines.algebra import Algebra
from derivations.engines.ring import Ring
from derivations.engines.trees import Expr
from gdn_core import reference
from gdn_core.reference import Array, Token


@cache
def maps() -> list[tuple[Expr, Expr]]:
    """Declare three affine maps S -> S M + X, and the memory as a map of its own, to start from."""
    words = Algebra()
    return [(words.matrix(f"M{i}", "K", "K"), words.matrix(f"X{i}", "V", "K")) for i in (1, 2, 3)] + [
        (words.identity("K"), words.matrix("S", "V", "K", tex="S_0"))
    ]


Affine = tuple[Expr, Expr]


def then(first: Affine, second: Affine) -> Affine:
    """Compose an affine map with the one that follows it."""
    return first[0] @ second[0], first[1] @ second[0] + second[1]


def apply(S: Expr, by: Affine) -> Expr:
    """Apply an affine map."""
    return S @ by[0] + by[1]


def composition() -> str:
    """Print the composition of two maps."""
    M, X = then(*maps()[:2])
    return rf"(M_1, X_1) \cdot (M_2, X_2) = ({M.tex()},\; {X.tex()})"


def composition_residual(compose: Callable[[Affine, Affine], Affine]) -> dict[str, Any]:
    """Compare a composition with the maps applied one after the other, and check that it is associative."""
    first, second, third, (_, S) = maps()
    left, right = compose(compose(first, second), third), compose(first, compose(second, third))
    both = apply(S, compose(first, second))
    return {
        "acts": (both - apply(apply(S, first), second)).normal(),
        "associates": [(x - y).normal() for x, y in zip(left, right, strict=True)],
    }


class Segments:
    """A stream on symbols, its two halves run by the code from zero and from the identity."""

    def __init__(self, T: int = 4, V: int = 3, K: int = 2) -> None:
        ring = self.ring = Ring(
            exponentials={"a": (T, 1, K)}, g=(T, 1, K), S=(V, K), q=(T, K), k=(T, K), v=(T, V), b=(T, K), w=(T, V)
        )
        ring.let_exp(ring["g"], "a")
        self.x = Token(**{name: ring[name] for name in ("q", "k", "v", "g", "b", "w")})

    def run(self, S: Array, x: Token) -> Array:
        """Run a segment and return its memory."""
        return reference.recurrent(S, x, exp=self.ring.exp)[0]

    def map_of(self, x: Token) -> tuple[Array, Array]:
        """Find the affine map of a segment by running it from the identity without values, and from zero."""
        K = x.k.shape[1]
        nothing = Token(q=x.q, k=x.k, v=0 * x.v[:, :1].repeat(K, axis=1), g=x.g, b=x.b, w=x.w[:, :1])
        return self.run(np.eye(K, dtype=int) + 0 * self.ring["S"][:1], nothing), self.run(0 * self.ring["S"], x)

    def residual(self, compose: Callable[[Any, Any], Any]) -> Any:
        """Compare the merged segments with the whole stream."""
        first, second = self.map_of(self.x[:2]), self.map_of(self.x[2:])
        M, X = compose(first, second)
        return self.ring.residual(self.ring["S"] @ M + X, self.run(self.ring["S"], self.x))
