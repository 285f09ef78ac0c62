"""The comparison on the page: the runs that were put beside one another, one chart over all of them, and a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd
import streamlit as st

from explorer.analysis import comparison, history, run_diff, sweep
from explorer.analysis.comparison import ComparedRun, Result
from explorer.config import labels as run_labels
from explorer.config.run_config import Demand, RunConfig
from explorer.engine.engine import Engine
from explorer.engine.run_view import DONE, UNKNOWN, RunView
from explorer.lessons.measures import measured
from explorer.store.store import DIVERGED, FINISHED, QUEUED, RUNNING
from explorer.ui import hidden_results, state, submit
from explorer.ui.charts import comparison as comparison_chart
from explorer.ui.error_boundary import guarded
from explorer.ui.panels import lessons as lessons_panel
from explorer.ui.panels import overlays
from explorer.ui.translate import labels, language, n, shown, t, told

REFRESH_SECONDS = 0.5
# How a run of the comparison stands; every other state is its own word.
_STATES = {UNKNOWN: "untrained", QUEUED: "waiting", RUNNING: "training", DONE: "done", FINISHED: "paused"}
_COLUMNS = ("run", "state", "parameters", "best_epoch", "best", "best_accuracy", "gap_at_best", "gap",
            "best_test_accuracy", "test_accuracy", "weights", "zeros", "seconds", "device")
_FORMATS = {"parameters": "localized", "best_epoch": "%d", "best": "%.3f", "best_accuracy": "percent",
            "gap_at_best": "%.3f", "gap": "%.3f", "best_test_accuracy": "percent", "test_accuracy": "percent",
            "weights": "%.0f", "zeros": "percent", "seconds": "%.1f"}


@guarded
def show(engine: Engine, config: RunConfig) -> None:
    """Draw the comparison below the run that the controls stand for; nothing at all while it is empty."""
    entries: list[ComparedRun] = st.session_state["compared"]
    if not entries:
        return
    st.subheader(t("comparison.title"), divider="gray", anchor=False)
    _arrange(entries, config)
    seeds = _view_controls()
    looked = _look(engine, entries, seeds)
    _train(engine, entries, looked)
    looked = _covered(entries, looked)
    is_live = any(view.is_live for views in looked for view in views)
    panel = st.fragment(_panel, run_every=REFRESH_SECONDS if is_live else None)
    panel(engine, entries, seeds, is_live)


# -- what is compared, and how it is drawn -------------------------------------------------------------------


def _arrange(entries: Sequence[ComparedRun], config: RunConfig) -> None:
    for place, (entry, name) in enumerate(zip(entries, lessons_panel.names(entries), strict=True)):
        with st.container(horizontal=True, vertical_alignment="center", key=f"compared_{place}", gap="small"):
            st.button(name, key=f"open_{place}", type="tertiary", disabled=entry.config == config and not entry.again,
                      icon=":material/visibility_off:" if entry.is_hidden else ":material/show_chart:",
                      help=t("comparison.open.help"), on_click=state.fill, args=(entry.config, entry.asked))
            for word, act, icon in (("up", comparison.moved_up, "arrow_upward"),
                                    ("show" if entry.is_hidden else "hide", comparison.toggled,
                                     "visibility" if entry.is_hidden else "visibility_off"),
                                    ("remove", comparison.without, "close")):
                if word != "up" or len(entries) > 1:
                    st.button(t(f"comparison.{word}"), key=f"{act.__name__}_{place}", type="tertiary",
                              icon=f":material/{icon}:", on_click=_change, args=(act, place))


def _change(act: Callable[[Sequence[ComparedRun], int], list[ComparedRun]], place: int) -> None:
    entries = st.session_state["compared"]
    if place < len(entries):  # a second click may come before the page has heard of the first
        st.session_state["compared"] = act(entries, place)


def _view_controls() -> int:
    # Lessons and buttons set these too, so they have no default of their own.
    for name, value in (("compared_seeds", 1), ("compared_sides", "both")):
        st.session_state.setdefault(name, value)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.selectbox(t("comparison.show_measure"), comparison_chart.MEASURES, key="compared_measure",
                     format_func=labels("metric.{}", comparison_chart.MEASURES), persist_state="session", width=190,
                     filter_mode=None, help=t("comparison.show_measure.help"))
        st.selectbox(t("comparison.smoothing"), comparison_chart.WIDTHS, key="compared_width", persist_state="session",
                     width=150, filter_mode=None, help=t("comparison.smoothing.help"),
                     format_func={width: t("comparison.smoothing.off") if width == 1
                                  else run_labels.epochs(width, language()) for width in comparison_chart.WIDTHS}.get)
        st.segmented_control(t("comparison.seeds"), comparison.SEEDS, key="compared_seeds",
                             required=True, persist_state="session", help=t("comparison.seeds.help"))
        st.segmented_control(t("comparison.sides"), comparison_chart.SIDES, key="compared_sides", required=True,
                             format_func=labels("comparison.sides.{}", comparison_chart.SIDES), persist_state="session",
                             disabled=st.session_state["compared_measure"] not in comparison_chart.TWO_SIDED,
                             help=t("comparison.sides.help"))
        st.toggle(t("comparison.log_x"), key="compared_log_x", persist_state="session")
        st.toggle(t("comparison.log_y"), key="compared_log_y", persist_state="session",
                  disabled=st.session_state["compared_measure"] in comparison_chart.SHARES,
                  help=t("comparison.log_y.help"))
        st.toggle(t("comparison.panels"), key="compared_panels", persist_state="session",
                  disabled=st.session_state["compared_measure"] not in comparison_chart.TWO_SIDED,
                  help=t("comparison.panels.help"))
        st.toggle(t("comparison.printed"), key="compared_printed", persist_state="session",
                  disabled=st.session_state["compared_measure"] not in comparison_chart.TWO_SIDED,
                  help=t("live.lines.help"))
        st.toggle(t("comparison.published"), key="compared_published", persist_state="session",
                  disabled=not any(map(overlays.published_of, st.session_state["compared"])),
                  help=t("comparison.published.help"))
    return st.session_state["compared_seeds"]


# -- how the runs stand --------------------------------------------------------------------------------------


def _look(engine: Engine, entries: Sequence[ComparedRun], seeds: int) -> list[list[RunView]]:
    """A view of each run with each seed."""
    return [submit.look(engine, [(config, entry.asked) for config in entry.configs(seeds)]) for entry in entries]


def _covered(entries: Sequence[ComparedRun], looked: Sequence[list[RunView]]) -> list[list[RunView]]:
    """What of it is to be seen before a guess."""
    return [[RunView(UNKNOWN, view.demand) for view in views] if hidden_results.hides(entry) else views
            for entry, views in zip(entries, looked, strict=True)]


def _train(engine: Engine, entries: Sequence[ComparedRun], looked: Sequence[Sequence[RunView]]) -> None:
    wanted = [(config, entry.asked) for entry, views in zip(entries, looked, strict=True)
              for config, view in zip(entry.configs(len(views)), views, strict=True)
              if view.state != DONE and not view.is_live]
    with st.container():
        if wanted:
            held = hidden_results.why_not(*(config for config, _ in wanted))
            st.button(n("comparison.train", len(wanted)), key="compared_train", type="primary",
                      icon=":material/play_arrow:", on_click=_submit, args=(engine, wanted), disabled=bool(held),
                      help=held)
        problem = st.session_state.pop("compared_problem", None)
        if problem:
            st.error(told(problem), icon=":material/error:")


def _submit(engine: Engine, wanted: Sequence[tuple[RunConfig, Demand]]) -> None:
    problem = submit.submit(engine, wanted)
    if problem:
        st.session_state["compared_problem"] = problem


# -- what moves ----------------------------------------------------------------------------------------------


@guarded
def _panel(engine: Engine, entries: Sequence[ComparedRun], seeds: int, was_live: bool) -> None:
    state.rerun_if_put()
    looked = _covered(entries, _look(engine, entries, seeds))
    if any(view.is_live for views in looked for view in views) != was_live:
        st.rerun()  # buttons and timer belong to the page
    names = lessons_panel.names(entries)
    tables = [[comparison_chart.with_gap(entry.shown(history.table(view.epochs))) for view in views]
              for entry, views in zip(entries, looked, strict=True)]
    with st.container():
        overlays.curves(entries, names, tables, seeds, was_live)
    results = [[_result(entry, view, table) for view, table in zip(views, each, strict=True)]
               for entry, views, each in zip(entries, looked, tables, strict=True)]
    chosen = _table(entries, names, looked, results, seeds)
    with st.container():
        _words(engine, entries, names, results, chosen, seeds)
        lessons_panel.show_reading(engine, {
            entry.key: measured(each[0], entry, *views[0].scores.values())
            for entry, views, each in zip(entries, looked, tables, strict=True) if views[0].state == DONE})


def _result(entry: ComparedRun, view: RunView, table: pd.DataFrame) -> Result | None:
    return entry.result(table, view.scores.values(), (view.run.device if view.run else "") or "")


def _table(entries: Sequence[ComparedRun], names: Sequence[str], looked: Sequence[Sequence[RunView]],
           results: Sequence[Sequence[Result | None]], seeds: int) -> list[int]:
    """The table, a row for each run with its own seed. Returns: the places of the two whose words are told."""
    rows = []
    for entry, name, views, found in zip(entries, names, looked, results, strict=True):
        one, view = found[0], views[0]
        word = DIVERGED if view.state == DONE and view.run.status == DIVERGED else _STATES.get(view.state, view.state)
        said = t("predict.state") if hidden_results.hides(entry) else sweep.state_words(word, language())
        if view.is_live or (one and word not in ("done", DIVERGED)):
            said = f"{said}, {t('sweep.reached', reached=len(view.epochs), epochs=entry.asked.epochs)}"
        rows.append({"run": name, "state": said, "parameters": entry.config.parameters, **{
            field: getattr(one, field, None) for field in _COLUMNS if field not in ("run", "state", "parameters")}})
    table = pd.DataFrame(rows, columns=list(_COLUMNS))
    event = st.dataframe(
        table, hide_index=True, key="compared_table", placeholder="–", on_select="rerun", selection_mode="multi-row",
        column_config={name: st.column_config.NumberColumn(_title(name), format=_FORMATS[name],
                                                           help=t(f"comparison.column.{name}.help"))
                       if name in _FORMATS else st.column_config.TextColumn(_title(name))
                       for name in _COLUMNS})
    if seeds > 1:
        st.caption(t("comparison.own_seed"))
    marked = [place for place in event.selection.rows if place < len(entries)]
    if len(marked) >= 2:
        return sorted(marked)[:2]
    if len(entries) > 2:
        st.caption(t("comparison.tick"))
    return [0, 1] if len(entries) > 1 else []


def _title(column: str) -> str:
    if column in ("best_test_accuracy", "test_accuracy"):
        # Wherever a test score stands, it is said which epoch it belongs to.
        epoch = t("comparison.best" if column.startswith("best") else "comparison.last")
        return f"{t('comparison.column.test_accuracy')} ({epoch})"
    return t(f"comparison.column.{column}")


def _repeat(engine: Engine, entries: Sequence[ComparedRun]) -> None:
    """Ask for the same runs with further seeds, and show them."""
    seeds = comparison.SEEDS[1]
    state.put({"compared_seeds": seeds})
    _submit(engine, [(config, entry.asked) for entry in entries for config in entry.configs(seeds)])


def _words(engine: Engine, entries: Sequence[ComparedRun], names: Sequence[str],
           results: Sequence[Sequence[Result | None]], chosen: Sequence[int], seeds: int) -> None:
    if len(chosen) < 2:
        st.caption(t("comparison.one"))
        return
    one, other = (entries[place] for place in chosen)
    titles = [names[place] for place in chosen]
    said = [] if lessons_panel.is_riddle() else [run_diff.settings_sentence(one, other, titles, language())]
    first, second = (results[place][0] for place in chosen)
    if first and second:
        said.append(run_diff.results_sentence(first, second, titles, language()))
    else:
        said.append(t("comparison.no_results"))
    each = [[found.best for found in results[place] if found] for place in chosen]
    said.append(run_diff.seeds_sentence(*each, titles, language(), runs=len(entries)))
    st.markdown(shown(" ".join(filter(None, said))))
    if seeds == 1:
        held = hidden_results.why_not(one.config, other.config)
        st.button(t("comparison.repeat", seeds=comparison.SEEDS[1]), key="compared_repeat",
                  icon=":material/casino:", on_click=_repeat, args=(engine, [one, other]), disabled=bool(held),
                  help=held or t("comparison.repeat.help"))
    warning = run_diff.warning(one, other, language())
    if warning:
        st.warning(warning, icon=":material/warning:")
