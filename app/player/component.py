"""The player as a Streamlit component: one buffer in, the token at rest out."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

from app.player.caption import Caption, behind
from app.player.source import source


@cache
def _mount() -> ComponentRenderer:
    """Register the component once; each runtime that shows it registers it again by itself."""
    return st.components.v2.component("memory-player", **source()._asdict())


def player(
    payload: bytes,
    *,
    key: str,
    token: int = 0,
    visit: int = 0,
    moving: bool = False,
    caption: Caption = Caption(),  # noqa: B008  # it is frozen
    on_rest: Callable[[], None] = lambda: None,
    awaited: bool = False,
    on_drawn: Callable[[], None] = lambda: None,
    reports: bool = True,
    brief: bool = False,
) -> None:
    """Show the memories of one to four rules and scrub through their tokens, without asking the server.

    Moving, playing and stepping happen in the browser. The page is rerun once a person has brought the player to rest
    at another token: on release, on pause, and shortly after the last step. Where the page itself sends the player
    somewhere, or shows fewer tokens, the page knows what is shown, and nothing is reported.

    Args:
        payload: what :func:`app.player.payload.of` or :func:`app.player.payload.encode` made.
        key: the element's name, unique in the page; the player keeps its token while payloads come and go under it.
        token: where the player begins, from 0, as a link has it; -1, or one that is not there, is the last. It is not
            read again until ``visit`` changes; if it changes all the same, the server sends the buffer once more for
            nothing.
        visit: any number; another one than the last sends the player to ``token``.
        moving: begin by showing the stages of ``token`` again and again, until a person does something or it has been
            seen a few times; not where the visitor asks for reduced motion. Nothing of it is reported.
        caption: what a saved picture says beside the memories.
        on_rest: called before the rerun in which the token at rest is another one. The session state's
            ``[key]["rest"]`` is then ``{"token": t, "visit": v, "digest": d}``: the token, the visit that it belongs
            to, and the digest of the payload that was shown.
        awaited: say once when the first picture is drawn: what follows it may wait for that.
        on_drawn: called before the rerun in which that is said.
        reports: report the token at rest; without it nothing is, and the page never runs again for the player.
        brief: show all rules side by side, and on a phone two, each with one memory: its stages are stepped through.
    """
    _mount()(
        data=behind(
            payload, key=key, token=token, visit=visit, moving=moving, caption=caption, reports=reports, brief=brief,
            awaited=awaited,
        ),
        key=key,
        default={"rest": None},
        on_rest_change=on_rest,
        on_drawn_change=on_drawn,
    )
