"""The lab: the same tokens under one to four write rules, and what each leaves in its memory."""

from __future__ import annotations

import streamlit as st

from app import compute, link, session, uploads
from app.choice import Choice, Origin
from app.markdown import plain
from app.player import player
from app.views.controls import ABOUT_ARRAYS, controls, edited_table
from app.views.panels import below
from app.views.sentences import sorry

BACKENDS = {"triton": "Triton", "interpreter": "Triton interpreter", "torch": "PyTorch"}


def page() -> None:
    """Show the page: the picture before the controls that stand as they are, which the browser shows anyway."""
    session.begin()
    for sentence in session.kept().sentences:
        st.warning(plain(sentence), icon=":material/link_off:")
    if renewed := session.renewed():
        controls()
    if session.kept().choice.origin is Origin.TABLE:
        st.markdown("### Your tokens\nOne a row, in order; each token's own gates act at that token alone.")
    picture = None
    try:
        choice = session.chosen(**edited_table())
        session.keep(choice)
        picture = view(choice)
    except compute.REFUSALS as error:
        sorry(error)
    if not renewed:
        controls()
    if picture:
        session.drawn_whole(picture.digest)
        below(choice, picture)


def view(choice: Choice) -> compute.Picture | None:
    """Show a choice: its tokens under its rules. Return the picture, or None where a sentence stands for it."""
    try:
        scenario = compute.tokens(choice, session.upload())
        if choice.origin is not Origin.TABLE:
            st.markdown(f"### {scenario.title}\n{scenario.look_for}")
        for note in (*scenario.notes, *link.left_out(choice)):
            st.caption(plain(note))
        with st.spinner("Running the kernel; the first time its processes have to start."):
            picture = compute.picture(choice, session.upload())
    except uploads.NoFileError as error:
        for sentence in session.kept().refused:
            sorry(sentence)
        st.info(plain(f"{error}."), icon=":material/upload_file:")
        st.caption(f"Give {ABOUT_ARRAYS}")
        return None
    except compute.REFUSALS as error:
        sorry(error)
        return None
    run, (T, V, K) = picture.trajectory.run, picture.trajectory.sizes
    token, visit = session.kept().player
    player(picture.payload, key=session.PLAYER, token=token, visit=visit, on_rest=session.rest)
    notes = [
        f"{title} overflows float32 at token {t}: entries that are not finite are hatched, or left out."
        for title, t in picture.overflows.items()
    ]
    for note in notes:
        st.caption(note)
    refused = " ".join(f"{BACKENDS.get(name, name)}: {why}." for name, why in run.refusals.items())
    with st.container(horizontal=True, vertical_alignment="center"):
        name = f"{BACKENDS.get(run.backend, run.backend)}, {run.device}"
        st.badge(name, icon=":material/memory:", help=refused or None)
        st.caption(
            f"{run.seconds * 1e3:.0f} ms for {len(picture.titles)} rules, {T} tokens, memories of {V} x {K}, float32"
        )
    written = zip(picture.titles, compute.equations(choice), strict=True)
    st.markdown("\n\n".join(f"**{title}** $\\quad {equation}$" for title, equation in written))
    return picture
