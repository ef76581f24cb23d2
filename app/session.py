"""A visitor's session in the lab. With :mod:`app.walk` and :mod:`app.reader` it alone touches the state and the query.

Widgets are seeded from the link once a session, and again when the visitor goes back or forward. In between the
session's :class:`Choice` is what counts, and the link is only written: a default that is read from the link on every
run loses every second change.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from app import choice as choices
from app import link, uploads
from app.choice import Choice, Origin, TableRow
from gdn_core.lab.limits import LIMITS
from gdn_core.lab.scenarios import Settings
from gdn_core.rules import Discretisation

SESSION = "session"  # the key of what is kept
PLAYER = "player"  # the key of an element
BELOW = "below"  # the key of the fragment below the player
READ = (*choices.WINDOW, "reading")  # what is chosen of an upload
READINGS = ("axes", "normalise", "from_empty")  # fields of a reading that have a widget
GIVEN = ("text", "table", "files", *READ, "stage")  # what no preset or origin starts anew
PAUSE, PAUSES, FIRST_PAUSES = 0.02, 10, 250  # seconds, how often, and how often at most until the browser says so
MOST_UPLOADED = LIMITS.visitor_bytes  # bytes of the uploads kept, so that going back finds the one before


class PlayerStart(NamedTuple):
    """Where the player is to start.

    Args:
        token: a token, -1 for the last.
        visit: the number of this start; the player starts again when it changes.
    """

    token: int = -1
    visit: int = 0


def _first_start() -> PlayerStart:
    """Return a start that no session before this one has made in the same page of a browser."""
    return PlayerStart(visit=secrets.randbelow(2**30))


@dataclass
class Session:
    """What is kept of one visitor between runs of the page, beside the widgets' own values.

    Its states, and what leads from one to the next::

        link opened ---------------> SEEDED
        went back or forward ------> SEEDED     choice and table from the link; widgets forget their values
        SEEDED, TOUCHED ---- run --> SHOWN      choice kept, link written, picture drawn, then all but the fragment
        SHOWN -- a widget changes -> TOUCHED    its callback has run; what it starts anew is SEEDED from the choice
        SHOWN -- player at rest ---> REPORTED   the token is in the choice
        REPORTED --- same picture -> SHOWN      the fragment below the player runs alone
        REPORTED -- other picture -> TOUCHED    the report came before another change was drawn: the whole page runs
        any ------- another page --> ELSEWHERE  the choice stays; back on the lab it is SHOWN again

    ``touched`` tells TOUCHED from SHOWN; ``renewed`` is set by SEEDED until the controls are drawn; ``drawn`` and
    ``drawn_whole`` tell which picture SHOWN has reached; ``at_lab`` is false in ELSEWHERE.

    Args:
        choice: the visitor's choice as last kept.
        link: the link that was read or written last.
        sentences: what was wrong with the link, until something changes.
        table_start: the table that its editor starts from.
        seeded: how often the session has been seeded: another table is another editor.
        player: where the player is to start.
        touched: a widget has changed since the last run began.
        renewed: the controls are new since this was last asked.
        at_lab: the lab is shown, and no other page.
        fresh: no run of the session has drawn the controls yet: the browser's page may be older than the session.
        drawn_controls: a run has drawn the controls.
        drawn: the digest of the picture that the browser was last given time to draw, None for none.
        drawn_whole: the digest of the picture under which all but the fragment is drawn.
        given: what the visitor gave last, None for nothing.
        uploads: the uploads kept, by their files.
        windows: what was last chosen of each upload, by the digests of its files: a link may name that before its
            file is there.
        taken: the files, by what Streamlit calls them, whose bytes were read and dropped.
        lost: earlier uploads were let go of to make room.
        refused: a sentence for each file of the last upload that is not used.
        visitor: a name of this session alone, in the keys of the uploader and the table.
        good: the last choice that made a picture, None for none.
        cancelled: the choice whose picture the visitor does not wait for any more, None for none.
    """

    choice: Choice
    link: dict[str, str]
    sentences: list[str] = field(default_factory=list)
    table_start: tuple[TableRow, ...] = ()
    seeded: int = 0
    player: PlayerStart = field(default_factory=_first_start)
    touched: bool = False
    renewed: bool = False
    at_lab: bool = True
    fresh: bool = True
    drawn_controls: bool = False
    drawn: str | None = None
    drawn_whole: str = ""
    given: uploads.Upload | None = None
    uploads: dict[tuple[choices.File, ...], uploads.Upload] = field(default_factory=dict)
    windows: dict[tuple[str, ...], dict[str, Any]] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    lost: bool = False
    refused: tuple[str, ...] = ()
    visitor: str = field(default_factory=lambda: secrets.token_hex(4))
    good: Choice | None = None
    cancelled: Choice | None = None


def kept() -> Session:
    """Return what is kept of this visitor."""
    return st.session_state[SESSION]


def begin() -> None:
    """Start a run of the lab page, from the link if that is newer than the session."""
    query = st.query_params.to_dict()
    if SESSION not in st.session_state:
        session = Session(Choice(), query)
        _seed(session, query)
        st.session_state[SESSION] = session  # when it is whole: each look at the state may end the run
    session = kept()
    session.fresh = not session.drawn_controls
    if not session.touched and query != session.link and (query or session.at_lab):
        # No widget changed and the link did: the visitor went back or forward, or edited it.
        _seed(session, query)
        # The link is the browser's own, but one that the last choice wrote may have been on its way there.
        st.query_params.from_dict(query)
    if session.touched:
        session.sentences = []
    session.touched = False
    session.at_lab = True
    session.drawn_whole = ""


def renewed() -> bool:
    """Tell whether the controls themselves are new, since the last time this was asked."""
    session = kept()
    was, session.renewed = session.renewed, False
    return was


def chosen(**drawn: Any) -> Choice:
    """Return what the widgets say, as the visitor left them, whether or not this run has drawn them yet.

    Args:
        drawn: fields of the choice that only a drawn widget can tell.

    Raises:
        ValueError: if they do not make a choice; the sentence names the field.
    """
    old = kept().choice
    says = {name: st.session_state.get(name, value) for name, value in _values(old).items()}
    return replace(
        old,
        **{name: says[name] for name in ("origin", "preset", "text", *choices.WINDOW)},
        rules=tuple(says["rules"]),
        discretisation=Discretisation(says["discretisation"]) if says["discretisation"] else None,
        half_life=says["half_life"] if says["decay_as"] == "half-life" else None,
        settings=settings(),
        reading=replace(old.reading, **{name: says[name] for name in READINGS}),
        **drawn,
    )


def settings() -> Settings:
    """Return the settings that the widgets say.

    Raises:
        ValueError: if one is out of its range; the sentence names it.
    """
    old = kept().choice.settings
    given = {f.name: st.session_state.get(f.name, getattr(old, f.name)) for f in fields(Settings)}
    # A slider gives 0.1 + 0.2 as it adds up.
    rounded: dict[str, Any] = {name: round(x, 6) if isinstance(x, float) else x for name, x in given.items()}
    return replace(old, **rounded)


def address() -> str:
    """Return the address at which the visitor has the lab, without a query; "" where it is not known."""
    return st.context.url or ""


def leave() -> None:
    """Note that another page than the lab is shown; what was chosen there stays."""
    if SESSION in st.session_state:
        kept().at_lab = False


def keep(choice: Choice) -> None:
    """Make this the visitor's choice, and write its link."""
    session = kept()
    session.choice = choice
    session.drawn_controls = True
    before, session.link = session.link, link.to_query(choice)
    # Where the browser's link is this one already, the one before may still be on its way there.
    if not before == session.link == st.query_params.to_dict():
        st.query_params.from_dict(session.link)


