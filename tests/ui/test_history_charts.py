"""History and charts: the numbers shown are those of the run, whatever the run was like."""

import json
import math

import altair as alt
import numpy as np
import pandas as pd
import pytest

from explorer.analysis.history import COLUMNS, table
from explorer.config.plan import stopping_epoch
from explorer.ui.charts import curves

NAN = math.nan


def _history(train, val) -> pd.DataFrame:
    return table({"epoch": number, "train_crossentropy": one, "val_crossentropy": other, "train_accuracy": 0.9,
                  "val_accuracy": 0.5 + number / 100, "loss": one, "seconds": 1.0}
                 for number, (one, other) in enumerate(zip(train, val, strict=True), start=1))


_many = np.arange(1, 1_001)
HISTORIES = {
    "empty": _history([], []),
    "one epoch": _history([0.6], [0.65]),
    "a gap": _history([0.6, NAN, 0.4], [0.65, NAN, 0.6]),
    "never a number": _history([NAN] * 3, [NAN] * 3),
    "1,000 epochs": _history(1 / _many, 0.3 + abs(_many - 400) / 1_000),
}
OVERFITTED = _history([0.6, 0.4, 0.3, 0.2, 0.1], [0.62, 0.5, 0.55, 0.6, 0.7])


# -- the table --------------------------------------------------------------------------------------------


def test_the_table_is_in_order_with_every_column_and_nan_for_what_is_missing():
    frame = table([{"epoch": 2, "loss": None}, {"epoch": 1, "loss": 0.5, "seconds": math.inf, "extra": 3}])
    assert tuple(frame.columns) == COLUMNS and frame["epoch"].tolist() == [1, 2]
    assert frame["loss"].isna().tolist() == [False, True] and frame["seconds"].isna().all()
    assert {str(kind) for kind in frame.dtypes} == {"int64", "float64"}


def test_the_table_of_nothing_has_its_columns_too():
    frame = table([])
    assert tuple(frame.columns) == COLUMNS and frame.empty and str(frame["epoch"].dtype) == "int64"


def test_the_table_shows_no_more_epochs_than_are_wanted():
    assert table(({"epoch": number} for number in range(1, 11)), epochs=4)["epoch"].tolist() == [1, 2, 3, 4]


# -- charts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", ["en", "ko"])
@pytest.mark.parametrize(("made_for", "epochs"), [(60, 1), (60, 20), (20, 60), (61, 500)])
def test_a_chart_for_another_number_of_epochs_is_what_it_would_have_been(made_for, epochs, language):
    for metric in curves.METRICS:
        other = curves.spec(curves.curves(metric, made_for, language=language))
        before, wanted = json.dumps(other), curves.curves(metric, epochs, language=language)
        assert curves.stretched(other, epochs, language) == curves.spec(wanted)
        assert json.dumps(other) == before


@pytest.mark.parametrize("metric", ["crossentropy", "accuracy"])
@pytest.mark.parametrize("name", HISTORIES)
def test_every_history_can_be_drawn(name, metric):
    history = HISTORIES[name]
    rows = curves.frame(history, patience=2)
    chart = curves.curves(metric, max(1, len(history)))
    chart.data = rows
    drawn = chart.to_dict()  # altair holds it against the schema of Vega-Lite
    (values,) = drawn["datasets"].values()
    assert len(values) == len(history) and "NaN" not in json.dumps(drawn)
    used = {"epoch", "train_crossentropy", "val_crossentropy", "train_accuracy", "val_accuracy", "best", "stop"}
    assert set(rows.columns) == used


def test_whatever_the_lines_show_one_epoch_is_the_best_and_one_stops():
    # The penalty falls for longer than the cross-entropy: what Keras prints is lowest, and turns, later.
    val, penalty = [0.9, 0.6, 0.5, 0.52, 0.55, 0.6], [0.9, 0.7, 0.5, 0.3, 0.2, 0.1]
    told = table({"epoch": epoch, "loss": 1.0, "accuracy": 0.5, "train_crossentropy": 0.4, "train_accuracy": 0.8,
                  "val_crossentropy": value, "val_loss": value + more, "val_accuracy": 0.7}
                 for epoch, (value, more) in enumerate(zip(val, penalty, strict=True), 1))
    assert told["val_loss"].idxmin() + 1 == 6
    measured, printed = curves.frame(told, 2), curves.frame(told, 2, printed=True)
    for rows in (measured, printed):
        assert rows["epoch"][rows["best"]].tolist() == [3] and rows["epoch"][rows["stop"]].tolist() == [5]
    # A mark is as high as the line that is drawn.
    assert measured["val_crossentropy"][2] == 0.5 and printed["val_crossentropy"][2] == 1.0
    assert curves.titles("en", True)["val_crossentropy"] == "Validation loss, as Keras prints it"


