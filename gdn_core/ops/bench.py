"""Race the public functions: ``python -m gdn_core.bench [--set cpu|gpu] [--only NAME ...] [--json FILE]``.

First a check: if outputs or gradients differ from the float64 reference, nothing is timed and the command fails. Then
every case is timed in one process, in rounds. In each round this project runs, and then those of FlashInfer,
flash-linear-attention, flash-qla and transformers' PyTorch fallback that are installed, so that other load on the
machine affects all alike.
Each time is printed with its ratio to the others and to the floor. The floor is the larger of two times: the bytes that
must move over the measured copy bandwidth, and the operations of the chunk form over the measured matrix rate.

On a GPU three times are measured apart: of replays of a CUDA graph, which is the work of the GPU alone; of eager calls,
one after the other, as people train; and of the host in a call, which does not wait for the GPU. The seconds of the
first call, with an empty compile cache, and the peak memory of the case, inputs included, are printed too.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import importlib
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gdn_core import extras

try:
    import torch
    import torch.nn.functional as F
except ModuleNotFoundError as error:
    raise extras.explained(error) from None

from gdn_core.ops import api
from gdn_core.ops.torch import reference as torch_reference

Tensor = torch.Tensor
Rule = Callable[..., tuple[Tensor, Tensor | None]]

ROUNDS = {"cpu": 5, "gpu": 7}
CALLS = 10  # eager calls that are timed together on a GPU
PACKAGES = ("torch", "triton", "flashinfer-python", "fla-core", "flash-linear-attention", "flash-qla", "transformers")
REFUSALS = (RuntimeError, ValueError, TypeError, NotImplementedError, AssertionError)  # of a library, for a case
C = 64  # tokens a chunk, for the operations of the floor


@dataclass(frozen=True)
class Case:
    """A case of the benchmark.

    Args:
        name: its name, as ``--only`` takes it.
        what: "forward", "backward" (alone, after a forward pass that is not timed), "both" (forward and backward) or
            "decode" (one token, with a state).
        B: sequences.
        T: tokens.
        H: key heads.
        HV: value heads.
        K: key channels.
        V: value channels.
        dtype: of queries, keys and values.
        within: the multiple of its floor that is the target, printed with the result; 0 for no target.
        lengths: of packed sequences, T in all; none for a batch.
    """

    name: str
    what: str
    B: int
    T: int
    H: int
    HV: int
    K: int = 128
    V: int = 128
    dtype: str = "float32"
    within: float = 0.0
    lengths: tuple[int, ...] = ()

    @property
    def shape(self) -> str:
        """The sizes as text."""
        return f"B{self.B} T{self.T} H{self.H} HV{self.HV} K{self.K} V{self.V}"

    @property
    def tokens(self) -> str:
        """The batch and its tokens, or the packed lengths, as text."""
        if not self.lengths:
            return f"{self.B} x {self.T}"
        if len(set(self.lengths)) == 1:
            return f"packed {len(self.lengths)} x {self.lengths[0]}"
        return "packed " + " + ".join(str(n) for n in self.lengths)


def _gpu(what: str, tokens: tuple[int, int] | list[int], H: int, HV: int) -> Case:
    """Return a case in bfloat16: of a batch and its tokens, or of packed lengths."""
    B, T = tokens if isinstance(tokens, tuple) else (1, sum(tokens))
    case = Case("", what, B, T, H, HV, dtype="bfloat16", lengths=() if isinstance(tokens, tuple) else tuple(tokens))
    name = "forward and backward" if what == "both" else what
    return replace(case, name=f"{name} {case.tokens.replace(' x ', 'x')} heads {H}/{HV}")


CASES: dict[str, tuple[Case, ...]] = {
    "cpu": (
        Case("forward", "forward", 1, 4096, 8, 8, within=2.6),
        Case("forward and backward", "both", 1, 4096, 8, 8),
        Case("grouped heads", "forward", 1, 1024, 2, 8),
        Case("decode", "decode", 4, 1, 8, 8),
    ),
    "gpu": (
        *(_gpu("forward", *sizes) for sizes in (
            ((1, 8192), 16, 32), ((1, 8192), 16, 64), ((1, 32768), 16, 64), ([8192] * 4, 4, 16),
            ([24576, 8192], 16, 32), ((1, 32768), 2, 8), ((8, 4096), 32, 32), ((4, 8192), 16, 64), ([4096] * 8, 16, 64),
            ([1024, 7168], 16, 64), ([2048] * 4, 16, 48), ((1, 2048), 16, 32), ((1, 8192), 2, 8), ([1024] * 8, 16, 32),
        )),
        _gpu("decode", (256, 1), 16, 32),
        _gpu("decode", (1, 1), 16, 32),
        *(_gpu("both", *sizes) for sizes in (
            ((1, 8192), 16, 32), ((1, 2048), 16, 32), ((1, 32768), 16, 32), ((1, 32768), 4, 8), ([2048] * 4, 16, 32),
            ([1024] * 8, 8, 16), ((1, 512), 4, 8),
        )),
        *(_gpu("backward", *sizes) for sizes in (((1, 8192), 16, 32), ((1, 32768), 16, 32), ((1, 32768), 4, 8))),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Time:
    """The times of one runner, in milliseconds.

    Args:
        runner: the library that was timed.
        median: median over the rounds; on a GPU of graph replays.
        least: minimum over the rounds.
        rounds: the time of each round.
        eager: median of a call among others, the host included.
        host: median of the time until a call returns, on a GPU that is idle.
        first: seconds of the first call, compilation included.
        peak: peak bytes allocated during a call on a GPU, inputs included; 0 elsewhere.
    """

    runner: str
    median: float
    least: float
    rounds: list[float] = field(repr=False)
    eager: float
    host: float
    first: float
    peak: int


@dataclass(frozen=True)
class Floor:
    """A lower bound on the time of the chunk form on this machine.

    Args:
        bytes: inputs read once and outputs written once, gradients included.
        operations: floating-point operations of the chunk form with chunks of 64.
        milliseconds: the larger of bytes over bandwidth and operations over matrix rate.
        bound: "memory" or "matrix", whichever is the larger.
    """

    bytes: int
    operations: int
    milliseconds: float
    bound: str


def draw(case: Case, device: str) -> dict[str, Tensor]:
    """Draw the inputs of a case: keys of length 1, log decays of a model, beta in 0 to 1."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    B, T, H, HV, K, V = case.B, case.T, case.H, case.HV, case.K, case.V
    dtype = getattr(torch, case.dtype)
    return {
        "q": F.normalize(normal(B, T, H, K), dim=-1).to(device, dtype),
        "k": F.normalize(normal(B, T, H, K), dim=-1).to(device, dtype),
        "v": normal(B, T, HV, V).to(device, dtype),
        "g": F.logsigmoid(normal(B, T, HV) + 3).to(device),
        "beta": normal(B, T, HV).sigmoid().to(device),
    } | ({"initial_state": normal(B, HV, K, V).to(device)} if case.what == "decode" else {}) | (
        {"cu_seqlens": torch.tensor((0, *case.lengths), device=device).cumsum(0)} if case.lengths else {}
    )  # fmt: skip


