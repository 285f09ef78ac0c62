"""The jobs that an engine's worker is running: watched so that none hangs, and how each of them ends."""

from __future__ import annotations

import json
import time
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explorer.config.run_config import Demand
from explorer.config.settings import Settings
from explorer.engine import failure_messages
from explorer.engine.watchdog import StallTimer
from explorer.store.sqlite import MAX_HOLDING_SECONDS
from explorer.store.store import FAILED, INTERRUPTED, RUNNING, STOPPED, Run, RunStore, StaleAttempt
from explorer.workers import remote_store
from explorer.workers.client import WorkerProcess
from explorer.workers.dask.client import DaskCluster

# A child that has not obeyed a stop for so long is killed.
GRACE_SECONDS = 15.0
# A run whose worker on a cluster is lost is given to another, so many times.
MAX_LOSSES = 3

Key = tuple[str, int]


@dataclass
class RunningJob:
    """A run in hand; runs of one job are trained together.

    Attributes:
        stop_sent: when it was told to stop.
        killed: when its process was ended for not answering; `end` is what the run then ends as.
        pid: of that process, once it has begun.
        worker: where it is trained, on a cluster.
        demands: as the process that trains it knows them, on a cluster.
    """

    job: int
    device: str
    stop_sent: float | None = None
    killed: float | None = None
    end: tuple[str, str] = (STOPPED, "")
    pid: int = 0
    worker: str = ""
    demands: tuple[Demand, ...] = ()


