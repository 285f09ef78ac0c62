"""What runs on a Dask worker: it keeps one warm training process, gives it jobs, and tells what comes of them.

The engine's side is `dask.client`. The training process is `workers.fork_server`, as on the page's own machine: a
child that hangs or dies never takes the Dask worker with it, and all of them end when the Dask worker does.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from explorer import data
from explorer.config.cost_model import suits_card
from explorer.config.run_config import TRAINING_VERSION, RunConfig, library_versions
from explorer.config.settings import Settings
from explorer.store import checkpoints
from explorer.store.store import FAILED
from explorer.workers import devices
from explorer.workers.client import WorkerProcess
from explorer.workers.dask.mailbox import Message, Outbox
from explorer.workers.devices import DeviceError, Hardware

# A job that its engine has not asked after for so long is stopped: nobody is left whom it could be told to.
LEASE_SECONDS = 20.0
# One that does not obey then is killed.
GRACE_SECONDS = 15.0
# Importing TensorFlow takes seconds, on a busy machine many.
START_SECONDS = 120.0
# How far a run is inside an epoch is told no oftener.
PROGRESS_SECONDS = 0.25
WATCH_SECONDS = 0.5

Key = tuple[str, int]


@dataclass(eq=False)
class _Job:
    """One job on this Dask worker.

    Attributes:
        keys: by run and attempt as the training process counts them, the attempt as the engine does. Engines with
            stores of their own may ask for the same run at a time.
        orders: for when it has begun.
        over: no run of it is in hand any more.
    """

    outbox: Outbox = field(default_factory=Outbox)
    keys: dict[Key, int] = field(default_factory=dict)
    orders: list[dict[str, Any]] = field(default_factory=list)
    send: Callable[[int, Message], None] = lambda number, message: None
    device: str = ""
    has_begun: bool = False
    over: threading.Event = field(default_factory=threading.Event)
    touched: float = field(default_factory=time.monotonic)
    progress_told: dict[str, tuple[float, str]] = field(default_factory=dict)

    @property
    def is_forsaken(self) -> bool:
        return time.monotonic() - self.touched > LEASE_SECONDS

    def add(self, message: Message) -> None:
        if message.get("tell") == "progress" and self._is_too_soon(message):
            return
        number = self.outbox.add(message)
        try:
            self.send(number, message)
        except Exception:  # the Dask worker is ending; the message is kept
            pass

    def _is_too_soon(self, message: Message) -> bool:
        now, (told, phase) = time.monotonic(), self.progress_told.get(message["run_id"], (0.0, ""))
        if message["values"]["phase"] == phase and now - told < PROGRESS_SECONDS:
            return True
        self.progress_told[message["run_id"]] = now, message["values"]["phase"]
        return False


class DaskTrainer:
    """The warm training process of a Dask worker, and the jobs that it has.

    Args:
        settings: of this machine.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self.jobs: dict[str, _Job] = {}
        self._attempts = itertools.count(1)
        self._lock = threading.RLock()
        self._process: WorkerProcess | None = None
        self._hardware: Hardware | None = None
        self._looked = threading.Event()

    def hardware(self) -> Hardware:
        """What this machine has; starts the training process if need be, and waits until it is ready.

        Raises:
            RuntimeError: it does not start.
        """
        self._start()
        self._looked.wait(START_SECONDS)
        if self._hardware is None:
            raise RuntimeError(f"its training process does not start: see {self.settings.home / 'worker.log'} there")
        if self.settings.device == "cpu":
            return replace(self._hardware, gpus=())
        return self._hardware

    def job(self, job_id: str) -> _Job:
        """The job of that name; one that is heard of for the first time is waited for."""
        with self._lock:
            for other, job in list(self.jobs.items()):
                if not job.has_begun and job.is_forsaken:
                    del self.jobs[other]
            return self.jobs.setdefault(job_id, _Job())

    def train(self, order: dict[str, Any], job: _Job) -> None:
        """Give a job to the training process; its messages go where the job sends them."""
        hardware = self.hardware()
        with self._lock:
            order, device = dict(order), order["device"]
            suits = suits_card([RunConfig.from_json(run["config"]) for run in order["runs"]], hardware.cores)
            if device.startswith("gpu"):
                # Which card of the cluster it is, Dask has decided.
                if not hardware.gpus:
                    raise DeviceError("The Dask worker offers GPU, and TensorFlow finds no graphics card there.")
                device, suits = "auto", True
            job.device = devices.choose(device, hardware, [one.device for one in self.jobs.values()],
                                        self.settings.device, suits)
            settings = replace(self.settings, max_seconds=order.pop("max_seconds"))
            order |= {"device": job.device, "label": hardware.label(job.device), "threads": settings.threads,
                      "settings": settings.as_dict()}
            runs = [{**run, "attempt": next(self._attempts)} for run in order["runs"]]
            job.keys = {(local["run_id"], local["attempt"]): run["attempt"]
                        for local, run in zip(runs, order["runs"], strict=True)}
            order["runs"] = runs
            if not self._say(do="train", job=order):
                self._lose(job)
            for late in job.orders:
                self.pass_on(job, late)
            job.orders = []

    def pass_on(self, job: _Job, order: dict[str, Any]) -> None:
        """Pass an order about one run of a job to the training process."""
        with self._lock:
            if not job.keys and not job.over.is_set():
                job.orders.append(order)
                return
            for (run_id, local), attempt in job.keys.items():
                if (run_id, attempt) == (order["run_id"], order["attempt"]):
                    self._say(**{**order, "attempt": local})

    def end(self, job: _Job, do: str) -> None:
        """Stop or kill all runs of a job."""
        with self._lock:
            for run_id, local in job.keys:
                self._say(do=do, run_id=run_id, attempt=local)

    def _start(self) -> None:
        with self._lock:
            if self._process is None:
                self._looked.clear()
                self._process = WorkerProcess(
                    self.settings.home / "worker.log", [json.dumps(self.settings.as_dict()), "ahead"], self._hear)

    def _say(self, **order: Any) -> bool:
        return self._process is not None and self._process.say(**order)

    def _hear(self, message: Message) -> None:
        with self._lock:
            event = message["event"]
            if event == "ready":
                self._hardware = Hardware.from_dict(message["hardware"])
                self._looked.set()
            elif event == "died":
                self._process = None
                self._looked.set()
                for job in self.jobs.values():
                    if job.keys:
                        self._lose(job)
            else:
                key = message["run_id"], message["attempt"]
                for job in self.jobs.values():
                    if key in job.keys:
                        self._route(job, key, message)

    def _route(self, job: _Job, key: Key, message: Message) -> None:
        job.add({**message, "attempt": job.keys[key]})
        if message["event"] == "ended":
            del job.keys[key]
            if not job.keys:
                job.over.set()

    def _lose(self, job: _Job) -> None:
        job.add({"event": "lost"})
        job.keys.clear()
        job.over.set()


