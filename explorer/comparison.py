"""The comparison: runs beside one another, named by what differs, and what their difference is worth."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import pandas as pd

from explorer import texts
from explorer.address import explain, parse, query
from explorer.config import (
    DECAYING,
    DEFAULT_LEARNING_RATE,
    DEFAULT_WEIGHT_DECAY,
    DEMAND_KINDS,
    KINDS,
    Demand,
    RunConfig,
)
from explorer.fields import FieldError, plain
from explorer.settings import Settings

# As many as there are colours that can be told apart.
MOST_RUNS = 8
# Longer texts are no comparisons; they are cut before anything looks at them.
LONGEST_TEXT = 3_000
# How many seeds a run may be repeated with, itself included.
SEEDS = (1, 3, 5)
HIDDEN = "-"


@dataclass(frozen=True)
class Entry:
    """A run in the comparison.

    Attributes:
        config, demand: the run, and how far it is wanted; the device is left to the machine.
        is_hidden: whether its curve is out of sight for now.
        colour: number of its colour, its own for as long as it stays.
    """

    config: RunConfig
    demand: Demand
    is_hidden: bool = False
    colour: int = 0

    @property
    def text(self) -> str:
        """The form that an address carries: `dataset:imdb,hidden:4-4,epochs:30`; a hidden run begins with `-`."""
        pairs = ",".join(f"{name}:{value}" for name, value in query(self.config, self.demand).items())
        return f"{HIDDEN if self.is_hidden else ''}{pairs}"

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


def result(history: pd.DataFrame, score: Mapping[str, Any] | None = None, device: str = "") -> Result | None:
    """Read a history as from `explorer.history.table`; `None` where no epoch has a validation cross-entropy."""
    if history.empty or not history["val_crossentropy"].notna().any():
        return None
    best = history.loc[history["val_crossentropy"].idxmin()]
    last = history.iloc[-1]
    return Result(len(history), int(best["epoch"]), float(best["val_crossentropy"]), float(best["val_accuracy"]),
                  float(best["val_crossentropy"] - best["train_crossentropy"]),
                  float(last["val_crossentropy"] - last["train_crossentropy"]), float(last["val_crossentropy"]),
                  float(last["val_accuracy"]), float(last["train_accuracy"]),
                  score["test_accuracy"] if score else None, float(history["seconds"].sum()), device)


# -- in the address ------------------------------------------------------------------------------------------


def text(entries: Iterable[Entry]) -> str:
    """The comparison as an address carries it."""
    return ";".join(entry.text for entry in entries)


def read(given: str, settings: Settings) -> tuple[list[Entry], list[str]]:
    """A comparison out of an address.

    Returns:
        The runs that it names, each once, within what the installation allows; and a sentence for each value that
        was not sound.
    """
    entries: list[Entry] = []
    unsound: list[str] = []
    pieces = [piece for piece in given[:LONGEST_TEXT].split(";") if piece.strip()]
    for piece in pieces:
        pairs = dict(pair.partition(":")[::2] for pair in piece.removeprefix(HIDDEN).split(","))
        if not pairs.keys() & (KINDS.keys() | DEMAND_KINDS.keys()):
            error = FieldError("compare", "runs such as dataset:digits,hidden:16-16", piece)
            unsound.append(f"{error} It is left out.")
            continue
        found = parse(pairs).within(settings)
        unsound += [explain(error) for error in found.errors]
        demand = Demand(found.demand.epochs, found.demand.patience)
        if not any(entry.config == found.config for entry in entries):
            entries.append(Entry(found.config, demand, piece.startswith(HIDDEN), len(entries)))
    if len(entries) > MOST_RUNS:
        unsound.append(str(FieldError("compare", f"at most {MOST_RUNS} runs", len(entries)))
                       + f" The first {MOST_RUNS} are used instead.")
    return entries[:MOST_RUNS], list(dict.fromkeys(unsound))


# -- changing it ---------------------------------------------------------------------------------------------


def with_run(entries: Sequence[Entry], config: RunConfig, demand: Demand) -> list[Entry]:
    """One run more, at the end, in the first colour that is free; one that is there already is wanted as far as now.

    Raises:
        ValueError: there is no room for another one.
    """
    demand = Demand(demand.epochs, demand.patience)
    for place, entry in enumerate(entries):
        if entry.config == config:
            return [*entries[:place], replace(entry, demand=demand), *entries[place + 1:]]
    if len(entries) >= MOST_RUNS:
        raise ValueError(f"The comparison holds {MOST_RUNS} runs already: remove one to add another.")
    taken = {entry.colour for entry in entries}
    return [*entries, Entry(config, demand, colour=next(n for n in range(MOST_RUNS) if n not in taken))]


def without(entries: Sequence[Entry], place: int) -> list[Entry]:
    return [entry for number, entry in enumerate(entries) if number != place]


def moved_up(entries: Sequence[Entry], place: int) -> list[Entry]:
    """One place further to the front; the first one goes to the end."""
    rest = without(entries, place)
    before = (place - 1) % len(entries)
    return [*rest[:before], entries[place], *rest[before:]]


def toggled(entries: Sequence[Entry], place: int) -> list[Entry]:
    """Its curve out of sight, or in sight again."""
    return [replace(entry, is_hidden=not entry.is_hidden) if number == place else entry
            for number, entry in enumerate(entries)]


# -- in words ------------------------------------------------------------------------------------------------


def names(entries: Sequence[Entry]) -> list[str]:
    """A short name for each run: its layers, and of the rest what is not the same in all of them.

    Settings that are off have no word, so that a comparison with one that is on reads `16-16` and
    `16-16 · L2 0.001`. No two names are the same.
    """
    varying = [name for name in _NAMED if len({getattr(entry.config, name) for entry in entries}) > 1]
    found = []
    for entry in entries:
        words = [_NAMED[name](entry.config) for name in varying if name != "hidden"]
        found.append(" · ".join(["-".join(map(str, entry.config.hidden)), *filter(None, words)]))
    return found


def differing(one: RunConfig, other: RunConfig) -> list[str]:
    """Names of the settings in which two runs differ.

    What only follows from another setting is not counted apart: each optimizer's own default of learning rate and
    weight decay, and the number of words where the data are others.
    """
    found = [field.name for field in fields(RunConfig) if getattr(one, field.name) != getattr(other, field.name)]
    if "optimizer" in found:
        for name, default in (("learning_rate", lambda config: DEFAULT_LEARNING_RATE[config.optimizer]),
                              ("weight_decay", lambda config: DEFAULT_WEIGHT_DECAY.get(config.optimizer, 0.0)
                               if config.optimizer in DECAYING else 0.0)):
            if name in found and all(getattr(config, name) == default(config) for config in (one, other)):
                found.remove(name)
    if "dataset" in found and "num_words" in found and None in (one.num_words, other.num_words):
        found.remove("num_words")
    if "regularize_output" in found and not all(config.l1 or config.l2 for config in (one, other)):
        found.remove("regularize_output")
    return found


def settings_sentence(one: RunConfig, other: RunConfig, titles: Sequence[str]) -> str:
    """What differs in the settings of two runs; values are the first's against the second's."""
    parts = [f"{_lower(texts.TITLES[name])} {_value(name, one)} against {_value(name, other)}"
             for name in differing(one, other)]
    if not parts:
        return f"{titles[0]} and {titles[1]} have the same settings."
    return f"{titles[0]} and {titles[1]} differ in {_listed(parts)}."


def warning(one: RunConfig, other: RunConfig) -> str:
    """A warning where more than one thing differs; else empty."""
    found = differing(one, other)
    if len(found) < 2:
        return ""
    things = _listed([_lower(texts.TITLES[name]) for name in found])
    return (f"{_count(len(found))} things differ between these two ({things}): "
            "no difference in their results can be put down to one of them.")


def results_sentence(one: Result, other: Result, titles: Sequence[str]) -> str:
    """What the settings changed in the results, from the first run to the second; numbers are those of the runs."""
    change = other.best - one.best
    if number(one.best) == number(other.best):
        best = f"Both reach a best validation cross-entropy of {number(one.best)}"
    else:
        best = (f"{titles[1]} reaches a {'lower' if change < 0 else 'higher'} best validation cross-entropy, "
                f"{number(other.best)} against {number(one.best)}")
    when = ("at the same epoch" if one.best_epoch == other.best_epoch
            else f"at epoch {other.best_epoch} instead of {one.best_epoch}")
    if number(one.gap) == number(other.gap):
        gap = f"the gap at the end is {number(one.gap)} in both"
    else:
        gap = (f"the gap at the end is {'narrower' if other.gap < one.gap else 'wider'}, "
               f"{number(other.gap)} against {number(one.gap)}")
    uneven = "" if one.epochs == other.epochs else (
        f" They are shown to different epochs, {other.epochs} and {one.epochs}: the ends do not compare.")
    return f"{best}, {when}; {gap}.{uneven}"


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


def is_real(one: Sequence[float], other: Sequence[float]) -> tuple[float, float, bool]:
    """Whether two runs differ by more than chance does, over several seeds of each.

    Args:
        one, other: the same measure of each seed, at least two of each.

    Returns:
        The difference of the means (`other` less `one`), the spread of the seeds (greatest less least value, of the run
        in which it is the wider), and whether the difference is the larger. Where nothing but chance is at work, normal
        errors of the same size, that happens in about 5 of 100 comparisons with three seeds and in 2 of 1,000 with five
        (400,000 simulated comparisons).
    """
    change = statistics.fmean(other) - statistics.fmean(one)
    spread = max(max(one) - min(one), max(other) - min(other))
    return change, spread, abs(change) > spread


def seeds_sentence(one: Sequence[float], other: Sequence[float], titles: Sequence[str]) -> str:
    """Whether the difference in best validation cross-entropy is larger than the seeds' spread."""
    if min(len(one), len(other)) < 2:
        return ""
    change, spread, real = is_real(one, other)
    count = min(len(one), len(other))
    means = (f"Over {count} seeds, best validation cross-entropy is {number(statistics.fmean(one))} on average for "
             f"{titles[0]} and {number(statistics.fmean(other))} for {titles[1]}")
    compared, verdict = ("larger", "is probably real") if real else ("not larger", "may be luck")
    return (f"{means}: the difference of {number(abs(change))} is {compared} than the seeds' spread of "
            f"{number(spread)}, so it {verdict}.")


