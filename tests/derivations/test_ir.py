"""The evaluator of compiled kernels, against NumPy; each way to fail by a small kernel that does."""

import importlib.util
import json
import math
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from derivations.engines.aten.numbers import EMPTY, NotModelled, Numbers, Unsound
from derivations.engines.ir import text
from derivations.engines.ir.carrier import Carrier
from derivations.engines.ir.evaluator import launch
from derivations.engines.ir.letters import Letters
from derivations.engines.ir.memory import Buffer, Descriptor, Memory
from derivations.engines.ir.operations import Machine

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or importlib.util.find_spec("triton") is None,
    reason="Triton's compiler is published for Linux only",
)
HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def texts():
    """The kernels of ``ir_kernels``, compiled in a process where Triton does not interpret."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join((str(HERE.parents[1]), environment.get("PYTHONPATH", "")))
    done = subprocess.run([sys.executable, HERE / "ir_kernels.py"], env=environment, capture_output=True, text=True,
                          timeout=300, check=False)  # fmt: skip
    assert not done.returncode, done.stderr[-4000:]
    return json.loads(done.stdout)


class Run:
    """A launch: buffers of small numbers, and what is in them afterwards."""

    def __init__(self, code, grid=1, **given):
        self.numbers = Numbers(random.Random(5))
        self.carrier, self.memory = Carrier(self.numbers), Memory()
        self.buffers, values = {}, []
        for name, x in given.items():
            if isinstance(x, int):
                values.append(np.array([x]))
            elif isinstance(x, tuple):  # a tensor map of another argument
                of, shape, tile = x
                strides = (shape[1], 1)
                address = self.memory.buffers.index(self.buffers[of]) * (1 << 40) + (1 << 39)
                values += [Descriptor(address, shape, strides, tile), *(np.array([n]) for n in (*shape, *strides))]
            else:
                floating = x.dtype == float
                entries = self.entries(x) if floating else x.astype(np.int64)
                self.buffers[name] = buffer = Buffer(name, x.size, "f32" if floating else "i32", entries.ravel())
                values.append(np.array([self.memory.add(buffer)]))
        function = text.parse(code)
        half = "f16" if "!tt.ptr<f16>" in function.parameters[0][1] else ""
        for name in "xy" if half else "":
            self.buffers[name].element = half
        machine = Machine(self.carrier, self.memory, (grid, 1, 1), np.random.default_rng(0))
        launch(function, dict(zip((name for name, _ in function.parameters), values, strict=True)), machine)

    def entries(self, x):
        """Return numbers that are binary fractions as residues; NaN is an entry that was never written."""
        fractions = [EMPTY if n != n else self.numbers.constant(float(n)) for n in x.ravel()]
        return np.array(fractions, np.int64)

    def __getitem__(self, name):
        return self.buffers[name].entries


def small(*shape, seed=0):
    return np.random.default_rng(seed).integers(-9, 10, shape)


EMPTIES = np.full(64, np.nan)


def test_integers_are_those_of_c(texts):
    x, y = small(100) * 3, np.where(small(100, seed=1) == 0, 5, small(100, seed=1))
    run = Run(texts["integers"], grid=4, x=x, y=y, out=np.zeros(100, int), n=100)
    quotient = np.trunc(x / y).astype(int)
    want = quotient + 3 * (x - quotient * y) - np.minimum(x, y) + np.maximum(x, 2) + 4 * x + (x >> 1) + (x & 6)
    want += (x | 1) + (x ^ y) + np.where((x < y) & (x != 3) | (x >= 9), 7, -7)
    assert (run["out"] == want).all()


def test_products_of_masked_blocks_are_those_of_numpy(texts):
    x, y = small(16, 40) / 8, small(16, 40, seed=1) / 4
    run = Run(texts["product"], x=x, y=y, out=np.full((16, 16), np.nan))
    assert (run["out"] == run.entries(0.5 * x @ y.T - 0.25)).all()


def test_asynchronous_copies_are_numbers_once_they_were_waited_for(texts):
    """Two copies are in flight: if one wait covers a copy less, or its part of the buffer is the next one, it fails."""
    code, x, y = texts["pipelined"], small(16, 96) / 8, small(16, 96, seed=1) / 4
    assert "ttg.async_copy_global_to_local" in code
    run = Run(code, x=x, y=y, out=np.full((16, 16), np.nan))
    want = run.entries(0.5 * x @ y.T - 0.25)
    assert (run["out"] == want).all()
    waits = [line for line in code.splitlines() if "ttg.async_wait" in line and "num = 2" in line]
    assert waits
    late = code.replace(waits[0], waits[0].replace("num = 2", "num = 3"))
    assert (Run(late, x=x, y=y, out=np.full((16, 16), np.nan))["out"] == EMPTY).all()
    masked = re.sub(r"(ttg.async_copy_global_to_local %\S+, %\S+) mask %\S+(?: other %\S+)?", r"\1", code)
    with pytest.raises(Unsound, match="reads x outside of it"):
        Run(masked, x=x, y=y, out=np.full((16, 16), np.nan))


@pytest.mark.parametrize("name", ["sums", "sums reversed"])
def test_sums_and_views_are_those_of_numpy(texts, name):
    x = small(8, 8) / 2
    run = Run(texts[name], x=x, out=np.full((8, 8), np.nan))
    c = (np.flip(np.flip(x, 1).cumsum(1), 1) if "reversed" in name else x.cumsum(1)) * x.sum(0)
    c = c.reshape(2, 4, 8).transpose(1, 0, 2).reshape(8, 4, 2)
    assert (run["out"] == run.entries(c[..., ::-1].reshape(8, 8))).all()


def test_a_reduction_of_several_values_runs_its_region(texts):
    x = small(16)
    run = Run(texts["largest"], x=x, out=np.zeros(2, int))
    assert run["out"].tolist() == [x.max(), x.argmax()]


def test_programs_take_branches_of_their_own(texts):
    x = np.abs(small(12))
    run = Run(texts["branches"], grid=14, x=x, out=np.full(12, -1), n=12)
    for i in range(12):
        total = 0
        for j in range(i):
            total += x[j]
            if total > 8:
                total -= 5 if i % 2 == 0 else 3
        while total > 3:
            total //= 2
        assert run["out"][i] == total


def test_tensor_maps_read_zeros_outside_and_write_nothing_there(texts):
    x = small(12, 12) / 2
    run = Run(texts["tiles"], grid=2, x=x, out=np.full((12, 8), np.nan), d_x=("x", (12, 12), (8, 8)),
              d_out=("out", (12, 8), (8, 8)))  # fmt: skip
    padded = np.zeros((32, 32))
    padded[4:16, :12] = x
    want = np.concatenate([padded[8 * i : 8 * i + 8, 4:12] * 2 for i in range(2)])[:12]
    assert (run["out"].reshape(12, 8) == run.entries(want).reshape(12, 8)).all()


def logs(numbers, n):
    return numbers.draw_logs(n).numpy()


@pytest.mark.parametrize("name", ["decays", "base 2"])
def test_the_exponential_of_a_sum_of_log_decays_is_a_product(texts, name):
    """Over the field, entry i, j is the product of the decays from j + 1 to i."""
    g = Numbers(random.Random(5)).draw_logs(8)
    run = Run(texts["decays"], g=np.zeros(8), out=np.full((8, 8), np.nan))
    assert (run["out"].reshape(8, 8) == np.tril(np.ones((8, 8), int))).all()
    buffers = {"g": Buffer("g", 8, "f32", g.numpy()), "out": Buffer("out", 64, "f32")}
    numbers = Numbers(random.Random(5))
    evaluated(texts[name], numbers, buffers)
    decay, p = numbers.exponential(g).tolist(), numbers.p
    for i in range(8):
        for j in range(8):
            want = 1
            for t in range(j + 1, i + 1):
                want = want * decay[t] % p
            assert buffers["out"].entries[8 * i + j] == (want if j <= i else 0)


def test_on_letters_a_kernel_writes_polynomials(texts):
    letters = Letters({"g": (8,)}, 0.125)
    buffers = {"g": Buffer("g", 8, "f32", letters.entries["g"]), "out": Buffer("out", 64, "f32")}
    evaluated(texts["decays"], letters, buffers)
    found = letters.polynomials(buffers["out"].entries.reshape(8, 8))
    for i in range(8):
        for j in range(8):
            assert found[i, j] == (math.prod(letters.decays[j + 1 : i + 1]) if j <= i else 0)
    with pytest.raises(Unsound, match="log decays that may be positive"):
        evaluated(texts["decays backwards"], letters, {"g": buffers["g"], "out": Buffer("out", 64, "f32")})


def evaluated(code, numbers, buffers, grid=1):
    memory, function = Memory(), text.parse(code)
    values = [np.array([memory.add(buffer)]) for buffer in buffers.values()]
    carrier = numbers if isinstance(numbers, Carrier) else Carrier(numbers)
    machine = Machine(carrier, memory, (grid, 1, 1), np.random.default_rng(0))
    launch(function, dict(zip((name for name, _ in function.parameters), values, strict=True)), machine)


FLOATS = {"x": small(16) / 2, "out": EMPTIES}
FAILURES = [
    ("outside", {"x": small(12) / 2, "out": EMPTIES, "n": 12}, 1, "reads x outside of it: entry 12 of 12, at %"),
    ("before", FLOATS, 1, "writes out outside of it: entry -1 of 64"),
    ("unwritten integer", {"i": np.full(1, -(1 << 62)), **FLOATS}, 1, "reads entry 0 of i, which was never written"),
    ("one address", FLOATS, 3, "two programs of a launch write different numbers to entry 0 of out"),
    ("duplicates", FLOATS, 1, "writes entry 0 of out twice in one store"),
    ("overflow", {**FLOATS, "stride": 1 << 30}, 3, "an integer of 32 bits overflows"),
    ("handed over", FLOATS, 2, "reads entry 1 of out, which another program of the launch writes"),
    ("exponential", FLOATS, 1, "takes the exponential of what is no log decay"),
]


@pytest.mark.parametrize(("name", "given", "grid", "said"), FAILURES, ids=[name for name, *_ in FAILURES])
def test_what_fails_on_a_gpu_fails(texts, name, given, grid, said):
    with pytest.raises(Unsound) as raised:
        Run(texts[name], grid=grid, **given)
    assert said in str(raised.value)


def test_the_exponential_of_a_positive_sum_of_decays_overflows(texts):
    numbers = Numbers(random.Random(5))
    buffers = {"g": Buffer("g", 8, "f32", numbers.draw_logs(8).numpy()), "out": Buffer("out", 64, "f32")}
    with pytest.raises(Unsound, match="a positive combination of log decays, which overflows"):
        evaluated(texts["decays backwards"], numbers, buffers)


def test_the_absolute_value_of_a_difference_of_log_decays_is_the_one_that_is_negative(texts):
    numbers = Numbers(random.Random(5))
    g = numbers.draw_logs(8)
    out = Buffer("out", 8, "f32")
    evaluated(texts["distances"], numbers, {"g": Buffer("g", 8, "f32", g.numpy()), "out": out})
    for i in range(8):
        between = g[i + 1 : 5] if i < 4 else g[5 : i + 1]
        assert out.entries[i] == int(numbers.exponential(numbers.total(between, [0], keepdim=False)))
    with pytest.raises(NotModelled, match="an order of values"):
        Run(texts["distances"], g=small(8) / 2, out=EMPTIES)


def test_a_product_in_three_parts_of_tf32_is_the_product(texts):
    assert "cvt.rna.tf32.f32" in texts["three parts"]
    x, y = small(16, 16, seed=1) / 2, small(16, 16, seed=2) / 4
    run = Run(texts["three parts"], x=x, y=y, out=np.full(256, np.nan))
    assert (run["out"] == run.entries(x @ y).ravel()).all()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("base 2 inexact", "a log decay is multiplied by what is no small integer"),
        ("base 2 without the factor", "a log decay in nats stands where one in base 2 is expected"),
        ("base e with the factor", "a log decay in base 2 stands where one in nats is expected"),
    ],
)
def test_a_wrong_factor_of_a_log_decay_in_base_2_fails(texts, name, said):
    numbers = Numbers(random.Random(5))
    buffers = {"g": Buffer("g", 8, "f32", numbers.draw_logs(8).numpy()), "out": Buffer("out", 64, "f32")}
    with pytest.raises(Unsound, match=said):
        evaluated(texts[name], numbers, buffers)


def test_programs_may_write_one_number_to_one_address(texts):
    run = Run(texts["same number"], grid=3, **FLOATS)
    assert run["out"][0] == run["x"][0]


def test_what_a_masked_load_leaves_is_no_number_even_times_zero(texts):
    """NaN times 0 is NaN: only the lanes under the mask are numbers."""
    run = Run(texts["without other"], x=small(12) / 2, out=EMPTIES, n=12)
    assert (run["out"][:12] == run["x"]).all()
    assert run["out"][12] == EMPTY


def test_what_was_never_written_spreads_until_it_is_left_out(texts):
    x = small(16) / 2
    x[3] = np.nan
    run = Run(texts["without other"], x=x, out=EMPTIES, n=12)
    assert np.flatnonzero(run["out"][:12] == EMPTY).tolist() == [3]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("order", "an order of values"), ("atomic", "the operation tt.atomic_rmw, at %"),
        ("sine", "the operation math.sin, at %"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_raises_with_its_text(texts, name, said):
    with pytest.raises(NotModelled) as raised:
        Run(texts[name], **FLOATS)
    assert said in str(raised.value)


def test_a_loop_that_does_not_end_fails(texts, monkeypatch):
    monkeypatch.setattr("derivations.engines.ir.evaluator._MOST_ROUNDS", 50)
    with pytest.raises(Unsound, match="a loop that has not ended after 50 rounds"):
        Run(texts["endless"], x=np.ones(1, int), out=np.zeros(1, int))


def test_the_text_of_another_triton_is_refused_by_name():
    for version in ("3.6.0", "3.7.1"):
        text.check_version(version)
    with pytest.raises(NotModelled, match=r"the text of Triton 3\.9\.2: expected 3\.6 or 3\.7"):
        text.check_version("3.9.2")


def test_a_line_that_is_no_operation_is_refused(texts):
    wrong = texts["before"].replace("tt.load", "load")
    with pytest.raises(NotModelled, match=r"a line that is no operation: .* = load %"):
        text.parse(wrong)
