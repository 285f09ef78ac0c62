"""The curves of one run: a solid line for training, a dashed one for validation, and the marks of best and stop."""

from __future__ import annotations

from typing import Any

import altair as alt
import pandas as pd

from explorer.analysis.history import as_printed
from explorer.config.plan import best_epoch, stopping_epoch
from explorer.i18n import say
from explorer.ui.charts.theme import without_data

# Readable on white and on near-black alike.
RUN_COLOR = "#3987e5"
MARK_COLOR = "#d9822b"
STOP_COLOR = "#888888"
DASHES = {"training": [1, 0], "validation": [6, 4]}
HEIGHT = 360
# With more epochs than this, a dot an epoch hides the line.
MAX_DOTS = 60

# The cross-entropy axis starts out this high, for two classes and for more, so that it seldom has to grow:
# guessing costs ln 2 = 0.69 with two classes and ln 10 = 2.30 with ten.
START = {True: 0.7, False: 2.4}

DATA = "history"
COLUMNS = ("epoch", "train_crossentropy", "val_crossentropy", "train_accuracy", "val_accuracy")
# What three of them are called where they hold what Keras prints.
PRINTED_TITLES = {"train_crossentropy": "train_loss", "val_crossentropy": "val_loss", "train_accuracy": "train_running"}
# What the chart calls the number of epochs that it has room for.
LENGTH = "epochs"
METRICS = ("crossentropy", "accuracy")


def frame(history: pd.DataFrame, patience: int | None = None, printed: bool = False) -> pd.DataFrame:
    """A history with the marks that the chart draws.

    Args:
        history: as from `explorer.analysis.history.table`.
        patience: of early stopping, if its stopping point is to be marked.
        printed: whether the lines are what Keras prints (`history.as_printed`). The marks are those of what
            was measured in either case: there is one best epoch, and one at which early stopping ends.

    Returns:
        The columns that the charts use, and where `best` and `stop` are marked; one row an epoch.
    """
    curve = history["val_crossentropy"].tolist()
    shown = (as_printed(history) if printed else history)[list(COLUMNS)].copy()
    shown["best"] = shown["epoch"] == (best_epoch(curve) or -1)
    shown["stop"] = shown["epoch"] == (stopping_epoch(curve, patience) or -1)
    return shown


def titles(language: str, printed: bool = False) -> dict[str, str]:
    """What the columns of `frame` are called."""
    other = PRINTED_TITLES if printed else {}
    return {name: say(f"data.{other.get(name, name)}", language) for name in (*COLUMNS, "best", "stop")}


def curves(metric: str, epochs: int, classes: int = 2, language: str = "en",
           printed: bool = False) -> alt.LayerChart:
    """Training and validation over the epochs, the gap shaded, the best epoch marked.

    The chart depends on nothing that changes while a run trains, so that a page can give it new data without
    building it again.

    Args:
        metric: `crossentropy` or `accuracy`.
        epochs: where the axis ends: while a run trains, how many are wanted, so that it goes so far from the start.
        classes: of the data; guessing reaches an accuracy of one in so many.
        language: of its words.
        printed: whether the table has what Keras prints (`history.as_printed`), which then is what the axis
            says.

    Returns:
        A chart without data, for a table as from `frame`.
    """
    title = say("metric.loss" if printed and metric == "crossentropy" else f"metric.{metric}", language)
    parts = part_names(language)
    train, val = f"train_{metric}", f"val_{metric}"
    if metric == "accuracy":
        # Nothing worth seeing lies below guessing, and a fixed axis does not jump.
        scale = alt.Scale(domain=alt.DomainUnionWith(unionWith=[0.5 if classes == 2 else 0.0, 1.0]), zero=False)
        axis = alt.Axis(format=".0%", tickCount=6)
    else:
        scale = alt.Scale(domain=alt.DomainUnionWith(unionWith=[0.0, START[classes == 2]]), nice=True)
        axis = alt.Axis(format="~g", tickCount=6)
    base = alt.Chart(alt.NamedData(DATA))
    gap = base.mark_area(color=RUN_COLOR, opacity=0.14).encode(
        y=alt.Y(f"{train}:Q", title=title, scale=scale, axis=axis), y2=alt.Y2(val))
    lines = (
        base.transform_fold([train, val], as_=["key", "value"])
        .transform_calculate(part=f"datum.key == '{train}' ? '{parts[0]}' : '{parts[1]}'")
        .mark_line(color=RUN_COLOR, strokeWidth=2.2,
                   point=alt.OverlayMarkDef(size=22, color=RUN_COLOR) if epochs <= MAX_DOTS else False)
        .encode(
            y=alt.Y("value:Q", title=title, scale=scale),
            strokeDash=alt.StrokeDash(
                "part:N", title=None, scale=alt.Scale(domain=parts, range=list(DASHES.values())),
                legend=alt.Legend(orient="top", symbolStrokeWidth=2.2, symbolSize=400, symbolType="stroke")),
        )
    )
    best = base.transform_filter("datum.best")
    best_rule = best.mark_rule(color=MARK_COLOR, strokeDash=[2, 3])
    best_point = best.mark_point(color=MARK_COLOR, size=90, filled=False, strokeWidth=2.2).encode(y=alt.Y(f"{val}:Q"))
    # Labels keep to the edge that the lines leave free: above falling cross-entropy, below rising accuracy.
    top = {"y": 0, "dy": 8, "baseline": "top"}
    bottom = {"y": "height", "dy": -6, "baseline": "bottom"}
    best_label = _label(best, MARK_COLOR, say("metric.best", language), bottom if metric == "accuracy" else top)
    stop = base.transform_filter("datum.stop")
    stop_rule = stop.mark_rule(color=STOP_COLOR, strokeWidth=1.5)
    # One line of text further in than the best epoch's, which lies before it.
    below = {**bottom, "dy": -22} if metric == "accuracy" else {**top, "dy": 24}
    stop_label = _label(stop, STOP_COLOR, say("metric.stop.short", language), below)
    near = alt.selection_point(name=f"near_{metric}", fields=["epoch"], nearest=True, on="pointermove",
                               clear="pointerout", empty=False)
    number = ".1%" if metric == "accuracy" else ".4f"
    hover = base.mark_rule(color=STOP_COLOR).encode(
        opacity=alt.OpacityValue(**alt.condition(near, alt.value(0.5), alt.value(0))),
        tooltip=[alt.Tooltip("epoch:Q", title=say("metric.epoch", language)),
                 *(alt.Tooltip(f"{name}:Q", title=part, format=number)
                   for name, part in zip((train, val), parts, strict=True))],
    ).add_params(near)
    # All layers side by side, and the rest said here: each level and each later word would copy all that is below it.
    return alt.layer(gap, best_rule, stop_rule, lines, best_point, *best_label, *stop_label, hover,
                     encoding=alt.SharedEncoding(x=_x(epochs, language)), params=[_length(epochs)],
                     height=HEIGHT, width="container", description=describe(metric, language))


