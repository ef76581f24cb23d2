"""A session against what browsers do: report several widgets at once, one of them forgotten in the meantime."""

import pytest
from streamlit.testing.v1 import AppTest

from app import session
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
