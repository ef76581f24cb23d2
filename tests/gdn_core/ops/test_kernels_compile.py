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


def changed(change: str, *, case: str, kernel: str) -> subprocess.CompletedProcess[str]:
    """Check one kernel for Hopper after a change of the code."""
    return compiled(
        f"from gdn_core.ops import compile_check\n{change}"
        f"case = ['--case', {case!r}, '--kernel', {kernel!r}]\n"
        "raise SystemExit(compile_check.main(['--arch', '90', *case, '--processes', '1']))"
    )


@pytest.mark.parametrize("case", ["few heads, long", "float32"])
def test_every_kernel_compiles_for_every_gpu_and_fits(case: str) -> None:
    archs = [str(arch) for arch in GPUS] if case == "few heads, long" else ["90"]
    arguments = ["--case", case, compile_check.LAB, "--arch", *archs]
    done = compiled(
        f"from gdn_core.ops import compile_check\nif __name__ == '__main__': "
        f"raise SystemExit(compile_check.main({arguments}))"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for arch in archs:
        kernels = {line.split()[0] for line in done.stdout.splitlines() if f" {arch} " in line[:40]}
        assert len(kernels) >= 7, done.stdout  # prepare, scan, compose, its gradients, those of the rest, decoding, lab


def test_a_configuration_that_does_not_fit_is_found() -> None:
    done = compiled(
        "from gdn_core.ops import compile_check\n"
        "from gdn_core.ops.kernels import scan\n"
        "scan.scan_tiles = lambda *sizes, **facts: scan.Tiles(BV=64, num_warps=4, num_stages=6)\n"
        "case = ['--case', 'few heads, long', '--kernel', 'chunk_scan_kernel']\n"
        "raise SystemExit(compile_check.main(['--arch', '80', *case, '--processes', '1']))"
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "does not fit: shared memory: " in done.stdout and "A100 has 166912" in done.stdout


def test_a_kernel_that_does_not_compile_is_found() -> None:
    done = changed(
        "from gdn_core.ops.kernels import recurrent\nrecurrent.EPSILON = 'none'\n",
        case="few heads, long",
        kernel="recurrent",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "does not fit: CompilationError: " in done.stdout


def test_products_that_wait_for_each_other_are_found() -> None:
    done = changed(
        "from gdn_core.ops.kernels.hopper import prepare\n"
        "prepare.CONFIGS = [prepare.Config(4, 72, 1)] * 2\n",
        case="few heads, long",
        kernel="chunk_prepare_hopper",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "does not fit: products: each is waited for by itself, for want of registers" in done.stdout


def test_registers_left_unused_beside_spilled_numbers_are_found() -> None:
    done = changed(
        "from gdn_core.ops.kernels import scan\n"
        "scan.most_registers = lambda num_warps: None\n"
        "compile_check.SPILLS['chunk_scan_kernel'] = (0, 10_000)\n",
        case="float32, wide memory",
        kernel="chunk_scan_kernel",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "does not fit: registers: 64 for each thread that could have 255, and numbers spilled" in done.stdout


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
