"""The command as people and CI call it: exit codes, files, words for a pipe and a bar for a terminal."""

import doctest
import inspect
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from derivations import run
from derivations.claim import Checked, Result, Verdict, load
from derivations.command import FAILS, HOLDS, WRONG_CALL, Screen, Wrong, main, matcher, selected
from derivations.reports import as_json, as_junit, github_annotations, github_summary
from derivations.run import Mutation, Progress, Report, check_rule
from gdn_core import reference
from gdn_core.rules import RULES, Clock, Gate, Source, WriteRule

ROOT = Path(__file__).resolve().parents[2]
QUICK = ["affine_maps_compose_associatively", "fast_weights_are_linear_attention"]


def called(*arguments, cwd=ROOT, **environment):
    return subprocess.run(
        [sys.executable, "-m", "derivations", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def failed():
    """A report of one claim that holds and one that does not."""
    holds = load()[QUICK[0]].check()
    step = Checked("a step", Verdict.FAILS, "S [0, 0]: 2*k <b> & 100%", 0.1, "ring", "for every C", "gla")
    fails = Result(QUICK[1], load()[QUICK[1]].subject, (step,), holds.mutants, 0.1, 0)
    mutation = Mutation((), (), {}, (("a.b", "x", "y"),), 1.0)
    return Report((holds, fails), mutation, 2.0, 0, 1, run.versions())


# The call.


def test_claims_that_hold_exit_0_with_a_line_each_and_files(tmp_path):
    json_file, junit = tmp_path / "r.json", tmp_path / "r.xml"
    done = called("check", *QUICK, "--jobs", "1", "--json", str(json_file), "--junit", str(junit))
    assert (done.returncode, done.stderr) == (HOLDS, "")
    lines = done.stdout.splitlines()
    assert len(lines) == len(QUICK) + 1
    assert all(line.startswith("holds") for line in lines[:-1])
    assert lines[-1].startswith("2 of 2 claims hold")
    assert "\x1b" not in done.stdout and "\r" not in done.stdout
    report = json.loads(json_file.read_text())
    assert report["holds"] and report["mutation"] is None
    assert {claim["name"] for claim in report["claims"]} == set(QUICK)
    assert ElementTree.parse(junit).getroot().find("testsuite").get("failures") == "0"


def test_a_wrong_sign_exits_1_with_the_claim_and_its_residual(tmp_path):
    for package in ("gdn_core", "derivations"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    code = tmp_path / "gdn_core" / "reference.py"
    code.write_text(code.read_text().replace("u = x.w * x.v - S @", "u = x.w * x.v + S @"))
    name = "every_token_is_an_affine_map"
    done = called("check", name, "--jobs", "1", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == FAILS
    assert f"{name}: every token is an affine map: 2 S D b k k'" in done.stdout
    assert "0 of 1 claims hold" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["check", "affine_maps_compose"], "did you mean affine_maps_compose_associatively?"),
        (["check", "-k", "and"], "expected a word"),
        (["check", "-k", "nothing_is_called_this"], "no claim matches"),
        (["check", "--jobs", "0"], "--jobs: expected at least 1, got 0"),
        (["check", "--json", "no/such/folder/r.json"], "there is no folder"),
        (["show", "nobody"], "no claim has this name"),
    ],
)
def test_a_wrong_call_exits_2_with_a_sentence(arguments, sentence, capsys):
    assert main(arguments) == WRONG_CALL
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["check", "--seed", "many"], ["prove"], ["show"]])
def test_a_call_that_argparse_refuses_exits_2_too(arguments):
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert left.value.code == WRONG_CALL


def test_a_reader_that_has_seen_enough_is_no_error():
    command_line = f"{sys.executable} -m derivations list | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command_line], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (HOLDS, "Discretisation\n", "")


def test_an_interrupt_stops_at_once_and_leaves_no_process(tmp_path):
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "derivations", "check", "--jobs", "2"])
    seen, interrupted, started = b"", 0.0, time.monotonic()
    while time.monotonic() - started < 60:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                seen += os.read(terminal, 1 << 16)
            except OSError:
                break
        if not interrupted and re.search(rb"\[[#.]+\] \d+/\d+", seen):  # the bar with its count
            os.write(terminal, b"\x03")
            interrupted = time.monotonic()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGINT
    assert time.monotonic() - interrupted < 5
    assert b"interrupted" in seen and b"Traceback" not in seen
    assert b"\x1b[32mholds" in seen


# Which claims.


def test_an_expression_is_read_as_words_and_or_not_and_parentheses():
    holds = matcher("chunk and not (field or ring)")
    assert holds("chunk words") and not holds("chunk ring") and not holds("words")
    assert matcher("a or b and c")("a") and not matcher("(a or b) and c")("a")
    assert matcher("NOT x")("y")


