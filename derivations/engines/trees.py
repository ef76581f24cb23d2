"""Matrix expressions as trees: their shapes are checked as they are made, and they print as they were written.

What an expression is equal to is decided by :mod:`derivations.engines.words`; here it is written, printed in TeX and
in plain text, and evaluated in numbers.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from derivations.engines.words import Algebra, Cell, Normal, Term

Size = str  # the name of a size; "1" is the number
Sizes = tuple[Size, ...]  # the sizes of the blocks along one side; one for a matrix that is not cut into blocks


class Style(Enum):
    """How an expression is printed."""

    TEXT = "text"
    TEX = "tex"


TEXT, TEX = Style.TEXT, Style.TEX
SUM, PRODUCT, ATOM = range(3)  # how tightly a printed form binds
_GREEK = re.compile(
    "alpha|beta|gamma|delta|epsilon|eta|theta|kappa|lambda|mu|nu|rho|sigma|tau|phi|chi|psi|omega|Gamma|Delta|Phi"
)


class ShapeError(ValueError):
    """A sum or product of matrices whose shapes do not fit."""


class Expr:
    """A matrix expression with checked shapes; 1 x 1 expressions are scalars and multiply anything by ``*``."""

    algebra: Algebra
    rows: Sizes
    cols: Sizes
    binding = ATOM

    @property
    def is_scalar(self) -> bool:
        """Whether the expression is 1 x 1."""
        return self.rows == self.cols == ("1",)

    @property
    def T(self) -> Expr:
        """The transpose."""
        return Transpose(self)

    def __add__(self, other: Expr | int) -> Expr:
        return Sum([(1, self), (1, self.algebra._expr(other))])

    def __radd__(self, other: int) -> Expr:
        return self.algebra._expr(other) + self

    def __sub__(self, other: Expr | int) -> Expr:
        return Sum([(1, self), (-1, self.algebra._expr(other))])

    def __rsub__(self, other: int) -> Expr:
        return self.algebra._expr(other) - self

    def __neg__(self) -> Expr:
        return Sum([(-1, self)])

    def __mul__(self, other: Expr | int) -> Expr:
        other = self.algebra._expr(other)
        if self.is_scalar:
            return Scaled(self, other)
        if other.is_scalar:
            return Scaled(other, self)
        raise ShapeError(f"{self} * {other}: expected a scalar, got {shape(self)} and {shape(other)}; products take @")

    def __rmul__(self, other: int) -> Expr:
        if other in (1, -1):  # so that a sign is printed as one
            return self if other == 1 else -self
        return self.algebra._expr(other) * self

    def __matmul__(self, other: Expr) -> Expr:
        return Product([self, self.algebra._expr(other)])

    def __pow__(self, power: int) -> Expr:
        if power < 1 or self.rows != self.cols:
            raise ShapeError(f"{self} ** {power}: expected a square matrix and a positive power")
        out = self
        for _ in range(power - 1):
            out = out * self if self.is_scalar else out @ self
        return out

    def __bool__(self) -> bool:
        return bool(self.normal())

    def __str__(self) -> str:
        return self._shown(TEXT)

    def _cells(self) -> list[list[Cell]]:
        raise NotImplementedError

    def _shown(self, style: Style) -> str:
        raise NotImplementedError

    def tex(self) -> str:
        """Print in TeX, as written."""
        return self._shown(TEX)

    def normal(self) -> Normal:
        """Return the normal form: falsy where the expression is zero."""
        return self.algebra.normal(self._cells(), one="1" if self.is_scalar else "I")


class Letter(Expr):
    """A declared matrix."""

    def __init__(
        self, algebra: Algebra, name: str, rows: Size, cols: Size, printed: str, symmetric: bool, diagonal: bool
    ) -> None:
        self.algebra, self.name, self.rows, self.cols = algebra, name, (rows,), (cols,)
        self.printed, self.symmetric, self.diagonal = printed, symmetric, diagonal

    def _cells(self) -> list[list[Cell]]:
        algebra = self.algebra
        word = ((self.name, False),)
        term: Term = ((min(word, algebra._transposed(word)),), ()) if self.is_scalar else ((), word)
        return [[algebra._rewritten({term: algebra.ring.one})]]

    def _shown(self, style: Style) -> str:
        return self.printed if style is TEX else self.name


class Scalar(Expr):
    """A declared scalar."""

    rows = cols = ("1",)

    def __init__(self, algebra: Algebra, name: str) -> None:
        self.algebra, self.name, self.value = algebra, name, algebra.scalars[name]

    def _cells(self) -> list[list[Cell]]:
        return [[self.algebra._rewritten({((), ()): self.value})]]

    def _shown(self, style: Style) -> str:
        return tex_name(self.name) if style is TEX else self.name


class Number(Expr):
    """An integer."""

    rows = cols = ("1",)

    def __init__(self, algebra: Algebra, value: int) -> None:
        self.algebra, self.value = algebra, value
        self.binding = ATOM if value >= 0 else SUM

    def _cells(self) -> list[list[Cell]]:
        return [[{((), ()): self.algebra.ring(self.value)} if self.value else {}]]

    def _shown(self, style: Style) -> str:
        return str(self.value)


class Identity(Expr):
    """The identity of a size."""

    def __init__(self, algebra: Algebra, size: Size) -> None:
        self.algebra, self.rows, self.cols = algebra, (size,), (size,)

    def _cells(self) -> list[list[Cell]]:
        return [[{((), ()): self.algebra.ring.one}]]

    def _shown(self, style: Style) -> str:
        return "1" if self.is_scalar else "I"


class Zero(Expr):
    """Zeros."""

    def __init__(self, algebra: Algebra, rows: Size, cols: Size) -> None:
        self.algebra, self.rows, self.cols = algebra, (rows,), (cols,)

    def _cells(self) -> list[list[Cell]]:
        return [[{}]]

    def _shown(self, style: Style) -> str:
        return "0"


class Transpose(Expr):
    """A transpose."""

    def __init__(self, inner: Expr) -> None:
        self.algebra, self.inner, self.rows, self.cols = inner.algebra, inner, inner.cols, inner.rows

    def _cells(self) -> list[list[Cell]]:
        cells = self.inner._cells()
        columns = zip(*cells, strict=True)
        return [[self.algebra._rewritten(self.algebra._transposed_cell(cell)) for cell in column] for column in columns]

    def _shown(self, style: Style) -> str:
        inner = _wrapped(self.inner, ATOM, style)
        if isinstance(self.inner, Block) and style is TEX:
            return rf"{inner}^\top"
        if style is TEXT:
            return f"{inner}'"
        return rf"({inner})^\top" if "^" in inner and inner[0] != "(" else rf"{inner}^\top"


class Sum(Expr):
    """A sum of signed terms, in the order it was written."""

    binding = SUM

    def __init__(self, terms: Sequence[tuple[int, Expr]]) -> None:
        flat: list[tuple[int, Expr]] = []
        for i, (sign, term) in enumerate(terms):
            inner = term.terms if isinstance(term, Sum) and (i == 0 or sign == 1) else [(1, term)]
            flat += [(sign * s, e) for s, e in inner]
        for _, term in flat[1:]:
            same_shape(flat[0][1], term)
        self.terms: list[tuple[int, Expr]] = flat
        first = flat[0][1]
        self.algebra, self.rows, self.cols = first.algebra, first.rows, first.cols

    def _cells(self) -> list[list[Cell]]:
        out: list[list[Cell]] = [[{} for _ in self.cols] for _ in self.rows]
        for sign, term in self.terms:
            for row, other in zip(out, term._cells(), strict=True):
                for cell, more in zip(row, other, strict=True):
                    for key, value in more.items():
                        self.algebra.add_to(cell, key, sign * value)
        return out

    def _shown(self, style: Style) -> str:
        return signed((sign, _wrapped(term, PRODUCT, style)) for sign, term in self.terms)


class Scaled(Expr):
    """A scalar times an expression."""

    binding = PRODUCT

    def __init__(self, factor: Expr, inner: Expr) -> None:
        self.algebra, self.factor, self.inner = inner.algebra, factor, inner
        self.rows, self.cols = inner.rows, inner.cols

    def _cells(self) -> list[list[Cell]]:
        factor = self.factor._cells()[0][0]
        return [[self.algebra._product(factor, cell) for cell in row] for row in self.inner._cells()]

    def _shown(self, style: Style) -> str:
        if isinstance(self.factor, Number) and self.factor.value == 1:
            return _wrapped(self.inner, PRODUCT, style)
        if self.factor is self.inner:
            return f"{_wrapped(self.factor, ATOM, style)}^2"
        number = isinstance(self.factor, Product)  # of a row and a column: what follows does not belong to it
        return f"{_wrapped(self.factor, ATOM if number else PRODUCT, style)} {_wrapped(self.inner, PRODUCT, style)}"


class Product(Expr):
    """A matrix product."""

    binding = PRODUCT

    def __init__(self, factors: Sequence[Expr]) -> None:
        flat = [inner for factor in factors for inner in (factor.factors if isinstance(factor, Product) else [factor])]
        for left, right in pairwise(flat):
            if left.cols != right.rows:
                raise ShapeError(f"{left} @ {right}: got {shape(left)} and {shape(right)}")
        self.factors: list[Expr] = flat
        self.algebra = flat[0].algebra
        self.rows, self.cols = flat[0].rows, flat[-1].cols

    def _cells(self) -> list[list[Cell]]:
        out = self.factors[0]._cells()
        for factor in self.factors[1:]:
            right = factor._cells()
            out = [[self._entry(row, [line[j] for line in right]) for j in range(len(right[0]))] for row in out]
        return out

    def _entry(self, row: list[Cell], column: list[Cell]) -> Cell:
        total: Cell = {}
        for x, y in zip(row, column, strict=True):
            for term, value in self.algebra._product(x, y).items():
                self.algebra.add_to(total, term, value)
        return total

    def _shown(self, style: Style) -> str:
        return " ".join(_wrapped(factor, PRODUCT, style) for factor in self.factors)


class Block(Expr):
    """A matrix of blocks, such as a chunk with one more token below it.

    Args:
        blocks: rows of expressions.

    Raises:
        ShapeError: if the blocks of a row differ in height, or those of a column in width.
    """

    def __init__(self, blocks: Sequence[Sequence[Expr]]) -> None:
        self.blocks = [list(row) for row in blocks]
        first = self.blocks[0]
        self.algebra = first[0].algebra
        for row in self.blocks:
            for entry, above in zip(row, first, strict=True):
                if entry.rows != row[0].rows or entry.cols != above.cols or len(entry.rows + entry.cols) != 2:
                    raise ShapeError(f"{entry}: got a block {shape(entry)} where it does not fit")
        self.rows = tuple(row[0].rows[0] for row in self.blocks)
        self.cols = tuple(entry.cols[0] for entry in first)

    def _cells(self) -> list[list[Cell]]:
        return [[entry._cells()[0][0] for entry in row] for row in self.blocks]

    def _shown(self, style: Style) -> str:
        comma, semicolon = (" & ", r" \\ ") if style is TEX else (", ", "; ")
        inner = semicolon.join(comma.join(entry._shown(style) for entry in row) for row in self.blocks)
        return rf"\begin{{bmatrix}} {inner} \end{{bmatrix}}" if style is TEX else f"[{inner}]"


def shape(x: Expr) -> str:
    """Name an expression's shape."""
    return f"{'+'.join(x.rows)} x {'+'.join(x.cols)}"


def same_shape(x: Expr, y: Expr) -> None:
    """Raise a ShapeError where two shapes differ."""
    if (x.rows, x.cols) != (y.rows, y.cols):
        raise ShapeError(f"{x} and {y}: expected one shape, got {shape(x)} and {shape(y)}")


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


def _numbers(side: Sizes, sizes: Mapping[Size, int]) -> int:
    return sum(1 if size == "1" else sizes[size] for size in side)


# Printing.


def _wrapped(x: Expr, binding: int, style: Style) -> str:
    return f"({x._shown(style)})" if x.binding < binding else x._shown(style)


def signed(terms: Iterable[tuple[int, str]]) -> str:
    """Join signed terms to a sum."""
    out = ""
    for sign, text in terms:
        out += (" - " if sign < 0 else " + ") + text if out else ("-" if sign < 0 else "") + text
    return out


def tex_name(name: str) -> str:
    """Print a name: Greek letters spelt out get a backslash, what follows an underscore or a digit becomes an index."""
    stem, _, index = name.partition("_")
    bare = stem.rstrip("0123456789")
    index = stem[len(bare) :] + index
    printed = f"\\{bare}" if _GREEK.fullmatch(bare) else bare
    return f"{printed}_{{{index}}}" if index else printed
