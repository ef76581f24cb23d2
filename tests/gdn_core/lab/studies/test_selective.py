"""The numbers of the lesson on Mamba, against products of what each token leaves."""

from __future__ import annotations

import numpy as np
import pytest

from gdn_core.lab.glyphs import glyph
from gdn_core.lab.studies import selective


def weights(steps: list[float], t: int) -> list[float]:
    """Return the weight of each token after token t: what it writes, times what each later one leaves."""
    found = []
    for j in range(len(steps)):
        left = np.prod([np.exp(-step) for step in steps[j + 1 : t + 1]])
        found.append((1 - np.exp(-steps[j])) * left if j <= t else 0.0)
    return found


def test_pictures_are_held_in_the_weights_of_their_steps() -> None:
    steps = [3.0, 0.0, 0.5, 10.0, 0.2]
    numbers = selective.by_hand("3 0 0.5 10 0.2")
    for t in range(5):
        for r, used in enumerate((steps, [0.5] * 5)):  # S4's is the median
            np.testing.assert_allclose(numbers["share"][t, r], weights(used, t), atol=1e-12)
            held = sum(w * glyph(n).pixels for n, w in enumerate(weights(used, t)))
            np.testing.assert_allclose(numbers[("mamba", "s4")[r]][t], held, atol=1e-12)


def test_filler_words_are_told_from_the_others_and_weighed() -> None:
    numbers = selective.of_a_text("The mill, and the RIVER!", 0.1)
    assert numbers["word"].tolist() == ["the", "mill", "and", "the", "river"]
    steps = [0.1, 0.5, 0.1, 0.1, 0.5]
    np.testing.assert_allclose(numbers["step"], steps)
    for t in (0, 2, 4):
        for r, used in enumerate((steps, [0.1] * 5)):
            expected = np.array(weights(used, t))
            np.testing.assert_allclose(numbers["weight"][t, r, : t + 1], expected[: t + 1], atol=1e-12)
            assert np.isnan(numbers["weight"][t, r, t + 1 :]).all()
            kept = [expected[[1, 4]].sum(), expected[[0, 2, 3]].sum()]
            np.testing.assert_allclose(numbers["kept"][t, r], kept, atol=1e-12)


@pytest.mark.parametrize("count", [1, 20])
def test_no_fixed_step_keeps_more_of_the_fact_than_the_bound(count: int) -> None:
    numbers = selective.every_fixed_step(count, 0.05)
    bound = (count / (count + 1)) ** count / (count + 1)
    assert numbers["fact"].max() <= bound + 1e-12
    assert numbers["best"][1] == pytest.approx(bound)
    for n in (0, 12, 24):
        fact, *rest = weights([float(numbers["step"][n])] * (count + 1), count)
        np.testing.assert_allclose([numbers["fact"][n], numbers["rest"][n]], [fact, sum(rest)], atol=1e-12)
    fact, *rest = weights([3.0] + [0.05] * count, count)
    np.testing.assert_allclose(numbers["mamba"], [fact, sum(rest)], atol=1e-12)
