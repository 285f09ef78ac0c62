"""From Altair to what the page sends: a chart's specification without data, sent again with new rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import altair as alt
import pandas as pd
import pyarrow


def without_data(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """The chart as Vega-Lite, without the name of its data: the page gives it rows of its own.

    It is not held against the schema of Vega-Lite, which takes twice as long as making it; the tests do that for every
    chart there is.
    """
    made = chart.to_dict(validate=False)
    del made["data"]
    return made


def fitted() -> alt.AutoSizeParams:
    """A drawing whose axes and legends lie within its width and height, whatever these become.

    The page's full screen gives a chart the height of the window. If that were the height of its plot alone, axis and
    legends would lie below the window. So the height of such a chart is that of all of it.
    """
    return alt.AutoSizeParams(type="fit", contains="padding")


def titled(spec: dict[str, Any], titles: Mapping[str, str]) -> dict[str, Any]:
    """The chart for rows whose columns bear other names than its fields: those that a person reads who has the data
    shown, or downloads them.

    Its own fields stay as short as they are, for in the name of a field Vega-Lite would take a dot or a bracket for a
    path. The names come in as texts, once, where the rows do.

    Args:
        spec: Vega-Lite, as from `without_data`.
        titles: of each field the name of its column, no two the same.
    """
    if len(set(titles.values())) < len(titles):
        raise ValueError(f"two columns with one name: {list(titles.values())}")
    made = [{"calculate": f"datum[{json.dumps(title)}]", "as": name} for name, title in titles.items() if name != title]
    return {**spec, "transform": [*made, *spec.get("transform", [])]}


def with_titles(rows: pd.DataFrame | pyarrow.Table, titles: Mapping[str, str]) -> pd.DataFrame | pyarrow.Table:
    """The rows for a chart that is `titled`."""
    if isinstance(rows, pyarrow.Table):
        return rows.rename_columns([titles.get(name, name) for name in rows.column_names])
    return rows.rename(columns=dict(titles))


def distinct(titles: Mapping[str, str]) -> dict[str, str]:
    """The same titles, those that another has had before with a number behind them."""
    found: dict[str, str] = {}
    for name, title in titles.items():
        number, one = 1, title
        while one in found.values():
            number += 1
            one = f"{title} ({number})"
        found[name] = one
    return found
