"""The overfitting explorer: the server that `streamlit run` starts, and the page that it shows."""

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from explorer.ui import resources

resources.begin()  # the worker imports what it trains with while the server and its page import what they need

if get_script_run_ctx(suppress_warning=True):
    from explorer.ui import page

    page.show()
else:
    # `streamlit run` finds this name here. A host that runs this file as a page only, without it, starts the engine and
    # its worker with the first visit.
    from explorer.ui import server

    app = st.App(__file__, **server.options())
