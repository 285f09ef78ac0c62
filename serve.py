"""The page with a server of its own, for hosts: `streamlit run serve.py`."""

import streamlit as st

from explorer.ui import server

app = st.App("streamlit_app.py", **server.options())
