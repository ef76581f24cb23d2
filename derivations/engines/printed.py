"""Statements in TeX, printed from what is checked: polynomials and fractions in it, or the code run on letters.

A :class:`Written` is a carrier whose entries are formulas: what a function does to letters is its formula, in the form
in which the function is written. Nothing is decided here; the functions that are run are those that a step checks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from fractions import Fraction
from math import gcd, lcm
from typing import Any

import numpy as np
from sympy.polys.rings import PolyElement

from derivations.engines.trees import signed, tex_name

SUM, ENTRYWISE, PRODUCT, POWER, ATOM = range(5)  # how tightly a printed form binds
Names = Mapping[str, str]


# Polynomials and fractions.


def polynomial(value: PolyElement, names: Names | None = None) -> str:
    """Print a polynomial expanded; a positive term comes first, if there is one.

    Args:
        value: a polynomial with exact coefficients.
        names: how letters are printed that are not printed by their name.
    """
    return _sum([(coefficient, _monomial(value, monomial, names)) for monomial, coefficient in value.terms()])


def factored(value: PolyElement, names: Names | None = None) -> str:
    """Print a polynomial as the product of its factors, a number in front."""
    return fraction([(value, "")] if value else [], value.ring.one, names)


def fraction(numerator: Sequence[tuple[PolyElement, str]], denominator: PolyElement, names: Names | None = None) -> str:
    """Print a sum of polynomials, each times a printed factor, over a common denominator.

    Args:
        numerator: polynomials that are not zero, each with its factor, which may be empty.
        denominator: a polynomial that is not zero.
        names: how letters are printed that are not printed by their name.
    """
    if not numerator:
        return "0"
    under, below = _factors(denominator)
    below, under = _with_positive_constants(below, under)
    if len(numerator) == 1:
        ((value, last),) = numerator
        scale, factors = _factors(value)
        mixed = [i for i, (f, n) in enumerate(factors) if n % 2 and any(c < 0 for c in f.coeffs())]
        if scale < 0 and mixed:  # the last of them takes the sign
            scale, factors[mixed[-1]] = -scale, (-factors[mixed[-1]][0], factors[mixed[-1]][1])
        above = [_power(polynomial(f, names), n, loose=len(f) > 1) for f, n in factors] + ([last] if last else [])
        alone = not last and len(factors) == 1 and factors[0][1] == 1
    else:
        scale, inner = _sum_of_products(numerator, names)
        above, alone = [f"({inner})"], True
    scale = scale / under
    if below:
        sign, scale = ("-" if scale < 0 else ""), abs(scale)
        top = _times(Fraction(scale.numerator), _joined(above, alone=alone and scale.numerator == 1))
        bottom = _times(
            Fraction(scale.denominator),
            _joined(
                [_power(polynomial(f, names), n, loose=len(f) > 1) for f, n in below],
                alone=scale.denominator == 1 and len(below) == 1 and below[0][1] == 1,
            ),
        )
        return rf"{sign}\frac{{{top}}}{{{bottom}}}"
    text = _joined(above, alone=alone and scale == 1)
    return ("-" if scale < 0 else "") + _times(abs(scale), text)


Factors = list[tuple[PolyElement, int]]


def _factors(value: PolyElement) -> tuple[Fraction, Factors]:
    content, found = value.factor_list()
    return _exact(content), sorted(found, key=lambda item: (len(item[0]), [-n for n in item[0].LM]))


def _with_positive_constants(factors: Factors, number: Fraction) -> tuple[Factors, Fraction]:
    out = []
    for factor, power in factors:
        negated = factor.coeff(1) < 0
        number *= (-1) ** power if negated else 1
        out.append((-factor if negated else factor, power))
    return out, number


def _sum_of_products(parts: Sequence[tuple[PolyElement, str]], names: Names | None) -> tuple[Fraction, str]:
    """Print a sum with coprime coefficients, few of them negative, and return what it was divided by."""
    found = [(_exact(c), value, m, last) for value, last in parts for m, c in value.terms()]
    number = Fraction(gcd(*(c.numerator for c, *_ in found)), lcm(*(c.denominator for c, *_ in found)))
    number = -number if 2 * sum(c < 0 for c, *_ in found) > len(found) else number
    terms = [(c / number, " ".join(filter(None, (_monomial(v, m, names), last)))) for c, v, m, last in found]
    return number, _sum(terms)


def _joined(factors: list[str], *, alone: bool) -> str:
    text = " ".join(factors)
    return text[1:-1] if alone and text.startswith("(") else text


def _exact(coefficient: Any) -> Fraction:
    return Fraction(int(coefficient.numerator), int(coefficient.denominator))


def _monomial(value: PolyElement, monomial: tuple[int, ...], names: Names | None) -> str:
    letters = zip(value.ring.symbols, monomial, strict=True)
    return " ".join(_power(_name(str(symbol), names), power) for symbol, power in letters if power)


def _name(letter: str, names: Names | None) -> str:
    if names and letter in names:
        return names[letter]
    return f"{tex_name(letter[2:])}^{{-1}}" if letter.startswith("1/") else tex_name(letter)


def _power(base: str, power: int, *, loose: bool = False) -> str:
    base = f"({base})" if loose or (power > 1 and "^" in base) else base
    return base if power == 1 else f"{base}^{power}" if power < 10 else f"{base}^{{{power}}}"


def _sum(terms: Sequence[tuple[Any, str]]) -> str:
    """Join numbers and what they multiply; a positive number comes first, or else a positive term if there is one."""
    ordered = [(_exact(number), text) for number, text in terms if number]
    positive = [i for i, (number, _) in enumerate(ordered) if number > 0]
    first = next((i for i in positive if not ordered[i][1]), positive[0] if positive else 0)
    ordered = [*ordered[first : first + 1], *ordered[:first], *ordered[first + 1 :]]
    return signed((-1 if number < 0 else 1, _times(abs(number), text)) for number, text in ordered) or "0"


def _times(number: Fraction, text: str) -> str:
    printed = str(number) if number.denominator == 1 else rf"\tfrac{{{number.numerator}}}{{{number.denominator}}}"
    return printed if not text else text if number == 1 else f"{printed} {text}"


def number(value: Fraction) -> str:
    """Print a number."""
    return ("-" if value < 0 else "") + _times(abs(value), "")


# The code on letters.


class Kind(Enum):
    """What a letter is, and so what the code's ``*`` means beside it."""

    SCALAR = "scalar"
    OPERATOR = "operator"  # a function of one square matrix: all of them commute, and 1 is the identity
    COLUMN = "column"  # a number a token: beside a matrix it multiplies the rows
    MATRIX = "matrix"  # a row a token, or the memory: * is entry by entry


class Written:
    """A formula made of letters.

    Args:
        tex: how it is printed.
        kind: what it is.
        binding: how tightly the printed form binds.
        number: its value, where it is a number.
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
    """A mask of ones on and below a diagonal, that the code multiplies a matrix by."""

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
    return Written(number(value), Kind.SCALAR, SUM if value < 0 else ATOM, value)
