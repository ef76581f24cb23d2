"""What a saved picture says beside the memories, and how it reaches the browser behind the numbers."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class Line:
    """One rule in words.

    Args:
        equation: what a token does to its memory, in letters that need no typesetting.
        gates: the gates of the tokens that are shown, as numbers.
    """

    equation: str
    gates: str


@dataclass(frozen=True, kw_only=True)
class Caption:
    """What a saved picture says beside the memories.

    Args:
        name: of its file, without an ending.
        title: what is shown.
        rules: the rules in words, in their order; none says nothing of them.
        link: the address that opens the picture, to which ``&t=`` and a token are added; "" for none.
        notes: what a reader of the link should know, a sentence each.
    """

    name: str = "memory"
    title: str = ""
    rules: tuple[Line, ...] = ()
    link: str = ""
    notes: tuple[str, ...] = ()


def behind(
    payload: bytes,
    *,
    key: str,
    token: int,
    visit: int = 0,
    moving: bool = False,
    caption: Caption,
    reports: bool = True,
    brief: bool = False,
    awaited: bool = False,
) -> bytes:
    """Put what the page says of a buffer behind it: three int32, little-endian, and JSON.

    Args:
        payload: what :func:`app.player.payload.of` or :func:`app.player.payload.encode` made.
        key, token, visit, moving, caption, reports, brief, awaited: as :func:`app.player.player` takes them.
    """
    page = {"key": key, "caption": asdict(caption), "reports": reports, "brief": brief, "awaited": awaited}
    said = json.dumps(page, separators=(",", ":"))
    return payload + struct.pack("<iii", token, visit, moving) + said.encode()
