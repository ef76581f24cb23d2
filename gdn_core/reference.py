"""The one definition: a token acts on one memory, for every carrier.

A carrier is whatever the entries are: float64 (the definition), ``fractions.Fraction``, SymPy ring elements, integers
mod p, torch. Only ``+ - * @``, indexing and transposition are used, and the ``exp`` and ``stack`` that are passed in;
nothing is divided. ``S`` is [V, K], keys and values are columns, and the decay acts before the error is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np

Array = Any  # an array of any carrier
Exp = Callable[[Array], Array]
Stack = Callable[[list[Array]], Array]


@dataclass(frozen=True)
class Token:
    """What one token does to the memory; with a leading axis T on every field, a stream of tokens.

    Args:
        q: query, [K].
        k: key, [K]; or [V, K], a key for each value channel (exact ZOH makes them).
        v: value, [V].
        g: log decay in nats, [1, 1], [1, K], [V, 1] or [V, K]; <= 0 for a memory that does not grow.
        b: erase gate, [1] or [K].
        w: write gate, [1] or [V].
    """

    q: Array
    k: Array
    v: Array
    g: Array
    b: Array
    w: Array

    def __len__(self) -> int:
        """Count the tokens of a stream."""
        return len(self.v)

    def __getitem__(self, t: int | slice) -> Token:
        """Return token t of a stream, or the stream of a slice."""
        return Token(*(getattr(self, field.name)[t] for field in fields(self)))

    def row(self, d: int) -> Token:
        """Return the stream that acts on row d of the memory alone, as a memory of one value channel."""
        return Token(
            q=self.q,
            k=self.k[:, d] if self.k.ndim == 3 else self.k,
            v=self.v[:, d : d + 1],
            g=self.g[:, d : d + 1] if self.g.shape[1] > 1 else self.g,
            b=self.b,
            w=self.w[:, d : d + 1] if self.w.shape[1] > 1 else self.w,
        )


class Moments(NamedTuple):
    """One token's memory before and after each stage, each [V, K], and the vectors between them, each [V]."""

    before: Array
    decayed: Array
    erased: Array
    written: Array
    read: Array  # what the memory answered to the erase key
    u: Array  # error: what to write, less what was read
    o: Array  # output


def step(S: Array, x: Token, *, exp: Exp = np.exp) -> tuple[Array, Array]:
    """Decay the memory, read the error, write it, and read the output.

    Args:
        S: memory, [V, K].
        x: one token, its key [K].
        exp: the carrier's exponential, elementwise.

    Returns:
        The new memory [V, K] and the output [V].
    """
    S = exp(x.g) * S  # decay
    u = x.w * x.v - S @ (x.b * x.k)  # error
    S = S + u[:, None] * x.k[None, :]  # write
    return S, S @ x.q  # read


def moments(S: Array, x: Token, *, exp: Exp = np.exp) -> Moments:
    """Take :func:`step` apart: the memory after each stage, and what was read and written.

    Args:
        S: memory, [V, K].
        x: one token; its key may be [V, K].
        exp: the carrier's exponential, elementwise.
    """
    k = x.k if x.k.ndim == 2 else x.k[None, :]  # [V or 1, K]
    decayed = exp(x.g) * S
    read = (decayed * (x.b * k)).sum(-1)
    u = x.w * x.v - read
    erased = decayed - read[:, None] * k
    written = decayed + u[:, None] * k  # as step rounds it
    return Moments(S, decayed, erased, written, read, u, written @ x.q)


def recurrent(S: Array, x: Token, *, exp: Exp = np.exp, stack: Stack = np.stack) -> tuple[Array, Array]:
    """Run a stream token by token.

    Args:
        S: memory before the first token, [V, K].
        x: a stream of T >= 1 tokens.
        exp: the carrier's exponential, elementwise.
        stack: the carrier's stacking of a list of arrays along a new first axis.

    Returns:
        The memory after the last token [V, K] and the outputs [T, V].
    """
    if x.k.ndim == 3:
        return _by_rows(recurrent, S, x, exp, stack)
    outputs = []
    for t in range(len(x)):
        S, o = step(S, x[t], exp=exp)
        outputs.append(o)
    return S, stack(outputs)


def chunk(S: Array, x: Token, *, exp: Exp = np.exp, stack: Stack = np.stack) -> tuple[Array, Array]:
    """Run a stream as one chunk: solve for every error at once, then touch the memory only twice.

    With G the log decay cumulated from the start of the chunk, the errors solve a unit lower triangular system,
    ``u_i + sum_{j<i} ((k_j * exp(G_i - G_j)) . (b_i * k_i)) u_j = w_i * v_i - S (exp(G_i) * b_i * k_i)``, here by
    forward substitution. Differences of log decays are formed before the exponential, so they are never positive.

    Args:
        S: memory before the chunk, [V, K].
        x: a stream of C >= 1 tokens.
        exp: the carrier's exponential, elementwise.
        stack: the carrier's stacking of a list of arrays along a new first axis.

    Returns:
        The memory after the chunk [V, K] and the outputs [C, V].
    """
    if x.k.ndim == 3 or x.g.shape[1] > 1:
        return _by_rows(chunk, S, x, exp, stack)
    C = len(x)
    G = [x.g[0, 0]]
    for i in range(1, C):
        G.append(G[-1] + x.g[i, 0])
    G = stack(G)  # [C, 1 or K]
    gamma = exp(G)  # decay from the start of the chunk
    erase = x.b * x.k  # [C, K]
    u = x.w * x.v - (gamma * erase) @ S.T  # [C, V], the errors without the writes of this chunk
    errors = [u[0]]
    for i in range(1, C):
        a = (exp(G[i] - G[:i]) * x.k[:i]) @ erase[i]  # [i], row i of the strictly lower triangle
        errors.append(u[i] - a @ stack(errors))
    u = stack(errors)
    o = (gamma * x.q) @ S.T
    o = stack([o[i] + ((exp(G[i] - G[: i + 1]) * x.k[: i + 1]) @ x.q[i]) @ u[: i + 1] for i in range(C)])
    return gamma[C - 1] * S + u.T @ (exp(G[C - 1] - G) * x.k), o


def chunkwise(
    S: Array, x: Token, *, chunk_size: int, exp: Exp = np.exp, stack: Stack = np.stack
) -> tuple[Array, Array]:
    """Run a stream in chunks of ``chunk_size`` tokens, the last one shorter where T is no multiple of it.

    Args:
        S: memory before the first token, [V, K].
        x: a stream of T >= 1 tokens.
        chunk_size: tokens a chunk, >= 1.
        exp: the carrier's exponential, elementwise.
        stack: the carrier's stacking of a list of arrays along a new first axis.

    Returns:
        The memory after the last token [V, K] and the outputs [T, V].
    """
    outputs: list[Array] = []
    for start in range(0, len(x), chunk_size):
        S, o = chunk(S, x[start : start + chunk_size], exp=exp, stack=stack)
        outputs.extend(o)
    return S, stack(outputs)


def _by_rows(
    run: Callable[..., tuple[Array, Array]], S: Array, x: Token, exp: Exp, stack: Stack
) -> tuple[Array, Array]:
    """Run every row of the memory as a memory of its own: rows are independent, whatever their decays and keys."""
    ends = [run(S[d : d + 1], x.row(d), exp=exp, stack=stack) for d in range(len(S))]
    return stack([end[0] for end, _ in ends]), stack([o[:, 0] for _, o in ends]).T
