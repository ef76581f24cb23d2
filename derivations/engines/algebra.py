"""Declare matrices of symbolic size and assumptions on them, for identities that hold for every size.

An :class:`Algebra` declares letters (matrices of symbolic shape) and scalars. Expressions are written with ``+ - * @``
and ``.T``. Two expressions are equal if the normal form of their difference is zero.
"""

from __future__ import annotations

from derivations.engines.notation import tex_name
from derivations.engines.trees import (
    Block,
    Expr,
    Identity,
    Letter,
    Number,
    Scalar,
    ShapeError,
    Zero,
    expression,
    same_shape,
    shape,
)
from derivations.engines.words import Cell, Declared, Normal, Size, Words


class Algebra(Words):
    """The letters, scalars and assumptions that expressions are made of.

    Args:
        scalars: names of commuting scalars, in one string; an earlier one is rewritten into later ones by relations.
    """

    def scalar(self, name: str) -> Scalar:
        """Return a declared scalar."""
        return Scalar(self, name)

    def all_scalars(self) -> list[Scalar]:
        """Return the declared scalars in their order."""
        return [Scalar(self, name) for name in self.scalars]

    def matrix(
        self, name: str, rows: Size, cols: Size, *, tex: str = "", symmetric: bool = False, diagonal: bool = False
    ) -> Letter:
        """Declare a letter.

        Args:
            name: the letter's name in residuals.
            rows: its number of rows, a name or "1".
            cols: its number of columns.
            tex: its TeX; the name by default.
            symmetric: it equals its transpose.
            diagonal: it is diagonal, so it is symmetric and commutes with the other diagonal letters.

        Raises:
            ValueError: if the name is taken by another letter.
            ShapeError: if a symmetric letter is not square.
        """
        if (symmetric or diagonal) and rows != cols:
            raise ShapeError(f"{name}: expected a square matrix, got {rows} x {cols}")
        if name in self.letters or name in self.scalars:
            raise ValueError(f"{name}: declared twice")
        declared = Declared(name, rows, cols, tex or tex_name(name), symmetric or diagonal, diagonal)
        self.letters[name] = declared
        return Letter(self, declared)

    def vector(self, name: str, rows: Size, *, tex: str = "") -> Letter:
        """Declare a column."""
        return self.matrix(name, rows, "1", tex=tex)

    def diagonal(self, name: str, size: Size, *, tex: str = "") -> Letter:
        """Declare a diagonal matrix."""
        return self.matrix(name, size, size, tex=tex, diagonal=True)

    def inverse(self, letter: Letter) -> Letter:
        """Declare the inverse of a letter, with the rewriting rules for it."""
        of = letter.declared
        if of.rows != of.cols:
            raise ShapeError(f"{of.name}: expected a square matrix, got {of.rows} x {of.cols}")
        made = self.matrix(
            f"{of.name}^-1",
            of.rows,
            of.cols,
            tex=f"{of.printed}^{{-1}}",
            symmetric=of.symmetric,
            diagonal=of.diagonal,
        )
        one = self.identity(of.rows)
        self.rule(letter @ made, one)
        if not of.diagonal:
            self.rule(made @ letter, one)
        return made

    def identity(self, *sizes: Size) -> Expr:
        """Return the identity, of several blocks if several sizes are given."""
        if len(sizes) == 1:
            return Identity(self, sizes[0])
        return Block(
            [
                [Identity(self, m) if i == j else Zero(self, m, n) for j, n in enumerate(sizes)]
                for i, m in enumerate(sizes)
            ]
        )

    def zero(self, rows: Size, cols: Size) -> Zero:
        """Return a matrix of zeros."""
        return Zero(self, rows, cols)

    def number(self, value: int) -> Number:
        """Return an integer."""
        return Number(self, value)

    def rule(self, pattern: Expr, replacement: Expr | int) -> None:
        """Assume ``pattern == replacement``: every occurrence of the pattern is rewritten.

        Args:
            pattern: one word with coefficient 1.
            replacement: an expression of the same shape. Rewriting must terminate.

        Raises:
            ValueError: if the pattern is not a single word, or has an inner size of 1.
        """
        replacement = expression(self, replacement)
        same_shape(pattern, replacement)
        cell = pattern.cells()[0][0]
        if list(cell.values()) != [1]:
            raise ValueError(f"pattern: expected one word, got {pattern}")
        scalars, word = next(iter(cell))
        if len(scalars) == 1 and not word:
            word = scalars[0]
            scalars = ()
        if scalars or not word or any(self.sizes(atom)[1] == "1" for atom in word[:-1]):
            raise ValueError(f"pattern: expected one word without an inner size of 1, got {pattern}")
        found = replacement.cells()[0][0]
        self.rules.append((word, found))
        if (other := self.transposed(word)) != word:
            self.rules.append((other, self.transposed_cell(found)))

    def relation(self, scalar: Expr, replacement: Expr | int) -> None:
        """Assume that a polynomial in the scalars equals another; its leading term is rewritten.

        Raises:
            ValueError: if it contains letters, or its leading coefficient is not 1 or -1.
        """
        cell = (scalar - expression(self, replacement)).cells()[0][0]
        if set(cell) != {((), ())}:
            raise ValueError(f"relation: expected scalars only, got {scalar}")
        polynomial = cell[(), ()]
        if abs(polynomial.LC) != 1:
            raise ValueError(f"relation: expected a leading coefficient of 1 or -1, got {polynomial.LC}")
        self.relations.append(polynomial)


def trace(x: Expr) -> Normal:
    """Return the trace of an expression whose words all have an inner size of 1, so that each trace is a number.

    Raises:
        ShapeError: if the expression is not square, or a word of it has no inner size of 1.
    """
    if x.rows != x.cols or len(x.rows) != 1:
        raise ShapeError(f"trace of {x}: expected a square matrix, got {shape(x)}")
    algebra, out = x.algebra, Cell()
    for (scalars, word), value in x.cells()[0][0].items():
        cut = next((i for i, atom in enumerate(word) if i and algebra.sizes(atom)[0] == "1"), None)
        if cut is None:
            raise ShapeError(f"trace of {x}: a word of it has no inner size of 1")
        more, rest = algebra.cut(word[cut:] + word[:cut])
        Words.add_to(out, (tuple(sorted((*scalars, *more, *([rest] if rest else [])))), ()), value)
    return Normal(algebra, [[algebra.rewritten(out)]], "1")


def equation(lhs: Expr, rhs: Expr) -> str:
    """Print an equation in TeX from the two sides that are checked."""
    return f"{lhs.tex()} = {rhs.tex()}"
