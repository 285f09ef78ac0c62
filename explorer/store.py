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
from functools import lru_cache
from pathlib import Path
from typing import Any

from explorer import turns
from explorer.config import Demand, RunConfig
from explorer.locks import held
from explorer.stopping import satisfied

# States of a run. `queued` and `running` change by themselves; the others are final until a new request.
QUEUED, RUNNING, FINISHED, STOPPED, FAILED, INTERRUPTED, DIVERGED = (
    "queued", "running", "finished", "stopped", "failed", "interrupted", "diverged")
# What becomes of a run that comes from another store, see `RunStore.adopt`.
NEW, LONGER, OTHER, KNOWN, BUSY = "new", "longer", "other", "known", "busy"
BUSY_SECONDS = 60.0
# Checking the whole file takes a tenth of a second for this size; a larger one would delay the page.
MOST_CHECKED = 64_000_000

# The numbers of an epoch by which runs are compared.
BRIEF = ("epoch", "train_crossentropy", "val_crossentropy", "val_accuracy")

# What of a row of `runs` goes along to another store.
_CARRIED = ("run_id", "config", "versions", "created_at", "status", "message", "device", "threads", "seconds",
            "peak_mb")

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
    # Who has asked for each run that waits or trains, and where they stand among those who wait (`explorer.turns`).
    # What an earlier version has left in the queue is taken as the nameless person's.
    """
    CREATE TABLE wishes (
        run_id TEXT NOT NULL, person TEXT NOT NULL, at REAL NOT NULL, first INTEGER NOT NULL,
        served INTEGER NOT NULL DEFAULT 0, turn INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (run_id, person)
    ) WITHOUT ROWID;
    CREATE TABLE persons (person TEXT PRIMARY KEY, turn INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX persons_by_turn ON persons (turn);
    INSERT INTO wishes (run_id, person, at, first)
        SELECT run_id, '', created_at, 1 FROM runs WHERE status IN ('queued', 'running');
    INSERT INTO persons SELECT DISTINCT person, 1 FROM wishes;
    """,
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
class Carried:
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

    def request(self, run_id: str, config: RunConfig, demand: Demand, versions: dict[str, str],
                person: str = "") -> Run:
        """Ask for a run; one that is queued or running already takes the further demand along.

        Args:
            person: who asks; any text that is the same for all wishes of one person, and no other's.
        """
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
            is_live = bool(found) and found["status"] in (QUEUED, RUNNING)
            db.execute("INSERT OR IGNORE INTO wishes (run_id, person, at, first) VALUES (?, ?, ?, ?)",
                       (run_id, person, time.time(), not is_live))
            # Who comes joins the ring at its end; who is in it keeps their place, however often they ask.
            db.execute("INSERT OR IGNORE INTO persons VALUES (?, ?)", (person, _next_turn(db)))
            _event(db, run_id, "requested", json.dumps(asdict(demand)))
        return self.run(run_id)

    def claim(self, owner: str, only: Iterable[str] | None = None, most_training: int | None = None) -> Run | None:
        """Take the next run of the queue; of several that ask at once, one gets it.

        It is the turn of one of those who want it, see `explorer.turns`.

        Args:
            owner: who takes it.
            only: runs to choose from; all of them by default.
            most_training: a person who has so many places lets others go first.
        """
        with self._write() as db:
            for run_id, person in _order(db, only, most_training):
                run = _readable(db, run_id)
                if run is None:
                    continue
                row = db.execute("SELECT turn FROM persons WHERE person = ?", (person,)).fetchone()
                db.execute("UPDATE wishes SET served = 1, turn = ? WHERE run_id = ? AND person = ?",
                           (row["turn"] if row else 0, run_id, person))
                db.execute("UPDATE persons SET turn = ? WHERE person = ?", (_next_turn(db), person))
                return _taken(db, run_id, owner)
        return None

    def claim_alike(self, owner: str, first: Run, alike: Callable[[Run], bool], most: int, each: int | None = None,
                    only: Iterable[str] | None = None) -> list[Run]:
        """Take those runs of the queue along that fit to one just claimed, in their order. It is nobody's turn.

        Args:
            first: what has been claimed.
            alike: whether a run fits to it.
            most: how many, at most.
            each: how many of one person at most, `first` among them; any number by default.
        """
        taken: list[Run] = []
        with self._write() as db:
            served = db.execute("SELECT person FROM wishes WHERE run_id = ? AND served", (first.run_id,)).fetchone()
            counts = {served["person"] if served else "": 1}
            for run_id, person in _order(db, only, None):
                if len(taken) >= most:
                    break
                if each is not None and counts.get(person, 0) >= each:
                    continue
                run = _readable(db, run_id)
                if run is not None and alike(run):
                    taken.append(_taken(db, run_id, owner))
                    counts[person] = counts.get(person, 0) + 1
        return taken

    def rivals(self, run_id: str, only: Iterable[str] | None = None) -> int:
        """How many persons have something waiting besides the one whose turn took this run."""
        with self._read() as db:
            served = db.execute("SELECT person FROM wishes WHERE run_id = ? AND served", (run_id,)).fetchone()
            return len({person for _, person in _wishes(db, only)} - {served["person"] if served else ""})

    def any_waiting(self, only: Iterable[str] | None = None) -> bool:
        """Whether there is anything to claim."""
        with self._read() as db:
            return bool(_wishes(db, only))

    def ask_to_stop(self, run_id: str) -> None:
        """Stop a run: at once if it waits, within one batch if it trains."""
        with self._write() as db:
            if db.execute("UPDATE runs SET status = ?, demands = '[]' WHERE run_id = ? AND status = ?",
                          (STOPPED, run_id, QUEUED)).rowcount:
                _forget_wishes(db, run_id)
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
                db.execute("UPDATE wishes SET served = 0 WHERE run_id = ?", (run_id,))
            else:
                # The phase stays: it tells in which one a run failed.
                db.execute(
                    "UPDATE runs SET status = ?, message = ?, demands = '[]', stop = 0, progress = '{}', "
                    "peak_mb = MAX(peak_mb, ?) WHERE run_id = ?", (status, message, peak_mb, run_id))
                _event(db, run_id, status, message)
                _forget_wishes(db, run_id)
        return True

    def put_back(self, run_id: str, attempt: int) -> None:
        """Return a run that never began to its old place in the queue, and its turn to whoever had it."""
        with self._write() as db:
            if db.execute("UPDATE runs SET status = ?, owner = '', phase = '' WHERE run_id = ? AND attempt = ? "
                          "AND status = ?", (QUEUED, run_id, attempt, RUNNING)).rowcount:
                db.execute("UPDATE persons SET turn = MIN(persons.turn, wishes.turn) FROM wishes WHERE run_id = ? "
                           "AND served AND wishes.person = persons.person", (run_id,))
                db.execute("UPDATE wishes SET served = 0 WHERE run_id = ?", (run_id,))

    def interrupt(self, owner: str, message: str) -> list[str]:
        """Mark what a dead owner had running; its epochs stay, and it can be continued."""
        with self._write() as db:
            rows = db.execute("SELECT run_id FROM runs WHERE status = ? AND owner = ?", (RUNNING, owner)).fetchall()
            for row in rows:
                db.execute(
                    "UPDATE runs SET status = ?, message = ?, demands = '[]', stop = 0, attempt = attempt + 1, "
                    "phase = '', progress = '{}' WHERE run_id = ?", (INTERRUPTED, message, row["run_id"]))
                _event(db, row["run_id"], INTERRUPTED, message)
                _forget_wishes(db, row["run_id"])
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

    def place(self, run_id: str, most_training: int | None = None) -> int:
        """How many runs will be taken before this one, if nobody asks for anything more; 0 if it does not wait."""
        with self._read() as db:
            order = [waiting for waiting, _ in _order(db, None, most_training)]
        return order.index(run_id) if run_id in order else 0

    def queue(self, most_training: int | None = None) -> tuple[list[Work], list[Work]]:
        """What is training, and what waits in the order in which it will be taken, as of one moment."""
        with self._read() as db:
            db.execute("BEGIN")
            rows = {row["run_id"]: row for row in db.execute(
                "SELECT run_id, status, config, demands, seconds, "
                "(SELECT MAX(epoch) FROM epochs WHERE epochs.run_id = runs.run_id) AS epochs "
                "FROM runs WHERE status IN (?, ?) ORDER BY ticket", (QUEUED, RUNNING))}
            waiting = [rows[run_id] for run_id, _ in _order(db, None, most_training)]
        training = [row for row in rows.values() if row["status"] == RUNNING]
        return [_work(row) for row in training], [_work(row) for row in waiting]

    def measured(self, most: int) -> list[Work]:
        """The runs that were finished latest, with their epochs and what those took."""
        with self._read() as db:
            rows = db.execute(
                "SELECT run_id, config, '[]' AS demands, seconds, "
                "(SELECT MAX(epoch) FROM epochs WHERE epochs.run_id = runs.run_id) AS epochs "
                "FROM runs WHERE status = ? ORDER BY ticket DESC LIMIT ?", (FINISHED, most)).fetchall()
        return [_work(row) for row in rows if row["epochs"]]

    def reached(self, run_ids: Iterable[str]) -> dict[str, int]:
        """The last stored epoch of each of these runs that has one."""
        wanted = list(run_ids)
        marks = ", ".join("?" * len(wanted))
        with self._read() as db:
            rows = db.execute(f"SELECT run_id, MAX(epoch) AS epochs FROM epochs WHERE run_id IN ({marks}) "
                              "GROUP BY run_id", wanted).fetchall()
        return {row["run_id"]: row["epochs"] for row in rows}

    def waiting_for(self, person: str) -> int:
        """How many runs wait because this person was the first to ask for them."""
        with self._read() as db:
            return db.execute("SELECT COUNT(*) FROM runs JOIN wishes USING (run_id) WHERE status = ? AND person = ? "
                              "AND first", (QUEUED, person)).fetchone()[0]

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

    # -- from store to store --------------------------------------------------------------------------

    def run_ids(self) -> list[str]:
        """Every run, the oldest first."""
        with self._read() as db:
            return [row["run_id"] for row in db.execute("SELECT run_id FROM runs ORDER BY created_at, run_id")]

    def carried(self, run_id: str) -> Carried | None:
        """A run with all that is known of it as of one moment, or `None` where it is not known."""
        with self._read() as db:
            db.execute("BEGIN")
            row = db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone()
            if row is None:
                return None
            scores = db.execute("SELECT epoch, metrics FROM scores WHERE run_id = ?", (run_id,)).fetchall()
            return Carried(
                *(row[name] if name != "versions" else json.loads(row[name]) for name in _CARRIED),
                _epochs(db, run_id), {score["epoch"]: json.loads(score["metrics"]) for score in scores})

    def adopt(self, runs: Iterable[Carried]) -> dict[str, str]:
        """Take over runs that another store has trained, all of them in one moment.

        Returns:
            What became of each, by its `run_id`: `NEW`; `LONGER`, where fewer of its epochs were known and those
            agree; `OTHER`, where they do not agree; `KNOWN`, where as many were known, and `BUSY`, where it waits or
            trains here: these two stay as they are.
        """
        became: dict[str, str] = {}
        with self._write(lasting=True) as db:
            for run in runs:
                row = db.execute("SELECT status FROM runs WHERE run_id = ?", (run.run_id,)).fetchone()
                here = _epochs(db, run.run_id)
                if row and row["status"] in (QUEUED, RUNNING):
                    became[run.run_id] = BUSY
                    continue
                if row and len(here) >= len(run.epochs):
                    became[run.run_id] = KNOWN
                    continue
                agree = all(_timeless(one) == _timeless(two) for one, two in zip(here, run.epochs))
                became[run.run_id] = NEW if row is None else LONGER if agree else OTHER
                self._take_over(db, run, keep_scores=agree)
        return became

    def _take_over(self, db: sqlite3.Connection, run: Carried, keep_scores: bool) -> None:
        db.execute("INSERT OR IGNORE INTO runs (run_id, config, versions, created_at, status) VALUES (?, ?, ?, ?, ?)",
                   (run.run_id, run.config, json.dumps(run.versions), run.created_at, run.status))
        # One attempt more: it is not to be mistaken for a run that nobody has begun.
        db.execute("UPDATE runs SET status = ?, message = ?, device = ?, threads = ?, seconds = ?, peak_mb = ?, "
                   "attempt = attempt + 1, demands = '[]', stop = 0, progress = '{}' WHERE run_id = ?",
                   (run.status, run.message, run.device, run.threads, run.seconds, run.peak_mb, run.run_id))
        db.execute("DELETE FROM epochs WHERE run_id = ?", (run.run_id,))
        if not keep_scores:
            db.execute("DELETE FROM scores WHERE run_id = ?", (run.run_id,))
        db.executemany("INSERT INTO epochs VALUES (?, ?, ?)",
                       [(run.run_id, row["epoch"], _metrics(row)) for row in run.epochs])
        db.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)",
                       [(run.run_id, epoch, _metrics(score)) for epoch, score in run.scores.items()])
        _event(db, run.run_id, "imported", f"{len(run.epochs)} epochs")

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


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "seconds"}


