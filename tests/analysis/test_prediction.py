"""Predictions: how near a guess came is a matter of numbers, and is told kindly in every language."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as some

from explorer.analysis.comparison import Result
from explorer.analysis.prediction import (
    ABOVE,
    BELOW,
    CLOSE,
    CLOSE_EPOCHS,
    CLOSE_SHARE,
    ENDS,
    EQUAL,
    EXACT,
    LOST,
    OFF,
    RIGHT,
    WAITING,
    WRONG,
    Prediction,
    score,
    sentence,
)
from explorer.i18n import LANGUAGES
from explorer.ui.charts import comparison as comparison_chart
from explorer.ui.charts import curves
from explorer.ui.charts import prediction as prediction_chart

LASTS = some.floats(0, 20) | some.just(math.nan) | some.just(math.inf)


def result(best_epoch: int = 4, last: float = 0.4, epochs: int = 20) -> Result:
    return Result(epochs, best_epoch, 0.3, 0.8, 0.1, 0.2, last, 0.8, 0.9)


RESULTS = some.none() | some.builds(result, some.integers(1, 300), LASTS)
PREDICTIONS = some.builds(Prediction, some.none() | some.integers(1, 300), some.sampled_from((None, *ENDS)))


# -- the best epoch ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("guess", "best", "epochs", "level"), [
    (4, 4, 20, EXACT), (1, 1, 1, EXACT), (5, 4, 20, CLOSE), (2, 4, 20, CLOSE), (6, 4, 20, CLOSE), (7, 4, 20, OFF),
    (1, 4, 20, OFF), (2, 1, 3, CLOSE), (3, 1, 3, OFF), (30, 60, 300, CLOSE), (29, 60, 300, OFF)])
def test_a_guess_of_the_best_epoch_is_exact_close_or_off(guess, best, epochs, level):
    found = score(Prediction(guess), result(best), None, epochs)
    assert (found.level, found.best_epoch, found.off) == (level, best, guess - best)
    assert found.share == abs(guess - best) / epochs


@given(guess=some.integers(1, 300), best=some.integers(1, 300), epochs=some.integers(1, 300))
def test_levels_follow_the_distance_alone(guess, best, epochs):
    found = score(Prediction(guess), result(best), None, epochs)
    off = abs(guess - best)
    assert (found.level == EXACT) == (off == 0)
    assert (found.level == OFF) == (off > CLOSE_EPOCHS and off > CLOSE_SHARE * epochs)
    mirrored = score(Prediction(best), result(guess), None, epochs)
    assert (mirrored.level, mirrored.off) == (found.level, -found.off)


def test_what_could_not_be_measured_has_no_level():
    found = score(Prediction(4, ABOVE), None, result(), 20)
    assert (found.level, found.off, found.ends) == (None, None, LOST)


# -- above or below ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("guess", "last", "reference", "ends"), [
    (ABOVE, 0.5, 0.4, RIGHT), (BELOW, 0.3, 0.4, RIGHT), (ABOVE, 0.3, 0.4, WRONG), (BELOW, 0.5, 0.4, WRONG),
    (ABOVE, 0.40049, 0.4, EQUAL), (BELOW, 0.40049, 0.4, EQUAL), (ABOVE, 0.402, 0.4, RIGHT),
    (ABOVE, math.nan, 0.4, LOST), (ABOVE, math.inf, 0.4, LOST), (BELOW, 0.4, math.nan, LOST)])
def test_above_and_below_are_right_wrong_or_undecided(guess, last, reference, ends):
    assert score(Prediction(ends=guess), result(last=last), result(last=reference), 20).ends == ends


def test_without_its_reference_a_run_waits():
    assert score(Prediction(ends=ABOVE), result(), None, 20).ends == WAITING
    assert score(Prediction(4), result(), None, 20).ends is None


@given(last=some.floats(0, 20), reference=some.floats(0, 20))
def test_of_the_two_guesses_one_is_right_unless_both_ends_look_the_same(last, reference):
    ends = {score(Prediction(ends=side), result(last=last), result(last=reference), 20).ends for side in ENDS}
    assert ends in ({RIGHT, WRONG}, {EQUAL})


# -- in words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@given(made=PREDICTIONS, found=RESULTS, reference=RESULTS, epochs=some.integers(1, 300))
def test_every_score_has_a_sentence_with_its_numbers(language, made, found, reference, epochs):
    said = sentence(made, score(made, found, reference, epochs), language)
    assert bool(said) == made.is_made
    assert "nan" not in said and "None" not in said and "inf" not in said and "{" not in said
    if made.best_epoch is not None:
        assert re.search(rf"\b{made.best_epoch}(?!\d)", said)
        if found:
            assert re.search(rf"(?<!\d){found.best_epoch}(?!\d)", said)
    if said:
        assert said.rstrip().endswith(".")


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_mocks(language):
    blame = {"en": "wrong|bad|fail|mistake|unfortunately|sorry", "ko": "틀렸|실패|잘못|아쉽"}
    for made in (Prediction(20, ABOVE), Prediction(1, BELOW), Prediction(5, BELOW)):
        for last in (0.3, 0.5, math.nan):
            said = sentence(made, score(made, result(last=last), result(), 20), language)
            assert not re.search(blame[language], said, re.IGNORECASE), said


def test_one_epoch_is_told_in_its_own_form():
    assert "1 epoch away" in sentence(Prediction(5), score(Prediction(5), result(), None, 20), "en")
    assert "2 epochs away" in sentence(Prediction(6), score(Prediction(6), result(), None, 20), "en")


def test_of_the_reference_the_best_epoch_is_all_there_is_to_guess():
    assert Prediction(4).is_complete(True) and not Prediction(4).is_complete(False)
    assert Prediction(4, ABOVE).is_complete(False) and not Prediction(None, ABOVE).is_complete(True)
    assert not Prediction().is_made and Prediction(ends=ABOVE).is_made


# -- as drawings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("epochs", [1, 2, 20, 300])
def test_the_strip_stays_the_same_drawing_whatever_is_guessed(epochs, language):
    made = prediction_chart.strip(epochs, "#123456", language)
    assert made == prediction_chart.strip(epochs, "#123456", language) and "data" not in made
    assert [param["name"] for param in made["params"]] == ["pointed", prediction_chart.SELECTION]
    for guess in (None, 1, epochs):
        rows = prediction_chart.frame(epochs, guess, 0, language)
        assert rows["epoch"].tolist() == list(range(1, epochs + 1))
        assert rows.loc[rows["guess"], "epoch"].tolist() == ([guess] if guess else [])
        assert ((rows["from"] + rows["to"]) / 2 == rows["epoch"]).all()


@pytest.mark.parametrize("language", LANGUAGES)
def test_guesses_lie_on_the_axis_of_the_chart_before_there_is_an_epoch(language):
    single = curves.spec(curves.curves("crossentropy", 20, language=language))
    many = comparison_chart.spec(comparison_chart.chart(
        [comparison_chart.Line("a", 0), comparison_chart.Line("b", 1)], "gap", 20, log_x=True))
    for spec in (single, many):
        before = json.dumps(spec)
        made = prediction_chart.laid_over(spec, [(5, "#111111"), (9, "#222222")], language)
        assert [layer["data"]["values"] for layer in made["layer"][:2]] == [[{"epoch": 5}], [{"epoch": 9}]]
        assert [layer["mark"]["color"] for layer in made["layer"][:2]] == ["#111111", "#222222"]
        assert made["layer"][2:] == spec["layer"] and json.dumps(spec) == before
        # The epochs are the `x` of all layers, those of the guesses among them.
        assert made["encoding"]["x"]["field"] == "epoch" and "encoding" not in made["layer"][0]
    assert prediction_chart.laid_over(single, [], language) is single


@pytest.mark.parametrize(("epoch", "side"), [(1, "left"), (20, "right")])
def test_the_name_of_a_guess_stays_within_the_chart(epoch, side):
    made = prediction_chart.laid_over(curves.spec(curves.curves("crossentropy", 20)), [(epoch, "#111111")], "en", True)
    assert made["layer"][1]["mark"]["align"] == side and made["layer"][1]["mark"]["text"] == "your guess"
