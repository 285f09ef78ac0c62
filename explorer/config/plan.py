"""Early stopping as a rule about a curve: it can be applied while training, or moved afterwards."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from explorer.config.run_config import Demand


def best_epoch(val_crossentropy: Iterable[float | None]) -> int | None:
    """The best epoch of a run, the same wherever one is named: that with the lowest unpenalised validation
    cross-entropy in inference mode, the first of several, whatever else is on display.

    Args:
        val_crossentropy: one value an epoch, from epoch 1 on; `None`, NaN and infinity are no epoch's best.

    Returns:
        The epoch, counted from 1, or `None` if no epoch has a value.
    """
    best, found = math.inf, None
    for epoch, value in enumerate(val_crossentropy, start=1):
        if value is not None and value < best:
            best, found = value, epoch
    return found


def stopping_epoch(val_crossentropy: Sequence[float | None], patience: int | None) -> int | None:
    """The epoch after which early stopping ends a run.

    The rule of `keras.callbacks.EarlyStopping(min_delta=0)`, on the unpenalised validation cross-entropy.

    Args:
        val_crossentropy: one value an epoch, from epoch 1 on; `None` or NaN is no improvement.
        patience: epochs without improvement that are borne; `None` for no early stopping.

    Returns:
        The epoch, counted from 1, or `None` if the rule does not end this history.
    """
    if patience is None:
        return None
    best, waited = math.inf, 0
    for epoch, value in enumerate(val_crossentropy, start=1):
        if value is not None and value < best:
            best, waited = value, 0
        else:
            waited += 1
            if waited >= patience:
                return epoch
    return None


def met_at(val_crossentropy: Sequence[float | None], demand: Demand) -> int | None:
    """The first epoch at which a history is long enough for a demand, or `None` if it is not yet."""
    stop = stopping_epoch(val_crossentropy, demand.patience)
    if stop is not None and stop <= demand.epochs:
        return stop
    return demand.epochs if len(val_crossentropy) >= demand.epochs else None


def satisfied(val_crossentropy: Sequence[float | None], demands: Iterable[Demand]) -> bool:
    """Whether a history is long enough for every demand on it."""
    return all(met_at(val_crossentropy, demand) is not None for demand in demands)
