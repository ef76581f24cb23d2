"""The words engine against numbers: the same expressions evaluated on random integer matrices."""

import functools
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derivations.engines import arrays
from derivations.engines.algebra import Algebra, equation, trace
from derivations.engines.trees import (
    Block,
    Expr,
    Identity,
    Letter,
    Number,
    Product,
    Scalar,
    Scaled,
    ShapeError,
    Side,
    Sum,
    Transpose,
    Zero,
)
from derivations.engines.words import RewriteError, Size
from gdn_core import reference

SIZES = {"V": 2, "K": 3, "n": 4}


def evaluate(x: Expr, sizes: Mapping[Size, int], values: Mapping[str, Any]) -> np.ndarray:
    """Evaluate an expression in numbers, by the tree it was written as and not by its normal form.

    Args:
        x: an expression.
        sizes: the sizes by name.
        values: an object array for each letter, a number for each scalar.

    Returns:
        A two-dimensional object array.
    """
    if isinstance(x, Letter):
        value = np.asarray(values[x.name], dtype=object)
        wanted = _numbers(x.rows, sizes), _numbers(x.cols, sizes)
        if value.shape != wanted:
            raise ShapeError(f"{x}: expected an array of shape {list(wanted)}, got {list(value.shape)}")
        return value
    if isinstance(x, Scalar):
        return np.array([[values[x.name]]], dtype=object)
    if isinstance(x, Number):
        return np.array([[x.value]], dtype=object)
    if isinstance(x, Identity):
        return np.array(np.eye(_numbers(x.rows, sizes), dtype=int), dtype=object)
    if isinstance(x, Zero):
        return np.zeros((_numbers(x.rows, sizes), _numbers(x.cols, sizes)), dtype=object)
    if isinstance(x, Transpose):
        return evaluate(x.inner, sizes, values).T
    if isinstance(x, Sum):
        return functools.reduce(np.add, (sign * evaluate(term, sizes, values) for sign, term in x.terms))
    if isinstance(x, Scaled):
        return evaluate(x.factor, sizes, values)[0, 0] * evaluate(x.inner, sizes, values)
    if isinstance(x, Product):
        out = evaluate(x.factors[0], sizes, values)
        for factor in x.factors[1:]:
            out = out @ evaluate(factor, sizes, values)
        return out
    if isinstance(x, Block):
        return np.block([[evaluate(entry, sizes, values) for entry in row] for row in x.blocks])
    raise TypeError(f"expected an expression, got {type(x).__name__}")


def _numbers(side: Side, sizes: Mapping[Size, int]) -> int:
    return sum(1 if size == "1" else sizes[size] for size in side)


def declared() -> Algebra:
    algebra = Algebra("alpha beta")
    for name, rows, cols in (("S", "V", "K"), ("M", "K", "K"), ("N", "n", "V"), ("k", "K", "1"), ("v", "V", "1")):
        algebra.matrix(name, rows, cols)
    algebra.matrix("Q", "K", "K", symmetric=True)
    algebra.diagonal("D", "K")
    algebra.diagonal("E", "K")
    return algebra


def letters(algebra: Algebra) -> dict[str, Letter]:
    return {name: Letter(algebra, letter) for name, letter in algebra.letters.items()}


def numbers(algebra: Algebra, rng: random.Random) -> dict:
    def entries(rows: str, cols: str) -> np.ndarray:
        shape = SIZES.get(rows, 1), SIZES.get(cols, 1)
        return np.array([[rng.randint(-9, 9) for _ in range(shape[1])] for _ in range(shape[0])], dtype=object)

    values: dict = {name: rng.randint(-9, 9) for name in algebra.scalars}
    for name, letter in algebra.letters.items():
        value = entries(letter.rows, letter.cols)
        if letter.symmetric:
            value = value + value.T
        values[name] = value * np.eye(len(value), dtype=int) if letter.diagonal else value
    return values


