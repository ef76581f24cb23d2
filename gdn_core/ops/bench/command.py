"""The command: check, time and print the cases."""

from __future__ import annotations

import argparse
import datetime
import json
import math
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gdn_core.ops.bench.cases import CASES
from gdn_core.ops.bench.children import ROOT, Failed
from gdn_core.ops.bench.floor import Rates, floor
from gdn_core.ops.bench.race import Plan, Race
from gdn_core.ops.bench.report import lines, numbers
from gdn_core.ops.bench.runners import LIBRARIES, OURS

USUAL = {"gpu": tuple(LIBRARIES), "cpu": (OURS, "transformers")}  # who runs the cases of a set
ROUNDS = {"cpu": 5, "gpu": 7}


def machine(device: str, commit: str | None, versions: dict[str, dict[str, str]]) -> dict[str, str]:
    """Return the machine, the day and the versions that the figures were measured with."""
    cpu = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    name = torch.cuda.get_device_name() if device == "cuda" else cpu
    facts = {"device": name}
    if device == "cuda":
        facts["driver"] = _said("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader").split("\n")[0]
        facts["cuda"] = str(torch.version.cuda)
    facts["commit"] = commit or _said("git", "describe", "--always", "--dirty")
    facts["date"] = datetime.datetime.now(datetime.UTC).date().isoformat()
    facts["python"] = platform.python_version()
    for library, of in versions.items():
        for package, version in of.items():
            if facts.get(package, version) != version:  # this library runs on another one than the others
                package = f"{package} of {library}"
            facts[package] = version
    return facts


def _said(*command: str) -> str:
    """Return what a command prints."""
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gdn_core.bench", description="Race the public functions.")
    parser.add_argument("--set", choices=tuple(CASES), default="gpu" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="cases whose names contain one of these")
    parser.add_argument("--libraries", nargs="+", choices=tuple(LIBRARIES), help="who runs, beside this project")
    parser.add_argument(
        "--path", action="append", default=[], metavar="LIBRARY=FOLDERS",
        help="where a library's imports are taken from, as in PYTHONPATH; without it, from what is installed",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, help="how often each is timed at a case (7; 5 on a CPU)")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for a library at a case (60)")
    parser.add_argument("--warm-up", type=float, default=150.0, help="seconds for the others to compile (150)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="no case is begun after these")
    parser.add_argument("--commit", help="what is measured, where it is not a checkout")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too, case by case")
    options = parser.parse_args(arguments)
    if options.set == "gpu" and not torch.cuda.is_available():
        parser.error("the GPU set needs an NVIDIA GPU, and PyTorch sees none here")
    options.cases = [x for x in CASES[options.set] if not options.only or any(part in x.name for part in options.only)]
    if not options.cases:
        parser.error(f"no case is called so; there are {', '.join(x.name for x in CASES[options.set])}")
    options.paths = dict(text.split("=", 1) for text in options.path if "=" in text)
    if len(options.paths) < len(options.path) or not set(options.paths) <= set(LIBRARIES):
        parser.error(f"--path: expected LIBRARY=FOLDERS, once for each of {', '.join(LIBRARIES)}")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return 0 if the numbers of this project are right at every case."""
    began = time.monotonic()
    options = _options(arguments)
    device = "cuda" if options.set == "gpu" else "cpu"
    cases = options.cases
    with tempfile.TemporaryDirectory(prefix="gdn-bench-") as cache:  # empty, so that the first call compiles anew
        plan = Plan(
            device=device,
            libraries=(OURS, *(x for x in options.libraries or USUAL[options.set] if x != OURS)),
            paths=options.paths,
            environments={OURS: {"TRITON_CACHE_DIR": cache}},
            rounds=options.rounds or ROUNDS[options.set],
            limit=options.limit,
            warm_up=options.warm_up,
            until=began + 60 * options.minutes,
        )
        race = Race(cases, plan, _say)
        try:
            return _run(race, plan, options, began)
        except Failed as failure:
            _say(f"nothing is timed: {failure}")
            return 1
        finally:
            race.end()


def _run(race: Race, plan: Plan, options: argparse.Namespace, began: float) -> int:
    facts = machine(plan.device, options.commit, race.facts())
    _say("  ".join(f"{name} {value}" for name, value in facts.items()))
    rates = {dtype: Rates(**x) for dtype, x in race.rates({case.dtype for case in race.cases}).items()}
    for dtype, x in rates.items():
        chunk = f", a chunk after the other {x.chunk * 1e6:.2f} us" if x.chunk else ""
        _say(f"copy {x.copy / 1e12:.2f} TB/s, {dtype} products {x.rate / 1e12:.1f} Tflop/s{chunk}")
    race.first_calls()
    _say(f"first calls are over after {time.monotonic() - began:.0f} s; the others compile, and all are checked")
    race.warm_up()
    wrong = [case.name for case in race.cases if race.entries[case.name][OURS].refused]
    held = len(race.cases) - len(wrong)
    _say(f"check: {held} of {len(race.cases)} cases hold against float64, after {time.monotonic() - began:.0f} s")
    results: list[dict[str, Any]] = []
    for case, entries in race.results():
        least = floor(case, rates[case.dtype])
        _say("\n" + "\n".join(lines(case, entries, least, rates[case.dtype], plan.device)))
        results.append(numbers(case, entries, least))
        if options.json:
            report = {"machine": facts, "rates": {name: asdict(x) for name, x in rates.items()}, "results": results}
            options.json.write_text(json.dumps(report) + "\n", encoding="utf-8")
    _say(f"\n{len(results)} of {len(race.cases)} cases in {time.monotonic() - began:.0f} s")
    return 1 if wrong else 0


def _say(line: str) -> None:
    """Print a line at once: what was measured is kept if the run is cut."""
    print(line)
    sys.stdout.flush()
