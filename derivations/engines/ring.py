"""The code on symbols: every entry is a letter, every result a polynomial with integer coefficients.

Two polynomials are equal if and only if their difference has no term, so nothing has to be simplified. The exponential
of a letter is a letter too, so ``exp(x + y) = exp(x) exp(y)`` holds by construction. No identity is lost by this:
exponentials of linearly independent letters satisfy no polynomial relation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sympy import ZZ, Symbol
from sympy.polys.rings import PolyElement, PolyRing

Letters = np.ndarray  # of polynomials


class Ring:
    """Arrays of letters, and the carrier's exponential.

    Args:
        exponentials: the shapes of the arrays of letters for :meth:`let_exp`; each letter has an inverse, for the
            exponential of a difference.
        shapes: the shapes of the other arrays of letters.
    """

    def __init__(self, *, exponentials: dict[str, tuple[int, ...]] | None = None, **shapes: tuple[int, ...]) -> None:
        exponentials = exponentials or {}
        shapes = {**shapes, **exponentials, **{f"1/{name}": shape for name, shape in exponentials.items()}}
        places = [(name, i) for name, shape in shapes.items() for i in np.ndindex(shape)]
        # Over the integers, since over the rationals a float would silently become a fraction.
        ring = PolyRing([Symbol(_letter(name, i, shapes[name])) for name, i in places], ZZ)
        self._arrays = {name: np.empty(shape, dtype=object) for name, shape in shapes.items()}
        self._position: dict[tuple[str, tuple[int, ...]], int] = {}
        for n, ((name, i), letter) in enumerate(zip(places, ring.gens, strict=True)):
            self._arrays[name][i] = letter
            self._position[name, i] = n
        self.one = ring.one
        self._exp: dict[tuple[int, ...], tuple[PolyElement, PolyElement]] = {}
        self._inverse_pairs = [
            (self._position[name, i], self._position[f"1/{name}", i])
            for name, shape in exponentials.items()
            for i in np.ndindex(shape)
        ]

    def __getitem__(self, name: str) -> Letters:
        """Return the array of letters of a name."""
        return self._arrays[name]

    def let_exp(self, logs: Letters, name: str) -> None:
        """Define the exponentials of ``logs``, each a monomial with coefficient 1, as the letters of ``name``."""
        for log, letter, inverse in zip(logs.flat, self[name].flat, self[f"1/{name}"].flat, strict=True):
            ((monomial, coefficient),) = log.terms()
            if coefficient != 1:
                raise ValueError(f"expected a monomial with coefficient 1, got {log}")
            self._exp[monomial] = letter, inverse

    def exp(self, x: Letters) -> Letters:
        """Return the exponential of an array, elementwise: each entry a sum of declared logs, with integer factors.

        Raises:
            ArithmeticError: if an entry has a term whose exponential is not defined.
        """
        result = np.empty(x.shape, dtype=object)
        for i, entry in np.ndenumerate(x):
            product = self.one
            for monomial, coefficient in entry.terms() if entry else ():
                if monomial not in self._exp:
                    raise ArithmeticError(f"the exponential of {entry} is no letter of the ring")
                letter, inverse = self._exp[monomial]
                product = product * (letter if coefficient > 0 else inverse) ** abs(int(coefficient))
            result[i] = product
        return result

    def reduce(self, entry: Any) -> Any:
        """Cancel letters against their inverses; the result is zero if and only if the entry is."""
        if not isinstance(entry, PolyElement) or not self._inverse_pairs:
            return entry
        reduced = entry.ring.zero
        for monomial, coefficient in entry.terms() if entry else ():
            exponents = list(monomial)
            for n, m in self._inverse_pairs:
                common = min(exponents[n], exponents[m])
                exponents[n] -= common
                exponents[m] -= common
            key = tuple(exponents)
            total = reduced.get(key, 0) + coefficient
            if total:
                reduced[key] = total
            else:
                reduced.pop(key, None)
        return reduced

    def residual(self, left: Letters, right: Letters) -> Any:
        """Return the :func:`difference` of two arrays, each entry in normal form."""
        found = difference(left, right)
        return found if isinstance(found, str) else np.frompyfunc(self.reduce, 1, 1)(found)


def difference(left: Letters, right: Letters) -> Any:
    """Return the difference of two arrays of objects, or a sentence where their shapes differ.

    Broadcasting would hide a missing axis.
    """
    if np.shape(left) != np.shape(right):
        return f"one has the shape {list(np.shape(left))}, the other {list(np.shape(right))}"
    return np.asarray(left - right, dtype=object)


def determinant(square: np.ndarray) -> Any:
    """Return the determinant of a square array of any carrier, by Laplace's expansion, without division."""
    if len(square) == 1:
        return square[0, 0]
    minors = (np.delete(np.delete(square, 0, axis=0), j, axis=1) for j in range(len(square)))
    return sum((-1) ** j * square[0, j] * determinant(minor) for j, minor in enumerate(minors))


def _letter(name: str, index: tuple[int, ...], shape: tuple[int, ...]) -> str:
    """Name a letter by its place, counted from 1; axes of size 1 are left out."""
    counted = [str(i + 1) for i, size in zip(index, shape, strict=True) if size > 1]
    return name + ("" if all(size < 10 for size in shape) else "_").join(counted)
