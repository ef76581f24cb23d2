"""Residuals: the difference of two sides that should be equal, the test for zero, and how it is printed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
from sympy.polys.rings import PolyElement

from derivations.engines.notation import number, tex_name
from derivations.engines.polynomials import polynomial

Residual = Any
WIDTH = 240  # characters of a printed residual, at most
VALUE = ", which is "  # before the value of a polynomial where its letters are numbers
TERMS = 6  # of a polynomial, at most
FEW = 4  # letters of a polynomial whose numbers are named one by one, at most
POINTS = range(2, 9)  # the number of the first letter; the next is tried where a polynomial is zero
PRODUCT = re.compile(r"([kqS])([kq])(\d)(\d?)")  # a letter of the Gram matrix: kq12, the product of a key and a query
ENTRY = re.compile(r"([A-Za-z]+)(\d)(\d{1,2})")  # k12: token, channel; or a row and a column


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
    """Format a residual that is not zero; of a collection the first entry that is not zero, with its place.

    Of a polynomial its first terms are said, and what it is in numbers, where its letters are.
    """
    place, entry = _first(residual)
    if isinstance(entry, PolyElement) and not entry.is_ground:
        text = _in_numbers(entry)
    else:
        text = " ".join(str(entry).split())
        text = text if len(text) <= WIDTH else text[: WIDTH - 4].rstrip() + " ..."
    return f"{place}: {text}" if place else text


def _in_numbers(value: PolyElement) -> str:
    """Print a polynomial, or its first terms, and its value where its letters are 2, 3, 4 and so on."""
    letters = [value.ring.gens[i] for i, degree in enumerate(value.degrees()) if degree > 0]
    text = str(_start(value)) + (f" + ... ({len(value)} terms)" if len(value) > TERMS else "")
    for first in POINTS:
        at = [(letter, first + i) for i, letter in enumerate(letters)]
        if found := value.evaluate(at):
            named = ", ".join(f"{letter} = {number}" for letter, number in at)
            many = f"its {len(at)} letters are {first}, {first + 1}, ... in their order"
            return f"{text}{VALUE}{found} where {named if len(at) <= FEW else many}"
    return text


def _start(value: PolyElement) -> PolyElement:
    """Return the first terms of a polynomial."""
    return value.ring.from_dict(dict(islice(value.terms(), TERMS)))


def typeset(residual: Residual) -> str:
    """Print in TeX what :func:`describe` prints as text; "" where that is no formula, but words."""
    _, entry = _first(residual)
    if isinstance(entry, int | Fraction | np.integer):
        return number(Fraction(int(entry) if isinstance(entry, np.integer) else entry))
    if isinstance(entry, PolyElement):
        names = {str(letter): _letter(str(letter)) for letter in entry.ring.symbols}
        if len(entry) <= TERMS:
            return polynomial(entry, names)
        return rf"{polynomial(_start(entry), names)} + \dots"
    printed = entry.tex() if hasattr(entry, "tex") else ""
    return re.sub(r"(block \d+,\d+: )", r"\\text{\1}", printed)


def _letter(name: str) -> str:
    """Print a letter of the code on symbols: its indices apart, and a product of two vectors as what it is."""
    if found := PRODUCT.fullmatch(name):
        one, other, first, second = found.groups()
        if second and one != "S":
            return rf"({one}_{first}^\top {other}_{second})"
        if one == "S" and not second:
            return f"(S {other}_{first})"
    found = ENTRY.fullmatch(name)
    return f"{tex_name(found[1])}_{{{found[2]},{','.join(found[3])}}}" if found else tex_name(name)


def _first(residual: Residual) -> tuple[str, Residual]:
    """Return the first entry that is not zero, with its place."""
    return next(_nonzero(residual, ""), ("", residual))


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
