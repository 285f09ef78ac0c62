"""The class wall on the page: everybody's runs as one picture that fills in, and a click that opens one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from explorer.config import labels
from explorer.config.datasets import DATASETS
from explorer.config.run_config import RunConfig
from explorer.engine.engine import Engine
from explorer.engine.recent_runs import Point
from explorer.ui import drawing, hidden_results, state
from explorer.ui.charts import class_wall as class_wall_chart
from explorer.ui.error_boundary import guarded
from explorer.ui.translate import language, t

REFRESH_SECONDS = 2.0
# The data set that the controls stand at, whichever that is.
CURRENT = ""
_CHART = "wall_chart"


def show(engine: Engine, config: RunConfig) -> None:
    """Draw the wall; nothing of it is computed while it is folded, and nothing at all where it is switched off."""
    if not engine.settings.class_wall:
        return
    part = st.expander(t("wall.title"), key="wall", on_change="rerun", icon=":material/groups:")
    if not part.open:
        return
    with part:
        st.caption(t("wall.what"))
        options = {CURRENT: t("wall.current", dataset=labels.dataset(config, language())),
                   **{name: t(f"dataset.{name}") for name in DATASETS}}
        st.selectbox(t("control.dataset"), list(options), key="wall_dataset", format_func=options.get, width=340,
                     filter_mode=None, persist_state="session", help=t("wall.dataset.help"))
        # Others train while one looks: the timer goes on for as long as the wall is open.
        st.fragment(_panel, run_every=REFRESH_SECONDS)(engine, config)


@guarded
def _panel(engine: Engine, config: RunConfig) -> None:
    state.rerun_if_put()
    dataset = st.session_state["wall_dataset"] or config.dataset
    found = class_wall_chart.comparable([point for point in engine.wall.points()
                                        if not hidden_results.is_on(point.config)], dataset, config)
    points = found.points
    st.caption(class_wall_chart.sentence(found, language()))
    rows = class_wall_chart.frame(points, config, language())
    drawing.draw(rows, _spec(language()), class_wall_chart.titles(language()), _CHART,
                 class_wall_chart.describe(language()),
                 on_select=lambda: _clicked(points))
    # By their numbers: the order changes while one chooses.
    names = {point.number: f"{point.best:.3f} · {labels.short(point.config, language())}"
             for point in sorted(points, key=lambda point: point.best)}
    st.selectbox(t("wall.open"), list(names), index=None, key="wall_open", filter_mode=None,
                 placeholder=t("wall.open.none"), help=t("wall.open.help"), disabled=not names,
                 format_func=names.__getitem__, on_change=_chosen, args=(points,))
    if any(rows["height"] < rows["best"]):
        st.caption(t("wall.beyond"))


def _clicked(points: Sequence[Point]) -> None:
    """Open the run that was clicked.

    The selection holds all that were clicked an odd number of times, so that a second click on one is told too.
    """
    numbers = [one["point"] for one in st.session_state[_CHART]["selection"].get(class_wall_chart.SELECTION, [])
               if isinstance(one, dict) and isinstance(one.get("point"), int)]
    changed = set(numbers) ^ set(st.session_state.get("wall_before", []))
    st.session_state["wall_before"] = numbers
    _open(points, changed)


def _chosen(points: Sequence[Point]) -> None:
    """Open the run that was chosen by its name; the choice is free again at once."""
    number = st.session_state["wall_open"]
    st.session_state["wall_open"] = None
    _open(points, {number})


def _open(points: Sequence[Point], numbers: set[int]) -> None:
    """Show the run of one of these numbers above, and keep it in the comparison while there is room."""
    for point in points:
        if point.number in numbers:
            state.fill(point.config, point.demand)
            state.keep(point.config, point.demand)
            return


@st.cache_data(show_spinner=False, max_entries=10)
def _spec(language: str) -> dict[str, Any]:
    return class_wall_chart.spec(language)
