"""The lab as a visitor uses it, in a real Chromium: what is seen is what the reference computes."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Download, Locator, Page, expect
from playwright.sync_api import TimeoutError as TooLate

from gdn_core import reference, streams
from gdn_core.lab import scenarios
from gdn_core.rules import RULES
from tests.browser.conftest import new_profile

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("before", "decayed", "erased", "written")
RUNNING = "[data-testid=stStatusWidget]"


def settle(page: Page) -> Locator:
    """Wait until the page has stopped changing, and return the player."""
    player = page.locator("section.player[data-ready]")
    player.wait_for(timeout=90_000)  # the first visit starts the kernel's processes
    page.wait_for_timeout(150)  # for a change just made to reach the server
    expect(page.locator(RUNNING)).to_have_count(0, timeout=60_000)
    return player


def visit(page: Page, query: str = "") -> Locator:
    page.goto(f"/?{query}" if query else "/")
    return settle(page)


def numbers(player: Locator, rule: str, stage: str) -> np.ndarray:
    """Read the numbers behind a heatmap."""
    return np.array(player.evaluate("(p, [rule, stage]) => Array.from(p.numbers(rule, stage))", [rule, stage]))


def moments(stream: streams.Stream, rule: str, t: int) -> reference.Moments:
    """Compute one moment by the float64 reference."""
    tokens = streams.tokens(RULES[rule], stream)
    S = np.zeros((tokens.v.shape[1], tokens.q.shape[1]))
    for i in range(t):
        S = reference.moments(S, tokens[i]).written
    return reference.moments(S, tokens[t])


def check(player: Locator, scenario: scenarios.Scenario, rules: tuple[str, ...], t: int) -> None:
    """Compare every matrix that the player holds with the reference."""
    expect(player).to_have_attribute("data-token", str(t))
    V = scenario.stream.v.shape[1]
    for rule in rules:
        want = moments(scenario.stream, rule, t)
        for stage in STAGES:
            expected = getattr(want, stage)[:V]
            np.testing.assert_allclose(numbers(player, rule, stage), expected.ravel(), atol=2e-5)


def expect_link(page: Page, link: dict[str, str]) -> None:
    """Wait until the link is this one: it comes after what it leads to."""
    page.wait_for_function(
        "link => JSON.stringify([...new URLSearchParams(location.search)].sort()) === link",
        arg=json.dumps(sorted(link.items()), separators=(",", ":")),
    )


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_test_id("stSelectbox").filter(has_text=label).get_by_role("combobox").click()
    page.get_by_role("option", name=option, exact=True).click()


def fill(page: Page, label: str, value: str) -> None:
    box = page.get_by_test_id("stNumberInput").filter(has_text=label).get_by_role("spinbutton")
    box.fill(value)
    box.press("Enter")


def number(page: Page, label: str) -> Locator:
    return page.get_by_test_id("stNumberInput").filter(has_text=label).get_by_role("spinbutton")


def press(page: Page, option: str) -> None:
    page.get_by_role("radio", name=option, exact=True).click()


def save(page: Page, label: str) -> bytes:
    with page.expect_download() as waiting:
        page.get_by_role("button", name=label).click()
    download: Download = waiting.value
    return Path(download.path()).read_bytes()


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def give(page: Page, name: str, data: bytes) -> None:
    file = {"name": name, "mimeType": "application/octet-stream", "buffer": data}
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files([file])


@pytest.fixture
def errors(page: Page) -> list[str]:
    """What the page's console complains about, but for addresses that only the internet has."""
    found: list[str] = []
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("console", lambda said: found.append(said.text) if said.type == "error" else None)
    return found


@pytest.fixture
def own_page(browser: Browser, app_url: str) -> Iterator[Page]:
    """A page for a test that changes it for good."""
    profile = new_profile(browser, app_url)
    yield profile.new_page()
    profile.close()


