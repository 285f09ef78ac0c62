"""One run on its way into the store: what is told of it, its checkpoints, whether it is to stop, how it ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.store import checkpoints
from explorer.store.leases import lives
from explorer.store.models import diverged
from explorer.store.sqlite import insist
from explorer.store.store import DIVERGED, FINISHED, INTERRUPTED, STOPPED, RunStore, StaleAttempt
from explorer.workers.channel import WorkerChannel
from explorer.workers.remote_store import RemoteStore

# Checkpoints may take up to this share of the training time, and come no oftener than this: what a run has learnt since
# the last one is learnt again where it goes on after its process has been killed.
CHECKPOINT_SHARE, CHECKPOINT_SECONDS = 0.03, 0.25


class RunRecorder:
    """One run of a job on its way into the store: what is told of it, whether it is to stop, how it ends.

    Args:
        company: how many runs the job trains together; checkpoints of all of them share the time that one may take.
    """

    def __init__(self, store: RunStore | RemoteStore, settings: Settings, line: WorkerChannel, run_id: str,
                 attempt: int, config: RunConfig, company: int = 1):
        self.store, self.settings, self._line = store, settings, line
        self.run_id, self.attempt, self.config = run_id, attempt, config
        kept = partial(store.kept, run_id, attempt) if isinstance(store, RemoteStore) else None
        self.keeper = CheckpointSaver(settings, run_id, CHECKPOINT_SHARE / company, kept)
        self._began = time.monotonic()
        self._phase, self._scores, self._is_closed = "", {}, False

    def demands(self) -> Sequence[Demand]:
        return insist(self.store.run, self.run_id).demands

    def emit(self, kind: str, values: dict[str, Any]) -> None:
        """As `explorer.training.train.train` tells it; what another attempt has taken over is told to nobody."""
        if self._is_closed:
            return
        key = (self.run_id, self.attempt)
        try:
            if kind == "phase":
                self._phase = values["phase"]
                insist(self.store.write_progress, *key, self._phase, {})
            elif kind == "progress":
                insist(self.store.write_progress, *key, self._phase, values)
            elif kind == "device":
                insist(self.store.write_device, *key, values["device"], values["threads"])
            elif kind == "epoch":
                insist(self.store.write_epoch, *key, values)
            else:
                self._scores[values["epoch"]] = values  # stored with the end, see `RunStore.end`
        except StaleAttempt:
            self._is_closed = True

    def should_stop(self) -> bool:
        over_time = time.monotonic() - self._began > self.settings.max_seconds
        return self._is_closed or over_time or self._line.asked((self.run_id, self.attempt)) is not None

    def is_wanted(self) -> bool:
        """Whether the run is still to be trained; one that is to stop before its training has begun is closed."""
        said = self._line.asked((self.run_id, self.attempt))
        if said:
            self.close(said, farewell(said), obeyed=True)
        return not self._is_closed

    def end(self, outcome: Any) -> None:
        """Keep the last state and close the run as it ended; one that is closed is somebody else's by now."""
        if self._is_closed:
            return
        message = self.keeper.finish(outcome.state)
        said = self._line.asked((self.run_id, self.attempt))
        if outcome.reason == "finished":
            self.close(FINISHED, message, scored=outcome.state.epoch)
        elif outcome.reason == "diverged":
            self.close(DIVERGED, diverged(self.config, outcome.state.epoch), scored=outcome.state.epoch)
        elif said:
            self.close(said, message or farewell(said), obeyed=True)
        else:
            self.close(STOPPED, f"Stopped after {self.settings.max_seconds:,} seconds, the most one run may train "
                                "at a time here; Continue goes on from there.")

    def close(self, status: str, message: str, obeyed: bool = False, scored: int = 0) -> None:
        """Leave the end of the run in the store, once.

        Args:
            scored: the last epoch of a run whose test scores have been taken.
        """
        if not self._is_closed:
            self._is_closed = True
            if status == INTERRUPTED and self._engine_lives():
                return  # the process between has died, or is about to end: the engine knows which, and says so
            best = [score for epoch, score in self._scores.items() if epoch < scored]
            insist(self.store.end, self.run_id, self.attempt, status, message, peak_mb(), obeyed,
                   self._scores.get(scored), *best)

    def _engine_lives(self) -> bool:
        if isinstance(self.store, RemoteStore):
            return False
        run = insist(self.store.run, self.run_id)
        return bool(run) and lives(self.store.database, self.settings.engines, run.owner)


class CheckpointSaver:
    """Keeps checkpoints as often as they cost little, and at the end.

    Args:
        share: of the training time that they may take.
        kept: is told the epoch of each that is kept.
    """

    def __init__(self, settings: Settings, run_id: str, share: float = CHECKPOINT_SHARE,
                 kept: Callable[[int], None] | None = None):
        self._settings, self._run_id, self._share, self._tell = settings, run_id, share, kept
        self._kept, self._cost, self._last = -1, 0.0, time.monotonic()
        self._failure = ""

    def __call__(self, state: Any) -> None:
        passed = time.monotonic() - self._last
        if passed >= CHECKPOINT_SECONDS and passed * self._share >= self._cost:
            self._save(state)

    def finish(self, state: Any) -> str:
        """Keep the last state. Returns: a message where it could not be kept, else an empty text."""
        if state.epoch != self._kept and state.epoch > 0:
            self._save(state)
        return self._failure

    def _save(self, state: Any) -> None:
        began = time.monotonic()
        try:
            checkpoints.save(self._settings.checkpoints, self._run_id, state.epoch, state.arrays, state.best)
            self._kept, self._failure = state.epoch, ""
            if self._tell:  # on another machine, where no engine makes room
                checkpoints.prune(self._settings.checkpoints, self._settings.checkpoint_mb, {self._run_id})
                self._tell(state.epoch)
        except OSError as error:
            self._failure = (f"The checkpoint could not be kept ({error.strerror}): the curve is stored, but "
                             "going on will start from the first epoch. Free some disk space.")
        self._last = time.monotonic()
        self._cost = self._last - began


def farewell(said: str) -> str:
    """What is said of a run that ends before its time."""
    return "The explorer ended while this run was training." if said == INTERRUPTED else ""


def peak_mb() -> float:
    """Largest resident memory of this process so far, in megabytes; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
