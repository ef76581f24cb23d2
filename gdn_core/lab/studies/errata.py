"""Formulas as they are printed wrong, beside the recurrence: where they agree with it, and how far off they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gdn_core import RULES, Stream, reference
from gdn_core.reference import Token
from gdn_core.streams import tokens

#: Faults of the chunk form, and then of a single token.
IN_THE_CHUNK = ("mask", "sign", "twice", "own")
FAULTS = (*IN_THE_CHUNK, "order")
SWEPT = np.round(np.arange(0.05, 1.001, 0.05), 6)  # decays, or gates
T, SIZE, CHUNK = 64, 16, 16


def scalars(
    s: float, a: tuple[float, ...], b: tuple[float, ...], k: tuple[float, ...], v: tuple[float, ...]
) -> tuple[np.ndarray, Token]:
    """Return a memory of one entry and tokens with decays a, gates b, keys k and values v, that ask with 1."""
    column = {name: np.array([x], dtype=float).T for name, x in (("b", b), ("k", k), ("v", v))}
    gates = {"b": column["b"], "w": column["b"], "g": np.log(np.array(a))[:, None, None]}
    return np.array([[s]]), Token(q=np.ones((len(a), 1)), k=column["k"], v=column["v"], **gates)


def two_tokens(a: float = 0.25, b: float = 0.5) -> tuple[np.ndarray, Token]:
    """Return a memory of one entry and two tokens; the decay and the gate of the second are free."""
    return scalars(s=1.0, a=(0.5, a), b=(1.0, b), k=(1.0, 2.0), v=(3.0, 5.0))


def chunk_as_printed(S: np.ndarray, x: Token, fault: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Run a chunk with a fault of ``IN_THE_CHUNK``, or "" for none.

    Returns:
        The memory after the chunk, the outputs [C, V], and the errors [C, V] that it writes.
    """
    C, G = len(x), x.g[:, 0, 0].cumsum()
    causal = np.tri(C)
    Gamma = np.exp(np.minimum(G[:, None] - G, 0)) * causal
    gamma, rest = np.exp(G)[:, None], np.exp(G[-1] - G)[:, None]
    ungated = np.tri(C, k=-1) * x.b * (x.k @ x.k.T)
    sign = -1 if fault == "sign" else 1
    T = np.linalg.inv(np.eye(C) + sign * ungated * Gamma)
    U = T @ (x.w * x.v)
    W = gamma * ((T if fault == "twice" else np.linalg.inv(np.eye(C) + sign * ungated)) @ (x.b * x.k))
    N = U - W @ S.T
    if fault == "own":  # a write that its own token decays
        own = np.exp(x.g[:, :, 0])
        Gamma, rest = Gamma * own.T, rest * own
    o = gamma * (x.q @ S.T) + (x.q @ x.k.T * (causal if fault == "mask" else Gamma)) @ N
    return gamma[-1] * S + (rest * N).T @ x.k, o, N


def step_as_printed(S: np.ndarray, x: Token) -> tuple[np.ndarray, np.ndarray]:
    """Run a token whose error is read from the memory before it has decayed."""
    u = x.w * x.v - S @ (x.b * x.k)
    S = np.exp(x.g) * S + np.outer(u, x.k)
    return S, S @ x.q


def chunk_line(line: str) -> dict[str, np.ndarray]:
    """Vary one number of two tokens, and compute one result by a line of the chunk form as printed, and rightly.

    Args:
        line: "mask", the output of token 2 for decays of it; "twice", the memory then; "sign", without decays and from
            an empty memory, the error of token 2 for gates of it.

    Returns:
        at [N], what varies; printed and right [N].
    """
    made = []
    for at in SWEPT:
        S, x = two_tokens(b=at) if line == "sign" else two_tokens(a=at)
        if line == "sign":
            S, x = 0 * S, replace(x, g=0 * x.g)
        both = []
        for fault in (line, ""):
            after, o, errors = chunk_as_printed(S, x, fault)
            both.append({"mask": o[1, 0], "twice": after[0, 0], "sign": errors[1, 0]}[line])
        made.append(both)
    return {"at": SWEPT, **dict(zip(("printed", "right"), np.array(made).T, strict=True))}


def token_line(line: str) -> dict[str, np.ndarray]:
    """Vary a decay, and compute the memory after one or two tokens as printed, and by the recurrence.

    Args:
        line: "order", where the error is read before the decay; "own", where a token decays its own write.

    Returns:
        at [N], the decay of the last token; printed and right [N].
    """
    made = []
    for at in SWEPT:
        if line == "order":
            S, x = scalars(s=1.0, a=(at,), b=(1.0,), k=(1.0,), v=(3.0,))
            wrong = step_as_printed(S, x[0])[0]
        else:
            S, x = two_tokens(a=at)
            wrong = chunk_as_printed(S, x, "own")[0]
        made.append([wrong[0, 0], reference.recurrent(S, x)[0][0, 0]])
    return {"at": SWEPT, **dict(zip(("printed", "right"), np.array(made).T, strict=True))}


