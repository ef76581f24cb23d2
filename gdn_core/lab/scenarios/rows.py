"""Tokens as rows of a table.

Presets, text and table all come down to rows, a :class:`TokenRow` a token: what a preset or a text does can be read,
and edited, as a table.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

Cell = str | tuple[float, ...] | None  # a name, numbers, or nothing


@dataclass(frozen=True)
class TokenRow:
    """One token, as a table has it; None in a gate: what the settings say.

    Args:
        key: a name, whose key is its direction, or dk numbers; None: no key, and nothing is written.
        value: a name, whose value is its direction, or dv numbers; None: v = 0, so that a delta rule only erases.
        query: what the token asks for, as a key; None: its own key.
        alpha: decay, above 0 and at most 1.
        beta: erase gate, and write gate of the tied rules.
        write: write gate of the untied rules; None: this row's beta if it has one.
        delta: step of the discretised rules, 0 or more.
        label: what the token is called; "": made of key and value.
    """

    key: Cell = None
    value: Cell = None
    query: Cell = None
    alpha: float | None = None
    beta: float | None = None
    write: float | None = None
    delta: float | None = None
    label: str = ""


#: The columns of a table of tokens.
COLUMNS = tuple(field.name for field in fields(TokenRow))


# Every gate shut: nothing is forgotten or written, but by rules whose gates cannot follow the token.
SHUT = TokenRow(alpha=1.0, beta=0.0, write=0.0, delta=0.0)


def label_of(row: TokenRow) -> str:
    """Name a token by its key and value."""
    named = [short(cell) for cell in (row.key, row.value)]
    if row.key is None:
        return "nothing" if row.query is None else f"{short(row.query)}?"
    return named[0] if row.value is None else f"{named[0]} → {named[1]}"


def short(cell: Cell, most: int = 24) -> str:
    """Name a cell in a label, in no more than so many characters."""
    if not isinstance(cell, str):
        return "[...]"
    return cell if len(cell) <= most else f"{cell[: most - 1]}…"


def many(count: int, what: str) -> str:
    """Say how many."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
