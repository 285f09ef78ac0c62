"""One run, trained from its config to its demand: plain, synchronous, with no page and no store."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from explorer.config.plan import best_epoch, satisfied
from explorer.config.run_config import Demand, RunConfig
from explorer.data.splits import Prepared
from explorer.training import graph_loop
from explorer.training.epoch_metrics import kernels_of, weight_size

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
        arrays: weights, batch-norm statistics, seed-generator states and optimizer variables, in Keras's order; none
            before the first epoch, where the seed says it all.
        best: the network's own arrays after the epoch with the lowest validation cross-entropy, the first ones of
            `arrays` there, for as long as its test score is still to be taken; `None` where that is this very epoch,
            and where nothing is to be taken.
    """

    epoch: int
    arrays: list[np.ndarray]
    best: list[np.ndarray] | None = None


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
    device: str = "cpu",
    way: Callable[..., Any] = graph_loop.TrainingSession,
) -> Outcome:
    """Train until every demand is met, and score the test set then: as the last epoch left the network, and as the
    best one did.

    The same config gives the same numbers to the last bit on one device and thread count, whether trained in
    one go or continued from any `State`.

    Args:
        config: what is trained.
        data: what it is trained on.
        demands: asked before each epoch, so that a demand may grow while the run trains.
        emit: is told `("phase", {phase})`, `("progress", {epoch, step, steps})`, `("epoch", {epoch, loss,
            accuracy, train_crossentropy, train_accuracy, val_loss, val_crossentropy, val_accuracy, penalty,
            weights, zeros, seconds})` and `("score", {epoch, test_crossentropy, test_accuracy})`, of the epoch with the
            lowest validation cross-entropy, where that is another and is not known yet, before that of the last one.
        should_stop: asked after each batch.
        keep: is given the state after each epoch; may store it or not.
        resume: where to go on.
        known: validation cross-entropy of the epochs up to `resume`.
        device: `cpu` or `gpu:N`, as it has been prepared.
        way: how the data are fed and measured: `graph_loop.TrainingSession`, or that of `tests.reference.plain` to
            compare with.

    Returns:
        `Outcome`.
    """
    emit("phase", {"phase": "building"})
    course = way(config, data, device)
    if resume is not None and resume.epoch:
        restore(course, resume)
    # Nobody but the recorder is to hold a state: those of large networks take as much memory as all the rest.
    recorder = _Recorder(course, emit, should_stop, demands, keep, resume or State(0, []), known)
    resume = None
    try:
        if not recorder.enough():
            emit("phase", {"phase": "training"})
        while not recorder.enough():
            longest = max(demand.epochs for demand in demands())
            course.model.fit(
                course.dataset(), callbacks=[recorder], verbose=0, shuffle=False, initial_epoch=recorder.epoch,
                epochs=max(longest, recorder.epoch + 1))
        emit("phase", {"phase": "testing"})
        last = None if recorder.diverged else recorder.score(config)
        best = recorder.best_score(config)
        for score in filter(None, (best, last)):
            emit("score", score)
        # Whatever is trained later, these scores are known: the best weights are of no use any more.
        return Outcome("diverged" if recorder.diverged else "finished", replace(recorder.state, best=None))
    except _Stopped:
        return Outcome("stopped", recorder.state)


def capture(course: Any, epoch: int) -> State:
    """The state of a run at the end of an epoch."""
    # `numpy()` copies; by Keras's own way there would be a second copy, and large networks have no room for it.
    return State(epoch, [np.asarray(variable.value.numpy()) for variable in _variables(course)])


def restore(course: Any, state: State) -> None:
    """Put a state back.

    Raises:
        ValueError: the state belongs to another architecture.
    """
    variables = _variables(course)
    if [tuple(v.shape) for v in variables] != [array.shape for array in state.arrays]:
        raise ValueError("the state belongs to another architecture")
    for variable, array in zip(variables, state.arrays, strict=True):
        variable.assign(array)


class Best:
    """The epoch with the lowest validation cross-entropy so far, and the network as it was then.

    The weights are held, not measured: the test set is touched when a run ends and no earlier. A state is never changed
    once it is made, so that holding them takes no time; it takes the memory of the weights a second time, without the
    optimizer's numbers.

    Args:
        start: where the run goes on; its best weights are its own where its last epoch is the best one.
        known: validation cross-entropy of the epochs up to there.
        own: how many of a state's arrays are the network's own.
    """

    def __init__(self, start: State, known: Sequence[float | None], own: int):
        self._own, self._value = own, math.inf
        self.epoch, self.arrays = best_epoch(known) or 0, None
        if self.epoch:
            self._value = known[self.epoch - 1]
            self.arrays = start.arrays[:own] if self.epoch == start.epoch else start.best

    def see(self, epoch: int, value: float | None, arrays: Sequence[np.ndarray], is_shared: bool = False) -> None:
        """Hold the network as it is after an epoch, if that is the best so far.

        Args:
            arrays: of its state.
            is_shared: whether they are views of what others have too, which would be held along with them.
        """
        if value is not None and value < self._value:
            self.epoch, self._value = epoch, value
            self.arrays = [np.array(array) if is_shared else array for array in arrays[:self._own]]

    def before(self, epoch: int) -> list[np.ndarray] | None:
        """The weights to be kept along with the state after an epoch; `None` where they are in it."""
        return self.arrays if self.epoch < epoch else None


