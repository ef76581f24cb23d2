"""The step of a state space model as a knob: how much of the old stays, and how much of the new comes in."""

from __future__ import annotations

import numpy as np

from gdn_core import Discretisation, Stream, reference, ssm
from gdn_core.lab.glyphs import glyph

STEPS = np.round(np.arange(0, 6.05, 0.1), 6)
TOKENS = 8
ONE = np.ones((1, 1))


def two_pictures(method: str, rate: float) -> dict[str, np.ndarray]:
    """Write a picture of 8 x 8 into a memory that holds another, with steps of many sizes.

    Returns:
        step [N]; old and new [8, 8]; mixed [N, 8, 8], the memory after the token; and share [N, 2], of the old and the
        new picture in it.
    """
    old, new = (glyph(n).pixels.astype(float) for n in (0, 1))
    values = np.array([[1.0, 0.0], [0.0, 1.0]])  # the old picture alone, then the new one
    shares = []
    for step in STEPS:
        x = ssm.tokens(values[1:], np.array([[step]]), -rate * ONE, ONE, ONE, method=Discretisation(method))
        shares.append(reference.recurrent(values[:1].T, x)[0][:, 0])
    share = np.array(shares)
    mixed = share[:, :1, None] * old + share[:, 1:, None] * new
    return {"step": STEPS, "old": old, "new": new, "mixed": mixed, "share": share}


def softplus_gate() -> dict[str, np.ndarray]:
    """Compute the step as softplus(a) = ln(1 + e^a), as a layer does, with A = -1 and zero-order hold.

    Returns:
        a [N]; step [N]; share [N, 2], of the old state and the new input; and sigmoid [N], 1 / (1 + e^-a).
    """
    a = np.round(np.arange(-6, 6.1, 0.5), 6)
    step = np.log1p(np.exp(a))
    decay, factor = ssm.zoh(-np.ones_like(step), step)
    return {"a": a, "step": step, "share": np.stack([decay, factor], axis=1), "sigmoid": 1 / (1 + np.exp(-a))}


def with_steps(at: int, delta: float) -> Stream:
    """Return eight tokens under the key 1, with the step 0.1, or delta at one of them; values show the weights."""
    one, steps = np.ones(TOKENS), np.full(TOKENS, 0.1)
    steps[at - 1] = delta
    k = one[:, None]
    return Stream(q=k, k=k, v=np.eye(TOKENS), g=0 * one, beta=one, w=one, delta=steps, A=-np.ones(1))


def one_token_stands_out(at: int, delta: float) -> dict[str, np.ndarray]:
    """Write eight tokens, all with the step 0.1 but one; zero-order hold with A = -1.

    The memory is linear in its values, so values that are the columns of the identity show the weights.

    Returns:
        tokens [8]; step [8]; and weights [8, 8], after each token, of each token.
    """
    stream, one = with_steps(at, delta), np.ones((TOKENS, 1))
    x = ssm.tokens(stream.v, stream.delta[:, None], -ONE, one, one, method=Discretisation.ZOH)
    S, weights = np.zeros((TOKENS, 1)), []
    for t in range(TOKENS):
        S, _ = reference.recurrent(S, x[t : t + 1])
        weights.append(S[:, 0])
    return {"tokens": np.arange(1, TOKENS + 1), "step": stream.delta, "weights": np.array(weights)}
