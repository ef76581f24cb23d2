"""Entries that are polynomials: a kernel that runs on letters is checked for all inputs of its sizes.

An entry is the number of a polynomial, or of a sum of log decays, in a list in which each is once. So everything that
moves entries about, and compares them, is that of integers mod p, and only the arithmetic differs. Blocks are larger
than the sizes that polynomials allow: what lies behind a mask is zero, and costs nothing.

The exponential of the sum of g_i is the product of letters a_i, which stand for the decays. It is taken of sums whose
coefficients are positive only: any other one overflows for some decays below 1. Where a kernel compares a log decay
with a number, it is taken to be close to 0, so that what is shown is shown for log decays above those that it clamps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sympy.polys.rings import PolyElement

from derivations.engines.aten.numbers import FORGETS, LEAST_LOG, UNDERFLOWS
from derivations.engines.ir.carrier import EMPTY, INFINITE, Carrier, Entries, NotModelled, Unsound
from derivations.engines.ring import Ring

NEAR = 2.0**-20  # nats
Log = tuple[int, ...]  # how often each log decay is in a sum


class Letters(Carrier):
    """The arithmetic of entries that are polynomials with integer coefficients.

    Args:
        shapes: of the arrays of letters, by name; of log decays under ``g``.
        scale: the number that stands for one more letter.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], scale: float) -> None:
        named: dict[str, Any] = {"a" if name == "g" else name: shape for name, shape in shapes.items()}
        ring = Ring(**named, scale=())
        self._one, self._scale, self._letters = ring.one, scale, ring
        self._values: list[PolyElement] = [ring.one.ring.zero]
        self._logs: list[Log] = []
        self._numbers: dict[Any, int] = {self._values[0]: 0}
        self._known: dict[tuple[str, int, int], int] = {}
        self.scale = ring["scale"][()]
        self.decays = list(ring["a"].flat) if "g" in shapes else []
        self.entries = {name: self._drawn(name, shape) for name, shape in shapes.items()}

    def _drawn(self, name: str, shape: tuple[int, ...]) -> Entries:
        if name == "g":
            forms = np.eye(len(self.decays), dtype=int).tolist()
            return np.array([self._log(tuple(form)) for form in forms], np.int64).reshape(shape)
        return np.array([self._value(letter) for letter in self._letters[name].flat], np.int64).reshape(shape)

    def _value(self, value: PolyElement) -> int:
        if value not in self._numbers:
            self._numbers[value] = len(self._values)
            self._values.append(value)
        return self._numbers[value]

    def _log(self, form: Log) -> int:
        if not any(form):
            return 0
        if form not in self._numbers:
            self._numbers[form] = LEAST_LOG + len(self._logs)
            self._logs.append(form)
        return self._numbers[form]

    def _form(self, entry: int) -> Log:
        return self._logs[entry - LEAST_LOG] if entry else (0,) * len(self.decays)

    def polynomials(self, entries: Entries) -> np.ndarray:
        """Return the polynomials of entries.

        Raises:
            Unsound: if an entry was never written, or is a log decay.
        """
        if (entries == EMPTY).any():
            raise Unsound(f"never written at {np.argwhere(entries == EMPTY)[0].tolist()}")
        if (entries >= LEAST_LOG).any():
            raise Unsound("a log decay stands where a value is expected")
        found = np.empty(entries.shape, object)
        for place, entry in np.ndenumerate(entries):
            found[place] = self._values[int(entry)]
        return found

    def numbered(self, polynomials: np.ndarray) -> Entries:
        """Return the entries of polynomials, and of integers."""
        entries = [self._value(self._one * value) for value in polynomials.flat]
        return np.array(entries, np.int64).reshape(polynomials.shape)

    def exp(self, logs: Entries) -> np.ndarray:
        """Return the decays of log decays, as polynomials."""
        return self.polynomials(self.exponential(logs))

    # Arithmetic.

    def _pairwise(self, name: str, run: Callable[[int, int], int], a: Entries, b: Entries) -> Entries:
        """Run an operation on each pair that there is; where one of them is no number, neither is the result."""
        (left, i), (right, j) = (np.unique(x, return_inverse=True) for x in (a, b))
        pairs, where = np.unique(i.reshape(a.shape) * len(right) + j.reshape(b.shape), return_inverse=True)
        found = np.empty(len(pairs), np.int64)
        for n, pair in enumerate(pairs.tolist()):
            x, y = int(left[pair // len(right)]), int(right[pair % len(right)])
            if (name, x, y) not in self._known:
                self._known[name, x, y] = EMPTY if EMPTY in (x, y) else run(x, y)
            found[n] = self._known[name, x, y]
        return found[where].reshape(np.broadcast_shapes(a.shape, b.shape))

    def _sum(self, x: int, y: int, sign: int = 1) -> int:
        if not y or x == FORGETS:
            return x
        if y == FORGETS and sign > 0:
            return FORGETS
        if max(x, y) >= FORGETS:
            raise Unsound("a log decay of -inf is subtracted, which makes inf or NaN")
        if (x >= LEAST_LOG or not x) and y >= LEAST_LOG:
            return self._log(tuple(n + sign * m for n, m in zip(self._form(x), self._form(y), strict=True)))
        if max(x, y) >= LEAST_LOG:
            raise Unsound("a log decay is added to what is no log decay")
        return self._value(self._values[x] + sign * self._values[y])

    def _product(self, x: int, y: int) -> int:
        x, y = min(x, y), max(x, y)
        if x >= LEAST_LOG:
            raise Unsound("two log decays are multiplied")
        if y < LEAST_LOG:
            return self._value(self._values[x] * self._values[y])
        factor = self._values[x]
        if not factor.is_ground or (y >= FORGETS and factor <= 0):
            raise Unsound("a log decay is multiplied by what is no small integer")
        return y if y >= FORGETS else self._log(tuple(n * int(factor.LC) for n in self._form(y)))

    def add(self, a: Entries, b: Entries) -> Entries:
        """Return a + b."""
        return self._pairwise("+", self._sum, a, b)

    def subtract(self, a: Entries, b: Entries) -> Entries:
        """Return a - b."""
        return self._pairwise("-", lambda x, y: self._sum(x, y, -1), a, b)

    def multiply(self, a: Entries, b: Entries) -> Entries:
        """Return the products."""
        return self._pairwise("*", self._product, a, b)

    def divide(self, a: Entries, b: Entries) -> Entries:
        """Refuse: polynomials have no quotients."""
        raise NotModelled("a quotient of letters")

    def root(self, x: Entries) -> Entries:
        """Refuse: polynomials have no roots."""
        raise NotModelled("a root of letters")

    inverse_root = root

    def exponential(self, x: Entries) -> Entries:
        """Return the exponentials of log decays."""
        found, where = np.unique(x, return_inverse=True)
        return np.array([self._power(int(entry)) for entry in found], np.int64)[where].reshape(x.shape)

    def _power(self, x: int) -> int:
        if x in (EMPTY, FORGETS):
            return x if x == EMPTY else 0
        if 0 < x < LEAST_LOG:
            raise Unsound("takes the exponential of what is no log decay")
        decay = self._one
        for letter, power in zip(self.decays, self._form(x), strict=True):
            if power < 0:
                raise Unsound("takes the exponential of a difference of log decays that may be positive, and overflow")
            decay = decay * letter**power
        return self._value(decay)

    def exponential_2(self, x: Entries) -> Entries:
        """Refuse: there is one base of letters."""
        raise NotModelled("a power of 2 of letters")

    def magnitude(self, x: Entries) -> Entries:
        """Return the absolute values of sums of log decays, of which no two have different signs."""
        found, where = np.unique(x, return_inverse=True)
        return np.array([self._unsigned(int(entry)) for entry in found], np.int64)[where].reshape(x.shape)

    def _unsigned(self, x: int) -> int:
        if x == EMPTY:
            return x
        form = self._form(x) if not 0 < x < LEAST_LOG and x < FORGETS else None
        if form is None or min(form, default=0) < 0 < max(form, default=0):
            raise NotModelled("the absolute value of letters")
        return self._log(tuple(-abs(n) for n in form))  # log decays are negative

    def total(self, x: Entries, axis: int) -> Entries:
        """Return sums over an axis."""
        rows = np.moveaxis(x, axis, -1)
        found = np.zeros(rows.shape[:-1], np.int64)
        for place in np.argwhere((rows != 0).any(-1)):
            row = rows[tuple(place)]
            for entry in row[row != 0]:
                found[tuple(place)] = self._added(int(found[tuple(place)]), int(entry))
        return found

    def _added(self, x: int, y: int) -> int:
        return EMPTY if EMPTY in (x, y) else self._sum(x, y)

    def cumulated(self, x: Entries, axis: int) -> Entries:
        """Return cumulated sums over an axis."""
        rows = np.moveaxis(x, axis, 0)
        sums = [rows[0]]
        for row in rows[1:]:
            sums.append(self.add(sums[-1], row) if row.any() else sums[-1])
        return np.moveaxis(np.stack(sums), 0, axis)

    def matrices(self, a: Entries, b: Entries, c: Entries) -> Entries:
        """Return a b + c of matrices."""
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = (np.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (a, b))
        found = np.zeros((*batch, a.shape[-2], b.shape[-1]), np.int64)
        for place in np.ndindex(batch):
            left, right, to = a[place], b[place], found[place]
            for k in np.flatnonzero((left != 0).any(0) & (right != 0).any(1)):
                rows, columns = np.flatnonzero(left[:, k]), np.flatnonzero(right[k])
                products = self.multiply(left[rows, k][:, None], right[k, columns][None, :])
                to[np.ix_(rows, columns)] = self.add(to[np.ix_(rows, columns)], products)
            to[(left == EMPTY).any(1)[:, None] | (right == EMPTY).any(0)[None, :]] = EMPTY
        return self.add(found, c)

    # Comparisons, and numbers of the program.

    def finite(self, x: Entries) -> np.ndarray:
        """Tell which entries are finite."""
        return x != FORGETS

    def nats(self, x: Entries) -> np.ndarray:
        """Return log decays as floats, all of them close to 0; values have no order."""
        found, where = np.unique(x, return_inverse=True)
        return np.array([self._near(int(entry)) for entry in found])[where].reshape(x.shape)

    def _near(self, x: int) -> float:
        if x == FORGETS:
            return -np.inf
        if x == EMPTY or 0 < x < LEAST_LOG or min(self._form(x), default=0) < 0:
            raise NotModelled("an order of letters")
        return -NEAR * sum(self._form(x))

    def same(self, a: Entries, b: Entries) -> np.ndarray:
        """Tell which entries are equal, if that is so for all letters or for none."""
        same = a == b
        for x, y in {*zip(*(x[~same].tolist() for x in np.broadcast_arrays(a, b)), strict=True)}:
            if max(x, y) >= LEAST_LOG or not (self._values[x] - self._values[y]).is_ground:
                raise NotModelled("a comparison of letters")
        return same

    def constant(self, number: float) -> int:
        """Return a number of the program."""
        if number != number:
            return EMPTY
        if number in (np.inf, self._scale):
            return INFINITE if number == np.inf else self._value(self._letters["scale"][()])
        if number <= UNDERFLOWS:
            return FORGETS
        if number != int(number):
            raise NotModelled(f"the number {number} beside letters")
        return self._value(self._one * int(number))

    def lifted(self, x: np.ndarray) -> Entries:
        """Return integers, or floats in float64, as entries."""
        found, where = np.unique(x, return_inverse=True)
        return np.array([self.constant(float(n)) for n in found], np.int64)[where].reshape(x.shape)
