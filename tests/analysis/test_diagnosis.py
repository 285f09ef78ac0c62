"""The diagnosis: what a person reads off a curve, on the published histories and on curves made by hand."""

from __future__ import annotations

import math
import re
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer import i18n
from explorer.analysis import diagnosis_text
from explorer.analysis.diagnosis import (
    DIVERGED,
    GOOD,
    NOISY,
    OVERFITTING,
    PHASES,
    TOO_SHORT,
    UNDERFITTING,
    UNSTABLE,
    Diagnosis,
    Evidence,
    diagnose,
)
from explorer.analysis.diagnosis_text import sentence
from explorer.analysis.history import table
from explorer.lessons import reference_curves
from tests._labeled import BY_HAND, labeled
from tests._simulated import KINDS, frame
from tests.benchmarks import diagnosis as benchmark

NAN = math.nan


def curve(train, val, accuracy=None) -> pd.DataFrame:
    rows = zip(train, val, accuracy if accuracy is not None else [0.8] * len(val), strict=True)
    return table({"epoch": number, "train_crossentropy": one, "val_crossentropy": other, "val_accuracy": right}
                 for number, (one, other, right) in enumerate(rows, start=1))


# -- the published histories ---------------------------------------------------------------------------------

PUBLISHED = {(one.source, one.experiment): one for one in reference_curves.histories()}


def test_every_published_history_is_read_by_hand():
    assert set(BY_HAND) == set(PUBLISHED)


@pytest.mark.parametrize("name", BY_HAND, ids="/".join)
def test_a_published_history_is_read_as_a_person_reads_it(name):
    best, phase, onset = BY_HAND[name]
    found = diagnose(PUBLISHED[name].table())
    assert (found.best_epoch, found.phase) == (best, phase)
    if onset is None:
        assert found.onset is None
    else:
        assert onset[0] <= found.onset <= onset[1]
    assert found.confidence > 0.5


@pytest.mark.parametrize("name", [name for name in BY_HAND if BY_HAND[name][1] == OVERFITTING], ids="/".join)
def test_no_published_history_is_called_overfitted_before_its_validation_has_turned(name):
    history = PUBLISHED[name].table()
    best = BY_HAND[name][0]
    assert all(diagnose(history.head(epochs)).phase != OVERFITTING for epochs in range(best + 2))


def test_the_jump_of_the_bigger_network_moves_neither_onset_nor_slope():
    history = PUBLISHED[("dlwp-4.4", "bigger")].table()
    for epochs in range(14, 21):
        found = diagnose(history.head(epochs))
        assert (found.phase, found.onset, found.best_epoch) == (OVERFITTING, 2, 1)
    # Epochs 16 to 20 rise by about 0.05 each; a straight line from epoch 15 on would fall by 0.15.
    assert 0.03 < found.slope < 0.07


def test_what_is_plain_is_surer_than_what_is_not():
    sure = {name: diagnose(one.table()).confidence for name, one in PUBLISHED.items()}
    assert min(sure["dlwp-4.4", "original"], sure["tf-tutorial-7", "bigger"]) > 0.9
    assert max(sure["tf-tutorial-7", "dropout"], sure["preprocessing-overfitting", "l2"]) < 0.8


# -- curves made by hand -------------------------------------------------------------------------------------

