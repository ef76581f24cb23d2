"""The printed equation says what the step computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from gdn_core import equation, reference
from gdn_core.equation import tex, tex_gates, tex_output, text, written
from gdn_core.rules import RULES, Discretisation, Gate, WriteRule

ANSWER = r"\left(I - \beta_t k_t k_t^\top\right) + \beta_t v_t k_t^\top"
PRINTED = {
    "fast-weights": r"S_t = S_{t-1} + v_t k_t^\top",
    "linear-attention": r"S_t = S_{t-1} + v_t k_t^\top",
    "linear-attention-normalised": r"S_t = S_{t-1} + v_t \phi(k_t)^\top",
    "s4": r"S_t = \bar A \odot S_{t-1} + \bar B \odot \left(v_t k_t^\top\right)",
    "mamba": r"S_t = \bar A_t \odot S_{t-1} + (\Delta_t \odot v_t) k_t^\top",
    "retnet": r"S_t = \gamma S_{t-1} + v_t k_t^\top",
    "gla": r"S_t = S_{t-1} \operatorname{diag}(\alpha_t) + v_t k_t^\top",
    "mamba-2": r"S_t = \alpha_t S_{t-1} + v_t k_t^\top",
    "deltanet": rf"S_t = S_{{t-1}} {ANSWER}",
    "longhorn": r"S_t = S_{t-1} \left(I - \theta_t k_t k_t^\top\right) + \theta_t v_t k_t^\top",
    "efla": r"S_t = S_{t-1} \left(I - \theta_t k_t k_t^\top\right) + \theta_t v_t k_t^\top",
    "exact-gated-delta": r"S_t = \alpha_t S_{t-1} \left(I - b_t k_t k_t^\top\right) + w_t v_t k_t^\top",
    "gated-deltanet": rf"S_t = \alpha_t S_{{t-1}} {ANSWER}",
    "kimi-delta-attention": rf"S_t = S_{{t-1}} \operatorname{{diag}}(\alpha_t) {ANSWER}",
    "gated-deltanet-2": r"S_t = S_{t-1} \operatorname{diag}(\alpha_t) \left(I - (b_t \odot k_t) k_t^\top\right)"
    r" + (w_t \odot v_t) k_t^\top",
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_rule_prints_as_its_paper_has_it(rule: WriteRule) -> None:
    assert tex(rule) == PRINTED[rule.slug]


PLAIN = {
    "linear-attention-normalised": "Sₜ = Sₜ₋₁ + vₜ φ(kₜ)ᵀ",
    "s4": "Sₜ = Ā ∘ Sₜ₋₁ + B̄ ∘ (vₜ kₜᵀ)",
    "retnet": "Sₜ = γ Sₜ₋₁ + vₜ kₜᵀ",
    "gated-deltanet-2": "Sₜ = Sₜ₋₁ diag(αₜ) (I − (bₜ ∘ kₜ) kₜᵀ) + (wₜ ∘ vₜ) kₜᵀ",
}


@pytest.mark.parametrize("slug", PLAIN)
def test_a_rule_is_written_in_plain_letters(slug: str) -> None:
    assert text(tex(RULES[slug])) == PLAIN[slug]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_nothing_of_tex_is_left_in_plain_letters(rule: WriteRule) -> None:
    shown = [rule] if rule.discretisation is None else [rule.discretised(method) for method in Discretisation]
    for one in shown:
        for printed in (tex(one), tex_gates(one) or "", tex_output(one)):
            assert not set(text(printed)) & set("\\{}^_"), text(printed)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_printed_words_evaluate_to_the_reference(rule: WriteRule) -> None:
    rng = np.random.default_rng(1)
    V, K = 3, 4
    S, q, k, v = rng.normal(size=(V, K)), rng.normal(size=K), rng.normal(size=K), rng.normal(size=V)
    decay = rng.random(rule.decay.shape(V, K)) if rule.decay is not Gate.NONE else np.ones((1, 1))
    b = rng.random({Gate.NONE: 1, Gate.SCALAR: 1}.get(rule.erase, K)) * (rule.erase is not Gate.NONE)
    w = b if rule.tied else rng.random(V) if rule.write is Gate.VALUE else np.ones(1)
    entries = rng.random((V, K)) if rule.write is Gate.MATRIX else np.ones((V, 1))
    keys = entries * k if rule.write is Gate.MATRIX else k
    x = reference.Token(q=q[None], k=keys[None], v=v[None], g=np.log(decay)[None], b=b[None], w=w[None])
    want_S, want_o = reference.recurrent(S, x)

    columns = {"q": q[:, None], "k": k[:, None], "v": v[:, None]}
    gates = {"alpha": decay, "b": b[:, None], "w": entries if rule.write is Gate.MATRIX else w[:, None]}
    new_memory, output = written(rule)
    values = {"S": S, **columns, **gates}
    np.testing.assert_allclose(new_memory.value(values), want_S, rtol=1e-12)
    np.testing.assert_allclose(output.value(values)[:, 0], want_o[0], rtol=1e-12)


def test_a_wrong_step_prints_a_wrong_equation(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_before_decay(S, x, *, exp: Callable):
        u = x.w * x.v - S @ (x.b * x.k)
        S = exp(x.g) * S + u[:, None] * x.k[None, :]
        return S, S @ x.q

    monkeypatch.setattr(equation, "step", read_before_decay)
    assert tex(RULES["gated-deltanet"]) != PRINTED["gated-deltanet"]


def test_the_normalised_rule_divides_by_the_sum_of_its_keys() -> None:
    assert tex_output(RULES["linear-attention"]) == "o_t = S_t q_t"
    assert tex_output(RULES["linear-attention-normalised"]) == (
        r"o_t = \frac{S_t \phi(q_t)}{z_t^\top \phi(q_t)}, \quad z_t = z_{t-1} + \phi(k_t)"
    )


def test_a_discretised_rule_says_where_its_gates_come_from() -> None:
    assert tex_gates(RULES["mamba"]) == r"\bar A_t = \exp(\Delta_t A)"
    assert tex_gates(RULES["s4"]) == (
        r"\bar A = \exp(\Delta A), \quad \bar B = \Delta \frac{\exp(\Delta A) - 1}{\Delta A}"
    )
    assert tex(RULES["mamba"].discretised(Discretisation.ZOH)) == (
        r"S_t = \bar A_t \odot S_{t-1} + \bar B_t \odot \left(v_t k_t^\top\right)"
    )
    assert tex_gates(RULES["gla"]) is None


def test_a_rule_with_an_integrator_says_where_its_gates_come_from() -> None:
    kappa = r", \quad \kappa_t = k_t^\top k_t"
    share = r"\beta_t \frac{1 - \exp(-\beta_t \kappa_t)}{\beta_t \kappa_t}"
    assert tex_gates(RULES["longhorn"]) == r"\theta_t = \frac{\beta_t}{1 + \beta_t \kappa_t}" + kappa
    assert tex_gates(RULES["efla"]) == rf"\theta_t = {share}{kappa}"
    assert tex_gates(RULES["exact-gated-delta"]) == rf"b_t = {share}, \quad " + (
        r"w_t = \beta_t \frac{1 - \exp(-(\beta_t \kappa_t - \log \alpha_t))}{\beta_t \kappa_t - \log \alpha_t}" + kappa
    )
    assert text(tex_gates(RULES["longhorn"]) or "") == "θₜ = (βₜ) / (1 + βₜ κₜ), κₜ = kₜᵀ kₜ"


def test_a_wrong_discretisation_prints_a_wrong_equation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equation.ssm, "zoh", lambda A, delta, *, exp, phi1: (exp(A), phi1(delta * A)))
    assert tex_gates(RULES["s4"]) == r"\bar A = \exp(A), \quad \bar B = \frac{\exp(\Delta A) - 1}{\Delta A}"
