"""Scenarios: every "look for" is true of its stream, every source gives what it says, and every refusal a sentence."""

import io
import math
import re
import time
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gdn_core
from gdn_core import streams
from gdn_core.lab import limits, scenarios
from gdn_core.lab.limits import LIMITS
from gdn_core.lab.scenarios import PRESETS, Row, Settings
from gdn_core.lab.text import direction, gaussians, normal, words
from gdn_core.reference import moments
from gdn_core.rules import RULES, Discretisation

SEEDS = (0, 1, 2, 12345)

valid_settings = st.builds(
    Settings,
    dk=st.integers(1, 64),
    dv=st.integers(1, 64),
    T=st.integers(1, 256),
    alpha=st.floats(0, 1, exclude_min=True),
    beta=st.floats(0, 2),
    write=st.floats(0, 2),
    delta=st.floats(0, 100, exclude_min=True),
    spread=st.floats(0, 1),
    noise=st.floats(0, 10),
    seed=st.integers(0, 2**32 - 1),
)


def memories(rule: str, stream: streams.Stream) -> np.ndarray:
    """The memory before the first token and after each, [T + 1, V, K], by the float64 reference."""
    x = streams.tokens(RULES[rule], stream)
    S = np.zeros((x.v.shape[1], stream.k.shape[1]))
    found = [S]
    for t in range(len(x)):
        S = moments(S, x[t]).written
        found.append(S)
    return np.stack(found)


def preset(slug: str, **changed):
    made = scenarios.from_preset(slug, replace(PRESETS[slug].settings, **changed))
    return made, made.stream


def errors(S: np.ndarray, stream: streams.Stream, count: int) -> np.ndarray:
    """How far the answers to the first keys are from their values, relative to the values, [count]."""
    k, v = stream.k[:count], stream.v[:count]
    return np.linalg.norm(k @ S.T - v, axis=1) / np.linalg.norm(v, axis=1)


def norms(S: np.ndarray) -> np.ndarray:
    return np.sqrt((S**2).sum(axis=(-2, -1)))