def ours(errors: list[str]) -> list[str]:
    return [text for text in errors if not re.search(r"ERR_(NAME_NOT_RESOLVED|INTERNET_DISCONNECTED)", text)]


def test_a_preset_is_chosen_and_scrubbed_and_the_numbers_are_the_reference_s(page: Page, errors: list[str]) -> None:
    player = visit(page)
    picture = player.get_attribute("data-ready")
    choose(page, "Preset", "A token to be ignored")
    preset = scenarios.PRESETS["ignore"]
    expect(page.get_by_text(preset.look_for)).to_be_visible()
    expect(player).not_to_have_attribute("data-ready", picture)
    settle(page)
    scenario = preset.build()
    scrubber = player.locator(".scrubber")
    scrubber.focus()
    scrubber.press("Home")
    check(player, scenario, preset.rules, 0)
    for _ in range(8):
        scrubber.press("ArrowRight")
    check(player, scenario, preset.rules, 8)
    scrubber.press("End")
    check(player, scenario, preset.rules, len(scenario.labels) - 1)
    assert ours(errors) == []


def test_scrubbing_asks_the_server_only_once_it_rests(own_page: Page) -> None:
    sent: list[str | bytes] = []
    own_page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))
    player = visit(own_page, "preset=long&see=moment")
    own_page.wait_for_timeout(500)
    sent.clear()
    own_page.clock.install()
    own_page.clock.pause_at(own_page.evaluate("Date.now() + 1000"))  # no machine is too slow where time stands
    player.locator(".scrubber").focus()
    for _ in range(30):
        player.locator(".scrubber").press("ArrowLeft")
        own_page.clock.run_for(250)  # ms; it rests after 300
    assert sent == []
    own_page.clock.run_for(100)
    own_page.clock.resume()
    expect(own_page.get_by_text("Token 225,")).to_be_visible()
    assert len(sent) == 1


def test_the_figure_and_the_link_follow_the_token_at_rest(page: Page) -> None:
    player = visit(page, "preset=overwrite&rules=deltanet.retnet&see=moment")
    scrubber = player.locator(".scrubber")
    scrubber.focus()
    scrubber.press("Home")
    for _ in range(8):  # the token that overwrites: there erasing shows
        scrubber.press("ArrowRight")
    expect(page.get_by_text("Token 8,")).to_be_visible()
    press(page, "erased")
    settle(page)
    scenario = scenarios.from_preset("overwrite")
    page.wait_for_function(
        """wanted => {
            const same = (a, b) => Array.isArray(a)
                ? a.length === b?.length && a.every((x, i) => same(x, b[i])) : Math.abs(a - b) < 2e-5;
            return same(wanted, document.querySelector('.js-plotly-plot')?._fullData?.map(({z}) => z));
        }""",
        arg=[moments(scenario.stream, rule, 8).erased.tolist() for rule in ("deltanet", "retnet")],
    )
    link = {"preset": "overwrite", "rules": "deltanet.retnet", "see": "moment"}
    expect_link(page, link | {"t": "8", "stage": "erased"})


def test_a_control_changed_while_the_player_comes_to_rest_is_not_lost(page: Page) -> None:
    player = visit(page, "dk=6&dv=5&T=24&rules=deltanet")
    more = page.get_by_test_id("stNumberInput").filter(has_text="Seed").get_by_test_id("stNumberInputStepUp")
    for seed, wait in enumerate((0, 150, 250, 290, 330, 400), start=1):  # ms; the player reports 300 after a step
        player.locator(".scrubber").focus()
        player.locator(".scrubber").press("ArrowLeft")
        page.wait_for_timeout(wait)
        more.click()
        page.wait_for_timeout(500)
        settle(page)
        preset = next(iter(scenarios.PRESETS.values()))
        scenario = preset.build(
            scenarios.Settings(**{**vars(preset.settings), "dk": 6, "dv": 5, "T": 24, "seed": seed})
        )
        expect(number(page, "Seed")).to_have_value(str(seed))
        for _ in range(50):  # a slow machine may not even have begun
            with contextlib.suppress(AssertionError):
                check(player, scenario, ("deltanet",), 23 - seed)
                break
            page.wait_for_timeout(300)
        check(player, scenario, ("deltanet",), 23 - seed)
        link = {"dk": "6", "dv": "5", "T": "24", "rules": "deltanet"}
        expect_link(page, link | {"t": str(23 - seed), "seed": str(seed)})


