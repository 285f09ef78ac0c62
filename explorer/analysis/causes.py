"""The table of causes: what a run's curve and settings show to hold it back, and the one setting that mends it.

Each line was found by training: `tests/analysis/test_advice.py` trains a run of each, follows the advice, and trains
again. What is not in the table has no cause that is known here, and nothing is said of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from explorer.analysis import diagnosis
from explorer.analysis.diagnosis import Diagnosis
from explorer.config.run_config import DEFAULT_LEARNING_RATE, DEFAULT_WEIGHT_DECAY, Demand, RunConfig
from explorer.config.settings import Settings

# What curves show, one sign a run; beside them `diagnosis.OVERFITTING`, `DIVERGED` and `UNSTABLE` as they are.
LAGGING, STUCK, IMPROVING, SETTLED, RISING, JUMPING = "lagging", "stuck", "improving", "settled", "rising", "jumping"
# Where training itself may show what holds a run back.
POOR = (STUCK, IMPROVING, SETTLED)

# A training loss above this share of a guess's has learned little; above the other one, less than a penalty would let.
LITTLE_SHARE, HELD_SHARE = 0.5, 0.1
# Strengths that the sources use to begin with; beyond the strongest a network hardly learns at all.
FIRST_L2, STRONGEST_L2, STRONGEST_L1 = 0.001, 0.01, 0.001
# Weight decay takes its product with the learning rate from each weight at each step: this much outweighs gradients.
HEAVY_DECAY = 0.001
FULL_DROPOUT = 0.5
# So few of the most frequent words hardly tell one review from another; so many do.
FEW_WORDS, ENOUGH_WORDS = 100, 1_000
# Times the optimizer's default rate: from there on steps may be too large, or too small, to learn at all.
TOO_FAST, TOO_SLOW = 5.0, 0.1
# Otherwise the rate stays within a hundredth and three times that default, except where training broke down.
SLOWEST, FASTEST = 0.01, 3.0
# Sigmoid layers from this number on stop gradients, with plain SGD one fewer; other layers only from `DEEP` on.
SATURATING, DEEP = 3, 4
# A layer of so few units lets little through; one of so many lets enough.
BOTTLENECK, ENOUGH_UNITS = 2, 16
# A layer from this width on is halved before other remedies; below the least it is left as it is.
WIDE, MIN_UNITS = 64, 4
# On fewer validation examples single ones show; so large a share is held out instead.
SMALL_VALIDATION, USUAL_SHARE = 200, 0.2
# A batch takes no more than so many examples, and no more than this share of them.
CALM_BATCH, BATCH_SHARE = 2_048, 0.25
# Training is smooth where it jitters by less than this share of what validation does; a training loss below this share
# of validation's is memorized: it is smooth whatever the steps.
SMOOTH_SHARE, MEMORIZED_SHARE = 0.5, 0.1
# Moving averages of batch normalization take over a hundredth of the new a step (Keras's momentum of 0.99); and a
# network that has made fewer steps than this may simply not have come far.
FEW_STEPS = 100
MIN_BATCH = 8
PATIENCE = 5


@dataclass(frozen=True)
class Case:
    """One run and what it shows.

    Attributes:
        found: its diagnosis.
        config, demand: the run.
        settings: limits of the installation.
    """

    found: Diagnosis
    config: RunConfig
    demand: Demand
    settings: Settings

    @property
    def sign(self) -> str | None:
        """What the curve shows, or `None` where nothing follows from it."""
        found = self.found
        if found.is_lagging:
            return LAGGING
        if found.phase == diagnosis.UNDERFITTING:
            return STUCK if found.is_stuck else IMPROVING
        if found.phase == diagnosis.NOISY:
            if found.is_unsettled:
                return RISING
            return JUMPING if self.is_jumping else None
        return {diagnosis.GOOD: SETTLED, diagnosis.TOO_SHORT: None}.get(found.phase, found.phase)

    @property
    def default_rate(self) -> float:
        """Keras's learning rate for this optimizer."""
        return DEFAULT_LEARNING_RATE[self.config.optimizer]

    @property
    def has_learned_little(self) -> bool:
        """Whether training itself is still nearer to a guess than to the answers."""
        return self.found.train > LITTLE_SHARE * self.found.guessing

    @property
    def is_held_back(self) -> bool:
        """Whether training could be far better than it is."""
        return self.found.train > HELD_SHARE * self.found.guessing

    @property
    def is_falling(self) -> bool:
        """Whether both losses were falling when training ended, the last epoch included."""
        found = self.found
        return found.slope < 0 and found.train_slope < 0 and not found.last_rise > found.limit

    @property
    def is_jumping(self) -> bool:
        """Whether validation jumps from epoch to epoch, seen beside its own level."""
        return self.found.noise > diagnosis.NOISY_SHARE * abs(self.found.best_crossentropy)

    @property
    def has_ended(self) -> bool:
        """Whether it was trained as far as it was wanted: else that comes first."""
        return self.found.epochs >= self.demand.epochs

    @property
    def was_stopped_early(self) -> bool:
        """Whether it was early stopping that ended it."""
        patience, best = self.demand.patience, self.found.best_epoch
        return not self.has_ended and None not in (patience, best) and self.found.epochs - best >= patience

    @property
    def has_smooth_training(self) -> bool:
        """Whether training is smooth where validation jumps: then the steps are not what makes it jump."""
        found = self.found
        return (found.train > MEMORIZED_SHARE * found.best_crossentropy
                and found.train_noise < SMOOTH_SHARE * found.noise)

    def steps(self, batch_size: int | None = None) -> int:
        """Steps that the run has made, or would make with another batch size."""
        return self.found.epochs * math.ceil(self.config.rows / (batch_size or self.config.batch_size))


