"""Power series in one matrix, with parameters: identities between exp, phi_k and inverses, for all orders at once.

An element is a finite sum of terms ``R e^E``: ``R`` a rational function of the declared variables with rational
coefficients, ``E`` a polynomial in them without constant term. Sums, products, derivatives and quotients by one term
stay in this form, and so do ``phi_k(z) = (e^z - 1 - z - ... - z^(k-1)/(k-1)!) / z^k`` and ``(1 - z/2)^-1``.

**Why an identity holds for all orders.** An element is the zero function only if every ``R`` in it is zero: were
``sum R_i e^E_i = 0`` a shortest relation between different exponents, dividing it by one term and differentiating
would give a shorter one, unless ``e^(E_j - E_i)`` were rational, which the exponential of a polynomial that is not
constant is not. So no series is cut off: two elements of one normal form have the same coefficient at every order,
and two of different normal forms differ at some order.

**Why it holds for matrices.** Substituting a square matrix ``A`` for a variable ``a`` in convergent power series in
``a`` is a homomorphism: sums and products go to sums and products, whether ``A`` is singular, defective or neither.
An element without a pole in ``a`` whose denominators are powers of ``a`` is such a series everywhere (``pole``
returns the poles). One with a denominator like ``1 - a/2`` is one wherever ``I - A/2`` is invertible. One with a
pole in ``a``, such as ``(e^a - 1)/a`` written with ``A^-1``, needs an invertible ``A``.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import reduce
from math import factorial
from typing import Any

import numpy as np
from sympy.polys.domains import QQ
from sympy.polys.fields import FracElement, field
from sympy.polys.rings import PolyElement

from derivations.engines import polynomials


class Variables:
    """The variables that series are made of.

    Args:
        names: the names, in one string; products are printed in their order.
        tex: TeX of variables that differs from their names.
    """

    def __init__(self, names: str, tex: dict[str, str] | None = None) -> None:
        self.tex = tex or {}
        self.field = field(names.split(), QQ)[0]
        self.ring = self.field.ring
        self.names = names.split()

    def all(self) -> list[Series]:
        """Return the variables in their order."""
        return [self.term(gen, self.ring.zero) for gen in self.field.gens]

    def term(self, factor: FracElement, exponent: PolyElement) -> Series:
        """Return one term, a rational function times the exponential of a polynomial."""
        return Series(self, {exponent: factor} if factor else {})

    def number(self, value: int | Fraction) -> Series:
        """Return a constant.

        Raises:
            TypeError: if the value is not exact; a float would silently become a fraction.
        """
        if isinstance(value, bool) or not isinstance(value, int | Fraction | np.integer):
            raise TypeError(f"expected an integer or a fraction, got {type(value).__name__}")
        numerator, denominator = Fraction(value).as_integer_ratio()
        return self.term(self.field(QQ(numerator, denominator)), self.ring.zero)


class Series:
    """A sum of rational functions times exponentials of polynomials; truthy where it is not zero."""

    def __init__(self, variables: Variables, terms: dict[PolyElement, FracElement]) -> None:
        self.variables, self.terms = variables, terms

    def __add__(self, other: Any) -> Series:
        other = self._coerced(other)
        if other is NotImplemented:
            return NotImplemented
        terms = dict(self.terms)
        for exponent, factor in other.terms.items():
            total = terms.pop(exponent, self.variables.field.zero) + factor
            if total:
                terms[exponent] = total
        return Series(self.variables, terms)

    __radd__ = __add__

    def __neg__(self) -> Series:
        return Series(self.variables, {exponent: -factor for exponent, factor in self.terms.items()})

    def __sub__(self, other: Any) -> Series:
        other = self._coerced(other)
        return NotImplemented if other is NotImplemented else self + -other

    def __rsub__(self, other: Any) -> Series:
        return -self + other

    def __mul__(self, other: Any) -> Series:
        other = self._coerced(other)
        if other is NotImplemented:
            return NotImplemented
        terms: dict[PolyElement, FracElement] = {}
        for e, x in self.terms.items():
            for f, y in other.terms.items():
                total = terms.pop(e + f, self.variables.field.zero) + x * y
                if total:
                    terms[e + f] = total
        return Series(self.variables, terms)

    __rmul__ = __mul__

    def __pow__(self, power: int) -> Series:
        out = self.variables.number(1)
        for _ in range(abs(power)):
            out = out * self
        return out if power >= 0 else 1 / out

    def __truediv__(self, other: Any) -> Series:
        other = self._coerced(other)
        return NotImplemented if other is NotImplemented else self * other._inverse()

    def __rtruediv__(self, other: Any) -> Series:
        return self._coerced(other) * self._inverse()

    def __eq__(self, other: object) -> bool:
        coerced = self._coerced(other)
        return coerced is not NotImplemented and self.terms == coerced.terms

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __str__(self) -> str:
        parts = []
        for exponent, factor in sorted(self.terms.items(), key=lambda item: str(item[0])):
            shown = str(factor.as_expr())
            shown = f"({shown})" if exponent and (" " in shown or "/" in shown) else shown
            parts.append(shown if not exponent else f"exp({exponent})" if factor == 1 else f"{shown}*exp({exponent})")
        return " + ".join(parts) or "0"

    def tex(self, **names: str) -> str:
        """Print in TeX, as one fraction in normal form.

        Args:
            names: TeX of variables, for this call.
        """
        names = {**self.variables.tex, **names}
        denominators = (factor.denom for factor in self.terms.values())
        denominator = reduce(lambda one, other: one.lcm(other), denominators, self.variables.ring.one)
        exponents = sorted(self.terms, key=lambda exponent: (not exponent, str(exponent)))
        return polynomials.fraction(
            [
                (
                    self.terms[exponent].numer * denominator.exquo(self.terms[exponent].denom),
                    f"e^{{{polynomials.polynomial(exponent, names)}}}" if exponent else "",
                )
                for exponent in exponents
            ],
            denominator,
            names,
        )

    def polynomial(self) -> PolyElement:
        """Return the element as a polynomial.

        Raises:
            ArithmeticError: if it has exponentials or denominators.
        """
        zero = self.variables.ring.zero
        factor = self.terms.get(zero, self.variables.field.zero)
        if set(self.terms) - {zero} or not factor.denom.is_ground:
            raise ArithmeticError(f"expected a polynomial, got {self}")
        return factor.numer * (1 / factor.denom.coeff(1))

    def diff(self, variable: Series) -> Series:
        """Return the derivative with respect to a variable."""
        gen = self._generator(variable)
        terms = {}
        for exponent, factor in self.terms.items():
            top, bottom = factor.numer, factor.denom
            slope = self.variables.field(top.diff(gen) * bottom - top * bottom.diff(gen)) / bottom**2
            rate = slope + factor * exponent.diff(gen)
            if rate:
                terms[exponent] = rate
        return Series(self.variables, terms)

    def at(self, variable: Series, value: Any) -> Series:
        """Substitute a polynomial, or a number, for a variable.

        Raises:
            ZeroDivisionError: if the element has a pole there.
        """
        gen = self._generator(variable)
        value = self._coerced(value).polynomial()
        out = self.variables.number(0)
        for exponent, factor in self.terms.items():
            numerator, denominator = (part.compose(gen, value) for part in (factor.numer, factor.denom))
            if not denominator:
                raise ZeroDivisionError(f"{self} has a pole at {variable} = {value}")
            scaled = self.variables.field(numerator) / self.variables.field(denominator)
            out = out + self.variables.term(scaled, self.variables.ring.zero) * exp(
                self._polynomial(exponent.compose(gen, value))
            )
        return out

    def expanded(self, variable: Series, order: int) -> dict[int, Series]:
        """Expand in powers of a variable about 0.

        Args:
            variable: one of the variables.
            order: the last power wanted.

        Returns:
            The coefficients by power, from the lowest, which is negative at a pole, to ``order``.
        """
        gen = self._generator(variable)
        zero = self.variables.number(0)
        out: dict[int, Series] = {}
        for exponent, factor in self.terms.items():
            bottom = _coefficients(factor.denom, gen)
            low = min(bottom)
            top, rest = _coefficients(factor.numer, gen), _coefficients(exponent, gen)
            count = order + low + 1
            quotient = _quotient(top, {n - low: c for n, c in bottom.items()}, count, self.variables.field)
            grown = _exponential(rest, count, self.variables.field)
            fixed = self.variables.term(self.variables.field.one, rest.get(0, self.variables.ring.zero))
            for n in range(count):
                total = sum((quotient[i] * grown[n - i] for i in range(n + 1)), self.variables.field.zero)
                found = self.variables.term(total, self.variables.ring.zero) * fixed
                out[n - low] = out.get(n - low, zero) + found
        lowest = min((n for n, found in out.items() if found), default=0)
        return {n: out.get(n, zero) for n in range(min(lowest, 0), order + 1)}

    def pole(self, variable: Series) -> list[Series] | str:
        """Return the parts that are not entire functions of a variable; "" if the element is entire."""
        gen = self._generator(variable)
        index = self.variables.ring.gens.index(gen)
        found = [coefficient for n, coefficient in self.expanded(variable, 0).items() if n < 0 and coefficient]
        for factor in self.terms.values():
            powers = {monomial[index] for monomial in factor.denom.itermonoms()}
            if len(powers) > 1:
                found.append(self._polynomial(factor.denom))
        return found or ""

    def _coerced(self, other: Any) -> Any:
        if isinstance(other, Series):
            if other.variables is not self.variables:
                raise ValueError("expected series in the same variables")
            return other
        if isinstance(other, np.ndarray):
            return NotImplemented
        return self.variables.number(other)

    def _inverse(self) -> Series:
        if not self:
            raise ZeroDivisionError("division by zero")
        if len(self.terms) > 1:
            raise ArithmeticError(f"expected a divisor of one term, got {self}")
        ((exponent, factor),) = self.terms.items()
        return self.variables.term(1 / factor, -exponent)

    def _generator(self, variable: Series) -> PolyElement:
        gen = variable.polynomial()
        if gen not in self.variables.ring.gens:
            raise ValueError(f"expected a variable, got {variable}")
        return gen

    def _polynomial(self, value: PolyElement) -> Series:
        return self.variables.term(self.variables.field(value), self.variables.ring.zero)


def _coefficients(polynomial: PolyElement, gen: PolyElement) -> dict[int, PolyElement]:
    ring = polynomial.ring
    index = ring.gens.index(gen)
    out: dict[int, PolyElement] = {}
    for monomial, coefficient in polynomial.terms() if polynomial else ():
        rest = (*monomial[:index], 0, *monomial[index + 1 :])
        out[monomial[index]] = out.get(monomial[index], ring.zero) + ring({rest: coefficient})
    return out


def _quotient(top: dict[int, PolyElement], bottom: dict[int, PolyElement], count: int, over: Any) -> list[FracElement]:
    """Divide two polynomials as power series, the divisor's constant coefficient not zero."""
    found: list[FracElement] = []
    for n in range(count):
        left = over(top[n]) if n in top else over.zero
        left -= sum((over(bottom[i]) * found[n - i] for i in bottom if 0 < i <= n), over.zero)
        found.append(left / over(bottom[0]))
    return found


