"""The entry of the app: ``streamlit run app/main.py``.

Streamlit finds the :class:`streamlit.App` below and serves it; every visit then runs this file again, as a script.
"""

import contextlib
import logging
from collections.abc import AsyncIterator

import streamlit as st

from app import compute
from app.views import derivations, lab, rules

# A wide picture needs the room that the page would leave empty around it.
STYLE = "<style>.stMainBlockContainer { padding: 4.25rem 2.5rem 3rem; max-width: 1500px; }</style>"


def main() -> None:
    """Run the page that the visitor is on."""
    st.set_page_config(
        page_title="Gated DeltaNet, live", page_icon=":material/grid_on:", layout="wide", initial_sidebar_state=340
    )
    st.html(STYLE)
    pages = [
        st.Page(lab.page, title="Write-rule lab", url_path="lab", icon=":material/play_circle:", default=True),
        st.Page(rules.page, title="The lineage", url_path="lineage", icon=":material/account_tree:"),
        st.Page(derivations.page, title="Derivations", url_path=derivations.PATH, icon=":material/verified:"),
    ]
    page = st.navigation(pages, position="top")
    page.run()
    compute.settle()


@contextlib.asynccontextmanager
async def serving(_: st.App) -> AsyncIterator[None]:
    """Start the processes that run the kernels with the server, so that they are ready for the first visitor."""
    compute.start()
    yield


def unexpected(error: Exception) -> bool:
    """Say that an error of ours is one, where the page would show a traceback, and keep it for the log."""
    logging.getLogger(__name__).error("a page failed", exc_info=error)
    st.error("This page has failed, through no fault of yours: change a control, or open the page anew.")
    return True


if __name__ == "__main__":
    main()
else:
    app = st.App(__file__, lifespan=serving, on_script_error=unexpected)