def widget(name: str, starts: str = "value") -> dict[str, Any]:
    """Return the key of a widget as its keyword argument, and give the widget the choice's value if it has none yet.

    Where the session is new and the browser's page is not, as after a restart of the server, what the browser says of
    the widget counts: the value is only what it starts from if the browser says nothing.

    Args:
        name: the field of the choice that the widget is for.
        starts: what the widget calls the value that it starts from.
    """
    if name not in st.session_state:
        value = _values(kept().choice)[name]
        if kept().fresh:
            return {"key": name, starts: value}
        st.session_state[name] = value
    return {"key": name}


def touch() -> None:
    """Note that the visitor changed a widget."""
    kept().touched = True


def start_origin() -> None:
    """Start from what the chosen origin starts from; texts, tables and files given before are still there."""
    touch()
    old = kept().choice
    origin = Origin(st.session_state.get("origin", old.origin))
    if origin is not old.origin:  # see _unseed
        _start(choices.starting(origin, old.preset), widgets=("origin",))


def go(origin: Origin) -> None:
    """Start from what an origin starts from, chosen elsewhere than among the controls."""
    touch()
    _start(choices.starting(origin, kept().choice.preset), widgets=())


def swap_rules() -> None:
    """Where more rules are chosen than fit side by side, let the newest take the place of the oldest."""
    touch()
    if len(rules := st.session_state.get("rules", ())) > choices.MOST_RULES:
        st.session_state["rules"] = rules[-choices.MOST_RULES :]


