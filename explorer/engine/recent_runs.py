"""The latest runs of all visitors as points, read once for all who look; `charts.class_wall` draws them."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from explorer.config.run_config import Demand, RunConfig

# As many as can be told apart, and as a page can be sent every other second.
MAX_RUNS = 500
# However many look, the store is asked no more often.
FRESH_SECONDS = 1.0


@dataclass(frozen=True)
class Point:
    """A run on the wall.

    Attributes:
        number: its own for as long as the process lasts; it tells nothing of the run or of who asked for it.
        demand: how far it is opened.
        epochs: complete ones.
        best: lowest validation cross-entropy so far; `None` while no epoch has one.
        best_epoch: the epoch of that.
        is_live: whether it is still being trained, or waits.
    """

    number: int
    config: RunConfig
    demand: Demand
    epochs: int = 0
    best: float | None = None
    best_epoch: int = 0
    is_live: bool = True

    def with_epochs(self, further: Iterable[tuple[int, float | None]]) -> Point:
        """The same after later epochs, each with its validation cross-entropy."""
        epochs, best, best_epoch = self.epochs, self.best, self.best_epoch
        for epoch, value in further:
            epochs = epoch
            if value is not None and math.isfinite(value) and (best is None or value < best):
                best, best_epoch = value, epoch
        return replace(self, epochs=epochs, best=best, best_epoch=best_epoch)


class RecentRuns:
    """The latest runs as points, read once for however many look at them.

    Args:
        latest: as `RunStore.latest`.
        identify: identity that a run would have now: one with another, of earlier code or other data, is left out,
            for a click would open a run that has yet to be trained.
        clock: seconds that only go on.
    """

    def __init__(self, latest: Callable[..., Sequence[Any]], identify: Callable[[RunConfig], str],
                 clock: Callable[[], float] = time.monotonic):
        self._latest, self._identify, self._clock = latest, identify, clock
        self._reading, self._read_at = threading.Lock(), -math.inf
        self._held: dict[str, tuple[str, int, int]] = {}
        self._points: dict[str, Point | None] = {}
        self._seen: list[Point] = []
        self._numbers = 0

    def points(self) -> list[Point]:
        """The runs that have reached anything, the latest first; a second old at most."""
        with self._reading:
            if self._clock() - self._read_at >= FRESH_SECONDS:
                self._look()
                self._read_at = self._clock()
            return self._seen

    def _look(self) -> None:
        held, points = {}, {}
        for one in self._latest(MAX_RUNS, self._held):
            point = self._points.get(one.run_id)
            if one.run_id not in self._points:
                point = self._first(one)
            if point and (one.config or one.is_live):
                point = point.with_epochs(one.further)
                wanted = max([demand.epochs for demand in one.demands if one.is_live], default=point.epochs)
                point = replace(point, is_live=one.is_live, demand=Demand(max(1, point.epochs, wanted)))
            points[one.run_id] = point
            held[one.run_id] = one.status, one.ticket, point.epochs if point else 0
        self._held, self._points = held, points
        self._seen = [point for point in points.values() if point and point.best is not None]

    def _first(self, one: Any) -> Point | None:
        try:
            config = RunConfig.from_json(one.config)
        except (ValueError, TypeError, KeyError):
            return None  # of a version whose settings this one cannot read
        if self._identify(config) != one.run_id:
            return None
        self._numbers += 1
        return Point(self._numbers, config, Demand())