def test_a_reload_and_the_link_elsewhere_show_the_same(page: Page, browser: Browser, app_url: str) -> None:
    player = visit(page, "see=moment")
    fill(page, "Key channels", "7")
    settle(page)
    fill(page, "Tokens", "11")
    settle(page)
    player.locator(".scrubber").focus()
    player.locator(".scrubber").press("Home")
    player.locator(".scrubber").press("ArrowRight")
    expect(page.get_by_text("Token 1,")).to_be_visible()
    settle(page)
    expect_link(page, {"dk": "7", "T": "11", "t": "1", "see": "moment"})
    preset = next(iter(scenarios.PRESETS.values()))
    scenario = preset.build(scenarios.Settings(**{**vars(preset.settings), "dk": 7, "T": 11}))

    page.reload()
    again = settle(page)
    expect(number(page, "Key channels")).to_have_value("7")
    check(again, scenario, preset.rules, 1)

    elsewhere = new_profile(browser, app_url)
    stranger = elsewhere.new_page()
    stranger.goto(page.url)
    check(settle(stranger), scenario, preset.rules, 1)
    elsewhere.close()


def test_back_and_forward_move_through_the_changes(page: Page) -> None:
    link = {"dk": "6", "dv": "5", "T": "9"}
    player = visit(page, "dk=6&dv=5&T=9")
    pictures = {"0": player.get_attribute("data-ready")}
    for seed in ("1", "2"):
        fill(page, "Seed", seed)
        for picture in pictures.values():
            expect(player).not_to_have_attribute("data-ready", picture)
        expect_link(page, link | {"seed": seed})
        pictures[seed] = player.get_attribute("data-ready")
    for step, seed in ((page.go_back, "1"), (page.go_back, "0"), (page.go_forward, "1"), (page.go_forward, "2")):
        step()
        expect(number(page, "Seed")).to_have_value(seed)
        expect(player).to_have_attribute("data-ready", pictures[seed])
        expect_link(page, link | ({} if seed == "0" else {"seed": seed}))
    fill(page, "Seed", "5")
    expect_link(page, link | {"seed": "5"})


@pytest.fixture(scope="module")
def slow_profile(browser: Browser, app_url: str) -> Iterator[BrowserContext]:
    """A profile in which every message between the browser and the server takes 300 ms longer, each way."""
    profile = new_profile(browser, app_url)
    profile.add_init_script(
        """{
            const { addEventListener, send } = WebSocket.prototype;
            WebSocket.prototype.addEventListener = function (type, hear, options) {
                const late = (event) => setTimeout(() => hear(event), 300);
                addEventListener.call(this, type, type === "message" ? late : hear, options);
            };
            WebSocket.prototype.send = function (data) { setTimeout(() => send.call(this, data), 300); };
        }"""
    )
    yield profile
    profile.close()


@pytest.fixture
def slow_page(slow_profile: BrowserContext) -> Iterator[Page]:
    """A page over a slow line."""
    page = slow_profile.new_page()
    yield page
    page.close()


def rests(page: Page, token: int, T: int, link: dict[str, str]) -> None:
    """Check that the controls, the player, what is below it and the link agree, and still do when all is quiet."""
    for quiet in (0, 600):  # ms: a report that comes late comes by then
        page.wait_for_timeout(quiet)
        expect(number(page, "Tokens")).to_have_value(str(T))
        expect(page.locator("section.player")).to_have_attribute("data-token", str(token))
        expect(page.get_by_text(f"Token {token},")).to_be_visible()
        expect_link(page, link)


