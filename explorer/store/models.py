"""What the store holds, as values: a run, what is still to be done of it, what goes along to another store."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from explorer.config.run_config import Demand, RunConfig

# States of a run. `queued` and `running` change by themselves; the others are final until a new request.
QUEUED, RUNNING, FINISHED, STOPPED, FAILED, INTERRUPTED, DIVERGED = (
    "queued", "running", "finished", "stopped", "failed", "interrupted", "diverged")


@dataclass(frozen=True)
class Run:
    """One row of the store: a run and how it stands.

    Attributes:
        demands: what is asked of it while it waits or runs.
        ticket: its turn in the queue; smaller comes first.
        attempt: counts the processes that have trained it; only the latest may write.
        phase: `starting`, `loading`, `downloading`, `preparing`, `building`, `training` or `testing`; the last
            one that it reached once it has ended.
        progress: `{epoch, step, steps}` inside an epoch, `{done, total}` in bytes inside a download.
        seconds: spent training, over all attempts.
        peak_mb: largest resident memory of its process.
    """

    run_id: str
    config: RunConfig
    created_at: float
    status: str
    message: str
    demands: tuple[Demand, ...]
    ticket: int
    owner: str
    attempt: int
    stop: bool
    device: str
    threads: int
    phase: str
    progress: dict[str, int]
    seconds: float
    peak_mb: float

    @property
    def is_live(self) -> bool:
        return self.status in (QUEUED, RUNNING)


@dataclass(frozen=True)
class Work:
    """What a run takes: of a run that waits or trains what is still to be done, of any what its epochs took.

    Attributes:
        config: `None` where this version of the explorer cannot read it.
        wanted: epochs that are asked for.
        epochs: stored epochs.
        seconds: what these took.
    """

    run_id: str
    config: RunConfig | None
    wanted: int
    epochs: int
    seconds: float


@dataclass(frozen=True)
class ExportedRun:
    """A run with all that is known of it, as it goes from one store to another.

    Attributes:
        config: its settings as JSON, in the form in which they have made its identity.
        versions: of the libraries that trained it.
        epochs, scores: as `RunStore.epochs` and `RunStore.scores` give them.
    """

    run_id: str
    config: str
    versions: dict[str, str]
    created_at: float
    status: str
    message: str
    device: str
    threads: int
    seconds: float
    peak_mb: float
    epochs: list[dict[str, Any]]
    scores: dict[int, dict[str, Any]]

    @property
    def is_live(self) -> bool:
        return self.status in (QUEUED, RUNNING)


@dataclass(frozen=True)
class Latest:
    """A run among the latest: what has come since somebody looked, see `RunStore.latest`.

    Attributes:
        config: as JSON; it is read only where it is not known yet.
        further: later epochs, each with its validation cross-entropy.
    """

    run_id: str
    status: str
    ticket: int
    config: str = ""
    demands: tuple[Demand, ...] = ()
    further: tuple[tuple[int, float | None], ...] = ()

    @property
    def is_live(self) -> bool:
        return self.status in (QUEUED, RUNNING)


# -- as text and back ------------------------------------------------------------------------------------------


def dump_demands(demands: Iterable[Demand]) -> str:
    return json.dumps([asdict(demand) for demand in demands])


def read_demands(text: str) -> tuple[Demand, ...]:
    return tuple(Demand(**values) for values in json.loads(text))


def dump_metrics(metrics: dict[str, Any]) -> str:
    # JSON has no NaN and no infinity.
    return json.dumps({name: None if isinstance(value, float) and not math.isfinite(value) else value
                       for name, value in metrics.items()})


def read_run(row: Any, config: RunConfig | None = None) -> Run:
    values = {name: row[name] for name in row.keys() if name != "versions"}
    values |= {"config": config or RunConfig.from_json(row["config"]), "demands": read_demands(row["demands"]),
               "stop": bool(row["stop"]), "progress": json.loads(row["progress"])}
    return Run(**values)


def read_work(row: Any) -> Work:
    wanted = max((demand["epochs"] for demand in json.loads(row["demands"])), default=0)
    return Work(row["run_id"], read_config(row["config"]), wanted, row["epochs"] or 0, row["seconds"])


@lru_cache(maxsize=2_000)
def read_config(text: str) -> RunConfig | None:
    """Read again and again while runs wait."""
    try:
        return RunConfig.from_json(text)
    except (ValueError, TypeError, KeyError):
        return None


def diverged(config: RunConfig, epoch: int) -> str:
    """What is said of a run whose loss stopped being a number."""
    return (f"The loss stopped being a number in epoch {epoch}: the learning rate {config.learning_rate:g} is too "
            "large for these settings.")
