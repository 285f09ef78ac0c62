"""The engine: takes requests, keeps the queue moving, and starts the worker anew when it dies."""

from __future__ import annotations

import json
import math
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any

from explorer import data
from explorer.config.cost_model import suits_card
from explorer.config.limits import require
from explorer.config.run_config import Demand, RunConfig, library_versions
from explorer.config.settings import Settings
from explorer.config.stacking import MAX_MEMBERS
from explorer.engine import eta, failure_messages, scheduler
from explorer.engine.jobs import JobTable
from explorer.engine.recent_runs import RecentRuns
from explorer.engine.run_view import DONE, RunView, look
from explorer.engine.snapshots import RunSnapshot, SnapshotCache
from explorer.store import checkpoints
from explorer.store.leases import new_lease
from explorer.store.queue import QueueFull
from explorer.store.sqlite import STORE_ERRORS
from explorer.store.store import FAILED, QUEUED, RUNNING, STOPPED, Run, RunStore
from explorer.workers import devices, remote_store
from explorer.workers.client import WorkerProcess
from explorer.workers.dask import client as dask_client
from explorer.workers.dask.client import DaskCluster
from explorer.workers.devices import DeviceError, Hardware
from explorer.workers.trainer import job_of

__all__ = ["Engine", "QueueFull"]

TICK_SECONDS = 0.1
# While nothing of its own runs, an engine looks this often for what other programs have queued.
IDLE_SECONDS = 0.5
# A worker that dies again and again without having begun a run is started ever more slowly, and after so many
# deaths the runs that wait for it are given up.
MAX_DEATHS = 3
# What killed processes left half-written is removed when it is so old.
LEFTOVER_SECONDS = 86_400
# Finished runs from which paces are taken, the latest.
MAX_MEASURED = 300
MAX_PAUSE = 60.0


