"""Printed formulas, parsed again as arithmetic, have the values of the expressions."""

import re
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from sympy import QQ, ZZ

from derivations.engines import series, written
from derivations.engines.polynomials import factored, fraction, polynomial
from derivations.engines.written import Below, Kind, entry, inverse, letters
from gdn_core import reference
from gdn_core.reference import Token


def value(tex: str, **numbers: Fraction) -> Fraction:
    """Evaluate a printed formula of one-letter names at numbers."""
    while (found := re.sub(r"\\t?frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", tex)) != tex:
        tex = found
    tex = re.sub(r"\^\{?(-?\d+)\}?", r"**(\1)", tex)
    tex = re.sub(r"(?<=[\w)]) (?=[\w(])", "*", tex)
    tex = re.sub(r"\d+", r"Q(\g<0>)", re.sub(r"\*\*\(Q?(\-?\d+)\)", r"**(\1)", tex))
    return eval(tex, dict(numbers, Q=Fraction))  # noqa: S307 - of what was printed above


polynomials = st.dictionaries(st.tuples(*[st.integers(0, 3)] * 2), st.integers(-9, 9).filter(bool), max_size=5)
RING = sympy.ring("x y", ZZ)[0]
POINT = {"x": Fraction(3, 7), "y": Fraction(-5, 2)}


@given(polynomials)
def test_a_polynomial_is_printed_as_it_is_expanded_and_factored(terms):
    made = RING(terms) if terms else RING.zero
    wanted = sum((c * POINT["x"] ** m[0] * POINT["y"] ** m[1] for m, c in terms.items()), Fraction(0))
    assert value(polynomial(made), **POINT) == wanted
    assert value(factored(made), **POINT) == wanted


@given(polynomials.filter(bool), polynomials.filter(bool), st.integers(1, 12), st.integers(-9, 9).filter(bool))
def test_a_fraction_is_printed_as_it_is(above, below, under, times):
    ring = RING.clone(domain=QQ)
    top, bottom = ring(above) * QQ(times, under), ring(below)
    at = tuple(QQ(z.numerator, z.denominator) for z in POINT.values())
    if not bottom.evaluate(list(zip(ring.gens, at, strict=True))):
        return
    wanted = [sum(Fraction(int(c.numerator), int(c.denominator)) * POINT["x"] ** m[0] * POINT["y"] ** m[1]
                  for m, c in p.terms()) for p in (top, bottom)]  # fmt: skip
    assert value(fraction([(top, "")], bottom), **POINT) == wanted[0] / wanted[1]
    assert value(fraction([(top, "z"), (bottom, "")], bottom), z=Fraction(2, 3), **POINT) == (
        wanted[0] / wanted[1] * Fraction(2, 3) + 1
    )


@pytest.mark.parametrize(
    ("names", "tex"),
    [
        ({}, r"\frac{1 - e^{-D r}}{r}"),
        ({"D": r"\Delta"}, r"\frac{1 - e^{-\Delta r}}{r}"),
    ],
)
def test_a_series_is_printed_as_one_fraction(names, tex):
    D, r = series.Variables("D r").all()
    assert (D * series.phi(1, -r * D)).tex(**names) == tex
    assert (D - D).tex() == "0"
    assert (1 / (2 * (1 - D) ** 2)).tex() == r"\frac{1}{2 (1 - D)^2}"


def test_letters_print_what_is_done_to_them():
    (A,), (x,) = letters(Kind.OPERATOR, "A"), letters(Kind.SCALAR, "x")
    Q, K = letters(Kind.MATRIX, "Q", "K")
    (b,) = letters(Kind.COLUMN, "b")
    formulas = {
        r"(I - \tfrac{1}{2} x A)^{-1} (I + x A)": (1 / (1 - x * A / 2)) * (1 + x * A),
        r"1 - (x - 1)": 1 - (x - 1),
        r"x - 2": x + -2,
        r"-(x + 1)": -(x + 1),
        r"\frac{x}{1 + x^2}": x / (1 + x**2),
        r"e^{x} \varphi_2(x)": written.exp(x) * written.phi(2, x),
        r"Q K^\top": Q @ K.T,
        r"(Q K^\top)^\top": (Q @ K.T).T,
        r"\operatorname{diag}(b) (Q \odot K)": b * (Q * K),
        r"\operatorname{tril}(Q K^\top)": Below() * (Q @ K.T),
        r"\bigl(I + \operatorname{tril}(Q, -1)\bigr)^{-1} K": inverse(Below(-1) * Q) @ K,
    }
    assert {str(made): tex for tex, made in formulas.items()} == {tex: tex for tex in formulas}
    assert str(0 * x + 1) == "1" and str(x * 1 + 0 * x) == "x" and str(x - x * 0) == "x"


def test_the_step_is_printed_as_it_is_computed():
    names = {"q": "q", "k": "k", "v": "v", "b": "b", "w": "w"}
    x = Token(**{name: entry(letter)[0] for name, letter in names.items()}, g=entry("g"))
    S, o = reference.step(entry("S"), x, exp=lambda g: g)
    numbers = {name: Fraction(n + 2, 3) for n, name in enumerate("qkvbwgS")}
    plain = Token(
        **{name: np.array([numbers[name]], dtype=object) for name in names},
        g=np.array([[numbers["g"]]], dtype=object),
    )
    want, out = reference.step(np.array([[numbers["S"]]], dtype=object), plain, exp=lambda g: g)
    assert value(str(S[0, 0]), **numbers) == want[0, 0]
    assert value(str(o[0]), **numbers) == out[0]