def same(a: streams.Stream, b: streams.Stream) -> None:
    for name in ("q", "k", "v", "g", "beta", "w", "delta", "A"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def refused(sentence: str, make, kind=ValueError) -> None:
    with pytest.raises(kind, match=f"^{re.escape(sentence)}$"):
        make()


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


class TestSettings:
    """Ranges, and what is filled in."""

    @pytest.mark.parametrize(
        ("field", "value", "sentence"),
        [
            ("dk", 65, "dk: expected an integer from 1 to 64, got 65"),
            ("dv", 0, "dv: expected an integer from 1 to 64, got 0"),
            ("T", 257, "T: expected an integer from 1 to 256, got 257"),
            ("alpha", 0.0, "alpha: expected a number above 0 and at most 1, got 0"),
            ("alpha", math.nan, "alpha: expected a number above 0 and at most 1, got nan"),
            ("beta", 2.1, "beta: expected a number from 0 to 2, got 2.1"),
            ("write", -1, "write: expected a number from 0 to 2, got -1"),
            ("delta", 0, "delta: expected a number above 0 and at most 100, got 0"),
            ("spread", 1.01, "spread: expected a number from 0 to 1, got 1.01"),
            ("noise", math.inf, "noise: expected a number from 0 to 10, got inf"),
            ("seed", -1, "seed: expected an integer from 0 to 4294967295, got -1"),
        ],
    )
    def test_what_is_out_of_range_is_refused(self, field, value, sentence):
        refused(sentence, lambda: Settings(**{field: value}))

    def test_a_text_is_no_number(self):
        refused("dk: expected an integer from 1 to 64, got '3'", lambda: Settings(dk="3"), TypeError)

    def test_the_write_gate_is_beta_unless_it_is_given(self):
        assert Settings(beta=0.5).write == 0.5
        assert Settings(beta=0.5, write=1.5).write == 1.5

    def test_numbers_of_numpy_are_those_of_python(self):
        assert repr(Settings(dk=np.int64(3), alpha=np.float64(0.5), beta=1)) == repr(
            Settings(dk=3, alpha=0.5, beta=1.0)
        )

    @pytest.mark.parametrize(("alpha", "half_life"), [(0.5, 1), (0.25, 0.5), (2**-0.125, 8), (1.0, math.inf)])
    def test_half_of_a_memory_is_left_after_the_half_life(self, alpha, half_life):
        assert Settings(alpha=alpha).half_life == pytest.approx(half_life)

    @given(valid_settings)
    def test_the_spread_keeps_the_mean_and_the_range_of_every_gate(self, chosen):
        x = scenarios.from_preset("recency", replace(chosen, T=3, noise=0.0)).stream
        np.testing.assert_allclose(x.g.mean(axis=1), math.log(chosen.alpha), rtol=1e-12, atol=1e-300)
        for gate, value in ((x.beta, chosen.beta), (x.w, chosen.write), (x.delta, chosen.delta)):
            np.testing.assert_allclose(gate.mean(axis=1), value, rtol=1e-12, atol=1e-300)
        if chosen.dk > 1:
            np.testing.assert_allclose(
                np.ptp(x.g, axis=1), -2 * chosen.spread * math.log(chosen.alpha), rtol=1e-9, atol=1e-12
            )
            assert ((x.beta >= 0) & (x.beta <= 2)).all()

    def test_noise_has_the_length_it_says_and_keeps_that_of_keys(self):
        chosen = Settings(dk=64, dv=64, T=256, noise=0.25)
        _, clean = preset("recency", **{**vars(chosen), "noise": 0.0})
        _, noisy = preset("recency", **vars(chosen))
        moved = np.linalg.norm(noisy.v - clean.v, axis=1)
        assert moved.mean() == pytest.approx(0.25, rel=0.05)
        np.testing.assert_allclose(np.linalg.norm(noisy.k, axis=1), 1)
        assert (noisy.k * clean.k).sum(axis=1).mean() == pytest.approx(1 / math.sqrt(1 + 0.25**2), rel=0.01)


class TestWords:
    """What is a word, and which vector it has."""

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("Don't panic, it's 3.14! snake_case", ["don't", "panic", "it's", "3.14", "snake_case"]),
            ("e.g. this... and that.", ["e.g", "this", "and", "that"]),
            ("l\u2019eau col\u00b7lecció 'quoted'", ["l\u2019eau", "col\u00b7lecció", "quoted"]),
            ("STRASSE Straße", ["strasse", "strasse"]),
            ("cafe\u0301 CAFÉ", ["café", "café"]),
            ("हिन्दी में", ["हिन्दी", "में"]),
            ("שלום, עולם!", ["שלום", "עולם"]),
            ("مرحبا \u202eبالعالم\u202c می\u200cخواهم", ["مرحبا", "بالعالم", "می\u200cخواهم"]),
            ("我喜欢你。カタカナ と 한국어", ["我", "喜", "欢", "你", "カタカナ", "と", "한국어"]),
            ("👍🏽👍 👩\u200d👩\u200d👧🇩🇪🇫🇷", ["👍🏽", "👍", "👩\u200d👩\u200d👧", "🇩🇪", "🇫🇷"]),
            ("❤️ ❤ 1️⃣ 🏳️\u200d🌈", ["❤", "❤", "1\u20e3", "🏳\u200d🌈"]),
            ("soft\u00adhyphen zero\u200bwidth a\u200d b", ["softhyphen", "zerowidth", "a", "b"]),
            ("a\ud800b\0c\td", ["a", "b", "c", "d"]),
            ("x² = √2 € $5", ["x²", "2", "5"]),
            ("... !? \u200d \u202e", []),
        ],
    )
    def test_words_of_any_script_are_found(self, text, found):
        assert words(text) == [unicodedata.normalize("NFC", word) for word in found]

    @given(st.text(st.characters()))
    def test_any_text_has_words_and_they_are_normal(self, text):
        assert normal(normal(text)) == normal(text)
        for word in words(text):
            assert word
            assert word == normal(word)
            assert abs(np.linalg.norm(direction(0, "key", word, 3)) - 1) < 1e-12

    def test_a_word_has_one_vector_on_every_machine(self):
        """Computed another way too: BLAKE2b, Philox 4x64 and Box and Muller in plain Python, below."""
        wanted = _direction_in_plain_python(7, "value", "straße", 5)
        np.testing.assert_allclose(direction(7, "value", "straße", 5), wanted, rtol=0, atol=1e-15)
        assert wanted == pytest.approx(GOLDEN, abs=1e-12)

    def test_seed_role_and_name_all_count(self):
        base = direction(0, "key", "a", 8)
        for other in (direction(1, "key", "a", 8), direction(0, "value", "a", 8), direction(0, "key", "b", 8)):
            assert not np.allclose(base, other)

    def test_directions_are_spread_evenly(self):
        x = np.stack([direction(0, "key", f"word {i}", 16) for i in range(4000)])
        assert np.abs(x.mean(axis=0)).max() < 5 / math.sqrt(16 * 4000)
        np.testing.assert_allclose(x.T @ x / 4000, np.eye(16) / 16, atol=0.006)
        y = gaussians(0, "a", "b", 100_000)
        assert abs(y.mean()) < 0.02
        assert y.std() == pytest.approx(1, abs=0.01)
        assert (y**4).mean() == pytest.approx(3, abs=0.15)


