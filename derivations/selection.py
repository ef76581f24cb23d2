"""Which claims a call selects: by name, or by an expression of words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence

from derivations.claim import Claim
from derivations.registry import load
from derivations.subjects import RENAMED


class Wrong(ValueError):
    """A call with wrong arguments; the message says what is wrong."""


def selected(names: Sequence[str], expression: str | None) -> list[str]:
    """Return the names of the selected claims, in the order of the subjects.

    Raises:
        Wrong: if there is no claim of a name, the expression is malformed, or nothing is selected.
    """
    claims = load()
    names = [RENAMED.get(name, name) for name in names]
    for name in names:
        if name not in claims:
            near = difflib.get_close_matches(name, claims, n=3)
            raise Wrong(f"{name}: no claim has this name" + (f"; did you mean {', '.join(near)}?" if near else ""))
    holds = matcher(expression) if expression is not None else lambda text: True
    found = [name for name, made in claims.items() if (not names or name in names) and holds(_searched(made))]
    if not found:
        raise Wrong(f"-k {expression}: no claim matches" if expression is not None else "there are no claims")
    return found


def _searched(made: Claim) -> str:
    return " ".join([made.name, made.module, made.subject, *(step.engine for step in made.steps)]).lower()


def matcher(expression: str) -> Callable[[str], bool]:
    """Read an expression of words, ``and``, ``or``, ``not`` and parentheses; a word holds where the text contains it.

    Raises:
        Wrong: if the expression is malformed.
    """
    left = re.findall(r"[()]|[^\s()]+", expression.lower())

    def disjunction() -> Callable[[str], bool]:
        terms = [conjunction()]
        while left and left[0] == "or":
            left.pop(0)
            terms.append(conjunction())
        return lambda text: any(term(text) for term in terms)

    def conjunction() -> Callable[[str], bool]:
        terms = [negation()]
        while left and left[0] == "and":
            left.pop(0)
            terms.append(negation())
        return lambda text: all(term(text) for term in terms)

    def negation() -> Callable[[str], bool]:
        word = left.pop(0) if left else ""
        if word == "not":
            inner = negation()
            return lambda text: not inner(text)
        if word == "(":
            inner = disjunction()
            if not left or left.pop(0) != ")":
                raise Wrong(f"-k {expression}: expected a closing parenthesis")
            return inner
        if word in ("", ")", "and", "or"):
            raise Wrong(f"-k {expression}: expected a word, got {word or 'the end'}")
        return lambda text: word in text

    found = disjunction()
    if left:
        raise Wrong(f"-k {expression}: expected 'and' or 'or' before {left[0]}")
    return found
