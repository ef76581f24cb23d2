"""The rules of the layout that no other tool checks; each is a function of sources, with a test that it finds a break.

Which package may import which is in pyproject.toml, and import-linter checks it.
"""

import ast
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import grimp
import pytest
from streamlit import config

from gdn_core import RULES

ROOT = Path(__file__).resolve().parents[1]
SESSIONS = ("app/reader.py", "app/session.py", "app/walk.py")
NOT_OURS = {"__pycache__", "build", "dist", "node_modules"}
HIDDEN_BUT_OURS = {".ci", ".github", ".gitignore", ".streamlit"}
TEXT = {"", ".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".json", ".js", ".css", ".html", ".cfg"}

Finding = tuple[str, int, str]  # file, line, what is wrong
Check = Callable[[str, str], Iterable[Finding]]


def files(folder: Path = ROOT) -> Iterator[Path]:
    """Yield the project's files: not caches, nor environments and build products inside the tree."""
    for path in sorted(folder.iterdir()):
        hidden = path.name.startswith(".") and path.name not in HIDDEN_BUT_OURS
        if hidden or path.name in NOT_OURS or path.name.endswith(".egg-info") or (path / "pyvenv.cfg").exists():
            continue
        if path.is_dir() and not path.is_symlink():
            yield from files(path)
        else:
            yield path


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def sources() -> dict[str, str]:
    return {name_of(path): path.read_text() for path in files() if path.suffix in TEXT}


def dotted(node: ast.expr) -> str:
    """The name that is called or read, such as np.load; empty for anything that is no plain name."""
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def of_package(name: str, imports: str) -> bool:
    return imports == name or imports.startswith(f"{name}.")


def forbidden_names(name: str, source: str) -> Iterator[Finding]:
    parts = Path(name).parts
    if parts[-1] in ("utils.py", "helpers.py", "manager.py", "base.py"):
        yield name, 1, "a module is named after what it knows"
    if parts[0] == "app" and "pages" in parts:
        yield name, 1, "Streamlit takes a pages/ folder for pages of its own"
    if name.endswith(".py"):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef) and re.search(r"Manager$|^Base|Base$", node.name):
                yield name, node.lineno, f"{node.name} is named after a pattern, not after what it is"


def code_from_outside(name: str, source: str) -> Iterator[Finding]:
    """Nothing that a person uploads, types or links to may be run, nor read by a reader that runs code."""
    if not name.startswith(("app/", "gdn_core/")) or not name.endswith(".py"):
        return
    tree = ast.parse(source)
    for line, module in imported(tree):
        last = module.rpartition(".")[2]
        readers = ("pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal")
        if last in ("parse_expr", "sympify") or any(of_package(reader, module) for reader in readers):
            yield name, line, f"{module} runs code from data"
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = dotted(node.func)
        if called in ("eval", "exec", "__import__", "torch.load") or called.endswith((".sympify", ".parse_expr")):
            yield name, node.lineno, f"{called} runs code from data"
        for word in node.keywords:
            if word.arg == "allow_pickle" and not (isinstance(word.value, ast.Constant) and word.value.value is False):
                yield name, node.lineno, "an array is read without pickle"


def session_outside_its_module(name: str, source: str) -> Iterator[Finding]:
    if not name.startswith("app/") or not name.endswith(".py") or name in SESSIONS:
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in ("session_state", "query_params"):
            yield name, node.lineno, f"only {' and '.join(SESSIONS)} touch {node.attr}"


def arithmetic_in_a_view(name: str, source: str) -> Iterator[Finding]:
    if not name.startswith("app/views/") or not name.endswith(".py"):
        return
    for line, module in imported(ast.parse(source)):
        if any(of_package(package, module) for package in ("numpy", "torch", "triton", "scipy")):
            yield name, line, f"a view shows numbers and makes none: no {module}"


def asks_which_rule(name: str, source: str) -> Iterator[Finding]:
    """What a rule does is in its fields; a comparison with its name is a rule that nobody can add to."""
    if not name.startswith(("app/", "derivations/", "gdn_core/")) or not name.endswith(".py"):
        return
    if name in ("gdn_core/rules.py", "gdn_core/ops/backends.py"):
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            for operand in (node.left, *node.comparators):
                for part in ast.walk(operand):
                    if isinstance(part, ast.Constant) and part.value in RULES:
                        yield name, node.lineno, f"compares with {part.value!r}"
        elif isinstance(node, ast.MatchValue) and isinstance(node.value, ast.Constant) and node.value.value in RULES:
            yield name, node.value.lineno, f"compares with {node.value.value!r}"