@pytest.mark.parametrize(("shown", "wanted", "is_live", "end"), [
    (5, 500, False, 5), (5, 500, True, 500), (0, 500, False, 500), (20, 20, False, 20)])
def test_the_axis_ends_where_training_ended(shown, wanted, is_live, end):
    assert curves.end(shown, wanted, is_live) == end


@pytest.mark.parametrize("metric", ["crossentropy", "accuracy"])
@pytest.mark.parametrize("epochs, classes", [(1, 2), (20, 2), (20, 10), (100_000, 10)])
def test_a_specification_is_sound_without_data_and_the_same_each_time(metric, epochs, classes):
    made = curves.spec(curves.curves(metric, epochs, classes))
    again = curves.spec(curves.curves(metric, epochs, classes))
    assert json.dumps(made) == json.dumps(again)  # so that a page gives it new rows and does not build it anew
    assert not {"data", "datasets", "description"} & set(made)
    assert '"data"' not in json.dumps(made)
    alt.LayerChart.from_dict(made | {"data": {"name": "history"}})


def _fields(part) -> set[str]:
    if isinstance(part, dict):
        found = {part["field"]} if isinstance(part.get("field"), str) else set()
        return found.union(*(_fields(value) for value in part.values()))
    return set().union(*map(_fields, part)) if isinstance(part, list) else set()


@pytest.mark.parametrize("metric", ["crossentropy", "accuracy"])
def test_a_chart_asks_for_nothing_that_its_rows_have_not(metric):
    made = curves.spec(curves.curves(metric, 20))
    assert f"val_{metric}" in _fields(made)
    assert _fields(made) <= set(curves.frame(OVERFITTED).columns) | {"value", "part"}  # the last two are folded


def test_the_axis_goes_as_far_as_is_wanted_and_guessing_depends_on_the_classes():
    text = json.dumps(curves.spec(curves.curves("crossentropy", 33)))
    assert '"domain": [1, 33]' in text and '"unionWith": [0.0, 0.7]' in text
    assert '"unionWith": [0.5, 1.0]' in json.dumps(curves.spec(curves.curves("accuracy", 33)))
    assert '"unionWith": [0.0, 1.0]' in json.dumps(curves.spec(curves.curves("accuracy", 33, classes=10)))


def test_the_best_epoch_and_the_early_stop_are_marked_once_and_rightly():
    rows = curves.frame(OVERFITTED, patience=2)
    assert rows.loc[rows["best"], "epoch"].tolist() == [2]
    assert rows.loc[rows["stop"], "epoch"].tolist() == [4]
    long = curves.frame(HISTORIES["1,000 epochs"], patience=7)
    assert long.loc[long["best"], "epoch"].tolist() == [400] and long.loc[long["stop"], "epoch"].tolist() == [407]


@pytest.mark.parametrize("patience", [None, 5])
def test_no_stop_is_marked_where_none_would_have_been(patience):
    assert not curves.frame(OVERFITTED, patience)["stop"].any()


def test_marks_survive_epochs_without_a_number():
    history = HISTORIES["a gap"]
    rows = curves.frame(history, patience=1)
    assert rows.loc[rows["best"], "epoch"].tolist() == [3]
    assert rows.loc[rows["stop"], "epoch"].tolist() == [2] == [stopping_epoch(history["val_crossentropy"].tolist(), 1)]
    assert not curves.frame(HISTORIES["never a number"])["best"].any()


def test_marking_leaves_the_history_as_it_is():
    before = OVERFITTED.copy()
    curves.frame(OVERFITTED, 2)
    pd.testing.assert_frame_equal(OVERFITTED, before)


def test_the_text_alternative_tells_how_to_read_the_lines():
    assert curves.describe("accuracy") == "Accuracy by epoch: a solid line for training, a dashed one for validation."


@pytest.mark.parametrize("epochs, shown", [
    (1, [1, 2]), (5, [1, 2, 3, 4, 5]), (20, [1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]), (300, [1, *range(50, 301, 50)])])
def test_the_axis_names_the_first_epoch_and_round_ones(epochs, shown):
    assert curves.ticks(epochs) == shown
