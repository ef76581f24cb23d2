"""Refusals as sentences on a page."""

from __future__ import annotations

import streamlit as st

from app.markdown import plain


def sorry(error: Exception | str) -> None:
    """Say what is wrong; the controls stay as the visitor left them."""
    text = str(error)
    st.error(plain(text if text.endswith(".") else f"{text}."), icon=":material/error:")
