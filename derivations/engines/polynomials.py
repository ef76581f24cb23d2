"""Print polynomials and fractions in TeX, expanded or factored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import Any

from sympy.polys.rings import PolyElement

from derivations.engines.notation import signed, tex_name, times

Names = Mapping[str, str]


def polynomial(value: PolyElement, names: Names | None = None) -> str:
    """Print a polynomial expanded; a positive term comes first, if there is one.

    Args:
        value: a polynomial with exact coefficients.
        names: TeX of letters that differs from their names.
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
        names: TeX of letters that differs from their names.
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
        top = times(Fraction(scale.numerator), _joined(above, alone=alone and scale.numerator == 1))
        bottom = times(
            Fraction(scale.denominator),
            _joined(
                [_power(polynomial(f, names), n, loose=len(f) > 1) for f, n in below],
                alone=scale.denominator == 1 and len(below) == 1 and below[0][1] == 1,
            ),
        )
        return rf"{sign}\frac{{{top}}}{{{bottom}}}"
    text = _joined(above, alone=alone and scale == 1)
    return ("-" if scale < 0 else "") + times(abs(scale), text)


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
    """Print a sum divided by the content of its coefficients, the sign chosen so that few are negative.

    Returns:
        The content, and the printed sum.
    """
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
    """Join terms; a positive number comes first, or else a positive term if there is one."""
    ordered = [(_exact(number), text) for number, text in terms if number]
    positive = [i for i, (number, _) in enumerate(ordered) if number > 0]
    first = next((i for i in positive if not ordered[i][1]), positive[0] if positive else 0)
    ordered = [*ordered[first : first + 1], *ordered[:first], *ordered[first + 1 :]]
    return signed((-1 if number < 0 else 1, times(abs(number), text)) for number, text in ordered) or "0"
