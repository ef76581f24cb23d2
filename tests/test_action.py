"""The action that others put into their workflows: its steps' scripts, run as GitHub would run them."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
INSTALL, CHECK = ACTION["runs"]["steps"]
RULE = """from gdn_core.rules import Gate, Source, WriteRule
mine = WriteRule(slug="mine", title="Mine", year=2026, source=Source("a note", "p. 1"), summary="Mine.",
                 decay=Gate.KEY, erase=Gate.SCALAR, write=Gate.VALUE)
"""


def stepped(step: dict[str, Any], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a step in a folder, with this Python for python3."""
    tools = folder.parent / "tools"
    tools.mkdir(exist_ok=True)
    python = tools / "python3"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]],
        cwd=folder,
        env={"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def checked(folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    given = {name.upper(): inputs.get(name, described["default"]) for name, described in ACTION["inputs"].items()}
    return stepped(CHECK, folder, PACKAGES=str(ROOT), **given)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Somebody else's checkout, with a folder that is called like ours."""
    folder = tmp_path / "their work"
    (folder / "derivations").mkdir(parents=True)
    (folder / "derivations" / "__init__.py").write_text("raise RuntimeError('not this one')\n")
    (folder / "rules.py").write_text(RULE)
    return folder


def test_inputs_reach_the_scripts_through_the_environment_alone() -> None:
    assert set(ACTION["inputs"]) == {"expression", "file", "reports"}
    read = {name for value in CHECK["env"].values() for name in re.findall(r"inputs\.(\w+)", value)}
    assert read == set(ACTION["inputs"])
    for step in (INSTALL, CHECK):
        assert "${{" not in step["run"], "an input in a script would be run by it"


def test_it_installs_the_derivations_by_the_lock(tmp_path: Path) -> None:
    assert INSTALL["env"]["PIP_CONSTRAINT"] == "${{ github.action_path }}/constraints.txt"
    folder = tmp_path / "work"
    folder.mkdir()
    echo = INSTALL["run"].replace("python3", "printf '%s\\n'")
    done = stepped({"run": echo}, folder, SOURCE="/an action", PACKAGES="/some where")
    assert done.stdout.splitlines()[-3:] == ["--target", "/some where", "/an action[derivations]"]


def test_it_checks_what_the_expression_picks_and_writes_reports(repository: Path) -> None:
    done = checked(repository, expression="zoh and not nothing", reports="a folder/reports")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^holds .*zoh", done.stdout, flags=re.MULTILINE)
    reports = repository / "a folder" / "reports"
    assert {path.name for path in reports.iterdir()} == {"derivations.xml", "derivations.json"}


def test_it_checks_a_file_of_rules(repository: Path) -> None:
    done = checked(repository, file="rules.py", expression="stages")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("rules.py: mine\n")


def test_what_fails_fails_the_step(repository: Path) -> None:
    assert checked(repository, file="none.py").returncode == 2


def test_this_project_uses_it() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    (used,) = (step for step in steps if step.get("uses") == "./")
    assert set(used["with"]) <= set(ACTION["inputs"])


def test_the_build_keeps_the_screenshots_of_the_browser_tests() -> None:
    """They are written to the folder that a variable names, and that folder is uploaded even where a test fails."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    assert any('environ.get("SCREENSHOTS")' in file.read_text() for file in (ROOT / "tests" / "browser").glob("*.py"))
    kept = [
        job
        for job in workflow["jobs"].values()
        if any(step.get("run") == ".ci/run" for step in job["steps"]) and job.get("env", {}).get("SCREENSHOTS")
        for step in job["steps"]
        if step.get("uses", "").startswith("actions/upload-artifact@") and step.get("if") == "always()"
        if step["with"]["path"] == "${{ env.SCREENSHOTS }}"
    ]
    assert len(kept) == 1
