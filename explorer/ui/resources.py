"""The one engine of the page's process, shared by every session."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Collection

import streamlit as st

from explorer.config.settings import SettingError, Settings, unusable_store
from explorer.engine.engine import Engine
from explorer.store.sqlite import STORE_ERRORS


@st.cache_resource(show_spinner=False)
def engine() -> Engine:
    """Start the engine with the first visit; it ends with the process.

    Raises:
        SettingError: an EXPLORER_* variable cannot be used, or the folder that it names.
    """
    settings = Settings.from_environment()
    try:
        started = Engine(settings, may_set_aside=True, protected=_protected)
    except (OSError, *STORE_ERRORS) as error:
        print(f"explorer: {unusable_store(settings, error)}", file=sys.stderr)
        raise unusable_store(settings, error, to_visitors=True) from error
    atexit.register(started.close)
    return started


def _protected(settings: Settings) -> Collection[str]:
    from explorer.lessons import protected  # with pandas, which the worker must not wait for

    return protected.run_ids(settings)


def begin() -> None:
    """Start the engine ahead of `engine`, which says what is wrong where it cannot be."""
    try:
        engine()
    except SettingError:
        pass


@st.cache_resource(show_spinner=False)
def settle() -> None:
    """What is loaded by now stays for good: collections that skip it keep the page quick for many sessions.

    There is no collection before: it takes a tenth of a second of the first visitor's time, and finds next to nothing.
    """
    gc.freeze()
