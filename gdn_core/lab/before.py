"""The memory before a window: the state that a rule reaches after all tokens before it, in float64.

A window of a long stream (say 100,000 tokens) starts from the state that the tokens before it leave. Only that state
is needed, so it is computed in blocks of tokens by matrix products, and no state in between is kept.

Rules that erase nothing only add: a write is multiplied by every decay after it. Blocks are taken from the last to the
first, and the loop ends where the decay to the end of the stream is 0 in float64. Delta rules run in chunks: the errors
of a chunk solve a unit lower triangular system (:func:`gdn_core.reference.chunk`), which is inverted for all chunks of
a block at once, by recursive halving. Differences of log decays are formed before the exponential and are never
positive.

Source: the UT transform of DeltaNet, arXiv 2406.06484, sec. 3.2; under decays arXiv 2412.06464, sec. 3.3.
"""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np

from gdn_core import streams
from gdn_core.reference import Token
from gdn_core.rules import Discretisation, Gate, WriteRule
from gdn_core.streams import Floats, Stream

BLOCK = 2048  # tokens whose operands are in memory at once
ROWWISE = 64  # the same for rules with a decay or key for each row of the memory: operands are [T, V, K]
CHUNK = 32  # tokens of a delta rule's chunk, a power of two
HALVED = 8  # rows; a triangle up to this size is inverted row by row
VANISHED = -800.0  # nats; the least log decay summed: exp is 0, and less would cost other decays digits


def memory_after(
    rule: WriteRule,
    stream: Stream,
    *,
    initial: Floats | None = None,
    discretisation: Discretisation | None = None,
) -> Floats:
    """Return the memory after a stream of any length, as the recurrence in float64 gives it.

    The gates of ``stream`` are used as they are. For a rule of constant gates call :func:`gdn_core.streams.held` first.

    Args:
        rule: a member of the family.
        stream: T >= 0 tokens, of any floating type.
        initial: memory before the first token, [V, K], or [V + 1, K] for a normalised rule; zeros by default.
        discretisation: replaces the rule's own.

    Returns:
        [V, K] float64; [V + 1, K] for a normalised rule, whose last row is the sum of its keys. Entries that overflow
        float64 are infinite or NaN.
    """
    T, V, K = stream.sizes
    S = np.zeros((V + rule.normalised, K)) if initial is None else np.array(initial, dtype=float)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # an overflow is a result, not a warning
        if T == 0:
            return S
        if rule.erase is Gate.NONE:
            return _faded(rule, stream, S, discretisation)
        for start in range(0, T, BLOCK):
            S = _corrected(_tokens(rule, stream.window(start, start + BLOCK), discretisation), S)
    return S


def _tokens(rule: WriteRule, stream: Stream, discretisation: Discretisation | None) -> Token:
    """Write a part of a stream as tokens, in float64.

    Rows of a discretised rule that all decay alike are written as one row, so that no operand is [T, V, K].
    """
    stream = wide(stream)
    if not rule.discretisation or stream.delta.ndim > 1 or stream.A.ndim > 1:
        return streams.tokens(rule, stream, discretisation=discretisation)
    one = streams.tokens(rule, replace(stream, v=stream.v[:, :1]), discretisation=discretisation)
    return replace(one, v=stream.v)


def wide(stream: Stream) -> Stream:
    """Return a copy of a stream in float64: a window that is kept must not keep what it is cut from."""
    return Stream(**{f.name: np.array(getattr(stream, f.name), dtype=float) for f in fields(stream)})


