"""Turns: the step in which rounding alone has a unit on in the fast path and off in the plain one, or the other way.

With some ten thousand sums a step, one of them may be 0 but for rounding. Then a ReLU is on in one path and off in the
other, their gradients differ by a finite amount in that unit, and from there on they train different weights. Whether
that has happened is told here by looking at the sums of both in every step, for networks small enough to keep them.
"""

from __future__ import annotations

import math
from unittest import mock

import keras
import numpy as np

from explorer.config import cost_model
from explorer.config.run_config import RunConfig
from explorer.data.splits import Prepared
from explorer.training import graph_loop
from explorer.training.model import network
from tests.reference import plain

# Sums further apart than this are so by more than rounding; what brought them apart lies at most so many steps back.
APART, SOON = 3e-5, 5


def first_turn(config: RunConfig, prepared: Prepared, epochs: int) -> int | None:
    """The epoch, from 0, in which the two paths come apart, if that is because a sum was 0 but for rounding."""
    network_of_both = network(config)
    sums = keras.Model(network_of_both.inputs, [
        layer.input for layer in network_of_both.layers if isinstance(layer, keras.layers.Activation)])
    course = plain.TrainingSession(config, prepared)
    with mock.patch.object(cost_model, "CALL_WORK", 1):  # each step a call of its own, so that it can be looked at
        states = [before_each_step(way(config, prepared), epochs)
                  for way in (graph_loop.TrainingSession, plain.TrainingSession)]
    assert len(states[0]) == len(states[1]) == epochs * course.steps
    turned = -math.inf
    for step, ((x, _), *both) in enumerate(zip(course.dataset().repeat(epochs), *states)):
        seen = []
        for state in both:
            for variable, value in zip(network_of_both.variables, state, strict=True):
                variable.assign(value)
            seen.append(np.concatenate([np.ravel(z) for z in sums(x, training=True)]))
        if np.abs(seen[0] - seen[1]).max() > APART:
            return int(turned) // course.steps if step - turned <= SOON else None
        if differ(*seen, 1e-6) or config.l1 and any(differ(*pair, 1e-8) for pair in zip(*both) if pair[0].ndim == 2):
            turned = step
    return None


def before_each_step(course, epochs: int) -> list[list[np.ndarray]]:
    """The network's variables before each step."""
    found: list[list[np.ndarray]] = []
    note = keras.callbacks.LambdaCallback()
    note.on_train_batch_begin = lambda batch, logs=None: found.append([np.array(v) for v in course.network.variables])
    course.model.fit(course.dataset(), epochs=epochs, shuffle=False, verbose=0, callbacks=[note])
    return found


def differ(one: np.ndarray, other: np.ndarray, rounding: float) -> bool:
    """Whether some number has another sign here and there, or may have one for rounding."""
    return bool(((one > 0) != (other > 0)).any() or np.abs(one).min() <= rounding)
