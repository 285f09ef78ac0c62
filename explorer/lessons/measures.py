"""What a lesson reads off a run: all that the comparison's table has, and what its curves alone tell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from explorer.analysis.comparison import ComparedRun, Result
from explorer.config.plan import stopping_epoch

# A network that gets so many of its training examples right knows them by heart.
BY_HEART = 0.99


@dataclass(frozen=True)
class RunMeasures(Result):
    """A result, and more of the curves; in inference mode and without the penalty where nothing else is said.

    Attributes:
        first: training cross-entropy after the first epoch shown.
        train: training cross-entropy after the last one.
        by_heart: the first epoch with a training accuracy of `BY_HEART` or more; infinite where there is none.
        above: epochs in which the training loss as Keras prints it lies above the validation loss as Keras prints it.
        accuracy_gap: training minus validation accuracy after the last epoch.
        gaps: validation minus training cross-entropy, one an epoch.
        accuracy_gaps: training minus validation accuracy, one an epoch.
        train_accuracies: training accuracy, one an epoch.
    """

    first: float = math.nan
    train: float = math.nan
    by_heart: float = math.inf
    above: int = 0
    accuracy_gap: float = math.nan
    gaps: tuple[float, ...] = ()
    accuracy_gaps: tuple[float, ...] = ()
    train_accuracies: tuple[float, ...] = ()


def measured(history: pd.DataFrame, entry: ComparedRun, *scores: Mapping[str, Any] | None) -> RunMeasures | None:
    """Read a run.

    Where early stopping would have ended it, whatever was trained beyond for somebody else is left out.

    Args:
        history: what is shown of the run, as from `ComparedRun.shown`.
        entry: the run, and how far it is wanted.
        scores: test scores of the run, where they are known, by its own epochs.

    Returns:
        `None` where no epoch has a validation cross-entropy.
    """
    stop = stopping_epoch(history["val_crossentropy"].tolist(), entry.demand.patience)
    if stop is not None and stop < len(history):
        history = history.head(stop)
    found = entry.result(history, scores)
    if found is None:
        return None
    train, known = history["train_crossentropy"], history["train_accuracy"] >= BY_HEART
    accuracy_gaps = history["train_accuracy"] - history["val_accuracy"]
    return RunMeasures(
        **vars(found), first=float(train.iloc[0]), train=float(train.iloc[-1]),
        by_heart=float(history["epoch"][known].min()) if known.any() else math.inf,
        above=int((history["loss"] > history["val_loss"]).sum()), accuracy_gap=float(accuracy_gaps.iloc[-1]),
        gaps=tuple((history["val_crossentropy"] - train).tolist()), accuracy_gaps=tuple(accuracy_gaps.tolist()),
        train_accuracies=tuple(history["train_accuracy"].tolist()))
