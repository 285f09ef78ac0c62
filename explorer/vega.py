"""Vega-Lite: a chart of Altair as the page sends it, again and again with new rows."""

from __future__ import annotations

from typing import Any

import altair as alt


def without_data(chart: alt.TopLevelMixin) -> dict[str, Any]:
    """The chart as Vega-Lite, without the name of its data: the page gives it rows of its own.

    It is not held against the schema of Vega-Lite, which takes twice as long as making it; the tests do that for every
    chart there is.
    """
    made = chart.to_dict(validate=False)
    del made["data"]
    return made
