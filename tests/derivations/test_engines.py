"""The carriers that the reference is proved on, against Python's integers, fractions and floats."""

import math
import random
from dataclasses import fields
from fractions import Fraction

import numpy as np
import pytest

from derivations.engines import counting, field, gram
from derivations.engines.field import Dual, Field, Residues, dual_exp
from derivations.engines.ring import Ring
from derivations.engines.tokens import every_width, points, scalar_gates, shapes, symbols, tokens, vectors
from gdn_core import reference, streams
from gdn_core.reference import Token
from gdn_core.rules import GATED_DELTANET, GLA, RULES

RNG = np.random.default_rng(0)


# Polynomials.


def evaluated(entry, values):
    """Evaluate a polynomial at numbers for its letters, by its terms."""
    gens = [str(gen) for gen in entry.ring.gens]
    return sum(
        int(c) * math.prod(values[gen] ** e for gen, e in zip(gens, m, strict=True) if e) for m, c in entry.terms()
    )


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


def test_residuals_of_two_shapes_are_refused():
    ring = Ring(x=(1, 2))
    with pytest.raises(ValueError, match="one shape"):
        ring.residual(ring["x"], ring["x"][0])
    numbers = Field(random.Random(0))
    with pytest.raises(ValueError, match="one shape"):
        numbers.residual(numbers.draw(2, 2), numbers.draw(2))


# The widths of the letters.


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_letters_have_the_shapes_of_the_tokens_that_a_stream_makes(rule):
    T, V, K = 4, 2, 3
    none = np.zeros(T)
    stream = streams.Stream(
        q=RNG.normal(size=(T, K)), k=RNG.normal(size=(T, K)), v=RNG.normal(size=(T, V)), g=np.zeros((T, K)) - 1,
        beta=np.ones((T, K)), w=np.ones((T, V)), delta=np.ones((T, V)), A=-np.ones((V, K)),
    )  # fmt: skip
    made = streams.tokens(rule, stream)
    numbers = Field(random.Random(0))
    sizes = shapes(rule, T, V, K)
    drawn = tokens(rule, numbers.letters(sizes))
    for f in fields(Token):
        assert getattr(drawn, f.name).shape == getattr(made, f.name).shape, f.name
    assert sizes["S"] == (made.v.shape[1], K)
    assert none.shape == (T,)


def test_what_a_rule_fixes_is_fixed_in_its_letters():
    for rule in RULES.values():
        x = symbols(rule, 3, 2, 3).x
        assert rule.tied == (x.b is x.w)
        if rule.slug in ("linear-attention", "deltanet"):
            assert not x.g.any()
        if rule.slug in ("mamba-2", "gla"):
            assert not x.b.any() and (x.w == 1).all()
    assert (symbols(RULES["retnet"], 3, 2, 3).x.g == symbols(RULES["retnet"], 3, 2, 3).x.g[:1]).all()


def test_every_width_of_every_rule_is_among_all_combinations():
    every = [tuple(sizes.items()) for sizes in every_width(3, 2, 4)]
    assert len(set(every)) == len(every) == 24
    assert {tuple(shapes(rule, 3, 2, 4).items()) for rule in RULES.values() if not rule.normalised} <= set(every)


# Vectors of any width.


@pytest.mark.parametrize(("V", "K"), [(1, 1), (3, 2), (2, 5)])
def test_gram_letters_stand_for_vectors_of_any_width(V, K):
    C = 3
    case = vectors(GATED_DELTANET, C)
    S, o = case.run(reference.chunk)
    q, k, v, g = (RNG.normal(size=size) for size in ((C, K), (C, K), (C, V), C))
    b, S0 = RNG.normal(size=C), RNG.normal(size=(V, K))
    x = Token(q=q, k=k, v=v, g=g[:, None, None], b=b[:, None], w=b[:, None])
    want_S, want_o = reference.recurrent(S0, x)
    for d in range(V):  # a value letter stands for one channel as well as for all
        names = {f"b{i + 1}": b[i] for i in range(C)} | {f"a{i + 1}": np.exp(g[i]) for i in range(C)}
        names |= {f"v{i + 1}": v[i, d] for i in range(C)}
        names |= {f"Sk{i + 1}": S0[d] @ k[i] for i in range(C)} | {f"Sq{i + 1}": S0[d] @ q[i] for i in range(C)}
        names |= {f"kk{i + 1}{j + 1}": k[i] @ k[j] for i in range(C) for j in range(C)}
        names |= {f"kq{i + 1}{j + 1}": k[i] @ q[j] for i in range(C) for j in range(C)}
        for i in range(C):
            assert evaluated(o.entries[i, 0], names) == pytest.approx(want_o[i, d])
        coefficients = [evaluated(entry, names) for entry in S.entries[0]]
        got = coefficients[0] * S0[d] + sum(c * vector for c, vector in zip(coefficients[1:], (*k, *q), strict=True))
        assert got == pytest.approx(want_S[d])


@pytest.mark.parametrize(
    "look",
    [
        lambda x, S: x.k * x.k,  # channel by channel
        lambda x, S: x.k[0][0],  # one channel
        lambda x, S: len(x.k[0]),  # how many channels
        lambda x, S: x.k + x.b,  # a number added to a vector
        lambda x, S: x.v @ x.v.T,  # values contracted
        lambda x, S: x.k @ x.k,  # tokens taken for channels
        lambda x, S: x.v * x.k,  # channels of two kinds
    ],
)
def test_code_that_looks_at_channels_is_refused(look):
    case = vectors(GATED_DELTANET, 3)
    with pytest.raises(ArithmeticError, match="the code"):
        look(case.x, case.S)


def test_a_product_of_keys_and_queries_is_the_same_from_either_side():
    case = vectors(GATED_DELTANET, 3)
    assert not case.residual(case.x.q @ case.x.k.T, (case.x.k @ case.x.q.T).T).any()
    assert case.residual(case.x.q @ case.x.k.T, case.x.k @ case.x.q.T).any()
    assert not case.residual(case.x.k @ case.x.k.T, (case.x.k @ case.x.k.T).T).any()


def test_a_rule_with_gates_by_channel_has_no_gram_letters():
    assert not scalar_gates(GLA)
    with pytest.raises(ValueError, match="gate for each channel"):
        vectors(GLA, 3)


def test_different_axes_are_not_compared():
    case = vectors(GATED_DELTANET, 2)
    with pytest.raises(ValueError, match="same axes"):
        case.residual(case.x.k, case.x.q.T)
    with pytest.raises(ValueError, match="same axes"):
        gram.stack([case.x.k, case.x.v])


# Prime fields.


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


# Counts.


def test_multiplications_are_counted_as_they_are_made():
    made = 0

    class Number(int):
        def __mul__(self, other):
            nonlocal made
            made += 1
            return Number(int(self) * int(other))

        __rmul__ = __mul__

        def __add__(self, other):
            return Number(int(self) + int(other))

        __radd__ = __add__

        def __sub__(self, other):
            return Number(int(self) - int(other))

    for code in (reference.recurrent, reference.chunk):
        T, V, K = 3, 2, 4
        numbers = np.frompyfunc(lambda _: Number(1), 1, 1)
        sizes = {"q": (T, K), "k": (T, K), "v": (T, V), "g": (T, 1, 1), "b": (T, 1), "w": (T, 1)}
        x = Token(**{name: numbers(np.zeros(size)) for name, size in sizes.items()})
        made = 0
        code(numbers(np.zeros((V, K))), x, exp=lambda g: g)
        S, stream, count = counting.stream(T, V, K)
        code(S, stream, exp=counting.exp, stack=counting.stack)
        assert count.multiplications == made
