"""The trainer: a process that trains one run after another and writes them to the store, or reports them."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
import sqlite3
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from explorer import data
from explorer.config.run_config import RunConfig
from explorer.config.settings import Settings
from explorer.store import checkpoints
from explorer.store.sqlite import DamagedStore, insist
from explorer.store.store import FAILED, Run, RunStore
from explorer.workers import devices, libraries
from explorer.workers.channel import WorkerChannel
from explorer.workers.remote_store import RemoteStore
from explorer.workers.run_recorder import RunRecorder, peak_mb

# A child is renewed when it has grown by so much since it was set up, or has trained so many runs: each leaves a little
# behind. With all that TensorFlow needs for a graphics card it takes over a gigabyte before its first run.
MAX_GROWN_MB, MAX_RUNS = 800, 50
# A run that was waiting for the worker comes in less than this, on a busy machine too; what comes later finds the child
# warm.
WARM_UP_DELAY = 0.3
# A database that is started anew does not cost a run what it has learnt.
PATIENCE_SECONDS = 60.0
# Exit codes that say more than that something went wrong: the disk took no more of what was trained; the worker ended
# the process, because it had taken more memory than it may; and the store is damaged, which is for the server to mend.
NO_SPACE, TOO_LARGE, DAMAGED_STORE = 70, 71, 72


def job_of(runs: Sequence[Run], device: str, label: str, threads: int, settings: Settings) -> dict[str, Any]:
    """What a child must be told, as JSON can carry it. It goes through pipes alone: it holds the store's password.

    Args:
        runs: one, or several that agree in `explorer.config.stacking.key` and are trained together.
        device, label: where they are trained, for TensorFlow and for people.
        threads: of one operation.
    """
    return {"runs": [{"run_id": run.run_id, "attempt": run.attempt, "config": run.config.canonical_json()}
                     for run in runs],
            "device": device, "label": label, "threads": threads, "settings": settings.as_dict(),
            "store": settings.store}


def keys_of(job: dict[str, Any]) -> list[tuple[str, int]]:
    """Run and attempt of each run in a job."""
    return [(run["run_id"], run["attempt"]) for run in job["runs"]]


class _NobodyLeft(Exception):
    """Raised to leave because no run of the job is this process's any more."""


class TrainerState:
    """What a child keeps from one run to the next: data in memory, traced graphs, and the device it is set up for.

    Args:
        library: the data; what the process that forked this one has read is in it already.
    """

    def __init__(self, library: data.Library):
        self.library = library
        self._setup: tuple[str, int] | None = None
        self._began_mb = 0.0
        self._courses: Any = None

    def prepare(self, device: str, threads: int) -> None:
        """Set TensorFlow up, once in the life of a process."""
        if self._setup is None:
            import tensorflow as tf

            devices.prepare(device, threads, tf)
            tf.zeros(())  # a graphics card is talked to with the first operation only
            self._setup, self._began_mb = (device, threads), resident_mb()
        elif self._setup != (device, threads):
            raise RuntimeError(f"this process is set up for {self._setup}, not for {(device, threads)}")

    @property
    def has_grown(self) -> bool:
        """Whether this process has become so large that another should take its place."""
        return resident_mb() > self._began_mb + MAX_GROWN_MB

    @property
    def courses(self) -> Any:
        if self._courses is None:
            from explorer.training.graph_cache import GraphCache

            self._courses = GraphCache()
        return self._courses


def serve(line: WorkerChannel, desk: TrainerState, warm: int = 0) -> None:
    """Train what comes until the line closes, or until this process has had its day.

    Args:
        warm: threads to warm up with while no run is waiting; 0 for none.
    """
    if warm and not line.has_job(WARM_UP_DELAY):
        from explorer.training.graph_cache import warm_up

        desk.prepare("cpu", warm)
        warm_up()
    runs = 0
    while job := line.next_job():
        runs += 1
        sound = run(job, line, desk)
        give_back()
        again = sound and runs < MAX_RUNS and not desk.has_grown
        line.done(again)
        if not again:
            return


def run(job: dict[str, Any], line: WorkerChannel, desk: TrainerState) -> bool:
    """Train the runs of a job to their demands and leave their ends in the store, whatever happens.

    Returns:
        Whether the process is fit for another job.

    Raises:
        SystemExit: what happened cannot be written into the store; the exit code says it.
    """
    try:
        return _run(job, line, desk)
    except DamagedStore as error:
        print(f"explorer: {error}", file=sys.stderr)
        raise SystemExit(DAMAGED_STORE) from error


