"""The table of tokens: read a visitor's cells as table rows, and write a scenario as table rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from app.choice import TEXTS, TableRow
from gdn_core.lab import scenarios
from gdn_core.lab.scenarios import COLUMNS, Scenario


def rows(cells: Iterable[Mapping[str, Any]]) -> tuple[TableRow, ...]:
    """Return the table rows of a visitor's cells; cells may be blank, and blank rows are left out."""
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
    """Return the tokens of a scenario as table rows."""
    return rows(scenarios.table_of(scenario))
