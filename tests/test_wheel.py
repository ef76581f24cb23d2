"""The wheel: its contents, and that it runs without the checkout.

The environments are empty but for the wheel and for links to some packages of this one, so nothing is downloaded.
"""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gdn_core import extras

ROOT = Path(__file__).resolve().parents[1]
OURS = extras.PROJECT
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "-q")
DERIVATIONS = {"numpy", "sympy", "mpmath"}

pytestmark = pytest.mark.xdist_group("wheel")  # one worker builds it, once


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command without anything of this environment."""
    return subprocess.run(command, cwd=cwd, env={"HOME": str(cwd)}, capture_output=True, text=True, check=False)


def succeed(*command: str | Path, cwd: Path) -> None:
    done = run(*command, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the sources: a build leaves files beside them."""
    copy, built = tmp_path_factory.mktemp("sources"), tmp_path_factory.mktemp("wheel")
    for name in ("app", "derivations", "gdn_core", "tests"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("LICENSE", "README.md", "pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, copy)
    succeed(*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", built, ".", cwd=copy)
    return next(built.iterdir())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The folder into which pip has installed the wheel, and nothing else."""
    folder = tmp_path_factory.mktemp("installed") / "packages"
    succeed(*PIP, "install", "--no-deps", "--no-index", "--no-compile", "--target", folder, wheel, cwd=folder.parent)
    return folder


def environment(folder: Path, installed: Path, packages: set[str] | None) -> Path:
    """Make an environment of the wheel and some packages, by default all there are, and return its Python."""
    succeed(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    (there,) = folder.glob("lib/python*/site-packages")
    shutil.copytree(installed, there, dirs_exist_ok=True)
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name == OURS or (packages is not None and name not in packages):
            continue
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (there / top).exists():
                (there / top).symlink_to(Path(str(distribution.locate_file(top))))
    return folder / "bin" / "python"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, installed: Path) -> Path:
    return environment(tmp_path_factory.mktemp("base") / "venv", installed, {"numpy"})


@pytest.fixture(scope="module")
def with_derivations(tmp_path_factory: pytest.TempPathFactory, installed: Path) -> Path:
    return environment(tmp_path_factory.mktemp("derivations") / "venv", installed, DERIVATIONS)


@pytest.fixture(scope="module")
def with_everything(tmp_path_factory: pytest.TempPathFactory, installed: Path) -> Path:
    return environment(tmp_path_factory.mktemp("everything") / "venv", installed, None)


def test_it_holds_the_two_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        described = archive.read(metadata).decode()
    info = metadata.removesuffix("/METADATA")
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in ("derivations", "gdn_core")
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".typed")
    }
    assert {"derivations/py.typed", "gdn_core/py.typed"} <= sources
    assert {name for name in names if not name.startswith(info)} == sources
    required = re.findall(r"^Requires-Dist: (.*)$", described, flags=re.MULTILINE)
    assert [line for line in required if "extra ==" not in line] == ["numpy>=2.0"]


MISSING = [
    ("from gdn_core import chunk_gated_delta_rule", "torch", "ops"),
    ("import gdn_core.ops.api", "torch", "ops"),
    ("import gdn_core.ops.torch.chunk", "torch", "ops"),
    ("import gdn_core.ops.transformers", "torch", "ops"),
    ("import gdn_core.ops.compile_check", "torch", "ops"),
    ("from gdn_core import trajectory, scenarios; trajectory('deltanet', scenarios.from_preset('overwrite').stream)",
     "torch", "ops"),
    ("from gdn_core.lab import files; files.read('k.safetensors', b'x')", "safetensors", "app"),
    ("from derivations.run import check_rule; from gdn_core import RULES; check_rule(RULES['deltanet'])",
     "sympy", "derivations"),
]  # fmt: skip


@pytest.mark.parametrize(("program", "package", "extra"), MISSING, ids=lambda x: x if " " in x else "")
def test_with_numpy_alone_what_is_missing_is_said_in_a_sentence(base, tmp_path, program, package, extra) -> None:
    done = run(base, "-c", program, cwd=tmp_path)
    sentence = f"{package} is not installed: pip install '{OURS}[{extra}]' brings it"
    assert done.stderr.rstrip().split("\n")[-1] == f"ModuleNotFoundError: {sentence}", done.stderr


@pytest.mark.parametrize(
    ("module", "package", "extra", "code"),
    [("derivations", "sympy", "derivations", 2), ("gdn_core.bench", "torch", "ops", 1)],
)
def test_a_command_without_its_package_says_only_that(base, tmp_path, module, package, extra, code) -> None:
    done = run(base, "-m", module, cwd=tmp_path)
    sentence = f"{package} is not installed: pip install '{OURS}[{extra}]' brings it"
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"python -m {module}: {sentence}\n")


def test_numpy_is_enough_for_rules_streams_and_the_reference(base, tmp_path) -> None:
    program = """
import numpy as np
import gdn_core
from gdn_core import reference, streams
rule = gdn_core.RULES["gated-deltanet"]
scene = gdn_core.scenarios.from_preset("overwrite")
x = streams.tokens(rule, scene.stream)
S, o = reference.recurrent(np.zeros(scene.stream.sizes[1:]), x)
print(gdn_core.tex(rule), S.shape)
"""
    done = run(base, "-c", program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("S_t = ")


def test_the_derivations_run_with_numpy_and_sympy_alone(with_derivations, tmp_path) -> None:
    done = run(with_derivations, "-m", "derivations", "check", "-k", "zoh", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^holds .* \w*zoh\w*", done.stdout, flags=re.MULTILINE)
    assert "/" not in done.stderr


def test_the_lines_of_the_readme_run_and_nothing_comes_from_the_checkout(with_everything, tmp_path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    (notebook,) = (block for block in blocks if "imshow" in block)
    where = """
import importlib.util
import sys
assert importlib.util.find_spec("app") is None
print(*sys.path, *(module.__file__ for name, module in sys.modules.items() if name.startswith("gdn_core")), sep="\\n")
"""
    script = tmp_path / "five.py"
    script.write_text(notebook + where)
    done = run(with_everything, script, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    paths = done.stdout.splitlines()
    there = with_everything.parents[1]
    assert any(path.startswith(f"{there}/") and path.endswith("gdn_core/lab/trajectory.py") for path in paths)
    assert not [path for path in paths if path.startswith(str(ROOT))]
