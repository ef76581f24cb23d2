"""What a Gated DeltaNet attends to: its outputs as a matrix of weights on the values, exactly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gdn_core import RULES, Stream, reference, scenarios
from gdn_core.lab.scenarios import Scenario, Settings
from gdn_core.reference import Token
from gdn_core.streams import tokens

SHARP = 8.0  # the length of the queries under softmax; keys have length 1
DECAY, CHANNELS = 0.95, 64
COMPARED = ("linear-attention", "mamba-2", "gated-deltanet")


def scenario_of(text: str, alpha: float, beta: float) -> Scenario:
    """Read a text as the lab does: each word is stored under the word before it, and asks what has followed it."""
    return scenarios.from_text(text, Settings(dk=CHANNELS, dv=CHANNELS, alpha=alpha, beta=beta))


def transposed_transition(x: Token, r: np.ndarray) -> np.ndarray:
    """Return M r, where the token takes the memory S to S M, and then adds its write."""
    return np.exp(x.g[0]) * (r - x.b * x.k * (x.k @ r))


def attention(x: Token) -> np.ndarray:
    """Return the weights A [T, T] with which o_t = sum_j A[t, j] v_j, from an empty memory.

    The query walks back through the transitions of the tokens after j, and meets the key of token j.
    """
    A = np.zeros((len(x), len(x)))
    for t in range(len(x)):
        r = x.q[t]
        for j in range(t, -1, -1):
            A[t, j] = x.w[j, 0] * (x.k[j] @ r)
            r = transposed_transition(x[j], r)
    return A


def of_words(text: str, alpha: float) -> dict[str, np.ndarray]:
    """Weigh the words of a text by softmax, by linear attention, and by a Gated DeltaNet.

    Returns:
        word [T], what is stored; asks [T], the word whose follower is asked; and softmax, linear and gated [T, T]:
        row t has the weights of the words up to t.
    """
    made = scenario_of(text, alpha, beta=1.0)
    stream = made.stream
    past = np.tri(len(stream))
    stored = np.array([row.key is not None for row in made.rows])  # a question stores nothing
    raised = past * stored * np.exp(SHARP * (stream.q @ stream.k.T))
    total = raised.sum(axis=1, keepdims=True)
    return {
        "word": np.array([row.value or f"{row.query}?" for row in made.rows]),
        "asks": np.array([row.query or row.key for row in made.rows]),
        "softmax": np.divide(raised, total, out=np.zeros_like(raised), where=total > 0),
        "linear": attention(tokens(RULES["linear-attention"], stream)),
        "gated": attention(tokens(RULES["gated-deltanet"], stream)),
    }


def life_of_writes(text: str, beta: float) -> dict[str, np.ndarray]:
    """Follow how much of each write its own key still finds after every later token.

    Returns:
        token [T]; word and key [T], what was stored, and under what; and left [T, T, 3], of the write, after a token,
        under each of ``COMPARED``: NaN before the write.
    """
    made = scenario_of(text, DECAY, beta)
    T = len(made.stream)
    left = np.full((T, T, len(COMPARED)), np.nan)
    for n, slug in enumerate(COMPARED):
        x, S = tokens(RULES[slug], made.stream), np.zeros((T, made.stream.k.shape[1]))
        x = replace(x, v=np.eye(T))  # the memory is linear in its values: row j of it is what write j has left
        for t in range(T):
            S, _ = reference.step(S, x[t])
            left[: t + 1, t, n] = (S * x.k).sum(axis=1)[: t + 1]
    return {
        "token": np.arange(T),
        "word": np.array([row.value or f"{row.query}?" for row in made.rows]),
        "key": np.array([row.key or "" for row in made.rows]),
        "left": left,
    }


def two_writes(angle: float, beta: float, asked: float) -> Stream:
    """Write a value under each of two keys, the second turned by an angle in degrees, with a gate of its own.

    The first token asks for its key, the second at an angle of ``asked`` degrees from that.
    """
    turned, asks, one = np.radians([0.0, angle]), np.radians([0.0, asked]), np.ones(2)
    k, q = (np.stack([np.cos(x), np.sin(x)], axis=1) for x in (turned, asks))
    return Stream(q=q, k=k, v=np.eye(2), g=0 * one, beta=np.array([1.0, beta]), w=one, delta=one, A=-np.ones(2))


def turned_key(beta: float, asked: float) -> dict[str, np.ndarray]:
    """Weigh two writes while the second key turns away from the first.

    Args:
        beta: the gate of the second write; that of the first is 1.
        asked: the angle of the query from the first key, in degrees.

    Returns:
        angle [N], of the second key in degrees; key [N, 2]; query [2]; weights [N, 2], of the two values; and
        overlaps [N, 3], of the first key and the query, of the two keys, and of the second key and the query.
    """
    angle = np.arange(0, 181, 5)
    q = np.array([np.cos(np.radians(asked)), np.sin(np.radians(asked))])
    keys, weights, overlaps = [], [], []
    for one in angle:
        stream = two_writes(float(one), beta, asked)
        gates = stream.beta[:, None]
        x = Token(q=np.stack([q, q]), k=stream.k, v=stream.v, g=np.zeros((2, 1, 1)), b=gates, w=gates)
        first, second = stream.k
        keys.append(second)
        weights.append(attention(x)[1])
        overlaps.append([first @ q, first @ second, second @ q])
    return {
        "angle": angle, "key": np.array(keys), "query": q, "weights": np.array(weights), "overlaps": np.array(overlaps),
    }  # fmt: skip


def closed_form(text: str, alpha: float) -> dict[str, np.ndarray]:
    """Make the weights by matrices, all at once, and compare them with the walk back through the transitions.

    Returns:
        products [T, T], of queries and keys under the decays; inverse [T, T], of I + A; weights [T, T], their product
        with beta; walked [T, T]; differs [T], the largest difference of a row of the two; and apart [T], that of the
        outputs from those of the memory.
    """
    stream = scenario_of(text, alpha, beta=1.0).stream
    x = tokens(RULES["gated-deltanet"], stream)
    T, S = len(x), np.zeros((stream.v.shape[1], stream.k.shape[1]))
    G = x.g[:, 0, 0].cumsum()
    Gamma = np.exp(np.minimum(G[:, None] - G, 0)) * np.tri(T)
    products = (x.q @ x.k.T) * Gamma
    inverse = np.linalg.inv(np.eye(T) + np.tri(T, k=-1) * x.b * (x.k @ x.k.T) * Gamma)
    weights = products @ inverse * x.w[:, 0]
    apart = []
    for t in range(T):
        S, o = reference.step(S, x[t])
        apart.append(np.abs(weights[t] @ x.v - o).max())
    return {
        "products": products, "inverse": inverse, "weights": weights, "walked": (walked := attention(x)),
        "differs": np.abs(weights - walked).max(axis=1), "apart": np.array(apart),
    }  # fmt: skip
