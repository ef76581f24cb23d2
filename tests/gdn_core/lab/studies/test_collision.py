"""Collision: the errors of more pairs than channels are those of the recurrence."""

from __future__ import annotations

import numpy as np
import pytest

from gdn_core import RULES
from gdn_core.lab.studies import collision
from tests.gdn_core.lab.studies.written_out import memory


def test_collision_measures_the_errors_of_the_recurrence() -> None:
    numbers = collision.recall_of_all("random", 0.98)
    stream = collision.stream_of(collision.keys_of("random", 16), alpha=0.98)
    for n in (1, 16, 17, 48):
        for rule in ("linear-attention", "mamba-2", "deltanet", "gated-deltanet"):
            r = list(RULES).index(rule)
            off = stream.k[:n] @ memory(rule, stream, n).T - stream.v[:n]
            assert numbers["error"][n - 1, r] == pytest.approx((off**2).sum(axis=1).mean(), rel=1e-4, abs=1e-9)
        k, v = stream.k[:n], stream.v[:n]
        least = ((v - k @ np.linalg.pinv(k) @ v) ** 2).sum() / n
        assert numbers["best"][n - 1] == pytest.approx(least, abs=1e-9)


def test_rules_are_one_line_where_their_gates_are_alike() -> None:
    def groups(alpha: float) -> set[frozenset[str]]:
        found = collision.recall_of_all("random", alpha)
        rules, same = found["rule"].tolist(), found["same"].tolist()
        return {frozenset(rule for rule, first in zip(rules, same, strict=True) if first == n) for n in set(same)}

    decay = {"s4", "mamba", "retnet", "gla", "mamba-2"}
    gated = {"gated-deltanet", "kimi-delta-attention", "gated-deltanet-2"}
    adds, exact = {"fast-weights", "linear-attention"}, {"efla", "exact-gated-delta"}
    alone = [{"linear-attention-normalised"}, {"longhorn"}]
    apart = [adds, decay, gated, {"deltanet"}, *({rule} for rule in exact), *alone]
    assert groups(0.98) == set(map(frozenset, apart))
    assert groups(1.0) == set(map(frozenset, [adds | decay, gated | {"deltanet"}, exact, *alone]))


def test_collision_predicts_the_error_of_the_first_key_from_overlaps() -> None:
    for keys in ("orthogonal", "random"):
        numbers = collision.answer_to_the_first(keys, 8)
        stream = collision.stream_of(collision.keys_of(keys, 8), alpha=1.0)
        for n in (1, 8, 9, 24):
            off = np.linalg.norm(memory("linear-attention", stream, n) @ stream.k[0] - stream.v[0])
            assert numbers["measured"][n - 1] == pytest.approx(off, abs=1e-5)
            assert numbers["predicted"][n - 1] == pytest.approx(off, abs=1e-9)
    exact = collision.answer_to_the_first("orthogonal", 8)["measured"]
    assert exact[7] < 1e-6
    assert exact[8] > 1e-2


def test_a_third_key_is_answered_the_mixture_of_the_other_two() -> None:
    numbers = collision.third_key(0.7)
    first, second = 0.7 * np.array([1, 0]), 0.7 * np.array([0, 1])
    for angle, before, after in zip(np.radians(numbers["angle"]), numbers["before"], numbers["after"], strict=True):
        mixture = np.cos(angle) * first + np.sin(angle) * second
        np.testing.assert_allclose(before, mixture, atol=1e-12)
        written = 0.7 * (np.array([-0.8, 0.6]) - mixture)
        np.testing.assert_allclose(after[0], first + np.cos(angle) * written, atol=1e-12)
        np.testing.assert_allclose(after[2], mixture + written, atol=1e-12)