_many = np.arange(1, 301)
CURVES = {
    "still learning": (curve([0.6, 0.5, 0.4, 0.3], [0.62, 0.55, 0.5, 0.45]), UNDERFITTING, 4, None),
    "overfitting": (curve([0.6, 0.4, 0.3, 0.2, 0.1], [0.62, 0.5, 0.55, 0.6, 0.7]), OVERFITTING, 2, 3),
    "one bad epoch at the end": (curve([0.6, 0.4, 0.3, 0.25], [0.62, 0.5, 0.45, 0.6]), UNDERFITTING, 3, None),
    "one bad epoch at the end of a settled run": (
        curve(np.linspace(0.4, 0.3, 12), [0.6, 0.4, 0.35] + [0.34] * 8 + [0.5]), GOOD, 4, None),
    "one bad epoch on the way": (curve([0.6, 0.4, 0.3, 0.25], [0.62, 0.9, 0.45, 0.44]), UNDERFITTING, 4, None),
    "two bad epochs on the way": (
        curve(np.linspace(0.4, 0.3, 12), [0.6, 0.4, 0.35, 0.34, 0.34, 0.5, 0.5, 0.34, 0.34, 0.34, 0.34, 0.34]),
        GOOD, 4, None),
    "level": (curve([0.6, 0.5, 0.5, 0.5, 0.5], [0.62, 0.5, 0.501, 0.502, 0.501]), GOOD, 2, None),
    "a plateau": (curve([0.3] * 30, [0.35] * 30), GOOD, 1, None),
    "a plateau, then the turn": (
        curve(np.linspace(0.3, 0.1, 30), [0.5, 0.4] + [0.35] * 13 + list(np.linspace(0.38, 0.6, 15))),
        OVERFITTING, 3, 16),
    "one bad epoch, and the turn much later": (
        curve(np.linspace(0.4, 0.1, 12), [0.6, 0.4, 0.34, 0.5, 0.34, 0.34, 0.341, 0.34, 0.36, 0.4, 0.45, 0.5]),
        OVERFITTING, 3, 9),
    "a rise that training shares": (curve([0.3, 0.2, 0.5, 0.6], [0.5, 0.4, 0.55, 0.65]), NOISY, 2, None),
    "validation below training, as with dropout": (
        curve(0.4 + 0.3 / np.arange(1, 21), 0.3 + 0.3 / np.arange(1, 21) ** 2), GOOD, 20, None),
    "validation below training, still improving": (curve([0.7, 0.6, 0.5], [0.6, 0.5, 0.4]), UNDERFITTING, 3, None),
    "validation below training, and turning": (
        curve(np.linspace(0.7, 0.5, 20), [0.6, 0.5, 0.4, 0.35, 0.34] + list(np.linspace(0.35, 0.48, 15))),
        OVERFITTING, 5, 6),
    "never learns": (curve([0.6932] * 20, [0.6933] * 20), UNDERFITTING, 1, None),
    "a guess that wobbles": (
        curve([0.694, 0.693, 0.6935, 0.693], [0.69, 0.71, 0.72, 0.73]), UNDERFITTING, 1, None),
    "slow to learn": (curve(0.69 - 0.001 * _many[:40], 0.691 - 0.001 * _many[:40]), UNDERFITTING, 40, None),
    "one epoch": (curve([0.6], [0.65]), TOO_SHORT, 1, None),
    "two epochs": (curve([0.6, 0.1], [0.65, 2.0]), TOO_SHORT, 1, None),
    "no number at the end": (curve([0.6, 0.5, NAN], [0.6, 0.55, NAN]), DIVERGED, 2, None),
    "training no number at the end": (curve([0.6, 0.5, NAN], [0.6, 0.55, 0.5]), DIVERGED, 2, None),
    "overfitted, then no number": (
        curve([0.6, 0.4, 0.3, 0.2, 0.1, NAN], [0.62, 0.5, 0.55, 0.6, 0.7, NAN]), DIVERGED, 2, None),
    "a number missing on the way": (
        curve([0.6, NAN, 0.5, 0.4, 0.3], [0.62, NAN, 0.55, 0.5, 0.45]), UNDERFITTING, 5, None),
    "run away": (curve([0.6, 5, 20, 50, 70, 80], [0.6, 5, 21, 52, 70, 85]), DIVERGED, 1, None),
    "a fit to nothing": (curve(1 / _many**2, 0.3 + abs(_many - 100) / 50), OVERFITTING, 100, 101),
    "settled over 300 epochs": (curve(0.3 + 0.3 / _many, 0.35 + 0.3 / _many), GOOD, 300, None),
    "a long fall that has ended": (
        curve([*np.linspace(0.6, 0.3, 34), *[0.3] * 6], [*np.linspace(0.6, 0.35, 34), *[0.35] * 6]), GOOD, 34, None),
    "a slow fall over 300 epochs": (curve(0.6 - _many / 1_000, 0.6 - _many / 1_200), UNDERFITTING, 300, None),
}


