"""Statements are printed from what is checked: they follow the code, and what is printed is what the object is."""

import re
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from sympy import QQ, ZZ

from derivations.claim import Claim, Verdict, load
from derivations.claims import backward, delta_rule, errata, gated_delta_rule, linear_attention
from derivations.engines import printed, series, trees, words
from derivations.engines.printed import Below, Kind, Written, entry, factored, fraction, inverse, letters, polynomial
from derivations.mutants import _place, mutants, planted
from gdn_core import reference, reference_backward, ssm
from gdn_core.reference import Token

# Printed from the words or functions of the claim that a step compares with the code, or from nothing but words.
COMPARED = {
    "block_exponential_holds_both_matrices_of_zoh",
    "float_phi1_is_accurate_to_rounding",
    "softplus_log_decay_stays_between_zero_and_one",
    "fixed_recurrence_is_a_convolution",
    "affine_maps_compose_associatively",
    "every_token_is_an_affine_map",
    "two_segments_merge_exactly",
    "prefix_scan_is_the_recurrence",
    "additive_recurrence_is_masked_attention",
    "linear_attention_is_recurrent_parallel_and_chunkwise",
    "training_all_at_once_is_quadratic_and_in_chunks_linear",
    "more_pairs_than_channels_cannot_all_be_recalled",
    "write_weighs_the_decays_since",
    "delta_rule_is_a_gradient_step",
    "ut_transform_makes_the_wy_form",
    "gated_chunk_equals_recurrence",
    "ut_transform_is_the_gated_triangular_system",
    "chunk_by_channel_equals_recurrence",
    "outputs_are_effective_attention",
    "narrower_rules_keep_what_wider_ones_break",
    "ut_transform_inverts_i_plus_the_triangle",
    "decays_count_once_in_w",
    "affine_maps_carry_the_translation_through_the_second_map",
    "longhorn_objective_adds_the_error",
    "rows_are_tokens_so_the_values_are_transposed",
}


def now(claim: Claim) -> str:
    """Print a statement anew: it is printed once, and remembered."""
    vars(claim).pop("tex", None)
    tex = claim.tex
    del claim.tex
    return tex


@pytest.mark.parametrize("claim", load().values(), ids=lambda claim: claim.name)
def test_no_statement_is_typed(claim, monkeypatch):
    assert callable(claim.statement)
    right = claim.statement()
    for owner in (trees.Expr, words.Normal):
        monkeypatch.setattr(owner, "tex", lambda self: "?")
    for owner, name in ((Written, "__str__"), (series.Series, "tex")):
        monkeypatch.setattr(owner, name, lambda self, **names: "?")
    for module in (printed, linear_attention, backward, errata):
        for name in {"polynomial", "fraction", "factored", "number"} & set(vars(module)):
            monkeypatch.setattr(module, name, lambda *arguments: "?")
    if claim.name == "fast_weights_are_linear_attention":  # printed by the core
        assert right.count("S_t = S_{t-1} + v_t k_t^\\top") == 2
        return
    assert claim.statement() != right


@pytest.mark.parametrize("claim", [c for c in load().values() if c.name not in COMPARED], ids=lambda claim: claim.name)
def test_a_statement_changes_with_the_code_that_it_is_about(claim):
    right = now(claim)
    places = {_place(code) for code in claim.code}
    for mutant in mutants():
        if mutant.place in places:
            with mutant.planted():
                if now(claim) != right:
                    return
    pytest.fail(f"{right} is printed whatever the code does")


