"""What decays keep and forget: one number for all time, one a token, one a channel."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gdn_core import Stream, metrics, trajectory

T, K = 32, 8
DECAYS = ("retnet", "mamba-2", "gla")


def one_write(alpha: float, spread: float) -> Stream:
    """Write one value under all key channels alike, then nothing; a decay of alpha on average, most at some tokens."""
    busy = np.zeros(T)
    busy[[4, 5, 12, 20, 21, 22]] = T / 6  # the tokens that a gate computed from them might let forget
    mixed = 0.5 + 0.5 * busy
    channels = np.linspace(1 - spread, 1 + spread, K)
    k, v = np.zeros((T, K)), np.zeros((T, 1))
    k[0], v[0] = 1, 1
    one = np.ones(T)
    g = np.log(alpha) * mixed[:, None] * channels
    g[0] = 0
    return Stream(q=np.ones((T, K)), k=k, v=v, g=g, beta=one, w=one, delta=one, A=-np.ones(K))


def what_is_left(alpha: float, spread: float) -> dict[str, np.ndarray]:
    """Follow one write through the decays of the tokens after it.

    Returns:
        token [T]; constant and by_token [T], what is left under RetNet and Mamba-2; slowest and fastest [T], under GLA
        in the channel that decays least and in the one that decays most.
    """
    S = trajectory(DECAYS, one_write(alpha, spread)).states[:, 1:, 0]  # [rule, token, channel]
    slow, fast = S[2].max(axis=1), S[2].min(axis=1)
    return {"token": np.arange(T), "constant": S[0, :, 0], "by_token": S[1, :, 0], "slowest": slow, "fastest": fast}


def pairs(alpha: float) -> Stream:
    """Store 48 pairs under random keys of 16 channels, with one decay."""
    rng = np.random.default_rng(2)
    k, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.standard_normal((2, 48, 16)))
    one = np.ones(48)
    return Stream(q=k, k=k, v=v, g=np.log(alpha) * one, beta=one, w=one, delta=one, A=-np.ones(16))


def old_and_new(alpha: float) -> dict[str, np.ndarray]:
    """Measure the error of the newest four pairs, and what is left of the first, with a decay and without.

    A memory that only decays and adds is linear in its values: where all other values are 0, what its first key is
    answered is the part of the first value in the answer.

    Returns:
        tokens [48]; newest [48, 2], the relative errors under linear attention and Mamba-2; left [48, 2], the weight of
        the first value in the answer to its key; and first [48, 2], the relative error of that answer.
    """
    rules, stream = ["linear-attention", "mamba-2"], pairs(alpha)
    errors = metrics.recall_error(trajectory(rules, stream))
    alone = replace(stream, v=np.eye(48)[:, :1] * stream.v[0])
    left = trajectory(rules, alone).states[:, 1:] @ stream.k[0] @ stream.v[0]
    newest = np.array([errors[:, t, max(0, t - 3) : t + 1].mean(axis=1) for t in range(48)])
    return {"tokens": np.arange(1, 49), "newest": newest, "left": left.T, "first": errors[:, :, 0].T}
