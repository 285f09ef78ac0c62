"""Charts of a comparison: many runs in one picture, color for the run, solid for training, dashed for validation."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from explorer.i18n import say
from explorer.ui.charts.curves import DASHES, HEIGHT, part_names, ticks
from explorer.ui.charts.theme import distinct, fitted, without_data

# Eight that can be told apart, readable on white and on near-black alike; the first is that of a single run.
COLORS = ("#3987e5", "#d9822b", "#2f9e5b", "#d0508a", "#8f6be0", "#17a3b0", "#a98a1f", "#8a8f98")
RULE_COLOR = "#888888"
PUBLISHED_COLOR = "#8c8c8c"
# More names than this would lie over one another; pointing at an epoch tells all of them.
MAX_NAMED = 2
# A curve that the legend has not singled out stays in sight.
FADED = 0.12
PANEL_HEIGHT = 240
# Pixels around the plot: below it the axis, and a row of the legend for each run; above it what the dashes mean.
AXIS_HEIGHT, ROW_HEIGHT, TOP_HEIGHT = 70, 17, 28
# Pixels of a letter in the legend, and its width as a share of them: of a Korean one and of another.
SMALLEST, LARGEST = 8, 14
WIDE, NARROW = 0.95, 0.47
DATA = "overlay"
# What lies on the vertical axis; the first two have a line for training and one for validation.
MEASURES = ("crossentropy", "accuracy", "gap", "penalty", "weights", "zeros")
TWO_SIDED = ("crossentropy", "accuracy")
# Which of their lines are drawn.
SIDES = ("both", "training", "validation")
_NAMES = {"t": "training", "v": "validation"}
# Shares of one, which have no logarithmic axis.
SHARES = ("accuracy", "zeros")
# Widths of the moving mean, in epochs; 1 leaves the curve as it is.
WIDTHS = (1, 3, 5, 9, 15)


@dataclass(frozen=True)
class Line:
    """A run as the chart names and colors it."""

    name: str
    color: int


def columns(measure: str, sides: str = "both") -> list[str]:
    """Columns of a history that a measure is drawn from.

    Args:
        measure: a name in `MEASURES`.
        sides: a name in `SIDES`; of no effect on a measure that has but one.
    """
    return list(_parts(measure, sides).values())


def _parts(measure: str, sides: str) -> dict[str, str]:
    """The column of each part: `t` training and `v` validation, or `v` alone."""
    if measure not in TWO_SIDED:
        return {"v": measure}
    both = {"t": f"train_{measure}", "v": f"val_{measure}"}
    return {part: name for part, name in both.items() if sides in ("both", _NAMES[part])}


def with_gap(history: pd.DataFrame) -> pd.DataFrame:
    """A history with its gap, validation minus training cross-entropy."""
    return history.assign(gap=history["val_crossentropy"] - history["train_crossentropy"])


def smoothed(history: pd.DataFrame, names: Sequence[str], width: int) -> pd.DataFrame:
    """Each value replaced by the mean of the `width` epochs around it; of as many as there are, near the ends."""
    if width == 1:
        return history
    return history.assign(**{name: history[name].rolling(width, center=True, min_periods=1).mean() for name in names})


def frame(histories: Sequence[pd.DataFrame], measure: str, width: int = 1,
          published: Sequence[pd.DataFrame] = (), sides: str = "both") -> pd.DataFrame:
    """The rows that the chart draws.

    Args:
        histories: one a line, as from `with_gap` or from `comparison.over_seeds` of such; the latter have
            columns ending in `_low` and `_high` besides, which become a band.
        measure: a name in `MEASURES`.
        width: of the moving mean, in epochs.
        published: histories of the sources that are laid under the runs, never smoothed; of a measure with two sides.
        sides: a name in `SIDES`.

    Returns:
        One row an epoch, with `<part><line>` (and `<part>low<line>`, `<part>high<line>` where there is a band) for
        each line, counted from 0; the parts are `t` training and `v` validation, or `v` alone. Published lines are
        called `pt<line>` and `pv<line>`.
    """
    parts = _parts(measure, sides)
    found = []
    for number, history in enumerate(histories):
        given = {}
        for part, name in parts.items():
            given[f"{part}{number}"] = name
            for end in ("low", "high"):
                if f"{name}_{end}" in history:
                    given[f"{part}{end}{number}"] = f"{name}_{end}"
        one = smoothed(history, list(given.values()), width).set_index("epoch")[list(given.values())]
        found.append(one.set_axis(list(given), axis=1))
    for number, history in enumerate(published if measure in TWO_SIDED else ()):
        one = history.set_index("epoch")[list(parts.values())]
        found.append(one.set_axis([f"p{part}{number}" for part in parts], axis=1))
    return pd.concat(found, axis=1).sort_index().rename_axis("epoch").reset_index()


def span_of(frames: Sequence[pd.DataFrame], log: bool = False) -> tuple[float, float]:
    """The values that the vertical axes of several charts have in common: 0 to 1 where all fit, else to the next round
    number beyond the greatest. It changes seldom while runs train: with each other one the charts are made anew.

    Args:
        frames: as from `frame`, one a chart.
        log: whether the axes are logarithmic; they begin with the round number below the least positive value.
    """
    values = np.concatenate([one.drop(columns="epoch").to_numpy(np.float64).ravel() for one in frames] or [[]])
    values = values[np.isfinite(values) & ((values > 0) if log else True)]
    if not len(values):
        return (0.1, 1.0) if log else (0.0, 1.0)
    top = _round(values.max(), up=True) if values.max() > 1 else 1.0
    if log:
        return min(0.1, _round(values.min(), up=False)), top
    return -_round(-values.min(), up=True) if values.min() < 0 else 0.0, top


def _round(value: float, up: bool) -> float:
    """The next number up or down that is 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    steps = [float(f"{digit * power:.6g}") for digit in (1, 2, 5, 10)]
    return next((step for step in steps if step >= value), 10 * power) if up else next(
        (step for step in reversed(steps) if step <= value), power)


