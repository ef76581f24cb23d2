"""Generate the pages of the site: rules, claims, public names, and the glossary.

Sentences and equations are taken from the rules, the claims, the docstrings and the repository's Markdown files at the
time of the build; none is written here.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from derivations.claim import ENGINES, Claim, name_of
from derivations.registry import load
from derivations.subjects import PACKAGE, SUBJECTS
from docs import graph
from gdn_core.equation import tex, tex_gates, tex_output
from gdn_core.rules import LINEAGE, Architecture, Source, WriteRule

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("gdn_core", "derivations")
# Packages whose modules are listed with their first sentence. The claims have pages of their own.
LISTED = ("gdn_core.ops.torch", "gdn_core.ops.kernels", "derivations.engines", "derivations.models")
SHOWN_ELSEWHERE = (PACKAGE,)
COMMANDS = ("bench", "compile_check", "__main__")  # programs to run, not to import
VERDICTS = {"holds": "**Holds**", "fails": "**Fails**", "error": "**Could not be checked**"}


def write(folder: Path, verdicts: Mapping[str, Any]) -> None:
    """Write every generated page.

    Args:
        folder: the source folder of the site.
        verdicts: of ``python -m derivations check --json``, by the name of the claim; empty if nothing was checked.
    """
    for name, text in (
        ("rules.md", rules()),
        ("glossary.md", section(ROOT / "CONTRIBUTING.md", "Glossary")),
        ("decisions.md", (ROOT / "DECISIONS.md").read_text(encoding="utf-8")),
        ("changelog.md", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")),
        ("claims/index.md", claims(verdicts)),
        ("api/index.rst", api()),
    ):
        _put(folder / name, text)
    for name in SUBJECTS:
        _put(folder / f"claims/{name}.md", subject(name, verdicts))
    for name in documented():
        _put(folder / f"api/{name}.rst", module_page(name))


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


# Text.


def plain(text: str) -> str:
    """Escape Markdown, except in formulas between dollars and in code between backticks."""
    parts = re.split(r"(\$[^$]*\$|``.*?``|`[^`]*`)", text)
    return "".join(part if n % 2 else re.sub(r"([\\*_<>\[\]{}|#])", r"\\\1", part) for n, part in enumerate(parts))


def formula(statement: str) -> str:
    """Print a formula in display style, with a line for each part between wide spaces, to fit on a phone."""
    if statement.startswith(r"\begin{aligned}"):
        rows = statement.removeprefix(r"\begin{aligned}").removesuffix(r"\end{aligned}").replace("&", "").split(r"\\")
    else:
        rows, depth = [""], 0
        for token in re.split(r"(\\q?quad\b|\\begin|\\end|[{}])", statement):
            depth += {"{": 1, "}": -1, r"\begin": 1, r"\end": -1}.get(token, 0)
            if token in (r"\quad", r"\qquad") and not depth:
                rows.append("")
            else:
                rows[-1] += token
    return "\n".join(f"```{{math}}\n{row.strip()}\n```\n" for row in rows)


def section(file: Path, title: str) -> str:
    """Return the section of a Markdown file under a heading of the second level, as a page."""
    text = file.read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, flags=re.DOTALL | re.MULTILINE)
    if not found:
        raise ValueError(f"{file.name}: there is no section called {title}")
    return f"# {title}\n{found[1]}"


def cited(source: Source) -> str:
    """Print a source as a link."""
    title = plain(source.title or source.paper)
    return f"{f'[{title}]({source.url})' if source.url else title}, {plain(source.place)}"


# The rules.


def rules() -> str:
    """Print the lineage: each architecture with its equations, its gates and its source."""
    lines = ["# The write rules", "", plain(_first_paragraph(importlib.import_module("gdn_core.rules"))), ""]
    for row in LINEAGE:
        lines += [f"({row.slug})=", f"## {row.title}, {row.year}", "", plain(row.summary), "", *_equations(row)]
        lines += [f"{cited(row.source)}.", ""]
    return "\n".join(lines)


def _equations(row: Architecture) -> Iterator[str]:
    if not isinstance(row, WriteRule):
        return
    for equation in (tex(row), tex_gates(row), tex_output(row)):
        if equation:
            yield formula(equation)
    gates = ", ".join(f"{name} `{getattr(row, name).value}`" for name in ("decay", "erase", "write", "clock"))
    yield f"`{row.slug}`: {gates}."
    yield ""


# The claims.


def claims(verdicts: Mapping[str, Any]) -> str:
    """Print the page of all claims: how many hold, which uses which, and a list by subject."""
    loaded = load()
    held = sum(found["verdict"] == "holds" for found in verdicts.values())
    uses = {name: made.uses for name, made in loaded.items()}
    drawn = graph.svg(uses, lambda name: _page(loaded[name]), lambda name: loaded[name].conclusion)
    alone = len(uses) - sum(map(len, graph.layers(uses)))
    lines = [
        "---\nhide-toc: true\n---\n",
        "# The claims",
        "",
        f"```{{eval-rst}}\n.. module:: {PACKAGE}\n```",
        "",
        plain(_first_paragraph(importlib.import_module("derivations"))),
        "",
        f"{held} of {len(loaded)} hold." if verdicts else f"{len(loaded)} claims, not checked in this build.",
        "",
        "## Which uses which",
        "",
        f"Arrows lead from a claim to those that use it. {alone} claims use none, are used by none, and are not drawn.",
        "",
        f'```{{raw}} html\n<div class="wide">{drawn}</div>\n```',
        "",
        "## By subject",
        "",
        "```{toctree}",
        ":maxdepth: 2",
        "",
        *SUBJECTS,
        "```",
    ]
    return "\n".join(lines)


def subject(folder: str, verdicts: Mapping[str, Any]) -> str:
    """Print the claims of one subject."""
    found = importlib.import_module(f"{PACKAGE}.{folder}")
    below = [f"{found.__name__}.{name}" for name in SUBJECTS[folder].modules]
    places = "\n\n".join(f".. module:: {name}" for name in (found.__name__, *below))
    lines = [f"# {SUBJECTS[folder].title}", "", f"```{{eval-rst}}\n{places}\n```", ""]
    lines += [plain(_first_paragraph(found)), ""]
    for made in load().values():
        if made.module.partition(".")[0] == folder:
            lines += _claim(made, verdicts.get(made.name))
    return "\n".join(lines)


def _page(made: Claim) -> str:
    return f"{made.module.partition('.')[0]}.html#{_anchor(made.name)}"


def _anchor(name: str) -> str:
    return name.replace("_", "-")


def _claim(made: Claim, verdict: Mapping[str, Any] | None) -> Iterator[str]:
    yield from (f"({_anchor(made.name)})=", f"## {plain(made.conclusion)}", "", f"`{made.name}`", "", formula(made.tex))
    if verdict:
        refuted, stated = sum(each["verdict"] == "holds" for each in verdict["mutants"]), len(verdict["mutants"])
        yield f"{VERDICTS[verdict['verdict']]}: {refuted} of {stated} wrong variants are refuted."
        yield ""
    for assumption in made.assumptions:
        yield f"- Assumed: {plain(assumption)}"
    yield f"- Source: {cited(made.source)}"
    used_by = [name for name, other in load().items() if made.name in other.uses]
    for title, names in (("Uses", made.uses), ("Used by", used_by)):
        if names:
            yield f"- {title}: " + "; ".join(f"[`{name}`](#{_anchor(name)})" for name in names)
    yield f"- Stated in: `{PACKAGE.replace('.', '/')}/{made.module.replace('.', '/')}.py`"
    if made.code:
        yield "- Code: " + ", ".join(_code(code) for code in made.code)
    yield ""
    ran = {step["name"]: step for step in verdict["steps"]} if verdict else {}
    yield "| Step | Kind and scope | Decided by |"
    yield "|---|---|---|"
    for step in made.steps:
        found = ran.get(step.name)
        scope = f"{found['kind']}: {plain(found['scope'])}" if found else plain(str(step.scope))
        yield f"| {plain(step.summary)} | {scope} | {step.engine}: {plain(ENGINES[step.engine])} |"
    yield ""
    yield "Wrong variants that the check refutes:"
    yield ""
    for mutant in made.mutants:
        yield f"- {plain(mutant.summary)}"
    yield ""


def _code(code: Any) -> str:
    name = name_of(code)
    return f"{{py:obj}}`{name}`" if code.__module__ in documented() else f"`{name}`"


# The public names.


def packages() -> list[str]:
    """Name every package, each before those inside it."""
    found = []
    for name in PACKAGES:
        path = importlib.import_module(name).__path__
        inside = pkgutil.walk_packages(path, f"{name}.")
        packages = [one.name for one in inside if one.ispkg and not _within(one.name, SHOWN_ELSEWHERE)]
        found += [name, *(one for one in packages if one.rpartition(".")[2] not in COMMANDS)]
    return found


def modules(package: str) -> list[str]:
    """Name the modules of a package that can be imported for their names."""
    path = importlib.import_module(package).__path__
    return [
        f"{package}.{found.name}"
        for found in pkgutil.iter_modules(path)
        if not found.ispkg and not found.name.startswith("_") and found.name not in COMMANDS
    ]


def documented() -> list[str]:
    """Name the modules whose public names are documented one by one."""
    return [name for package in packages() if not _within(package, LISTED) for name in modules(package)]


def _within(name: str, above: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in above)


def undocumented() -> list[str]:
    """Name every public module, class, function, method and property that has no docstring."""
    found = []
    for module in map(importlib.import_module, [*packages(), *documented()]):
        if not module.__doc__:
            found.append(module.__name__)
        for name, value in vars(module).items():
            if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
                continue
            if (inspect.isclass(value) or inspect.isfunction(value)) and not inspect.getdoc(value):
                found.append(f"{module.__name__}.{name}")
            for part, of in vars(value).items() if inspect.isclass(value) else ():
                if not part.startswith("_") and (inspect.isfunction(of) or isinstance(of, property)) and not of.__doc__:
                    found.append(f"{module.__name__}.{name}.{part}")
    return found


def api() -> str:
    """Print the page of the public names: what ``gdn_core`` exports, and every package with its modules."""
    core = importlib.import_module("gdn_core")
    lines = ["API", "===", "", "What ``gdn_core`` exports", "-------------------------", ""]
    for name in core.__all__:
        role, told = _exported(name, getattr(core, name))
        lines += [role, f"    {told}", ""]
    for package in packages():
        lines += ["", package, "-" * len(package), ""]
        if _within(package, LISTED):
            told = inspect.getdoc(importlib.import_module(package)) or ""
            lines += [f".. module:: {package}", "", told, ""]
            for name in modules(package):
                last = name.rpartition(".")[2]
                lines += [f".. module:: {name}", "", f"``{last}``", f"    {_summary_of_file(name)}", ""]
        else:
            lines += [f".. automodule:: {package}", "   :members:", "   :ignore-module-all:", ""]
            lines += [".. toctree::", "   :maxdepth: 1", "", *(f"   {name}" for name in modules(package))]
    return "\n".join(lines) + "\n"


def _exported(name: str, value: Any) -> tuple[str, str]:
    """Return a link to the documentation of an exported name, and its first sentence."""
    if inspect.ismodule(value) or callable(value):
        told = (inspect.getdoc(value) or "").split("\n\n")[0].replace("\n", " ")
        if inspect.ismodule(value):
            return f":mod:`{name} <{value.__name__}>`", told
        return f":obj:`{name} <{value.__module__}.{value.__qualname__}>`", told
    for module in documented():  # a constant, documented by a comment above its definition
        found = re.search(rf"^#: (.*)\n{name}\b.*=", inspect.getsource(importlib.import_module(module)), re.MULTILINE)
        if found:
            return f":obj:`{name} <{module}.{name}>`", found[1]
    raise ValueError(f"gdn_core.{name}: no documented module defines it and says what it is")


def _summary_of_file(name: str) -> str:
    """Read a module's first sentence without importing it: a kernel's module needs Triton."""
    file = ROOT / f"{name.replace('.', '/')}.py"
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n\n")[0].replace("\n", " ")


def module_page(name: str) -> str:
    """Print the page of a module: its docstring and its public names with theirs."""
    return f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n   :members:\n"


def _first_paragraph(module: Any) -> str:
    return (inspect.getdoc(module) or "").split("\n\n")[0].replace("\n", " ").replace(":mod:", "").replace(":func:", "")
