"""The rows of the lineage: each rule with its gates, its equation, its source and the size of its memory."""

from __future__ import annotations

import streamlit as st

from gdn_core.equation import tex, tex_gates, tex_output
from gdn_core.rules import LINEAGE, Architecture, Gate, KVCache, WriteRule

WIDTHS = {
    Gate.NONE: "none",
    Gate.SCALAR: "one number",
    Gate.KEY: "one a key channel",
    Gate.VALUE: "one a value channel",
    Gate.MATRIX: "one an entry",
}


def rows() -> None:
    """Show every row of the lineage, in the order of years."""
    for row in sorted(LINEAGE, key=lambda row: row.year):
        with st.container(border=True):
            _row(row)


def _row(row: Architecture) -> None:
    left, right = st.columns([2, 3], vertical_alignment="center")
    place = f"[{row.source.title or row.source.paper}]({row.source.url})" if row.source.url else row.source.paper
    with left:
        st.markdown(f"### {row.title} · {row.year}")
        st.markdown(row.summary)
        st.caption(f"{place}, {row.source.place}")
    with right:
        if isinstance(row, WriteRule):
            for formula in filter(None, (tex(row), tex_output(row), tex_gates(row))):
                st.markdown(rf"$\displaystyle {formula}$", text_alignment="center")  # in a line, so that it wraps
            tied = "erase and write are one number" if row.tied else f"write: {WIDTHS[row.write]}"
            st.caption(
                f"decay: {WIDTHS[row.decay]} · erase: {WIDTHS[row.erase]} · {tied} · "
                f"gates {'fixed' if row.clock.value == 'fixed' else 'from the token'} · "
                f"memory: {row.floats(1, 32, 32):,} numbers at 32 x 32, at every token"
            )
        elif isinstance(row, KVCache):
            st.markdown("Outside the family: its memory is the cache of all keys and values.")
            st.caption(f"memory: {row.floats(64, 32, 32):,} numbers after 64 tokens at 32 x 32, and growing")
