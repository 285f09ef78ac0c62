"""The heat map of a sweep: a grid and how its runs stand to Altair. Brighter is better; a number is in each cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

from explorer.analysis.sweep import DONE, EMPTY, MOVING, WAITING, CellState, Grid, number, state_words
from explorer.i18n import say
from explorer.ui.charts.theme import distinct, fitted, without_data

CELL_HEIGHT = 52
# Pixels above and below the cells: axis and legend, and the title of the rows.
AROUND_HEIGHT, TITLE_HEIGHT = 132, 14
# Space for the axis, the legend and the titles around the cells.
MARGIN_WIDTH, CELL_WIDTH, MIN_WIDTH = 120, 100, 340
# Without the darkest tenth, so that the worst cell stands out from a dark page too.
SCHEME = alt.SchemeParams(name="viridis", extent=[0.1, 1.0])
# Readable on white and on near-black alike.
EDGE_COLOR, TROUBLE_COLOR = "#888888", "#d9534f"
DARK_INK, LIGHT_INK = "#14181f", "#f4f6f9"
# A moving cell has a paler color than one that is done.
MOVING_OPACITY = 0.35
# So many times the width of the middle half of the values outside it, one value would take the whole scale for itself.
FENCE = 10.0

SELECTION = "cell"
DATA = "sweep"
# A run that somebody has stopped, or that is wanted for longer by now, is no trouble.
_KINDS = {DONE: "done", EMPTY: "empty", "stopped": "halted", "paused": "halted"}

def frame(grid: Grid, standings: Sequence[CellState], epochs: int, measure: str = "best",
          opened: int | None = None, language: str = "en") -> pd.DataFrame:
    """The rows that the chart draws.

    Args:
        grid: what was swept.
        standings: one a cell, row by row.
        epochs: how many are wanted of each run.
        measure: a name in `MEASURES`.
        opened: the cell whose run is shown elsewhere on the page.
        language: of its words.

    Returns:
        One row a cell. `shade` is the value that colors it, empty where there is none to show: a run that has
        ended before it was done has a name instead.
    """
    down = grid.down.labels(language) if grid.down else [""]
    places = [(across, row) for row in down for across in grid.across.labels(language)]
    rows = []
    for cell, ((across, row), one) in enumerate(zip(places, standings, strict=True)):
        moves = one.state in (MOVING, WAITING)
        value = one.value(measure) if moves or one.state == DONE else None
        value = value if value is not None and math.isfinite(value) else None
        state = state_words(one.state, language)
        reached = say("sweep.reached", language, reached=one.epochs, epochs=epochs)
        rows.append({
            "cell": cell, "across": across, "down": row, "state": state, "value": value,
            "text": number(value) if value is not None else "" if one.state == EMPTY else state,
            "note": reached if one.epochs and one.state != DONE else "",
            "kind": "moving" if moves else _KINDS.get(one.state, "trouble"),
            "opened": cell == opened, "settings": grid.words(cell, language), "best": one.best,
            "best_epoch": one.best_epoch, "gap": one.gap, "accuracy": one.accuracy,
            "test_accuracy": one.test_accuracy, "epochs": reached,
        })
    numbers = ("value", "best", "best_epoch", "gap", "accuracy", "test_accuracy")
    made = pd.DataFrame(rows).astype(dict.fromkeys(numbers, "float64"))
    made.insert(5, "shade", made["value"].clip(*_fences(made["value"])))
    return made


# What is told of a run under a name of its own.
_TOLD = ("state", "best", "best_epoch", "gap", "accuracy", "test_accuracy", "epochs")


def titles(grid: Grid, language: str = "en") -> dict[str, str]:
    """What the columns of `frame` are called."""
    found = {name: say(f"data.{name}", language)
             for name in ("cell", "shade", "value", "text", "note", "kind", "opened")}
    found |= {name: say(f"sweep.cell.{name}", language) for name in _TOLD}
    found |= {"settings": say("sweep.cell.run", language), "across": grid.across.title(language),
              "down": grid.down.title(language) if grid.down else say("sweep.nothing", language)}
    return distinct(found)


def _fences(values: pd.Series) -> tuple[float, float]:
    low, high = values.quantile(0.25), values.quantile(0.75)
    if not high > low:
        return float("-inf"), float("inf")
    inside = values[values.between(low - FENCE * (high - low), high + FENCE * (high - low))]
    return float(inside.min()), float(inside.max())


def width(grid: Grid) -> int:
    """Pixels that suit the grid, where there is so much room."""
    return max(MIN_WIDTH, MARGIN_WIDTH + CELL_WIDTH * len(grid.across.values))


def chart(grid: Grid, measure: str = "best", language: str = "en") -> alt.LayerChart:
    """The cells, colored by their value, with an outline and a word where there is none.

    The chart depends on the grid and the measure only, so that a page can give it new rows without building it again.

    Returns:
        A chart without data, for a table as from `frame`; `cell` is the selection of those that were clicked.
    """
    columns, rows = len(grid.across.values), len(grid.down.values) if grid.down else 1
    across = grid.across.labels(language)
    down = grid.down.labels(language) if grid.down else None
    longest = max(map(len, across))
    x = alt.X("across:N", title=grid.across.title(language), sort=across, scale=alt.Scale(paddingInner=0.04),
              axis=alt.Axis(labelAngle=-40 if longest * columns > 40 else 0, labelOverlap=False, labelPadding=6,
                            titlePadding=8))
    y = alt.Y("down:N", title=grid.down.title(language) if grid.down else None, sort=down,
              scale=alt.Scale(paddingInner=0.06),
              axis=alt.Axis(labelOverlap=False, labelPadding=6, titleAngle=0, titleAlign="left", titleAnchor="end",
                            titleBaseline="bottom", titleX=0, titleY=-10) if grid.down else None)
    # By its key, a cell stays the same drawing with new numbers: a click may begin before an update and end after.
    base = alt.Chart(alt.NamedData(DATA)).encode(x=x, y=y, key=alt.Key("cell:Q"))
    # In a narrow cell there is no room for a second line, and in a very narrow one the number stands upright.
    roomy = f"width >= {64 * columns}"
    size = {"expr": f"max(6, min(14, width / {columns} / (width < {30 * columns} ? 1.4 : "
                    "0.58 * max(5, length(datum.text)))))"}
    angle = {"expr": f"width < {30 * columns} ? 270 : 0"}
    page_ink = {"expr": f"luminance(background) > 0.4 ? '{DARK_INK}' : '{LIGHT_INK}'"}
    told = {"settings:N": "run", "state:N": "state", "epochs:N": "epochs", "best:Q": "best",
            "best_epoch:Q": "best_epoch", "accuracy:Q": "accuracy", "test_accuracy:Q": "test_accuracy", "gap:Q": "gap"}
    formats = {"best:Q": ".4f", "best_epoch:Q": "d", "accuracy:Q": ".1%", "test_accuracy:Q": ".1%", "gap:Q": ".4f"}
    tooltip = [alt.Tooltip(field, title=say(f"sweep.cell.{name}", language), format=formats.get(field, alt.Undefined))
               for field, name in told.items()]
    clicked = alt.selection_point(name=SELECTION, fields=["cell"], on="click", toggle="true", clear=False)
    outlines = (
        base.mark_rect(fillOpacity=0, strokeWidth=1.4, cursor="pointer",
                       strokeDash={"expr": "datum.kind == 'empty' ? [3, 4] : [1, 0]"})
        .encode(stroke=alt.condition("datum.kind == 'trouble'", alt.value(TROUBLE_COLOR), alt.value(EDGE_COLOR)),
                tooltip=tooltip)
        .add_params(clicked))
    cells = (
        base.transform_filter("isValid(datum.shade)")
        .mark_rect(cursor="pointer")
        .encode(
            color=alt.Color("shade:Q", title=say(f"sweep.legend.{measure}", language),
                            scale=alt.Scale(scheme=SCHEME, reverse=True, zero=False, nice=False),
                            legend=alt.Legend(
                                aria=False, orient="top", direction="horizontal", gradientLength=220,
                                gradientThickness=10, titleLimit=MIN_WIDTH * 2, tickCount=4, offset=22,
                                labelExpr="isFinite(datum.value) ? format(datum.value, '.3~f') : ''")),
            opacity=alt.condition("datum.kind == 'done'", alt.value(1), alt.value(MOVING_OPACITY)),
            tooltip=tooltip))
    ring = base.transform_filter("datum.opened").mark_rect(
        fillOpacity=0, stroke=page_ink, strokeWidth=3.5, cursor="pointer")
    ink = alt.condition("luminance(scale('color', datum.shade)) > 0.22", alt.value(DARK_INK), alt.value(LIGHT_INK))
    lift = {"expr": f"datum.note && {roomy} ? -8 : 0"}
    done = base.transform_filter("datum.kind == 'done'").mark_text(
        fontSize=size, angle=angle, fontWeight=600, cursor="pointer").encode(text="text:N", color=ink)
    others = base.transform_filter("datum.kind != 'done'").mark_text(
        fontSize=size, angle=angle, dy=lift, color=page_ink, cursor="pointer").encode(text="text:N")
    notes = base.transform_filter("datum.kind != 'done'").mark_text(
        fontSize=11, dy=10, color=page_ink, cursor="pointer").encode(
        text=alt.condition(roomy, "note:N", alt.value("")))
    around = AROUND_HEIGHT + (6 * longest if longest * columns > 40 else 0) + (TITLE_HEIGHT if grid.down else 0)
    return alt.layer(cells, outlines, ring, done, others, notes, height=CELL_HEIGHT * rows + around,
                     width="container", autosize=fitted())


def spec(grid: Grid, measure: str = "best", language: str = "en") -> dict[str, Any]:
    """The chart as Vega-Lite without data, to be drawn again and again with new rows."""
    return without_data(chart(grid, measure, language))


def describe(grid: Grid, measure: str = "best", language: str = "en") -> str:
    """Text alternative of the chart; its cells carry their numbers themselves."""
    return say("sweep.describe", language, legend=say(f"sweep.legend.{measure}", language), runs=grid.runs,
               axes=" × ".join(axis.title(language) for axis in grid.axes))
