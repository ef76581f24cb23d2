"""An equation h' = A h + B u, its input held over steps: how far each discretisation is from the solution."""

from __future__ import annotations

import numpy as np

from gdn_core import Discretisation, Stream, reference, ssm
from gdn_core.reference import Array

END = 6.0
STEPS = np.round(3 / np.array([24, 16, 12, 10, 8, 6, 5, 4, 3, 2, 1]), 12)  # each divides the time of the held input
HALVINGS = 2.0 ** -np.arange(10)
STAIRS = np.array([1.0, -0.5, 0.75, -1.0])  # an input held for 1 each


def phi1(z: complex) -> complex:
    """Return (exp(z) - 1) / z for a complex number that is not 0."""
    return np.expm1(z) / z


def zoh(A: Array, delta: Array) -> tuple[Array, Array]:
    """Discretise by zero-order hold, also with a complex A."""
    return ssm.zoh(A, delta, phi1=phi1)


def mamba(A: Array, delta: Array) -> tuple[Array, Array]:
    """Discretise as Mamba's code does."""
    return ssm.mamba(A, delta)


METHODS = (zoh, ssm.bilinear, ssm.euler, mamba)


def run(decay: complex, inputs: np.ndarray, start: complex = 0.0) -> np.ndarray:
    """Return the states after each input of h_t = decay h_{t-1} + input_t, the first one before them."""
    h = np.array([start] + [0.0] * len(inputs), dtype=complex)
    for t, x in enumerate(inputs):
        h[t + 1] = decay * h[t] + x
    return h


def as_tokens(u: np.ndarray, rate: float, gain: float, delta: float) -> Stream:
    """Return inputs [T] as tokens whose memory is the state at A = -rate and B = gain, under every method.

    The lab has A = -1. A step of rate delta decays as much there, and takes in rate times as much of a value.
    """
    one = np.ones(len(u))
    k = one[:, None]
    v, steps = gain / rate * u[:, None], rate * delta * one
    return Stream(q=k, k=k, v=v, g=0 * one, beta=one, w=one, delta=steps, A=-np.ones(1))


def held_then_none(rate: float, gain: float) -> Stream:
    """Return the input of :func:`sampled` at the step 1/2."""
    return as_tokens(np.repeat([1.0, 0.0], 6), rate, gain, 0.5)


def of_errors(moves: str, rate: float) -> Stream:
    """Return the input of :func:`errors` at the step 1/8."""
    return as_tokens(_inputs(moves, np.arange(1, 33) / 8), rate, 1.0, 0.125)


def _inputs(moves: str, ends: np.ndarray) -> np.ndarray:
    """Return the inputs of steps that end at these times."""
    return np.sin(ends) if moves == "moving" else STAIRS[np.ceil(ends).astype(int) - 1]


def without_turning(rate: float) -> Stream:
    """Return the length of the state of :func:`turning` in steps of 0.3: a token that leaves 1, then no input."""
    u = np.zeros(21)
    u[0] = rate / -np.expm1(-0.3 * rate)
    return as_tokens(u, rate, 1.0, 0.3)


def sampled(rate: float, gain: float) -> dict[str, np.ndarray]:
    """Hold the input 1 until time 3, and 0 from then on; A = -rate and B = gain.

    Returns:
        step [N]; time [P]; exact [P]; states [N, P, M] of each method, straight between its samples; and at_three
        [N, M], its state at time 3.
    """
    time = np.linspace(0, END, 241)
    exact = gain / rate * (np.exp(-rate * np.maximum(time - 3, 0)) - np.exp(-rate * time))
    states = np.zeros((len(STEPS), len(time), len(METHODS)))
    at_three = np.zeros((len(STEPS), len(METHODS)))
    for n, step in enumerate(STEPS):
        samples = np.arange(round(END / step) + 1) * step
        u = (samples[1:] < 3 + step / 2).astype(float)
        for m, method in enumerate(METHODS):
            decay, factor = method(-rate, step)
            h = run(decay, factor * gain * u).real
            states[n, :, m], at_three[n, m] = np.interp(time, samples, h), h[round(3 / step)]
    return {"step": STEPS, "time": time, "exact": exact, "states": states, "at_three": at_three}


