"""Claims: a step without a residual gets no verdict, and an empty comparison does not pass."""

import itertools
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
import sympy

from derivations import registry
from derivations.claim import Claim, every_rule
from derivations.residual import describe, is_zero
from derivations.result import Verdict
from derivations.scope import Counterexample, EverySize, EveryWidth, OverField, Sizes, in_words
from gdn_core.rules import GLA, MAMBA2, RULES, Gate, Source

SOURCE = Source("2412.06464", "eq. 10")


@pytest.fixture
def claim(monkeypatch):
    """The decorator, on a registry of its own."""
    monkeypatch.setattr(registry, "CLAIMS", {})
    return lambda **fields: registry.claim(
        **{"statement": "x = x", "scope": EverySize(), "engine": "exact", "source": SOURCE, **fields}
    )


def made(claim, residual, mutant=1, **fields) -> Claim:
    @claim(**fields)
    def one_is_one():
        """One is one."""
        return residual

    one_is_one.refute(lambda: mutant)
    return one_is_one


@pytest.mark.parametrize(
    "zero", [0, Fraction(0), "", [""], [0, [0]], {"S": 0}, np.zeros(2, dtype=object), sympy.Integer(0)]
)
def test_these_residuals_are_zero(zero):
    assert is_zero(zero)


def test_an_expression_is_zero_where_its_normal_form_is():
    x, y = sympy.symbols("x y")
    assert is_zero((x + y) ** 2 - x**2 - 2 * x * y - y**2)
    assert not is_zero((x + y) ** 2 - x**2 - y**2)
    ring, z = sympy.ring("z", sympy.ZZ)
    assert is_zero(ring.zero) and not is_zero(z - 1)


@pytest.mark.parametrize(
    "refused",
    [None, True, False, np.bool_(False), 0.0, np.float64(0), 0j, np.zeros((0, 2)), [], {}, (), set(), object()],
)
def test_what_may_have_compared_nothing_is_refused(refused):
    with pytest.raises(TypeError, match="expected"):
        is_zero(refused)
    with pytest.raises(TypeError, match="expected"):
        is_zero([0, refused])


def test_a_claim_holds_where_its_residual_is_zero_and_its_mutant_is_refuted(claim):
    result = made(claim, 0).check()
    assert result.verdict is Verdict.HOLDS
    assert result.faults == ()
    assert [step.residual for step in result.mutants] == ["1"]


def test_a_residual_fails_a_claim_and_is_shown_with_its_place(claim):
    result = made(claim, {"S": np.array([[0, 0], [0, 7]], dtype=object)}).check()
    assert result.verdict is Verdict.FAILS
    assert result.faults == ("one_is_one: one is one, for every C, dk and dv: S [1, 1]: 7",)


def test_a_mutant_without_a_residual_fails_a_claim(claim):
    result = made(claim, 0, mutant=0).check()
    assert result.verdict is Verdict.FAILS
    assert "was not refuted" in result.faults[0]


def test_a_claim_without_mutants_fails(claim):
    @claim()
    def one_is_one():
        """One is one."""
        return 0

    assert one_is_one.check().verdict is Verdict.FAILS


def test_a_step_that_raises_is_an_error_with_its_sentence(claim):
    made_claim = made(claim, 0)

    @made_claim.step(engine="exact", scope=EverySize())
    def another():
        raise ArithmeticError("the lights went out")

    result = made_claim.check()
    assert result.verdict is Verdict.ERROR
    assert result.faults == ("one_is_one: another: ArithmeticError: the lights went out",)


def test_a_mutant_that_raises_has_not_been_refuted(claim):
    made_claim = made(claim, 0)

    @made_claim.refute
    def broken():
        raise IndexError("nothing there")

    assert made_claim.check().verdict is Verdict.ERROR


@pytest.mark.parametrize("yielded", [[], [None], [0, 0.5]])
def test_a_step_that_yields_nothing_exact_is_an_error(claim, yielded):
    assert made(claim, 0).check().verdict is Verdict.HOLDS
    made_claim = made(claim, 0)
    made_claim.step(engine="exact", scope=EverySize())(lambda: iter(yielded))
    assert made_claim.check().verdict is Verdict.ERROR


