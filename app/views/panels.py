"""The panels below the player: recall, norm and rank, spectrum, one token's matrices, and the numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import streamlit as st

from app import compute, export, figures, offline, session, table
from app.choice import Choice, Origin, Panel, Stage
from app.markdown import plain
from app.views.heads import heads
from app.views.sentences import sorry
from app.views.widgets import one_of

PANELS = {
    Panel.RECALL: "Recall",
    Panel.SIZE: "Norm and rank",
    Panel.SPECTRUM: "Spectrum",
    Panel.MOMENT: "One token, enlarged",
    Panel.KEYS: "Every key",
    Panel.NUMBERS: "Numbers and files",
    Panel.HEADS: "All heads",
}
ABOUT = {
    Panel.RECALL: "How far the answer to each key is from the value stored under it: a column a key, a row a token.",
    Panel.SIZE: "Norm: the root of the sum of the memory's squared entries. Effective rank: how many directions it "
    "uses.",
    Panel.SPECTRUM: "What each token does to the directions of key space, as eigenvalues of its transition: 1 keeps a "
    "direction, 0 erases it, below 0 turns it round.",
}
STAGES = {
    Stage.BEFORE: "before",
    Stage.DECAYED: "decayed",
    Stage.TAKEN: "taken away",
    Stage.ERASED: "erased",
    Stage.ADDED: "added",
    Stage.WRITTEN: "written",
}


@st.fragment(key=session.BELOW)
def below(choice: Choice, then: Callable[[], None]) -> None:
    """Show what stands below the player; runs alone when the player rests or something here is asked for.

    Streamlit keeps what a fragment is given for as long as the visit lasts: a choice is small, a picture is not.

    Args:
        choice: what is shown.
        then: called at the end, once everything is shown.
    """
    try:
        picture = compute.picture(choice, session.upload(choice))
    except compute.REFUSALS as error:
        sorry(error)
        return
    if (token := session.kept().choice.token) >= len(picture.scenario.labels):
        st.caption(f"There is no token {token} here: the player stands at the last.")
    there = {
        panel: name for panel, name in PANELS.items() if panel is not Panel.HEADS or choice.origin is Origin.ARRAYS
    }
    equations = st.container()
    panel = Panel(one_of("Below the player", there, "panel", session.touch, label_visibility="collapsed"))
    if panel in ABOUT:
        st.caption(ABOUT[panel])
    session.let_the_picture_be_drawn(picture.digest)
    written = zip(picture.titles, compute.equations(choice), strict=True)
    equations.markdown("\n\n".join(f"**{title}** $\\quad {equation}$" for title, equation in written))
    shown: dict[str, Any] = {"panel": panel}
    if panel is Panel.RECALL:
        _recall(choice, picture)
    elif panel is Panel.SIZE:
        _norm_and_rank(choice, picture)
    elif panel is Panel.SPECTRUM:
        _spectrum(choice, picture)
    elif panel is Panel.MOMENT:
        shown["stage"] = _moment(choice, picture)
    elif panel is Panel.KEYS:
        _every_key(choice, picture)
    elif panel is Panel.HEADS:
        heads(choice)
    else:
        _numbers(choice, picture)
    session.watched(**shown)
    then()


def _recall(choice: Choice, picture: compute.Picture) -> None:
    errors = compute.recall(choice, picture)
    _chart(
        figures.recall(errors, picture.titles, picture.scenario.labels, palette=figures.THEMED),
        "How far each rule's answer to every key written so far is from the value written last under it",
        f"{export.name(choice, picture)}_recall",
    )


def _norm_and_rank(choice: Choice, picture: compute.Picture) -> None:
    norm, rank = compute.norm_and_rank(choice, picture)
    _chart(
        figures.norm_and_rank(norm, rank, picture.titles, palette=figures.THEMED),
        "Frobenius norm and effective rank of each rule's memory after every token",
        f"{export.name(choice, picture)}_norm-and-rank",
    )


def _spectrum(choice: Choice, picture: compute.Picture) -> None:
    _chart(
        figures.spectrum(compute.spectrum(choice, picture), picture.titles, palette=figures.THEMED),
        "Eigenvalues of each token's transition under each rule",
        f"{export.name(choice, picture)}_spectrum",
    )


def _moment(choice: Choice, picture: compute.Picture) -> Stage:
    token = _at_rest(picture)
    label = f"Token {token}, {plain(picture.scenario.labels[token])}: the memory"
    stage = Stage(one_of(label, STAGES, "stage", session.touch))
    figure = figures.memories(
        compute.stage(picture, token, stage),
        picture.titles,
        limit=picture.limit,
        palette=figures.THEMED,
    )
    named = f"{export.name(choice, picture)}_t-{token}_{stage}"
    _chart(figure, f"The memory of each rule, {STAGES[stage]}, at token {token}", named)
    return stage


def _at_rest(picture: compute.Picture) -> int:
    """Return the token at which the player rests, in this picture."""
    last, at_rest = len(picture.scenario.labels) - 1, session.kept().choice.token
    return last if at_rest < 0 else min(at_rest, last)


def _every_key(choice: Choice, picture: compute.Picture) -> None:
    token = _at_rest(picture)
    st.caption(
        f"What each memory answers after token {token} to every key written so far, the newest first, in the values "
        "that were written: 1 is the value itself."
    )
    st.dataframe(compute.every_key(choice, picture, token), hide_index=True)


def _numbers(choice: Choice, picture: compute.Picture) -> None:
    name, page = export.name(choice, picture), session.address()
    at_rest = replace(choice, token=session.kept().choice.token)
    files = {
        f"{name}.npz": ("Every array (NPZ)", lambda: export.npz(picture)),
        f"{name}.csv": ("Numbers of each token (CSV)", lambda: export.csv(choice, picture)),
        f"{name}.html": ("The player, to open offline (HTML)", lambda: offline.html(at_rest, picture, page)),
        f"{name.replace('-', '_')}.py": ("The Python that makes them", lambda: export.python(choice, picture)),
    }
    with st.container(horizontal=True):
        for file, (label, make) in files.items():
            st.download_button(label, make, file, on_click="ignore", icon=":material/download:", key=label)
        if choice.origin is not Origin.TABLE and st.button("Edit these tokens", icon=":material/edit:", key="edit"):
            session.start_table(table.of(picture.scenario))
            st.rerun()
    st.caption(
        f"The HTML file holds the player and its data, about {offline.size(picture) / 1e6:.1f} MB, and asks no server "
        "for anything. The picture is saved as PNG by the player above, and by the camera of a figure."
    )
    st.dataframe(export.numbers(choice, picture), hide_index=True)


def _chart(figure: Any, description: str, name: str) -> None:
    height, figure.layout.height = figure.layout.height, None  # a phone makes it less, see app.main.STYLE
    figure.update_layout(dragmode=False)  # a swipe scrolls the page; the buttons of the chart zoom
    config = {"displaylogo": False, "scrollZoom": False, "toImageButtonOptions": {"filename": name}}
    with st.container(key="chart", height=height, border=False):
        st.plotly_chart(figure, alt=description, config=config, height="stretch")
