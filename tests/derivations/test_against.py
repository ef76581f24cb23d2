"""A user's function against a rule: right ones pass, and a wrong one gets a sentence with sizes and numbers."""

import re

import numpy as np
import pytest

from derivations.result import Verdict
from derivations.run import check_rule
from derivations.testing import assert_computes
from gdn_core import reference
from gdn_core.rules import DELTANET, GATED_DELTANET, KIMI_DELTA_ATTENTION, RULES


def by_hand(S, q, k, v, g, beta):
    o = np.zeros(v.shape)
    for t in range(len(v)):
        S = np.exp(g[t]) * S
        S = S + beta[t] * np.outer(v[t] - S @ k[t], k[t])
        o[t] = S @ q[t]
    return o, S


@pytest.mark.parametrize("rule", [RULES[slug] for slug in ("mamba-2", "deltanet", "gated-deltanet-2", "mamba", "s4")])
def test_the_reference_computes_every_rule(rule):
    for function in (reference.recurrent, reference.chunk, reference.chunkwise):
        assert_computes(function, rule)


def test_a_recurrence_by_hand_computes_gated_deltanet_whatever_it_calls_its_arrays():
    assert_computes(by_hand, GATED_DELTANET)
    assert_computes(lambda queries, keys, values, log_decay, b, state: by_hand(
        state, queries, keys, values, log_decay, b
    ), GATED_DELTANET)  # fmt: skip


def step_by_decay(S, k, v, q, alpha, beta):
    S = alpha * S
    return S + np.outer(beta * (v - S @ k), k)


def test_a_step_is_run_on_single_tokens():
    assert_computes(step_by_decay, GATED_DELTANET)
    with pytest.raises(AssertionError, match=r"step_by_decay is not Kimi Delta Attention: at T = 1, K = 2, V = 3"):
        assert_computes(lambda_named(lambda S, k, v, q, alpha, beta: step_by_decay(
            S, k, v, q, alpha[:, :1], beta
        ), "step_by_decay"), KIMI_DELTA_ATTENTION)  # fmt: skip


def lambda_named(function, name):
    function.__name__ = name
    return function


def test_a_wrong_number_is_said_with_its_place_and_the_right_one():
    def late(S, x, *, exp=np.exp, stack=np.stack):
        S, o = reference.recurrent(S, x, exp=exp, stack=stack)
        return (S + S if len(x) == 33 else S), o

    with pytest.raises(AssertionError) as raised:
        assert_computes(late, DELTANET)
    pattern = r"late is not DeltaNet: at T = 33, K = 3, V = 2 S\[0, 0\] is (\S+) and should be (\S+), a difference of"
    said = re.match(pattern, str(raised.value))
    assert said and float(said[1]) == pytest.approx(2 * float(said[2]), rel=1e-4)
    (result,) = check_rule(DELTANET, late)
    assert result.verdict is Verdict.FAILS and result.faults[0].endswith(str(raised.value))
    (result,) = check_rule(DELTANET, by_hand_without_decay)
    assert result.verdict is Verdict.HOLDS


def by_hand_without_decay(S, q, k, v, beta):
    return by_hand(S, q, k, v, np.zeros(len(v)), beta)


def test_what_rounding_would_hide_is_found_mod_a_prime():
    def nearly(S, x, *, exp=np.exp, stack=np.stack):
        S, o = reference.recurrent(S, x, exp=exp, stack=stack)
        return S * 1 if isinstance(S, np.ndarray) else S * 2, o

    with pytest.raises(AssertionError, match=r"in integers mod a prime, S differs by \d+ mod"):
        assert_computes(nearly, DELTANET)


def test_what_is_wrong_at_some_gates_decays_or_chunk_sizes_only_is_found():
    def clipped_step(S, k, v, beta):
        return step_by_decay(S, k, v, None, 1, np.minimum(beta, 1))

    def floored(S, q, k, v, g, beta):
        return by_hand(S, q, k, v, np.maximum(g, -1), beta)

    def chunk(S, x, *, chunk_size):
        S, o = reference.chunkwise(S, x, chunk_size=chunk_size)
        return (S + S if chunk_size == 33 else S), o

    for function, rule, where in (
        (clipped_step, DELTANET, "with gates of 0, 1 and 2,"), (floored, GATED_DELTANET, "with gates of 0, 1 and 2,"),
        (chunk, DELTANET, "C = 33"),
    ):  # fmt: skip
        with pytest.raises(AssertionError, match=where):
            assert_computes(function, rule)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda S, k, v: S[:, :0], r"it returns \[3, 0\], and the rule has S \[3, 2\], o \[1, 3\]"),
        (lambda S, k, v: S @ k, "it raises ValueError.*; what takes one token has to have step in its name"),
    ],
)
def test_a_function_that_fails_or_returns_something_else_gets_a_sentence(function, sentence):
    with pytest.raises(AssertionError, match=sentence):
        assert_computes(function, DELTANET)


def test_an_argument_that_no_rule_has_is_refused():
    with pytest.raises(TypeError, match="temperature: expected arguments among"):
        assert_computes(lambda S, temperature: S, DELTANET)
