"""A page with every claim's statement, as the page of derivations shows it: run by Streamlit."""

import streamlit as st

from app import proofs
from app.main import STYLE
from app.views.claims import statement

st.set_page_config(layout="wide")
st.html(STYLE)
for name, made in proofs.claims().items():
    st.markdown(f"### {name}")
    statement(made.tex)
st.write("That is all.")
