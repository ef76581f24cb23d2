"""Presets: every "look for" is true of its stream, and every setting builds one."""

import re
import unicodedata
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gdn_core import streams
from gdn_core.lab import limits, scenarios
from gdn_core.lab.limits import LIMITS
from gdn_core.lab.scenarios import PRESETS, Settings, about, from_preset
from gdn_core.rules import RULES
from tests.gdn_core.lab.scenarios.stream_checks import memories, refused, valid_settings

SEEDS = (0, 1, 2, 12345)


def preset(slug: str, **changed):
    made = scenarios.from_preset(slug, replace(PRESETS[slug].settings, **changed))
    return made, made.stream


def errors(S: np.ndarray, stream: streams.Stream, count: int) -> np.ndarray:
    """How far the answers to the first keys are from their values, relative to the values, [count]."""
    k, v = stream.k[:count], stream.v[:count]
    return np.linalg.norm(k @ S.T - v, axis=1) / np.linalg.norm(v, axis=1)


def norms(S: np.ndarray) -> np.ndarray:
    return np.sqrt((S**2).sum(axis=(-2, -1)))


@pytest.mark.parametrize("seed", SEEDS)
class TestWhatToLookFor:
    """Each sentence of a preset, measured on its own stream."""

    def test_collision(self, seed):
        made, x = preset("collision", seed=seed)
        T, _, K = x.sizes
        linear, delta = memories("linear-attention", x), memories("deltanet", x)
        for n in range(1, K + 1):
            assert errors(linear[n], x, n).max() < 1e-12
            assert errors(delta[n], x, n).max() < 1e-12
        for n in range(K + 1, T + 1):
            assert errors(linear[n], x, n)[-1] > 0.05  # the newest too
            assert errors(delta[n], x, n)[-1] < 1e-12
        assert errors(linear[T], x, T).min() > 0.3
        assert errors(delta[T], x, T)[: T // 2].mean() > 0.5
        assert (x.q == x.k[0]).all()
        assert "Every token asks for the first key." in made.notes

    def test_overwrite(self, seed):
        _, x = preset("overwrite", seed=seed)
        key, alpha = x.k[0], PRESETS["overwrite"].settings.alpha
        again = int(np.flatnonzero((x.k == key).all(axis=1))[1])
        first, second = x.v[0], x.v[again]
        assert (x.q == key).all()
        S = {rule: memories(rule, x)[again + 1] @ key for rule in PRESETS["overwrite"].rules}
        np.testing.assert_allclose(S["linear-attention"], first + second, atol=1e-12)
        np.testing.assert_allclose(S["mamba-2"], second + alpha**again * first, atol=1e-12)
        np.testing.assert_allclose(S["deltanet"], second, atol=1e-12)
        np.testing.assert_allclose(S["gated-deltanet"], second, atol=1e-12)

    def test_recency(self, seed):
        _, x = preset("recency", seed=seed)
        T, alpha = len(x), PRESETS["recency"].settings.alpha
        for rule in ("linear-attention", "deltanet"):
            assert errors(memories(rule, x)[-1], x, T).max() < 1e-12
        left = alpha ** np.arange(T - 1, -1, -1.0)[:, None] * x.v
        for rule in ("retnet", "gated-deltanet"):
            np.testing.assert_allclose(x.k @ memories(rule, x)[-1].T, left, atol=1e-12)

    def test_ignore(self, seed):
        made, x = preset("ignore", seed=seed)
        t = made.labels.index("noise, to be ignored")
        outer = np.outer(x.v[t], x.k[t])
        for rule in ("mamba", "gated-deltanet"):
            S = memories(rule, x)
            np.testing.assert_array_equal(S[t + 1], S[t])
            assert norms(S[t]) > 0.3
        for rule, alpha in (("linear-attention", 1), ("retnet", PRESETS["ignore"].settings.alpha)):
            S = memories(rule, x)
            np.testing.assert_allclose(S[t + 1], alpha * S[t] + outer, atol=1e-12)

    def test_reset(self, seed):
        made, x = preset("reset", seed=seed)
        t = made.labels.index("reset")
        for rule in ("gated-deltanet", "mamba"):
            S = norms(memories(rule, x))
            assert S[t] > 0.3
            assert S[t + 1] < 1e-9
        for rule, kept in (("deltanet", 1), ("retnet", PRESETS["reset"].settings.alpha)):
            S = norms(memories(rule, x))
            assert S[t + 1] == pytest.approx(kept * S[t])

    def test_correlated(self, seed):
        _, x = preset("correlated", seed=seed)
        T = len(x)
        cosines = (x.k @ x.k.T)[np.tril_indices(T, -1)]
        np.testing.assert_allclose(cosines, 0.8, atol=1e-12)
        linear, delta = memories("linear-attention", x)[-1], memories("deltanet", x)[-1]
        answers = x.k @ linear.T
        total = x.v.sum(axis=0)
        alike = answers @ total / np.linalg.norm(answers, axis=1) / np.linalg.norm(total)
        assert alike.min() > 0.9
        assert errors(delta, x, T)[-1] < 1e-12
        assert errors(delta, x, T).mean() < 0.6 * errors(linear, x, T).mean()

    def test_long(self, seed):
        _, x = preset("long", seed=seed)
        T = len(x)
        linear = norms(memories("linear-attention", x))
        slope = np.polyfit(np.log(np.arange(16, T + 1)), np.log(linear[16:]), 1)[0]
        assert slope == pytest.approx(0.5, abs=0.12)
        for rule in ("mamba-2", "deltanet", "gated-deltanet"):
            S = norms(memories(rule, x))
            assert S[3 * T // 4 :].mean() == pytest.approx(S[T // 2 : 3 * T // 4].mean(), rel=0.12)

    def test_parity(self, seed):
        made, x = preset("parity", seed=seed)
        ones = np.cumsum([label == "1" for label in made.labels])
        assert set(made.labels) == {"switch → on", "0", "1"}
        for rule in ("deltanet", "gated-deltanet"):
            answers = memories(rule, x)[1:] @ x.k[0]
            np.testing.assert_allclose(answers, (-1.0) ** ones[:, None] * x.v[0], atol=1e-12)
        S = memories("linear-attention", x)
        np.testing.assert_array_equal(S[1:], np.broadcast_to(S[1], S[1:].shape))


class TestPresets:
    """All of them, under any settings."""

    def test_each_is_complete(self):
        for slug, made in PRESETS.items():
            assert made.slug == slug
            assert 2 <= len(made.rules) <= 4
            assert set(made.rules) <= set(RULES)
            assert made.title
            assert made.look_for.endswith(".")
            built = scenarios.from_preset(slug)
            assert built.settings == made.settings
            assert (built.title, built.look_for) == (made.title, made.look_for)

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.sampled_from(list(PRESETS)), valid_settings)
    def test_any_settings_build_a_stream_that_the_door_lets_through(self, slug, chosen):
        made = scenarios.from_preset(slug, chosen)
        limits.check_stream(made.stream, LIMITS)
        assert made.stream.sizes == (chosen.T, chosen.dv, chosen.dk)
        assert len(made.labels) == len(made.rows) == chosen.T
        assert all(made.labels)
        for rule in RULES.values():  # every gate has a width that the rule can take
            assert len(streams.tokens(rule, made.stream)) == chosen.T

    @pytest.mark.parametrize("slug", PRESETS)
    @pytest.mark.parametrize("small", [{"T": 1}, {"dk": 1}, {"dv": 1}, {"T": 1, "dk": 1, "dv": 1}, {"T": 2, "dk": 2}])
    def test_the_smallest_sizes_build(self, slug, small):
        _, x = preset(slug, **small)
        assert np.isfinite(memories("gated-deltanet", x)).all()

    @pytest.mark.parametrize("slug", PRESETS)
    @pytest.mark.parametrize("change", [{"dk": 5}, {"dv": 5}, {"T": 5}, {"seed": 99}, {"noise": 0.3}, {"alpha": 0.5},
                                        {"beta": 0.5}, {"write": 0.5}, {"delta": 0.7}, {"spread": 1.0}])  # fmt: skip
    def test_every_setting_acts(self, slug, change):
        _, before = preset(slug)
        _, after = preset(slug, **change)
        names = ("q", "k", "v", "g", "beta", "w", "delta")
        pairs = [(getattr(before, name), getattr(after, name)) for name in names]
        assert any(a.shape != b.shape or (a != b).any() for a, b in pairs)

    def test_an_unknown_preset_is_refused_with_the_known_ones(self):
        refused(f"preset: expected one of {', '.join(PRESETS)}, got 'nope'", lambda: scenarios.from_preset("nope"))


GATES = {"alpha": 0.37, "beta": 0.61, "write": 1.9, "delta": 0.77}


@pytest.mark.parametrize(
    "made",
    [
        *(PRESETS[slug].build for slug in PRESETS),
        lambda settings=None: scenarios.from_text("a = 1\nb = 2\na = ?", settings or Settings()),
        lambda settings=None: scenarios.from_table(
            [{"key": "a", "value": "b", "alpha": 0.5, "delta": 0}, {"key": "b", "beta": 1.0, "alpha": 1, "delta": 1}],
            settings or Settings(),
        ),
        lambda settings=None: scenarios.from_table(
            [{"key": "a", "value": "b", "beta": 0.5}, {"query": "a"}], settings or Settings()
        ),
    ],
)
def test_a_setting_is_called_inactive_exactly_where_it_changes_no_memory(made) -> None:
    """Each gate is changed, and every rule of the family runs before and after."""
    before = made()
    for name, value in GATES.items():
        after = made(replace(before.settings, **{name: value}))
        changed = any(not np.array_equal(memories(slug, before.stream), memories(slug, after.stream)) for slug in RULES)
        assert changed is not (name in before.inactive), name


@pytest.mark.parametrize("slug", PRESETS)
def test_a_preset_speaks_of_the_rules_that_are_shown_alone(slug: str) -> None:
    made = PRESETS[slug]
    titles = {rule: RULES[rule].title.lower() for rule in made.rules}
    assert about(made.look_for, [RULES[rule] for rule in made.rules]) == made.look_for
    for rule, title in titles.items():
        said = about(made.look_for, [RULES[rule]]).lower()
        assert title in said or title not in made.look_for.lower()
        for other in set(titles.values()) - {title}:
            assert other not in said.replace(title, "")


def test_a_pair_key_or_value_that_bears_the_number_of_a_token_is_that_token_s() -> None:
    """Keys that come again, as in a long stream, say in words which they are."""
    numbered = set()
    for slug in PRESETS:
        made = from_preset(slug)
        for t, (row, label) in enumerate(zip(made.rows, made.labels, strict=True)):
            for said in (row.key, row.value, label):
                for number in re.findall(r"(?:pair |key|value)(\d+)", unicodedata.normalize("NFKC", str(said))):
                    assert int(number) == t, (slug, said)
                    numbered.add(slug)
    assert numbered == {"collision", "recency", "ignore", "reset", "correlated"}


#: The first two channels of the last key and the last value of each preset, as links that were shared show them.
SHARED = {
    "collision": ([0.0286, -0.0622], [0.5083, 0.4588]),
    "overwrite": ([0.0, 0.1394], [-0.3072, -0.0335]),
    "recency": ([0.0, 0.0], [0.1731, 0.4115]),
    "ignore": ([-0.0802, -0.1237], [0.1731, 0.4115]),
    "reset": ([0.0721, 0.2569], [-0.3587, -0.1253]),
    "correlated": ([0.8944, 0.0], [-0.0713, 0.2835]),
    "long": ([0.3424, 0.0606], [-0.058, -0.044]),
    "parity": ([0.486, -0.4625], [0.0, 0.0]),
}


def test_a_link_that_was_shared_opens_the_same_numbers() -> None:
    assert set(SHARED) == set(PRESETS)
    for slug, (k, v) in SHARED.items():
        stream = from_preset(slug).stream
        np.testing.assert_allclose(stream.k[-1, :2], k, atol=1e-4, err_msg=slug)
        np.testing.assert_allclose(stream.v[-1, :2], v, atol=1e-4, err_msg=slug)
