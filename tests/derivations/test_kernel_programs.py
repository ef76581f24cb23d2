"""Kernels of other people: written by hand here, right and wrong, run by the process of ``check-kernel``."""

import importlib.util
import json
import sys

import pytest

from derivations.command import FAILS, HOLDS, WRONG_CALL, main
from derivations.kernels import COMMAND, check_kernel
from derivations.models.kernel_specs import Launch, integers, values
from derivations.programs import CannotBeCheckedError
from derivations.workers import Worker

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or importlib.util.find_spec("triton") is None,
    reason="Triton's compiler is published for Linux only",
)
KERNELS = """import triton
import triton.language as tl


@triton.jit
def scaled(x, starts, o, scale, N: tl.constexpr, BN: tl.constexpr, WRONG: tl.constexpr):
    o_n = tl.arange(0, BN)
    first = tl.load(starts + tl.program_id(0))
    stop = tl.load(starts + tl.program_id(0) + 1) + (1 if WRONG == "mask" else 0)
    if WRONG == "scale":
        scale = scale * 1.001
    if WRONG == "order":
        scale = tl.where(scale > 0.0, scale, 0.0)
    m = first + o_n < stop
    tl.store(o + first + o_n, tl.load(x + first + o_n, mask=m, other=0.0) * scale, mask=m)


@triton.autotune(configs=[triton.Config({"BN": 16}), triton.Config({"BN": 32})], key=["N"])
@triton.jit
def tuned(x, starts, o, scale, N: tl.constexpr, BN: tl.constexpr, WRONG: tl.constexpr):
    scaled(x, starts, o, scale, N, BN, WRONG)


@triton.heuristics({"HALVED": lambda given: given["y"] is not None, "WRONG": lambda given: given["wrong"] or ""})
@triton.autotune(configs=[triton.Config({"BN": 16})], key=["N"])
@triton.jit
def chosen(x, y, wrong: tl.constexpr, o, N: tl.constexpr, BN: tl.constexpr, HALVED: tl.constexpr, WRONG: tl.constexpr,
           TIMES: tl.constexpr = 3.0):
    o_n = tl.arange(0, BN)
    b_x = tl.load(x + o_n, mask=o_n < N, other=0.0) * TIMES
    if HALVED:
        b_x *= 0.5
    if WRONG == "scale":
        b_x *= 1.001
    tl.store(o + o_n, b_x, mask=o_n < N)


@triton.jit
def decayed(g, o, N: tl.constexpr, BASE: tl.constexpr):
    total = 0.0
    for n in range(N):
        total += tl.load(g + n)
        tl.store(o + n, tl.exp2(total) if BASE == 2 else tl.exp(total))


def plain(x):
    return x
"""
SPEC = """from derivations.kernels import Launch, integers, output, values

SIZES = [{{"N": 3}}, {{"N": 12}}]


def launch(N):
    starts = integers([0, 2, N])
    return Launch((2,), x=values(N), starts=starts, o=output(N), scale=0.125, N=N, BN=16, WRONG={wrong!r}{more})


def expected(x, scale):
    return {expected}
"""


@pytest.fixture(scope="module")
def worker():
    process = Worker(limit=120, start=300, command=COMMAND)
    yield process
    process.kill()


@pytest.fixture
def told(worker, tmp_path):
    """A function that says what comes of a kernel under a specification: its residual, or why it is refused."""
    (tmp_path / "kernels.py").write_text(KERNELS)

    def run(kernel="scaled", wrong="", more="", expected="{'o': x * scale}", spec=SPEC, at=1):
        text = spec.format(wrong=wrong, more=more, expected=expected) if spec == SPEC else spec
        (tmp_path / "spec.py").write_text(text)
        found = worker.do("read", {"where": f"{tmp_path}/kernels.py:{kernel}", "spec": f"{tmp_path}/spec.py"})
        if "refused" not in found:
            target = {"arch": 80, "level": "ttir", "insist": False}
            found = worker.do("compare", {"size": at, "target": target, "seed": "0 0"})
        return found.get("refused") or found["residual"]

    return run


def test_a_kernel_that_computes_what_is_expected_leaves_nothing(told):
    assert told() == ""
    assert told("tuned") == ""


@pytest.mark.parametrize(("y", "half"), [("None", ""), ("x", " * ((x.modulus + 1) // 2)")])
def test_arguments_follow_from_others_as_where_triton_launches(told, y, half):
    spec = """from derivations.kernels import Launch, output, values
SIZES = [{{"N": 12}}]
def launch(N):
    x = values(N)
    return Launch((1,), x=x, y={y}, wrong={wrong!r}, o=output(N), N=N, BN=16)
def expected(x):
    return {{"o": x * 3{half}}}
"""
    assert told("chosen", spec=spec.format(y=y, wrong="", half=half), at=0) == ""
    assert told("chosen", spec=spec.format(y=y, wrong="scale", half=half), at=0).startswith("o: ")


