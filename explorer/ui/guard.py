"""A guard for parts of the page that are drawn by themselves: where the store cannot be read, they say so."""

from __future__ import annotations

import functools
from collections.abc import Callable

import streamlit as st

from explorer.database import STORE_ERRORS
from explorer.ui.speech import t, told


def guarded(draw: Callable[..., None]) -> Callable[..., None]:
    """Where the store cannot be read, the page says so in one sentence."""

    @functools.wraps(draw)
    def guarded(*args: object) -> None:
        try:
            draw(*args)
        except STORE_ERRORS as error:
            st.error(t("page.no_store", why=told(str(error))), icon=":material/error:")

    return guarded
