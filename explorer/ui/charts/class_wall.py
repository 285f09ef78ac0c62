"""The class wall: everybody's runs on one picture, capacity against what each has reached, with no names."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import pandas as pd

from explorer.config import labels
from explorer.config.datasets import DATASETS
from explorer.config.run_config import RunConfig
from explorer.engine.recent_runs import Point
from explorer.i18n import count, say
from explorer.ui.charts.theme import fitted, without_data

# Further above guessing than this there is nothing to compare: such runs lie at the upper edge.
WORST = 1.5

REGULARIZERS = ("none", "l1", "l2", "l1_l2")
# Not those of the runs in a comparison, where a color means one run; readable on white and on near-black alike.
COLORS = ("#8a8f98", "#e0652f", "#3987e5", "#a05be0")
SHAPES = ("circle", "diamond")
DARK_INK, LIGHT_INK = "#14181f", "#f4f6f9"
# Pixels, of all of it: on a telephone the legends take more of them.
HEIGHT = 500
# What has to be the same in two runs for their validation cross-entropies to compare on one wall.
SAME = ("num_words", "train_samples", "label_noise", "validation")
SELECTION, DATA = "run", "wall"


@dataclass(frozen=True)
class Shown:
    """The runs that lie on one wall, for their lowest validation cross-entropies mean the same.

    Attributes:
        like: a run that stands for all of them in `SAME`; `None` where there is none.
        points: they themselves.
        left_out: how many others there are of the same data set.
        differing: in which of `SAME` any of these differ.
    """

    like: RunConfig | None
    points: tuple[Point, ...]
    left_out: int = 0
    differing: tuple[str, ...] = ()


def comparable(points: Sequence[Point], dataset: str, config: RunConfig) -> Shown:
    """The runs of a data set that compare with a run: the same words, the same examples to fit with the same share of
    flipped labels, and validated on the same examples. What is left is the network and how it was trained.

    Args:
        dataset: a name in `DATASETS`; where it is not the run's own, the runs are those of the largest group that
            compare with one another.
        config: the run that is shown elsewhere on the page.
    """
    all_of_it = [point for point in points if point.config.dataset == dataset]
    groups = Counter(_same(point.config) for point in all_of_it)
    if dataset == config.dataset:
        like = config
    else:
        chosen = max(groups, key=groups.__getitem__, default=None)
        like = next((point.config for point in all_of_it if _same(point.config) == chosen), None)
    kept = tuple(point for point in all_of_it if like and _same(point.config) == _same(like))
    differing = tuple(name for number, name in enumerate(SAME)
                      if like and any(group[number] != _same(like)[number] for group in groups))
    return Shown(like, kept, len(all_of_it) - len(kept), differing)


def _same(config: RunConfig) -> tuple[Any, ...]:
    return tuple(getattr(config, name) for name in SAME)


def sentence(shown: Shown, language: str) -> str:
    """What lies on the wall, and how many runs do not, and why not."""
    number, live = len(shown.points), sum(point.is_live for point in shown.points)
    if shown.like is None:
        return say("wall.empty", language)
    fields = [name for name in SAME if getattr(shown.like, name) or name == "train_samples"]
    what = ", ".join([labels.dataset(shown.like, language), *(
        f"{labels.lower(labels.title(name, language))} {labels.value(name, shown.like, language)}" for name in fields)])
    parts = [count("wall.runs", language, number)] + ([count("wall.live", language, live)] if live else [])
    said = [f"{' · '.join(parts)}.", say("wall.shown", language, what=what)]
    if not number:
        said = [say("wall.alone" if shown.left_out else "wall.empty", language, what=what)]
    if shown.left_out:
        names = [labels.lower(labels.title(name, language)) for name in shown.differing]
        said.append(count("wall.left_out", language, shown.left_out, settings=labels.listed(names, language)))
    return " ".join(said)


def titles(language: str = "en") -> dict[str, str]:
    """What the columns of `frame` are called."""
    keys = {"point": "data.point", "parameters": "wall.parameters", "height": "data.height", "best": "sweep.cell.best",
            "best_epoch": "sweep.cell.best_epoch", "regularizer": "control.regularizer", "dropout": "control.dropout",
            "is_live": "data.is_live", "opened": "data.opened", "run": "sweep.cell.run", "data": "control.dataset",
            "state": "sweep.cell.state", "epochs": "sweep.cell.epochs"}
    return {name: say(key, language) for name, key in keys.items()}


def frame(points: Sequence[Point], opened: RunConfig | None = None, language: str = "en") -> pd.DataFrame:
    """The rows that the chart draws.

    Args:
        points: of one data set.
        opened: the run that is shown elsewhere on the page.
        language: of its words.

    Returns:
        One row a run. `height` is where it is drawn: its best validation cross-entropy, or the upper edge where that
        is beyond.
    """
    rows = [{
        "point": one.number, "parameters": one.config.parameters, "height": min(one.best, edge(one.config.dataset)),
        "best": one.best, "best_epoch": one.best_epoch,
        "regularizer": labels.option("regularizer", one.config.regularizer, language),
        "dropout": say(f"wall.dropout.{'with' if one.config.dropout else 'without'}", language),
        "is_live": one.is_live, "opened": one.config == opened, "run": labels.short(one.config, language),
        "data": labels.dataset(one.config, language),
        "state": say("state.training" if one.is_live else "wall.over", language),
        "epochs": one.epochs,
    } for one in points]
    # Named, so that a wall without runs has columns of the same kinds, and its first run is but new data.
    kinds = {"point": "int64", "parameters": "int64", "height": "float64", "best": "float64", "best_epoch": "int64",
             "regularizer": "string", "dropout": "string", "is_live": "bool", "opened": "bool", "run": "string",
             "data": "string", "state": "string", "epochs": "int64"}
    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)


def edge(dataset: str) -> float:
    """The highest that a run of a data set is drawn."""
    return WORST * math.log(DATASETS[dataset].classes)


def chart(language: str = "en") -> alt.LayerChart:
    """Every run as a mark: further right with more parameters, lower with a lower best validation cross-entropy.

    The chart depends on the language only, so that a page can give it new rows without building it again.

    Returns:
        A chart without data, for a table as from `frame`; `run` is the selection of those that were clicked.
    """
    regularizers = [labels.option("regularizer", name, language) for name in REGULARIZERS]
    dropouts = [say(f"wall.dropout.{name}", language) for name in ("without", "with")]
    legend = {"symbolSize": 110, "labelLimit": 200}
    x = alt.X("parameters:Q", title=say("wall.parameters", language),
              scale=alt.Scale(type="log", nice=False, padding=14),
              axis=alt.Axis(format=".3~s", tickCount=6, grid=False, labelOverlap=True))
    y = alt.Y("height:Q", title=say("sweep.measure.best", language),
              scale=alt.Scale(type="log", nice=False, padding=14, zero=False),
              axis=alt.Axis(format=".3~g", tickCount=6, labelOverlap=True))
    tooltip = [alt.Tooltip(field, title=say(key, language), format=form or alt.Undefined) for field, key, form in (
        ("run:N", "sweep.cell.run", ""), ("data:N", "control.dataset", ""), ("best:Q", "sweep.cell.best", ".4f"),
        ("best_epoch:Q", "sweep.cell.best_epoch", "d"), ("epochs:Q", "sweep.cell.epochs", "d"),
        ("parameters:Q", "wall.parameters", ","), ("state:N", "sweep.cell.state", ""))]
    clicked = alt.selection_point(name=SELECTION, fields=["point"], on="click", toggle="true", clear=False)
    # By its key, a run stays the same drawing wherever its next epoch moves it.
    base = alt.Chart(alt.NamedData(DATA)).encode(x=x, y=y, key=alt.Key("point:Q"))
    marks = base.mark_point(filled=True, size=110, cursor="pointer", strokeWidth=0).encode(
        color=alt.Color("regularizer:N", title=say("control.regularizer", language),
                        legend=alt.Legend(orient="top", **legend),
                        scale=alt.Scale(domain=regularizers, range=list(COLORS))),
        shape=alt.Shape("dropout:N", title=None,
                        # Below, for on a telephone there is no room for two beside one another.
                        legend=alt.Legend(orient="bottom", symbolFillColor=COLORS[0], **legend),
                        scale=alt.Scale(domain=dropouts, range=list(SHAPES))),
        opacity=alt.condition("datum.is_live", alt.value(0.4), alt.value(0.9)),
        tooltip=tooltip).add_params(clicked)
    ink = {"expr": f"luminance(background) > 0.4 ? '{DARK_INK}' : '{LIGHT_INK}'"}
    ring = base.transform_filter("datum.opened").mark_point(
        filled=False, shape="circle", size=260, stroke=ink, strokeWidth=2.5, opacity=1).encode(tooltip=tooltip)
    return alt.layer(ring, marks, height=HEIGHT, width="container", autosize=fitted())


def spec(language: str = "en") -> dict[str, Any]:
    """The chart as Vega-Lite without data, to be drawn again and again with new rows."""
    return without_data(chart(language))


def describe(language: str = "en") -> str:
    """Text alternative of the chart: the same at all times, for with another one the page makes the chart anew."""
    return say("wall.describe", language)
