"""The claims from masked attention to the gated delta rule and its gradients: they hold, and they notice faults.

What a claim states is also compared here with float64 arithmetic that shares nothing with the engines.
"""

import itertools

import numpy as np
import pytest

from derivations.claim import Verdict, load
from derivations.claims import family, linear_attention
from derivations.mutants import planted
from gdn_core import reference, reference_backward, ssm, streams
from gdn_core.reference import Token
from gdn_core.rules import DELTANET, GATED_DELTANET, GLA, KIMI_DELTA_ATTENTION, LINEAR_ATTENTION, MAMBA2, RETNET, RULES

MODULES = ("duality", "linear_attention", "gated_delta_rule", "backward", "family", "objectives")
CLAIMS = [claim for claim in load().values() if claim.module in MODULES]
SLOW = "code on symbols"  # at six tokens; the command runs it, and the field at real sizes


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_a_claim_holds_and_refutes_its_mutants(claim):
    steps = [step for step in claim.steps if step.engine != "field" and step.name != SLOW]
    for step in (*steps, *claim.mutants):
        cases = step.cases(RULES.values())
        assert cases
        for rule in cases:
            checked = claim.check_step(step, seed=11, rule=rule)
            assert checked.verdict is Verdict.HOLDS, (step.name, rule, checked.residual)
    assert len({mutant.words for mutant in claim.mutants}) == len(claim.mutants) >= 2


@pytest.mark.parametrize(
    ("function", "right", "wrong", "named"),
    [
        (reference.chunk, "u[i] - a @ stack(errors)", "u[i] + a @ stack(errors)", "every_rule_has_a_chunk_form"),
        (reference.chunk, "gamma[C - 1] * S + u.T", "gamma[C - 1] * S - u.T", "every_rule_has_a_chunk_form"),
        (reference.moments, "decayed - read[:, None] * k", "decayed + read[:, None] * k", "stages_add_up_to_the_step"),
        (reference.step, "u[:, None] * x.k", "-u[:, None] * x.k", "every_rule_minimises_an_objective"),
        (reference_backward.chunk_backward, "dk + x.b * de", "dk - x.b * de", "chunk_backward_is_the_derivative"),
        (ssm.tokens, "b=none, w=delta)", "b=none, w=-delta)", "s4_is_mamba_with_a_fixed_step"),
    ],
)
def test_a_wrong_sign_in_the_code_fails_a_claim_about_it(monkeypatch, function, right, wrong, named):
    claim = load()[named]
    monkeypatch.setattr(function, "__code__", planted(function, right, wrong).__code__)
    steps = [step for step in claim.steps if step.engine != "field"]
    verdicts = [claim.check_step(s, rule=rule).verdict for s in steps for rule in s.cases(RULES.values())]
    assert set(verdicts) - {Verdict.HOLDS}


def stream(rng, T, V, K, decay=1.0):
    g, b = -decay * rng.uniform(0.1, 1, (T, 1, 1)), rng.uniform(0, 2, (T, 1))
    return Token(q=rng.normal(size=(T, K)), k=rng.normal(size=(T, K)), v=rng.normal(size=(T, V)), g=g, b=b, w=b)


def test_effective_attention_is_a_solve_in_floats():
    x = stream(np.random.default_rng(0), 9, 4, 3)
    G = np.cumsum(x.g[:, 0, 0])
    Gamma = np.tril(np.exp(np.minimum(G[:, None] - G, 0)))
    system = np.eye(9) + np.tril(x.b * (x.k @ x.k.T) * Gamma, -1)
    A = ((x.q @ x.k.T) * Gamma) @ np.linalg.solve(system, np.diag(x.b[:, 0]))
    _, o = reference.recurrent(np.zeros((4, 3)), x)
    assert A @ x.v == pytest.approx(o)