def _ours(what: str) -> Rule:
    """Return this project's function for what is timed."""
    return api.fused_recurrent_gated_delta_rule if what == "decode" else api.chunk_gated_delta_rule


def runners(what: str, device: str) -> dict[str, Rule]:
    """Return this project's function and those of the other installed libraries, by name."""
    ours = _ours(what)
    found: dict[str, Rule] = {"gdn_core": ours}
    fallback = "torch_recurrent_gated_delta_rule" if what == "decode" else "torch_chunk_gated_delta_rule"
    places = [("transformers", "transformers.models.qwen3_next.modeling_qwen3_next", fallback)]
    if device == "cuda":
        if what == "forward":
            places.append(("flashinfer", "flashinfer.gdn_prefill", ours.__name__))
        places += [("fla", "fla.ops.gated_delta_rule", ours.__name__), ("flash-qla", "flash_qla", ours.__name__)]
    for name, module, function in places:
        try:
            theirs = getattr(importlib.import_module(module), function, None)
        except ImportError:
            continue
        if theirs is not None:
            adapted = {"transformers": _repeating, "flashinfer": _in_a_row}.get(name, lambda rule: rule)
            found[name] = adapted(getattr(theirs, "__wrapped__", theirs) if name == "transformers" else theirs)
    return found


