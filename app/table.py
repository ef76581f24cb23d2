"""The table of tokens: what a visitor filled in, and a scenario as rows to edit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from app.choice import TEXTS, TableRow
from gdn_core.lab import scenarios
from gdn_core.lab.scenarios import COLUMNS, Scenario


def rows(cells: Iterable[Mapping[str, Any]]) -> tuple[TableRow, ...]:
    """Return the rows that a visitor filled in a table; a cell may be blank, and a blank row is left out."""
    filled = []
    for cell in cells:
        read: dict[str, Any] = {name: str(cell.get(name) or "").strip() for name in TEXTS}
        for name in COLUMNS:
            if name not in TEXTS:
                gate = cell.get(name)
                read[name] = None if gate is None or gate != gate else float(gate)
        row = TableRow(**read)
        if row != TableRow(label=row.label):
            filled.append(row)
    return tuple(filled)


def of(scenario: Scenario) -> tuple[TableRow, ...]:
    """Return the tokens of a scenario as the rows of a table to edit."""
    return rows(scenarios.table_of(scenario))
