"""Compile every kernel for GPUs that are not here: ``python -m gdn_core.ops.compile_check``.

The launchers run unchanged on arrays in CPU memory, and are told that they are on the GPU asked for. Each launch is
caught, compiled for that GPU by Triton and ptxas, and examined. So exactly the configurations that the launchers choose
are checked. A configuration fails if

* it does not compile;
* it needs more shared memory or registers than the GPU has;
* it spills more bytes of registers than is listed here;
* it spills although its threads could have more registers: some kernels that ptxas limits like that compute wrong
  numbers;
* it is written for Hopper and waits for each matrix product by itself, which ptxas does without a message if registers
  are short, and which doubles the time.

It needs Linux and Triton, and no GPU.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

from gdn_core import extras

try:
    import torch
except ModuleNotFoundError as error:
    raise extras.explained(error) from None

REGISTERS = 65536  # of a multiprocessor
TENSOR_COLUMNS = 512  # of Blackwell's tensor memory

# Most bytes that a thread may spill, with operands of two bytes and of four. Kernels that are not listed may spill
# nothing. Spills cost time, so these numbers should only fall.
SPILLS = {
    "chunk_prepare_kernel": (24, 496),
    "chunk_prepare_hopper_kernel": (24, 0),
    "chunk_scan_kernel": (80, 2984),
    "chunk_limits_kernel": (0, 728),
    "chunk_scan_hopper_kernel": (48, 0),
    "chunk_compose_kernel": (32, 312),
    "chunk_scans_kernel": (600, 1336),
    "chunk_query_gradients_kernel": (1648, 1312),
    "chunk_key_gradients_kernel": (880, 1752),
    "chunk_gradients_hopper_kernel": (88, 0),
    "channel_prepare_kernel": (0, 200),
    "channel_scan_kernel": (256, 1488),
    "channel_scans_kernel": (0, 56),
    "channel_value_gradients_kernel": (40, 8),
    "channel_gradients_kernel": (80, 1616),
    "trajectory_kernel": (8, 0),
}


class Gpu(NamedTuple):
    """The resources of a GPU that a configuration has to fit.

    Args:
        name: a card of this compute capability.
        processors: its multiprocessors.
        shared: bytes of shared memory that one program may have.
    """

    name: str
    processors: int
    shared: int


# CUDA C++ Programming Guide, table of technical specifications by compute capability.
GPUS = {80: Gpu("A100", 108, 166_912), 90: Gpu("H100, H200", 132, 232_448), 100: Gpu("B200", 148, 232_448)}


@dataclass(frozen=True)
class Case:
    """Inputs for which the launchers choose particular configurations.

    Args:
        name: what is special about these inputs.
        dtype: of queries, keys and values.
        N: sequences.
        T: tokens of each.
        HV: value heads; one key head serves two of them.
        K: key channels.
        V: value channels.
        decay: whether the rule has a decay.
        erase: whether it erases.
    """

    name: str
    dtype: str
    N: int = 1
    T: int = 128
    HV: int = 2
    K: int = 128
    V: int = 128
    decay: bool = True
    erase: bool = True


# A configuration is listed under the first case that leads to it. The first two cases lead to every kernel.
CASES = (
    Case("few heads, long", "bfloat16", T=2560),
    Case("float32", "float32", T=2560),
    Case("few heads", "bfloat16"),
    Case("many heads", "bfloat16", N=2, T=64, HV=74),
    Case("many heads, no decay", "bfloat16", N=2, T=64, HV=74, decay=False),
    Case("many heads, nothing erased", "bfloat16", N=2, T=64, HV=74, erase=False),
    Case("many heads, neither", "bfloat16", N=2, T=64, HV=74, decay=False, erase=False),
    Case("many heads, float16", "float16", N=2, T=64, HV=74),
    Case("wide memory", "bfloat16", K=256, V=256),
    Case("wide memory, long", "bfloat16", T=2560, K=256, V=256),
    Case("small memory", "bfloat16", T=2560, K=64, V=64),
    Case("odd sizes", "bfloat16", T=2560, K=100, V=200),
    Case("tiny memory", "bfloat16", K=3, V=1),
    Case("no decay", "bfloat16", T=2560, decay=False),
    Case("nothing erased", "bfloat16", T=2560, erase=False),
    Case("neither", "bfloat16", T=2560, decay=False, erase=False),
    Case("float16", "float16", T=2560),
    Case("float32, wide memory", "float32", T=2560, K=256, V=256),
    Case("float32, small memory", "float32", K=64, V=64),
)

LAB = "the lab"


@dataclass(frozen=True)
class Report:
    """The result for one configuration.

    Args:
        kernel: its name.
        arch: compute capability, 90 for 9.0.
        case: the first case that led to it.
        options: what it was compiled with: its constants, and the warps and stages.
        threads: threads of one program.
        maxnreg: the launcher's limit on registers of a thread, if it sets one.
        registers: of one thread.
        spilled: bytes of one thread that are spilled to memory.
        shared: bytes of shared memory of one program.
        columns: columns of tensor memory, on Blackwell.
        trap: whether its code is only a trap, which Triton emits for a kernel that does not fit.
        serialized: whether each product of a warpgroup is waited for before the next.
        seconds: of compilation, or of reading Triton's cache.
        error: the compiler's error, if there is one.
    """

    kernel: str
    arch: int
    case: str
    options: str
    threads: int = 1
    maxnreg: int | None = None
    registers: int = 0
    spilled: int = 0
    shared: int = 0
    columns: int = 0
    trap: bool = False
    serialized: bool = False
    seconds: float = 0.0
    error: str = ""

    @property
    def faults(self) -> list[str]:
        """Return what does not fit, a sentence each."""
        if self.error:
            return [self.error]
        most, faults = GPUS[self.arch].shared, []
        if self.shared > most:
            faults.append(f"shared memory: {self.shared} bytes, and {GPUS[self.arch].name} has {most}")
        if self.registers * self.threads > REGISTERS:
            faults.append(f"registers: {self.registers} for each of {self.threads} threads, and there are {REGISTERS}")
        if self.columns > TENSOR_COLUMNS:
            faults.append(f"tensor memory: {self.columns} columns, and there are {TENSOR_COLUMNS}")
        if self.trap:
            faults.append("code: a trap, and nothing else")
        if self.serialized:
            faults.append("products: each is waited for by itself, for want of registers")
        known = SPILLS.get(self.kernel, (0, 0))["float32" in self.case]
        could = min(255, REGISTERS // self.threads, self.maxnreg or 255)
        if self.spilled and self.registers < could // 8 * 8:  # some kernels limited like that compute wrong numbers
            faults.append(f"registers: {self.registers} for each thread that could have {could}, and numbers spilled")
        if self.spilled > known:
            faults.append(f"registers: {self.spilled} bytes of each thread are spilled, and {known} are known to be")
        return faults


@dataclass(frozen=True)
class Launch:
    """A launch that was caught: the kernel, its arguments and its programs."""

    case: str
    kernel: Any  # Triton's function
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    grid: tuple[int, ...]


@contextmanager
def on_chip(chip: Any) -> Iterator[None]:
    """Make launchers believe that they are on a chip, one of ``chip.Chip``."""
    with ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("gdn_core.ops.kernels.") and hasattr(module, "chip_of"):
                stack.enter_context(patch.object(module, "chip_of", lambda device: chip))
        yield


@contextmanager
def pretending(arch: int, caught: list[Launch], case: list[str]) -> Iterator[None]:
    """Make launchers believe that they are on a GPU of this capability, and catch their launches."""
    from triton.runtime.jit import JITFunction

    from gdn_core.ops.kernels.chip import Chip

    def catch(kernel: Any, *arguments: Any, grid: Any, warmup: bool, **options: Any) -> None:
        caught.append(Launch(case[0], kernel, arguments, options, grid))

    with patch.object(JITFunction, "run", catch), on_chip(Chip(processors=GPUS[arch].processors, capability=arch)):
        yield


def launch_all(case: Case) -> None:
    """Run every launcher of the library on arrays of a case: norm, prefill, gradients, decoding, padding."""
    from gdn_core.ops.kernels import chunk, l2norm, padding, recurrent

    dtype = getattr(torch, case.dtype)
    N, T, H, HV, K, V = case.N, case.T, max(1, case.HV // 2), case.HV, case.K, case.V
    q, k = (torch.zeros(N, T, H, K, dtype=dtype) for _ in range(2))
    v = torch.zeros(N, T, HV, V, dtype=dtype)
    g, beta = (torch.zeros(N, T, HV) if has else None for has in (case.decay, case.erase))
    state = torch.zeros(N, HV, K, V)
    options: dict[str, Any] = {"scale": 1.0, "initial_state": state, "output_final_state": True}
    _, _, saved = chunk.forward(q, k, v, g, beta, **options, save_for_backward=True)
    assert saved is not None  # for mypy: save_for_backward was set
    chunk.backward(saved, torch.zeros_like(v), state)
    l2norm.l2norm_backward(q, l2norm.l2norm(q))
    padding.clear_padding(torch.zeros(N + 1, dtype=torch.int32), q, k, v, g, beta)
    token: list[Any] = [x if x is None else x[:, :1].contiguous() for x in (q, k, v, g, beta)]
    recurrent.recurrent(*token, **options, normalise=True)
    launch_by_channel(case)


def launch_by_channel(case: Case) -> None:
    """Run the launchers with a decay for each key channel: with one erase gate, and with gates for each channel.

    Long sequences lead to no other configuration than short ones, so the backward pass with one erase gate runs on
    these alone.
    """
    from gdn_core.ops.kernels.channels import chunk, steps

    if not case.decay:
        return
    dtype = getattr(torch, case.dtype)
    N, T, H, HV, K, V = case.N, case.T, max(1, case.HV // 2), case.HV, case.K, case.V
    q, k = (torch.zeros(N, T, H, K, dtype=dtype) for _ in range(2))
    v, g = torch.zeros(N, T, HV, V, dtype=dtype), torch.zeros(N, T, HV, K)
    gates: list[Any] = [(torch.zeros(N, T, HV), None), (torch.zeros(N, T, HV, K), torch.zeros(N, T, HV, V))]
    for beta, w in gates if case.erase else [(None, None)]:
        state = torch.zeros(N, HV, K, V)
        if w is not None or beta is None or T <= 128:
            chunk.backward(torch.zeros_like(v), state, q, k, v, g, beta, w, scale=1.0, initial_state=state)
        options: dict[str, Any] = {"scale": 1.0, "initial_state": state, "output_final_state": True}
        chunk.forward(q, k, v, g, beta, w, **options)
        token: list[Any] = [x if x is None else x[:, :1].contiguous() for x in (q, k, v, g, beta, w)]
        steps.steps(*token, **options, normalise=True)


def launch_trajectory() -> None:
    """Launch the kernel of the lab as it is launched on a GPU, for one rule and for many."""
    from gdn_core.ops.kernels.trajectory import BLOCK_NUMEL, trajectory_kernel

    T, V, K = 8, 32, 32
    for R, wide in ((1, False), (16, True)):
        x, v, flat = torch.zeros(R, T, 4 * K), torch.zeros(R, T, V), torch.zeros(T * V * K)
        table, rows = torch.zeros(R, 2, 4, dtype=torch.int64), torch.zeros(R, dtype=torch.int64)
        S, out = torch.zeros(R, V, K), torch.zeros(R, T, V, 2)
        BV = max(1, min(V, BLOCK_NUMEL // (R * K)))
        trajectory_kernel[(V // BV,)](
            x, v, flat, table, rows, S, out, T, V, K, R, R, BV, K, wide, wide, STEPS=None, enable_fp_fusion=False
        )  # fmt: skip


@cache
def configurations(arch: int) -> tuple[tuple[Launch, Any, Any], ...]:
    """Return each configuration that the cases lead to on a GPU, once: the launch, its source, Triton's options."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import make_backend

    caught: list[Launch] = []
    case = [""]
    import gdn_core.ops.kernels.channels.chunk
    import gdn_core.ops.kernels.chunk  # noqa: F401  # their device functions are patched, so they must be imported

    with pretending(arch, caught, case):
        for each in CASES:
            case[0] = each.name
            launch_all(each)
        case[0] = LAB
        launch_trajectory()
    target = GPUTarget("cuda", arch, 32)
    backend = make_backend(target)
    found: dict[Any, tuple[Launch, Any, Any]] = {}
    for launch in caught:
        source, options = described(launch.kernel, launch.arguments, launch.options, backend)
        found.setdefault((source.hash(), options.hash()), (launch, source, options))
    return tuple(found.values())


