"""Steps that tests of the player alone share: run rules, open the page, read what it shows and what it has told."""

from __future__ import annotations

import re

import numpy as np
from playwright.sync_api import Page, expect

from gdn_core.lab.trajectory import Trajectory, trajectory
from gdn_core.streams import Stream
from tests.browser.lab_steps import QUIET, frames

T, V, K = 24, 6, 10
FOUR = ("linear-attention-normalised", "mamba", "gated-deltanet", "gated-deltanet-2")


def run(rules: tuple[str, ...], *, seed: int = 0, T: int = T, V: int = V, K: int = K) -> Trajectory:
    rng = np.random.default_rng(seed)
    k = rng.standard_normal((T, K))
    stream = Stream(
        q=rng.standard_normal((T, K)),
        k=k / np.linalg.norm(k, axis=1, keepdims=True),
        v=rng.standard_normal((T, V)),
        g=-rng.uniform(0.0, 0.5, (T, K)),
        beta=rng.uniform(0.0, 1.5, (T, K)),
        w=rng.uniform(0.0, 1.0, (T, V)),
        delta=rng.uniform(0.0, 1.0, (T, V)),
        A=-rng.uniform(0.1, 2.0, (V, K)),
    )
    start = rng.standard_normal((V, K))
    return trajectory(rules, stream, initial_state=start, backend="torch")


def open_player(page: Page, query: str = "") -> Page:
    page.goto(f"/{query}")
    page.wait_for_selector(".player[data-ready]")
    expect(page.get_by_text("at rest:")).to_be_visible()
    return page


def token(page: Page) -> int:
    return int(page.locator(".player").get_attribute("data-token"))


def at_rest(page: Page, token: int) -> None:
    """Wait until the server knows the token."""
    expect(page.get_by_text(re.compile(rf"^at rest: {token};"))).to_be_visible()


def reports(page: Page) -> int:
    return int(re.search(r"reports: (\d+)", page.get_by_text("at rest:").inner_text())[1])


def runs(page: Page) -> int:
    return int(page.get_by_text("at rest:").inner_text().split()[-1])


def numbers(page: Page, rule: str, moment: str) -> np.ndarray:
    """What the player holds behind a map; float32 numbers pass exactly through the decimals of JSON."""
    flat = page.locator(".player").evaluate(f"player => [...player.numbers('{rule}', '{moment}')]")
    return np.array(flat, np.float64).astype(np.float32).reshape(V, K)


def pixels(page: Page, rule: str, name: str) -> np.ndarray:
    """The pixels of a map, [rows, columns, 4] from 0 to 255."""
    read = "c => [c.height, c.width, ...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    rows, columns, *flat = page.locator(f"[data-rule={rule}] [data-map={name}] canvas").evaluate(read)
    return np.array(flat).reshape(rows, columns, 4)


def seek(page: Page, t: int) -> None:
    page.locator(".player").evaluate("(player, t) => player.seek(t)", t)


def nothing_more_happens(page: Page) -> None:
    """Wait until a report would have been made, and the server have answered it."""
    frames(page, 40)  # it is made 18 after a step
    page.wait_for_function(QUIET)
