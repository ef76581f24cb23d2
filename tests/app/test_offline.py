"""The file that holds the player: whole, closed to the network, and deaf to what labels say."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from app import compute, export, offline
from app.choice import OPENING, Choice, Origin, TableRow
from app.player import payload
from app.player.source import source
from gdn_core.lab.scenarios import Settings

HOSTILE = "</script><img src=x onerror=alert(1)>\"'&amp;<!--"
SMALL = Settings(dk=4, dv=3, T=5)


class Read(HTMLParser):
    """What a file is made of: its tags with their attributes, and the text in each."""

    def __init__(self, file: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(file.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags:
            self.texts.append((self.tags[-1][0], data))

    def within(self, tag: str) -> list[str]:
        return [text for inside, text in self.texts if inside == tag and text.strip()]


def hostile() -> Choice:
    row = TableRow("a", "b", label=HOSTILE)
    return Choice(origin=Origin.TABLE, table=(row,), rules=("gated-deltanet", "mamba"), settings=SMALL)


def file_of(choice: Choice, page: str = "http://a.b/") -> bytes:
    return offline.html(choice, compute.picture(choice), page)


def test_a_file_allows_its_own_script_and_style_by_hash_and_no_network() -> None:
    read = Read(file_of(OPENING))
    (policy,) = [tag["content"] for _, tag in read.tags if tag.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    allowed = dict(part.split(" ", 1) for part in policy.split("; "))
    assert allowed["default-src"] == allowed["base-uri"] == allowed["form-action"] == "'none'"
    scripts = read.within("script")
    assert len(scripts) == 2  # the buffer, which is no script, and the player
    for name, text in (("script-src", scripts[1]), ("style-src", read.within("style")[0])):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert allowed[name] == f"'sha256-{digest}'"
    assert not [tag for _, tag in read.tags if "src" in tag or "style" in tag or any(n.startswith("on") for n in tag)]


def test_a_file_holds_the_page_s_player_and_buffer() -> None:
    shown = compute.picture(OPENING)
    file = file_of(OPENING)
    assert source().html.encode() in file
    assert source().css.encode() in file
    assert base64.b64decode(Read(file).within("script")[0]).startswith(shown.payload)


def test_what_a_label_says_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    choice = hostile()
    monkeypatch.setattr(export, "title", lambda *_: HOSTILE)
    read = Read(file_of(choice))
    assert "img" not in [tag for tag, _ in read.tags]
    assert len(read.within("script")) == 2
    assert "".join(read.within("h1")) == HOSTILE
    assert HOSTILE in "".join(read.within("td"))
    assert payload.header(base64.b64decode(read.within("script")[0]))["labels"] == [HOSTILE]


def test_a_script_cannot_end_its_element() -> None:
    text = offline.inside("a('</script>'); b('</ScRiPt'); c('<!-- x'); /* </style> */ d < e / f")
    assert not re.search(r"</script|<!--|</style", text, re.IGNORECASE)
    assert text.endswith("d < e / f")


def test_a_file_says_its_rules_its_link_and_its_numbers() -> None:
    choice = Choice(preset="overwrite", rules=("gated-deltanet",), settings=SMALL, token=3)
    read = Read(file_of(choice, "http://a.b/"))
    text = " ".join(text for _, text in read.texts)
    assert "Sₜ = αₜ Sₜ₋₁ (I − βₜ kₜ kₜᵀ) + βₜ vₜ kₜᵀ" in text
    assert "αₜ = 0.95, βₜ = 1" in text
    (place,) = [tag["href"] for name, tag in read.tags if name == "a"]
    assert place is not None
    assert place.startswith("http://a.b/?")
    assert place.endswith("&t=3")
    cells = [text for inside, text in read.texts if inside == "td"]
    rows = compute.numbers(choice, compute.picture(choice))
    assert f"{rows[-1]['|S|']:.6g}" in cells
    assert len([name for name, _ in read.tags if name == "tr"]) == 1 + len(rows)


def test_the_size_that_the_page_says_is_about_that_of_the_file() -> None:
    for choice in (OPENING, Choice(rules=("deltanet", "mamba"), settings=Settings(dk=32, dv=32, T=128))):
        shown = compute.picture(choice)
        assert len(file_of(choice)) == pytest.approx(offline.size(shown), rel=0.1)


def test_a_file_has_the_colours_of_the_app_in_light_and_dark() -> None:
    style = Read(file_of(OPENING)).within("style")[0]
    light, dark = re.findall(r"--st-background-color: (#\w+)", style)
    assert (light, dark) == ("#ffffff", "#10151c")
    assert style.index(light) < style.index("prefers-color-scheme: dark") < style.index(dark)
