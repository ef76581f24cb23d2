"""The claims on discretisation, scans, memories and the delta rule, and the errata: they hold, and they notice faults.

What a claim states is also compared here with float64 arithmetic that shares nothing with the engines.
"""

import numpy as np
import pytest

from derivations.claim import Verdict, load
from derivations.claims.discretisation import exact_phi1, zoh
from derivations.claims.scan import lag_one
from derivations.errata import ERRATA
from derivations.mutants import planted
from gdn_core import reference, ssm

MODULES = ("discretisation", "scan", "memory", "delta_rule", "errata")
CLAIMS = [claim for claim in load().values() if claim.module in MODULES]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_a_claim_holds_and_refutes_its_mutants(claim):
    result = claim.check(seed=11)
    assert result.verdict is Verdict.HOLDS, result.faults
    assert len(claim.mutants) >= 2
    assert len({mutant.words for mutant in claim.mutants}) == len(claim.mutants)
    assert "$" not in claim.tex
    assert claim.tex.count("{") == claim.tex.count("}")


@pytest.mark.parametrize(
    ("function", "right", "wrong", "named"),
    [
        (ssm.zoh, "(exp(delta * A)", "(exp(-delta * A)", "zoh_solves_the_held_equation"),
        (ssm.bilinear, "1 - delta * A / 2", "1 + delta * A / 2", "bilinear_rule_has_order_two"),
        (ssm.euler, "1 + delta * A, delta", "1 - delta * A, delta", "euler_step_has_order_one"),
        (reference.step, "x.w * x.v - S", "x.w * x.v + S", "delta_rule_is_a_gradient_step"),
        (reference.step, "S + u[:, None]", "S - u[:, None]", "memory_answers_the_value_and_the_overlaps"),
    ],
)
def test_a_wrong_sign_in_the_code_fails_the_claim_about_it(monkeypatch, function, right, wrong, named):
    claim = load()[named]
    monkeypatch.setattr(function, "__code__", planted(function, right, wrong).__code__)
    result = claim.check()
    assert result.verdict is not Verdict.HOLDS
    assert any(named in fault for fault in result.faults)
    monkeypatch.undo()
    assert claim.check().verdict is Verdict.HOLDS


def test_the_exact_phi1_is_the_integral_of_the_exponential():
    points = np.polynomial.legendre.leggauss(40)
    for z in (-5.0, -0.3, 1e-9, 2.5):
        integral = (np.exp(z * (points[0] + 1) / 2) * points[1]).sum() / 2
        assert float(exact_phi1(z)) == pytest.approx(integral, rel=1e-13)


def test_the_held_equation_is_solved_by_small_steps_too():
    a, delta, h, u = -1.7, 0.9, 0.4, 2.0
    steps = 20_000
    moved = h
    for _ in range(steps):  # midpoint rule
        half = moved + delta / steps / 2 * (a * moved + u)
        moved += delta / steps * (a * half + u)
    decay, factor = ssm.zoh(a, delta)
    assert decay * h + factor * u == pytest.approx(moved, rel=1e-8)
    assert len(zoh()) == 2


def test_the_answers_to_an_impulse_are_those_of_floats():
    for deltas in ((1, 1, 2), (2, 1, 3)):
        decays = 2.0 ** -np.array(deltas, dtype=float)
        assert [float(x) for x in lag_one(deltas)] == [decays[1] * deltas[0], decays[2] * deltas[1]]


def test_the_memory_of_dk_plus_one_pairs_leaves_an_error_that_no_matrix_removes():
    rng = np.random.default_rng(3)
    keys = rng.normal(size=(4, 3))
    c = np.linalg.svd(keys.T)[2][-1]
    values = np.outer(c, [1.0, -2.0])
    best = np.linalg.lstsq(keys, values, rcond=None)[0]
    assert np.abs(c @ keys).max() < 1e-12
    assert c @ (keys @ best - values) == pytest.approx(-(c @ c) * np.array([1.0, -2.0]))


def test_longhorns_row_is_the_solution_of_its_normal_equations():
    rng = np.random.default_rng(4)
    row, key, value, beta = rng.normal(size=3), rng.normal(size=3), 1.3, 0.7
    solved = np.linalg.solve(np.eye(3) + beta * np.outer(key, key), row + beta * value * key)
    gate = np.array([beta / (1 + beta * key @ key)])
    x = reference.Token(q=key, k=key, v=np.array([value]), g=np.zeros((1, 1)), b=gate, w=gate)
    made, _ = reference.step(row[None], x)
    assert made[0] == pytest.approx(solved)


def test_every_erratum_has_a_claim_and_claims_that_prove_the_right_form():
    claims = load()
    for name, entry in ERRATA.items():
        assert claims[name].module == "errata"
        assert entry.proved_by
        assert all(proof in claims and claims[proof].module != "errata" for proof in entry.proved_by)
        assert entry.gives != entry.should_give
    assert {claim.name for claim in CLAIMS if claim.module == "errata"} == set(ERRATA)


def test_the_numbers_of_the_mask_are_those_of_plain_arithmetic():
    entry = ERRATA["chunk_output_needs_the_decay_mask"]
    (s,), (a1, a2), (b1, b2), (k1, k2), (v1, v2), (_, q2) = (entry.numbers[name] for name in "sabkvq")
    s1 = a1 * s + b1 * (v1 - a1 * s * k1) * k1
    s2 = a2 * s1 + b2 * (v2 - a2 * s1 * k2) * k2
    assert str(s2 * q2) == entry.should_give
    assert str(s2 * q2 + b1 * k1 * q2 * (a2 - 1) * (a1 * k1 * s - v1)) == entry.gives
