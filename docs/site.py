"""Build the site of reference and tutorial: ``./run docs``.

The claims are checked first, so that each is shown with its verdict. Sphinx then builds the site from the docstrings,
the generated pages and ``docs/source``. Every warning is an error: a broken link, a reference to a missing name, a
public name without a docstring. The site loads nothing from other servers.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import plotly.offline

from docs import cells, pages

HERE = Path(__file__).parent
PLOTLY = '```{raw} html\n<script src="_static/plotly.min.js"></script>\n```\n\n'  # before the pictures that use it
BUILD = pages.ROOT / "build"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 if the site was built and every claim holds, 1 if not."""
    parser = argparse.ArgumentParser(prog="./run docs", description="Build the site of reference and tutorial.")
    parser.add_argument("--to", type=Path, default=BUILD / "site", help="the folder of the site (default: build/site)")
    parser.add_argument("--verdicts", type=Path, help="a file of derivations check --json; by default all are checked")
    parser.add_argument("--unchecked", action="store_true", help="leave the verdicts out, and check no claim")
    options = parser.parse_args(arguments)
    options.to = options.to.resolve()
    work = options.to.with_name(f"{options.to.name}-source")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(HERE / "source", work)
    file = options.verdicts or work / "verdicts.json"
    verdicts = {} if options.unchecked else checked(file, run=not options.verdicts)
    if missing := pages.undocumented():
        sys.exit("public names without a docstring: " + ", ".join(missing))
    pages.write(work, verdicts)
    (work / "tour.md").write_text(PLOTLY + cells.markdown(HERE / "tour.py"), encoding="utf-8")
    libraries(work / "static")
    shutil.rmtree(options.to, ignore_errors=True)
    sphinx = ["--fail-on-warning", "--keep-going", "--nitpicky", "--quiet", "-b", "html", "-d", str(work / ".trees")]
    built = subprocess.run([sys.executable, "-m", "sphinx", *sphinx, work, options.to], cwd=pages.ROOT, check=False)
    if built.returncode == 0:
        sys.stdout.write(f"{options.to / 'index.html'}\n")
    return 1 if built.returncode or any(found["verdict"] != "holds" for found in verdicts.values()) else 0


def checked(file: Path, *, run: bool) -> dict[str, Any]:
    """Return the verdict of every claim by its name, from a file or from a run that writes it."""
    if run:
        check = ["check", "--no-mutants", "--json", str(file)]
        subprocess.run([sys.executable, "-m", "derivations", *check], stdout=subprocess.DEVNULL, check=False)
    return {found["name"]: found for found in json.loads(file.read_text(encoding="utf-8"))["claims"]}


def libraries(static: Path) -> None:
    """Copy the libraries that the pages use: MathJax for formulas, Plotly for pictures."""
    static.mkdir(exist_ok=True)
    (static / "plotly.min.js").write_text(plotly.offline.get_plotlyjs(), encoding="utf-8")
    found = importlib.util.find_spec("sphinx-mathjax-offline")
    if not found or not found.origin:
        raise SystemExit("sphinx-mathjax-offline is not installed: ./run docs installs it")
    mathjax = Path(found.origin).parent / "static" / "mathjax"
    shutil.copytree(mathjax / "output" / "chtml" / "fonts", static / "mathjax" / "output" / "chtml" / "fonts")
    shutil.copy(mathjax / "tex-chtml-full.js", static / "mathjax")


if __name__ == "__main__":
    sys.exit(main())