def _run(job: dict[str, Any], line: WorkerChannel, desk: TrainerState) -> bool:
    settings = Settings.from_dict({**job["settings"], "store": job.get("store", "")})
    store = RemoteStore(job, line) if job.get("reports") else RunStore(settings.store_place, PATIENCE_SECONDS)
    records = [RunRecorder(store, settings, line, *key, RunConfig.from_json(run["config"]), len(job["runs"]))
               for key, run in zip(keys_of(job), job["runs"], strict=True)]
    try:
        _train(job, records, desk)
    except _NobodyLeft:
        pass
    except data.DataError as error:
        for record in records:
            record.close(FAILED, str(error))
    except DamagedStore:
        raise
    except Exception as error:
        traceback.print_exc()
        if _is_full(error):
            raise SystemExit(NO_SPACE) from error  # nor could it be written why
        for record in records:
            record.close(FAILED, _explain(error))
        return False
    finally:
        store.close()
    return True


def _train(job: dict[str, Any], records: Sequence[RunRecorder], desk: TrainerState) -> None:
    def tell_or_leave(what: str, done: int, total: int) -> None:
        for record in records:
            record.emit("phase", {"phase": what})
            record.emit("progress", {"done": done, "total": total})
        wanted()

    def wanted() -> list[RunRecorder]:
        left = [record for record in records if record.is_wanted()]
        if not left:
            raise _NobodyLeft
        return left

    for record in records:
        record.emit("phase", {"phase": "loading"})
    prepared = desk.library.load(records[0].config, tell_or_leave)
    _require_same_data(records)
    records = wanted()
    give_back()
    desk.prepare(job["device"], job["threads"])
    for record in records:
        record.emit("device", {"device": job["label"], "threads": job["threads"]})
    from explorer.training import train, train_stacked

    if len(records) > 1:
        members = [train_stacked.StackedRun(record.config, record.demands, record.emit, record.should_stop,
                                            record.keeper, record.end) for record in records]
        train_stacked.train(members, prepared, job["device"], desk.courses.stack)
        return
    [record] = records
    resume, known = _resume(record)
    record.end(train.train(
        record.config, prepared, record.demands, record.emit, record.should_stop, record.keeper, resume, known,
        job["device"], desk.courses))


def _require_same_data(records: Sequence[RunRecorder]) -> None:
    """A run is named by its data, too: those that lie in the file by now may be others.

    Raises:
        DataError: what was loaded is not what the run was asked for with.
    """
    for record in records:
        if record.config.info.file:
            version = data.version(record.config.dataset, record.settings)
            if record.run_id != record.config.run_id(version):
                raise data.changed(record.config.info)


def _resume(record: RunRecorder) -> tuple[Any, list[float | None]]:
    from explorer.training.train import State

    try:
        found = checkpoints.load(record.settings.checkpoints, record.run_id)
    except ValueError as error:
        # The same epochs come out again, to the last bit: a lost checkpoint costs time only.
        print(f"{error}; training starts over", file=sys.stderr)
        found = None
    known = [metrics["val_crossentropy"] for metrics in insist(record.store.epochs, record.run_id)]
    if found is None or found[0] > len(known):
        return None, []
    return State(*found), known[: found[0]]


def _explain(error: Exception) -> str:
    kind = type(error).__name__
    if isinstance(error, MemoryError) or kind == "ResourceExhaustedError":
        return "The device ran out of memory: use fewer units, fewer words or a smaller batch size."
    first = str(error).strip().splitlines()
    return f"Training failed unexpectedly ({kind}: {first[0][:200] if first else 'no message'})."


def _is_full(error: Exception) -> bool:
    """Whether it is the disk that is at fault."""
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def give_back() -> None:
    """Return freed memory to the system, which the C library would keep for later."""
    if sys.platform == "linux":
        try:
            ctypes.CDLL(None).malloc_trim(0)
        except (OSError, AttributeError):
            pass  # another C library than glibc


def resident_mb(pid: int | None = None) -> float:
    """Resident memory of a process, in megabytes, this one by default; 0 of one that is gone or cannot be seen."""
    try:
        fields = Path(f"/proc/{pid or 'self'}/statm").read_text().split()
    except OSError:
        return 0.0 if pid else peak_mb()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> None:
    """A child of its own, for machines where a warm process cannot be forked: warm up, then wait for jobs."""
    line = WorkerChannel(socket.socket(fileno=os.dup(0)))
    libraries.load()  # warming up is what a spare child is for
    from explorer.training import train  # noqa: F401

    serve(line, TrainerState(data.Library(Settings.from_dict(json.loads(sys.argv[1])))))


if __name__ == "__main__":
    main()
