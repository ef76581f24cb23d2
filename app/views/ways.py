"""The pages as the navigation and links take them; each object belongs to the run that makes it.

Streamlit knows a page by its address. The navigation is given what draws it; a link to it is not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from app.lessons.place import FIRST

Draw = Callable[[], None]
START = {"lesson": FIRST.lesson}  # a link to the tour that says nothing resumes it
RULES = {"lesson": "lineage", "step": "map"}


def _drawn_by_the_navigation() -> None:
    raise RuntimeError("a page was run that was made for a link")


def lab(draw: Draw = _drawn_by_the_navigation) -> Any:
    """Return the lab's page."""
    return st.Page(draw, title="Write-rule lab", url_path="lab", icon=":material/play_circle:", default=True)


def tour(draw: Draw = _drawn_by_the_navigation) -> Any:
    """Return the page of the lessons."""
    return st.Page(draw, title="Tour", url_path="tour", icon=":material/school:")


def lineage() -> Any:
    """Return the address that the lineage had: it leads to the lesson that has its map and its rules."""
    return st.Page(_lineage, title="The lineage", url_path="lineage", visibility="hidden")


def derivations(draw: Draw = _drawn_by_the_navigation) -> Any:
    """Return the page of the claims."""
    return st.Page(draw, title="Derivations", url_path="derivations", icon=":material/verified:")


def _lineage() -> None:
    st.switch_page(tour(), query_params=RULES)
