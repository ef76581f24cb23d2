"""The controls of the lab: where the tokens come from, the rules, gates and sizes, and the table of tokens."""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import compute, session, table
from app.choice import HALF_LIVES, LEAST_ALPHA, Origin, TableRow
from app.views.arrays import arrays
from app.views.widgets import number, one_of, picked, slider, whole
from gdn_core.lab.limits import LIMITS
from gdn_core.lab.scenarios import PRESETS
from gdn_core.rules import RULES, Discretisation, Gate, WriteRule

ORIGINS = {Origin.PRESET: "Preset", Origin.TEXT: "Text", Origin.ARRAYS: "Arrays", Origin.TABLE: "Table"}
DISCRETISATIONS = {
    "": "each as published",
    Discretisation.ZOH.value: "zero-order hold, both",
    Discretisation.MAMBA.value: "Mamba's own (Δ B), both",
}
GATES = {"alpha": "decay α", "beta": "erase gate β", "write": "write gate w", "delta": "step Δ"}
ABOUT_SPREAD = "How far the gates of single channels lie from the common one, in rules with a gate for each channel."


def controls() -> None:
    """Show the controls; :func:`app.session.chosen` reads them."""
    with st.sidebar:
        origin = Origin(one_of("Tokens from", ORIGINS, "origin", session.start_origin, width="stretch"))
        if session.kept().fresh and origin is not session.kept().choice.origin:
            session.start_origin()  # the browser's page is older than the session
        _origin(origin)
        slugs = st.multiselect(
            "Write rules, one to four: a fifth takes the place of the first",
            list(RULES),
            format_func=lambda slug: RULES[slug].title,
            **session.widget("rules", "default"),
            on_change=session.swap_rules,
        )
        rules = [RULES[slug] for slug in slugs]
        _gates(rules, compute.inactive(session.kept().choice, session.upload()))
        _sizes(origin)
        if any(rule.discretisation for rule in rules):
            st.selectbox(
                "S4 and Mamba discretised",
                list(DISCRETISATIONS),
                format_func=lambda method: DISCRETISATIONS[method],
                **picked("discretisation", list(DISCRETISATIONS)),
                on_change=session.touch,
            )


def _origin(origin: Origin) -> None:
    """Show the controls of one origin of tokens."""
    if origin is Origin.PRESET:
        preset = st.selectbox(
            "Preset",
            list(PRESETS),
            format_func=lambda slug: PRESETS[slug].title,
            **picked("preset", list(PRESETS)),
            on_change=session.start_preset,
        )
        if session.kept().fresh and preset != session.kept().choice.preset:
            session.start_preset()  # the browser's page is older than the session
    elif origin is Origin.TEXT:
        st.text_area(
            "Your text",
            **session.widget("text"),
            on_change=session.touch,
            height=150,
            help="Each word becomes a key and a value, the same word always the same ones. "
            "Lines such as *cat = purrs* become pairs to be recalled.",
        )
    elif origin is Origin.ARRAYS:
        arrays()
    else:
        st.caption("Edit the tokens in the table. A gate left empty there is the one set below.")


def _gates(rules: list[WriteRule], brought: frozenset[str]) -> None:
    """Show the gates of all tokens; one that no chosen rule has, or that every token brings, is greyed out."""
    if named := [GATES[name] for name in GATES if name in brought]:
        st.caption(f"The tokens bring their own {_listed(named)}: what is set here does not act.")
    decays = "alpha" not in brought and any(rule.decay is not Gate.NONE and not rule.discretisation for rule in rules)
    given_as = one_of(
        "Decay of a token, given as",
        {"alpha": "alpha", "half-life": "half-life"},
        "decay_as",
        session.switch_decay,
        width="stretch",
        disabled=not decays,
        help="What is left of the memory after one token, or after how many tokens half of it is left.",
    )
    if given_as == "alpha":
        slider("alpha", LEAST_ALPHA, 1.0, 0.005, on=decays, label="Decay α", hide=True)
    else:
        slider("half_life", *HALF_LIVES, 0.25, on=decays, label="Half-life, tokens", hide=True)
    erases = "beta" not in brought and any(rule.erase is not Gate.NONE for rule in rules)
    slider("beta", 0.0, LIMITS.gate, 0.05, on=erases, label="Erase gate β")
    own = any(rule.writes_w for rule in rules)
    writes = "write" not in brought and own
    slider("write", 0.0, LIMITS.gate, 0.05, on=writes, label="Write gate w")
    steps = "delta" not in brought and any(rule.discretisation for rule in rules)
    wide = any(gate in (Gate.KEY, Gate.VALUE, Gate.MATRIX) for r in rules for gate in (r.decay, r.erase, r.write))
    left, right = st.columns(2)
    with left:
        number("delta", 0.0, LIMITS.delta, 0.05, on=steps, label="Step Δ")
    with right:
        number("spread", 0.0, 1.0, 0.1, on=wide, label="Spread", about=ABOUT_SPREAD)


def _listed(names: list[str]) -> str:
    """Join names as a sentence does."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _sizes(origin: Origin) -> None:
    """Show sizes, noise and seed; what the origin brings itself is greyed out."""
    made = origin is not Origin.ARRAYS
    left, right = st.columns(2)
    with left:
        whole("dk", 1, LIMITS.channels, on=made, label="Key channels dₖ")
        whole("T", 1, LIMITS.tokens, on=origin is Origin.PRESET, label="Tokens T")
        number("noise", 0.0, LIMITS.noise, 0.05, on=made, label="Noise")
    with right:
        whole("dv", 1, LIMITS.channels, on=made, label="Value channels dᵥ")
        whole("seed", 0, LIMITS.seed, on=made, label="Seed")


def edited_table() -> dict[str, tuple[TableRow, ...]]:
    """Show the table of tokens where that is the origin, and return what the visitor made of it."""
    if session.kept().choice.origin is not Origin.TABLE:
        return {}

    def gate(label: str, most: float) -> Any:
        return st.column_config.NumberColumn(label, min_value=0.0, max_value=most, format="plain")

    name_or_numbers = "A name, the same one always the same vector; or numbers in brackets."
    cells = st.data_editor(
        [vars(row) for row in session.kept().table_start],
        key=session.table_key(),
        on_change=session.touch,
        num_rows="dynamic",
        placeholder="",
        column_config={
            "key": st.column_config.TextColumn("key", help=name_or_numbers),
            "value": st.column_config.TextColumn("value", help=f"{name_or_numbers} Blank: only erase."),
            "query": st.column_config.TextColumn("query", help=f"{name_or_numbers} Blank: the token's own key."),
            "alpha": gate("decay α", 1.0),
            "beta": gate("erase β", LIMITS.gate),
            "write": gate("write w", LIMITS.gate),
            "delta": gate("step Δ", LIMITS.delta),
            "label": st.column_config.TextColumn("label"),
        },
        height="content" if len(session.kept().table_start) < 9 else 320,
    )
    return {"table": table.rows(cells)}