HOME = re.compile(r"(?<![\w.$}/])/(?:home|Users|root|tmp|var|opt|work|mnt|srv|data|workspace)/\w")
WHEELS = re.compile(r"https?://[^\s\"'`)>]*(?:pypi|/simple|/whl|conda|registry)[^\s\"'`)>]*")
ALLOWED_INDEX = "https://download.pytorch.org/whl/cpu"


def refers_outside(name: str, source: str) -> Iterator[Finding]:
    """The project is the same on every machine: no path of one, and no index but PyTorch's own for the CPU."""
    for number, line in enumerate(source.splitlines(), start=1):
        for path in HOME.findall(line):
            yield name, number, f"{path}... is a path of one machine"
        if "file://" in line:
            yield name, number, "file:// is a path of one machine"
        for url in WHEELS.findall(line):
            if url.rstrip("/.,") != ALLOWED_INDEX:
                yield name, number, f"{url} is a package index"
        for climb in re.findall(r"(?<![\w.])(?:\.\./)+", line):
            if climb.count("../") > name.count("/"):
                yield name, number, f"{climb} leaves the project"


def broken_link(name: str, source: str) -> Iterator[Finding]:
    if not name.endswith(".md"):
        return
    for number, line in enumerate(source.splitlines(), start=1):
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", line):
            if "://" not in target and not (ROOT / name).parent.joinpath(target).exists():
                yield name, number, f"{target} is not there"


