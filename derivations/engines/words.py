"""Matrix words: identities between matrix expressions for every size, decided by a normal form.

An :class:`Algebra` declares letters with symbolic shapes and scalars, and states what is assumed of them as rewriting
rules, such as ``k' k -> kappa``. Expressions are trees that keep the form they were written in, so that the formula
that is printed is the formula that was checked. Their normal form is a sum of words with coefficients in a polynomial
ring over the integers, in which

* products are flattened, transposes pushed to the letters, and ill-shaped products have raised before;
* a word is cut wherever an inner size is 1: the pieces between two cuts are numbers, which commute and equal their
  transposes, so they are sorted and written one way round;
* neighbouring diagonal letters are sorted, for they commute;
* the rules have been applied until none fits.

Every step is an identity of matrices, so two expressions of one normal form are equal whatever the sizes and entries.
The converse needs more: where the rules are not confluent, different normal forms may be equal, and a proof fails that
should not. :func:`evaluate` settles such a case, by numbers, and gives the counterexample of what is refuted.
"""

from __future__ import annotations

from itertools import pairwise

from sympy.polys.domains import ZZ
from sympy.polys.rings import PolyElement, ring

from derivations.engines.printed import polynomial
from derivations.engines.trees import (
    TEX,
    TEXT,
    Block,
    Expr,
    Identity,
    Letter,
    Number,
    Scalar,
    ShapeError,
    Size,
    Style,
    Zero,
    evaluate,
    same_shape,
    shape,
    signed,
    tex_name,
)

__all__ = ["Algebra", "Block", "Expr", "Normal", "RewriteError", "ShapeError", "equation", "evaluate", "trace"]

Atom = tuple[str, bool]  # a letter's name, and whether it is transposed
Word = tuple[Atom, ...]
Term = tuple[tuple[Word, ...], Word]  # the numbers in it, sorted, and the rest; () is the identity
Cell = dict[Term, PolyElement]


class RewriteError(RuntimeError):
    """Rules that do not end."""


