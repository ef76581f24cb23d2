"""What a memory answers to a key, in the values that were written: which of them, and in which shares.

Every rule of the family is linear in its values, so an answer is a sum over the tokens so far, ``S q = sum_s c_s v_s``,
in which the coefficients c come of keys and gates alone. They are the answers of a memory in which each token writes a
row of its own, that is, whose values are the columns of the identity. So they are known where more values were written
than there are value channels too, where a fit would have to choose one solution of many. Where the values are linearly
independent they are the least squares fit, and it leaves nothing.

The *share* of a value is its coefficient, added up over the tokens that wrote it, and divided by the sum of the sizes
of all coefficients where that sum is more than 1. So two values that are both answered whole have shares of 0.5 and
0.5, a value alone has 1, and a value that has faded has what is left of it: 0.9^n after n tokens under a decay of 0.9.
The sizes of all shares sum up to at most 1.

A rule whose gates differ from one value channel to the next has no such coefficients. Those under the mean of its gates
are taken instead, and the length of what they leave of the answer, relative to the answer, is the *rest*. What is left
of the memory before a window is in the rest too, since no token of the window wrote it.

Source: the sum over tokens is the attention form of linear attention, arXiv 2006.16236, sec. 3.2; under the delta rule
its coefficients solve a triangular system, arXiv 2406.06484, sec. 3.2, and under decays arXiv 2412.06464, sec. 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gdn_core import streams
from gdn_core.lab.before import VANISHED, inverse
from gdn_core.lab.glyphs import Glyph, glyph
from gdn_core.lab.scenarios.rows import TokenRow, short
from gdn_core.lab.trajectory import Trajectory
from gdn_core.ops.kernels.operands import Floats32
from gdn_core.streams import Floats

MOST_KEYS = 6  # keys that are asked after a token, besides its query
MOST_VALUES = 6  # values of an answer that are kept, for its picture
MOST_NAMED = 3  # values of an answer that words tell
LEAST_NAMED = 0.05  # a smaller share is not told by itself
FAINT = 0.5  # an answer weaker than this, of a value at full strength, is called faint
CHUNK = 32  # tokens whose errors one triangular system gives, a power of two
NOTHING = 1e-5  # an answer shorter than this, in lengths of the longest value, is rounding


@dataclass(frozen=True)
class Answers:
    """What the memories of R rules answer after each of T tokens: to its query, and to the keys written so far.

    Args:
        values: the names of the values, each once, N of them in the order of their first tokens.
        glyphs: a picture for each value that has a name of its own; None for one that is numbers.
        written: the value that each token writes, [T], as an index of ``values``; -1 where it writes none.
        keys: the name of each token's key, T of them.
        queries: the name of what each token asks for, T of them.
        asked: the keys written so far, the newest first, at most MOST_KEYS, [T, MOST_KEYS]: each as the token that
            wrote it last, -1 where there are no more. Where one token is asked about, all of them, after it alone.
        left: how many keys were written that are not among them, [T].
        of: the values of each answer, the largest share first, [R, T, 1 + MOST_KEYS, MOST_VALUES], as indices of
            ``values``. The first answer is to the query.
        shares: their shares, in -1 to 1, in the same order; 0 where there are no more, NaN in an answer that is not
            finite.
        named: how many of them words tell: those of at least LEAST_NAMED, at most MOST_NAMED, [R, T, 1 + MOST_KEYS].
        others: the sum of the sizes of all other shares, those that are not kept too, the same shape.
        total: the sum of the sizes of all shares, the same shape: how strong the answer is, 1 for a value itself.
        rest: how long the part of the answer is that no value explains, relative to the answer, the same shape.
    """

    values: tuple[str, ...]
    glyphs: tuple[Glyph | None, ...]
    written: np.ndarray
    keys: tuple[str, ...]
    queries: tuple[str, ...]
    asked: np.ndarray
    left: np.ndarray
    of: np.ndarray
    shares: Floats
    named: np.ndarray
    others: Floats
    total: Floats
    rest: Floats


def answers(
    run: Trajectory, rows: Sequence[TokenRow], labels: Sequence[str], *, token: int | None = None
) -> Answers:
    """Write what the memories of a run answer in the values that its tokens wrote.

    Args:
        run: what the rules did to a stream.
        rows: its tokens as a table has them, with the names of keys and values.
        labels: what each token is called, which names a value that is numbers.
        token: ask every key written so far after this token, and none after others; by default the newest of them after
            each.
    """
    writes = np.asarray(run.wv.any(axis=(0, 2))) & run.stream.k.any(axis=1)
    pairs = zip(rows, labels, strict=True)
    named = [row.value if isinstance(row.value, str) else f"{label}'s value" for row, label in pairs]
    values = tuple(dict.fromkeys(name for name, wrote in zip(named, writes, strict=True) if wrote))
    index = {name: n for n, name in enumerate(values)}
    written = np.array([index[name] if wrote else -1 for name, wrote in zip(named, writes, strict=True)])
    things = {row.value for row in rows if isinstance(row.value, str)}
    asked, left = _keys_so_far(run.stream.k, writes, MOST_KEYS if token is None else len(rows))
    if token is not None:
        there = max(1, int((asked[token] >= 0).sum()))
        asked = np.where((np.arange(len(rows)) == token)[:, None], asked, -1)[:, :there]
    keys, queries = _names_of_keys(run, rows)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):  # a memory may overflow: its answers are NaN
        kept = [_of_rule(run, r, asked, written, len(values), token) for r in range(len(run.rules))]
    told = (np.stack(part) for part in zip(*kept, strict=True))
    glyphs = tuple(glyph(n) if name in things else None for n, name in enumerate(values))
    return Answers(tuple(short(name, 32) for name in values), glyphs, written, keys, queries, asked, left, *told)


def words(found: Answers, r: int, t: int, p: int) -> str:
    """Say what the memory of rule r answers after token t: to its query, or to the p-th of the keys asked, from 1."""
    shares = found.shares[r, t, p]
    if not np.isfinite(shares[0]):
        return "numbers that are not finite"
    told = [f"{found.values[n]} {signed(x)}" for n, x in zip(found.of[r, t, p], shares, strict=True)]
    told = told[: found.named[r, t, p]]
    others, rest = found.others[r, t, p], found.rest[r, t, p]
    faint = "faintly " if told and found.total[r, t, p] < FAINT else ""
    if others >= LEAST_NAMED:
        told.append(f"others {signed(others)}" if told else f"many values, {signed(others)} in all")
    if rest >= LEAST_NAMED:
        unknown = f"{signed(rest)} of it is no value written here"
        return f"{faint}{', '.join(told)}; {unknown}" if told else unknown
    return f"{faint}{', '.join(told)}" or "nothing"


def signed(x: float) -> str:
    """Format a share with two digits and a proper minus sign."""
    return f"{x:.2f}".replace("-", "\N{MINUS SIGN}")


def shares_of(found: Answers, tokens: Sequence[int]) -> Floats:
    """Return which shares the values of some tokens have in the answer to the query of each token.

    Returns:
        [R, T, N] for N tokens; 0 before a value is written, and where it is not among the largest that are kept.
    """
    of, shares = found.of[:, :, 0], found.shares[:, :, 0]
    return np.stack([np.where(of == found.written[t], shares, 0).sum(axis=-1) for t in tokens], axis=-1)


def coefficients(run: Trajectory, r: int, asked: Floats) -> Floats32:
    """Return the coefficients of the tokens' values in what a memory answers.

    Args:
        run: what rules did to a stream of T tokens.
        r: the rule.
        asked: what its memory is asked after each token, [T, P, K], as the rule sees it: through its feature map.

    Returns:
        [T, P, T] float32: after token t, the coefficient of token s's value in the answer to ``asked[t, p]``; 0 for
        s > t. Where the gates differ from one value channel to the next, those under the mean of the gates.
    """
    T, P, _ = asked.shape
    found = np.zeros((T, P, T), np.float32)
    for at, c in _by_chunks(run, r, asked):
        found[at, :, : at.stop] = c
    return found


def _by_chunks(
    run: Trajectory, r: int, asked: Floats, token: int | None = None
) -> Iterator[tuple[slice, Floats32]]:
    """Yield chunks of tokens, each with the coefficients after them of all tokens to its end, [C, P, tokens].

    With a token, yield the chunk that it is in and no other.
    """
    x, v = run.tokens[r], run.stream.v
    T, P, K = asked.shape
    squares = np.einsum("tv,tv->t", v, v)
    strength = np.divide(np.einsum("tv,tv->t", run.wv[r], v), squares, out=np.zeros(T), where=squares > 0)
    g = np.maximum(x.g.mean(axis=1), VANISHED)  # [T, 1 or K]
    k = x.k.mean(axis=1) if x.k.ndim == 3 else x.k
    C = CHUNK
    keys, erase = (_cut(a.astype(np.float32), C) for a in (k, x.b * k))  # [N, C, K]
    ask = _cut(asked.reshape(T, P * K).astype(np.float32), C).reshape(-1, C, P, K)
    G = np.cumsum(_cut(g, C), axis=1)
    gamma = np.exp(G).astype(np.float32)
    gap = np.exp(np.minimum(G[:, :, None] - G[:, None], 0)).astype(np.float32)
    keys = gap * keys[:, None]  # [N, C, C, K]: key j, decayed to token i
    erases = bool(erase.any())
    solve = inverse(np.tril((keys @ erase[..., None])[..., 0], -1)).astype(np.float32) if erases else None
    M = np.zeros((T, K), np.float32)  # the memory, a row for each token
    for n, start in enumerate(range(0, T, C)):
        stop = min(start + C, T)
        u = np.zeros((C, stop), np.float32)  # errors
        u[range(stop - start), range(start, stop)] = strength[start:stop]
        if solve is not None:
            u[:, :start] -= (gamma[n] * erase[n]) @ M[:start].T
            u = solve[n] @ u
        if token is not None and not start <= token < stop:
            M[:stop] = gamma[n, -1] * M[:stop] + u.T @ keys[n, -1]
            continue
        inside = (ask[n] @ keys[n].swapaxes(1, 2)) * np.tri(C, dtype=np.float32)[:, None]  # [C, P, C]
        c = inside.reshape(C * P, C) @ u
        c[:, :start] += (gamma[n][:, None] * ask[n]).reshape(C * P, K) @ M[:start].T
        c = c.reshape(C, P, stop)[: stop - start]
        if run.rules[r].normalised:
            total = np.einsum("tk,tpk->tp", run.normaliser[r, start + 1 : stop + 1], asked[start:stop])[..., None]
            c = np.divide(c, total, out=np.zeros_like(c), where=total != 0, casting="same_kind")
        yield slice(start, stop), c
        if token is not None:
            return
        M[:stop] = gamma[n, -1] * M[:stop] + u.T @ keys[n, -1]


def _cut(x: Floats, C: int) -> Floats:
    """Return an array of T tokens as chunks, [N, C, channels]; the tokens that fill the last one up are zeros."""
    filled = np.zeros((-(-len(x) // C) * C, x.shape[1]), x.dtype)
    filled[: len(x)] = x
    return filled.reshape(-1, C, x.shape[1])


def _of_rule(
    run: Trajectory, r: int, asked: np.ndarray, written: np.ndarray, N: int, token: int | None
) -> tuple[np.ndarray, ...]:
    """Return of one rule's answers what :class:`Answers` has of all rules'."""
    rule, x = run.rules[r], run.tokens[r]
    T, P, K = len(x), 1 + asked.shape[1], x.q.shape[1]
    ask = np.zeros((T, P, K), np.float32)
    ask[:, 0] = x.q
    ask[:, 1:][asked >= 0] = streams.featured(rule, run.stream.k)[asked[asked >= 0]]
    repeated = int((written >= 0).sum()) > N  # a value that several tokens wrote is one
    which = (np.arange(N) == written[:, None]).astype(np.float32)  # [T, N]
    alike = x.g.shape[1] == 1 and x.w.shape[1] == 1 and x.k.ndim == 2
    explained = alike and not run.states[r, 0].any()  # nothing is left of such an answer
    of = np.zeros((T, P, MOST_VALUES), int)
    shares = np.zeros((T, P, MOST_VALUES))
    total, rest = np.zeros((T, P)), np.zeros((T, P))
    for at, c in _by_chunks(run, r, ask, token):
        C, _, so_far = c.shape
        flat = c.reshape(C * P, so_far)
        if not explained:
            rest[at] = _rest(run, r, at, ask[at], flat)
        named = flat @ which[:so_far] if repeated else flat
        sizes = np.abs(named)
        whole = sizes.sum(axis=-1)
        each = np.arange(C * P)
        for m in range(min(MOST_VALUES, named.shape[1])):
            best = sizes.argmax(axis=-1)
            of[at, :, m] = (best if repeated else written[best]).reshape(C, P)
            shares[at, :, m] = (named[each, best] / np.maximum(whole, 1)).reshape(C, P)
            sizes[each, best] = -1
        total[at] = np.minimum(whole, 1).reshape(C, P)
    of[shares == 0] = 0
    if not np.isfinite(run.states[r, -1]).all():  # what is not finite stays
        shares[~np.isfinite(run.states[r, 1:]).all(axis=(1, 2))] = np.nan
    named = (np.abs(shares[..., :MOST_NAMED]) >= LEAST_NAMED).sum(axis=-1)
    told = np.where(np.arange(MOST_VALUES) < named[..., None], np.abs(shares), 0).sum(axis=-1)
    return of, shares, named, np.maximum(total - told, 0), total, rest


def _rest(run: Trajectory, r: int, at: slice, ask: Floats, c: Floats32) -> Floats:
    """Return the lengths of what the values leave of the answers after a chunk of tokens, relative to the answers."""
    after = slice(at.start + 1, at.stop + 1)
    said = ask @ run.states[r, after].swapaxes(1, 2)  # [C, P, V]
    if run.rules[r].normalised:
        said = streams.answer(run.rules[r], np.concatenate([said, ask @ run.normaliser[r, after, :, None]], axis=-1))
    least = NOTHING * np.linalg.norm(run.stream.v, axis=1).max(initial=0.0)
    left = np.linalg.norm(said - (c @ run.stream.v[: at.stop]).reshape(said.shape), axis=-1)
    length = np.maximum(np.linalg.norm(said, axis=-1), least)
    return np.divide(left, length, out=np.zeros_like(left), where=length > 0)


def _keys_so_far(k: np.ndarray, writes: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """List after each token the keys that were written, the newest first, and count those that are left out."""
    asked, left = np.full((len(k), most), -1), np.zeros(len(k), dtype=int)
    newest: dict[bytes, int] = {}  # the last token with a key, in the order of these tokens
    for t, key in enumerate(k):
        if writes[t]:
            newest.pop(key.tobytes(), None)
            newest[key.tobytes()] = t
        shown = list(newest.values())[: -most - 1 : -1]
        asked[t, : len(shown)] = shown
        left[t] = len(newest) - len(shown)
    return asked, left


def _names_of_keys(run: Trajectory, rows: Sequence[TokenRow]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Name the key and the query of each token: by its own name, or by the first token that has this key."""
    first: dict[bytes, int] = {}
    for t, key in enumerate(run.stream.k):
        first.setdefault(key.tobytes(), t)
    keys, queries = [], []
    for t, row in enumerate(rows):
        keys.append(short(row.key) if isinstance(row.key, str) else f"key of token {first[run.stream.k[t].tobytes()]}")
        same = first.get(run.stream.q[t].tobytes())
        if isinstance(row.query, str):
            queries.append(short(row.query))
        elif row.query is None and row.key is not None:
            queries.append(keys[t])
        else:
            queries.append("a query of its own" if same is None or same > t else keys[same])
    return tuple(keys), tuple(queries)
