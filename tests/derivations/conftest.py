"""Every claim is checked once in a run of the suite, by the command: tests that read its report run in one process."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from derivations.registry import load
from derivations.result import Checked, Result, Verdict
from derivations.run import Mutation, Report, versions

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["affine_maps_compose_associatively", "fast_weights_are_linear_attention"]  # for tests of the machinery


@dataclass(frozen=True)
class Run:
    """What came of the command: its exit code, its words, and the report that it wrote."""

    exit_code: int
    said: str
    report: dict[str, Any]

    def claim(self, name: str) -> dict[str, Any]:
        return next(claim for claim in self.report["claims"] if claim["name"] == name)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "checked" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("checked"))


def called(
    *arguments: str, cwd: Path = ROOT, timeout: float = 120, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Call the command."""
    return subprocess.run(
        [sys.executable, "-m", "derivations", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.fixture(scope="session")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The command that a project runs in its own CI, run whole: every claim, and every mutant of the code."""
    report = tmp_path_factory.mktemp("checked") / "derivations.json"
    done = called("check", "--json", str(report), timeout=2400)
    assert not done.stderr, done.stderr[-4000:]
    return Run(done.returncode, done.stdout, json.loads(report.read_text(encoding="utf-8")))


@pytest.fixture
def failed() -> Report:
    """A report of one claim that holds and one that does not."""
    holds = load()[QUICK[0]].check()
    step = Checked("a step", Verdict.FAILS, "S [0, 0]: 2*k <b> & 100%", 0.1, "ring", "for every C", "gla")
    fails = Result(QUICK[1], load()[QUICK[1]].subject, (step,), holds.mutants, 0.1, 0)
    mutation = Mutation((), (), (), {}, (("a.b", "x", "y"),), (), 1.0)
    return Report((holds, fails), mutation, 2.0, 0, 1, versions())
