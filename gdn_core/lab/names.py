"""What arrays are called in people's files, and which role such a name means."""

from __future__ import annotations

import re
from collections.abc import Iterable

from gdn_core.ops.checks import LAYOUTS

#: What an array can be: the names of the public functions, and alpha, which is exp(g).
ROLES = (*LAYOUTS, "alpha")

# What arrays are called elsewhere, by the last words of their names.
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
    """Guess which array is which, by their names.

    A role's own name counts first (``k``); then a name that ends in it or in another word for it, whatever stands
    before (``layers.3.linear_attn.k``, ``key_states``) and whichever number follows (``key_0``). Of several such names
    the first in the order given counts, and arrays of the same module go together.

    Returns:
        The name of an array by role; roles that nothing is called like are left out.
    """
    given = list(names)
    found: dict[str, str] = {}
    stem = ""
    for role in ("k", *(role for role in ROLES if role != "k")):
        if role == "alpha" and "g" in found:
            continue  # the logarithm says it already
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
    """Return what stands before the last point or slash of a name."""
    return name[: max(name.rfind("."), name.rfind("/"), 0)]


def _number(name: str) -> str:
    """Return the number that a name ends in."""
    match = re.search(r"\d+$", name)
    return match[0] if match else ""


def _last_word(name: str) -> str:
    """Return the last word of a name, without what only says where it came from."""
    word = re.split(r"[./:]", name.lower())
    last = word[-1] if not re.fullmatch(r"\d+|weight|output", word[-1]) or len(word) == 1 else word[-2]
    for _ in range(3):
        last = _ENDINGS.sub("", last) or last
    return last
