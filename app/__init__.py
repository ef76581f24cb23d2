"""The Streamlit app: watch write rules change a matrix memory, token by token.

It runs from a checkout, with the packages of the ``[app]`` extra.
"""

from gdn_core.extras import need

need("streamlit", "plotly", "safetensors", "sympy", "torch")
