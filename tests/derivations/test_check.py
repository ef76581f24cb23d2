"""The command that a project runs in its own CI, run whole: every claim, and every mutant of the code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from derivations.claim import load

ROOT = Path(__file__).resolve().parents[2]


def check(report: Path, *, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "derivations", "check", "--json", report],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(cwd)},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )


def test_every_claim_holds_and_every_mutant_is_refuted(tmp_path: Path) -> None:
    report = tmp_path / "derivations.json"
    done = check(report)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert len(json.loads(report.read_text(encoding="utf-8"))["claims"]) == len(load())


def test_a_wrong_sign_fails_the_whole_check_which_names_the_claims_with_their_residuals(tmp_path: Path) -> None:
    for package in ("gdn_core", "derivations"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    code = tmp_path / "gdn_core" / "ssm.py"
    wrong = code.read_text().replace("return exp(delta * A), delta * phi1", "return exp(-delta * A), delta * phi1")
    code.write_text(wrong)
    report = tmp_path / "derivations.json"
    done = check(report, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "zoh_solves_the_held_equation: zoh solves the held equation: the decay, differentiated: " in done.stdout
    read = json.loads(report.read_text(encoding="utf-8"))
    assert not read["holds"]
    assert len(read["claims"]) == len(load())
    assert read["mutation"] is None  # of code that is wrong already