def _faded(rule: WriteRule, stream: Stream, S: Floats, discretisation: Discretisation | None) -> Floats:
    """Run a rule that erases nothing, from the last block to the first, until the decay to the end is 0."""
    T = len(stream)
    g, k = (getattr(_tokens(rule, stream.window(0, 1), discretisation), name) for name in ("g", "k"))
    rowwise = g.shape[1] > 1 or (k.ndim == 3 and k.shape[1] > 1)
    size = ROWWISE if rowwise else BLOCK
    total, after = np.zeros_like(S), np.zeros(g.shape[1:])  # the sum of the writes; the log decay after the block
    for stop in range(T, 0, -size):
        x = _tokens(rule, stream.window(max(0, stop - size), stop), discretisation)
        cumulated = np.cumsum(x.g[::-1], axis=0)[::-1] + after  # from each token on, its own decay with it
        rest = np.exp(np.concatenate([cumulated[1:], after[None]]))  # [C, V or 1, K or 1]
        wv, keys = x.w * x.v, x.k if x.k.ndim == 3 else x.k[:, None]
        if rowwise:
            total += np.einsum("tv,tvk->vk", wv, np.broadcast_to(rest * keys, (len(x), *S.shape)))
        else:
            total += wv.T @ (rest * keys)[:, 0]
        after = cumulated[0]
        if not np.exp(after).any():
            return total
    return np.exp(after) * S + total


def _corrected(x: Token, S: Floats) -> Floats:
    """Run a rule that erases over one block of tokens, in chunks."""
    chunks = -(-len(x) // CHUNK)

    def cut(values: Floats) -> Floats:
        """Return [N, C, channels]; the last chunk is padded with zeros, which leave the memory unchanged."""
        filled = np.zeros((chunks * CHUNK, values.shape[1]))
        filled[: len(values)] = values
        return filled.reshape(chunks, CHUNK, -1)

    k, erase, wv = cut(x.k), cut(x.b * x.k), cut(x.w * x.v)
    G = np.cumsum(np.maximum(cut(x.g[:, 0]), VANISHED), axis=1)  # [N, C, 1 or K]
    if x.g.shape[2] == 1:
        gap = G - G.swapaxes(1, 2)
        A = erase @ k.swapaxes(1, 2) * np.tril(np.exp(np.minimum(gap, 0)), -1)
    else:
        A = np.zeros((chunks, CHUNK, CHUNK))
        _fill(A, erase, k, G)
    solve = inverse(A)
    asked, rest = np.exp(G) * erase, np.exp(G[:, -1:] - G) * k
    gamma = np.exp(G[:, -1])  # [N, 1 or K]
    for n in range(chunks):
        u = solve[n] @ (wv[n] - asked[n] @ S.T)  # errors
        S = gamma[n] * S + u.T @ rest[n]
    return S


def _fill(A: Floats, erase: Floats, k: Floats, G: Floats) -> None:
    """Fill A, [N, C, C], below the diagonal with products of keys under a decay for each key channel, by halving.

    The decay from a token of the first half to one of the second is the decay to the end of the first half, times the
    decay from there on.
    """
    half = A.shape[1] // 2
    if half == 0:
        return
    _fill(A[:, :half, :half], erase[:, :half], k[:, :half], G[:, :half])
    _fill(A[:, half:, half:], erase[:, half:], k[:, half:], G[:, half:])
    between = G[:, half - 1 : half]
    late, early = np.exp(G[:, half:] - between) * erase[:, half:], np.exp(between - G[:, :half]) * k[:, :half]
    A[:, half:, :half] = late @ early.swapaxes(1, 2)


def inverse(A: Floats) -> Floats:
    """Return (I + A)^-1 for strictly lower triangular A, [N, C, C], C a power of two: by rows, then by halves."""
    N, C, _ = A.shape
    if C <= HALVED:
        rows = np.zeros((C, C, N))
        for i in range(C):
            rows[i, i] = 1
            for j in range(i):
                rows[i, :i] -= A[:, i, j] * rows[j, :i]
        return rows.transpose(2, 0, 1)
    half = C // 2
    ends = inverse(np.concatenate([A[:, :half, :half], A[:, half:, half:]]))
    result = np.zeros_like(A)
    result[:, :half, :half], result[:, half:, half:] = ends[:N], ends[N:]
    result[:, half:, :half] = -ends[N:] @ (A[:, half:, :half] @ ends[:N])
    return result

