"""A page with nothing but the player, and what its tests need to push: run by Streamlit, with a folder of buffers."""

import sys
from pathlib import Path

import streamlit as st

from app.player import player

st.set_page_config(layout="wide")
buffers = {path.stem: path for path in sorted(Path(sys.argv[1]).glob("*.bin"))}
name = st.query_params.get("payload", "four")
if st.button("other numbers"):
    st.session_state["numbers"] = "other"
if st.button("fewer tokens"):
    st.session_state["numbers"] = "short"
st.button("run again")


def visited() -> None:
    st.session_state["visit"] = st.session_state.get("visit", 0) + 1


link = int(st.query_params.get("token", 0))
st.session_state.setdefault("rest", link)
token = st.number_input("go to", value=link, step=1, on_change=visited)
if st.checkbox("hand the token at rest back"):
    token = st.session_state["rest"]


def rested() -> None:
    st.session_state["rest"] = st.session_state["lab"]["rest"]["token"]
    st.session_state["reports"] = st.session_state.get("reports", 0) + 1


data = buffers[st.session_state.get("numbers", name)].read_bytes()
player(data, key="lab", token=token, visit=st.session_state.get("visit", 0), on_rest=rested)
st.session_state["runs"] = st.session_state.get("runs", 0) + 1
reports = st.session_state.get("reports", 0)
st.write(f"at rest: {st.session_state['rest']}; reports: {reports}; runs: {st.session_state['runs']}")
