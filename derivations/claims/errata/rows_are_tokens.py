"""A chunk's writes printed as a product whose shapes do not fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from derivations.engines.algebra import Algebra
from derivations.engines.trees import shape
from derivations.models.errata import Erratum, against, erratum, fits, scalars
from derivations.papers import cite
from derivations.scope import EverySize

ENTRY = Erratum(
    title="A chunk's writes are printed as V K' with a token a row, which does not fit.",
    printed=r"S_{[t+1]} = S_{[t]} + V_{[t]} K_{[t]}^\top \in \mathbb{R}^{d_v \times d_k}",
    seen=(cite("2412.06464", "v3, sec. 2.1, in two transcriptions; its eq. 1 has the transpose"),),
    numbers=scalars(s=(0,), a=(1, 1), b=(0, 0), k=(1, 2), v=(3, 5), q=(1, 1)),
    gives="2 x 2",
    should_give="1 x 1",
    compared="the shape of the product for two tokens, with dk = dv = 1",
    proved_by=("memory_answers_the_value_and_the_overlaps",),
)


def product_shape(*, transposed: bool) -> str:
    """Return the shape of V'K, or of V K' where that fits, for two tokens with dk = dv = 1."""
    V, K = np.array([[3], [5]], dtype=object), np.array([[1], [2]], dtype=object)
    made = V.T @ K if transposed else V @ K.T
    return f"{made.shape[0]} x {made.shape[1]}"


def products_in_numbers() -> tuple[str, str]:
    """Return the shapes of the printed and of the right product."""
    return product_shape(transposed=False), product_shape(transposed=True)


def written_product() -> str:
    """Print the memory of a chunk of writes."""
    words = Algebra()
    V, K, S = words.matrix("V", "C", "V"), words.matrix("K", "C", "K"), words.matrix("S", "V", "K")
    return rf"S_{{[t+1]}} = {(S + V.T @ K).tex()}"


@erratum(ENTRY, products_in_numbers, written_product)
def rows_are_tokens_so_the_values_are_transposed() -> Any:
    """If each row is a token, the writes of a chunk are V'K."""
    return against(ENTRY, products_in_numbers)


def has_the_shape_of_the_memory(*, transposed: bool) -> str:
    """Return "" if the product of values and keys, one row for each token, has the memory's shape, else a sentence."""
    words = Algebra()
    V, K, S = words.matrix("V", "C", "V"), words.matrix("K", "C", "K"), words.matrix("S", "V", "K")
    made = V.T @ K if transposed else V @ words.matrix("K'", "V", "C")
    return "" if (made.rows, made.cols) == (S.rows, S.cols) else f"{made} is {shape(made)}, the memory {shape(S)}"


@rows_are_tokens_so_the_values_are_transposed.step(engine="words", scope=EverySize("C", "dk", "dv"))
def shapes_of_the_right_form() -> Any:
    """V'K has the shape of the memory for every size, and V K' fits for none in general."""
    words = Algebra()
    V, K = words.matrix("V", "C", "V"), words.matrix("K", "C", "K")
    return [has_the_shape_of_the_memory(transposed=True), "V K' fits" if fits(lambda: V @ K.T) else ""]


@rows_are_tokens_so_the_values_are_transposed.refute
def product_of_columns() -> Any:
    """V K' with as many key channels as value channels, which fits, and is a matrix of tokens by tokens."""
    return has_the_shape_of_the_memory(transposed=False)


@rows_are_tokens_so_the_values_are_transposed.refute
def shape_in_numbers() -> Any:
    """The printed product of two tokens is said to be one number, as a memory with dk = dv = 1 is."""
    found = product_shape(transposed=False)
    return "" if found == "1 x 1" else found
