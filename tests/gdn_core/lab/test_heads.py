"""Heads at a glance against every memory of every head, computed token by token in plain NumPy."""

import math

import numpy as np
import pytest

from gdn_core.lab import heads as lab_heads
from gdn_core.lab.heads import heads
from gdn_core.lab.scenarios import Reading, Settings
from gdn_core.rules import RULES

B, T, H, HV, K, V = 2, 90, 2, 4, 5, 3


def layer(T: int = T, scale: float = 1.0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    k = random.standard_normal((B, T, H, K))
    return {
        "k": scale * k / np.linalg.norm(k, axis=-1, keepdims=True),
        "v": random.standard_normal((B, T, HV, V)),
        "g": -random.random((B, T, HV)) / 10,
        "beta": random.random((B, T, HV)),
    }


def gated_delta(x: dict[str, np.ndarray], batch: int, head: int) -> list[np.ndarray]:
    """The memory after each token, by the equation of Gated DeltaNet."""
    S, found = np.zeros((V, K)), []
    for t in range(x["k"].shape[1]):
        k, v = x["k"][batch, t, head // (HV // H)], x["v"][batch, t, head]
        beta = x["beta"][batch, t, head]
        S = math.exp(x["g"][batch, t, head]) * S @ (np.eye(K) - beta * np.outer(k, k)) + beta * np.outer(v, k)
        found.append(S)
    return found


@pytest.mark.parametrize("order", ["BTHK", "BHTK"])
def test_every_head_is_what_the_recurrence_makes_of_it(order: str) -> None:
    x = layer()
    turned = {n: a.swapaxes(1, 2) for n, a in x.items()} if order == "BHTK" else x
    found = heads(turned, Settings(), RULES["gated-deltanet"], batch=1, reading=Reading(axes=order))
    assert found.tokens[-1] == T - 1
    assert len(found.tokens) == 32
    assert found.left == ""
    for head in range(HV):
        states = [gated_delta(x, 1, head)[t] for t in found.tokens]
        np.testing.assert_allclose(found.norm[head], [np.linalg.norm(S) for S in states], rtol=1e-10)
        values = [np.linalg.svd(S, compute_uv=False) for S in states]
        ranks = [(s**2).sum() ** 2 / (s**4).sum() for s in values]
        np.testing.assert_allclose(found.rank[head], ranks, rtol=1e-9)
        assert found.beta[head] == pytest.approx(x["beta"][1, :, head].mean())
        assert found.half_life[head] == pytest.approx(-math.log(2) / x["g"][1, :, head].mean())


def test_of_a_long_stream_the_first_tokens_are_taken_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    x = layer()
    monkeypatch.setattr(lab_heads, "BUDGET", 40 * HV * (lab_heads.A_TOKEN + V * K * lab_heads.AN_ENTRY))
    found = heads(x, Settings(), RULES["gated-deltanet"])
    assert found.tokens[-1] == 39
    assert found.norm[2, -1] == pytest.approx(np.linalg.norm(gated_delta(x, 0, 2)[39]))
    assert "the first 40 of 90 tokens" in found.left
    monkeypatch.setattr(lab_heads, "MOST_HEADS", 3)
    found = heads(x, Settings(), RULES["gated-deltanet"])
    assert len(found.norm) == 3
    assert "the first 3 of 4 heads" in found.left


def test_keys_are_normalised_where_that_is_asked_for_and_an_overflow_ends_the_curve_of_its_head() -> None:
    long = layer(400, scale=100.0)
    long["k"][:, :, 1] /= 100
    found = heads(long, Settings(), RULES["gated-deltanet"])
    assert np.isnan(found.norm[0, -1])
    assert np.isfinite(found.norm[3]).all()
    found = heads(long, Settings(), RULES["gated-deltanet"], reading=Reading(normalise=True))
    np.testing.assert_allclose(found.norm, heads(layer(400), Settings(), RULES["gated-deltanet"]).norm, rtol=1e-4)


def test_what_no_array_says_the_settings_say() -> None:
    k = layer()["k"]
    found = heads({"k": k}, Settings(alpha=0.5, beta=0.25), RULES["linear-attention"])
    assert found.half_life.tolist() == pytest.approx([1, 1])
    assert found.beta.tolist() == [0.25, 0.25]
    S = np.einsum("tv,tk->vk", k[0, :, 1], k[0, :, 1])
    assert found.norm[1, -1] == pytest.approx(np.linalg.norm(S))
    assert math.isinf(heads({"k": k}, Settings(alpha=1.0), RULES["retnet"]).half_life[0])


@pytest.mark.parametrize("slug", RULES)
def test_every_rule_has_a_memory_that_is_measured(slug: str) -> None:
    found = heads(layer(), Settings(), RULES[slug])
    assert np.isfinite(found.norm).all()
    assert ((found.rank >= 1) & (found.rank <= min(K, V) + 1e-9)).all()
