"""A visitor's session: the only module that touches Streamlit's session state and the link's query.

Widgets are seeded from the link once a session, and again when the visitor goes back or forward. In between the
session's :class:`Choice` is what counts, and the link is only written: a default that is read from the link on every
run loses every second change.
"""

from __future__ import annotations

import time
from dataclasses import fields, replace
from typing import Any

import streamlit as st

from app import compute, state
from app.state import Choice, Row, Source
from gdn_core.lab.limits import LIMITS
from gdn_core.lab.scenarios import Settings
from gdn_core.rules import Discretisation

PLAYER = "player"  # keys of elements
UPLOAD = "upload"
BELOW = "below"  # the key of the fragment below the player
GIVEN = ("text", "table", "files", *state.WINDOW, "panel", "stage")  # what no preset or source starts anew
PAUSE, PAUSES, FIRST_PAUSES = 0.02, 10, 50  # seconds, how often, and how often while the browser still loads scripts
MOST_UPLOADED = LIMITS.unpacked_bytes  # bytes of the uploads kept, so that going back finds the one before


def begin() -> None:
    """Start a run of the lab page, from the link if that is newer than the session."""
    session = st.session_state
    link = st.query_params.to_dict()
    if "choice" not in session:
        _seed(*Choice.from_query(link))
    elif not session["touched"] and link != session["link"] and (link or session["page"] == "lab"):
        # No widget changed and the link did: the visitor went back or forward, or edited it.
        _seed(*Choice.from_query(link))
        # The link is the browser's own, but one that the last choice wrote may have been on its way there.
        st.query_params.from_dict(link)
    if session["touched"]:
        session["sentences"] = []
    session["touched"] = False
    session["page"] = "lab"
    session["drawn_whole"] = ""


def renewed() -> bool:
    """Tell whether the controls themselves are new, since the last time this was asked."""
    return bool(st.session_state.pop("renewed", False))


def chosen(**drawn: Any) -> Choice:
    """Return what the widgets say, as the visitor left them, whether or not this run has drawn them yet.

    Args:
        drawn: fields of the choice that only a drawn widget can tell.

    Raises:
        ValueError: if they do not make a choice; the sentence names the field.
    """
    old = current()
    says = {name: st.session_state.get(name, value) for name, value in _values(old).items()}
    given = {f.name: says[f.name] for f in fields(Settings)}
    # A slider gives 0.1 + 0.2 as it adds up.
    rounded: dict[str, Any] = {name: round(x, 6) if isinstance(x, float) else x for name, x in given.items()}
    return replace(
        old,
        **{name: says[name] for name in ("source", "preset", "text", *state.WINDOW)},
        rules=tuple(says["rules"]),
        discretisation=Discretisation(says["discretisation"]) if says["discretisation"] else None,
        half_life=says["half_life"] if says["decay_as"] == "half-life" else None,
        settings=replace(old.settings, **rounded),
        **drawn,
    )


def elsewhere() -> None:
    """Note that another page than the lab is shown; the lab's choice stays."""
    st.session_state["page"] = "elsewhere"


def linked_claim() -> str:
    """Return the name of the claim that the link asks for, "" for none."""
    return st.query_params.get("claim", "")


def open_claim(name: str) -> None:
    """Make the link ask for a claim, or for none where the name is empty."""
    st.query_params.from_dict({"claim": name} if name else {})


def sentences() -> list[str]:
    """Return what was wrong with the link, until the visitor changes something."""
    return st.session_state["sentences"]


def keep(choice: Choice) -> None:
    """Make this the visitor's choice, and write its link."""
    session = st.session_state
    session["choice"] = choice
    before, session["link"] = session["link"], choice.to_query()
    # Where the browser's link is this one already, the one before may still be on its way there.
    if not before == session["link"] == st.query_params.to_dict():
        st.query_params.from_dict(session["link"])


def current() -> Choice:
    """Return the visitor's choice as it was last kept."""
    return st.session_state["choice"]


def key(name: str) -> str:
    """Return the key of a widget, and give the widget the choice's value if it has none yet."""
    if name not in st.session_state:
        st.session_state[name] = _values(current())[name]
    return name


def touch() -> None:
    """Note that the visitor changed a widget."""
    st.session_state["touched"] = True


def start_source() -> None:
    """Start from what the chosen source starts from; texts, tables and files given before are still there."""
    session = st.session_state
    touch()
    old = session["choice"]
    source = Source(session.get("source", old.source))
    if source is old.source:  # see _unseed
        return
    fresh = state.starting(source, old.preset)
    session["choice"] = replace(fresh, **{name: getattr(old, name) for name in GIVEN})
    _unseed(keep=("source",))


def start_preset() -> None:
    """Start from what the chosen preset starts from."""
    session = st.session_state
    touch()
    old = session["choice"]
    preset = session.get("preset", old.preset)
    if old.source is not Source.PRESET or preset == old.preset:  # see _unseed
        return
    fresh = state.starting(Source.PRESET, preset)
    session["choice"] = replace(fresh, **{name: getattr(old, name) for name in GIVEN})
    _unseed(keep=("source", "preset"))


def switch_decay() -> None:
    """Carry the decay over when the visitor changes between alpha and half-life."""
    session = st.session_state
    touch()
    old = session["choice"]
    given_as = session.get("decay_as")
    if given_as in (None, "alpha" if old.half_life is None else "half-life"):  # see _unseed
        return
    if given_as == "half-life":
        half_life = old.settings.half_life
        low, high = state.HALF_LIVES
        session["choice"] = replace(old, half_life=min(max(round(4 * half_life) / 4, low), high))
    else:
        session["choice"] = replace(old, half_life=None)
    for name in ("alpha", "half_life"):
        session.pop(name, None)


