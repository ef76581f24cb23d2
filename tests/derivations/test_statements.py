"""Statements are printed from what is checked: they change with the code, and equal the checked object."""

import sys

import pytest

from derivations.claim import Claim, name_of
from derivations.claims.delta_rule import wy_form
from derivations.engines import series, trees, words
from derivations.engines.written import Written
from derivations.models import gated_chunk
from derivations.mutants.by_hand import planted
from derivations.mutants.by_machine import every_mutant
from derivations.registry import load
from derivations.result import Verdict
from gdn_core import reference, reference_backward, ssm

# Printed from the words or functions of the claim that a step compares with the code, or from nothing but words.
COMPARED = {
    "block_exponential_holds_both_matrices_of_zoh",
    "float_phi1_is_accurate_to_rounding",
    "softplus_log_decay_stays_between_zero_and_one",
    "fixed_recurrence_is_a_convolution",
    "held_sample_decides_when_the_first_output_comes",
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
    "micro_steps_of_a_token_are_one_product",
    "recursive_least_squares_is_a_delta_rule_with_a_gain",
    "hippo_is_normal_plus_rank_one",
    "gradients_of_segments_compose",
    "gated_chunk_equals_recurrence",
    "ut_transform_is_the_gated_triangular_system",
    "gate_moves_through_the_triangular_system",
    "chunk_by_channel_equals_recurrence",
    "decay_by_channel_splits_to_second_order_locally",
    "outputs_are_effective_attention",
    "torch_reference_is_the_reference_on_every_head",
    "narrower_rules_keep_what_wider_ones_break",
    "printed_words_are_the_step",
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
    for name, module in list(sys.modules.items()):
        if name.startswith("derivations."):
            for printer in {"polynomial", "fraction", "factored", "number"} & set(vars(module)):
                monkeypatch.setattr(module, printer, lambda *arguments: "?")
    by_the_core = {
        "fast_weights_are_linear_attention": (r"S_t = S_{t-1} + v_t k_t^\top", 2),
        "printed_words_are_the_step": (r"S_t = \alpha_t S_{t-1} \left(I - \beta_t k_t k_t^\top\right)", 1),
    }
    if claim.name in by_the_core:
        printed, times = by_the_core[claim.name]
        assert right.count(printed) == times
        return
    assert claim.statement() != right


@pytest.mark.parametrize("claim", [c for c in load().values() if c.name not in COMPARED], ids=lambda claim: claim.name)
def test_a_statement_changes_with_the_code_that_it_is_about(claim):
    right = now(claim)
    places = {name_of(code) for code in claim.code}
    for mutant in every_mutant():
        if mutant.place in places:
            with mutant.in_place():
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
            gated_chunk.Induction,
            "error",
            lambda self, **_: self.beta * self.v - self.S0 @ (self.beta * self.k),
        ),
        ("product_of_transitions_has_a_wy_form", wy_form.Products, "row", lambda self, of, new, sign=1: new.T),
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
