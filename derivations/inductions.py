"""Induction steps in words: what a chunk of n tokens says, and one more token, for every n, dk and dv.

The hypothesis on n tokens is that the memory is ``S_0 C + U' F``: ``C`` is the decay since the chunk began, the rows of
``U`` are the errors, and those of ``F`` the keys as the decays since have faded them. A chunk of no tokens has
``C = I`` and no rows, so the hypothesis holds there. The token that follows is given to
:func:`gdn_core.reference.step` itself; the step is proved where its memory and its output are those of the chunk of
n + 1 tokens. With n arbitrary that is every chunk length.

Gates are diagonal matrices, one number a channel. A scalar gate is a multiple of the identity, no gate is the identity
or zero, and a rule whose decay or key differs from row to row is this one with dv = 1 on every row: so one induction
serves every rule of the family.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from derivations.engines import arrays
from derivations.engines.words import Algebra, Block, Expr, Normal
from gdn_core import reference

Residuals = dict[str, Normal]


@dataclass(frozen=True)
class Chunk:
    """Letters of a chunk of n tokens and of the token that follows.

    Args:
        S0: memory before the chunk, V x K.
        C: decay since the chunk began, diagonal K x K.
        U: errors so far, n x V.
        F: keys so far, decayed to now, n x K.
        q: query of the new token, K x 1.
        k: key of the new token, K x 1.
        v: value of the new token, V x 1.
        D: decay of the new token, diagonal K x K.
        b: its erase gate, diagonal K x K.
        w: its write gate, diagonal V x V.
    """

    S0: Expr
    C: Expr
    U: Expr
    F: Expr
    q: Expr
    k: Expr
    v: Expr
    D: Expr
    b: Expr
    w: Expr

    @property
    def memory(self) -> Expr:
        """The memory after n tokens, by hypothesis."""
        return self.S0 @ self.C + self.U.T @ self.F

    @property
    def error(self) -> Expr:
        """The error of the new token as the chunk's triangular system has it, without a memory in between."""
        return (
            self.w @ self.v - self.S0 @ self.C @ self.D @ self.b @ self.k - self.U.T @ self.F @ self.D @ self.b @ self.k
        )

    @property
    def keys(self) -> Expr:
        """The keys decayed to the new token, its own below them, (n + 1) x K."""
        return Block([[self.F @ self.D], [self.k.T]])

    @property
    def errors(self) -> Expr:
        """The errors with the new one below them, (n + 1) x V."""
        return Block([[self.U], [self.error.T]])

    def step(self) -> tuple[Expr, Expr]:
        """Run the code's step on the memory after n tokens; return the new memory and the output."""
        x = arrays.token(q=self.q, k=self.k, v=self.v, decay=self.D, erase=self.b, write=self.w)
        S, o = reference.step(arrays.Array(self.memory, 2), x, exp=arrays.exp)
        return S.word, o.word


@cache
def chunk() -> Chunk:
    """Declare the letters of a chunk and of one more token."""
    algebra = Algebra()
    return Chunk(
        S0=algebra.matrix("S_0", "V", "K"),
        C=algebra.diagonal("C", "K"),
        U=algebra.matrix("U", "n", "V"),
        F=algebra.matrix("F", "n", "K"),
        q=algebra.vector("q", "K"),
        k=algebra.vector("k", "K"),
        v=algebra.vector("v", "V"),
        D=algebra.diagonal("D", "K", tex=r"D_\alpha"),
        b=algebra.diagonal("b", "K", tex="D_b"),
        w=algebra.diagonal("w", "V", tex="D_w"),
    )


def chunk_form(
    *,
    errors: Callable[[Chunk], Expr] = lambda c: c.errors,
    keys: Callable[[Chunk], Expr] = lambda c: c.keys,
    read: Callable[[Chunk], Expr] = lambda c: c.keys,
) -> Residuals:
    """Compare the code's step with the chunk of one more token, memory and output; the arguments make wrong variants.

    Args:
        errors: the errors of the longer chunk, (n + 1) x V.
        keys: its decayed keys, which the memory is made of, (n + 1) x K.
        read: the decayed keys that the output is made of, (n + 1) x K.
    """
    c = chunk()
    S, o = c.step()
    after = c.S0 @ c.C @ c.D
    return {
        "memory": (S - (after + errors(c).T @ keys(c))).normal(),
        "output": (o - (after @ c.q + errors(c).T @ (read(c) @ c.q))).normal(),
    }


