"""What decays keep and forget: one number for all time, one a token, one a channel."""

from __future__ import annotations

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
    """Measure the error of the first pair and of the newest four, with a decay and without.

    Returns:
        tokens [48]; first and newest [48, 2], the relative errors under linear attention and Mamba-2.
    """
    errors = metrics.recall_error(trajectory(["linear-attention", "mamba-2"], pairs(alpha)))
    newest = np.array([errors[:, t, max(0, t - 3) : t + 1].mean(axis=1) for t in range(48)])
    return {"tokens": np.arange(1, 49), "first": errors[:, :, 0].T, "newest": newest}
