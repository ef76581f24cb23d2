"""Matrix expressions as trees: shapes are checked on construction, and expressions print as they were written.

Equality is decided by normal forms, in :mod:`derivations.engines.words`. The printed formula is the one that was
checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from derivations.engines.notation import TEX, TEXT, Style, signed, tex_name, transposed
from derivations.engines.words import Cell, Declared, Normal, Size, Term, Words

Side = tuple[Size, ...]  # the sizes of the blocks along one side; one for a matrix that is not cut into blocks
SUM, PRODUCT, ATOM = range(3)  # how tightly a printed form binds


class ShapeError(ValueError):
    """A sum or product of matrices whose shapes do not fit."""


class Expr:
    """A matrix expression with checked shapes; 1 x 1 expressions are scalars and multiply anything by ``*``."""

    algebra: Words
    rows: Side
    cols: Side
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
        return Sum([(1, self), (1, expression(self.algebra, other))])

    def __radd__(self, other: int) -> Expr:
        return expression(self.algebra, other) + self

    def __sub__(self, other: Expr | int) -> Expr:
        return Sum([(1, self), (-1, expression(self.algebra, other))])

    def __rsub__(self, other: int) -> Expr:
        return expression(self.algebra, other) - self

    def __neg__(self) -> Expr:
        return Sum([(-1, self)])

    def __mul__(self, other: Expr | int) -> Expr:
        other = expression(self.algebra, other)
        if self.is_scalar:
            return Scaled(self, other)
        if other.is_scalar:
            return Scaled(other, self)
        raise ShapeError(f"{self} * {other}: expected a scalar, got {shape(self)} and {shape(other)}; products take @")

    def __rmul__(self, other: int) -> Expr:
        if other in (1, -1):  # so that it is printed as a sign
            return self if other == 1 else -self
        return expression(self.algebra, other) * self

    def __matmul__(self, other: Expr) -> Expr:
        return Product([self, expression(self.algebra, other)])

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

    def cells(self) -> list[list[Cell]]:
        """Return the sums of words of the normal form, block by block."""
        return self._cells()

    def tex(self) -> str:
        """Print in TeX, as written."""
        return self._shown(TEX)

    def normal(self) -> Normal:
        """Return the normal form: falsy where the expression is zero."""
        return Normal(self.algebra, self._cells(), "1" if self.is_scalar else "I")


class Letter(Expr):
    """A declared matrix."""

    def __init__(self, algebra: Words, declared: Declared) -> None:
        self.algebra, self.declared, self.name = algebra, declared, declared.name
        self.rows, self.cols = (declared.rows,), (declared.cols,)

    def _cells(self) -> list[list[Cell]]:
        algebra = self.algebra
        word = ((self.name, False),)
        term: Term = ((min(word, algebra.transposed(word)),), ()) if self.is_scalar else ((), word)
        return [[algebra.rewritten({term: algebra.ring.one})]]

    def _shown(self, style: Style) -> str:
        return self.declared.printed if style is TEX else self.name


class Scalar(Expr):
    """A declared scalar."""

    rows = cols = ("1",)

    def __init__(self, algebra: Words, name: str) -> None:
        self.algebra, self.name, self.value = algebra, name, algebra.scalars[name]

    def _cells(self) -> list[list[Cell]]:
        return [[self.algebra.rewritten({((), ()): self.value})]]

    def _shown(self, style: Style) -> str:
        return tex_name(self.name) if style is TEX else self.name


class Number(Expr):
    """An integer."""

    rows = cols = ("1",)

    def __init__(self, algebra: Words, value: int) -> None:
        self.algebra, self.value = algebra, value
        self.binding = ATOM if value >= 0 else SUM

    def _cells(self) -> list[list[Cell]]:
        return [[{((), ()): self.algebra.ring(self.value)} if self.value else {}]]

    def _shown(self, style: Style) -> str:
        return str(self.value)


class Identity(Expr):
    """The identity of a size."""

    def __init__(self, algebra: Words, size: Size) -> None:
        self.algebra, self.rows, self.cols = algebra, (size,), (size,)

    def _cells(self) -> list[list[Cell]]:
        return [[{((), ()): self.algebra.ring.one}]]

    def _shown(self, style: Style) -> str:
        return "1" if self.is_scalar else "I"


class Zero(Expr):
    """A matrix of zeros."""

    def __init__(self, algebra: Words, rows: Size, cols: Size) -> None:
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
        return [[self.algebra.rewritten(self.algebra.transposed_cell(cell)) for cell in column] for column in columns]

    def _shown(self, style: Style) -> str:
        inner = _wrapped(self.inner, ATOM, style)
        if isinstance(self.inner, Block) and style is TEX:
            return rf"{inner}^\top"
        return transposed(inner, style)


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
        return [[self.algebra.product(factor, cell) for cell in row] for row in self.inner._cells()]

    def _shown(self, style: Style) -> str:
        if isinstance(self.factor, Number) and self.factor.value == 1:
            return _wrapped(self.inner, PRODUCT, style)
        if self.factor is self.inner:
            return f"{_wrapped(self.factor, ATOM, style)}^2"
        number = isinstance(self.factor, Product)  # a row times a column, which needs brackets before another factor
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
            for term, value in self.algebra.product(x, y).items():
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


def expression(algebra: Words, value: Expr | int) -> Expr:
    """Return an expression of an algebra, or an integer as one.

    Raises:
        ValueError: if the expression is one of another algebra.
        TypeError: if the value is neither an expression nor an integer.
    """
    if isinstance(value, Expr):
        if value.algebra is not algebra:
            raise ValueError(f"expected expressions of one algebra, got {value} of another")
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Number(algebra, value)
    raise TypeError(f"expected an expression or an integer, got {type(value).__name__}")


def shape(x: Expr) -> str:
    """Name an expression's shape."""
    return f"{'+'.join(x.rows)} x {'+'.join(x.cols)}"


def same_shape(x: Expr, y: Expr) -> None:
    """Raise a ShapeError where two shapes differ."""
    if (x.rows, x.cols) != (y.rows, y.cols):
        raise ShapeError(f"{x} and {y}: expected one shape, got {shape(x)} and {shape(y)}")


def _wrapped(x: Expr, binding: int, style: Style) -> str:
    return f"({x._shown(style)})" if x.binding < binding else x._shown(style)
