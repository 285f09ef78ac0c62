"""Charts of a comparison: many runs in one picture, colour for the run, solid for training, dashed for validation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from explorer.charts import DASHES, HEIGHT, ticks

# Eight that can be told apart, readable on white and on near-black alike; the first is that of a single run.
COLOURS = ("#3987e5", "#d9822b", "#2f9e5b", "#d0508a", "#8f6be0", "#17a3b0", "#a98a1f", "#8a8f98")
RULE_COLOUR = "#888888"
# A curve that the legend has not singled out stays in sight.
FADED = 0.12
DATA = "overlay"
# What lies on the vertical axis; the first two have a line for training and one for validation.
MEASURES = {"crossentropy": "Cross-entropy", "accuracy": "Accuracy", "gap": "Gap", "penalty": "Penalty"}
TWO_SIDED = ("crossentropy", "accuracy")
# Widths of the moving mean, in epochs; 1 leaves the curve as it is.
WIDTHS = (1, 3, 5, 9, 15)


@dataclass(frozen=True)
class Line:
    """A run as the chart names and colours it."""

    name: str
    colour: int


def columns(measure: str) -> list[str]:
    """Columns of a history that a measure is drawn from."""
    return [f"train_{measure}", f"val_{measure}"] if measure in TWO_SIDED else [measure]


def with_gap(history: pd.DataFrame) -> pd.DataFrame:
    """A history with its gap, validation minus training cross-entropy."""
    return history.assign(gap=history["val_crossentropy"] - history["train_crossentropy"])


def smoothed(history: pd.DataFrame, names: Sequence[str], width: int) -> pd.DataFrame:
    """Each value replaced by the mean of the `width` epochs around it; of as many as there are, near the ends."""
    if width == 1:
        return history
    return history.assign(**{name: history[name].rolling(width, center=True, min_periods=1).mean() for name in names})


def frame(histories: Sequence[pd.DataFrame], measure: str, width: int = 1) -> pd.DataFrame:
    """The rows that the chart draws.

    Args:
        histories: one a line, as from `with_gap` or from `explorer.comparison.over_seeds` of such; the latter have
            columns ending in `_low` and `_high` besides, which become a band.
        measure: a name in `MEASURES`.
        width: of the moving mean, in epochs.

    Returns:
        One row an epoch, with `<part><line>` (and `<part>low<line>`, `<part>high<line>` where there is a band) for
        each line, counted from 0; the parts are `t` training and `v` validation, or `v` alone.
    """
    parts = ("t", "v") if measure in TWO_SIDED else ("v",)
    found = []
    for number, history in enumerate(histories):
        given = {}
        for part, name in zip(parts, columns(measure), strict=True):
            given[f"{part}{number}"] = name
            for end in ("low", "high"):
                if f"{name}_{end}" in history:
                    given[f"{part}{end}{number}"] = f"{name}_{end}"
        one = smoothed(history, list(given.values()), width).set_index("epoch")[list(given.values())]
        found.append(one.set_axis(list(given), axis=1))
    return pd.concat(found, axis=1).sort_index().rename_axis("epoch").reset_index()


def chart(lines: Sequence[Line], measure: str, epochs: int, classes: int = 2, log_x: bool = False, log_y: bool = False,
          bands: bool = False) -> alt.LayerChart:
    """All runs over the epochs; a click in the legend singles one out, and pointing at an epoch tells all values.

    Args:
        lines: the runs that are in sight.
        measure: a name in `MEASURES`.
        epochs: how far the axis goes.
        classes: of the data: guessing reaches an accuracy of one in so many.
        log_x, log_y: whether the axes are logarithmic; accuracy never is, and what is not positive is then left out.
        bands: whether the table has them.

    Returns:
        A chart without data, for a table as from `frame`.
    """
    parts = {"t": "training", "v": "validation"} if measure in TWO_SIDED else {"v": "validation"}
    x = alt.X("epoch:Q", title="epoch", axis=alt.Axis(values=ticks(epochs), format="d", grid=False, labelOverlap=True),
              scale=alt.Scale(type="log", domain=[1, max(2, epochs)], nice=False) if log_x
              else alt.Scale(domain=[1, max(2, epochs)], nice=False, padding=6))
    log_y = log_y and measure != "accuracy"
    if measure == "accuracy":
        scale, axis = (alt.Scale(domain=alt.DomainUnionWith(unionWith=[0.5 if classes == 2 else 0.0, 1.0]), zero=False),
                       alt.Axis(format=".0%", tickCount=6))
    else:
        scale, axis = alt.Scale(type="log" if log_y else "linear", nice=True), alt.Axis(format="~g", tickCount=6)
    y = alt.Y("value:Q", title=MEASURES[measure], scale=scale, axis=axis)
    names = [line.name for line in lines]
    colour = alt.Color("run:N", title=None, sort=None,
                       scale=alt.Scale(domain=names, range=[COLOURS[line.colour] for line in lines]),
                       legend=alt.Legend(orient="bottom", columns=1, labelLimit=420, symbolType="stroke",
                                         symbolStrokeWidth=3))
    chosen = alt.selection_point(name="isolated", fields=["run"], bind="legend")
    shown = alt.condition(chosen, alt.value(1), alt.value(FADED))
    base = alt.Chart(alt.NamedData(DATA)).encode(x=x)

    def long(prefix: str = "") -> alt.Chart:
        folded = base.transform_fold([f"{part}{prefix}{number}" for part in parts for number in range(len(lines))],
                                     as_=["key", "value"])
        name = f"{json.dumps(names)}[toNumber(replace(datum.key, /^[a-z]+/, ''))]"
        part = "datum.key[0] == 't' ? 'training' : 'validation'"
        kept = "isValid(datum.value)" + (" && datum.value > 0" if log_y else "")
        return folded.transform_calculate(run=name, part=part).transform_filter(kept)

    dashes = alt.StrokeDash("part:N", title=None, scale=alt.Scale(domain=list(DASHES), range=list(DASHES.values())),
                            legend=alt.Legend(orient="top", symbolStrokeWidth=2.2, symbolSize=400, symbolType="stroke"))
    drawn = long().mark_line(strokeWidth=2).encode(y=y, color=colour, opacity=shown, detail="key:N")
    layers: list[Any] = [drawn.encode(strokeDash=dashes) if measure in TWO_SIDED else drawn]
    if bands:
        for number, line in enumerate(lines):
            for part in parts:
                low, high = f"{part}low{number}", f"{part}high{number}"
                kept = f"isValid(datum['{low}'])" + (f" && datum['{low}'] > 0" if log_y else "")
                layers.insert(0, base.transform_filter(kept).mark_area(opacity=0.16, color=COLOURS[line.colour]).encode(
                    y=alt.Y(f"{low}:Q", title=MEASURES[measure], scale=scale, axis=axis), y2=alt.Y2(high)))
    near = alt.selection_point(name="near", fields=["epoch"], nearest=True, on="pointermove", clear="pointerout",
                               empty=False)
    number_format = ".1%" if measure == "accuracy" else ".4f"
    words = {"t": ", training", "v": ", validation"} if measure in TWO_SIDED else {"v": ""}
    hover = base.mark_rule(color=RULE_COLOUR).encode(
        opacity=alt.condition(near, alt.value(0.5), alt.value(0)),
        tooltip=[alt.Tooltip("epoch:Q", title="epoch"),
                 *(alt.Tooltip(f"{part}{number}:Q", title=f"{line.name}{words[part]}", format=number_format)
                   for number, line in enumerate(lines) for part in parts)]).add_params(near)
    layers[-1] = layers[-1].add_params(chosen)
    return alt.layer(*layers, hover).properties(height=HEIGHT, width="container")


def spec(made: alt.LayerChart) -> dict[str, Any]:
    """The chart as Vega-Lite without data, to be drawn again and again with new rows."""
    found = made.to_dict()
    del found["data"]
    return found


def describe(measure: str) -> str:
    """Text alternative of the chart; the table beside it has the numbers."""
    how = "solid lines for training, dashed ones for validation" if measure in TWO_SIDED else "one line a run"
    return f"{MEASURES[measure]} of the compared runs by epoch: {how}, one colour a run."
