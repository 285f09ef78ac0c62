"""The overfitting explorer: the server that `streamlit run` starts, and the page that it shows."""

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from explorer.ui import engines

if get_script_run_ctx(suppress_warning=True):
    engines.begin()  # while the page imports what it draws with, the worker imports what it trains with

    from explorer.ui import page

    page.show()
else:
    # `streamlit run` finds this name here, and starts the engine and its worker with the server. A host that runs this
    # file as a page only, without it, starts them with the first visit.
    from explorer.ui import server

    app = st.App(__file__, **server.options())
