"""A page with every claim's statement, as the page of derivations shows it: run by Streamlit."""

import streamlit as st

from app import proofs
from app.views import derivations

for name, made in proofs.claims().items():
    st.markdown(f"### {name}")
    derivations._statement(made.tex)
st.write("That is all.")