GOLDEN = [0.327815265727525, 0.166927457162786, -0.115295658729986, -0.560759454102318, -0.732753793107922]


def _direction_in_plain_python(seed: int, role: str, name: str, size: int) -> list[float]:
    """An oracle that shares no line with the module: Philox 4x64-10 as Random123 defines it, key from BLAKE2b."""
    import hashlib

    digest = hashlib.blake2b(f"{seed}\0{role}\0{name}".encode(), digest_size=16).digest()
    key = [int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")]
    mask, raw, counter = 2**64 - 1, [], 0
    while len(raw) < 2 * size:
        counter += 1  # NumPy counts before it draws
        c, (k0, k1) = [counter, 0, 0, 0], key
        for _ in range(10):
            p0, p1 = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
            c = [(p1 >> 64) ^ c[1] ^ k0, p1 & mask, (p0 >> 64) ^ c[3] ^ k1, p0 & mask]
            k0, k1 = (k0 + 0x9E3779B97F4A7C15) & mask, (k1 + 0xBB67AE8584CAA73B) & mask
        raw += c
    x = []
    for a, b in zip(raw[0 : 2 * size : 2], raw[1 : 2 * size : 2], strict=True):
        u, angle = ((a >> 11) + 0.5) / 2**53, 2 * math.pi * ((b >> 11) + 0.5) / 2**53
        x.append(math.sqrt(-2 * math.log(u)) * math.cos(angle))
    length = math.sqrt(sum(n * n for n in x))
    return [n / length for n in x]


class TestText:
    """One's own words."""

    def test_each_word_is_stored_under_the_one_before_it(self):
        made = scenarios.from_text("The cat, the dog; the CAT!", Settings(dk=4, dv=3))
        assert made.labels == ("the → cat", "cat → the", "the → dog", "dog → the", "the → cat")
        x = made.stream
        np.testing.assert_array_equal(x.k[0], direction(0, "key", "the", 4))
        np.testing.assert_array_equal(x.v[0], direction(0, "value", "cat", 3))
        np.testing.assert_array_equal(x.q[0], direction(0, "key", "cat", 4))
        for a, b in ((0, 2), (0, 4)):  # the repeated word has its own key again
            np.testing.assert_array_equal(x.k[a], x.k[b])
        np.testing.assert_array_equal(x.v[0], x.v[4])

    def test_a_delta_rule_answers_what_followed_last(self):
        made = scenarios.from_text("a b x y a c x y a", Settings(dk=64, dv=8))
        at = made.labels.index("y → a", 4)
        answer = memories("deltanet", made.stream)[at + 1] @ made.stream.q[at]
        value = {name: direction(0, "value", name, 8) for name in "bc"}
        assert answer @ value["c"] > 0.9
        assert np.linalg.norm(answer - value["c"]) < np.linalg.norm(answer - value["b"]) / 3

    @pytest.mark.parametrize("arrow", ["=", " = ", "->", " → ", "=>"])
    def test_pairs_are_stored_and_then_asked_for(self, arrow):
        made = scenarios.from_text(
            f"Capital of France{arrow}Paris\n\nItaly{arrow}Rome\nITALY{arrow}Milan\n", Settings()
        )
        assert made.labels == (
            "capital of france → paris",
            "italy → rome",
            "italy → milan",
            "capital of france?",
            "italy?",
        )
        assert made.notes == ("3 pairs, then 2 questions.",)
        x = made.stream
        np.testing.assert_array_equal(x.q[3:], x.k[:2])
        for rule in ("deltanet", "gated-deltanet", "linear-attention", "mamba-2", "gla", "mamba"):
            S = memories(rule, x)
            np.testing.assert_array_equal(S[4], S[3])  # to ask changes nothing
            np.testing.assert_array_equal(S[5], S[3])
        assert np.linalg.norm(memories("deltanet", x)[-1] @ x.q[4] - x.v[2]) < 1e-12

    def test_questions_may_stand_where_they_are_wanted(self):
        made = scenarios.from_text("a = 1\na = ?\nb = 2\nsome remark\na=?", Settings())
        assert made.labels == ("a → 1", "a?", "b → 2", "a?")
        assert made.notes == ("Left out: 1 line without key = value.",)

    def test_prose_with_an_equation_in_it_is_prose(self):
        made = scenarios.from_text("First a line.\nThen E = mc.\nThen another line.", Settings())
        assert made.labels[0] == "first → a"

    @pytest.mark.parametrize(
        ("text", "tokens", "label", "note"),
        [
            ("😀 👍🏽 😀 👍🏽", 3, "😀 → 👍🏽", None),
            ("שלום עולם שלום", 2, "שלום → עולם", None),
            ("你好你好", 3, "你 → 好", None),
            ("la la la la", 3, "la → la", "One word only: every token stores the same pair again."),
            (" ".join(f"w{i}" for i in range(10_000)), 256, "w0 → w1",
             "Windowed: the first 257 of 10,000 words, which give 256 tokens."),
            ("\n".join(f"k{i} = v{i}" for i in range(200)), 256, "k0 → v0",
             "Windowed: the first 128 of 200 lines, with their questions."),
            ("\n".join(f"k{i % 3} = v{i}" for i in range(1000)), 256, "k0 → v0",
             "Windowed: the first 253 of 1,000 lines, with their questions."),
            ("b" * 50_000 + " a", 1, "b" * 23 + "… → a", None),
        ],
    )  # fmt: skip
    def test_any_text_works(self, text, tokens, label, note):
        made = scenarios.from_text(text, Settings())
        assert len(made.stream) == tokens
        assert made.labels[0] == label
        assert note is None or note in made.notes

    @pytest.mark.parametrize(
        ("text", "sentence"),
        [
            ("", "text: expected some words, or lines such as 'key = value', got an empty text"),
            (" \n\t ", "text: expected some words, or lines such as 'key = value', got an empty text"),
            ("hello", "text: expected at least two words, since each is stored under the one before it, "
             "got one ('hello')"),
            ("... \u202e ?!",
             "text: expected at least two words, since each is stored under the one before it, got none"),
            ("a = ?", "text: expected a line 'key = value' before any 'key = ?', got questions only"),
            ("x" * 200_001, "text: expected at most 200,000 characters, got 200,001"),
        ],
    )  # fmt: skip
    def test_a_text_without_tokens_is_refused(self, text, sentence):
        refused(sentence, lambda: scenarios.from_text(text, Settings()))

    def test_marks_without_end_take_no_time(self):
        began = time.perf_counter()
        made = scenarios.from_text("a" + "\u0301\u0316\u202e" * 60_000 + " b", Settings())
        assert time.perf_counter() - began < 5  # in the order that they must be brought into it would be minutes
        assert made.stream.sizes == (1, 16, 16)

    def test_bytes_are_no_text(self):
        refused("text: expected text, got bytes", lambda: scenarios.from_text(b"a b", Settings()), TypeError)

    @settings(max_examples=150, deadline=None)
    @given(st.text(st.characters()) | st.text(st.sampled_from("ab =?→\n👍\u202e\ud800,.")), st.integers(1, 5))
    def test_whatever_is_typed_gives_a_stream_or_a_sentence(self, text, size):
        try:
            made = scenarios.from_text(text, Settings(dk=size, dv=size))
        except ValueError as error:
            assert str(error).startswith("text: expected ")  # noqa: PT017
            return
        limits.check_stream(made.stream, LIMITS)
        assert len(made.labels) == len(made.stream)


class TestTable:
    """A table to edit by hand."""

    def test_blank_cells_take_what_the_settings_say(self):
        chosen = Settings(dk=3, dv=2, alpha=0.5, beta=0.75, write=1.25, delta=0.3, spread=0.0)
        rows = [
            {"key": "a", "value": "b"},
            {"key": "a", "value": "b", "alpha": 0.25, "beta": 0.0, "write": 2, "delta": 0},
            {"key": "A ", "value": None, "alpha": None, "beta": "", "write": math.nan, "delta": "0.7"},
            {"key": "a", "beta": 0.5},
        ]
        made = scenarios.from_table(rows, chosen)
        x = made.stream
        np.testing.assert_allclose(np.exp(x.g), [[0.5] * 3, [0.25] * 3, [0.5] * 3, [0.5] * 3])
        np.testing.assert_allclose(x.beta[:, 0], [0.75, 0, 0.75, 0.5])
        np.testing.assert_allclose(x.w[:, 0], [1.25, 2, 1.25, 0.5])
        np.testing.assert_allclose(x.delta[:, 0], [0.3, 0, 0.7, 0.3])
        assert (x.k == x.k[0]).all()
        assert (x.v[2:] == 0).all()
        assert made.labels == ("a → b", "a → b", "a", "a")

    def test_vectors_may_be_given_in_every_way(self):
        rows = [
            {"key": [0.5, -1], "value": (1, 2, 3)},
            {"key": "[0.5, -1]", "value": "1, 2, 3"},
            {"key": " [0.5 -1.0] ", "value": np.array([1.0, 2, 3])},
        ]
        x = scenarios.from_table(rows, Settings(dk=2, dv=3)).stream
        np.testing.assert_array_equal(x.k, [[0.5, -1]] * 3)
        np.testing.assert_array_equal(x.v, [[1, 2, 3]] * 3)

    def test_a_number_alone_is_a_name(self):
        rows = [{"key": 7, "value": 1.0}, {"key": "7", "value": "1"}, {"key": "-3.5", "value": "a, b"}]
        made = scenarios.from_table(rows, Settings())
        assert made.labels == ("7 → 1", "7 → 1", "-3.5 → a, b")

    def test_empty_rows_are_left_out(self):
        made = scenarios.from_table([{}, {"key": "a", "value": "b"}, {"key": " ", "alpha": None}], Settings())
        assert made.labels == ("a → b",)
        assert made.notes == ("Left out: 2 empty rows.",)

    @pytest.mark.parametrize(
        ("cells", "sentence"),
        [
            ({"value": "b"}, "row 2, key: expected a name or 3 numbers beside the value, got nothing"),
            ({"key": "a", "alpha": 0}, "row 2, alpha: expected a number above 0 and at most 1, got 0"),
            ({"key": "a", "alpha": 1.5}, "row 2, alpha: expected a number above 0 and at most 1, got 1.5"),
            ({"key": "a", "beta": "2,5"}, "row 2, beta: expected a number, got '2,5'"),
            ({"key": "a", "beta": True}, "row 2, beta: expected a number from 0 to 2, got True"),
            ({"key": "a", "beta": math.inf}, "row 2, beta: expected a number from 0 to 2, got inf"),
            ({"key": "a", "write": -1}, "row 2, write: expected a number from 0 to 2, got -1"),
            ({"key": "a", "delta": 101}, "row 2, delta: expected a number from 0 to 100, got 101"),
            ({"key": [1, 2]}, "row 2, key: expected 3 numbers (dk), got 2"),
            ({"key": "1, 2"}, "row 2, key: expected 3 numbers (dk), got 2"),
            ({"key": "a", "value": "[]"}, "row 2, value: expected 2 numbers (dv), got 0"),
            ({"key": "[1, x, 3]"}, "row 2, key: expected a number, got 'x'"),
            ({"key": [1, math.nan, 3]}, "row 2, key: expected a number from -1e+06 to 1e+06, got nan"),
            ({"key": ["a", "b", "c"]}, "row 2, key: expected a number, got 'a'"),
            ({"key": [None, 1, 2]}, "row 2, key: expected a number from -1e+06 to 1e+06, got None"),
            ({"key": {"a": 1}}, "row 2, key: expected a name or a list of numbers, got dict"),
            ({"key": True}, "row 2, key: expected a name or a list of numbers, got bool"),
            ({"key": "\u202e"}, "row 2, key: expected a name with a visible character, got '\\u202e'"),
            ({"keys": "a"}, "row 2: expected one of key, value, query, alpha, beta, write, delta, label, got 'keys'"),
            ("a", "row 2: expected a dict of columns, got str"),
        ],
    )
    def test_a_bad_cell_is_said_with_row_and_column(self, cells, sentence):
        rows = [{"key": "a", "value": "b"}, cells]
        refused(sentence, lambda: scenarios.from_table(rows, Settings(dk=3, dv=2)))

    def test_a_table_has_a_row_and_not_too_many(self):
        refused("table: expected at least one row with a key and a value, got none",
                lambda: scenarios.from_table([{}], Settings()))  # fmt: skip
        rows = [{"key": "a", "value": "b"}] * 257
        refused("table: expected at most 256 rows, got 257", lambda: scenarios.from_table(rows, Settings()))

    @settings(max_examples=40, deadline=None)
    @given(st.sampled_from(list(PRESETS)), valid_settings)
    def test_a_preset_as_a_table_gives_the_same_stream(self, slug, chosen):
        made = scenarios.from_preset(slug, replace(chosen, T=min(chosen.T, 20)))
        again = scenarios.from_table(scenarios.table_of(made), made.settings)
        same(made.stream, again.stream)
        assert made.labels == again.labels

    @given(st.text(st.sampled_from("ab =\n👍"), min_size=4))
    def test_a_text_as_a_table_gives_the_same_stream(self, text):
        try:
            made = scenarios.from_text(text, Settings(dk=3, dv=2, noise=0.5))
        except ValueError:
            return
        same(made.stream, scenarios.from_table(scenarios.table_of(made), made.settings).stream)

    def test_arrays_as_a_table_give_the_same_tokens(self):
        given_ = {name: RANDOM.standard_normal((6, 3)) for name in "qk"}
        given_ |= {"v": RANDOM.standard_normal((6, 2)), "g": -RANDOM.random(6)}
        chosen = Settings(dk=3, dv=2, spread=0.0)
        made = scenarios.from_arrays(given_, chosen)
        again = scenarios.from_table(scenarios.table_of(made), chosen).stream
        for name in ("q", "k", "v"):
            np.testing.assert_array_equal(getattr(again, name), getattr(made.stream, name))
        np.testing.assert_allclose(again.g[:, 0], made.stream.g, rtol=1e-14)


RANDOM = np.random.default_rng(0)
B, T, H, HV, K, V = 2, 7, 2, 6, 3, 4


def layout() -> dict[str, np.ndarray]:
    return {
        "q": RANDOM.standard_normal((B, T, H, K)),
        "k": RANDOM.standard_normal((B, T, H, K)),
        "v": RANDOM.standard_normal((B, T, HV, V)),
        "g": -RANDOM.random((B, T, HV)),
        "beta": 2 * RANDOM.random((B, T, HV)),
    }


class TestArrays:
    """One head of one's own arrays."""

    def test_a_value_head_comes_with_the_key_head_it_shares(self):
        x = layout()
        for head in range(HV):
            made = scenarios.from_arrays(x, Settings(), head=head, batch=1, start=2, length=4).stream
            np.testing.assert_array_equal(made.k, x["k"][1, 2:6, head // 3])
            np.testing.assert_array_equal(made.q, x["q"][1, 2:6, head // 3])
            np.testing.assert_array_equal(made.v, x["v"][1, 2:6, head])
            np.testing.assert_array_equal(made.g, x["g"][1, 2:6, head])
            np.testing.assert_array_equal(made.beta, x["beta"][1, 2:6, head])

    def test_what_is_missing_has_a_stated_default(self):
        chosen = Settings(alpha=0.5, beta=0.75, write=1.5, delta=0.3)
        made = scenarios.from_arrays({"k": layout()["k"]}, chosen)
        x = made.stream
        np.testing.assert_array_equal(x.q, x.k)
        np.testing.assert_array_equal(x.v, x.k)
        for gate, value in ((x.g, math.log(0.5)), (x.beta, 0.75), (x.w, 1.5), (x.delta, 0.3)):
            np.testing.assert_array_equal(gate, np.full(T, value))
        assert "No v: every token stores its own key." in made.notes
        assert "Not given: q is k, g is log(0.5), beta is 0.75, w is 1.5, delta is 0.3." in made.notes
        assert made.stream.A.tolist() == [-1, -2, -3]

    def test_the_write_gate_follows_a_beta_that_is_given(self):
        x = layout()
        made = scenarios.from_arrays({**x, "beta": np.repeat(x["beta"][..., None], K, -1)}, Settings(write=0.1))
        np.testing.assert_allclose(made.stream.w, x["beta"][0, :, 0])
        assert "Not given: w is beta, delta is 0.1." in made.notes

    def test_gates_may_be_one_number_a_channel(self):
        x = layout() | {"g": -RANDOM.random((B, T, HV, K)), "w": RANDOM.random((B, T, HV, V))}
        made = scenarios.from_arrays(x, Settings(), head=4)
        np.testing.assert_array_equal(made.stream.g, x["g"][0, :, 4])
        np.testing.assert_array_equal(made.stream.w, x["w"][0, :, 4])

    @pytest.mark.parametrize(
        ("strip", "note"),
        [
            (lambda x: x[0], "Read as [T, H, K]: one sequence."),
            (lambda x: x[0, :, 0], "Read as [T, K]: one sequence of one head."),
        ],
    )
    def test_leading_axes_may_be_left_out(self, strip, note):
        x = layout()
        made = scenarios.from_arrays({name: strip(array) for name, array in x.items()}, Settings())
        np.testing.assert_array_equal(made.stream.v, x["v"][0, :, 0])
        np.testing.assert_array_equal(made.stream.g, x["g"][0, :, 0])
        assert note in made.notes

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_every_width_of_floats_becomes_float64(self, dtype):
        x = {name: array.astype(dtype) for name, array in layout().items()}
        made = scenarios.from_arrays(x, Settings()).stream
        assert made.k.dtype == np.float64
        np.testing.assert_array_equal(made.k, x["k"][0, :, 0])

    def test_a_long_stream_is_windowed_and_says_so(self):
        x = {"k": RANDOM.standard_normal((1000, 3))}
        made = scenarios.from_arrays(x, Settings())
        assert len(made.stream) == 256
        assert "Windowed: tokens 0 to 255 of 1,000; the memory is empty before them." in made.notes
        made = scenarios.from_arrays(x, Settings(), start=990)
        assert made.labels == tuple(f"token {t}" for t in range(990, 1000))
        np.testing.assert_array_equal(made.stream.k, x["k"][990:])

    def test_channels_past_the_limit_are_dropped_only_where_asked(self):
        x = {"k": RANDOM.standard_normal((4, 128)), "v": RANDOM.standard_normal((4, 100))}
        refused("k: expected at most 64 key channels, got 128; channels = 64 keeps the first ones",
                lambda: scenarios.from_arrays(x, Settings()))  # fmt: skip
        refused("v: expected at most 64 value channels, got 100; channels = 64 keeps the first ones",
                lambda: scenarios.from_arrays({**x, "k": x["k"][:, :64]}, Settings()))  # fmt: skip
        made = scenarios.from_arrays(x, Settings(), channels=8)
        np.testing.assert_array_equal(made.stream.k, x["k"][:, :8])
        np.testing.assert_array_equal(made.stream.v, x["v"][:, :8])
        assert "Narrowed: the first 8 of 128 key channels, which changes what the memory answers." in made.notes
        assert "Narrowed: the first 8 of 100 value channels; a value channel never depends on the others." in made.notes

    def test_value_channels_do_not_depend_on_each_other_as_the_note_says(self):
        x = layout()
        narrow = scenarios.from_arrays(x | {"v": x["v"][..., :2]}, Settings()).stream
        whole = memories("gated-deltanet", scenarios.from_arrays(x, Settings()).stream)
        np.testing.assert_allclose(memories("gated-deltanet", narrow), whole[:, :2], rtol=1e-12)

    def test_long_keys_are_warned_of(self):
        unit = np.eye(3)
        assert not any("amplifies" in note for note in scenarios.from_arrays({"k": unit}, Settings()).notes)
        made = scenarios.from_arrays({"k": 3 * unit}, Settings())
        assert "beta |k|^2 reaches 9: above 2 a delta rule amplifies what it should erase. " \
            "Models divide keys by their lengths first." in made.notes  # fmt: skip

    def test_other_names_are_left_out_and_said(self):
        made = scenarios.from_arrays({"k": np.eye(2), "extra": np.zeros(3)}, Settings())
        assert "Left out, not being one of q, k, v, g, beta, w, delta: 'extra'." in made.notes

    @pytest.mark.parametrize(
        ("changed", "asked", "kind", "sentence"),
        [
            ({"k": None}, {}, ValueError,
             "k: expected an array of keys, got none; the arrays given are 'q, v, g, beta'"),
            ({"v": np.zeros((B, T + 1, HV, V))}, {}, ValueError,
             "v: expected [B, T, HV, V] = [2, 7, HV, V], got [2, 8, 6, 4]"),
            ({"v": np.zeros((B, T, 5, V))}, {}, ValueError,
             "v: expected HV, its number of heads, to be a multiple of H = 2, that of k, got HV = 5"),
            ({"k": np.zeros(7)}, {}, ValueError, "k: expected [B, T, H, K] or [T, H, K] or [T, K], got [7]"),
            ({"g": np.zeros((B, HV, T))}, {}, ValueError,
             "g: expected [B, T, HV] = [2, 7, 6] or [B, T, HV, K] = [2, 7, 6, 3], got [2, 6, 7]"),
            ({"beta": np.ones((B, T, HV), int)}, {}, TypeError, "beta: expected floating-point numbers, got int64"),
            ({"k": np.zeros((B, 0, H, K))}, {}, ValueError,
             "v: expected [B, T, HV, V] = [2, 0, HV, V], got [2, 7, 6, 4]"),
            ({"g": np.full((B, T, HV), 0.5)}, {}, ValueError,
             "g: expected log decays in nats, at most 0, got 0.5 at [0]"),
            ({"q": np.full((B, T, H, K), np.nan)}, {"start": 2}, ValueError,
             "q: expected finite numbers, got nan at [2, 0]"),
            ({"v": np.full((B, T, HV, V), np.inf)}, {}, ValueError, "v: expected finite numbers, got inf at [0, 0]"),
            ({"beta": np.full((B, T, HV), 3.0)}, {}, ValueError,
             "beta: expected erase gates from 0 to 2, got 3 at [0]"),
            ({}, {"head": 6}, ValueError, "head: expected an integer from 0 to 5, got 6"),
            ({}, {"batch": 2}, ValueError, "batch: expected an integer from 0 to 1, got 2"),
            ({}, {"start": 7}, ValueError, "start: expected an integer from 0 to 6, got 7"),
            ({}, {"start": 5, "length": 3}, ValueError, "length: expected an integer from 1 to 2, got 3"),
            ({}, {"channels": 65}, ValueError, "channels: expected an integer from 1 to 64, got 65"),
        ],
    )  # fmt: skip
    def test_what_does_not_fit_is_one_sentence(self, changed, asked, kind, sentence):
        x = {name: array for name, array in (layout() | changed).items() if array is not None}
        refused(sentence, lambda: scenarios.from_arrays(x, Settings(), **asked), kind)

    def test_no_tokens_are_refused(self):
        refused("k: expected at least one token, got 0",
                lambda: scenarios.from_arrays({"k": np.zeros((0, 3))}, Settings()))  # fmt: skip


class TestPython:
    """The Python that makes the numbers again."""

    @pytest.fixture
    def ran(self, monkeypatch, capsys):
        """Run a script with a trajectory that only notes what it was given."""

        class Noted:
            def __init__(self, rules, stream, discretisation=None):
                self.rules, self.stream, self.states = rules, stream, stream.k
                self.discretisation = discretisation

        monkeypatch.setattr(gdn_core, "trajectory", Noted, raising=False)

        def run(source: str) -> Noted:
            space: dict = {}
            exec(compile(source, "script.py", "exec"), space)  # noqa: S102
            assert capsys.readouterr().out
            return space["run"]

        return run

    @pytest.mark.parametrize("slug", PRESETS)
    def test_a_preset(self, slug, ran):
        made = scenarios.from_preset(slug, replace(PRESETS[slug].settings, noise=0.1, T=9))
        run = ran(scenarios.python_source(made, ["deltanet", "mamba"]))
        same(run.stream, made.stream)
        assert run.rules == [RULES["deltanet"], RULES["mamba"]]
        assert run.discretisation is None

    @pytest.mark.parametrize("method", Discretisation)
    def test_a_discretisation(self, method, ran):
        made = scenarios.from_preset("ignore")
        assert ran(scenarios.python_source(made, ["mamba"], discretisation=method)).discretisation is method

    @pytest.mark.parametrize(
        "text", ["to be or not to be", 'a = 1\n\'"\\ = """2"""', "😀 \ud800 \0 שלום ' {settings} %s"]
    )
    def test_a_text_whatever_it_holds(self, text, ran):
        made = scenarios.from_text(text, Settings(dk=5))
        same(ran(scenarios.python_source(made, ["deltanet"])).stream, made.stream)

    def test_a_table(self, ran):
        rows = [{"key": "'", "value": [0.1, 0.2], "alpha": 0.3}, {"query": "'", "beta": 0.0}, {}]
        made = scenarios.from_table(rows, Settings(dk=3, dv=2))
        same(ran(scenarios.python_source(made, ["deltanet"])).stream, made.stream)

    def test_arrays_from_one_file_or_several(self, ran, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        x = layout()
        stream = io.BytesIO()
        np.savez(stream, **x)
        Path("it's.npz").write_bytes(stream.getvalue())
        np.save("w.npy", np.ones((B, T, HV)))
        files = ["it's.npz", "w.npy"]
        given_: dict = {}
        for name in files:
            given_ |= files.read(name, Path(name).read_bytes())
        made = scenarios.from_arrays(given_, Settings(), head=5, batch=1, start=1, length=3, channels=2)
        same(ran(scenarios.python_source(made, ["deltanet"], files=files)).stream, made.stream)


def test_a_row_says_what_its_label_says():
    made = scenarios.from_table([{"key": "a", "value": "b", "label": "First!"}, {"key": "a"}], Settings())
    assert made.labels == ("First!", "a")
    assert made.rows[0] == Row(key="a", value="b", label="First!")
