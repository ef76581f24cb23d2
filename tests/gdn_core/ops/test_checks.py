"""The checks of arguments: what they accept, and the message of each refusal."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gdn_core.lab import limits
from gdn_core.lab.limits import LIMITS, Limits
from gdn_core.ops import checks
from gdn_core.ops.checks import Dimensions
from gdn_core.streams import Stream

B, T, H, HV, K, V = 2, 5, 2, 6, 3, 4
MAKERS = {
    "numpy": lambda *shape: np.zeros(shape),
    "torch": lambda *shape: torch.zeros(shape, dtype=torch.bfloat16),
}


def layout(make):
    return {
        "k": make(B, T, H, K),
        "v": make(B, T, HV, V),
        "q": make(B, T, H, K),
        "g": make(B, T, HV),
        "beta": make(B, T, HV),
        "w": make(B, T, HV, V),
        "delta": make(B, T, HV),
    }


def stream(**changed) -> Stream:
    gate = np.ones(T)
    k, v = np.zeros((T, K)), np.zeros((T, V))
    plain = Stream(q=k, k=k, v=v, g=0 * gate, beta=gate, w=gate, delta=gate, A=-np.ones(K))
    return replace(plain, **changed)


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
class TestLayout:
    """Named arrays of NumPy and of torch."""

    def test_sizes_come_back_named(self, make):
        assert checks.check_layout(layout(make)) == Dimensions(B=B, T=T, H=H, HV=HV, K=K, V=V)

    def test_a_gate_may_be_one_number_a_channel(self, make):
        wide = {"g": make(B, T, HV, K), "beta": make(B, T, HV, K), "w": make(B, T, HV), "delta": make(B, T, HV, V)}
        assert checks.check_layout(layout(make) | wide).K == K

    @pytest.mark.parametrize(
        ("changed", "sentence"),
        [
            (lambda make: {"g": make(B, HV, T)}, "g: expected [B, T, HV] = [2, 5, 6] or [B, T, HV, K] = [2, 5, 6, 3], "
             "got [2, 6, 5]"),
            (lambda make: {"w": make(B, T, HV, K)}, "w: expected [B, T, HV] = [2, 5, 6] or [B, T, HV, V] = "
             "[2, 5, 6, 4], got [2, 5, 6, 3]"),
            (lambda make: {"k": make(T, K)}, "k: expected [B, T, H, K], got [5, 3]"),
            (lambda make: {"v": make(B, T + 1, HV, V)}, "v: expected [B, T, HV, V] = [2, 5, HV, V], got [2, 6, 6, 4]"),
            (lambda make: {"q": make(B, T, H, V)}, "q: expected [B, T, H, K] = [2, 5, 2, 3], got [2, 5, 2, 4]"),
            (lambda make: {"q": make(B, T, HV, K)}, "q: expected [B, T, H, K] = [2, 5, 2, 3], got [2, 5, 6, 3]"),
            (lambda make: {"v": make(B, T, 5, V)}, "v: expected HV, its number of heads, to be a multiple of H = 2, "
             "that of k, got HV = 5"),
            (lambda make: {"x": make(B)}, "arrays: expected one of q, k, v, g, beta, w, delta, got 'x'"),
            (lambda make: {"k": make(B, 0, H, K), "v": make(B, 0, HV, V)}, "k: expected at least one token, got 0"),
            (lambda make: {"v": make(B, T, 0, V)}, "v: expected at least one value head, got 0"),
            (lambda make: {"k": make(B, T, 0, K)}, "k: expected at least one key head, got 0"),
        ],
    )  # fmt: skip
    def test_a_shape_that_does_not_fit_is_said_by_axes_and_sizes(self, make, changed, sentence):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            checks.check_layout(layout(make) | changed(make))

    def test_leading_axes_may_be_left_out_where_asked(self, make):
        arrays = {"k": make(T, H, K), "v": make(T, HV, V), "g": make(T, HV)}
        assert checks.check_layout(arrays, ranks=(4, 3, 2)) == Dimensions(B=1, T=T, H=H, HV=HV, K=K, V=V)
        arrays = {"k": make(T, K), "v": make(T, V), "g": make(T, K), "w": make(T)}
        assert checks.check_layout(arrays, ranks=(4, 3, 2)) == Dimensions(B=1, T=T, H=1, HV=1, K=K, V=V)
        with pytest.raises(ValueError, match=r"^k: expected \[B, T, H, K\] or \[T, H, K\] or \[T, K\], got \[5\]$"):
            checks.check_layout({"k": make(T), "v": make(T)}, ranks=(4, 3, 2))

    @pytest.mark.parametrize("missing", ["k", "v"])
    def test_keys_and_values_are_needed(self, make, missing):
        arrays = layout(make)
        del arrays[missing]
        with pytest.raises(ValueError, match=f"^{missing}: expected an array, got none$"):
            checks.check_layout(arrays)

    @pytest.mark.parametrize(
        ("name", "value", "low", "high", "sentence"),
        [
            ("g", 0.25, -np.inf, 0, "g: expected gates, at most 0, got 0.25 at [0, 1, 2]"),
            ("beta", -0.5, 0, 2, "beta: expected gates from 0 to 2, got -0.5 at [0, 1, 2]"),
            ("q", float("nan"), -1, 1, "q: expected finite gates, got nan at [0, 1, 2]"),
            ("q", float("-inf"), -np.inf, 1, "q: expected finite gates, got -inf at [0, 1, 2]"),
        ],
    )
    def test_the_first_bad_number_is_shown_with_its_place(self, make, name, value, low, high, sentence):
        x = make(2, 3, 4)
        checks.check_values(name, x, low, high, meaning="gates")
        x[0, 1, 2] = x[1, 2, 3] = value
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            checks.check_values(name, x, low, high, meaning="gates")


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (np.zeros((2, 3), int), "expected floating-point numbers, got int64"),
        (np.zeros((2, 3), complex), "expected floating-point numbers, got complex128"),
        (np.zeros((2, 3), object), "expected floating-point numbers, got object"),
        (torch.zeros((2, 3), dtype=torch.int32), "expected floating-point numbers, got torch.int32"),
        ([[1.0]], "expected an array, got list"),
        (None, "expected an array, got NoneType"),
    ],
)
def test_only_floating_point_arrays_pass(x, sentence):
    with pytest.raises(TypeError, match=f"^beta: {re.escape(sentence)}$"):
        checks.check_layout(layout(MAKERS["numpy"]) | {"beta": x})


def test_arrays_at_two_places_are_refused():
    arrays = layout(MAKERS["torch"]) | {"beta": torch.zeros((B, T, HV), device="meta")}
    with pytest.raises(ValueError, match=r"^beta: expected device cpu, where k is, got meta$"):
        checks.check_layout(arrays)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.data())
def test_the_place_of_a_bad_number_is_that_of_numpy(a, b, c, data):
    x = np.array(data.draw(st.lists(st.sampled_from([0.0, 3.0]), min_size=a * b * c, max_size=a * b * c)))
    x = x.reshape(a, b, c)
    if not (x == 3).any():
        checks.check_values("x", x, 0, 1)
        return
    place = [int(n) for n in np.argwhere(x == 3)[0]]
    with pytest.raises(ValueError, match=re.escape(f"got 3 at {place}")):
        checks.check_values("x", x, 0, 1)


class TestStream:
    """A whole stream, with and without the lab's limits."""

    def test_a_stream_passes_at_every_width_of_its_gates(self):
        limits.check_stream(stream(), LIMITS)
        wide = {"g": np.zeros((T, K)), "beta": np.ones((T, K)), "w": np.ones((T, V)), "delta": np.ones((T, V))}
        limits.check_stream(stream(**wide, A=-np.ones((V, K))), LIMITS)

    @pytest.mark.parametrize(
        ("changed", "sentence"),
        [
            ({"v": np.zeros((T - 1, V))}, "v: expected [T, V] = [5, V], got [4, 4]"),
            ({"q": np.zeros((T, V))}, "q: expected [T, K] = [5, 3], got [5, 4]"),
            ({"w": np.zeros((T, K))}, "w: expected [T] = [5] or [T, V] = [5, 4], got [5, 3]"),
            ({"A": np.zeros((K, V))}, "A: expected [K] = [3] or [V, K] = [4, 3], got [3, 4]"),
            ({"g": np.full(T, 0.1)}, "g: expected log decays in nats, at most 0, got 0.1 at [0]"),
            ({"g": np.full(T, -np.inf)}, "g: expected finite log decays in nats, got -inf at [0]"),
            ({"beta": np.full(T, 2.1)}, "beta: expected erase gates from 0 to 2, got 2.1 at [0]"),
            ({"A": np.ones(K)}, "A: expected diagonal entries, at most 0, got 1 at [0]"),
            ({"k": np.full((T, K), np.nan)}, "k: expected finite numbers, got nan at [0, 0]"),
            ({"v": np.full((T, V), 1e7)}, "v: expected numbers from -1e+06 to 1e+06, got 1e+07 at [0, 0]"),
        ],
    )
    def test_what_does_not_fit_is_one_sentence(self, changed, sentence):
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            limits.check_stream(stream(**changed))

    def test_the_labs_limits_hold_only_where_they_are_asked_for(self):
        few = Limits(channels=3, tokens=4)
        limits.check_stream(stream())
        with pytest.raises(ValueError, match=r"^v: expected at most 3 value channels, got 4$"):
            limits.check_stream(stream(), few)
        with pytest.raises(ValueError, match=r"^k: expected at most 4 tokens in a window, got 5$"):
            limits.check_stream(stream(v=np.zeros((T, 3))), few)


