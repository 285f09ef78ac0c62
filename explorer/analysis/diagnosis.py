"""From a history to what it shows: the phase, the best epoch, the onset, the gap and the slope, each with its grounds.

The thresholds are held against published histories and those of other people's trainings in
`tests/analysis/test_diagnosis.py`, and against simulated curves in `tests/benchmarks/diagnosis.py`.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from explorer.analysis import robust_stats, trends
from explorer.analysis.phases import (
    DIVERGED,
    GOOD,
    NAN,
    NOISY,
    OVERFITTING,
    PHASES,
    TOO_SHORT,
    UNDERFITTING,
    UNSTABLE,
    Diagnosis,
    Evidence,
)
from explorer.analysis.robust_stats import LATEST, latest, middle, sound, sure, times
from explorer.analysis.trends import Curve

__all__ = ["DIVERGED", "GOOD", "NOISY", "OVERFITTING", "PHASES", "TOO_SHORT", "UNDERFITTING", "UNSTABLE", "Diagnosis",
           "Evidence", "diagnose"]

# Fewer epochs than this show no trend.
MIN_EPOCHS = 3
# Once it has turned, it did so where it left its best for good: by a third of that, or by so many times the jitter,
# but by no more than half of the rise.
ONSET_SHARE, ONSET_NOISE = 1 / 3, 0.5
# One bad epoch is noise; an onset needs this many more epochs above its limit than excuse those below it.
CONFIRMING = 2
# An epoch back below the limit undoes so many above it, so that from an onset on two in three must lie above.
RELAPSE = 2
# Of a rise this share at least must be a widening gap: else training has risen too, and nothing is memorized.
GAP_SHARE = 0.5
# Few, jumping epochs after the best show a turn only where training has fallen to this share meanwhile.
FALLEN_SHARE = 0.75
# The slope is that of the latest quarter of the epochs, within these limits: shorter is jitter, longer is history.
WINDOW_SHARE, MIN_WINDOW, MAX_WINDOW = 4, 3, 40
# It still improves if another quarter of the epochs would lower validation by this share of its best value, and by so
# many standard errors; or, where every single epoch of the window lies below the one before, by the smaller share.
OUTLOOK_SHARE, OUTLOOK_ERRORS, STEADY_SHARE = 0.01, 1.4, 0.002
# Fewer than so many epochs that all fall are no steady fall.
MIN_STEADY = 7
# Over the later half of the window it must still fall by this share of the slope over all of it.
GOING_ON = 0.25
# Jitter beyond this share of the best value hides whatever is not plain.
NOISY_SHARE = 0.06
# Where it jumps so much, a rise must be so many times its limit, unless next to nothing is left to be learned.
WILD_TIMES = 1.3
# A level that far above the best, as a share of it, is not a settled one, even where jitter might explain it.
UNSURE_SHARE = 0.1
# A network that is no better than this share of the cross-entropy of a blind guess, ln(classes), has learned nothing,
# unless its accuracies say otherwise: a strong penalty leaves losses near a guess's, unscaled inputs make losses of
# hundreds. So many times that of a guess, the validation accuracy alone is witness enough.
GUESSING_SHARE, FAR_FROM_GUESS = 0.9, 1.5
# Training that is so many times worse than a blind guess has broken down; the first epochs, where averages of batch
# normalization lag behind, are let pass.
BROKEN_TIMES, BROKEN_FROM = 3.0, 5
# What was learned is lost again once training, whose best lay below the first share of a guess, is back by the second
# share of the way from there to the guess.
HAD_LEARNED, LOST_SHARE = 0.75, 0.75
# Measured training lags behind what `fit` printed, as it does while batch normalization's moving averages still hold
# their first values, once its accuracy lies this far below, and its cross-entropy above that many times.
LAG_ACCURACY, LAG_TIMES = 0.15, 1.5
# What `fit` prints gets no worse while its loss is less than this share of the epoch's before.
WORSE = 1.1
# A settled level is in doubt where a rise is to be seen that jitter may explain: half in doubt at so many times the
# visible.
DOUBTFUL_TIMES = 1.5
# What has not turned may still turn: no more confidence than this that a curve has settled.
MAX_SETTLED = 0.9
# Half of full confidence is there after so many epochs, once more of the rest after as many again.
HALF_SURE = 3.0


_COLUMNS = {"epoch": "epoch", "train": "train_crossentropy", "val": "val_crossentropy",
            **{name: name for name in ("val_accuracy", "train_accuracy", "loss", "penalty", "accuracy")}}


def diagnose(history: pd.DataFrame, classes: int = 2, batch_norm: bool = True) -> Diagnosis:
    """Read a history.

    Args:
        history: as from `history.table`. Rows in which a cross-entropy is missing are passed over; where the
            last row is one, the run has diverged. Accuracies and what Keras prints are witnesses; they may be missing.
        classes: of the data; a blind guess has the cross-entropy ln(classes).
        batch_norm: whether the network may have batch normalization, whose moving averages lag behind at first.
    """
    epochs = len(history)
    columns = np.column_stack([history[name].to_numpy(float) if name in history else np.full(epochs, NAN)
                               for name in _COLUMNS.values()])
    is_sound = np.isfinite(columns[:, 1:3]).all(axis=1)
    rows = columns[is_sound]
    if not len(rows):
        grounds = {"phase": Evidence(1.0, {"epochs": epochs})} if epochs else {}
        return Diagnosis(DIVERGED if epochs else TOO_SHORT, epochs, grounds=grounds)
    # Cross-entropies near the largest float overflow on the way; what comes of them is no number, and read as such.
    with np.errstate(all="ignore"):
        found = _read(Curve(*rows.T), classes, batch_norm)
    found = replace(found, epochs=epochs)
    if not is_sound[-1]:
        found = replace(found, phase=DIVERGED, onset=None, is_stuck=False, is_unsettled=False, is_lagging=False,
                        grounds={**{name: ground for name, ground in found.grounds.items() if name != "onset"},
                                 "phase": Evidence(1.0, {"lost": float(epochs - len(rows))})})
    return found


def _read(curve: Curve, classes: int, batch_norm: bool) -> Diagnosis:
    """A diagnosis of sound rows, at least one."""
    epoch, train, val, at, best = curve.epoch, curve.train, curve.val, curve.at, curve.best
    count, gaps = len(val), val - train
    window = min(count, MAX_WINDOW, max(MIN_WINDOW, count // WINDOW_SHARE))
    slope = robust_stats.slope(epoch[-window:], val[-window:])
    error = curve.jitter.around(count - 1) * math.sqrt(12 / window**3)
    found = Diagnosis(
        TOO_SHORT, count, int(epoch[at]), best, float(curve.val_accuracy[at]), float(gaps[at]), float(gaps[-1]),
        rise=middle(val[curve.end]) - best, last_rise=float(val[-1]) - best, limit=curve.limit, slope=slope,
        train_slope=robust_stats.slope(epoch[-window:], train[-window:]), window=window, noise=curve.noise,
        train_noise=robust_stats.Jitter(train).around(at), train=latest(train),
        train_accuracy=latest(curve.train_accuracy), val_accuracy=latest(curve.val_accuracy),
        guessing=math.log(classes))
    as_good = int((val <= best + curve.noise).sum())
    grounds = {
        "best_epoch": Evidence(sound(sure(count / HALF_SURE) / as_good),
                               {"crossentropy": best, "noise": curve.noise, "as_good": as_good}),
        "gap": Evidence(sure(times(abs(found.gap), curve.noise * math.sqrt(2))),
                        {"train": float(train[-1]), "validation": float(val[-1]), "noise": curve.noise}),
        "slope": Evidence(sound(sure(times(abs(slope), error)) * sure(window / HALF_SURE)) if window > 1 else 0.0,
                          {"window": window, "error": error, "train_slope": found.train_slope}),
    }
    if count < MIN_EPOCHS:
        return replace(found, grounds={**grounds, "phase": Evidence(0.0, {"epochs": count})})
    if found.last_rise > curve.limit and _is_alone(curve):
        # One bad epoch at the end: until the next one confirms it, the run is what it was without it.
        before = _read(curve.head(count - 1), classes, batch_norm)
        doubted = Evidence(before.confidence / 2, {**before.grounds["phase"].numbers, "set_aside": float(epoch[-1])})
        onset = {"onset": before.grounds["onset"]} if before.onset else {}
        return replace(found, phase=before.phase, onset=before.onset, is_stuck=before.is_stuck,
                       is_unsettled=before.is_unsettled, is_lagging=before.is_lagging, slope=before.slope,
                       train_slope=before.train_slope, window=before.window,
                       grounds={**grounds, "phase": doubted, "slope": before.grounds["slope"], **onset})
    found, ground, onset = _phase(found, curve, batch_norm)
    return replace(found, grounds={**grounds, "phase": ground, **({"onset": onset} if onset else {})})


def _is_alone(curve: Curve) -> bool:
    """Whether the last epoch lies far above all of the latest that went before it since the best."""
    before = curve.val[curve.at + 1:-1][1 - LATEST:]
    return not len(before) or float(before.max()) - curve.best <= min(
        curve.limit, (float(curve.val[-1]) - curve.best) / 3)


def _is_lagging(curve: Curve) -> bool:
    """Whether training, measured in inference mode, is far worse than what `fit` printed of the same epochs.

    Dropout and a falling loss make it better. The moving averages of batch normalization, which inference mode uses,
    start at 0 and 1 and take some hundred steps to become those of the data. It is so in the latest two epochs, while
    what `fit` prints does not get worse: else it is training that breaks down within an epoch.
    """
    printed = (curve.loss - np.nan_to_num(curve.penalty))[-2:]
    lags = (curve.accuracy - curve.train_accuracy)[-2:] > LAG_ACCURACY
    return bool(lags.all() and (curve.train[-2:] > LAG_TIMES * printed).all() and printed[1] < WORSE * printed[0])


def _phase(found: Diagnosis, curve: Curve, batch_norm: bool) -> tuple[Diagnosis, Evidence, Evidence | None]:
    """The phase of at least `MIN_EPOCHS` epochs, its ground, and that of the onset if there is one."""
    val, train, count, guess = curve.val, curve.train, len(curve.val), found.guessing
    enough = sure(count / HALF_SURE)
    if batch_norm and _is_lagging(curve):
        numbers = {"train_accuracy": float(curve.train_accuracy[-1]), "printed_accuracy": float(curve.accuracy[-1])}
        return replace(found, is_lagging=True), Evidence(0.0, numbers), None
    worst = BROKEN_TIMES * guess
    if count >= BROKEN_FROM and found.train > worst and found.train > train[0] / 2 and not found.has_learned:
        return (replace(found, phase=DIVERGED),
                Evidence(sure(found.train / worst) * enough, {"train": found.train, "limit": worst}), None)
    end, least = middle(val[-LATEST:]), float(train.min())
    lost = times(middle(train[-min(LATEST, count - int(train.argmin())):]) - least, guess - least)
    if least < HAD_LEARNED * guess and lost > LOST_SHARE and end > curve.best + LOST_SHARE * (guess - curve.best):
        numbers = {"least_train": least, "train": found.train, "guessing": guess}
        return replace(found, phase=UNSTABLE), Evidence(sure(2 * lost / LOST_SHARE) * enough, numbers), None
    level = GUESSING_SHARE * guess
    # Where training itself is no better than a guess, nothing has been memorized, whatever validation does.
    known = found.has_learned or (found.train > FAR_FROM_GUESS * guess and found.shows_learning(found.val_accuracy))
    is_blind = found.train > level and end > level and not known
    stretches = trends.rise(curve.jitter, curve.visible, curve.is_memorized)
    risen = _risen(found, curve, stretches)
    widened = middle((val - train)[curve.end]) - found.gap_at_best
    is_wild = found.noise > NOISY_SHARE * abs(curve.best) and not curve.is_memorized
    has_risen = risen.margin > (WILD_TIMES if is_wild else 1)
    if not is_blind and has_risen and widened >= GAP_SHARE * found.rise:
        turned = _turn(found, curve, risen, widened)
        if turned:
            return turned
    outlook = trends.outlook(curve.jitter, max(found.window - 1, count / WINDOW_SHARE))
    improves, needed = _improves(found, curve, outlook)
    if (improves and not has_risen) or is_blind:
        is_stuck = is_blind and not improves
        if is_stuck:
            numbers = {"train": found.train, "limit": level}
            margin = times(guess - level, max(guess - found.train, 0.0))
        else:
            numbers = {"outlook": outlook.gain, "limit": needed}
            margin = times(outlook.gain, needed)
        return replace(found, phase=UNDERFITTING, is_stuck=is_stuck), Evidence(sure(margin) * enough, numbers), None
    apart = middle(abs(val[-LATEST:] - end))
    unsteady = {"noise": times(found.noise, NOISY_SHARE * abs(end)),
                "apart": times(apart, UNSURE_SHARE * abs(end)),
                "risen": times(stretches.size, UNSURE_SHARE * abs(curve.best))}
    decisive = next((name for name, much in unsteady.items() if much > 1), "risen")
    if has_risen or unsteady[decisive] > 1:
        numbers = {"noise": found.noise, "rise": found.rise, "limit": risen.limit}
        numbers |= {"apart": {"apart": apart}, "risen": {"risen": risen.size}}.get(decisive, {})
        unsettled = has_risen and widened < GAP_SHARE * found.rise
        margin = risen.margin if has_risen else unsteady[decisive]
        return replace(found, phase=NOISY, is_unsettled=unsettled), Evidence(
            sound(sure(margin) * enough), numbers), None
    # What leaves doubts: a rise that is to be seen and that jitter may explain, a fall within the error of the outlook.
    nearest = max(risen.margin, times(stretches.size, DOUBTFUL_TIMES * curve.visible),
                  times(outlook.gain + outlook.error, needed))
    numbers = {"rise": found.rise, "limit": curve.limit, "outlook": outlook.gain, "outlook_limit": needed}
    return replace(found, phase=GOOD), Evidence(MAX_SETTLED * sure(times(1.0, nearest)) * enough, numbers), None


def _risen(found: Diagnosis, curve: Curve, stretches: trends.Rise) -> trends.Rise:
    """The plainest evidence that validation lies above its best by now."""
    rises = [trends.Rise(found.rise, curve.limit), stretches]
    if found.train <= FALLEN_SHARE * curve.train[curve.at]:
        rises.append(trends.few_since(curve.val, curve.at))
    return max(rises, key=lambda rise: rise.margin)


def _turn(found: Diagnosis, curve: Curve, risen: trends.Rise,
          widened: float) -> tuple[Diagnosis, Evidence, Evidence] | None:
    """Overfitting and its onset; `None` where no epoch is to be found since which most lie above the best."""
    val, at, count = curve.val, curve.at, len(curve.val)
    # Single epochs to either side neither make an onset nor undo it.
    after = np.concatenate([val[:at + 1], _middles(val[at + 1:])])
    left = curve.best + min(risen.size / 2, max(ONSET_SHARE * curve.visible, ONSET_NOISE * found.noise))
    start = _since(after, at, left)
    if start is None:
        return None
    above = float((after[start:] > left).mean())
    lasted = sure((count - start) / HALF_SURE)
    numbers = {"rise": found.rise, "limit": risen.limit, "widened": widened, "epochs_since": count - start}
    onset = {"limit": left, "epochs_since": count - start, "share_above": above}
    return (replace(found, phase=OVERFITTING, onset=int(curve.epoch[start])),
            Evidence(sure(risen.margin) * lasted, numbers), Evidence(above * lasted, onset))


def _improves(found: Diagnosis, curve: Curve, outlook: trends.Outlook) -> tuple[bool, float]:
    """Whether training on would lower validation, and the least fall to come that counts."""
    val, best = curve.val, abs(curve.best)
    if trends.falls_throughout(val[-max(found.window, MIN_STEADY):], MIN_STEADY):
        needed = STEADY_SHARE * best
    else:
        needed = max(OUTLOOK_SHARE * best, OUTLOOK_ERRORS * outlook.error)
    # A curve that has just settled falls over the window, but no longer at its end.
    half = found.window // 2
    goes_on = True
    if half >= MIN_WINDOW:
        late = robust_stats.slope(curve.epoch[-half:], val[-half:])
        error = curve.jitter.around(len(val) - 1) * math.sqrt(12 / half**3)
        goes_on = late < GOING_ON * found.slope + error
    is_falling = found.train_slope < 0 and found.slope < 0 and goes_on and trends.ends_lowest(curve.jitter)
    return is_falling and outlook.gain > needed, needed


def _middles(values: np.ndarray) -> np.ndarray:
    """Medians of three, the ends as they are."""
    if len(values) < 3:
        return values
    stacked = np.sort(np.stack([values[:-2], values[1:-1], values[2:]]), axis=0)[1]
    return np.concatenate([values[:1], stacked, values[-1:]])


def _since(val: np.ndarray, at: int, limit: float) -> int | None:
    """Where validation came to lie above a limit for good: the place from which on most epochs are above it.

    Every epoch above it counts 1, every other one minus `RELAPSE`; the sum from there to the end is the greatest.
    """
    scores = np.where(val[at + 1:] > limit, 1, -RELAPSE)[::-1].cumsum()[::-1]
    if not len(scores) or scores.max() < CONFIRMING:
        return None
    # The latest place with that sum: earlier ones only bring a spike and the relapse after it.
    return at + len(scores) - int(scores[::-1].argmax())
