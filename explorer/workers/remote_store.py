"""Stand in for the store where there is none: write what a trainer reports on the machine that has the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from explorer.config.run_config import Demand
from explorer.store.store import Run, RunStore
from explorer.workers.channel import WorkerChannel


def brief(job: dict[str, Any], runs: Sequence[Run], store: RunStore) -> dict[str, Any]:
    """A job with all that its child would have read in the store.

    Args:
        job: as `explorer.workers.trainer.job_of` makes it.
        runs: those of the job.
        store: where they are kept.
    """
    about = {run.run_id: {"demands": plain(run.demands),
                          "known": [row["val_crossentropy"] for row in store.epochs(run.run_id)]} for run in runs}
    return {**job, "reports": True, "runs": [{**run, **about[run["run_id"]]} for run in job["runs"]]}


def plain(demands: Sequence[Demand]) -> list[dict[str, Any]]:
    """Demands as JSON can carry them."""
    return [asdict(demand) for demand in demands]


def write(store: RunStore, message: dict[str, Any]) -> None:
    """Write what a reporter has told into the store.

    Raises:
        StaleAttempt: another attempt has the run.
    """
    key, values = (message["run_id"], message["attempt"]), message["values"]
    writers: dict[str, Callable[..., Any]] = {
        "progress": lambda: store.write_progress(*key, values["phase"], values["progress"]),
        "device": lambda: store.write_device(*key, values["device"], values["threads"]),
        "epoch": lambda: store.write_epoch(*key, values),
        "end": lambda: store.end(*key, **values)}
    if message["tell"] in writers:
        writers[message["tell"]]()


@dataclass(frozen=True)
class _Wanted:
    demands: tuple[Demand, ...]


class RemoteStore:
    """As much of `RunStore` as a child needs; it sends what that would write.

    Args:
        job: as `brief` made it.
        line: where to speak, and where later demands come from.
    """

    def __init__(self, job: dict[str, Any], line: WorkerChannel):
        self._line = line
        self._runs = {run["run_id"]: run for run in job["runs"]}

    def run(self, run_id: str) -> _Wanted:
        run = self._runs[run_id]
        told = self._line.wished((run_id, run["attempt"]))
        return _Wanted(tuple(Demand(**values) for values in (run["demands"] if told is None else told)))

    def epochs(self, run_id: str) -> list[dict[str, Any]]:
        """As much of the known epochs as is needed to go on from them."""
        return [{"val_crossentropy": value} for value in self._runs[run_id]["known"]]

    def write_progress(self, run_id: str, attempt: int, phase: str, progress: dict[str, int]) -> None:
        self._tell("progress", run_id, attempt, {"phase": phase, "progress": progress})

    def write_device(self, run_id: str, attempt: int, device: str, threads: int) -> None:
        self._tell("device", run_id, attempt, {"device": device, "threads": threads})

    def write_epoch(self, run_id: str, attempt: int, metrics: dict[str, Any]) -> None:
        self._tell("epoch", run_id, attempt, metrics)

    def kept(self, run_id: str, attempt: int, epoch: int) -> None:
        """Say that a checkpoint lies in this process's own folder."""
        self._tell("kept", run_id, attempt, {"epoch": epoch})

    def end(self, run_id: str, attempt: int, status: str, message: str = "", peak_mb: float = 0.0,
            obeyed: bool = False, score: dict[str, Any] | None = None, best: dict[str, Any] | None = None) -> None:
        self._tell("end", run_id, attempt, {"status": status, "message": message, "peak_mb": peak_mb,
                                            "obeyed": obeyed, "score": score, "best": best})

    def close(self) -> None:
        """There is nothing to close."""

    def _tell(self, what: str, run_id: str, attempt: int, values: dict[str, Any]) -> None:
        self._line.tell({"tell": what, "run_id": run_id, "attempt": attempt, "values": values})
