"""A claim in words: its statement, its scope and its verdict, as the pages show them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import streamlit as st

from app import proofs
from derivations.result import Kind

if TYPE_CHECKING:
    from derivations.claim import Claim
    from derivations.result import Checked

VERDICTS = {
    "holds": ":green[:material/check_circle: holds]",
    "fails": ":red[:material/cancel: fails]",
    "error": ":red[:material/error: could not be checked]",
    "unchecked": ":gray[:material/schedule: not checked yet]",
}
BADGES = {
    Kind.ALGEBRA: ":blue-badge[algebra]",
    Kind.CODE: ":green-badge[code]",
    Kind.POINTS: ":orange-badge[points]",
}
ALIGNED = (r"\begin{aligned}", r"\end{aligned}")


def strongest(made: Claim, finding: proofs.Finding | None) -> str:
    """Print the first scope of each kind; before the claim is checked, what it says it will check."""
    if not finding:
        return f"to be checked {made.scopes[0]}"
    first: dict[Kind, Checked] = {}
    for step in finding.result.steps:
        if step.kind:
            first.setdefault(step.kind, step)
    return " &nbsp; ".join(f"{BADGES[kind]} {first[kind].stated}" for kind in Kind if kind in first)


def statement(tex: str) -> None:
    """Show a statement, its rows one below the other if it has several."""
    if tex.startswith(ALIGNED[0]):
        rows = tex.removeprefix(ALIGNED[0]).removesuffix(ALIGNED[1]).replace("&", "").split(r"\\")
        st.markdown("\n".join(f"- {wrapping(row)}" for row in rows))
    else:
        st.markdown(wrapping(tex), text_alignment="center")


def wrapping(tex: str) -> str:
    """Print a formula that a narrow page wraps: what stands between wide spaces, in no braces, is one of its own."""
    parts, depth = [""], 0
    for token in re.split(r"(\\q?quad\b|\\begin|\\end|[{}])", tex):
        depth += {"{": 1, "}": -1, r"\begin": 1, r"\end": -1}.get(token, 0)
        if token in (r"\quad", r"\qquad") and not depth:
            parts.append("")
        else:
            parts[-1] += token
    return " &emsp; ".join(rf"$\displaystyle {part.strip()}$" for part in parts)
