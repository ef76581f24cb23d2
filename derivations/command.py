"""The command line ``python -m derivations``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from derivations.kernels import LEVELS, check_kernel
from derivations.models.programs import EPS, ROLES, argument, size
from derivations.own import check_own, read
from derivations.programs import LIMIT, check_torch
from derivations.registry import load
from derivations.reports import (
    append_github_summary,
    as_json,
    as_junit,
    github_annotations,
    nearest,
    summary,
)
from derivations.run import Report, run
from derivations.screen import Screen
from derivations.selection import Wrong, selected
from derivations.shown import shown
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
