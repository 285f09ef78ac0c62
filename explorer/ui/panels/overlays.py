"""The comparison's charts: all runs over one another or a panel a run, and what the sources printed beneath them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from explorer.analysis import comparison, history
from explorer.analysis.comparison import ComparedRun
from explorer.lessons import reference_curves
from explorer.ui import drawing, hidden_results
from explorer.ui.charts import comparison as comparison_chart
from explorer.ui.charts import curves as curve_charts
from explorer.ui.charts import prediction as prediction_chart
from explorer.ui.panels import prediction as prediction_panel
from explorer.ui.translate import language, n, t


class _Given(NamedTuple):
    """What the charts of the comparison have in common."""

    measure: str
    epochs: int
    classes: int
    log_x: bool
    log_y: bool
    bands: bool
    language: str
    printed: bool
    sides: str


def published_of(entry: ComparedRun) -> list[reference_curves.Published]:
    """What the sources printed of a run; of one that goes on with trained weights, what they printed of such a one."""
    if entry.again:
        return [one for one in reference_curves.histories() if one.is_warm_started and one.config == entry.config]
    return reference_curves.of(entry.config)


def curves(entries: Sequence[ComparedRun], names: Sequence[str], tables: Sequence[Sequence[pd.DataFrame]],
           seeds: int, is_live: bool) -> None:
    """Draw the runs that are in sight.

    Args:
        names, tables: of each run: its name, and its history with each seed.
        seeds: how many.
        is_live: whether any of the comparison waits or trains.
    """
    measure, width = st.session_state["compared_measure"], st.session_state["compared_width"]
    seen = [number for number, entry in enumerate(entries) if not entry.is_hidden]
    if not seen:
        st.info(t("comparison.all_hidden"), icon=":material/visibility_off:")
        return
    printed = st.session_state["compared_printed"] and measure in comparison_chart.TWO_SIDED
    sides = st.session_state["compared_sides"]
    drawn = []
    for number in seen:
        begun = [table for table in tables[number] if len(table)] or tables[number][:1]
        if printed:
            begun = [history.as_printed(table) for table in begun]
        drawn.append(begun[0] if seeds == 1 else comparison.over_seeds(begun, comparison_chart.columns(measure, sides)))
    lines = [comparison_chart.Line(names[number], entries[number].color) for number in seen]
    classes = min(entries[number].config.info.classes for number in seen)
    guessed = [prediction_panel.guess_of(entries[number].key) for number in seen]
    is_printed = st.session_state["compared_published"]
    beneath = [published_of(entries[number]) if is_printed and not hidden_results.hides(entries[number]) else []
               for number in seen]
    wanted = max(entries[number].demand.epochs for number in seen)
    # What was guessed or published beyond the end stays in sight.
    beyond = (len(one.history)
              for several in beneath for one in several) if measure in comparison_chart.TWO_SIDED else ()
    epochs = max(curve_charts.end(max(len(table) for table in drawn), wanted, is_live),
                 min(wanted, max([*(guess or 0 for guess in guessed), *beyond])))
    given = _Given(measure, epochs, classes, st.session_state["compared_log_x"], st.session_state["compared_log_y"],
                   seeds > 1, language(), printed, sides)
    if st.session_state["compared_panels"] and measure in comparison_chart.TWO_SIDED:
        rows = _panels(drawn, lines, beneath, guessed, given, width)
    else:
        every = [one for several in beneath for one in several]
        rows = [_rows(drawn, every, given, width)]
        _chart("chart_compared", rows[0], lines, every, guessed, given)
    if given.log_y and measure not in comparison_chart.SHARES:
        left_out = sum(map(comparison_chart.without_place, rows))
        if left_out:
            st.caption(n("comparison.left_out", left_out))
    if printed:
        st.caption(t("live.lines.note"))
    if any(guessed):
        st.caption(t("predict.lines"))
    if width > 1:
        st.caption(t("comparison.smoothed", width=width))
    if seeds > 1:
        st.caption(t("comparison.bands"))
    if any(beneath):
        _distances([(names[number], tables[number][0], several) for number, several in zip(seen, beneath, strict=True)])


def _rows(drawn: Sequence[pd.DataFrame], beneath: Sequence[reference_curves.Published], given: _Given,
          width: int) -> pd.DataFrame:
    tables = [one.table() for one in beneath]
    tables = [table[table["epoch"] <= given.epochs] for table in tables]
    frames = list(map(history.as_printed, tables)) if given.printed else tables
    return comparison_chart.frame(drawn, given.measure, width, frames, given.sides)


def _chart(key: str, rows: pd.DataFrame, lines: Sequence[comparison_chart.Line],
           beneath: Sequence[reference_curves.Published],
           guessed: Sequence[int | None], given: _Given, span: tuple[float, float] | None = None) -> None:
    # Of two sources that printed the same run, both lines are drawn.
    sources = tuple(_source(one, given.printed) for one in beneath)
    drawing.draw(rows, _spec(tuple(lines), sources, tuple(guessed), given, span),
                 comparison_chart.titles(rows, lines, given.measure, given.language, sources), key,
                 comparison_chart.describe(given.measure, given.language))


def _source(one: reference_curves.Published, printed: bool) -> str:
    name = _short(one)
    return name if printed or not one.is_penalised else t("comparison.published.penalised", name=name)


def _short(one: reference_curves.Published) -> str:
    return f"{one.source} · {one.experiment.replace('_', ' ')}"


def _panels(drawn: Sequence[pd.DataFrame], lines: Sequence[comparison_chart.Line],
            beneath: Sequence[Sequence[reference_curves.Published]], guessed: Sequence[int | None], given: _Given,
            width: int) -> list[pd.DataFrame]:
    """One small chart a run, two beside one another, all with the same values on their axes. Returns: their rows."""
    rows = [_rows([one], several, given, width) for one, several in zip(drawn, beneath, strict=True)]
    span = comparison_chart.span_of(rows, given.log_y and given.measure not in comparison_chart.SHARES)
    for first in range(0, len(lines), 2):
        for column, number in zip(st.columns(2), range(first, min(first + 2, len(lines))), strict=False):
            with column:
                _chart(f"chart_panel_{number}", rows[number], [lines[number]], beneath[number], [guessed[number]],
                       given, span)
    return rows


def _distances(measured: Sequence[tuple[str, pd.DataFrame, Sequence[reference_curves.Published]]]) -> None:
    """How far each run lies from what its sources printed."""
    rows = []
    for name, table, several in measured:
        for one in several:
            found = reference_curves.distance(one, table)
            if found:
                rows.append({
                    "run": name, "best_epoch": found.best_epoch, "measured_best_epoch": found.measured_best_epoch,
                    "best": found.best, "measured_best": found.measured_best,
                    "best_apart": found.measured_best - found.best, "last": found.last,
                    "measured_last": found.measured_last, "source": _source(one, False)})
    if not rows:
        st.caption(t("comparison.published.none"))
        return
    titles = {one.source: one.title for _, _, several in measured for one in several}
    st.caption(t("comparison.published.apart", titles=" · ".join(f"{name}: {title}" for name, title in titles.items())))
    columns = {name: t(f"comparison.published.{name}") for name in rows[0]}
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="compared_distances", column_config={
        name: st.column_config.TextColumn(title) if name in ("run", "source")
        else st.column_config.NumberColumn(title, format="%d" if name.endswith("epoch") else "%.4f")
        for name, title in columns.items()})


@st.cache_data(show_spinner=False, max_entries=200)
def _spec(lines: tuple[comparison_chart.Line, ...], sources: tuple[str, ...], guessed: tuple[int | None, ...],
          given: _Given, span: tuple[float, float] | None) -> dict[str, Any]:
    made = comparison_chart.spec(comparison_chart.chart(
        lines, given.measure, given.epochs, given.classes, given.log_x, given.log_y, given.bands, given.language,
        published=sources, span=span, printed=given.printed, sides=given.sides,
        height=comparison_chart.PANEL_HEIGHT if span else comparison_chart.HEIGHT))
    seen = [(guess, comparison_chart.COLORS[line.color]) for guess, line in zip(guessed, lines, strict=True)
            if guess and guess <= given.epochs]
    return prediction_chart.laid_over(made, seen, given.language)
