"""The engine's end of the line to a Dask cluster; it speaks and hears as `explorer.worker_process` does.

Dask places nothing by itself here: each job goes to a worker that is free, as a task that holds the worker's
resources (`TRAIN`, for graphics cards `GPU` too). What a run tells comes through the scheduler as it happens; what gets
lost on the way is asked for again. The worker's side is `explorer.remote`.
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
from dataclasses import dataclass, field
from typing import Any

from explorer import checkpoints, remote
from explorer.child import keys_of
from explorer.devices import Gpu, Hardware
from explorer.fields import plain
from explorer.post import Inbox, Message
from explorer.settings import SettingError, Settings
from explorer.store import STOPPED

CONNECT_SECONDS = 10.0
# The cluster is looked at so often, and an answer of its scheduler is awaited so long.
WATCH_SECONDS, ANSWER_SECONDS = 0.5, 10.0
# Jobs are asked after so often (their lease is `remote.LEASE_SECONDS`); one whose Dask worker has not answered for so
# long is lost: by then its lease is over too.
BEAT_SECONDS, SILENCE_SECONDS = 5.0, 30.0
# So long a cluster may be without any worker that trains before that is said.
NO_WORKER_SECONDS = 20.0
# How long runs may take to end when the engine closes.
FAREWELL_SECONDS = 8.0
# Bringing checkpoints home may take up to this share of the time, and is done no oftener; larger ones stay there.
SHARE, PAUSE_SECONDS, MOST_BYTES = 0.03, 1.0, 512_000_000
PREFIX = "explorer-"

Key = tuple[str, int]


class _Trouble(Exception):
    """The cluster cannot be used; the message says why and what to do."""


def require() -> None:
    """Raises: SettingError: what speaks to a cluster is not installed."""
    if importlib.util.find_spec("distributed") is None:
        raise SettingError("EXPLORER_SCHEDULER: expected the package distributed to be installed, found none. Run: "
                           "pip install 'distributed>=2025.1', or start without EXPLORER_SCHEDULER.")


@dataclass(eq=False)
class _Worker:
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


@dataclass(eq=False)
class _Job:
    """A job in hand.

    Attributes:
        keys: its runs that have not ended.
        needs: resources that it holds.
        reached, kept, home: by run, the epochs told, the last one of which a checkpoint lies on the worker, and the
            last one whose checkpoint has come home.
    """

    id: str
    order: dict[str, Any]
    keys: set[Key]
    needs: dict[str, int]
    worker: _Worker | None = None
    future: Any = None
    inbox: Inbox = field(default_factory=Inbox)
    letters: asyncio.Queue = field(default_factory=asyncio.Queue)
    orders: list[dict[str, Any]] = field(default_factory=list)
    poke: asyncio.Event = field(default_factory=asyncio.Event)
    has_begun: bool = False
    reached: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    home: dict[str, int] = field(default_factory=dict)

    def lose(self, why: str) -> None:
        """Give a job up once all that has been told before is read: its runs are to be trained elsewhere."""
        self.letters.put_nowait({"event": "lost", "why": why})

    def give_up(self, why: str) -> None:
        where = f"at {self.worker.address} " if self.worker else ""
        self.lose(f"The Dask worker {where}gave the run up ({why}).")


class Cluster:
    """One connection to the cluster; it ends with the scheduler, and the engine makes another.

    Args:
        settings: with the scheduler's address.
        hear: is called with each message, in a thread of its own: `ready` with the hardware and the number of places as
            often as these change, `started`, `told` (see `explorer.reporter.write`) and `ended` of each run, `lost` of
            one that must be trained elsewhere, and at the end `died` with the reason.
    """

    def __init__(self, settings: Settings, hear: Callable[[Message], None]):
        self._settings, self._hear = settings, hear
        self._topic = PREFIX + uuid.uuid4().hex
        self._client: Any = None
        self._line: Any = None
        self._workers: dict[str, _Worker] = {}
        self._jobs: dict[str, _Job] = {}
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
        self._hear({"event": "died", "code": 0, "why": why})
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def _silence(self, error: BaseException) -> str:
        return (f"The Dask scheduler at {self._settings.scheduler} (EXPLORER_SCHEDULER) does not answer "
                f"({_brief(error)}): start it, or start without EXPLORER_SCHEDULER.")

    async def _live(self) -> None:
        from distributed import Client

        self._client = Client(self._settings.scheduler, asynchronous=True, timeout=CONNECT_SECONDS,
                              set_as_default=False, name="explorer")
        try:
            await asyncio.wait_for(self._client, CONNECT_SECONDS + 5)
            self._line = self._client.scheduler_comm
            self._client.subscribe_topic(self._topic, self._receive)
            await self._watch()
            await self._take_leave()
        finally:
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            try:
                await asyncio.wait_for(self._client.close(), 5)
            except Exception:  # the scheduler is gone
                pass

    async def _watch(self) -> None:
        deadline = time.monotonic() + NO_WORKER_SECONDS
        while not self._closing.is_set():
            if not self._is_connected:
                raise ConnectionError("the connection has ended")
            found = await self._ask(self._client.scheduler.identity())
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
    def _is_connected(self) -> bool:
        # A client connects anew by itself, and the scheduler then knows nothing of what it had asked for.
        return self._client.status == "running" and self._client.scheduler_comm is self._line

    def _no_worker(self) -> str:
        refusals = [one.refusal for one in self._workers.values() if one.refusal]
        return (f"The Dask cluster at {self._settings.scheduler} (EXPLORER_SCHEDULER) has no worker that trains"
                + (f" ({refusals[0]})" if refusals else "")
                + f": start one with dask worker {self._settings.scheduler} --resources TRAIN=1.")

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
                self._workers[address] = _Worker(address, birth, dict(found[address]["resources"]))
                self._go(self._greet(self._workers[address]))

    async def _greet(self, worker: _Worker) -> None:
        try:
            answer = await self._call(worker, remote.look, patience=remote.START_SECONDS + ANSWER_SECONDS)
        except Exception as error:
            worker.refusal = f"{worker.address}: {_brief(error)}"
        else:
            if answer["versions"] == remote.versions():
                worker.hardware = Hardware.from_dict(answer["hardware"])
                self._changed.set()
                return
            worker.refusal = (f"{worker.address} has other versions, {answer['versions']}, than this machine, "
                              f"{remote.versions()}")
        print(f"explorer: the Dask worker at {worker.refusal}; it is not used", file=sys.stderr)

    def _tell_of(self, usable: list[_Worker]) -> None:
        places = int(sum(worker.offers["TRAIN"] for worker in usable))
        found = (merged(usable), places) if usable else None
        if found and found != self._told:
            self._told = found
            self._hear({"event": "ready", "hardware": found[0].as_dict(), "places": places})
        elif not found and self._told and self._told[1]:
            self._told = (self._told[0], 0)
            self._hear({"event": "ready", "hardware": self._told[0].as_dict(), "places": 0})

    async def _take_leave(self) -> None:
        for job in list(self._jobs.values()):
            for run_id, attempt in list(job.keys):
                self._stop(job, {"do": "stop", "run_id": run_id, "attempt": attempt})
        deadline = time.monotonic() + FAREWELL_SECONDS
        while self._jobs and time.monotonic() < deadline and self._is_connected:
            await asyncio.sleep(0.02)

    # -- orders ---------------------------------------------------------------------------------------

    def _obey(self, do: str, order: dict[str, Any]) -> None:
        if do == "train":
            job = order["job"]
            made = _Job(uuid.uuid4().hex, dict(job), set(keys_of(job)),
                        {"TRAIN": 1, "GPU": 1} if job["device"].startswith("gpu") else {"TRAIN": 1})
            # Folders and all else that this machine is set to are no business of another's.
            made.order |= {"id": made.id, "topic": self._topic, "versions": remote.versions(),
                           "max_seconds": made.order.pop("settings")["max_seconds"]}
            self._jobs[made.id] = made
            self._go(self._tend(made))
            return
        key = order["run_id"], order["attempt"]
        for job in self._jobs.values():
            if key in job.keys:
                if do == "stop":
                    self._stop(job, {"do": do, **order})
                else:
                    self._pass_on(job, {"do": do, **order})

    def _pass_on(self, job: _Job, order: dict[str, Any]) -> None:
        if order["do"] == "demands":
            for run in job.order["runs"]:
                if (run["run_id"], run["attempt"]) == (order["run_id"], order["attempt"]):
                    run["demands"] = order["demands"]
        job.orders.append(order)
        job.poke.set()

    def _stop(self, job: _Job, order: dict[str, Any]) -> None:
        self._pass_on(job, order)
        if not job.has_begun:
            # It waits for a place, perhaps behind somebody else's.
            about = {"run_id": order["run_id"], "attempt": order["attempt"]}
            for message in ({"event": "told", "tell": "end", **about, "values": {"status": STOPPED, "obeyed": True}},
                            {"event": "ended", **about, "code": 0}):
                job.letters.put_nowait(message)

    # -- one job --------------------------------------------------------------------------------------

    async def _tend(self, job: _Job) -> None:
        helpers: list[asyncio.Task] = []
        try:
            helpers.append(asyncio.create_task(self._send(job)))
            await self._read(job)
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            del self._jobs[job.id]
            self._changed.set()
            if job.future is not None:
                job.future.release()  # where it has not begun it never will
                if (job.keys or job.orders) and not self._closing.is_set():
                    self._go(self._say_last(job))

    async def _say_last(self, job: _Job) -> None:
        """Stop what may go on there though it has been given up here; without this it ends with its lease."""
        stops = [{"do": "stop", "run_id": run_id, "attempt": attempt} for run_id, attempt in job.keys]
        try:
            await self._call(job.worker, remote.exchange, job.id, job.inbox.seen, job.orders + stops)
        except Exception:
            pass

    async def _send(self, job: _Job) -> None:
        """Give a job to a worker, and attend to it there."""
        try:
            worker = await self._place(job)
            if len(job.order["runs"]) == 1:
                await self._send_checkpoint(worker, job.order["runs"][0])
            job.future = self._client.submit(
                _task(), job.order, key=PREFIX + job.id, workers=[worker.address], allow_other_workers=False,
                resources=job.needs, pure=False, retries=0)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._await_result(job))
                group.create_task(self._ask_after(job))
                group.create_task(self._bring_home(job))
        except asyncio.CancelledError:
            raise
        except Exception as error:
            job.give_up(_brief(error))

    async def _place(self, job: _Job) -> _Worker:
        while True:
            busy = await self._ask(self._client.scheduler.processing())
            mine = {PREFIX + one.id for one in self._jobs.values()}
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
                await asyncio.wait_for(self._changed.wait(), WATCH_SECONDS)
            except TimeoutError:
                pass

    async def _send_checkpoint(self, worker: _Worker, run: dict[str, Any]) -> None:
        """Give a worker the checkpoint from which a run goes on, unless it has one that is as good."""
        folder, run_id = self._settings.checkpoints, run["run_id"]
        here, known = await asyncio.to_thread(checkpoints.epoch_of, folder, run_id), len(run["known"])
        if not known or not here or here > known:
            return
        there = await self._call(worker, remote.held, run_id)
        if there is None or not here <= there <= known:
            content = await asyncio.to_thread(checkpoints.path_of(folder, run_id).read_bytes)
            try:
                await self._call(worker, remote.take, run_id, content, patience=SILENCE_SECONDS)
            except (ValueError, OSError) as error:
                print(f"explorer: {error}; training starts over", file=sys.stderr)

    async def _await_result(self, job: _Job) -> None:
        try:
            messages = await job.future
        except BaseException as error:
            if asyncio.current_task().cancelling():
                raise
            job.give_up(_brief(error))
            return
        for number, message in messages:
            self._put(job, number, message)
        job.give_up("it ended without a result")  # of no account where all of its runs have ended

    async def _ask_after(self, job: _Job) -> None:
        answered = time.monotonic()
        while True:
            orders, job.orders = job.orders, []
            job.poke.clear()
            try:
                messages = await self._call(job.worker, remote.exchange, job.id, job.inbox.seen, orders)
            except Exception:
                job.orders = orders + job.orders
                if time.monotonic() - answered > SILENCE_SECONDS:
                    job.lose(f"The Dask worker at {job.worker.address} does not answer.")
                await asyncio.sleep(WATCH_SECONDS)
                continue
            answered = time.monotonic()
            for number, message in messages:
                self._put(job, number, message)
            try:
                await asyncio.wait_for(job.poke.wait(), BEAT_SECONDS)
            except TimeoutError:
                pass

    def _receive(self, event: tuple[float, str]) -> None:
        job_id, number, message = json.loads(event[1])
        job = self._jobs.get(job_id)
        if job:
            self._put(job, number, message)
            if job.inbox.has_gap:
                job.poke.set()

    def _put(self, job: _Job, number: int, message: Message) -> None:
        for ready in job.inbox.take(number, message):
            job.letters.put_nowait(ready)

    async def _read(self, job: _Job) -> None:
        """Tell the engine all that comes of a job, in order."""
        while job.keys:
            message = await job.letters.get()
            if message["event"] == "lost" and "why" not in message:
                job.give_up("its training process ended, see worker.log there")
                continue
            if message["event"] == "lost":
                if not self._is_connected:
                    return  # all jobs are, and the engine will hear that
                for run_id, attempt in job.keys:
                    self._hear({"event": "lost", "run_id": run_id, "attempt": attempt, "why": message["why"]})
                return
            key = message["run_id"], message["attempt"]
            if key not in job.keys:
                continue
            if message["event"] == "started":
                job.has_begun = True
                message = {**message, "worker": job.worker.address}
            elif message["event"] == "told":
                await self._note(job, message)
            elif message["event"] == "ended":
                job.keys.discard(key)
            self._hear(message)

    # -- checkpoints ----------------------------------------------------------------------------------

    async def _note(self, job: _Job, message: Message) -> None:
        run_id, values = message["run_id"], message["values"]
        if message["tell"] == "epoch":
            job.reached[run_id] = max(job.reached.get(run_id, 0), values["epoch"])
        elif message["tell"] == "kept":
            job.kept[run_id] = values["epoch"]
        elif message["tell"] == "end" and job.kept.get(run_id, 0) > job.home.get(run_id, 0):
            # Who sees that it has ended can continue it.
            await self._fetch(job, run_id)

    async def _bring_home(self, job: _Job) -> None:
        while True:
            began = time.monotonic()
            for run_id, epoch in list(job.kept.items()):
                if epoch > job.home.get(run_id, 0):
                    await self._fetch(job, run_id)
            await asyncio.sleep(max(PAUSE_SECONDS, (time.monotonic() - began) * (1 / SHARE - 1)))

    async def _fetch(self, job: _Job, run_id: str) -> None:
        settings = self._settings
        try:
            most = min(MOST_BYTES, settings.checkpoint_mb * 1_000_000)
            content = await self._call(job.worker, remote.fetch, run_id, most, patience=SILENCE_SECONDS)
            if content is None:
                job.home[run_id] = job.kept[run_id]  # it is too large, or has been pruned there
                return
            epoch = await asyncio.to_thread(checkpoints.epoch_in, content, run_id)
            if epoch <= job.reached.get(run_id, 0):  # never ahead of the epochs that are stored
                await asyncio.to_thread(checkpoints.receive, settings.checkpoints, run_id, content)
                await asyncio.to_thread(checkpoints.prune, settings.checkpoints, settings.checkpoint_mb, run_id)
                job.home[run_id] = epoch
        except Exception as error:  # the run goes on from an earlier one
            print(f"explorer: a checkpoint has not come home: {error}", file=sys.stderr)

    # -- asking ---------------------------------------------------------------------------------------

    async def _call(self, worker: _Worker, function: Callable[..., Any], *arguments: Any,
                    patience: float = ANSWER_SECONDS) -> Any:
        answers = await asyncio.wait_for(
            self._client.run(function, *arguments, workers=[worker.address]), patience)
        return answers[worker.address]

    async def _ask(self, question: Any) -> Any:
        return await asyncio.wait_for(question, ANSWER_SECONDS)

    def _go(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def merged(workers: list[_Worker]) -> Hardware:
    """The hardware of a cluster as the page shows it: its processors, and one graphics card that stands for all."""
    found = [worker.hardware for worker in workers]
    cards = sorted({(gpu.name, gpu.memory_mb) for worker in workers if worker.offers.get("GPU")
                    for gpu in worker.hardware.gpus})
    names = " / ".join(sorted({name for name, _ in cards}))
    gpus = (Gpu(0, names, min(memory for _, memory in cards)),) if cards else ()
    cpu = " / ".join(sorted({one.cpu for one in found}))
    return Hardware(f"Dask, {plain(len(found))} × {cpu}", max(one.cores for one in found),
                    max(one.memory_mb for one in found), gpus)


def _task() -> Callable[[dict[str, Any]], Any]:
    # The scheduler unpickles tasks and need not have the explorer: a function inside another goes by its code.
    def train(order: dict[str, Any]) -> Any:
        from explorer import remote

        return remote.train(order)

    return train


def _brief(error: BaseException) -> str:
    first = (str(error).strip().splitlines() or [""])[0][:200]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
