"""From a history to what it shows: the phase, the best epoch, the onset, the gap and the slope, each with its grounds.

The thresholds are held against 16 published histories in `tests/test_diagnosis.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import pandas as pd

from explorer import robust
from explorer.robust import middle, sound, sure, times

# Fewer epochs than this show no trend.
FEWEST_EPOCHS = 3
# Validation has turned when it stays this far above its best value: in cross-entropy, and as a share of it. Less than
# that is not to be seen in a chart, and another seed moves the curve as much.
RISE, RISE_SHARE = 0.01, 0.03
# Once it has turned, it did so where it left its best for good: by a third of that.
ONSET_SHARE = 1 / 3
# One bad epoch is noise; an onset needs this many more epochs above its limit than excuse those below it.
CONFIRMING = 2
# An epoch back below the limit undoes so many above it, so that from an onset on two in three must lie above.
RELAPSE = 2
# The state at the end is that of so many of the latest epochs: the median, which two outliers do not move.
LATEST = 5
# Of a rise this share at least must be a widening gap: else training has risen too, and nothing is memorised.
GAP_SHARE = 0.5
# The slope is that of the latest quarter of the epochs, within these limits: shorter is jitter, longer is history.
WINDOW_SHARE, FEWEST_WINDOW, LONGEST_WINDOW = 4, 3, 40
# It still improves if another quarter of the epochs, at this slope, would lower validation by this share of its value.
OUTLOOK_SHARE = 0.01
# Over the later half of the window it must still fall by this share of that slope.
GOING_ON = 0.25
# A slope counts from two of its own standard errors on.
SLOPE_ERRORS = 2.0
# Jitter beyond this share of the best value hides whatever is not plain.
NOISY_SHARE = 0.05
# A level that far above the best, as a share of it, is not a settled one, even where jitter might explain it.
UNSURE_SHARE = 0.1
# A network that is no better than this share of the cross-entropy of a blind guess, ln(classes), has learned nothing.
GUESSING_SHARE = 0.9
# Training that is so many times worse than a blind guess has broken down; the first epochs, where averages of batch
# normalisation lag behind, are let pass.
BROKEN_TIMES, BROKEN_FROM = 3.0, 5
# Half of full confidence is there after so many epochs, once more of the rest after as many again.
HALF_SURE = 3.0
HIGH, MEDIUM = 0.8, 0.5

TOO_SHORT, NOISY, UNDERFITTING, GOOD, OVERFITTING, DIVERGED, UNSTABLE = (
    "too_short", "noisy", "underfitting", "good", "overfitting", "diverged", "unstable")
PHASES = (TOO_SHORT, NOISY, UNDERFITTING, GOOD, OVERFITTING, DIVERGED, UNSTABLE)

NAN = float("nan")


@dataclass(frozen=True)
class Ground:
    """What one finding rests on.

    Attributes:
        confidence: from 0 to 1.
        numbers: the values of the run that it follows from, by name.
    """

    confidence: float = 0.0
    numbers: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def level(self) -> str:
        """`high` from 0.8 on, `medium` from 0.5 on, else `low`."""
        return "high" if self.confidence >= HIGH else "medium" if self.confidence >= MEDIUM else "low"


@dataclass(frozen=True)
class Diagnosis:
    """What a history shows; all values are cross-entropies, unpenalised and in inference mode.

    Attributes:
        phase: `too_short`, `noisy` (too unsteady to say), `underfitting` (it has learned nothing, or training and
            validation still improve), `good` (it has settled near its best), `overfitting` or `diverged`.
        epochs: rows of the history.
        best_epoch: the epoch with the lowest validation cross-entropy, or `None` without one.
        best_crossentropy, best_accuracy: validation at that epoch.
        gap_at_best, gap: validation minus training, there and at the last epoch that is a number.
        onset: with `overfitting`, the epoch since which validation has lastingly lain above its best; else `None`.
        rise: how far validation lies above its best by now (median of the latest epochs since the best one).
        last_rise: the same at the last epoch alone.
        limit: the rise from which on it counts, the jitter allowed for.
        slope, train_slope: change an epoch over the latest `window` epochs (median of all pairwise slopes, after
            Theil and Sen), without the last one where that is set aside.
        window: epochs that the slopes are taken from.
        noise: standard deviation of the jitter of validation from epoch to epoch, around the best one.
        train: training at the end (median of the latest epochs).
        guessing: cross-entropy of a blind guess.
        is_stuck: whether `underfitting` means that even training is hardly better than that.
        is_unsettled: whether `noisy` means that training and validation have risen together.
        grounds: for each of `phase`, `best_epoch`, `onset`, `gap` and `slope` that is known, the numbers it rests on
            and its confidence. With sure(x) = 1 - 2^-x:

            - `phase`: sure(margin) * sure(evidence / 3). The margin is how many times the decisive number is its
              threshold; where a threshold was not reached (`good`, and a network that has learned nothing), how many
              times the threshold is the number. The evidence is the number of epochs, for `overfitting` of those
              since the onset. 0 where it is too short, 1 where the loss is no number; halved where the last epoch is
              set aside as a single bad one.
            - `best_epoch`: 1 / (epochs that are as good to within the noise) * sure(epochs / 3).
            - `onset`: share of the epochs since then that lie above its limit * sure(those epochs / 3).
            - `gap`: sure(gap / (noise * sqrt(2))), for a difference of two values.
            - `slope`: sure(slope / its standard error) * sure(window / 3).
    """

    phase: str
    epochs: int
    best_epoch: int | None = None
    best_crossentropy: float = NAN
    best_accuracy: float = NAN
    gap_at_best: float = NAN
    gap: float = NAN
    onset: int | None = None
    rise: float = NAN
    last_rise: float = NAN
    limit: float = NAN
    slope: float = NAN
    train_slope: float = NAN
    window: int = 0
    noise: float = NAN
    train: float = NAN
    guessing: float = NAN
    is_stuck: bool = False
    is_unsettled: bool = False
    is_lagging: bool = False
    train_noise: float = NAN
    train_accuracy: float = NAN
    val_accuracy: float = NAN
    grounds: Mapping[str, Ground] = field(default_factory=lambda: MappingProxyType({}), compare=False)

    @property
    def confidence(self) -> float:
        """That the phase is right, from 0 to 1."""
        return self.grounds["phase"].confidence if "phase" in self.grounds else 0.0

    @property
    def level(self) -> str:
        """`low`, `medium` or `high` confidence in the phase."""
        return self.grounds["phase"].level if "phase" in self.grounds else "low"


def diagnose(history: pd.DataFrame, classes: int = 2) -> Diagnosis:
    """Read a history.

    Args:
        history: as from `explorer.history.table`. Rows in which a cross-entropy is missing are passed over; where the
            last row is one, the run has diverged.
        classes: of the data; a blind guess has the cross-entropy ln(classes).
    """
    epochs = len(history)
    columns = history[["epoch", "train_crossentropy", "val_crossentropy", "val_accuracy"]].to_numpy(dtype=float)
    is_sound = np.isfinite(columns[:, 1:3]).all(axis=1)
    rows = columns[is_sound]
    if not len(rows):
        grounds = {"phase": Ground(1.0, {"epochs": epochs})} if epochs else {}
        return Diagnosis(DIVERGED if epochs else TOO_SHORT, epochs, grounds=grounds)
    # Cross-entropies near the largest float overflow on the way; what comes of them is no number, and read as such.
    with np.errstate(all="ignore"):
        found = _read(*rows.T, math.log(classes))
    found = replace(found, epochs=epochs, train_noise=robust.noise(rows[:, 1], int(rows[:, 2].argmin())))
    if {"train_accuracy", "accuracy"} <= set(history) and len(rows):
        measured, printed = history["train_accuracy"].iloc[-1], history["accuracy"].iloc[-1]
        found = replace(found, is_lagging=bool(printed - measured > 0.15), train_accuracy=float(measured))
    if found.is_stuck and rows[:, 1].min() < 0.75 * found.guessing:
        found = replace(found, phase=UNSTABLE, is_stuck=False)
    if not is_sound[-1]:
        found = replace(found, phase=DIVERGED, onset=None, is_stuck=False, is_unsettled=False, grounds={
            **{name: ground for name, ground in found.grounds.items() if name != "onset"},
            "phase": Ground(1.0, {"lost": float(epochs - len(rows))})})
    return found


def _read(epoch: np.ndarray, train: np.ndarray, val: np.ndarray, accuracy: np.ndarray, guessing: float) -> Diagnosis:
    """A diagnosis of sound rows, at least one."""
    count, at = len(val), int(val.argmin())
    gaps = val - train
    best = float(val[at])
    noise = robust.noise(val, at)
    after = np.arange(at + 1, count)[-LATEST:]
    end = after if len(after) else np.array([at])
    visible = max(RISE, RISE_SHARE * best)
    limit = max(visible, robust.chance(count) * max(noise, robust.noise(val, at, count)))
    rise = middle(val[end]) - best
    # How many times the rise is its limit: that of the level, or else that of the trend.
    margin = rise / limit
    if visible < rise <= limit and train[at] - middle(train[end]) > visible:
        margin = max(margin, robust.climb(epoch[at + 1:], val[at + 1:], visible, LONGEST_WINDOW))
    window = min(count, LONGEST_WINDOW, max(FEWEST_WINDOW, count // WINDOW_SHARE))
    slope = robust.slope(epoch[-window:], val[-window:])
    error = robust.noise(val, count - 1) * math.sqrt(12 / window**3)
    found = Diagnosis(
        TOO_SHORT, count, int(epoch[at]), best, float(accuracy[at]), float(gaps[at]), float(gaps[-1]),
        rise=rise, last_rise=float(val[-1]) - best, limit=limit, slope=slope,
        train_slope=robust.slope(epoch[-window:], train[-window:]), window=window, noise=noise,
        train=middle(train[-LATEST:] if count >= LATEST else train[-1:]), guessing=guessing)
    grounds = {
        "best_epoch": Ground(sound(sure(count / HALF_SURE) / int((val <= best + noise).sum())),
                             {"crossentropy": best, "noise": noise, "as_good": int((val <= best + noise).sum())}),
        "gap": Ground(sure(times(abs(found.gap), noise * math.sqrt(2))),
                      {"train": float(train[-1]), "validation": float(val[-1]), "noise": noise}),
        "slope": Ground(sound(sure(times(abs(slope), error)) * sure(window / HALF_SURE)) if window > 1 else 0.0,
                        {"window": window, "error": error, "train_slope": found.train_slope}),
    }
    if count < FEWEST_EPOCHS:
        return replace(found, grounds={**grounds, "phase": Ground(0.0, {"epochs": count})})
    if margin > 1 and len(after) < CONFIRMING:
        # One bad epoch after the best: until the next one confirms it, the run is what it was without it.
        before = _read(epoch[:-1], train[:-1], val[:-1], accuracy[:-1], guessing)
        doubted = Ground(before.confidence / 2, {**before.grounds["phase"].numbers, "set_aside": float(epoch[-1])})
        return replace(found, phase=before.phase, is_stuck=before.is_stuck, is_unsettled=before.is_unsettled,
                       slope=before.slope, train_slope=before.train_slope, window=before.window,
                       grounds={**grounds, "phase": doubted, "slope": before.grounds["slope"]})
    found, ground, onset = _phase(found, margin, val, gaps, train, epoch, at, end, error)
    return replace(found, grounds={**grounds, "phase": ground, **({"onset": onset} if onset else {})})


def _phase(found: Diagnosis, climbed: float, val: np.ndarray, gaps: np.ndarray, train: np.ndarray, epoch: np.ndarray,
           at: int, end: np.ndarray, error: float) -> tuple[Diagnosis, Ground, Ground | None]:
    """The phase of at least `FEWEST_EPOCHS` epochs, its ground, and that of the onset if there is one."""
    count, best, limit = len(val), found.best_crossentropy, found.limit
    enough = sure(count / HALF_SURE)
    worst = BROKEN_TIMES * found.guessing
    if count >= BROKEN_FROM and found.train > worst and found.train > train[0] / 2:
        numbers = {"train": found.train, "limit": worst}
        return replace(found, phase=DIVERGED), Ground(sure(found.train / worst) * enough, numbers), None
    widened = middle(gaps[end]) - found.gap_at_best
    has_risen = climbed > 1
    visible = max(RISE, RISE_SHARE * best)
    left = best + min(limit, ONSET_SHARE * max(visible, robust.chance(count) * found.noise))
    start = _since(val, at, left)
    latest = middle(val[-LATEST:])
    level = GUESSING_SHARE * found.guessing
    # Where training itself is no better than a guess, nothing has been memorised, whatever validation does.
    is_blind = found.train > level and latest > level
    if (not is_blind and has_risen and widened >= GAP_SHARE * found.rise and start is not None
            and _since(val, at, best + min(limit, found.rise - 1e-12)) is not None):
        above = float((val[start:] > left).mean())
        lasted = sure((count - start) / HALF_SURE)
        numbers = {"rise": found.rise, "limit": limit, "widened": widened, "epochs_since": count - start}
        return (replace(found, phase=OVERFITTING, onset=int(epoch[start])),
                Ground(sure(climbed) * lasted, numbers),
                Ground(above * lasted, {"limit": left, "epochs_since": count - start,
                                        "share_above": above}))
    # What training on would bring: the slope, over a quarter of the epochs more or over its own window.
    outlook = -found.slope * max(found.window - 1, count / WINDOW_SHARE)
    needed = OUTLOOK_SHARE * abs(best)
    # A curve that has just settled falls over the window, but no longer at its end.
    half = found.window // 2
    goes_on = half < FEWEST_WINDOW or robust.slope(epoch[-half:], val[-half:]) < GOING_ON * found.slope
    improves = (outlook > needed and -found.slope > SLOPE_ERRORS * error and found.train_slope < 0 and goes_on
                and at >= count - found.window)
    if improves or is_blind:
        is_stuck = is_blind and not improves
        if is_stuck:
            numbers = {"train": found.train, "limit": level}
            margin = times(found.guessing - level, max(found.guessing - found.train, 0.0))
        else:
            numbers, margin = {"outlook": outlook, "limit": needed}, times(outlook, needed)
        return replace(found, phase=UNDERFITTING, is_stuck=is_stuck), Ground(sure(margin) * enough, numbers), None
    unsteady = max(times(found.noise, NOISY_SHARE * abs(best)), times(found.rise, UNSURE_SHARE * abs(best)))
    if has_risen or unsteady > 1:
        margin = climbed if has_risen else unsteady
        numbers = {"noise": found.noise, "rise": found.rise, "limit": limit}
        unsettled = has_risen and widened < GAP_SHARE * found.rise
        return (replace(found, phase=NOISY, is_unsettled=unsettled), Ground(sound(sure(margin) * enough), numbers),
                None)
    nearest = max(found.rise / limit, times(outlook, needed))
    numbers = {"rise": found.rise, "limit": limit, "outlook": outlook, "outlook_limit": needed}
    return replace(found, phase=GOOD), Ground(sure(times(1.0, nearest)) * enough, numbers), None


def _since(val: np.ndarray, at: int, limit: float) -> int | None:
    """Where validation came to lie above a limit for good: the place from which on most epochs are above it.

    Every epoch above it counts 1, every other one minus `RELAPSE`; the sum from there to the end is the greatest.
    """
    scores = np.where(val[at + 1:] > limit, 1, -RELAPSE)[::-1].cumsum()[::-1]
    if not len(scores) or scores.max() < CONFIRMING:
        return None
    # The latest place with that sum: earlier ones only bring a spike and the relapse after it.
    return at + len(scores) - int(scores[::-1].argmax())
