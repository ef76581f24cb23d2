"""The lab's page by AppTest."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from app import session
from tests.app.lab_page import ROOT, well


@pytest.fixture(autouse=True)
def nobody_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """No browser draws a picture, so that nothing is to be waited for."""
    monkeypatch.setattr(session, "PAUSES", 1)
    monkeypatch.setattr(session, "FIRST_PAUSES", 1)


@pytest.fixture
def lab() -> Callable[..., AppTest]:
    """Open the lab by a link."""

    def open_(**query: str) -> AppTest:
        at = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=90)
        for name, value in query.items():
            at.query_params[name.replace("_", "-")] = value
        return well(at.run())

    return open_