class JobTable:
    """The runs in hand, by run and attempt: the process of one attempt may outlive the store's word that it has ended.

    The engine's thread takes runs on and lets them go. `look_after` is for a thread beside it: that only reads the
    store, so that nothing which keeps the engine from writing keeps it from ending what hangs.

    Args:
        store: where the runs are written.
        settings: what a run may take.
    """

    def __init__(self, store: RunStore, settings: Settings):
        self.settings = settings
        self._store = store
        self._charges: dict[Key, RunningJob] = {}
        self._last_job = 0
        self._losses: dict[str, int] = {}
        self._silence, self._holding, self._unheeded = StallTimer(), StallTimer(), StallTimer()

    def __len__(self) -> int:
        return len(self._charges)

    def __contains__(self, key: Key) -> bool:
        return key in self._charges

    def __getitem__(self, key: Key) -> RunningJob:
        return self._charges[key]

    def devices(self) -> list[str]:
        """The device of each job in hand."""
        return list({charge.job: charge.device for charge in self._charges.values()}.values())

    def run_ids(self) -> set[str]:
        """The runs in hand."""
        return {run_id for run_id, _ in self._charges}

    def take(self, runs: Iterable[Run], device: str) -> None:
        """Have the runs of one more job in hand."""
        self._last_job += 1
        for run in runs:
            self._charges[run.run_id, run.attempt] = RunningJob(
                self._last_job, device, demands=run.demands if self.settings.scheduler else ())

    # -- what is heard of them ------------------------------------------------------------------------

    def started(self, message: Mapping[str, Any]) -> None:
        """A process has begun with one."""
        charge = self._charges.get(_key(message))
        if charge:
            charge.pid, charge.worker = message["pid"], message.get("worker", "")

    def told(self, message: Mapping[str, Any], worker: WorkerProcess | DaskCluster | None) -> None:
        """Write what a process tells that has no store; what is no longer in hand is told for nothing."""
        charge = self._charges.get(_key(message))
        if charge is None:
            return
        try:
            remote_store.write(self._store, message)
        except StaleAttempt:
            if charge.stop_sent is None and worker:
                _stop(worker, _key(message), charge)

    def ended(self, message: Mapping[str, Any]) -> None:
        """The process of one has ended; an orderly one has closed its run before."""
        charge = self._charges.get(_key(message))
        if charge is None:
            return
        is_killed = charge.killed is not None
        end = charge.end if is_killed else (FAILED, failure_messages.of_child(message["code"], self.settings))
        # Who asked for it after the stop had been sent is not to be disappointed, see `RunStore.end`.
        self._store.end(*_key(message), *end, obeyed=is_killed and end[0] == STOPPED)
        self._let_go(_key(message))

    def lost(self, message: Mapping[str, Any]) -> None:
        """A cluster's worker went away with one."""
        if _key(message) in self._charges:
            self.lose(message["why"], False, [_key(message)], counts=True)

    def lose(self, why: str, may_begin: bool, keys: Iterable[Key] | None = None, counts: bool = False) -> None:
        """Let some go that went away with their worker, all by default: put back what nobody need know of, end others.

        Args:
            may_begin: whether one that had not begun gets its turn again.
            counts: whether it is a loss, of which a run survives so many only.
        """
        for key in list(self._charges) if keys is None else keys:
            charge, losses = self._charges[key], self._losses.get(key[0], 0) + counts
            if self.settings.scheduler:  # it goes on from its checkpoint
                again = losses <= MAX_LOSSES and charge.stop_sent is None
            else:
                again = may_begin and charge.pid == 0
            if not again:
                self._store.end(*key, INTERRUPTED, f"{why} {failure_messages.KEPT}")
                self._let_go(key)
                continue
            self._store.put_back(*key)
            if losses:
                self._losses[key[0]] = losses
            del self._charges[key]

    def give_up(self, message: Mapping[str, Any]) -> None:
        """End the run that a message is about which nobody understands."""
        key = message.get("run_id"), message.get("attempt")
        if key in self._charges:
            self._store.end(*key, FAILED, failure_messages.NOT_UNDERSTOOD)
            self._let_go(key)

    def clear(self) -> None:
        """Let all go as they are."""
        self._charges.clear()

    def _let_go(self, key: Key) -> None:
        del self._charges[key]
        self._losses.pop(key[0], None)

    # -- watching them --------------------------------------------------------------------------------

    def look_after(self, worker: WorkerProcess | DaskCluster, unread: Iterable[Mapping[str, Any]] = ()) -> None:
        """Pass stops on, and end what answers no more.

        Args:
            worker: what trains them.
            unread: what it has said and the engine has not dealt with yet, because the store cannot be written.
        """
        heard: dict[Key, list[Mapping[str, Any]]] = {}
        for message in list(unread):
            if message.get("event") == "died":
                return
            if "run_id" in message:
                heard.setdefault(_key(message), []).append(message)
        signs: dict[int, list[Hashable]] = {}
        pids: dict[int, int] = {}
        writer = self._store.database.writer() if self._charges else 0
        for key, charge in list(self._charges.items()):
            news = heard.get(key, [])
            if any(message["event"] in ("ended", "lost") for message in news):
                continue  # its process is gone
            pid = charge.pid or next((message["pid"] for message in news if message["event"] == "started"), 0)
            run = self._store.run(key[0])
            is_training = run is not None and run.attempt == key[1] and run.status == RUNNING
            # What waits for a place on a cluster, perhaps behind somebody else's, may be silent.
            if pid or not self.settings.scheduler:
                pids[charge.job] = pid
                signs.setdefault(charge.job, []).append(
                    (is_training, pid, len(news), run and (run.phase, json.dumps(run.progress), run.seconds)))
            if charge.stop_sent is None:
                # One that was given to another, while the database was out of reach, is of no use here any more.
                if run and (run.stop or run.attempt != key[1]):
                    _stop(worker, key, charge)
                elif is_training and charge.demands and run.demands not in (charge.demands, ()):
                    charge.demands = run.demands
                    _say(worker, "demands", key, demands=remote_store.plain(run.demands))
            # One that has obeyed is left alone while others of its job are still being trained; one that another
            # keeps from writing its end has time.
            elif is_training and self._unheeded.seconds(key, "stop", counts=writer in (0, pid)) > GRACE_SECONDS:
                self._kill(worker, charge.job,
                           (STOPPED, "Training did not answer and was ended; what was reached is kept."))
        self._unheeded.keep([key for key, charge in list(self._charges.items()) if charge.stop_sent is not None])
        self._end_the_silent(worker, writer, {job: tuple(sign) for job, sign in signs.items()}, pids)

    def _end_the_silent(self, worker: WorkerProcess | DaskCluster, writer: int, signs: Mapping[int, Hashable],
                        pids: Mapping[int, int]) -> None:
        most = self.settings.max_silent_seconds
        self._silence.keep(signs)
        self._holding.keep([job for job in signs if writer and writer == pids[job]])
        for job, sign in signs.items():
            # Whom another keeps from writing can show nothing.
            is_held_up = writer not in (0, pids[job])
            if self._silence.seconds(job, sign, counts=not is_held_up) > most:
                self._kill(worker, job, (FAILED, failure_messages.of_silence(most)))
            # Who waits for a slow disk does not hang, and could not be ended either.
            elif writer and writer == pids[job] and self._holding.seconds(
                    job, sign, counts=not _waits_for_disk(writer)) > MAX_HOLDING_SECONDS:
                self._kill(worker, job, (FAILED, failure_messages.of_holding(MAX_HOLDING_SECONDS)))

    def _kill(self, worker: WorkerProcess | DaskCluster, job: int, end: tuple[str, str]) -> None:
        """End the process of a job; where the worker does not do so, the worker, and all that it trains."""
        for key, charge in list(self._charges.items()):
            if charge.job != job:
                continue
            if charge.killed is None:
                charge.end, charge.killed = end, time.monotonic()
                _say(worker, "kill", key)
            elif time.monotonic() - charge.killed > GRACE_SECONDS:
                worker.kill()


def _key(message: Mapping[str, Any]) -> Key:
    return message["run_id"], message["attempt"]


def _waits_for_disk(pid: int) -> bool:
    """Whether a process can do nothing, not even end, before the disk has answered."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "D"
    except (OSError, IndexError):
        return False


def _stop(worker: WorkerProcess | DaskCluster, key: Key, charge: RunningJob) -> None:
    charge.stop_sent = time.monotonic()
    _say(worker, "stop", key)


def _say(worker: WorkerProcess | DaskCluster, do: str, key: Key, **more: Any) -> None:
    worker.say(do=do, run_id=key[0], attempt=key[1], **more)
