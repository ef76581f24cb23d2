"""A figure of the benchmark, its targets, and whether it meets them."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Result:
    """One figure.

    Args:
        name: what was measured.
        unit: of the values.
        values: one a repeat.
        median: the target of the median, None where there is none.
        p95: the target of the 95th percentile.
        note: what else was seen.
    """

    name: str
    unit: str
    values: list[float] = field(repr=False)
    median: float | None = None
    p95: float | None = None
    note: str = ""

    def percentile(self, percent: float) -> float:
        """Return a percentile of the values: the smallest that so many percent do not pass."""
        return sorted(self.values)[max(0, -(-len(self.values) * int(percent) // 100) - 1)]

    @property
    def met(self) -> bool:
        """Whether every target is met."""
        targets = ((self.median, statistics.median(self.values)), (self.p95, self.percentile(95)))
        return all(target is None or got <= target for target, got in targets)

    def line(self) -> str:
        """Return the row of the table."""
        targets = " / ".join("-" if x is None else f"{x:g}" for x in (self.median, self.p95))
        return (
            f"{self.name:<44} {len(self.values):>4} {statistics.median(self.values):>9.1f} {self.percentile(95):>9.1f} "
            f"{self.unit:<3} {targets:>11}  {'met' if self.met else 'MISSED'}  {self.note}"
        )
