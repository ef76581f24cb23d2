"""The lab: the same tokens under one to four write rules, and what each leaves in its memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from app import compute, export, figures, session
from app.markdown import plain
from app.player import player
from app.state import (
    HALF_LIVES,
    LEAST_ALPHA,
    MOST_RULES,
    Choice,
    Panel,
    Row,
    Source,
    Stage,
    named,
)
from gdn_core.lab.limits import LIMITS
from gdn_core.lab.scenarios import PRESETS
from gdn_core.rules import RULES, Discretisation, Gate, WriteRule

SOURCES = {Source.PRESET: "Preset", Source.TEXT: "Text", Source.ARRAYS: "Arrays", Source.TABLE: "Table"}
PANELS = {
    Panel.RECALL: "Recall",
    Panel.SIZE: "Norm and rank",
    Panel.SPECTRUM: "Spectrum",
    Panel.MOMENT: "The moment, enlarged",
    Panel.NUMBERS: "Numbers and files",
}
STAGES = {
    Stage.BEFORE: "before",
    Stage.DECAYED: "decayed",
    Stage.TAKEN: "taken away",
    Stage.ERASED: "erased",
    Stage.ADDED: "added",
    Stage.WRITTEN: "written",
}
DISCRETISATIONS = {
    "": "each as published",
    Discretisation.ZOH.value: "zero-order hold, both",
    Discretisation.MAMBA.value: "Mamba's own (Δ B), both",
}
ABOUT_ARRAYS = (
    "k, and any of q, v, g, beta, w and delta, as [B, T, H, K], [T, H, K] or [T, K]. Several .npy make one upload."
)
ABOUT_SPREAD = "How far the gates of single channels lie from the common one, in rules with a gate for each channel."
BACKENDS = {"triton": "Triton", "interpreter": "Triton interpreter", "torch": "PyTorch"}


def page() -> None:
    """Show the page: the picture before the controls that stand as they are, which the browser shows anyway."""
    session.begin()
    for sentence in session.sentences():
        st.warning(plain(sentence), icon=":material/link_off:")
    if renewed := session.renewed():
        controls()
    if session.current().source is Source.TABLE:
        st.markdown("### Your tokens\nOne a row, in order; each token's own gates act at that token alone.")
    picture = None
    try:
        choice = session.chosen(**table())
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
        if choice.source is not Source.TABLE:
            st.markdown(f"### {scenario.title}\n{scenario.look_for}")
        for note in (*scenario.notes, *choice.left_out()):
            st.caption(plain(note))
        with st.spinner("Running the kernel; the first time its processes have to start."):
            picture = compute.picture(choice, session.upload())
    except compute.NoFileError as error:
        for sentence in session.refused():
            sorry(sentence)
        st.info(plain(f"{error}."), icon=":material/upload_file:")
        st.caption(f"Give {ABOUT_ARRAYS}")
        return None
    except compute.REFUSALS as error:
        sorry(error)
        return None
    run, (T, V, K) = picture.trajectory.run, picture.trajectory.sizes
    token, visit = session.start_of_player()
    player(picture.payload, key=session.PLAYER, token=token, visit=visit, on_rest=session.rest)
    notes = [
        f"{title} leaves the range of float32 at token {t}: what is no number there is hatched, or left out."
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


def sorry(error: Exception | str) -> None:
    """Say what is wrong; the controls stay as the visitor left them."""
    text = str(error)
    st.error(plain(text if text.endswith(".") else f"{text}."), icon=":material/error:")


def controls() -> None:
    """Show the controls; :func:`app.session.chosen` reads them."""
    with st.sidebar:
        source = Source(_one_of("Tokens from", SOURCES, "source", session.start_source, width="stretch"))
        _source(source)
        slugs = st.multiselect(
            "Write rules, one to four",
            list(RULES),
            format_func=lambda slug: RULES[slug].title,
            max_selections=MOST_RULES,
            key=session.key("rules"),
            on_change=session.touch,
        )
        rules = [RULES[slug] for slug in slugs]
        _gates(rules)
        _sizes(source)
        if any(rule.discretisation for rule in rules):
            st.selectbox(
                "S4 and Mamba discretised",
                list(DISCRETISATIONS),
                format_func=lambda method: DISCRETISATIONS[method],
                key=session.key("discretisation"),
                on_change=session.touch,
            )


def _source(source: Source) -> None:
    """Show the controls of one source of tokens."""
    if source is Source.PRESET:
        st.selectbox(
            "Preset",
            list(PRESETS),
            format_func=lambda slug: PRESETS[slug].title,
            key=session.key("preset"),
            on_change=session.start_preset,
        )
    elif source is Source.TEXT:
        st.text_area(
            "Your text",
            key=session.key("text"),
            on_change=session.touch,
            height=150,
            help="Each word becomes a key and a value, the same word always the same ones. "
            "Lines such as *cat = purrs* become pairs to be recalled.",
        )
    elif source is Source.ARRAYS:
        _arrays()
    else:
        st.caption("Edit the tokens in the table. A gate left empty there is the one set below.")


def _arrays() -> None:
    """Show the controls of an upload: the file, and which memory and tokens of it."""
    st.file_uploader(
        "Your arrays",
        accept_multiple_files=True,
        type=["npz", "npy", "csv", "safetensors"],
        key=session.UPLOAD,
        on_change=session.take_upload,
        help=" ".join((ABOUT_ARRAYS, *LIMITS.sentences())),
    )
    wanted = session.current().files
    for refused in session.refused() if wanted else ():
        sorry(refused)
    if wanted and session.upload():
        st.caption(plain(f"In use: {named(wanted)}."))
    left, right = st.columns(2)
    with left:
        _whole("batch", 0, None, label="Sequence")
        _whole("start", 0, None, label="First token")
        _whole("channels", 0, LIMITS.channels, label="Channels", about="Of keys and values, the first so many; 0: all.")
    with right:
        _whole("head", 0, None, label="Head")
        _whole("length", 0, LIMITS.tokens, label="Tokens", about="0 is as many as there are and fit.")


def _gates(rules: list[WriteRule]) -> None:
    """Show the gates of all tokens; one that no chosen rule has is greyed out."""
    decays = any(rule.decay is not Gate.NONE and not rule.discretisation for rule in rules)
    given_as = _one_of(
        "Decay of a token, given as",
        {"alpha": "alpha", "half-life": "half-life"},
        "decay_as",
        session.switch_decay,
        width="stretch",
        disabled=not decays,
        help="What is left of the memory after one token, or after how many tokens half of it is left.",
    )
    if given_as == "alpha":
        _slider("alpha", LEAST_ALPHA, 1.0, 0.005, on=decays, label="Decay α", hide=True)
    else:
        _slider("half_life", *HALF_LIVES, 0.25, on=decays, label="Half-life, tokens", hide=True)
    erases = any(rule.erase is not Gate.NONE for rule in rules)
    _slider("beta", 0.0, LIMITS.gate, 0.05, on=erases, label="Erase gate β")
    writes = any(rule.write is not Gate.NONE and not rule.tied and not rule.discretisation for rule in rules)
    _slider("write", 0.0, LIMITS.gate, 0.05, on=writes, label="Write gate w")
    steps = any(rule.discretisation for rule in rules)
    wide = any(gate in (Gate.KEY, Gate.VALUE, Gate.MATRIX) for r in rules for gate in (r.decay, r.erase, r.write))
    left, right = st.columns(2)
    with left:
        _number("delta", 0.0, LIMITS.delta, 0.05, on=steps, label="Step Δ")
    with right:
        _number("spread", 0.0, 1.0, 0.1, on=wide, label="Spread", about=ABOUT_SPREAD)


def _sizes(source: Source) -> None:
    """Show sizes, noise and seed; what the source brings itself is greyed out."""
    made = source is not Source.ARRAYS
    left, right = st.columns(2)
    with left:
        _whole("dk", 1, LIMITS.channels, on=made, label="Key channels dₖ")
        _whole("T", 1, LIMITS.tokens, on=source is Source.PRESET, label="Tokens T")
        _number("noise", 0.0, LIMITS.noise, 0.05, on=made, label="Noise")
    with right:
        _whole("dv", 1, LIMITS.channels, on=made, label="Value channels dᵥ")
        _whole("seed", 0, LIMITS.seed, on=made, label="Seed")


def _one_of(label: str, options: Mapping[Any, str], name: str, changed: Callable[[], None], **looks: Any) -> Any:
    return st.segmented_control(
        label,
        list(options),
        format_func=lambda option: options[option],
        required=True,
        key=session.key(name),
        on_change=changed,
        **looks,
    )


def _slider(name: str, low: float, high: float, step: float, *, on: bool, label: str, hide: bool = False) -> None:
    st.slider(
        label,
        low,
        high,
        step=step,
        key=session.key(name),
        on_change=session.touch,
        disabled=not on,
        label_visibility="collapsed" if hide else "visible",
        help=None if on else "None of the chosen rules has this gate.",
    )


def _number(name: str, low: float, high: float, step: float, *, on: bool, label: str, about: str | None = None) -> None:
    st.number_input(
        label,
        low,
        high,
        step=step,
        format="%g",
        key=session.key(name),
        on_change=session.touch,
        disabled=not on,
        help=about,
    )


def _whole(name: str, low: int, high: int | None, *, label: str, on: bool = True, about: str | None = None) -> None:
    st.number_input(
        label, low, high, step=1, key=session.key(name), on_change=session.touch, disabled=not on, help=about
    )


def table() -> dict[str, tuple[Row, ...]]:
    """Show the table of tokens where that is the source, and return what the visitor made of it."""
    if session.current().source is not Source.TABLE:
        return {}

    def gate(label: str, most: float) -> Any:
        return st.column_config.NumberColumn(label, min_value=0.0, max_value=most, format="plain")

    name_or_numbers = "A name, the same one always the same vector; or numbers in brackets."
    cells = st.data_editor(
        [vars(row) for row in session.table()],
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
        height="content" if len(session.table()) < 9 else 320,
    )
    return {"table": compute.rows(cells)}


@st.fragment(key=session.BELOW)
def below(choice: Choice, picture: compute.Picture) -> None:
    """Show what stands below the player; runs alone when the player rests or something here is asked for."""
    if (token := session.current().token) >= len(picture.scenario.labels):
        st.caption(f"There is no token {token} here: the player stands at the last.")
    panel = Panel(_one_of("Below the player", PANELS, "panel", session.touch, label_visibility="collapsed"))
    session.let_the_picture_be_drawn(picture.digest)
    shown: dict[str, Any] = {"panel": panel}
    if panel is Panel.RECALL:
        _recall(choice, picture)
    elif panel is Panel.SIZE:
        _size(choice, picture)
    elif panel is Panel.SPECTRUM:
        _spectrum(choice, picture)
    elif panel is Panel.MOMENT:
        shown["stage"] = _moment(picture)
    else:
        _numbers(choice, picture)
    session.watched(**shown)


def _recall(choice: Choice, picture: compute.Picture) -> None:
    errors = compute.recall(choice, picture)
    _chart(
        figures.recall(errors, picture.titles, picture.scenario.labels, palette=figures.THEMED),
        "How far each rule's answer to every key written so far is from the value written last under it",
    )


def _size(choice: Choice, picture: compute.Picture) -> None:
    norm, rank = compute.sizes(choice, picture)
    _chart(
        figures.sizes(norm, rank, picture.titles, palette=figures.THEMED),
        "Frobenius norm and effective rank of each rule's memory after every token",
    )


def _spectrum(choice: Choice, picture: compute.Picture) -> None:
    _chart(
        figures.spectrum(compute.spectrum(choice, picture), picture.titles, palette=figures.THEMED),
        "Eigenvalues of each token's transition under each rule",
    )


def _moment(picture: compute.Picture) -> Stage:
    last, at_rest = len(picture.scenario.labels) - 1, session.current().token
    token = last if at_rest < 0 else min(at_rest, last)
    label = f"Token {token}, {plain(picture.scenario.labels[token])}: the memory"
    stage = Stage(_one_of(label, STAGES, "stage", session.touch))
    figure = figures.memories(
        compute.stage(picture, token, stage),
        picture.titles,
        limit=picture.limit,
        palette=figures.THEMED,
    )
    _chart(figure, f"The memory of each rule, {STAGES[stage]}, at token {token}")
    return stage


def _numbers(choice: Choice, picture: compute.Picture) -> None:
    name = export.name(picture)
    files = {
        f"{name}.npz": ("Every array (NPZ)", lambda: export.npz(picture)),
        f"{name}.csv": ("Numbers of each token (CSV)", lambda: export.csv(choice, picture)),
        f"{name.replace('-', '_')}.py": ("The Python that makes them", lambda: export.python(choice, picture)),
    }
    with st.container(horizontal=True):
        for file, (label, make) in files.items():
            st.download_button(label, make, file, on_click="ignore", icon=":material/download:", key=label)
        if choice.source is not Source.TABLE and st.button("Edit these tokens", icon=":material/edit:", key="edit"):
            session.start_table(compute.as_table(picture.scenario))
            st.rerun()
    st.caption("The picture is saved as PNG by the player above, and by the camera of a figure.")
    st.dataframe(export.table(choice, picture), hide_index=True)


def _chart(figure: Any, description: str) -> None:
    st.plotly_chart(figure, alt=description, config={"displaylogo": False})