def of_normal_form(x: Expr, values: dict) -> np.ndarray:
    """Evaluate the one cell of a normal form, term by term."""
    algebra, ((cell,),) = x.algebra, x.normal().cells
    total = np.zeros((SIZES.get(x.rows[0], 1), SIZES.get(x.cols[0], 1)), dtype=object)

    def product(word, start):
        for name, transposed in word:
            start = start @ (values[name].T if transposed else values[name])
        return start

    for (scalars, word), coefficient in cell.items():
        factor = int(
            coefficient.evaluate(list(zip(algebra.ring.gens, (values[s] for s in algebra.scalars), strict=True)))
        )
        for piece in scalars:
            factor *= product(piece, np.eye(SIZES.get(first_size(algebra, piece), 1), dtype=int))[0, 0]
        total = total + factor * product(word, np.eye(len(total), dtype=int))
    return total


def first_size(algebra: Algebra, word) -> str:
    letter = algebra.letters[word[0][0]]
    return letter.cols if word[0][1] else letter.rows


@st.composite
def expressions(draw, algebra: Algebra, rows: str, cols: str, depth: int) -> Expr:
    """A random expression of the given shape."""
    fitting = [x for x in letters(algebra).values() if (x.rows, x.cols) == ((rows,), (cols,))]
    fitting += [x.T for x in letters(algebra).values() if (x.cols, x.rows) == ((rows,), (cols,))]
    if rows == cols:
        fitting.append(algebra.identity(rows))
    kind = (
        draw(st.sampled_from(["letter", "sum", "difference", "product", "scaled", "transpose"])) if depth else "letter"
    )
    if kind == "letter" and fitting:
        return draw(st.sampled_from(fitting))
    below = max(depth - 1, 0)
    if kind in ("sum", "difference"):
        x, y = (draw(expressions(algebra, rows, cols, below)) for _ in range(2))
        return x + y if kind == "sum" else x - y
    if kind == "scaled":
        factor = draw(st.sampled_from([algebra.scalar("alpha"), 1 - algebra.scalar("beta"), algebra.number(2)]))
        return factor * draw(expressions(algebra, rows, cols, below))
    if kind == "transpose":
        return draw(expressions(algebra, cols, rows, below)).T
    middle = draw(st.sampled_from(["K", "V", "1"])) if depth else "K" if cols in ("1", "V") and rows != "n" else "V"
    if not depth and (rows, cols) == ("n", "1"):
        return letters(algebra)["N"] @ letters(algebra)["v"]
    if not depth and not (rows == "K" or cols == "K" or (rows, cols) in (("V", "1"), ("1", "V"))):
        return algebra.zero(rows, cols)
    return draw(expressions(algebra, rows, middle, below)) @ draw(expressions(algebra, middle, cols, below))


SHAPES = st.sampled_from([("V", "K"), ("K", "K"), ("V", "1"), ("1", "1"), ("K", "V")])


@settings(max_examples=120, deadline=None)
@given(data=st.data(), shape=SHAPES, seed=st.integers(0, 10**6))
def test_a_normal_form_has_the_value_of_the_expression(data, shape, seed):
    algebra = declared()
    x = data.draw(expressions(algebra, *shape, 3))
    values = numbers(algebra, random.Random(seed))
    assert (of_normal_form(x, values) == evaluate(x, SIZES, values)).all()


@settings(max_examples=120, deadline=None)
@given(data=st.data(), shape=SHAPES, seed=st.integers(0, 10**6))
def test_a_normal_form_is_zero_only_where_the_values_agree_everywhere(data, shape, seed):
    algebra = declared()
    x, y = data.draw(expressions(algebra, *shape, 2)), data.draw(expressions(algebra, *shape, 2))
    rng = random.Random(seed)
    points = [numbers(algebra, rng) for _ in range(4)]
    differ = any((evaluate(x, SIZES, at) != evaluate(y, SIZES, at)).any() for at in points)
    assert bool((x - y).normal()) is differ


