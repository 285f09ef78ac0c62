"""The lessons themselves, as data: each source's experiments with the source's own settings."""

from __future__ import annotations

from typing import Any

from explorer import data
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.lessons import DIFFERENT, EQUAL, FALLS, RISES, Claim, Part

TUTORIAL_7 = "TensorFlow Tutorial 7 (mazdah.github.io)"
DLWP = "Deep Learning with Python, section 4.4"
PREPROCESSING = "Preprocessing, feature engineering and overfitting notebook"
AIMERS = "LG Aimers: overfitting lab"
FROM_SCRATCH = "Deep Learning from Scratch, section 6.4"

# Two runs whose curves shall agree may end this far apart in cross-entropy: below what a chart shows.
AGREE = 0.001
# So far apart, two test accuracies are of the same worth: less than what seeds make of the same network.
ALIKE = 0.02
# So far apart, two best values are of the same worth, in cross-entropy and in accuracy: seeds of one network differ by
# half of it, and from 500 to 25,000 reviews the cross-entropy falls by thirteen times as much.
CLOSE, CLOSE_ACCURACY = 0.02, 0.01


def _runs(base: RunConfig, *changes: dict[str, Any], epochs: int = 20, patience: int | None = None
          ) -> tuple[tuple[RunConfig, Demand], ...]:
    return tuple((base.with_(**change), Demand(epochs, patience)) for change in changes)


# What each source says of its data and its optimizer; all but the last validate on the test set, as they do.
_TUTORIAL_7 = RunConfig(dataset="imdb", num_words=1_000, optimizer="adam", validation="test")
_DLWP = RunConfig(dataset="imdb", num_words=10_000, optimizer="rmsprop", validation="test")
_AIMERS = RunConfig(dataset="imdb", num_words=100, optimizer="adam", batch_size=500, validation="test")
_AIMERS_MNIST = RunConfig(dataset="mnist", hidden=(128, 128), optimizer="adam", batch_size=128, validation="test")
_FROM_SCRATCH = RunConfig(dataset="mnist", train_samples=300, hidden=(100,) * 6, optimizer="sgd", learning_rate=0.01,
                          batch_size=100, initializer="he_normal", validation="test")
# Keras's decay acts on biases too, and a penalty on kernels alone: with steps of 0.1 the curves jump, and that little
# drives them apart; with these they stay together.
_DECAY = RunConfig(dataset="imdb", num_words=1_000, optimizer="sgd", learning_rate=0.02)


def _each_below(measure: str, *places: int) -> tuple[Claim, ...]:
    """The measure is lower in each of these runs than in the first."""
    return tuple(Claim(measure, (0, place), FALLS) for place in places)


def _as_good(*places: int, measure: str = "best") -> Claim:
    """At their best, the runs are of the same worth: what differs moves when they turn, and what going on costs."""
    return Claim(measure, places, EQUAL, CLOSE if measure == "best" else CLOSE_ACCURACY)


