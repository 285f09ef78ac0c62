"""Several runs at once: how they stand, and asking for those that are not known yet."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from explorer.config.fields import FieldError
from explorer.config.run_config import Demand, RunConfig
from explorer.engine.engine import Engine, QueueFull
from explorer.engine.run_view import DONE, RunView
from explorer.store.sqlite import STORE_ERRORS
from explorer.ui import hidden_results, visitor
from explorer.ui.error_boundary import unusable
from explorer.workers.devices import DeviceError

# Finished runs that one visitor's page remembers, so that the store is asked for the others alone.
_MOST_REMEMBERED = 100


def look(engine: Engine, wanted: Sequence[tuple[RunConfig, Demand]]) -> list[RunView]:
    """A view of each. What is done is remembered: it does not change any more."""
    memory: dict[tuple[str, Demand], RunView] = st.session_state.setdefault("compared_memory", {})
    found = []
    for config, demand in wanted:
        key = (engine.run_id(config), demand)
        view = memory.get(key) or engine.look(*key)
        if view.state == DONE:
            memory[key] = view
        found.append(view)
    while len(memory) > _MOST_REMEMBERED:
        del memory[next(iter(memory))]
    return found


def submit(engine: Engine, wanted: Sequence[tuple[RunConfig, Demand]]) -> str:
    """Ask for runs. Returns: why they cannot be had, or nothing."""
    if not wanted:
        return ""
    try:
        # Asked for together, they are trained together where their shapes allow it.
        engine.submit_each(wanted, visitor.person())
    except (FieldError, DeviceError, QueueFull) as error:
        return str(error)
    except STORE_ERRORS as error:
        return unusable(error)
    for config, demand in wanted:
        hidden_results.trained(config, demand)
    return ""
