"""The page's parts: the only package that imports Streamlit."""