def _exponential(powers: dict[int, PolyElement], count: int, over: Any) -> list[FracElement]:
    """Expand the exponential of a polynomial without constant term, by n e_n = sum_i i E_i e_(n-i)."""
    found = [over.one]
    for n in range(1, count):
        total = sum((i * over(powers[i]) * found[n - i] for i in powers if 0 < i <= n), over.zero)
        found.append(total / n)
    return found


def exp(x: Any) -> Any:
    """Return the exponential of a polynomial without constant term, or of each entry of an array.

    Raises:
        ArithmeticError: if the argument is no polynomial, or has a constant term.
    """
    if isinstance(x, np.ndarray):
        return _elementwise(exp, x)
    exponent = x.polynomial()
    if exponent and exponent.coeff(1):
        raise ArithmeticError(f"expected no constant term under the exponential, got {x}")
    return x.variables.term(x.variables.field.one, exponent)


def phi(k: int, z: Any) -> Any:
    """Return phi_k, whose coefficients are 1 / (j + k)!, of a polynomial without constant term or of each entry."""
    if isinstance(z, np.ndarray):
        return _elementwise(lambda entry: phi(k, entry), z)
    if not z:
        return z.variables.number(Fraction(1, factorial(k)))
    partial = sum((z**j * Fraction(1, factorial(j)) for j in range(k)), z.variables.number(0))
    return (exp(z) - partial) / z**k


def phi1(z: Any) -> Any:
    """Return (e^z - 1) / z, as the code's discretisations take it."""
    return phi(1, z)


def _elementwise(function: Callable[[Any], Any], x: np.ndarray) -> np.ndarray:
    return np.frompyfunc(function, 1, 1)(x)
