"""The numbers of the lesson on softmax attention, against sums written out and a clock of numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from gdn_core.lab.glyphs import glyph
from gdn_core.lab.studies import softmax


def weights(q: np.ndarray, keys: np.ndarray) -> list[float]:
    """Weigh keys by the exponential of their products with a query."""
    exponentials = [math.exp(sum(a * b for a, b in zip(q, k, strict=True))) for k in keys.tolist()]
    return [e / sum(exponentials) for e in exponentials]


def test_an_answer_is_the_pictures_in_their_weights() -> None:
    numbers, k = softmax.weights(5, 0.6), softmax.eight_keys(0.6)
    np.testing.assert_allclose(np.linalg.norm(k, axis=1), 1)
    for n in (0, 7, 40):
        expected = weights(n / 2 * k[4], k)
        np.testing.assert_allclose(numbers["weight"][n, :, 0], expected)
        answer = sum(w * glyph(i).pixels for i, w in enumerate(expected))
        np.testing.assert_allclose(numbers["answer"][n], answer)
        assert numbers["other"][n] == max({0, 1, 2, 3, 5, 6, 7}, key=expected.__getitem__)
    assert (softmax.eight_keys(0.9) @ softmax.eight_keys(0.9).T).min() > (k @ k.T).min()


def test_a_cache_holds_every_pair_and_a_memory_their_sum() -> None:
    numbers, stream = softmax.cache_and_memory(3), softmax.pairs()
    for n in (1, 9, 24):
        k, v = stream.k[:n], stream.v[:n]
        np.testing.assert_array_equal(numbers["keys"][n - 1, :n], k)
        assert np.isnan(numbers["values"][n - 1, n:]).all()
        S = sum(np.outer(v[i], k[i]) for i in range(n))
        np.testing.assert_allclose(numbers["memory"][n - 1], S, atol=1e-12)
        answers = [[np.array(weights(3 * k[i], k)) @ v for i in range(n)], [S @ k[i] for i in range(n)]]
        missed = np.linalg.norm(answers - v, axis=2).mean(axis=1)
        np.testing.assert_allclose(numbers["error"][n - 1], missed, atol=1e-12)
        assert (numbers["cached"][n - 1], numbers["held"][n - 1]) == (n * 16, 64)


def clock_of(*durations: int) -> Callable[[], float]:
    """Return a clock by which calls take these times, one after the other, and again."""
    times = [0]

    def clock() -> float:
        times.append(times[-1] + (durations[len(times) // 2 % len(durations)] if len(times) % 2 == 0 else 100))
        return float(times[-1])

    return clock


def test_the_shortest_of_three_times_is_kept_and_all_bytes_are_counted() -> None:
    numbers = softmax.live("text", 1, clock=clock_of(5, 3, 4))
    assert (numbers["seconds"] == 3).all()
    assert (numbers["grown"][1:] == 1).all()
    length = numbers["length"]
    np.testing.assert_array_equal(numbers["bytes"][:, 0], 4 * length**2)
    np.testing.assert_array_equal(numbers["bytes"][:, 1], 4 * (64 * 64 + 64 * 64))
    numbers = softmax.live("token", 1, clock=clock_of(2))
    np.testing.assert_array_equal(numbers["bytes"], [[4 * 2 * 64 * n, 4 * 64 * 64] for n in numbers["length"]])


def test_what_is_timed_is_attention_and_linear_attention() -> None:
    q, k, v = np.random.default_rng(2).standard_normal((3, 150, 64)) / 8  # two chunks and a part of one
    by_softmax, by_memory = softmax.text_by_softmax(q, k, v)[0], softmax.text_by_memory(q, k, v)[0]
    S = np.zeros((64, 64))
    for t in range(150):
        S += np.outer(v[t], k[t])
        np.testing.assert_allclose(by_memory[t], S @ q[t], atol=1e-12)
    for t in (0, 70, 149):
        np.testing.assert_allclose(by_softmax[t], np.array(weights(q[t], k[: t + 1])) @ v[: t + 1], atol=1e-12)
    np.testing.assert_allclose(softmax.token_by_softmax(q, k, v)[0][0], by_softmax[-1], atol=1e-12)
    np.testing.assert_allclose(softmax.token_by_memory(q, k, v)[0][0], v[-1] * (k[-1] @ q[-1]), atol=1e-12)


@pytest.mark.parametrize("name", softmax.MODELS)
def test_bytes_of_cache_and_state_meet_at_the_crossing(name: str) -> None:
    numbers, m = softmax.in_a_model(name, "4"), softmax.MODELS[name]
    for n, tokens in enumerate(numbers["tokens"].tolist()):
        assert numbers["cache"][n] == sum(2 * m.cached * tokens for _ in range(m.softmax))
        assert numbers["everywhere"][n] - numbers["cache"][n] == sum(2 * m.cached * tokens for _ in range(m.linear))
        assert (numbers["cache"][n] > numbers["state"][n]) == (tokens > numbers["crossing"][0])
    assert numbers["state"][0] == m.linear * m.heads * np.zeros((m.V, m.K), np.float32).nbytes
    assert 2 * m.cached * numbers["crossing"][1] == pytest.approx(numbers["state"][0] / m.linear)
    assert softmax.in_a_model(name, "2")["crossing"] == pytest.approx(numbers["crossing"] / 2)
