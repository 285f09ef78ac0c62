"""The comparison on the page: the runs that were put beside one another, one chart over all of them, and a table."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import pandas as pd
import streamlit as st

from explorer import comparison, history, overlay
from explorer.comparison import Entry, Result
from explorer.config import Demand, RunConfig
from explorer.devices import DeviceError
from explorer.engine import Engine, QueueFull
from explorer.fields import FieldError
from explorer.store import DIVERGED, QUEUED, RUNNING
from explorer.ui import lessons, state
from explorer.view import DONE, UNKNOWN, View

REFRESH_SECONDS = 0.5
# How a run of the comparison stands; every other state is its own word.
_STATES = {UNKNOWN: "not trained", QUEUED: "waiting", RUNNING: "training", DONE: "done"}
# Finished runs that one visitor's page remembers, so that the store is asked for the others alone.
_MOST_REMEMBERED = 100
_TITLES = {
    "run": "Run", "state": "State", "parameters": "Parameters", "best_epoch": "Best epoch", "best": "Best val. CE",
    "best_accuracy": "Val. acc. there", "gap_at_best": "Gap at best", "gap": "Gap at the end",
    "test_accuracy": "Test acc.", "seconds": "Seconds", "device": "Device",
}
_FORMATS = {"parameters": "localized", "best_epoch": "%d", "best": "%.3f", "best_accuracy": "percent",
            "gap_at_best": "%.3f", "gap": "%.3f", "test_accuracy": "percent", "seconds": "%.1f"}


def show(engine: Engine, config: RunConfig, demand: Demand) -> None:
    """Draw the comparison below the run that the controls stand for; nothing at all while it is empty."""
    entries: list[Entry] = st.session_state["compared"]
    if not entries:
        return
    st.subheader("Comparison", divider="gray")
    try:
        _arrange(entries, config)
        seeds = _view_controls()
        looked = _look(engine, entries, seeds)
        _train(engine, entries, looked)
        is_live = any(view.is_live for views in looked for view in views)
        panel = st.fragment(_panel, run_every=REFRESH_SECONDS if is_live else None)
        panel(engine, entries, seeds, is_live)
    except sqlite3.Error as error:
        _no_store(error)


def _no_store(error: sqlite3.Error) -> None:
    st.error(f"The store of runs cannot be used just now ({state.shown(str(error))}). Nothing that is finished "
             "is lost.", icon=":material/error:")


# -- what is compared, and how it is drawn -------------------------------------------------------------------


def _arrange(entries: Sequence[Entry], config: RunConfig) -> None:
    for place, (entry, name) in enumerate(zip(entries, comparison.names(entries), strict=True)):
        with st.container(horizontal=True, vertical_alignment="center", key=f"compared_{place}", gap="small"):
            st.button(name, key=f"open_{place}", type="tertiary", disabled=entry.config == config,
                      icon=":material/visibility_off:" if entry.is_hidden else ":material/show_chart:",
                      help="Puts this run's settings into the controls and shows it above.",
                      on_click=state.fill, args=(entry.config, entry.demand))
            for word, act, icon in (("Up", comparison.moved_up, "arrow_upward"),
                                    ("Show" if entry.is_hidden else "Hide", comparison.toggled,
                                     "visibility" if entry.is_hidden else "visibility_off"),
                                    ("Remove", comparison.without, "close")):
                if word != "Up" or len(entries) > 1:
                    st.button(word, key=f"{act.__name__}_{place}", type="tertiary", icon=f":material/{icon}:",
                              on_click=_change, args=(act, place))


def _change(act: Callable[[Sequence[Entry], int], list[Entry]], place: int) -> None:
    entries = st.session_state["compared"]
    if place < len(entries):  # a second click may come before the page has heard of the first
        st.session_state["compared"] = act(entries, place)


def _view_controls() -> int:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox("Show", tuple(overlay.MEASURES), key="compared_measure", format_func=overlay.MEASURES.get,
                     persist_state="session", width=190, filter_mode=None,
                     help="Gap is validation minus training cross-entropy; penalty is what the regularizer adds to the "
                          "loss.")
        st.selectbox("Smoothing", overlay.WIDTHS, key="compared_width", persist_state="session", width=150,
                     filter_mode=None,
                     format_func=lambda width: "off" if width == 1 else f"{width} epochs",
                     help="Replaces each value by the mean of so many epochs around it. It hides noise, and it rounds "
                          "off sharp turns: read best epochs with it off.")
        st.segmented_control("Is it real? Seeds of each run", comparison.SEEDS, key="compared_seeds", default=1,
                             required=True, persist_state="session",
                             help="Repeats each run with the seeds that follow its own: the line is the mean, the band "
                                  "reaches from the lowest to the highest. A difference smaller than the band may be "
                                  "luck.")
        st.toggle("Logarithmic epochs", key="compared_log_x", persist_state="session")
        st.toggle("Logarithmic values", key="compared_log_y", persist_state="session",
                  disabled=st.session_state["compared_measure"] == "accuracy",
                  help="Values that are not positive have no place on it and are left out.")
    return st.session_state["compared_seeds"]


# -- how the runs stand --------------------------------------------------------------------------------------


def _look(engine: Engine, entries: Sequence[Entry], seeds: int) -> list[list[View]]:
    """A view of each run with each seed. What is done is remembered: it does not change any more."""
    memory: dict[tuple[str, Demand], View] = st.session_state.setdefault("compared_memory", {})
    found = []
    for entry in entries:
        views = []
        for config in entry.configs(seeds):
            key = (engine.run_id(config), entry.demand)
            view = memory.get(key) or engine.look(*key)
            if view.state == DONE:
                memory[key] = view
            views.append(view)
        found.append(views)
    while len(memory) > _MOST_REMEMBERED:
        del memory[next(iter(memory))]
    return found


def _train(engine: Engine, entries: Sequence[Entry], looked: Sequence[Sequence[View]]) -> None:
    wanted = [(entry.demand, config) for entry, views in zip(entries, looked, strict=True)
              for config, view in zip(entry.configs(len(views)), views, strict=True)
              if view.state != DONE and not view.is_live]
    if wanted:
        st.button(f"Train the {len(wanted)} that are not known yet" if len(wanted) > 1
                  else "Train the one that is not known yet",
                  key="compared_train", type="primary", icon=":material/play_arrow:", on_click=_submit,
                  args=(engine, wanted))
    problem = st.session_state.pop("compared_problem", None)
    if problem:
        st.error(state.shown(problem), icon=":material/error:")


def _submit(engine: Engine, wanted: Sequence[tuple[Demand, RunConfig]]) -> None:
    by_demand = sorted(wanted, key=lambda one: repr(one[0]))
    try:
        # Asked for together, they are trained together where their shapes allow it.
        for demand, group in groupby(by_demand, key=lambda one: one[0]):
            engine.submit_all([config for _, config in group], demand)
    except (FieldError, DeviceError, QueueFull, sqlite3.Error) as error:
        st.session_state["compared_problem"] = str(error)


# -- what moves ----------------------------------------------------------------------------------------------


def _panel(engine: Engine, entries: Sequence[Entry], seeds: int, was_live: bool) -> None:
    try:
        looked = _look(engine, entries, seeds)
    except sqlite3.Error as error:
        _no_store(error)
        return
    if any(view.is_live for views in looked for view in views) != was_live:
        st.rerun()  # buttons and timer belong to the page
    names = comparison.names(entries)
    tables = [[overlay.with_gap(history.table(view.epochs)) for view in views] for views in looked]
    _curves(entries, names, tables, seeds)
    results = [[_result(view, table) for view, table in zip(views, each, strict=True)]
               for views, each in zip(looked, tables, strict=True)]
    chosen = _table(entries, names, looked, results, seeds)
    with st.container():
        _words(entries, names, results, chosen)
        lessons.show_reading(engine, {entry.config: found[0] for entry, views, found in
                                      zip(entries, looked, results, strict=True) if views[0].state == DONE})


def _result(view: View, table: pd.DataFrame) -> Result | None:
    return comparison.result(table, view.score, (view.run.device if view.run else "") or "")


def _curves(entries: Sequence[Entry], names: Sequence[str], tables: Sequence[Sequence[pd.DataFrame]],
            seeds: int) -> None:
    measure, width = st.session_state["compared_measure"], st.session_state["compared_width"]
    seen = [number for number, entry in enumerate(entries) if not entry.is_hidden]
    if not seen:
        st.info("Every run of the comparison is hidden.", icon=":material/visibility_off:")
        return
    drawn = []
    for number in seen:
        begun = [table for table in tables[number] if len(table)] or tables[number][:1]
        drawn.append(begun[0] if seeds == 1 else comparison.over_seeds(begun, overlay.columns(measure)))
    epochs = max(entries[number].demand.epochs for number in seen)
    lines = tuple(overlay.Line(names[number], entries[number].colour) for number in seen)
    classes = min(entries[number].config.info.classes for number in seen)
    made = _spec(lines, measure, epochs, classes, st.session_state["compared_log_x"],
                 st.session_state["compared_log_y"], seeds > 1)
    st.vega_lite_chart(overlay.frame(drawn, measure, width), made, key="chart_compared", width="stretch",
                       alt=overlay.describe(measure))
    if width > 1:
        st.caption(f"Smoothed: each point is the mean of the {width} epochs around it, of fewer near the ends. "
                   "The table and the sentences use the values as measured.")
    if seeds > 1:
        st.caption("Lines are means over the seeds that have begun, as far as all of them have come; bands reach from "
                   "the lowest to the highest.")


@st.cache_data(show_spinner=False, max_entries=200)
def _spec(lines: tuple[overlay.Line, ...], measure: str, epochs: int, classes: int, log_x: bool, log_y: bool,
          bands: bool) -> dict[str, Any]:
    return overlay.spec(overlay.chart(lines, measure, epochs, classes, log_x, log_y, bands))


def _table(entries: Sequence[Entry], names: Sequence[str], looked: Sequence[Sequence[View]],
           results: Sequence[Sequence[Result | None]], seeds: int) -> list[int]:
    """The table, a row for each run with its own seed. Returns: the places of the two whose words are told."""
    rows = []
    for entry, name, views, found in zip(entries, names, looked, results, strict=True):
        one, view = found[0], views[0]
        word = _STATES.get(view.state, view.state)
        if view.state == DONE and view.run.status == DIVERGED:
            word = DIVERGED
        if view.is_live or (one and word not in ("done", DIVERGED)):
            word = f"{word}, {len(view.epochs)} of {entry.demand.epochs}"
        rows.append({"run": name, "state": word, "parameters": entry.config.parameters, **{
            field: getattr(one, field, None) for field in _TITLES if field not in ("run", "state", "parameters")}})
    table = pd.DataFrame(rows, columns=list(_TITLES))
    event = st.dataframe(
        table, hide_index=True, key="compared_table", on_select="rerun", selection_mode="multi-row",
        column_config={name: st.column_config.NumberColumn(title, format=_FORMATS[name]) if name in _FORMATS
                       else st.column_config.TextColumn(title) for name, title in _TITLES.items()})
    if seeds > 1:
        st.caption("The table shows each run with its own seed.")
    marked = [place for place in event.selection.rows if place < len(entries)]
    if len(marked) >= 2:
        return sorted(marked)[:2]
    if len(entries) > 2:
        st.caption("Tick two rows to read what differs between them; until then these are the first two.")
    return [0, 1] if len(entries) > 1 else []


def _words(entries: Sequence[Entry], names: Sequence[str], results: Sequence[Sequence[Result | None]],
           chosen: Sequence[int]) -> None:
    if len(chosen) < 2:
        st.caption("Change a control, train, and press Compare again: two runs get a sentence on what differs.")
        return
    one, other = (entries[place].config for place in chosen)
    titles = [names[place] for place in chosen]
    told = [comparison.settings_sentence(one, other, titles)]
    first, second = (results[place][0] for place in chosen)
    if first and second:
        told.append(comparison.results_sentence(first, second, titles))
    else:
        told.append("What that changes is told as soon as both have an epoch.")
    seeds = [[found.best for found in results[place] if found] for place in chosen]
    told.append(comparison.seeds_sentence(*seeds, titles))
    st.markdown(state.shown(" ".join(filter(None, told))))
    warning = comparison.warning(one, other)
    if warning:
        st.warning(warning, icon=":material/warning:")
