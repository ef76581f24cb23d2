"""Rules put together from parts, against equations written out, the rules of the lineage, and the other lessons."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from gdn_core import RULES, equation
from gdn_core.lab.studies import collision, compose, gated, recency, tasks

CHOICES = list(itertools.product(compose.DECAYS, compose.ERASES, compose.WRITES, (1, 2, 3)))


def written_out(decay: str, erase: str, write: str, steps: int, pairs: compose.Pairs) -> np.ndarray:
    """The memory after the last pair, by whole matrices."""
    V, K = pairs.v.shape[1], pairs.k.shape[1]
    S, taken = np.zeros((V, K)), 0
    for p in range(len(pairs.k)):
        taken = taken + 1 if p and pairs.token[p] == pairs.token[p - 1] else 0
        if taken >= steps:
            continue
        g = pairs.g[p]
        mean = {"none": 0 * g, "scalar": 0 * g + g.mean(), "key": 0 * g + g.mean(axis=0), "entry": g}[decay]
        S = S * np.exp(mean if taken == 0 else 0)
        k, beta = pairs.k[p], pairs.b[p].mean()
        e = pairs.e[p] if erase == "key" else k
        removed = {"none": 0 * k, "tied": beta * k, "gate": pairs.b[p] * k, "key": beta * e}[erase]
        S = S @ (np.eye(K) - np.outer(removed, e))
        w = {"none": 1, "scalar": pairs.w[p].mean(), "value": pairs.w[p]}[write] * (beta if erase == "tied" else 1)
        S = S + np.outer(w * pairs.v[p], k)
    return S


def drawn(steps: int) -> compose.Pairs:
    rng = np.random.default_rng(2)
    k, v, e = rng.standard_normal((12, 5)), rng.standard_normal((12, 3)), rng.standard_normal((12, 5))
    gates = rng.uniform(0.2, 0.9, (12, 5)), rng.uniform(0.2, 0.9, (12, 3))
    g = -rng.uniform(0.1, 0.9, (12, 3, 5))
    return compose.Pairs(k=k / 2, v=v, e=e / 2, g=g, b=gates[0], w=gates[1], token=np.arange(12) // 2)


def test_every_choice_is_its_equation_written_out() -> None:
    for choice in CHOICES:
        pairs = drawn(choice[3])
        np.testing.assert_allclose(compose.memories(*choice, pairs)[-1], written_out(*choice, pairs), atol=1e-12)


def test_what_has_a_name_has_the_equation_of_the_lineage() -> None:
    found = {}
    for choice in CHOICES:
        for title in compose.names(*choice):
            found[title] = choice
    by_title = {rule.title: rule for rule in RULES.values()}
    known = {title: by_title[title] for title in found if title in by_title}
    assert set(known) == {
        "Fast weights", "Linear attention", "RetNet", "Mamba-2", "GLA", "Mamba", "DeltaNet", "Gated DeltaNet",
        "Kimi Delta Attention", "Gated DeltaNet-2",
    }  # fmt: skip
    for title, rule in known.items():
        constant = equation.tex(rule).replace(r"\gamma", r"\alpha_t").replace(r"\Delta_t", "w_t")  # a constant decay
        assert compose.tex(*found[title]) == constant
    assert set(found) - set(known) == {"DeltaProduct", "Gated DeltaProduct", "RWKV-7, in its form"}


def test_the_equation_of_other_choices_has_their_parts() -> None:
    two = compose.tex("scalar", "tied", "none", 2)
    assert two == (
        r"S_{t,i} = S_{t,i-1} \left(I - \beta_{t,i} k_{t,i} k_{t,i}^\top\right) + \beta_{t,i} v_{t,i} k_{t,i}^\top, "
        r"\quad S_{t,0} = \alpha_t S_{t-1}, \quad S_t = S_{t,2}"
    )
    own = compose.tex("key", "key", "value", 1)
    assert own == (
        r"S_t = S_{t-1} \operatorname{diag}(\alpha_t) \left(I - \beta_t e_t e_t^\top\right) + (w_t \odot v_t) k_t^\top"
    )


@pytest.mark.parametrize(("n", "rule"), list(enumerate(gated.SETS["grid"])))
def test_choices_with_a_name_do_on_the_streams_what_the_other_lessons_say(n: int, rule: str) -> None:
    parts = {"linear-attention": ("none", "none"), "mamba-2": ("scalar", "none"), "deltanet": ("none", "tied")}
    choice = (*parts.get(rule, ("scalar", "tied")), "none", 1)
    facts = gated.recall(0.1, "grid")["error"][:, :, n]
    np.testing.assert_allclose(compose.on_facts(*choice)["error"], facts, atol=1e-12)
    weights = recency.weights_of_writes(0.9, 0.5)["weights"][:, :, recency.RULES_COMPARED.index(rule)]
    np.testing.assert_allclose(compose.on_recency(*choice)["weights"], weights, atol=1e-12)
    error = collision.recall_of_all("random", 0.98)["error"][:, list(RULES).index(rule)]
    np.testing.assert_allclose(compose.on_collision(*choice)["error"], error, rtol=1e-4, atol=1e-9)


def test_the_stages_add_up() -> None:
    made = compose.stages("scalar", "key", "value", 2)
    np.testing.assert_array_equal(made["before"][1:], made["written"][:-1])
    decays = np.linalg.norm(made["decayed"][1:], axis=(1, 2)) / np.linalg.norm(made["before"][1:], axis=(1, 2))
    np.testing.assert_allclose(decays, [1, 0.8] * 3 + [1])  # the second pair of a token does not decay


def test_each_task_asks_for_a_part_of_its_own() -> None:
    needs = {
        "keep": lambda d, e, w, n: True,
        "forget": lambda d, e, w, n: e != "none",
        "subject": lambda d, e, w, n: d != "none",
        "half": lambda d, e, w, n: d in ("key", "entry"),
        "part": lambda d, e, w, n: d == "entry",
        "mask": lambda d, e, w, n: w == "value",
        "at-once": lambda d, e, w, n: e == "key" or (e != "none" and n > 1),
    }
    assert tuple(needs) == tasks.NAMES
    for choice in CHOICES:
        beaten = tasks.beaten(*choice)["score"][:, 0] >= tasks.BEATEN
        assert list(beaten) == [need(*choice) for need in needs.values()], choice


def test_a_score_counts_the_facts_that_are_answered() -> None:
    made = tasks.beaten("none", "none", "none", 1)
    assert made["score"][1, 0] == pytest.approx(9 / 12)  # three are not forgotten
    assert made["score"][2, 0] == pytest.approx(4 / 12)
    answered = made["answered"][1] - made["wanted"][1]
    assert (np.linalg.norm(answered, axis=1) > 0.5).sum() == 3
    assert [int(tasks.gates(*parts)) for parts in (("scalar", "tied", "none"), ("key", "gate", "value"))] == [2, 48]
