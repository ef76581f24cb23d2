"""What the player is made of, for the page of the app and for a file that holds it by itself."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
# Joined in this order they are one module.
SCRIPTS = (
    "replay.js", "view.js", "picture.js", "words.js", "cards.js", "tip.js", "answers.js", "charts.js", "player.js",
)  # fmt: skip


class Source(NamedTuple):
    """The player's HTML, its CSS, and one module, whose ``mount`` shows a buffer."""

    html: str
    css: str
    js: str


@cache
def source() -> Source:
    """Read what the player is made of."""
    html, css, *scripts = (read(name) for name in ("player.html", "player.css", *SCRIPTS))
    return Source(html, css, "\n".join(scripts))


def read(name: str) -> str:
    """Read a file that stands beside this one."""
    return (HERE / name).read_text(encoding="utf-8")
