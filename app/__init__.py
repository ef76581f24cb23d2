"""The Streamlit app: watch write rules change a matrix memory, token by token."""