def described(kernel: Any, arguments: tuple[Any, ...], options: dict[str, Any], backend: Any) -> tuple[Any, Any]:
    """Return what Triton compiles for a launch: the source, with its signature and constants, and the options."""
    from triton.runtime.jit import create_function_from_signature

    if not hasattr(kernel, "ASTSource"):  # set when a binder is made, which needs a driver
        kernel.ASTSource = _gluon_source() if kernel.is_gluon() else _source()
    binder = create_function_from_signature(kernel.signature, kernel.params, backend)
    given = {**options, "debug": kernel.debug, "instrumentation_mode": ""}
    bound, specialization, _ = binder(*arguments, **given)
    options, signature, constants, attributes = kernel._pack_args(backend, given, bound, specialization, None)
    return kernel.ASTSource(kernel, signature, constants, attributes), options


def _source() -> Any:
    from triton.compiler import ASTSource

    return ASTSource


def _gluon_source() -> Any:
    from triton.experimental.gluon._runtime import GluonASTSource

    return GluonASTSource


def compile_one(arch: int, index: int) -> Report:
    """Compile one configuration, and read its resources from the machine code."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.errors import TritonError

    launch, source, options = configurations(arch)[index]
    names = launch.kernel.arg_names
    constants = {names[path[0]]: value for path, value in source.constants.items() if value is not None}
    shown = ", ".join(f"{name} {value}" for name, value in constants.items())
    what = f"{shown}; warps {options.num_warps}, stages {options.num_stages}"
    report = Report(launch.kernel.fn.__name__, arch, launch.case, what)
    began = time.perf_counter()
    try:
        compiled = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options.__dict__)
    except (TritonError, RuntimeError) as error:
        return Report(**{**asdict(report), "error": f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"})
    seconds = time.perf_counter() - began
    threads = re.search(r"\.reqntid (\d+)", compiled.asm["ptx"])
    registers, stack = resources(compiled.asm["cubin"])
    return Report(
        **{
            **asdict(report), "threads": int(threads[1]) if threads else 32 * options.num_warps,
            "maxnreg": options.maxnreg, "registers": registers, "spilled": stack, "shared": compiled.metadata.shared,
            "columns": getattr(compiled.metadata, "tmem_size", None) or 0, "seconds": seconds,
            "trap": re.search(r"^\s*trap;", compiled.asm["ptx"], re.MULTILINE) is not None,
            "serialized": "hopper" in report.kernel and serialized(compiled.asm["cubin"]),
        }
    )  # fmt: skip


def _read(cubin: bytes, tool: str, *options: str) -> str:
    """Run one of Triton's tools on machine code, and return its output."""
    import triton

    path = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / tool
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        return subprocess.run([path, *options, file.name], capture_output=True, text=True, check=True).stdout


