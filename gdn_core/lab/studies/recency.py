"""The same key again and again, and in another order: what each rule makes of old and new."""

from __future__ import annotations

import numpy as np

from gdn_core import RULES, Stream, reference
from gdn_core.lab.before import memory_after
from gdn_core.streams import tokens

ORDERS = 12
LONG = 10_000
RULES_COMPARED = ("linear-attention", "mamba-2", "deltanet", "gated-deltanet")


def stream_of(k: np.ndarray, v: np.ndarray, alpha: float, beta: float) -> Stream:
    """Write each value under its key, with the same gates at every token."""
    one = np.ones(len(k))
    return Stream(q=k, k=k, v=v, g=np.log(alpha) * one, beta=beta * one, w=one, delta=one, A=-np.ones(k.shape[1]))


def six_pairs(order: np.ndarray = np.arange(6)) -> Stream:  # noqa: B008  # it is not changed
    """Return six pairs in an order; the last two have one key."""
    k = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0.5, 0.5, 0.5, 0.5], [0, 0, 0, 1], [0, 0, 0, 1]])
    v = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [-1, 1, -1, 1], [0, 0, 0, 1], [1, 1, 0, 0]])
    return stream_of(k[order], v[order], alpha=0.5, beta=1.0)


def one_key(alpha: float, beta: float) -> Stream:
    """Write twelve values under one key; they are the columns of the identity."""
    return stream_of(np.ones((12, 1)), np.eye(12), alpha, beta)


def in_other_orders(rule: str) -> dict[str, np.ndarray]:
    """Write the same six pairs in several orders, the last two of which have one key.

    Returns:
        orders [N, 6], the pairs as they are written; memory [N, 4, 4] after the last; difference [N], the largest from
        the memory of the first order; and answer [N, 4], to the key that two of the pairs have.
    """
    rng = np.random.default_rng(0)
    orders = np.array([np.arange(6), *(rng.permutation(6) for _ in range(ORDERS - 1))])
    memory = []
    for order in orders:
        S, _ = reference.recurrent(np.zeros((4, 4)), tokens(RULES[rule], six_pairs(order)))
        memory.append(S)
    S = np.array(memory)
    difference = np.abs(S - S[0]).max(axis=(1, 2))
    return {"orders": orders, "memory": S, "difference": difference, "answer": S @ six_pairs().k[5]}


def weights_of_writes(alpha: float, beta: float) -> dict[str, np.ndarray]:
    """Write twelve values under one key, and say how much of each is in the answer after every write.

    The memory is linear in its values, so values that are the columns of the identity answer with the weights.

    Returns:
        writes [12]; and weights [12, 12, R], after each write, of each value, under each of ``RULES_COMPARED``.
    """
    n = 12
    weights = np.zeros((n, n, len(RULES_COMPARED)))
    for r, slug in enumerate(RULES_COMPARED):
        S = np.zeros((n, 1))
        x = tokens(RULES[slug], one_key(alpha, beta))
        for t in range(n):
            S, weights[t, :, r] = reference.step(S, x[t])
    return {"writes": np.arange(1, n + 1), "weights": weights}


def ten_thousand(alpha: float) -> Stream:
    """Give eight keys new values of length 1 again and again."""
    rng = np.random.default_rng(0)
    k = np.eye(8)[rng.integers(8, size=LONG)]
    v = rng.standard_normal((LONG, 4))
    return stream_of(k, v / np.linalg.norm(v, axis=1, keepdims=True), alpha, beta=1.0)


def long_stream(alpha: float) -> dict[str, np.ndarray]:
    """Give eight keys new values again and again, 10,000 tokens long, and ask for the newest.

    Returns:
        tokens [N]; error [N, R], of the newest value; and norm [N, R], of the memory, under ``RULES_COMPARED``.
    """
    stream = ten_thousand(alpha)
    marks = np.unique(np.geomspace(1, LONG, 41).astype(int))
    error, norm = (np.zeros((len(marks), len(RULES_COMPARED))) for _ in range(2))
    for r, slug in enumerate(RULES_COMPARED):
        S, start = np.zeros((4, 8)), 0
        for n, stop in enumerate(marks):
            S, start = memory_after(RULES[slug], stream.window(start, stop), initial=S), stop
            error[n, r], norm[n, r] = np.linalg.norm(S @ stream.k[stop - 1] - stream.v[stop - 1]), np.linalg.norm(S)
    return {"tokens": marks, "error": error, "norm": norm}
