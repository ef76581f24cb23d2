"""Errata: formulas that are printed wrong, each with a counterexample and the claims that prove the right one.

An entry is data, beside the claim that checks it, in a file of its own in :mod:`derivations.claims.errata`. The claim
checks the numbers of both formulas, their difference in letters, and that the right formula is the code. If a source is
named, the wrong formula was read there. A wrong formula without a single source is described without one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from derivations.claim import Claim
from derivations.engines.cases import Case, symbols
from derivations.engines.polynomials import factored
from derivations.engines.trees import ShapeError
from derivations.models.gated_chunk import SCALARS
from derivations.registry import claim, load
from derivations.scope import Counterexample
from gdn_core.reference import Token
from gdn_core.rules import GATED_DELTANET, Source


@dataclass(frozen=True)
class Erratum:
    """A formula that is printed wrong.

    Args:
        title: the fault, in a sentence.
        printed: the wrong formula in TeX, as published. The right one is printed from its proof.
        seen: where the wrong formula was read.
        numbers: the counterexample: the letters of one scalar memory, one entry a token.
        gives: the result of the wrong formula.
        should_give: the result of the right formula.
        compared: the quantity that the two results are.
        proved_by: the claims that prove the right formula.
        note: a remark for readers.
    """

    title: str
    printed: str
    seen: tuple[Source, ...]
    numbers: dict[str, tuple[Fraction, ...]]
    gives: str
    should_give: str
    compared: str
    proved_by: tuple[str, ...]
    note: str = ""


def scalars(**letters: tuple[int | Fraction, ...]) -> dict[str, tuple[Fraction, ...]]:
    """Return the letters of one scalar memory as fractions, one entry a token."""
    return {name: tuple(Fraction(value) for value in values) for name, values in letters.items()}


TWO_TOKENS = scalars(s=(1,), a=(Fraction(1, 2), Fraction(1, 4)), b=(1, Fraction(1, 2)), k=(1, 2), v=(3, 5), q=(1, 1))
ONE_TOKEN = scalars(s=(1,), a=(Fraction(1, 2),), b=(1,), k=(1,), v=(3,), q=(1,))

OWN_FORMULA = Source("no single place", "the formula circulates; it is described here and pinned on nobody")
Numbers = Callable[[], tuple[Any, Any]]  # the results of the printed and of the right formula
_ENTRIES: dict[str, Erratum] = {}  # by the name of the claim that checks the entry


def errata() -> dict[str, Erratum]:
    """Return every erratum by the name of the claim that checks it."""
    load()
    return dict(_ENTRIES)


def erratum(
    entry: Erratum,
    numbers: Numbers,
    right: Callable[[], str],
    difference: Callable[[], Any] | None = None,
    *,
    code: tuple[Any, ...] = (),
) -> Callable[[Callable[[], Any]], Claim]:
    """Register the claim of an entry: its numbers are the results of the two formulas.

    Args:
        entry: the formula, where it is printed, and its counterexample.
        numbers: computes the results of the printed and of the right formula.
        right: prints the right formula from what is checked.
        difference: computes the right formula less the printed one in letters, if both are polynomials.
        code: the functions that the claim's steps run.
    """

    def statement() -> str:
        parts = [rf"\text{{printed: }} {entry.printed}", rf"\text{{right: }} {right()}"]
        if difference:
            parts.append(rf"\text{{right less printed:}} \quad {factored(difference(), SCALARS)}")
        else:
            parts.append(r"\text{{in numbers: {1} instead of {0}}}".format(*numbers()))
        return r", \qquad ".join(parts)

    def register(run: Callable[[], Any]) -> Claim:
        _ENTRIES[run.__name__] = entry
        return claim(
            statement=statement,
            assumptions=tuple(f"{text}." for text in (entry.title.rstrip("."), entry.note.rstrip(".")) if text),
            scope=Counterexample(_numbers(entry)),
            engine="exact",
            source=entry.seen[0] if entry.seen else OWN_FORMULA,
            code=code,
            uses=entry.proved_by,
        )(run)

    return register


def _numbers(entry: Erratum) -> str:
    letters = ", ".join(f"{name} = {' '.join(map(str, values))}" for name, values in entry.numbers.items())
    at = f" at {letters}" if letters else ""
    return f"{entry.compared} is {entry.gives} and should be {entry.should_give}{at}"


def against(entry: Erratum, numbers: Numbers) -> list[str]:
    """Compare the results of both formulas with those in the entry: a sentence for each that differs, else ""."""
    said = (entry.gives, entry.should_give)
    return [
        f"{what} formula gives {found}, the entry says {wanted}" if str(found) != wanted else ""
        for what, found, wanted in zip(("the printed", "the right"), numbers(), said, strict=True)
    ]


def in_numbers(entry: Erratum) -> Case:
    """Return the scalar memory and the tokens of an entry, in fractions; decays must be powers of two."""
    numbers = entry.numbers
    columns = {letter: np.array([[number] for number in numbers[letter]], dtype=object) for letter in "qkvb"}
    logs = [[[1 - decay.denominator.bit_length()]] for decay in numbers["a"]]
    x = Token(**columns, g=np.array(logs, dtype=object), w=columns["b"])
    power = np.frompyfunc(lambda log: Fraction(2) ** int(log), 1, 1)
    return Case(np.array([list(numbers["s"])], dtype=object), x, power, np.stack, lambda left, right: left - right)


def in_letters(T: int) -> Case:
    """Return a scalar memory and its tokens under the gated delta rule, as letters."""
    return symbols(GATED_DELTANET, T, 1, 1)


def entries(case: Case) -> dict[str, list[Any]]:
    """Return the entries of a scalar case by name, one a token; s is the memory."""
    x = case.x
    found = {"k": x.k[:, 0], "q": x.q[:, 0], "v": x.v[:, 0], "b": x.b[:, 0], "a": case.exp(x.g)[:, 0, 0]}
    return {"s": [case.S[0, 0]], **{name: list(column) for name, column in found.items()}}


def fits(build: Callable[[], Any]) -> bool:
    """Tell whether an expression has shapes that fit, for every size."""
    try:
        build()
    except ShapeError:
        return False
    return True