def without_place(frame: pd.DataFrame) -> int:
    """How many values of a frame a logarithmic axis has no place for: those that are not positive."""
    return int((frame.drop(columns="epoch") <= 0).sum().sum())


def titles(frame: pd.DataFrame, lines: Sequence[Line], measure: str, language: str = "en",
           published: Sequence[str] = ()) -> dict[str, str]:
    """What the columns of a frame are called: the run and the side, `16-16 · validation`, or the run and the measure
    where that has but one; the edges of a band say which.

    Args:
        frame, lines, measure, published: as of `frame` and `chart`.
    """
    said = {"t": say("metric.training", language), "v": say("metric.validation", language)}
    if measure not in TWO_SIDED:
        said = {"v": say(f"metric.{measure}", language)}
    ends = {"": "", "low": f" · {say('data.lowest', language)}", "high": f" · {say('data.highest', language)}"}
    found = {"epoch": say("data.epoch", language)}
    for column in frame.columns[1:]:
        source, part, end, number = re.fullmatch(r"(p?)([tv])(low|high|)(\d+)", column).groups()
        name = published[int(number)] if source else lines[int(number)].name
        found[column] = f"{name} · {said[part]}{ends[end]}"
    return distinct(found)


def chart(lines: Sequence[Line], measure: str, epochs: int, classes: int = 2, log_x: bool = False, log_y: bool = False,
          bands: bool = False, language: str = "en", published: Sequence[str] = (),
          span: tuple[float, float] | None = None, printed: bool = False, sides: str = "both",
          height: int = HEIGHT) -> alt.LayerChart:
    """All runs over the epochs; a click in the legend singles one out, and pointing at an epoch tells all values.

    Args:
        lines: the runs that are in sight.
        measure: a name in `MEASURES`.
        epochs: where the axis ends.
        classes: of the data: guessing reaches an accuracy of one in so many.
        log_x, log_y: whether the axes are logarithmic; shares never are, and what is not positive is then left out.
        bands: whether the table has them.
        language: of its words.
        published: names of published curves that are laid under the runs, see `frame`.
        span: least and greatest value of the vertical axis, which holds all that is drawn, see `span_of`, so that
            several charts compare; without one it fits this chart.
        printed: whether the histories have what Keras prints, which then is what the axis says.
        sides: which of the two lines of each run are drawn, a name in `SIDES`.
        height: of the plot, in pixels; axis and legends come on top, and in full screen all of it fits the window.

    Returns:
        A chart without data, for a table as from `frame`.
    """
    parts = list(_parts(measure, sides))
    said = dict(zip("tv", part_names(language), strict=True))
    x = alt.X("epoch:Q", title=say("metric.epoch", language),
              axis=alt.Axis(values=ticks(epochs), format="d", grid=False, labelOverlap=True),
              scale=alt.Scale(type="log", domain=[1, max(2, epochs)], nice=False) if log_x
              else alt.Scale(domain=[1, max(2, epochs)], nice=False, padding=6))
    log_y = log_y and measure not in SHARES
    y_axis = _y_axis("loss" if printed and measure == "crossentropy" else measure, classes, log_y, span, language)
    y = alt.Y("value:Q", **y_axis)
    names = [line.name for line in lines]
    color = alt.Color("run:N", title=None, sort=None,
                      scale=alt.Scale(domain=names, range=[COLORS[line.color] for line in lines]),
                      legend=alt.Legend(orient="bottom", columns=1, symbolType="stroke", symbolStrokeWidth=3,
                                        labelLimit={"expr": "max(width - 20, 100)"},
                                        labelFontSize=_font_size(names)))
    chosen = alt.selection_point(name="isolated", fields=["run"], bind="legend")
    shown = alt.OpacityValue(**alt.condition(chosen, alt.value(1), alt.value(FADED)))
    base = alt.Chart(alt.NamedData(DATA))

    def long(prefix: str = "") -> alt.Chart:
        folded = base.transform_fold([f"{part}{prefix}{number}" for part in parts for number in range(len(lines))],
                                     as_=["key", "value"])
        name = f"{json.dumps(names)}[toNumber(replace(datum.key, /^[a-z]+/, ''))]"
        part = f"datum.key[0] == 't' ? '{said['t']}' : '{said['v']}'"
        kept = "isValid(datum.value)" + (" && datum.value > 0" if log_y else "")
        return folded.transform_calculate(run=name, part=part).transform_filter(kept)

    dashes = alt.StrokeDash("part:N", title=None,
                            scale=alt.Scale(domain=list(said.values()), range=list(DASHES.values())),
                            legend=alt.Legend(orient="top", symbolStrokeWidth=2.2, symbolSize=400, symbolType="stroke"))
    drawn = long().mark_line(strokeWidth=2).encode(y=y, color=color, opacity=shown, detail="key:N")
    layers: list[Any] = [drawn.encode(strokeDash=dashes) if measure in TWO_SIDED else drawn]
    if bands:
        for number, line in enumerate(lines):
            for part in parts:
                low, high = f"{part}low{number}", f"{part}high{number}"
                kept = f"isValid(datum['{low}'])" + (f" && datum['{low}'] > 0" if log_y else "")
                layers.insert(0, base.transform_filter(kept).mark_area(opacity=0.16, color=COLORS[line.color]).encode(
                    y=alt.Y(f"{low}:Q", **y_axis), y2=alt.Y2(high)))
    near = alt.selection_point(name="near", fields=["epoch"], nearest=True, on="pointermove", clear="pointerout",
                               empty=False)
    number_format = ".1%" if measure in SHARES else ".4f"
    words = {part: f", {name}" if measure in TWO_SIDED else "" for part, name in said.items()}
    hover = base.mark_rule(color=RULE_COLOR).encode(
        opacity=alt.OpacityValue(**alt.condition(near, alt.value(0.5), alt.value(0))),
        tooltip=[alt.Tooltip("epoch:Q", title=say("metric.epoch", language)),
                 *(alt.Tooltip(f"{part}{number}:Q", title=f"{line.name}{words[part]}", format=number_format)
                   for number, line in enumerate(lines) for part in parts),
                 *(alt.Tooltip(f"p{part}{number}:Q", title=f"{name}{words[part]}", format=number_format)
                   for number, name in enumerate(published if measure in TWO_SIDED else ())
                   for part in parts)]).add_params(near)
    layers[-1] = layers[-1].add_params(chosen)
    if measure in TWO_SIDED:
        for number, name in enumerate(published):
            layers[:0] = _published(base, number, name, parts, y_axis, len(published) <= MAX_NAMED)
    around = AXIS_HEIGHT + len(lines) * ROW_HEIGHT + (TOP_HEIGHT if measure in TWO_SIDED else 0)
    return alt.layer(
        *layers, hover, encoding=alt.SharedEncoding(x=x), height=height + around, width="container", autosize=fitted())


