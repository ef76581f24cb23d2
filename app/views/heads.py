"""All heads of a layer at a glance, and from one of them to the player."""

from __future__ import annotations

import streamlit as st

from app import compute, session
from app.choice import Choice
from app.markdown import plain
from app.views.sentences import sorry
from gdn_core.rules import RULES

ABOUT = (
    "Over the tokens from the first one, the memory never emptied. |S| is the Frobenius norm; rank counts the "
    "directions that carry the memory; half-life is how many tokens pass until half is left, at the mean log decay."
)


def heads(choice: Choice) -> None:
    """Show every head under one of the rules; a row that is selected is shown in the player."""
    slug = choice.rules[-1]
    if len(choice.rules) > 1:
        slug = st.selectbox(
            "All heads under",
            choice.rules,
            index=len(choice.rules) - 1,
            format_func=lambda slug: RULES[slug].title,
            key=f"heads-under-{'.'.join(choice.rules)}",
        )
    try:
        with st.spinner("Running every head."):
            found = compute.heads(choice, session.upload(choice), slug)
    except compute.REFUSALS as error:
        sorry(error)
        return
    st.caption(plain(" ".join(filter(None, (ABOUT, found.left)))))
    st.caption("Select a row to see that head above: with a click at its start, or with the arrow keys and Space.")
    chosen = st.dataframe(
        compute.heads_listed(found, choice.head),
        hide_index=True,
        column_config={
            "head": st.column_config.NumberColumn("head", width="small"),
            "here": st.column_config.TextColumn("player", width="small"),
            "norm": st.column_config.LineChartColumn("|S| over time", y_min=0),
            "|S|": st.column_config.NumberColumn("|S| at the end", format="%.3g", width="small"),
            "rank": st.column_config.LineChartColumn("rank over time", y_min=0),
            "rank now": st.column_config.NumberColumn("rank at the end", format="%.1f", width="small"),
            "half-life": st.column_config.NumberColumn("half-life, tokens", format="%.3g", width="small"),
            "beta": st.column_config.NumberColumn("mean β", format="%.3f", width="small"),
        },
        on_select="rerun",
        selection_mode="single-row",
        key=f"heads-{slug}-{choice.batch}-{choice.head}",
    )
    rows = chosen.selection.rows
    if rows and rows[0] != choice.head:
        session.show_head(rows[0])
        st.rerun()
