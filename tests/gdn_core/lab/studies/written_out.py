"""A rule's memory by its equation written out, which shares no code with the reference."""

import numpy as np

from gdn_core import streams
from gdn_core.rules import RULES


def memory(rule: str, stream: streams.Stream, n: int) -> np.ndarray:
    """The memory after n tokens, by the rule's equation written out."""
    S = np.zeros((stream.v.shape[1], stream.k.shape[1]))
    erases, decays = RULES[rule].erase.value != "none", RULES[rule].decay.value != "none"
    for t in range(n):
        S = (np.exp(stream.g[t]) if decays else 1.0) * S
        beta = stream.beta[t] if erases else 0.0
        write = stream.beta[t] if erases else 1.0
        S = S - beta * np.outer(S @ stream.k[t], stream.k[t]) + write * np.outer(stream.v[t], stream.k[t])
    return S
