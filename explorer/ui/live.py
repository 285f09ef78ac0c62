"""The live view: progress, curves, one sentence and the result of the run that the controls stand for."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable

import pandas as pd
import streamlit as st

from explorer import charts, diagnosis, history, texts
from explorer.config import Demand, RunConfig
from explorer.data import EMBEDDED
from explorer.devices import DeviceError
from explorer.engine import Engine, QueueFull
from explorer.fields import FieldError, plain
from explorer.stopping import stopping_epoch
from explorer.store import DIVERGED, FAILED, FINISHED, INTERRUPTED, QUEUED, STOPPED
from explorer.ui import state
from explorer.view import DONE, UNKNOWN, View

REFRESH_SECONDS = 0.3
# Failing in one of these, it is the data that are at fault.
DATA_PHASES = ("loading", "downloading", "preparing")


def _guarded(draw: Callable[..., None]) -> Callable[..., None]:
    """Where the store cannot be read, the page says so in one sentence."""

    @functools.wraps(draw)
    def guarded(*args: object) -> None:
        try:
            draw(*args)
        except sqlite3.Error as error:
            st.error(f"The store of runs cannot be used just now ({state.shown(str(error))}). Nothing that is finished "
                     "is lost: wait a moment and reload the page; if it lasts, free disk space or ask the operator.",
                     icon=":material/error:")

    return guarded


@_guarded
def show(engine: Engine, config: RunConfig, demand: Demand) -> None:
    """Draw the run: its buttons, then everything that moves."""
    run_id = engine.run_id(config)
    view = engine.look(run_id, demand)
    _head(engine, config, demand, run_id, view)
    _elsewhere(engine, run_id)
    # A timer runs only while there is something to wait for.
    panel = st.fragment(_panel, run_every=REFRESH_SECONDS if view.is_live else None)
    panel(engine, config, demand, run_id, view.is_live)


def _head(engine: Engine, config: RunConfig, demand: Demand, run_id: str, view: View) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        words = f", {plain(config.num_words)} words" if config.num_words else ""
        with st.container(width="stretch", gap=None):
            st.markdown(f"**{config.name}** on {config.info.title}{words}")
            st.caption(f"{plain(config.parameters)} parameters · {plain(config.rows)} examples to fit")
        with st.container(horizontal=True, width="content"):
            _buttons(engine, config, demand, run_id, view)
    problem = st.session_state.pop("problem", None)
    if problem:
        st.error(state.shown(problem), icon=":material/error:")


def _buttons(engine: Engine, config: RunConfig, demand: Demand, run_id: str, view: View) -> None:
    ask = {"on_click": _submit, "args": (engine, config, demand), "type": "primary"}
    if view.is_live:
        st.button("Stop", key="stop", icon=":material/stop:", on_click=_stop, args=(engine, run_id),
                  disabled=bool(view.run and view.run.stop),
                  help="Ends training within one batch and keeps what was reached.")
    elif view.state == DONE:
        st.button("Trained", key="train", icon=":material/check:", disabled=True,
                  help="This run is known as far as it is wanted. Change a control, or raise the epochs to go on.")
    elif view.reached:
        st.button(f"Continue to epoch {demand.epochs}", key="continue", icon=":material/play_arrow:",
                  help=f"Goes on after epoch {view.reached}, as if it had never stopped.", **ask)
    else:
        st.button("Train", key="train", icon=":material/play_arrow:",
                  help="Trains this network for real, with Keras.", **ask)
    beside = any(entry.config == config for entry in st.session_state["compared"])
    st.button("In the comparison" if beside else "Compare", key="compare", icon=":material/stacked_line_chart:",
              on_click=state.compare, args=(config, demand), disabled=beside,
              help="Keeps this run below, so that others can be laid over it.")


def _submit(engine: Engine, config: RunConfig, demand: Demand) -> None:
    try:
        run_id = engine.submit(config, demand)
    except (FieldError, DeviceError, QueueFull, sqlite3.Error) as error:
        st.session_state["problem"] = str(error)
    else:
        st.session_state.setdefault("mine", {})[run_id] = (config, demand)


def _stop(engine: Engine, run_id: str) -> None:
    try:
        engine.stop(run_id)
    except sqlite3.Error as error:
        st.session_state["problem"] = f"The run could not be stopped just now ({error}). Try again."


def _elsewhere(engine: Engine, run_id: str) -> None:
    """Runs that this visitor has started and moved away from, while they train on."""
    mine = st.session_state.get("mine", {})
    for other, (config, demand) in list(mine.items()):
        if other == run_id:
            continue
        view = engine.look(other, demand)
        if not view.is_live:
            del mine[other]
            continue
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(f"Still training: **{config.name}** on {config.info.title}, "
                       f"{view.reached} of {demand.epochs} epochs.", width="content")
            st.button("Show it", key=f"show_{other}", type="tertiary", on_click=state.fill, args=(config, demand))
            st.button("Stop it", key=f"stop_{other}", type="tertiary", on_click=_stop, args=(engine, other))


@_guarded
def _panel(engine: Engine, config: RunConfig, demand: Demand, run_id: str, was_live: bool) -> None:
    # Whether it has ended is read with the rows, in one snapshot: the last epoch is never missed.
    view = engine.look(run_id, demand)
    if view.is_live != was_live:
        st.rerun()  # buttons and timer belong to the page
    # One place that is always there, whatever stands in it: what follows keeps its own, and is not made anew.
    with st.container():
        _status(engine, view)
        _failure(view, config)
    shown = history.table(view.epochs)
    _curves(shown, config, demand)
    with st.container():
        found = diagnosis.diagnose(shown)
        words = diagnosis.sentence(found)
        if words:
            st.markdown(words)
        _notice(view)
    if view.epochs:
        if not view.is_live:
            _results(view)
        # Nobody sees a table that is folded away: it is sent, and the browser draws it, once it is opened.
        numbers = st.expander("The numbers, epoch by epoch", key="numbers", on_change="rerun",
                              icon=":material/table_rows:")
        if numbers.open:
            numbers.dataframe(shown, hide_index=True, height=240, column_config=_columns())


def _status(engine: Engine, view: View) -> None:
    """One line above the curves, in every state: nothing moves when a run begins or ends."""
    fraction, text = view.fraction, ""
    run = view.run
    if view.state == UNKNOWN:
        text = "Not trained yet"
    elif view.state == QUEUED and engine.hardware is None:
        text = f"{texts.PHASES['starting']} …"
    elif view.state == QUEUED:
        ahead = f"{view.place} {'run' if view.place == 1 else 'runs'} ahead" if view.place else "next"
        text = f"Waiting in the queue: {ahead}"
    elif view.state == DONE and len(view.epochs) < view.demand.epochs and run.status != DIVERGED:
        stop = stopping_epoch([row["val_crossentropy"] for row in view.epochs], view.demand.patience)
        fraction, text = 1.0, f"Early stopping after epoch {stop} of at most {view.demand.epochs}"
    elif not view.is_live:
        text = f"{len(view.epochs)} of {view.demand.epochs} epochs"
    elif run.phase == "downloading":
        done, total = run.progress.get("done", 0), run.progress.get("total", 0)
        fraction = min(1.0, done / total) if total else 0.0
        text = f"Downloading the data: {done / 1e6:.1f} of {total / 1e6:.1f} MB"
    elif run.phase != "training":
        text = f"{texts.PHASES.get(run.phase, run.phase)} …"
    else:
        # Where a checkpoint was lost, epochs that are stored already are computed again.
        title = "Computing again epoch" if view.epoch <= view.reached else "Epoch"
        parts = [f"{title} {min(view.epoch, view.demand.epochs)} of {view.demand.epochs}"]
        if run.progress.get("step"):
            parts.append(f"batch {run.progress['step']} of {run.progress['steps']}")
        if view.seconds_per_epoch is not None:
            parts.append(f"{view.seconds_per_epoch:.2f} s per epoch")
            parts.append(f"about {texts.duration(view.seconds_left)} left")
        parts.append(run.device or "device being chosen")
        text = " · ".join(parts)
    st.progress(fraction, text)


def _failure(view: View, config: RunConfig) -> None:
    if view.is_live or view.run is None:
        return
    message = state.shown(view.run.message)
    if view.run.status == FAILED:
        st.error(message, icon=":material/error:")
        if view.run.phase in DATA_PHASES and config.dataset in EMBEDDED:
            instead = EMBEDDED[config.dataset]
            st.button(f"Go on with the embedded data: {config.with_(dataset=instead).info.title}", key="embedded",
                      on_click=_use_embedded, args=(config, view.demand, instead))
    elif view.run.status == INTERRUPTED:
        st.warning(f"{message} {_reached(view)}", icon=":material/warning:")


def _notice(view: View) -> None:
    if view.state == UNKNOWN:
        st.info("Press **Train** and watch the two lines: while both fall, the network learns; when the dashed one "
                "turns up and the solid one falls on, it memorises. The controls are in the panel on the left.",
                icon=":material/school:")
    elif view.run.status == STOPPED and view.state != DONE:
        st.info(f"{state.shown(view.run.message) or 'Stopped.'} {_reached(view)}", icon=":material/pause_circle:")
    elif view.run.status in (FINISHED, DIVERGED) and view.run.message:
        st.warning(state.shown(view.run.message), icon=":material/warning:")


def _reached(view: View) -> str:
    if not view.reached:
        return "No epoch was complete yet."
    return f"{view.reached} {'epoch is' if view.reached == 1 else 'epochs are'} kept."


def _use_embedded(config: RunConfig, demand: Demand, dataset: str) -> None:
    state.fill(config.with_(dataset=dataset), demand)


def _curves(shown: pd.DataFrame, config: RunConfig, demand: Demand) -> None:
    rows = charts.frame(shown, demand.patience)
    for column, metric in zip(st.columns(2), charts.METRICS, strict=True):
        with column:
            # Neither the chart nor its text alternative may change while a run trains: each change would make the
            # chart anew. The numbers are in the labels of its points and in the sentence below.
            st.vega_lite_chart(rows, _spec(metric, demand.epochs, config.info.classes), key=f"chart_{metric}",
                               width="stretch", alt=charts.describe(metric))


@st.cache_data(show_spinner=False, max_entries=200)
def _spec(metric: str, epochs: int, classes: int) -> dict:
    return charts.spec(charts.curves(metric, epochs, classes))


def _columns() -> dict[str, object]:
    return {name: st.column_config.NumberColumn(title, format="%d" if name == "epoch" else "%.4f")
            for name, title in history.TITLES.items()}


def _results(view: View) -> None:
    with st.container(horizontal=True, key="results", gap="medium"):
        if view.score:
            st.metric("Test accuracy", f"{view.score['test_accuracy']:.1%}", width="content",
                      help="Share of the test examples that are classified correctly, after the last epoch shown.")
            st.metric("Test cross-entropy", f"{view.score['test_crossentropy']:.3f}", width="content",
                      help="How surprised the network is by the test labels, after the last epoch shown; lower is "
                           "better.")
        st.metric("Epochs", len(view.epochs), width="content")
        st.metric("Duration", texts.duration(sum(row["seconds"] for row in view.epochs)), width="content",
                  help="Time spent training these epochs.")
        st.metric("Device", view.run.device or "–", width="content")
    if not view.score and view.scored:
        after = ", ".join(map(str, view.scored))
        st.caption(f"The test set was scored after epoch {after}; it is touched only when a run ends.")
