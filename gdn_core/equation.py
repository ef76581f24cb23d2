"""Print the equation of a rule by running the reference on letters instead of numbers.

:func:`gdn_core.reference.step` is called on a memory and a token whose entries are letters (named symbols). The result
is a sum of words (products of letters), which :func:`tex` prints. No equation is typed by hand: a change of the step
changes every page.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from gdn_core import integrators, ssm
from gdn_core.reference import Token, step
from gdn_core.rules import Clock, Discretisation, Features, Gate, WriteRule

Values = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Letter:
    """A factor of a word: how it prints, and what it is in numbers, as a matrix (a scalar is 1 x 1)."""

    tex: str
    value: Callable[[Values], np.ndarray]
    kind: str = "matrix"  # scalar, column, row, diagonal or matrix

    @property
    def transposed(self) -> Letter:
        """The transpose: a column becomes a row; a scalar or a diagonal is its own."""
        if self.kind != "column":
            return self
        return Letter(self.tex + r"^\top", lambda values: self.value(values).T, "row")


Word = tuple[Letter, ...]


@dataclass(frozen=True)
class Words:
    """A sum of signed words: a matrix or a vector, with the operations that the step uses."""

    terms: tuple[tuple[int, Word], ...]
    entrywise: Letter | None = None  # a gate on every entry of the outer product that this vector becomes part of

    def __add__(self, other: Words) -> Words:
        return Words(self.terms + other.terms)

    def __sub__(self, other: Words) -> Words:
        return Words(self.terms + tuple((-sign, word) for sign, word in other.terms))

    def __matmul__(self, other: Words) -> Words:
        return Words(tuple((s * t, a + b) for s, a in self.terms for t, b in other.terms))

    def __mul__(self, other: Words) -> Words:
        """Multiply a column by a row, entry by entry: the outer product."""
        outer = self @ other
        return (
            Words(tuple((s, (_hadamard(other.entrywise, word),)) for s, word in outer.terms))
            if other.entrywise
            else outer
        )

    def __getitem__(self, index: tuple[slice | None, slice | None]) -> Words:
        """Make a vector a column, ``[:, None]``, or a row, ``[None, :]``."""
        if index[1] is None:
            return self
        return Words(tuple((s, tuple(a.transposed for a in reversed(w))) for s, w in self.terms), self.entrywise)

    def value(self, values: Values) -> np.ndarray:
        """Evaluate the sum on numbers: a matrix for each name, vectors as columns, scalars 1 x 1."""
        return sum((sign * _product(word, values) for sign, word in self.terms), start=np.zeros((1, 1)))


@dataclass(frozen=True)
class GateLetter:
    """A gate that multiplies the memory or a vector."""

    name: str
    tex: str
    width: Gate
    absent: int = 1  # the value of an absent gate: 1, or 0 for the erase gate

    def __mul__(self, other: Words) -> Words:
        if self.width is Gate.NONE:
            return other if self.absent else Words(())
        if self.width is Gate.SCALAR:
            scalar = Letter(self.tex, lambda values: values[self.name], "scalar")
            return Words(tuple((sign, (scalar, *word)) for sign, word in other.terms))
        if self.width is Gate.MATRIX:
            entries = Letter(self.tex, lambda values: values[self.name])
            return Words(tuple((sign, (_hadamard(entries, word),)) for sign, word in other.terms))
        diagonal = Letter(self.tex, lambda values: np.diagflat(values[self.name]), "diagonal")
        if self.width is Gate.KEY and other.terms[0][1][0].kind == "matrix":  # key channels are the memory's columns
            return Words(tuple((sign, (*word, diagonal)) for sign, word in other.terms))
        return Words(tuple((sign, (diagonal, *word)) for sign, word in other.terms))


def _product(word: Word, values: Values) -> np.ndarray:
    """Multiply the letters of a word: scalars commute, matrices keep their order."""
    total = np.eye(1)
    for letter in word:
        value = letter.value(values)
        total = total * value if letter.kind == "scalar" or total.shape == (1, 1) else total @ value
    return total


def _hadamard(gate: Letter, word: Word) -> Letter:
    inner = rf"\left({_print(word)}\right)" if len(word) > 1 else word[0].tex
    return Letter(rf"{gate.tex} \odot {inner}", lambda values: gate.value(values) * _product(word, values))


def _print(word: Word) -> str:
    """Print a word: scalars first, a diagonal before a column as an entrywise product, other diagonals by name."""
    scalars = [a.tex for a in word if a.kind == "scalar"]
    letters = [a for a in word if a.kind != "scalar"]
    printed = []
    while letters:
        a = letters.pop(0)
        if a.kind == "diagonal" and letters and letters[0].kind == "column":
            printed.append(rf"({a.tex} \odot {letters.pop(0).tex})")
        else:
            printed.append(rf"\operatorname{{diag}}({a.tex})" if a.kind == "diagonal" else a.tex)
    return " ".join(scalars + printed)


def letters(rule: WriteRule) -> tuple[Words, Token]:
    """Return the memory S_{t-1} and one token of the rule, made of letters instead of numbers."""
    t = "" if rule.clock is Clock.FIXED else "_t"
    mapped = (lambda name: rf"\phi({name})") if rule.features is not Features.IDENTITY else (lambda name: name)
    decay = r"\bar A" if rule.discretisation else r"\gamma" if rule.clock is Clock.FIXED else r"\alpha"
    own = (r"\theta" if rule.integrator else r"\beta",) * 2
    erase, write = own if rule.tied else ("b", "w")

    def vector(name: str, tex: str, entrywise: Letter | None = None) -> Words:
        return Words(((1, (Letter(tex, lambda values: values[name], "column"),)),), entrywise)

    by_row = rule.write is Gate.MATRIX  # exact ZOH: the write gate is part of the keys, one for each value channel
    each = Letter(rf"\bar B{t}", lambda values: values["w"]) if by_row else None
    return Words(((1, (Letter("S_{t-1}", lambda values: values["S"]),)),)), Token(
        q=vector("q", mapped("q_t")),
        k=vector("k", mapped("k_t"), each),
        v=vector("v", "v_t"),
        g=GateLetter("alpha", decay + t, rule.decay),
        b=GateLetter("b", erase + t, rule.erase, absent=0),
        w=GateLetter("w", (r"\Delta" if rule.discretisation else write) + t, Gate.NONE if by_row else rule.write),
    )


def written(rule: WriteRule) -> tuple[Words, Words]:
    """Run the step on letters.

    Returns:
        The new memory and the output, as sums of words. The decay letter stands for exp(g).
    """
    S, x = letters(rule)
    return step(S, x, exp=lambda gate: gate)


def tex(rule: WriteRule) -> str:
    r"""Print the write rule of a member of the family.

    >>> from gdn_core.rules import GATED_DELTANET
    >>> print(tex(GATED_DELTANET))
    S_t = \alpha_t S_{t-1} \left(I - \beta_t k_t k_t^\top\right) + \beta_t v_t k_t^\top
    """
    return printed(written(rule)[0])


def printed(memory: Words) -> str:
    """Print a new memory: what is kept of the old one, times what the token does to it, and what is added."""
    (_, kept), *rest = memory.terms
    core = tuple(a for a in kept if a.kind != "scalar")
    transition, added = "", ""
    for sign, word in rest:
        noncommuting = tuple(a for a in word if a.kind != "scalar")
        scalars = [a for a in word if a.kind == "scalar" and a not in kept]
        if noncommuting[: len(core)] == core and set(kept) <= set(word):  # the decayed memory, times what is taken away
            transition += f" {'-' if sign < 0 else '+'} {_print((*scalars, *noncommuting[len(core) :]))}"
        else:
            added += f" {'-' if sign < 0 else '+'} {_print(word)}"
    bracket = rf" \left(I{transition}\right)" if transition else ""
    return f"S_t = {_print(kept)}{bracket}{added}"


def tex_output(rule: WriteRule) -> str:
    r"""Print how the rule reads its memory; a normalised rule divides by its last row, the sum of the keys.

    >>> from gdn_core.rules import LINEAR_ATTENTION
    >>> print(tex_output(LINEAR_ATTENTION))
    o_t = S_t q_t
    """
    key, query = (word[0].tex for word in (letters(rule)[1].k.terms[0][1], letters(rule)[1].q.terms[0][1]))
    if rule.normalised:
        return rf"o_t = \frac{{S_t {query}}}{{z_t^\top {query}}}, \quad z_t = z_{{t-1}} + {key}"
    return f"o_t = S_t {query}"


def tex_gates(rule: WriteRule) -> str | None:
    """Print the gates of a rule that makes them, by running :mod:`gdn_core.ssm` or the integrators on letters.

    Returns:
        TeX; None for a rule whose gates are free.
    """
    t = "" if rule.clock is Clock.FIXED else "_t"
    if rule.integrator:
        beta, kappa, decay = Formula(rf"\beta{t}"), Formula(rf"\kappa{t}"), Formula(rf"\log \alpha{t}")
        g = 0 if rule.decay is Gate.NONE else decay
        erase, write = integrators.gates(rule.integrator, beta, kappa, g, phi1=_phi1)
        made = [rf"\theta{t} = {erase.tex}"] if rule.tied else [rf"b{t} = {erase.tex}", rf"w{t} = {write.tex}"]
        return r", \quad ".join([*made, rf"{kappa.tex} = k{t}^\top k{t}"])
    if not rule.discretisation:
        return None
    A, delta = Formula("A"), Formula(rf"\Delta{t}")
    if rule.discretisation is Discretisation.MAMBA:  # its factor, Delta, stands in the rule itself
        return rf"\bar A{t} = {ssm.mamba(A, delta, exp=_exp)[0].tex}"
    decay, factor = ssm.zoh(A, delta, exp=_exp, phi1=_phi1)
    return rf"\bar A{t} = {decay.tex}, \quad \bar B{t} = {factor.tex}"


_GREEK = {"alpha": "α", "beta": "β", "gamma": "γ", "theta": "θ", "kappa": "κ", "phi": "φ", "Delta": "Δ"}
_SIGNS = {rf"\\{name}(?![A-Za-z])": letter for name, letter in _GREEK.items()} | {
    r"\\operatorname\{(\w+)\}": r"\1",
    r"\\frac\{([^{}]*)\}\{([^{}]*)\}": r"(\1) / (\2)",
    r"\\bar (\w)": "\\1\u0304",
    r"\\odot": "∘",
    r"\\(left|right|quad)(?![A-Za-z])": "",
    r"\\(exp|log)": r"\1",
    r"\^\\top": "ᵀ",
    r"_\{t-1\}": "ₜ₋₁",
    "_t": "ₜ",
    "-": "−",
}


def text(printed: str) -> str:
    r"""Write what :func:`tex`, :func:`tex_gates` and :func:`tex_output` print in letters that need no typesetting.

    >>> from gdn_core.rules import GATED_DELTANET
    >>> print(text(tex(GATED_DELTANET)))
    Sₜ = αₜ Sₜ₋₁ (I − βₜ kₜ kₜᵀ) + βₜ vₜ kₜᵀ
    """
    for pattern, sign in _SIGNS.items():
        printed = re.sub(pattern, sign, printed)
    return unicodedata.normalize("NFC", " ".join(printed.split()))


@dataclass(frozen=True)
class Formula:
    """A formula in letters, on which the discretisations and integrators run.

    Args:
        tex: its TeX.
        loose: it is a sum, which a product puts in brackets.
        of: what it is the negative of, if it is one.
    """

    tex: str
    loose: bool = False
    of: Formula | None = None

    def __mul__(self, other: Formula) -> Formula:
        return Formula(f"{self.factor} {other.factor}")

    def __radd__(self, other: int) -> Formula:
        return Formula(f"{other} + {self.tex}", loose=True)

    def __sub__(self, other: Formula | int) -> Formula:
        return Formula(f"{self.tex} - {other.factor}", loose=True) if isinstance(other, Formula) else self

    def __neg__(self) -> Formula:
        return Formula(f"-{self.factor}", of=self)

    def __truediv__(self, other: Formula) -> Formula:
        return Formula(rf"\frac{{{self.tex}}}{{{other.tex}}}")

    @property
    def factor(self) -> str:
        """The formula as a factor."""
        return f"({self.tex})" if self.loose else self.tex


def _exp(z: Formula) -> Formula:
    return Formula(rf"\exp({z.tex})")


def _phi1(z: Formula) -> Formula:
    """Print (exp(z) - 1) / z, and of a negative -y the same as (1 - exp(-y)) / y."""
    if z.of is None:
        return Formula(rf"\frac{{{_exp(z).tex} - 1}}{{{z.tex}}}")
    return Formula(rf"\frac{{1 - {_exp(z).tex}}}{{{z.of.tex}}}")
