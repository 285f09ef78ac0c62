"""Portraits of the data: every chart is sound, for every data set, in every language, and with nothing to draw."""

from __future__ import annotations

import json

import altair as alt
import numpy as np
import pytest

from explorer.data.preview import Sample
from explorer.i18n import LANGUAGES, say, texts
from explorer.ui.charts import samples as samples_chart

REVIEW = Sample(0, 1, 1, 1_000, (1, 2, 4, 999), ("<start>", "<unknown>", "the", "nimedex"))
DIGIT = Sample(3, 7, 7, 64, pixels=np.arange(64, dtype=np.uint8).reshape(8, 8) % 17, scale=16)
MNIST = Sample(3, 7, 7, 784, pixels=(np.arange(784) % 256).astype(np.uint8).reshape(28, 28), scale=255)


def _sound(chart: alt.Chart) -> dict:
    """Vega-Lite that its schema admits; it stays small, for the rows come by themselves."""
    made = samples_chart.spec(chart)
    assert len(json.dumps(made)) < 10_000 and "datasets" not in made
    return made


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("inputs", [10, 100, 999, 1_000, 1_234, 10_000, 88_587])
def test_a_vector_of_any_length_has_a_picture(inputs, language):
    height = _sound(samples_chart.vector(inputs, language))["height"]
    assert 40 <= height <= samples_chart.TALLEST
    ground = samples_chart.vector_frame(None, inputs)
    assert set(ground["kind"]) == {"ground"} and len(ground) <= 2
    assert ((ground["x2"] - ground["x"]) * (ground["y2"] - ground["y"])).sum() == inputs


def test_only_the_ones_of_a_vector_are_drawn():
    made = samples_chart.vector_frame(REVIEW, 1_000)
    lit = made[made["kind"] != "ground"]
    assert lit["kind"].tolist() == ["mark", "mark", "word", "word"]
    places = lit["y"] * samples_chart.columns(1_000) + lit["x"]
    assert places.tolist() == lit["index"].tolist() == list(REVIEW.indices)
    assert lit["word"].tolist() == list(REVIEW.words)


def test_a_vector_whose_words_are_not_known_has_its_picture():
    made = samples_chart.vector_frame(Sample(0, 0, 0, 1_000, (1, 4)), 1_000)
    assert made[made["kind"] != "ground"]["word"].tolist() == ["<start>", ""]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("sample", [DIGIT, MNIST])
def test_a_digit_before_and_after_differs_in_the_scale_alone(sample, language):
    side = len(sample.pixels)
    before, after = (_sound(samples_chart.image(side, sample.scale, scaled, language)) for scaled in (False, True))
    colors = [made["layer"][1]["encoding"]["color"] for made in (before, after)]
    assert [color["field"] for color in colors] == ["before", "after"]
    assert [color["scale"]["domain"] for color in colors] == [[0, sample.scale], [0, 1]]
    assert colors[0]["scale"]["range"] == colors[1]["scale"]["range"]
    rows = samples_chart.image_frame(sample)
    assert len(rows) == side * side
    assert np.allclose(rows["after"] * sample.scale, rows["before"])
    assert rows.loc[side + 2, ["x", "y", "before"]].tolist() == [2, 1, sample.pixels[1, 2]]


def test_nothing_to_draw_is_drawn():
    assert samples_chart.image_frame(None).columns.tolist() == ["x", "y", "before", "after"]
    assert len(samples_chart.image_frame(None)) == 0


def test_both_languages_say_the_same_things_with_the_same_fields():
    from explorer.i18n import fields

    keys = [key for key in texts("en") if key.startswith("portrait.")]
    assert keys == [key for key in texts("ko") if key.startswith("portrait.")]
    for key in keys:
        assert fields(say(key, "en")) == fields(say(key, "ko")), key
