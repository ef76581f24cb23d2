"""Gating and the delta rule, alone and together, on one stream that needs both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gdn_core import RULES, Stream, Trajectory, reference, streams

T, SIZE, SWITCH = 40, 16, 30  # tokens, channels, the token at which the subject changes
DRAWS = 8  # streams over which errors are averaged
SETS = {
    "grid": ("linear-attention", "mamba-2", "deltanet", "gated-deltanet"),
    "wider": ("gated-deltanet", "kimi-delta-attention", "gated-deltanet-2"),
}
OLD, CHANGED, AGAIN, RECENT = 28, 31, 36, 38  # the tokens of the facts that are asked


def facts(alpha: float, draw: int = 0) -> Stream:
    """Store facts of one subject, change the subject with a decay of alpha, store others, and give one a new value."""
    rng = np.random.default_rng(draw)
    k, v = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.standard_normal((2, T, SIZE)))
    k[AGAIN] = k[CHANGED]
    one, decay = np.ones(T), np.full((T, SIZE), np.log(0.99))
    decay[SWITCH] = np.log(alpha) * np.linspace(0.5, 1.5, SIZE)  # by channel, for the rules that can
    return Stream(q=k, k=k, v=v, g=decay, beta=one, w=one, delta=one, A=-np.ones(SIZE))


def off_now(run: Trajectory) -> np.ndarray:
    """Return how far each rule's answer to the key of a token, just written, is from its value, [R, T]."""
    return np.linalg.norm(run.o - run.stream.v, axis=2)


def short(alpha: float, eps: float) -> Stream:
    """Return the facts with short keys eps k and long values v / eps."""
    stream = facts(alpha)
    return replace(stream, q=eps * stream.q, k=eps * stream.k, v=stream.v / eps)


def recall(alpha: float, rules: str) -> dict[str, np.ndarray]:
    """Measure the errors of an old fact, of one that was given a new value, and of a recent one, after every token.

    Returns:
        token [T]; and error [T, 3, R], relative to the value that holds then, the mean of several draws of keys and
        values, NaN before there is one.
    """
    error = np.zeros((T, 3, len(SETS[rules])))
    for draw in range(DRAWS):
        stream = facts(alpha, draw)
        for r, slug in enumerate(SETS[rules]):
            x, S = streams.tokens(RULES[slug], stream), np.zeros((SIZE, SIZE))
            for t in range(T):
                S, _ = reference.step(S, x[t])
                for n, key in enumerate((OLD, CHANGED, RECENT)):
                    holds = AGAIN if key == CHANGED and t >= AGAIN else key
                    off = np.linalg.norm(S @ stream.k[key] - stream.v[holds])
                    error[t, n, r] += off / DRAWS if t >= key else np.nan
    return {"token": np.arange(T), "error": error}


def limit(alpha: float) -> dict[str, np.ndarray]:
    """Run Gated DeltaNet on keys eps k and values v / eps, and compare its memory, put back to scale, with Mamba-2's.

    Returns:
        eps [N]; and difference [N], the largest, relative to the largest entry of Mamba-2's memory.
    """

    def memory(slug: str, eps: float) -> np.ndarray:
        return reference.recurrent(np.zeros((SIZE, SIZE)), streams.tokens(RULES[slug], short(alpha, eps)))[0]

    eps = 10.0 ** -np.arange(0, 4.01, 0.25)
    mamba = memory("mamba-2", 1.0)
    difference = [np.abs(memory("gated-deltanet", e) - mamba).max() / np.abs(mamba).max() for e in eps]
    return {"eps": eps, "difference": np.array(difference)}