@pytest.mark.parametrize("wrong", ["", "(", "a b", "a and", "or a", "(a", "a)", "not"])
def test_what_is_no_expression_is_refused(wrong):
    with pytest.raises(Wrong, match=r"-k|expected"):
        matcher(wrong)


def test_claims_are_selected_by_name_by_expression_and_in_their_order():
    everything = selected([], None)
    assert everything == list(load())
    assert selected(list(reversed(QUICK)), None) == [name for name in everything if name in QUICK]
    assert selected([], "discretisation and series")
    assert all(load()[name].subject == "Errata" for name in selected([], "errata"))
    assert selected(QUICK, "affine") == QUICK[:1]


def test_a_claim_is_shown_whole(capsys):
    assert main(["show", "gated_chunk_equals_recurrence"]) == HOLDS
    shown = capsys.readouterr().out
    made = load()["gated_chunk_equals_recurrence"]
    for part in (made.words, made.tex, *made.assumptions, *map(str, made.scopes), made.source.place, *made.uses):
        assert part in shown
    assert all(step.name in shown for step in (*made.steps, *made.mutants))
    line = inspect.getsourcelines(reference.chunk)[1]
    assert f"gdn_core.reference.chunk (gdn_core/reference.py:{line})" in shown and "used by" in shown


# What is written.


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


def test_junit_counts_failures_and_escapes_what_xml_cannot_hold(failed):
    root = ElementTree.fromstring(as_junit(failed))
    assert [suite.get("failures") for suite in root.iter("testsuite")] == ["0", "1", "1"]
    (failure, stale) = root.iter("failure")
    assert "2*k <b> & 100%" in failure.get("message")
    assert "listed as equivalent" in stale.get("message")


def test_github_gets_an_annotation_at_the_claim_and_a_table(failed, monkeypatch):
    monkeypatch.chdir(ROOT)
    first, second = github_annotations(failed)
    assert first.startswith("::error file=derivations/claims/family.py,line=")
    assert first.endswith("2*k <b> & 100%25")
    assert second.startswith("::error title=mutants::")
    summary = github_summary(failed)
    assert "1 of 2 claims hold" in summary and f"| `{QUICK[1]}` | fails |" in summary


def test_the_job_summary_is_appended_to_the_file_that_github_names(tmp_path):
    summary = tmp_path / "summary.md"
    done = called("check", QUICK[0], "--jobs", "1", "--github", GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == HOLDS
    assert "::error" not in done.stdout
    assert f"`{QUICK[0]}`" in summary.read_text()


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("environment", "bar", "colour"),
    [
        ({}, True, True),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, False, False),
    ],
)
def test_a_terminal_has_a_bar_and_colours_unless_it_asks_for_none(monkeypatch, failed, environment, bar, colour):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = Terminal()
    screen = Screen(out)
    for n, result in enumerate(failed.results, start=1):
        screen.show(Progress(n, 2, result))
    screen.show(Progress(2, 2, None))
    assert ("[####" in out.getvalue()) is bar
    assert ("\x1b[31mfails" in out.getvalue()) is colour
    assert failed.results[1].claim in out.getvalue()


# A rule of one's own.


def rule(**gates):
    return WriteRule(slug="mine", title="Mine", year=2026, source=Source("none", "none"), summary="Mine.", **gates)


@pytest.mark.parametrize(
    "mine",
    [
        rule(decay=Gate.VALUE, erase=Gate.KEY, write=Gate.VALUE),
        rule(decay=Gate.VALUE, erase=Gate.SCALAR, write=Gate.SCALAR, tied=True),
        rule(decay=Gate.SCALAR, erase=Gate.SCALAR, clock=Clock.FIXED),
    ],
    ids=["untied", "tied", "fixed"],
)
def test_a_rule_of_ones_own_is_checked_against_every_claim_for_all_rules(mine):
    results = check_rule(mine)
    assert [fault for result in results for fault in result.faults] == []
    assert {result.claim for result in results} >= {
        "every_rule_has_a_chunk_form",
        "chunk_backward_is_the_derivative",
        "padding_leaves_the_memory",
        "stages_add_up_to_the_step",
        "every_rule_minimises_an_objective",
        "wider_rules_contain_the_narrower_ones",
    }
    assert all(step.rule == "mine" for result in results for step in result.steps)


def test_a_rule_is_checked_against_the_claims_of_its_kind_only():
    by_key = {result.claim for result in check_rule(RULES["gla"])}
    scalar = {result.claim for result in check_rule(RULES["mamba-2"])}
    assert "chunk_by_channel_equals_recurrence" in by_key - scalar
    assert "additive_recurrence_is_masked_attention" in scalar - by_key


def test_the_documented_call_holds():
    tested = doctest.testmod(run)
    assert (tested.failed, tested.attempted) == (0, 4)