# -- what the engine asks for; each is run by name on one Dask worker ---------------------------------------------

_trainer: DaskTrainer | None = None
_making = threading.Lock()


def trainer() -> DaskTrainer:
    """The one of this process.

    Raises:
        SettingError: an EXPLORER_* variable of this machine cannot be used.
    """
    global _trainer
    with _making:
        if _trainer is None:
            # Where the page's runs are trained is the page's business.
            _trainer = DaskTrainer(replace(Settings.from_environment(), scheduler=""))
        return _trainer


def versions() -> dict[str, Any]:
    """What two machines must have in common for their runs to be the same."""
    return {"training": TRAINING_VERSION, **library_versions()}


async def look() -> dict[str, Any]:
    """What this machine has; starts its training process."""
    hardware = await asyncio.to_thread(trainer().hardware)
    return {"hardware": hardware.as_dict(), "versions": versions()}


async def exchange(job_id: str, seen: int, orders: list[dict[str, Any]]) -> list[tuple[int, Message]]:
    """Ask after a job, and give orders about its runs.

    Args:
        seen: number of the last message that has arrived.

    Returns:
        The messages that have not arrived.
    """
    here = trainer()
    job = here.job(job_id)
    job.touched = time.monotonic()
    for order in orders:
        here.pass_on(job, order)
    return job.outbox.after(seen)


