"""The store: one SQLite file with every run, its epochs, scores and queue. It knows nothing else."""

from __future__ import annotations

import json
import math
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from explorer.config import Demand, RunConfig
from explorer.locks import held
from explorer.stopping import satisfied

# States of a run. `queued` and `running` change by themselves; the others are final until a new request.
QUEUED, RUNNING, FINISHED, STOPPED, FAILED, INTERRUPTED, DIVERGED = (
    "queued", "running", "finished", "stopped", "failed", "interrupted", "diverged")
BUSY_SECONDS = 60.0
# Checking the whole file takes a tenth of a second for this size; a larger one would delay the page.
MOST_CHECKED = 64_000_000

# The numbers of an epoch by which runs are compared.
BRIEF = ("epoch", "train_crossentropy", "val_crossentropy", "val_accuracy")

_SCHEMA = (
    """
    CREATE TABLE runs (
        run_id TEXT PRIMARY KEY, config TEXT NOT NULL, versions TEXT NOT NULL, created_at REAL NOT NULL,
        status TEXT NOT NULL, message TEXT NOT NULL DEFAULT '', demands TEXT NOT NULL DEFAULT '[]',
        ticket INTEGER NOT NULL DEFAULT 0, owner TEXT NOT NULL DEFAULT '', attempt INTEGER NOT NULL DEFAULT 0,
        stop INTEGER NOT NULL DEFAULT 0, device TEXT NOT NULL DEFAULT '', threads INTEGER NOT NULL DEFAULT 0,
        phase TEXT NOT NULL DEFAULT '', progress TEXT NOT NULL DEFAULT '{}', seconds REAL NOT NULL DEFAULT 0,
        peak_mb REAL NOT NULL DEFAULT 0
    );
    CREATE INDEX runs_by_status ON runs (status, ticket);
    CREATE TABLE epochs (
        run_id TEXT NOT NULL, epoch INTEGER NOT NULL, metrics TEXT NOT NULL, PRIMARY KEY (run_id, epoch)
    ) WITHOUT ROWID;
    CREATE TABLE scores (
        run_id TEXT NOT NULL, epoch INTEGER NOT NULL, metrics TEXT NOT NULL, PRIMARY KEY (run_id, epoch)
    ) WITHOUT ROWID;
    CREATE TABLE events (
        id INTEGER PRIMARY KEY, run_id TEXT NOT NULL, at REAL NOT NULL, kind TEXT NOT NULL, detail TEXT NOT NULL
    );
    CREATE INDEX events_by_run ON events (run_id, id);
    """,
    # The next ticket is asked for with every request, however many runs there are.
    "CREATE INDEX runs_by_ticket ON runs (ticket)",
)


class Superseded(RuntimeError):
    """A writer whose attempt at a run has been given to another."""


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


