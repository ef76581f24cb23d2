"""The command line ``python -m derivations``: selection of claims, progress, and output."""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TextIO

from derivations.claim import ENGINES, Claim, name_of, source_of
from derivations.kernels import LEVELS, check_kernel
from derivations.models.programs import EPS, ROLES, argument, size
from derivations.own import check_own, read
from derivations.programs import LIMIT, check_torch
from derivations.readable import inline, readable
from derivations.registry import load
from derivations.reports import (
    append_github_summary,
    as_json,
    as_junit,
    github_annotations,
    nearest,
    summary,
)
from derivations.result import Checked, Result, Verdict
from derivations.run import Progress, Report, run
from derivations.subjects import RENAMED
from gdn_core.extras import missing
from gdn_core.rules import GATED_DELTANET

HOLDS, FAILS, WRONG_CALL, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Returns:
        0 if all hold, 1 if something fails, 2 if the call is wrong, 130 if it was interrupted.
    """
    parser = _parser()
    try:
        options = parser.parse_args(arguments)
        return options.command(options)
    except Wrong as wrong:
        sys.stderr.write(f"{parser.prog}: {wrong}\n")
        return WRONG_CALL
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted\n")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of the pipe has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return HOLDS


class Wrong(ValueError):
    """A call with wrong arguments; the message says what is wrong."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m derivations", description="Check the claims of the derivations by machine."
    )
    commands = parser.add_subparsers(required=True, metavar="check | check-torch | check-kernel | list | show")

    check = commands.add_parser("check", help="check claims; exit 0 if all hold, 1 if not, 2 if the call is wrong")
    check.set_defaults(command=_check)
    _add_selection(check)
    check.add_argument(
        "--file",
        metavar="FILE",
        type=Path,
        help="run a Python file of your own, and check the write rules and the functions (step, chunk, ...) in it",
    )
    check.add_argument("--json", metavar="FILE", type=Path, help="write verdicts, scopes, engines, times and versions")
    check.add_argument("--junit", metavar="FILE", type=Path, help="write JUnit XML")
    check.add_argument("--github", action="store_true", help="print GitHub annotations, and write the job's summary")
    check.add_argument("--jobs", metavar="N", type=int, help="worker processes; by default one a core")
    check.add_argument(
        "--seed", metavar="N", type=int, help="of the random points; by default 0, and fresh where CI is set; printed"
    )
    check.add_argument(
        "--mutants",
        action=argparse.BooleanOptionalAction,
        help="break the code in every small way and look for a claim that notices; by default where all are checked",
    )

    listing = commands.add_parser("list", help="list the claims by subject, with their scope")
    listing.set_defaults(command=_list)
    _add_selection(listing)

    torch = commands.add_parser(
        "check-torch",
        help="check a PyTorch function of yours or of a library, on exact numbers, against the recurrence of a rule",
    )
    torch.set_defaults(command=_check_torch)
    torch.add_argument("where", metavar="MODULE:FUNCTION", help="the function, or FILE.py:FUNCTION")
    torch.add_argument(
        "--map",
        metavar="PARAMETER=WHAT",
        nargs="+",
        default=[],
        help=f"what a parameter is: {', '.join(ROLES)}, or a constant; by default those with the usual names",
    )
    torch.add_argument("--rule", metavar="RULE", default=GATED_DELTANET.slug, help="by default gated-deltanet")
    torch.add_argument("--layout", metavar="BTHD", default="BTHD", help="the order of axes of q, k, v and outputs")
    torch.add_argument("--state", metavar="BHKV", default="BHKV", help="the order of axes of memories")
    torch.add_argument("--returns", metavar="o,S", default="", help="outputs o, last memory S, and _ for anything else")
    torch.add_argument("--scale", metavar="X", type=float, help="factor on queries; by default 1 / sqrt(K)")
    torch.add_argument("--eps", metavar="X", type=float, default=EPS, help="under the root of a length, with l2norm")
    torch.add_argument("--dtype", metavar="DTYPE", default="float32", help="of the arguments; by default float32")
    torch.add_argument("--grouped", action="store_true", help="with more heads of values than of keys, too")
    torch.add_argument("--size", metavar="T=.,K=.,V=.", action="append", default=[], help="in place of the usual sizes")
    torch.add_argument("--limit", metavar="S", type=float, default=LIMIT, help="seconds for each size; by default 60")
    torch.add_argument("--seed", metavar="N", type=int, default=0, help="of the random points; by default 0")
    torch.add_argument("--json", metavar="FILE", type=Path, help="write the verdict")

    kernel = commands.add_parser(
        "check-kernel", help="check a Triton kernel of yours as it was compiled, without a GPU, against a specification"
    )
    kernel.set_defaults(command=_check_kernel)
    kernel.add_argument("where", metavar="MODULE:FUNCTION", help="the kernel, or FILE.py:FUNCTION")
    kernel.add_argument("--spec", metavar="FILE", required=True, help="SIZES, launch and expected, as the README shows")
    kernel.add_argument("--arch", metavar="N", type=int, default=80, help="compute capability, 90 for 9.0; default 80")
    kernel.add_argument("--level", choices=LEVELS, default=LEVELS[0], help="the code that is run; by default ttir")
    kernel.add_argument("--insist", action="store_true", help="read the text of a Triton that was not tested")
    kernel.add_argument("--limit", metavar="S", type=float, default=LIMIT, help="seconds for each size; by default 60")
    kernel.add_argument("--seed", metavar="N", type=int, default=0, help="of the random points; by default 0")
    kernel.add_argument("--json", metavar="FILE", type=Path, help="write the verdict")

    show = commands.add_parser("show", help="check a claim and show it: statement, derivation, steps, residuals")
    show.set_defaults(command=_show)
    show.add_argument("names", nargs="+", metavar="NAME", help="a claim")
    show.add_argument("--tex", action="store_true", help="print formulas in TeX")
    show.add_argument("--unchecked", action="store_true", help="do not check it: no kinds of steps, no residuals")
    return parser


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="claims; all by default")
    parser.add_argument(
        "-k",
        metavar="EXPRESSION",
        help="claims whose name, subject or engines hold these words: 'chunk and not field', 'delta or (scan)'",
    )


