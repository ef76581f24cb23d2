"""The matrices that a kernel computes for a chunk: the triangular system, its inverse, W and U."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from derivations.engines.written import Below, Kind, Written, inverse, letters
from gdn_core.reference import Array, Exp, Stack, Token


def ut_transform(x: Token, below: Any, inverse: Callable[[Array], Array]) -> tuple[Array, Array]:
    """Return W and U of a chunk, from its keys, values and gates.

    Args:
        x: the chunk.
        below: the mask of the strict lower triangle.
        inverse: takes A to the inverse of I + A.
    """
    T = inverse(below * ((x.b * x.k) @ x.k.T))
    return T @ (x.b * x.k), T @ (x.w * x.v)


def written_transform() -> str:
    """Print W and U of a chunk."""
    (K, V), (beta,) = letters(Kind.MATRIX, "K", "V"), letters(Kind.COLUMN, r"\beta")
    W, U = ut_transform(Token(q=K, k=K, v=V, g=beta, b=beta, w=beta), Below(-1), inverse)
    return rf"W = {W}, \quad U = {U}"


def inverse_of_unit_lower(A: Array, stack: Stack) -> Array:
    """Return (I + A)^-1 for a strictly lower triangular A, row by row."""
    C = len(A)
    eye = np.eye(C, dtype=int)
    rows = [0 * A[0] + eye[0]]
    for i in range(1, C):
        rows.append(eye[i] - A[i, :i] @ stack(rows))
    return stack(rows)


def matrices(x: Token, *, exp: Exp, stack: Stack) -> dict[str, Array]:
    """Return the decays, the mask Gamma and the masked products of a chunk, by name."""
    C = len(x)
    below, causal = np.tri(C, C, -1, dtype=int), np.tri(C, C, 0, dtype=int)
    G = [x.g[0, 0]]
    for t in range(1, C):
        G.append(G[-1] + x.g[t, 0])
    G = stack(G)  # [C, 1]
    Gamma = exp(causal * (G - G.T))  # [C, C], gamma_i / gamma_j for j <= i
    return {"gamma": exp(G), "to_end": exp(G[C - 1] - G), **products(x, Gamma, below, causal)}


def products(x: Token, Gamma: Array, below: Any, causal: Any) -> dict[str, Array]:
    """Return the masked products: A of keys, for the triangular systems, and P of queries and keys, for the outputs."""
    KK = x.k @ x.k.T
    return {
        "A": below * (x.b * KK),
        "A_decayed": below * (x.b * (KK * Gamma)),
        "P": causal * ((x.q @ x.k.T) * Gamma),
    }


Inverse = Callable[[Array], Array]


def U_and_W(x: Token, gamma: Array, gated: Array, ungated: Array, inverse: Inverse) -> tuple[Array, Array]:
    """Return U and W of a chunk from the matrices of two triangular systems; ``inverse`` takes A to that of I + A."""
    return inverse(gated) @ (x.b * x.v), gamma * (inverse(ungated) @ (x.b * x.k))


def matrix_form(S: Array, x: Token, *, exp: Exp, stack: Stack, gated: str = "A_decayed", ungated: str = "A") -> Any:
    """Compute a chunk by the paper's matrices U, W and Gamma."""
    m = matrices(x, exp=exp, stack=stack)
    U, W = U_and_W(x, m["gamma"], m[gated], m[ungated], lambda A: inverse_of_unit_lower(A, stack))
    N = U - W @ S.T
    return m["gamma"][len(x) - 1] * S + N.T @ (m["to_end"] * x.k), outputs(S, x.q, m["gamma"], m["P"], N)


def outputs(S: Array, q: Array, gamma: Array, P: Array, errors: Array) -> Array:
    """Return the outputs of a chunk from the memory before it and its errors."""
    return gamma * (q @ S.T) + P @ errors


BETA, GAMMA = r"\beta", r"\gamma"


def written_chunk() -> tuple[Token, dict[str, Written]]:
    """Return the letters of a chunk, whose ``g`` is the decay from its start, and its masked products."""
    (Q, K, V), (beta, gamma) = letters(Kind.MATRIX, "Q", "K", "V"), letters(Kind.COLUMN, BETA, GAMMA)
    x = Token(q=Q, k=K, v=V, g=gamma, b=beta, w=beta)
    return x, products(x, Written(r"\Gamma", Kind.MATRIX), Below(-1), Below())


def written_U_and_W() -> tuple[Written, Written]:
    """Run U and W on letters."""
    x, made = written_chunk()
    return U_and_W(x, x.g, made["A_decayed"], made["A"], inverse)
