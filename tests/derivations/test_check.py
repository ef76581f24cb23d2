"""The report of the command on every claim, on every mutant of the code, and on code with a wrong sign."""

import json
import shutil

import pytest

from derivations.command import FAILS, HOLDS
from derivations.mutants.by_hand import planted
from derivations.registry import load
from derivations.result import Verdict
from gdn_core import reference, reference_backward, ssm
from gdn_core.rules import RULES
from tests.derivations.conftest import ROOT, Run, called


def test_every_claim_holds_and_every_mutant_of_the_code_is_refuted(checked: Run) -> None:
    assert checked.exit_code == HOLDS, checked.said[-4000:]
    assert [claim["name"] for claim in checked.report["claims"]] == list(load())
    assert checked.report["holds"] and not checked.report["faults"]
    mutation = checked.report["mutation"]
    assert len(mutation["refuted"]) > 700
    assert mutation["survivors"] == mutation["stale"] == mutation["unearned"] == []


@pytest.mark.parametrize("name", load())
def test_each_step_holds_and_each_wrong_variant_is_refuted(checked: Run, name: str) -> None:
    made, found = load()[name], checked.claim(name)
    assert found["verdict"] == "holds"
    for steps, part in ((made.steps, "steps"), (made.mutants, "mutants")):
        wanted = [(step.name, rule.slug if rule else "") for step in steps for rule in step.runs(RULES.values())]
        assert [(step["name"], step["rule"]) for step in found[part]] == wanted
        assert all(step["verdict"] == "holds" for step in found[part])
    assert all(step["residual"] == "" for step in found["steps"])
    assert all(mutant["residual"] for mutant in found["mutants"])


def test_a_wrong_sign_exits_1_with_the_claims_and_their_residuals_and_breaks_nothing_further(tmp_path) -> None:
    for package in ("gdn_core", "derivations"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    code = tmp_path / "gdn_core" / "reference.py"
    code.write_text(code.read_text().replace("u = x.w * x.v - S @", "u = x.w * x.v + S @"))
    report = tmp_path / "derivations.json"
    names = ("every_token_is_an_affine_map", "affine_maps_compose_associatively")
    done = called("check", *names, "--mutants", "--json", str(report), cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (FAILS, "")
    fault = "every_token_is_an_affine_map: every token is an affine map, for every dk and dv: [0]: 2 S D b k k'"
    assert fault in done.stdout
    assert "1 of 2 claims hold" in done.stdout
    read = json.loads(report.read_text(encoding="utf-8"))
    assert not read["holds"]
    assert read["mutation"] is None  # of code that is wrong already


@pytest.mark.parametrize(
    ("function", "right", "wrong", "named"),
    [
        (ssm.zoh, "(exp(delta * A)", "(exp(-delta * A)", "zoh_solves_the_held_equation"),
        (ssm.bilinear, "1 - delta * A / 2", "1 + delta * A / 2", "bilinear_rule_has_local_error_of_order_three"),
        (ssm.euler, "1 + delta * A, delta", "1 - delta * A, delta", "euler_step_has_local_error_of_order_two"),
        (reference.step, "x.w * x.v - S", "x.w * x.v + S", "delta_rule_is_a_gradient_step"),
        (reference.step, "S + u[:, None]", "S - u[:, None]", "memory_answers_the_value_and_the_overlaps"),
        (reference.chunk, "u[i] - a @ stack(errors)", "u[i] + a @ stack(errors)", "every_rule_has_a_chunk_form"),
        (reference.chunk, "gamma[C - 1] * S + u.T", "gamma[C - 1] * S - u.T", "every_rule_has_a_chunk_form"),
        (reference.moments, "decayed - read[:, None] * k", "decayed + read[:, None] * k", "stages_add_up_to_the_step"),
        (reference.step, "u[:, None] * x.k", "-u[:, None] * x.k", "every_rule_minimises_an_objective"),
        (reference_backward.chunk_backward, "dk + x.b * de", "dk - x.b * de", "chunk_backward_is_the_derivative"),
        (ssm.tokens, "b=none, w=delta)", "b=none, w=-delta)", "s4_is_mamba_with_a_fixed_step"),
    ],
)
def test_a_wrong_sign_in_the_code_fails_a_claim_about_it(monkeypatch, function, right, wrong, named) -> None:
    claim = load()[named]
    monkeypatch.setattr(function, "__code__", planted(function, right, wrong).__code__)
    steps = ((step, rule) for step in claim.steps for rule in step.runs(RULES.values()))
    assert any(claim.check_step(step, rule=rule).verdict is Verdict.FAILS for step, rule in steps)
