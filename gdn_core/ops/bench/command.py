"""The command: check, time and print the cases."""

from __future__ import annotations

import argparse
import atexit
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import tempfile
import warnings
from dataclasses import asdict
from pathlib import Path

import torch

from gdn_core.ops.bench.cases import CASES
from gdn_core.ops.bench.check import check
from gdn_core.ops.bench.floor import floor, measure_machine
from gdn_core.ops.bench.timing import race

PACKAGES = ("torch", "triton", "flashinfer-python", "fla-core", "flash-linear-attention", "flash-qla", "transformers")


def machine(device: str) -> dict[str, str]:
    """Return the machine and the versions that the figures were measured with."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    root = Path(__file__).resolve().parents[3]
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
