"""The entry of the app: ``streamlit run app/main.py``.

Streamlit finds the :class:`streamlit.App` below and serves it; every visit then runs this file again, as a script.
"""

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import streamlit as st

from app import serving
from app.views import ways

# Inline: a name of Streamlit's own icons would be looked up on another server by every visitor's browser.
ICON = (
    '<svg viewBox="0 0 3 3"><path fill="#1b5fa6" d="M0 0h1v1H0zM1 1h1v1H1z"/>'
    '<path fill="#8dbbe5" d="M1 0h1v1H1zM2 1h1v1H2zM0 2h1v1H0z"/>'
    '<path fill="#e2813c" d="M2 0h1v1H2zM0 1h1v1H0zM1 2h1v1H1zM2 2h1v1H2z"/></svg>'
)
# What a table's own toolbar saves as .csv is named by the hour, and its cells may be formulas: the lab has its own.
# A wide picture needs the room that the page would leave empty around it. An animation in the header, and every element
# fading while the page runs, would be drawn again and again while the new picture waits to be.
STYLE = """<style>
.stMainBlockContainer { padding: 4.25rem 2.5rem 3rem; max-width: 1500px; }
.stMainBlockContainer h1 { font-size: 1.45rem; padding: 0 0 0.3rem; }
:is(.stSlider, .stNumberInput, .stButtonGroup):has(:disabled, [aria-disabled="true"]) [data-testid="stWidgetLabel"] p {
  color: light-dark(#5f6873, #9aa5b3);
}
[data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] p {
  color: light-dark(#56606c, #a3adba); opacity: 1;
}
.stMain button[kind="tertiary"]:is(:hover, :focus-visible, :active) p { color: light-dark(#1b5fa6, #7dbcf5); }
.stMain button[kind="primary"] { background: light-dark(#1b5fa6, #2868a8); }
[data-testid="stMultiSelectTagsContainer"] [data-tag] { background: light-dark(#1b5fa6, #2868a8); }
:is([role="radio"][aria-checked="true"], .stSlider [data-testid="stSliderThumbValue"]) p {
  color: light-dark(#1b5fa6, #7dbcf5);
}
.st-key-equation .stMarkdownColoredBackground { background: light-dark(#f9d9b8, #6a3a10) !important; }
.st-key-equation [data-testid="stMarkdownContainer"] p { line-height: 2.6; }
.st-key-controls > * { flex: 1 1 100%; min-width: 0; }
@media (min-width: 900px) {
  .st-key-step { display: grid; grid-template: auto 1fr / minmax(0, 2fr) minmax(0, 3fr); gap: 1rem 3rem; }
  .st-key-step > :nth-child(2) { grid-area: 1 / 2 / 3 / 3; }
  .st-key-lesson-picture { min-height: 420px; }
}
.st-key-where button { min-width: 44px; }
.st-key-tour-map { row-gap: 0.2rem; }
.st-key-tour-map button:is(:hover, :focus-visible) p { color: light-dark(#1b5fa6, #7dbcf5); }
.st-key-more summary, .st-key-more summary * { color: light-dark(#18212d, #e5eaf1); opacity: 1; }
.st-key-introduction { row-gap: 0.25rem; }
.st-key-introduction .st-key-offers { align-items: center; }
@media (max-width: 767px) {
  .stMainBlockContainer { padding: 3.6rem 1rem 2rem; }
  .stMainBlockContainer h1 { font-size: 1.2rem; }
  .st-key-introduction p { font-size: 0.875rem; line-height: 1.35; }
  .st-key-offers { gap: 0.3rem; }
  .st-key-offers :is(button, a) { padding: 0.25rem 0.5rem; }
  .st-key-where { margin-top: -0.6rem; gap: 0.3rem; flex-wrap: nowrap; }
  .st-key-where { position: relative; }
  .st-key-where > :has([data-testid="stCaptionContainer"]) { position: absolute; right: 0; top: calc(100% + 0.75rem); }
  .st-key-where [data-testid="stCaptionContainer"] p { font-size: 0.75rem; line-height: 1.2; }
  .st-key-where button { padding: 0.25rem; }
  .st-key-onward p { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .st-key-step { gap: 0.4rem; }
  .st-key-question { gap: 0.3rem; }
  .st-key-question > [data-testid="stElementContainer"] [data-testid="stMarkdownContainer"] { margin-bottom: 0; }
  .st-key-question h1 { font-size: 0.875rem; line-height: 1.2; padding: 0; }
  .st-key-question h2 { font-size: 1.05rem; line-height: 1.2; }
  .st-key-question > [data-testid="stElementContainer"] p { font-size: 0.875rem; line-height: 1.35; margin: 0; }
  .st-key-controls { flex-flow: row wrap; align-items: end; gap: 0.2rem 0.8rem; }
  .st-key-controls > :has(.stSlider) { flex: 1 1 140px; }
  .st-key-controls > :has(.stButtonGroup) { flex: 0 1 auto; }
  .st-key-controls:has(> :nth-child(4)) > :has(.stSlider) { flex-basis: 90px; }
  .st-key-controls:has(> :nth-child(4)) [data-testid="stWidgetLabel"] { min-height: 0; margin: 0; }
  .st-key-controls:has(> :nth-child(4)) [data-testid="stWidgetLabel"] p { font-size: 0.75rem; line-height: 1.2; }
  :is(.stMain, .stSidebar) :is(button, summary), a[data-testid="stPageLink-NavLink"] { min-height: 44px; }
  .stSidebar :is(a, [role="group"], .stNumberInput input) { min-height: 44px; }
  .stSidebar button { min-width: 44px; }
  .stSidebar :has(> [data-testid="stMultiSelectTagsContainer"]) { max-height: none; }
  .stSidebar [data-tag] { height: auto; padding-right: 0; }
  .stSidebar [data-testid="stWidgetLabel"] button { margin: -14px; }
  .st-key-chart { max-height: 50dvh; }
}
.stApp :is(:focus-visible, .stSlider [data-rac]:has(> div > input:focus-visible)) {
  outline: 2px solid light-dark(#1b5fa6, #7dbcf5) !important; outline-offset: 1px;
}
.stApp :is(.stMain, input, textarea, [contenteditable]):focus-visible { outline-offset: -2px; }
.stMainBlockContainer h2 { font-size: 1.2rem; padding: 0; }
.st-key-claims h2 { padding: 0.75rem 0 1rem; }
.stExpander h3 { font-size: 1.05rem; padding: 0 0 0.4rem; }
[data-testid="stStatusWidget"] { display: none; }
[data-testid="stElementToolbarButton"]:has([aria-label="Download as CSV"]) { display: none; }
@media (forced-colors: active) {
  .stSlider [data-rac]:has(> div > input) { forced-color-adjust: none; background: Highlight; }
  .stSlider [data-rac] > div:first-child:not(:has(input)) { forced-color-adjust: none; background: GrayText; }
  .stSlider [data-testid="stSliderThumbValue"] { forced-color-adjust: auto; }
  [role="radio"][aria-checked="true"] { outline: 2px solid Highlight; outline-offset: -4px; }
}
[data-testid="stElementContainer"][data-stale="true"] { opacity: 1 !important; transition: none !important; }
</style>"""


