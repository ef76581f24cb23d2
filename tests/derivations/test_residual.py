"""Residuals that are not zero, in text and in TeX."""

from __future__ import annotations

from fractions import Fraction

import pytest
from sympy import ZZ, ring

from derivations.registry import load
from derivations.residual import TERMS, describe, typeset

KQ, SK, K, A = ring("kq12, Sk1, k11, a2", ZZ)[1:]


@pytest.mark.parametrize(
    ("residual", "text", "tex"),
    [
        (Fraction(-3, 2), "-3/2", r"-\tfrac{3}{2}"),
        ({"o": [0, 7]}, "o [1]: 7", "7"),
        ("2 x 2", "2 x 2", ""),
        (
            2 * KQ * A**2 - SK,
            "2*kq12*a2**2 - Sk1, which is 61 where kq12 = 2, Sk1 = 3, a2 = 4",
            r"2 (k_1^\top q_2) a_{2}^2 - (S k_1)",
        ),
        ([0, K * A], "[1]: k11*a2, which is 6 where k11 = 2, a2 = 3", r"k_{1,1} a_{2}"),
    ],
)
def test_a_residual_is_printed_as_text_and_in_tex(residual, text, tex):
    assert (describe(residual), typeset(residual)) == (text, tex)


def test_a_long_polynomial_ends_in_dots():
    long = sum((K**n for n in range(1, TERMS + 3)), start=A)
    assert typeset(long).endswith(r" + \dots")
    assert typeset(long).count("k_{1,1}") == TERMS
    assert describe(long).endswith(f"+ ... ({TERMS + 3} terms), which is 513 where k11 = 2, a2 = 3")


def test_a_polynomial_is_said_in_numbers_where_it_is_not_zero():
    assert describe((K - 2) * (A - 4)).endswith(", which is 2 where k11 = 4, a2 = 5")
    assert describe(A - K - 1) == "-k11 + a2 - 1"
    letters = ring("a b c d e", ZZ)[1:]
    assert describe(sum(letters)) == "a + b + c + d + e, which is 20 where its 5 letters are 2, 3, ... in their order"


def test_a_refuted_variant_keeps_its_residual_in_tex():
    made = load()["gated_chunk_equals_recurrence"]
    assert made.check_step(made.mutants[0]).tex == (
        r"-\beta N^\top K k k^\top + \alpha \beta N^\top \Lambda K k k^\top"
    )


def test_the_other_paragraphs_of_a_step_are_its_details():
    first = load()["gated_chunk_equals_recurrence"].steps[0]
    assert first.summary.endswith("memory and outputs.")
    assert first.details.startswith("The induction step: if both forms agree after n tokens")