def scored(epoch: int, found: Sequence[float]) -> dict[str, Any]:
    """The test score after an epoch, of cross-entropy and accuracy."""
    return {"epoch": epoch, "test_crossentropy": float(found[0]), "test_accuracy": float(found[1])}


def _own(course: Any) -> list[Any]:
    # The network's own: weights, batch-norm statistics, seed generators; metrics start afresh each epoch.
    metrics = {id(variable) for variable in course.model.metrics_variables}
    return [v for v in course.network.variables if id(v) not in metrics]


def _variables(course: Any) -> list[Any]:
    return _own(course) + list(course.model.optimizer.variables)


class _Recorder(keras.callbacks.Callback):
    """Turns Keras's logs into events and ends `fit` when it is time."""

    def __init__(self, course: Any, emit: Emit, should_stop: Callable[[], bool],
                 demands: Callable[[], Sequence[Demand]], keep: Callable[[State], None], start: State,
                 known: Sequence[float | None]):
        super().__init__()
        self.course, self.emit, self.demands, self.keep, self.should_stop = course, emit, demands, keep, should_stop
        self.state, self.known, self.last, self.diverged = start, list(known[: start.epoch]), {}, False
        self._told = -math.inf
        self._own = len(_own(course))
        self._best = Best(start, self.known, self._own)

    @property
    def epoch(self) -> int:
        """Complete epochs so far."""
        return self.state.epoch

    def enough(self) -> bool:
        """Whether nothing is left to train."""
        return self.diverged or satisfied(self.known, self.demands())

    def score(self, config: RunConfig) -> dict[str, Any]:
        """The test score of the last complete epoch."""
        if config.validation == "test" and self.last:
            return scored(self.epoch, (self.last["val_crossentropy"], self.last["val_accuracy"]))
        return scored(self.epoch, self.course.measure("test", self.leave_if_asked))

    def best_score(self, config: RunConfig) -> dict[str, Any] | None:
        """The test score of the best epoch; afterwards the network is as it was then.

        Returns:
            `None` where that is the last one, where its weights are not known, and where it is validated on the test
            set, so that each epoch tells its score itself.
        """
        best = self._best.before(self.epoch)
        if best is None or config.validation == "test":
            return None
        for variable, array in zip(_own(self.course), best, strict=True):
            variable.assign(array)
        # Where training has broken down it has ended, whoever asks for a stop now: it stays what it is.
        ask = (lambda: None) if self.diverged else self.leave_if_asked
        return scored(self._best.epoch, self.course.measure("test", ask))

    def leave_if_asked(self) -> None:
        if self.should_stop():
            raise _Stopped

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._began = time.perf_counter()
        self._progress(0)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.leave_if_asked()
        self._progress(min((batch + 1) * self.course.steps_a_call, self.course.steps))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        # Keras's own training loss is a running mean with dropout on; for a fair gap both sides are measured alike.
        train_crossentropy, train_accuracy = self.course.measure("train", self.leave_if_asked)
        val_crossentropy, val_accuracy = self.course.measure("validation", self.leave_if_asked)
        penalty = float(sum(float(loss) for loss in self.course.network.losses))
        state = capture(self.course, epoch + 1)
        self.last = {
            "epoch": epoch + 1,
            "loss": float(logs["loss"]),
            "accuracy": float(logs["accuracy"]),
            "train_crossentropy": train_crossentropy,
            "train_accuracy": train_accuracy,
            "val_loss": val_crossentropy + penalty,  # as Keras prints it
            "val_crossentropy": val_crossentropy,
            "val_accuracy": val_accuracy,
            "penalty": penalty,
            **weight_size(kernels_of(state.arrays, self._own)),
            "seconds": time.perf_counter() - self._began,
        }
        watched = ("loss", "train_crossentropy", "val_crossentropy")
        self.diverged = not all(math.isfinite(self.last[name]) for name in watched)
        self.known.append(val_crossentropy)
        self._best.see(epoch + 1, val_crossentropy, state.arrays)
        self.state = replace(state, best=self._best.before(epoch + 1))
        # Told before it is kept: a checkpoint never runs ahead of the epochs that are stored.
        self.emit("epoch", self.last)
        self.keep(self.state)
        if self.enough():
            self.model.stop_training = True

    def _progress(self, step: int) -> None:
        now = time.perf_counter()
        if now - self._told < PROGRESS_SECONDS:
            return
        self._told = now
        self.emit("progress", {"epoch": self.epoch + 1, "step": step, "steps": self.course.steps})
