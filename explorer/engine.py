"""The engine: takes requests, keeps the queue moving, and sees to it that no run is left hanging."""

from __future__ import annotations

import json
import math
import signal
import sqlite3
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

from explorer import data, devices
from explorer.child import job_of
from explorer.config import Demand, RunConfig, library_versions
from explorer.devices import DeviceError, Hardware
from explorer.fields import plain
from explorer.limits import require
from explorer.owners import Owner, is_alive
from explorer.settings import Settings
from explorer.store import FAILED, INTERRUPTED, QUEUED, RUNNING, STOPPED, Run, RunStore
from explorer.view import DONE, View, look
from explorer.worker_process import WorkerProcess

TICK_SECONDS = 0.1
# While nothing of its own runs, an engine looks this often for what other programs have queued.
IDLE_SECONDS = 0.5
# A child that has not obeyed a stop for so long is killed.
GRACE_SECONDS = 15.0
# The page that starts the engine is drawn first: importing TensorFlow takes a core for seconds.
WARM_UP_DELAY = 1.0
# A worker that dies again and again is started ever more slowly, and runs that it never began are given up
# after so many deaths.
MOST_DEATHS = 3
LONGEST_PAUSE = 60.0


class QueueFull(RuntimeError):
    """More runs wait than this installation allows."""


@dataclass
class _Charge:
    """A run that this engine's worker has in hand."""

    device: str
    stop_sent: float | None = None
    killed: bool = False
    pid: int = 0


