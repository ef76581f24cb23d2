"""A state space model with one step for all tokens: its outputs token by token, as a convolution, and by FFT."""

from __future__ import annotations

import numpy as np

from gdn_core import Stream, reference, ssm

T = 16
RATES = np.arange(1.0, 5.0)
OUT = np.array([4.0, -24.0, 36.0, -14.0])  # C, the weight of each of the four states in the output
LAG = 3
SPREADS = np.round(np.linspace(0, 1, 21), 6)


def discrete(steps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return Abar and Bbar of each token, [T, 4], by zero-order hold with B = 1."""
    return ssm.zoh(-RATES, steps[:, None])


def stream_of(u: np.ndarray, steps: np.ndarray) -> Stream:
    """Return inputs [T], with a step each, as a stream: the values are the inputs, B the keys, C the queries."""
    one = np.ones((len(u), len(OUT)))
    gate = one[:, 0]
    return Stream(q=one * OUT, k=one, v=u[:, None], g=0 * gate, beta=gate, w=gate, delta=steps, A=-RATES)


def memories(u: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the memory after each token, [T, V, 4], of inputs [T, V], by the recurrence from an empty memory."""
    decay, write = discrete(steps)
    none = np.zeros((len(u), 1))
    x = reference.Token(q=0 * decay + OUT, k=write, v=u, g=np.log(decay)[:, None], b=none, w=none + 1)
    S, found = np.zeros((u.shape[1], len(OUT))), []
    for t in range(len(u)):
        S, _ = reference.step(S, x[t])
        found.append(S)
    return np.array(found)


def outputs(u: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Return the outputs of the recurrence, [T, V], of inputs [T, V]."""
    return memories(u, steps) @ OUT


def kernel(delta: float) -> np.ndarray:
    """Return K_j = C Abar^j Bbar, the output j tokens after an input of 1."""
    decay, write = discrete(np.array([delta]))
    return (decay ** np.arange(T)[:, None]) @ (OUT * write[0])


def matrix(K: np.ndarray) -> np.ndarray:
    """Return the matrix of a convolution: K_{t-j} at row t, column j, and 0 above the diagonal."""
    gap = np.subtract.outer(np.arange(len(K)), np.arange(len(K)))
    return np.where(gap < 0, 0, K[np.maximum(gap, 0)])


def by_fft(K: np.ndarray, u: np.ndarray, zeros: int) -> np.ndarray:
    """Convolve by three Fourier transforms of kernel and input with so many zeros behind them."""
    size = len(u) + zeros
    return np.fft.irfft(np.fft.rfft(K, size) * np.fft.rfft(u, size), size)[: len(u)]


def signal(name: str) -> np.ndarray:
    """Return an input: "steps" up and down, a "wave", "noise", or "one" at a single token."""
    t = np.arange(T)
    inputs = {
        "steps": np.where(t // 4 % 2 == 0, 1.0, -0.5),
        "wave": np.sin(t / 2),
        "noise": np.random.default_rng(4).uniform(-1, 1, T),
        "one": (t == 4).astype(float),
    }
    return inputs[name]


def impulses(delta: float) -> dict[str, np.ndarray]:
    """Give an input of 1 at one token, and of 0 at all others, for each token in turn.

    Returns:
        token [T]; output [T, T], for each token that has the 1; moved [T, T], the kernel moved there; lag [T], how
        many tokens later is looked; later [T], the output then; entry [T], the kernel's number for that; and difference
        [T], the largest of the two curves.
    """
    K, at = kernel(delta), np.arange(T)
    output = outputs(np.eye(T), np.full(T, delta)).T
    moved = matrix(K).T
    lag = np.minimum(LAG, T - 1 - at)
    difference = np.abs(output - moved).max(axis=1)
    found = {"token": at, "output": output, "moved": moved, "lag": lag, "entry": K[lag]}
    return found | {"later": output[at, at + lag], "difference": difference}


def three_ways(delta: float, name: str) -> dict[str, np.ndarray]:
    """Compute the outputs of one input by the recurrence, by the matrix of the convolution, and by FFT.

    Returns:
        token [T]; input, recurrence, convolution and fft [T]; rows [T, T, T], the rows of the matrix up to each token;
        states [T, 1, 4], the memory after each token; and difference [T], the largest of the three so far.
    """
    K, u = kernel(delta), signal(name)
    M, states = matrix(K), memories(u[:, None], np.full(T, delta))
    ways = {"recurrence": states[:, 0] @ OUT, "convolution": M @ u, "fft": by_fft(K, u, T)}
    apart = np.ptp(list(ways.values()), axis=0)
    so_far = np.tri(T)[:, :, None]  # [token, row, 1]
    found = {"token": np.arange(T), "input": u, **ways, "rows": so_far * M, "states": states}
    return found | {"difference": np.maximum.accumulate(apart)}


def padded(delta: float, name: str) -> dict[str, np.ndarray]:
    """Convolve by FFT with more and more zeros behind the input: without enough its end wraps around to its start.

    Returns:
        zeros [T + 1]; right [T], of the recurrence; output [T + 1, T]; wrapped [T + 1], how many outputs are wrong; and
        difference [T + 1], the largest.
    """
    K, u = kernel(delta), signal(name)
    right, zeros = outputs(u[:, None], np.full(T, delta))[:, 0], np.arange(T + 1)
    output = np.array([by_fft(K, u, int(n)) for n in zeros])
    off = np.abs(output - right)
    wrapped = (off > 1e-9).sum(axis=1)
    return {"zeros": zeros, "right": right, "output": output, "wrapped": wrapped, "difference": off.max(axis=1)}


def steps_of_tokens(delta: float) -> np.ndarray:
    """Return steps about a mean, delta, that differ more and more, [N, T]."""
    return delta * (1 + SPREADS[:, None] * np.random.default_rng(0).uniform(-1, 1, T))


def with_steps_of_tokens(delta: float) -> dict[str, np.ndarray]:
    """Spread the steps of the tokens about their mean, and look for the convolution that is nearest to what comes out.

    The answer to an input of 1 at token j is column j of a matrix. Of all convolutions the nearest has the mean of
    each diagonal.

    Returns:
        spread [N]; steps [N, T]; matrix, nearest and rest [N, T, T]; missed [N], the size of the rest over that of the
        matrix; tokens [2], those of the smallest and of the largest step; and answers [N, 2], the output at each of
        these when the 1 comes there.
    """
    steps = steps_of_tokens(delta)
    found = np.array([outputs(np.eye(T), one) for one in steps])
    gap = np.subtract.outer(np.arange(T), np.arange(T))
    kernels = np.array([[np.diagonal(M, -j).mean() for j in range(T)] for M in found])
    nearest = np.where(gap < 0, 0, kernels[:, np.maximum(gap, 0)])
    rest = found - nearest
    missed = np.linalg.norm(rest, axis=(1, 2)) / np.linalg.norm(found, axis=(1, 2))
    ends = np.array([steps[-1].argmin(), steps[-1].argmax()])
    return {
        "spread": SPREADS, "steps": steps, "matrix": found, "nearest": nearest, "rest": rest, "missed": missed,
        "tokens": ends, "answers": found[:, ends, ends],
    }  # fmt: skip
