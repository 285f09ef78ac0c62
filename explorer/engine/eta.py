"""How long until a waiting run's turn comes, estimated from what earlier runs took."""

from __future__ import annotations

import heapq
import math
import statistics
import time
from collections.abc import Callable, Hashable, Sequence

from explorer.config.run_config import RunConfig
from explorer.store.store import Work

# Where no run of the same shape was measured, the nearest one stands for it while its work an epoch is no more than
# so many times larger or smaller; beyond that it tells nothing.
NEAR = 4.0
# Places and estimates are told as of so many seconds ago at most, from measurements no older than the second number.
FORECAST_SECONDS = 1.0
PACES_SECONDS = 5.0


# What hardly changes the seconds of an epoch, beside what does: the rows, and the numbers that are multiplied for each.
NOT_IN_A_PACE = (
    # How many rows are fitted is named by `shape`, however it comes about; which they are does not matter.
    "train_samples", "validation", "label_noise", "seed",
    # Work on numbers of one unit or one weight each, beside the products of whole layers.
    "activation", "batch_norm", "dropout", "initializer", "l1", "l2", "regularize_output", "optimizer",
    "learning_rate", "weight_decay")


def shape(config: RunConfig) -> Hashable:
    """What the seconds of an epoch hang on; penalties, rates and seeds hardly change them."""
    return config.key(without=NOT_IN_A_PACE), config.rows


def work(config: RunConfig) -> int:
    """Products of one epoch: parameters times rows."""
    return config.parameters * config.rows


class MeasuredSpeeds:
    """Seconds per epoch as they were measured, by shape.

    Args:
        measured: runs with their epochs and what those took.
    """

    def __init__(self, measured: Sequence[Work]):
        found: dict[Hashable, list[float]] = {}
        works: dict[Hashable, int] = {}
        for run in measured:
            if run.config is not None and run.epochs and run.seconds > 0:
                key = shape(run.config)
                found.setdefault(key, []).append(run.seconds / run.epochs)
                works[key] = work(run.config)
        self._seconds = {key: statistics.median(values) for key, values in found.items()}
        self._works = sorted((size, repr(key), key) for key, size in works.items())

    def of(self, config: RunConfig) -> float | None:
        """Seconds per epoch of a run, `None` where nothing near it was measured."""
        same = self._seconds.get(shape(config))
        if same is not None or not self._works:
            return same
        wanted = work(config)
        size, _, key = min(self._works, key=lambda one: abs(math.log(one[0] / wanted)))
        return self._seconds[key] if 1 / NEAR <= size / wanted <= NEAR else None


def seconds_left(run: Work, paces: MeasuredSpeeds) -> float | None:
    """What a run still takes, by its own epochs where it has some; early stopping may end it sooner."""
    left = max(0, run.wanted - run.epochs)
    pace = run.seconds / run.epochs if run.epochs and run.seconds > 0 else run.config and paces.of(run.config)
    return None if pace is None else left * pace


class EtaEstimator:
    """Places and estimates as of a moment ago: many look, again and again.

    Args:
        queue: gives what trains and what waits, in the order in which it will be taken.
        measured: gives the runs from which paces are taken.
        places: gives how many runs are trained side by side.
    """

    def __init__(self, queue: Callable[[], tuple[list[Work], list[Work]]], measured: Callable[[], list[Work]],
                 places: Callable[[], int]):
        self._queue, self._measured, self._places = queue, measured, places
        self._paces, self._found = MeasuredSpeeds([]), {}
        self._paces_until = self._until = 0.0

    def of(self, run_id: str) -> tuple[int, float | None]:
        """How many runs are taken before a waiting one, and the seconds until it is taken."""
        now = time.monotonic()
        if now >= self._paces_until:
            self._paces_until, self._paces = now + PACES_SECONDS, MeasuredSpeeds(self._measured())
        if now >= self._until or run_id not in self._found:
            self._found = forecast(*self._queue(), self._paces, max(1, self._places()))
            self._until = now + FORECAST_SECONDS
        return self._found.get(run_id, (0, None))

    def forget(self) -> None:
        """Look anew with the next question."""
        self._paces_until = self._until = 0.0


def forecast(training: Sequence[Work], queued: Sequence[Work], paces: MeasuredSpeeds,
             places: int) -> dict[str, tuple[int, float | None]]:
    """Where every waiting run stands, if nobody asks for anything more.

    Each place gets the next run when it is free. Runs that are trained as one stack share its seconds, so that adding
    theirs up is right for them too.

    Args:
        training: what the places are busy with.
        queued: what waits, in the order in which it will be taken.
        places: runs trained side by side.

    Returns:
        For each run how many are taken before it, and the seconds until it is taken; `None` as soon as one before it
        is like nothing that was measured.
    """
    free = [0.0] * places
    known = True
    # More runs than places are stacks: the longest first, each where least is to be done.
    for left in sorted((seconds_left(run, paces) for run in training), key=lambda left: -(left or 0.0)):
        known = known and left is not None
        heapq.heapreplace(free, free[0] + (left or 0.0))
    found: dict[str, tuple[int, float | None]] = {}
    for place, run in enumerate(queued):
        found[run.run_id] = place, free[0] if known else None
        left = seconds_left(run, paces)
        known = known and left is not None
        heapq.heapreplace(free, free[0] + (left or 0.0))
    return found
