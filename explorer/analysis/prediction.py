"""Predictions: what a learner expects of a run before it is trained, and how near that came to what was measured."""

from __future__ import annotations

import math
from dataclasses import dataclass

from explorer.analysis.comparison import Result
from explorer.analysis.run_diff import number
from explorer.i18n import count, say

ABOVE, BELOW = "above", "below"
ENDS = (ABOVE, BELOW)
# How near a guess of the best epoch came.
EXACT, CLOSE, OFF = "exact", "close", "off"
# A guess is close within this share of the epochs that were to choose from, and always when it is the next epoch.
CLOSE_SHARE = 0.1
CLOSE_EPOCHS = 1
# What became of a guess of where the run ends: equal to the digits that the page shows, no number to compare, or the
# reference is not known yet.
RIGHT, WRONG, EQUAL, LOST, WAITING = "right", "wrong", "equal", "lost", "waiting"


@dataclass(frozen=True)
class Prediction:
    """What a learner expects of one run.

    Attributes:
        best_epoch: the epoch with the lowest validation cross-entropy; `None` without a guess.
        ends: whether the validation cross-entropy at the end lies `above` or `below` that of the reference run; `None`
            without a guess, as for the reference itself.
    """

    best_epoch: int | None = None
    ends: str | None = None

    @property
    def is_made(self) -> bool:
        return self.best_epoch is not None or self.ends is not None

    def is_complete(self, is_reference: bool) -> bool:
        """Whether everything that can be guessed is; the reference is compared with nothing."""
        return self.best_epoch is not None and (is_reference or self.ends is not None)


@dataclass(frozen=True)
class Score:
    """A prediction beside what was measured.

    Attributes:
        level: of the best epoch: `exact`, `close` or `off`; `None` where there is nothing to compare.
        best_epoch: the measured one.
        off: the guess minus the measured epoch: negative where the run turned later than was thought.
        share: the distance as a share of the epochs that were to choose from.
        ends: `right`, `wrong`, `equal`, `lost` or `waiting`; `None` without a guess.
        last, reference: validation cross-entropy at the end, of the run and of the reference.
    """

    level: str | None = None
    best_epoch: int | None = None
    off: int | None = None
    share: float | None = None
    ends: str | None = None
    last: float = math.nan
    reference: float = math.nan


def score(prediction: Prediction, result: Result | None, reference: Result | None, epochs: int) -> Score:
    """Hold a prediction against what was measured.

    Args:
        prediction: made before.
        result: of the run, which is done; `None` where no epoch of it could be measured.
        reference: of the run that it is compared with; `None` where that is not known.
        epochs: that were to choose from.
    """
    level = best = off = share = None
    if prediction.best_epoch is not None and result is not None:
        best = result.best_epoch
        off = prediction.best_epoch - best
        share = abs(off) / max(1, epochs)
        level = EXACT if not off else CLOSE if abs(off) <= max(CLOSE_EPOCHS, CLOSE_SHARE * epochs) else OFF
    last = result.last if result else math.nan
    other = reference.last if reference else math.nan
    ends = None if prediction.ends is None else _ends(prediction.ends, last, other, reference is not None)
    return Score(level, best, off, share, ends, last, other)


def _ends(guess: str, last: float, reference: float, is_known: bool) -> str:
    if not math.isfinite(last):
        return LOST
    if not is_known:
        return WAITING
    if not math.isfinite(reference):
        return LOST
    # Beyond the digits that are shown, a verdict could not be checked by whoever reads it.
    if number(last) == number(reference):
        return EQUAL
    return RIGHT if (guess == ABOVE) == (last > reference) else WRONG


def sentence(prediction: Prediction, found: Score, language: str) -> str:
    """What was guessed, what was measured, and what to look at; empty without a guess.

    Args:
        found: its score.
        language: a key of `explorer.i18n.LANGUAGES`.
    """
    said = []
    if prediction.best_epoch is not None:
        if found.level is None:
            said.append(say("prediction.best.never", language, guess=prediction.best_epoch))
        elif found.level == OFF:
            side = "early" if found.off < 0 else "late"
            said.append(count(f"prediction.best.{side}", language, abs(found.off), guess=prediction.best_epoch,
                              best=found.best_epoch))
        else:
            said.append(count(f"prediction.best.{found.level}", language, abs(found.off), guess=prediction.best_epoch,
                              best=found.best_epoch))
    if found.ends in (RIGHT, WRONG):
        side = ABOVE if found.last > found.reference else BELOW
        said.append(say(f"prediction.ends.{found.ends}.{side}", language, last=number(found.last),
                        reference=number(found.reference)))
    elif found.ends:
        said.append(say(f"prediction.ends.{found.ends}", language, last=number(found.last)))
    return " ".join(said)
