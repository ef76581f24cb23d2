"""Guess the role of an array (q, k, v, a gate) from its name in a file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

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


def guesses(names: Iterable[str], *, said: Mapping[str, str] | None = None) -> dict[str, str]:
    """Guess the role of each array from its name.

    A name fits a role if it is the role (``k``), or ends in it or in another word for it, whatever stands before
    (``layers.3.linear_attn.k``, ``key_states``) and whichever number follows (``key_0``). Of several the role's own
    name counts first, then the first in the order given. Where there are keys of several layers, an array of another
    layer than that of the keys fits nothing.

    Args:
        names: the arrays that there are.
        said: what is known already: the name of an array by role, or "" for a role that none has.

    Returns:
        The name of an array by role, what is said included; roles that nothing is called like are left out.
    """
    given = sorted(names, key=lambda name: name not in ROLES)  # it keeps the order of the rest
    known = dict(said or {})
    found = {role: name for role, name in known.items() if name}
    others: set[tuple[str, str]] = set()
    for role in ("k", *(role for role in ROLES if role != "k")):
        decayed = {"g": known.get("alpha"), "alpha": found.get("g")}.get(role)  # the other form says it already
        if role not in known and not decayed:
            fits = [name for name in given if _last_word(name) in _CALLED[role] and name not in found.values()]
            if "k" in found:
                here = _layer(found["k"])
                fits = [x for x in fits if _layer(x) == here] or [x for x in fits if _layer(x) not in others]
            if fits:
                found[role] = fits[0]
        if role == "k" and "k" in found:
            others = {_layer(name) for name in _keys(given)} - {_layer(found["k"])}
    return found


def layers(names: Iterable[str]) -> dict[str, str]:
    """Name the layers that arrays belong to, by their names.

    Returns:
        What each layer is called, by the name of its keys, in the order given: what stands before the last point or
        slash, and the number at the end; the name of its keys where that tells it from no other.
    """
    keys = _keys(names)
    called = {name: " ".join(filter(None, _layer(name))) for name in keys}
    alike = list(called.values())
    return {name: said if said and alike.count(said) == 1 else name for name, said in called.items()}


def _keys(names: Iterable[str]) -> list[str]:
    """Return the names that are like that of keys."""
    return [name for name in names if _last_word(name) in _CALLED["k"]]


def _layer(name: str) -> tuple[str, str]:
    """Return what stands before the last point or slash of a name, and the number that it ends in."""
    name = re.sub(r"[./:](weight|output)$", "", name)
    match = re.search(r"[._\-/:]?(\d+)$", name)
    number, name = (match[1], name[: match.start()]) if match else ("", name)
    return name[: max(name.rfind("."), name.rfind("/"), name.rfind(":"), 0)], number


def _last_word(name: str) -> str:
    """Return the last word of a name, without suffixes such as ``_states`` and ``_proj``."""
    word = re.split(r"[./:]", name.lower())
    last = word[-1] if not re.fullmatch(r"\d+|weight|output", word[-1]) or len(word) == 1 else word[-2]
    for _ in range(3):
        last = _ENDINGS.sub("", last) or last
    return last
