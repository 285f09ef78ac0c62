"""What a diagnosis says: the phases of a run, and the value in which all findings of one history are told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

TOO_SHORT, NOISY, UNDERFITTING, GOOD, OVERFITTING, UNSTABLE, DIVERGED = (
    "too_short", "noisy", "underfitting", "good", "overfitting", "unstable", "diverged")
PHASES = (TOO_SHORT, NOISY, UNDERFITTING, GOOD, OVERFITTING, UNSTABLE, DIVERGED)
# Findings of high confidence were right in 97 of 100 labeled and simulated curves at least, of medium in 85
# (`python -m tests.benchmarks.diagnosis`).
HIGH, MEDIUM = 0.8, 0.5
# An accuracy that has gone this share of the way from that of a guess to 1 shows that something was learned.
LEARNED_SHARE = 0.5

NAN = float("nan")


@dataclass(frozen=True)
class Evidence:
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
    """What a history shows; all values are cross-entropies, unpenalized and in inference mode.

    Attributes:
        phase: `too_short` (or what is measured lags behind), `noisy` (too unsteady to say), `underfitting` (it has
            learned nothing, or training and validation still improve), `good` (it has settled near its best),
            `overfitting`, `unstable` (it has lost again what it had learned) or `diverged`.
        epochs: rows of the history.
        best_epoch: the epoch with the lowest validation cross-entropy, or `None` without one.
        best_crossentropy, best_accuracy: validation at that epoch.
        gap_at_best, gap: validation minus training, there and at the last epoch that is a number.
        onset: with `overfitting`, the epoch since which validation has lastingly lain above its best; else `None`.
        rise: how far validation lies above its best by now (median of the latest epochs since the best one).
        last_rise: the same at the last epoch alone.
        limit: the rise of single epochs from which on it counts, the jitter allowed for.
        slope, train_slope: change an epoch over the latest `window` epochs (median of all pairwise slopes, after
            Theil and Sen), without the last one where that is set aside.
        window: epochs that the slopes are taken from.
        noise, train_noise: standard deviation of the jitter of validation and of training from epoch to epoch, around
            the best one.
        train, train_accuracy, val_accuracy: training, and both accuracies, at the end (median of the latest epochs).
        guessing: cross-entropy of a blind guess.
        is_stuck: whether `underfitting` means that even training is hardly better than that.
        is_unsettled: whether `noisy` means that training and validation have risen together.
        is_lagging: whether `too_short` means that training, measured in inference mode, is still far worse than what
            `fit` printed, as it is until batch normalization's moving averages are those of the data.
        grounds: for each of `phase`, `best_epoch`, `onset`, `gap` and `slope` that is known, the numbers it rests on
            and its confidence. With sure(x) = 1 - 2^-x:

            - `phase`: sure(margin) * sure(evidence / 3): a score of fixed rules, and no probability. The margin is how
              many times the decisive number is its threshold; where a threshold was not reached (`good`, and a network
              that has learned nothing), how many times the threshold is the number. The evidence is the number of
              epochs, for `overfitting` of those since the onset. 0 where it is too short, 1 where the loss is no
              number; halved where the last epoch is set aside as a single bad one; for `good` nine tenths of it.
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
    train_noise: float = NAN
    train_accuracy: float = NAN
    val_accuracy: float = NAN
    is_stuck: bool = False
    is_unsettled: bool = False
    is_lagging: bool = False
    grounds: Mapping[str, Evidence] = field(default_factory=lambda: MappingProxyType({}), compare=False)

    @property
    def has_learned(self) -> bool:
        """Whether both accuracies show that something was learned, whatever the losses are."""
        return self.shows_learning(self.train_accuracy) and self.shows_learning(self.val_accuracy)

    def shows_learning(self, accuracy: float) -> bool:
        """Whether an accuracy is far better than that of a guess; not, where it is NaN."""
        guess = math.exp(-self.guessing)
        return accuracy > guess + LEARNED_SHARE * (1 - guess)

    @property
    def confidence(self) -> float:
        """That the phase is right, from 0 to 1."""
        return self.grounds["phase"].confidence if "phase" in self.grounds else 0.0

    @property
    def level(self) -> str:
        """`low`, `medium` or `high` confidence in the phase."""
        return self.grounds["phase"].level if "phase" in self.grounds else "low"