@pytest.mark.parametrize("name", CURVES)
def test_phase_best_epoch_and_onset_are_seen(name):
    history, phase, best, onset = CURVES[name]
    found = diagnose(history)
    assert (found.phase, found.best_epoch, found.onset, found.epochs) == (phase, best, onset, len(history))
    rows = history.dropna(subset=["train_crossentropy", "val_crossentropy"]).set_index("epoch")
    row, last = rows.loc[best], rows.iloc[-1]
    assert (found.best_crossentropy, found.best_accuracy) == (row["val_crossentropy"], row["val_accuracy"])
    assert found.gap_at_best == pytest.approx(row["val_crossentropy"] - row["train_crossentropy"])
    assert found.gap == pytest.approx(last["val_crossentropy"] - last["train_crossentropy"])


def test_with_ten_classes_a_guess_is_worth_more_than_with_two():
    history = curve([2.30] * 10, [2.31] * 10)
    assert diagnose(history, classes=10).is_stuck
    # What is poor for two classes is learning for ten.
    halfway = curve([0.66] * 10, [0.67] * 10)
    assert diagnose(halfway, classes=2).is_stuck and diagnose(halfway, classes=10).phase == GOOD


def test_a_network_that_knows_nothing_and_one_that_still_improves_are_told_apart():
    assert diagnose(CURVES["never learns"][0]).is_stuck
    assert not diagnose(CURVES["slow to learn"][0]).is_stuck


@pytest.mark.parametrize("values, phase", [((0.05, 0.055), GOOD), ((0.05, 0.065), OVERFITTING),
                                           ((1.0, 1.025), GOOD), ((1.0, 1.035), OVERFITTING)])
def test_validation_has_turned_only_beyond_a_visible_rise(values, phase):
    best, later = values
    history = curve([best, best / 2, best / 4, best / 8], [best + 0.2, best, later, later])
    assert diagnose(history).phase == phase


def test_a_turn_counts_once_a_second_epoch_confirms_it():
    train, val = [0.6, 0.5, 0.4, 0.3, 0.25, 0.2], [0.6, 0.5, 0.45, 0.42, 0.5, 0.55]
    assert [diagnose(curve(train[:epochs], val[:epochs])).phase for epochs in (4, 5, 6)] == [
        UNDERFITTING, UNDERFITTING, OVERFITTING]
    assert diagnose(curve(train[:5], val[:5])).confidence < diagnose(curve(train[:4], val[:4])).confidence


def test_the_longer_it_lasts_the_surer_it_is():
    val = [0.6, 0.4, 0.35, *np.linspace(0.4, 0.9, 12)]
    train = np.linspace(0.6, 0.05, len(val))
    sure = [diagnose(curve(train[:epochs], val[:epochs])).confidence for epochs in range(5, 16)]
    assert sure == sorted(sure) and sure[0] < 0.5 and sure[-1] > 0.9


def test_the_slope_is_the_change_an_epoch_and_one_outlier_does_not_move_it():
    val = 0.3 + 0.02 * np.arange(40)
    train = 0.3 - 0.005 * np.arange(40)
    found = diagnose(curve(train, val))
    assert (found.slope, found.train_slope) == (pytest.approx(0.02), pytest.approx(-0.005))
    val[-3] = 9.0
    assert diagnose(curve(train, val)).slope == pytest.approx(0.02, rel=0.1)


# -- jitter --------------------------------------------------------------------------------------------------

SEEDS = range(40)


def phases(train, val, jitter: float) -> list[Diagnosis]:
    found = []
    for seed in SEEDS:
        draw = np.random.default_rng(seed).normal(size=(2, len(val)))
        found.append(diagnose(curve(train + jitter / 5 * draw[0], val + jitter * draw[1])))
    return found


@pytest.mark.parametrize("epochs", [20, 50, 300])
@pytest.mark.parametrize("jitter", [0.002, 0.005, 0.01])
def test_an_overfitted_run_is_seen_through_its_jitter(epochs, jitter):
    across = np.arange(1, epochs + 1) / epochs
    found = phases(0.6 * np.exp(-4 * across), 0.3 + 0.3 * np.exp(-20 * across) + 0.2 * across, jitter)
    assert {one.phase for one in found} == {OVERFITTING}
    # Without jitter the lowest point lies at 0.17 of the way.
    assert 0.15 * epochs < np.median([one.onset for one in found]) < 0.35 * epochs


