"""Opening the store for a command, and what is said of one that was damaged."""

from __future__ import annotations

import sys

from explorer.database import STORE_ERRORS
from explorer.settings import Settings, unusable_store
from explorer.store import RunStore


def opened(settings: Settings) -> RunStore:
    """The store; one that was damaged has been set aside, and it is said.

    Raises:
        UnusableStore: it cannot be opened.
    """
    try:
        store = RunStore(settings.store_place)
    except (OSError, *STORE_ERRORS) as error:
        raise unusable_store(settings, error) from error
    say_set_aside(store)
    return store


def set_aside(store: RunStore) -> str:
    """A sentence on a damaged store, where there was one."""
    return (f"The store was damaged and has been set aside as {store.set_aside}; a new one has been begun."
            if store.set_aside else "")


def say_set_aside(store: RunStore) -> None:
    """Tell it on standard error."""
    if store.set_aside:
        print(set_aside(store), file=sys.stderr)