def test_the_limit_of_gated_deltanet_is_mamba_2_at_second_order():
    rng = np.random.default_rng(1)
    x, S = stream(rng, 6, 4, 3), rng.normal(size=(4, 3))
    none, one = np.zeros((6, 1)), np.ones((6, 1))
    want, _ = reference.recurrent(S, Token(q=x.q, k=x.k, v=x.v, g=x.g, b=none, w=one))
    errors = []
    for eps in (1e-2, 5e-3):
        tied = Token(q=x.q, k=eps * x.k, v=x.v / eps, g=x.g, b=one, w=one)
        errors.append(np.abs(reference.recurrent(S, tied)[0] - want).max())
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.01)


def test_the_gated_delta_rule_minimises_its_objective_in_floats():
    rng = np.random.default_rng(2)
    x, S = stream(rng, 1, 4, 3)[0], rng.normal(size=(4, 3))
    decayed = np.exp(x.g) * S

    def objective(M):
        return ((M - decayed) ** 2).sum() - 2 * (M @ x.k) @ (x.b * (x.v - decayed @ x.k))

    written, _ = reference.step(S, x)
    for _ in range(20):
        away = rng.normal(size=S.shape)
        assert objective(written + away) - objective(written) == pytest.approx((away**2).sum())


@pytest.mark.parametrize(
    ("wide", "narrow", "contained"),
    [
        (KIMI_DELTA_ATTENTION, GATED_DELTANET, True),
        (GATED_DELTANET, DELTANET, True),
        (MAMBA2, RETNET, True),
        (RETNET, LINEAR_ATTENTION, True),
        (GATED_DELTANET, KIMI_DELTA_ATTENTION, False),
        (GATED_DELTANET, MAMBA2, False),
        (RETNET, MAMBA2, False),
        (MAMBA2, GLA, False),
    ],
)
def test_the_widths_say_which_rule_contains_which(wide, narrow, contained):
    assert family.contains(wide, narrow) is contained


def test_containment_is_an_order():
    rules = list(RULES.values())
    assert all(family.contains(rule, rule) for rule in rules)
    for a in rules:
        for b in rules:
            for c in rules:
                if family.contains(a, b) and family.contains(b, c):
                    assert family.contains(a, c)


def test_the_lattice_has_every_edge_that_the_lineage_is_told_by():
    told = ["gated-deltanet-2", "kimi-delta-attention", "gated-deltanet", "deltanet"]
    told_too = ["gated-deltanet-2", "gla", "mamba-2", "retnet", "linear-attention", "fast-weights"]
    for chain in (told, told_too):
        for wide, narrow in itertools.pairwise(chain):
            assert family.contains(RULES[wide], RULES[narrow])


def test_attention_answers_a_mean_and_linear_attention_a_sum():
    answered = linear_attention.answers((1, 2, 3), (4, 4, 4))
    assert [float(a) for a in answered["linear-attention"]] == [4, 12, 24]
    assert [float(a) for a in answered["linear-attention-normalised"]] == pytest.approx([4, 4, 4])


def test_the_counted_costs_cross_where_the_memory_is_as_wide_as_the_stream_is_long():
    V = K = 8
    short, long = 8, 64
    assert linear_attention.of_chunk(short, V, K) < linear_attention.of_chunk(long, V, K) / (long / short)
    ratio = linear_attention.of_chunk(2 * 4096, V, K) / linear_attention.of_chunk(4096, V, K)
    assert ratio == pytest.approx(4, rel=0.01)
    assert linear_attention.of_recurrence(2 * 4096, V, K) == 2 * linear_attention.of_recurrence(4096, V, K)


def test_s4_and_mamba_make_the_same_tokens_of_a_fixed_step_and_not_of_another():
    fixed, moving = family.state_space(), family.state_space(delta=(0.25, 0.5, 1.0))
    for made, same in ((fixed, True), (moving, False)):
        s4 = streams.tokens(RULES["s4"], made)
        mamba = streams.tokens(RULES["mamba"], made, discretisation=RULES["s4"].discretisation)
        assert bool((s4.g == mamba.g).all()) is same
