"""The published histories: the figures are the sources', and each belongs to the run that a lesson trains."""

from __future__ import annotations

import math

import pytest

from explorer.analysis.history import table
from explorer.config.run_config import RunConfig
from explorer.lessons import reference_curves
from explorer.lessons.presets import DLWP, LESSONS, PREPROCESSING, TUTORIAL_7

EVERY = reference_curves.histories()
BASELINE = RunConfig(dataset="imdb", num_words=1_000, optimizer="adam", validation="test")
BOOK = RunConfig(dataset="imdb", num_words=10_000, optimizer="rmsprop", validation="test")


def named(found: list[reference_curves.Published]) -> list[tuple[str, str]]:
    return [(one.source, one.experiment) for one in found]


def test_there_are_sixteen_of_three_sources_each_with_every_epoch_that_was_printed():
    counts = [sum(one.title == title for one in EVERY) for title in (TUTORIAL_7, DLWP, PREPROCESSING)]
    assert counts == [5, 7, 4]
    assert {len(one.history) for one in EVERY if one.patience is None} == {20}
    (stopped,) = [one for one in EVERY if one.patience is not None]
    assert (stopped.epochs, stopped.patience, len(stopped.history)) == (200, 20, 23)
    for one in EVERY:
        assert one.history["epoch"].tolist() == list(range(1, len(one.history) + 1))
        assert one.history[["loss", "accuracy", "val_loss", "val_accuracy"]].notna().all(axis=None)


# Read off the sources by hand: first and last value of each.
@pytest.mark.parametrize("config, source, column, first, last", [
    (BASELINE, "tf-tutorial-7", "val_crossentropy", 0.4192, 0.3706),
    (BASELINE, "tf-tutorial-7", "accuracy", 0.7141, 0.9157),
    (BASELINE.with_(l2=0.001), "tf-tutorial-7", "val_loss", 0.4636, 0.3631),
    (BASELINE.with_(l2=0.001), "tf-tutorial-7", "val_crossentropy", 0.4218, 0.3311),
    (BOOK.with_(hidden=(1024, 1024)), "dlwp-4.4", "val_crossentropy", 0.276, 1.0794),
    (BOOK.with_(l1=0.0001, l2=0.0001), "dlwp-4.4", "val_loss", 0.4444, 0.4186),
    (BOOK, "preprocessing-overfitting", "loss", 0.5801, 0.0047),
])
def test_the_figures_are_those_of_the_source(config, source, column, first, last):
    (one,) = [found for found in reference_curves.of(config) if found.source == source]
    assert (one.history[column].iloc[0], one.history[column].iloc[-1]) == (first, last)


def test_a_run_finds_all_that_was_published_of_its_settings_whatever_its_seed():
    assert named(reference_curves.of(BASELINE.with_(seed=7))) == [("tf-tutorial-7", "baseline")]
    assert named(reference_curves.of(BOOK)) == [("dlwp-4.4", "original"), ("preprocessing-overfitting", "original")]
    assert named(reference_curves.of(BOOK.with_(l2=0.001))) == [
        ("dlwp-4.4", "l2"), ("preprocessing-overfitting", "l2"), ("preprocessing-overfitting", "l2_early_stopping")]


@pytest.mark.parametrize("changes", [
    {"dataset": "reviews"}, {"num_words": 9_999}, {"hidden": (16,)}, {"optimizer": "adam"}, {"learning_rate": 0.002},
    {"l2": 0.002}, {"dropout": 0.4}, {"batch_size": 256}, {"validation": 0.2}, {"train_samples": 500},
    {"label_noise": 0.1}, {"batch_norm": True}, {"activation": "tanh"}, {"initializer": "he_normal"}])
def test_a_run_with_any_other_setting_finds_nothing(changes):
    assert reference_curves.of(BOOK.with_(**changes)) == []


def test_the_history_that_began_with_trained_weights_is_no_fresh_runs():
    (warm,) = [one for one in EVERY if one.is_warm_started]
    assert (warm.source, warm.experiment) == ("preprocessing-overfitting", "dropout_continued")
    assert warm.history["loss"].iloc[0] == 0.1023
    assert named(reference_curves.of(warm.config)) == [("dlwp-4.4", "dropout")]


def test_every_published_fresh_run_is_one_that_a_lesson_trains():
    trained = {config for parts in LESSONS.values() for part in parts for config, _ in part.runs}
    assert {one.config for one in EVERY} <= trained


def test_only_penalised_losses_stay_without_a_crossentropy():
    assert named([one for one in EVERY if one.is_penalised]) == [
        ("dlwp-4.4", "l2"), ("dlwp-4.4", "l1"), ("dlwp-4.4", "l1_l2"), ("preprocessing-overfitting", "l2"),
        ("preprocessing-overfitting", "l2_early_stopping")]
    for one in EVERY:
        assert one.table()[["train_crossentropy", "val_crossentropy"]].notna().all(axis=None)


def measured(values, losses=None):
    return table({"epoch": number, "val_crossentropy": value, "val_loss": loss}
                 for number, (value, loss) in enumerate(zip(values, losses or values, strict=True), start=1))


def test_the_distance_of_a_run_to_itself_is_none():
    (one,) = reference_curves.of(BASELINE)
    found = reference_curves.distance(one, one.table())
    assert (found.best_epoch, found.measured_best_epoch, found.best, found.measured_best) == (4, 4, 0.3285, 0.3285)
    assert (found.last, found.measured_last, found.epochs, found.is_penalised) == (0.3706, 0.3706, 20, False)


def test_a_penalised_history_is_held_against_the_measured_loss_with_its_penalty():
    book = reference_curves.of(BOOK.with_(l2=0.001))[0]
    found = reference_curves.distance(book, measured([0.1, 0.2, 0.3], [0.4, 0.35, 0.36]))
    assert found.is_penalised
    assert (found.measured_best, found.measured_best_epoch, found.measured_last) == (0.35, 2, 0.36)
    tutorial = reference_curves.of(BASELINE.with_(l2=0.001))[0]
    found = reference_curves.distance(tutorial, measured([0.1, 0.2, 0.3], [0.4, 0.35, 0.36]))
    assert not found.is_penalised and (found.measured_best, found.measured_best_epoch) == (0.1, 1)


def test_both_are_read_over_the_epochs_that_both_have():
    (one,) = reference_curves.of(BASELINE)
    found = reference_curves.distance(one, measured([0.42, 0.34, math.nan]))
    assert (found.epochs, found.best_epoch, found.best, found.last, found.measured_last) == (2, 2, 0.3455, 0.3455, 0.34)
    longer = reference_curves.distance(one, measured([0.5] * 20 + [0.1] * 5))
    assert (longer.epochs, longer.measured_best) == (20, 0.5)


def test_a_run_without_a_sound_epoch_has_no_distance():
    (one,) = reference_curves.of(BASELINE)
    assert reference_curves.distance(one,
                                     measured([])) is None and reference_curves.distance(one,
                                                                                         measured([math.nan])) is None