def _font_size(names: Sequence[str]) -> dict[str, str]:
    """So large that the longest name has its place below the plot, on a telephone too."""
    longest = max(sum(WIDE if ord(letter) > 0x1100 else NARROW for letter in name) for name in names)
    return {"expr": f"max({SMALLEST}, min({LARGEST}, (width - 20) / {longest:.2f}))"}


def _y_axis(measure: str, classes: int, log: bool, span: tuple[float, float] | None, language: str) -> dict[str, Any]:
    if span:
        scale = alt.Scale(type="log" if log else "linear", domain=list(span), nice=False)
        axis = alt.Axis(format=".0%" if measure in SHARES else "~g", tickCount=6)
    elif measure == "zeros":
        scale, axis = alt.Scale(domain=alt.DomainUnionWith(unionWith=[0.0, 1.0])), alt.Axis(format=".0%", tickCount=6)
    elif measure == "accuracy":
        # Nothing worth seeing lies below guessing.
        scale = alt.Scale(domain=alt.DomainUnionWith(unionWith=[0.5 if classes == 2 else 0.0, 1.0]), zero=False)
        axis = alt.Axis(format=".0%", tickCount=6)
    else:
        scale, axis = alt.Scale(type="log" if log else "linear", nice=True), alt.Axis(format="~g", tickCount=6)
    return {"title": say(f"metric.{measure}", language), "scale": scale, "axis": axis}


