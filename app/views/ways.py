"""The pages, as the navigation and links to them take them: each belongs to the run that asks.

Pages link to each other both ways, so each is imported where it is asked for.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from app.lessons.place import FIRST

START = {"lesson": FIRST.lesson}  # a link to the tour that says nothing resumes it


def lab() -> Any:
    """Return the lab's page."""
    from app.views import lab as view

    return st.Page(view.page, title="Write-rule lab", url_path="lab", icon=":material/play_circle:", default=True)


def tour() -> Any:
    """Return the page of the lessons."""
    from app.views import lessons as view

    return st.Page(view.page, title="Tour", url_path="tour", icon=":material/school:")


def lineage() -> Any:
    """Return the page of the rules."""
    from app.views import rules as view

    return st.Page(view.page, title="The lineage", url_path="lineage", icon=":material/account_tree:")


def derivations() -> Any:
    """Return the page of the claims."""
    from app.views import derivations as view

    return st.Page(view.page, title="Derivations", url_path="derivations", icon=":material/verified:")