def selected(names: Sequence[str], expression: str | None) -> list[str]:
    """Return the names of the selected claims, in the order of the subjects.

    Raises:
        Wrong: if there is no claim of a name, the expression is malformed, or nothing is selected.
    """
    claims = load()
    names = [RENAMED.get(name, name) for name in names]
    for name in names:
        if name not in claims:
            near = difflib.get_close_matches(name, claims, n=3)
            raise Wrong(f"{name}: no claim has this name" + (f"; did you mean {', '.join(near)}?" if near else ""))
    holds = matcher(expression) if expression is not None else lambda text: True
    found = [name for name, made in claims.items() if (not names or name in names) and holds(_searched(made))]
    if not found:
        raise Wrong(f"-k {expression}: no claim matches" if expression is not None else "there are no claims")
    return found


def _searched(made: Claim) -> str:
    return " ".join([made.name, made.module, made.subject, *(step.engine for step in made.steps)]).lower()


def matcher(expression: str) -> Callable[[str], bool]:
    """Read an expression of words, ``and``, ``or``, ``not`` and parentheses; a word holds where the text contains it.

    Raises:
        Wrong: if the expression is malformed.
    """
    left = re.findall(r"[()]|[^\s()]+", expression.lower())

    def disjunction() -> Callable[[str], bool]:
        terms = [conjunction()]
        while left and left[0] == "or":
            left.pop(0)
            terms.append(conjunction())
        return lambda text: any(term(text) for term in terms)

    def conjunction() -> Callable[[str], bool]:
        terms = [negation()]
        while left and left[0] == "and":
            left.pop(0)
            terms.append(negation())
        return lambda text: all(term(text) for term in terms)

    def negation() -> Callable[[str], bool]:
        word = left.pop(0) if left else ""
        if word == "not":
            inner = negation()
            return lambda text: not inner(text)
        if word == "(":
            inner = disjunction()
            if not left or left.pop(0) != ")":
                raise Wrong(f"-k {expression}: expected a closing parenthesis")
            return inner
        if word in ("", ")", "and", "or"):
            raise Wrong(f"-k {expression}: expected a word, got {word or 'the end'}")
        return lambda text: word in text

    found = disjunction()
    if left:
        raise Wrong(f"-k {expression}: expected 'and' or 'or' before {left[0]}")
    return found


