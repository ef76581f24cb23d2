"""Residuals: the difference of two sides that should be equal, the test for zero, and how it is printed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

Residual = Any
WIDTH = 240  # characters of a printed residual, at most


def is_zero(residual: Residual) -> bool:
    """Decide whether a residual is zero: a number, an expression, an array or a collection of residuals.

    Raises:
        TypeError: if the residual cannot show a difference: None, a truth value, a float, an array or a collection
            without entries, or an object that cannot be compared with zero.
    """
    if residual is None or isinstance(residual, bool | np.bool_):
        raise TypeError(f"expected a residual that shows the difference, got {residual}")
    if isinstance(residual, float | complex | np.floating | np.complexfloating):
        raise TypeError(f"expected an exact residual, got the floating point number {residual}")
    if isinstance(residual, int | Fraction | str | np.integer):
        return not residual
    if isinstance(residual, np.ndarray):
        if not residual.size:
            raise TypeError(f"expected an array with entries, got one of shape {list(residual.shape)}")
        return all(is_zero(entry) for entry in residual.flat)
    if type(residual) in (dict, list, tuple, set, frozenset) and not residual:
        raise TypeError(f"expected a residual, got an empty {type(residual).__name__}: nothing was compared")
    if type(residual) is dict:  # not a subclass, such as a SymPy polynomial
        return all(is_zero(entry) for entry in residual.values())
    if isinstance(residual, list | tuple | set | frozenset):
        return all(is_zero(entry) for entry in residual)
    if hasattr(residual, "is_Boolean") and residual.is_Boolean:
        raise TypeError(f"expected a residual that shows the difference, got {residual}")
    if hasattr(residual, "is_commutative") and hasattr(residual, "expand"):  # a SymPy expression or matrix
        return bool(residual.expand() == 0 * residual)
    if hasattr(type(residual), "__bool__") or hasattr(type(residual), "__len__"):
        return not residual
    raise TypeError(f"expected a residual, got {type(residual).__name__}, which has no notion of zero")


def describe(residual: Residual) -> str:
    """Format a residual that is not zero; of a collection the first entry that is not zero, with its place."""
    place, entry = next(_nonzero(residual, ""), ("", residual))
    text = " ".join(str(entry).split())
    text = text if len(text) <= WIDTH else text[: WIDTH - 4].rstrip() + " ..."
    return f"{place}: {text}" if place else text


def _nonzero(residual: Residual, place: str) -> Iterator[tuple[str, Residual]]:
    if isinstance(residual, np.ndarray) and residual.ndim:
        entries: Iterable[tuple[str, Residual]] = ((str(list(i)), entry) for i, entry in np.ndenumerate(residual))
    elif type(residual) is dict:
        entries = ((str(name), entry) for name, entry in residual.items())
    elif isinstance(residual, list | tuple):
        entries = ((f"[{i}]", entry) for i, entry in enumerate(residual))
    else:
        if not is_zero(residual):
            yield place, residual
        return
    for name, entry in entries:
        yield from _nonzero(entry, f"{place} {name}".strip())
