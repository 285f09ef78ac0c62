"""The comparison: runs beside one another, what each of them reached, and what a difference is worth."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from explorer.config import labels
from explorer.config.fields import FieldError, Number
from explorer.config.plan import best_epoch
from explorer.config.run_config import DEMAND_KINDS, KINDS, Demand, RunConfig
from explorer.config.settings import Settings
from explorer.config.url_params import explain, parse, query
from explorer.i18n import say

# As many as there are colors that can be told apart.
MAX_RUNS = 8
# Longer texts are no comparisons; they are cut before anything looks at them.
MAX_TEXT = 3_000
# How many seeds a run may be repeated with, itself included.
SEEDS = (1, 3, 5)
HIDDEN, AGAIN = "-", "again"


class Full(ValueError):
    """The comparison holds as many runs as it can."""


@dataclass(frozen=True)
class ComparedRun:
    """A run in the comparison.

    Attributes:
        config, demand: the run, and how far it is wanted; the device is left to the machine.
        is_hidden: whether its curve is out of sight for now.
        color: number of its color, its own for as long as it stays.
        again: epochs that were trained before the first one that is shown, as when `fit` is called a second time on a
            model that has been trained already: its history begins with epoch 1 then, its weights do not.
    """

    config: RunConfig
    demand: Demand
    is_hidden: bool = False
    color: int = 0
    again: int = 0

    @property
    def text(self) -> str:
        """The form that an address carries: `dataset:imdb,hidden:4-4,epochs:30`; a hidden run begins with `-`."""
        pairs = query(self.config, self.demand)
        if self.again:
            pairs[AGAIN] = str(self.again)
        return (HIDDEN if self.is_hidden else "") + ",".join(f"{name}:{value}" for name, value in pairs.items())

    @property
    def key(self) -> tuple[RunConfig, int, bool]:
        """What makes it another entry: with early stopping and without, a run may stand beside itself."""
        return self.config, self.again, self.demand.patience is not None

    @property
    def asked(self) -> Demand:
        """How far the run has to be trained to be shown so far."""
        return replace(self.demand, epochs=self.demand.epochs + self.again)

    def shown(self, history: pd.DataFrame) -> pd.DataFrame:
        """What is shown of the run's history, as from `explorer.analysis.history.table`."""
        if not self.again:
            return history
        rest = history[history["epoch"] > self.again]
        return rest.assign(epoch=rest["epoch"] - self.again).reset_index(drop=True)

    def score_of(self, epoch: int | None, scores: Iterable[Mapping[str, Any] | None],
                 shown: pd.DataFrame) -> Mapping[str, Any] | None:
        """The test score after an epoch that is shown of the run, where it is known.

        Args:
            epoch: as it is shown; `None` for none.
            scores: of the run, by its own epochs.
            shown: as from `shown`.
        """
        for score in filter(None, scores):
            if epoch is not None and score["epoch"] == epoch + self.again:
                return {**score, "epoch": epoch}
        if epoch is not None and self.config.validation == "test":
            # Validated on the test set, every epoch has its test score.
            row = shown[shown["epoch"] == epoch].iloc[0]
            return {"epoch": epoch, "test_crossentropy": float(row["val_crossentropy"]),
                    "test_accuracy": float(row["val_accuracy"])}
        return None

    def result(self, shown: pd.DataFrame, scores: Iterable[Mapping[str, Any] | None],
               device: str = "") -> Result | None:
        """What the run reached in the epochs that are shown of it, see `result`."""
        scores = list(scores)
        last = int(shown["epoch"].iloc[-1]) if len(shown) else None
        return result(shown, self.score_of(last, scores, shown), device,
                      self.score_of(best_epoch(shown["val_crossentropy"]), scores, shown))

    def configs(self, seeds: int) -> list[RunConfig]:
        """The run itself, and the same with the seeds that follow its own."""
        return [self.config.with_(seed=(self.config.seed + step) % (KINDS["seed"].high + 1)) for step in range(seeds)]