def _in_a_row(rule: Rule) -> Rule:
    """Give FlashInfer all sequences in a row, [T, H, D], and say where each starts; its g is a decay and not a log."""
    bounds: dict[Any, Tensor] = {}

    def run(q: Tensor, k: Tensor, v: Tensor, *, g: Tensor, beta: Tensor, **options: Any) -> tuple[Tensor, None]:
        B, T = q.shape[:2]
        cu_seqlens = options.get("cu_seqlens")
        if cu_seqlens is None:
            if (B, T) not in bounds:
                bounds[B, T] = torch.arange(0, (B + 1) * T, T, device=q.device)
            cu_seqlens = bounds[B, T]
        flat = (x.flatten(0, 1) for x in (q, k, v))
        return rule(*flat, g=g.flatten(0, 1), beta=beta.flatten(0, 1), cu_seqlens=cu_seqlens), None  # type: ignore[return-value]

    return run


def _repeating(rule: Rule) -> Rule:
    """Repeat the keys for the value heads they serve, as transformers' layers did before its functions took groups."""

    def repeated(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> tuple[Tensor, Tensor | None]:
        groups = v.shape[2] // k.shape[2]
        return rule(*(x.repeat_interleave(groups, dim=2) if groups > 1 else x for x in (q, k)), v, **options)

    return repeated


def prepare(rule: Rule, case: Case, given: dict[str, Tensor]) -> Callable[[], tuple[Tensor, ...]]:
    """Return the call that is timed; it returns outputs, and gradients if the case has them."""
    q, k, v, *gates = (given[name] for name in ("q", "k", "v", "g", "beta"))
    options: dict[str, Any] = {"initial_state": given.get("initial_state"), "output_final_state": case.what == "decode"}
    if case.lengths:
        options["cu_seqlens"] = given["cu_seqlens"]

    def inference() -> tuple[Tensor, ...]:
        with torch.no_grad():
            return tuple(x for x in rule(q, k, v, g=gates[0], beta=gates[1], **options) if x is not None)

    def forward() -> tuple[list[Tensor], Tensor]:
        leaves = [x.detach().requires_grad_() for x in (q, k, v, *gates)]
        return leaves, rule(*leaves[:3], g=leaves[3], beta=leaves[4], **options)[0]

    def both() -> tuple[Tensor, ...]:
        leaves, o = forward()
        return (o, *torch.autograd.grad(o, leaves, o.detach()))

    if case.what == "both":
        return both
    if case.what != "backward":
        return inference
    leaves, o = forward()
    return lambda: (o, *torch.autograd.grad(o, leaves, o.detach(), retain_graph=True))


def check(case: Case, device: str) -> str | None:
    """Compare this project with the float64 reference, at a small length and with the case's heads.

    The error budget is that of the tests: twice the error of the plain scan in float32, plus a few units in the last
    place of the outputs' dtype.

    Returns:
        A sentence on the first array that is over its budget, or None.
    """
    small = replace(case, B=min(case.B, 8), T=min(case.T, 150), lengths=())
    given = draw(small, device)

    def scan(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, initial_state: Any, **_: Any) -> Any:
        state = None if initial_state is None else initial_state.transpose(2, 3)
        o, S = torch_reference.recurrent(q, k, v, g, beta, beta, scale=small.K**-0.5, initial_state=state)
        return o, S.transpose(2, 3) if small.what == "decode" else None

    got = prepare(_ours(case.what), small, given)()
    plain = prepare(scan, small, {name: x.float() for name, x in given.items()})()
    exact = prepare(scan, small, {name: x.double() for name, x in given.items()})()
    rounding = 4 * torch.finfo(getattr(torch, case.dtype)).eps
    for name, a, b, want in zip(("o", "dq or S", "dk", "dv", "dg", "dbeta"), got, plain, exact, strict=False):
        budget = 2 * (b - want).abs().max() + rounding * want.abs().max()
        error = (a - want).abs().max()
        if not error <= budget:
            return f"{case.name}: {name} is off by {error:.1e}, the budget is {budget:.1e}"
    return None


def floor(case: Case, copy: float, rate: float) -> Floor:
    """Compute the floor of a case.

    Args:
        case: what is run.
        copy: copy bandwidth, bytes a second, read and written together.
        rate: matrix rate in the case's dtype, operations a second.
    """
    size = getattr(torch, case.dtype).itemsize
    keys, values, gates = (case.B * case.T * n for n in (2 * case.H * case.K, case.HV * case.V, 2 * case.HV))
    moved = size * (keys + 2 * values) + 4 * gates
    one = 2 * case.HV * (3 * case.K * case.V + C * (2 * case.K + 2 * case.V) // 2)  # triangles are half a square
    operations = case.B * case.T * one
    if case.what in ("backward", "both"):  # reads the inputs and do, writes their gradients
        moved_back, operations_back = moved + size * (keys + values) + 4 * gates, 2 * operations
        once = case.what == "both"
        moved, operations = moved_back + once * moved, operations_back + once * operations
    if case.what == "decode":
        moved += 2 * 4 * case.B * case.HV * case.K * case.V
        operations = case.B * 6 * case.HV * case.K * case.V
    memory, matrix = moved / copy * 1e3, operations / rate * 1e3
    return Floor(moved, operations, max(memory, matrix), "memory" if memory > matrix else "matrix")


def measure_machine(device: str, dtype: str) -> tuple[float, float]:
    """Measure the copy bandwidth in bytes a second, and the rate of a large matrix product in operations a second."""
    n, side = (2**28, 8192) if device == "cuda" else (2**24, 1536)
    x, y = (torch.empty(n, dtype=torch.float32, device=device).fill_(1) for _ in range(2))
    a = torch.randn(side, side, device=device).to(getattr(torch, dtype))
    copy = min(_once(lambda: y.copy_(x), device) for _ in range(8))
    product = min(_once(lambda: a @ a, device) for _ in range(8))
    return 2 * 4 * n / copy * 1e3, 2 * side**3 / product * 1e3


def _once(call: Callable[[], Any], device: str) -> float:
    """Time one call in milliseconds."""
    if device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end)
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e3


def _replayed(call: Callable[[], Any], stream: Any) -> Callable[[], Any]:
    """Capture a call in a CUDA graph, so that only GPU time is measured; return the call itself if it cannot be."""
    try:
        with torch.cuda.stream(stream):
            for _ in range(3):
                call()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            call()
    except RuntimeError as error:
        print(f"not captured in a graph, timed with its launches: {str(error).splitlines()[0]}", file=sys.stderr)
        torch.cuda.synchronize()
        return call
    return graph.replay


def _first(rule: Rule, case: Case, given: dict[str, Tensor], stream: Any) -> tuple[Callable[[], Any], float, int]:
    """Prepare a call and run it once; return it, the seconds that took, and the peak bytes allocated."""
    began = time.perf_counter()
    if stream is None:
        call = prepare(rule, case, given)
        call()
        return call, time.perf_counter() - began, 0
    with torch.cuda.stream(stream):  # a backward pass runs on the stream of its forward pass
        call = prepare(rule, case, given)
        call()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - began
        torch.cuda.reset_peak_memory_stats()
        call()
        torch.cuda.synchronize()
    return call, seconds, torch.cuda.max_memory_allocated()


def race(case: Case, device: str) -> list[Time]:
    """Time a case with every runner, in turn."""
    gc.collect()
    before = torch.cuda.memory_allocated() if device == "cuda" else 0  # by everything but this case
    given = draw(case, device)
    calls: dict[str, Callable[[], Any]] = {}
    measured: dict[str, tuple[float, int]] = {}
    stream = torch.cuda.Stream() if device == "cuda" else None
    if stream is not None:
        stream.wait_stream(torch.cuda.current_stream())  # the inputs were drawn there
    rules = runners(case.what, device)
    for name, rule in rules.items():
        if name == "transformers" and (case.lengths or (device == "cuda" and case.T > 2048)):
            continue  # it takes no packed sequences, and seconds a call
        try:
            call, seconds, peak = _first(rule, case, _given(name, given), stream)
        except REFUSALS as error:
            if name == "gdn_core":
                raise
            print(f"{name} does not run {case.name}: {(str(error) or type(error).__name__).splitlines()[0]}")
            continue
        measured[name] = seconds, max(0, peak - before)
        del call  # its memory must not count for the next
    kept = []  # the calls: a graph reads their tensors without owning them
    for name in measured:
        call, _, _ = _first(rules[name], case, _given(name, given), stream)
        kept.append(call)
        calls[name] = _replayed(call, stream) if stream is not None and name != "transformers" else call
    times: dict[str, list[float]] = {name: [] for name in calls}
    eager: dict[str, list[float]] = {name: [] for name in calls}
    host: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS["gpu" if device == "cuda" else "cpu"]):
        for call, (name, replay) in zip(kept, calls.items(), strict=True):
            repeats = 1 if case.what != "decode" else 20
            times[name].append(sum(_once(replay, device) for _ in range(repeats)) / repeats)
            if stream is None:
                eager[name], host[name] = times[name], times[name]
            else:
                with torch.cuda.stream(stream):
                    eager[name].append(_eagerly(call))
                    host[name].append(_until_it_returns(call))
    return [
        Time(
            name, statistics.median(x), min(x), x, statistics.median(eager[name]), statistics.median(host[name]),
            *measured[name],
        )
        for name, x in times.items()
    ]  # fmt: skip


