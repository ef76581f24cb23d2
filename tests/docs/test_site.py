"""The site builds without a warning, and every link and picture on it exists."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import gdn_core.rules
from derivations.registry import load
from docs import pages
from gdn_core.ops import api, channels
from gdn_core.rules import LINEAGE

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.xdist_group("docs")  # one process builds, for all of them


class Page(HTMLParser):
    """What a page links to, what it loads, and the places in it that can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = {name: value or "" for name, value in attrs}
        self.places |= {of[name] for name in ("id", "name") if name in of}
        if tag == "a" and "href" in of:
            self.links.append(of["href"])
        elif tag == "link" and of.get("rel") in ("stylesheet", "icon"):
            self.loads.append(of["href"])
        elif "src" in of:
            self.loads.append(of["src"])


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """The pages of the site, built as ``./run docs`` does but for the checks, which other tests run."""
    to = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "docs.site", "--unchecked", "--to", str(to)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    return {path: Page(path) for path in sorted(to.rglob("*.html"))}


def test_every_link_leads_to_a_page_and_a_place_in_it(site: dict[Path, Page]) -> None:
    broken = []
    for path, page in site.items():
        for link in page.links:
            to = urlsplit(link)
            if to.scheme:
                continue
            other = (path.parent / unquote(to.path)).resolve() if to.path else path
            if other not in site or (to.fragment and unquote(to.fragment) not in site[other].places):
                broken.append(f"{path.name}: {link}")
    assert not broken


def test_nothing_is_loaded_from_another_server(site: dict[Path, Page]) -> None:
    for path, page in site.items():
        for load_ in page.loads:
            to = urlsplit(load_)
            assert not to.netloc and (to.scheme or (path.parent / to.path).exists()), f"{path.name}: {load_}"


def test_every_claim_and_every_rule_has_its_place(site: dict[Path, Page]) -> None:
    places = {place for page in site.values() for place in page.places}
    assert {name.replace("_", "-") for name in load()} | {row.slug for row in LINEAGE} <= places


def test_every_public_name_has_its_place(site: dict[Path, Page]) -> None:
    places = {place for page in site.values() for place in page.places}
    for module in (api, channels):
        assert {f"{module.__name__}.{name}" for name in module.__all__} <= places
    assert {f"module-{name}" for name in pages.documented()} <= places
    assert {"gdn_core.lab.trajectory.trajectory", "gdn_core.rules.RULES", "derivations.run.check_rule"} <= places


def test_a_public_name_without_a_docstring_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def bare() -> None: ...

    class Bare:
        """Documented, and its method is not."""

        def method(self) -> None: ...

    for name, value in (("bare", bare), ("Bare", Bare)):
        value.__module__ = "gdn_core.rules"
        monkeypatch.setattr(gdn_core.rules, name, value, raising=False)
    assert pages.undocumented() == ["gdn_core.rules.bare", "gdn_core.rules.Bare.method"]