def resources(cubin: bytes) -> tuple[int, int]:
    """Read the registers and the spilled bytes of a thread from machine code."""
    said = _read(cubin, "cuobjdump", "--dump-resource-usage")
    found = re.search(r"REG:(\d+) STACK:(\d+)", said)
    if found is None:
        raise ValueError(f"cuobjdump: expected REG and STACK, got {said!r}")
    return int(found[1]), int(found[2])


def serialized(cubin: bytes) -> bool:
    """Tell whether every product of a warpgroup is a group of its own, so that the next one waits for it."""
    products = re.findall(r"HGMMA[^;]*", _read(cubin, "nvdisasm", "-c"))
    return bool(products) and all("gsb" in product for product in products)


def check(archs: list[int], *, cases: list[str], kernel: str = "", processes: int = 1) -> list[Report]:
    """Compile every configuration for each GPU, on several processes.

    Args:
        archs: compute capabilities.
        cases: names of cases; a configuration belongs to the first that leads to it.
        kernel: part of the names of the kernels that are compiled.
        processes: the number of processes that compile.
    """
    jobs = [
        (arch, i)
        for arch in archs
        for i, (launch, _, _) in enumerate(configurations(arch))
        if launch.case in cases and kernel in launch.kernel.fn.__name__
    ]
    if processes == 1:
        return [compile_one(*job) for job in jobs]
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(compile_one, *zip(*jobs, strict=True)))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0 if everything fits, 2 where nothing can be compiled."""
    parser = argparse.ArgumentParser(
        prog="python -m gdn_core.ops.compile_check",
        description="Compile every kernel for GPUs that are not here.",
    )
    parser.add_argument("--arch", nargs="+", type=int, choices=tuple(GPUS), default=list(GPUS), help="all by default")
    names = [case.name for case in CASES] + [LAB]
    parser.add_argument("--case", nargs="+", choices=names, default=names, metavar="NAME", help=f"of {names}")
    parser.add_argument("--kernel", default="", metavar="PART", help="only kernels whose names contain this")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N", help="default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    chosen = parser.parse_args(arguments)
    if importlib.util.find_spec("triton") is None:
        print("Triton is not installed, and is published for Linux only: nothing can be compiled")
        return 2
    if os.environ.get("TRITON_INTERPRET") == "1":
        print("TRITON_INTERPRET=1 is set: kernels are interpreted and not compiled")
        return 2
    began = time.perf_counter()
    reports = check(chosen.arch, cases=chosen.case, kernel=chosen.kernel, processes=chosen.processes)
    if not reports:
        parser.error("no configuration is both of these cases and of such a kernel")
    print("kernel                            sm threads registers spilled  shared tensor     s  case")
    for x in reports:
        print(
            f"{x.kernel:32} {x.arch:3} {x.threads:7} {x.registers:9} {x.spilled:7} {x.shared:7} {x.columns:6} "
            f"{x.seconds:5.1f}  {x.case}"
        )
        for fault in x.faults:
            print(f"    does not fit: {fault}\n    {x.options}")
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(x) for x in reports], indent=1) + "\n")
    wrong = sum(bool(x.faults) for x in reports)
    took = time.perf_counter() - began
    print(f"{len(reports)} configurations for {len(chosen.arch)} GPUs in {took:.0f} s: {wrong or 'none'} do not fit")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
