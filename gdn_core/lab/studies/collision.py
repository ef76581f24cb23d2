"""More pairs than key channels: how each rule's answers become wrong, and how right any matrix can be."""

from __future__ import annotations

import numpy as np

from gdn_core import RULES, Discretisation, Stream, metrics, reference, trajectory
from gdn_core.streams import tokens

CHANNELS = 16


def keys_of(keys: str, channels: int) -> np.ndarray:
    """Return three times as many unit keys as channels: "orthogonal" in each block of as many, or "random"."""
    blocks = np.random.default_rng(0).standard_normal((3, channels, channels))
    if keys == "orthogonal":
        blocks[0] = np.eye(channels)
        blocks = np.linalg.qr(blocks)[0] * np.array([-1, 1, 1])[:, None, None]  # the first block is the axes
    return (blocks / np.linalg.norm(blocks, axis=-1, keepdims=True)).reshape(-1, channels)


def stream_of(k: np.ndarray, alpha: float) -> Stream:
    """Store a unit value in a random direction under each key, and ask for the key."""
    v = np.random.default_rng(1).standard_normal((len(k), CHANNELS))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    one, rate = np.ones(len(k)), np.log(alpha)
    return Stream(q=k, k=k, v=v, g=rate * one, beta=one, w=one, delta=one, A=rate * np.ones(k.shape[1]))


def recall_of_all(keys: str, alpha: float) -> dict[str, np.ndarray]:
    """Measure after each write the squared error of all pairs so far, relative to the values, under every rule.

    Rules with a decay all have the same one, so that some rules are one: those of state space models take Mamba's step.

    Returns:
        pairs [T]; rule [R]; error [T, R], of each rule; same [R], the place of the first rule that has the same errors;
        best [T], of the matrix of least squared error; and overlaps [T], what an additive memory is expected to have
        under random keys.
    """
    stream = stream_of(keys_of(keys, CHANNELS), alpha)
    halves = tuple(RULES)[:8], tuple(RULES)[8:]  # a trajectory has eight rules at most
    runs = [trajectory(rules, stream, discretisation=Discretisation.MAMBA) for rules in halves]
    errors = np.concatenate([metrics.recall_error(run) for run in runs])  # [rule, after a token, pair]
    error = np.nanmean(errors**2, axis=2).T
    alike = np.abs(error[:, :, None] - error[:, None, :]).max(axis=0) < 1e-5  # float32, in which the memories are
    pairs = np.arange(1, len(stream) + 1)
    return {
        "pairs": pairs,
        "rule": np.array(list(RULES)),
        "error": error,
        "same": alike.argmax(axis=1),
        "best": best_of(stream),
        "overlaps": (pairs - 1) / CHANNELS,
    }


def best_of(stream: Stream) -> np.ndarray:
    """Return the squared error of all pairs so far under the matrix that has the least, [T]; values have length 1."""
    best = []
    for n in range(1, len(stream) + 1):
        k, v = stream.k[:n], stream.v[:n]
        S = np.linalg.lstsq(k, v, rcond=None)[0]
        best.append(((k @ S - v) ** 2).sum() / n)
    # up to as many pairs as channels all can be recalled, and the rest is rounding
    return np.array(best) * (np.arange(1, len(stream) + 1) > CHANNELS)


def answer_to_the_first(keys: str, channels: int) -> dict[str, np.ndarray]:
    """Compare the error of the first key in an additive memory with what the overlaps of the keys add up to.

    Returns:
        pairs [T]; measured and predicted [T], the lengths of the error; weights [T, T], after each write the inner
        products of the keys so far with the first; and overlaps [T, T], of all keys.
    """
    k = keys_of(keys, channels)
    stream = stream_of(k, alpha=1.0)
    run = trajectory("linear-attention", stream)
    overlaps = k @ k.T
    weights = np.tri(len(k)) * overlaps[0]
    return {
        "pairs": np.arange(1, len(k) + 1),
        "measured": np.linalg.norm(run.states[0, 1:] @ k[0] - stream.v[0], axis=1),
        "predicted": np.linalg.norm(weights @ stream.v - stream.v[0], axis=1),
        "weights": weights,
        "overlaps": overlaps,
    }


def three_tokens(angle: float, beta: float) -> Stream:
    """Return three tokens of two channels, the third key at an angle, in degrees, from the first."""
    k = np.array([[1.0, 0.0], [0.0, 1.0], [np.cos(np.radians(angle)), np.sin(np.radians(angle))]])
    v, gate, one = np.array([[1.0, 0.0], [0.0, 1.0], [-0.8, 0.6]]), np.full(3, beta), np.ones(3)
    return Stream(q=k, k=k, v=v, g=0 * one, beta=gate, w=one, delta=one, A=-np.ones(2))


def third_key(beta: float) -> dict[str, np.ndarray]:
    """Write three keys of two channels under the delta rule, for many angles of the third.

    Returns:
        angle [N], in degrees; parts [N, 2], the third key in terms of the first two; values [3, 2]; before [N, 2], what
        the third key is answered before it is written; after [N, 3, 2], what all three are answered then; and off [N,
        3], how far these answers are from the values.
    """
    angle = np.arange(0, 181, 5)
    parts, before, after = [], [], []
    for degrees in angle.tolist():
        stream = three_tokens(degrees, beta)
        k, x = stream.k, tokens(RULES["deltanet"], stream)
        earlier, _ = reference.recurrent(np.zeros((2, 2)), x[:2])
        S, _ = reference.step(earlier, x[2])
        parts.append(np.linalg.solve(k[:2].T, k[2]))
        before.append(earlier @ k[2])
        after.append(k @ S.T)
    found = {"parts": parts, "before": before, "after": after}
    off = np.linalg.norm(np.array(after) - stream.v, axis=-1)
    return {"angle": angle, "values": stream.v, "off": off} | {name: np.array(rows) for name, rows in found.items()}