@pytest.mark.parametrize("epochs", [20, 50, 300])
@pytest.mark.parametrize("jitter", [0.002, 0.005, 0.01, 0.02, 0.04])
def test_jitter_alone_is_seldom_taken_for_overfitting_and_not_with_high_confidence(epochs, jitter):
    across = np.arange(1, epochs + 1)
    found = phases(0.4 - 0.2 * across / epochs, 0.33 + 0.3 * np.exp(-across / 2), jitter)
    taken = [one for one in found if one.phase == OVERFITTING]
    assert len(taken) <= 0.15 * len(found)
    assert all(one.level != "high" for one in taken)


def test_a_curve_that_is_all_jitter_is_called_so():
    across = np.arange(1, 51)
    found = phases(0.4 - 0.2 * across / 50, np.full(50, 0.33), 0.04)
    noisy = [one for one in found if one.phase == NOISY]
    assert len(noisy) > 0.9 * len(found)
    assert sum("jumps by about 0.0" in sentence(one) for one in noisy) > 0.9 * len(noisy)


@pytest.mark.parametrize("jitter", [0.0, 0.005, 0.02])
def test_a_network_that_only_guesses_is_told_whatever_the_jitter(jitter):
    found = phases(np.full(20, 0.693), np.full(20, 0.694), jitter)
    assert {one.phase for one in found} == {UNDERFITTING}
    assert sum(one.is_stuck for one in found) > 0.9 * len(found)


@pytest.mark.parametrize("jitter", [0.0, 0.01, 0.03])
def test_the_jitter_is_measured(jitter):
    found = phases(np.full(40, 0.3), 0.33 + 0.3 * np.exp(-np.arange(40.0)), jitter)
    assert np.median([one.noise for one in found]) == pytest.approx(jitter, rel=0.35, abs=1e-12)


# -- other people's trainings, and curves made by chance ------------------------------------------------------

LABELED = {one.name: one for one in labeled()}


@pytest.mark.parametrize("name", LABELED)
def test_a_history_of_another_persons_training_is_read_as_its_label_says(name):
    one = LABELED[name]
    assert one.is_right(diagnose(one.history, one.classes))


@pytest.fixture(scope="module")
def judged():
    return list(benchmark.judged(100, benchmark.HISTORIES))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_simulated_curves_of_a_kind_are_judged_right_as_often_as_is_wanted(kind, judged):
    # Of 100 curves the share has a standard error of 2 to 5 points: `tests.benchmarks.diagnosis` takes as many as one
    # likes.
    right = [right for name, _, right in judged if name == kind.name]
    error = math.sqrt(kind.wanted * (1 - kind.wanted) / len(right))
    assert sum(right) / len(right) >= kind.wanted - 2 * error


@pytest.mark.slow
def test_overfitting_is_seldom_said_where_there_is_none_and_never_with_high_confidence_of_a_settled_curve(judged):
    assert benchmark.false_overfitting(judged) <= 0.02
    assert not [one for name, one, _ in judged
                if name.startswith("settled") and one.phase == OVERFITTING and one.level == "high"]


@pytest.mark.slow
def test_confidence_is_worth_what_it_says(judged):
    # Over all labeled and simulated curves; of the words of `diagnosis.why.note`.
    found = benchmark.reliability(judged)
    assert found["high"][1] >= 0.97 and found["medium"][1] >= 0.85
    assert found["high"][1] > found["medium"][1] > found["low"][1]
    assert min(count for count, _ in found.values()) > 50


def test_jitter_before_the_turn_does_not_hide_it():
    val = [0.90, 0.62, 0.80, 0.55, 0.71, 0.50, 0.49, 0.50, 0.52, 0.54, 0.57, 0.60, 0.64, 0.68]
    found = diagnose(curve(np.linspace(0.60, 0.05, len(val)), val))
    assert (found.phase, found.best_epoch, found.onset) == (OVERFITTING, 7, 8)


@pytest.mark.parametrize("seed", range(5))
def test_a_rise_of_small_values_is_seen(seed):
    later = 0.078 + 0.002 * np.random.default_rng(seed).uniform(-1, 1, 20)
    val = [0.2, 0.12, 0.085, 0.10, 0.08, 0.095, 0.071, 0.070, *later]
    found = diagnose(curve(np.linspace(0.2, 0.005, len(val)), val), classes=10)
    assert (found.phase, found.best_epoch) == (OVERFITTING, 8)


