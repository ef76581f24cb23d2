"""Degrees that the code counts, against the degrees of the polynomials that it makes on symbols."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from derivations.engines import degree
from derivations.engines.cases import Case, shapes, symbols, tokens
from derivations.mutants.by_hand import planted
from gdn_core import reference
from gdn_core.rules import RULES


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


RUNS = ["linear-attention", "retnet", "mamba-2", "gla", "mamba", "deltanet", "gated-deltanet", "gated-deltanet-2"]


def degrees(rule, T, V, K) -> Case:
    letters = {
        name: degree.logs(*shape) if name == "g" else degree.letters(*shape)
        for name, shape in shapes(rule, T, V, K).items()
    }
    return Case(letters["S"], tokens(rule, letters), degree.exp, degree.stack, lambda left, right: left - right)


def of_polynomials(case: Case, arrays) -> int:
    """Return the degree of the polynomials in some arrays, times what makes every exponent positive."""
    zero = replace(case, S=0 * case.S).S
    reduced = [entry for array in arrays for entry in np.ravel(case.residual(array, 0 * array))]
    ring = zero.flat[0].ring
    inverse = [n for n, letter in enumerate(ring.symbols) if str(letter).startswith("1/")]
    found = 0
    for entry in reduced:
        monomials = list(entry.monoms()) if entry else [(0,) * ring.ngens]
        cleared = sum(max(monomial[n] for monomial in monomials) for n in inverse)
        top = max(sum(e for n, e in enumerate(monomial) if n not in inverse) for monomial in monomials)
        found = max(found, top + cleared)
    return found


@pytest.mark.parametrize("slug", RUNS)
@pytest.mark.parametrize("code", [reference.recurrent, reference.chunk])
def test_the_degree_of_the_code_is_that_of_its_polynomials(slug, code):
    rule = RULES[slug]
    exact, counted = symbols(rule, 3, 2, 2), degrees(rule, 3, 2, 2)
    assert degree.largest(counted.run(code)) == of_polynomials(exact, exact.run(code))


def test_negative_exponents_count():
    wrong = planted(reference.chunk, "exp(G[C - 1] - G)", "exp(G - G[C - 1])")
    exact, counted = symbols(RULES["mamba-2"], 4, 2, 2), degrees(RULES["mamba-2"], 4, 2, 2)
    right = degree.largest(counted.run(reference.chunk))
    assert degree.largest(counted.run(wrong)) >= of_polynomials(exact, exact.run(wrong)) > right


def test_a_log_decay_and_a_value_do_not_mix():
    with pytest.raises(ArithmeticError, match="do not mix"):
        degree.logs(2, 1) + degree.letters(2, 1)
    with pytest.raises(ArithmeticError, match="not a log decay"):
        degree.exp(degree.letters(2))
    with pytest.raises(ValueError, match="of one shape"):
        degree.stack([degree.letters(2), degree.letters(3)])


def test_an_index_past_the_end_of_an_axis_is_none():
    with pytest.raises(IndexError):
        degree.letters(2, 3)[0, 3]


# Each operation, entry by entry: a product adds both bounds, a sum has the larger degree and both negative exponents.


@dataclass
class Full:
    """The bounds of an array, every entry written out: degrees, negative exponents, and letters of a log decay."""

    top: np.ndarray
    low: np.ndarray
    logs: np.ndarray | None = None


def full(x: degree.Degree) -> Full:
    logs = None if x.logs is None else np.broadcast_to(x.logs, (*x.shape, x.logs.shape[-1]))
    return Full(np.broadcast_to(x.top, x.shape), np.broadcast_to(x.low, x.shape), logs)


def drawn(rng, *shape: int, logs: bool = False) -> Iterator[degree.Degree]:
    """Yield random bounds of a shape, each axis written out or held as one entry."""
    for held in itertools.product((False, True), repeat=len(shape)):
        kept = tuple(1 if one else size for one, size in zip(held, shape, strict=True))
        top, low = (rng.integers(0, 50, kept) for _ in range(2))
        yield degree.Degree(shape, top, low, rng.integers(-3, 4, (*kept, 4)) if logs else None)


def assert_equal(got: degree.Degree, want: Full) -> None:
    found = full(got)
    assert found.top.shape == got.shape == want.top.shape
    assert (found.top == want.top).all()
    assert (found.low == want.low).all()
    assert (found.logs is None) == (want.logs is None)
    assert found.logs is None or (found.logs == want.logs).all()


def product(a: Full, b: Full) -> Full:
    """Return the matrix product of two matrices, entry by entry."""
    (n, inner), m = a.top.shape, b.top.shape[1]
    top, low = np.zeros((n, m), int), np.zeros((n, m), int)
    for i, j in np.ndindex(n, m):
        terms = [(a.top[i, x] + b.top[x, j], a.low[i, x] + b.low[x, j]) for x in range(inner)]
        top[i, j], low[i, j] = max(t for t, _ in terms), sum(e for _, e in terms)
    return Full(top, low)


@pytest.mark.parametrize("left", [(3,), (2, 3)])
@pytest.mark.parametrize("right", [(3,), (3, 4)])
def test_a_matrix_product_is_its_sums_of_products(rng, left, right):
    for a, b in itertools.product(drawn(rng, *left), drawn(rng, *right)):
        x, y = full(a), full(b)
        x = x if a.ndim == 2 else Full(x.top[None], x.low[None])
        y = y if b.ndim == 2 else Full(y.top[:, None], y.low[:, None])
        want = product(x, y)
        shape = np.shape(np.zeros(left) @ np.zeros(right))
        assert_equal(a @ b, Full(want.top.reshape(shape), want.low.reshape(shape)))


def test_a_sum_along_an_axis_is_the_sum_of_its_entries(rng):
    for x, axis in itertools.product(drawn(rng, 2, 3, 4), (0, 1, 2, -1, -3, None)):
        of = full(x)
        assert_equal(x.sum(axis), Full(np.asarray(of.top.max(axis)), np.asarray(of.low.sum(axis))))


@pytest.mark.parametrize("shapes", [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((1, 1), (2, 3))])
def test_sums_and_products_go_entry_by_entry(rng, shapes):
    for a, b in itertools.product(drawn(rng, *shapes[0]), drawn(rng, *shapes[1])):
        x, y = full(a), full(b)
        added = Full(np.maximum(x.top, y.top), x.low + y.low)
        assert_equal(a + b, added)
        assert_equal(a - b, added)
        assert_equal(a * b, Full(x.top + y.top, x.low + y.low))


def test_numbers_have_degree_0(rng):
    for x in drawn(rng, 2, 3):
        x.top -= 20  # as of zero, which is of less than degree 0
        of = full(x)
        for number in (3, np.arange(3)):
            added = Full(np.maximum(of.top, 0), of.low)
            for got in (x + number, number + x, x - number, number - x):
                assert_equal(got, added)
        for got in (2 * x, x * np.arange(1, 4), -x):
            assert_equal(got, of)
        zero = full(0 * x)
        assert zero.top.max() < -(1 << 29)
        assert not zero.low.any()


def test_log_decays_count_their_letters(rng):
    for a, b in itertools.product(drawn(rng, 2, 3, logs=True), drawn(rng, 2, 3, logs=True)):
        x, y = full(a), full(b)
        none = np.zeros((2, 3), int)
        for got, logs in ((a + b, x.logs + y.logs), (a - b, x.logs - y.logs), (-a, -x.logs), (2 * a, 2 * x.logs)):
            assert (full(got).logs == logs).all()
        factors = np.array([[0, 1, 2], [3, 4, 5]])
        assert (full(a * factors).logs == x.logs * factors[:, :, None]).all()
        above, below = (np.where(sign * x.logs > 0, sign * x.logs, 0).sum(-1) for sign in (1, -1))
        assert_equal(degree.exp(a), Full(none + above, none + below))


INDICES = [0, -1, slice(1, None), (slice(None), 0), (1, slice(None, 2)), (slice(None), None), (None, 1), [0, 0, 1],
           (slice(None), [2, 0])]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_an_index_takes_the_entries_that_numpy_takes(rng, index):
    for x in (*drawn(rng, 2, 3), *drawn(rng, 2, 3, logs=True)):
        of = full(x)
        assert_equal(x[index], Full(of.top[index], of.low[index], None if of.logs is None else of.logs[index]))


def test_a_transpose_and_a_stack_move_entries(rng):
    for a in (*drawn(rng, 2, 3), *drawn(rng, 2, 3, logs=True)):
        x = full(a)
        logs = None if x.logs is None else x.logs.swapaxes(0, 1)
        assert_equal(a.T, Full(x.top.T, x.low.T, logs))
        assert (len(a), a.ndim) == (2, 2)
    for logs in (False, True):
        for a, b in itertools.product(drawn(rng, 2, logs=logs), drawn(rng, 2, logs=logs)):
            x, y = full(a), full(b)
            both = np.stack([x.logs, y.logs]) if logs else None
            assert_equal(degree.stack([a, b]), Full(np.stack([x.top, y.top]), np.stack([x.low, y.low]), both))


def test_letters_have_degree_1_and_each_token_a_log_decay_of_its_own():
    letters = full(degree.letters(2, 3))
    assert (letters.top == 1).all()
    assert (letters.low == 0).all()
    own = full(degree.logs(3, 1, 2)).logs
    assert all((own[t, 0, j] == [t == other for other in range(3)]).all() for t, j in np.ndindex(3, 2))


def test_the_largest_bound_is_that_of_the_entry_with_the_largest_sum():
    one = degree.Degree((2,), np.array([7, 3]), np.array([0, 5]))
    below = degree.Degree((1,), np.array([-9]), np.array([2]))
    assert one.bound == 8
    assert below.bound == 0
    assert degree.largest({"S": below, "o": [below, one], "error": "a sentence", "n": 4}) == 8
    assert degree.largest(["a sentence", 4]) == 0
