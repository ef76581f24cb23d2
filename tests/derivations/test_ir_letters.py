"""The arithmetic of kernels on polynomials, against that mod a prime at a random point."""

import random

import numpy as np
import pytest

from derivations.engines.aten.degrees import Degrees
from derivations.engines.aten.numbers import EMPTY, FORGETS, NotModelled, Numbers, Unsound
from derivations.engines.ir.carrier import INFINITE, Carrier
from derivations.engines.ir.degrees import OnDegrees
from derivations.engines.ir.letters import Letters

SCALE = 0.125


@pytest.fixture
def letters():
    return Letters({"x": (3, 4), "y": (3, 4), "g": (2, 3)}, SCALE)


class Point:
    """A random point of the letters: what an entry is there."""

    def __init__(self, letters):
        self.numbers = Numbers(random.Random(3))
        self.carrier, self.letters = Carrier(self.numbers), letters
        logs = self.numbers.draw_logs(2, 3)
        decays = self.numbers.exponential(logs).numpy()
        values = [*self.numbers.draw(3, 4).ravel().tolist(), *self.numbers.draw(3, 4).ravel().tolist()]
        self.logs = logs.numpy()
        self.values = [*values, *decays.ravel().tolist(), self.numbers.constant(SCALE)]
        assert [str(letter) for letter in letters.scale.ring.gens][12] == "y11"
        assert str(letters.scale.ring.gens[-1]) == "scale"

    def of(self, entries):
        p = self.numbers.p
        found = np.zeros(entries.shape, np.int64)
        for place, value in np.ndenumerate(self.letters.polynomials(entries)):
            for powers, coefficient in value.terms() if value else ():
                term = int(coefficient) % p
                for letter, power in zip(self.values, powers, strict=True):
                    term = term * pow(letter, power, p) % p
                found[place] = (found[place] + term) % p
        return found


def combined(carrier, x, y, g, factor=2.0):
    """Run every operation on values and log decays."""
    z = carrier.subtract(carrier.add(carrier.multiply(x, y), x), carrier.multiply(y, y))
    z = np.where(np.tri(3, 4, dtype=bool), z, 0)
    products = carrier.matrices(z, y.T, carrier.multiply(x[:, :3], np.array([[carrier.constant(SCALE)]])))
    G = carrier.cumulated(g, 1)
    between = carrier.subtract(G[:, :, None], G[:, None, :])
    masked = np.where(np.tri(3, dtype=bool), between, carrier.constant(-np.inf))
    twice = carrier.multiply(G, np.array([carrier.constant(factor)]))
    decays = carrier.multiply(carrier.exponential(masked), carrier.exponential(twice)[:, :, None])
    last = carrier.exponential(carrier.total(g, 1))
    sums = carrier.total(carrier.multiply(decays, products), 2)
    return carrier.multiply(carrier.cumulated(sums, 0), last[:, None])


def test_operations_on_polynomials_are_those_mod_a_prime_at_a_point(letters):
    point = Point(letters)
    x, y, g = (letters.entries[name] for name in "xyg")
    want = combined(point.carrier, point.of(x), point.of(y), point.logs)
    got = combined(letters, x, y, g)
    assert (point.of(got) == want).all()
    assert len({*got.ravel().tolist()}) > 3


def test_degrees_are_those_of_the_polynomials(letters):
    numbers = Degrees()
    x, y, g = numbers.draw(3, 4).numpy(), numbers.draw(3, 4).numpy(), numbers.draw_logs(2, 3).numpy()
    got = combined(OnDegrees(numbers), x, y, g, 1.0)
    found = combined(letters, *(letters.entries[name] for name in "xyg"), 1.0)
    want = np.zeros_like(got)
    for place, polynomial in np.ndenumerate(letters.polynomials(found)):
        degrees = [sum(powers[:-1]) for powers in polynomial.monoms()] if polynomial else []  # the scale is a number
        want[place] = 1 + max(degrees) if degrees else 0
    assert (got == want).all()
    assert want.max() > 5