def test_few_jumping_epochs_that_all_lie_far_above_the_best_show_a_turn():
    val = [0.75, 0.61, 0.595, 0.68, 0.83, 0.70, 0.88, 0.79]
    found = diagnose(curve(np.linspace(0.60, 0.15, len(val)), val))
    assert (found.phase, found.onset) == (OVERFITTING, 4) and found.level != "high"
    # Training that does not fall meanwhile shows no memorizing: then it is jitter.
    assert diagnose(curve(np.full(len(val), 0.6), val)).phase != OVERFITTING


def test_more_epochs_above_the_best_are_more_evidence():
    val = [0.75, 0.61, 0.595, 0.68, 0.70, 0.72, 0.75, 0.77, 0.80, 0.83]
    train = np.linspace(0.60, 0.10, len(val))
    sure = [diagnose(curve(train[:epochs], val[:epochs])).confidence for epochs in range(5, len(val) + 1)]
    assert sure == sorted(sure)


def test_a_curve_that_falls_in_every_epoch_has_not_settled():
    val = 1.6516 - 0.0008 * np.arange(50)
    assert diagnose(curve(val, val), classes=9).phase == UNDERFITTING
    # Unless there is next to nothing to come.
    fading = 0.35 + 0.3 / np.arange(1.0, 301) ** 2
    assert diagnose(curve(fading - 0.05, fading)).phase == GOOD


@pytest.mark.parametrize("val", [[0.320, 0.321, 0.900], [0.6, 0.4, 0.32, 0.321, 0.322, 0.32, 0.321, 0.9]])
def test_a_last_epoch_far_above_the_others_is_told_and_nothing_is_called_settled_because_of_few_others(val):
    found = diagnose(curve(np.linspace(0.4, 0.1, len(val)), val))
    assert found.phase != OVERFITTING and (found.phase == TOO_SHORT) == (len(val) == 3)
    assert "The last epoch lies 0.580 above the best" in sentence(found)
    assert not sentence(found).endswith("(Confidence: high.)")


@pytest.mark.parametrize("accuracy", [0.91, None])
def test_a_loss_of_hundreds_is_not_called_close_to_a_guess(accuracy):
    train, val = [656.7, 209.0, 146.6, 110.8, 175.6], [82.8, 147.8, 361.6, 150.5, 42.5]
    known = [accuracy] * 5 if accuracy else None
    found = diagnose(frame(train, val, known, known), classes=10)
    assert "close to" not in sentence(found)
    assert not (accuracy and found.is_stuck)


@pytest.mark.parametrize("times", [1.0, 1.1, 1.3, 1.6])
def test_a_network_that_answers_right_has_learned_whatever_its_loss(times):
    # As a strong penalty leaves it: small outputs, in the right order.
    loss = [times * math.log(10)] * 12
    found = diagnose(frame(loss, loss, [0.9] * 12, [0.9] * 12), classes=10)
    assert not found.is_stuck and "learned" not in sentence(found)
    assert diagnose(frame(loss, loss, [0.1] * 12, [0.1] * 12), classes=10).is_stuck


@pytest.mark.parametrize("val", [[0.320, 0.321, 0.900], [0.5, NAN, 0.4]])
@pytest.mark.parametrize("language, said", [("en", r"(\d+) of at least (\d+) epochs"),
                                            ("ko", r"적어도 (\d+)개.*아직 (\d+)개")])
def test_too_few_epochs_are_counted_as_they_were_judged(val, language, said):
    found = diagnose(curve([value - 0.01 for value in val], val))
    numbers = sorted(map(int, re.search(said, sentence(found, language)).groups()))
    assert found.phase == TOO_SHORT and numbers == [2, 3]


def test_what_was_lost_beyond_a_guess_is_not_called_near_it():
    train = [2.0, 0.8, 0.3, 1.0, 3.0, 4.4, 4.5, 4.5, 4.5, 4.5]
    found = diagnose(curve(train, [value + 0.05 for value in train]), classes=10)
    assert found.phase == UNSTABLE
    assert "is back at 4.500, worse than the 2.303 of random guessing" in sentence(found)