def test_going_back_as_soon_as_the_stream_is_shorter_goes_back(page: Page) -> None:
    link = {"preset": "parity", "T": "9", "dk": "4", "see": "moment"}
    player = visit(page, "preset=parity&T=9&dk=4&see=moment")
    for wait in (0, 100, 200, 280, 330, 400):  # ms; a player that reports does so after 300
        fill(page, "Tokens", "8")
        expect(player).to_have_attribute("data-token", "7")
        page.wait_for_timeout(wait)
        page.evaluate("history.back()")
        rests(page, 8, 9, link)


@pytest.mark.parametrize("wait", [0, 200, 400])  # ms: before the report is sent, and while it or its link is under way
def test_going_back_counts_against_a_step_just_made(slow_page: Page, wait: int) -> None:
    link = {"preset": "parity", "T": "9", "dk": "4", "see": "moment"}
    player = visit(slow_page, "preset=parity&T=9&dk=4&see=moment")
    rests(slow_page, 8, 9, link)
    fill(slow_page, "Tokens", "8")
    rests(slow_page, 7, 8, link | {"T": "8"})
    player.get_by_role("button", name="Step back").click()
    slow_page.wait_for_timeout(wait)
    slow_page.evaluate("history.back()")
    slow_page.wait_for_timeout(1500)
    rests(slow_page, 8, 9, link)


def test_going_back_and_forward_brings_the_token_too(page: Page) -> None:
    link = {"preset": "parity", "T": "9", "dk": "4", "see": "moment"}
    player = visit(page, "preset=parity&T=9&dk=4&see=moment")
    for token in (7, 6, 5):
        player.get_by_role("button", name="Step back").click()
        rests(page, token, 9, link | {"t": str(token)})
    for step, token in ((page.go_back, 6), (page.go_back, 7), (page.go_forward, 6)):
        step()
        rests(page, token, 9, link | {"t": str(token)})
    player.get_by_role("button", name="Step back").click()
    rests(page, 5, 9, link | {"t": "5"})  # the same token as before going back


def test_a_stream_that_shrinks_and_grows_again_shows_what_its_link_shows(page: Page) -> None:
    link = {"preset": "parity", "dk": "4", "see": "moment"}
    player = visit(page, "preset=parity&T=9&dk=4&see=moment")
    for T in (20, 5, 12):  # nobody asked for a token: the last
        fill(page, "Tokens", str(T))
        rests(page, T - 1, T, link | {"T": str(T)})
    player.get_by_role("button", name="Step back").click()
    rests(page, 10, 12, link | {"T": "12", "t": "10"})
    said = page.get_by_text("There is no token 10 here")
    for T, token in ((5, 4), (12, 10)):
        fill(page, "Tokens", str(T))
        rests(page, token, T, link | {"T": str(T), "t": "10"})
        expect(said).to_have_count(int(T == 5))
    fill(page, "Tokens", "5")
    rests(page, 4, 5, link | {"T": "5", "t": "10"})
    page.reload()
    rests(page, 4, 5, link | {"T": "5", "t": "10"})
    expect(said).to_have_count(1)
    player.get_by_role("button", name="Step back").click()
    rests(page, 3, 5, link | {"T": "5", "t": "3"})
    expect(said).to_have_count(0)


def test_looking_at_the_lineage_loses_nothing(page: Page) -> None:
    visit(page, "preset=parity&T=9&dk=4")
    page.get_by_role("link", name="The lineage").click()
    expect(page.get_by_role("heading", name="The lineage")).to_be_visible()
    for rule in RULES.values():
        expect(page.get_by_text(rule.summary)).to_be_visible()
    page.get_by_role("link", name="Write-rule lab").click()
    settle(page)
    expect(number(page, "Tokens")).to_have_value("9")
    expect_link(page, {"preset": "parity", "T": "9", "dk": "4"})
    fill(page, "Tokens", "8")
    settle(page)
    page.go_back()
    expect(number(page, "Tokens")).to_have_value("9")
    expect_link(page, {"preset": "parity", "T": "9", "dk": "4"})