# check


def _check(options: argparse.Namespace) -> int:
    names = selected(options.names, options.k)
    jobs = (os.cpu_count() or 1) if options.jobs is None else options.jobs
    if jobs < 1:
        raise Wrong(f"--jobs: expected at least 1, got {jobs}")
    if options.file and (options.mutants or options.jobs is not None):
        raise Wrong("--file: expected neither --mutants nor --jobs: one process checks it, without mutants")
    for path in (options.json, options.junit):
        if path and not path.parent.is_dir():
            raise Wrong(f"{path}: there is no folder {path.parent}")
    seed = options.seed
    if seed is None:
        seed = int.from_bytes(os.urandom(4)) if os.environ.get("CI") else 0
    screen = Screen(sys.stdout)
    names = _installed(names, options.names, screen)
    if options.file:
        report = _check_file(options.file, names, seed, screen)
    else:
        mutate = (not options.names and options.k is None) if options.mutants is None else options.mutants
        report = run(names, mutate=mutate, jobs=jobs, seed=seed, show=screen.show)
    screen.clear()
    if options.json:
        options.json.write_text(as_json(report), encoding="utf-8")
    if options.junit:
        options.junit.write_text(as_junit(report), encoding="utf-8")
    if options.github:
        for line in github_annotations(report):
            screen.print(line)
        append_github_summary(report)
    for note in report.notes:
        screen.print(note, "dim")
    for line in nearest(report):
        screen.print(line, "red")
    screen.print(summary(report), "red" if report.faults else "green")
    return FAILS if report.faults else HOLDS


def _installed(names: list[str], named: Sequence[str], screen: Screen) -> list[str]:
    """Return the claims whose optional packages are installed, and say which are left out.

    Raises:
        Wrong: if a claim that was asked for by name needs a package that is missing, or none is left.
    """
    absent = {name: load()[name].missing for name in names if load()[name].missing}
    for name, packages in absent.items():
        if name in named:
            raise Wrong(f"{name}: {missing(packages[0])}")
    if absent:
        why = missing(next(iter(absent.values()))[0])
        screen.print(f"not checked: {', '.join(absent)}; {why}")
    if len(absent) == len(names):
        raise Wrong("no claim is left to check")
    return [name for name in names if name not in absent]


def _check_file(path: Path, names: Sequence[str], seed: int, screen: Screen) -> Report:
    try:
        own = read(path)
        screen.print(f"{path}: {', '.join(own.names)}")
        return check_own(own, names, seed=seed, show=screen.show)
    except ValueError as error:
        raise Wrong(str(error)) from error


