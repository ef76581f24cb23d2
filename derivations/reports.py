"""Reports of a run of the claims: JSON, JUnit XML, GitHub annotations and summary."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from derivations.claim import Claim, name_of
from derivations.registry import load
from derivations.result import Checked, Kind, Result, Verdict
from derivations.run import Report, steps_by_kind

FORMAT = 1  # version of the JSON; raised when a field changes its meaning


def as_json(report: Report) -> str:
    """Print a run as JSON: each verdict with its scope, engine, seconds and residual, and the versions."""
    mutation = report.mutation
    return json.dumps(
        {
            "format": FORMAT,
            "holds": not report.faults,
            "seconds": round(report.seconds, 3),
            "seed": report.seed,
            "kinds": report.kinds,
            "jobs": report.jobs,
            "versions": report.versions,
            "faults": report.faults,
            "notes": report.notes,
            "claims": [_claim(load()[result.claim], result) for result in report.results],
            "mutation": mutation
            and {
                "seconds": round(mutation.seconds, 3),
                "refuted": [asdict(mutant) for mutant in mutation.refuted],
                "crashed": [asdict(mutant) for mutant in mutation.crashed],
                "survivors": [asdict(mutant) for mutant in mutation.survivors],
                "unearned": [{"claim": claim, "code": code} for claim, code in mutation.unearned],
                "equivalent": [{"key": key, "reason": reason} for key, reason in mutation.equivalent.items()],
                "stale": mutation.stale,
            },
        },
        indent=1,
    )


def _claim(made: Claim, result: Result) -> dict[str, Any]:
    return {
        "name": made.name,
        "subject": made.subject,
        "verdict": result.verdict.value,
        "seconds": round(result.seconds, 4),
        "words": made.conclusion,
        "statement": made.tex,
        "assumptions": made.assumptions,
        "scope": [str(scope) for scope in made.scopes],
        "proof": [scope.proof for scope in made.scopes],
        "source": {**asdict(made.source), "url": made.source.url},
        "code": [name_of(code) for code in made.code],
        "uses": made.uses,
        "steps": [_checked(step) for step in result.steps],
        "mutants": [_checked(mutant) for mutant in result.mutants],
    }


def _checked(checked: Checked) -> dict[str, Any]:
    fields = asdict(checked)
    del fields["reached"]
    seconds = {name: round(fields[name], 4) for name in ("seconds", "cpu")}
    return {**fields, **seconds, "verdict": checked.verdict.value}


def as_junit(report: Report) -> str:
    """Print a run as JUnit XML: a suite a subject, a case a step with its kind, scope and engine, and one a mutant.

    A suite counts its steps by kind.
    """
    root = ElementTree.Element("testsuites", name="derivations", time=f"{report.seconds:.3f}")
    suites: dict[str, ElementTree.Element] = {}

    def add(subject: str, of: str, name: str, seconds: float, faults: tuple[str, ...], *, error: bool) -> Any:
        if subject not in suites:
            suites[subject] = ElementTree.SubElement(root, "testsuite", name=subject)
        case = ElementTree.SubElement(suites[subject], "testcase", classname=of, name=name, time=f"{seconds:.3f}")
        if faults:
            found = ElementTree.SubElement(case, "error" if error else "failure", message=_xml(faults[0]))
            found.text = _xml("\n".join(faults))
        return case

    for result in report.results:
        if not result.steps:
            add(result.subject, result.claim, "steps", result.seconds, result.faults, error=True)
        for part, prefix in ((result.steps, ""), (result.mutants, "refutes: ")):
            for checked in part:
                faults = (f"{result.claim}: {checked.fault}",) if checked.fault else ()
                error = checked.verdict is Verdict.ERROR
                name = prefix + checked.labelled
                case = add(result.subject, result.claim, name, checked.seconds, faults, error=error)
                said = {"kind": checked.kind, "scope": checked.scope, "engine": checked.engine, "ran": checked.ran,
                        "not modelled": checked.unmodelled}  # fmt: skip
                properties = ElementTree.SubElement(case, "properties") if any(said.values()) else None
                for key, value in said.items():
                    if properties is not None and value:
                        text = ", ".join(value) if isinstance(value, tuple) else str(value)
                        ElementTree.SubElement(properties, "property", name=key, value=_xml(text))
    if report.mutation:
        mutation = report.mutation
        add("The code", "mutants", "every mutant is refuted", mutation.seconds, mutation.faults, error=False)
    for suite in suites.values():
        suite.set("tests", str(len(suite)))
        for kind, name in (("failure", "failures"), ("error", "errors")):
            suite.set(name, str(len(suite.findall(f"testcase/{kind}"))))
        counted = steps_by_kind(result for result in report.results if result.subject == suite.get("name"))
        if any(counted.values()):
            properties = ElementTree.Element("properties")
            for kind, number in counted.items():
                ElementTree.SubElement(properties, "property", name=f"steps of kind {kind.value}", value=str(number))
            suite.insert(0, properties)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _xml(text: str) -> str:
    """Remove the control characters that XML does not allow."""
    return "".join(c for c in text if c >= " " or c in "\n\t")


def github_annotations(report: Report) -> Iterator[str]:
    """Yield a workflow command for every failure, at the file and line of the claim."""
    for result in report.results:
        for fault in result.faults:
            run = load()[result.claim].run
            path = Path(inspect.getsourcefile(run) or "").resolve()
            place = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
            line = inspect.getsourcelines(run)[1]
            yield f"::error file={_property(str(place))},line={line},title={_property(result.claim)}::{_data(fault)}"
    for fault in report.mutation.faults if report.mutation else ():
        yield f"::error title=mutants::{_data(fault)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def github_summary(report: Report) -> str:
    """Print a run as the Markdown of a job summary."""
    lines = ["## Derivations", "", _sentence(report), ""]
    if report.faults:
        lines += [*(f"- {_cell(fault)}" for fault in report.faults), ""]
    lines += ["| Claim | Verdict | Kind and scope | Seconds |", "|---|---|---|---:|"]
    for result in report.results:
        scope = "; ".join(result.said)
        scope += f"; not modelled: {', '.join(result.unmodelled)}" if result.unmodelled else ""
        lines.append(f"| `{result.claim}` | {result.verdict.value} | {_cell(scope)} | {result.seconds:.2f} |")
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def _sentence(report: Report) -> str:
    return f"{summary(report)} Versions: {', '.join(f'{name} {version}' for name, version in report.versions.items())}."


NEAREST = 5  # faults that are printed in full


def nearest(report: Report) -> list[str]:
    """Return the faults of a run, those nearest to the function that seems wrong first, and its name before them.

    Of many faults the claims' names are all that is said of the others.
    """
    failed = [(r, step) for r in report.results for step in r.steps if step.fault]
    suspects = _suspects([step for result in report.results for step in result.steps])
    if not suspects:
        return list(report.faults)
    near = [(r, step) for r, step in failed if set(suspects) <= set(step.reached)]
    near.sort(key=lambda pair: (pair[1].verdict is not Verdict.FAILS, len(pair[1].reached), pair[1].seconds))
    every = sum(set(suspects) <= set(step.reached) for result in report.results for step in result.steps)
    head = f"{' or '.join(suspects)}: {len(near)} of the {every} steps that reached it fail; nearest to it:"
    first = dict.fromkeys(f"{result.claim}: {step.fault}" for result, step in near)
    if len(report.faults) <= NEAREST:
        return [head, *dict.fromkeys((*first, *report.faults))]
    shown = list(first)[:NEAREST]
    others = dict.fromkeys(result.claim for result in report.results if result.faults)
    more = f"{len(report.faults) - len(shown)} more faults, in {', '.join(others)}; --json has them all"
    return [head, *shown, more]


def _suspects(steps: Sequence[Checked]) -> tuple[str, ...]:
    """Return the function that is most likely wrong where steps fail; several if the steps do not tell them apart.

    It is one that the failing step reached that reached fewest, and of these the one that the others speak against: a
    step counts for or against the functions that it reached, the less the more there are.
    """
    failed = [step for step in steps if step.fault and step.reached]
    if not failed:
        return ()
    narrowest = min(failed, key=lambda step: len(step.reached))

    def share(name: str) -> Fraction:
        votes = [(Fraction(1, len(step.reached)), bool(step.fault)) for step in steps if name in step.reached]
        return Fraction(sum(vote for vote, wrong in votes if wrong), sum(vote for vote, _ in votes))

    shares = {name: share(name) for name in narrowest.reached}
    return tuple(name for name in shares if shares[name] == max(shares.values()))


def summary(report: Report) -> str:
    """Return the outcome of a run as a sentence."""
    held = sum(result.verdict is Verdict.HOLDS for result in report.results)
    kinds = report.kinds
    text = f"{held} of {len(report.results)} claims hold"
    text += f", by {kinds[Kind.ALGEBRA]} steps of algebra, {kinds[Kind.CODE]} on code for all inputs of their sizes, "
    text += f"and {kinds[Kind.POINTS]} on code at points"
    if mutation := report.mutation:
        broken = len(mutation.refuted) + len(mutation.crashed) + len(mutation.survivors)
        text += f"; of {broken} mutants of the code {len(mutation.refuted)} are refuted by a residual"
        text += f" and {len(mutation.crashed)} only raise, {len(mutation.equivalent)} more change nothing"
    jobs = f"{report.jobs} {'process' if report.jobs == 1 else 'processes'}"
    return f"{text}; {report.seconds:.1f} s on {jobs}, with seed {report.seed}."


def append_github_summary(report: Report) -> None:
    """Append the summary to the file named by ``GITHUB_STEP_SUMMARY``, if it is set."""
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(github_summary(report))