class TestNumbers:
    """Single values, and how sentences show them."""

    @pytest.mark.parametrize("value", [3, np.int32(3)])
    def test_an_integer_of_any_library_becomes_pythons(self, value):
        assert type(checks.check_integer("dk", value, 1, 4)) is int

    @pytest.mark.parametrize(
        ("value", "kind", "got"),
        [
            (0, ValueError, "0"),
            (5, ValueError, "5"),
            (3.0, TypeError, "3"),
            (True, TypeError, "True"),
            ("3", TypeError, "'3'"),
            (None, TypeError, "None"),
            (10**50, ValueError, "1" + 36 * "0" + "..."),
        ],
    )
    def test_what_is_no_integer_in_range_is_refused(self, value, kind, got):
        with pytest.raises(kind, match=f"^dk: expected an integer from 1 to 4, got {re.escape(got)}$"):
            checks.check_integer("dk", value, 1, 4)

    @pytest.mark.parametrize(
        ("value", "kind", "got"),
        [
            (0.0, ValueError, "0"),
            (1.5, ValueError, "1.5"),
            (float("nan"), ValueError, "nan"),
            (float("inf"), ValueError, "inf"),
            (1j, TypeError, "1j"),
            (False, TypeError, "False"),
            ("0.5", TypeError, "'0.5'"),
        ],
    )
    def test_what_is_no_number_in_range_is_refused(self, value, kind, got):
        with pytest.raises(kind, match=f"^alpha: expected a number above 0 and at most 1, got {re.escape(got)}$"):
            checks.check_number("alpha", value, 0, 1, above=True)

    def test_a_choice_is_refused_with_the_choices(self):
        with pytest.raises(ValueError, match=r"^preset: expected one of a, b, got 'c'$"):
            checks.check_choice("preset", "c", ["a", "b"])
        with pytest.raises(ValueError, match=r"^preset: expected one of a, b, got \['a'\]$"):
            checks.check_choice("preset", ["a"], ["a", "b"])

    def test_sizes_are_said_in_words(self):
        assert [limits.size(n) for n in (7, 2048, 32 * 2**20, 3 * 2**29)] == ["7 bytes", "2 kB", "32 MB", "1.5 GB"]

    def test_every_limit_that_a_visitor_can_meet_is_said(self):
        said = " ".join(LIMITS.sentences())
        sizes = ("128 MB", "4 MB", "512 arrays", "160 MB")
        for limit in ("256 key", "256 value", "256 tokens", "200,000 characters", *sizes):
            assert limit in said


def test_the_door_opens_without_torch():
    code = (
        "import sys; import gdn_core.lab.scenarios, gdn_core.lab.files; "
        "assert not {'torch', 'triton', 'safetensors.torch'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
