"""Variants of the code that are wrong at some values or shapes only: one step of a claim leaves a residual."""

from dataclasses import replace

import pytest

from derivations.mutants.by_hand import misprinted
from derivations.registry import load
from derivations.result import Verdict
from gdn_core import integrators, reference, reference_backward, ssm, streams
from gdn_core.rules import RULES, Clock, Features, Gate, Integrator, KVCache

TOKENS = "stream_has_tokens_under_every_rule"
#: Claim, step, rule, function, and a place of it with what is put there.
VARIANTS = (
    ("recurrence_is_the_equation_token_by_token", "gates of 0 1 and 2", "", reference.step, "S @ (x.b * x.k)",
     "S @ (np.minimum(x.b, 1) * x.k)"),
    ("stages_add_up_to_the_step", "stages with gates of 0 1 and 2", "", reference.moments, "exp(x.g) * S",
     "exp(np.maximum(x.g, -20)) * S"),
    ("every_rule_has_a_chunk_form", "chunk with gates of 0 1 and 2", "", reference.chunk, "x.b * x.k",
     "np.minimum(x.b, 1) * x.k"),
    ("every_rule_has_a_chunk_form", "chunk with gates of 0 1 and 2", "", reference.chunkwise,
     "outputs: list[Array] = []", "outputs, S = ([], S if S.any() else S + 1)"),
    ("chunk_backward_is_the_derivative", "gradients with gates of 0 1 and 2", "", reference_backward.chunk_backward,
     "x.b * x.k", "np.minimum(x.b, 1) * x.k"),
    ("discretisations_act_entry_by_entry", "in floats real and complex", "", ssm.exponential_trapezoidal,
     "(1 - lam) * delta * decay", "(1 - np.ravel(lam)[0]) * delta * decay"),
    ("state_space_model_is_a_write_rule", "tokens of every width", "", ssm.tokens, "factor.shape[1] < u.shape[1]",
     "factor.shape[1] < u.shape[1] != 3"),
    ("float_phi1_is_accurate_to_rounding", "float phi1 is accurate to rounding", "", ssm.phi1, "np.expm1(safe) / safe",
     "(np.expm1(safe) if z.ndim < 4 else np.exp(safe)) / safe"),
    ("delta_rules_are_steps_along_one_equation", "gates of arrays", "", integrators.exact, "-(z - g)",
     "-(z - (g if not getattr(g, 'shape', ()) else g[:1]))"),
    (TOKENS, "stream has tokens under every rule", "gated-deltanet", streams.tokens,
     "values.mean(axis=1, keepdims=True)", "values.mean(axis=1, keepdims=True) if T > 1 else values[:, :1]"),
    (TOKENS, "stream has tokens under every rule", "retnet", streams.held, "np.median(x, axis=0)", "x[len(x) // 2]"),
    (TOKENS, "windows and sizes", "", streams.Stream.window, "[start:stop]", "[start:max(stop - 1, start + 1)]"),
    (TOKENS, "answer of a normalised rule", "linear-attention-normalised", streams.answer, "read[..., -1:]",
     "read[..., -1:] if read.ndim < 3 else read[..., :1]"),
    ("training_all_at_once_is_quadratic_and_in_chunks_linear", "kept by every rule", "", KVCache.floats, "T * (V + K)",
     "min(T, 1000) * (V + K)"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "step", "rule", "function", "right", "wrong"),
    VARIANTS,
    ids=lambda value: getattr(value, "__qualname__", str(value)),
)
def test_what_is_wrong_at_some_values_or_shapes_only_leaves_a_residual(name, step, rule, function, right, wrong):
    made = load()[name]
    (of_name,) = [each for each in made.steps if each.name == step]
    with misprinted(function, right, wrong):
        checked = made.check_step(of_name, rule=RULES[rule] if rule else None)
    assert checked.verdict is Verdict.FAILS, checked.residual


@pytest.mark.parametrize(
    ("slug", "wrong"),
    [
        ("gla", {"decay": Gate.SCALAR}), ("s4", {"clock": Clock.TOKEN}), ("deltanet", {"tied": False}),
        ("longhorn", {"integrator": Integrator.EXACT}), ("efla", {"integrator": Integrator.IMPLICIT}),
        ("exact-gated-delta", {"integrator": None}), ("gated-deltanet-2", {"erase": Gate.SCALAR}),
        ("gated-deltanet-2", {"write": Gate.SCALAR}), ("mamba-2", {"decay": Gate.KEY}),
        ("linear-attention-normalised", {"features": Features.IDENTITY}),
    ],
)  # fmt: skip
def test_a_rule_that_is_entered_wrong_is_not_the_published_one(slug, wrong):
    made = load()["stream_has_tokens_under_every_rule"]
    (step,) = [step for step in made.steps if step.name == "recurrence of every rule as published"]
    assert made.check_step(step, rule=RULES[slug]).verdict is Verdict.HOLDS
    checked = made.check_step(step, rule=replace(RULES[slug], **wrong))
    assert checked.verdict is Verdict.FAILS
    assert checked.residual.startswith("T = ")
