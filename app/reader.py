"""A reader of the claims: which one the link asks for, and what their list is searched for."""

from __future__ import annotations

from typing import Any

import streamlit as st

from gdn_core.lab.limits import check_text

FIELD, LAST = "search", "searched"  # the keys of the field, and of what it said last
MOST = 100  # characters of a search


def linked_claim() -> str:
    """Return the name of the claim that the link asks for, "" for none."""
    return st.query_params.get("claim", "")


def open_claim(name: str) -> None:
    """Make the link ask for a claim; where the name is empty, for the list as it was searched last."""
    _ask(name, st.session_state.get(LAST, ""))


def searched() -> str:
    """Return what the claims are searched for, as the link has it, and make the field say it.

    Raises:
        ValueError: if it is too long; the field is empty then.
    """
    text = st.query_params.get("search", "")
    st.session_state[LAST] = st.session_state[FIELD] = text if len(text) <= MOST else ""
    return check_text("search", text, MOST)


def field() -> dict[str, Any]:
    """Return the keyword arguments of the field's widget."""
    return {"key": FIELD, "max_chars": MOST, "on_change": _search}


def _search() -> None:
    text = st.session_state[FIELD]
    if text != st.session_state.get(LAST, ""):  # what a field that is new reports is no search
        _ask("", text)


def _ask(name: str, search: str) -> None:
    st.query_params.from_dict({"claim": name} if name else {"search": search} if search else {})
