"""The reel as a Streamlit component: one buffer in, and nothing out."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import streamlit as st
from streamlit.components.v2.types import ComponentRenderer

from app.player.source import read

HERE = Path(__file__).parent


@cache
def _mount() -> ComponentRenderer:
    """Register the component once; the colours and pixels are the player's."""
    html, css, *scripts = (
        (HERE / name).read_text(encoding="utf-8") for name in ("reel.html", "reel.css", "panels.js", "reel.js")
    )
    return st.components.v2.component("reel", html=html, css=css, js="\n".join((read("picture.js"), *scripts)))


def reel(buffer: bytes, *, key: str) -> None:
    """Show a reel.

    Args:
        buffer: what :func:`app.reel.panels.encode` made.
        key: the element's name, unique in the page; the reel keeps its frame while buffers come and go under it.
    """
    _mount()(data=buffer, key=key)