class Algebra:
    """The letters, scalars and assumptions that expressions are made of.

    Args:
        scalars: names of commuting scalars, in one string; an earlier one is rewritten into later ones by relations.
    """

    def __init__(self, scalars: str = "") -> None:
        names = scalars.split()
        self.ring = ring(names or ["_"], ZZ)[0]
        self.scalars = dict(zip(names, self.ring.gens, strict=False))
        self.letters: dict[str, Letter] = {}
        self.rules: list[tuple[Word, Cell]] = []
        self.relations: list[PolyElement] = []

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
            name: how the letter is called in residuals.
            rows: its number of rows, a name or "1".
            cols: its number of columns.
            tex: how it is printed; the name by default.
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
        letter = Letter(self, name, rows, cols, tex or tex_name(name), symmetric or diagonal, diagonal)
        self.letters[name] = letter
        return letter

    def vector(self, name: str, rows: Size, *, tex: str = "") -> Letter:
        """Declare a column."""
        return self.matrix(name, rows, "1", tex=tex)

    def diagonal(self, name: str, size: Size, *, tex: str = "") -> Letter:
        """Declare a diagonal matrix."""
        return self.matrix(name, size, size, tex=tex, diagonal=True)

    def inverse(self, letter: Letter) -> Letter:
        """Declare the inverse of a letter, with the rules that make it one."""
        if letter.rows != letter.cols:
            raise ShapeError(f"{letter.name}: expected a square matrix, got {letter.rows[0]} x {letter.cols[0]}")
        made = self.matrix(
            f"{letter.name}^-1",
            letter.rows[0],
            letter.cols[0],
            tex=f"{letter.printed}^{{-1}}",
            symmetric=letter.symmetric,
            diagonal=letter.diagonal,
        )
        one = self.identity(letter.rows[0])
        self.rule(letter @ made, one)
        if not letter.diagonal:
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
        """Assume ``pattern == replacement``: wherever the pattern stands it is replaced.

        Args:
            pattern: one word with coefficient 1.
            replacement: an expression of the same shape. Rules must not run in circles.

        Raises:
            ValueError: if the pattern is no single word, or one that is cut at an inner size of 1.
        """
        replacement = self._expr(replacement)
        same_shape(pattern, replacement)
        cell = pattern._cells()[0][0]
        if list(cell.values()) != [1]:
            raise ValueError(f"pattern: expected one word, got {pattern}")
        scalars, word = next(iter(cell))
        if len(scalars) == 1 and not word:
            word = scalars[0]
            scalars = ()
        if scalars or not word or any(self._sizes(atom)[1] == "1" for atom in word[:-1]):
            raise ValueError(f"pattern: expected one word without an inner size of 1, got {pattern}")
        found = replacement._cells()[0][0]
        self.rules.append((word, found))
        if (other := self._transposed(word)) != word:
            self.rules.append((other, self._transposed_cell(found)))

    def relation(self, scalar: Expr, replacement: Expr | int) -> None:
        """Assume that a polynomial in the scalars equals another; its leading term is rewritten.

        Raises:
            ValueError: if letters occur in it, or its leading coefficient is not 1 or -1.
        """
        cell = (scalar - self._expr(replacement))._cells()[0][0]
        if set(cell) != {((), ())}:
            raise ValueError(f"relation: expected scalars only, got {scalar}")
        polynomial = cell[(), ()]
        if abs(polynomial.LC) != 1:
            raise ValueError(f"relation: expected a leading coefficient of 1 or -1, got {polynomial.LC}")
        self.relations.append(polynomial)

    def normal(self, cells: list[list[Cell]], *, one: str) -> Normal:
        """Return the normal form that consists of the given cells, where the empty word is printed as ``one``."""
        return Normal(self, cells, one)

    def _expr(self, value: Expr | int) -> Expr:
        if isinstance(value, Expr):
            if value.algebra is not self:
                raise ValueError(f"expected expressions of one algebra, got {value} of another")
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return Number(self, value)
        raise TypeError(f"expected an expression or an integer, got {type(value).__name__}")

    # Normal forms of one cell.

    @staticmethod
    def add_to(cell: Cell, term: Term, value: PolyElement) -> None:
        """Add a term to a cell, in place."""
        total = cell[term] + value if term in cell else value
        if total:
            cell[term] = total
        else:
            cell.pop(term, None)

    def _sizes(self, atom: Atom) -> tuple[Size, Size]:
        letter = self.letters[atom[0]]
        sizes = (letter.rows[0], letter.cols[0])
        return sizes[::-1] if atom[1] else sizes

    def _flipped(self, atom: Atom) -> Atom:
        name, transposed = atom
        return name, not (transposed or self.letters[name].symmetric)

    def _transposed(self, word: Word) -> Word:
        return self._sorted(tuple(self._flipped(atom) for atom in reversed(word)))

    def _transposed_cell(self, cell: Cell) -> Cell:
        return {(scalars, self._transposed(word)): value for (scalars, word), value in cell.items()}

    def _sorted(self, word: Word) -> Word:
        """Sort every run of diagonal letters."""
        out: list[Atom] = []
        run: list[Atom] = []
        for atom in (*word, None):
            if atom is not None and self.letters[atom[0]].diagonal:
                run.append(atom)
                continue
            out += sorted(run, key=lambda a: (a[0].removesuffix("^-1"), a[0]))
            run = []
            if atom is not None:
                out.append(atom)
        return tuple(out)

    def _cut(self, word: Word) -> Term:
        """Take the numbers out of a word: what stands between two sizes of 1."""
        if not word:
            return (), ()
        edges = [self._sizes(word[0])[0], *(self._sizes(atom)[1] for atom in word)]
        cuts = [i for i, size in enumerate(edges) if size == "1"]
        if len(cuts) < 2:
            return (), self._sorted(word)
        pieces = [self._sorted(word[i:j]) for i, j in pairwise(cuts)]
        rest = self._sorted(word[: cuts[0]]) + self._sorted(word[cuts[-1] :])
        return tuple(sorted(min(piece, self._transposed(piece)) for piece in pieces)), rest

    def _product(self, left: Cell, right: Cell) -> Cell:
        out: Cell = {}
        for (s, x), a in left.items():
            for (t, y), b in right.items():
                scalars, word = self._cut(x + y)
                Algebra.add_to(out, (tuple(sorted(s + t + scalars)), word), a * b)
        return self._rewritten(out)

    def _rewritten(self, cell: Cell) -> Cell:
        """Apply the rules until none fits, then the relations."""
        if self.rules:
            todo, out = dict(cell), Cell()
            for _ in range(100_000):
                if not todo:
                    break
                term, value = todo.popitem()
                replaced = self._rewrite_once(term)
                for new, factor in {term: self.ring.one}.items() if replaced is None else replaced.items():
                    Algebra.add_to(out if replaced is None else todo, new, value * factor)
            else:
                raise RewriteError("the rules do not end")
            cell = out
        if self.relations:
            reduced = {term: value.rem(self.relations) for term, value in cell.items()}
            cell = {term: value for term, value in reduced.items() if value}
        return cell

    def _rewrite_once(self, term: Term) -> Cell | None:
        scalars, word = term
        for i, piece in enumerate((word, *scalars)):
            for pattern, replacement in self.rules:
                n = len(pattern)
                at = next((j for j in range(len(piece) - n + 1) if piece[j : j + n] == pattern), None)
                if at is None:
                    continue
                out: Cell = {}
                kept = scalars if i == 0 else scalars[: i - 1] + scalars[i:]
                for (inner, middle), value in replacement.items():
                    more, rest = self._cut(piece[:at] + middle + piece[at + n :])
                    if i:  # the piece was a number, and so is what it became
                        more, rest = (more if not rest else (*more, rest)), word
                    Algebra.add_to(out, (tuple(sorted((*kept, *inner, *more))), rest), value)
                return out
        return None


