"""Run a Python file of cells, and write it as Markdown with its output.

The file is plain Python in the percent format that editors and Jupytext know: ``# %%`` begins a cell of code,
``# %% [markdown]`` one of text in comments. As in a notebook, the value of a cell's last expression is shown.
"""

from __future__ import annotations

import ast
import contextlib
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Colours of a Plotly figure that are legible on a light and on a dark page.
GROUND, INK, GRID = "rgba(0, 0, 0, 0)", "#808080", "rgba(128, 128, 128, 0.25)"
PAGE: dict[str, Any] = {
    "template": "none",
    "paper_bgcolor": GROUND,
    "plot_bgcolor": GROUND,
    "font": {"color": INK},
    "height": 380,
    "margin": {"t": 48, "l": 56, "r": 12, "b": 56},
    "xaxis": {"gridcolor": GRID, "linecolor": GRID, "zerolinecolor": GRID},
    "yaxis": {"gridcolor": GRID, "linecolor": GRID, "zerolinecolor": GRID},
    "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "title": {"text": ""}},
    "coloraxis": {"colorbar": {"orientation": "h", "y": -0.3, "yanchor": "top", "thickness": 12}},
}


@dataclass(frozen=True)
class Cell:
    """A cell: text, or code.

    Args:
        kind: "markdown" or "code".
        body: the text without its comment signs, or the code.
        line: where it begins in the file.
    """

    kind: str
    body: str
    line: int


def cells(source: str) -> list[Cell]:
    """Split a file into cells; lines before the first cell are ignored."""
    found = []
    marks = list(re.finditer(r"^# %%(.*)\n", source, flags=re.MULTILINE))
    for mark, following in zip(marks, [*marks[1:], None], strict=True):
        body = source[mark.end() : following.start() if following else len(source)].rstrip("\n")
        line = source.count("\n", 0, mark.end()) + 1 + len(body) - len(body.lstrip("\n"))
        body = body.lstrip("\n")
        if "[markdown]" in mark[1]:
            found.append(Cell("markdown", re.sub(r"^# ?", "", body, flags=re.MULTILINE), line))
        else:
            found.append(Cell("code", body, line))
    return found


def run(cell: Cell, names: dict[str, Any], file: str) -> tuple[str, Any]:
    """Run a cell of code.

    Args:
        cell: the cell.
        names: the namespace of the cells before, which the cell extends.
        file: the file's name, for tracebacks.

    Returns:
        The printed text, and the value of the last expression, or None.
    """
    tree = ast.parse("\n" * (cell.line - 1) + cell.body, filename=file)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    value = None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, file, "exec"), names)  # noqa: S102 - a file of this project
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), file, "eval"), names)  # noqa: S307 - the same file
    return printed.getvalue(), value


def markdown(path: Path) -> str:
    """Run every cell of a file, and print the file as Markdown with the output under each cell.

    Raises:
        Exception: any exception of a cell.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    lines = []
    for cell in cells(path.read_text(encoding="utf-8")):
        if cell.kind == "markdown":
            lines += [cell.body, ""]
            continue
        printed, value = run(cell, names, str(path))
        lines += ["```python", cell.body, "```", ""]
        if printed:
            lines += ["```{code-block} text", ":class: output", "", printed.rstrip("\n"), "```", ""]
        if value is not None:
            lines += [_shown(value), ""]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    if hasattr(value, "to_plotly_json"):
        inside = value.update_layout(PAGE).to_html(
            full_html=False, include_plotlyjs=False, config={"displayModeBar": False, "responsive": True}
        )
        return f"```{{raw}} html\n{inside}\n```"
    if hasattr(value, "_repr_latex_"):
        return f"```{{math}}\n{value._repr_latex_().strip('$').removeprefix(chr(92) + 'displaystyle').strip()}\n```"
    return f"```{{code-block}} text\n:class: output\n\n{value}\n```"