def _next_ticket(db: sqlite3.Connection) -> int:
    return db.execute("SELECT COALESCE(MAX(ticket), 0) + 1 FROM runs").fetchone()[0]


def _next_turn(db: sqlite3.Connection) -> int:
    return db.execute("SELECT COALESCE(MAX(turn), 0) + 1 FROM persons").fetchone()[0]


def _wishes(db: sqlite3.Connection, only: Iterable[str] | None) -> list[tuple[str, str]]:
    """Each run that waits with each person who wants it; one that nobody is known to want is the nameless person's."""
    rows = db.execute("SELECT run_id, COALESCE(person, '') FROM runs LEFT JOIN wishes USING (run_id) "
                      "WHERE status = ? ORDER BY ticket", (QUEUED,)).fetchall()
    chosen = None if only is None else set(only)
    return [tuple(row) for row in rows if chosen is None or row[0] in chosen]


def _order(db: sqlite3.Connection, only: Iterable[str] | None, most: int | None) -> list[tuple[str, str]]:
    wishes = _wishes(db, only)
    if not wishes:
        return []
    standing = dict(db.execute("SELECT person, turn FROM persons").fetchall())
    training = dict(db.execute("SELECT person, COUNT(*) FROM runs JOIN wishes USING (run_id) WHERE status = ? AND "
                               "served GROUP BY person", (RUNNING,)).fetchall())
    return turns.order(wishes, standing, training, most)


