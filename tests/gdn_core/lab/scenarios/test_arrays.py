"""Scenarios from one head of given arrays: windows, defaults, and the message of every refusal."""

import math
from dataclasses import replace

import numpy as np
import pytest

from gdn_core.lab import scenarios
from gdn_core.lab.names import layers
from gdn_core.lab.scenarios import Reading, Settings, guesses
from gdn_core.lab.trajectory import trajectory
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
        (lambda x: x[0], "Read as [T, H, K]: 7 tokens, 2 key heads, 6 value heads, 3 key channels, 4 value channels."),
        (lambda x: x[0, :, 0], "Read as [T, K]: 7 tokens, 3 key channels, 4 value channels."),
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
    assert "Windowed: tokens 0 to 255 of 1,000." in made.notes
    made = scenarios.from_arrays(x, Settings(), start=990)
    assert (
        "Windowed: tokens 990 to 999 of 1,000. Here t = 0 is token 990 of the stream. The memory before them is "
        "computed from the 990 tokens before."
        in made.notes
    )
    assert made.window == (990, 1000)
    np.testing.assert_array_equal(made.whole.k, x["k"])
    assert made.labels == tuple(f"token {t} of the stream" for t in range(990, 1000))
    np.testing.assert_array_equal(made.stream.k, x["k"][990:])


