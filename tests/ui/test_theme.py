"""Every chart of the page is Vega-Lite: pages do not hold them against its schema, so this does."""

import altair as alt
import pytest
from jsonschema import ValidationError

from explorer.analysis.sweep import Axis, Grid
from explorer.ui.charts import (
    class_wall as class_wall_chart,
)
from explorer.ui.charts import (
    comparison as comparison_chart,
)
from explorer.ui.charts import (
    curves,
)
from explorer.ui.charts import (
    prediction as prediction_chart,
)
from explorer.ui.charts import (
    samples as samples_chart,
)
from explorer.ui.charts import (
    sweep as sweep_chart,
)
from explorer.ui.charts.comparison import Line

LINES = [Line("16-16", 0), Line("it's \"one\" \\ two", 3)]
GRID = Grid(Axis("l2", (0.0, 0.001)), Axis("dropout", (0.0, 0.5)))
SPECS = {
    **{f"curves {metric} {epochs}": lambda language, metric=metric, epochs=epochs: curves.spec(
        curves.curves(metric, epochs, 10, language, printed=True))
        for metric in curves.METRICS for epochs in (1, 20, 500)},
    **{f"overlay {measure}": lambda language, measure=measure: comparison_chart.spec(comparison_chart.chart(
        LINES, measure, 20, log_x=True, log_y=True, bands=True, language=language, published=["a", "b"]))
        for measure in comparison_chart.MEASURES},
    "panel": lambda language: comparison_chart.spec(
        comparison_chart.chart(LINES[:1], "gap", 20, span=(0, 2), language=language)),
    "wall": class_wall_chart.spec,
    "strip": lambda language: prediction_chart.strip(20, "#3987e5", language),
    "guesses": lambda language: prediction_chart.laid_over(
        curves.spec(curves.curves("crossentropy", 20, language=language)), [(3, "#3987e5"), (18, "#d9822b")], language,
        is_labeled=True),
    "vector": lambda language: samples_chart.spec(samples_chart.vector(10_000, language)),
    **{f"image {side} {scaled}": lambda language, side=side, top=top, scaled=scaled: samples_chart.spec(
        samples_chart.image(side, top, scaled, language))
        for side, top in ((8, 16), (28, 255)) for scaled in (False, True)},
    "one side": lambda language: comparison_chart.spec(
        comparison_chart.chart(LINES, "crossentropy", 20, language=language, sides="training")),
    **{f"sweep {measure}": lambda language, measure=measure: sweep_chart.spec(GRID, measure, language)
       for measure in ("best", "gap")},
}


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize("name", SPECS)
def test_what_a_page_sends_is_vega_lite(name, language):
    spec = SPECS[name](language)
    assert "data" not in spec and spec["$schema"].startswith("https://vega.github.io/schema/vega-lite/")
    alt.Chart.from_dict({**spec, "data": {"name": "rows"}}, validate=True)


def test_what_is_no_vega_lite_would_be_noticed():
    spec = curves.spec(curves.curves("crossentropy", 20))
    spec["layer"][0]["mark"]["opacity"] = "thick"
    with pytest.raises(ValidationError, match="thick"):
        alt.Chart.from_dict({**spec, "data": {"name": "rows"}}, validate=True)
