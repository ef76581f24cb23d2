"""The page of the derivations by AppTest."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
from streamlit.testing.v1 import AppTest

from app import proofs
from app.markdown import plain
from app.views import claims
from derivations.models.errata import errata
from derivations.registry import load
from derivations.result import Kind, Result, Verdict
from derivations.subjects import RENAMED
from derivations.workers import Worker, WorkerError

CLAIM = "zoh_of_an_invertible_matrix"


@cache
def checked() -> Result:
    """The claim that these tests look at, checked in this process."""
    return load()[CLAIM].check()


class Here:
    """A worker in this process."""

    def check(self, name: str) -> Result:
        assert name == CLAIM
        return checked()


@pytest.fixture
def ledger(monkeypatch: pytest.MonkeyPatch) -> proofs.Ledger:
    """A ledger that checks in this process, and nothing in the background."""
    made = proofs.Ledger()
    made._live = Here()
    monkeypatch.setattr(made, "look", lambda: None)
    monkeypatch.setattr(proofs, "ledger", lambda: made)
    return made


@pytest.fixture
def opened(ledger: proofs.Ledger) -> Callable[[str], AppTest]:
    def open_(name: str) -> AppTest:
        at = AppTest.from_function(show, default_timeout=60)
        if name:
            at.query_params["claim"] = name
        at.run()
        assert not at.exception, at.exception
        return at

    return open_


def show() -> None:
    from app import reader
    from app.views import derivations

    derivations.view(reader.linked_claim())


def text(at: AppTest) -> str:
    return "\n".join(str(element.value) for element in (*at.title, *at.header, *at.markdown, *at.caption, *at.warning))


class Counting:
    """A worker that writes down what it is asked to check, and stops being watched after some claims."""

    def __init__(self, ledger: proofs.Ledger, stops: int) -> None:
        self.asked: list[str] = []
        self._ledger, self._stops = ledger, stops

    def check(self, name: str) -> Result:
        self.asked.append(name)
        if len(self.asked) == self._stops:
            self._ledger._looked = -math.inf  # nobody has looked since
        if len(self.asked) == 2:
            raise WorkerError("it ended")
        return replace(checked(), claim=name)


def test_the_background_checks_each_claim_once_and_only_while_somebody_looks(monkeypatch):
    ran: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "start", lambda thread: ran.append(thread))
    ledger, names = proofs.Ledger(), list(load())
    ledger._behind = Counting(ledger, stops=5)
    assert ledger.left == 0
    ledger.look()
    ledger.look()
    assert ledger.left == len(names)
    assert len(ran) == 1
    ran[0].run()
    assert ledger._behind.asked == names[:5]
    assert ledger.left == len(names) - 5
    ledger.look()
    assert len(ran) == 2
    ledger._keep(replace(checked(), claim=names[7]))  # somebody asked for it
    ran[1].run()
    assert ledger._behind.asked == [*names[:7], *names[8:]]
    assert ledger.left == 0
    assert [name for name in names if ledger.finding(name) is None] == [names[1]]
    ledger.look()
    assert len(ran) == 2


def test_the_list_keeps_the_background_going_and_a_claim_does_not(opened, ledger, monkeypatch):
    looks: list[None] = []
    monkeypatch.setattr(ledger, "look", lambda: looks.append(None))
    opened(CLAIM)
    assert looks == []
    opened("")
    assert len(looks) == 2  # as it begins, and in the part that is drawn again and again


def test_the_list_names_every_claim_with_its_scope_and_without_a_verdict_that_nobody_reached(opened):
    at = opened("")
    labels = [button.label for button in at.button]
    assert labels == [f"{n}. {made.conclusion}" for n, made in enumerate(load().values(), 1)]
    assert text(at).count("not checked yet") == len(load()) + 1
    assert ":green[" not in text(at)
    assert text(at).count("to be checked for every") > 10
    assert text(at).count("-badge[") == len(Kind)  # what each kind is, and no kind of what nothing has run


def test_a_checked_claim_shows_its_verdict_in_the_list(opened, ledger):
    ledger.check(CLAIM)
    shown = text(opened(""))
    assert shown.count(claims.VERDICTS["holds"]) == 2  # in the count, and at the claim
    assert f"{claims.BADGES[Kind.CODE]} for every invertible A" in shown
    assert f"2 {claims.BADGES[Kind.CODE]} · 0 {claims.BADGES[Kind.POINTS]}" in shown


def test_a_claim_opens_from_the_list_and_the_link_follows(opened):
    at = opened("")
    next(button for button in at.button if button.label.endswith(load()[CLAIM].conclusion)).click().run()
    assert at.query_params["claim"] in (CLAIM, [CLAIM])
    assert at.title[0].value == load()[CLAIM].conclusion


@pytest.mark.parametrize("name", [CLAIM, "every_token_is_an_affine_map", *errata()])
def test_a_claim_shows_statement_steps_source_code_and_what_it_rests_on(opened, name):
    at = opened(name)
    made = load()[name]
    assert claims.wrapping(made.tex) in text(at)
    for step in (*made.steps, *made.mutants):
        assert step.summary in text(at)
    assert made.source.place in text(at)
    assert any("def " in code.value for code in at.code)
    assert all(step.details in text(at) for step in made.steps)
    labels = [button.label.partition(". ")[2] for button in at.button]
    assert all(load()[used].conclusion in labels for used in made.uses)
    assert all(load()[other].conclusion in labels for other in proofs.used_by(name))
    names = list(load())
    before, after = names.index(name) - 1, names.index(name) + 1
    assert all(load()[other].conclusion in labels for other in (names[before], *names[after : after + 1]))


def test_a_live_check_shows_the_verdict_the_time_and_the_residual_of_every_mutant(opened, ledger):
    at = opened(CLAIM)
    next(button for button in at.button if button.label == "Check it now").click().run()
    assert not at.exception
    found = ledger.finding(CLAIM)
    assert found and found.result.verdict is Verdict.HOLDS
    assert "just now" in text(at)
    assert f"{claims.BADGES[Kind.CODE]} for every invertible A; it ran `ssm.zoh`" in text(at)
    assert f"{len(found.result.mutants)} of {len(found.result.mutants)} wrong variants refuted" in text(at)
    shown = text(at)
    assert all(mutant.tex and f"{mutant.tex}$" in shown for mutant in found.result.mutants)
    assert "one side less the other is 0" in shown and " ms" not in shown.replace(" ms, on this server", "")


def test_a_failing_claim_shows_its_residual(opened, ledger):
    right = checked()
    failed = replace(right.steps[0], verdict=Verdict.FAILS, residual="2*a + 1")
    ledger._keep(replace(right, steps=(failed, *right.steps[1:])))
    at = opened(CLAIM)
    assert claims.VERDICTS["fails"] in text(at)
    assert "2*a + 1" in [code.value for code in at.code]
    ledger._keep(replace(right, steps=(replace(failed, tex="2 a + 1"), *right.steps[1:])))
    assert "$\\displaystyle 2 a + 1$" in text(opened(CLAIM))
    assert any("2*a + 1" in error.value for error in at.error)


@pytest.mark.parametrize("old", RENAMED)
def test_a_link_to_the_old_name_of_a_claim_opens_it(opened, old):
    at = opened(old)
    assert not at.warning and at.title[0].value == load()[RENAMED[old]].conclusion


def test_a_link_to_no_claim_says_so_and_shows_them_all(opened):
    at = opened("no_such_claim")
    assert plain("no_such_claim") in at.warning[0].value
    assert len(at.button) == len(load())


def test_a_check_that_gives_no_result_is_a_sentence(opened, ledger):
    ledger._live = Worker(command=[sys.executable, "-c", "print('ready')"])
    at = opened(CLAIM)
    next(button for button in at.button if button.label == "Check it now").click().run()
    assert not at.exception
    assert "ended" in at.error[0].value


@pytest.mark.parametrize(
    ("tex", "formulas"),
    [
        (r"a = b, \quad c = d", 2),
        (r"a = b, \; c = d", 1),
        (r"\begin{bmatrix} a \quad b \end{bmatrix}, \qquad c", 2),
        (r"\text{a \quad b}", 1),
    ],
)
def test_a_statement_is_cut_into_formulas_where_no_brace_is_open(tex, formulas):
    shown = claims.wrapping(tex)
    assert shown.count(r"\displaystyle") == formulas
    assert shown.replace("$", "").replace(r"\displaystyle ", "").replace(" &emsp; ", r" \quad ") == tex.replace(
        r"\qquad", r"\quad"
    )


def test_the_rows_of_a_statement_stand_one_below_the_other(opened):
    at = opened("wider_rules_contain_the_narrower_ones")
    made = load()["wider_rules_contain_the_narrower_ones"]
    shown = next(markdown.value for markdown in at.markdown if markdown.value.startswith("- "))
    assert shown.count("\n- ") == made.tex.count(r"\\ ")
    assert "&" not in shown.replace("&emsp;", "") and "aligned" not in shown


def test_the_search_finds_the_claims_that_say_all_its_words_and_the_link_follows(opened, ledger):
    at = opened("")
    at.text_input(key="search").set_value("CHUNK overflow exponential").run()
    assert not at.exception
    names = proofs.found("chunk overflow exponential")
    assert 0 < len(names) < 10
    assert [button.label.partition(". ")[2] for button in at.button] == [made.conclusion for made in names.values()]
    assert at.query_params["search"] in ("CHUNK overflow exponential", ["CHUNK overflow exponential"])
    at.button[0].click().run()
    assert at.query_params.get("claim")
    next(button for button in at.button if button.label == "All claims").click().run()
    assert at.text_input(key="search").value == "CHUNK overflow exponential"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("no such word", "None has"), ("שלום", "None has"), ("$<b>*[x](y)", "None has"),
        ("a" * 101, "at most 100 characters"),
    ],
)
def test_a_search_in_the_link_that_finds_nothing_or_is_too_long_gets_a_sentence(ledger, typed, said):
    at = AppTest.from_function(show, default_timeout=60)
    at.query_params["search"] = typed
    at.run()
    assert not at.exception
    assert said in text(at) + "".join(error.value for error in at.error)
    assert len(at.button) == (len(load()) if len(typed) > 100 else 0)


def test_numbers_of_claims_are_their_order():
    names = list(load())
    assert [proofs.number(name) for name in names] == list(range(1, len(names) + 1))
    assert (proofs.beside(names[0], -1), proofs.beside(names[-1], 1)) == ("", "")
    assert proofs.beside(names[3], 1) == names[4]


@pytest.mark.parametrize(
    ("residual", "said"),
    [
        ("[0]: 5 mod 7 at [0, 1], and 3 of 24 entries are not zero", "$5 \\bmod 7$, at \\[0\\] \\[0, 1\\]: on random"),
        ("S: 66864177 mod 1005742139 at [0, 0], and 6 of 6 entries are not zero", "differ in 6 of 6 entries"),
    ],
)
def test_a_residual_mod_a_prime_is_said_with_what_it_means(opened, ledger, residual, said):
    right = checked()
    ledger._keep(replace(right, mutants=(replace(right.mutants[0], residual=residual, tex=""), *right.mutants[1:])))
    assert said in text(opened(CLAIM))
