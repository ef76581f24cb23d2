"""The pages, as the navigation and links to them take them: each belongs to the run that asks.

Pages link to each other both ways, and some bring much with them, so each is imported when it is run.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import streamlit as st

from app.lessons.place import FIRST

START = {"lesson": FIRST.lesson}  # a link to the tour that says nothing resumes it
RULES = {"lesson": "lineage", "step": "map"}


def lab() -> Any:
    """Return the lab's page."""
    return st.Page(_lab, title="Write-rule lab", url_path="lab", icon=":material/play_circle:", default=True)


def tour() -> Any:
    """Return the page of the lessons."""
    return st.Page(_tour, title="Tour", url_path="tour", icon=":material/school:")


def lineage() -> Any:
    """Return the address that the lineage had: it leads to the lesson that has its map and its rules."""
    return st.Page(_lineage, title="The lineage", url_path="lineage", visibility="hidden")


def derivations() -> Any:
    """Return the page of the claims."""
    return st.Page(_derivations, title="Derivations", url_path="derivations", icon=":material/verified:")


def _lab() -> None:
    from app.views import lab

    lab.page()


def _tour() -> None:
    from app.views import lessons

    lessons.page()


def _lineage() -> None:
    st.switch_page(tour(), query_params=RULES)


def _derivations() -> None:
    from app.views import derivations

    derivations.page()


@cache
def load() -> None:
    """Import every page. The one that is asked for first does not wait for the others, which bring SymPy."""
    from app.views import derivations, lab, lessons  # noqa: F401
