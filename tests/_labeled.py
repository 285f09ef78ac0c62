"""Histories of other people's trainings and those that the sources print, with what a person reads off each."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from explorer.analysis.diagnosis import GOOD, OVERFITTING, Diagnosis
from explorer.lessons import reference_curves as sources
from tests._simulated import frame

# Facts only: numbers as notebooks, logs and reports print them, and the names of these.
HISTORIES = Path(__file__).with_name("histories.json")

# By hand from the printed numbers: the epoch with the lowest validation value, the phase after the last epoch, and the
# first epoch from which validation never comes back to its best (with the latest that can be argued for, where jitter
# leaves room). Where a source printed only losses with the penalty inside, both sides have it inside.
BY_HAND = {
    ("tf-tutorial-7", "baseline"): (4, OVERFITTING, (7, 11)),
    # 0.3283 at its best, 0.3335 at the end: less than another seed changes.
    ("tf-tutorial-7", "smaller"): (11, GOOD, None),
    ("tf-tutorial-7", "bigger"): (2, OVERFITTING, (3, 4)),
    # Up and down between 0.325 and 0.337 from epoch 3 on.
    ("tf-tutorial-7", "l2"): (17, GOOD, None),
    ("tf-tutorial-7", "dropout"): (11, OVERFITTING, (12, 16)),
    ("dlwp-4.4", "original"): (3, OVERFITTING, (4, 5)),
    ("dlwp-4.4", "smaller"): (5, OVERFITTING, (6, 7)),
    # The jump to 2.12 at epoch 15 is one bad epoch: validation has risen ever since the first.
    ("dlwp-4.4", "bigger"): (1, OVERFITTING, (2, 2)),
    ("dlwp-4.4", "l2"): (3, OVERFITTING, (4, 5)),
    ("dlwp-4.4", "l1"): (4, OVERFITTING, (5, 6)),
    ("dlwp-4.4", "l1_l2"): (4, OVERFITTING, (5, 5)),
    ("dlwp-4.4", "dropout"): (4, OVERFITTING, (6, 7)),
    ("preprocessing-overfitting", "original"): (3, OVERFITTING, (4, 5)),
    # 0.334 at epoch 2, then between 0.354 and 0.505 with a rising trend.
    ("preprocessing-overfitting", "l2"): (2, OVERFITTING, (3, 9)),
    ("preprocessing-overfitting", "l2_early_stopping"): (3, OVERFITTING, (4, 6)),
    # It began with trained weights, so it was overfitted from the start.
    ("preprocessing-overfitting", "dropout_continued"): (1, OVERFITTING, (2, 2)),
}


@dataclass(frozen=True)
class Labeled:
    """A history and what a person reads off it.

    Attributes:
        name: what it is called.
        history: as from `explorer.analysis.history.table`.
        classes: of its data.
        phases: those that can be argued for.
        best_epoch: the epoch with the lowest validation loss, `None` where no loss is a number.
        onset: first and last epoch that can be argued for, where the phase is overfitting.
        is_stuck: whether it has learned nothing at all; `None` where that is not asked.
    """

    name: str
    history: pd.DataFrame
    classes: int
    phases: tuple[str, ...]
    best_epoch: int | None
    onset: tuple[int, int] | None
    is_stuck: bool | None = None

    def is_right(self, found: Diagnosis) -> bool:
        """Whether a diagnosis says what a person does."""
        return (found.phase in self.phases and found.best_epoch == self.best_epoch
                and (self.is_stuck is None or found.is_stuck == self.is_stuck)
                and (found.onset is None or self.onset is None or self.onset[0] <= found.onset <= self.onset[1]))


def labeled(path: Path = HISTORIES) -> Iterator[Labeled]:
    """Histories of a file, with what was expected of each before any diagnosis saw them."""
    for one in json.loads(path.read_text()):
        expected = one["expect"]
        loss, val = ([math.nan if value is None else value for value in one[name]] for name in ("loss", "val_loss"))
        yield Labeled(one["id"], frame(loss, val, one["accuracy"], one["val_accuracy"]), one["classes"],
                      tuple(expected["phases"]), expected["best_epoch"],
                      tuple(expected["onset"]) if expected["onset"] else None, expected["stuck"])


def published() -> Iterator[Labeled]:
    """The histories that the sources print."""
    for one in sources.histories():
        best, phase, onset = BY_HAND[one.source, one.experiment]
        yield Labeled(f"{one.source}/{one.experiment}", one.table(), 2, (phase,), best, onset)
