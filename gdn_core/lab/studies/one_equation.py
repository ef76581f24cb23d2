"""One equation, dS/ds = beta (v - S k) k^T, and the delta rules as steps along it."""

from __future__ import annotations

import numpy as np

from gdn_core import RULES, Stream, integrators, reference
from gdn_core.streams import tokens

STEPS = ("deltanet", "longhorn", "efla")  # explicit, implicit and exact
GATED = ("exact-gated-delta", "gated-deltanet")
SIZES = np.round(np.arange(0, 4.05, 0.1), 6)  # of the step beta kappa, kappa = |k|^2
PIECES = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64])


def after(rule: str, S: np.ndarray, k: np.ndarray, v: np.ndarray, beta: float, g: float = 0.0) -> np.ndarray:
    """Return the memory after a few tokens of one rule, [T, K] keys and [T, V] values, with the same gates at each."""
    one = np.ones(len(k))
    stream = Stream(q=k, k=k, v=v, g=g * one, beta=beta * one, w=one, delta=one, A=-np.ones(k.shape[1]))
    return reference.recurrent(S, tokens(RULES[rule], stream))[0]


def start(length: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a memory, a key of this length and a value, the last two with an axis of one token in front."""
    S = np.array([[0.6, -0.3, 0.2, 0.4], [-0.5, 0.2, 0.7, -0.1], [0.1, 0.8, -0.4, 0.3], [0.2, -0.6, 0.1, 0.5]])
    k, v = np.array([[0.5, 0.5, -0.5, 0.5]]), np.array([[1.0, -1.0, 0.5, 0.8]])
    return S, length * k, v


def repeated(length: float, beta: float, times: int, alpha: float = 1.0) -> Stream:
    """Return the token so many times. From an empty memory, whose error is v, it removes the same share of it."""
    _, k, v = start(length)
    one = np.ones(times)
    k, v = k.repeat(times, axis=0), v.repeat(times, axis=0)
    return Stream(q=k, k=k, v=v, g=np.log(alpha) * one, beta=beta * one, w=one, delta=one, A=-np.ones(k.shape[1]))


def removed(S: np.ndarray, made: np.ndarray, k: np.ndarray, v: np.ndarray) -> float:
    """Return the share of the error v - S k that a new memory has removed; above 1 it went past v."""
    error = v[0] - S @ k[0]
    return float((made - S) @ k[0] @ error / (error @ error))


def along_the_step() -> dict[str, np.ndarray]:
    """Follow the share of the error that is removed while s runs from 0 to 1, for many sizes of the step.

    Returns:
        size [N]; s [P]; exact [N, P], the solution; and share [N, 3], what the steps of ``STEPS`` remove in one go.
    """
    s, (S, k, v) = np.linspace(0, 1, 41), start(1.0)
    share = np.array([[removed(S, after(rule, S, k, v, size), k, v) for rule in STEPS] for size in SIZES])
    exact = np.array([integrators.exact(size * s, 1.0)[0] for size in SIZES])
    return {"size": SIZES, "s": s, "exact": exact, "share": share}


def four_memories(length: float) -> dict[str, np.ndarray]:
    """Write one token into a memory that is not empty, with steps of many sizes, by ``STEPS`` and the projection.

    Returns:
        size [N]; beta [N] = size / length^2; share [N, 4] of the error that is removed; and memory [N, 4, 4, 4].
    """
    S, k, v = start(length)
    kappa = float(k[0] @ k[0])
    projected = S + integrators.projection(0.0, kappa) * np.outer(v[0] - S @ k[0], k[0])
    memory = np.array([[*(after(rule, S, k, v, size / kappa) for rule in STEPS), projected] for size in SIZES])
    share = np.array([[removed(S, made, k, v) for made in row] for row in memory])
    return {"size": SIZES, "beta": SIZES / kappa, "share": share, "memory": memory}


def in_pieces(size: float) -> dict[str, np.ndarray]:
    """Cut the step of one token, of a size beta kappa, into n tokens of size / n, with the same key and value.

    Returns:
        pieces [N]; and share [N, 3] of the error that is removed in all, by ``STEPS``.
    """
    S, k, v = start(1.0)
    share = [
        [removed(S, after(rule, S, k.repeat(n, axis=0), v.repeat(n, axis=0), size / n), k, v) for rule in STEPS]
        for n in PIECES
    ]
    return {"pieces": PIECES, "share": np.array(share)}


def with_decay(alpha: float, beta: float) -> dict[str, np.ndarray]:
    """Compare one token of two gated rules with the solution of dS/ds = g S + beta (v - S k) k^T, for smaller steps.

    Returns:
        step [N], the part of the token that is taken; and difference [N, 2], the largest entry by which Gated DeltaNet,
        and EFLA behind a decay, differ from the solution, which is the exact gated delta rule.
    """
    S, k, v = start(1.0)
    steps, g = 2.0 ** -np.arange(9), float(np.log(alpha))
    difference = []
    for step in steps:
        exact, gated = (after(rule, S, k, v, beta * step, g * step) for rule in GATED)
        behind = after("efla", np.exp(g * step) * S, k, v, beta * step)
        difference.append([np.abs(made - exact).max() for made in (gated, behind)])
    return {"step": steps, "difference": np.array(difference)}
