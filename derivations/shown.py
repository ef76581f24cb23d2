"""A claim as text: statement, derivation, steps with what they ran, and the residuals of wrong variants."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from derivations.claim import ENGINES, Claim, Step, name_of, source_of
from derivations.readable import inline, readable, width
from derivations.registry import load
from derivations.residual import VALUE
from derivations.result import Checked, Result, Verdict
from gdn_core.extras import missing

COLUMNS = 118
INDENT = " " * 15
LETTER = re.compile(r"[^\W\d]")


def _location(code: Any) -> str:
    """Return the file and the line where an object of the code is defined."""
    path, line, _ = source_of(code)
    root = Path(__file__).resolve().parents[1]
    place = path.relative_to(root) if path.is_relative_to(root) else path
    return f"{place.as_posix()}:{line}"


def shown(made: Claim, result: Result | None = None, *, tex: bool = False) -> str:
    """Print a claim in full.

    Args:
        made: the claim.
        result: what a check of it found: the kind of each step, what it ran, and the residual of each mutant.
        tex: print the statement in TeX.
    """
    source = ", ".join(part for part in (made.source.title, made.source.paper, made.source.place) if part)
    used_by = [name for name, other in load().items() if made.name in other.uses]
    statement = made.tex if tex else readable(made.tex)
    lines = [made.name, *_wrapped(made.conclusion, "  "), ""]
    for line in statement.splitlines():
        lines += _wrapped(line, " " * 6, " " * 4) if not tex and width(line) > COLUMNS - 4 else [f"    {line}"]
    said = _wrapped(made.derivation if tex else inline(made.derivation), "  ")
    lines += ["", *said, *([""] if said else [])]
    labelled = [("subject", made.subject)]
    labelled += [("assumption", assumption if tex else inline(assumption)) for assumption in made.assumptions]
    labelled += [("source", source)]
    labelled += [("code", f"{name_of(code)} ({_location(code)})") for code in made.code]
    labelled += [("uses", name) for name in made.uses]
    labelled += [("used by", name) for name in used_by]
    lines += [line for label, text in labelled for line in _labelled(label, text)]
    for step in made.steps:
        done = [each for each in result.steps if each.name == step.name] if result else []
        lines += ["", *_headed("step", step, tex), *(_ran(done) or _told(f"not checked: {step.scope}"))]
        lines += _told(f"by {step.engine}: {ENGINES[step.engine]}")
    for mutant in made.mutants:
        done = [each for each in result.mutants if each.name == mutant.name] if result else []
        lines += ["", *_headed("mutant", mutant, tex), *_left(done, tex)]
    if not result:
        why = missing(made.missing[0]) if made.missing else "--unchecked was asked for"
        lines += ["", f"  not checked, so without kinds and residuals: {why}"]
    return "\n".join(lines)


def _wrapped(text: str, indent: str, first: str = "") -> list[str]:
    """Break a text into lines; a long word, such as a formula without spaces, has a line of its own."""
    return textwrap.wrap(
        text, COLUMNS, initial_indent=first or indent, subsequent_indent=indent, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip


def _labelled(label: str, text: str) -> list[str]:
    return _wrapped(text, INDENT, f"  {label:<{len(INDENT) - 2}}")


def _told(text: str) -> list[str]:
    return _wrapped(text, INDENT)


def _headed(label: str, step: Step, tex: bool) -> list[str]:
    """Name a step or a mutant, and say what it shows or changes."""
    each = ", for each rule" if step.per_rule else ""
    summary = step.summary if tex else inline(step.summary)
    return _labelled(label, f"{step.name}{each}") + (_told(summary) if step.summary != step.name else [])


def _left(done: Sequence[Checked], tex: bool) -> list[str]:
    """Say what refutes a mutant: what is left of the difference of two sides, as a formula where it is one."""
    if not done:
        return []
    missed = [each for each in done if each.verdict is not Verdict.HOLDS]
    shown = missed[0] if missed else done[0]
    under = f" under {shown.rule}" if shown.rule else ""
    if missed:
        return _told(f"{shown.verdict.value}{under}: {shown.residual or 'not refuted'}")
    by = f"refuted{under} by"
    _, number, value = shown.residual.partition(VALUE)
    if tex:
        return _told(f"{by} {shown.tex + number + value if shown.tex else shown.residual}")
    formula = readable(shown.tex).splitlines() if shown.tex else []
    if number or not formula or (len(formula) == 1 and not LETTER.search(formula[0])):
        return _told(f"{by} {shown.residual}")
    place = shown.residual.rpartition(": ")[0].partition("block")[0].rstrip(": ")
    at = f" what is left of {place}:" if place else ""
    return [
        *_told(f"{by}{at}"),
        *(_wrapped(formula[0], f"{INDENT}  ") if len(formula) == 1 else (f"{INDENT}  {line}" for line in formula)),
    ]


def _ran(done: Sequence[Checked]) -> list[str]:
    """Say how a step came out over its rules: its kind and scope, what it ran, and what is wrong."""
    if not done:
        return []
    most = max(done, key=lambda each: each.degree)
    lines = _told(f"{most.kind or most.verdict.value}: {most.scope}")
    if functions := dict.fromkeys(name for each in done for name in each.functions):
        lines += _told(f"ran {', '.join(functions)}")
    return lines + [line for each in done if each.fault for line in _told(each.fault)]