def two_things_of_one_name(name: str, source: str) -> Iterator[Finding]:
    """Where a module and what it holds have one name in one package, the order of imports says which one is meant."""
    if not name.startswith(("app/", "derivations/", "gdn_core/")) or not name.endswith("/__init__.py"):
        return
    package = Path(name).parent
    modules = {path.parent.name for path in (ROOT / package).glob("*/__init__.py")}
    modules |= {path.stem for path in (ROOT / package).glob("*.py")}
    for node in ast.walk(ast.parse(source)):
        bound: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module != ".".join(package.parts):
            bound = [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            bound = [node.name]
        elif isinstance(node, ast.Assign):
            bound = [target.id for target in node.targets if isinstance(target, ast.Name)]
        for word in sorted(modules & set(bound)):
            yield name, node.lineno, f"{word} is a module of this package, and something else in it"


CHECKS: tuple[Check, ...] = (
    forbidden_names,
    code_from_outside,
    session_outside_its_module,
    arithmetic_in_a_view,
    asks_which_rule,
    two_things_of_one_name,
    refers_outside,
    broken_link,
)
OWN_BREAKS = "tests/test_architecture.py"  # this file quotes what it forbids


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_no_source_breaks(check: Check) -> None:
    findings = [finding for name, source in sources().items() if name != OWN_BREAKS for finding in check(name, source)]
    assert not findings, "\n".join(f"{name}:{line}: {what}" for name, line, what in findings)


@pytest.mark.parametrize(
    ("check", "name", "source"),
    [
        (forbidden_names, "app/utils.py", ""),
        (forbidden_names, "gdn_core/ops/kernels/base.py", ""),
        (forbidden_names, "app/pages/lab.py", ""),
        (forbidden_names, "app/compute.py", "class CacheManager: ..."),
        (forbidden_names, "app/compute.py", "class BaseView: ..."),
        (code_from_outside, "app/compute.py", "import pickle"),
        (code_from_outside, "app/compute.py", "from pickle import loads"),
        (code_from_outside, "gdn_core/lab/scenarios/texts.py", "from sympy import sympify"),
        (code_from_outside, "gdn_core/lab/scenarios/texts.py", "x = eval(text)"),
        (code_from_outside, "gdn_core/lab/scenarios/texts.py", "exec(text)"),
        (code_from_outside, "gdn_core/lab/scenarios/texts.py", "sympy.parsing.parse_expr(text)"),
        (code_from_outside, "gdn_core/lab/scenarios/texts.py", "torch.load(file)"),
        (code_from_outside, "gdn_core/lab/scenarios/texts.py", "np.load(file, allow_pickle=True)"),
        (code_from_outside, "gdn_core/lab/scenarios/texts.py", "np.load(file, allow_pickle=chosen)"),
        (session_outside_its_module, "app/main.py", "st.session_state['x'] = 1"),
        (session_outside_its_module, "app/views/lab.py", "st.query_params.clear()"),
        (arithmetic_in_a_view, "app/views/lab.py", "import numpy as np"),
        (arithmetic_in_a_view, "app/views/lab.py", "from torch import linalg"),
        (asks_which_rule, "gdn_core/streams.py", f"if rule.slug == {next(iter(RULES))!r}: pass"),
        (asks_which_rule, "app/figures.py", f"if slug in ({next(iter(RULES))!r}, 'x'): pass"),
        (asks_which_rule, "app/figures.py", f"match slug:\n    case {next(iter(RULES))!r}: pass"),
        (two_things_of_one_name, "gdn_core/lab/__init__.py", "from gdn_core.lab.trajectory import trajectory"),
        (two_things_of_one_name, "gdn_core/lab/__init__.py", "def files(): ..."),
        (two_things_of_one_name, "app/player/__init__.py", "payload = b''"),
        (refers_outside, "README.md", "see /home/ann/notes.txt"),
        (refers_outside, "run", "pip install --find-links=/opt/wheels"),
        (refers_outside, "app/main.py", "open('file:///x')"),
        (refers_outside, "requirements.txt", "--index-url https://pypi.example.org/simple"),
        (refers_outside, "README.md", "https://download.pytorch.org/whl/cu130"),
        (refers_outside, "app/main.py", "Path('../../elsewhere')"),
        (broken_link, "README.md", "[the rules](gdn_core/no_such_file.py)"),
    ],
)
def test_a_break_is_caught(check: Check, name: str, source: str) -> None:
    assert list(check(name, source)), f"{check.__name__} overlooks {source!r} in {name}"


@pytest.mark.parametrize(
    ("check", "name", "source"),
    [
        (code_from_outside, "gdn_core/lab/scenarios/texts.py", "np.load(file, allow_pickle=False)"),
        (code_from_outside, "app/compute.py", "model.eval()"),
        (session_outside_its_module, "app/session.py", "st.session_state['x'] = 1"),
        (two_things_of_one_name, "gdn_core/__init__.py", "from gdn_core.lab.trajectory import trajectory"),
        (two_things_of_one_name, "gdn_core/lab/__init__.py", "from gdn_core.lab import trajectory"),
        (refers_outside, "README.md", f"from {ALLOWED_INDEX}."),
        (refers_outside, "app/player/x.js", "import y from '../y.js'"),
        (broken_link, "README.md", "[the licence](LICENSE)"),
    ],
)
def test_what_is_allowed_passes(check: Check, name: str, source: str) -> None:
    assert not list(check(name, source))


def test_the_walk_sees_every_package_and_the_scripts() -> None:
    names = set(sources())
    assert {"run", ".ci/run", "README.md", "pyproject.toml", ".streamlit/config.toml"} <= names
    for package in ("app", "derivations", "gdn_core", "tests"):
        assert any(name.startswith(f"{package}/") and name.endswith(".py") for name in names)


def circle(imports: dict[str, set[str]]) -> list[str]:
    """Return modules that import one another in a circle, imports within functions included; none if there is none."""
    left = dict(imports)
    while ends := [module for module, others in left.items() if not others & left.keys()]:
        for module in ends:
            del left[module]
    seen: list[str] = []
    module = min(left, default="")
    while module and module not in seen:
        seen.append(module)
        module = min(left[module] & left.keys())
    return seen[seen.index(module) :] if module else []


def test_no_modules_import_one_another_in_a_circle() -> None:
    graph = grimp.build_graph("app", "derivations", "docs", "gdn_core", "tests")
    imports = {module: graph.find_modules_directly_imported_by(module) - {module} for module in graph.modules}
    assert imports["app.main"] >= {"app.views.lab", "app.views.ways"}  # within a function, and at the top
    assert circle(imports) == []


def test_a_circle_is_found_behind_what_leads_to_it() -> None:
    assert circle({"a": {"b"}, "b": {"c", "e"}, "c": {"d"}, "d": {"b"}, "e": set()}) == ["b", "c", "d"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_link_of_the_file_system_leaves_the_project() -> None:
    assert not [name_of(path) for path in files() if path.is_symlink() and ROOT not in path.resolve().parents]


def options(table: dict[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from options(value, f"{above}{key}.")
        else:
            yield above + key, value


def test_streamlit_knows_every_option_and_keeps_to_this_machine() -> None:
    chosen = dict(options(tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())))
    for name in chosen:
        config.get_option(name)  # raises for a name it does not know
    assert chosen["server.address"] == "127.0.0.1"
    assert chosen["browser.gatherUsageStats"] is False
    assert chosen["client.showErrorDetails"] == "none"
    assert chosen["server.enableCORS"] is chosen["server.enableXsrfProtection"] is True
    assert len(chosen["theme.light.chartDivergingColors"]) == len(chosen["theme.dark.chartDivergingColors"]) == 10
