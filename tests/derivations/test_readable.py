"""Statements as text: fractions on their rule, matrices in their columns, no TeX left."""

import re
import unicodedata

import pytest

from derivations.readable import inline, readable, width
from derivations.registry import load


@pytest.mark.parametrize(
    ("tex", "text"),
    [
        (r"S_t = S_{t-1} (I - \beta k k^\top)", "Sₜ = Sₜ₋₁ (I − β k kᵀ)"),
        (r"\bar A_{\text{ZOH}} - \tfrac{1}{12} A^3", "Ā_ZOH − 1/12 A³"),
        (r"e^{q \cdot k_1}, \quad \|k\|^2 \le 2", "e^(q · k₁),\n‖k‖² ≤ 2"),
        (r"x = \frac{a + b}{2}, \; y", "    a + b\nx = ─────,   y\n      2"),
        (r"\begin{bmatrix} a b & 0 \\ 1 & c \end{bmatrix}", "[ a b  0 ]\n[ 1    c ]"),
        (r"\begin{aligned} \text{one} &: a \\ \text{two} &: b \end{aligned}", "one : a\ntwo : b"),
    ],
)
def test_a_formula_is_laid_out(tex, text):
    assert re.sub(r" +(?=\n|$)", "", readable(tex)) == unicodedata.normalize("NFD", text)


def test_a_combining_mark_has_no_width():
    assert width("Ā x") == 3


def test_a_sentence_keeps_its_words():
    assert inline(r"With $\alpha = e^g$ and $K$ row by row.") == "With α = e^g and K row by row."


@pytest.mark.parametrize("name", load())
def test_no_statement_keeps_tex(name):
    text = readable(load()[name].tex)
    assert not re.search(r"[\\{}]", text), text
    widths = [len(line) for line in text.splitlines()]
    assert widths
