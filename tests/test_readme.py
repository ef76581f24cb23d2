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


def test_a_command_on_a_function_or_a_kernel_says_what_is_printed(tmp_path: Path) -> None:
    for block in BLOCKS:
        if named := re.match(r"# (\w+\.py)\n", block):
            (tmp_path / named[1]).write_text(block, encoding="utf-8")
    sessions = re.findall(r"```\n\$ python (-m derivations check-(?:torch|kernel) .*?)```", TEXT, flags=re.DOTALL)
    for session, code in zip(sessions, (0, 1, 1, 0), strict=True):
        command, printed = re.fullmatch(r"((?:.*\\\n)*.*)\n([\s\S]*)", session).groups()  # type: ignore[union-attr]
        arguments = command.replace("\\\n", " ").split()
        environment = {**os.environ, "PYTHONPATH": str(README.parent)}
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert " ".join(done.stdout.split()).startswith(" ".join(printed.split()))


def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((README.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    cited = (README.parent / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", cited, flags=re.MULTILINE) == [project["version"]]
    assert re.findall(r"^license: (.*)$", cited, flags=re.MULTILINE) == [project["license"]]
