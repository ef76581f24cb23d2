"""Rules and functions in a user's Python file, checked by the command."""

import json
import sys

import pytest

from derivations.command import FAILS, HOLDS, WRONG_CALL, main
from derivations.own import in_place, read
from gdn_core import reference
from gdn_core.rules import RULES, Gate

RULE = """from gdn_core.rules import GATED_DELTANET, Gate, Source, WriteRule
{name} = WriteRule(slug="{slug}", title="Mine", year=2026, source=Source("a note", "p. 1"), summary="Mine.",
                   decay=Gate.KEY, erase=Gate.SCALAR, write=Gate.VALUE)
"""


@pytest.fixture(autouse=True)
def the_path_is_as_before(monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))


def written(folder, source, name="mine.py"):
    path = folder / name
    path.write_text(source)
    return path


def test_the_rules_of_a_file_are_those_it_defines(tmp_path):
    written(tmp_path, RULE.format(name="beside", slug="beside"), "beside_it.py")
    both = RULE.format(name="mine", slug="mine") + "again = mine\nimport beside_it\nother = beside_it.beside\n"
    rules = read(written(tmp_path, both)).rules
    assert [rule.slug for rule in rules] == ["mine", "beside"]
    assert rules[0].decay is Gate.KEY


def test_a_file_whose_rules_hold_exits_0_with_every_claim_for_such_rules(tmp_path, capsys):
    path, report = written(tmp_path, RULE.format(name="mine", slug="mine")), tmp_path / "report.json"
    assert main(["check", "--file", str(path), "-k", "stages or padding", "--json", str(report)]) == HOLDS
    out = capsys.readouterr().out
    assert out.startswith(f"{path}: mine\n")
    claims = json.loads(report.read_text())["claims"]
    assert {claim["name"] for claim in claims} == {"stages_add_up_to_the_step", "padding_leaves_the_memory"}
    assert {step["rule"] for claim in claims for step in claim["steps"]} == {"mine"}


def test_a_rule_that_fails_a_claim_exits_1_and_is_named(tmp_path, capsys, monkeypatch):
    step = reference.step

    def doubled(S, x, **options):
        S, o = step(S, x, **options)
        return S + S, o

    monkeypatch.setattr(reference, "step", doubled)
    path = written(tmp_path, RULE.format(name="mine", slug="mine"))
    assert main(["check", "--file", str(path), "-k", "stages"]) == FAILS
    assert "(mine)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (None, "there is no such file"),
        ("x = (", "mine.py:1: '(' was never closed"),
        ("\n\nx = y\n", "mine.py:3: NameError: name 'y' is not defined"),
        ("import sys\nsys.exit(0)\n", "mine.py:2: SystemExit: 0"),
        ("from gdn_core.rules import RULES, GATED_DELTANET\n", "found none but the lineage's"),
        (RULE.format(name="a", slug="one") + RULE.format(name="b", slug="one"), "got one more than once"),
        (RULE.format(name="a", slug="Not a slug!"), "mine.py:2: ValueError: "),
    ],
)  # fmt: skip
def test_a_file_without_rules_to_check_exits_2_with_a_sentence(tmp_path, capsys, source, sentence):
    path = tmp_path / "mine.py"
    if source is not None:
        path.write_text(source)
    assert main(["check", "--file", str(path)]) == WRONG_CALL
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-k", "zoh"], "mine: none of the chosen claims is stated for rules of this kind"),
        (["--mutants"], "--file: expected neither --mutants nor --jobs"),
        (["--jobs", "2"], "--file: expected neither --mutants nor --jobs"),
    ],
)
def test_what_does_not_go_with_a_file_exits_2_with_a_sentence(tmp_path, capsys, arguments, sentence):
    path = written(tmp_path, RULE.format(name="mine", slug="mine"))
    assert main(["check", "--file", str(path), *arguments]) == WRONG_CALL
    assert sentence in capsys.readouterr().err


def test_a_file_that_is_no_python_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"rules\.txt: expected a Python file"):
        read(written(tmp_path, "mine = 1", "rules.txt"))


def test_a_rule_of_the_lineage_under_another_name_is_not_ones_own(tmp_path):
    source = "from gdn_core.rules import RULES\nmine = RULES['gla']\n" + RULE.format(name="b", slug="b")
    assert [rule.slug for rule in read(written(tmp_path, source)).rules] == ["b"]
    assert "gla" in RULES


STEP = """import numpy as np
def step(S, x, *, exp=np.exp):
    S = exp(x.g) * S
    u = x.w * x.v - {error}
    S = S + u[:, None] * x.k[None, :]
    return S, S @ x.q
"""
RIGHT, WRONG = "S @ (x.b * x.k)", "S @ x.k"  # the second drops the erase gate


def test_a_function_that_is_right_holds_wherever_the_reference_is_claimed_to(tmp_path, capsys):
    path, report = written(tmp_path, STEP.format(error=RIGHT)), tmp_path / "report.json"
    some = ["-k", "stages or every_token_is or zoh"]
    assert main(["check", "--file", str(path), *some, "--json", str(report)]) == HOLDS
    assert capsys.readouterr().out.startswith(f"{path}: step\n")
    claims = json.loads(report.read_text())["claims"]
    assert claims
    assert all("gdn_core.reference.step" in claim["code"] and claim["steps"] for claim in claims)


def test_a_function_that_is_wrong_exits_1_with_the_claim_and_the_residual(tmp_path, capsys):
    path, step = written(tmp_path, STEP.format(error=WRONG)), reference.step
    assert main(["check", "--file", str(path), "-k", "stages"]) == FAILS
    assert "stages_add_up_to_the_step" in (out := capsys.readouterr().out)
    assert "*b1" in out  # a residual that has the gate in it
    assert reference.step is step  # in its place again


def test_rules_and_functions_of_a_file_are_checked_together(tmp_path, capsys):
    path = written(tmp_path, RULE.format(name="mine", slug="mine") + STEP.format(error=WRONG))
    assert main(["check", "--file", str(path), "-k", "stages"]) == FAILS
    assert capsys.readouterr().out.startswith(f"{path}: mine, step\n")


def test_a_function_of_ones_own_may_call_the_one_it_stands_for(tmp_path):
    wrapped = "from gdn_core.reference import step as theirs\ndef step(S, x, **exp):\n    return theirs(S, x, **exp)\n"
    own = read(written(tmp_path, wrapped))
    before = reference.step
    with in_place(own.functions):
        assert reference.step is own.functions[before]
    assert reference.step is before
    assert main(["check", "--file", str(tmp_path / "mine.py"), "-k", "stages"]) == HOLDS


@pytest.mark.parametrize(
    ("source", "arguments", "sentence"),
    [
        ("def step(S):\n    return S\n", [], "mine.py: step: expected a function of (S, x, exp), got one for which"),
        (STEP.format(error=RIGHT), ["-k", "zoh_of_an_invertible"], "step: none of the chosen claims is about"),
        ("def helper(x):\n    return x\n", [], "a function such as step, moments, recurrent"),
        ("from gdn_core.reference import step\n", [], "found none but the lineage's"),
    ],
)
def test_a_function_that_cannot_be_checked_exits_2_with_a_sentence(tmp_path, capsys, source, arguments, sentence):
    assert main(["check", "--file", str(written(tmp_path, source)), *arguments]) == WRONG_CALL
    assert sentence in capsys.readouterr().err
