"""Charts of predictions: the strip that is clicked to guess the best epoch, and guesses laid over a chart of curves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import altair as alt
import pandas as pd

from explorer.i18n import say
from explorer.ui.charts.curves import STOP_COLOR, ticks
from explorer.ui.charts.theme import fitted, without_data

SELECTION = "guessed"
DATA = "strip"
# Pixels, without the axis and with it.
STRIP_HEIGHT, AXIS_HEIGHT = 72, 62
# Wide and pale under the curves, so that a measured line on the same epoch stays in sight.
BAND_WIDTH, BAND_OPACITY = 8, 0.28
# Below the labels of the best epoch and of early stopping.
LABEL_PLACE = 40


def frame(epochs: int, guess: int | None, turn: int, language: str) -> pd.DataFrame:
    """The rows of the strip, one an epoch.

    Args:
        guess: the epoch that is guessed, if there is one.
        turn: changes whenever the guess was set otherwise than by a click, so that a click on the epoch that was
            clicked last is something new.
        language: of its words.
    """
    numbers = range(1, epochs + 1)
    return pd.DataFrame({"epoch": numbers, "from": [n - 0.5 for n in numbers], "to": [n + 0.5 for n in numbers],
                         "turn": turn, "guess": [n == guess for n in numbers],
                         "label": [say("predict.guess", language, epoch=n) for n in numbers]})


def titles(language: str) -> dict[str, str]:
    """What the columns of `frame` are called."""
    return {name: say(f"data.{name}", language) for name in ("epoch", "from", "to", "turn", "guess", "label")}


def strip(epochs: int, color: str, language: str) -> dict[str, Any]:
    """An empty chart of the epochs, to be clicked; Vega-Lite without data, for a table as from `frame`.

    Args:
        color: of the run.
    """
    x = alt.X("from:Q", title=say("metric.epoch", language),
              axis=alt.Axis(values=ticks(epochs), format="d", grid=False, labelOverlap=True),
              scale=alt.Scale(domain=[0.5, epochs + 0.5], nice=False))
    middle = alt.X("epoch:Q", title=say("metric.epoch", language))
    base = alt.Chart(alt.NamedData(DATA))
    hovered = alt.selection_point(name="pointed", fields=["epoch"], on="pointerover", clear="pointerout", empty=False)
    clicked = alt.selection_point(name=SELECTION, fields=["epoch", "turn"], on="click", toggle=False, clear=False)
    cells = base.mark_rect(color=color, cursor="pointer").encode(
        x=x, x2="to:Q", y=alt.YValue(0), y2=alt.Y2Value("height"),
        opacity=alt.OpacityValue(**alt.condition(hovered, alt.value(0.42), alt.value(0.16))),
        tooltip=[alt.Tooltip("epoch:Q", title=say("metric.epoch", language))]).add_params(hovered, clicked)
    guess = base.transform_filter("datum.guess")
    rule = guess.mark_rule(color=color, strokeWidth=4).encode(x=middle)
    labels = [
        guess.transform_filter(f"datum.epoch {compare} {epochs / 2}")
        .mark_text(align=align, dx=dx, fontSize=13, fontWeight=600, color=color)
        .encode(x=middle, y=alt.YValue({"expr": "height / 2"}), text="label:N")
        for compare, align, dx in (("<=", "left", 9), (">", "right", -9))]
    hint = (base.transform_joinaggregate(made="max(guess)").transform_filter("datum.epoch == 1 && !datum.made")
            .mark_text(fontSize=14, color=STOP_COLOR)
            .encode(x=alt.XValue({"expr": "width / 2"}),
                    y=alt.YValue({"expr": "height / 2"}), text=alt.TextValue(say("predict.click", language))))
    # The cells lie on top: whatever is drawn, it is they that are pointed at.
    made = alt.layer(
        hint, rule, *labels, cells, height=STRIP_HEIGHT + AXIS_HEIGHT, width="container", autosize=fitted(),
        config=alt.Config(view=alt.ViewConfig(stroke=STOP_COLOR)))
    return without_data(made)


def laid_over(spec: dict[str, Any], guesses: Iterable[tuple[int, str]], language: str,
              is_labeled: bool = False) -> dict[str, Any]:
    """A chart of curves with guesses of the best epoch below its lines.

    They are part of the drawing, not of its data: they are there before the first epoch is.

    Args:
        spec: Vega-Lite, layers that share the epochs as their `x`.
        guesses: an epoch and a color each.
        language: of their words.
        is_labeled: whether each is told to be the visitor's guess; for one of them.
    """
    made = []
    for epoch, color in guesses:
        # On the very axis of the chart, whatever it is.
        layer = {"data": {"values": [{"epoch": epoch}]}}
        said = say("predict.guess", language, epoch=epoch)
        made.append({**layer, "mark": {"type": "rule", "color": color, "strokeWidth": BAND_WIDTH,
                                       "opacity": BAND_OPACITY, "description": said}})
        if is_labeled:
            last = max(spec["encoding"]["x"]["scale"]["domain"])
            side = {"align": "left", "dx": 7} if epoch <= 0.75 * last else {"align": "right", "dx": -7}
            made.append({**layer, "mark": {
                "type": "text", "color": color, "baseline": "top", "y": 0, "dy": LABEL_PLACE, "aria": False,
                "text": say("predict.mark", language), **side}})
    return {**spec, "layer": [*made, *spec["layer"]]} if made else spec