def _lab() -> None:
    from app.views import lab

    lab.page(load)


def _tour() -> None:
    from app.views import lessons

    lessons.page()


def _derivations() -> None:
    from app.views import derivations

    derivations.page()


def pages() -> list[Any]:
    """Return all pages. The one that is asked for does not wait for the others, some of which bring much with them."""
    return [ways.lab(_lab), ways.tour(_tour), ways.derivations(_derivations), ways.lineage()]


def load() -> None:
    """Import every page, so that the next one is there at once, and start what else the first picture does not need."""
    from app.views import derivations, lab, lessons  # noqa: F401

    serving.settle()


def main() -> None:
    """Run the page that the visitor is on."""
    # Before the navigation, which would have the browser fetch the icon of the page from another server.
    st.set_page_config(page_icon=ICON, layout="wide", initial_sidebar_state=340)
    page = st.navigation(pages(), position="top")
    st.set_page_config(page_title=f"{page.title}: Gated DeltaNet, live")
    st.html(STYLE)
    page.run()
    load()


@contextlib.asynccontextmanager
async def lifespan(_: st.App) -> AsyncIterator[None]:
    """Start the processes that run the kernels with the server, so that they are ready for the first visitor."""
    serving.start()
    yield


def unexpected(error: Exception) -> bool:
    """Say that an error of ours is one, where the page would show a traceback, and keep it for the log."""
    logging.getLogger(__name__).error("a page failed", exc_info=error)
    st.error("An error of the app stopped this page, not your input. Change a control, or reload the page.")
    return True


if __name__ == "__main__":
    main()
else:
    app = st.App(__file__, lifespan=lifespan, on_script_error=unexpected)
