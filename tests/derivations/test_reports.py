"""A run as files that other programs read: JSON, JUnit XML, GitHub's annotations and summary."""

import json
from dataclasses import asdict, replace
from xml.etree import ElementTree

from derivations.registry import load
from derivations.reports import as_json, as_junit, github_annotations, github_summary, nearest
from derivations.result import Checked, Result, Verdict
from derivations.serve import encode, result
from tests.derivations.conftest import QUICK, ROOT


def test_json_holds_verdict_scope_engine_seconds_and_versions(failed):
    report = json.loads(as_json(failed))
    assert not report["holds"]
    assert len(report["faults"]) == 2
    assert set(report["versions"]) >= {"python", "numpy", "sympy", "gated-deltanet-first-principles"}
    for made in report["claims"]:
        assert made["verdict"] in ("holds", "fails") and made["scope"] and made["source"]["place"]
        assert all(step["engine"] and step["scope"] and step["seconds"] >= 0 for step in made["steps"])
        assert all(mutant["residual"] for mutant in made["mutants"])
    assert report["claims"][1]["steps"][0]["rule"] == "gla"
    assert report["claims"][0]["steps"][0]["kind"] == "algebra"
    assert report["kinds"] == {"algebra": 1, "code": 0, "points": 0}
    assert report["claims"][0]["scope"] == ["for every dk and dv"] and report["claims"][0]["proof"] == [True]


def test_junit_counts_failures_and_escapes_what_xml_cannot_hold(failed):
    root = ElementTree.fromstring(as_junit(failed))
    assert [suite.get("failures") for suite in root.iter("testsuite")] == ["0", "1", "1"]
    (failure, stale) = root.iter("failure")
    cases = {(case.get("classname"), case.get("name")): case for case in root.iter("testcase")}
    held = failed.results[0].steps[0]
    said = {each.get("name"): each.get("value") for each in cases[QUICK[0], held.name].iter("property")}
    assert said == {"kind": "algebra", "scope": "for every dk and dv", "engine": "words"}
    first = next(root.iter("testsuite"))
    counted = {each.get("name"): each.get("value") for each in first.iterfind("properties/property")}
    assert counted == {"steps of kind algebra": "1", "steps of kind code": "0", "steps of kind points": "0"}
    assert first.get("tests") == str(len(first.findall("testcase")))
    assert (QUICK[1], "a step (gla)") in cases
    assert sum(of == QUICK[0] for of, _ in cases) == len(failed.results[0].steps) + len(failed.results[0].mutants)
    assert "2*k <b> & 100%" in failure.get("message")
    assert "listed as equivalent" in stale.get("message")


def test_what_a_verdict_does_not_model_is_said_beside_it(failed):
    step = replace(failed.results[0].steps[0], unmodelled=("rounding", "the cast of float32 to float64"))
    report = replace(failed, results=(replace(failed.results[0], steps=(step,)),))
    root = ElementTree.fromstring(as_junit(report))
    said = {each.get("name"): each.get("value") for each in root.iter("property")}
    assert said["not modelled"] == "rounding, the cast of float32 to float64"
    assert "; not modelled: rounding, the cast of float32 to float64 |" in github_summary(report)
    (steps,) = [claim["steps"] for claim in json.loads(as_json(report))["claims"]]
    assert steps[0]["unmodelled"] == list(step.unmodelled)
    assert result(json.loads(encode(asdict(report.results[0])))).steps == (step,)


def test_github_gets_an_annotation_at_the_claim_and_a_table(failed, monkeypatch):
    monkeypatch.chdir(ROOT)
    first, second = github_annotations(failed)
    assert first.startswith("::error file=derivations/claims/family/same_rule.py,line=")
    assert first.endswith("2*k <b> & 100%25")
    assert second.startswith("::error title=mutants::")
    summary = github_summary(failed)
    assert "1 of 2 claims hold" in summary and f"| `{QUICK[1]}` | fails |" in summary


def test_faults_of_one_function_name_it_and_the_nearest_claims_first(failed):
    def step(name, verdict, *reached):
        residual = "" if verdict is Verdict.HOLDS else f"{name} is off"
        return Checked(name, verdict, residual, 0.1, "ring", "", ran=reached, reached=reached)

    claims = list(load())[:8]
    chunk, step_, other = "gdn_core.reference.chunk", "gdn_core.reference.step", "gdn_core.ssm.zoh"
    results = [
        Result(name, "", (step("far", Verdict.FAILS, chunk, step_, other),), (), 0.1, 0) for name in claims[:6]
    ]
    results.append(Result(claims[6], "", (step("near", Verdict.FAILS, chunk),), (), 0.1, 0))
    results.append(Result(claims[7], "", (step("fine", Verdict.HOLDS, step_, other),), (), 0.1, 0))
    told = nearest(replace(failed, results=tuple(results), mutation=None))
    assert told[0] == f"{chunk}: 7 of the 7 steps that reached it fail; nearest to it:"
    assert told[1] == f"{claims[6]}: near: near is off"
    assert len(told) == 7 and told[-1].startswith("2 more faults, in ") and claims[0] in told[-1]
    assert nearest(failed) == list(failed.faults)


def test_a_fault_says_at_which_sizes():
    of_one = Checked("on symbols", Verdict.FAILS, "S [0, 0]: k1", 0.1, "ring", "at C = 3, dk = 2 only")
    assert of_one.fault == "on symbols, at C = 3, dk = 2 only: S [0, 0]: k1"
    of_many = replace(of_one, residual="C = 7, K = 2: S: 5 mod 11 at [0, 0]")
    assert of_many.fault == "on symbols: C = 7, K = 2: S: 5 mod 11 at [0, 0]"


def _named(failed, *steps):
    """Return the first line that is said of steps, each a verdict and the functions that it reached."""
    checked = [Checked(f"step {n}", verdict, "off" if verdict is Verdict.FAILS else "", 0.1, "field", "", ran=reached,
                       reached=reached) for n, (verdict, *reached) in enumerate(steps)]  # fmt: skip
    results = tuple(Result(name, "", (step,), (), 0.1, 0) for name, step in zip(load(), checked, strict=False))
    return nearest(replace(failed, results=results, mutation=None))


def test_the_function_that_is_named_is_one_of_the_step_that_reached_fewest(failed):
    wrong, right = Verdict.FAILS, Verdict.HOLDS
    # A step that is wrong at one size fails alone, however many steps of other sizes pass.
    passing = [(right, "step", f"other {n}") for n in range(30)]
    told = _named(failed, (wrong, "step"), (wrong, "torch", "step", "x"), *passing)
    assert told[0] == "step: 2 of the 32 steps that reached it fail; nearest to it:"
    assert len(told) == 3
    # Of the functions that fail together the one is named that passes nowhere else.
    told = _named(failed, (wrong, "chunk", "step"), (right, "step"), (right, "chunk", "rows", "step"), (right, "step"))
    assert told[0].startswith("chunk: 1 of the 2 steps")
    # A narrow step that passes speaks for its function more than a wide one.
    told = _named(failed, (wrong, "a", "b"), (right, "a"), (right, "b", "c", "d"))
    assert told[0].startswith("b: ")
    assert _named(failed, (wrong, "a", "b"), (right, "c"))[0].startswith("a or b: 1 of the 1 steps")