@pytest.mark.parametrize(
    ("name", "function", "code", "wrong", "before", "after"),
    [
        (  # series
            "zoh_solves_the_held_equation",
            ssm.zoh,
            "delta * phi1(delta * A)",
            "phi1(A)",
            r"\bar B = \Delta \varphi_1(\Delta A) B",
            r"\bar B = \varphi_1(A) B",
        ),
        (  # series, in normal form
            "exponential_trapezoidal_rule_has_local_order_three_exactly_at_one_half",
            ssm.exponential_trapezoidal,
            "(1 - lam) * delta * decay",
            "(1 - lam) * delta",
            r"\tfrac{1}{2} (2 \lambda - 1) (f'(0) - A f(0))\, \Delta^2",
            r"\tfrac{1}{2} (2 \lambda f'(0) - A f(0) - f'(0))\, \Delta^2",
        ),
        (  # words
            "new_value_replaces_the_old_only_under_the_delta_rule",
            reference.step,
            "x.w * x.v - S",
            "x.w * x.v + S",
            r"\beta = 1: \; S_2 k = v_{2}",
            r"\beta = 1: \; S_2 k = 4 S k + 2 v_{1} + v_{2}",
        ),
        (  # the ring
            "every_rule_has_a_chunk_form",
            reference.chunk,
            "gamma[C - 1] * S",
            "gamma[0] * S",
            r"S \alpha_1 \alpha_2",
            r"+ S \alpha_1 -",
        ),
        (  # the ring, factored
            "chunk_backward_is_the_derivative",
            reference_backward.chunk_backward,
            "dk + x.b * de",
            "dk",
            r"\dot k = (v w - 2 S_0 k b \alpha) (q \dot o + \dot S_C)",
            r"\dot k = (v w - S_0 k b \alpha) (q \dot o + \dot S_C)",
        ),
        (  # exact numbers
            "selective_recurrence_is_no_convolution",
            ssm.tokens,
            "b=none, w=delta)",
            "b=none, w=delta + 1)",
            r"= \tfrac{1}{2} \ne \tfrac{1}{4} =",
            r"= 1 \ne \tfrac{1}{2} =",
        ),
        (  # letters
            "stages_add_up_to_the_step",
            reference.moments,
            "decayed - read[:, None] * k",
            "decayed + read[:, None] * k",
            r"e^{g} S - e^{g} S b k k",
            r"e^{g} S + e^{g} S b k k",
        ),
    ],
)
def test_the_printed_formula_follows_the_code(monkeypatch, name, function, code, wrong, before, after):
    claim = load()[name]
    right = claim.statement()
    assert before in right and after not in right
    monkeypatch.setattr(function, "__code__", planted(function, code, wrong).__code__)
    assert after in claim.statement()


@pytest.mark.parametrize(
    ("name", "owner", "method", "wrong"),
    [
        (
            "gated_chunk_equals_recurrence",
            gated_delta_rule.Induction,
            "error",
            lambda self, **_: self.beta * self.v - self.S0 @ (self.beta * self.k),
        ),
        ("product_of_transitions_has_a_wy_form", delta_rule.Products, "row", lambda self, of, new, sign=1: new.T),
    ],
)
def test_words_that_are_printed_are_the_words_that_are_checked(monkeypatch, name, owner, method, wrong):
    claim = load()[name]
    right = claim.statement()
    monkeypatch.setattr(owner, method, wrong)
    assert claim.statement() != right
    assert claim.check_step(claim.steps[0]).verdict is not Verdict.HOLDS


def test_a_statement_that_cannot_be_printed_says_so(monkeypatch):
    claim = load()["zoh_solves_the_held_equation"]
    monkeypatch.setattr(ssm.zoh, "__code__", (lambda A, delta, *, exp=None, phi1=None: 1 / 0).__code__)
    assert now(claim) == r"\text{what is checked cannot be printed: ZeroDivisionError}"


# What is printed is what it is: read again as arithmetic, by rules of its own.


def value(tex: str, **numbers: Fraction) -> Fraction:
    """Evaluate a printed formula of one-letter names at numbers."""
    while (found := re.sub(r"\\t?frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", tex)) != tex:
        tex = found
    tex = re.sub(r"\^\{?(-?\d+)\}?", r"**(\1)", tex)
    tex = re.sub(r"(?<=[\w)]) (?=[\w(])", "*", tex)
    tex = re.sub(r"\d+", r"Q(\g<0>)", re.sub(r"\*\*\(Q?(\-?\d+)\)", r"**(\1)", tex))
    return eval(tex, dict(numbers, Q=Fraction))  # noqa: S307 - of what was printed above


polynomials = st.dictionaries(st.tuples(*[st.integers(0, 3)] * 2), st.integers(-9, 9).filter(bool), max_size=5)
RING = sympy.ring("x y", ZZ)[0]
POINT = {"x": Fraction(3, 7), "y": Fraction(-5, 2)}


