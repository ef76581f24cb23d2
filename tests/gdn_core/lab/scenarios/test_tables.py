"""Scenarios from a table and back, and the message for every bad cell."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gdn_core.lab import scenarios
from gdn_core.lab.scenarios import PRESETS, Settings, TokenRow
from tests.gdn_core.lab.scenarios.stream_checks import RANDOM, refused, same, valid_settings


def test_blank_cells_take_what_the_settings_say():
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


def test_vectors_may_be_given_in_every_way():
    rows = [
        {"key": [0.5, -1], "value": (1, 2, 3)},
        {"key": "[0.5, -1]", "value": "1, 2, 3"},
        {"key": " [0.5 -1.0] ", "value": np.array([1.0, 2, 3])},
    ]
    x = scenarios.from_table(rows, Settings(dk=2, dv=3)).stream
    np.testing.assert_array_equal(x.k, [[0.5, -1]] * 3)
    np.testing.assert_array_equal(x.v, [[1, 2, 3]] * 3)


def test_a_number_alone_is_a_name():
    rows = [{"key": 7, "value": 1.0}, {"key": "7", "value": "1"}, {"key": "-3.5", "value": "a, b"}]
    made = scenarios.from_table(rows, Settings())
    assert made.labels == ("7 → 1", "7 → 1", "-3.5 → a, b")


def test_empty_rows_are_left_out():
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
def test_a_bad_cell_is_said_with_row_and_column(cells, sentence):
    rows = [{"key": "a", "value": "b"}, cells]
    refused(sentence, lambda: scenarios.from_table(rows, Settings(dk=3, dv=2)))


def test_a_table_has_a_row_and_not_too_many():
    refused("table: expected at least one row with a key and a value, got none",
            lambda: scenarios.from_table([{}], Settings()))  # fmt: skip
    rows = [{"key": "a", "value": "b"}] * 257
    refused("table: expected at most 256 rows, got 257", lambda: scenarios.from_table(rows, Settings()))


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(list(PRESETS)), valid_settings)
def test_a_preset_as_a_table_gives_the_same_stream(slug, chosen):
    made = scenarios.from_preset(slug, replace(chosen, T=min(chosen.T, 20)))
    again = scenarios.from_table(scenarios.table_of(made), made.settings)
    same(made.stream, again.stream)
    assert made.labels == again.labels


@given(st.text(st.sampled_from("ab =\n👍"), min_size=4))
def test_a_text_as_a_table_gives_the_same_stream(text):
    try:
        made = scenarios.from_text(text, Settings(dk=3, dv=2, noise=0.5))
    except ValueError:
        return
    same(made.stream, scenarios.from_table(scenarios.table_of(made), made.settings).stream)


def test_arrays_as_a_table_give_the_same_tokens():
    given_ = {name: RANDOM.standard_normal((6, 3)) for name in "qk"}
    given_ |= {"v": RANDOM.standard_normal((6, 2)), "g": -RANDOM.random(6)}
    chosen = Settings(dk=3, dv=2, spread=0.0)
    made = scenarios.from_arrays(given_, chosen)
    again = scenarios.from_table(scenarios.table_of(made), chosen).stream
    for name in ("q", "k", "v"):
        np.testing.assert_array_equal(getattr(again, name), getattr(made.stream, name))
    np.testing.assert_allclose(again.g[:, 0], made.stream.g, rtol=1e-14)


def test_a_row_says_what_its_label_says():
    made = scenarios.from_table([{"key": "a", "value": "b", "label": "First!"}, {"key": "a"}], Settings())
    assert made.labels == ("First!", "a")
    assert made.rows[0] == TokenRow(key="a", value="b", label="First!")
