"""A run's history as a tidy table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any

import numpy as np
import pandas as pd

from explorer.config.metrics import COLUMNS, PRINTED


def table(rows: Iterable[Mapping[str, Any]], epochs: int | None = None) -> pd.DataFrame:
    """Stored rows as a frame, in the order of epochs.

    Args:
        rows: one mapping an epoch.
        epochs: show no more than these.

    Returns:
        A frame with `COLUMNS`; whatever is missing or not finite is NaN.
    """
    # By way of one array: a type for each column by itself costs a page ten times as much.
    shown = sorted((row for row in rows if epochs is None or row["epoch"] <= epochs), key=itemgetter("epoch"))
    numbers = np.array([[row.get(name) for name in COLUMNS[1:]] for row in shown], np.float64)
    numbers = numbers.reshape(len(shown), len(COLUMNS) - 1)
    numbers[~np.isfinite(numbers)] = np.nan
    frame = pd.DataFrame(numbers, columns=list(COLUMNS[1:]))
    frame.insert(0, COLUMNS[0], np.array([row["epoch"] for row in shown], np.int64))
    return frame


def as_printed(history: pd.DataFrame) -> pd.DataFrame:
    """The history with Keras's own numbers in the place of the measured ones: the running training loss with dropout
    on, and losses with the penalty in them."""
    return history.assign(**{measured: history[printed] for measured, printed in PRINTED.items()})