class Normal:
    """A normal form: truthy where it is not zero, and printed as the residual that a failing check shows."""

    def __init__(self, algebra: Algebra, cells: list[list[Cell]], one: str) -> None:
        self.algebra, self.cells, self.one = algebra, cells, one

    def __bool__(self) -> bool:
        return any(cell for row in self.cells for cell in row)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Normal) and self.cells == other.cells

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        return self._printed(TEXT)

    def tex(self) -> str:
        """Print in TeX, expanded."""
        return self._printed(TEX)

    def part(self, scalar: Scalar, degree: int) -> Normal:
        """Return the coefficient of a power of a scalar."""
        index = self.algebra.ring.gens.index(scalar.value)

        def kept(value: PolyElement) -> PolyElement:
            out = self.algebra.ring.zero
            for monomial, coefficient in value.terms():
                if monomial[index] == degree:
                    rest = (*monomial[:index], 0, *monomial[index + 1 :])
                    out += self.algebra.ring({rest: coefficient})
            return out

        def picked(cell: Cell) -> Cell:
            return {term: found for term, value in cell.items() if (found := kept(value))}

        return Normal(self.algebra, [[picked(cell) for cell in row] for row in self.cells], self.one)

    def __sub__(self, other: Normal | Expr) -> Normal:
        other = other if isinstance(other, Normal) else other.normal()
        cells = [[dict(cell) for cell in row] for row in self.cells]
        for row, more in zip(cells, other.cells, strict=True):
            for cell, others in zip(row, more, strict=True):
                for term, value in others.items():
                    Algebra.add_to(cell, term, -value)
        return Normal(self.algebra, cells, self.one)

    def _printed(self, style: Style) -> str:
        found = [(i, j, cell) for i, row in enumerate(self.cells) for j, cell in enumerate(row) if cell]
        several = len(self.cells) * len(self.cells[0]) > 1
        return "; ".join(
            (f"block {i + 1},{j + 1}: " if several else "")
            + signed(self._term(term, cell[term], style) for term in sorted(cell))
            for i, j, cell in found
        ) or "0"  # fmt: skip

    def _term(self, term: Term, value: PolyElement, style: Style) -> tuple[int, str]:
        scalars, word = term
        letters = [f"({' '.join(self._atom(atom, style) for atom in piece)})" for piece in scalars]
        letters += [self._atom(atom, style) for atom in word] or ["I"] * (self.one == "I")
        sign = -1 if len(value) == 1 and value.LC < 0 else 1
        factor = str(sign * value) if style is TEXT else polynomial(sign * value)
        factor = f"({factor})" if len(value) > 1 else factor
        return sign, " ".join(([factor] if factor != "1" or not letters else []) + letters)

    def _atom(self, atom: Atom, style: Style) -> str:
        letter = self.algebra.letters[atom[0]]
        return (letter.T if atom[1] else letter)._shown(style)


def trace(x: Expr) -> Normal:
    """Return the trace of an expression, each word of which passes through a size of 1 and so is a number.

    Raises:
        ShapeError: if the expression is not square, or a word of it has no inner size of 1.
    """
    if x.rows != x.cols or len(x.rows) != 1:
        raise ShapeError(f"trace of {x}: expected a square matrix, got {shape(x)}")
    algebra, out = x.algebra, Cell()
    for (scalars, word), value in x._cells()[0][0].items():
        cut = next((i for i, atom in enumerate(word) if i and algebra._sizes(atom)[0] == "1"), None)
        if cut is None:
            raise ShapeError(f"trace of {x}: a word of it has no inner size of 1")
        more, rest = algebra._cut(word[cut:] + word[:cut])
        Algebra.add_to(out, (tuple(sorted((*scalars, *more, *([rest] if rest else [])))), ()), value)
    return Normal(algebra, [[algebra._rewritten(out)]], "1")


def equation(lhs: Expr, rhs: Expr) -> str:
    """Print an equation in TeX from the two sides that are checked."""
    return f"{lhs.tex()} = {rhs.tex()}"