def start_preset() -> None:
    """Start from what the chosen preset starts from."""
    touch()
    old = kept().choice
    preset = st.session_state.get("preset", old.preset)
    if old.origin is Origin.PRESET and preset != old.preset:  # see _unseed
        _start(choices.starting(Origin.PRESET, preset), widgets=("origin", "preset"))


def _start(fresh: Choice, widgets: tuple[str, ...]) -> None:
    """Take a fresh choice, with what the visitor gave before; these widgets say so already."""
    session = kept()
    session.choice = replace(fresh, **{name: getattr(session.choice, name) for name in GIVEN})
    _unseed(session, keep=widgets)


def switch_decay() -> None:
    """Carry the decay over when the visitor changes between alpha and half-life."""
    touch()
    session = kept()
    old = session.choice
    given_as = st.session_state.get("decay_as")
    if given_as in (None, "alpha" if old.half_life is None else "half-life"):  # see _unseed
        return
    low, high = choices.HALF_LIVES
    half_life = min(max(round(4 * old.settings.half_life) / 4, low), high) if given_as == "half-life" else None
    session.choice = replace(old, half_life=half_life)
    _forget("alpha", "half_life")


def take_upload() -> None:
    """Read the files that the visitor chose; one that cannot be read leaves its sentence, and the others count.

    Each upload has a window of its own, which a link may have named before the file was there. Where no file can be
    read, those before are still the visitor's.
    """
    touch()
    if upload_key() not in st.session_state:  # see _unseed
        return
    session, given = kept(), st.session_state[upload_key()]
    session.refused, session.renewed, session.lost = (), True, False
    if not given:
        session.given = None
        _take_files(session, ())
        return
    before = {one.key: one for one in session.given.given} if session.given else {}
    read = uploads.together([before.get(file.file_id) or _read(session, file) for file in given])
    session.given, session.refused = read, read.refused
    uploads.SHELF.put(read)
    if read.files:
        _take_files(session, read.files)
        held = session.uploads
        held.pop(read.files, None)
        held[read.files] = read
        while len(held) > 1 and sum(one.bytes for one in held.values()) > MOST_UPLOADED:
            del held[next(iter(held))]
            session.lost = True
    uploads.give_back_memory()


def _read(session: Session, file: Any) -> uploads.Given:
    """Read a file that the visitor gave, and drop its bytes, which Streamlit would keep beside the arrays."""
    if file.file_id in session.taken:
        refused = f"{file.name}: the server let go of it to make room. Take it away and choose it again"
        return uploads.Given(file.file_id, choices.File(file.name[-200:], "0" * 16), refused=refused)
    given = uploads.look(file.name, file.getvalue(), key=file.file_id)
    session.taken.add(file.file_id)
    file.seek(0)
    file.truncate()
    if context := get_script_run_ctx():
        store: Any = context.uploaded_file_mgr
        store.add_file(context.session_id, UploadedFileRec(file.file_id, file.name, file.type, b""))
    return given


def map_array(role: str, key: str) -> None:
    """Take the array that the visitor chose for a role."""
    touch()
    session, given = kept(), upload()
    if given is None or key not in st.session_state:  # see _unseed
        return
    names = uploads.mapped(given, session.choice.reading, role, st.session_state[key])
    session.choice = replace(session.choice, reading=replace(session.choice.reading, names=names))


def says(key: str, value: Any) -> dict[str, Any]:
    """Return the key of a widget that says what follows from the choice, and have it say so."""
    if st.session_state.get(key) != value:
        st.session_state[key] = value
    return {"key": key}


def show_head(head: int) -> None:
    """Go to another head of the same layer."""
    touch()
    session = kept()
    session.choice, session.renewed = replace(session.choice, head=head), True
    _forget("head")


def _take_files(session: Session, files: tuple[choices.File, ...]) -> None:
    """Choose these files, with the window last chosen of them; of others, the whole."""
    _remember_window(session)
    blank = {name: getattr(Choice(), name) for name in READ}
    session.choice = replace(session.choice, files=files, **session.windows.get(_digests(files), blank))
    _forget(*choices.WINDOW, *READINGS)


def _remember_window(session: Session) -> None:
    """Remember which part of the upload is chosen."""
    if session.choice.files:
        chosen = {name: getattr(session.choice, name) for name in READ}
        session.windows[_digests(session.choice.files)] = chosen


def _digests(files: tuple[choices.File, ...]) -> tuple[str, ...]:
    """Return what files are known by, whatever they are called and in whichever order they came."""
    return tuple(sorted(file.digest for file in files))


def upload_key() -> str:
    """Return the key of the uploader, new in every session: after a restart of the server, the browser would go on
    showing a file that the server does not have.
    """
    return f"upload-{kept().visitor}"