def test_channels_past_the_limit_are_dropped_only_where_asked():
    x = {"k": RANDOM.standard_normal((4, 300)), "v": RANDOM.standard_normal((4, 257))}
    refused("k: expected at most 256 key channels, got 300; channels = 256 keeps the first ones",
            lambda: scenarios.from_arrays(x, Settings()))  # fmt: skip
    refused("v: expected at most 256 value channels, got 257; channels = 256 keeps the first ones",
            lambda: scenarios.from_arrays({**x, "k": x["k"][:, :256]}, Settings()))  # fmt: skip
    made = scenarios.from_arrays(x, Settings(), channels=8)
    np.testing.assert_array_equal(made.stream.k, x["k"][:, :8])
    np.testing.assert_array_equal(made.stream.v, x["v"][:, :8])
    assert "Narrowed: the first 8 of 300 key channels, which changes what the memory answers." in made.notes
    assert "Narrowed: the first 8 of 257 value channels; a value channel never depends on the others." in made.notes


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
        ({}, {"channels": 257}, ValueError, "channels: expected an integer from 1 to 256, got 257"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence(changed, asked, kind, sentence):
    x = {name: array for name, array in (layout() | changed).items() if array is not None}
    refused(sentence, lambda: scenarios.from_arrays(x, Settings(), **asked), kind)


def test_no_tokens_are_refused():
    refused("k: expected at least one token, got 0",
            lambda: scenarios.from_arrays({"k": np.zeros((0, 3))}, Settings()))  # fmt: skip


def by_heads(x: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same arrays with heads before tokens."""
    return {name: np.swapaxes(array, 1, 2) for name, array in x.items()}


@pytest.mark.parametrize("without", [(), ("g", "beta"), ("v", "g", "beta")])
def test_heads_before_tokens_are_noticed_from_the_sizes_and_said(without):
    x = layout()
    given = {name: array for name, array in by_heads(x).items() if name not in without}
    made = scenarios.from_arrays(given, Settings(), head=1, batch=1)
    np.testing.assert_array_equal(made.stream.k, x["k"][1, :, 1 if "v" in without else 0])
    assert made.reading.axes == "BHTK"
    (note,) = [note for note in made.notes if note.startswith("Read as")]
    assert note.startswith("Read as [B, H, T, K]: 2 sequences, 2 ")
    assert "7 tokens" in note


def test_four_heads_of_200_tokens_are_not_4_tokens_of_200_heads():
    k = RANDOM.standard_normal((1, 4, 200, 8))
    made = scenarios.from_arrays({"k": k, "v": k, "g": -RANDOM.random((1, 4, 200))}, Settings(), head=3)
    np.testing.assert_array_equal(made.stream.k, k[0, 3])
    assert (
        "Read as [B, H, T, K]: 1 sequence, 4 heads, 200 tokens, 8 key channels, 8 value channels. Their sizes allow "
        "[B, T, H, K] too: axes = BTHK reads them so." in made.notes
    )


@pytest.mark.parametrize("axes", ["BTHK", "THK"])
def test_an_order_that_is_asked_for_is_taken(axes):
    k = RANDOM.standard_normal((1, 4, 200, 8) if len(axes) == 4 else (4, 200, 8))
    made = scenarios.from_arrays({"k": k}, Settings(), head=7, reading=Reading(axes=axes))
    np.testing.assert_array_equal(made.stream.k, k.reshape(4, 200, 8)[:, 7])
    other = {"k": k, "v": k.swapaxes(-3, -2)}
    with pytest.raises(ValueError, match=r"^v: expected "):
        scenarios.from_arrays(other, Settings(), reading=Reading(axes=axes))


def test_sequences_of_one_head_without_its_axis_are_read():
    x = {"k": RANDOM.standard_normal((1, 50, 4)), "g": -RANDOM.random((1, 50))}
    made = scenarios.from_arrays(x, Settings())
    np.testing.assert_array_equal(made.stream.k, x["k"][0])
    assert made.reading.axes == "BHTK"


def test_an_order_of_axes_that_there_is_not_is_refused():
    refused("axes: expected one of auto, BTHK, BHTK, got 'KTHB'", lambda: Reading(axes="KTHB"))
    refused("names: expected one of q, k, v, g, beta, w, delta, alpha, got 'z'", lambda: Reading(names=(("z", "k"),)))


@pytest.mark.parametrize(
    ("names", "roles"),
    [
        (["query", "keys", "value", "input_ids"], {"q": "query", "k": "keys", "v": "value"}),
        (["layers.3.linear_attn.k", "layers.3.linear_attn.v", "mask"],
         {"k": "layers.3.linear_attn.k", "v": "layers.3.linear_attn.v"}),
        (["value_0", "key_0", "key_1", "value_1"], {"k": "key_0", "v": "value_0"}),
        (["a.0.v", "b.0.k", "b.0.v", "b.0.beta"], {"k": "b.0.k", "v": "b.0.v", "beta": "b.0.beta"}),
        (["key_states", "k"], {"k": "k"}),
        (["blocks/2/alpha", "blocks/2/K"], {"k": "blocks/2/K", "alpha": "blocks/2/alpha"}),
        (["k", "g", "deltanet.decay", "deltanet.k"], {"k": "k", "g": "g"}),
        (["labels", "x"], {}),
    ],
)  # fmt: skip
def test_which_array_is_which_is_guessed_by_its_name(names, roles):
    assert guesses(names) == roles


SEVERAL = [*[f"layers.{i}.attn.{name}" for i in (3, 7) for name in ("k", "v", "beta")][:-1], "mask"]


def test_nothing_of_another_layer_goes_with_the_keys_that_are_said():
    assert layers(SEVERAL) == {"layers.3.attn.k": "layers.3.attn", "layers.7.attn.k": "layers.7.attn"}
    said = {"k": "layers.7.attn.k"}
    assert guesses(SEVERAL, said=said) == {"k": "layers.7.attn.k", "v": "layers.7.attn.v"}
    assert guesses([*SEVERAL, "beta"], said=said)["beta"] == "beta"
    assert layers(["key_0", "key_1", "k.2", "w/k.weight"]) == {
        "key_0": "0", "key_1": "1", "k.2": "2", "w/k.weight": "w"
    }  # fmt: skip
    assert layers(["key", "k", "a.k", "a.keys"]) == {"key": "key", "k": "k", "a.k": "a.k", "a.keys": "a.keys"}


@pytest.mark.parametrize(("said", "decays"), [("g", "alpha"), ("alpha", "g")])
def test_one_form_of_the_decay_that_is_said_leaves_the_other_out(said, decays):
    assert decays not in guesses(["k", "other", "g", "alpha"], said={said: "other"})


def test_a_layer_that_is_said_is_the_one_that_is_read():
    x = layout()
    both = {f"layers.{i}.{name}": (i + 1) * array for i in (0, 1) for name, array in x.items() if name in "kv"}
    made = scenarios.from_arrays(both, Settings(), reading=Reading(names={"k": "layers.1.k"}))
    np.testing.assert_array_equal(made.stream.v, 2 * x["v"][0, :, 0])


def test_a_window_that_is_kept_does_not_keep_the_arrays():
    made = scenarios.from_arrays({"k": RANDOM.random((1000, 3)) / 2}, Settings(), start=500)
    run = trajectory("gated-deltanet", made.whole, window=made.window)
    for x in (*vars(made.stream).values(), *vars(run.stream).values(), *vars(run.tokens[0]).values()):
        while isinstance(x.base, np.ndarray):
            x = x.base
        assert len(x) <= 500


def test_the_order_of_axes_is_said_with_every_size():
    x = {"k": np.ones((1, 50, 3, 8)), "v": np.ones((1, 50, 3, 4))}
    made = scenarios.from_arrays(x, Settings())
    assert made.read_as == (
        "Read as [B, T, H, K]: 1 sequence, 50 tokens, 3 heads, 8 key channels, 4 value channels. "
        "Their sizes allow [B, H, T, K] too: axes = BHTK reads them so."
    )
    assert made.read_as in made.notes


def test_any_array_can_be_said_to_be_any_other_and_the_guess_is_said():
    x = layout()
    other = {"keys": x["k"], "odd": x["v"], "k": x["q"]}
    made = scenarios.from_arrays(other, Settings(), reading=Reading(names={"k": "keys", "v": "odd", "q": "k"}))
    np.testing.assert_array_equal(made.stream.k, x["k"][0, :, 0])
    np.testing.assert_array_equal(made.stream.v, x["v"][0, :, 0])
    np.testing.assert_array_equal(made.stream.q, x["q"][0, :, 0])
    assert "Read by their names: q is 'k', k is 'keys', v is 'odd'." in made.notes
    none = scenarios.from_arrays(x, Settings(), reading=Reading(names={"g": "", "beta": ""}))
    assert "Left out, not being one of q, k, v, g, beta, w, delta: 'beta, g'." in none.notes
    refused("v: expected one of the arrays 'keys, odd, k', got 'w'",
            lambda: scenarios.from_arrays(other, Settings(), reading=Reading(names={"v": "w"})))  # fmt: skip


def test_decays_are_taken_as_well_as_their_logarithms():
    x = layout()
    decays = {name: array for name, array in x.items() if name != "g"} | {"alpha": np.exp(x["g"])}
    made = scenarios.from_arrays(decays, Settings(), head=2)
    np.testing.assert_allclose(made.stream.g, x["g"][0, :, 2], rtol=1e-12, atol=1e-15)
    assert "alpha" in made.inactive
    for bad in (0.0, 1.5, np.nan):
        decays["alpha"] = np.where(np.arange(T)[:, None] == 3, bad, np.exp(x["g"]))
        refused(f"alpha: expected decays above 0 and at most 1, got {bad:g} at [3]",
                lambda: scenarios.from_arrays(decays, Settings()))  # fmt: skip


def test_keys_that_are_not_normalised_are_measured_and_can_be_normalised_as_fla_does():
    x = {"k": RANDOM.standard_normal((50, 6)) * 3, "v": RANDOM.standard_normal((50, 4))}
    plain = scenarios.from_arrays(x, Settings(), start=20)
    lengths = sorted(math.sqrt(sum(n * n for n in k)) for k in x["k"][20:].tolist())
    assert plain.key_lengths == pytest.approx((lengths[0], (lengths[14] + lengths[15]) / 2, lengths[-1]))
    assert any(note.startswith("Keys are not of length 1: ") for note in plain.notes)
    made = scenarios.from_arrays(x, Settings(), start=20, reading=Reading(normalise=True))
    assert made.key_lengths == plain.key_lengths
    for t, k in enumerate(x["k"].tolist()):
        want = [n / math.sqrt(sum(m * m for m in k) + 1e-6) for n in k]
        np.testing.assert_allclose(made.whole.k[t], want, rtol=1e-14)
    np.testing.assert_array_equal(made.stream.q, made.whole.k[20:])


def test_a_window_shows_what_the_whole_stream_leaves_there():
    """From the arrays to the memory: as the recurrence of the reference over every token from the first."""
    x = {name: array[:1] for name, array in layout().items()}
    x = {name: np.tile(array, (1, 60, *[1] * (array.ndim - 2))).astype(np.float32) for name, array in x.items()}
    x["k"] /= np.linalg.norm(x["k"], axis=-1, keepdims=True)
    every = memories("gated-deltanet", scenarios.from_arrays(x, Settings(), head=5, length=256).whole)
    made = scenarios.from_arrays(x, Settings(), head=5, start=400, length=20)
    run = trajectory("gated-deltanet", made.whole, window=made.window, from_empty=made.from_empty)
    np.testing.assert_allclose(run.states[0], every[400:421], rtol=0, atol=1e-5 * abs(every).max())
    empty = scenarios.from_arrays(x, Settings(), head=5, start=400, length=20, reading=Reading(from_empty=True))
    window = "Windowed: tokens 400 to 419 of 420. Here t = 0 is token 400 of the stream."
    assert f"{window} As asked, the memory is empty before them." in empty.notes
    assert not trajectory("gated-deltanet", empty.whole, window=empty.window, from_empty=True).states[0, 0].any()


@pytest.mark.parametrize("given", ["g", "beta", "w", "delta", "alpha"])
def test_a_setting_acts_only_where_no_array_stands_for_it(given):
    gates = {"g": -0.5, "beta": 0.5, "w": 0.5, "delta": 0.5, "alpha": 0.5}
    x = {"k": layout()["k"], given: np.full((B, T, H), gates[given])}
    base = Settings(alpha=0.9, beta=0.3, write=0.7, delta=0.2)
    made = scenarios.from_arrays(x, base)
    for name, value in {"alpha": 0.4, "beta": 1.3, "write": 1.7, "delta": 1.2, "spread": 0.1, "noise": 1.0,
                        "seed": 4, "T": 5, "dk": 2, "dv": 2}.items():  # fmt: skip
        changed = scenarios.from_arrays(x, replace(base, **{name: value})).stream
        acts = any(not np.array_equal(getattr(changed, f), getattr(made.stream, f)) for f in vars(changed))
        assert acts is not (name in made.inactive), name
