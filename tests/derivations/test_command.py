"""The command as people and CI call it: exit codes, files, a line a claim for a pipe and a bar for a terminal."""

import inspect
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from derivations.command import HOLDS, WRONG_CALL, main
from derivations.readable import width
from derivations.registry import load
from derivations.run import Progress
from derivations.screen import Screen
from derivations.selection import Wrong, matcher, selected
from derivations.shown import COLUMNS
from derivations.subjects import RENAMED
from gdn_core import reference
from tests.derivations.conftest import QUICK, ROOT, called

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


def test_the_old_name_of_a_claim_is_taken(capsys):
    assert main(["list", *RENAMED]) == HOLDS
    listed = capsys.readouterr().out.splitlines()
    assert [line.strip() for line in listed if line.startswith("  ") and line.strip() in load()] == [*RENAMED.values()]


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


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the workers in /proc")
def test_an_interrupt_stops_at_once_and_leaves_no_process():
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.chdir(ROOT)
        quick = "not (aten or ir or field)"  # the long ones come first: on a busy machine the first takes a minute
        os.execv(sys.executable, [sys.executable, "-m", "derivations", "check", "--jobs", "2", "-k", quick])
    seen, interrupted, workers = b"", False, []
    while select.select([terminal], [], [], 60)[0]:
        try:
            seen += os.read(terminal, 1 << 16)
        except OSError:  # the command has ended
            break
        if not interrupted and re.search(rb"\[[#.]+\] \d+/\d+", seen):  # the bar with its count
            threads = Path(f"/proc/{pid}/task").iterdir()
            workers = [child for thread in threads for child in (thread / "children").read_text().split()]
            os.write(terminal, b"\x03")
            interrupted = True
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGINT
    assert b"interrupted" in seen and b"Traceback" not in seen
    assert 1 <= seen.count(b"\x1b[32mholds") < len(load()) / 2
    assert len(workers) == 2 and not any(Path(f"/proc/{worker}").exists() for worker in workers)


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
    as_one_line = " ".join(shown.split())
    for part in (made.conclusion, "c = γₙ", *map(str, made.scopes), made.source.place, *made.uses):
        assert part in as_one_line
    assert "Sₙ₊₁ = α c S₀" in shown and "algebra: for every C, dk and dv" in shown
    assert "ran reference.chunk, reference.recurrent" in shown
    assert shown.count("refuted by") == len(made.mutants)
    assert main(["show", "--tex", "--unchecked", "gated_chunk_equals_recurrence"]) == HOLDS
    in_tex = capsys.readouterr().out
    assert made.tex in in_tex and made.assumptions[0] in " ".join(in_tex.split()) and "refuted by" not in in_tex
    assert all(step.name in shown for step in (*made.steps, *made.mutants))
    line = inspect.getsourcelines(reference.chunk)[1]
    assert f"gdn_core.reference.chunk (gdn_core/reference.py:{line})" in shown and "used by" in shown


def test_what_refutes_a_variant_is_shown_as_a_formula_or_in_numbers(capsys):
    names = "delta_rules_are_steps_along_one_equation", "separate_removal_keys_are_two_tokens_of_the_family"
    assert main(["show", *names]) == HOLDS
    lines = capsys.readouterr().out.splitlines()
    assert max(map(width, lines)) <= COLUMNS
    assert "                 (β − θ) S k kᵀ + (θ − β) v kᵀ" in lines
    assert "               refuted by implicit below exact: -1" in lines
    assert any(", which is " in line for line in lines)


# What is shown.


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
