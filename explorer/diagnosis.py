"""From a history to what it shows: the phase, the best epoch, the gap, and one sentence that says so."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

# Fewer epochs than this show no trend.
FEWEST_EPOCHS = 3
# Validation has turned when it stays this far above its best value: in cross-entropy, and as a share of it.
RISE, RISE_SHARE = 0.01, 0.03
# One bad epoch is noise; this many of the latest must all lie above.
CONFIRMING = 2

TOO_SHORT, LEARNING, LEVEL, OVERFITTING, DIVERGED = "too_short", "learning", "level", "overfitting", "diverged"


@dataclass(frozen=True)
class Diagnosis:
    """What a history shows; all values are unpenalised and in inference mode.

    Attributes:
        phase: `too_short`, `learning` (validation still improves), `level` (it neither improves nor has
            turned), `overfitting` or `diverged`.
        epochs: complete epochs.
        best_epoch: the epoch with the lowest validation cross-entropy, or `None` without one.
        best_crossentropy, best_accuracy: validation at that epoch.
        gap_at_best, gap: validation minus training cross-entropy, there and at the last epoch.
    """

    phase: str
    epochs: int
    best_epoch: int | None = None
    best_crossentropy: float = float("nan")
    best_accuracy: float = float("nan")
    gap_at_best: float = float("nan")
    gap: float = float("nan")


def diagnose(history: pd.DataFrame) -> Diagnosis:
    """Read a history.

    Args:
        history: as from `explorer.history.table`.
    """
    epochs = len(history)
    watched = history[["train_crossentropy", "val_crossentropy"]]
    sound = history[watched.notna().all(axis=1)]
    if sound.empty:
        return Diagnosis(DIVERGED if epochs else TOO_SHORT, epochs)
    gaps = sound["val_crossentropy"] - sound["train_crossentropy"]
    best = sound.loc[sound["val_crossentropy"].idxmin()]
    limit = best["val_crossentropy"] + max(RISE, RISE_SHARE * best["val_crossentropy"])
    latest = sound["val_crossentropy"].tail(CONFIRMING)
    gap_at_best = float(best["val_crossentropy"] - best["train_crossentropy"])
    if len(sound) < epochs:
        phase = DIVERGED
    elif epochs < FEWEST_EPOCHS:
        phase = TOO_SHORT
    elif (latest > limit).all() and gaps.iloc[-1] > gap_at_best:
        phase = OVERFITTING
    elif best["epoch"] == sound["epoch"].iloc[-1]:
        phase = LEARNING
    else:
        phase = LEVEL
    return Diagnosis(phase, epochs, int(best["epoch"]), float(best["val_crossentropy"]),
                     float(best["val_accuracy"]), gap_at_best, float(gaps.iloc[-1]))


def sentence(found: Diagnosis, language: str = "en") -> str:
    """One sentence with its numbers from the run; empty before the first epoch."""
    if found.best_epoch is None:
        return "The loss was never a number." if found.epochs else ""
    best = f"Best at epoch {found.best_epoch}, validation cross-entropy {_number(found.best_crossentropy)}"
    if found.phase == OVERFITTING:
        return f"{best}; overfitting since: the gap has grown to {_number(found.gap)}."
    if found.phase == LEARNING:
        return f"{best}; still improving, the gap to training is {_number(found.gap)}."
    if found.phase == LEVEL:
        return f"{best}; no clear change since, the gap to training is {_number(found.gap)}."
    if found.phase == DIVERGED:
        return f"{best}; then the loss stopped being a number."
    return f"{best} so far; too few epochs to say more."


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 1_000 else f"{value:.1e}"
