"""The numbers of the lesson on S4, against sums written out and a fit of all convolutions."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gdn_core.lab.studies import convolution

C = (4, -24, 36, -14)


def recurrence(inputs: list[float], steps: list[float]) -> list[float]:
    """Solve h' = -r h + u for four rates, each input held over its step, and weigh the states."""
    h, outputs = [0.0] * 4, []
    for u, step in zip(inputs, steps, strict=True):
        rest = [u / rate for rate in (1, 2, 3, 4)]  # where each state would come to rest
        h = [w + math.exp(-rate * step) * (x - w) for rate, x, w in zip((1, 2, 3, 4), h, rest, strict=True)]
        outputs.append(sum(c * x for c, x in zip(C, h, strict=True)))
    return outputs


@pytest.mark.parametrize("delta", [0.05, 0.8])
def test_a_1_is_answered_by_the_kernel_wherever_it_comes(delta: float) -> None:
    numbers = convolution.impulses(delta)
    for t in (0, 4, 15):
        inputs = [float(n == t) for n in range(16)]
        np.testing.assert_allclose(numbers["output"][t], recurrence(inputs, [delta] * 16), atol=1e-12)
        lag = min(3, 15 - t)
        assert numbers["entry"][t] == pytest.approx(recurrence([1.0] + [0.0] * lag, [delta] * (lag + 1))[lag])
    assert numbers["difference"].max() < 1e-12


@pytest.mark.parametrize("name", ["steps", "wave", "noise"])
def test_three_ways_give_the_outputs_of_the_equation(name: str) -> None:
    numbers = convolution.three_ways(0.3, name)
    inputs = numbers["input"].tolist()
    right = recurrence(inputs, [0.3] * 16)
    kernel = recurrence([1.0] + [0.0] * 15, [0.3] * 16)
    for way in ("recurrence", "convolution", "fft"):
        np.testing.assert_allclose(numbers[way], right, atol=1e-12)
    for t in (0, 7, 15):
        assert sum(kernel[j] * inputs[t - j] for j in range(t + 1)) == pytest.approx(right[t])
        np.testing.assert_allclose(numbers["rows"][t, t, : t + 1], kernel[t::-1], atol=1e-12)
        assert (numbers["rows"][t, t + 1 :] == 0).all()
    assert numbers["states"][7, 0] @ C == pytest.approx(right[7])


def test_too_few_zeros_wrap_the_end_around_to_the_start() -> None:
    numbers = convolution.padded(0.2, "noise")
    inputs = convolution.signal("noise")
    kernel = recurrence([1.0] + [0.0] * 15, [0.2] * 16)
    for zeros in (0, 5, 14, 16):
        circle = np.zeros(16 + zeros)
        for j in range(16):
            for i in range(16):
                circle[(i + j) % len(circle)] += kernel[j] * inputs[i]
        np.testing.assert_allclose(numbers["output"][zeros], circle[:16], atol=1e-12)
        assert numbers["wrapped"][zeros] == max(0, 15 - zeros)


def test_no_convolution_is_nearer_than_the_one_that_is_shown() -> None:
    numbers = convolution.with_steps_of_tokens(0.3)
    steps = numbers["steps"][12].tolist()
    np.testing.assert_allclose(steps, 0.4 * 0.3 + 0.6 * numbers["steps"][20])
    columns = [recurrence([float(t == j) for t in range(16)], steps) for j in range(16)]
    whole = np.array(columns).T
    np.testing.assert_allclose(numbers["matrix"][12], whole, atol=1e-12)
    shifts = np.array([np.eye(16, k=-j).ravel() for j in range(16)]).T  # all convolutions are their combinations
    fit, *_ = np.linalg.lstsq(shifts, whole.ravel(), rcond=None)
    rest = whole.ravel() - shifts @ fit
    np.testing.assert_allclose(numbers["rest"][12].ravel(), rest, atol=1e-12)
    assert numbers["missed"][12] == pytest.approx(np.linalg.norm(rest) / np.linalg.norm(whole))
    assert numbers["missed"][0] < 1e-12
    low, high = numbers["tokens"]
    assert (steps[low], steps[high]) == (min(steps), max(steps))
    assert numbers["answers"][12] == pytest.approx([columns[low][low], columns[high][high]])