@dataclass(frozen=True)
class Result:
    """What one run reached within what is wanted of it; all in inference mode and without the penalty.

    Attributes:
        epochs: complete ones.
        best_epoch: the epoch with the lowest validation cross-entropy.
        best, best_accuracy: validation there.
        gap_at_best, gap: validation minus training cross-entropy, there and at the last epoch.
        last: validation cross-entropy at the last epoch.
        accuracy, train_accuracy: of validation and of training at the last epoch.
        test_accuracy: after the last epoch, `None` where it is not known.
        seconds: spent training these epochs.
        device: that trained it.
        weights: sum of the absolute kernel weights after the last epoch.
        zeros: share of the kernel weights that are near zero then.
        best_test_accuracy: after the best epoch, `None` where it is not known.
    """

    epochs: int
    best_epoch: int
    best: float
    best_accuracy: float
    gap_at_best: float
    gap: float
    last: float
    accuracy: float
    train_accuracy: float
    test_accuracy: float | None = None
    seconds: float = 0.0
    device: str = ""
    weights: float = float("nan")
    zeros: float = float("nan")
    best_test_accuracy: float | None = None


def result(history: pd.DataFrame, score: Mapping[str, Any] | None = None, device: str = "",
           best_score: Mapping[str, Any] | None = None) -> Result | None:
    """Read a history as from `explorer.analysis.history.table`; `None` where no epoch has a validation cross-entropy.

    Args:
        score: test score after its last epoch, where it is known.
        device: that trained it.
        best_score: test score after an epoch that may be its best one.
    """
    if history.empty or not history["val_crossentropy"].notna().any():
        return None
    best = history.loc[history["val_crossentropy"].idxmin()]
    last = history.iloc[-1]
    return Result(len(history), int(best["epoch"]), float(best["val_crossentropy"]), float(best["val_accuracy"]),
                  float(best["val_crossentropy"] - best["train_crossentropy"]),
                  float(last["val_crossentropy"] - last["train_crossentropy"]), float(last["val_crossentropy"]),
                  float(last["val_accuracy"]), float(last["train_accuracy"]),
                  score["test_accuracy"] if score else None, float(history["seconds"].sum()), device,
                  float(last["weights"]), float(last["zeros"]),
                  best_score["test_accuracy"] if best_score and best_score["epoch"] == best["epoch"] else None)


# -- in the address ------------------------------------------------------------------------------------------


def text(entries: Iterable[ComparedRun]) -> str:
    """The comparison as an address carries it."""
    return ";".join(entry.text for entry in entries)


def read(given: str, settings: Settings) -> tuple[list[ComparedRun], list[str]]:
    """A comparison out of an address.

    Returns:
        The runs that it names, each once, within what the installation allows; and a sentence for each value that
        was not sound.
    """
    entries: list[ComparedRun] = []
    unsound: list[str] = []
    pieces = [piece for piece in given[:MAX_TEXT].split(";") if piece.strip()]
    again = Number(0, settings.max_epochs, whole=True)
    for piece in pieces:
        pairs = dict(pair.partition(":")[::2] for pair in piece.removeprefix(HIDDEN).split(","))
        if not pairs.keys() & (KINDS.keys() | DEMAND_KINDS.keys()):
            error = FieldError("compare", "runs such as dataset:digits,hidden:16-16", piece)
            unsound.append(f"{error} It is left out.")
            continue
        found = parse(pairs).within(settings)
        unsound += [explain(error) for error in found.errors]
        demand = Demand(found.demand.epochs, found.demand.patience)
        before = 0
        if AGAIN in pairs:
            try:
                before = int(again.check(AGAIN, pairs[AGAIN]))
            except FieldError as error:
                unsound.append(explain(error))
                before = int(error.nearest or 0)
        # What was trained before counts too.
        before = min(before, settings.max_epochs - demand.epochs)
        entry = ComparedRun(found.config, demand, piece.startswith(HIDDEN), len(entries), before)
        if not any(_same(entry, other) for other in entries):
            entries.append(entry)
    if len(entries) > MAX_RUNS:
        unsound.append(explain(FieldError("compare", f"at most {MAX_RUNS} runs", len(entries), MAX_RUNS)))
    return entries[:MAX_RUNS], list(dict.fromkeys(unsound))


def _same(one: ComparedRun, other: ComparedRun) -> bool:
    return one.key == other.key


def names(entries: Sequence[ComparedRun], language: str, is_riddle: bool = False) -> list[str]:
    """A short name for each run, of what differs; no two of them are the same.

    Args:
        is_riddle: whether the reader is still to find out what is the matter with a run that has been trained before.
    """
    made = []
    for name, entry in zip(labels.names([entry.config for entry in entries], language), entries, strict=True):
        words = [name]
        if entry.again:
            words.append(say("comparison.other" if is_riddle else "comparison.again", language))
        if entry.key[2] and any(other.key == (entry.config, entry.again, False) for other in entries):
            words.append(say("metric.stop", language))
        made.append(" · ".join(words))
    return made