def take_upload() -> None:
    """Read the files that the visitor chose; one that cannot be read leaves its sentence, and the others count."""
    session = st.session_state
    touch()
    if UPLOAD not in session:  # see _unseed
        return
    session["refused"], session["renewed"] = (), True
    session["choice"] = replace(session["choice"], files=(), **dict.fromkeys(state.WINDOW, 0))
    for name in state.WINDOW:
        session.pop(name, None)
    if not session[UPLOAD]:
        return
    try:
        read = compute.upload((file.name, file.getvalue()) for file in session[UPLOAD])
        session["refused"] = read.refused
        session["choice"] = replace(session["choice"], files=read.files)
    except ValueError as error:
        session["refused"] = (str(error),)
        return
    held = session.setdefault("uploads", {})
    held.pop(read.files, None)
    held[read.files] = read
    while len(held) > 1 and sum(one.bytes for one in held.values()) > MOST_UPLOADED:
        del held[next(iter(held))]


def upload() -> compute.Upload | None:
    """Return the files that the choice names, if the visitor gave them."""
    return st.session_state.get("uploads", {}).get(current().files)


def refused() -> tuple[str, ...]:
    """Return what was wrong with the last upload, a sentence for each file that is not used."""
    return st.session_state.get("refused", ())


def table_key() -> str:
    """Return the key of the table's editor: it keeps edits of one starting table, so another table is another one."""
    return f"table-{st.session_state['seeded']}"


def table() -> tuple[Row, ...]:
    """Return the table that the editor starts from."""
    return st.session_state["table_start"]


def start_table(rows: tuple[Row, ...]) -> None:
    """Go to the table, with these rows in it."""
    session = st.session_state
    touch()
    session["choice"] = replace(session["choice"], source=Source.TABLE, table=rows)
    session["table_start"] = rows
    session["seeded"] += 1
    _unseed(keep=())


def start_of_player() -> tuple[int, int]:
    """Return the token that the player is to start at, -1 for the last, and the number of that visit."""
    return st.session_state["player_start"]


def rest() -> None:
    """Take the token at which the player came to rest, and run only what stands below it.

    Where the player has been sent elsewhere since, its report is late: it is about a choice that is gone. Where the
    report has cut a run short that was to show another change, the whole page runs again; that run may not even have
    begun, or have drawn a picture that never left the server, for a run that begins drops what is not sent yet.
    """
    session = st.session_state
    report, (_, visit) = session[PLAYER]["rest"], session["player_start"]
    if report["visit"] == visit:
        session["choice"] = replace(session["choice"], token=int(report["token"]))
    if report["digest"] == session["drawn_whole"] == session.get("drawn") and not session["touched"]:
        st.rerun(BELOW)
    touch()


def drawn_whole(digest: str) -> None:
    """Note that all but what is below the player is drawn, with the picture of this digest."""
    st.session_state["drawn_whole"] = digest


def let_the_picture_be_drawn(digest: str) -> None:
    """Wait a moment if the picture is a new one, so that the browser draws it before it draws figures.

    Looking at the session is where Streamlit takes up the next change: whoever changes something meanwhile is served
    at once, and figures that nobody would see are never made.
    """
    session = st.session_state
    if session.get("drawn") != digest:
        for _ in range(PAUSES if "drawn" in session else FIRST_PAUSES):
            time.sleep(PAUSE)
            session["drawn"] = digest


def watched(**changed: Any) -> None:
    """Keep a change made below the player, which is a fragment: it runs on its own, too."""
    keep(replace(current(), **changed))
    st.session_state["touched"] = False


def _seed(choice: Choice, sentences: list[str]) -> None:
    """Start the session, or start it again, from a link."""
    session = st.session_state
    session["choice"] = choice
    session["sentences"] = sentences
    session["link"] = st.query_params.to_dict()
    session["touched"] = False
    session["table_start"] = choice.table
    session["seeded"] = session.get("seeded", 0) + 1
    session.setdefault("page", "lab")
    _unseed(keep=())


def _unseed(keep: tuple[str, ...]) -> None:
    """Forget the widgets' values, so that each takes the choice's when it is next drawn, and so does the player.

    Until then the browser may report what a forgotten widget still shows: its callback runs although nobody changed
    it, with a value that another callback has just forgotten, or with one of a page that is not shown any more.
    """
    session = st.session_state
    session["renewed"] = True
    _, visit = session.get("player_start", (-1, 0))
    session["player_start"] = session["choice"].token, visit + 1
    for name in _values(session["choice"]):
        if name not in keep:
            session.pop(name, None)


def _values(choice: Choice) -> dict[str, Any]:
    """Return the value of every widget."""
    values: dict[str, Any] = {f.name: getattr(choice.settings, f.name) for f in fields(Settings)}
    values |= {n: getattr(choice, n) for n in ("preset", "text", *state.WINDOW)}
    values |= {n: getattr(choice, n) for n in ("source", "panel", "stage")}
    values["rules"] = list(choice.rules)
    values["discretisation"] = choice.discretisation.value if choice.discretisation else ""
    values |= {"decay_as": "alpha" if choice.half_life is None else "half-life", "half_life": choice.half_life}
    return values
