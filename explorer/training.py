"""One run, trained from its config to its demand: plain, synchronous, with no page and no store."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from explorer.batches import Batches, fit_order
from explorer.config import Demand, RunConfig
from explorer.data.prepare import Prepared
from explorer.model import build
from explorer.stopping import satisfied

Emit = Callable[[str, dict[str, Any]], None]

# Progress inside an epoch is for eyes: more often than this, nobody sees it.
PROGRESS_SECONDS = 0.1


class _Stopped(Exception):
    """Raised inside `fit` to leave it within one batch."""


@dataclass(frozen=True)
class State:
    """All that a run needs to go on as if it had never been interrupted.

    Attributes:
        epoch: complete epochs behind it.
        arrays: weights, batch-norm statistics, seed-generator states and optimizer variables, in Keras's order.
    """

    epoch: int
    arrays: list[np.ndarray]


@dataclass(frozen=True)
class Outcome:
    """How training ended.

    Attributes:
        reason: `finished`, `stopped` or `diverged`.
        state: at the end of the last complete epoch.
    """

    reason: str
    state: State


def train(
    config: RunConfig,
    data: Prepared,
    demands: Callable[[], Sequence[Demand]],
    emit: Emit,
    should_stop: Callable[[], bool],
    keep: Callable[[State], None] = lambda state: None,
    resume: State | None = None,
    known: Sequence[float | None] = (),
) -> Outcome:
    """Train until every demand is met, and score the test set then.

    The same config gives the same numbers to the last bit on one device and thread count, whether trained in
    one go or continued from any `State`.

    Args:
        config: what is trained.
        data: what it is trained on.
        demands: asked before each epoch, so that a demand may grow while the run trains.
        emit: is told `("phase", {phase})`, `("progress", {epoch, step, steps})`, `("epoch", {epoch, loss,
            accuracy, train_crossentropy, train_accuracy, val_loss, val_crossentropy, val_accuracy, penalty,
            seconds})` and `("score", {epoch, test_crossentropy, test_accuracy})`.
        should_stop: asked after each batch.
        keep: is given the state after each epoch; may store it or not.
        resume: where to go on.
        known: validation cross-entropy of the epochs up to `resume`.

    Returns:
        `Outcome`.
    """
    emit("phase", {"phase": "building"})
    model = build(config)
    binary = config.outputs == 1
    fitted = Batches(data.train, config.batch_size, binary=binary, order=fit_order(len(data.train)))
    validation = Batches(data.validation, config.batch_size, binary=binary)
    # Slots made now belong to the state from the first epoch on.
    model.optimizer.build(model.trainable_variables)
    if resume is not None:
        restore(model, resume)
    start = capture(model, resume.epoch if resume else 0)
    recorder = _Recorder(fitted, emit, should_stop, demands, keep, start, list(known[: start.epoch]))
    try:
        if not recorder.enough():
            emit("phase", {"phase": "training"})
            most = max(demand.epochs for demand in demands())
            while not recorder.enough():
                model.fit(
                    fitted.dataset(), validation_data=validation.dataset(), callbacks=[recorder], verbose=0,
                    shuffle=False, initial_epoch=recorder.epoch, epochs=max(most, recorder.epoch + 1),
                )
                most = max(demand.epochs for demand in demands())
        if recorder.diverged:
            return Outcome("diverged", recorder.state)
        emit("phase", {"phase": "testing"})
        emit("score", {"epoch": recorder.epoch, **_score(model, config, data, recorder)})
        return Outcome("finished", recorder.state)
    except _Stopped:
        return Outcome("stopped", recorder.state)


def capture(model: keras.Model, epoch: int) -> State:
    """The state of a model at the end of an epoch."""
    return State(epoch, [np.array(variable) for variable in _variables(model)])


def restore(model: keras.Model, state: State) -> None:
    """Put a state back.

    Raises:
        ValueError: the state belongs to another architecture.
    """
    variables = _variables(model)
    if [tuple(v.shape) for v in variables] != [array.shape for array in state.arrays]:
        raise ValueError("the state belongs to another architecture")
    for variable, array in zip(variables, state.arrays, strict=True):
        variable.assign(array)


def _variables(model: keras.Model) -> list[Any]:
    # Metrics start afresh each epoch and are no state; seed generators (dropout) are.
    metrics = {id(variable) for variable in model.metrics_variables}
    return [v for v in model.variables if id(v) not in metrics] + list(model.optimizer.variables)


def _score(model: keras.Model, config: RunConfig, data: Prepared, recorder: _Recorder) -> dict[str, float]:
    if config.validation == "test" and recorder.last:
        return {"test_crossentropy": recorder.last["val_crossentropy"], "test_accuracy": recorder.last["val_accuracy"]}
    test = Batches(data.test, config.batch_size, binary=config.outputs == 1)
    logs = model.evaluate(test.dataset(), verbose=0, return_dict=True, callbacks=[_StopOnly(recorder.should_stop)])
    return {"test_crossentropy": logs["crossentropy"], "test_accuracy": logs["accuracy"]}


class _StopOnly(keras.callbacks.Callback):
    """Leaves an evaluation within one batch."""

    def __init__(self, should_stop: Callable[[], bool]):
        super().__init__()
        self.should_stop = should_stop

    def on_test_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self.should_stop():
            raise _Stopped


class _Recorder(_StopOnly):
    """Turns Keras's logs into events and ends `fit` when it is time."""

    def __init__(self, fitted: Batches, emit: Emit, should_stop: Callable[[], bool],
                 demands: Callable[[], Sequence[Demand]], keep: Callable[[State], None], start: State,
                 known: list[float | None]):
        super().__init__(should_stop)
        self.fitted, self.emit, self.demands, self.keep = fitted, emit, demands, keep
        self.state, self.known, self.last, self.diverged = start, known, {}, False
        self._training_data = fitted.dataset()
        self._told = 0.0

    @property
    def epoch(self) -> int:
        """Complete epochs so far."""
        return self.state.epoch

    def enough(self) -> bool:
        """Whether nothing is left to train."""
        return self.diverged or satisfied(self.known, self.demands())

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._began = time.perf_counter()
        self._progress(0)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        if self.should_stop():
            raise _Stopped
        if time.perf_counter() - self._told > PROGRESS_SECONDS:
            self._progress(batch + 1)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        logs = dict(logs or {})
        # Keras's own training loss is a running mean with dropout on; for a fair gap both sides are measured alike.
        fair = self.model.evaluate(
            self._training_data, verbose=0, return_dict=True, callbacks=[_StopOnly(self.should_stop)])
        self.last = {
            "epoch": epoch + 1,
            "loss": logs["loss"],
            "accuracy": logs["accuracy"],
            "train_crossentropy": fair["crossentropy"],
            "train_accuracy": fair["accuracy"],
            "val_loss": logs["val_loss"],
            "val_crossentropy": logs["val_crossentropy"],
            "val_accuracy": logs["val_accuracy"],
            "penalty": float(sum(float(loss) for loss in self.model.losses)),
            "seconds": time.perf_counter() - self._began,
        }
        watched = ("loss", "train_crossentropy", "val_crossentropy")
        self.diverged = not all(math.isfinite(self.last[name]) for name in watched)
        self.known.append(self.last["val_crossentropy"])
        self.state = capture(self.model, epoch + 1)
        # Told before it is kept: a checkpoint never runs ahead of the epochs that are stored.
        self.emit("epoch", self.last)
        self.keep(self.state)
        if self.enough():
            self.model.stop_training = True

    def _progress(self, step: int) -> None:
        self._told = time.perf_counter()
        self.emit("progress", {"epoch": self.epoch + 1, "step": step, "steps": self.fitted.steps})
