"""A server of a page with nothing but the player, and pages of it that must end without an error of their own."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from app.player import payload
from gdn_core.lab.trajectory import Trajectory
from tests.browser.conftest import new_phone, new_profile
from tests.browser.player.player_steps import FOUR, T, run
from tests.browser.server import serving


@pytest.fixture(scope="package")
def ran() -> Trajectory:
    """The run behind the buffer named "four"."""
    return run(FOUR)


@pytest.fixture(scope="package")
def url(chromium_path: str, ran: Trajectory, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of a page with nothing but the player."""
    folder = tmp_path_factory.mktemp("buffers")
    labels = [f"word {t} → مرحبا 🦉" for t in range(T)]
    infinite = run(("deltanet",))
    infinite.wv[0, 3, 1] = infinite.u[0, 3, 1] = np.inf
    overflowing = run(("deltanet", "gated-deltanet"))
    overflowing.wv[0, 3, 1] = overflowing.u[0, 3, 1] = np.inf
    for name, data in {
        "four": payload.of(ran, labels),
        "other": payload.of(run(FOUR, seed=1), labels),
        "short": payload.of(run(FOUR, T=5), labels[:5]),
        "one": payload.of(run(("deltanet",), T=1), ["only"]),
        "infinite": payload.of(infinite, labels),
        "overflowing": payload.of(overflowing, labels),
        "wide": payload.of(run(("deltanet", "retnet"), T=3, V=96, K=80), labels[:3]),
    }.items():
        (folder / f"{name}.bin").write_bytes(data)
    with serving(folder / "log.txt", "tests/browser/player/player_page.py", str(folder)) as server:
        yield server.url


@pytest.fixture(scope="package")
def profile(browser: Browser, url: str) -> Iterator[BrowserContext]:
    """One profile for every page with the player alone."""
    profile = new_profile(browser, url, viewport={"width": 1440, "height": 900})
    yield profile
    profile.close()


@pytest.fixture(scope="package")
def phone_profile(browser: Browser, url: str) -> Iterator[BrowserContext]:
    """One profile for every phone with the player alone."""
    profile = new_phone(browser, url)
    yield profile
    profile.close()


@pytest.fixture
def page(page: Page) -> Iterator[Page]:
    """A page that must end without an error of its own."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    assert errors == []
