"""Scenarios from a text: words in order, pairs, and the message of every refusal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdn_core.lab import limits, scenarios
from gdn_core.lab.limits import LIMITS
from gdn_core.lab.scenarios import Settings
from gdn_core.lab.text import direction
from tests.gdn_core.lab.scenarios.stream_checks import memories, refused


def test_each_word_is_stored_under_the_one_before_it():
    made = scenarios.from_text("The cat, the dog; the CAT!", Settings(dk=4, dv=3))
    assert made.labels == ("the → cat", "cat → the", "the → dog", "dog → the", "the → cat")
    x = made.stream
    np.testing.assert_array_equal(x.k[0], direction(0, "key", "the", 4))
    np.testing.assert_array_equal(x.v[0], direction(0, "value", "cat", 3))
    np.testing.assert_array_equal(x.q[0], direction(0, "key", "cat", 4))
    for a, b in ((0, 2), (0, 4)):  # the repeated word has its own key again
        np.testing.assert_array_equal(x.k[a], x.k[b])
    np.testing.assert_array_equal(x.v[0], x.v[4])


def test_a_delta_rule_answers_what_followed_last():
    made = scenarios.from_text("a b x y a c x y a", Settings(dk=64, dv=8))
    at = made.labels.index("y → a", 4)
    answer = memories("deltanet", made.stream)[at + 1] @ made.stream.q[at]
    value = {name: direction(0, "value", name, 8) for name in "bc"}
    assert answer @ value["c"] > 0.9
    assert np.linalg.norm(answer - value["c"]) < np.linalg.norm(answer - value["b"]) / 3


@pytest.mark.parametrize("arrow", ["=", " = ", "->", " → ", "=>"])
def test_pairs_are_stored_and_then_asked_for(arrow):
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


def test_questions_may_stand_where_they_are_wanted():
    made = scenarios.from_text("a = 1\na = ?\nb = 2\nsome remark\na=?", Settings())
    assert made.labels == ("a → 1", "a?", "b → 2", "a?")
    assert made.notes == ("Left out: 1 line without key = value.",)


def test_prose_with_an_equation_in_it_is_prose():
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
def test_any_text_works(text, tokens, label, note):
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
def test_a_text_without_tokens_is_refused(text, sentence):
    refused(sentence, lambda: scenarios.from_text(text, Settings()))


def test_bytes_are_no_text():
    refused("text: expected text, got bytes", lambda: scenarios.from_text(b"a b", Settings()), TypeError)


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters()) | st.text(st.sampled_from("ab =?→\n👍\u202e\ud800,.")), st.integers(1, 5))
def test_whatever_is_typed_gives_a_stream_or_a_sentence(text, size):
    try:
        made = scenarios.from_text(text, Settings(dk=size, dv=size))
    except ValueError as error:
        assert str(error).startswith("text: expected ")  # noqa: PT017
        return
    limits.check_stream(made.stream, LIMITS)
    assert len(made.labels) == len(made.stream)
