"""A visitor's walk through the tour, kept between runs of the page and written into its link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import streamlit as st

from app.lessons import place as places
from app.lessons.frame import Control
from app.lessons.place import Place

KEPT = "tour"  # the key of what is kept


@dataclass
class Walk:
    """What is kept of one visitor's walk through the tour.

    Args:
        place: where the visitor is.
        link: the link that was read or written last.
        sentences: what was wrong with the link, until something changes.
        touched: a control has changed, or the visitor went on, since the last run began.
        here: the tour is shown, and no other page.
        good: the last place that could be shown, None for none.
    """

    place: Place
    link: dict[str, str]
    sentences: list[str]
    touched: bool = False
    here: bool = True
    good: Place | None = None


def begin() -> Walk:
    """Start a run of the tour, from the link if that is newer than the session.

    A link is written where the visitor changed something, or came back: one that led here stays as it is.
    """
    here = KEPT in st.session_state and st.session_state[KEPT].here
    query = st.query_params.to_dict()
    walk: Walk | None = st.session_state.get(KEPT)
    if walk is None or (not walk.touched and query != walk.link and (query or here)):
        place, sentences = places.from_query(query)
        good = walk.good if walk else None
        walk = st.session_state[KEPT] = Walk(place, query, sentences, good=good)
        _forget(place)
    elif walk.touched or not here:
        if walk.touched:
            _take(walk)
        before, walk.link = walk.link, places.to_query(walk.place)
        if not before == walk.link == query:  # as for the lab: the one before may still be on its way
            st.query_params.from_dict(walk.link)
    walk.touched, walk.here = False, True
    return walk


def _take(walk: Walk) -> None:
    """Take over what the controls say, and keep what was there before where that is refused."""
    walk.sentences = []
    for name, was in walk.place.values:
        says = st.session_state.get(_key(walk.place, name), was)
        try:
            value = walk.place.at[1].control(name).check(says)
        except (TypeError, ValueError) as error:  # a text may be anything
            walk.sentences.append(f"{error}. Shown is what was there before.")
        else:
            walk.place = walk.place.with_values({name: value})


def kept() -> Walk:
    """Return what is kept of this visitor's walk through the tour."""
    return st.session_state[KEPT]


def widget(place: Place, control: Control) -> dict[str, Any]:
    """Return the key of a control's widget as its keyword argument; give it the place's value if it has none."""
    key = _key(place, control.name)
    if key not in st.session_state:
        st.session_state[key] = dict(place.values)[control.name]
    return {"key": key, "on_change": touch}


def touch() -> None:
    """Note that the visitor changed a control."""
    kept().touched = True


def go_to(place: Place) -> None:
    """Go to another place of the tour."""
    walk = kept()
    walk.place, walk.touched = place, True
    _forget(place)


def leave() -> None:
    """Note that another page than the tour is shown."""
    if KEPT in st.session_state:
        kept().here = False


def _key(place: Place, name: str) -> str:
    return f"tour-{place.lesson}-{place.step}-{name}"


def _forget(place: Place) -> None:
    """Forget what the widgets of a place say."""
    for name, _ in place.values:
        st.session_state.pop(_key(place, name), None)