@dataclass(frozen=True)
class Triangle:
    """The unit lower triangular system of n tokens under a tied scalar gate, and the token that follows.

    Args:
        K: keys, n x K.
        N: values, n x V.
        A: the strict lower triangle of ``diag(beta) K K'``, n x n.
        B: ``diag(beta)``, n x n.
        k: key of the new token, K x 1.
        v: value of the new token, V x 1.
        beta: gate of the new token, a scalar.
        T: the UT transform ``(I + A)^-1 B``, n x n, by hypothesis.
        W: the same of keys, T K.
        U: the same of values, T N.
        gamma: decays since the chunk began, one a token, diagonal n x n and invertible.
        gamma_inverse: the inverse of gamma.
        G: the solution of the decayed system for the values: ``(I + gamma A gamma^-1) G = diag(beta) N``, n x V.
        S0: memory before the chunk, V x K.
    """

    K: Expr
    N: Expr
    A: Expr
    B: Expr
    k: Expr
    v: Expr
    beta: Expr
    T: Expr
    W: Expr
    U: Expr
    gamma: Expr
    gamma_inverse: Expr
    G: Expr
    S0: Expr

    @property
    def longer(self) -> Expr:
        """The triangle of n + 1 tokens."""
        below = self.beta * (self.k.T @ self.K.T)
        return Block([[self.A, self.A.algebra.zero("n", "1")], [below, self.A.algebra.zero("1", "1")]])

    @property
    def betas(self) -> Expr:
        """The gates of n + 1 tokens on a diagonal."""
        algebra = self.A.algebra
        return Block([[self.B, algebra.zero("n", "1")], [algebra.zero("1", "n"), self.beta]])

    @property
    def keys(self) -> Expr:
        """The keys of n + 1 tokens."""
        return Block([[self.K], [self.k.T]])

    @property
    def values(self) -> Expr:
        """The values of n + 1 tokens."""
        return Block([[self.N], [self.v.T]])


@cache
def triangle() -> Triangle:
    """Declare the letters of a triangular system; the hypothesis is its three rules ``A X = B Y - X``."""
    algebra = Algebra("beta")
    letters = {name: algebra.matrix(name, "n", cols) for name, cols in (("K", "K"), ("N", "V"), ("A", "n"), ("T", "n"))}
    B = algebra.diagonal("B", "n", tex=r"D_\beta")
    W, U = algebra.matrix("W", "n", "K"), algebra.matrix("U", "n", "V")
    A = letters["A"]
    algebra.rule(A @ letters["T"], B - letters["T"])
    algebra.rule(A @ W, B @ letters["K"] - W)
    algebra.rule(A @ U, B @ letters["N"] - U)
    gamma, G = algebra.diagonal("gamma", "n", tex=r"D_\gamma"), algebra.matrix("G", "n", "V", tex=r"\tilde U")
    gamma_inverse = algebra.inverse(gamma)
    algebra.rule(gamma @ A @ gamma_inverse @ G, B @ letters["N"] - G)
    return Triangle(
        **letters,
        B=B,
        W=W,
        U=U,
        k=algebra.vector("k", "K"),
        v=algebra.vector("v", "V"),
        beta=algebra.scalar("beta"),
        gamma=gamma,
        gamma_inverse=gamma_inverse,
        G=G,
        S0=algebra.matrix("S_0", "V", "K"),
    )


def ut_transform(*, sign: int = 1, gate: bool = True) -> Residuals:
    """Extend the UT transform by a token: ``(I + A) T = diag(beta)``, its last row built from the rows before.

    Args:
        sign: of the new row below the old transform; 1 is right.
        gate: whether the new row is gated; True is right.
    """
    t = triangle()
    algebra = t.A.algebra
    beta = t.beta if gate else algebra.number(1)
    one = algebra.identity("n", "1")
    below = -sign * beta * (t.k.T @ t.K.T @ t.T)
    T = Block([[t.T, algebra.zero("n", "1")], [below, t.beta]])
    W = Block([[t.W], [t.beta * t.k.T - sign * beta * (t.k.T @ t.K.T @ t.W)]])
    U = Block([[t.U], [t.beta * t.v.T - sign * beta * (t.k.T @ t.K.T @ t.U)]])
    return {
        "T": ((one + t.longer) @ T - t.betas).normal(),
        "W": ((one + t.longer) @ W - t.betas @ t.keys).normal(),
        "U": ((one + t.longer) @ U - t.betas @ t.values).normal(),
    }


def gated_ut_transform(*, w: Callable[[Triangle], Expr] = lambda t: t.gamma @ t.W) -> Residuals:
    """Solve the decayed systems: with ``Gamma_ij = gamma_i / gamma_j`` the one for the keys has the ungated W, scaled.

    The errors of a chunk solve the decayed system for ``diag(beta) (N - diag(gamma) K S_0')``, so they are
    ``G - diag(gamma) W S_0'``.

    Args:
        w: the solution for the keys that is tried, n x K.
    """
    t = triangle()
    decayed = t.gamma @ t.A @ t.gamma_inverse
    errors = t.G - w(t) @ t.S0.T
    return {
        "W": (w(t) + decayed @ w(t) - t.B @ t.gamma @ t.K).normal(),
        "errors": (errors + decayed @ errors - t.B @ (t.N - t.gamma @ t.K @ t.S0.T)).normal(),
    }
