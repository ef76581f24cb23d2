"""How Sphinx builds the site; :mod:`docs.site` calls it."""

import re
import tomllib
from typing import Any

from sphinx.application import Sphinx

from docs.pages import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "Gated DeltaNet from first principles"
version = release = PROJECT["version"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
exclude_patterns = [".trees"]
# Names of other libraries are not looked up, since that asks their servers; every name of ours has to be there.
# Names that are listed and not documented one by one may stand in a signature.
nitpick_ignore_regex = [
    (r"py:class", r"(?!gdn_core\b|derivations\b).*"),
    (r"py:class", r"(gdn_core\.ops\.(kernels|torch)|derivations\.(engines|models))\..*|.*\._\w+"),
    (r"py:(?!class).*", r"(?!gdn_core\b|derivations\b)\w+\..*"),
    (r"py:exc", r"[A-Z]\w+(Error|Exception|Exit)"),
]

myst_enable_extensions = ["dollarmath", "substitution"]
myst_substitutions = {"description": PROJECT["description"]}
myst_heading_anchors = 3
myst_links_external_new_tab = False

napoleon_google_docstring, napoleon_numpy_docstring = True, False
napoleon_use_rtype = False
napoleon_custom_sections = [("Source", "notes_style")]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
add_module_names = False

html_theme = "furo"
html_title = project
html_static_path = ["static"]
html_css_files = ["site.css"]
html_favicon = "static/icon.svg"
html_show_copyright = False
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}
mathjax_path = "mathjax/tex-chtml-full.js"
mathjax3_config = {"chtml": {"displayAlign": "left", "scale": 0.95}, "options": {"enableMenu": False}}


def escape_bars(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Keep the bars of |S| from being read as a substitution, which no docstring here uses."""
    code = False
    for n, line in enumerate(lines):
        code = (code and (not line or line.startswith(" "))) or line.rstrip().endswith("::")
        if not code and not line.lstrip().startswith(">>>"):
            lines[n] = re.sub(r"(``.*?``|:math:`.*?`)|\|", lambda found: found[1] or r"\|", line)


def setup(app: Sphinx) -> None:
    """Hook into the reading of docstrings."""
    app.connect("autodoc-process-docstring", escape_bars)