# -- changing it ---------------------------------------------------------------------------------------------


def with_run(entries: Sequence[ComparedRun], config: RunConfig, demand: Demand) -> list[ComparedRun]:
    """One run more, at the end, in the first color that is free; one that is there already is wanted as far as now.

    Raises:
        Full: there is no room for another one.
    """
    demand = Demand(demand.epochs, demand.patience)
    there = [place for place, entry in enumerate(entries) if entry.config == config and not entry.again]
    if there:
        # Of two, the one that is stopped early or not as it is wanted now.
        key = ComparedRun(config, demand).key
        place = next((place for place in there if entries[place].key == key), there[0])
        return [*entries[:place], replace(entries[place], demand=demand), *entries[place + 1:]]
    if len(entries) >= MAX_RUNS:
        raise Full(f"The comparison holds {MAX_RUNS} runs already: remove one to add another.")
    taken = {entry.color for entry in entries}
    return [*entries, ComparedRun(config, demand, color=next(n for n in range(MAX_RUNS) if n not in taken))]


def without(entries: Sequence[ComparedRun], place: int) -> list[ComparedRun]:
    return [entry for number, entry in enumerate(entries) if number != place]


def moved_up(entries: Sequence[ComparedRun], place: int) -> list[ComparedRun]:
    """One place further to the front; the first one goes to the end."""
    rest = without(entries, place)
    before = (place - 1) % len(entries)
    return [*rest[:before], entries[place], *rest[before:]]


def toggled(entries: Sequence[ComparedRun], place: int) -> list[ComparedRun]:
    """Its curve out of sight, or in sight again."""
    return [replace(entry, is_hidden=not entry.is_hidden) if number == place else entry
            for number, entry in enumerate(entries)]


# -- over several seeds --------------------------------------------------------------------------------------


def over_seeds(histories: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    """Mean and range over runs that differ in their seed alone.

    Args:
        histories: at least one, each with `epoch` and the columns.
        columns: that are averaged.

    Returns:
        One row for each epoch that all of them have: `epoch`, the mean of each column under its name, and its least
        and greatest value as `<column>_low` and `<column>_high`.
    """
    stacked = pd.concat([history[["epoch", *columns]] for history in histories])
    grouped = stacked.groupby("epoch")
    complete = grouped.size() == len(histories)
    found = grouped[list(columns)].mean()
    for name in columns:
        found[f"{name}_low"], found[f"{name}_high"] = grouped[name].min(), grouped[name].max()
    return found[complete].reset_index()


# By how many of the seeds' spreads two runs must differ, so that chance alone passes for a difference between any two
# of all compared runs in at most `FALSE_ALARMS` of the comparisons: by seeds of each run, then for 2, 3, … runs. With
# more runs more pairs are looked at, and the largest difference among them is the one that is seen. From 400,000
# simulated comparisons each (normal errors of the same size), rounded up; where one spread is enough, it stays one.
FALSE_ALARMS = 0.05
_SPREADS = {
    2: (2.5, 4.2, 5.7, 7.4, 9.0, 10.5, 12.0),
    3: (1.0, 1.4, 1.7, 2.0, 2.2, 2.4, 2.6),
    4: (1.0, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5),
    5: (1.0,) * 7,
}


def spreads_needed(seeds: int, runs: int) -> float:
    """By how many spreads two of so many compared runs must differ to count as different, see `is_real`.

    Args:
        seeds: of each run, at least two.
        runs: that are compared, the two among them.
    """
    row = _SPREADS[min(seeds, max(_SPREADS))]
    return row[min(max(runs, 2), len(row) + 1) - 2]


def is_real(one: Sequence[float], other: Sequence[float], runs: int = 2) -> tuple[float, float, bool]:
    """Whether two runs differ by more than chance does, over several seeds of each.

    Args:
        one, other: the same measure of each seed, at least two of each.
        runs: how many runs are compared, the two among them: among many, two differ by luck more easily.

    Returns:
        The difference of the means (`other` less `one`), the spread of the seeds (greatest less least value, of the run
        in which it is the wider), and whether the difference is larger than `spreads_needed` of them. Where nothing but
        chance is at work, any two of all the compared runs do that in at most 5 of 100 comparisons.
    """
    change = statistics.fmean(other) - statistics.fmean(one)
    spread = max(max(one) - min(one), max(other) - min(other))
    return change, spread, abs(change) > spreads_needed(min(len(one), len(other)), runs) * spread
