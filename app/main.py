"""The entry of the app: ``streamlit run app/main.py``."""

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
    compute.settle()
    page.run()


# A worker process that imports its parent's entry script must not run the app.
if __name__ == "__main__":
    main()
