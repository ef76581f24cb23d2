"""The controls of the lab: where the tokens come from, the rules, gates and sizes, and the table of tokens."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import streamlit as st

from app import compute, session, table
from app.choice import HALF_LIVES, LEAST_ALPHA, Origin, TableRow, differing, starting
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
NAMES = {
    "alpha": "decay α",
    "beta": "erase gate β",
    "write": "write gate w",
    "dk": "key channels",
    "dv": "value channels",
    "T": "tokens",
    "delta": "step Δ",
    "spread": "spread",
    "noise": "noise",
    "seed": "seed",
}  # of the settings, in the order of their controls
GATES, FINE = ("alpha", "beta", "write", "delta"), ("spread", "noise", "seed")
ABOUT_SPREAD = "How far the gates of single channels lie from the common one, in rules with a gate for each channel."
ABOUT_NOISE = "The length of random noise on each key, value and query, relative to the vector: 0.1 is a tenth of it."


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
        brought = compute.inactive(session.kept().choice, session.upload())
        if named := [NAMES[name] for name in GATES if name in brought]:
            st.caption(f"The tokens bring their own {_listed(named)}: what is set here does not act.")
        acting = _acting(origin, rules, brought)
        _settings([name for name in NAMES if name in acting and name not in FINE], acting)
        if any(rule.discretisation for rule in rules):
            st.selectbox(
                "S4 and Mamba discretised",
                list(DISCRETISATIONS),
                format_func=lambda method: DISCRETISATIONS[method],
                **picked("discretisation", list(DISCRETISATIONS)),
                on_change=session.touch,
            )
        folded = [name for name in NAMES if name not in acting or name in FINE]
        start = starting(origin, session.kept().choice.preset).settings
        others = differing(session.settings(), start, [name for name in folded if name in acting])
        label = ", ".join(f"{NAMES[name]} {value:g}" for name, value in others.items())
        with st.expander(f"More settings: {label}" if label else "More settings", key="more", type="compact"):
            _settings(folded, acting)


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


def _acting(origin: Origin, rules: list[WriteRule], brought: frozenset[str]) -> set[str]:
    """Return the settings that act: a chosen rule has the gate, and not every token brings its own."""
    wide = (Gate.KEY, Gate.VALUE, Gate.MATRIX)
    made = origin is not Origin.ARRAYS
    acts = {
        "alpha": any(rule.decay is not Gate.NONE and not rule.discretisation for rule in rules),
        "beta": any(rule.erase is not Gate.NONE for rule in rules),
        "write": any(rule.writes_w for rule in rules),
        "delta": any(rule.discretisation for rule in rules),
        "spread": any(gate in wide for rule in rules for gate in (rule.decay, rule.erase, rule.write)),
        "T": origin is Origin.PRESET,
        **dict.fromkeys(("dk", "dv", "noise", "seed"), made),
    }
    return {name for name, does in acts.items() if does and not (name in GATES and name in brought)}


def _settings(names: list[str], acting: set[str]) -> None:
    """Show the controls of settings, one that does not act greyed out: sliders first, then fields in two columns."""
    if "alpha" in names:
        _decay(on="alpha" in acting)
    if "beta" in names:
        slider("beta", 0.0, LIMITS.gate, 0.05, on="beta" in acting, label="Erase gate β")
    if "write" in names:
        slider("write", 0.0, LIMITS.gate, 0.05, on="write" in acting, label="Write gate w")
    fields: dict[str, Callable[[bool], None]] = {
        "dk": lambda on: whole("dk", 1, LIMITS.channels, on=on, label="Key channels dₖ"),
        "dv": lambda on: whole("dv", 1, LIMITS.channels, on=on, label="Value channels dᵥ"),
        "T": lambda on: whole("T", 1, LIMITS.tokens, on=on, label="Tokens T"),
        "delta": lambda on: number("delta", 0.0, LIMITS.delta, 0.05, on=on, label="Step Δ"),
        "spread": lambda on: number("spread", 0.0, 1.0, 0.1, on=on, label="Spread", about=ABOUT_SPREAD),
        "noise": lambda on: number("noise", 0.0, LIMITS.noise, 0.05, on=on, label="Noise", about=ABOUT_NOISE),
        "seed": lambda on: whole("seed", 0, LIMITS.seed, on=on, label="Seed"),
    }
    columns = itertools.cycle(st.columns(2))
    for name in names:
        if name in fields:
            with next(columns):
                fields[name](name in acting)


def _decay(*, on: bool) -> None:
    """Show the decay, as what is left after a token or as a half-life."""
    given_as = one_of(
        "Decay of a token, given as",
        {"alpha": "alpha", "half-life": "half-life"},
        "decay_as",
        session.switch_decay,
        width="stretch",
        disabled=not on,
        help="What is left of the memory after one token, or after how many tokens half of it is left.",
    )
    if given_as == "alpha":
        slider("alpha", LEAST_ALPHA, 1.0, 0.005, on=on, label="Decay α", hide=True)
    else:
        slider("half_life", *HALF_LIVES, 0.25, on=on, label="Half-life, tokens", hide=True)


def _listed(names: list[str]) -> str:
    """Join names as a sentence does."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


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
