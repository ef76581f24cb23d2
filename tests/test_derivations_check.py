"""The command that a project runs in its own CI, run whole: every claim, and every mutant of the code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from derivations.claim import load


def test_every_claim_holds_and_every_mutant_is_refuted(tmp_path: Path) -> None:
    report = tmp_path / "derivations.json"
    done = subprocess.run(
        [sys.executable, "-m", "derivations", "check", "--json", report],
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert len(json.loads(report.read_text(encoding="utf-8"))["claims"]) == len(load())
