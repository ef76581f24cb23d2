"""Steps that tests of the lab share: open it, change a control, wait for a state, compare with the reference."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Literal

import numpy as np
from playwright.sync_api import Download, Locator, Page, expect

from gdn_core import reference, streams
from gdn_core.lab import scenarios
from gdn_core.rules import RULES

BACKGROUNDS: dict[Literal["light", "dark"], str] = {"light": "rgb(255, 255, 255)", "dark": "rgb(16, 21, 28)"}
STAGES = ("before", "decayed", "erased", "written")
QUIET = "document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning'"


def frames(page: Page, count: int) -> None:
    """Wait until the page has drawn so many frames, 60 a second at most: what was to happen by then has happened."""
    step = "const step = () => (n-- > 0 ? requestAnimationFrame(step) : done())"
    page.evaluate(f"n => new Promise(done => {{ {step}; step(); }})", count)


def quiet(page: Page) -> None:
    """Wait until the app has run: what it draws anew under a click or an upload takes no notice of it."""
    frames(page, 2)  # a change just made is asked for in the next
    page.wait_for_function(QUIET, timeout=60_000)
    frames(page, 2)  # what it sent is drawn


def settle(page: Page) -> Locator:
    """Wait until the page has stopped changing, and return the player."""
    player = page.locator("section.player[data-ready]")
    player.wait_for(timeout=90_000)  # the first visit starts the kernel's processes
    quiet(page)
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


def number(page: Page, label: str) -> Locator:
    return page.get_by_test_id("stNumberInput").filter(has_text=label).get_by_role("spinbutton", include_hidden=True)


STILL = """fold => new Promise(done => {
    let height, same = 0;
    const step = () => {
        same = fold.offsetHeight === height ? same + 1 : 0;
        height = fold.offsetHeight;
        same < 10 ? requestAnimationFrame(step) : done();
    };
    step();
})"""


def follow(page: Page, link: str) -> None:
    """Click a link by its name, when the app has run."""
    of_name = page.get_by_role("link", name=link)
    of_name.wait_for()
    quiet(page)
    of_name.click()


def unfold(page: Page, *, touch: bool = False) -> None:
    """Open what is folded among the controls, and wait until it is: what moves under the mouse is not clicked."""
    quiet(page)
    fold = page.locator(".st-key-more details")
    if fold.get_attribute("open") is None:
        summary = fold.locator("summary")
        summary.tap() if touch else summary.click()
        expect(fold).to_have_attribute("open", "")
        fold.evaluate(STILL)
        quiet(page)


def fill(page: Page, label: str, value: str) -> None:
    box = number(page, label)
    box.wait_for(state="attached")
    if not box.is_visible():
        unfold(page)
    box.fill(value)
    box.press("Enter")


def press(page: Page, option: str) -> None:
    quiet(page)
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
    quiet(page)
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files([file])


def ours(errors: list[str]) -> list[str]:
    return [text for text in errors if not re.search(r"ERR_(NAME_NOT_RESOLVED|INTERNET_DISCONNECTED)", text)]
