"""Recency: orders, weights and long streams are those of the recurrence."""

from __future__ import annotations

import numpy as np
import pytest

from gdn_core import reference, streams
from gdn_core.lab.studies import recency
from gdn_core.rules import RULES


def test_recency_tells_the_orders_apart_only_where_the_rule_does() -> None:
    assert recency.in_other_orders("linear-attention")["difference"].max() == 0
    for rule in ("deltanet", "mamba-2"):
        assert (recency.in_other_orders(rule)["difference"][1:] > 0.1).all()


def test_recency_weighs_writes_by_the_products_of_what_is_left() -> None:
    alpha, beta = 0.8, 0.3
    weights = recency.weights_of_writes(alpha, beta)["weights"]
    age = np.arange(12)[::-1]
    expected = [np.ones(12), alpha**age, beta * (1 - beta) ** age, beta * (alpha * (1 - beta)) ** age]
    np.testing.assert_allclose(weights[-1].T, expected, atol=1e-12)
    assert (weights[3, 4:] == 0).all()


def test_recency_runs_ten_thousand_tokens_as_the_recurrence_does() -> None:
    numbers = recency.long_stream(0.97)
    marks = numbers["tokens"].tolist()
    assert marks[-1] == 10_000
    rng = np.random.default_rng(0)
    k, v = np.eye(8)[rng.integers(8, size=10_000)], rng.standard_normal((10_000, 4))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    total = v.T @ k
    assert numbers["norm"][-1, 0] == pytest.approx(np.linalg.norm(total))
    assert numbers["error"][-1, 0] == pytest.approx(np.linalg.norm(total @ k[-1] - v[-1]))
    n = marks[20]
    stream = recency.stream_of(k[:n], v[:n], 0.97, 1.0)
    for r, rule in enumerate(recency.RULES_COMPARED):
        x = streams.tokens(RULES[rule], stream)
        S, o = reference.recurrent(np.zeros((4, 8)), x)
        assert numbers["norm"][20, r] == pytest.approx(np.linalg.norm(S), rel=1e-9)
        assert numbers["error"][20, r] == pytest.approx(np.linalg.norm(o[-1] - v[n - 1]), abs=1e-9)
