"""What the tests of the lab's page share: what it says, links to and shows."""

from pathlib import Path

from streamlit.testing.v1 import AppTest

from app import compute, link

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"dk": "6", "dv": "5", "T": "9"}


def well(at: AppTest) -> AppTest:
    """Check that no exception reached the page."""
    assert not at.exception, at.exception
    return at


def linked(at: AppTest) -> dict[str, str]:
    return {name: value if isinstance(value, str) else value[-1] for name, value in at.query_params.items()}


def sentences(at: AppTest) -> list[str]:
    return [element.value for element in (*at.warning, *at.error)]


def shown(at: AppTest) -> compute.Picture:
    """Return the picture that the link of the page leads to."""
    choice, wrong = link.from_query(linked(at))
    assert wrong == []
    return compute.picture(choice)


def grey(at: AppTest) -> bool:
    return any("greyed out" in element.value for element in at.caption)