def stretched(spec: dict[str, Any], epochs: int, language: str = "en") -> dict[str, Any]:
    """The same curves over another number of epochs, on the same side of `MAX_DOTS`: made in no time.

    Args:
        spec: Vega-Lite of `curves`, as from `spec`.
        epochs, language: as of `curves`.
    """
    length = _length(epochs).to_dict()
    return {**spec, "encoding": {"x": _x(epochs, language).to_dict()},
            "params": [length if param["name"] == LENGTH else param for param in spec["params"]]}


def _x(epochs: int, language: str) -> alt.X:
    return alt.X("epoch", type="quantitative", title=say("metric.epoch", language),
                 axis=alt.Axis(values=ticks(epochs), format="d", grid=False, labelOverlap=False),
                 scale=alt.Scale(domain=[1, max(2, epochs)], nice=False, padding=6))


def _length(epochs: int) -> alt.VariableParameter:
    return alt.VariableParameter(name=LENGTH, value=epochs)


def ticks(epochs: int) -> list[int]:
    """Epochs that the axis names: the first one, and round ones, no more than ten."""
    step = next(digit * 10**power for power in range(9) for digit in (1, 2, 5) if epochs <= 10 * digit * 10**power)
    return sorted({1, *range(step, max(2, epochs) + 1, step)})


def _label(chart: alt.Chart, color: str, text: str, place: dict[str, Any]) -> list[alt.Chart]:
    # A label stands left of its line where there is room: on the right, early stopping may follow, or the edge of
    # the plot, which would make the plot smaller.
    # (Channels by their names: to find out which one a bare value is for takes Altair a hundred times as long.)
    sides = (("<=", "left", 5), (">", "right", -5))
    return [
        chart.transform_filter(f"datum.epoch {compare} 0.25 * {LENGTH}")
        .mark_text(color=color, align=align, dx=dx, dy=place["dy"], baseline=place["baseline"])
        .encode(y=alt.YValue(place["y"]), text=alt.TextValue(text))
        for compare, align, dx in sides]


def spec(chart: alt.LayerChart) -> dict[str, Any]:
    """The chart as Vega-Lite without data, to be drawn again and again with new rows."""
    made = without_data(chart)
    del made["description"]  # the page gives a text alternative with the numbers of the moment
    return made


def part_names(language: str) -> list[str]:
    """What the solid and the dashed line are called."""
    return [say(f"metric.{part}", language) for part in DASHES]


def describe(metric: str, language: str = "en") -> str:
    """Text alternative of a chart; its points carry their numbers themselves."""
    return say("chart.describe", language, metric=say(f"metric.{metric}", language))


def end(shown: int, wanted: int, is_live: bool) -> int:
    """Where the axis of epochs ends: with the last one of a run that has ended, however many were asked for.

    Args:
        shown: epochs that there are.
        wanted: epochs that are asked for.
        is_live: whether more will come by themselves: then the axis has room for them from the start, for with each
            other end the chart would be made anew.
    """
    return wanted if is_live or not shown else shown