@pytest.mark.parametrize(("base", "kernel_base", "said"), [
    ("True", 2, ""), ("False", 0, ""), ("True", 0, "in base 2 stands where one in nats is expected"),
    ("False", 2, "in nats stands where one in base 2 is expected"),
])  # fmt: skip
def test_log_decays_are_in_nats_or_in_base_2(told, base, kernel_base, said):
    spec = f"""from derivations.kernels import Launch, decays, output
SIZES = [{{"N": 3}}]
def launch(N):
    return Launch((1,), g=decays(N, base_2={base}), o=output(N), N=N, BASE={kernel_base})
def expected(g, *, exp):
    return {{"o": [exp(g[0]), exp(g[0] + g[1]), exp(g[0] + g[1] + g[2])]}}
"""
    found = told("decayed", spec=spec, at=0)
    assert said in found
    assert bool(said) == bool(found)


@pytest.mark.skipif(importlib.util.find_spec("fla") is not None, reason="fla is installed")
def test_a_library_that_is_an_extra_and_not_installed_is_named_with_the_extra(worker):
    found = worker.do("read", {"where": "fla.ops.utils.cumsum:chunk_local_cumsum_scalar_kernel", "spec": "spec.py"})
    assert "fla is not installed: pip install 'gated-deltanet-first-principles[fla]' brings it" in found["refused"]


def test_a_kernel_that_does_not_leaves_the_first_wrong_number(told):
    said = told(wrong="scale")
    assert said.startswith("o: ")
    assert said.endswith("at [0], and 12 of 12 entries are not zero")
    assert "two programs" in told(wrong="mask") or "outside" in told(wrong="mask")
    assert told(expected="{'o': x[::-1] * scale}").startswith("o: ")


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"kernel": "nothing"}, "kernels.py has no function nothing"),
        ({"kernel": "plain"}, "expected a function under @triton.jit, got function"),
        ({"wrong": "order"}, "scaled: uses what is not modelled: scaled: an order of values: the program compares "
                             "numbers that are no decays, at %"),
        ({"more": ", other=3"}, "launch: gives other, which is no parameter of scaled and no option, at N = 12"),
        ({"expected": "{'p': x}"}, "expected: expected it to return o by name, at N = 12"),
        ({"expected": "{'o': x[:3]}"}, "expected: expected an array [12], got (3,), at N = 12"),
        ({"expected": "{'o': 1 / 0}"}, "scaled: raises ZeroDivisionError: division by zero (spec.py:12), at N = 12"),
        ({"spec": "SIZES = []\ndef launch(): pass\ndef expected(): pass\n"}, "expected SIZES, a list of sizes by name"),
        ({"spec": "SIZES = [{}]\ndef launch(): return 3\ndef expected(): pass\n", "at": 0},
         "launch: expected a Launch, got int"),
        ({"spec": "SIZES = [{}]\nimport derivations.kernels as k\ndef launch(): return k.Launch((1,), N=3)\n"
                  "def expected(): pass\n", "at": 0}, "launch: gives no x, which scaled takes"),
        ({"spec": "x = ("}, "spec.py:1: '(' was never closed"),
    ],
)  # fmt: skip
def test_what_cannot_be_checked_is_refused_in_a_sentence(told, given, sentence):
    assert sentence in told(**given)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: values(3, dtype="int8"), "dtype: expected one of float64, .* got 'int8'"),
        (lambda: values(0, 3), r"shape: expected sizes of 1 and more, got \[0, 3\]"),
        (lambda: integers([1], dtype="float32"), "dtype: expected int32 or int64, got 'float32'"),
        (lambda: Launch(()), r"grid: expected one to three numbers of programs, got \(\)"),
        (lambda: check_kernel("scaled", "spec.py"), "scaled: expected MODULE:FUNCTION"),
        (lambda: check_kernel("a:b", "spec.py", arch=9), "arch: expected a compute capability .* got 9"),
    ],
)
def test_what_has_no_meaning_is_refused(make, sentence):
    with pytest.raises((ValueError, CannotBeCheckedError), match=sentence):
        make()


def test_the_command_tells_right_from_wrong_and_does_not_wait_for_ever(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kernels.py").write_text(KERNELS)
    (tmp_path / "spec.py").write_text(SPEC.format(wrong="", more="", expected="{'o': x * scale}"))
    assert main(["check-kernel", "kernels.py:scaled", "--spec", "spec.py", "--json", "it.json"]) == HOLDS
    assert "computes what spec.py expects at N = 3; N = 12; random points mod 3 primes" in capfd.readouterr().out
    assert json.loads((tmp_path / "it.json").read_text())["built"] == "TTIR for sm_80"
    waits = SPEC.replace("    starts =", "    import time\n    time.sleep(600)\n    starts =")
    (tmp_path / "waits.py").write_text(waits.format(wrong="", more="", expected="{'o': x}"))
    assert main(["check-kernel", "kernels.py:scaled", "--spec", "waits.py", "--limit", "2"]) == WRONG_CALL
    assert "kernels.py:scaled: took longer than 2 s: " in capfd.readouterr().err
    assert main(["check-kernel", "kernels.py:scaled", "--spec", "spec.py", "--limit", "0"]) == WRONG_CALL
    assert FAILS == 1
