"""Kernels compiled for GPUs without a GPU: those that the launchers choose fit, and one that does not fit is found."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from gdn_core.ops import compile_check
from gdn_core.ops.compile_check import GPUS, Report

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or importlib.util.find_spec("triton") is None,
    reason="Triton's compiler is published for Linux only",
)


def compiled(program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process where kernels are compiled, whatever other tests have set."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=600)


# Hopper's kernels, and the portable ones for 16 bits and 32: the other pairs are left to ./run check kernels.
@pytest.mark.parametrize(
    ("arch", "cases"),
    [(90, ["few heads, long", compile_check.LAB]), (100, ["few heads, long"]), (80, ["float32"])],
    ids=["sm_90", "sm_100", "sm_80 in float32"],
)
def test_every_kernel_compiles_and_fits(arch: int, cases: list[str]) -> None:
    arguments = ["--arch", str(arch), "--processes", "1", "--case", *cases]
    done = compiled(f"from gdn_core.ops import compile_check\nraise SystemExit(compile_check.main({arguments}))")
    assert done.returncode == 0, done.stdout + done.stderr
    kernels = {line.split()[0] for line in done.stdout.splitlines() if f" {arch} " in line[:40]}
    assert len(kernels) >= 7, done.stdout  # prepare, scan, compose, its gradients, those of the rest, decoding


def test_three_gpus_are_checked() -> None:
    assert set(GPUS) == {80, 90, 100}


CHANGES = [  # of the code, GPU, case, kernel, and what is said
    (
        "from gdn_core.ops.kernels import scan\n"
        "scan.scan_tiles = lambda *sizes, **facts: scan.Tiles(BV=64, num_warps=4, num_stages=6)\n",
        80, "few heads, long", "chunk_scan_kernel", "shared memory: ",
    ),
    (
        "from gdn_core.ops.kernels import recurrent\nrecurrent.EPSILON = 'none'\n",
        90, "few heads, long", "recurrent", "CompilationError: ",
    ),
    (
        "from gdn_core.ops.kernels.hopper import prepare\n"
        "prepare.CONFIGS = [prepare.Config(4, 72, 1)] * 2\n",
        90, "few heads, long", "chunk_prepare_hopper", "products: each is waited for by itself, for want of registers",
    ),
    (
        "from gdn_core.ops.kernels import scan\n"
        "scan.most_registers = lambda num_warps: None\n"
        "compile_check.SPILLS['chunk_scan_kernel'] = (0, 10_000)\n",
        90, "float32, wide memory", "chunk_scan_kernel",
        "registers: 64 for each thread that could have 255, and numbers spilled",
    ),
]  # fmt: skip
CHANGED = """
import os
import sys
from gdn_core.ops import compile_check
import gdn_core.ops.kernels.chunk

sys.stdout.flush()
for change, arch, case, kernel, _ in {changes}:
    child = os.fork()  # each in a process of its own, and what they share is imported once
    if not child:
        exec(change)
        chosen = ["--arch", str(arch), "--case", case, "--kernel", kernel, "--processes", "1"]
        print("exit", compile_check.main(chosen), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    print("next", flush=True)
"""


def test_a_configuration_that_does_not_compile_or_fit_is_found() -> None:
    done = compiled(CHANGED.format(changes=CHANGES))
    found = done.stdout.split("next\n")[:-1]
    for text, (*_, kernel, sentence) in zip(found, CHANGES, strict=True):
        assert "exit 1\n" in text, text + done.stderr
        assert kernel in text and f"does not fit: {sentence}" in text, text
    assert "A100 has 166912" in found[0]


def test_units_are_cut_so_that_programs_have_work() -> None:
    heads = pytest.importorskip("gdn_core.ops.kernels.hopper.prepare").heads_at_once
    assert heads(32, 16, 32, 396) == 1  # 3 rounds of one head, and 2 of two
    assert heads(512, 16, 64, 528) == 4  # 63 rounds of one head, and 16 of four: no tenth
    assert heads(1, 1, 8, 528) == 1
    assert heads(100, 4, 4, 528) == 1 == heads(1, 1, 1, 1)


def test_what_does_not_fit_is_said() -> None:
    fits = Report("k", 80, "few heads", "", threads=128, registers=255, shared=166_912)
    assert fits.faults == []
    too_much = Report(
        "k", 80, "few heads", "", threads=512, registers=255, spilled=8, shared=166_913, columns=640, trap=True,
        serialized=True,
    )  # fmt: skip
    assert too_much.faults == [
        "shared memory: 166913 bytes, and A100 has 166912",
        "registers: 255 for each of 512 threads, and there are 65536",
        "tensor memory: 640 columns, and there are 512",
        "code: a trap, and nothing else",
        "products: each is waited for by itself, for want of registers",
        "registers: 8 bytes of each thread are spilled, and 0 are known to be",
    ]


def test_nothing_is_compiled_where_kernels_are_interpreted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert compile_check.main(["--arch", "90"]) == 2
    assert "TRITON_INTERPRET=1 is set" in capsys.readouterr().out
