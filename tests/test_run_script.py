"""The run script, in a small project without packages, so that a set-up takes seconds."""

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BASE_PYTHON = getattr(sys, "_base_executable", sys.executable)
TOOLS = ("cat", "dirname", "grep", "ls", "mkdir", "mv", "rm", "uname")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the run script is for POSIX shells (on Windows: WSL)")
makes_environments = pytest.mark.skipif(
    importlib.util.find_spec("ensurepip") is None, reason="this Python has no ensurepip: install python3-venv"
)


# A build backend inside the project, since setuptools cannot be downloaded here; what it builds holds no file.
BACKEND = """import zipfile
INFO = 'fake-1.dist-info'
def build_editable(folder, config=None, metadata=None):
    with zipfile.ZipFile(folder + '/fake-1-py3-none-any.whl', 'w') as wheel:
        extras = ''.join(f'Provides-Extra: {extra}\\n' for extra in ('derivations', 'ops'))
        wheel.writestr(INFO + '/METADATA', 'Metadata-Version: 2.1\\nName: fake\\nVersion: 1\\n' + extras)
        wheel.writestr(INFO + '/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
        wheel.writestr(INFO + '/RECORD', '')
    return 'fake-1-py3-none-any.whl'
"""
PYPROJECT = """[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
"""
SAYS_SO = "import sys\nprint('ran', sys.argv[1:])\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a folder with spaces"
    folder.mkdir()
    shutil.copy(ROOT / "run", folder / "run")
    for name in ("requirements.txt", "requirements-dev.txt", "constraints.txt"):
        (folder / name).touch()
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "backend.py").write_text(BACKEND)
    for module in ("streamlit.py", "derivations.py", "pytest.py"):
        (folder / module).write_text(SAYS_SO)
    return folder


def environment(project: Path, **more: str) -> dict[str, str]:
    tools = {"PATH": os.environ["PATH"], "HOME": str(project), "GDN_PYTHON": BASE_PYTHON, "PIP_NO_INDEX": "1"}
    return {**tools, **more}


def run(project: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [project / "run", *arguments],
        env=environment(project, **more),
        cwd=project.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def bin_with(folder: Path, **scripts: str) -> str:
    """A PATH on which there are a few tools and these scripts, and the user is not root."""
    folder.mkdir()
    for tool in TOOLS:
        where = shutil.which(tool)
        assert where
        (folder / tool).symlink_to(where)
    for name, body in {"id": "echo 1000", **scripts}.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def python_stub(version: str, has_venv: bool) -> str:
    """A Python that tells its version and path, and whether it has venv; it can do nothing else."""
    return f"""case "$2" in
*version_info*) printf '{version}\\n%s\\n' "$0" ;;
*) exit {0 if has_venv else 1} ;;
esac"""


@pytest.mark.parametrize(
    ("pythons", "sentence"),
    [
        ({}, "no Python was found: install Python 3.11 to 3.14"),
        ({"python3": python_stub("3.9", True)}, "Python 3.11 to 3.14 is needed, and python3 is Python 3.9"),
        ({"python3": python_stub("3.15", True)}, "Python 3.11 to 3.14 is needed, and python3 is Python 3.15"),
        ({"python3": python_stub("3.12", False)}, "Python 3.12 has no venv module: install python3-venv"),
        ({"python3": "exit 127"}, "no Python was found"),
    ],
    ids=["none", "too old", "too new", "no venv", "a shim that fails"],
)
def test_a_python_that_will_not_do_gets_one_sentence(project, tmp_path, pythons, sentence) -> None:
    result = run(project, "app", PATH=bin_with(tmp_path / "bin", **pythons), GDN_PYTHON="")
    assert result.returncode == 1
    assert result.stderr.startswith(f"run: {sentence}")
    assert result.stderr.count("\n") == 1
    assert not (project / ".venv").exists()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"GDN_PYTHON": "no-such-python"}, "GDN_PYTHON=no-such-python does not run"),
        ({"GDN_TORCH": "gpu"}, "GDN_TORCH is either cpu or not set, not gpu"),
    ],
)
def test_a_setting_that_means_nothing_gets_one_sentence(project, settings, sentence) -> None:
    result = run(project, "app", **settings)
    assert (result.returncode, result.stderr) == (1, f"run: {sentence}\n")


def test_a_command_that_is_none_is_named_and_help_needs_no_python(project, tmp_path) -> None:
    path = bin_with(tmp_path / "bin")
    unknown = run(project, "tset", PATH=path)
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert unknown.stderr == "run: there is no command 'tset'; ./run help lists those there are\n"
    shown = run(project, "help", PATH=path)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == run(project, PATH=path).stdout