def _readable(db: sqlite3.Connection, run_id: str) -> Run | None:
    """A waiting run; one whose settings cannot be read is given up instead."""
    try:
        return _run(db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone())
    except (ValueError, TypeError, KeyError) as error:
        db.execute("UPDATE runs SET status = ?, message = ? WHERE run_id = ?",
                   (FAILED, f"This version of the explorer cannot read the run's settings ({error}).", run_id))
        _forget_wishes(db, run_id)
        return None


def _taken(db: sqlite3.Connection, run_id: str, owner: str) -> Run:
    db.execute("UPDATE runs SET status = ?, owner = ?, attempt = attempt + 1, phase = 'starting', progress = '{}' "
               "WHERE run_id = ?", (RUNNING, owner, run_id))
    return _run(db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone())


def _forget_wishes(db: sqlite3.Connection, run_id: str) -> None:
    """A run has ended: nobody waits for it any more, and who wants nothing else leaves the ring."""
    db.execute("DELETE FROM wishes WHERE run_id = ?", (run_id,))
    db.execute("DELETE FROM persons WHERE person NOT IN (SELECT person FROM wishes)")


def _event(db: sqlite3.Connection, run_id: str, kind: str, detail: str) -> None:
    db.execute("INSERT INTO events (run_id, at, kind, detail) VALUES (?, ?, ?, ?)",
               (run_id, time.time(), kind, detail))


def _run(row: sqlite3.Row, config: RunConfig | None = None) -> Run:
    values = {name: row[name] for name in row.keys() if name != "versions"}
    values |= {"config": config or RunConfig.from_json(row["config"]), "demands": _demands(row["demands"]),
               "stop": bool(row["stop"]), "progress": json.loads(row["progress"])}
    return Run(**values)


def _work(row: sqlite3.Row) -> Work:
    wanted = max((demand["epochs"] for demand in json.loads(row["demands"])), default=0)
    return Work(row["run_id"], _config(row["config"]), wanted, row["epochs"] or 0, row["seconds"])


@lru_cache(maxsize=2_000)
def _config(text: str) -> RunConfig | None:
    """Read again and again while runs wait."""
    try:
        return RunConfig.from_json(text)
    except (ValueError, TypeError, KeyError):
        return None
