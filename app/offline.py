"""A picture as one HTML file that holds the player and its data, and works without a server or a network."""

from __future__ import annotations

import base64
import hashlib
import re
import tomllib
from collections.abc import Iterable
from functools import cache
from html import escape
from pathlib import Path
from string import Template

from app import compute, export
from app.choice import Choice
from app.player.caption import Caption, behind
from app.player.source import read, source

THEMES = Path(__file__).parents[1] / ".streamlit" / "config.toml"
PLAYER, ROW = 90_000, 100  # bytes of a file beside its data, and of a row of its table, about


def size(picture: compute.Picture) -> int:
    """Return about how many bytes the file of a picture has: its data grows by a third in letters."""
    rows = len(picture.titles) * len(picture.scenario.labels)
    return len(picture.payload) * 4 // 3 + PLAYER + ROW * rows


def html(choice: Choice, picture: compute.Picture, page: str) -> bytes:
    """Return the file.

    The player is that of the page, fed with the same buffer. Scripts and styles are allowed by their hashes and
    nothing else is: a file that is opened from a disk could otherwise be made to send what it holds.

    Args:
        choice, picture: what is shown; the player begins at the token of the choice.
        page: the address of the lab, which opens the picture; "" where it is not known.
    """
    caption = export.caption(choice, picture, page)
    buffer = behind(picture.payload, key="player", token=choice.token, caption=caption)
    script, style = _script(), _style()
    notes = (*picture.scenario.notes, *picture.overflow_notes, *caption.notes)
    file = Template(read("offline.html")).substitute(
        policy=f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; base-uri 'none'; "
        "form-action 'none'",
        title=escape(caption.title),
        about=escape(compute.look_for(choice, picture)),
        style=style,
        player=source().html,
        rules="".join(_rules(picture.titles, caption)),
        link=_link(caption, choice.token, len(picture.scenario.labels)),
        notes="".join(f"<p>{escape(note)}</p>" for note in notes),
        numbers="".join(_table(choice, picture)),
        buffer=base64.b64encode(buffer).decode(),
        script=script,
    )
    return file.encode()


def inside(text: str) -> str:
    """Return a script or a style as it may stand inside its element: what would end it is written otherwise."""
    return re.sub(r"<(?=/script|/style|!--)", r"<\\", text, flags=re.IGNORECASE)


@cache
def _script() -> str:
    """Return the player, and what shows the buffer."""
    return inside(f"{source().js}\n{read('offline.js')}")


@cache
def _style() -> str:
    """Return the player's style and the file's, under the colours of the app in light and dark."""
    themes = tomllib.loads(THEMES.read_text(encoding="utf-8"))["theme"]
    light, dark = (_variables(themes[name]) for name in ("light", "dark"))
    coloured = f":root {{ {light} }}\n@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    return inside("\n".join((coloured, source().css, read("offline.css"))))


def _variables(theme: dict[str, object]) -> str:
    """Write the colours of a theme as the variables that Streamlit makes of them."""
    found = []
    for name, value in theme.items():
        if isinstance(value, str | list):
            named = re.sub("[A-Z]", lambda letter: f"-{letter[0].lower()}", name)
            found.append(f"--st-{named}: {value if isinstance(value, str) else ', '.join(value)};")
    return " ".join(found)


def _hash(text: str) -> str:
    """Return the source of a policy that allows the element with this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _rules(titles: Iterable[str], caption: Caption) -> Iterable[str]:
    for title, line in zip(titles, caption.rules, strict=True):
        yield f"<dt>{escape(title)}</dt><dd>{escape(line.equation)}<br>{escape(line.gates)}</dd>"


def _link(caption: Caption, token: int, T: int) -> str:
    """Write the link that opens the picture at its token, if the address of the lab is known."""
    if not caption.link:
        return ""
    place = escape(f"{caption.link}&t={token if 0 <= token < T else T - 1}")
    return f'<p>This picture in the lab: <a href="{place}" rel="noreferrer">{place}</a></p>'


def _table(choice: Choice, picture: compute.Picture) -> Iterable[str]:
    """Write the numbers of each token as the rows of a table, which may be copied into a spreadsheet."""
    rows = export.numbers(choice, picture)
    yield f"<thead><tr>{''.join(f'<th>{escape(name)}</th>' for name in rows[0])}</tr></thead><tbody>"
    for row in rows:
        cells = (f"{x:.6g}" if isinstance(x, float) else "" if x is None else escape(str(x)) for x in row.values())
        yield f"<tr>{''.join(f'<td>{cell}' for cell in cells)}\n"
    yield "</tbody>"