def test_what_is_memorized_already_overfits_though_training_can_fall_no_further():
    draw = np.random.default_rng(3).normal(size=(2, 100))
    found = diagnose(curve(0.009 * (1 + 0.3 * draw[0]), np.linspace(0.10, 0.22, 100) * (1 + 0.12 * draw[1])))
    assert found.phase == OVERFITTING


def test_one_epoch_does_not_delay_the_onset():
    val = [0.8, 0.6, 0.5, 0.45, 0.44, 0.43, 0.45, 0.46, 0.47, 0.47, 0.49, 0.5, 0.51, 0.53, 0.54, 0.55]
    train = np.linspace(0.6, 0.1, len(val))
    plain = diagnose(curve(train, val)).onset
    for place in range(7, len(val) - 1):
        for value in (0.9, 0.43):
            changed = [*val[:place], value, *val[place + 1:]]
            assert diagnose(curve(train, changed)).onset == plain == 7, (place, value)


def test_three_epochs_are_not_enough_to_be_sure_of_a_slope():
    for val in ([0.62, 0.6, 0.59], [0.62, 0.5, 0.4], [0.6, 0.55, 0.54]):
        assert diagnose(curve([0.6, 0.5, 0.45], val)).level != "high"


def test_what_was_learned_and_lost_again_is_a_phase_of_its_own():
    train = [0.5, 0.3, 0.2, 0.4, 1.1, 1.9, 2.2, 2.25, 2.28, 2.29, 2.3, 2.28, 2.29, 2.3]
    found = diagnose(curve(train, [value + 0.02 for value in train]), classes=10)
    assert (found.phase, found.onset) == (UNSTABLE, None)
    assert "training fell to 0.200 and is back at 2.290" in sentence(found)


def test_averages_of_batch_normalization_that_lag_are_named_with_both_numbers():
    epochs = 20
    history = frame(np.linspace(2.2, 1.9, epochs), np.linspace(2.25, 2.0, epochs), [0.28] * epochs, [0.25] * epochs,
                    [1.0] * epochs).assign(loss=0.05, penalty=0.0)
    found = diagnose(history, classes=10)
    assert found.is_lagging and found.phase == TOO_SHORT
    assert "28.0%" in sentence(found) and "100.0%" in sentence(found) and "batch normalization" in sentence(found)
    # Nor is it said of a network without batch normalization, whatever its numbers; with dropout it is the other way
    # round.
    assert not diagnose(history, classes=10, batch_norm=False).is_lagging
    assert not diagnose(history.assign(accuracy=0.2, loss=2.3), classes=10).is_lagging


# -- whatever comes ------------------------------------------------------------------------------------------

_value = st.one_of(st.floats(0, 20), st.floats(allow_nan=True, allow_infinity=True))
_histories = st.lists(st.tuples(_value, _value), max_size=40).map(lambda rows: curve(*zip(*rows)) if rows
                                                                  else curve([], []))
_sound = st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20)), min_size=1, max_size=40).map(
    lambda rows: curve(*zip(*rows)))


@given(_histories, st.sampled_from([2, 10]))
def test_every_history_has_a_diagnosis_and_a_sentence(history, classes):
    found = diagnose(history, classes)
    assert found.phase in PHASES and 0 <= found.confidence <= 1
    assert all(isinstance(ground, Evidence) and 0 <= ground.confidence <= 1 for ground in found.grounds.values())
    for language in i18n.LANGUAGES:
        assert bool(sentence(found, language)) == bool(len(history))
    sound = history.dropna(subset=["train_crossentropy", "val_crossentropy"])
    if sound.empty:
        assert found.best_epoch is None
    else:
        assert found.best_epoch == sound.loc[sound["val_crossentropy"].idxmin(), "epoch"]
    assert (found.onset is not None) == (found.phase == OVERFITTING)
    assert found.onset is None or found.best_epoch < found.onset <= len(history)