def test_the_absolute_value_of_a_sum_of_log_decays_is_known_where_all_have_one_sign(letters):
    point, g = Point(letters), letters.entries["g"]
    G = letters.cumulated(g, 1)
    away = letters.subtract(np.zeros((), np.int64), letters.magnitude(letters.subtract(G[:, :, None], G[:, None, :])))
    logs = point.carrier.cumulated(point.logs, 1)
    apart = point.carrier.magnitude(point.carrier.subtract(logs[:, :, None], logs[:, None, :]))
    want = point.carrier.exponential(point.carrier.subtract(np.zeros((), np.int64), apart))
    assert (point.of(letters.exponential(away)) == want).all()
    assert letters.magnitude(np.array([0, EMPTY])).tolist() == [0, EMPTY]
    for wrong in (letters.subtract(g[:, :1], g[:, 1:]), letters.entries["x"], np.array([FORGETS])):
        with pytest.raises(NotModelled):
            letters.magnitude(wrong)
    with pytest.raises(NotModelled, match="of -inf"):
        point.carrier.magnitude(np.array([FORGETS]))


def test_equal_polynomials_are_one_entry(letters):
    x, y = letters.entries["x"], letters.entries["y"]
    square = letters.multiply(letters.add(x, y), letters.add(x, y))
    cross = letters.multiply(letters.multiply(x, y), np.array([letters.constant(2.0)]))
    apart = letters.add(letters.add(letters.multiply(x, x), letters.multiply(y, y)), cross)
    assert (square == apart).all()
    assert (letters.subtract(square, apart) == 0).all()
    assert (square != letters.multiply(x, x)).all()


def test_what_was_never_written_spreads_and_is_no_result(letters):
    x = letters.entries["x"].copy()
    x[0, 1] = EMPTY
    assert letters.multiply(x, np.zeros_like(x))[0, 1] == EMPTY
    product = letters.matrices(x, np.zeros((4, 2), np.int64), np.zeros((3, 2), np.int64))
    assert (product[0] == EMPTY).all() and (product[1:] == 0).all()
    assert letters.total(x, 0)[1] == EMPTY
    with pytest.raises(Unsound, match=r"never written at \[0, 1\]"):
        letters.polynomials(x)


def test_a_number_that_letters_cannot_decide_is_no_number(letters):
    x, g = letters.entries["x"], letters.entries["g"]
    assert letters.nats(g).max() < 0
    assert not letters.same(x, letters.add(x, np.array([letters.constant(1.0)]))).any()
    assert letters.finite(np.array([0, FORGETS])).tolist() == [True, False]
    assert letters.constant(np.inf) == INFINITE
    for run in (
        lambda: letters.same(x, letters.entries["y"]),
        lambda: letters.nats(x),
        lambda: letters.nats(letters.subtract(g[:, :1], g[:, 1:])),
        lambda: letters.divide(x, x),
        lambda: letters.root(x),
        lambda: letters.constant(0.3),
    ):
        with pytest.raises(NotModelled):
            run()


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (lambda c, x, g: c.exponential(c.subtract(g[:, :1], g[:, 1:])), "a difference of log decays that may be"),
        (lambda c, x, g: c.exponential(x), "the exponential of what is no log decay"),
        (lambda c, x, g: c.add(x[:2, :3], g), "a log decay is added to what is no log decay"),
        (lambda c, x, g: c.multiply(g, g), "two log decays are multiplied"),
        (lambda c, x, g: c.multiply(g, x[:2, :3]), "multiplied by what is no small integer"),
        (lambda c, x, g: c.subtract(g, np.array([FORGETS])), "a log decay of -inf is subtracted"),
        (lambda c, x, g: c.polynomials(g), "a log decay stands where a value is expected"),
    ],
)
def test_what_fails_for_some_numbers_fails(letters, run, said):
    with pytest.raises(Unsound, match=said):
        run(letters, letters.entries["x"], letters.entries["g"])
