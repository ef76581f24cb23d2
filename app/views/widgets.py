"""The widgets that controls are made of, each with the choice's value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import streamlit as st

from app import session


def one_of(label: str, options: Mapping[Any, str], name: str, changed: Callable[[], None], **looks: Any) -> Any:
    """Show a choice of one of a few options, each by its value and what the page calls it."""
    return st.segmented_control(
        label,
        list(options),
        format_func=lambda option: options[option],
        required=True,
        **session.widget(name, "default"),
        on_change=changed,
        **looks,
    )


def picked(name: str, options: list[str]) -> dict[str, Any]:
    """Return the key of a selectbox, and the place among its options that it starts from."""
    given = session.widget(name)
    return {"key": name, "index": options.index(given["value"])} if "value" in given else given


def slider(name: str, low: float, high: float, step: float, *, on: bool, label: str, hide: bool = False) -> None:
    """Show a slider of a setting, greyed out where it does not act."""
    st.slider(
        label,
        low,
        high,
        step=step,
        **session.widget(name),
        on_change=session.touch,
        disabled=not on,
        label_visibility="collapsed" if hide else "visible",
        help=None if on else "None of the chosen rules has this gate, or every token brings its own.",
    )


def number(name: str, low: float, high: float, step: float, *, on: bool, label: str, about: str | None = None) -> None:
    """Show a field for a number of a setting, greyed out where it does not act."""
    st.number_input(
        label,
        low,
        high,
        step=step,
        format="%g",
        **session.widget(name),
        on_change=session.touch,
        disabled=not on,
        help=about,
    )


def whole(name: str, low: int, high: int | None, *, label: str, on: bool = True, about: str | None = None) -> None:
    """Show a field for a whole number, greyed out where it does not act."""
    st.number_input(
        label, low, high, step=1, on_change=session.touch, disabled=not on, help=about, **session.widget(name)
    )
