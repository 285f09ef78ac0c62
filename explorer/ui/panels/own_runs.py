"""What is a visitor's own beside a lesson: kept while a lesson has the page, and given back when it is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from explorer import data
from explorer.analysis import comparison
from explorer.analysis.comparison import ComparedRun
from explorer.config.run_config import Demand, RunConfig
from explorer.config.url_params import parse
from explorer.engine.engine import Engine
from explorer.lessons import SWITCHES
from explorer.lessons.presets import LESSONS, all_available
from explorer.ui import hidden_results, state

# How the curves are looked at, which a lesson sets too: widgets, and what they begin with.
VIEW: dict[str, Any] = {
    "compared_measure": "crossentropy", "compared_sides": "both", "compared_width": 1, "compared_seeds": 1,
    "compared_published": False, **{f"compared_{name}": False for name in SWITCHES}, "live_lines": "measured"}
# The sweep, which is built around the settings.
_SWEEP = ("sweep", "across", "across_values", "down", "down_values")


@dataclass(frozen=True)
class Own:
    """The page as it was without a lesson.

    Attributes:
        config, demand: what the controls stood for.
        compared: the comparison.
        view, sweep: widgets and what they held; those that were never there are not in it.
    """

    config: RunConfig
    demand: Demand
    compared: tuple[ComparedRun, ...] = ()
    view: dict[str, Any] | None = None
    sweep: dict[str, Any] | None = None


def note(config: RunConfig, demand: Demand) -> None:
    """Remember the page while there is no lesson, whichever way one is opened then; and which lesson it shows."""
    shown = st.session_state
    if not shown["lesson"]:
        shown["own"] = Own(config, demand, tuple(shown["compared"]), _held(VIEW), _held(_SWEEP))
    shown["lesson_shown"] = shown["lesson"]


def _held(names: Sequence[str] | dict[str, Any]) -> dict[str, Any]:
    return {name: st.session_state[name] for name in names if name in st.session_state}


def is_in_lesson() -> bool:
    """Whether the page had a lesson when it was drawn last."""
    return bool(st.session_state.get("lesson_shown"))


def _kept(engine: Engine) -> Own:
    """What was there before the lesson; the defaults where the page was opened with it."""
    found = st.session_state.get("own")
    if found is None:
        begun = parse({}, RunConfig(dataset=data.default_dataset(engine.settings))).within(engine.settings)
        found = Own(begun.config, begun.demand)
    return found


def keep_runs(engine: Engine) -> None:
    """Before a lesson's runs go: those of one's own among them stay, in the comparison that it will be left to."""
    seed = st.session_state["lesson_seed"]
    of_lessons = {entry.key for name in LESSONS for part in all_available(name, engine.settings, seed)
                  for entry in part.entries()}
    found = state.read(engine)
    shown = ComparedRun(found.config, found.demand)
    # What the visitor has trained himself, and has not compared yet.
    runs = [*st.session_state["compared"], *([shown] if shown.key in hidden_results.settled() else [])]
    own = _kept(engine)
    compared = list(own.compared)
    for entry in runs:
        if entry.key not in of_lessons and not entry.again:
            try:
                compared = comparison.with_run(compared, entry.config, entry.demand)
            except comparison.Full:
                break
    st.session_state["own"] = replace(own, compared=tuple(compared))


def give_back(engine: Engine) -> None:
    """The lesson is left: settings, comparison, view and sweep are again what they were before it."""
    keep_runs(engine)
    own = _kept(engine)
    state.fill(own.config, own.demand)
    st.session_state["compared"] = list(own.compared)
    if own.sweep is None:
        st.session_state.setdefault("messages", [])
        state.fill_grid("", engine, own.config)
    else:
        state.put(own.sweep)
    give_view_back()


def give_view_back() -> None:
    """How the curves are looked at, as it was before the lesson."""
    own = st.session_state.get("own")
    held = VIEW | (own.view or {} if own else {})
    state.put({name: value for name, value in held.items() if st.session_state.get(name, VIEW[name]) != value})
