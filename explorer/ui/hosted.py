"""The page with a server of its own, for hosts: `streamlit run explorer/ui/hosted.py`."""

import sys
from pathlib import Path

import streamlit as st

ROOT = Path(__file__).resolve().parents[2]
# Streamlit looks for modules beside the script that it is given.
sys.path.insert(0, str(ROOT))

from explorer.ui import server  # noqa: E402

app = st.App(ROOT / "streamlit_app.py", **server.options())