class Screen:
    """Progress output: a bar on the last line of a terminal, or a line for each claim in a pipe."""

    _CODES: ClassVar[dict[str, str]] = {"red": "31", "green": "32", "dim": "2"}

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._bar = out.isatty() and os.environ.get("TERM") != "dumb"
        self._colour = self._bar and not os.environ.get("NO_COLOR")

    def show(self, progress: Progress) -> None:
        """Print a claim that has been checked, and update the bar."""
        if result := progress.result:
            self.clear()
            scope = "; ".join(result.said)
            verdict = self._painted(f"{result.verdict.value:5}", "green" if result.verdict is Verdict.HOLDS else "red")
            if result.unmodelled:
                scope += f"; not modelled: {', '.join(result.unmodelled)}"
            self.print(f"{verdict} {result.seconds:6.2f} s  {result.claim}  {self._painted(scope, 'dim')}")
        if self._bar:
            width = 30
            full = width * progress.done // progress.total
            what = "" if result else " mutants of the code"
            self._out.write(f"\r\x1b[K[{'#' * full}{'.' * (width - full)}] {progress.done}/{progress.total}{what}")
        self._out.flush()

    def clear(self) -> None:
        """Clear the bar."""
        if self._bar:
            self._out.write("\r\x1b[K")

    def print(self, text: str, colour: str = "") -> None:
        """Print a line, in colour on a terminal."""
        self._out.write(self._painted(text, colour) + "\n")

    def _painted(self, text: str, colour: str) -> str:
        return f"\x1b[{self._CODES[colour]}m{text}\x1b[0m" if self._colour and colour else text


# check-torch


def _check_written(options: argparse.Namespace) -> None:
    """Refuse options with which a program of other people cannot be run, or its verdict not be written."""
    if options.json and not options.json.parent.is_dir():
        raise Wrong(f"{options.json}: there is no folder {options.json.parent}")
    if not options.limit > 0:
        raise Wrong(f"--limit: expected seconds, got {options.limit:g}")


def _check_torch(options: argparse.Namespace) -> int:
    _check_written(options)
    screen = Screen(sys.stdout)
    try:
        told = [argument(text) for text in options.map]
        verdict = check_torch(
            options.where,
            seed=options.seed,
            limit=options.limit,
            roles={name: role for name, role, _ in told if role},
            constants={name: constant for name, role, constant in told if not role},
            rule=options.rule,
            layout=options.layout,
            state=options.state,
            results=tuple(options.returns.split(",")) if options.returns else (),
            scale=options.scale,
            eps=options.eps,
            dtype=options.dtype,
            grouped=options.grouped,
            sizes=tuple(size(text) for text in options.size),
        )
    except (ValueError, ModuleNotFoundError) as error:
        raise Wrong(str(error)) from error
    if options.json:
        options.json.write_text(verdict.as_json(), encoding="utf-8")
    screen.print(verdict.sentence, "green" if verdict.holds else "red")
    screen.print(f"taken: {verdict.taken}")
    screen.print(f"not modelled: {'; '.join(verdict.unmodelled)}")
    return HOLDS if verdict.holds else FAILS


# check-kernel


def _check_kernel(options: argparse.Namespace) -> int:
    _check_written(options)
    screen = Screen(sys.stdout)
    try:
        verdict = check_kernel(
            options.where, options.spec, arch=options.arch, level=options.level, seed=options.seed,
            limit=options.limit, insist=options.insist,
        )  # fmt: skip
    except (ValueError, ModuleNotFoundError) as error:
        raise Wrong(str(error)) from error
    if options.json:
        options.json.write_text(verdict.as_json(), encoding="utf-8")
    screen.print(verdict.sentence, "green" if verdict.holds else "red")
    screen.print(f"not modelled: {'; '.join(verdict.unmodelled)}")
    return HOLDS if verdict.holds else FAILS


# list and show


def _list(options: argparse.Namespace) -> int:
    lines: list[str] = []
    subject = ""
    for name in selected(options.names, options.k):
        made = load()[name]
        if made.subject != subject:
            subject = made.subject
            lines += [""] * bool(lines) + [subject]
        lines += [f"  {name}", f"      {made.conclusion}", *(f"      - {scope}" for scope in made.scopes)]
    sys.stdout.write("\n".join(lines) + "\n")
    return HOLDS


def _show(options: argparse.Namespace) -> int:
    texts = []
    for name in selected(options.names, None):
        made = load()[name]
        result = None if options.unchecked or made.missing else made.check()
        texts.append(shown(made, result, tex=options.tex))
    sys.stdout.write("\n\n".join(texts) + "\n")
    return HOLDS


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
