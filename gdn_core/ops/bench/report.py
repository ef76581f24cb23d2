"""What was measured, as lines of text and as numbers for a file."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from typing import Any

from gdn_core.ops.bench.cases import Case
from gdn_core.ops.bench.floor import Floor, Rates
from gdn_core.ops.bench.race import Entry
from gdn_core.ops.bench.runners import OURS


def lines(case: Case, entries: list[Entry], least: Floor, rates: Rates, device: str) -> list[str]:
    """Return the lines of a case: its runners, and what it could take at least."""
    said = [f"{case.name}: {case.shape} {case.dtype}"]
    ours = next(entry for entry in entries if entry.runner == OURS)
    base = _median(ours.replayed) or _median(ours.eager)
    for entry in entries:
        if entry.refused:
            said.append(f"  {entry.runner:12} {entry.refused}")
            continue
        text = f"  {entry.runner:12} {_ms(entry.replayed)}"
        if entry.replayed:
            text += f" (least {min(entry.replayed):.3f})"
        if device == "cuda":
            about = " " if entry.alone else "~"
            text += f"  eager {_ms(entry.eager)}  host {_ms(entry.host)}"
            text += f"  first call {about}{entry.first:.1f} s  peak {entry.peak / 1e6:.0f} MB"
        error = max(entry.errors, key=lambda name: entry.errors[name])
        text += f"  error {entry.errors['o']:.1e}" + ("" if error == "o" else f", {error} {entry.errors[error]:.1e}")
        if entry is not ours and base:
            text += f"  {(_median(entry.replayed) or _median(entry.eager) or 0.0) / base:.2f} x ours"
        said += [text] + ([f"  {'':12} {entry.not_captured}"] if entry.not_captured else [])
    text = f"  {'floor':12} {least.milliseconds:.3f} ms ({least.bound}): {least.bytes / 1e6:.0f} MB at "
    text += f"{rates.copy / 1e12:.2f} TB/s {least.memory:.3f} ms, {least.operations / 1e9:.1f} Gflop at "
    text += f"{rates.rate / 1e12:.1f} Tflop/s {least.matrix:.3f} ms"
    if least.sequence:
        text += f"; {least.chunks} chunks in sequence x {rates.chunk * 1e6:.2f} us {least.sequence:.3f} ms"
    if base:
        text += f"; ours is {base / least.milliseconds:.2f} x the floor"
        text += f", meant to be within {case.within:.1f} x" if case.within else ""
    return [*said, text]


def numbers(case: Case, entries: list[Entry], least: Floor) -> dict[str, Any]:
    """Return everything that is known of a case; times in milliseconds, the first call in seconds."""
    times = [
        {
            "runner": entry.runner,
            "median": _median(entry.replayed),
            "least": min(entry.replayed, default=None),
            "rounds": entry.replayed,
            "eager": _median(entry.eager),
            "eager_rounds": entry.eager,
            "host": _median(entry.host),
            "host_rounds": entry.host,
            "first": entry.first,
            "first_alone": entry.alone,
            "peak": entry.peak,
            "errors": entry.errors,
            "not_captured": entry.not_captured,
        }
        for entry in entries
        if not entry.refused
    ]
    refused = {entry.runner: entry.refused for entry in entries if entry.refused}
    return {"case": asdict(case), "times": times, "refused": refused, "floor": asdict(least)}


def _median(times: list[float]) -> float | None:
    return statistics.median(times) if times else None


def _ms(times: list[float]) -> str:
    return f"{statistics.median(times):9.3f} ms" if times else "        -   "
