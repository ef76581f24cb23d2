"""Print names, signs and numbers, in TeX and in plain text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from fractions import Fraction


class Style(Enum):
    """How an expression is printed."""

    TEXT = "text"
    TEX = "tex"


TEXT, TEX = Style.TEXT, Style.TEX
_GREEK = re.compile(
    "alpha|beta|gamma|delta|epsilon|eta|theta|kappa|lambda|mu|nu|rho|sigma|tau|phi|chi|psi|omega|Gamma|Delta|Phi"
)


def signed(terms: Iterable[tuple[int, str]]) -> str:
    """Join signed terms to a sum."""
    out = ""
    for sign, text in terms:
        out += (" - " if sign < 0 else " + ") + text if out else ("-" if sign < 0 else "") + text
    return out


def tex_name(name: str) -> str:
    """Print a name: a Greek letter gets a backslash; the part from an underscore or digit on becomes an index."""
    stem, _, index = name.partition("_")
    bare = stem.rstrip("0123456789")
    index = stem[len(bare) :] + index
    printed = f"\\{bare}" if _GREEK.fullmatch(bare) else bare
    return f"{printed}_{{{index}}}" if index else printed


def transposed(printed: str, style: Style) -> str:
    """Print the transpose of an atom."""
    if style is TEXT:
        return f"{printed}'"
    return rf"({printed})^\top" if "^" in printed and printed[0] != "(" else rf"{printed}^\top"


def times(number: Fraction, text: str) -> str:
    """Print a nonnegative number times a factor."""
    printed = str(number) if number.denominator == 1 else rf"\tfrac{{{number.numerator}}}{{{number.denominator}}}"
    return printed if not text else text if number == 1 else f"{printed} {text}"


def number(value: Fraction) -> str:
    """Print a number."""
    return ("-" if value < 0 else "") + times(abs(value), "")
