"""The code mod a prime, and dual numbers, against Python's integers and fractions."""

import random
from fractions import Fraction

import numpy as np
import pytest

from derivations.engines import field
from derivations.engines.cases import points
from derivations.engines.field import Dual, Field, Residues, dual_exp
from gdn_core import reference
from gdn_core.rules import GATED_DELTANET


def test_products_of_matrices_mod_a_prime_are_those_of_integers():
    numbers = Field(random.Random(1))
    p = numbers.p
    for left, right in (((3, 200), (200, 4)), ((3, 200), (200,)), ((200,), (200, 4)), ((200,), (200,))):
        a, b = numbers.draw(*left), numbers.draw(*right)
        worst = Residues(np.full(left, p - 1), p), Residues(np.full(right, p - 1), p)
        for x, y in ((a, b), worst):
            want = (x.values.astype(object) @ y.values.astype(object)) % p
            assert ((x @ y).values == want).all()
    assert p < 1 << 30


def test_operations_mod_a_prime_are_those_of_integers():
    numbers = Field(random.Random(2))
    p, a, b = numbers.p, numbers.draw(3, 4), numbers.draw(1, 4)
    x, y = a.values.astype(object), b.values.astype(object)
    mask = np.tri(3, 4, dtype=int)
    for got, want in (
        (a + b, x + y), (a - b, x - y), (a * b, x * y), (1 - a, 1 - x), (a - 1, x - 1), (2 * a, 2 * x), (-a, -x),
        (mask * a, mask * x), (mask - a, mask - x), (a.sum(0), x.sum(0)), (a.sum(), x.sum()), (a.T, x.T),
        (a[1:, 2], x[1:, 2]),
    ):  # fmt: skip
        assert (got.values == want % p).all()


def test_the_exponential_is_a_homomorphism_from_logs_to_values():
    numbers = Field(random.Random(3))
    g, h = numbers.draw_logs(5), numbers.draw_logs(5)
    assert not bool(numbers.exp(g + h) - numbers.exp(g) * numbers.exp(h))
    assert not bool(numbers.exp(3 * g - h) * numbers.exp(h) - numbers.exp(g) * numbers.exp(g) * numbers.exp(g))
    base = int(numbers.exp(Residues([1], numbers.q)).values[0])
    assert numbers.exp(g).values.tolist() == [pow(base, int(log), numbers.p) for log in g.values]
    assert base != 1 and pow(base, numbers.q, numbers.p) == 1


def test_logs_and_values_do_not_mix():
    numbers = Field(random.Random(4))
    with pytest.raises(ArithmeticError, match="do not mix"):
        numbers.draw(2) + numbers.draw_logs(2)
    with pytest.raises(ArithmeticError, match="not a log decay"):
        numbers.exp(numbers.draw(2))


def test_primes_are_safe_and_differ():
    def prime(n):
        return n > 1 and all(n % d for d in range(2, int(n**0.5) + 1))

    found = [Field(random.Random(seed)) for seed in range(3)]
    for numbers in found:
        assert numbers.p == 2 * numbers.q + 1
        assert prime(numbers.p) and prime(numbers.q)
        assert numbers.q > field.SMALLEST
    assert len({numbers.p for numbers in found}) == 3


def test_primality_is_decided_as_by_division():
    composite = [2047, 3215031751, 4759123141, 25326001, 9, 1 << 20]
    assert not any(field._is_prime(n) for n in composite if n < 1 << 32)
    assert [n for n in range(2, 200) if field._is_prime(n)] == [
        n for n in range(2, 200) if all(n % d for d in range(2, n))
    ]


def test_a_residual_mod_a_prime_shows_its_first_entry():
    assert str(Residues([[0, 0], [5, 6]], 7)) == "5 mod 7 at [1, 0], and 2 of 4 entries are not zero"
    assert not Residues([[0, 14]], 7)


def test_dual_numbers_differentiate():
    draw = random.Random(5)
    value, tangent = ([[Fraction(draw.randint(-5, 5)) for _ in range(2)] for _ in range(2)] for _ in range(2))
    x, dx = np.array(value, dtype=object), np.array(tangent, dtype=object)
    dual = Dual(x, dx)
    out = dual @ dual * dual - dual.T
    h = Fraction(1, 10**9)

    def plain(y):
        return y @ y * y - y.T

    difference = (plain(x + h * dx) - plain(x - h * dx)) / (2 * h)
    assert np.abs((out.tangent - difference).astype(float)).max() < 1e-12
    assert (out.value == plain(x)).all()
    z = Dual(np.array([0.3]), np.array([2.0]))
    assert dual_exp(np.exp)(z).tangent == pytest.approx([2 * np.exp(0.3)])


def test_the_field_notices_a_wrong_term_at_real_sizes():
    case = points(GATED_DELTANET, 70, 24, 16, random.Random(6))
    S, o = case.run(reference.chunkwise, chunk_size=64)
    want = case.run(reference.recurrent)
    assert not any(case.compare((S, o), want).values())
    assert all(case.compare((S + case.S, o + case.x.v), want).values())


def test_two_shapes_differ():
    numbers = Field(random.Random(0))
    assert numbers.residual(numbers.draw(2, 2), numbers.draw(2)) == "one has the shape [2, 2], the other [2]"


def test_a_float_is_its_binary_fraction_mod_p():
    numbers = Field(random.Random(5))
    x = numbers.draw(3)
    assert not (x * 0.75) * 4 - x * 3
    assert not (1.5 + x) * 2 - (x * 2 + 3)
    assert not (0.5 - x) * 2 - (1 - x * 2)
    assert (x * 1.001) - x  # a scale that is wrong by a thousandth
