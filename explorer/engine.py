"""The engine: takes requests, keeps the queue moving, and sees to it that no run is left hanging."""

from __future__ import annotations

import json
import math
import signal
import sqlite3
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from explorer import data, devices, stacking, waiting
from explorer.child import job_of
from explorer.config import Demand, RunConfig, library_versions
from explorer.devices import DeviceError, Hardware
from explorer.fields import plain
from explorer.limits import require
from explorer.owners import Owner, is_alive
from explorer.settings import Settings
from explorer.sight import Sight, Sights
from explorer.store import FAILED, INTERRUPTED, QUEUED, RUNNING, STOPPED, Run, RunStore
from explorer.view import DONE, View, look
from explorer.wall import Wall
from explorer.worker_process import WorkerProcess

TICK_SECONDS = 0.1
# While nothing of its own runs, an engine looks this often for what other programs have queued.
IDLE_SECONDS = 0.5
# A child that has not obeyed a stop for so long is killed.
GRACE_SECONDS = 15.0
# A worker that dies again and again without having begun a run is started ever more slowly, and after so many
# deaths the runs that wait for it are given up.
MOST_DEATHS = 3
# What killed processes left half-written is removed when it is so old.
LEFTOVER_SECONDS = 86_400
# Places and estimates are told as of so many seconds ago at most, from measurements no older than the second number.
FORECAST_SECONDS = 1.0
PACES_SECONDS = 5.0
# Finished runs from which paces are taken, the latest.
MOST_MEASURED = 300
LONGEST_PAUSE = 60.0


class QueueFull(RuntimeError):
    """More runs wait than this installation allows, of all or of one person."""


@dataclass
class _Charge:
    """A run that this engine's worker has in hand; runs of one job are trained together."""

    job: int
    device: str
    stop_sent: float | None = None
    killed: bool = False
    pid: int = 0


