"""The code on symbols, against fractions."""

import random
from dataclasses import fields
from fractions import Fraction

import numpy as np
import pytest

from derivations.engines.cases import symbols
from derivations.engines.ring import Ring, determinant
from gdn_core import reference
from gdn_core.reference import Token
from gdn_core.rules import RULES
from tests.derivations.polynomials import evaluated


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_recurrence_on_letters_is_the_recurrence_on_fractions(rule):
    case = symbols(rule, 2, 2, 3)
    S, o = case.run(reference.chunk)
    draw = random.Random(rule.slug)
    letters = [str(gen) for gen in S.flat[0].ring.gens]
    values = {name: Fraction(draw.randint(1, 9), draw.choice((-3, -1, 2, 4))) for name in letters}
    values |= {name: 1 / values[name[2:]] for name in letters if name.startswith("1/")}
    numbers = np.frompyfunc(lambda entry: evaluated(entry, values), 1, 1)
    entries = {f.name: numbers(getattr(case.x, f.name)) for f in fields(Token)}
    x = Token(**entries | {"g": numbers(case.exp(case.x.g))})
    want_S, want_o = reference.recurrent(numbers(case.S), x, exp=lambda decay: decay)
    assert (numbers(S) == want_S).all()
    assert (numbers(o) == want_o).all()


def test_the_exponential_of_a_sum_is_the_product_whatever_the_signs():
    ring = Ring(exponentials={"a": (3,)}, g=(3,))
    ring.let_exp(ring["g"], "a")
    g1, g2, g3 = ring["g"]
    left = ring.exp(np.array([2 * g1 - g2 + g3 - g1]))
    right = ring.exp(np.array([g1])) * ring.exp(np.array([g3 - g2]))
    assert ring.residual(left, right)[0] == 0
    assert ring.residual(left * ring["a"][1], ring["a"][:1] * ring["a"][2])[0] == 0
    assert ring.residual(left, ring.exp(np.array([g1 + g2 + g3])))[0] != 0


def test_a_float_or_an_unknown_exponential_is_refused_by_the_ring():
    ring = Ring(exponentials={"a": (1,)}, g=(1,), x=(2,))
    ring.let_exp(ring["g"], "a")
    with pytest.raises(TypeError, match="'PolyElement' and 'float'"):
        ring["x"] * 0.5
    with pytest.raises(ArithmeticError, match="no letter"):
        ring.exp(ring["x"])




def test_two_shapes_differ():
    ring = Ring(x=(1, 2))
    assert ring.residual(ring["x"], ring["x"][0]) == "one has the shape [1, 2], the other [2]"


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_determinant_is_the_product_of_the_diagonal_of_a_triangle_and_changes_sign_with_its_rows(size):
    rng = np.random.default_rng(size)
    lower = np.tri(size, size, -1, dtype=int) * rng.integers(-9, 9, (size, size)) + np.diag(rng.integers(1, 9, size))
    upper = np.triu(rng.integers(-9, 9, (size, size)), 1) + np.eye(size, dtype=int)
    square = lower @ upper
    assert determinant(square) == np.prod(np.diag(lower))
    if size > 1:
        assert determinant(square[[1, 0, *range(2, size)]]) == -np.prod(np.diag(lower))
