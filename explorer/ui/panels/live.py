"""The live view: progress, curves, one sentence and the result of the run that the controls stand for."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow
import streamlit as st

from explorer.analysis import diagnosis, diagnosis_text, history, suggestion
from explorer.analysis.comparison import ComparedRun
from explorer.config import labels as run_labels
from explorer.config.plan import stopping_epoch
from explorer.config.run_config import Demand, RunConfig
from explorer.data import EMBEDDED
from explorer.engine.engine import Engine
from explorer.engine.run_view import DONE, UNKNOWN, RunView
from explorer.engine.snapshots import RunSnapshot
from explorer.store.store import DIVERGED, FAILED, FINISHED, INTERRUPTED, QUEUED, STOPPED
from explorer.ui import drawing, hidden_results, refresh_rate, state, visitor
from explorer.ui.charts import curves
from explorer.ui.charts import prediction as prediction_chart
from explorer.ui.error_boundary import guarded, unusable
from explorer.ui.panels import lessons as lessons_panel
from explorer.ui.panels import prediction as prediction_panel
from explorer.ui.panels import run_header
from explorer.ui.translate import labels, language, n, t, told

PACE = refresh_rate.Pace()
# Between two drawings while the training process is starting.
STARTING_SECONDS = 0.6
# With more runs before one's own, the page offers something to do meanwhile.
MANY_AHEAD = 4
# Epochs that take so long tell of their batches.
LONG_EPOCH_SECONDS = 1.0
# Failing in one of these, it is the data that are at fault.
DATA_PHASES = ("loading", "downloading", "preparing")
# What the training line shows: measured like the validation line, or as Keras prints it.
LINES = ("measured", "printed")


def show(engine: Engine, config: RunConfig, demand: Demand) -> None:
    """Draw the run: its buttons, then everything that moves. A press on Train draws this part alone."""
    st.session_state["draw_whole_page"] = False
    st.fragment(_show)(engine, config, demand)


@guarded
def _show(engine: Engine, config: RunConfig, demand: Demand) -> None:
    state.rerun_if_put()
    if st.session_state["draw_whole_page"]:
        st.rerun()  # what was pressed here shows elsewhere too
    run_id = engine.run_id(config)
    view = hidden_results.view(config, engine.look(run_id, demand))
    run_header.show(engine, config, demand, run_id, view)
    # Whatever comes and goes here, what follows keeps its place: the page updates it by its place.
    with st.container():
        run_header.elsewhere(engine, run_id)
    # A timer runs only while there is something to wait for.
    st.session_state["pace"] = seconds = _seconds(engine)
    panel = st.fragment(_panel, run_every=seconds if view.is_live else None)
    panel(engine, config, demand, run_id, view.is_live)


@guarded
def _panel(engine: Engine, config: RunConfig, demand: Demand, run_id: str, was_live: bool) -> None:
    state.rerun_if_put()
    if not was_live:
        _draw(engine, config, demand, run_id, was_live)
        return
    with PACE.turn(visitor.person()):
        _draw(engine, config, demand, run_id, was_live)
    seconds = _seconds(engine)
    if seconds != st.session_state["pace"]:
        st.session_state["pace"] = seconds
        refresh_rate.keep(seconds)


def _seconds(engine: Engine) -> float:
    """Between two drawings. While nothing is trained here yet, they would only take the time of what is starting."""
    return PACE.seconds if engine.hardware else max(PACE.seconds, STARTING_SECONDS)


def _draw(engine: Engine, config: RunConfig, demand: Demand, run_id: str, was_live: bool) -> None:
    # Whether it has ended is read with the rows, in one snapshot: the last epoch is never missed.
    sight, status = engine.sight(run_id), ""
    if hidden_results.is_on(config):
        status = t("predict.covered.here") if sight.run else ""
        sight = RunSnapshot((None, [], {}))
    view = engine.view(run_id, sight, demand)
    if view.is_live != was_live:
        st.rerun()  # buttons and timer belong to the page
    # One place that is always there, whatever stands in it: what follows keeps its own, and is not made anew.
    with st.container():
        _status(engine, view, status)
        if engine.trouble and view.is_live:
            st.warning(told(unusable(engine.trouble)), icon=":material/warning:")
        if engine.why_broken and view.is_live:
            st.warning(told(engine.why_broken), icon=":material/warning:")
        _failure(view, config)
    # What many see of one run is made once for all of them.
    shown = sight.once(history.table, demand.epochs)
    _curves(sight, config, demand, view)
    with st.container():
        found = sight.once(_diagnosed, demand.epochs, config.info.classes, config.batch_norm)
        # While it moves, the words keep to their line: what stands below them is not to jump about.
        words = (diagnosis_text.brief if view.is_live else diagnosis_text.sentence)(found, language())
        if words:
            st.markdown(words)
        if view.epochs and not view.is_live:
            _suggestion(engine, found, config, demand)
        _notice(view, config)
        _meanwhile(engine, view)
    if view.epochs:
        if not view.is_live:
            _results(view)
        # Nobody sees a table that is folded away: it is sent, and the browser draws it, once it is opened.
        why = st.expander(t("diagnosis.why"), key="why", on_change="rerun", icon=":material/search_insights:")
        if why.open:
            why.dataframe(pd.DataFrame(diagnosis_text.grounds(found, language())), hide_index=True, key="grounds",
                          column_config={name: t(f"diagnosis.column.{name}")
                                         for name in ("finding", "value", "numbers", "confidence")})
            why.caption(t("diagnosis.why.note"))
        numbers = st.expander(t("live.numbers"), key="numbers", on_change="rerun", icon=":material/table_rows:")
        if numbers.open:
            numbers.dataframe(shown, hide_index=True, height=240, column_config=_columns())


def _suggestion(engine: Engine, found: diagnosis.Diagnosis, config: RunConfig, demand: Demand) -> None:
    """One thing to try next, as a button that sets the controls."""
    offered = suggestion.suggest(found, config, demand, engine.settings)
    if offered:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(offered.label(language()), key="suggestion", icon=":material/lightbulb:", on_click=state.fill,
                      args=(offered.config, offered.demand), help=t("live.suggestion.help"))
            st.caption(offered.why(language()), width="content")


def _status(engine: Engine, view: RunView, covered: str) -> None:
    """One line above the curves, in every state: nothing moves when a run begins or ends.

    Args:
        covered: what is said in its place of a run that is not to be shown yet.
    """
    fraction, text = view.fraction, ""
    run = view.run
    if view.state == UNKNOWN:
        text = covered or t("live.status.unknown")
    elif view.state == QUEUED and engine.hardware is None:
        text = f"{t('phase.starting')} …"
    elif view.state == QUEUED:
        waiting = n("live.status.queued", view.place) if view.place else t("live.status.next")
        text = t("live.status.wait", waiting=waiting, duration=_about(view.wait))
    elif view.state == DONE and len(view.epochs) < view.demand.epochs and run.status != DIVERGED:
        stop = stopping_epoch([row["val_crossentropy"] for row in view.epochs], view.demand.patience)
        fraction, text = 1.0, t("live.status.stopped", stop=stop, epochs=view.demand.epochs)
    elif not view.is_live:
        text = t("live.status.still", reached=len(view.epochs), epochs=view.demand.epochs)
    elif run.phase == "downloading":
        done, total = run.progress.get("done", 0), run.progress.get("total", 0)
        fraction = min(1.0, done / total) if total else 0.0
        text = t("live.status.downloading", done=f"{done / 1e6:.1f}", total=f"{total / 1e6:.1f}")
    elif run.phase != "training":
        text = f"{t('phase.' + (run.phase or 'starting'))} …"
    else:
        # Where a checkpoint was lost, epochs that are stored already are computed again.
        parts = [t("live.status.again" if view.epoch <= view.reached else "live.status.epoch",
                   epoch=min(view.epoch, view.demand.epochs), epochs=view.demand.epochs)]
        # In an epoch of no time a batch is no news, and on a telephone it makes a second line and takes it away again.
        is_long = view.seconds_per_epoch is None or view.seconds_per_epoch >= LONG_EPOCH_SECONDS
        if run.progress.get("step") and is_long:
            parts.append(t("live.status.batch", step=run.progress["step"], steps=run.progress["steps"]))
        if view.seconds_per_epoch is not None:
            parts.append(t("live.status.pace", seconds=f"{view.seconds_per_epoch:.2f}"))
            parts.append(t("live.status.left", duration=run_labels.duration(view.seconds_left, language())))
        parts.append(run.device or t("live.status.no_device"))
        text = " · ".join(parts)
    st.progress(fraction, text)


def _about(seconds: float | None) -> str:
    """An estimate, no more exact than whole seconds."""
    if seconds is None:
        return t("live.status.about.none")
    whole = max(1, round(seconds))
    return t("live.status.about", duration=t("duration.seconds", seconds=whole) if whole < 60
             else run_labels.duration(whole, language()))


def _meanwhile(engine: Engine, view: RunView) -> None:
    """Lessons to open while a run waits for long."""
    if view.state != QUEUED or view.place <= MANY_AHEAD:
        return
    found = lessons_panel.ready(engine)
    if found:
        st.caption(t("live.meanwhile"))
        with st.container(horizontal=True, gap="small"):
            for name, part in found.items():
                st.button(lessons_panel.title(name), key=f"meanwhile_{name}", type="tertiary", icon=":material/school:",
                          on_click=lessons_panel.open_ready, args=(engine, name, part), help=t("live.meanwhile.help"))


def _failure(view: RunView, config: RunConfig) -> None:
    if view.is_live or view.run is None:
        return
    message = told(view.run.message)
    if view.run.status == FAILED:
        st.error(message, icon=":material/error:")
        if view.run.phase in DATA_PHASES and config.dataset in EMBEDDED:
            instead = EMBEDDED[config.dataset]
            title = run_labels.dataset(config.with_(dataset=instead), language())
            st.button(t("live.embedded", dataset=title), key="embedded",
                      on_click=_use_embedded, args=(config, view.demand, instead))
    elif view.run.status == INTERRUPTED:
        st.warning(f"{message} {_reached(view)}", icon=":material/warning:")


def _notice(view: RunView, config: RunConfig) -> None:
    if view.state == UNKNOWN:
        st.info(t("predict.hint" if hidden_results.is_on(config) else "live.hint"), icon=":material/school:")
    elif view.run.status == STOPPED and view.state != DONE:
        st.info(f"{told(view.run.message) or t('live.stopped')} {_reached(view)}", icon=":material/pause_circle:")
    elif view.run.status in (FINISHED, DIVERGED) and view.run.message:
        st.warning(told(view.run.message), icon=":material/warning:")


def _reached(view: RunView) -> str:
    return n("live.kept", view.reached) if view.reached else t("live.kept.none")


def _use_embedded(config: RunConfig, demand: Demand, dataset: str) -> None:
    state.fill(config.with_(dataset=dataset), demand)


def _diagnosed(epochs: Sequence[Mapping[str, Any]], wanted: int, classes: int,
               batch_norm: bool) -> diagnosis.Diagnosis:
    return diagnosis.diagnose(history.table(epochs, wanted), classes, batch_norm)


def _rows(epochs: Sequence[Mapping[str, Any]], demand: Demand, printed: bool) -> pyarrow.Table:
    """What the charts are drawn from, as it is sent."""
    rows = curves.frame(history.table(epochs, demand.epochs), demand.patience, printed)
    return pyarrow.Table.from_pandas(rows, preserve_index=False)


def _curves(sight: RunSnapshot, config: RunConfig, demand: Demand, view: RunView) -> None:
    printed = st.session_state.get("live_lines") == "printed"
    rows = sight.once(_rows, demand, printed)
    guess = prediction_panel.guess_of(ComparedRun(config, demand).key)
    # What was guessed beyond the end stays in sight.
    end = max(curves.end(len(view.epochs), demand.epochs, view.is_live), min(guess or 0, demand.epochs))
    for column, metric in zip(st.columns(2), curves.METRICS, strict=True):
        with column:
            # Neither the chart nor its text alternative may change while a run trains: each change would make the
            # chart anew. The numbers are in the labels of its points and in the sentence below.
            drawing.draw(rows, _spec(metric, end, config.info.classes, language(), printed,
                                     guess if metric == "crossentropy" else None),
                         curves.titles(language(), printed), f"chart_{metric}", curves.describe(metric, language()))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.segmented_control(t("live.lines"), LINES, key="live_lines", default="measured", required=True,
                             format_func=labels("live.lines.{}", LINES), persist_state="session",
                             help=t("live.lines.help"), label_visibility="collapsed")
        if printed:
            st.caption(t("live.lines.note"), width="content")


@functools.lru_cache(maxsize=100)
def _curves_spec(metric: str, has_dots: bool, classes: int, language: str, printed: bool) -> dict:
    # Whatever number of epochs stands for all on its side of the limit.
    return curves.spec(curves.curves(metric, curves.MAX_DOTS + (not has_dots), classes, language, printed))


# Nobody changes what it gives: it is copied before it is sent.
@functools.lru_cache(maxsize=200)
def _spec(metric: str, epochs: int, classes: int, language: str, printed: bool, guess: int | None) -> dict:
    made = _curves_spec(metric, epochs <= curves.MAX_DOTS, classes, language, printed)
    made = curves.stretched(made, epochs, language)
    seen = [(guess, curves.RUN_COLOR)] if guess and guess <= epochs else []
    return prediction_chart.laid_over(made, seen, language, is_labeled=True)


def _columns() -> dict[str, object]:
    return {name: st.column_config.NumberColumn(t(f"column.{name}"), format="%d" if name == "epoch" else "%.4f")
            for name in history.COLUMNS}


def _results(view: RunView) -> None:
    with st.container(horizontal=True, key="results", gap="medium"):
        best, last = view.best_score, view.score
        if best and last and best["epoch"] == last["epoch"]:
            _score(best, "both")
        else:
            for score, which in ((best, "best"), (last, "last")):
                if score:
                    _score(score, which)
        st.metric(t("control.epochs"), len(view.epochs), width="content")
        st.metric(t("live.duration"), run_labels.duration(sum(row["seconds"] for row in view.epochs), language()),
                  width="content", help=t("live.duration.help"))
        st.metric(t("control.device"), view.run.device or "–", width="content")
    if not view.score and view.scored:
        st.caption(t("live.scored", epochs=", ".join(map(str, view.scored))))


def _score(score: Mapping[str, Any], which: str) -> None:
    """A test score and the epoch that it belongs to: the best one, the last one, or both in one."""
    epoch = t(f"live.test.{which}", epoch=score["epoch"])
    for name, form in (("test_accuracy", ".1%"), ("test_crossentropy", ".3f")):
        value = score[name]
        st.metric(f"{t(f'live.{name}')} ({epoch})", "–" if value is None else f"{value:{form}}", width="content",
                  help=t(f"live.{name}.help"))