@given(_sound)
def test_lost_epochs_at_the_end_mean_divergence_and_change_nothing_else(history):
    before = diagnose(history)
    lost = curve([*history["train_crossentropy"], NAN, NAN], [*history["val_crossentropy"], NAN, NAN])
    after = diagnose(lost)
    assert (after.phase, after.confidence, after.epochs) == (DIVERGED, 1.0, before.epochs + 2)
    for name in ("best_epoch", "best_crossentropy", "gap_at_best", "gap", "rise", "slope", "noise"):
        assert getattr(after, name) == pytest.approx(getattr(before, name), nan_ok=True)


@given(_sound)
def test_the_same_rows_in_longer_company_are_read_the_same(history):
    before = diagnose(history)
    beside = history.assign(loss=NAN, seconds=3.0, extra=1)
    beside.index = beside.index + 100
    assert diagnose(beside) == before or math.isnan(before.slope)


# -- speed ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs, milliseconds", [(20, 2), (500, 10)])
def test_it_keeps_up_with_a_live_page(epochs, milliseconds):
    draw = np.random.default_rng(0).normal(size=epochs)
    history = curve(0.5 / np.arange(1, epochs + 1), 0.4 + 0.001 * np.arange(epochs) + 0.02 * draw)
    taken = []
    for _ in range(30):
        begun = time.perf_counter()
        diagnose(history)
        taken.append(1_000 * (time.perf_counter() - begun))
    assert min(taken) < milliseconds


# -- in words ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, parts", [
    ("still learning", ["Best at epoch 4, validation cross-entropy 0.450", "still improving", "by about 0.05 an epoch",
                        "The gap to training is 0.150", "Confidence: medium"]),
    ("one bad epoch at the end", ["Best at epoch 3, validation cross-entropy 0.450", "still improving",
                                  "by about 0.085",
                                  "The last epoch lies 0.150 above the best: one alone may be chance"]),
    ("overfitting", ["Best at epoch 2, validation cross-entropy 0.500", "overfitting since epoch 3",
                     "lies 0.200 higher at the end", "from 0.100 to 0.600"]),
    ("level", ["Best at epoch 2, validation cross-entropy 0.500", "settled", "The gap to training is 0.001"]),
    ("validation below training, still improving", ["The gap to training is -0.100"]),
    ("never learns", ["hardly learned", "at 0.693", "the 0.693 of a blind guess"]),
    ("no number at the end", ["Best at epoch 2, validation cross-entropy 0.550; then the loss became NaN"]),
    ("run away", ["training itself has run away", "the 0.693 of a blind guess"]),
    ("a rise that training shares", ["its latest epochs lie 0.150 higher, but training has risen with it"]),
    ("one epoch", ["Best at epoch 1, validation cross-entropy 0.650 so far", "1 of at least 3 epochs"]),
])
def test_the_sentence_has_the_numbers_of_the_run(name, parts):
    said = sentence(diagnose(CURVES[name][0]))
    assert all(part in said for part in parts), said


@pytest.mark.parametrize("name", CURVES)
def test_both_languages_tell_of_the_same_best_epoch(name):
    found = diagnose(CURVES[name][0])
    said = {language: sentence(found, language) for language in i18n.LANGUAGES}
    assert said["en"] != said["ko"]
    for text in said.values():
        assert str(found.best_epoch) in text and f"{found.best_crossentropy:.3f}" in text
        assert found.onset is None or str(found.onset) in text


def test_a_loss_that_was_never_a_number_is_told():
    found = diagnose(curve([NAN] * 3, [NAN] * 3))
    assert (found.phase, found.best_epoch) == (DIVERGED, None)
    assert sentence(found).startswith("The loss was NaN from the first epoch")


def test_before_the_first_epoch_nothing_is_said():
    found = diagnose(curve([], []))
    assert (found.phase, found.epochs, sentence(found)) == (TOO_SHORT, 0, "")


@pytest.mark.parametrize("language", i18n.LANGUAGES)
def test_every_finding_tells_what_it_rests_on(language):
    for one in reference_curves.histories():
        found = diagnose(one.table())
        rows = diagnosis_text.grounds(found, language)
        assert len(rows) == len(found.grounds) >= 4
        assert all(row["numbers"] and re.search(r"\(\d\.\d\d\)$", row["confidence"]) for row in rows)
        assert any(str(found.best_epoch) == row["value"] for row in rows)
