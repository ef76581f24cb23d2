"""A claim as text: statement, derivation, steps with what they ran, and the residuals of wrong variants."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from derivations.claim import ENGINES, Claim, name_of, source_of
from derivations.readable import inline, readable
from derivations.registry import load
from derivations.result import Checked, Result
from gdn_core.extras import missing


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
    lines = [made.name, f"  {made.conclusion}", ""]
    lines += [f"    {line}" for line in statement.splitlines()]
    said = made.derivation if tex else inline(made.derivation)
    wrapped = textwrap.wrap(said, 116, initial_indent="  ", subsequent_indent="  ")
    lines += ["", *wrapped, *([""] if wrapped else [])]
    lines += [f"  subject      {made.subject}"]
    lines += [f"  assumption   {assumption if tex else inline(assumption)}" for assumption in made.assumptions]
    lines += [f"  source       {source}"]
    lines += [f"  code         {name_of(code)} ({_location(code)})" for code in made.code]
    lines += [f"  uses         {name}" for name in made.uses]
    lines += [f"  used by      {name}" for name in used_by]
    for step in made.steps:
        each = ", for each rule" if step.per_rule else ""
        done = [each for each in result.steps if each.name == step.name] if result else []
        lines += ["", f"  step         {step.name}{each}", f"               {step.summary}"]
        lines += _ran(done) or [f"               not checked: {step.scope}"]
        lines += [f"               by {step.engine}: {ENGINES[step.engine]}"]
    for mutant in made.mutants:
        each = ", for each rule" if mutant.per_rule else ""
        done = [each for each in result.mutants if each.name == mutant.name] if result else []
        lines += ["", f"  mutant       {mutant.name}{each}", f"               {mutant.summary}"]
        lines += [f"               refuted by {done[0].residual}"] if done and done[0].residual else []
    if not result:
        why = missing(made.missing[0]) if made.missing else "--unchecked was asked for"
        lines += ["", f"  not checked, so without kinds and residuals: {why}"]
    return "\n".join(lines)


def _ran(done: Sequence[Checked]) -> list[str]:
    """Say how a step came out over its rules: its kind and scope, what it ran, and what is wrong."""
    if not done:
        return []
    most = max(done, key=lambda each: each.degree)
    lines = [f"               {most.kind or most.verdict.value}: {most.scope}"]
    if functions := dict.fromkeys(name for each in done for name in each.functions):
        lines += [f"               ran {', '.join(functions)}"]
    return lines + [f"               {each.fault}" for each in done if each.fault]
