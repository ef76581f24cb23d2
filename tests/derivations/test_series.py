"""The series engine against factorials, against functions of real numbers, and on matrices that are not invertible."""

import math
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from derivations.engines import series
from derivations.engines.series import Series, Variables

VARIABLES = Variables("a d r")
A, D, R = VARIABLES.all()
POINT = {"a": -0.7, "d": 1.3, "r": 0.45}


def value(x: Series, point: dict[str, float]) -> float:
    """Evaluate term by term, in 60 digits: near a removable pole the terms are large and almost cancel."""
    exact = {name: sympy.Rational(str(entry)) for name, entry in point.items()}
    total = sympy.Integer(0)
    for exponent, factor in x.terms.items():
        total += (factor.as_expr().subs(exact) * sympy.exp(exponent.as_expr().subs(exact))).evalf(60)
    return float(total)


def at_matrix(x: Series, matrix: np.ndarray, step: Fraction, order: int) -> np.ndarray:
    """Put a nilpotent matrix of fractions for a, and a number for d."""
    total, power = np.zeros(matrix.shape, dtype=object), np.array(np.eye(len(matrix), dtype=int), dtype=object)
    for n, coefficient in x.expanded(A, order).items():
        number = coefficient.at(D, step).at(R, 0).polynomial()
        total = total + Fraction(int(number.coeff(1).numerator), int(number.coeff(1).denominator)) * power
        power = power @ matrix
        assert n >= 0
    return total


ELEMENTS = st.recursive(
    st.sampled_from([A, D, R, series.exp(A * D), series.exp(-R), series.phi(2, A * D), 1 / (1 - D * A / 2), D - D]),
    lambda inner: st.tuples(st.sampled_from("+-*"), inner, inner).map(
        lambda t: t[1] + t[2] if t[0] == "+" else t[1] - t[2] if t[0] == "-" else t[1] * t[2]
    ),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(x=ELEMENTS, y=ELEMENTS)
def test_sums_products_and_derivatives_have_the_values_of_functions(x, y):
    u, v = value(x, POINT), value(y, POINT)
    assert value(x + y, POINT) == pytest.approx(u + v, rel=1e-9, abs=1e-9)
    assert value(x * y, POINT) == pytest.approx(u * v, rel=1e-9, abs=1e-9)
    h = 1e-5
    slope = (value(x, POINT | {"a": POINT["a"] + h}) - value(x, POINT | {"a": POINT["a"] - h})) / (2 * h)
    assert value(x.diff(A), POINT) == pytest.approx(slope, rel=1e-5, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(x=ELEMENTS)
def test_an_expansion_has_the_value_of_the_function_near_zero(x):
    small = POINT | {"a": 0.01}
    found = sum(value(c, small) * 0.01**n for n, c in x.expanded(A, 6).items())
    assert found == pytest.approx(value(x, small), rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("k", [0, 1, 2, 5])
def test_the_coefficients_of_phi_are_inverse_factorials(k):
    expanded = series.phi(k, A).expanded(A, 8)
    assert {n: c.terms for n, c in expanded.items()} == {
        n: VARIABLES.number(Fraction(1, math.factorial(n + k))).terms for n in range(9)
    }
    assert not series.phi(k, A).pole(A)


def test_the_exponential_turns_sums_into_products():
    assert not series.exp(A * D + R) - series.exp(A * D) * series.exp(R)
    assert not series.exp(A) * series.exp(-A) - 1
    assert series.exp(A) * series.exp(-R) - 1
    assert not (series.exp(D) + 1) * (series.exp(D) - 1) - (series.exp(2 * D) - 1)
    assert not 1 / (A * series.exp(D)) - series.exp(-D) / A


def test_poles_are_seen_and_removable_ones_are_not_poles():
    assert (1 / A).pole(A)
    assert ((series.exp(A) - 1) / A**2).pole(A)
    assert (1 / (1 - A)).pole(A)
    assert not ((series.exp(A) - 1 - A) / A**2).pole(A)
    with pytest.raises(ZeroDivisionError):
        (1 / A).at(A, 0)


def test_a_nilpotent_matrix_gets_the_integral_of_its_exponential():
    N = np.array([[0, 2, 3], [0, 0, 5], [0, 0, 0]], dtype=object)
    step = Fraction(3, 7)
    integral = step * np.array(np.eye(3, dtype=int), dtype=object) + step**2 / 2 * N + step**3 / 6 * (N @ N)
    assert (at_matrix(D * series.phi(1, D * A), N, step, 6) == integral).all()


def test_arrays_go_through_the_exponential_entry_by_entry():
    made = series.exp(np.array([[A, D], [R, 0 * R]], dtype=object))
    assert not made[0, 1] - series.exp(D)
    assert not made[1, 1] - 1
    assert series.phi1(np.array([0 * A], dtype=object))[0] == 1


@pytest.mark.parametrize("wrong", [lambda: A + 0.5, lambda: A * 2.0, lambda: 1.5 / A, lambda: A - True])
def test_floats_and_truth_values_are_refused(wrong):
    with pytest.raises(TypeError):
        wrong()


@pytest.mark.parametrize(
    "wrong", [lambda: series.exp(A + 1), lambda: series.exp(1 / A), lambda: 1 / (1 + series.exp(A))]
)
def test_what_leaves_the_form_raises(wrong):
    with pytest.raises(ArithmeticError):
        wrong()
