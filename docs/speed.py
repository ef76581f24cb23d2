"""Write the README's timings, and draw their chart, from the measurements in ``docs/speed.json``.

``python -m docs.speed`` writes what stands between the two marks in the README, and the chart; a test compares both.
``python -m docs.speed REPORT ...`` first takes the measurements from reports of ``python -m gdn_core.bench --json``.
They are of one card.
"""

from __future__ import annotations

import datetime
import json
import math
import sys
import textwrap
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CHART = HERE / "pictures" / "speed.svg"
README = HERE.parent / "README.md"
MARKS = ("<!-- timings: written by python -m docs.speed -->", "<!-- end of timings -->")
LABELS, PLOT, ROW, EDGE = 178, 210, 21, 12  # pixels: the names of the rows, the axis, a row, and around them
LOWEST, HIGHEST = 0.6, 6.0  # of the ratio
TICKS = (0.67, 1.0, 1.5, 2.0, 3.0, 5.0)
# What a case does, which of its times, the other library and its package, and the title.
TABLES = (
    ("forward", "median", "flashinfer", "flashinfer-python", "Forward, replayed as a CUDA graph"),
    ("forward", "eager", "flashinfer", "flashinfer-python", "Forward, called eagerly"),
    ("decode", "median", "flashinfer", "flashinfer-python", "Decode one token, replayed as a CUDA graph"),
    ("both", "median", "flash-qla", "flash-qla", "Forward and backward, replayed as a CUDA graph"),
    ("both", "eager", "flash-qla", "flash-qla", "Forward and backward, called eagerly"),
)
NAMES = {"flashinfer": "FlashInfer", "flash-qla": "FlashQLA"}
STYLE = """
  text { font: 13px -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; fill: #1f2328; }
  .soft { fill: #59636e; font-size: 12px; } .head { font-weight: 600; }
  .grid { stroke: #d1d9e0; } .one { stroke: #59636e; } .ahead { fill: #1b5fa6; } .behind { fill: #d06a1c; }
  .stem { stroke-width: 2; } .stem.ahead { stroke: #1b5fa6; } .stem.behind { stroke: #d06a1c; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; } .soft { fill: #9198a1; } .grid { stroke: #3d444d; } .one { stroke: #9198a1; }
    .ahead { fill: #5aa8ee; } .behind { fill: #ef9546; }
    .stem.ahead { stroke: #5aa8ee; } .stem.behind { stroke: #ef9546; }
  }
"""


@dataclass(frozen=True)
class Row:
    """One shape, timed here and in another library in the same run.

    Args:
        tokens: the batch and the tokens, or the packed lengths.
        heads: heads of queries and keys / heads of values, or "".
        ours: milliseconds here, with the digits that were measured.
        other: milliseconds of the other library.
        host: milliseconds until an eager call here returns, or "".
    """

    tokens: str
    heads: str
    ours: str
    other: str
    host: str = ""

    @property
    def ratio(self) -> float:
        """Time here, relative to the other's: below 1 is ahead."""
        return float(self.ours) / float(self.other)

    @property
    def name(self) -> str:
        """The shape in words."""
        return f"{self.tokens}, {self.heads}" if self.heads else self.tokens


def measured() -> dict[str, Any]:
    """Read the measurements."""
    found: dict[str, Any] = json.loads((HERE / "speed.json").read_text(encoding="utf-8"))
    for table in found["tables"]:
        table["rows"] = [Row(*row) for row in table["rows"]]
    return found


def taken(reports: list[dict[str, Any]], date: str) -> dict[str, Any]:
    """Return the measurements in reports, as ``docs/speed.json`` has them; a case is a row where both were timed.

    Raises:
        ValueError: if the reports are of several cards.
    """
    cards = {report["machine"]["device"] for report in reports}
    if len(cards) != 1:
        raise ValueError(f"expected reports of one card, got {sorted(cards)}")
    made = []
    for what, measure, library, package, title in TABLES:
        rows = []
        for report in reports:
            for result in report["results"]:
                case = result["case"]
                times = {x["runner"]: x[measure] for x in result["times"]}
                named = case.get("rule", "gated_delta_rule") == "gated_delta_rule" and case["what"] == what
                if named and all(times.get(name) is not None for name in ("gdn_core", library)):
                    host = [x["host"] for x in result["times"] if x["runner"] == "gdn_core" and measure == "eager"]
                    numbers = [*(times[name] for name in ("gdn_core", library)), *host]
                    rows.append([_tokens(case), f"{case['H']}/{case['HV']}", *(f"{x:.3f}" for x in numbers)])
        versions = {report["machine"].get(package) for report in reports} - {None}
        if rows:
            rows.sort(key=lambda row: float(row[2]) / float(row[3]))
            other = f"{NAMES[library]} {', '.join(sorted(versions))}"
            made.append({"title": title, "ours": "here", "other": other, "rows": rows})
    return {
        "card": cards.pop(), "date": date, "commit": reports[0]["machine"]["commit"], "dtype": "bfloat16",
        "channels": "K = V = 128", "unit": "ms", "runs": len(reports), "tables": made,
    }  # fmt: skip


