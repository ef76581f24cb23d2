"""Shared by tests of scenarios: settings to try, memories by the reference, and comparisons."""

import re

import numpy as np
import pytest
from hypothesis import strategies as st

from gdn_core import streams
from gdn_core.lab.scenarios import Settings
from gdn_core.reference import moments
from gdn_core.rules import RULES

valid_settings = st.builds(
    Settings,
    dk=st.integers(1, 64),
    dv=st.integers(1, 64),
    T=st.integers(1, 256),
    alpha=st.floats(0, 1, exclude_min=True),
    beta=st.floats(0, 2),
    write=st.floats(0, 2),
    delta=st.floats(0, 100),
    spread=st.floats(0, 1),
    noise=st.floats(0, 10),
    seed=st.integers(0, 2**32 - 1),
)


def memories(rule: str, stream: streams.Stream) -> np.ndarray:
    """The memory before the first token and after each, [T + 1, V, K], by the float64 reference."""
    x = streams.tokens(RULES[rule], stream)
    S = np.zeros((x.v.shape[1], stream.k.shape[1]))
    found = [S]
    for t in range(len(x)):
        S = moments(S, x[t]).written
        found.append(S)
    return np.stack(found)


def same(a: streams.Stream, b: streams.Stream) -> None:
    for name in ("q", "k", "v", "g", "beta", "w", "delta", "A"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def refused(sentence: str, make, kind=ValueError) -> None:
    with pytest.raises(kind, match=f"^{re.escape(sentence)}$"):
        make()


RANDOM = np.random.default_rng(0)
B, T, H, HV, K, V = 2, 7, 2, 6, 3, 4


def layout() -> dict[str, np.ndarray]:
    return {
        "q": RANDOM.standard_normal((B, T, H, K)),
        "k": RANDOM.standard_normal((B, T, H, K)),
        "v": RANDOM.standard_normal((B, T, HV, V)),
        "g": -RANDOM.random((B, T, HV)),
        "beta": 2 * RANDOM.random((B, T, HV)),
    }
