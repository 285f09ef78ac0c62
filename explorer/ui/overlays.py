"""The comparison's charts: all runs over one another or a panel a run, and what the sources printed beneath them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from explorer import comparison, guesses, history, overlay
from explorer.comparison import Entry
from explorer.lessons import published
from explorer.ui import cover, predict
from explorer.ui.speech import language, t


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


def published_of(entry: Entry) -> list[published.Published]:
    """What the sources printed of a run; of one that goes on with trained weights, what they printed of such a one."""
    if entry.again:
        return [one for one in published.histories() if one.is_warm_started and one.config == entry.config]
    return published.of(entry.config)


def curves(entries: Sequence[Entry], names: Sequence[str], tables: Sequence[Sequence[pd.DataFrame]],
           seeds: int) -> None:
    """Draw the runs that are in sight.

    Args:
        names, tables: of each run: its name, and its history with each seed.
        seeds: how many.
    """
    measure, width = st.session_state["compared_measure"], st.session_state["compared_width"]
    seen = [number for number, entry in enumerate(entries) if not entry.is_hidden]
    if not seen:
        st.info(t("comparison.all_hidden"), icon=":material/visibility_off:")
        return
    printed = st.session_state["compared_printed"] and measure in overlay.TWO_SIDED
    sides = st.session_state["compared_sides"]
    drawn = []
    for number in seen:
        begun = [table for table in tables[number] if len(table)] or tables[number][:1]
        if printed:
            begun = [history.as_printed(table) for table in begun]
        drawn.append(begun[0] if seeds == 1 else comparison.over_seeds(begun, overlay.columns(measure, sides)))
    epochs = max(entries[number].demand.epochs for number in seen)
    lines = [overlay.Line(names[number], entries[number].colour) for number in seen]
    classes = min(entries[number].config.info.classes for number in seen)
    given = _Given(measure, epochs, classes, st.session_state["compared_log_x"], st.session_state["compared_log_y"],
                   seeds > 1, language(), printed, sides)
    is_printed = st.session_state["compared_published"]
    beneath = [published_of(entries[number]) if is_printed and not cover.hides(entries[number]) else []
               for number in seen]
    guessed = [predict.guess_of(entries[number].key) for number in seen]
    if st.session_state["compared_panels"] and measure in overlay.TWO_SIDED:
        _panels(drawn, lines, beneath, guessed, given, width)
    else:
        every = [one for several in beneath for one in several]
        _chart("chart_compared", drawn, lines, every, guessed, given, width)
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


def _chart(key: str, drawn: Sequence[pd.DataFrame], lines: Sequence[overlay.Line],
           beneath: Sequence[published.Published], guessed: Sequence[int | None], given: _Given, width: int,
           is_panel: bool = False) -> None:
    # Of two sources that printed the same run, both lines are drawn.
    sources = tuple(_source(one, given.printed) for one in beneath)
    tables = [one.table() for one in beneath]
    tables = [table[table["epoch"] <= given.epochs] for table in tables]
    frames = list(map(history.as_printed, tables)) if given.printed else tables
    rows = overlay.frame(drawn, given.measure, width, frames, given.sides)
    st.vega_lite_chart(rows, _spec(tuple(lines), sources, tuple(guessed), given, is_panel), key=key, width="stretch",
                       alt=overlay.describe(given.measure, given.language))


def _source(one: published.Published, printed: bool) -> str:
    name = _short(one)
    return name if printed or not one.is_penalised else t("comparison.published.penalised", name=name)


def _short(one: published.Published) -> str:
    return f"{one.source} · {one.experiment.replace('_', ' ')}"


def _panels(drawn: Sequence[pd.DataFrame], lines: Sequence[overlay.Line],
            beneath: Sequence[Sequence[published.Published]], guessed: Sequence[int | None], given: _Given,
            width: int) -> None:
    """One small chart a run, two beside one another, each with values from 0 to 1."""
    for first in range(0, len(lines), 2):
        for column, number in zip(st.columns(2), range(first, min(first + 2, len(lines))), strict=False):
            with column:
                _chart(f"chart_panel_{number}", [drawn[number]], [lines[number]], beneath[number], [guessed[number]],
                       given, width, True)


def _distances(measured: Sequence[tuple[str, pd.DataFrame, Sequence[published.Published]]]) -> None:
    """How far each run lies from what its sources printed."""
    rows = []
    for name, table, several in measured:
        for one in several:
            found = published.distance(one, table)
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
def _spec(lines: tuple[overlay.Line, ...], sources: tuple[str, ...], guessed: tuple[int | None, ...], given: _Given,
          is_panel: bool) -> dict[str, Any]:
    made = overlay.spec(overlay.chart(
        lines, given.measure, given.epochs, given.classes, given.log_x, given.log_y, given.bands, given.language,
        published=sources, unit=is_panel, printed=given.printed, sides=given.sides,
        height=overlay.PANEL_HEIGHT if is_panel else overlay.HEIGHT))
    seen = [(guess, overlay.COLOURS[line.colour]) for guess, line in zip(guessed, lines, strict=True)
            if guess and guess <= given.epochs]
    return guesses.laid_over(made, seen, given.language)
