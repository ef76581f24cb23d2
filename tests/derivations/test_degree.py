"""Degrees that the code counts, against the degrees of the polynomials that it makes on symbols."""

from dataclasses import replace

import numpy as np
import pytest

from derivations.engines import degree
from derivations.engines.cases import Case, shapes, symbols, tokens
from derivations.mutants.by_hand import planted
from gdn_core import reference
from gdn_core.rules import RULES

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
