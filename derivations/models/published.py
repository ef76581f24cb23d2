"""The recurrence of each rule as it is published, one formula a rule, on arrays of floats and by nothing of the code.

A formula takes the memory before a token and the token of a stream, and returns the memory behind it. The gates of a
rule of constant gates are the same at all tokens. The places in the papers stand with the rules.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

Array = Any
Formula = Callable[[Array, SimpleNamespace], Array]


def _features(x: Array) -> Array:
    return np.array([1 + e if e > 0 else np.exp(e) for e in x])


def _edited(S: Array, x: SimpleNamespace, erase: Array, write: Array) -> Array:
    """Return the memory less what it answers to a key, and with a value added."""
    return S - np.outer(S @ (erase * x.k), x.k) + np.outer(write * x.v, x.k)


def _added(S: Array, x: SimpleNamespace) -> Array:
    return S + np.outer(x.v, x.k)


def _exact(x: SimpleNamespace) -> tuple[float, float]:
    z = x.beta * (x.k @ x.k)
    return (1 - np.exp(-z)) / (x.k @ x.k), x.beta * (1 - np.exp(x.g - z)) / (z - x.g)


def _longhorn(S: Array, x: SimpleNamespace) -> Array:
    theta = x.beta / (1 + x.beta * (x.k @ x.k))
    return _edited(S, x, theta, theta)


def _efla(S: Array, x: SimpleNamespace) -> Array:
    return _edited(S, x, *2 * (_exact(x)[0],))


#: A token has q, k, v, and of gates one number (g, beta, w) and one for each channel (by_key, erase, by_value), delta
#: for each value channel, and A; with constant gates these are medians.
PUBLISHED: dict[str, Formula] = {
    "fast-weights": _added,
    "linear-attention": _added,
    "linear-attention-normalised": lambda S, x: S + np.outer(np.append(x.v, 1), _features(x.k)),
    "s4": lambda S, x: np.exp(x.delta[:, None] * x.A) * S
    + (np.exp(x.delta[:, None] * x.A) - 1) / x.A * np.outer(x.v, x.k),
    "mamba": lambda S, x: np.exp(x.delta[:, None] * x.A) * S + np.outer(x.delta * x.v, x.k),
    "retnet": lambda S, x: _added(np.exp(x.g) * S, x),
    "gla": lambda S, x: _added(S * np.exp(x.by_key), x),
    "mamba-2": lambda S, x: _added(np.exp(x.g) * S, x),
    "deltanet": lambda S, x: _edited(S, x, x.beta, x.beta),
    "longhorn": _longhorn,
    "efla": _efla,
    "gated-deltanet": lambda S, x: _edited(np.exp(x.g) * S, x, x.beta, x.beta),
    "exact-gated-delta": lambda S, x: _edited(np.exp(x.g) * S, x, *_exact(x)),
    "kimi-delta-attention": lambda S, x: _edited(S * np.exp(x.by_key), x, x.beta, x.beta),
    "gated-deltanet-2": lambda S, x: _edited(S * np.exp(x.by_key), x, x.erase, x.by_value),
}
FIXED = ("s4", "retnet")  # rules of constant gates


def published(slug: str, S: Array, of: Any, *, by_channel: bool) -> tuple[Array, Array]:
    """Run the formula of a rule over a stream: return the last memory, and the outputs.

    Args:
        slug: of the rule.
        S: memory before the first token.
        of: a stream, with gates for each token or ``by_channel``; there one number is the mean of all.
        by_channel: whether gates have a number for each channel.
    """
    (T, V), K = of.v.shape, of.k.shape[1]

    def gates(name: str, channels: int) -> Array:
        x = np.asarray(getattr(of, name), dtype=float).reshape(T, -1)
        x = np.repeat(np.median(x, 0, keepdims=True), T, 0) if slug in FIXED else x
        return x if by_channel else np.repeat(x, channels, 1)

    g, beta, w, delta = gates("g", K), gates("beta", K), gates("w", V), gates("delta", V)
    outputs = []
    for t in range(T):
        S = PUBLISHED[slug](S, SimpleNamespace(
            k=of.k[t], v=of.v[t], g=g[t].mean(), beta=beta[t].mean(), w=w[t].mean(), by_key=g[t], erase=beta[t],
            by_value=w[t], delta=delta[t], A=np.broadcast_to(of.A, (V, K)),
        ))  # fmt: skip
        if len(S) > V:  # the last row is the normaliser's
            q = _features(of.q[t])
            outputs.append(S[:-1] @ q / (S[-1] @ q))
        else:
            outputs.append(S @ of.q[t])
    return S, np.array(outputs)
