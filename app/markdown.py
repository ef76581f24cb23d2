"""Texts of visitors, links and files as Markdown."""

import re

_FORMATS = re.compile(r"[\\`*_\[\]<>$~#|]|:(?=//)|(?<=www)\.|(?<=\w)@")


def plain(text: str) -> str:
    """Escape a text for a page, so that it is shown literally: no formatting, no links, nothing loaded."""
    return _FORMATS.sub(r"\\\g<0>", text)