class Engine:
    """One for each process that wants runs trained; several may share a store.

    Args:
        settings: folders and limits.
        warm: start the worker soon, so that it is warm when the first run comes; without, it is started
            with the first run that this engine takes.
    """

    def __init__(self, settings: Settings, *, warm: bool = True):
        self.settings = settings
        self.store = RunStore(settings.store_path)
        self.hardware: Hardware | None = None
        self._owners = settings.home / "engines"
        self._owner = Owner(self._owners)
        # By run and attempt: the process of one attempt may outlive the store's word that it has ended.
        self._charges: dict[tuple[str, int], _Charge] = {}
        self._lock = threading.RLock()
        self._wake = threading.Event()
        self._closing = False
        self._worker: WorkerProcess | None = None
        self._deaths, self._not_before = 0, 0.0
        self._warm_at = time.monotonic() + WARM_UP_DELAY if warm else math.inf
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)
        self._thread.start()

    # -- what the page and the command line ask -------------------------------------------------------

    def run_id(self, config: RunConfig) -> str:
        """Identity of a run with the data that lie on this machine."""
        return config.run_id(data.version(config.dataset, self.settings))

    def submit(self, config: RunConfig, demand: Demand) -> str:
        """Ask for a run: it is trained as far as it is not known yet.

        Returns:
            Its `run_id`.

        Raises:
            FieldError: a limit of this installation is exceeded.
            DeviceError: the machine has no such device.
            QueueFull: too many runs wait.
        """
        require(config, demand, self.settings)
        if self.hardware:
            devices.choose(demand.device, self.hardware, allowed=self.settings.device)
        run_id = self.run_id(config)
        run, epochs, scores = self.store.snapshot(run_id)
        view = look(run, epochs, scores, demand)
        if view.state == DONE:
            return run_id
        waiting = self.store.counts().get(QUEUED, 0)
        if not (run and run.is_live) and waiting >= self.settings.max_queue:
            raise QueueFull(f"{plain(waiting)} runs are waiting, the most that may wait here. Try again in a while.")
        self.store.request(run_id, config, demand, library_versions())
        self._wake.set()
        return run_id

    def look(self, run_id: str, demand: Demand) -> View:
        """How a run stands with regard to what is wanted of it."""
        view = look(*self.store.snapshot(run_id), demand)
        return view.at_place(self.store.place(run_id)) if view.state == QUEUED else view

    def stop(self, run_id: str) -> None:
        """Stop a run within one batch; what was reached is kept."""
        self.store.ask_to_stop(run_id)
        self._wake.set()

    def close(self) -> None:
        """End the worker and leave the store in order; runs in hand are kept as interrupted."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
        self._wake.set()
        self._thread.join()
        if self._worker:
            self._worker.close()
        self.store.interrupt(self._owner.name, "The explorer was closed while this run was training.")
        self._owner.release()

    # -- the loop -------------------------------------------------------------------------------------

    def _loop(self) -> None:
        next_recovery = 0.0
        while not self._closing:
            try:
                if time.monotonic() >= next_recovery:
                    self._recover()
                    next_recovery = time.monotonic() + 5
                if self._worker is None and time.monotonic() >= max(self._warm_at, self._not_before):
                    self._start_worker()
                self._take_on()
                self._pass_stops_on()
            except sqlite3.Error as error:
                # Another program may hold the store, or the disk be full: the queue waits, it is not lost.
                print(f"explorer: the store cannot be used just now ({error}); trying again", file=sys.stderr)
                time.sleep(1)
            self._wake.wait(TICK_SECONDS if self._charges else IDLE_SECONDS)
            self._wake.clear()

    def _take_on(self) -> None:
        while len(self._charges) < self.settings.runs_at_once:
            if self._worker is None and time.monotonic() < self._not_before:
                return
            run = self.store.claim(self._owner.name)
            if run is None:
                return
            if self._worker is None:
                self._start_worker()
            self._start(run)

    def _start(self, run: Run) -> None:
        with self._lock:
            hardware = self.hardware
        if hardware is None:
            # The worker is still warming up; a device by hand has to wait for it, `auto` goes with it.
            deadline = time.monotonic() + 120
            while self.hardware is None and time.monotonic() < deadline and not self._closing and self._worker:
                time.sleep(0.02)
            hardware = self.hardware
        if hardware is None:
            self.store.end(run.run_id, run.attempt, FAILED,
                           f"The training process did not start; see {self.settings.home / 'worker.log'}.")
            return
        wanted = run.demands[-1].device if run.demands else "auto"
        try:
            device = devices.choose(
                wanted, hardware, (charge.device for charge in self._charges.values()), self.settings.device)
        except DeviceError as error:
            self.store.end(run.run_id, run.attempt, FAILED, str(error))
            return
        with self._lock:
            self._charges[run.run_id, run.attempt] = _Charge(device)
        job = job_of(run.run_id, run.attempt, run.config, device, hardware.label(device), self.settings)
        worker = self._worker
        if worker is None or not worker.say(do="train", job=job):
            self._lost((run.run_id, run.attempt), "The training process ended before this run began.")

    def _pass_stops_on(self) -> None:
        for (run_id, attempt), charge in list(self._charges.items()):
            if charge.stop_sent is None:
                run = self.store.run(run_id)
                if run and run.stop and run.attempt == attempt and self._worker:
                    charge.stop_sent = time.monotonic()
                    self._worker.say(do="stop", run_id=run_id, attempt=attempt)
            elif not charge.killed and time.monotonic() - charge.stop_sent > GRACE_SECONDS and self._worker:
                charge.killed = True
                self._worker.say(do="kill", run_id=run_id, attempt=attempt)

    def _recover(self) -> None:
        for run in self.store.with_status(RUNNING):
            if run.owner != self._owner.name and not is_alive(self._owners, run.owner):
                self.store.interrupt(run.owner, "The explorer ended while this run was training.")

    # -- the worker -----------------------------------------------------------------------------------

    def _start_worker(self) -> None:
        # A worker that is started ahead of the first run has the time to prepare the data that a page opens with.
        ahead = [json.dumps(self.settings.as_dict())] if self._warm_at < math.inf else []
        self._worker = WorkerProcess(self.settings.home / "worker.log", ahead, self._hear)

    def _hear(self, message: dict[str, Any]) -> None:
        event = message["event"]
        if event == "ready":
            self.hardware = Hardware.from_dict(message["hardware"])
            self._deaths = 0
        elif event == "started":
            with self._lock:
                charge = self._charges.get((message["run_id"], message["attempt"]))
                if charge:
                    charge.pid = message["pid"]
        elif event == "ended":
            self._ended(message["run_id"], message["attempt"], message["code"])
        elif event == "died":
            self._worker_died(message["code"])
        self._wake.set()

    def _ended(self, run_id: str, attempt: int, code: int) -> None:
        with self._lock:
            charge = self._charges.pop((run_id, attempt), None)
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

    def _lost(self, key: tuple[str, int], why: str) -> None:
        with self._lock:
            charge = self._charges.pop(key, None)
        if charge is None:
            return
        if charge.pid == 0 and self._deaths <= MOST_DEATHS:
            self.store.put_back(*key)  # it never began: its turn comes again, and nobody need know
        else:
            self.store.end(*key, INTERRUPTED, f"{why} {_KEPT}")

    def _worker_died(self, code: int) -> None:
        with self._lock:
            self._worker = None
            self._deaths += 1
            self._not_before = time.monotonic() + min(LONGEST_PAUSE, 0.5 * 2**self._deaths)
            lost = list(self._charges)
        if self._closing:
            return
        for key in lost:
            self._lost(key, f"The process that trains {_cause(code)}.")


_KEPT = "Every finished epoch is kept; Continue goes on from there."


def _cause(code: int) -> str:
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        return f"was killed (signal {-code}, {name})"
    return f"ended unexpectedly (exit code {code})"
