"""The lessons themselves, as data: each source's experiments with the source's own settings."""

from __future__ import annotations

from typing import Any

from explorer import data
from explorer.config import Demand, RunConfig
from explorer.lessons import DIFFERENT, EQUAL, FALLS, RISES, Claim, Part
from explorer.settings import Settings

TUTORIAL_7 = "TensorFlow Tutorial 7 (mazdah.github.io)"
DLWP = "Deep Learning with Python, section 4.4"
PREPROCESSING = "Preprocessing, feature engineering and overfitting notebook"
AIMERS = "LG Aimers: overfitting lab"
FROM_SCRATCH = "Deep Learning from Scratch, section 6.4"

# Two runs whose curves shall agree may end this far apart in cross-entropy: below what a chart shows.
AGREE = 0.002


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
_DECAY = RunConfig(dataset="imdb", num_words=1_000, optimizer="sgd", learning_rate=0.1)


def _each_below(measure: str, *places: int) -> tuple[Claim, ...]:
    """The measure is lower in each of these runs than in the first."""
    return tuple(Claim(measure, (0, place), FALLS) for place in places)


LESSONS: dict[str, tuple[Part, ...]] = {
    "capacity": (
        Part(TUTORIAL_7, _runs(_TUTORIAL_7, {"hidden": (4, 4)}, {}, {"hidden": (512, 512)}),
             (Claim("best_epoch", (0, 1, 2), FALLS), Claim("gap", (0, 1, 2), RISES))),
        Part(DLWP, _runs(_DLWP, {"hidden": (6, 6)}, {}, {"hidden": (1024, 1024)}),
             (Claim("best_epoch", (0, 1, 2), FALLS), Claim("gap", (0, 1, 2), RISES))),
    ),
    "penalties": (
        Part(TUTORIAL_7, _runs(_TUTORIAL_7, {}, {"l2": 0.001}), (*_each_below("gap", 1), *_each_below("last", 1))),
        Part(DLWP, _runs(_DLWP, {}, {"l2": 0.001}, {"l1": 0.0001}, {"l1": 0.0001, "l2": 0.0001}),
             (*_each_below("gap", 1, 2, 3), *_each_below("last", 1, 2, 3))),
    ),
    "dropout": (
        Part(TUTORIAL_7, _runs(_TUTORIAL_7, {}, {"dropout": 0.5}), (*_each_below("gap", 1), *_each_below("last", 1))),
        Part(DLWP, _runs(_DLWP, {}, {"dropout": 0.5}), (*_each_below("gap", 1), *_each_below("last", 1))),
    ),
    "too-long": (
        Part(AIMERS, (*_runs(_AIMERS, {"hidden": (256, 128)}),
                      *_runs(_AIMERS, {"hidden": (1024, 512, 512, 512)}, epochs=300)),
             (Claim("gap", (0, 1), RISES), Claim("test_accuracy", (0, 1), FALLS))),
        Part(AIMERS, _runs(_AIMERS.with_(hidden=(128, 128)), {}, {"l1": 0.001}, {"l2": 0.001}, {"dropout": 0.3}),
             _each_below("gap", 1, 2, 3)),
    ),
    "batch-norm": (
        Part(AIMERS, _runs(_AIMERS_MNIST, {}, {"batch_norm": True}),
             (Claim("best_epoch", (0, 1), FALLS), Claim("test_accuracy", (0, 1), RISES)), "accuracy"),
    ),
    "early-stopping": (
        Part(PREPROCESSING, (*_runs(_DLWP, {}), *_runs(_DLWP, {"l2": 0.001}, epochs=200, patience=20)),
             (Claim("epochs", (0, 1), RISES), *_each_below("last", 1))),
    ),
    "tiny-data": (
        Part(FROM_SCRATCH, (*_runs(_FROM_SCRATCH, {}, {"l2": 0.05, "regularize_output": True}, epochs=201),
                            *_runs(_FROM_SCRATCH, {"dropout": 0.2}, epochs=301)),
             (*_each_below("train_accuracy", 1, 2), *_each_below("gap", 1, 2)), "accuracy"),
    ),
    "more-data": (
        Part("", _runs(_DLWP, {"train_samples": 500}, {"train_samples": 2_000}, {"train_samples": 8_000}, {}),
             (Claim("best", (0, 1, 2, 3), FALLS),)),
        Part("", _runs(_DLWP, {}, {"label_noise": 0.2}, {"label_noise": 0.4}), (Claim("best", (0, 1, 2), RISES),)),
    ),
    "same-penalty": (
        # The penalty λΣw² pulls with 2λw, so decay at a rate of 2λ is the same pull where steps follow the gradient.
        Part("", _runs(_DECAY, {"l2": 0.001, "regularize_output": True}, {"weight_decay": 0.002}),
             (Claim("best", (0, 1), EQUAL, AGREE), Claim("gap", (0, 1), EQUAL, AGREE))),
        Part("", _runs(_DECAY, {"optimizer": "adam", "l2": 0.001, "regularize_output": True},
                       {"optimizer": "adamw", "weight_decay": 0.002}),
             (Claim("gap", (0, 1), DIFFERENT, AGREE),)),
    ),
}


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