def formula(line: str) -> dict[str, np.ndarray]:
    """Vary the length of a key, or a gate, and compute a number by a formula as printed, and rightly.

    Args:
        line: "square", the eigenvalue of a transition along its key; "minus", where Longhorn's objective is stationary
            for s = 1, k = 1, v = 4.

    Returns:
        at [N], the length or beta; printed and right [N]; not a number where the printed one has no such place.
    """
    at = np.round(np.arange(0, 2.01, 0.1), 6)
    if line == "square":
        made = []
        for length in at:
            S, x = scalars(s=1.0, a=(1.0,), b=(1.0,), k=(length,), v=(0.0,))
            made.append(reference.recurrent(S, x)[0][0, 0])
        return {"at": at, "printed": 1 - at, "right": np.array(made)}
    one, made = np.ones(1), []
    for beta in at:
        stream = Stream(q=one[None], k=one[None], v=4 * one[None], g=0 * one, beta=beta * one, w=one, delta=one, A=-one)
        made.append(reference.recurrent(np.eye(1), tokens(RULES["longhorn"], stream))[0][0, 0])
    with np.errstate(divide="ignore"):
        printed = (1 - 4 * at) / (1 - at)
    return {"at": at, "printed": np.where(np.isfinite(printed), printed, np.nan), "right": np.array(made)}


def shape(line: str) -> dict[str, np.ndarray]:
    """Vary a size, or an entry, and form a product as printed, and rightly.

    Args:
        line: "rows", the rows of the product of the values and keys of some tokens, of one channel each; "side", the
            first entry of M X and of X M, for M = (1 0; m 1) and X = (0 1; 0 0).

    Returns:
        at [N], the tokens or m; printed and right [N].
    """
    made, at = [], np.arange(1, 9) if line == "rows" else np.round(np.arange(0, 4.01, 0.25), 6)
    for n in at:
        if line == "rows":
            V, K = np.ones((n, 1)), np.ones((n, 1))
            made.append([len(V @ K.T), len(V.T @ K)])
        else:
            M, X = np.array([[1, 0], [n, 1]]), np.array([[0, 1], [0, 0]])
            made.append([(M @ X)[0, 0], (X @ M)[0, 0]])
    return {"at": at, **dict(zip(("printed", "right"), np.array(made, dtype=float).T, strict=True))}


def stream_of(alpha: float, first: int = T) -> Stream:
    """Return the first of 64 tokens of unit keys and values, with one decay and a gate of 1/2."""
    q, k, v = np.random.default_rng(4).standard_normal((3, T, SIZE))
    q, k, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, k, v))
    one = np.ones(T)
    g = np.log(alpha) * one
    return Stream(q=q, k=k, v=v, g=g, beta=0.5 * one, w=one, delta=one, A=-np.ones(SIZE)).window(0, first)


def all_along(alpha: float) -> dict[str, np.ndarray]:
    """Run 64 tokens in chunks of 16 with each fault, and measure the outputs against the recurrence.

    Returns:
        token [T]; and off [T, F], the distance of the outputs, relative to the mean length of the right ones.
    """
    x = tokens(RULES["gated-deltanet"], stream_of(alpha))
    _, right = reference.recurrent(np.zeros((SIZE, SIZE)), x)
    off = []
    for fault in FAULTS:
        S, outputs = np.zeros((SIZE, SIZE)), []
        for start in range(0, T, 1 if fault == "order" else CHUNK):
            if fault == "order":
                S, o = step_as_printed(S, x[start])
                outputs.append(o)
            else:
                S, o, _ = chunk_as_printed(S, x[start : start + CHUNK], fault)
                outputs.extend(o)
        off.append(np.linalg.norm(outputs - right, axis=1))
    return {"token": np.arange(T), "off": np.array(off).T / np.linalg.norm(right, axis=1).mean()}


def in_the_lab(line: str) -> Stream:
    """Return the tokens of a line's counterexample, behind one that writes their memory; they ask with 1."""
    S, x = {
        "sign": (np.zeros((1, 1)), two_tokens()[1]),
        "order": scalars(s=1.0, a=(0.5,), b=(1.0,), k=(1.0,), v=(3.0,)),
        "square": scalars(s=1.0, a=(1.0,), b=(1.0,), k=(2.0,), v=(0.0,)),
        "minus": scalars(s=2.0, a=(1.0,), b=(0.5,), k=(1.0,), v=(4.0,)),  # Longhorn stores a half of it
        "rows": scalars(s=1.0, a=(1.0,), b=(1.0,), k=(1.0,), v=(1.0,)),
    }.get(line, two_tokens())
    one, kept = np.ones(1 + len(x)), np.zeros(1)
    g = 0 * one if line == "sign" else np.concatenate([kept, x.g[:, 0, 0]])
    k, v, beta = np.append(1.0, x.k), np.append(S, x.v), np.append(1.0, x.b)
    return Stream(q=one[:, None], k=k[:, None], v=v[:, None], g=g, beta=beta, w=beta, delta=one, A=-np.ones(1))