def test_one_s_own_text_is_shown_and_travels_in_the_link(page: Page) -> None:
    visit(page)
    press(page, "Text")
    box = page.get_by_role("textbox", name="Your text")
    box.fill("sun = hot\nمرحبا = 👋\nsun = gone")
    box.press("Control+Enter")
    expect(page.get_by_text("sun → gone").first).to_be_attached()
    player = settle(page)
    labels = player.locator(".now .label")
    page.reload()
    player = settle(page)
    expect(page.get_by_role("textbox", name="Your text")).to_have_value("sun = hot\nمرحبا = 👋\nsun = gone")
    player.locator(".scrubber").focus()
    player.locator(".scrubber").press("Home")
    player.locator(".scrubber").press("ArrowRight")
    expect(labels).to_contain_text("👋")


def test_a_cell_of_the_table_is_edited_and_counts_after_a_reload(page: Page) -> None:
    visit(page, "from=table")
    editor = page.get_by_test_id("stDataFrame")
    editor.wait_for()
    for text in ("cherry", "grape"):  # every change counts, the second too
        settle(page)  # what stands above the table has its place
        first, opened = editor.get_by_test_id("glide-cell-1-0"), page.locator("textarea.gdg-input")
        for _ in range(10):  # the page may move between the look and the click
            box = editor.bounding_box()
            assert box
            page.mouse.click(box["x"] + 120, box["y"] + 52)
            page.wait_for_timeout(600)  # a second click too soon would be a double one, and open the cell as it is
            if first.get_attribute("aria-selected") == "true":
                page.keyboard.press("Enter")
                with contextlib.suppress(TooLate):
                    opened.wait_for(timeout=2000)
                    break
        opened.fill(text)
        page.keyboard.press("Enter")
        expect(first).to_have_text(text)
        expect(page.get_by_text(f"{text} → red").first).to_be_attached()
    page.reload()
    settle(page)
    expect(page.get_by_text("grape → red").first).to_be_attached()


def test_an_upload_is_shown_and_comes_out_of_the_download_as_it_went_in(page: Page) -> None:
    rng = np.random.default_rng(3)
    given = {
        "q": rng.normal(size=(7, 4)), "k": rng.normal(size=(7, 4)) / 2, "v": rng.normal(size=(7, 3)),
        "g": -rng.uniform(0, 1, 7), "beta": rng.uniform(0, 1, 7),
    }  # fmt: skip
    page.goto("/?from=arrays")
    expect(page.get_by_text("Choose a file of arrays")).to_be_visible()
    give(page, "mine.npz", npz(**given))
    player = settle(page)
    check(player, scenarios.from_arrays(given, scenarios.Settings()), ("deltanet", "gated-deltanet"), 6)
    press(page, "Numbers and files")
    settle(page)
    data = save(page, "Every array (NPZ)")
    with np.load(io.BytesIO(data)) as saved:
        for name, array in given.items():
            np.testing.assert_array_equal(saved[name], array)
        for stage, t in (("before", 6), ("written", 7)):
            held = numbers(player, "gated-deltanet", stage)
            np.testing.assert_array_equal(saved["gated-deltanet.states"][t].ravel(), held)

    shown = player.get_attribute("data-ready")
    page.goto("/?from=arrays&see=numbers")
    give(page, "again.npz", data)
    assert settle(page).get_attribute("data-ready") == shown