# -- words for values ----------------------------------------------------------------------------------------


def _when(name: str, word: Callable[[RunConfig], str]) -> Callable[[RunConfig], str]:
    return lambda config: word(config) if getattr(config, name) else ""


# A word for each setting of a run, in the order in which a name has them; empty where it is off.
_NAMED: dict[str, Callable[[RunConfig], str]] = {
    "hidden": lambda config: "-".join(map(str, config.hidden)),
    "dataset": lambda config: config.info.title,
    "num_words": _when("num_words", lambda config: f"{plain(config.num_words)} words"),
    "train_samples": lambda config: f"{plain(config.rows)} examples",
    "label_noise": _when("label_noise", lambda config: f"{100 * config.label_noise:g}% flipped"),
    "validation": lambda config: ("validated on test" if config.validation == "test"
                                  else f"{100 * config.validation:g}% held out"),
    "activation": lambda config: texts.CHOICES["activation"][config.activation],
    "batch_norm": _when("batch_norm", lambda config: "batch norm"),
    "l1": _when("l1", lambda config: f"L1 {plain(config.l1)}"),
    "l2": _when("l2", lambda config: f"L2 {plain(config.l2)}"),
    "regularize_output": _when("regularize_output", lambda config: "output too"),
    "dropout": _when("dropout", lambda config: f"dropout {plain(config.dropout)}"),
    "initializer": lambda config: texts.CHOICES["initializer"][config.initializer],
    "optimizer": lambda config: texts.CHOICES["optimizer"][config.optimizer],
    "learning_rate": lambda config: f"rate {plain(config.learning_rate)}",
    "weight_decay": _when("weight_decay", lambda config: f"weight decay {plain(config.weight_decay)}"),
    "batch_size": lambda config: f"batch {plain(config.batch_size)}",
    "seed": lambda config: f"seed {config.seed}",
}


def _value(name: str, config: RunConfig) -> str:
    value = getattr(config, name)
    if name == "train_samples":
        return plain(config.rows)
    if name == "dataset":
        return config.info.title
    if name == "validation":
        return "the test set" if value == "test" else f"{100 * value:g}% held out"
    if name == "label_noise":
        return f"{100 * value:g}%"
    if isinstance(value, bool):
        return "on" if value else "off"
    if name in texts.CHOICES:
        return texts.CHOICES[name][value]
    if isinstance(value, tuple):
        return "-".join(map(str, value))
    return "none" if value is None else plain(value)


def _lower(title: str) -> str:
    # `L2 strength` keeps its capital.
    return title if title[1:2].isdigit() else title[0].lower() + title[1:]


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _count(number: int) -> str:
    return ("Two", "Three", "Four", "Five")[number - 2] if number < 6 else str(number)


def number(value: float) -> str:
    """Three decimals, or three digits where there are many before the point."""
    return f"{value:.3f}" if not math.isfinite(value) or abs(value) < 1_000 else f"{value:.1e}"
