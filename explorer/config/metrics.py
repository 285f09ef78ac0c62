"""The numbers that are recorded at every epoch."""

from __future__ import annotations

# One row an epoch. Cross-entropy and accuracy of both sides are measured in inference mode, without the
# penalty; `loss` and `accuracy` are Keras's own running means while training, with dropout on. `weights` is the sum of
# the absolute kernel weights, `zeros` the share of them that are near zero.
COLUMNS = (
    "epoch", "loss", "accuracy", "train_crossentropy", "train_accuracy",
    "val_loss", "val_crossentropy", "val_accuracy", "penalty", "weights", "zeros", "seconds",
)
# What Keras prints for each of the measured columns.
PRINTED = {"train_crossentropy": "loss", "train_accuracy": "accuracy", "val_crossentropy": "val_loss"}
# Smaller weights count as near zero. Gradient steps bring none to exactly zero and keep it there: with an L1 penalty
# each step overshoots by up to the learning rate, 0.001 by default, and the next one comes back.
NEAR_ZERO = 1e-3