@given(polynomials)
def test_a_polynomial_is_printed_as_it_is_expanded_and_factored(terms):
    made = RING(terms) if terms else RING.zero
    wanted = sum((c * POINT["x"] ** m[0] * POINT["y"] ** m[1] for m, c in terms.items()), Fraction(0))
    assert value(polynomial(made), **POINT) == wanted
    assert value(factored(made), **POINT) == wanted


@given(polynomials.filter(bool), polynomials.filter(bool), st.integers(1, 12), st.integers(-9, 9).filter(bool))
def test_a_fraction_is_printed_as_it_is(above, below, under, times):
    ring = RING.clone(domain=QQ)
    top, bottom = ring(above) * QQ(times, under), ring(below)
    at = tuple(QQ(z.numerator, z.denominator) for z in POINT.values())
    if not bottom.evaluate(list(zip(ring.gens, at, strict=True))):
        return
    wanted = [sum(Fraction(int(c.numerator), int(c.denominator)) * POINT["x"] ** m[0] * POINT["y"] ** m[1]
                  for m, c in p.terms()) for p in (top, bottom)]  # fmt: skip
    assert value(fraction([(top, "")], bottom), **POINT) == wanted[0] / wanted[1]
    assert value(fraction([(top, "z"), (bottom, "")], bottom), z=Fraction(2, 3), **POINT) == (
        wanted[0] / wanted[1] * Fraction(2, 3) + 1
    )


@pytest.mark.parametrize(
    ("names", "tex"),
    [
        ({}, r"\frac{1 - e^{-D r}}{r}"),
        ({"D": r"\Delta"}, r"\frac{1 - e^{-\Delta r}}{r}"),
    ],
)
def test_a_series_is_printed_as_one_fraction(names, tex):
    D, r = series.Variables("D r").all()
    assert (D * series.phi(1, -r * D)).tex(**names) == tex
    assert (D - D).tex() == "0"
    assert (1 / (2 * (1 - D) ** 2)).tex() == r"\frac{1}{2 (1 - D)^2}"


def test_letters_print_what_is_done_to_them():
    (A,), (x,) = letters(Kind.OPERATOR, "A"), letters(Kind.SCALAR, "x")
    Q, K = letters(Kind.MATRIX, "Q", "K")
    (b,) = letters(Kind.COLUMN, "b")
    written = {
        r"(I - \tfrac{1}{2} x A)^{-1} (I + x A)": (1 / (1 - x * A / 2)) * (1 + x * A),
        r"1 - (x - 1)": 1 - (x - 1),
        r"x - 2": x + -2,
        r"-(x + 1)": -(x + 1),
        r"\frac{x}{1 + x^2}": x / (1 + x**2),
        r"e^{x} \varphi_2(x)": printed.exp(x) * printed.phi(2, x),
        r"Q K^\top": Q @ K.T,
        r"(Q K^\top)^\top": (Q @ K.T).T,
        r"\operatorname{diag}(b) (Q \odot K)": b * (Q * K),
        r"\operatorname{tril}(Q K^\top)": Below() * (Q @ K.T),
        r"\bigl(I + \operatorname{tril}(Q, -1)\bigr)^{-1} K": inverse(Below(-1) * Q) @ K,
    }
    assert {str(made): tex for tex, made in written.items()} == {tex: tex for tex in written}
    assert str(0 * x + 1) == "1" and str(x * 1 + 0 * x) == "x" and str(x - x * 0) == "x"


def test_the_step_is_printed_as_it_is_computed():
    names = {"q": "q", "k": "k", "v": "v", "b": "b", "w": "w"}
    x = Token(**{name: entry(letter)[0] for name, letter in names.items()}, g=entry("g"))
    S, o = reference.step(entry("S"), x, exp=lambda g: g)
    numbers = {name: Fraction(n + 2, 3) for n, name in enumerate("qkvbwgS")}
    plain = Token(
        **{name: np.array([numbers[name]], dtype=object) for name in names},
        g=np.array([[numbers["g"]]], dtype=object),
    )
    want, out = reference.step(np.array([[numbers["S"]]], dtype=object), plain, exp=lambda g: g)
    assert value(str(S[0, 0]), **numbers) == want[0, 0]
    assert value(str(o[0]), **numbers) == out[0]
