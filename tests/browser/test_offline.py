"""The file that holds the player, opened from the disk: no server, no network, the same numbers."""

from __future__ import annotations

import http.server
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from app import compute, offline
from app.choice import Choice, Origin, TableRow
from gdn_core.lab.scenarios import Settings
from gdn_core.lab.trajectory import Trajectory
from tests.browser.lab_steps import BACKGROUNDS, numbers, save, settle, visit

HOSTILE = "</script><img src=x onerror=\"document.title='run'\"><!--"
CHOICE = Choice(
    origin=Origin.TABLE,
    table=(TableRow("a", "b", label=HOSTILE), TableRow("c", "d", alpha=0.5), TableRow("a", "e")),
    rules=("linear-attention-normalised", "mamba", "gated-deltanet", "gated-deltanet-2"),
    settings=Settings(dk=5, dv=3),
    token=1,
)


@pytest.fixture(scope="module")
def run() -> Trajectory:
    return compute.picture(CHOICE).trajectory


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("offline") / "table.html"
    file.write_bytes(offline.html(CHOICE, compute.picture(CHOICE), "http://127.0.0.1:9/"))
    return file.as_uri()


@pytest.fixture
def opened(browser: Browser, address: str) -> Iterator[Page]:
    """The file, opened with the network cut; it asks for nothing, and says nothing is wrong."""
    profile = browser.new_context(offline=True, viewport={"width": 1360, "height": 900})
    page = profile.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("request", lambda asked: wrong.append(asked.url) if asked.url != address else None)
    page.goto(address)
    page.locator("section.player[data-ready]").wait_for()
    yield page
    profile.close()
    assert wrong == []


def test_its_numbers_are_those_of_the_run_at_every_token(opened: Page, run: Trajectory) -> None:
    player = opened.locator("section.player")
    expect(player).to_have_attribute("data-token", "1")
    for t, key in enumerate(("Home", "ArrowRight", "ArrowRight")):
        opened.locator(".scrubber").press(key)
        expect(player).to_have_attribute("data-token", str(t))
        for r, rule in enumerate(CHOICE.rules):
            for stage in ("before", "decayed", "erased", "written"):
                want = getattr(run.moments(r, t), stage)
                np.testing.assert_array_equal(numbers(player, rule, stage).astype(np.float32), want.ravel())


def test_its_table_has_the_numbers_of_the_page(opened: Page) -> None:
    opened.get_by_text("Numbers of each token").click()
    cells = opened.locator(".numbers-table td").all_text_contents()
    want = [row["|S|"] for row in compute.numbers(CHOICE, compute.picture(CHOICE))]
    assert [float(cell) for cell in cells[7::10]] == pytest.approx(want, rel=1e-5)


def test_a_label_runs_nothing(opened: Page) -> None:
    opened.locator(".scrubber").press("Home")
    expect(opened.locator(".now .label")).to_have_text(HOSTILE)
    assert opened.locator("img").count() == 0
    assert opened.title() != "run"


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """The address of a server, and what it was asked for."""
    asked: list[str] = []

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        do_POST = do_GET

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/", asked
        running.shutdown()


def test_it_lets_nothing_out_and_runs_no_other_script(
    browser: Browser, address: str, server: tuple[str, list[str]]
) -> None:
    url, asked = server
    profile = browser.new_context()
    page = profile.new_page()
    page.goto(address)
    page.locator("section.player[data-ready]").wait_for()
    blocked = page.evaluate(
        """async url => {
            const found = [];
            document.addEventListener("securitypolicyviolation", (event) => found.push(event.effectiveDirective));
            await fetch(url).catch(() => found.push("refused"));
            const add = (tag, fields) => document.body.append(Object.assign(document.createElement(tag), fields));
            add("img", { src: url });
            add("script", { textContent: "document.title = 'run'" });
            add("iframe", { src: url });
            navigator.sendBeacon(url, "x");
            await new Promise(done => setTimeout(done, 300));
            return found;
        }""",
        url,
    )
    assert {"refused", "connect-src", "img-src", "script-src-elem", "frame-src"} <= set(blocked)
    assert page.title() != "run"
    assert asked == []
    urllib.request.urlopen(url)  # it would have heard
    assert asked == ["/"]
    profile.close()


@pytest.mark.parametrize("width", [390, 1360])
def test_it_fits_a_phone_and_follows_light_and_dark(opened: Page, width: int) -> None:
    corner = "c => [...c.getContext('2d').getImageData(0, 0, 1, 1).data.subarray(0, 3)]"
    ends = []
    opened.set_viewport_size({"width": width, "height": 844})
    for scheme, background in BACKGROUNDS.items():
        opened.emulate_media(color_scheme=scheme)
        expect(opened.locator("body")).to_have_css("background-color", background)
        ends.append(opened.locator("canvas.colours").evaluate(corner))
    assert ends == [[8, 54, 106], [163, 212, 255]]
    assert opened.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_gives_the_file_and_the_file_leads_back(page: Page, browser: Browser, tmp_path: Path) -> None:
    shown = visit(page, "preset=recency&dk=5&T=6&see=numbers&t=3&rules=mamba.deltanet").get_attribute("data-ready")
    file = tmp_path / "recency.html"
    file.write_bytes(save(page, "The player, to open offline (HTML)"))
    profile = browser.new_context(offline=True)
    held = profile.new_page()
    held.goto(file.as_uri())
    player = held.locator("section.player[data-ready]")
    expect(player).to_have_attribute("data-token", "3")
    assert player.get_attribute("data-ready") == shown
    link = held.get_by_role("link").get_attribute("href")
    profile.close()
    assert link
    page.goto("about:blank")
    page.goto(link)
    again = settle(page)
    expect(again).to_have_attribute("data-token", "3")
    assert again.get_attribute("data-ready") == shown


def test_a_saved_picture_says_what_it_shows_and_where(page: Page) -> None:
    visit(page, "preset=recency&dk=5&T=6&rules=gated-deltanet&t=3")
    written = page.evaluate_handle(
        """() => {
            const texts = [];
            const write = CanvasRenderingContext2D.prototype.fillText;
            CanvasRenderingContext2D.prototype.fillText = function (text, ...place) {
                texts.push(text);
                return write.call(this, text, ...place);
            };
            return texts;
        }"""
    )
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Save PNG").click()
    assert waiting.value.suggested_filename == "recency_t-3.png"
    texts = written.json_value()
    assert page.locator("h1").inner_text() in texts
    assert "Sₜ = αₜ Sₜ₋₁ (I − βₜ kₜ kₜᵀ) + βₜ vₜ kₜᵀ" in texts
    assert any(text.startswith("αₜ = ") and "βₜ = 1" in text for text in texts)
    (link,) = [text for text in texts if text.startswith(page.url.partition("?")[0])]
    page.goto(link)
    expect(settle(page)).to_have_attribute("data-token", "3")
