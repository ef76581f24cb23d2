"""The code on letters: run a function on letters, and print the result as the formula that it computes.

A :class:`Written` is a carrier whose entries are formulas. Nothing is decided here. The functions are those that the
steps check, so the printed statement is the checked one.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.engines import notation

SUM, ENTRYWISE, PRODUCT, POWER, ATOM = range(5)  # how tightly a printed form binds


class Kind(Enum):
    """The kind of a letter, which says what ``*`` with it means."""

    SCALAR = "scalar"
    OPERATOR = "operator"  # a function of one square matrix: all of them commute, and 1 is the identity
    COLUMN = "column"  # a number for each token: it multiplies the rows of a matrix
    MATRIX = "matrix"  # a row for each token, or the memory: * is entry by entry


class Written:
    """A formula made of letters.

    Args:
        tex: its TeX.
        kind: its kind.
        binding: how tightly the TeX binds, for brackets.
        number: its value, if it is a number.
    """

    def __init__(self, tex: str, kind: Kind = Kind.SCALAR, binding: int = ATOM, number: Fraction | None = None) -> None:
        self.tex, self.kind, self.binding, self.number = tex, kind, binding, number

    def __str__(self) -> str:
        return self.tex

    @property
    def T(self) -> Written:
        """The transpose."""
        return Written(rf"{self._in(ATOM)}^\top", self.kind, POWER)

    def __add__(self, other: Any) -> Written:
        return self._joined(_written(other), 1)

    def __radd__(self, other: Any) -> Written:
        return _written(other) + self

    def __sub__(self, other: Any) -> Written:
        return self._joined(_written(other), -1)

    def __rsub__(self, other: Any) -> Written:
        return _written(other) - self

    def __neg__(self) -> Written:
        return _number(-self.number) if self.number is not None else Written(f"-{self._in(ENTRYWISE)}", self.kind, SUM)

    def __mul__(self, other: Any) -> Written:
        other = _written(other)
        if self.number is not None and other.number is not None:
            return _number(self.number * other.number)
        for number, factor in ((self.number, other), (other.number, self)):
            if number == 0:
                return _number(Fraction(0))
            if number == 1:
                return factor
            if number == -1:
                return -factor
        kinds = {self.kind, other.kind}
        if Kind.MATRIX in kinds and Kind.COLUMN in kinds:
            column, matrix = (self, other) if self.kind is Kind.COLUMN else (other, self)
            diagonal = Written(rf"\operatorname{{diag}}({column.tex})", Kind.MATRIX)
            return diagonal @ matrix
        if self.kind is other.kind and self.kind in (Kind.MATRIX, Kind.COLUMN):
            return Written(rf"{self._in(ENTRYWISE)} \odot {other._in(ENTRYWISE)}", self.kind, ENTRYWISE)
        left, right = (other, self) if other.number is not None else (self, other)
        kind = next((part.kind for part in (left, right) if part.kind is not Kind.SCALAR), Kind.SCALAR)
        return Written(f"{left._in(PRODUCT)} {right._in(PRODUCT)}", kind, PRODUCT)

    def __rmul__(self, other: Any) -> Written:
        return _written(other) * self

    def __matmul__(self, other: Written) -> Written:
        return Written(f"{self._in(PRODUCT)} {other._in(PRODUCT)}", Kind.MATRIX, PRODUCT)

    def __truediv__(self, other: Any) -> Written:
        other = _written(other)
        if other.kind is Kind.OPERATOR:
            return self * other**-1
        if other.number is not None:
            return _number(1 / other.number) * self
        return Written(rf"\frac{{{self.tex}}}{{{other.tex}}}", self.kind, POWER)

    def __rtruediv__(self, other: Any) -> Written:
        return _written(other) / self

    def __pow__(self, power: int) -> Written:
        exponent = str(power) if 0 <= power < 10 else f"{{{power}}}"
        return self if power == 1 else Written(f"{self._in(ATOM)}^{exponent}", self.kind, POWER)

    def _joined(self, other: Written, sign: int) -> Written:
        if self.number is not None and other.number is not None:
            return _number(self.number + sign * other.number)
        if other.number == 0:
            return self
        if self.number == 0:
            return other if sign > 0 else -other
        kind = other.kind if self.kind is Kind.SCALAR else self.kind
        left, right = ("I" if part.number == 1 and kind is Kind.OPERATOR else part.tex for part in (self, other))
        negative = right.startswith("-")
        if negative and sign < 0:
            right = f"({right})"
        elif negative:
            right, sign = right[1:], -1
        elif sign < 0 and other.binding == SUM:
            right = f"({right})"
        return Written(f"{left} {'-' if sign < 0 else '+'} {right}", kind, SUM)

    def _in(self, binding: int) -> str:
        return f"({self.tex})" if self.binding < binding else self.tex


class Below:
    """A mask of ones on and below a diagonal, by which the code multiplies a matrix."""

    def __init__(self, diagonal: int = 0) -> None:
        self.diagonal = diagonal

    def __mul__(self, other: Written) -> Written:
        place = f", {self.diagonal}" if self.diagonal else ""
        return Written(rf"\operatorname{{tril}}({other.tex}{place})", Kind.MATRIX)


def letters(kind: Kind, *names: str) -> Iterator[Written]:
    """Yield letters of one kind."""
    return (Written(name, kind) for name in names)


def entry(x: Any) -> np.ndarray:
    """Return a letter, or one name or number, as an array of one row and one column."""
    return np.array([[_written(Written(x) if isinstance(x, str) else x)]], dtype=object)


def exp(x: Any) -> Any:
    """Print an exponential; 0 makes 1. Of an array, of each entry."""
    if isinstance(x, np.ndarray):
        return np.frompyfunc(exp, 1, 1)(x)
    return _number(Fraction(1)) if x.number == 0 else Written(f"e^{{{x.tex}}}", x.kind, POWER)


def phi(k: int, x: Any) -> Any:
    """Print phi_k. Of an array, of each entry."""
    if isinstance(x, np.ndarray):
        return np.frompyfunc(lambda z: phi(k, z), 1, 1)(x)
    return Written(rf"\varphi_{k}({x.tex})", x.kind)


def phi1(x: Any) -> Any:
    """Print phi_1, as the code's discretisations take it."""
    return phi(1, x)


def inverse(A: Written) -> Written:
    """Print the inverse of a unit lower triangle I + A."""
    return Written(rf"\bigl(I + {A.tex}\bigr)^{{-1}}" if A.tex[0] != "-" else rf"\bigl(I {A.tex}\bigr)^{{-1}}", A.kind)


def _written(x: Any) -> Written:
    return x if isinstance(x, Written) else _number(Fraction(x))


def _number(value: Fraction) -> Written:
    return Written(notation.number(value), Kind.SCALAR, SUM if value < 0 else ATOM, value)