def test_a_word_cut_in_pieces_has_the_value_of_the_expression():
    algebra = declared()
    k, v, S, M = (letters(algebra)[name] for name in "kvSM")
    turned = (v @ k.T @ M.T).T
    for x in (S @ k @ k.T @ turned, S @ M @ ((k.T @ M @ k) * (k @ v.T)), (S @ k + v) @ ((k.T @ M @ k) * k).T):
        values = numbers(algebra, random.Random(4))
        assert (of_normal_form(x, values) == evaluate(x, SIZES, values)).all()


def test_numbers_inside_a_word_commute_and_turn_round():
    algebra = declared()
    k, v, S, M = (letters(algebra)[name] for name in "kvSM")
    assert not (S @ k @ k.T @ M @ k @ v.T - S @ k @ v.T * (k.T @ M.T @ k)).normal()
    assert (k @ v.T @ v @ k.T @ M - M @ k @ v.T @ v @ k.T).normal()


def test_neighbouring_diagonals_commute_and_others_do_not():
    algebra = declared()
    D, E, M = (letters(algebra)[name] for name in "DEM")
    assert not (M @ D @ E.T - M @ E @ D).normal()
    assert (D @ M @ E - E @ M @ D).normal()


def test_an_inverse_cancels_on_both_sides_and_under_a_transpose():
    algebra = declared()
    M, D, E = (letters(algebra)[name] for name in "MDE")
    inverse, of_diagonal, D2 = algebra.inverse(M), algebra.inverse(D), algebra.diagonal("D2", "K")
    assert not (D @ D2 @ of_diagonal - D2).normal()
    assert not (M @ inverse - algebra.identity("K")).normal()
    assert not ((M @ inverse).T - algebra.identity("K")).normal()
    assert not (inverse.T @ M.T @ E - E).normal()
    assert not (D @ E @ of_diagonal - E).normal()
    assert (M @ E @ inverse - E).normal()


def test_rules_apply_to_transposes_and_inside_numbers():
    algebra = Algebra("kappa")
    k, q = algebra.vector("k", "K"), algebra.vector("q", "K")
    F = algebra.matrix("F", "K", "K")
    algebra.rule(F @ k, 2 * q)
    algebra.rule(k.T @ q, algebra.scalar("kappa"))
    assert str((k.T @ F.T @ F @ k).normal()) == "4 (q' q)"
    assert not (k.T @ F @ k - 2 * algebra.scalar("kappa")).normal()


def test_relations_between_scalars_are_used():
    algebra = Algebra("theta beta kappa")
    theta, beta, kappa = algebra.all_scalars()
    algebra.relation(theta * (1 + beta * kappa), beta)
    assert not (theta + theta * kappa * beta - beta).normal()
    assert (theta - beta).normal()


@pytest.mark.parametrize(
    "make",
    [
        lambda a: letters(a)["S"] @ letters(a)["v"],
        lambda a: letters(a)["S"] + letters(a)["M"],
        lambda a: letters(a)["S"] * letters(a)["M"],
        lambda a: letters(a)["k"] @ letters(a)["v"],
        lambda a: 1 + letters(a)["M"],
        lambda a: Block([[letters(a)["S"]], [letters(a)["v"].T]]),
        lambda a: a.matrix("R", "K", "V", symmetric=True),
        lambda a: trace(letters(a)["S"]),
        lambda a: trace(letters(a)["M"]),
    ],
)
def test_shapes_that_do_not_fit_raise(make):
    with pytest.raises(ShapeError):
        make(declared())


@pytest.mark.parametrize(
    "pattern", [lambda S, k: 2 * S, lambda S, k: S - S, lambda S, k: k @ k.T @ k, lambda S, k: k @ k.T]
)
def test_a_rule_must_start_from_one_uncut_word(pattern):
    algebra = declared()
    x = pattern(letters(algebra)["S"], letters(algebra)["k"])
    with pytest.raises(ValueError, match="one word"):
        algebra.rule(x, x)


def test_rules_that_run_in_circles_raise():
    algebra = declared()
    M, Q = letters(algebra)["M"], letters(algebra)["Q"]
    algebra.rule(M @ Q, Q @ M)
    algebra.rule(Q @ M, M @ Q)
    with pytest.raises(RewriteError):
        (M @ Q).normal()