class RunStore:
    """The runs in one SQLite file (WAL; one host, local disk).

    An instance may be used by several threads and processes at a time; each call opens its own short
    transaction. A file that is damaged is set aside under another name, never deleted; `set_aside` then
    holds that name.

    Args:
        path: the file; it and its folder are made if need be.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.set_aside: Path | None = None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # One at a time: SQLite does not wait for another that switches to WAL, and of several that find the file
        # damaged, one sets it aside.
        with held(self.path.with_suffix(".lock")):
            try:
                self._open()
            except sqlite3.OperationalError:
                raise  # locked, read-only, out of space or too new: nothing is wrong with the content
            except sqlite3.DatabaseError:
                self._put_aside()
                self._open()
        # Never used. Whoever is the last to close the file has to write all of it back and remove its journal: with
        # calls that each open and close it, that would be every one of them, and take longer than the rest.
        self._keeps_open = self._connect()
        self._keeps_open.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()

    def close(self) -> None:
        """Leave the file alone; the last who does has everything written back into this one file.

        Calls after this work as before, only slower.
        """
        self._keeps_open.close()

    # -- requests -------------------------------------------------------------------------------------

    def request(self, run_id: str, config: RunConfig, demand: Demand, versions: dict[str, str]) -> Run:
        """Ask for a run; one that is queued or running already takes the further demand along."""
        with self._write(lasting=True) as db:
            found = db.execute("SELECT status, demands FROM runs WHERE run_id = ?", (run_id,)).fetchone()
            if found and found["status"] in (QUEUED, RUNNING):
                demands = _merged([*_demands(found["demands"]), demand])
                # Who asks for it now takes back a stop that is not yet carried out; `end` heeds it.
                db.execute("UPDATE runs SET demands = ?, stop = 0 WHERE run_id = ?", (_dump(demands), run_id))
            elif found:
                db.execute(
                    "UPDATE runs SET status = ?, demands = ?, ticket = ?, stop = 0, message = '', phase = '', "
                    "progress = '{}' WHERE run_id = ?", (QUEUED, _dump([demand]), _next_ticket(db), run_id))
            else:
                db.execute(
                    "INSERT INTO runs (run_id, config, versions, created_at, status, demands, ticket) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (run_id, config.canonical_json(), json.dumps(versions), time.time(), QUEUED,
                     _dump([demand]), _next_ticket(db)))
            _event(db, run_id, "requested", json.dumps(asdict(demand)))
        return self.run(run_id)

    def claim(self, owner: str, only: Iterable[str] | None = None) -> Run | None:
        """Take the next run of the queue; of several that ask at once, one gets it.

        Args:
            owner: who takes it.
            only: runs to choose from; all of them by default.
        """
        taken = self.claim_alike(owner, lambda run: True, 1, only)
        return taken[0] if taken else None

    def claim_alike(self, owner: str, alike: Callable[[Run], bool], most: int,
                    only: Iterable[str] | None = None) -> list[Run]:
        """Take those runs of the queue that fit, `most` at most, in their order."""
        taken: list[Run] = []
        with self._write() as db:
            for row in self._waiting(db, only):
                if len(taken) >= most:
                    break
                try:
                    fits = alike(_run(row))
                except (ValueError, TypeError, KeyError) as error:
                    db.execute("UPDATE runs SET status = ?, message = ? WHERE run_id = ?",
                               (FAILED, f"This version of the explorer cannot read the run's settings ({error}).",
                                row["run_id"]))
                    continue
                if fits:
                    db.execute(
                        "UPDATE runs SET status = ?, owner = ?, attempt = attempt + 1, phase = 'starting', "
                        "progress = '{}' WHERE run_id = ?", (RUNNING, owner, row["run_id"]))
                    taken.append(_run(db.execute(
                        "SELECT * FROM runs WHERE run_id = ?", (row["run_id"],)).fetchone()))
        return taken

    def any_waiting(self, only: Iterable[str] | None = None) -> bool:
        """Whether there is anything to claim."""
        with self._read() as db:
            return bool(self._waiting(db, only))

    def ask_to_stop(self, run_id: str) -> None:
        """Stop a run: at once if it waits, within one batch if it trains."""
        with self._write() as db:
            db.execute("UPDATE runs SET status = ?, demands = '[]' WHERE run_id = ? AND status = ?",
                       (STOPPED, run_id, QUEUED))
            db.execute("UPDATE runs SET stop = 1 WHERE run_id = ? AND status = ?", (run_id, RUNNING))

    # -- writing while training -----------------------------------------------------------------------

    def write_progress(self, run_id: str, attempt: int, phase: str, progress: dict[str, int]) -> None:
        """Raises: Superseded: another attempt has the run."""
        with self._write() as db:
            self._hold(db, run_id, attempt)
            db.execute("UPDATE runs SET phase = ?, progress = ? WHERE run_id = ?",
                       (phase, json.dumps(progress), run_id))

    def write_epoch(self, run_id: str, attempt: int, metrics: dict[str, Any]) -> None:
        """Store one epoch; the same epoch again replaces it.

        Raises:
            Superseded: another attempt has the run.
        """
        with self._write() as db:
            self._hold(db, run_id, attempt)
            new = db.execute("SELECT 1 FROM epochs WHERE run_id = ? AND epoch = ?",
                             (run_id, metrics["epoch"])).fetchone() is None
            db.execute("INSERT OR REPLACE INTO epochs VALUES (?, ?, ?)",
                       (run_id, metrics["epoch"], _metrics(metrics)))
            if new:
                db.execute("UPDATE runs SET seconds = seconds + ? WHERE run_id = ?", (metrics["seconds"], run_id))

    def write_score(self, run_id: str, attempt: int, metrics: dict[str, Any]) -> None:
        """Store the test score after an epoch. Raises: Superseded."""
        with self._write() as db:
            self._hold(db, run_id, attempt)
            db.execute("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)",
                       (run_id, metrics["epoch"], _metrics(metrics)))

    def write_device(self, run_id: str, attempt: int, device: str, threads: int) -> None:
        """Store what a run is trained on. Raises: Superseded."""
        with self._write() as db:
            self._hold(db, run_id, attempt)
            db.execute("UPDATE runs SET device = ?, threads = ? WHERE run_id = ?", (device, threads, run_id))

    def end(self, run_id: str, attempt: int, status: str, message: str = "", peak_mb: float = 0.0,
            obeyed: bool = False, score: dict[str, Any] | None = None) -> bool:
        """Close an attempt.

        Its test score is stored in the same moment, so that nobody sees a run that is done and has not ended.

        A demand that grew while the last epoch was computed sends a finished run back into the queue, and so does
        one that was made after a stop had been sent and before it was obeyed.

        Args:
            obeyed: whether it ends because it was told to stop.
            score: test score after its last epoch, see `write_score`.

        Returns:
            Whether this attempt still had the run.
        """
        with self._write(lasting=True) as db:
            row = db.execute("SELECT status, attempt, demands, stop FROM runs WHERE run_id = ?", (run_id,)).fetchone()
            if row is None or row["attempt"] != attempt or row["status"] != RUNNING:
                return False
            if score:
                db.execute("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", (run_id, score["epoch"], _metrics(score)))
            curve = [metrics.get("val_crossentropy") for metrics in _epochs(db, run_id)]
            taken_back = status == STOPPED and obeyed and not row["stop"]
            if (status == FINISHED or taken_back) and not satisfied(curve, _demands(row["demands"])):
                db.execute("UPDATE runs SET status = ?, ticket = ?, phase = '', progress = '{}' WHERE run_id = ?",
                           (QUEUED, _next_ticket(db), run_id))
            else:
                # The phase stays: it tells in which one a run failed.
                db.execute(
                    "UPDATE runs SET status = ?, message = ?, demands = '[]', stop = 0, progress = '{}', "
                    "peak_mb = MAX(peak_mb, ?) WHERE run_id = ?", (status, message, peak_mb, run_id))
                _event(db, run_id, status, message)
        return True

    def put_back(self, run_id: str, attempt: int) -> None:
        """Return a run that never began to its old place in the queue."""
        with self._write() as db:
            db.execute("UPDATE runs SET status = ?, owner = '', phase = '' WHERE run_id = ? AND attempt = ? "
                       "AND status = ?", (QUEUED, run_id, attempt, RUNNING))

    def interrupt(self, owner: str, message: str) -> list[str]:
        """Mark what a dead owner had running; its epochs stay, and it can be continued."""
        with self._write() as db:
            rows = db.execute("SELECT run_id FROM runs WHERE status = ? AND owner = ?", (RUNNING, owner)).fetchall()
            for row in rows:
                db.execute(
                    "UPDATE runs SET status = ?, message = ?, demands = '[]', stop = 0, attempt = attempt + 1, "
                    "phase = '', progress = '{}' WHERE run_id = ?", (INTERRUPTED, message, row["run_id"]))
                _event(db, row["run_id"], INTERRUPTED, message)
        return [row["run_id"] for row in rows]

    # -- reading --------------------------------------------------------------------------------------

    def run(self, run_id: str) -> Run | None:
        """A run, or `None` where it is not known."""
        with self._read() as db:
            row = db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        return None if row is None else _run(row)

    def epochs(self, run_id: str) -> list[dict[str, Any]]:
        """The stored epochs in order, one dictionary each (see `explorer.history.COLUMNS`)."""
        with self._read() as db:
            return _epochs(db, run_id)

    def scores(self, run_id: str) -> dict[int, dict[str, Any]]:
        """Test scores by the epoch after which they were taken."""
        with self._read() as db:
            rows = db.execute("SELECT epoch, metrics FROM scores WHERE run_id = ? ORDER BY epoch", (run_id,))
            return {row["epoch"]: json.loads(row["metrics"]) for row in rows}

    def snapshot(self, run_id: str) -> tuple[Run | None, list[dict[str, Any]], dict[int, dict[str, Any]]]:
        """A run, its epochs and its scores as of one moment."""
        with self._read() as db:
            db.execute("BEGIN")
            row = db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone()
            if row is None:
                return None, [], {}
            scores = db.execute("SELECT epoch, metrics FROM scores WHERE run_id = ?", (run_id,)).fetchall()
            return _run(row), _epochs(db, run_id), {s["epoch"]: json.loads(s["metrics"]) for s in scores}

    def snapshots(self, configs: Mapping[str, RunConfig],
                  held: Mapping[str, int]) -> dict[str, tuple[Run, list[dict[str, Any]], dict[int, Any]]]:
        """What `snapshot` tells, for many runs as of one moment and in brief, for who looks at them again and again.

        Args:
            configs: the runs that are asked for, by their `run_id`.
            held: how many epochs of each the asker has; only later ones are read.

        Returns:
            Those that are known: the run, its further epochs with the numbers in `BRIEF` alone, and its scores
            by their epochs alone.
        """
        found: dict[str, tuple[Run, list[dict[str, Any]], dict[int, Any]]] = {}
        columns = ", ".join(f"json_extract(metrics, '$.{name}')" for name in BRIEF)
        with self._read() as db:
            db.execute("BEGIN")
            for run_id, config in configs.items():
                row = db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone()
                if row is None:
                    continue
                epochs = db.execute(f"SELECT {columns} FROM epochs WHERE run_id = ? AND epoch > ? ORDER BY epoch",
                                    (run_id, held.get(run_id, 0)))
                scores = db.execute("SELECT epoch FROM scores WHERE run_id = ?", (run_id,))
                found[run_id] = (_run(row, config), [dict(zip(BRIEF, epoch)) for epoch in epochs],
                                 {score["epoch"]: {} for score in scores})
        return found

    def latest(self, most: int, held: Mapping[str, tuple[str, int, int]]) -> list[Latest]:
        """The runs that were asked for last, as of one moment, for who looks at them again and again.

        Args:
            most: how many, at most.
            held: for each run that the asker has: its state, its ticket and how many epochs, as he saw them; of one
                that has ended since without being asked for again nothing is read.

        Returns:
            The latest first; each with its later epochs alone.
        """
        found = []
        with self._read() as db:
            db.execute("BEGIN")
            for row in db.execute("SELECT run_id, status, ticket FROM runs ORDER BY ticket DESC LIMIT ?", (most,)):
                run_id, status, ticket = row
                *before, epochs = held.get(run_id, ("", 0, 0))
                if before == [status, ticket] and status not in (QUEUED, RUNNING):
                    found.append(Latest(run_id, status, ticket))
                    continue
                config, demands = db.execute(
                    "SELECT config, demands FROM runs WHERE run_id = ?", (run_id,)).fetchone()
                further = db.execute(
                    "SELECT epoch, json_extract(metrics, '$.val_crossentropy') FROM epochs "
                    "WHERE run_id = ? AND epoch > ? ORDER BY epoch", (run_id, epochs)).fetchall()
                found.append(Latest(run_id, status, ticket, config, _demands(demands), tuple(map(tuple, further))))
        return found

    def with_status(self, *statuses: str) -> list[Run]:
        """Runs in these states, in the order of their tickets."""
        marks = ", ".join("?" * len(statuses))
        with self._read() as db:
            rows = db.execute(f"SELECT * FROM runs WHERE status IN ({marks}) ORDER BY ticket", statuses).fetchall()
        return [_run(row) for row in rows]

    def owners(self) -> set[str]:
        """Owners of the runs that are being trained."""
        with self._read() as db:
            rows = db.execute("SELECT DISTINCT owner FROM runs WHERE status = ?", (RUNNING,)).fetchall()
        return {row["owner"] for row in rows}

    def place(self, run_id: str) -> int:
        """How many runs wait before this one."""
        with self._read() as db:
            return db.execute(
                "SELECT COUNT(*) FROM runs WHERE status = ? AND ticket < (SELECT ticket FROM runs WHERE run_id = ?)",
                (QUEUED, run_id)).fetchone()[0]

    def events(self, run_id: str) -> list[tuple[str, str]]:
        """What happened to a run, as (kind, detail), oldest first."""
        with self._read() as db:
            rows = db.execute("SELECT kind, detail FROM events WHERE run_id = ? ORDER BY id", (run_id,)).fetchall()
        return [(row["kind"], row["detail"]) for row in rows]

    def waiting(self) -> int:
        """How many runs wait."""
        with self._read() as db:
            return db.execute("SELECT COUNT(*) FROM runs WHERE status = ?", (QUEUED,)).fetchone()[0]

    def counts(self) -> dict[str, int]:
        """Number of runs by state."""
        with self._read() as db:
            rows = db.execute("SELECT status, COUNT(*) AS n FROM runs GROUP BY status").fetchall()
        return {row["status"]: row["n"] for row in rows}

    # -- the file -------------------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA synchronous = NORMAL")
        return db

    @contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        db = self._connect()
        try:
            yield db
        finally:
            db.close()

    @contextmanager
    def _write(self, lasting: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction; it outlives its process in any case, and the machine's power where it is to be lasting."""
        with self._read() as db:
            if lasting:
                db.execute("PRAGMA synchronous = FULL")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                if db.in_transaction:  # SQLite itself rolls back when the disk is full
                    db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def _open(self) -> None:
        with self._read() as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            small = self.path.stat().st_size <= MOST_CHECKED
            if small and db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("malformed")
        with self._write() as db:
            known = db.execute("PRAGMA user_version").fetchone()[0]
            if known > len(_SCHEMA):
                raise sqlite3.OperationalError(
                    f"{self.path} was written by a newer version of the explorer; set EXPLORER_HOME to another folder")
            for step in _SCHEMA[known:]:
                for statement in step.split(";"):
                    if statement.strip():
                        db.execute(statement)
            db.execute(f"PRAGMA user_version = {len(_SCHEMA)}")

    def _put_aside(self) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        name = f"{self.path.stem}-damaged-{stamp}-{uuid.uuid4().hex[:8]}{self.path.suffix}"
        self.set_aside = self.path.with_name(name)
        for ending in ("", "-wal", "-shm"):
            part = Path(f"{self.path}{ending}")
            if part.exists():
                part.rename(f"{self.set_aside}{ending}")

    @staticmethod
    def _waiting(db: sqlite3.Connection, only: Iterable[str] | None) -> list[sqlite3.Row]:
        rows = db.execute("SELECT * FROM runs WHERE status = ? ORDER BY ticket", (QUEUED,)).fetchall()
        return rows if only is None else [row for row in rows if row["run_id"] in set(only)]

    @staticmethod
    def _hold(db: sqlite3.Connection, run_id: str, attempt: int) -> None:
        row = db.execute("SELECT attempt, status FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        if row is None or row["attempt"] != attempt or row["status"] != RUNNING:
            raise Superseded(f"run {run_id}: attempt {attempt} no longer has it")


def _merged(demands: Iterable[Demand]) -> list[Demand]:
    # Of demands that differ only in epochs, the longest covers the others.
    longest: dict[tuple, Demand] = {}
    for demand in demands:
        key = (demand.patience, demand.device)
        if key not in longest or longest[key].epochs < demand.epochs:
            longest[key] = demand
    return list(longest.values())


def _dump(demands: Iterable[Demand]) -> str:
    return json.dumps([asdict(demand) for demand in demands])


def _demands(text: str) -> tuple[Demand, ...]:
    return tuple(Demand(**values) for values in json.loads(text))


def _metrics(metrics: dict[str, Any]) -> str:
    # JSON has no NaN and no infinity.
    return json.dumps({name: None if isinstance(value, float) and not math.isfinite(value) else value
                       for name, value in metrics.items()})


def _epochs(db: sqlite3.Connection, run_id: str) -> list[dict[str, Any]]:
    rows = db.execute("SELECT metrics FROM epochs WHERE run_id = ? ORDER BY epoch", (run_id,))
    return [json.loads(row["metrics"]) for row in rows]


def _next_ticket(db: sqlite3.Connection) -> int:
    return db.execute("SELECT COALESCE(MAX(ticket), 0) + 1 FROM runs").fetchone()[0]


def _event(db: sqlite3.Connection, run_id: str, kind: str, detail: str) -> None:
    db.execute("INSERT INTO events (run_id, at, kind, detail) VALUES (?, ?, ?, ?)",
               (run_id, time.time(), kind, detail))


def _run(row: sqlite3.Row, config: RunConfig | None = None) -> Run:
    values = {name: row[name] for name in row.keys() if name != "versions"}
    values |= {"config": config or RunConfig.from_json(row["config"]), "demands": _demands(row["demands"]),
               "stop": bool(row["stop"]), "progress": json.loads(row["progress"])}
    return Run(**values)