def test_every_command_of_the_documents_exists() -> None:
    known = set(re.findall(r"^  (\w+)  ", run(ROOT, "help").stdout, flags=re.MULTILINE))
    assert {"app", "test", "check", "bench", "docs", "picture", "lint", "lock", "help"} == known
    for name in ("README.md", "CONTRIBUTING.md", "Makefile", ".ci/run", ".github/workflows/ci.yml"):
        named = set(re.findall(r"\./run (\w+)", (ROOT / name).read_text()))
        assert named <= known, f"{name} names {named - known}"


@makes_environments
def test_the_first_time_makes_the_environment_and_the_second_makes_nothing(project) -> None:
    first = run(project, "app", "one", "two words")
    assert (first.returncode, first.stdout.split("\n")[-2]) == (0, "ran ['run', 'app/main.py', 'one', 'two words']")
    assert "run: making the environment" in first.stderr
    again = run(project, "app")
    assert (again.returncode, again.stdout, again.stderr) == (0, "ran ['run', 'app/main.py']\n", "")

    (project / "requirements.txt").write_text("# changed\n")
    changed = run(project, "app")
    assert changed.returncode == 0
    assert "run: installing requirements.txt" in changed.stderr
    assert "making" not in changed.stderr


@makes_environments
def test_each_command_installs_what_it_needs_once_and_nothing_that_is_not_locked(project) -> None:
    first = run(project, "check", "-k", "zoh")
    assert (first.returncode, first.stdout.split("\n")[-2]) == (0, "ran ['check', '-k', 'zoh']")
    assert "run: installing .[derivations] (NumPy and SymPy, about 100 MB)" in first.stderr
    assert "requirements" not in first.stderr
    assert run(project, "check", "-k", "zoh").stderr == ""
    assert "run: installing requirements-dev.txt" in run(project, "lint").stderr
    for command in ("check", "app", "lint"):
        assert run(project, command).stderr == ""

    # pip stands for a package: it is there, and asked for in a version that the lock does not allow.
    (project / "constraints.txt").write_text("pip==0.1\n")
    (project / "requirements.txt").write_text("pip\n")
    (project / "pyproject.toml").write_text(PYPROJECT.replace("requires = []", 'requires = ["pip"]'))
    for command in ("check", "app"):  # what builds the project, and what is installed
        failed = run(project, command)
        assert (failed.returncode, "pip==0.1" in failed.stdout + failed.stderr) == (1, True)


@makes_environments
def test_a_set_up_that_was_killed_is_repaired_by_the_next(project) -> None:
    killed = subprocess.Popen(
        [project / "run", "app"],
        env=environment(project),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not (project / ".venv" / "bin" / "python").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert (project / ".venv" / "bin" / "python").exists()
    assert not (project / ".venv" / "gdn-app").exists()

    repaired = run(project, "app")
    assert (repaired.returncode, repaired.stdout.split("\n")[-2]) == (0, "ran ['run', 'app/main.py']")
    assert run(project, "app").stderr == ""


@makes_environments
def test_an_environment_whose_python_has_gone_is_made_again(project) -> None:
    python = project / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to("a python that was removed")
    (project / ".venv" / "pyvenv.cfg").touch()
    again = run(project, "app")
    assert (again.returncode, again.stdout.split("\n")[-2]) == (0, "ran ['run', 'app/main.py']")
    assert "run: making the environment" in again.stderr


@makes_environments
def test_two_at_once_make_one_environment(project) -> None:
    both = [
        subprocess.Popen(
            [project / "run", "app"],
            env=environment(project),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    results = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert all(out.endswith("ran ['run', 'app/main.py']\n") for out, _ in results)
    assert sum("making the environment" in err for _, err in results) == 1


@makes_environments
def test_a_pip_that_fails_is_a_sentence_and_costs_nothing_that_was_there(project) -> None:
    assert run(project, "app").returncode == 0
    (project / "requirements.txt").write_text("a-package-that-nobody-has==1\n")
    failed = run(project, "app")
    assert failed.returncode == 1
    assert failed.stderr.rstrip().split("\n")[-1].startswith("run: pip could not install requirements.txt")
    (project / "requirements.txt").write_text("")
    assert run(project, "app").stderr == ""


def test_a_folder_of_someone_else_is_left_alone(project, tmp_path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "thesis.tex").touch()
    result = run(project, "app", GDN_VENV=str(theirs))
    assert result.returncode == 1
    assert "./run did not make it" in result.stderr
    assert [path.name for path in theirs.iterdir()] == ["thesis.tex"]