def test_the_python_that_is_downloaded_makes_the_numbers_again(page: Page, tmp_path: Path) -> None:
    player = visit(page, "preset=recency&dk=5&T=6&see=numbers&disc=zoh&rules=mamba.deltanet")
    code = save(page, "The Python that makes them").decode() + "\nimport sys\nrun.states.tofile(sys.argv[1])\n"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "states")], cwd=ROOT, check=True, timeout=120)
    states = np.fromfile(tmp_path / "states", np.float32).reshape(2, 7, -1)
    for states_of_rule, rule in zip(states, ("mamba", "deltanet"), strict=True):
        np.testing.assert_array_equal(states_of_rule[6], numbers(player, rule, "written").astype(np.float32))


def test_the_table_of_numbers_is_downloaded_as_csv(page: Page) -> None:
    visit(page, "dk=5&T=6&see=numbers&rules=deltanet.retnet")
    lines = save(page, "Numbers of each token (CSV)").decode().splitlines()
    assert lines[0].startswith("rule,token,label")
    assert len(lines) == 1 + 2 * 6


BAD = {
    "a damaged file": ("bad.npz", b"PK\x03\x04 nothing here", "bad.npz"),
    "infinity": ("bad.npz", npz(k=np.full((3, 2), np.inf)), "finite"),
    "ragged rows": ("bad.csv", b"k0,k1\n1,2\n3\n", "bad.csv"),
}


@pytest.mark.parametrize(("name", "data", "says"), BAD.values(), ids=BAD)
def test_a_bad_upload_is_a_sentence_and_the_page_goes_on(page: Page, name: str, data: bytes, says: str) -> None:
    page.goto("/?from=arrays")
    expect(page.get_by_text("Choose a file of arrays")).to_be_visible()
    give(page, name, data)
    expect(page.get_by_test_id("stAlert").filter(has_text=says).first).to_be_visible()
    expect(page.get_by_text("Traceback")).to_have_count(0)
    press(page, "Preset")
    settle(page)


def test_a_huge_upload_is_refused_before_it_is_read(page: Page, tmp_path: Path) -> None:
    huge = tmp_path / "huge.npz"
    with huge.open("wb") as file:
        file.truncate(200 * 10**6)
    page.goto("/?from=arrays")
    expect(page.get_by_text("Choose a file of arrays")).to_be_visible()
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(huge)
    expect(page.get_by_text("32.0MB or smaller")).to_be_visible()
    press(page, "Preset")
    settle(page)


def test_an_absurd_link_is_a_sentence_and_the_page_goes_on(page: Page) -> None:
    visit(page, "dk=zebra&colour=red&T=9")
    warnings = page.get_by_test_id("stAlert")
    expect(warnings).to_have_count(2)
    expect(warnings.filter(has_text="zebra")).to_be_visible()
    expect(number(page, "Tokens")).to_have_value("9")
    fill(page, "Seed", "4")
    settle(page)
    expect(warnings).to_have_count(0)
    expect_link(page, {"T": "9", "seed": "4"})


@pytest.mark.parametrize(("scheme", "curve"), [("light", "rgb(27, 95, 166)"), ("dark", "rgb(90, 168, 238)")])
def test_curves_have_the_colours_of_the_theme(page: Page, scheme: Literal["light", "dark"], curve: str) -> None:
    page.emulate_media(color_scheme=scheme)
    visit(page, "see=size&T=9")
    line = page.locator(".js-plotly-plot .scatterlayer .trace path.js-line").first
    line.wait_for()
    assert line.evaluate("path => getComputedStyle(path).stroke") == curve


@pytest.mark.parametrize("width", [360, 768, 1360])
def test_nothing_is_wider_than_the_page(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    visit(page, "preset=overwrite")
    page.locator(".js-plotly-plot").wait_for()
    too_wide = page.evaluate("document.scrollingElement.scrollWidth - document.documentElement.clientWidth")
    assert too_wide <= 0
    main = page.locator("[data-testid=stMain]")
    assert main.evaluate("e => e.scrollWidth - e.clientWidth") <= 0
