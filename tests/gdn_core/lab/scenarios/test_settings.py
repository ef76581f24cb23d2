"""Settings: their ranges, and what spread and noise do to a stream."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given

from gdn_core.lab import scenarios
from gdn_core.lab.scenarios import Settings
from gdn_core.lab.trajectory import trajectory
from gdn_core.rules import RULES, Discretisation
from tests.gdn_core.lab.scenarios.stream_checks import refused, valid_settings


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("dk", 257, "dk: expected an integer from 1 to 256, got 257"),
        ("dv", 0, "dv: expected an integer from 1 to 256, got 0"),
        ("T", 257, "T: expected an integer from 1 to 256, got 257"),
        ("alpha", 0.0, "alpha: expected a number above 0 and at most 1, got 0"),
        ("alpha", math.nan, "alpha: expected a number above 0 and at most 1, got nan"),
        ("beta", 2.1, "beta: expected a number from 0 to 2, got 2.1"),
        ("write", -1, "write: expected a number from 0 to 2, got -1"),
        ("delta", -0.1, "delta: expected a number from 0 to 100, got -0.1"),
        ("spread", 1.01, "spread: expected a number from 0 to 1, got 1.01"),
        ("noise", math.inf, "noise: expected a number from 0 to 10, got inf"),
        ("seed", -1, "seed: expected an integer from 0 to 4294967295, got -1"),
    ],
)
def test_what_is_out_of_range_is_refused(field, value, sentence):
    refused(sentence, lambda: Settings(**{field: value}))


def test_a_text_is_no_number():
    refused("dk: expected an integer from 1 to 256, got '3'", lambda: Settings(dk="3"), TypeError)


def test_the_write_gate_is_beta_unless_it_is_given():
    assert Settings(beta=0.5).write == 0.5
    assert Settings(beta=0.5, write=1.5).write == 1.5


def test_numbers_of_numpy_are_those_of_python():
    assert repr(Settings(dk=np.int64(3), alpha=np.float64(0.5), beta=1)) == repr(
        Settings(dk=3, alpha=0.5, beta=1.0)
    )


@pytest.mark.parametrize(("alpha", "half_life"), [(0.5, 1), (0.25, 0.5), (2**-0.125, 8), (1.0, math.inf)])
def test_half_of_a_memory_is_left_after_the_half_life(alpha, half_life):
    assert Settings(alpha=alpha).half_life == pytest.approx(half_life)


@given(valid_settings)
def test_the_spread_keeps_the_mean_and_the_range_of_every_gate(chosen):
    x = scenarios.from_preset("recency", replace(chosen, T=3, noise=0.0)).stream
    np.testing.assert_allclose(x.g.mean(axis=1), math.log(chosen.alpha), rtol=1e-12, atol=1e-300)
    for gate, value in ((x.beta, chosen.beta), (x.w, chosen.write), (x.delta, chosen.delta)):
        np.testing.assert_allclose(gate.mean(axis=1), value, rtol=1e-12, atol=1e-300)
    if chosen.dk > 1:
        np.testing.assert_allclose(
            np.ptp(x.g, axis=1), -2 * chosen.spread * math.log(chosen.alpha), rtol=1e-9, atol=1e-12
        )
        assert ((x.beta >= 0) & (x.beta <= 2)).all()


def test_noise_has_the_length_it_says_and_keeps_that_of_keys():
    chosen = Settings(dk=64, dv=64, T=256, noise=0.25)
    clean, noisy = (scenarios.from_preset("recency", replace(chosen, noise=noise)).stream for noise in (0.0, 0.25))
    moved = np.linalg.norm(noisy.v - clean.v, axis=1)
    assert moved.mean() == pytest.approx(0.25, rel=0.05)
    np.testing.assert_allclose(np.linalg.norm(noisy.k, axis=1), 1)
    assert (noisy.k * clean.k).sum(axis=1).mean() == pytest.approx(1 / math.sqrt(1 + 0.25**2), rel=0.01)


@pytest.mark.parametrize("method", Discretisation)
@pytest.mark.parametrize("slug", [slug for slug, rule in RULES.items() if rule.discretisation])
def test_a_step_of_zero_ignores_every_token(slug, method):
    made = scenarios.from_preset("recency", Settings(dk=3, dv=4, T=5, delta=0))
    start = np.arange(12.0).reshape(4, 3)
    run = trajectory(slug, made.stream, initial_state=start, discretisation=method)
    np.testing.assert_array_equal(run.states[0], np.broadcast_to(start, (6, 4, 3)))
    assert made.call.endswith("settings)")
    assert eval(repr(made.settings), {"Settings": Settings}) == made.settings  # noqa: S307


def test_a_step_of_zero_in_a_row_is_that_of_the_settings():
    row = {"key": "a", "value": "b"}
    of_row = scenarios.from_table([row | {"delta": 0}], Settings()).stream.delta
    np.testing.assert_array_equal(of_row, scenarios.from_table([row], Settings(delta=0)).stream.delta)
    assert not of_row.any()