LESSONS: dict[str, tuple[Part, ...]] = {
    "capacity": (
        Part(TUTORIAL_7, _runs(_TUTORIAL_7, {"hidden": (4, 4)}, {}, {"hidden": (512, 512)}),
             # Of four units some may be dead from the start: that costs confidence, and hardly accuracy.
             (Claim("best_epoch", (0, 1, 2), FALLS), Claim("gap", (0, 1, 2), RISES), Claim("train", (0, 1, 2), FALLS),
              _as_good(1, 2), _as_good(0, 1, 2, measure="best_accuracy"))),
        Part(DLWP, _runs(_DLWP, {"hidden": (6, 6)}, {}, {"hidden": (1024, 1024)}),
             # The largest one jumps from epoch to epoch: with some seeds its best epoch comes late.
             (Claim("by_heart", (0, 1, 2), FALLS), Claim("gap", (0, 1, 2), RISES), Claim("train", (0, 1, 2), FALLS),
              _as_good(0, 1, 2), _as_good(0, 1, 2, measure="best_accuracy"))),
    ),
    "penalties": (
        Part(TUTORIAL_7, _runs(_TUTORIAL_7, {}, {"l2": 0.001}),
             (*_each_below("gap", 1), *_each_below("last", 1), *_each_below("weights", 1),
              _as_good(0, 1), _as_good(0, 1, measure="best_accuracy"))),
        Part(DLWP, _runs(_DLWP, {}, {"l2": 0.001}, {"l1": 0.0001}, {"l1": 0.0001, "l2": 0.0001}),
             (*_each_below("gap", 1, 2, 3), *_each_below("last", 1, 2, 3), *_each_below("weights", 1, 2, 3),
              Claim("zeros", (0, 2), RISES), Claim("zeros", (1, 2), RISES),
              # The source printed no losses of these without their penalties; accuracies have none.
              _as_good(0, 1, 2, 3, measure="best_accuracy"))),
    ),
    "dropout": (
        Part(TUTORIAL_7, _runs(_TUTORIAL_7, {}, {"dropout": 0.5}),
             (*_each_below("gap", 1), *_each_below("last", 1), Claim("above", (0, 1), RISES),
              _as_good(0, 1), _as_good(0, 1, measure="best_accuracy"))),
        Part(DLWP, _runs(_DLWP, {}, {"dropout": 0.5}),
             (*_each_below("gap", 1), *_each_below("last", 1), Claim("above", (0, 1), RISES),
              _as_good(0, 1), _as_good(0, 1, measure="best_accuracy"))),
    ),
    "too-long": (
        # The epochs are logarithmic, or 20 of 300 would be a sliver.
        Part(AIMERS, (*_runs(_AIMERS, {"hidden": (256, 128)}),
                      *_runs(_AIMERS, {"hidden": (1024, 512, 512, 512)}, epochs=300)),
             (*_each_below("train", 1), Claim("last", (0, 1), RISES), Claim("gap", (0, 1), RISES),
              Claim("test_accuracy", (0, 1), EQUAL, ALIKE)), view=("log_x",)),
        Part(AIMERS, _runs(_AIMERS.with_(hidden=(128, 128)), {}, {"l1": 0.001}, {"l2": 0.001}, {"dropout": 0.3}),
             (*_each_below("gap", 1, 2, 3), *(Claim("test_accuracy", (0, place), RISES) for place in (1, 2, 3)))),
    ),
    "batch-norm": (
        Part(AIMERS, _runs(_AIMERS_MNIST, {}, {"batch_norm": True}),
             (*_each_below("by_heart", 1),
              # On fewer digits both still improve at the end, and one test digit more or less is luck.
              Claim("best_epoch", (0, 1), FALLS, of_source=True),
              Claim("test_accuracy", (0, 1), RISES, of_source=True)), "accuracy"),
    ),
    "early-stopping": (
        Part(PREPROCESSING, (*_runs(_DLWP, {}, {"l2": 0.001}), *_runs(_DLWP, {"l2": 0.001}, epochs=200, patience=20),
                             *_runs(_DLWP, {"dropout": 0.5})),
             (*_each_below("last", 1, 2, 3), *_each_below("gap", 1, 2, 3), Claim("epochs", (1, 2), RISES)),
             view=("panels",)),
    ),
    "tiny-data": (
        Part(FROM_SCRATCH, (*_runs(_FROM_SCRATCH, {}, {"l2": 0.05, "regularize_output": True}, epochs=201),
                            *_runs(_FROM_SCRATCH, {"dropout": 0.2}, epochs=301)),
             (*_each_below("train_accuracy", 1, 2), Claim("by_heart", (0, 2), RISES),
              Claim("train_accuracy_at", (0, 2), FALLS, epoch=100),
              # Smaller digits are read so well by the plain network that its gap is small, too.
              Claim("accuracy_gap_at", (0, 2), FALLS, epoch=100, of_source=True),
              Claim("accuracy_gap", (0, 1), FALLS, of_source=True), *_each_below("accuracy_gap", 2),
              *_each_below("test_accuracy", 1, 2)), "accuracy", view=("panels",)),
    ),
    "more-data": (
        Part("", _runs(_DLWP, {"train_samples": 500}, {"train_samples": 2_000}, {"train_samples": 8_000}, {}),
             (Claim("best", (0, 1, 2, 3), FALLS), Claim("best_accuracy", (0, 1, 2, 3), RISES)),
             sources_say="recommended"),
        Part("", _runs(_DLWP, {}, {"label_noise": 0.2}, {"label_noise": 0.4}),
             (Claim("best", (0, 1, 2), RISES), Claim("best_accuracy", (0, 1, 2), FALLS)), sources_say="recommended"),
    ),
    "warm-start": (
        # One run: what the second `fit` shows as its epochs 1 to 20 are the epochs 21 to 40.
        Part(PREPROCESSING, _runs(_DLWP, {"dropout": 0.5}, {"dropout": 0.5}),
             (*_each_below("first", 1), Claim("best", (0, 1), RISES), *_each_below("best_epoch", 1),
              Claim("gap_at", (0, 1), RISES, epoch=1)), again=(0, 20), is_riddle=True),
    ),
    "same-penalty": (
        # The penalty λΣw² pulls with 2λw, so decay at a rate of 2λ is the same pull where steps follow the gradient.
        Part("", _runs(_DECAY, {"l2": 0.001, "regularize_output": True}, {"weight_decay": 0.002}, epochs=60),
             (*(Claim(measure, (0, 1), EQUAL, AGREE) for measure in ("best", "last", "gap")),), sources_say="same"),
        Part("", _runs(_DECAY, {"optimizer": "adam", "l2": 0.001, "regularize_output": True},
                       {"optimizer": "adamw", "weight_decay": 0.002}),
             (Claim("gap", (0, 1), DIFFERENT, AGREE), Claim("weights", (0, 1), RISES)), sources_say="same"),
    ),
}


def all_available(name: str, settings: Settings, seed: int | None = None) -> list[Part]:
    """All parts of a lesson, each as `available` has it."""
    return [available(name, number, settings, seed) for number in range(len(LESSONS[name]))]


def available(name: str, number: int, settings: Settings, seed: int | None = None) -> Part:
    """A part of a lesson, counted from 0, with embedded data where the source's are not on this machine.

    Args:
        seed: of all its runs; their own without.
    """
    found = LESSONS[name][number]
    for dataset in sorted(found.datasets & data.EMBEDDED.keys()):
        if not data.present(dataset, settings):
            found = found.on(dataset, data.EMBEDDED[dataset])
    return found.seeded(seed)