def _eagerly(call: Callable[[], Any]) -> float:
    """Time a call among others that follow each other, in milliseconds of wall time."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(CALLS):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / CALLS * 1e3


def _until_it_returns(call: Callable[[], Any]) -> float:
    """Time the host in a call, in milliseconds; the GPU is idle when it begins, and is not waited for."""
    spent = []
    for _ in range(CALLS):
        torch.cuda.synchronize()
        began = time.perf_counter()
        call()
        spent.append((time.perf_counter() - began) * 1e3)
    return statistics.median(spent)


def _given(name: str, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the inputs as a library takes them: FlashInfer takes the decay, not its log."""
    return {**given, "g": given["g"].exp()} if name == "flashinfer" else given


def machine(device: str) -> dict[str, str]:
    """Return the machine and the versions that the figures were measured with."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    root = Path(__file__).resolve().parents[2]
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True).stdout
    cpu = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    name = torch.cuda.get_device_name() if device == "cuda" else cpu
    return {"device": name, "commit": commit.strip() or "unknown", "python": platform.python_version(), **versions}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0 if every check held."""
    parser = argparse.ArgumentParser(prog="python -m gdn_core.bench", description="Race the public functions.")
    parser.add_argument("--set", choices=tuple(CASES), default="gpu" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="cases whose names contain one of these")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args(arguments)
    device = "cuda" if options.set == "gpu" else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("the GPU set needs an NVIDIA GPU, and PyTorch sees none here")
    cases = [x for x in CASES[options.set] if not options.only or any(part in x.name for part in options.only)]
    if not cases:
        parser.error(f"no case is called so; there are {', '.join(x.name for x in CASES[options.set])}")
    warnings.simplefilter("once")
    if device == "cuda":  # so that the first call compiles anew
        os.environ["TRITON_CACHE_DIR"] = cache = tempfile.mkdtemp(prefix="gdn-bench-")
        atexit.register(shutil.rmtree, cache, ignore_errors=True)
    facts = machine(device)
    print("  ".join(f"{name} {value}" for name, value in facts.items()))
    wrong = [sentence for case in cases if (sentence := check(case, device))]
    if wrong:
        print("the check does not hold, so nothing is timed:", *wrong, sep="\n  ")
        return 1
    print(f"check: {len(cases)} of {len(cases)} cases hold against float64")
    results = []
    rates = {dtype: measure_machine(device, dtype) for dtype in {case.dtype for case in cases}}
    for case in cases:
        copy, rate = rates[case.dtype]
        times, least = race(case, device), floor(case, copy, rate)
        ours = times[0]
        load = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
        print(f"\n{case.name}: {case.shape} {case.dtype}  {load}")
        for x in times:
            ratio = "" if x is ours else f"  {x.median / ours.median:5.2f} x ours"
            extra = ""
            if device == "cuda":
                extra = f"  eager {x.eager:7.3f}  host {x.host:7.3f}"
                extra += f"  first call {x.first:5.1f} s  peak {x.peak / 1e6:6.0f} MB"
            print(f"  {x.runner:14} {x.median:9.3f} ms  (least {x.least:.3f}){extra}{ratio}")
        above = ours.median / least.milliseconds
        meant = f", meant to be within {case.within:.1f} x" if case.within else ""
        print(f"  {'floor':14} {least.milliseconds:9.3f} ms  ({least.bound}); ours is {above:.2f} x{meant}")
        results.append({"case": asdict(case), "times": [asdict(x) for x in times], "floor": asdict(least)})
    for dtype, (copy, rate) in rates.items():
        print(f"\ncopy {copy / 1e9:.1f} GB/s, {dtype} products {rate / 1e12:.2f} Tflop/s")
    if options.json:
        options.json.write_text(json.dumps({"machine": facts, "results": results}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
