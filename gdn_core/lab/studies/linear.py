"""Linear attention: one model in three forms, and what it loses with softmax's exponential and normaliser."""

from __future__ import annotations

import numpy as np

from gdn_core import RULES, Stream, Trajectory, reference, trajectory
from gdn_core.streams import tokens

SIX = 6


def stream_of(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> Stream:
    """Make a stream without gates."""
    one = np.ones(len(k))
    return Stream(q=q, k=k, v=v, g=0 * one, beta=one, w=one, delta=one, A=-np.ones(k.shape[1]))


def six_tokens() -> Stream:
    """Return six tokens of whole numbers."""
    rng = np.random.default_rng(3)
    return stream_of(*(rng.integers(-2, 3, size=(SIX, 4)).astype(float) for _ in range(3)))


def three_forms(chunk_size: int) -> dict[str, np.ndarray]:
    """Run six tokens of whole numbers all at once, token by token, and in chunks.

    Returns:
        scores [6, 6], the masked products of queries and keys; memory [6, 4, 4] after each token; and the outputs
        at_once, token_by_token and in_chunks, each [6, 4]; and apart [6], the largest difference of these.
    """
    stream = six_tokens()
    scores = np.tril(stream.q @ stream.k.T)
    x = tokens(RULES["linear-attention"], stream)
    S, memory, outputs = np.zeros((4, 4)), [], []
    for t in range(SIX):
        S, o = reference.step(S, x[t])
        memory.append(S)
        outputs.append(o)
    _, in_chunks = reference.chunkwise(np.zeros((4, 4)), x, chunk_size=chunk_size)
    found = {"at_once": scores @ stream.v, "token_by_token": np.array(outputs), "in_chunks": in_chunks}
    apart = np.ptp(list(found.values()), axis=0).max(axis=1)
    return {"scores": scores, "memory": np.array(memory), **found, "apart": apart}


def apart_after(run: Trajectory) -> np.ndarray:
    """Return the largest difference of the memories of two rules after each token, [T + 1]."""
    return np.abs(run.states[0] - run.states[1]).max(axis=(1, 2))


def eight_tokens(sharpness: float) -> Stream:
    """Return eight tokens that ask for their own keys, nearly; values that are columns of the identity show weights."""
    rng = np.random.default_rng(5)
    k = rng.standard_normal((8, 8))
    k /= np.linalg.norm(k, axis=1, keepdims=True)
    return stream_of(sharpness * (k + 0.3 * rng.standard_normal((8, 8))), k, np.eye(8))


def weights(sharpness: float) -> dict[str, np.ndarray]:
    """Weigh eight tokens by softmax, by products alone, and by positive features with a normaliser.

    Returns:
        token [8]; and softmax, products and features, each [8, 8]: row t has the weights of the tokens up to t.
    """
    one = eight_tokens(sharpness)
    q, k = one.q, one.k
    products = np.tril(q @ k.T)
    exponentials = np.tril(np.exp(q @ k.T))
    normalised = trajectory("linear-attention-normalised", one).o[0]
    return {
        "token": np.arange(8),
        "softmax": exponentials / exponentials.sum(axis=1, keepdims=True),
        "products": products,
        "features": normalised,
    }


def growing(keys: str) -> Stream:
    """Return 48 tokens that write one value of length 1, under one key or a new one each, and ask for the first."""
    k = np.abs(np.random.default_rng(7).standard_normal((48, 16)))
    k /= np.linalg.norm(k, axis=1, keepdims=True)
    if keys == "same":
        k[:] = k[0]
    return stream_of(np.tile(k[0], (48, 1)), k, np.tile(np.eye(1, 8), (48, 1)))


def growth(keys: str) -> dict[str, np.ndarray]:
    """Write one value under many keys, and ask with the first: the length of the answer, with and without normaliser.

    Args:
        keys: "same" for one key, "random" for a new direction at each token.

    Returns:
        tokens [48]; and with_normaliser and without [48], the length of the answer, whose value has length 1.
    """
    run = trajectory(["linear-attention-normalised", "linear-attention"], growing(keys))
    lengths = np.linalg.norm(run.o, axis=-1)
    return {"tokens": np.arange(1, len(run.stream) + 1), "with_normaliser": lengths[0], "without": lengths[1]}
