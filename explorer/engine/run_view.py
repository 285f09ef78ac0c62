"""How a run stands with regard to a demand: what the page and the command line show of it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field, replace
from typing import Any

from explorer.config.plan import best_epoch, met_at
from explorer.config.run_config import Demand
from explorer.store.store import DIVERGED, QUEUED, RUNNING, Run

# Besides the states of the store: never asked for, and known as far as is wanted.
UNKNOWN, DONE = "unknown", "done"
# Seconds per epoch are taken from the latest epochs; the first one also compiles.
RECENT = 5


@dataclass(frozen=True)
class RunView:
    """A run as seen by someone who wants it to a certain epoch.

    Attributes:
        state: `unknown`, `queued`, `running`, `done`, or why a run that is not done stands still
            (`stopped`, `failed`, `interrupted`, `finished` with fewer epochs than wanted).
        run: the stored run, if there is one.
        epochs: stored epochs, no more than are wanted.
        reached: complete epochs in the store, whatever is wanted.
        score: test score after the last epoch shown, if it was taken there.
        best_score: test score after the best of the epochs shown, if it was taken there.
        scores: the test scores that are known, by the epoch after which they were taken.
        place: runs that will be taken before this one while it waits.
        wait: seconds until then, from measured times; `None` where nothing like them was measured.
    """

    state: str
    demand: Demand
    run: Run | None = None
    epochs: list[dict[str, Any]] = field(default_factory=list)
    reached: int = 0
    score: dict[str, Any] | None = None
    scores: dict[int, dict[str, Any]] = field(default_factory=dict)
    place: int = 0
    wait: float | None = None
    best_score: dict[str, Any] | None = None

    @property
    def is_live(self) -> bool:
        """Whether it will change by itself."""
        return self.state in (QUEUED, RUNNING)

    @property
    def scored(self) -> tuple[int, ...]:
        """Epochs after which a test score is known, in order."""
        return tuple(sorted(self.scores))

    def at_place(self, place: int, wait: float | None = None) -> RunView:
        return replace(self, place=place, wait=wait)

    @property
    def seconds_per_epoch(self) -> float | None:
        """Median of the latest epochs."""
        recent = [row["seconds"] for row in self.epochs[1:][-RECENT:]] or [row["seconds"] for row in self.epochs]
        return statistics.median(recent) if recent else None

    @property
    def epoch(self) -> int:
        """The epoch in hand. It may be one that is stored already, where a checkpoint was lost."""
        told = self.run.progress.get("epoch", 0) if self.run else 0
        # Between the end of an epoch and the first word of the next, the last word is of one that is complete.
        return told if 0 < told < self.reached else self.reached + 1

    @property
    def fraction(self) -> float:
        """Share of the wanted epochs that is done, the epoch in hand included."""
        told, inside = (self.run.progress if self.run else {}), 0.0
        if told.get("steps") and told["epoch"] == self.epoch:
            inside = told["step"] / told["steps"]
        return min(1.0, (self.epoch - 1 + inside) / self.demand.epochs)

    @property
    def seconds_left(self) -> float | None:
        """Estimate from measured epochs; `None` before the first."""
        pace = self.seconds_per_epoch
        return None if pace is None else pace * self.demand.epochs * (1 - self.fraction)


def look(run: Run | None, epochs: list[dict[str, Any]], scores: dict[int, dict[str, Any]], demand: Demand) -> RunView:
    """See a stored run with a demand in mind."""
    if run is None:
        return RunView(UNKNOWN, demand)
    curve = [row["val_crossentropy"] for row in epochs]
    end = met_at(curve, demand)
    shown = epochs[: demand.epochs]
    # A curve is done when its test score is known too, or it has gone on beyond; a crash may lie between the two.
    done = run.status == DIVERGED or (end is not None and (len(epochs) > end or any(epoch >= end for epoch in scores)))
    score, best = (_score_at(epoch, run, shown, scores) for epoch in (len(shown), best_epoch(curve[:len(shown)])))
    return RunView(DONE if done else run.status, demand, run, shown, len(epochs), score, scores, best_score=best)


def _score_at(epoch: int | None, run: Run, shown: list[dict[str, Any]],
              scores: dict[int, dict[str, Any]]) -> dict[str, Any] | None:
    if epoch in scores or not epoch or run.config.validation != "test":
        return scores.get(epoch)
    # Validated on the test set, every epoch has its test score.
    return {"epoch": epoch, "test_crossentropy": shown[epoch - 1]["val_crossentropy"],
            "test_accuracy": shown[epoch - 1]["val_accuracy"]}
