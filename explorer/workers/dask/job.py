"""One job on its way through a Dask cluster: given to a worker, asked after, told to the engine, its checkpoints."""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from explorer.store import checkpoints
from explorer.store.store import STOPPED
from explorer.workers.dask import remote as dask_remote
from explorer.workers.dask.mailbox import Inbox, Message
from explorer.workers.trainer import keys_of

if TYPE_CHECKING:
    from explorer.workers.dask.client import DaskCluster, DaskWorkerInfo

# Jobs are asked after so often (their lease is `remote.LEASE_SECONDS`); one whose Dask worker has not answered for so
# long is lost: by then its lease is over too.
BEAT_SECONDS, SILENCE_SECONDS, AGAIN_SECONDS = 5.0, 30.0, 0.5
# Bringing checkpoints home may take up to this share of the time, and is done no oftener; larger ones stay there.
SHARE, PAUSE_SECONDS, MAX_BYTES = 0.03, 1.0, 512_000_000
# Names of tasks begin so.
PREFIX = "explorer-"


class DaskJob:
    """A job that the engine has given to a cluster. It lives in the cluster's own thread.

    Args:
        cluster: where to ask, and who hears what comes of it.
        job: as `explorer.workers.remote_store.brief` makes it.
        topic: under which its worker tells of it.

    Attributes:
        keys: its runs that have not ended.
        needs: resources that it holds.
        worker: who has it; `None` while it waits for a place.
    """

    def __init__(self, cluster: DaskCluster, job: dict[str, Any], topic: str):
        self.id = uuid.uuid4().hex
        self.keys = set(keys_of(job))
        self.needs = {"TRAIN": 1, "GPU": 1} if job["device"].startswith("gpu") else {"TRAIN": 1}
        self.worker: DaskWorkerInfo | None = None
        self._cluster = cluster
        # Folders and all else that this machine is set to are no business of another's.
        self.order = {name: value for name, value in job.items() if name not in ("settings", "store")} | {
            "id": self.id, "topic": topic, "versions": dask_remote.versions(),
            "max_seconds": job["settings"]["max_seconds"]}
        self._future: Any = None
        self._has_begun = False
        self._inbox, self._letters = Inbox(), asyncio.Queue()
        self._orders: list[dict[str, Any]] = []
        self._poke = asyncio.Event()
        # By run: the epochs told, the last one of which a checkpoint lies on the worker, the last one that came home.
        self._reached: dict[str, int] = {}
        self._kept: dict[str, int] = {}
        self._home: dict[str, int] = {}

    @property
    def key(self) -> str:
        """The name of its task."""
        return PREFIX + self.id

    def obey(self, order: dict[str, Any]) -> None:
        """Pass an order about one of its runs on: to stop, to be killed, or further demands."""
        if order["do"] == "demands":
            for run in self.order["runs"]:
                if (run["run_id"], run["attempt"]) == (order["run_id"], order["attempt"]):
                    run["demands"] = order["demands"]
        self._orders.append(order)
        self._poke.set()
        if order["do"] == "stop" and not self._has_begun:
            # It waits for a place, perhaps behind somebody else's.
            about = {"run_id": order["run_id"], "attempt": order["attempt"]}
            for message in ({"event": "told", "tell": "end", **about, "values": {"status": STOPPED, "obeyed": True}},
                            {"event": "ended", **about, "code": 0}):
                self._letters.put_nowait(message)

    def put(self, number: int, message: Message) -> None:
        """Take a message of its worker; one that is missing before it is asked for."""
        for ready in self._inbox.take(number, message):
            self._letters.put_nowait(ready)
        if self._inbox.has_gap:
            self._poke.set()

    def lose(self, why: str) -> None:
        """Give it up once all that has been told before is read: its runs are to be trained elsewhere."""
        self._letters.put_nowait({"event": "lost", "why": why})

    def _give_up(self, why: str) -> None:
        where = self.worker.address if self.worker else "-"
        self.lose(f"The Dask worker at {where} gave the run up ({why}).")

    async def tend(self) -> None:
        """See to it until its runs have ended or are lost."""
        sending = asyncio.create_task(self._send())
        try:
            await self._read()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            if self._future is not None:
                self._future.release()  # where it has not begun it never will
                if self.keys or self._orders:
                    self._cluster.go(self._say_last())

    async def _say_last(self) -> None:
        """Stop what may go on there though it has been given up here; without this it ends with its lease."""
        stops = [{"do": "stop", "run_id": run_id, "attempt": attempt} for run_id, attempt in self.keys]
        try:
            await self._cluster.call(self.worker, dask_remote.exchange, self.id, self._inbox.seen, self._orders + stops)
        except Exception:
            pass

    async def _send(self) -> None:
        """Give a job to a worker, and attend to it there."""
        try:
            worker = await self._cluster.place(self)
            if len(self.order["runs"]) == 1:
                await self._send_checkpoint(worker, self.order["runs"][0])
            self._future = self._cluster.client.submit(
                _task(), self.order, key=self.key, workers=[worker.address], allow_other_workers=False,
                resources=self.needs, pure=False, retries=0)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._await_result())
                group.create_task(self._ask_after())
                group.create_task(self._bring_home())
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._give_up(brief(error))

    async def _await_result(self) -> None:
        try:
            messages = await self._future
        except BaseException as error:
            if asyncio.current_task().cancelling():
                raise
            self._give_up(brief(error))
            return
        for number, message in messages:
            self.put(number, message)
        self._give_up("it ended without a result")  # of no account where all of its runs have ended

    async def _ask_after(self) -> None:
        answered = time.monotonic()
        while True:
            orders, self._orders = self._orders, []
            self._poke.clear()
            try:
                messages = await self._cluster.call(self.worker, dask_remote.exchange, self.id,
                                                    self._inbox.seen, orders)
            except Exception:
                self._orders = orders + self._orders
                if time.monotonic() - answered > SILENCE_SECONDS:
                    self.lose(f"The Dask worker at {self.worker.address} does not answer.")
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            answered = time.monotonic()
            for number, message in messages:
                self.put(number, message)
            try:
                await asyncio.wait_for(self._poke.wait(), BEAT_SECONDS)
            except TimeoutError:
                pass

    async def _read(self) -> None:
        """Tell the engine all that comes of a job, in order."""
        while self.keys:
            message = await self._letters.get()
            if message["event"] == "lost" and "why" not in message:
                self._give_up("its training process ended, see worker.log there")
                continue
            if message["event"] == "lost":
                if not self._cluster.is_connected:
                    return  # all jobs are, and the engine will hear that
                for run_id, attempt in self.keys:
                    self._cluster.hear({"event": "lost", "run_id": run_id, "attempt": attempt, "why": message["why"]})
                return
            key = message["run_id"], message["attempt"]
            if key not in self.keys:
                continue
            if message["event"] == "started":
                self._has_begun = True
                message = {**message, "worker": self.worker.address}
            elif message["event"] == "told":
                await self._note(message)
            elif message["event"] == "ended":
                self.keys.discard(key)
            self._cluster.hear(message)

    # -- checkpoints ----------------------------------------------------------------------------------

    async def _note(self, message: Message) -> None:
        run_id, values = message["run_id"], message["values"]
        if message["tell"] == "epoch":
            self._reached[run_id] = max(self._reached.get(run_id, 0), values["epoch"])
        elif message["tell"] == "kept":
            self._kept[run_id] = values["epoch"]
        elif message["tell"] == "end" and self._kept.get(run_id, 0) > self._home.get(run_id, 0):
            # Who sees that it has ended can continue it.
            await self._fetch(run_id)

    async def _bring_home(self) -> None:
        while True:
            began = time.monotonic()
            for run_id, epoch in list(self._kept.items()):
                if epoch > self._home.get(run_id, 0):
                    await self._fetch(run_id)
            await asyncio.sleep(max(PAUSE_SECONDS, (time.monotonic() - began) * (1 / SHARE - 1)))

    async def _fetch(self, run_id: str) -> None:
        settings = self._cluster.settings
        try:
            most = min(MAX_BYTES, settings.checkpoint_mb * 1_000_000)
            content = await self._cluster.call(self.worker, dask_remote.fetch, run_id, most, patience=SILENCE_SECONDS)
            if content is None:
                self._home[run_id] = self._kept[run_id]  # it is too large, or has been pruned there
                return
            epoch = await asyncio.to_thread(checkpoints.epoch_in, content, run_id)
            if epoch <= self._reached.get(run_id, 0):  # never ahead of the epochs that are stored
                await asyncio.to_thread(checkpoints.receive, settings.checkpoints, run_id, content)
                self._home[run_id] = epoch
        except Exception as error:  # the run goes on from an earlier one
            print(f"explorer: a checkpoint has not come home: {error}", file=sys.stderr)

    async def _send_checkpoint(self, worker: DaskWorkerInfo, run: dict[str, Any]) -> None:
        """Give a worker the checkpoint from which a run goes on, unless it has one that is as good."""
        folder, run_id = self._cluster.settings.checkpoints, run["run_id"]
        here, known = await asyncio.to_thread(checkpoints.epoch_of, folder, run_id), len(run["known"])
        if not known or not here or here > known:
            return
        there = await self._cluster.call(worker, dask_remote.held, run_id)
        if there is None or not here <= there <= known:
            content = await asyncio.to_thread(checkpoints.path_of(folder, run_id).read_bytes)
            try:
                await self._cluster.call(worker, dask_remote.take, run_id, content, patience=SILENCE_SECONDS)
            except (ValueError, OSError) as error:
                print(f"explorer: {error}; training starts over", file=sys.stderr)


def brief(error: BaseException) -> str:
    """An error in one line, for the middle of a sentence."""
    first = (str(error).strip().splitlines() or [""])[0][:200]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _task() -> Callable[[dict[str, Any]], Any]:
    # The scheduler unpickles tasks and need not have the explorer: a function inside another goes by its code.
    def train(order: dict[str, Any]) -> Any:
        from explorer.workers.dask import remote as dask_remote

        return dask_remote.train(order)

    return train
