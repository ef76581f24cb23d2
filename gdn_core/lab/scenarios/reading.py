"""How given arrays are read: the role of each, the order of axes, and the transformations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gdn_core.lab.names import ROLES, guesses
from gdn_core.ops.checks import check_choice, check_layout, shown

#: The order of an array's axes; "auto" finds it from the array.
AXES = ("auto", "BTHK", "BHTK")
_WITHOUT_BATCH = {"THK": "BTHK", "HTK": "BHTK"}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How arrays are read.

    Args:
        names: the role of each array: pairs of a role of :data:`gdn_core.lab.names.ROLES` and the name of an array, ""
            for no array. Roles that are not given are guessed (:func:`gdn_core.lab.names.guesses`).
        axes: the order of the axes: "BTHK", "BHTK" (or "THK", "HTK"), or "auto": the order that fits all sizes;
            if both fit, the one with more tokens than heads.
        normalise: divide keys and queries by their lengths, as flash-linear-attention does: x * rsqrt(sum x^2 + 1e-6).
        from_empty: start a window from an empty memory, not from the memory that the tokens before it leave.

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


def named(arrays: Mapping[str, np.ndarray], reading: Reading) -> dict[str, str]:
    """Return the name of the array for each role: as the reading says, and guessed for the other roles.

    Raises:
        ValueError: if the reading names an array that does not exist, or one array twice.
    """
    said = dict(reading.names)
    for role, name in said.items():
        if name and name not in arrays:
            raise ValueError(f"{role}: expected one of the arrays {shown(', '.join(arrays), 80)}, got {shown(name)}")
    roles = guesses((name for name in arrays if name not in said.values()), said=said)
    if len(set(roles.values())) < len(roles):
        raise ValueError("names: expected each array in one role")
    return {role: roles[role] for role in ROLES if role in roles}


def oriented(known: Mapping[str, np.ndarray], axes: str) -> tuple[dict[str, np.ndarray], str, bool]:
    """Bring arrays to the API's order of axes, [B, T, H, channels].

    Args:
        known: arrays by the names of the API's layout, k and v among them.
        axes: one of :data:`AXES`.

    Returns:
        The arrays; the order in which they were read, without the axes that they lack; and whether the other order fits
        too.

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
