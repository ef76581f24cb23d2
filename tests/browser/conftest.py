"""A running app and a Chromium to look at it with; every test in this folder is a browser test."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from tests.browser import chromium
from tests.browser.server import serving

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",  # 64 MB in a container, where a large page crashes
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


STILL = "matchMedia('(prefers-reduced-motion: reduce)').matches"
PATIENCE = 30_000  # ms to wait for a state, so that a busy machine fails nothing
expect.set_options(timeout=PATIENCE)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group(f"browser-{item.path.stem}"))  # a worker has one server and browser


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """The Chromium to drive. Without one the tests are skipped, except in CI, where they must run."""
    path = chromium.find()
    if path is None:
        in_ci = os.environ.get("CI", "").lower() in ("1", "true")
        (pytest.fail if in_ci else pytest.skip)(chromium.why_none())
    return path


@pytest.fixture(scope="session")
def browser(chromium_path: str) -> Iterator[Browser]:
    """One headless Chromium for the whole session."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium_path, headless=True, args=FLAGS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def app_url(chromium_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server of this app, started for the session on a port of its own."""
    with serving(tmp_path_factory.mktemp("server") / "log.txt") as server:
        yield server.url


def new_profile(browser: Browser, url: str, **options: Any) -> BrowserContext:
    """Return a profile that knows nothing yet, whose addresses begin with the url. Downloads are accepted.

    It asks for reduced motion: without a GPU, what moves while a page loads takes more than half of the processor's
    time. A test of what moves says so.
    """
    options = {"reduced_motion": "reduce", **options}
    profile = browser.new_context(base_url=url, accept_downloads=True, **options)
    profile.set_default_timeout(PATIENCE)
    return profile


def new_phone(browser: Browser, url: str) -> BrowserContext:
    """Return a profile of a phone: narrow, and touched."""
    return new_profile(browser, url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)


def forget(page: Page) -> None:
    """End what runs on a page, and the visit on the server: the next visit is a stranger's."""
    page.evaluate("location.origin === 'null' || (localStorage.clear(), sessionStorage.clear())")
    page.goto("about:blank")
    page.context.clear_cookies()


@pytest.fixture(scope="session")
def profile(browser: Browser, app_url: str) -> Iterator[BrowserContext]:
    """The profile of the page that tests of the app share."""
    profile = new_profile(browser, app_url, viewport={"width": 1360, "height": 900})
    yield profile
    profile.close()


@pytest.fixture(scope="session")
def phone_profile(browser: Browser, app_url: str) -> Iterator[BrowserContext]:
    """The profile of the phone that tests of the app share."""
    profile = new_phone(browser, app_url)
    yield profile
    profile.close()


def emptied(profile: BrowserContext) -> Iterator[Page]:
    """Give the one page of a profile, and make it behind a test what it was before."""
    page = profile.pages[0] if profile.pages else profile.new_page()
    size = page.viewport_size
    assert size
    assert page.evaluate(STILL)
    yield page
    try:
        forget(page)
        page.set_viewport_size(size)
        page.emulate_media(color_scheme="light", reduced_motion="reduce", forced_colors="none")
    except Error:  # it crashed
        page.close()


@pytest.fixture
def page(profile: BrowserContext) -> Iterator[Page]:
    """A page that knows nothing of the test before; `page.goto("/")` opens the app.

    It is the same for all tests of a profile: in a new one, Streamlit takes two to three times the processor's time to
    load. A test that changes the page for good (its clock, scripts to run first) takes one of its own.
    """
    yield from emptied(profile)


@pytest.fixture
def phone(phone_profile: BrowserContext) -> Iterator[Page]:
    """The same on a phone."""
    yield from emptied(phone_profile)


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
