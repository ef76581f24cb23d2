"""The lineage as a map: each rule beside the next, on the gates that should make the two alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gdn_core import RULES, Discretisation, Stream, reference
from gdn_core.streams import tokens

EPS = 2.0**-6

#: From one rule to the next: what is changed in a stream for each of the two. A pair that is not alike has no changes.
EDGES = {
    ("fast-weights", "linear-attention"): ({}, {}),
    ("softmax-attention", "linear-attention-normalised"): None,
    ("linear-attention-normalised", "linear-attention"): ({}, {}),
    ("linear-attention", "retnet"): ({}, {"g": lambda s: 0 * s.g}),
    ("retnet", "mamba-2"): ({}, {"g": lambda s: 0 * s.g + np.median(s.g, axis=0)}),
    ("mamba-2", "gla"): ({}, {"g": lambda s: s.g.mean(axis=1)}),
    ("s4", "mamba"): ({}, {"delta": lambda s: 0 * s.delta + np.median(s.delta, axis=0)}),
    ("mamba", "mamba-2"): (
        {"A": lambda s: 0 * s.A - 1, "delta": lambda s: s.delta[:, 0]},
        {"g": lambda s: -s.delta[:, 0], "v": lambda s: s.delta[:, :1] * s.v},
    ),
    ("linear-attention", "deltanet"): ({}, {}),
    ("deltanet", "longhorn"): ({}, {}),
    ("deltanet", "efla"): ({}, {}),
    ("deltanet", "gated-deltanet"): ({}, {"g": lambda s: 0 * s.g}),
    ("mamba-2", "gated-deltanet"): (
        {},
        {"k": lambda s: EPS * s.k, "v": lambda s: s.v / EPS, "beta": lambda s: 0 * s.beta + 1},
    ),
    ("efla", "exact-gated-delta"): ({}, {"g": lambda s: 0 * s.g}),
    ("gated-deltanet", "exact-gated-delta"): ({}, {}),
    ("gated-deltanet", "kimi-delta-attention"): ({}, {"g": lambda s: s.g.mean(axis=1)}),
    ("gla", "gated-deltanet-2"): ({}, {"beta": lambda s: 0 * s.beta, "w": lambda s: 0 * s.w + 1}),
    ("kimi-delta-attention", "gated-deltanet-2"): (
        {},
        {"beta": lambda s: s.beta.mean(axis=1), "w": lambda s: s.beta.mean(axis=1)},
    ),
}


def stream_of(seed: int = 0) -> Stream:
    """Return twelve random tokens, with gates of their own for each channel."""
    rng, (T, V, K) = np.random.default_rng(seed), (12, 4, 6)
    q, k = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in rng.standard_normal((2, T, K)))
    beta, w, delta = rng.uniform(0.2, 1, (T, K)), rng.uniform(0.2, 1, (T, V)), rng.uniform(0.1, 1, (T, V))
    g, A = np.log(rng.uniform(0.6, 1, (T, K))), -rng.uniform(0.5, 2, (V, K))
    return Stream(q=q, k=k, v=rng.standard_normal((T, V)), g=g, beta=beta, w=w, delta=delta, A=A)


def memory(rule: str, stream: Stream, discretisation: Discretisation | None = None) -> np.ndarray:
    """Return the memory after a stream, without the row of a normaliser."""
    x = tokens(RULES[rule], stream, discretisation=discretisation if RULES[rule].discretisation else None)
    return reference.recurrent(np.zeros((x.v.shape[1], stream.k.shape[1])), x)[0][: stream.v.shape[1]]


def along_the_edges() -> dict[str, np.ndarray]:
    """Run both rules of each edge on one stream, changed so that they should be alike.

    Returns:
        rules [E, 2]; and difference [E], the largest entry by which the memories differ; NaN where one has no memory.
    """
    stream, found = stream_of(), []
    for rules, changes in EDGES.items():
        if changes is None:
            found.append(np.nan)
            continue
        how = RULES[rules[0]].discretisation  # for both, so that they differ in their clocks alone
        pair = [
            memory(rule, replace(stream, **{name: make(stream) for name, make in change.items()}), how)
            for rule, change in zip(rules, changes, strict=True)
        ]
        found.append(np.abs(pair[1] - pair[0]).max())
    return {"rules": np.array(list(EDGES)), "difference": np.array(found)}


#: A wider rule, a narrower one, and the gate of the wider one that is turned, from where it starts.
PAIRS = {
    "deltanet": ("gated-deltanet", "g"),
    "linear-attention": ("mamba-2", "g"),
    "mamba-2": ("gated-deltanet", "beta"),
}


def at_a_gate(narrow: str, gate: float) -> Stream:
    """Return the stream with that gate at every token; all other gates have one number a token."""
    s, turned = stream_of(), PAIRS[narrow][1]
    one = np.ones(len(s))
    flat = replace(s, g=s.g.mean(axis=1), beta=s.beta.mean(axis=1), w=one, delta=one)
    return replace(flat, **{turned: np.log(gate) * one if turned == "g" else gate * one})


def one_in_another(narrow: str) -> dict[str, np.ndarray]:
    """Turn one gate of a wider rule, the same at every token, until nothing decays or nothing is erased.

    Args:
        narrow: the narrower rule, one of ``PAIRS``.

    Returns:
        gate [N], the decay from 0.5 up to 1, or the gate beta from 1 down to 0; wider [N, 4, 6], the memory of the
        wider rule after twelve tokens; narrower [4, 6], that of the narrower one; and difference [N], the largest.
    """
    wide, turned = PAIRS[narrow]
    gate = np.linspace(0.5, 1, 11) if turned == "g" else np.linspace(1, 0, 11)
    wider = np.array([memory(wide, at_a_gate(narrow, x)) for x in gate.tolist()])
    narrower = memory(narrow, stream_of())
    difference = np.abs(wider - narrower).max(axis=(1, 2))
    return {"gate": gate, "wider": wider, "narrower": narrower, "difference": difference}