async def held(run_id: str) -> int | None:
    """The epoch of the checkpoint that lies here, if there is one."""
    return await asyncio.to_thread(checkpoints.epoch_of, trainer().settings.checkpoints, _sound(run_id))


async def fetch(run_id: str, most: int) -> bytes | None:
    """The checkpoint's file; nothing where there is none or where it is larger than so many bytes."""
    path = checkpoints.path_of(trainer().settings.checkpoints, _sound(run_id))
    try:
        return None if path.stat().st_size > most else await asyncio.to_thread(path.read_bytes)
    except OSError:
        return None


async def take(run_id: str, content: bytes) -> None:
    """Keep a checkpoint from elsewhere.

    Raises:
        ValueError: it is none of this run.
        OSError: there is no room for it.
    """
    settings = trainer().settings
    await asyncio.to_thread(checkpoints.epoch_in, content, _sound(run_id))
    await asyncio.to_thread(checkpoints.receive, settings.checkpoints, run_id, content)
    await asyncio.to_thread(checkpoints.prune, settings.checkpoints, settings.checkpoint_mb, {run_id})


def train(order: dict[str, Any]) -> list[tuple[int, Message]]:
    """The task: train a job until all its runs have ended, or until its engine is gone.

    Args:
        order: as `explorer.workers.dask.client` makes it.

    Returns:
        The messages that have not arrived.

    Raises:
        RuntimeError: the training process does not start.
    """
    from distributed import get_worker

    worker, here = get_worker(), trainer()
    job = here.job(order["id"])
    if job.has_begun:
        return []  # Dask has started it a second time; the engine has given it up
    job.send = lambda number, message: worker.log_event(order["topic"], json.dumps([order["id"], number, message]))
    job.has_begun, job.touched = True, time.monotonic()
    try:
        why = _refusal(order, here.settings, worker.address)
        if why:
            _fail(job, order, why)
        else:
            try:
                here.train(order, job)
            except DeviceError as error:
                _fail(job, order, str(error))
        ending = 0.0
        while not job.over.wait(WATCH_SECONDS):
            if not ending and (job.is_forsaken or worker.status.name not in ("running", "paused")):
                ending = time.monotonic()
                here.end(job, "stop")
            elif ending and time.monotonic() - ending > GRACE_SECONDS:
                here.end(job, "kill")
        return job.outbox.after(0)
    finally:
        with here._lock:  # what is heard meanwhile looks through them
            here.jobs.pop(order["id"], None)


def _fail(job: _Job, order: dict[str, Any], why: str) -> None:
    for run in order["runs"]:
        about = {"run_id": run["run_id"], "attempt": run["attempt"]}
        job.add({"event": "told", "tell": "end", **about, "values": {"status": FAILED, "message": why}})
        job.add({"event": "ended", **about, "code": 0})
    job.over.set()


def _refusal(order: dict[str, Any], settings: Settings, address: str) -> str:
    """Why the runs would be others here than where they were asked for; an empty text where they are the same."""
    for run in order["runs"]:
        config = RunConfig.from_json(run["config"])
        here = data.version(config.dataset, settings)
        if here != order["data"]:
            return (f"The Dask worker at {address} has other data for {config.dataset} ({here[:12]}) than the page "
                    f"({order['data'][:12]}): give both the same file.")
        if config.run_id(here) != _sound(run["run_id"]):
            return (f"The Dask worker at {address} would train another run ({_told(versions())}) than the page asks "
                    f"for ({_told(order['versions'])}): install the same versions on both.")
    return ""


def _told(found: dict[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _sound(run_id: str) -> str:
    # It becomes the name of a file.
    if not re.fullmatch(r"[0-9a-f]{16}", run_id):
        raise ValueError(f"run_id: expected 16 hexadecimal digits, received {run_id[:40]!r}.")
    return run_id