def _tokens(case: dict[str, Any]) -> str:
    lengths = case["lengths"]
    if not lengths:
        return f"{case['B']} x {case['T']}"
    return "packed " + (
        f"{len(lengths)} x {lengths[0]}" if len(set(lengths)) == 1 else " + ".join(str(n) for n in lengths)
    )


def summary() -> str:
    """Say on what was measured, and in how many rows of each table this project is ahead."""
    found = measured()
    of = f"One {found['card']}, {found['date']}, commit `{found['commit']}`, {found['dtype']}, {found['channels']}, "
    runs = "one run" if found["runs"] == 1 else f"{found['runs']} runs"
    of += f"Gated DeltaNet, in {runs}. "
    of += "Rows in which this project is ahead:"
    lines = [*textwrap.wrap(of, 118), ""]
    for table in found["tables"]:
        ahead = sum(row.ratio < 1 for row in table["rows"])
        lines.append(f"- {table['title']}, beside {table['other']}: {ahead} of {len(table['rows'])}")
    return "\n".join(lines)


def tables() -> str:
    """Return the timings as Markdown, a narrow table each, the faster of the two in bold."""
    found = measured()
    lines = []
    for table in found["tables"]:
        host = any(row.host for row in table["rows"])
        lines += [f"**{table['title']}**, {found['unit']}:", ""]
        lines += [f"| B x T, heads | {table['ours']} | {table['other']} |" + (" host here |" if host else "")]
        lines += ["|---|---:|---:|" + ("---:|" if host else "")]
        for row in table["rows"]:
            cells = [row.ours, row.other]
            faster = 0 if row.ratio < 1 else 1
            cells[faster] = f"**{cells[faster]}**"
            lines.append(f"| {row.name} | {' | '.join([*cells, *([row.host] if host else [])])} |")
        lines.append("")
    return "\n".join(lines)


def written(readme: str) -> str:
    """Return the README with the measured timings between its two marks."""
    before, rest = readme.split(MARKS[0])
    _, after = rest.split(MARKS[1])
    return f"{before}{MARKS[0]}\n\n{summary()}\n\n{tables()}\n{MARKS[1]}{after}"


def chart() -> str:
    """Draw the ratio of every row on one logarithmic axis, as SVG that follows the reader's light or dark theme."""
    found = measured()
    width = EDGE + LABELS + PLOT + 56

    def x(ratio: float) -> float:
        return EDGE + LABELS + PLOT * math.log(ratio / LOWEST) / math.log(HIGHEST / LOWEST)

    y = 20.0
    drawn = [f'<text x="{EDGE}" y="{y}" class="soft">Time here / time of the other. Left of 1 is ahead.</text>']
    for table in found["tables"]:
        y += 30
        drawn.append(f'<text x="{EDGE}" y="{y}" class="head">{escape(table["title"])}</text>')
        y += 18
        drawn.append(f'<text x="{EDGE}" y="{y}" class="soft">other: {escape(table["other"])}</text>')
        top, bottom = y - 6, y + 8 + ROW * len(table["rows"])
        for tick in TICKS:
            of = "one" if tick == 1 else "grid"
            drawn.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{top}" y2="{bottom}" class="{of}"/>')
            drawn.append(f'<text x="{x(tick):.1f}" y="{bottom + 13}" class="soft" text-anchor="middle">{tick:g}</text>')
        for row in table["rows"]:
            y += ROW
            side = "ahead" if row.ratio < 1 else "behind"
            drawn += [
                f'<text x="{EDGE}" y="{y}">{escape(row.name)}</text>',
                f'<line x1="{x(1):.1f}" x2="{x(row.ratio):.1f}" y1="{y - 4}" y2="{y - 4}" class="stem {side}"/>',
                f'<circle cx="{x(row.ratio):.1f}" cy="{y - 4}" r="4.5" class="{side}"/>',
                f'<text x="{width - EDGE}" y="{y}" text-anchor="end">{row.ratio:.2f}</text>',
            ]
        y = bottom + 16
    title = f"Time here relative to others, on one {found['card']}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y + EDGE:.0f}" width="{width}" '
        f'height="{y + EDGE:.0f}" role="img" aria-label="{escape(title)}">\n<style>{STYLE}</style>\n'
        + "\n".join(drawn)
        + "\n</svg>\n"
    )


def main(arguments: list[str] | None = None) -> int:
    """Take the measurements of reports, if any are named; draw the chart, and write the README."""
    named = sys.argv[1:] if arguments is None else arguments
    if named:
        reports = [json.loads(Path(name).read_text(encoding="utf-8")) for name in named]
        found = taken(reports, datetime.date.today().isoformat())
        (HERE / "speed.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    CHART.write_text(chart(), encoding="utf-8")
    README.write_text(written(README.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
