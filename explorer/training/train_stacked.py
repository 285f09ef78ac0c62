"""Several runs trained as one stack: each is told, kept, stopped and ended as if it trained alone."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras

from explorer.config.plan import satisfied
from explorer.config.run_config import Demand, RunConfig
from explorer.data.splits import Prepared
from explorer.training.epoch_metrics import kernels_of, weight_size
from explorer.training.stacked import StackedSession
from explorer.training.train import PROGRESS_SECONDS, Best, Emit, Outcome, State, scored


@dataclass(eq=False)
class StackedRun:
    """One run of a stack; the arguments are those of `explorer.training.train.train`.

    Attributes:
        end: is told how the run ended, once, as soon as that is known.
    """

    config: RunConfig
    demands: Callable[[], Sequence[Demand]]
    emit: Emit
    should_stop: Callable[[], bool]
    keep: Callable[[State], None]
    end: Callable[[Outcome], None]
    state: State = field(default_factory=lambda: State(0, []))
    curve: list[float | None] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)
    best: Best | None = None
    is_over: bool = False

    def finish(self, reason: str) -> None:
        self.is_over = True
        self.end(Outcome(reason, self.state))


class _AllOver(Exception):
    """Raised inside `fit` when nobody is left to train for."""


def train(members: Sequence[StackedRun], data: Prepared, device: str = "cpu",
          way: Callable[..., StackedSession] = StackedSession) -> None:
    """Train every member from the first epoch until its own demands are met.

    Args:
        members: runs that agree in `explorer.config.stacking.key`.
        data: what each is trained on.
        device: `cpu` or `gpu:N`, as it has been prepared.
        way: where the stack comes from: `StackedSession`, or `explorer.training.graph_cache.GraphCache.stack`.
    """
    for member in members:
        member.emit("phase", {"phase": "building"})
    stack = way([member.config for member in members], data, device)
    for member in members:
        member.emit("phase", {"phase": "training"})
    recorder = _Recorder(stack, members)
    try:
        while True:
            longest = max(demand.epochs for member in members if not member.is_over for demand in member.demands())
            stack.model.fit(stack.dataset(), callbacks=[recorder], verbose=0, shuffle=False,
                            initial_epoch=recorder.epoch, epochs=max(longest, recorder.epoch + 1))
    except _AllOver:
        return


class _Recorder(keras.callbacks.Callback):
    """As the recorder of a single run, for each member that is not over."""

    def __init__(self, stack: StackedSession, members: Sequence[StackedRun]):
        super().__init__()
        self.stack, self.members = stack, members
        self.epoch, self._told = 0, -math.inf

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._began = time.perf_counter()
        self._progress(0)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self.stop_those_who_ask()
        self._progress(min((batch + 1) * self.stack.steps_a_call, self.stack.steps))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        losses, accuracies = (values.numpy() for values in self.stack.model.running())
        train_part, validation = (self.stack.measure(name, self.stop_those_who_ask) for name in ("train", "validation"))
        penalties = self.stack.model.penalty().numpy()
        self.epoch = epoch + 1
        states = self.stack.states()
        # What all members took together; each would have had its share of the cores.
        seconds = time.perf_counter() - self._began
        for i, member in self._left():
            penalty = float(penalties[i])
            member.last = {
                "epoch": self.epoch,
                "loss": float(losses[i]),
                "accuracy": float(accuracies[i]),
                "train_crossentropy": float(train_part[i, 0]),
                "train_accuracy": float(train_part[i, 1]),
                "val_loss": float(validation[i, 0]) + penalty,
                "val_crossentropy": float(validation[i, 0]),
                "val_accuracy": float(validation[i, 1]),
                "penalty": penalty,
                **weight_size(kernels_of(states[i], self.stack.variables[i])),
                "seconds": seconds / len(self.members),
            }
            member.curve.append(member.last["val_crossentropy"])
            member.best = member.best or Best(member.state, (), self.stack.variables[i])
            # Of what all share, the states are views: held for longer, each would hold the whole.
            member.best.see(self.epoch, member.last["val_crossentropy"], states[i], is_shared=True)
            member.state = State(self.epoch, states[i], member.best.before(self.epoch))
            member.emit("epoch", member.last)
            member.keep(member.state)
        self._end_those_who_are_done()

    def stop_those_who_ask(self) -> None:
        """Stop acts within one batch on its run alone; the others go on."""
        for _, member in self._left():
            if member.should_stop():
                member.finish("stopped")
        self._leave_if_all_over()

    def _end_those_who_are_done(self) -> None:
        watched = ("loss", "train_crossentropy", "val_crossentropy")
        done, lost = [], []
        for i, member in self._left():
            if not all(math.isfinite(member.last[name]) for name in watched):
                lost.append((i, member))
            elif satisfied(member.curve, member.demands()):
                done.append((i, member))
        for i, best, last in self._scores([i for i, _ in done], [i for i, _ in lost]):
            member = self.members[i]
            for score in filter(None, (best, last)):
                member.emit("score", score)
            member.state = replace(member.state, best=None)
            member.finish("finished" if last else "diverged")
        self._leave_if_all_over()

    def _scores(self, done: Sequence[int], lost: Sequence[int]) -> Iterator[tuple[int, Any, Any]]:
        """Of each member that has come to its end: its number, the test score of its best epoch where that is another
        than the last, and that of the last one, which who diverged has not."""
        if not done and not lost:
            return
        on_test = self.members[0].config.validation == "test"
        best = {i: arrays for i in (*done, *lost)
                if not on_test and (arrays := self.members[i].best.before(self.epoch)) is not None}
        last = self.stack.measure("test") if done and not on_test else None
        then = self.stack.measure_with("test", best) if best else None
        for i in (*done, *lost):
            member = self.members[i]
            own = (member.last["val_crossentropy"], member.last["val_accuracy"])
            yield (i, scored(member.best.epoch, then[i]) if i in best else None,
                   None if i in lost else scored(self.epoch, own if on_test else last[i]))

    def _leave_if_all_over(self) -> None:
        if all(member.is_over for member in self.members):
            raise _AllOver

    def _left(self) -> list[tuple[int, StackedRun]]:
        return [(i, member) for i, member in enumerate(self.members) if not member.is_over]

    def _progress(self, step: int) -> None:
        now = time.perf_counter()
        if now - self._told < PROGRESS_SECONDS:
            return
        self._told = now
        for _, member in self._left():
            member.emit("progress", {"epoch": self.epoch + 1, "step": step, "steps": self.stack.steps})