def test_expressions_of_two_algebras_do_not_mix():
    with pytest.raises(ValueError, match="one algebra"):
        letters(declared())["S"] + letters(declared())["S"]


def test_blocks_multiply_as_the_matrices_they_make_up():
    algebra = declared()
    S, N, k, v = (letters(algebra)[name] for name in "SNkv")
    longer = Block([[N @ S], [k.T]])
    x = longer.T @ Block([[N], [v.T]])
    values = numbers(algebra, random.Random(1))
    assert not (x - (S.T @ N.T @ N + k @ v.T)).normal()
    assert evaluate(longer, SIZES, values).shape == (5, 3)
    assert not (algebra.identity("n", "1") @ longer - longer).normal()
    with pytest.raises(ShapeError):
        longer @ N


def test_a_trace_rotates_a_word_to_a_number():
    algebra = declared()
    S, k, v = (letters(algebra)[name] for name in "Skv")
    values = numbers(algebra, random.Random(2))
    wanted = np.trace(evaluate(k @ v.T @ S, SIZES, values))
    assert str(trace(k @ v.T @ S)) == "(k' S' v)"
    assert evaluate(v.T @ S @ k, SIZES, values)[0, 0] == wanted


def test_the_printed_form_is_the_written_form():
    algebra = Algebra("alpha beta_t")
    alpha, beta = algebra.all_scalars()
    S = algebra.matrix("S", "V", "K", tex="S_{t-1}")
    k, v = algebra.vector("k_t", "K"), algebra.vector("v_t", "V")
    written = alpha * S @ (algebra.identity("K") - beta * k @ k.T) + beta * v @ k.T
    assert equation(algebra.matrix("S_t", "V", "K"), written) == (
        r"S_{t} = \alpha S_{t-1} (I - \beta_{t} k_{t} k_{t}^\top) + \beta_{t} v_{t} k_{t}^\top"
    )
    assert str((written - alpha * S).normal()) == "-alpha*beta_t S k_t k_t' + beta_t v_t k_t'"
    assert (S @ k - S @ k).normal().tex() == "0"


def test_the_part_of_a_power_is_its_coefficient():
    algebra = declared()
    beta, k, M = algebra.scalar("beta"), letters(algebra)["k"], letters(algebra)["M"]
    x = (k.T - beta * k.T @ M) @ (k - beta * M.T @ k)
    assert not x.normal().part("beta", 1) - (-2 * k.T @ M @ k).normal()
    assert not x.normal().part("beta", 2) - (k.T @ M @ M.T @ k).normal()


def test_the_step_on_words_is_the_step_on_numbers():
    algebra = declared()
    S, k, v, D, E = (letters(algebra)[name] for name in "SkvDE")
    q, w = algebra.vector("q", "K"), algebra.diagonal("w", "V")
    x = arrays.token(q=q, k=k, v=v, decay=D, erase=E, write=w)
    written, read = reference.step(arrays.Array(S, 2), x, exp=arrays.exp)
    at = numbers(algebra, random.Random(3))
    g, b = np.diag(at["D"])[None], np.diag(at["E"])
    token = reference.Token(q=at["q"][:, 0], k=at["k"][:, 0], v=at["v"][:, 0], g=g, b=b, w=np.diag(at["w"]))
    want_S, want_o = reference.step(at["S"], token, exp=lambda decay: decay)
    assert (evaluate(written.word, SIZES, at) == want_S).all()
    assert (evaluate(read.word, SIZES, at)[:, 0] == want_o).all()


def test_a_step_that_broadcasts_along_the_wrong_axis_raises():
    algebra = declared()
    S, k, v = (letters(algebra)[name] for name in "Skv")
    x = arrays.token(q=k, k=k, v=v, decay=2)
    u = x.w * x.v
    with pytest.raises(ShapeError):
        arrays.Array(S, 2) + u[None, :] * x.k[:, None]
    with pytest.raises(TypeError):
        x.g * arrays.Array(S, 2)
