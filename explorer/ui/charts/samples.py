"""Pictures of the data: a review as the multi-hot vector it becomes, a digit before and after scaling."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from explorer.data.preview import MARKS, Sample
from explorer.i18n import say
from explorer.ui.charts.theme import fitted, without_data

DATA = "sample"
# Readable on white and on near-black alike.
EDGE_COLOR = "#888888"
DARK_INK, LIGHT_INK = "#14181f", "#f4f6f9"
PAGE_INK = {"expr": f"luminance(background) > 0.4 ? '{DARK_INK}' : '{LIGHT_INK}'"}
# Cells in a row of the vector's picture: for vectors of at most so many inputs, else the last.
COLUMNS = ((100, 25), (500, 50), (2_000, 100))
MAX_COLUMNS = 200
# Pixels.
CELL_HEIGHT = {25: 22, 50: 18, 100: 12, MAX_COLUMNS: 6}
TALLEST = 480
# What the page puts below every chart.
PADDING = 20
IMAGE_SIDE = 280
# In the picture of so few pixels a side, each shows its number.
MAX_NUMBERED = 8


def columns(inputs: int) -> int:
    """Cells in a row of the picture of a vector."""
    return next((cells for most, cells in COLUMNS if inputs <= most), MAX_COLUMNS)


def vector_frame(sample: Sample | None, inputs: int) -> pd.DataFrame:
    """The cells that the picture of a multi-hot vector draws.

    Args:
        sample: a review, or `None` for a vector of zeros.
        inputs: its length.

    Returns:
        `kind`: `ground` for the vector as a whole in one row or two, and one row for each of its ones: `word`, or
        `mark` for what Keras's numbering puts before the words. `x`, `y`, `x2`, `y2` in cells.
    """
    across = columns(inputs)
    full, rest = divmod(inputs, across)
    rows = [("ground", 0, 0, across, full, -1, "")] if full else []
    if rest:
        rows.append(("ground", 0, full, rest, full + 1, -1, ""))
    indices = sample.indices if sample else ()
    words = (sample.words if sample else ()) or [MARKS.get(index, "") for index in indices]
    for index, word in zip(indices, words, strict=True):
        y, x = divmod(index, across)
        rows.append(("mark" if index in MARKS else "word", x, y, x + 1, y + 1, index, word))
    return pd.DataFrame(rows, columns=["kind", "x", "y", "x2", "y2", "index", "word"])


def vector(inputs: int, language: str = "en") -> alt.LayerChart:
    """A multi-hot vector, cut into rows: a cell for each word of the vocabulary, filled where the word occurs.

    Returns:
        A chart without data, for a table as from `vector_frame`.
    """
    across = columns(inputs)
    rows = -(-inputs // across)
    height = PADDING + max(40, min(TALLEST - PADDING, rows * CELL_HEIGHT[across]))
    x = alt.X("x:Q", title=None, axis=None, scale=alt.Scale(domain=[0, across], nice=False))
    # Its rows are named by the index of their first cell.
    step = max(1, -(-rows // 5))
    y = alt.Y("y:Q", title=None, scale=alt.Scale(domain=[rows, 0], nice=False), axis=alt.Axis(
        values=list(range(0, rows, step)), labelExpr=f"format(datum.value * {across}, ',')", grid=False, domain=False,
        ticks=False, labelBaseline="top", labelPadding=6))
    base = alt.Chart(alt.NamedData(DATA)).encode(x=x, y=y, x2="x2:Q", y2="y2:Q")
    ground = base.transform_filter("datum.kind == 'ground'").mark_rect(
        color=EDGE_COLOR, fillOpacity=0.14, strokeWidth=0)
    # A cell may be narrower than a pixel of the eye: its edge gives it some substance.
    lit = base.transform_filter("datum.kind != 'ground'").mark_rect(
        fill=PAGE_INK, stroke=PAGE_INK, strokeWidth=1, clip=True,
        opacity={"expr": "datum.kind == 'mark' ? 0.45 : 1"}).encode(
        tooltip=[alt.Tooltip("word:N", title=say("portrait.tip.word", language)),
                 alt.Tooltip("index:Q", title=say("portrait.tip.index", language), format=",d")])
    return alt.layer(
        ground, lit, height=height, width="container", view=alt.ViewBackground(stroke=None),
        autosize=fitted())


def vector_titles(language: str = "en") -> dict[str, str]:
    """What the columns of `vector_frame` are called."""
    return {**{name: say(f"data.{name}", language) for name in ("kind", "x", "y", "x2", "y2")},
            **{name: say(f"portrait.tip.{name}", language) for name in ("index", "word")}}


def image_frame(sample: Sample | None) -> pd.DataFrame:
    """The pixels of an image, one a row: `x`, `y` from 0, the byte `before` and the number `after` scaling."""
    if sample is None:
        return pd.DataFrame({"x": [], "y": [], "before": [], "after": []})
    side = len(sample.pixels)
    y, x = np.divmod(np.arange(side * side), side)
    return pd.DataFrame({"x": x, "y": y, "before": sample.pixels.ravel(), "after": sample.scaled.ravel()})


def image_titles(language: str = "en") -> dict[str, str]:
    """What the columns of `image_frame` are called."""
    names = {"x": "column", "y": "row", "before": "before", "after": "after"}
    return {name: say(f"portrait.tip.{word}", language) for name, word in names.items()}


def image(side: int, scale: int, scaled: bool, language: str = "en") -> alt.LayerChart:
    """An image in shades of gray, with the numbers that they stand for.

    Args:
        side: pixels a side.
        scale: the byte that becomes 1.0.
        scaled: whether it is drawn as the network gets it, or as it is stored; only the numbers differ.

    Returns:
        A chart without data, for a table as from `image_frame`.
    """
    field, top = ("after", 1) if scaled else ("before", scale)
    title = say("portrait.after" if scaled else "portrait.before", language)
    number = ".2~f" if scaled else "d"
    tick = {"expr": f"format(datum.value, '{number}')"}
    x = alt.X("x:O", axis=None, scale=alt.Scale(domain=list(range(side)), padding=0))
    y = alt.Y("y:O", axis=None, scale=alt.Scale(domain=list(range(side)), padding=0))
    rows = alt.Chart(alt.NamedData(DATA))
    base = rows.encode(x=x, y=y)
    cells = base.mark_rect(strokeWidth=0).encode(
        color=alt.Color(
            f"{field}:Q", title=None, scale=alt.Scale(domain=[0, top], range=["#ffffff", "#000000"]),
            legend=alt.Legend(orient="bottom", direction="horizontal", gradientLength=IMAGE_SIDE - 20,
                              gradientThickness=12, values=[0, top / 2, top], gradientStrokeColor=EDGE_COLOR,
                              gradientStrokeWidth=1, labelExpr=tick["expr"])),
        tooltip=[alt.Tooltip("x:Q", title=say("portrait.tip.column", language), format="d"),
                 alt.Tooltip("y:Q", title=say("portrait.tip.row", language), format="d"),
                 alt.Tooltip("before:Q", title=say("portrait.tip.before", language), format="d"),
                 alt.Tooltip("after:Q", title=say("portrait.tip.after", language), format=".4~f")])
    # Below the cells, so that it takes no pointer from them; of white pixels on a white page it shows the end.
    edge = rows.transform_filter("datum.x == 0 && datum.y == 0").mark_rect(
        fillOpacity=0, stroke=EDGE_COLOR, strokeWidth=2)
    layers = [edge, cells]
    if side <= MAX_NUMBERED:
        layers.append(base.mark_text(fontSize=11).encode(
            text=alt.Text(f"{field}:Q", format=number),
            color=alt.condition(f"datum.{field} > {top * 0.5}", alt.value("#ffffff"), alt.value("#000000"))))
    # Title and legend must not be taken from the picture: its pixels are square.
    return alt.layer(
        *layers, width=IMAGE_SIDE, height=IMAGE_SIDE, title=alt.Title(title, fontSize=13, anchor="start", offset=8),
        view=alt.ViewBackground(stroke=None), autosize=alt.AutoSizeParams(type="pad", contains="padding"))


def spec(chart: alt.LayerChart) -> dict[str, Any]:
    """The chart as Vega-Lite without data, to be drawn again and again with new rows."""
    return without_data(chart)
