"""Measure the app as people use it: ``./run bench [--only NAME ...] [--json FILE]``.

A check comes first: unless every rule's numbers are those of the float64 reference, nothing is measured. Times are wall
clock, so other work on the machine shows in them; the load average stands beside them for that reason.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from app import compute
from app.choice import Choice
from tests.benchmarks import clients, lab, tour
from tests.benchmarks.correct import check
from tests.benchmarks.result import Result
from tests.browser.server import ROOT

PARTS: dict[str, Callable[[int], Iterator[Result]]] = {
    "change": lab.change,
    "scrub": lab.scrub,
    "start": lab.start,
    "tabs": lab.tabs,
    "lessons": tour.lessons,
    "starts": tour.starts,
    "learners": tour.learners,
    "firsts": clients.firsts,
    "visitors": clients.visitors,
    "window": clients.window,
    "uploads": clients.uploads,
}


def machine() -> dict[str, str]:
    """Say on what the figures were taken."""
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), cpu)
    commit = "unknown"
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        describe = ["git", "describe", "--always", "--dirty"]
        commit = subprocess.run(describe, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    run = compute.picture(Choice()).trajectory.run
    names = ("torch", "triton", "numpy", "streamlit", "plotly")
    versions = []
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(name)}")
    return {
        "cpu": f"{cpu}, {os.cpu_count()} cores",
        "kernels": f"{run.backend} on {run.device}",
        "versions": f"Python {platform.python_version()}, {', '.join(versions)}",
        "commit": commit,
        "load average": ", ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark, and return 0 if every target was met."""
    parser = argparse.ArgumentParser(prog="./run bench", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="measure only these")
    parser.add_argument("--repeats", type=int, default=60, help="changes made in the browser (default: 60)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures, every value, to this file")
    given = parser.parse_args(arguments)
    check()
    about = machine()
    print(*(f"{name}: {value}" for name, value in about.items()), sep="\n")
    print(f"\n{'':<44} {'n':>4} {'median':>9} {'p95':>9}     {'targets':>11}")
    results = []
    for name in given.only:
        for result in PARTS[name](given.repeats):
            results.append(result)
            print(result.line(), f"[load {os.getloadavg()[0]:.0f}]", flush=True)
    if given.json:
        given.json.write_text(
            json.dumps({"machine": about, "results": [asdict(result) for result in results]}, indent=1)
        )
    return 0 if all(result.met for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
