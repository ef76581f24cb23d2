"""One head of one's own arrays as a scenario: windows, defaults, and every refusal a sentence."""

import math

import numpy as np
import pytest

from gdn_core.lab import scenarios
from gdn_core.lab.scenarios import Settings
from tests.gdn_core.lab.scenarios.stream_checks import HV, RANDOM, B, H, K, T, V, layout, memories, refused


def test_a_value_head_comes_with_the_key_head_it_shares():
    x = layout()
    for head in range(HV):
        made = scenarios.from_arrays(x, Settings(), head=head, batch=1, start=2, length=4).stream
        np.testing.assert_array_equal(made.k, x["k"][1, 2:6, head // 3])
        np.testing.assert_array_equal(made.q, x["q"][1, 2:6, head // 3])
        np.testing.assert_array_equal(made.v, x["v"][1, 2:6, head])
        np.testing.assert_array_equal(made.g, x["g"][1, 2:6, head])
        np.testing.assert_array_equal(made.beta, x["beta"][1, 2:6, head])


def test_what_is_missing_has_a_stated_default():
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


def test_the_write_gate_follows_a_beta_that_is_given():
    x = layout()
    made = scenarios.from_arrays({**x, "beta": np.repeat(x["beta"][..., None], K, -1)}, Settings(write=0.1))
    np.testing.assert_allclose(made.stream.w, x["beta"][0, :, 0])
    assert "Not given: w is beta, delta is 0.1." in made.notes


def test_gates_may_be_one_number_a_channel():
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
def test_leading_axes_may_be_left_out(strip, note):
    x = layout()
    made = scenarios.from_arrays({name: strip(array) for name, array in x.items()}, Settings())
    np.testing.assert_array_equal(made.stream.v, x["v"][0, :, 0])
    np.testing.assert_array_equal(made.stream.g, x["g"][0, :, 0])
    assert note in made.notes


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_width_of_floats_becomes_float64(dtype):
    x = {name: array.astype(dtype) for name, array in layout().items()}
    made = scenarios.from_arrays(x, Settings()).stream
    assert made.k.dtype == np.float64
    np.testing.assert_array_equal(made.k, x["k"][0, :, 0])


def test_a_long_stream_is_windowed_and_says_so():
    x = {"k": RANDOM.standard_normal((1000, 3))}
    made = scenarios.from_arrays(x, Settings())
    assert len(made.stream) == 256
    assert "Windowed: tokens 0 to 255 of 1,000; the memory is empty before them." in made.notes
    made = scenarios.from_arrays(x, Settings(), start=990)
    assert made.labels == tuple(f"token {t}" for t in range(990, 1000))
    np.testing.assert_array_equal(made.stream.k, x["k"][990:])


def test_channels_past_the_limit_are_dropped_only_where_asked():
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


def test_value_channels_do_not_depend_on_each_other_as_the_note_says():
    x = layout()
    narrow = scenarios.from_arrays(x | {"v": x["v"][..., :2]}, Settings()).stream
    whole = memories("gated-deltanet", scenarios.from_arrays(x, Settings()).stream)
    np.testing.assert_allclose(memories("gated-deltanet", narrow), whole[:, :2], rtol=1e-12)


def test_long_keys_are_warned_of():
    unit = np.eye(3)
    assert not any("amplifies" in note for note in scenarios.from_arrays({"k": unit}, Settings()).notes)
    made = scenarios.from_arrays({"k": 3 * unit}, Settings())
    assert "beta |k|^2 reaches 9: above 2 a delta rule amplifies what it should erase. " \
        "Models divide keys by their lengths first." in made.notes  # fmt: skip


def test_other_names_are_left_out_and_said():
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
def test_what_does_not_fit_is_one_sentence(changed, asked, kind, sentence):
    x = {name: array for name, array in (layout() | changed).items() if array is not None}
    refused(sentence, lambda: scenarios.from_arrays(x, Settings(), **asked), kind)


def test_no_tokens_are_refused():
    refused("k: expected at least one token, got 0",
            lambda: scenarios.from_arrays({"k": np.zeros((0, 3))}, Settings()))  # fmt: skip
