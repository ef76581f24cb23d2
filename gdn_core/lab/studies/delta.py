"""The delta rule on one memory of one value channel: a row of numbers, which is a point in the plane of keys."""

from __future__ import annotations

import numpy as np

from gdn_core import reference
from gdn_core.reference import Token

BEFORE = np.array([[0.9, 1.1]])  # the memory, one value channel by two key channels


def token(beta: float, value: float, angle: float = 30.0) -> Token:
    """Return a token that writes a value under a unit key at an angle, in degrees."""
    k = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    gate = np.array([beta])
    return Token(q=k, k=k, v=np.array([value]), g=np.zeros((1, 1)), b=gate, w=gate)


def in_the_plane(value: float) -> dict[str, np.ndarray]:
    """Apply one token with every gate from 0 to 2.5.

    Returns:
        beta [N]; key [2]; before [2], the memory; valley [2, 2], two memories that answer the
        value; erased and written [N, 2], the memory after these stages; answer [N],
        to the key afterwards; and loss [N], half the squared distance of the answer from the value.
    """
    betas = np.round(np.arange(0, 2.51, 0.05), 2)
    moments = [reference.moments(BEFORE, token(beta, value)) for beta in betas]
    answer = np.array([m.o[0] for m in moments])
    k = token(0.0, value).k
    return {
        "beta": betas,
        "key": k,
        "before": BEFORE[0],
        "valley": np.stack([value * k + part * np.array([-k[1], k[0]]) for part in (-4, 4)]),
        "erased": np.array([m.erased[0] for m in moments]),
        "written": np.array([m.written[0] for m in moments]),
        "answer": answer,
        "loss": (answer - value) ** 2 / 2,
    }


def again_and_again(beta: float) -> dict[str, np.ndarray]:
    """Erase the same key twenty times, and write nothing.

    Returns:
        times [21]; memory [21, 2], after each; along and across [21], its parts along the key and at a right angle;
        eigenvalue, of the transition along the key.
    """
    x, S, memory = token(beta, 0.0), BEFORE, [BEFORE[0]]
    for _ in range(20):
        S, _ = reference.step(S, x)
        memory.append(S[0])
    found = np.array(memory)
    transition = np.stack([reference.step(row[None], x)[0][0] for row in np.eye(2)])
    return {
        "times": np.arange(21),
        "memory": found,
        "along": found @ x.k,
        "across": found @ np.array([-x.k[1], x.k[0]]),
        "eigenvalue": np.array(x.k @ transition @ x.k),
    }
