"""The one engine of the page's process, shared by every session."""

from __future__ import annotations

import atexit
import gc

import streamlit as st

from explorer.engine import Engine
from explorer.settings import Settings


@st.cache_resource(show_spinner=False)
def engine() -> Engine:
    """Start the engine with the first visit; it ends with the process.

    Raises:
        SettingError: an EXPLORER_* variable cannot be used.
    """
    started = Engine(Settings.from_environment())
    atexit.register(started.close)
    # What is loaded by now stays for good: collections that skip it keep the page quick for many sessions.
    gc.collect()
    gc.freeze()
    return started
