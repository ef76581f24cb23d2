"""The tokens of a rule from a stream: its own gates, at their width."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gdn_core.reference import recurrent
from gdn_core.rules import RULES, Discretisation, Features, Gate, WriteRule
from gdn_core.streams import Stream, answer, featured, tokens

T, V, K = 9, 3, 5


@pytest.fixture
def stream() -> Stream:
    rng = np.random.default_rng(3)
    return Stream(
        q=rng.normal(size=(T, K)),
        k=rng.normal(size=(T, K)),
        v=rng.normal(size=(T, V)),
        g=-rng.random((T, K)),
        beta=rng.random((T, K)),
        w=rng.random((T, V)),
        delta=rng.random((T, V)),
        A=-np.arange(1.0, K + 1),
    )


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_takes_its_gates_at_their_width_and_no_others(rule: WriteRule, stream: Stream) -> None:
    x = tokens(rule, stream)
    assert x.g.shape == (T, *rule.decay.shape(V, K))
    assert x.b.shape == (T, K if rule.erase is Gate.KEY else 1)
    assert x.w.shape == (T, V if rule.write is Gate.VALUE else 1)
    assert (x.b == 0).all() == (rule.erase is Gate.NONE)
    assert (x.g == 0).all() == (rule.decay is Gate.NONE)
    assert x.k.shape == ((T, V, K) if rule.write is Gate.MATRIX else (T, K))
    if rule.tied:
        assert (x.w == x.b).all()


@pytest.mark.parametrize("slug", ["retnet", "s4"])
def test_constant_gates_cannot_follow_the_stream(slug: str, stream: Stream) -> None:
    g, delta = stream.g.copy(), stream.delta.copy()
    g[4], delta[4] = -50, 50
    x, changed = tokens(RULES[slug], stream), tokens(RULES[slug], replace(stream, g=g, delta=delta))
    assert (x.g == x.g[0]).all() and (changed.g == changed.g[0]).all()
    assert abs(x.g - changed.g).max() < 1.5 * abs(stream.A).max()  # a median moves by one rank, not to the outlier


def test_a_narrower_gate_takes_the_mean_over_channels_and_a_wider_one_repeats(stream: Stream) -> None:
    np.testing.assert_allclose(tokens(RULES["mamba-2"], stream).g[:, 0, 0], stream.g.mean(1), rtol=1e-15)
    scalar = replace(stream, g=stream.g[:, 0])
    assert (tokens(RULES["gla"], scalar).g == scalar.g[:, None, None]).all()


def test_a_discretised_rule_runs_under_the_discretisation_asked_for(stream: Stream) -> None:
    zoh = tokens(RULES["mamba"], stream, discretisation=Discretisation.ZOH)
    own = tokens(RULES["mamba"], stream)
    assert (zoh.g == own.g).all()
    step = stream.delta[:, :, None] * np.ones(K)
    np.testing.assert_allclose(zoh.k, np.expm1(step * stream.A) / stream.A * stream.k[:, None, :], rtol=1e-12)
    assert (own.k == stream.k).all() and (own.w == stream.delta).all()
    with pytest.raises(ValueError, match="GLA is discrete from the start"):
        tokens(RULES["gla"], stream, discretisation=Discretisation.ZOH)


def test_the_normaliser_is_one_more_row_of_the_memory(stream: Stream) -> None:
    rule = RULES["linear-attention-normalised"]
    x = tokens(rule, stream)
    S, o = recurrent(np.zeros((V + 1, K)), x)
    q, k = featured(rule, stream.q), featured(rule, stream.k)
    assert (q > 0).all() and (k > 0).all()
    np.testing.assert_allclose(S[V], k.sum(0), rtol=1e-14)
    for t in range(T):
        weights = k[: t + 1] @ q[t]
        np.testing.assert_allclose(answer(rule, o)[t], weights @ stream.v[: t + 1] / weights.sum(), rtol=1e-12)


def test_an_empty_memory_answers_zero_and_not_nan() -> None:
    assert (answer(RULES["linear-attention-normalised"], np.zeros((2, V + 1))) == 0).all()


def test_the_feature_map_is_elu_plus_one_everywhere() -> None:
    rule = replace(RULES["linear-attention"], features=Features.ELU_PLUS_ONE)
    x = np.array([-800.0, -1.0, 0.0, 2.0, 800.0])
    np.testing.assert_allclose(featured(rule, x), [0.0, np.exp(-1.0), 1.0, 3.0, 801.0], rtol=1e-15)


def test_a_window_cuts_every_gate_alike(stream: Stream) -> None:
    part = stream.window(2, 6)
    assert part.sizes == (4, V, K)
    for rule in RULES.values():
        whole, cut = tokens(rule, stream), tokens(rule, part)
        assert (whole[2:6].k == cut.k).all() or rule.slug == "s4"