class Engine:
    """One for each process that wants runs trained; several may share a store.

    Only the engine's own thread touches its runs in hand: what the worker says is put into its post.

    Args:
        settings: folders and limits.
        warm: start the worker at once, so that it is warm when the first run comes; without, it is started with
            the first run that this engine takes.
        own_only: take no runs but those submitted here; for a program that will not stay.
    """

    def __init__(self, settings: Settings, *, warm: bool = True, own_only: bool = False):
        self.settings = settings
        self.store = RunStore(settings.store_path)
        self.wall = Wall(self.store.latest, self.run_id)
        self._sights = Sights(self.store.snapshot)
        self.hardware: Hardware | None = None
        _sweep(settings)
        self._owners = settings.home / "engines"
        self._owner = Owner(self._owners)
        self._own_only, self._mine = own_only, set()
        # By run and attempt: the process of one attempt may outlive the store's word that it has ended.
        self._charges: dict[tuple[str, int], _Charge] = {}
        self._last_job, self._asking = 0, threading.Lock()
        self._forecasts: dict[str, tuple[int, float | None]] = {}
        self._paces, self._forecast_until, self._paces_until = waiting.Paces([]), 0.0, 0.0
        self._post: deque[dict[str, Any]] = deque()
        self._wake, self._closing = threading.Event(), threading.Event()
        self._worker: WorkerProcess | None = None
        self._deaths, self._not_before = 0, 0.0
        self._warm_at = time.monotonic() if warm else math.inf
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)
        self._thread.start()

    @property
    def is_broken(self) -> bool:
        """Whether the training process does not start, so that nothing can be trained."""
        return self.hardware is None and self._deaths >= MOST_DEATHS

    # -- what the page and the command line ask -------------------------------------------------------

    def run_id(self, config: RunConfig) -> str:
        """Identity of a run with the data that lie on this machine."""
        return config.run_id(data.version(config.dataset, self.settings))

    def submit(self, config: RunConfig, demand: Demand, person: str = "") -> str:
        """Ask for a run: it is trained as far as it is not known yet.

        Args:
            person: who asks; the queue is fair among them. This program itself by default.

        Returns:
            Its `run_id`.

        Raises:
            FieldError: a limit of this installation is exceeded.
            DeviceError: the machine has no such device.
            QueueFull: too many runs wait, of all or of this person. What is known, waits already or trains
                counts for nothing.
        """
        return self.submit_all([config], demand, person)[0]

    def submit_all(self, configs: Sequence[RunConfig], demand: Demand, person: str = "") -> list[str]:
        """Ask for several runs at once, all or none of them; see `submit`.

        Runs that share data and shapes are then trained together.
        """
        for config in configs:
            require(config, demand, self.settings)
        if self.hardware:
            devices.choose(demand.device, self.hardware, allowed=self.settings.device)
        run_ids = [self.run_id(config) for config in configs]
        wanted, more = {}, 0
        for run_id, config in zip(run_ids, configs, strict=True):
            run, epochs, scores = self.store.snapshot(run_id)
            if look(run, epochs, scores, demand).state != DONE and run_id not in wanted:
                wanted[run_id] = config
                more += not (run and run.is_live)
        person = person or self._owner.name
        with self._asking:  # the queue is dealt out when all are in it
            if more:
                self._require_room(more, person)
            for run_id, config in wanted.items():
                self._mine.add(run_id)
                self.store.request(run_id, config, demand, library_versions(), person)
        if wanted:
            self._wake.set()
        return run_ids

    def look(self, run_id: str, demand: Demand) -> View:
        """How a run stands with regard to what is wanted of it."""
        return self.view(run_id, self.sight(run_id, fresh=True), demand)

    def sight(self, run_id: str, fresh: bool = False) -> Sight:
        """A run as it was a moment ago, for who follows it; the store is read once for all who do."""
        return self._sights.of(run_id, fresh)

    def view(self, run_id: str, sight: Sight, demand: Demand) -> View:
        """How a run that has been seen stands with regard to what is wanted of it."""
        view = sight.view(demand)
        return view.at_place(*self._forecast(run_id)) if view.state == QUEUED else view

    def stop(self, run_id: str) -> None:
        """Stop a run within one batch; what was reached is kept."""
        self.store.ask_to_stop(run_id)
        self._wake.set()

    def close(self) -> None:
        """End the worker and leave the store in order; runs in hand are kept as interrupted."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._wake.set()
        self._thread.join()
        if self._worker:
            self._worker.close()
        self.store.interrupt(self._owner.name, "The explorer was closed while this run was training.")
        self._owner.release()
        self.store.close()

    def _require_room(self, more: int, person: str) -> None:
        queued, most = self.store.waiting(), self.settings.max_queue
        if queued + more > most:
            raise QueueFull(f"{plain(queued)} runs are waiting, and {plain(most)} may wait here. "
                            "Try again in a while.")
        own, most = self.store.waiting_for(person), self.settings.max_queued_per_person
        if own + more > most:
            raise QueueFull(f"Expected at most {plain(most)} waiting runs of one person, received {plain(more)} more "
                            f"beside {plain(own)} that wait. Wait until some of them are trained, stop some, or ask "
                            "for fewer.")

    def _forecast(self, run_id: str) -> tuple[int, float | None]:
        """The place of a waiting run and the seconds until its turn, as of a moment ago: many look, again and again."""
        now = time.monotonic()
        if now >= self._paces_until:
            self._paces_until, self._paces = now + PACES_SECONDS, waiting.Paces(self.store.measured(MOST_MEASURED))
        if now >= self._forecast_until or run_id not in self._forecasts:
            training, queued = self.store.queue(self.settings.max_running_per_person)
            self._forecasts = waiting.forecast(training, queued, self._paces, self.settings.runs_at_once)
            self._forecast_until = now + FORECAST_SECONDS
        return self._forecasts.get(run_id, (0, None))

    # -- the loop -------------------------------------------------------------------------------------

    def _loop(self) -> None:
        next_recovery = 0.0
        while not self._closing.is_set():
            try:
                self._read_post()
                if time.monotonic() >= next_recovery:
                    self._recover()
                    next_recovery = time.monotonic() + 5
                if self._worker is None and time.monotonic() >= max(self._warm_at, self._not_before):
                    self._start_worker()
                with self._asking:
                    self._take_on()
                self._pass_stops_on()
            except Exception as error:
                # Another program may hold the store, the disk be full, processes run short: the queue waits, it is
                # not lost, and this thread must outlive it all.
                if not isinstance(error, sqlite3.Error):
                    traceback.print_exc()
                print(f"explorer: trying again in a second ({error})", file=sys.stderr)
                self._closing.wait(1)
            self._wake.wait(TICK_SECONDS if self._charges else IDLE_SECONDS)
            self._wake.clear()

    def _take_on(self) -> None:
        while len(self._jobs()) < self.settings.runs_at_once and not self._closing.is_set():
            if self._worker is None or self.hardware is None:
                mine = self._mine if self._own_only else None
                if self._worker is None and time.monotonic() >= self._not_before and self.store.any_waiting(mine):
                    self._start_worker()
                if not self.is_broken:
                    return
            only = self._mine if self._own_only else None
            run = self.store.claim(self._owner.name, only, self.settings.max_running_per_person)
            if run is None:
                return
            rivals = self.store.rivals(run.run_id, only)
            # A turn is one place while others wait, and a share of the stack in it: see `explorer.turns`.
            places = 1 if rivals else self.settings.runs_at_once - len(self._jobs())
            mates = [] if self.is_broken else self.store.claim_alike(
                self._owner.name, run, partial(stacking.alike, run), stacking.MOST_MEMBERS * places - 1,
                stacking.share(rivals) if rivals else None, only)
            if self.store.any_waiting(only):
                places = 1  # for others a place is to stay free
            shares = stacking.shares([run, *mates], places)
            for share in shares:
                self._start(share, max(1, self.settings.threads // min(places, len(shares))))

    def _start(self, runs: list[Run], threads: int) -> None:
        if self.is_broken:
            self._fail(runs, f"The training process does not start: see {self.settings.home / 'worker.log'}, and what "
                             "python -m explorer doctor says.")
            return
        wanted = runs[0].demands[-1].device if runs[0].demands else "auto"
        try:
            device = devices.choose(wanted, self.hardware, self._jobs().values(), self.settings.device)
        except DeviceError as error:
            self._fail(runs, str(error))
            return
        self._last_job += 1
        for run in runs:
            self._charges[run.run_id, run.attempt] = _Charge(self._last_job, device)
        job = job_of(runs, device, self.hardware.label(device), threads, self.settings)
        if not self._worker.say(do="train", job=job):
            for run in runs:
                self._lost((run.run_id, run.attempt), "The training process ended before this run began.")

    def _fail(self, runs: list[Run], why: str) -> None:
        for run in runs:
            self.store.end(run.run_id, run.attempt, FAILED, why)

    def _jobs(self) -> dict[int, str]:
        """The device of each job in hand."""
        return {charge.job: charge.device for charge in self._charges.values()}

    def _pass_stops_on(self) -> None:
        for (run_id, attempt), charge in self._charges.items():
            if self._worker is None:
                return
            if charge.stop_sent is None:
                run = self.store.run(run_id)
                if run and run.stop and run.attempt == attempt:
                    charge.stop_sent = time.monotonic()
                    self._worker.say(do="stop", run_id=run_id, attempt=attempt)
            elif not charge.killed and time.monotonic() - charge.stop_sent > GRACE_SECONDS:
                run = self.store.run(run_id)
                if run is None or run.attempt != attempt or run.status != RUNNING:
                    continue  # it has obeyed; others of its job are still being trained
                charge.killed = True
                self._worker.say(do="kill", run_id=run_id, attempt=attempt)

    def _recover(self) -> None:
        for owner in self.store.owners():
            if owner != self._owner.name and not is_alive(self._owners, owner):
                self.store.interrupt(owner, "The explorer ended while this run was training.")

    # -- the worker -----------------------------------------------------------------------------------

    def _start_worker(self) -> None:
        # A worker that is started ahead of the first run has the time to prepare the data that a page opens with.
        ahead = ["ahead"] if self._warm_at < math.inf else []
        self._worker = WorkerProcess(
            self.settings.home / "worker.log", [json.dumps(self.settings.as_dict()), *ahead], self._hear)

    def _hear(self, message: dict[str, Any]) -> None:
        self._post.append(message)
        self._wake.set()

    def _read_post(self) -> None:
        while self._post:
            # Taken off only when it has been dealt with: where the store could not be written, it comes again.
            self._heed(self._post[0])
            self._post.popleft()

    def _heed(self, message: dict[str, Any]) -> None:
        event = message["event"]
        if event == "ready":
            self.hardware = Hardware.from_dict(message["hardware"])
        elif event == "started":
            self._deaths = 0
            charge = self._charges.get((message["run_id"], message["attempt"]))
            if charge:
                charge.pid = message["pid"]
        elif event == "ended":
            self._ended(message["run_id"], message["attempt"], message["code"])
        elif event == "died":
            for key in list(self._charges):
                self._lost(key, f"The process that trains {_cause(message['code'])}.")
            self._worker = None
            self._deaths += 1
            self._not_before = time.monotonic() + min(LONGEST_PAUSE, 0.5 * 2**self._deaths)

    def _ended(self, run_id: str, attempt: int, code: int) -> None:
        charge = self._charges.get((run_id, attempt))
        if charge is None:
            return
        if charge.killed:
            self.store.end(run_id, attempt, STOPPED,
                           "Training did not answer and was ended; what was reached is kept.")
        elif code != 0:
            self.store.end(run_id, attempt, FAILED, f"The training process {_cause(code)}. {_KEPT}")
        else:
            # An orderly child has closed its run already; this is for one that could not reach the store.
            self.store.end(run_id, attempt, FAILED, f"The training process ended without a result. {_KEPT}")
        del self._charges[run_id, attempt]

    def _lost(self, key: tuple[str, int], why: str) -> None:
        if self._charges[key].pid == 0 and self._deaths <= MOST_DEATHS:
            self.store.put_back(*key)  # it never began: its turn comes again, and nobody need know
        else:
            self.store.end(*key, INTERRUPTED, f"{why} {_KEPT}")
        del self._charges[key]


def _sweep(settings: Settings) -> None:
    for folder in (settings.cache, settings.checkpoints):
        for path in folder.glob("*.part"):
            try:
                if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                    path.unlink()
            except OSError:
                continue  # another engine sweeps too


_KEPT = "Every finished epoch is kept; Continue goes on from there."


def _cause(code: int) -> str:
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        return f"was killed (signal {-code}, {name})"
    return f"ended unexpectedly (exit code {code})"