def _published(base: alt.Chart, number: int, name: str, parts: Sequence[str],
               y_axis: dict[str, Any], named: bool) -> list[alt.Chart]:
    """The lines of a source, thin and gray, so that they are never taken for a run, and the source's name at the end of
    one of them."""
    found = []
    # Each has the dash of its side, and no part in the legends.
    for part in parts:
        line, dash = f"p{part}{number}", DASHES[_NAMES[part]]
        kept = base.transform_filter(f"isValid(datum['{line}'])").encode(y=alt.Y(f"{line}:Q", **y_axis))
        found.append(kept.mark_line(strokeWidth=1.2, color=PUBLISHED_COLOR, strokeDash=dash, aria=False))
    if named:
        last = kept.transform_joinaggregate(last="max(epoch)").transform_filter("datum.epoch == datum.last")
        found.append(last.mark_text(align="right", baseline="bottom", dy=-3, fontSize=10, color=PUBLISHED_COLOR,
                                    aria=False).encode(text=alt.TextValue(name)))
    return found


def spec(made: alt.LayerChart) -> dict[str, Any]:
    """The chart as Vega-Lite without data, to be drawn again and again with new rows."""
    return without_data(made)


def describe(measure: str, language: str = "en") -> str:
    """Text alternative of the chart; the table beside it has the numbers."""
    return say("overlay.describe.two" if measure in TWO_SIDED else "overlay.describe.one", language,
               measure=say(f"metric.{measure}", language))
