"""A session against what browsers do: report several widgets at once, one of them forgotten in the meantime."""

import math
from contextlib import suppress
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app import link, session
from app.choice import Choice
from app.session import PlayerStart, Session


def lab() -> AppTest:
    def page() -> None:
        from app.views import lab

        lab.page()

    return AppTest.from_function(page, default_timeout=120).run()


def test_a_source_and_a_preset_reported_at_once_are_no_error() -> None:
    at = lab()
    at.segmented_control(key="origin").set_value("text")
    at.selectbox(key="preset").set_value("recency")
    at.run()
    assert not at.exception
    assert at.session_state[session.SESSION].choice.origin == "text"


@pytest.mark.parametrize(
    ("drawn", "drawn_whole", "touched", "whole"),
    [
        ("new", "new", False, False),
        ("new", "", False, True),
        ("new", "new", True, True),
        ("old", "new", False, True),  # cut short before the browser was given time to draw
        ("newer", "newer", False, True),  # and yet what the browser shows is older
    ],
)
def test_rest_runs_the_whole_page_where_another_change_is_not_drawn_yet(
    monkeypatch: pytest.MonkeyPatch, drawn: str, drawn_whole: str, touched: bool, whole: bool
) -> None:
    """The report may cut the run of another change short before it is drawn, or before it has so much as begun."""
    kept = Session(Choice(), {}, player=PlayerStart(-1, 3), touched=touched, drawn=drawn, drawn_whole=drawn_whole)
    report = {"rest": {"token": 7, "visit": 3, "digest": "new"}}
    asked: list[str] = []
    monkeypatch.setattr(session.st, "session_state", {session.SESSION: kept, session.PLAYER: report})
    monkeypatch.setattr(session.st, "rerun", asked.append)
    session.rest()
    assert kept.choice.token == 7
    assert asked == ([] if whole else [session.BELOW])


@pytest.mark.parametrize("drawn_whole", ["new", ""])
def test_a_late_report_of_the_player_leaves_the_choice_of_today(
    monkeypatch: pytest.MonkeyPatch, drawn_whole: str
) -> None:
    kept = Session(Choice(token=2), {}, player=PlayerStart(2, 4), drawn_whole=drawn_whole)
    report = {"rest": {"token": 7, "visit": 3, "digest": "new"}}
    monkeypatch.setattr(session.st, "session_state", {session.SESSION: kept, session.PLAYER: report})
    monkeypatch.setattr(session.st, "rerun", lambda _: None)
    session.rest()
    assert kept.choice.token == 2


@pytest.mark.parametrize("change", [("selectbox", "preset", "recency"), ("segmented_control", "origin", "text")])
def test_what_starts_anew_sends_the_player_to_where_it_starts(change: tuple[str, str, str]) -> None:
    at = lab()
    kept = at.session_state[session.SESSION]
    visit = kept.player.visit
    kept.choice = Choice(token=3)
    kind, key, value = change
    getattr(at, kind)(key=key).set_value(value)
    at.run()
    kept = at.session_state[session.SESSION]
    assert kept.choice.token == kept.player.token == -1
    assert kept.player.visit > visit


class RunEnds(Exception):
    """Streamlit has taken up the next change."""


class State(dict):
    """A session state that ends the run once it has been looked at so many times, as any look may."""

    looks = math.inf

    def look(self) -> None:
        self.looks -= 1
        if self.looks < 0:
            self.looks = math.inf
            raise RunEnds

    def __contains__(self, key: object) -> bool:
        self.look()
        return super().__contains__(key)

    def __getitem__(self, key: str) -> Any:
        self.look()
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self.look()
        super().__setitem__(key, value)

    def pop(self, key: str, *otherwise: Any) -> Any:
        self.look()
        return super().pop(key, *otherwise)


class Query(dict):
    """The link's query."""

    def to_dict(self) -> dict[str, str]:
        return dict(self)

    def from_dict(self, query: dict[str, str]) -> None:
        self.clear()
        self.update(query)


@pytest.mark.parametrize("looks", range(40))
@pytest.mark.parametrize("visited", [False, True])
def test_a_link_is_taken_whole_wherever_the_run_that_takes_it_ends(
    monkeypatch: pytest.MonkeyPatch, visited: bool, looks: int
) -> None:
    state, query = State(), Query({"dk": "5", "t": "2"})
    monkeypatch.setattr(session.st, "session_state", state)
    monkeypatch.setattr(session.st, "query_params", query)
    if visited:
        session.begin()
        for name in ("dk", "T", "rules"):
            session.widget(name)
        query.from_dict({"preset": "overwrite", "dk": "7"})
    state.looks = looks
    with suppress(RunEnds):
        session.begin()
    state.looks = math.inf
    session.begin()
    wanted, _ = link.from_query(query)
    assert session.kept().choice == session.chosen() == wanted
    assert session.kept().player.token == wanted.token
    assert session.renewed()
