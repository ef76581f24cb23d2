"""The weights of the lesson on attention, against products of whole transitions, softmax in words, and geometry."""

from __future__ import annotations

import numpy as np
import pytest

from gdn_core import trajectory
from gdn_core.lab.studies import attention
from gdn_core.streams import Stream

TEXT = "no one said no to no one"
PAIRS = "a = b\nc = d\na = e\na = ?"


def transition(stream: Stream, t: int, alpha: float, beta: float) -> np.ndarray:
    return alpha * (np.eye(stream.k.shape[1]) - beta * np.outer(stream.k[t], stream.k[t]))


@pytest.mark.parametrize("text", [TEXT, PAIRS])
def test_the_weights_are_products_of_the_transitions_and_make_the_outputs(text: str) -> None:
    alpha = 0.8
    numbers, made = attention.of_words(text, alpha), attention.scenario_of(text, alpha, 1.0)
    stream, shut = made.stream, [row.key is None for row in made.rows]  # a question neither erases nor decays
    for t in range(len(stream)):
        for j in range(len(stream)):
            M = np.eye(stream.k.shape[1])
            for i in range(j + 1, t + 1):
                M = M @ transition(stream, i, 1.0 if shut[i] else alpha, 1.0)
            expected = stream.k[j] @ M @ stream.q[t] if j <= t else 0
            assert numbers["gated"][t, j] == pytest.approx(expected, abs=1e-12)
            assert numbers["linear"][t, j] == pytest.approx(stream.k[j] @ stream.q[t] if j <= t else 0, abs=1e-12)
    outputs = trajectory(["linear-attention", "gated-deltanet"], stream).o
    np.testing.assert_allclose([numbers[name] @ stream.v for name in ("linear", "gated")], outputs, atol=1e-5)


def test_softmax_weighs_what_was_stored_so_far() -> None:
    numbers, stream = attention.of_words(PAIRS, 0.9), attention.scenario_of(PAIRS, 0.9, 1.0).stream
    assert list(numbers["word"]) == ["b", "d", "e", "a?"]
    raised = [np.exp(8 * float(stream.q[3] @ k)) for k in stream.k[:3]]
    np.testing.assert_allclose(numbers["softmax"][3], [*(np.array(raised) / sum(raised)), 0])
    assert numbers["softmax"][1, 2:].max() == 0
    assert numbers["softmax"][3, [0, 2]] == pytest.approx(0.5, rel=1e-2)  # both values of a
    assert numbers["gated"][3, 2] == pytest.approx(1)  # the newer one alone
    assert numbers["gated"][3, 0] == pytest.approx(0, abs=1e-12)


def test_a_write_lives_until_its_key_comes_again() -> None:
    beta = 0.7
    numbers, stream = attention.life_of_writes(TEXT, beta), attention.scenario_of(TEXT, 0.95, beta).stream
    T = len(stream)
    for j in range(T):
        row = stream.k[j]
        for t in range(j, T):
            row = row @ transition(stream, t, 0.95, beta) if t > j else row
            expected = [stream.k[j] @ stream.k[j], 0.95 ** (t - j), beta * row @ stream.k[j]]
            np.testing.assert_allclose(numbers["left"][j, t], expected, atol=1e-12)
        assert np.isnan(numbers["left"][j, :j]).all()


def test_two_writes_weigh_what_the_overlaps_say() -> None:
    beta, asked = 1.4, 70
    numbers = attention.turned_key(beta, asked)
    for angle, weights in zip(np.radians(numbers["angle"]), numbers["weights"], strict=True):
        apart = np.cos(np.radians(asked) - angle)
        expected = [np.cos(np.radians(asked)) - beta * np.cos(angle) * apart, beta * apart]
        np.testing.assert_allclose(weights, expected, atol=1e-12)


def test_the_closed_form_is_the_walk_back() -> None:
    for text in (TEXT, PAIRS):
        numbers = attention.closed_form(text, 0.7)
        np.testing.assert_allclose(numbers["weights"], attention.of_words(text, 0.7)["gated"], atol=1e-12)
        np.testing.assert_allclose(numbers["walked"], numbers["weights"], atol=1e-12)
        assert numbers["apart"].max() < 1e-12