@pytest.mark.parametrize("of_mutants", [False, True])
def test_a_step_or_a_mutant_that_no_rule_runs_is_an_error(claim, of_mutants):
    made_claim = made(claim, 0, rules=every_rule)
    assert made_claim.check().verdict is Verdict.HOLDS
    add = made_claim.refute if of_mutants else partial(made_claim.step, engine="exact", scope=EverySize())
    add(rules=lambda rule: False)(lambda rule: 0)
    assert made_claim.check().verdict is Verdict.ERROR


def test_the_first_residual_that_is_not_zero_ends_a_step(claim):
    seen = []
    made_claim = made(claim, 0)
    made_claim.step(engine="exact", scope=EverySize())(lambda: (seen.append(n) or n for n in (0, 0, 5, 6)))
    assert made_claim.check().steps[-1].residual == "5"
    assert seen == [0, 0, 5]


def test_a_step_is_run_for_every_rule_that_the_claim_is_stated_for(claim):
    @claim(rules=lambda rule: rule.decay is Gate.KEY)
    def it_decays(rule):
        """It decays."""
        return "" if rule.decay is Gate.KEY else rule.slug

    it_decays.refute(lambda rule: rule.slug, rules=lambda rule: rule is GLA)
    result = it_decays.check()
    assert {step.rule for step in result.steps} == {slug for slug, rule in RULES.items() if rule.decay is Gate.KEY}
    assert [mutant.residual for mutant in result.mutants] == ["gla"]
    assert it_decays.check(rules=[MAMBA2]).verdict is Verdict.ERROR  # nothing applies, so nothing was checked


def test_random_points_follow_from_the_seed_and_the_names_alone(claim):
    @claim(rules=every_rule)
    def drawn(rng, rule):
        """Drawn."""
        return rng.getrandbits(32)

    once, again, other = (drawn.check(seed=seed).steps for seed in (1, 1, 2))
    assert [step.residual for step in once] == [step.residual for step in again]
    assert len({step.residual for step in (*once, *other)}) == 2 * len(RULES)


def test_a_step_may_ask_for_nothing_but_a_rule_and_random_numbers(claim):
    with pytest.raises(TypeError, match="may take rule and rng, not tolerance"):
        made(claim, 0).refute(lambda tolerance: tolerance)
    with pytest.raises(TypeError, match="for which rules"):
        made(claim, 0).refute(lambda rule: rule)


def test_a_claim_needs_a_sentence_and_a_name_of_its_own(claim):
    with pytest.raises(ValueError, match="docstring"):
        claim()(lambda: 0)


def test_scopes_say_what_they_reach():
    assert str(EverySize("C", "dk")) == "for every C and dk"
    assert str(EveryWidth(C=8)) == "for C <= 8, every dk and dv"
    assert str(Sizes(C=6, dk=3)) == "at C = 6, dk = 3 only, every entry a symbol"
    assert str(Counterexample("two tokens")) == "by example: two tokens"
    assert EverySize().proof and Sizes(C=1).proof


def test_a_random_check_is_no_proof_and_states_its_error():
    scope = OverField(smallest=1 << 28, primes=3, C=64)
    assert not scope.proof
    assert scope.error(1 << 10) == 2.0**-54
    assert "of degree 1024 at most" in in_words(scope, 1 << 10) and "below 1e-16" in in_words(scope, 1 << 10)
    assert in_words(EverySize(), 0) == str(EverySize())


def test_a_long_residual_is_cut():
    assert len(describe("x" * 1000)) == 240
    assert describe([0, {"o": [0, "y"]}]) == "[1] o [1]: y"


def test_every_claim_is_found_under_its_subject_with_what_it_uses():
    found = registry.load()
    assert len(found) > 50
    groups = [subject for subject, _ in itertools.groupby(made.subject for made in found.values())]
    assert len(groups) == len(set(groups))
    for made_claim in found.values():
        assert set(made_claim.uses) <= set(found)
        assert made_claim.source.paper and made_claim.source.place
        assert made_claim.tex.count("{") == made_claim.tex.count("}")
        assert len({mutant.summary for mutant in made_claim.mutants}) == len(made_claim.mutants) >= 2
        assert "$" not in made_claim.tex
