"""The lab: the same tokens under one to four write rules, and what each leaves in its memory."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import streamlit as st

from app import compute, export, link, serving, session, uploads, walk
from app.choice import OPENING, Choice, Origin, Panel
from app.markdown import plain
from app.player import player
from app.views import ways
from app.views.arrays import ABOUT_ARRAYS
from app.views.controls import controls, edited_table
from app.views.panels import PANELS, below
from app.views.sentences import sorry
from gdn_core.lab.scenarios import PRESETS
from gdn_core.lab.worker.pool import LaunchError

BACKENDS = {"triton": "Triton", "interpreter": "Triton interpreter", "torch": "PyTorch"}
INTRODUCTION = (
    "Each square is a memory, a matrix: rows are value channels, columns are key channels. A token writes a value "
    "under a key, each rule in its own way. At token 8 a key is written again: linear attention adds the new value and "
    "answers with both, DeltaNet first takes the old one away."
)
ABOVE, UNDER = "picture", "under-the-player"  # keys of what is shown of a picture
GREY = f"<style>.st-key-{ABOVE}, .st-key-{UNDER} {{ filter: grayscale(1); opacity: 0.85; }}</style>"
LOOK, LOOKS = 0.02, 50  # seconds between two looks at the session, and how many before the visitor may stop waiting


def page(rest: Callable[[], None] = serving.settle) -> None:
    """Show the page: the picture before the controls that stand as they are, which the browser shows anyway.

    Args:
        rest: loads what no first picture waits for; called when all is shown.
    """
    walk.leave()
    session.begin()
    for sentence in session.kept().sentences:
        st.warning(plain(sentence), icon=":material/link_off:")
    if renewed := session.renewed():
        controls()
    headed = session.kept().choice.origin is Origin.TABLE
    if headed:
        st.markdown("# Your tokens\nOne a row, in order; each token's own gates act at that token alone.")
    shown = _asked_for()
    if shown:
        with st.container(key=ABOVE):
            view(*shown, headed=headed)
    elif not headed:
        st.markdown("# Write-rule lab")
    if not renewed:
        controls()
    if shown:
        session.drawn_whole(shown.picture.digest)
        with st.container(key=UNDER):
            below(shown.choice, rest)


class Shown(NamedTuple):
    """A choice and its picture."""

    choice: Choice
    picture: compute.Picture


def _asked_for() -> Shown | None:
    """Return what the visitor asks for; where it cannot be shown, say why, and return what was shown last."""
    choice, asks_for_file = None, False
    try:
        choice = session.chosen(**edited_table())
        session.keep(choice)
        for sentence in session.kept().refused if choice.origin is Origin.ARRAYS else ():
            sorry(sentence)
        picture = _awaited(choice)
        session.shown(choice)
        return Shown(choice, picture)
    except uploads.NoFileError as error:
        st.info(plain(f"{error}."), icon=":material/upload_file:")
        st.caption(f"Give {ABOUT_ARRAYS}")
        asks_for_file = not session.kept().refused
    except LaunchError as error:
        sorry(error)
        st.button("Try again", icon=":material/refresh:", on_click=session.retry, key="retry")
    except compute.REFUSALS as error:
        sorry(error)
        if choice and uploads.keyless(choice, session.upload()):
            st.caption("**Which array is which**, in the controls, says which of these holds the keys.")
    return None if asks_for_file else _last()


def _awaited(choice: Choice) -> compute.Picture:
    """Wait for the picture of a choice. A change meanwhile ends the run, and after a while so can a button.

    Raises:
        LaunchError: if it did not come, or the visitor does not want to wait for it.
    """
    if session.kept().cancelled == choice.numbers():
        raise LaunchError("You stopped waiting for this picture")
    asked = compute.ask(choice, session.upload())
    stop = st.empty()
    with st.spinner("Running the kernel; the first time its processes have to start."):
        for waited in itertools.count():
            try:
                picture = asked.result(LOOK)
                stop.empty()
                return picture
            except TimeoutError:
                session.kept()  # a look at the session is where the next change is taken up
            if waited == LOOKS:
                stop.button("Stop waiting", on_click=session.cancel, args=(choice.numbers(),), key="stop")
    raise AssertionError("unreachable")


def _last() -> Shown | None:
    """Return the last picture there was, greyed out: it is not what is asked for."""
    choice = session.kept().good
    if choice is None:
        return None
    try:
        picture = compute.picture(choice, session.upload(choice))
    except compute.REFUSALS:  # its file is not held any more, or the kernel does not run
        return None
    st.html(GREY)
    st.caption("Below, greyed out, is the last picture that could be shown. The controls stand as you left them.")
    return Shown(choice, picture)


def view(choice: Choice, picture: compute.Picture, *, headed: bool) -> None:
    """Show a choice: its tokens under its rules.

    Args:
        choice: what is shown.
        picture: of it.
        headed: the page has its heading already.
    """
    scenario = picture.scenario
    if opening := not headed and choice.numbers() == OPENING.numbers():
        with st.container(key="introduction"):
            _offers()
            st.markdown(INTRODUCTION)
    elif not headed:
        st.markdown(f"# {scenario.title}\n{_look_for(choice, picture)}")
    run, (T, V, K) = picture.trajectory.run, picture.trajectory.sizes
    token, visit = session.kept().player
    moving = opening and token == OPENING.token
    player(
        picture.payload,
        key=session.PLAYER,
        token=token,
        visit=visit,
        moving=moving,
        caption=export.caption(choice, picture, session.address()),
        on_rest=session.rest,
        awaited=session.awaited(),
        on_drawn=session.drew,
    )
    if opening:
        st.markdown(f"## {scenario.title}\n{_look_for(choice, picture)}")
    for note in (*scenario.notes, *link.left_out(choice)):
        st.caption(plain(note))
    for note in picture.overflow_notes:
        st.caption(note)
    refused = " ".join(f"{BACKENDS.get(name, name)}: {why}." for name, why in run.refusals.items())
    with st.container(horizontal=True, vertical_alignment="center"):
        name = f"{BACKENDS.get(run.backend, run.backend)}, {run.device}"
        st.badge(name, icon=":material/memory:", help=refused or None)
        st.caption(
            f"{run.seconds * 1e3:.0f} ms for {len(picture.titles)} rules, {T} tokens, memories of {V} x {K}, float32"
        )


def _look_for(choice: Choice, picture: compute.Picture) -> str:
    """Say what to look for, and of a preset in which chart below the player its point shows."""
    said = compute.look_for(choice, picture)
    if choice.origin is not Origin.PRESET:
        return said
    return f"{said} The chart that shows it is **{PANELS[Panel(PRESETS[choice.preset].panel)]}**, below the player."


def _offers() -> None:
    """Head the first visit's page, and offer four things to do."""
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", gap="small"):
        st.markdown("# One memory, four ways to write", width="content")
        with st.container(key="offers", horizontal=True, gap="small", width="content", vertical_alignment="center"):
            st.page_link(ways.tour(), label="Start the tour", query_params=ways.START)
            st.page_link(ways.tour(), label="See the rules", query_params=ways.RULES)
            st.button("Try your text", on_click=session.go, args=(Origin.TEXT,))
            st.button("Bring arrays", on_click=session.go, args=(Origin.ARRAYS,))