def errors(moves: str, rate: float) -> dict[str, np.ndarray]:
    """Measure errors at time 4 while the step is halved; the input is "held" for 1 at a time, or "moving" as sin t.

    Returns:
        step [N]; error [N, M] of each method; and trapezoid [N], of Mamba-3's rule with weight 1/2, which takes the
        mean of the inputs at both ends of a step. It is meant for an input that moves, and is NaN under one held.
    """
    error, trapezoid = np.zeros((len(HALVINGS), len(METHODS))), np.full(len(HALVINGS), np.nan)
    for n, step in enumerate(HALVINGS):
        ends = np.arange(1, round(4 / step) + 1) * step
        u = _inputs(moves, ends)
        if moves == "moving":
            true = (rate * np.sin(4) - np.cos(4) + np.exp(-4 * rate)) / (rate**2 + 1)
            decay, before, now = ssm.exponential_trapezoidal(-rate, step, 0.5)
            trapezoid[n] = abs(run(decay, before * np.sin(ends - step) + now * u)[-1] - true)
        else:
            true = STAIRS @ (np.exp(-rate * np.arange(3, -1, -1)) - np.exp(-rate * np.arange(4, 0, -1))) / rate
        for m, method in enumerate(METHODS):
            decay, factor = method(-rate, step)
            error[n, m] = abs(run(decay, factor * u)[-1] - true)
    return {"step": HALVINGS, "error": error, "trapezoid": trapezoid}


SEEN = 1.5  # how far from 0 a state is drawn


def turning(rate: float, turn: float) -> dict[str, np.ndarray]:
    """Leave a state of 1 alone until time 6; A = -rate + i turn, so that it shrinks and turns.

    Returns:
        step [N]; exact [P, 2], real and imaginary part over time; paths [N, P, 3, 2] of zero-order hold, the bilinear
        rule and Euler, a point a step; shown, the same, ended where they leave the circle of radius ``SEEN``; modulus
        [N, 3] and angle [N, 3], in degrees, of what a step multiplies by; and edge, the step from which Euler's state
        grows.
    """
    A, steps = complex(-rate, turn), np.linspace(0.1, 4, 40)
    exact = np.exp(A * np.linspace(0, END, 121))
    decay = np.array([[method(A, step)[0] for method in METHODS[:3]] for step in steps])
    count = np.minimum(np.arange(61), (END / steps + 1e-9).astype(int)[:, None])  # steps taken: a path ends at time 6
    paths = decay[:, None] ** count[..., None]
    inside = np.minimum.accumulate(np.abs(paths) < SEEN, axis=1)
    last = np.maximum.accumulate(inside * np.arange(inside.shape[1])[:, None], axis=1)
    shown = np.take_along_axis(paths, last, axis=1)
    angle = np.degrees(np.angle(decay))
    angle[:, 0] = np.degrees(steps * turn)  # which may be more than half a turn
    plane = {name: np.stack([h.real, h.imag], axis=-1) for name, h in (
        ("exact", exact), ("paths", paths), ("shown", shown))}  # fmt: skip
    return {"step": steps, **plane, "modulus": np.abs(decay), "angle": angle, "edge": np.array(2 * rate / abs(A) ** 2)}


def twelve(delta: float) -> Stream:
    """Return 16 tokens of three inputs, each with four equations of the rates 1 to 4."""
    rng, (T, V, K) = np.random.default_rng(0), (16, 3, 4)
    u, B, C = (rng.uniform(-1, 1, (T, size)) for size in (V, K, K))
    one = np.ones(T)
    return Stream(q=C, k=B, v=u, g=0 * one, beta=one, w=one, delta=delta * one, A=-np.arange(1.0, K + 1))


def as_memory(method: str, delta: float) -> dict[str, np.ndarray]:
    """Run twelve equations, for 3 inputs and 4 rates, as tokens of a memory, and solve each of them by itself.

    Returns:
        tokens [T]; memory [T, 3, 4] of the rule; solution [T, 3, 4]; and difference [T], the largest entry.
    """
    stream = twelve(delta)
    (T, V, K), A, u, B = stream.sizes, stream.A[None], stream.v, stream.k
    x = ssm.tokens(u, stream.delta[:, None], A, B, stream.q, method=Discretisation(method))
    S = h = np.zeros((V, K))
    memory, solution = [], []
    for t in range(T):
        S, _ = reference.recurrent(S, x[t : t + 1])
        rest = -np.outer(u[t], B[t]) / A  # where the state would come to rest
        h = rest + np.exp(A * delta) * (h - rest)
        memory.append(S)
        solution.append(h)
    difference = np.abs(np.array(memory) - solution).max(axis=(1, 2))
    found = {"memory": np.array(memory), "solution": np.array(solution), "difference": difference}
    return {"tokens": np.arange(1, T + 1)} | found