class Engine:
    """One for each process that wants runs trained; several may share a store.

    Only the engine's own thread takes on runs and lets them go: what the worker says is put into its post. A second
    thread watches those in hand. It only reads the store, so that nothing keeps it from ending what hangs.

    Args:
        settings: folders and limits.
        warm: start the worker at once, so that it is warm when the first run comes; without, it is started with
            the first run that this engine takes.
        own_only: take no runs but those submitted here; for a program that will not stay.
        may_set_aside: whether this is a server's start, in which a damaged store is set aside and a new one begun.
        protected: asked for the runs that go last where room runs out, if anything has to go.

    Attributes:
        places: runs trained side by side; on a cluster as many as its workers offer.
        forecasts: where waiting runs stand.
        is_ready: whether there is a worker, and it has said that it is ready.
        trouble: why nothing goes on just now, empty while all is well.
    """

    def __init__(self, settings: Settings, *, warm: bool = True, own_only: bool = False, may_set_aside: bool = False,
                 protected: Callable[[Settings], Collection[str]] = lambda settings: ()):
        self.settings = settings
        self._protected = partial(protected, settings)
        if settings.scheduler:
            dask_client.require()
        self.places = 0 if settings.scheduler else settings.runs_at_once
        settings.home.mkdir(parents=True, exist_ok=True)
        self.store = RunStore(settings.store_place, may_set_aside=may_set_aside)
        self.wall = RecentRuns(self.store.latest, self.run_id)
        self._sights = SnapshotCache(self.store.snapshot)
        self.hardware: Hardware | None = None
        _sweep(settings)
        self._owner = new_lease(self.store.database, settings.engines)
        self._own_only, self._mine = own_only, set()
        self._charges, self._asking = JobTable(self.store, settings), threading.Lock()
        self.forecasts = eta.EtaEstimator(
            partial(self.store.queue, settings.max_running_per_person), partial(self.store.measured, MAX_MEASURED),
            lambda: self.places)
        self._post: deque[dict[str, Any]] = deque()
        self.trouble = ""
        self._wake, self._look, self._closing = threading.Event(), threading.Event(), threading.Event()
        self._worker: WorkerProcess | DaskCluster | None = None
        # How many workers have died since one was ready, or has begun a run.
        self.is_ready, self._deaths = False, 0
        self._not_before, self._why_broken = 0.0, ""
        self._warm_at = time.monotonic() if warm else math.inf
        self._threads = [threading.Thread(target=loop, name=name, daemon=True)
                         for name, loop in (("engine", self._loop), ("watch", self._watch))]
        for thread in self._threads:
            thread.start()

    @property
    def is_broken(self) -> bool:
        """Whether the training process does not start, or no longer does, so that nothing can be trained.

        What waits is then given up, and so is what is asked for until it starts again. Only where a cluster has been
        there and is gone for a while, runs wait for it: `why_broken` says so.
        """
        is_missing = self.hardware is None if self.settings.scheduler else not self.is_ready
        return is_missing and self._deaths >= MAX_DEATHS

    @property
    def why_broken(self) -> str:
        """Why the cluster cannot be used, where runs are sent to one that is not there or no longer there."""
        return self._why_broken if self.is_broken or (self.hardware and not self.places) else ""

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
        """Ask for several runs alike, all or none of them; see `submit_each`."""
        return self.submit_each([(config, demand) for config in configs], person)

    def submit_each(self, asked: Sequence[tuple[RunConfig, Demand]], person: str = "") -> list[str]:
        """Ask for several runs at once, each as far as it is wanted, all or none of them; see `submit`.

        Runs that share data and shapes are then trained together.
        """
        for config, demand in asked:
            require(config, demand, self.settings)
            if self.hardware:
                devices.choose(demand.device, self.hardware, allowed=self.settings.device)
        run_ids = [self.run_id(config) for config, _ in asked]
        wanted = {(run_id, demand): config for run_id, (config, demand) in zip(run_ids, asked, strict=True)
                  if look(*self.store.snapshot(run_id), demand).state != DONE}
        if wanted:
            with self._asking:  # what is this program's own is known to be so before the queue is dealt out
                self.store.request_all([(run_id, config, demand) for (run_id, demand), config in wanted.items()],
                                       library_versions(), person or self._owner.name, self.settings.max_queue,
                                       self.settings.max_queued_per_person)
                if self._own_only:
                    self._mine.update(run_id for run_id, _ in wanted)
            self._wake.set()
        return run_ids

    def look(self, run_id: str, demand: Demand) -> RunView:
        """How a run stands with regard to what is wanted of it."""
        return self.view(run_id, self.sight(run_id, fresh=True), demand)

    def sight(self, run_id: str, fresh: bool = False) -> RunSnapshot:
        """A run as it was a moment ago, for who follows it; the store is read once for all who do."""
        return self._sights.of(run_id, fresh)

    def view(self, run_id: str, sight: RunSnapshot, demand: Demand) -> RunView:
        """How a run that has been seen stands with regard to what is wanted of it."""
        view = sight.view(demand)
        return view.at_place(*self.forecasts.of(run_id)) if view.state == QUEUED else view

    def stop(self, run_id: str) -> None:
        """Stop a run within one batch; what was reached is kept."""
        self.store.ask_to_stop(run_id)
        self._look.set()

    def close(self) -> None:
        """End the worker and leave the store in order; runs in hand are kept as interrupted."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._wake.set()
        self._look.set()
        for thread in self._threads:
            thread.join()
        if self._worker:
            self._worker.close()
        try:
            for message in list(self._post):
                # Those that end because they were told to are interrupted, and not stopped.
                if message["event"] == "told" and message.get("values", {}).get("status") != STOPPED:
                    self._heed_or_give_up(message)
            self.store.interrupt(self._owner.name, "The explorer was closed while this run was training.")
        except STORE_ERRORS as error:  # the next engine will do it
            _complain(f"explorer: {getattr(error, 'why', error)}")
        finally:
            self._owner.release()
            self.store.close()

    # -- the loop -------------------------------------------------------------------------------------

    def _loop(self) -> None:
        next_recovery = 0.0
        while not self._closing.is_set():
            try:
                self._owner.keep()
                self._read_post()
                if time.monotonic() >= next_recovery:
                    self._recover()
                    self._make_room()
                    next_recovery = time.monotonic() + 5
                if self._worker is None and time.monotonic() >= max(self._warm_at, self._not_before):
                    self._start_worker()
                with self._asking:
                    self._take_on()
                self.trouble = ""
            except Exception as error:
                self.trouble = str(error) if isinstance(error, STORE_ERRORS) else ""
                # Another program may hold the store, the disk be full, processes run short: the queue waits, it is
                # not lost, and this thread must outlive it all.
                if not isinstance(error, STORE_ERRORS):
                    _complain(traceback.format_exc())
                _complain(f"explorer: trying again in a second ({getattr(error, 'why', error)})")
                self._closing.wait(1)
            self._wake.wait(TICK_SECONDS if self._charges else IDLE_SECONDS)
            self._wake.clear()

    def _watch(self) -> None:
        # As long as the engine's own thread: that may be waiting for what is to be ended here.
        while not self._closing.is_set() or self._threads[0].is_alive():
            worker = self._worker  # it may be gone in a moment
            try:
                if worker:
                    self._charges.look_after(worker, self._post)
            except STORE_ERRORS:
                pass  # the engine's own thread has the same trouble, and says so
            except Exception:  # this thread, too, must outlive it all
                _complain(traceback.format_exc())
            self._look.wait(TICK_SECONDS if self._charges else IDLE_SECONDS)
            self._look.clear()

    def _take_on(self) -> None:
        while (len(self._charges.devices()) < self.places or self.is_broken) and not self._closing.is_set():
            if self._worker is None or self.hardware is None:
                mine = self._mine if self._own_only else None
                if self._worker is None and time.monotonic() >= self._not_before and self.store.any_waiting(mine):
                    self._start_worker()
                if not self.is_broken:
                    return
            # Where training does not start, what other servers have asked for is left to them.
            only = self._mine if self._own_only or (self.settings.store and self.is_broken) else None
            run = self.store.claim(self._owner.name, only, self.settings.max_running_per_person, self._fits)
            if run is None:
                return
            rivals = self.store.rivals(run.run_id, only)
            # A turn is one place while others wait, and a share of the stack in it: see `explorer.store.fair_queue`.
            places = 1 if rivals else max(1, self.places - len(self._charges.devices()))
            mates = [] if self.is_broken else self.store.claim_alike(
                self._owner.name, run, partial(self._goes_with, run), MAX_MEMBERS * places - 1,
                scheduler.share(rivals) if rivals else None, only)
            if self.store.any_waiting(only):
                places = 1  # for others a place is to stay free
            shares = scheduler.shares([run, *mates], places)
            for share in shares:
                self._start(share, max(1, self.settings.threads // min(places, len(shares))))

    def _fits(self, run: Run) -> bool:
        """Whether this machine can train a run: on a database that it shares with others, one of the data and the
        libraries that it has, for a device that it has."""
        if not self.settings.store or run.run_id in self._mine:
            return True
        try:
            if self.hardware and run.demands:
                devices.choose(run.demands[-1].device, self.hardware, allowed=self.settings.device)
        except DeviceError:
            return False
        return data.present(run.config.dataset, self.settings) and self.run_id(run.config) == run.run_id

    def _goes_with(self, run: Run, other: Run) -> bool:
        return scheduler.alike(run, other) and self._fits(other)

    def _start(self, runs: list[Run], threads: int) -> None:
        if self.is_broken:
            self._fail(runs, self._why_broken or f"The training process does not start: see "
                       f"{self.settings.home / 'worker.log'}, and what python -m explorer doctor says.")
            return
        wanted = runs[0].demands[-1].device if runs[0].demands else "auto"
        try:
            device = devices.choose(wanted, self.hardware, self._charges.devices(), self.settings.device,
                                    suits_card([run.config for run in runs], self.hardware.cores))
        except DeviceError as error:
            self._fail(runs, str(error))
            return
        job = job_of(runs, device, self.hardware.label(device), threads, self.settings)
        if self.settings.scheduler:
            job = remote_store.brief(job, runs, self.store)
            job |= {"device": "auto" if wanted == "auto" and self.settings.device == "any" else device,
                    "data": data.version(runs[0].config.dataset, self.settings)}
        was_heard = self._worker.say(do="train", job=job)
        self._charges.take(runs, device)  # a stop can be passed on from now, and comes after the job
        self._look.set()
        if not was_heard:
            self._charges.lose("The training process ended before this run began.", self._deaths <= MAX_DEATHS,
                               [(run.run_id, run.attempt) for run in runs])

    def _fail(self, runs: list[Run], why: str) -> None:
        for run in runs:
            self.store.end(run.run_id, run.attempt, FAILED, why)

    def _recover(self) -> None:
        for owner in self.store.owners():
            if owner == self._owner.name:
                self._take_up_dropped()
            elif not self._owner.is_alive(owner):
                self.store.interrupt(owner, "The explorer ended while this run was training.")

    def _take_up_dropped(self) -> None:
        """Put back what was claimed and never begun, because the store went away between the two."""
        for run in self.store.with_status(RUNNING):
            if run.owner == self._owner.name and (run.run_id, run.attempt) not in self._charges:
                self.store.put_back(run.run_id, run.attempt)

    def _make_room(self) -> None:
        """Hold the store, the checkpoints and the log to their limits."""
        for run_id in self.store.prune(self.settings.max_runs, self._protected):
            checkpoints.delete(self.settings.checkpoints, run_id)
        running = self._charges.run_ids()
        checkpoints.prune(self.settings.checkpoints, self.settings.checkpoint_mb, running, self._protected)
        if self._worker:
            self._worker.trim()

    # -- the worker -----------------------------------------------------------------------------------

    def _start_worker(self) -> None:
        if self.settings.scheduler:
            self._worker = DaskCluster(self.settings, self._hear)
            return
        # A worker that is started ahead of the first run has the time to prepare the data that a page opens with.
        words = [*(["ahead"] if self._warm_at < math.inf else []), *(["database"] if self.settings.store else [])]
        try:
            self._worker = WorkerProcess(
                self.settings.home / "worker.log", [json.dumps(self.settings.as_dict()), *words], self._hear)
        except OSError as error:  # no more processes, no memory, no log: as bad as one that dies at once
            _complain(f"explorer: the training process cannot be started ({error})")
            self._bury(1)

    def _hear(self, message: dict[str, Any]) -> None:
        self._post.append(message)
        self._wake.set()

    def _read_post(self) -> None:
        while self._post:
            # Taken off only when it has been dealt with: where the store could not be written, it comes again.
            self._heed_or_give_up(self._post[0])
            self._post.popleft()

    def _heed_or_give_up(self, message: dict[str, Any]) -> None:
        try:
            self._heed(message)
        except STORE_ERRORS:
            raise
        except Exception:  # it would come again for ever, and nothing else be read
            _complain(traceback.format_exc())
            self._charges.give_up(message)

    def _heed(self, message: dict[str, Any]) -> None:
        event = message["event"]
        if event == "ready":
            self.hardware = Hardware.from_dict(message["hardware"])
            self.is_ready, self._why_broken = True, ""
            self.places = message.get("places", self.places)
            # One that has been handed a run before it was ready has yet to show that it can begin it.
            if "places" in message or not len(self._charges):
                self._deaths = 0
        elif event == "started":
            self._deaths = 0
            self._charges.started(message)
        elif event == "told":
            self._charges.told(message, self._worker)
        elif event == "lost":
            self._charges.lost(message)
        elif event == "ended":
            self._charges.ended(message)
        elif event == "died":
            if message.get("why", "") not in ("", self._why_broken):
                _complain(f"explorer: {message['why']}")
            self._bury(message["code"], message.get("why", ""))

    def _bury(self, code: int, why: str = "") -> None:
        """The worker has died: let its runs go, and wait the longer before another is started the more have died."""
        self._why_broken = why
        self._charges.lose(why or failure_messages.of_worker(code), self._deaths <= MAX_DEATHS)
        self._worker, self.is_ready = None, False
        if self.settings.scheduler:
            self.places = 0
        self._deaths += 1
        self._not_before = time.monotonic() + min(MAX_PAUSE, 0.5 * 2**self._deaths)


def _complain(text: str) -> None:
    """Tell the operator; the log may lie on the very disk that is full, or nobody read it any more."""
    try:
        print(text, file=sys.stderr)
    except (OSError, ValueError):
        pass


def _sweep(settings: Settings) -> None:
    for folder in (settings.cache, settings.checkpoints):
        for path in folder.glob("*.part"):
            try:
                if time.time() - path.stat().st_mtime > LEFTOVER_SECONDS:
                    path.unlink()
            except OSError:
                continue  # another engine sweeps too
