"""A session against what browsers do: report several widgets at once, one of them forgotten in the meantime."""

import io

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import compute, session
from app.state import Choice


def lab() -> AppTest:
    def page() -> None:
        from app.views import lab

        lab.page()

    return AppTest.from_function(page, default_timeout=120).run()


def test_a_source_and_a_preset_reported_at_once_are_no_error() -> None:
    at = lab()
    at.segmented_control(key="source").set_value("text")
    at.selectbox(key="preset").set_value("recency")
    at.run()
    assert not at.exception
    assert at.session_state["choice"].source == "text"


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_of_two_files_with_keys_nothing_of_the_earlier_is_used_and_a_bad_one_spoils_no_other() -> None:
    first, second = npz(k=np.eye(3), g=-np.ones(3)), npz(k=2 * np.eye(3))
    both = compute.upload([("first.npz", first), ("bad.npz", b"PK"), ("second.npz", second)])
    assert [file.name for file in both.files] == ["second.npz"]
    assert set(both.arrays) == {"k"}
    assert len(both.refused) == 1
    assert "bad.npz" in both.refused[0]


def test_files_of_single_arrays_belong_together_and_the_later_of_one_name_counts() -> None:
    files = [("g.npz", npz(g=-np.ones(3))), ("k.npz", npz(k=np.eye(3))), ("h.npz", npz(g=-np.full(3, 2.0)))]
    together = compute.upload(files)
    assert set(together.arrays) == {"k", "g"}
    np.testing.assert_array_equal(together.arrays["g"], -np.full(3, 2.0))


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
    state = {"choice": Choice(), "player_start": (-1, 3), "touched": touched}
    state |= {"drawn": drawn, "drawn_whole": drawn_whole}
    state[session.PLAYER] = {"rest": {"token": 7, "visit": 3, "digest": "new"}}
    asked: list[str] = []
    monkeypatch.setattr(session.st, "session_state", state)
    monkeypatch.setattr(session.st, "rerun", asked.append)
    session.rest()
    assert state["choice"].token == 7
    assert asked == ([] if whole else [session.BELOW])


@pytest.mark.parametrize("drawn_whole", ["new", ""])
def test_a_late_report_of_the_player_leaves_the_choice_of_today(
    monkeypatch: pytest.MonkeyPatch, drawn_whole: str
) -> None:
    state = {"choice": Choice(token=2), "player_start": (2, 4), "drawn_whole": drawn_whole, "touched": False}
    state[session.PLAYER] = {"rest": {"token": 7, "visit": 3, "digest": "new"}}
    monkeypatch.setattr(session.st, "session_state", state)
    monkeypatch.setattr(session.st, "rerun", lambda _: None)
    session.rest()
    assert state["choice"].token == 2


@pytest.mark.parametrize("change", [("selectbox", "preset", "recency"), ("segmented_control", "source", "text")])
def test_what_starts_anew_sends_the_player_to_where_it_starts(change: tuple[str, str, str]) -> None:
    at = lab()
    _, visit = at.session_state["player_start"]
    at.session_state["choice"] = Choice(token=3)
    kind, key, value = change
    getattr(at, kind)(key=key).set_value(value)
    at.run()
    assert at.session_state["choice"].token == -1
    token, now = at.session_state["player_start"]
    assert token == -1
    assert now > visit
