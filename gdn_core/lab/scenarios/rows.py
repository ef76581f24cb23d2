"""Tokens as rows of a table.

Presets, text and tables are all made into rows first, one :class:`TokenRow` for each token. So every preset or text can
be shown and edited as a table.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

Cell = str | tuple[float, ...] | None  # a name, numbers, or nothing


@dataclass(frozen=True)
class TokenRow:
    """One token as a row of a table. A gate that is None comes from the settings.

    Args:
        key: a name, mapped to its unit vector, or dk numbers; None: no key, and nothing is written.
        value: a name, mapped to its unit vector, or dv numbers; None: v = 0, so that a delta rule only erases.
        query: a name or dk numbers, as for the key; None: the token's own key.
        alpha: decay, above 0 and at most 1.
        beta: erase gate, and write gate of the tied rules.
        write: write gate of the untied rules; None: this row's beta if it has one.
        delta: step of the discretised rules, 0 or more.
        label: the token's name; "": made from key and value.
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


# All gates closed: nothing is forgotten or written. Rules of constant gates ignore it.
SHUT = TokenRow(alpha=1.0, beta=0.0, write=0.0, delta=0.0)


def label_of(row: TokenRow) -> str:
    """Name a token by its key and value."""
    named = [short(cell) for cell in (row.key, row.value)]
    if row.key is None:
        return "nothing" if row.query is None else f"{short(row.query)}?"
    return named[0] if row.value is None else f"{named[0]} → {named[1]}"


def short(cell: Cell, most: int = 24) -> str:
    """Format a cell for a label, in at most ``most`` characters."""
    if not isinstance(cell, str):
        return "[...]"
    return cell if len(cell) <= most else f"{cell[: most - 1]}…"


def many(count: int, what: str) -> str:
    """Format a count with its noun, in the plural if need be: 1 token, 3 tokens."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
