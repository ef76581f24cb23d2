"""Noncommutative words of matrices: identities for every size, decided by a normal form.

A word is a product of letters: matrices of symbolic shape, possibly transposed. Assumptions are rewriting rules, such
as ``k' k -> kappa``. A normal form is a sum of words with coefficients in a polynomial ring over the integers, in which

* products are flattened and transposes moved to the letters; :mod:`derivations.engines.trees` has checked the shapes;
* a word is cut wherever an inner size is 1: the pieces between two cuts are numbers, which commute and equal their
  transposes, so they are sorted, and the transpose that sorts first is written;
* neighbouring diagonal letters are sorted, since they commute;
* the rules have been applied until none matches.

Every step is an identity of matrices, so two expressions of one normal form are equal whatever the sizes and entries.
The converse holds only if the rules are confluent: otherwise equal expressions may have different normal forms, and a
true identity is not proved.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from sympy.polys.domains import ZZ
from sympy.polys.rings import PolyElement, ring

from derivations.engines.notation import TEX, TEXT, Style, signed, transposed
from derivations.engines.polynomials import polynomial

Size = str  # the name of a size; "1" is the number
Atom = tuple[str, bool]  # a letter's name, and whether it is transposed
Word = tuple[Atom, ...]
Term = tuple[tuple[Word, ...], Word]  # the numbers in it, sorted, and the rest; () is the identity
Cell = dict[Term, PolyElement]


class RewriteError(RuntimeError):
    """Rewriting does not terminate."""


@dataclass(frozen=True)
class Declared:
    """A declared matrix.

    Args:
        name: its name in residuals.
        rows: its number of rows.
        cols: its number of columns.
        printed: its TeX.
        symmetric: it equals its transpose.
        diagonal: it commutes with the other diagonal letters.
    """

    name: str
    rows: Size
    cols: Size
    printed: str
    symmetric: bool
    diagonal: bool


class Words:
    """Declared letters and scalars, and the assumptions on them; sums of words are multiplied and rewritten here.

    Args:
        scalars: names of commuting scalars, in one string; an earlier one is rewritten into later ones by relations.
    """

    def __init__(self, scalars: str = "") -> None:
        names = scalars.split()
        self.ring = ring(names or ["_"], ZZ)[0]
        self.scalars = dict(zip(names, self.ring.gens, strict=False))
        self.letters: dict[str, Declared] = {}
        self.rules: list[tuple[Word, Cell]] = []
        self.relations: list[PolyElement] = []

    @staticmethod
    def add_to(cell: Cell, term: Term, value: PolyElement) -> None:
        """Add a term to a cell, in place."""
        total = cell[term] + value if term in cell else value
        if total:
            cell[term] = total
        else:
            cell.pop(term, None)

    def sizes(self, atom: Atom) -> tuple[Size, Size]:
        """Return the number of rows and of columns of an atom."""
        letter = self.letters[atom[0]]
        return (letter.cols, letter.rows) if atom[1] else (letter.rows, letter.cols)

    def _flipped(self, atom: Atom) -> Atom:
        name, transposed = atom
        return name, not (transposed or self.letters[name].symmetric)

    def transposed(self, word: Word) -> Word:
        """Return the transpose of a word."""
        return self._sorted(tuple(self._flipped(atom) for atom in reversed(word)))

    def transposed_cell(self, cell: Cell) -> Cell:
        """Return the transpose of a sum of words."""
        return {(scalars, self.transposed(word)): value for (scalars, word), value in cell.items()}

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

    def cut(self, word: Word) -> Term:
        """Separate the numbers from a word: the pieces between two inner sizes of 1."""
        if not word:
            return (), ()
        edges = [self.sizes(word[0])[0], *(self.sizes(atom)[1] for atom in word)]
        cuts = [i for i, size in enumerate(edges) if size == "1"]
        if len(cuts) < 2:
            return (), self._sorted(word)
        pieces = [self._sorted(word[i:j]) for i, j in pairwise(cuts)]
        rest = self._sorted(word[: cuts[0]]) + self._sorted(word[cuts[-1] :])
        return tuple(sorted(min(piece, self.transposed(piece)) for piece in pieces)), rest

    def product(self, left: Cell, right: Cell) -> Cell:
        """Multiply two sums of words."""
        out: Cell = {}
        for (s, x), a in left.items():
            for (t, y), b in right.items():
                scalars, word = self.cut(x + y)
                Words.add_to(out, (tuple(sorted(s + t + scalars)), word), a * b)
        return self.rewritten(out)

    def rewritten(self, cell: Cell) -> Cell:
        """Apply the rules until none matches, then the relations."""
        if self.rules:
            todo, out = dict(cell), Cell()
            for _ in range(100_000):
                if not todo:
                    break
                term, value = todo.popitem()
                replaced = self._rewrite_once(term)
                for new, factor in {term: self.ring.one}.items() if replaced is None else replaced.items():
                    Words.add_to(out if replaced is None else todo, new, value * factor)
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
                    more, rest = self.cut(piece[:at] + middle + piece[at + n :])
                    if i:  # the piece was a number, so its replacement is one
                        more, rest = (more if not rest else (*more, rest)), word
                    Words.add_to(out, (tuple(sorted((*kept, *inner, *more))), rest), value)
                return out
        return None


class Normal:
    """A normal form: truthy if it is not zero; prints as a residual."""

    def __init__(self, algebra: Words, cells: list[list[Cell]], one: str) -> None:
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

    def part(self, scalar: str, degree: int) -> Normal:
        """Return the coefficient of a power of a scalar, given by its name."""
        index = self.algebra.ring.gens.index(self.algebra.scalars[scalar])

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

    def __sub__(self, other: Normal) -> Normal:
        cells = [[dict(cell) for cell in row] for row in self.cells]
        for row, more in zip(cells, other.cells, strict=True):
            for cell, others in zip(row, more, strict=True):
                for term, value in others.items():
                    Words.add_to(cell, term, -value)
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
        printed = letter.printed if style is TEX else letter.name
        return transposed(printed, style) if atom[1] else printed
