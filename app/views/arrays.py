"""The controls of one's own arrays: the files and what they hold, which array is which, and which memory is shown."""

from __future__ import annotations

import streamlit as st

from app import compute, session, uploads
from app.choice import named
from app.markdown import plain
from app.views.widgets import picked, whole
from gdn_core.lab import files
from gdn_core.lab.limits import LIMITS, size
from gdn_core.lab.names import guesses, layers

ORDERS = {
    "auto": "as the sizes say",
    "BTHK": "[B, T, H, K]: tokens, then heads",
    "BHTK": "[B, H, T, K]: heads, then tokens",
}
ABOUT_ARRAYS = (
    "k, and any of q, v, g (or alpha), beta, w and delta, as [B, T, H, K], [B, H, T, K], [T, H, K] or [T, K]. "
    "Several .npy make one upload."
)
ROLES = {
    "k": "Keys k",
    "q": "Queries q",
    "v": "Values v",
    "g": "Log decay g",
    "alpha": "Decay α",
    "beta": "Erase gate β",
    "w": "Write gate w",
    "delta": "Step Δ",
}


def arrays() -> None:
    """Show the controls of an upload: its files, what is what in them, and which memory and tokens are shown."""
    st.file_uploader(
        "Your arrays",
        accept_multiple_files=True,
        type=[kind[1:] for kind in (*files.KINDS, *files.PICKLED)],  # a pickle is told how to be converted
        key=session.upload_key(),
        on_change=session.take_upload,
        help=" ".join((ABOUT_ARRAYS, *LIMITS.sentences())),
    )
    if session.kept().lost:
        most = size(LIMITS.visitor_bytes)
        st.caption(f"The server keeps {most} of arrays for a visitor: the files that you gave before were let go.")
    choice, given = session.kept().choice, session.upload()
    there = given if given and not given.let_go else None
    read_as, lengths = compute.reading(choice, given)
    if there:
        st.caption(plain(f"In use: {named(choice.files)}."))
        with st.expander(f"What is in {'it' if len(choice.files) == 1 else 'them'}: {len(there.members)}"):
            st.dataframe(uploads.listed(there, choice.reading), hide_index=True)
        _layer(there)
    st.selectbox(
        "Order of axes",
        list(ORDERS),
        format_func=lambda axes: ORDERS[axes],
        **picked("axes", list(ORDERS)),
        on_change=session.touch,
    )
    if read_as:
        st.caption(plain(read_as))
    _window()
    st.checkbox(
        "Normalise keys and queries",
        **session.widget("normalise"),
        on_change=session.touch,
        help="Divide each x by its length, as flash-linear-attention does: x / sqrt(sum of squares + 1e-6).",
    )
    if lengths:
        st.caption(plain(lengths))
    st.checkbox(
        "Begin with an empty memory",
        **session.widget("from_empty"),
        on_change=session.touch,
        help="Otherwise a window begins with what the tokens before it leave.",
    )
    if there:
        _mapping(there)


def _window() -> None:
    """Show which memory and which tokens of it are shown."""
    left, right = st.columns(2)
    with left:
        whole("batch", 0, None, label="Sequence")
        whole("start", 0, None, label="First token")
        whole("channels", 0, LIMITS.channels, label="Channels", about="Of keys and values, the first so many; 0: all.")
    with right:
        whole("head", 0, None, label="Head")
        whole("length", 0, LIMITS.tokens, label="Tokens", about="0 is as many as there are and fit.")


def _layer(given: uploads.Upload) -> None:
    """Show which layer is used, where files hold several."""
    there = layers(given.arrays)
    keys = uploads.roles(given, session.kept().choice.reading).get("k", "")
    if len(there) < 2 or keys not in there:
        return
    st.selectbox(
        "Layer",
        list(there),
        format_func=lambda name: plain(there[name]),
        **session.says("layer", keys),
        on_change=session.map_array,
        args=("k", "layer"),
    )


def _mapping(given: uploads.Upload) -> None:
    """Show which array is which; what the names say is what it starts from."""
    used = uploads.roles(given, session.kept().choice.reading)
    sizes = {name: f"{name} {list(x.shape)}" for name, x in given.arrays.items()}
    unclear = "k" not in guesses(given.arrays)  # and so it stays open while one after the other is chosen
    with st.expander("Which array is which", expanded=unclear):
        for role, label in ROLES.items():
            st.selectbox(
                label,
                [*sizes] if role == "k" and "k" in used else ["", *sizes],
                format_func=lambda name: sizes.get(name, "none"),
                **session.says(f"array-{role}", used.get(role, "")),
                on_change=session.map_array,
                args=(role, f"array-{role}"),
            )
