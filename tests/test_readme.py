"""The code in the README runs unchanged."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"
TEXT = README.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_readme_shows_python() -> None:
    assert BLOCKS


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_a_block_of_python_runs(number: int, tmp_path: Path) -> None:
    script = tmp_path / "block.py"
    script.write_text(BLOCKS[number], encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


SESSIONS = re.findall(r"```\n\$ python (-m derivations check-(?:torch|kernel) .*?)```", TEXT, flags=re.DOTALL)
OF_FLA = [session for session in SESSIONS if " fla." in session]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that the README names."""
    for block in BLOCKS:
        if named := re.match(r"# (\w+\.py)\n", block):
            (tmp_path / named[1]).write_text(block, encoding="utf-8")
    return tmp_path


@pytest.fixture(scope="module")
def fla(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed fla, apart from this environment."""
    there = tmp_path_factory.mktemp("fla")
    listed = README.parent / "tests" / "requirements-fla.txt"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "install", "--no-deps", "--no-compile")
    done = subprocess.run([*pip, "--require-hashes", "-r", listed, "--target", there], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"fla could not be installed: {done.stderr.strip().splitlines()[-1]}")
    return there


def run(session: str, folder: Path, *paths: Path) -> tuple[int, str, str]:
    """Run a session's command; return its exit code, what it should have printed, and what it did."""
    command, printed = re.fullmatch(r"((?:.*\\\n)*.*)\n([\s\S]*)", session).groups()  # type: ignore[union-attr]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (README.parent, *paths)))}
    done = subprocess.run(
        [sys.executable, *command.replace("\\\n", " ").split()], cwd=folder, env=environment, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip
    printed = " ".join(printed.split())
    return done.returncode, printed, " ".join(done.stdout.split())[: len(printed)] or done.stderr


def test_a_command_on_a_function_or_a_kernel_says_what_is_printed(folder: Path) -> None:
    sessions = [session for session in SESSIONS if session not in OF_FLA]
    for session, code in zip(sessions, (0, 1, 1, 0), strict=True):
        found = run(session, folder)
        assert found == (code, found[1], found[1])


def test_the_recurrent_kernel_of_fla_is_the_recurrence(folder: Path, fla: Path) -> None:
    (session,) = OF_FLA
    found = run(session, folder, fla)
    assert found == (0, found[1], found[1])
    spec = (folder / "gated.py").read_text(encoding="utf-8")
    (folder / "gated.py").write_text(spec.replace("v[t] - S @ k[t]", "v[t] + S @ k[t]"), encoding="utf-8")
    assert run(session, folder, fla)[0] == 1


def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((README.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = (README.parent / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", cited, flags=re.MULTILINE) == [project["version"]]
    assert re.findall(r"^license: (.*)$", cited, flags=re.MULTILINE) == [project["license"]]
