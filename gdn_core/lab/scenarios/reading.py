"""How one's own arrays are read: which array is which, the order of their axes, and what is done to them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from gdn_core.ops.checks import LAYOUTS, check_choice, check_layout, shown

AXES = ("auto", "BTHK", "BHTK")
_WITHOUT_BATCH = {"THK": "BTHK", "HTK": "BHTK"}
ROLES = (*LAYOUTS, "alpha")  # alpha is exp(g)

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


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How arrays are read.

    Args:
        names: which array is which: pairs of a role of :data:`ROLES` and the name of an array, or "" for none. Roles
            that are not given are guessed (:func:`guesses`).
        axes: the order of the axes: "BTHK", "BHTK" (or "THK", "HTK"), or "auto": the one that all sizes agree with; of
            two such, the one with more tokens than heads.
        normalise: divide keys and queries by their lengths, as flash-linear-attention does: x * rsqrt(sum x^2 + 1e-6).
        from_empty: begin a window with an empty memory, instead of what the tokens before it leave.

    Raises:
        ValueError: if a role or an order of axes is unknown, or a role is given twice.
    """

    names: tuple[tuple[str, str], ...] = ()
    axes: str = "auto"
    normalise: bool = False
    from_empty: bool = False

    def __post_init__(self) -> None:
        given = self.names.items() if isinstance(self.names, Mapping) else self.names
        names = tuple(sorted((str(role), str(name)) for role, name in given))
        for role, _ in names:
            check_choice("names", role, ROLES)
        if len({role for role, _ in names}) < len(names):
            raise ValueError("names: expected each of q, k, v, g, beta, w, delta and alpha once")
        object.__setattr__(self, "names", names)
        axes = _WITHOUT_BATCH.get(self.axes, self.axes)
        object.__setattr__(self, "axes", check_choice("axes", axes, AXES))


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


def named(arrays: Mapping[str, np.ndarray], reading: Reading) -> dict[str, str]:
    """Return which array each role is, by what the reading says, and by guesses for the rest.

    Raises:
        ValueError: if the reading names an array that there is not, or one array twice.
    """
    said = dict(reading.names)
    for role, name in said.items():
        if name and name not in arrays:
            raise ValueError(f"{role}: expected one of the arrays {shown(', '.join(arrays), 80)}, got {shown(name)}")
    free = [name for name in arrays if name not in said.values()]
    roles = {role: name for role, name in guesses(free).items() if role not in said}
    roles |= {role: name for role, name in said.items() if name}
    if len(set(roles.values())) < len(roles):
        raise ValueError("names: expected each array in one role")
    return {role: roles[role] for role in ROLES if role in roles}


def oriented(known: Mapping[str, np.ndarray], axes: str) -> tuple[dict[str, np.ndarray], str, bool]:
    """Bring arrays to the API's order of axes, [B, T, H, channels].

    Args:
        known: arrays by the names of the API's layout, k and v among them.
        axes: one of :data:`AXES`.

    Returns:
        The arrays; the order that they were read in, without the axes that they have not; and whether sizes agree with
        the other order too.

    Raises:
        ValueError: if sizes do not agree.
    """
    rank = len(known["k"].shape) if hasattr(known["k"], "shape") else 0
    if rank not in (3, 4):
        check_layout(known, ranks=(4, 3, 2))
        return dict(known), "TK", False
    short = {"BTHK": "THK", "BHTK": "HTK"}
    read = {order: _turned(known, rank) if order == "BHTK" else dict(known) for order in AXES[1:]}
    fits = [order for order in AXES[1:] if _agree(read[order])]
    if axes != "auto":
        order = axes
    elif len(fits) == 2:
        T, H = known["k"].shape[rank - 3 : rank - 1]
        order = "BTHK" if T >= H else "BHTK"
    else:
        order = fits[0] if fits else "BTHK"
    check_layout(read[order], ranks=(4, 3, 2))
    return read[order], order if rank == 4 else short[order], len(fits) == 2


def _turned(known: Mapping[str, np.ndarray], rank: int) -> dict[str, np.ndarray]:
    """Swap tokens and heads of every array."""
    return {
        name: np.swapaxes(x, rank - 3, rank - 2) if len(x.shape) >= rank - 1 else x
        for name, x in known.items()
    }


def _agree(arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether the sizes of arrays agree in the API's order."""
    try:
        check_layout(arrays, ranks=(4, 3))
    except ValueError:
        return False
    return True
