"""Who asks: a random name for each session of the page, that the queue may be fair by person; it tells nothing more."""

from __future__ import annotations

import uuid

import streamlit as st


def person() -> str:
    """The name of this session, made with its first request. Another tab is another session."""
    return st.session_state.setdefault("person", uuid.uuid4().hex)