@dataclass(frozen=True)
class Cause:
    """One line of the table.

    Attributes:
        key: names its texts, `suggestion.<key>` and `suggestion.<key>.why`.
        setting: the setting that mends it, a field of `RunConfig` or `Demand`.
        signs: what its curves show.
        shows: whether settings and numbers of such a run show this cause.
        remedy: the new value of the setting.
    """

    key: str
    setting: str
    signs: tuple[str, ...]
    shows: Callable[[Case], bool]
    remedy: Callable[[Case], Any]


def rounded(value: float) -> float:
    """Three digits, so that no 0.00030000000000000003 is offered."""
    return float(f"{value:.3g}")


def _slower(case: Case, by: float = 10) -> float:
    """The optimizer's default where the rate is above it, else a share of the rate."""
    rate = case.config.learning_rate
    return case.default_rate if rate > case.default_rate else rounded(rate / by)


def _calmer(case: Case) -> float:
    return max(_slower(case, by=3), rounded(case.default_rate * SLOWEST))


def _weaker(case: Case, name: str, strongest: float) -> float:
    return min(rounded(getattr(case.config, name) / 10), strongest)


def _stronger(case: Case, name: str, strongest: float) -> float:
    return min(rounded(getattr(case.config, name) * 10), strongest)


def _halved(case: Case) -> tuple[int, ...]:
    """Every layer half as wide, none narrower than it may become."""
    return tuple(max(min(units, MIN_UNITS), units // 2) for units in case.config.hidden)


def _doubled_samples(case: Case) -> int | None:
    doubled = 2 * case.config.train_samples
    return None if doubled >= case.config.available_rows else doubled


def _smaller_batch(case: Case) -> int:
    """The largest power of two with which as many epochs make steps enough, or the least batch."""
    batch = case.config.batch_size
    while batch > MIN_BATCH and case.steps(batch) < FEW_STEPS:
        batch = max(MIN_BATCH, 2 ** math.floor(math.log2(batch - 1)))
    return batch


def _larger_batch(case: Case) -> int:
    most = min(CALM_BATCH, BATCH_SHARE * case.config.rows)
    return next((times * case.config.batch_size for times in (4, 2) if times * case.config.batch_size <= most),
                case.config.batch_size)


def _is_saturating(case: Case) -> bool:
    fewest = SATURATING - (case.config.optimizer == "sgd")
    return case.config.activation == "sigmoid" and len(case.config.hidden) >= fewest


def _passing_on(case: Case) -> str:
    # Without an adaptive optimizer, many ReLU layers as Glorot starts them stay at chance too; tanh never did.
    return "tanh" if case.config.optimizer in ("sgd", "momentum") else "relu"


def _has_small_validation(case: Case) -> bool:
    return 0 < case.config.held_out < SMALL_VALIDATION and case.config.validation < USUAL_SHARE


# The first line that fits is the advice; within a sign, the surer a setting is to be the cause, the earlier it stands.
CAUSES: tuple[Cause, ...] = (
    # Batch normalization's moving averages are behind the weights: what is measured is not yet the network.
    Cause("more_steps", "batch_size", (LAGGING,),
          lambda case: case.steps() < FEW_STEPS <= case.steps(MIN_BATCH), _smaller_batch),
    Cause("no_batch_norm", "batch_norm", (LAGGING,), lambda case: case.config.batch_norm, lambda case: False),
    # Steps too large: training broke down, lost what it had learned, or rises with validation.
    Cause("slower", "learning_rate", (diagnosis.DIVERGED,), lambda case: True, _slower),
    Cause("keep", "learning_rate", (diagnosis.UNSTABLE,), lambda case: True, _slower),
    Cause("rising", "learning_rate", (RISING,), lambda case: case.config.learning_rate > _calmer(case), _calmer),
    # A regularizer holds training itself back.
    Cause("weaker", "l1", POOR, lambda case: case.config.l1 > STRONGEST_L1 and case.is_held_back,
          partial(_weaker, name="l1", strongest=STRONGEST_L1)),
    Cause("weaker", "l2", POOR, lambda case: case.config.l2 > STRONGEST_L2 and case.is_held_back,
          partial(_weaker, name="l2", strongest=STRONGEST_L2)),
    Cause("less_decay", "weight_decay", POOR,
          lambda case: case.config.weight_decay * case.config.learning_rate >= HEAVY_DECAY and case.is_held_back,
          lambda case: DEFAULT_WEIGHT_DECAY.get(case.config.optimizer, 0.0)),
    Cause("less_dropout", "dropout", (STUCK, SETTLED),
          lambda case: case.config.dropout >= FULL_DROPOUT and case.has_learned_little,
          lambda case: rounded(case.config.dropout / 2)),
    Cause("less_dropout", "dropout", (IMPROVING,),
          lambda case: case.config.dropout > FULL_DROPOUT and case.has_learned_little,
          lambda case: rounded(case.config.dropout / 2)),
    # The data say too little.
    Cause("more_words", "num_words", POOR,
          lambda case: (case.config.info.is_words and case.has_learned_little
                        and case.config.num_words <= FEW_WORDS < case.settings.max_words),
          lambda case: min(ENOUGH_WORDS, case.settings.max_words)),
    # The steps, or the signal on its way through the layers.
    Cause("too_fast", "learning_rate", (STUCK, IMPROVING),
          lambda case: case.config.learning_rate >= TOO_FAST * case.default_rate and case.has_learned_little,
          lambda case: case.default_rate),
    Cause("too_slow", "learning_rate", (STUCK, IMPROVING),
          lambda case: case.config.learning_rate <= TOO_SLOW * case.default_rate and case.has_learned_little,
          lambda case: case.default_rate),
    Cause("unsaturated", "activation", (STUCK,), _is_saturating, _passing_on),
    Cause("adaptive", "optimizer", (STUCK, IMPROVING),
          lambda case: case.config.optimizer == "sgd" and case.has_learned_little, lambda case: "adam"),
    Cause("batch_norm", "batch_norm", (STUCK,),
          lambda case: len(case.config.hidden) >= DEEP and not case.config.batch_norm, lambda case: True),
    Cause("wider", "hidden", POOR,
          lambda case: min(case.config.hidden) <= BOTTLENECK and case.has_learned_little,
          lambda case: tuple(max(units, ENOUGH_UNITS) for units in case.config.hidden)),
    Cause("few_steps", "batch_size", (STUCK,), lambda case: case.steps() < FEW_STEPS <= case.steps(MIN_BATCH),
          _smaller_batch),
    # Validation jumps: it is measured on few examples, or the steps are large.
    Cause("more_validation", "validation", (JUMPING,),
          lambda case: case.has_smooth_training and _has_small_validation(case), lambda case: USUAL_SHARE),
    Cause("calmer", "learning_rate", (JUMPING, IMPROVING),
          lambda case: case.is_jumping and case.config.learning_rate > case.default_rate,
          lambda case: case.default_rate),
    Cause("larger_batch", "batch_size", (JUMPING,), lambda case: not case.has_smooth_training, _larger_batch),
    Cause("calmer", "learning_rate", (JUMPING,),
          lambda case: not case.has_smooth_training and case.config.learning_rate > _calmer(case), _calmer),
    # It simply has not ended.
    Cause("longer", "epochs", (IMPROVING,),
          lambda case: case.has_ended and case.is_falling and case.demand.epochs < case.settings.max_epochs,
          lambda case: min(2 * case.demand.epochs, case.settings.max_epochs)),
    Cause("patience", "patience", (IMPROVING,), lambda case: case.was_stopped_early and case.is_falling,
          lambda case: 2 * case.demand.patience),
    Cause("faster", "learning_rate", (IMPROVING,),
          lambda case: (case.has_ended and case.is_falling and case.demand.epochs >= case.settings.max_epochs
                        and not case.is_jumping and case.config.learning_rate < case.default_rate * FASTEST),
          lambda case: rounded(min(case.config.learning_rate * 3, case.default_rate * FASTEST))),
    # It memorizes.
    Cause("clean_labels", "label_noise", (diagnosis.OVERFITTING,), lambda case: case.config.label_noise > 0,
          lambda case: 0.0),
    Cause("more_data", "train_samples", (diagnosis.OVERFITTING,), lambda case: case.config.train_samples is not None,
          _doubled_samples),
    Cause("smaller", "hidden", (diagnosis.OVERFITTING,), lambda case: max(case.config.hidden) >= WIDE, _halved),
    Cause("l2", "l2", (diagnosis.OVERFITTING,),
          lambda case: not (case.config.l1 or case.config.l2 or case.config.weight_decay), lambda case: FIRST_L2),
    Cause("dropout", "dropout", (diagnosis.OVERFITTING,), lambda case: case.config.dropout < FULL_DROPOUT,
          lambda case: FULL_DROPOUT),
    Cause("stronger", "l2", (diagnosis.OVERFITTING,), lambda case: 0 < case.config.l2 < STRONGEST_L2,
          partial(_stronger, name="l2", strongest=STRONGEST_L2)),
    Cause("stronger", "l1", (diagnosis.OVERFITTING,),
          lambda case: not case.config.l2 and 0 < case.config.l1 < STRONGEST_L1,
          partial(_stronger, name="l1", strongest=STRONGEST_L1)),
    Cause("smaller", "hidden", (diagnosis.OVERFITTING,), lambda case: max(case.config.hidden) > MIN_UNITS, _halved),
    Cause("stop_early", "patience", (diagnosis.OVERFITTING,),
          lambda case: case.demand.patience is None and case.found.best_epoch + PATIENCE < case.found.epochs,
          lambda case: PATIENCE),
)
