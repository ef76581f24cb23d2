"""The numbers of the lesson on the step, against the equation solved in small pieces and products of shares."""

from __future__ import annotations

import numpy as np

from gdn_core.lab.glyphs import glyph
from gdn_core.lab.studies import knob


def solved(old: float, new: float, rate: float, time: float, pieces: int = 20_000) -> float:
    """Solve h' = -rate h + new from ``old`` by the midpoint rule."""
    h, D = old, time / pieces
    for _ in range(pieces):
        h += D * (new - rate * (h + D / 2 * (new - rate * h)))
    return h


def test_the_shares_are_those_of_the_equation() -> None:
    numbers = knob.two_pictures("zoh", 1.5)
    for n in (0, 4, 30):
        step = numbers["step"][n]
        shares = [solved(1, 0, 1.5, step), solved(0, 1, 1.5, step)]
        np.testing.assert_allclose(numbers["share"][n], shares, atol=1e-7)
        mixed = shares[0] * glyph(0).pixels + shares[1] * glyph(1).pixels
        np.testing.assert_allclose(numbers["mixed"][n], mixed, atol=1e-6)
    np.testing.assert_allclose(knob.two_pictures("mamba", 1.5)["share"][:, 1], numbers["step"], atol=1e-12)


def test_a_softplus_step_shares_as_a_sigmoid() -> None:
    numbers = knob.softplus_gate()
    for a, step, (old, new) in zip(numbers["a"], numbers["step"], numbers["share"], strict=True):
        assert abs(np.exp(step) - 1 - np.exp(a)) < 1e-9 * np.exp(step)
        odds = np.exp(a)
        np.testing.assert_allclose([old, new], [1 / (1 + odds), odds / (1 + odds)], atol=1e-12)


def test_weights_are_products_of_what_each_token_leaves() -> None:
    numbers = knob.one_token_stands_out(4, 2.5)
    left = np.exp(-0.1 * np.ones(8))
    left[3] = np.exp(-2.5)
    for t in range(8):
        expected = [(1 - left[j]) * np.prod(left[j + 1 : t + 1]) if j <= t else 0 for j in range(8)]
        np.testing.assert_allclose(numbers["weights"][t], expected, atol=1e-12)
