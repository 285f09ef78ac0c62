"""The sweep: many runs asked for at once, as a heat map that fills in while they train."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from explorer import data
from explorer.analysis import sweep
from explorer.config import labels as run_labels
from explorer.config.fields import FieldError
from explorer.config.run_config import KINDS, Demand, RunConfig
from explorer.engine.engine import Engine
from explorer.engine.run_view import DONE, UNKNOWN, RunView, look
from explorer.store.sqlite import STORE_ERRORS
from explorer.store.store import DIVERGED, FINISHED, QUEUED, RUNNING
from explorer.ui import drawing, hidden_results, state, submit
from explorer.ui.charts import sweep as sweep_chart
from explorer.ui.error_boundary import guarded
from explorer.ui.translate import labels, language, n, t, told

REFRESH_SECONDS = 0.5
# What stands on a cell whose run stands still before it is done; every other state is its own word.
_STATES = {UNKNOWN: sweep.EMPTY, QUEUED: sweep.WAITING, RUNNING: sweep.MOVING, DONE: sweep.DONE,
           FINISHED: "paused"}


def show(engine: Engine, config: RunConfig, demand: Demand, grid: sweep.Grid | None, unsound: list[str]) -> None:
    """Draw the sweep around the settings of the sidebar; nothing of it is computed while it is folded.

    Args:
        grid: as the widgets had it when this run of the script began.
        unsound: a sentence for each value in it that could not be used.
    """
    part = st.expander(t("sweep.title"), key="sweep", on_change="rerun", icon=":material/grid_view:")
    if not part.open:
        return
    with part:
        st.caption(t("sweep.what"))
        _axes(engine, config)
        with st.container():
            for message in unsound:
                st.warning(told(message), icon=":material/warning:")
        _grid(engine, config, demand, grid)


def _axes(engine: Engine, config: RunConfig) -> None:
    for side, title, column in zip(("across", "down"), (t("sweep.across"), t("sweep.down")), st.columns(2),
                                   strict=True):
        taken = st.session_state["down" if side == "across" else "across"]
        fields = [field for field in sweep.fields_for(config) if field != taken]
        if side == "down":
            fields = [sweep.NOTHING, *fields]
        with column:
            st.selectbox(title, fields, key=side, persist_state="session", filter_mode=None,
                         format_func={field: _title(field) for field in fields}.get,
                         help=_help(st.session_state[side]), on_change=state.axis_changed,
                         args=(side, engine, config))
            field, key = st.session_state[side], f"{side}_values"
            if field != sweep.NOTHING:
                chosen = st.session_state[key]
                options = list(dict.fromkeys([*sweep.offered(field, config, engine.settings), *chosen]))
                st.multiselect(t("sweep.values", title=run_labels.lower(_title(field))), options, key=key,
                               persist_state="session", accept_new_options=True, label_visibility="collapsed",
                               on_change=state.values_changed, args=(side,),
                               format_func=partial(_label, field, language()),
                               placeholder=t("sweep.choose"))


def _title(field: str) -> str:
    return t("sweep.nothing") if field == sweep.NOTHING else run_labels.title(field, language())


def _help(field: str) -> str | None:
    return None if field == sweep.NOTHING else run_labels.help_of(field, language())


def _label(field: str, language: str, text: str) -> str:
    try:
        return run_labels.label(field, KINDS[field].check(field, text), language)
    except FieldError:
        return text  # it has been typed, and a warning says what is wrong with it


@guarded
def _grid(engine: Engine, config: RunConfig, demand: Demand, grid: sweep.Grid | None) -> None:
    if grid is None:
        st.info(t("sweep.empty"), icon=":material/grid_view:")
        return
    if grid.runs > sweep.MAX_RUNS:
        st.warning(t("sweep.too_many", runs=grid.runs, most=sweep.MAX_RUNS), icon=":material/warning:")
        return
    base = _base(config, grid)
    configs = grid.configs(base)
    version = data.version(config.dataset, engine.settings)
    runs = {one.run_id(version): one for one in configs}
    looked = _look(engine, runs, demand)
    _buttons(engine, runs, looked, demand)
    st.segmented_control(t("sweep.measure"), sweep.MEASURES, key="measure", default="best", required=True,
                         format_func=labels("sweep.measure.{}", sweep.MEASURES), label_visibility="collapsed",
                         persist_state="session")
    st.caption(t(f"sweep.measure.{st.session_state['measure']}.help"))
    is_live = any(live for _, live in looked.values())
    panel = st.fragment(_panel, run_every=REFRESH_SECONDS if is_live else None)
    panel(engine, grid, runs, config, base, demand, st.session_state["measure"], is_live)


def _base(config: RunConfig, grid: sweep.Grid) -> RunConfig:
    """The settings that the sweep is built around: those of the sidebar, until they are moved to a run outside it.

    A click on a cell moves the sidebar; the grid stays the same one.
    """
    base = st.session_state.get("sweep_base")
    if base is not None and base != config:
        try:
            if config in grid.configs(base):
                return base
        except FieldError:
            pass  # it was built around other data
    st.session_state["sweep_base"] = config
    return config


def _look(engine: Engine, wanted: dict[str, RunConfig], demand: Demand) -> dict[str, tuple[sweep.CellState, bool]]:
    """How the runs stand, and whether that changes by itself. What is over is remembered, and of the others only what
    is new is read."""
    memory = st.session_state.setdefault("sweep_memory", {})
    if memory.get("demand") != demand or not wanted.keys() <= memory["rows"].keys():
        memory.update(demand=demand, rows={run_id: [] for run_id in wanted}, done={})
    rows, done = memory["rows"], memory["done"]
    asked = {run_id: config for run_id, config in wanted.items(
    ) if run_id not in done and not hidden_results.is_on(config)}
    found = engine.store.snapshots(asked, {run_id: len(rows[run_id]) for run_id in asked}) if asked else {}
    looked = {}
    for run_id, config in wanted.items():
        if hidden_results.is_on(config):
            looked[run_id] = _standing(RunView(UNKNOWN, demand)), False
            continue
        if run_id in done:
            looked[run_id] = done[run_id], False
            continue
        run, further, scores = found.get(run_id, (None, [], {}))
        rows[run_id] += further
        view = look(run, rows[run_id], scores, demand)
        looked[run_id] = _standing(view), view.is_live
        if view.state == DONE:
            done[run_id] = looked[run_id][0]
    return looked


def _standing(view: RunView) -> sweep.CellState:
    rows = [row for row in view.epochs if row["val_crossentropy"] is not None]
    word = _STATES.get(view.state, view.state)
    if view.state == DONE and view.run.status == DIVERGED and len(view.epochs) < view.demand.epochs:
        word = DIVERGED
    message = view.run.message if view.run else ""
    if not rows:
        return sweep.CellState(word, len(view.epochs), message=message)
    best, last = min(rows, key=lambda row: row["val_crossentropy"]), view.epochs[-1]
    ends = last["train_crossentropy"], last["val_crossentropy"]
    return sweep.CellState(word, len(view.epochs), best["val_crossentropy"], best["epoch"],
                           None if None in ends else ends[1] - ends[0], best["val_accuracy"], message,
                           view.best_score["test_accuracy"] if view.best_score else None)


def _buttons(engine: Engine, runs: dict[str, RunConfig], looked: dict[str, tuple[sweep.CellState, bool]],
             demand: Demand) -> None:
    live = [run_id for run_id, (_, is_live) in looked.items() if is_live]
    over = [run_id for run_id, (one, _) in looked.items() if one.state in (sweep.DONE, DIVERGED)]
    rest = [config for run_id, config in runs.items() if run_id not in live and run_id not in over]
    with st.container():
        with st.container(horizontal=True, vertical_alignment="center"):
            if rest:
                held = hidden_results.why_not(*rest)
                st.button(n("sweep.train_others" if live or over else "sweep.train", len(rest)), key="sweep_train",
                          type="primary", icon=":material/play_arrow:", on_click=_submit, args=(engine, rest, demand),
                          disabled=bool(held), help=held)
            elif not live:
                st.button(t("sweep.all", number=len(runs)), key="sweep_train", icon=":material/check:", disabled=True)
            if live:
                st.button(t("sweep.stop"), key="sweep_stop", icon=":material/stop:", on_click=_stop,
                          args=(engine, live))
            st.caption(t("sweep.runs", runs=len(runs), epochs=run_labels.epochs(demand.epochs, language())),
                       width="content")
        problem = st.session_state.pop("sweep_problem", None)
        if problem:
            st.error(t(problem[0], why=told(problem[1])), icon=":material/error:")


def _submit(engine: Engine, configs: list[RunConfig], demand: Demand) -> None:
    problem = submit.submit(engine, [(config, demand) for config in configs])
    if problem:
        st.session_state["sweep_problem"] = "sweep.refused", problem


def _stop(engine: Engine, run_ids: list[str]) -> None:
    try:
        for run_id in run_ids:
            engine.stop(run_id)
    except STORE_ERRORS as error:
        st.session_state["sweep_problem"] = "sweep.not_stopped", str(error)


@guarded
def _panel(engine: Engine, grid: sweep.Grid, runs: dict[str, RunConfig], config: RunConfig, base: RunConfig,
           demand: Demand, measure: str, was_live: bool) -> None:
    state.rerun_if_put()
    # Whether they have ended is read with the rows, in one snapshot.
    looked = _look(engine, runs, demand)
    if any(live for _, live in looked.values()) != was_live:
        st.rerun()  # buttons and timer belong to the page
    standings, configs = [one for one, _ in looked.values()], list(runs.values())
    epochs = [min(1.0, one.epochs / demand.epochs) if one.state != sweep.DONE else 1.0 for one in standings]
    st.progress(sum(epochs) / len(epochs), _progress(standings))
    opened = configs.index(config) if config in configs else None
    rows = sweep_chart.frame(grid, standings, demand.epochs, measure, opened, language())
    key = f"heatmap {grid.text}"
    with st.container(width=sweep_chart.width(grid)):
        drawing.draw(rows, _spec(grid, measure, language()), sweep_chart.titles(grid, language()), key,
                     sweep_chart.describe(grid, measure, language()), on_select=lambda: _clicked(key, configs, demand))
    st.selectbox(t("sweep.open"), range(len(configs)), index=None, key="sweep_open", filter_mode=None,
                 placeholder=t("sweep.open.none", number=len(configs)), help=t("sweep.open.help"),
                 format_func=[grid.words(cell, language()) for cell in range(len(configs))].__getitem__,
                 on_change=_chosen, args=(configs, demand))
    with st.container():
        words = sweep.sentence(grid, configs.index(base) if base in configs else None, standings, measure,
                               language())
        if words:
            st.markdown(words)
        if rows["shade"].ne(rows["value"]).where(rows["value"].notna(), False).any():
            st.caption(t("sweep.beyond"))
        messages = {one.message for one in standings if one.message and one.state not in sweep.SOUND}
        for message in sorted(messages)[:3]:
            st.caption(told(message))


def _progress(standings: list[sweep.CellState]) -> str:
    counts: dict[str, int] = {}
    for one in standings:
        counts[one.state] = counts.get(one.state, 0) + 1
    if counts == {sweep.EMPTY: len(standings)}:
        return t("sweep.untrained")
    return " · ".join(f"{count} {sweep.state_words(state, language())}" for state, count in counts.items())


def _clicked(key: str, configs: list[RunConfig], demand: Demand) -> None:
    """Open the run of the cell that was clicked.

    The selection holds all cells that were clicked an odd number of times, so that a second click on one is told too:
    what has changed in it is the cell.
    """
    cells = [point["cell"] for point in st.session_state[key]["selection"].get(sweep_chart.SELECTION, [])
             if isinstance(point, dict) and isinstance(point.get("cell"), int)]
    before: Any = st.session_state.get("cells_before", (None, []))
    changed = set(cells) ^ set(before[1] if before[0] == key else [])
    st.session_state["cells_before"] = (key, cells)
    last = [cell for cell in cells if cell in changed] or sorted(changed)
    if last and 0 <= last[-1] < len(configs):
        _open(configs[last[-1]], demand)


def _chosen(configs: list[RunConfig], demand: Demand) -> None:
    """Open the run that was chosen by its settings; the choice is free again at once."""
    cell = st.session_state["sweep_open"]
    st.session_state["sweep_open"] = None
    if cell is not None and cell < len(configs):
        _open(configs[cell], demand)


def _open(config: RunConfig, demand: Demand) -> None:
    """Show a run above, and keep it in the comparison while there is room."""
    state.fill(config, demand)
    state.keep(config, demand)


@st.cache_data(show_spinner=False, max_entries=200)
def _spec(grid: sweep.Grid, measure: str, language: str) -> dict[str, Any]:
    return sweep_chart.spec(grid, measure, language)
