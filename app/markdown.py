"""What visitors, links and files say, as Markdown."""

import re

_FORMATS = re.compile(r"[\\`*_\[\]<>$~#|]|:(?=//)|(?<=www)\.|(?<=\w)@")


def plain(text: str) -> str:
    """Escape a text for a page, so that it reads as it stands: it formats nothing, links nowhere and loads nothing."""
    return _FORMATS.sub(r"\\\g<0>", text)
