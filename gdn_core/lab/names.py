"""Guess the role of an array (q, k, v, a gate) from its name in a file."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gdn_core.ops.checks import LAYOUTS

#: What an array can be: the names of the public functions, and alpha, which is exp(g).
ROLES = (*LAYOUTS, "alpha")

# Names of these roles in other libraries, by the last word of the name.
_CALLED = {
    "q": ("q", "query", "queries"),
    "k": ("k", "key", "keys"),
    "v": ("v", "value", "values"),
    "g": ("g", "gk", "log_decay", "logdecay", "log_alpha"),
    "alpha": ("alpha", "alphas", "decay", "decays"),
    "beta": ("beta", "betas"),
    "w": ("w", "write"),
    "delta": ("delta", "deltas", "dt"),
}
_ENDINGS = re.compile(r"(_?(states?|proj|out|output|layer|heads?)|[._\-]?\d+)$")


def guesses(names: Iterable[str]) -> dict[str, str]:
    """Guess the role of each array from its name.

    An exact match (``k``) comes first; then a name whose last word is the role or another word for it, with any prefix
    (``layers.3.linear_attn.k``, ``key_states``) and any number behind it (``key_0``). Of several such names the first
    in the given order is taken, and the other roles are looked for in the same module first.

    Returns:
        The name of an array by role, for the roles that were found.
    """
    given = list(names)
    found: dict[str, str] = {}
    stem = ""
    for role in ("k", *(role for role in ROLES if role != "k")):
        if role == "alpha" and "g" in found:
            continue  # g, the logarithm of alpha, is there
        if role in given:
            found[role] = role
            continue
        fits = [name for name in given if _last_word(name) in _CALLED[role] and name not in found.values()]
        beside = [name for name in fits if _module(name) == stem and _number(name) == _number(found.get("k", ""))]
        if beside or fits:
            found[role] = (beside or fits)[0]
        if role == "k" and "k" in found:
            stem = _module(found["k"])
    return found


def _module(name: str) -> str:
    """Return the part of a name before its last point or slash."""
    return name[: max(name.rfind("."), name.rfind("/"), 0)]


def _number(name: str) -> str:
    """Return the number that a name ends in."""
    match = re.search(r"\d+$", name)
    return match[0] if match else ""


def _last_word(name: str) -> str:
    """Return the last word of a name, without suffixes such as ``_states`` and ``_proj``."""
    word = re.split(r"[./:]", name.lower())
    last = word[-1] if not re.fullmatch(r"\d+|weight|output", word[-1]) or len(word) == 1 else word[-2]
    for _ in range(3):
        last = _ENDINGS.sub("", last) or last
    return last
