"""The engine's connection to a Dask cluster, with the interface of `explorer.workers.client`.

Dask places nothing by itself here: each job goes to a worker that is free, as a task that holds the worker's
resources (`TRAIN`, for graphics cards `GPU` too). What a run tells comes through the scheduler as it happens; what gets
lost on the way is asked for again. The worker's side is `explorer.workers.dask.remote`.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from explorer.config.fields import plain
from explorer.config.settings import SettingError, Settings
from explorer.workers.dask import remote as dask_remote
from explorer.workers.dask.job import PREFIX, DaskJob, brief
from explorer.workers.dask.mailbox import Message
from explorer.workers.devices import Gpu, Hardware

CONNECT_SECONDS = 10.0
# The cluster is looked at so often, and an answer of its scheduler is awaited so long.
WATCH_SECONDS, ANSWER_SECONDS = 0.5, 10.0
# A job that finds no place looks for one again so soon: the last one's task ends a moment after its run.
PLACE_SECONDS = 0.05
# So long a cluster may be without any worker that trains before that is said.
NO_WORKER_SECONDS = 20.0
# How long runs may take to end when the engine closes.
FAREWELL_SECONDS = 8.0

class _Trouble(Exception):
    """The cluster cannot be used; the message says why and what to do."""


def require() -> None:
    """Raises: SettingError: what speaks to a cluster is not installed."""
    if importlib.util.find_spec("distributed") is None:
        raise SettingError("EXPLORER_SCHEDULER: expected the package distributed to be installed, found none. Run: "
                           "pip install 'distributed>=2025.1', or start without EXPLORER_SCHEDULER.")


@dataclass(eq=False)
class DaskWorkerInfo:
    """A Dask worker.

    Attributes:
        birth: another one after it has been started anew at the same address.
        offers: its resources.
        hardware: what it has; `None` until it has said so.
        refusal: why it is not used.
        used: when it was last given a job, counted in jobs.
    """

    address: str
    birth: str
    offers: dict[str, float]
    hardware: Hardware | None = None
    refusal: str = ""
    used: int = 0


class DaskCluster:
    """One connection to the cluster; it ends with the scheduler, and the engine makes another.

    Args:
        settings: with the scheduler's address.
        hear: is called with each message, in a thread of its own: `ready` with the hardware and the number of places as
            often as these change, `started`, `told` (see `remote_store.write`) and `ended` of each run, `lost` of
            one that must be trained elsewhere, and at the end `died` with the reason.
    """

    def __init__(self, settings: Settings, hear: Callable[[Message], None]):
        self.settings, self.hear = settings, hear
        self._topic = PREFIX + uuid.uuid4().hex
        self.client: Any = None
        self._line: Any = None
        self._workers: dict[str, DaskWorkerInfo] = {}
        self._jobs: dict[str, DaskJob] = {}
        self._tasks: set[asyncio.Task] = set()
        self._last_worker: dict[str, str] = {}
        self._told: Any = None
        self._given = 0
        self._over, self._lock = False, threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._closing, self._changed = asyncio.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)
        self._thread.start()

    def say(self, do: str, **order: Any) -> bool:
        """Send an order. Returns: whether the cluster was there to take it."""
        with self._lock:
            if self._over:
                return False
            self._loop.call_soon_threadsafe(self._obey, do, order)
            return True

    def kill(self) -> None:
        """Nothing: a job whose process does not even end is lost with its lease, and takes nothing else with it."""

    def trim(self) -> None:
        """Nothing: the logs are its workers' own."""

    def close(self, patience: float = 10.0) -> None:
        """Stop what trains and leave; checkpoints are brought home first."""
        with self._lock:
            if not self._over:
                self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(FAREWELL_SECONDS + patience)

    # -- the connection -------------------------------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        why = "The Dask cluster was left."
        try:
            self._loop.run_until_complete(self._live())
        except _Trouble as trouble:
            why = str(trouble)
        except Exception as error:
            why = self._silence(error)
        with self._lock:
            self._over = True
        self.hear({"event": "died", "code": 0, "why": why})
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _silence(self, error: BaseException) -> str:
        return (f"The Dask scheduler at {self.settings.scheduler} (EXPLORER_SCHEDULER) does not answer "
                f"({brief(error)}): start it, or start without EXPLORER_SCHEDULER.")

    async def _live(self) -> None:
        from distributed import Client

        self.client = Client(self.settings.scheduler, asynchronous=True, timeout=CONNECT_SECONDS,
                             set_as_default=False, name="explorer")
        try:
            await asyncio.wait_for(self.client, CONNECT_SECONDS + 5)
            self._line = self.client.scheduler_comm
            self.client.subscribe_topic(self._topic, self._receive)
            await self._watch()
            await self._take_leave()
        finally:
            while self._tasks:
                for task in self._tasks:
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)
            try:
                await asyncio.wait_for(self.client.close(), 5)
            except Exception:  # the scheduler is gone
                pass

    async def _watch(self) -> None:
        deadline = time.monotonic() + NO_WORKER_SECONDS
        while not self._closing.is_set():
            if not self.is_connected:
                raise ConnectionError("the connection has ended")
            found = await self._ask(self.client.scheduler.identity())
            self._compare(found["workers"])
            usable = [one for one in self._workers.values() if one.hardware]
            if usable or self._told or any(not one.refusal for one in self._workers.values()):
                deadline = time.monotonic() + NO_WORKER_SECONDS
            elif time.monotonic() > deadline:
                raise _Trouble(self._no_worker())
            self._tell_of(usable)
            try:
                await asyncio.wait_for(self._closing.wait(), WATCH_SECONDS)
            except TimeoutError:
                pass

    @property
    def is_connected(self) -> bool:
        """Whether the scheduler is the one that jobs were given to, and hears."""
        # A client connects anew by itself, and the scheduler then knows nothing of what it had asked for.
        return self.client.status == "running" and self.client.scheduler_comm is self._line

    def _no_worker(self) -> str:
        refusals = [one.refusal for one in self._workers.values() if one.refusal]
        return (f"The Dask cluster at {self.settings.scheduler} (EXPLORER_SCHEDULER) has no worker that trains"
                + (f" ({refusals[0]})" if refusals else "")
                + f": start one with dask worker {self.settings.scheduler} --resources TRAIN=1.")

    def _compare(self, found: dict[str, dict[str, Any]]) -> None:
        """Greet workers that have come, and lose the jobs of those that have gone."""
        births = {address: f"{about['id']} {about.get('local_directory')}" for address, about in found.items()
                  if about["resources"].get("TRAIN", 0) >= 1}
        for address, worker in list(self._workers.items()):
            if births.get(address) != worker.birth:
                del self._workers[address]
                for job in self._jobs.values():
                    if job.worker is worker:
                        job.lose(f"The Dask worker at {address} has gone.")
        for address, birth in births.items():
            if address not in self._workers:
                self._workers[address] = DaskWorkerInfo(address, birth, dict(found[address]["resources"]))
                self.go(self._greet(self._workers[address]))

    async def _greet(self, worker: DaskWorkerInfo) -> None:
        try:
            answer = await self.call(worker, dask_remote.look, patience=dask_remote.START_SECONDS + ANSWER_SECONDS)
        except Exception as error:
            worker.refusal = f"{worker.address}: {brief(error)}"
        else:
            if answer["versions"] == dask_remote.versions():
                worker.hardware = Hardware.from_dict(answer["hardware"])
                self._changed.set()
                return
            worker.refusal = (f"{worker.address} has other versions, {answer['versions']}, than this machine, "
                              f"{dask_remote.versions()}")
        print(f"explorer: the Dask worker at {worker.refusal}; it is not used", file=sys.stderr)

    def _tell_of(self, usable: list[DaskWorkerInfo]) -> None:
        places = int(sum(worker.offers["TRAIN"] for worker in usable))
        found = (merged(usable), places) if usable else None
        if found and found != self._told:
            self._told = found
            self.hear({"event": "ready", "hardware": found[0].as_dict(), "places": places})
        elif not found and self._told and self._told[1]:
            self._told = (self._told[0], 0)
            self.hear({"event": "ready", "hardware": self._told[0].as_dict(), "places": 0})

    async def _take_leave(self) -> None:
        for job in list(self._jobs.values()):
            for run_id, attempt in list(job.keys):
                job.obey({"do": "stop", "run_id": run_id, "attempt": attempt})
        deadline = time.monotonic() + FAREWELL_SECONDS
        while self._jobs and time.monotonic() < deadline and self.is_connected:
            await asyncio.sleep(0.02)

    # -- orders ---------------------------------------------------------------------------------------

    def _obey(self, do: str, order: dict[str, Any]) -> None:
        if do == "train":
            made = DaskJob(self, order["job"], self._topic)
            self._jobs[made.id] = made
            self.go(self._see_to(made))
            return
        key = order["run_id"], order["attempt"]
        for job in self._jobs.values():
            if key in job.keys:
                job.obey({"do": do, **order})

    async def _see_to(self, job: DaskJob) -> None:
        try:
            await job.tend()
        finally:
            del self._jobs[job.id]
            self._changed.set()

    async def place(self, job: DaskJob) -> DaskWorkerInfo:
        """Give a job to a free worker, when there is one: the one with most room, that had the run last, or rested."""
        while True:
            busy = await self._ask(self.client.scheduler.processing())
            mine = {one.key for one in self._jobs.values()}
            found = []
            for worker in self._workers.values():
                at_work = [one.needs for one in self._jobs.values() if one.worker is worker]
                # Of what other engines have there, only the number is known.
                others = sum(str(key).startswith(PREFIX) and key not in mine for key in busy.get(worker.address, ()))
                free = {name: offered - sum(needs.get(name, 0) for needs in at_work) - others
                        for name, offered in worker.offers.items()}
                if worker.hardware and all(free.get(name, 0) >= need for name, need in job.needs.items()):
                    known = self._last_worker.get(job.order["runs"][0]["run_id"]) == worker.address
                    found.append((-free["TRAIN"], not known, worker.used, worker.address))
            if found:
                worker = self._workers[min(found)[-1]]
                job.worker = worker
                self._given += 1
                worker.used = self._given
                for run in job.order["runs"]:
                    self._last_worker[run["run_id"]] = worker.address
                return worker
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), PLACE_SECONDS)
            except TimeoutError:
                pass

    def _receive(self, event: tuple[float, str]) -> None:
        job_id, number, message = json.loads(event[1])
        job = self._jobs.get(job_id)
        if job:
            job.put(number, message)

    # -- asking ---------------------------------------------------------------------------------------

    async def call(self, worker: DaskWorkerInfo, function: Callable[..., Any], *arguments: Any,
                   patience: float = ANSWER_SECONDS) -> Any:
        """Run a function of `explorer.workers.dask.remote` on a Dask worker.

        Raises:
            TimeoutError: it does not answer in so many seconds.
            Exception: what the function raises, or that there is no way to the worker.
        """
        answers = await asyncio.wait_for(
            self.client.run(function, *arguments, workers=[worker.address]), patience)
        return answers[worker.address]

    async def _ask(self, question: Any) -> Any:
        return await asyncio.wait_for(question, ANSWER_SECONDS)

    def go(self, work: Any) -> None:
        """Do something beside all else; what is not done when the connection ends is left."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def merged(workers: list[DaskWorkerInfo]) -> Hardware:
    """The hardware of a cluster as the page shows it: its processors, and one graphics card that stands for all."""
    found = [worker.hardware for worker in workers]
    cards = sorted({(gpu.name, gpu.memory_mb) for worker in workers if worker.offers.get("GPU")
                    for gpu in worker.hardware.gpus})
    names = " / ".join(sorted({name for name, _ in cards}))
    gpus = (Gpu(0, names, min(memory for _, memory in cards)),) if cards else ()
    cpu = " / ".join(sorted({one.cpu for one in found}))
    return Hardware(f"Dask, {plain(len(found))} × {cpu}", max(one.cores for one in found),
                    max(one.memory_mb for one in found), gpus)