def upload(choice: Choice | None = None) -> uploads.Upload | None:
    """Return the files that a choice names, by default the visitor's last, if the visitor gave them."""
    session = kept()
    if found := session.uploads.get((choice or session.choice).files):
        uploads.SHELF.use(found)
    return found


def shown(choice: Choice) -> None:
    """Note that this choice has made a picture."""
    session = kept()
    session.good, session.cancelled = choice, None


def cancel(choice: Choice) -> None:
    """Do not wait for the picture of this choice any more."""
    touch()
    kept().cancelled = choice


def retry() -> None:
    """Ask again for a picture that did not come."""
    touch()
    kept().cancelled = None


def table_key() -> str:
    """Return the key of the table's editor: it keeps edits of one starting table, so another table is another one."""
    return f"table-{kept().visitor}-{kept().seeded}"


def start_table(rows: tuple[TableRow, ...]) -> None:
    """Go to the table, with these rows in it."""
    touch()
    session = kept()
    session.choice = replace(session.choice, origin=Origin.TABLE, table=rows)
    session.table_start = rows
    session.seeded += 1
    _unseed(session)


def rest() -> None:
    """Take the token at which the player came to rest, and run only what stands below it.

    Where the player has been sent elsewhere since, its report is late: it is about a choice that is gone. Where the
    report has cut a run short that was to show another change, the whole page runs again; that run may not even have
    begun, or have drawn a picture that never left the server, for a run that begins drops what is not sent yet.
    """
    session, report = kept(), st.session_state[PLAYER]["rest"]
    if report["visit"] == session.player.visit:
        session.choice = replace(session.choice, token=int(report["token"]))
    if report["digest"] == session.drawn_whole == session.drawn and not session.touched:
        st.rerun(BELOW)
    touch()


def drawn_whole(digest: str) -> None:
    """Note that all but what is below the player is drawn, with the picture of this digest."""
    kept().drawn_whole = digest


def let_the_picture_be_drawn(digest: str) -> None:
    """Wait a moment if the picture is a new one, so that the browser draws it before it draws figures.

    The first picture of a visit has to wait until the browser has loaded what draws it: it says when it is drawn, see
    :func:`drew`, and figures, which bring five megabytes of script, come after it.

    Looking at the session is where Streamlit takes up the next change: whoever changes something meanwhile is served
    at once, and figures that nobody would see are never made.
    """
    if kept().drawn != digest:
        for _ in range(FIRST_PAUSES if kept().drawn is None else PAUSES):
            time.sleep(PAUSE)
            kept().drawn = digest


def awaited() -> bool:
    """Tell whether what stands below the player waits for the browser to have drawn a picture."""
    return kept().drawn is None


def drew() -> None:
    """Take the browser's word that it has drawn its first picture, and run what stands below it."""
    session = kept()
    if session.drawn_whole and session.drawn_whole == session.drawn and not session.touched:
        st.rerun(BELOW)
    touch()


def watched(**changed: Any) -> None:
    """Keep a change made below the player, which is a fragment: it runs on its own, too."""
    keep(replace(kept().choice, **changed))
    kept().touched = False


def _seed(session: Session, query: Mapping[str, str]) -> None:
    """Start from a link."""
    session.choice, session.sentences = link.from_query(query)
    session.touched = False
    session.table_start = session.choice.table
    session.seeded += 1
    _unseed(session)
    session.link = dict(query)


def _unseed(session: Session, keep: tuple[str, ...] = ()) -> None:
    """Forget the widgets' values, so that each takes the choice's when it is next drawn, and so does the player.

    Until then the browser may report what a forgotten widget still shows: its callback runs although nobody changed
    it, with a value that another callback has just forgotten, or with one of a page that is not shown any more.

    Args:
        session: the visitor's.
        keep: the widgets that say what they should.
    """
    session.renewed = True
    session.player = PlayerStart(session.choice.token, session.player.visit + 1)
    _forget(*(name for name in _values(session.choice) if name not in keep))


def _forget(*names: str) -> None:
    """Forget what these widgets say."""
    for name in names:
        st.session_state.pop(name, None)


def _values(choice: Choice) -> dict[str, Any]:
    """Return the value of every widget."""
    values: dict[str, Any] = {f.name: getattr(choice.settings, f.name) for f in fields(Settings)}
    values |= {n: getattr(choice, n) for n in ("preset", "text", *choices.WINDOW)}
    values |= {n: getattr(choice, n) for n in ("origin", "panel", "stage")}
    values |= {n: getattr(choice.reading, n) for n in READINGS}
    values["rules"] = list(choice.rules)
    values["discretisation"] = choice.discretisation.value if choice.discretisation else ""
    values |= {"decay_as": "alpha" if choice.half_life is None else "half-life", "half_life": choice.half_life}
    return values
