"""The store: every run, its epochs and scores, in an SQLite file or a PostgreSQL database, and how they are written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from explorer.config.plan import satisfied
from explorer.config.run_config import Demand, RunConfig
from explorer.store.models import (
    DIVERGED,
    FAILED,
    FINISHED,
    INTERRUPTED,
    QUEUED,
    RUNNING,
    STOPPED,
    ExportedRun,
    Latest,
    Run,
    Work,
    dump_demands,
    dump_metrics,
    read_demands,
)
from explorer.store.queries import RunQueries, epochs_of
from explorer.store.queue import RunQueue, add_wish, forget_wishes, require_room
from explorer.store.sqlite import Database

__all__ = ["DIVERGED", "FAILED", "FINISHED", "INTERRUPTED", "QUEUED", "RUNNING", "STOPPED", "ExportedRun", "Latest",
           "Run", "RunStore", "StaleAttempt", "Work"]

# What becomes of a run that comes from another store, see `RunStore.adopt`.
NEW, LONGER, OTHER, KNOWN, BUSY = "new", "longer", "other", "known", "busy"
# Of what happened to one run, the latest is kept.
MAX_EVENTS = 100
# Runs that are deleted in one go: others want to write, too.
MAX_DELETED = 500
# The same once more replaces what was there.
_KEEP_EPOCH, _KEEP_SCORE = (
    f"INSERT INTO {table} VALUES (?, ?, ?) ON CONFLICT (run_id, epoch) DO UPDATE SET metrics = excluded.metrics"
    for table in ("epochs", "scores"))


class StaleAttempt(RuntimeError):
    """A writer whose attempt at a run has been given to another."""


class RunStore(RunQueries, RunQueue):
    """The runs in one file or one database. The SQL is what SQLite and PostgreSQL both understand.

    Args:
        place: a file, see `explorer.store.sqlite.Database`, or an address, see `explorer.store.postgres.Postgres`.
        patience: how long to wait for a database that does not answer, in seconds.
        may_set_aside: whether this is the start of a server, see `explorer.store.sqlite.Database`.

    Raises:
        sqlite3.Error, StoreError: it cannot be opened; a damaged file is a `DamagedStore`.
    """

    def __init__(self, place: Path | str, patience: float = 0.0, may_set_aside: bool = False):
        if str(place).startswith(("postgresql:", "postgres:")):
            from explorer.store.postgres import Postgres

            self.database: Any = Postgres(str(place), patience)
        else:
            self.database = Database(Path(place), may_set_aside)
        self._read, self._write = self.database.read, self.database.write

    @property
    def set_aside(self) -> Path | None:
        """A damaged file under its new name, where there was one."""
        return self.database.set_aside

    def close(self) -> None:
        """Leave the store; see `Database.close`."""
        self.database.close()

    # -- requests -------------------------------------------------------------------------------------

    def request(self, run_id: str, config: RunConfig, demand: Demand, versions: dict[str, str],
                person: str = "") -> Run:
        """Ask for one run, however many wait; see `request_all`."""
        self.request_all([(run_id, config, demand)], versions, person)
        return self.run(run_id)

    def request_all(self, asked: Sequence[tuple[str, RunConfig, Demand]], versions: dict[str, str], person: str = "",
                    most: int | None = None, most_own: int | None = None) -> None:
        """Ask for several runs, for all of them or for none: one that waits or trains takes the further demand along.

        All is one transaction, with the look at how many wait: whoever else asks comes before or after.
        Args:
            asked: `run_id`, config and demand of each; the same run may be wanted in several ways.
            person: who asks; any text that is the same for all wishes of one person, and no other's.
            most, most_own: how many runs may wait, of all and of this person; any number by default. A run that waits
                or trains already counts for nothing.

        Raises:
            QueueFull: more would wait than may; nothing has been asked for.
        """
        with self._write(lasting=not self._covers(asked)) as db:
            run_ids = {run_id for run_id, *_ in asked}
            live = _live(db, run_ids)
            require_room(db, len(run_ids) - len(live), person, most, most_own)
            for run_id, config, demand in asked:
                self._request(db, run_id, config, demand, versions, live.get(run_id))
                add_wish(db, run_id, person, is_first=run_id not in live)
                live[run_id] = _merged([*live.get(run_id, ()), demand])
                _event(db, run_id, "requested", json.dumps(asdict(demand)))

    @staticmethod
    def _request(db: Any, run_id: str, config: RunConfig, demand: Demand, versions: dict[str, str],
                 demands: Sequence[Demand] | None) -> None:
        if demands is not None:
            # Who asks for it now takes back a stop that is not yet carried out; `end` heeds it.
            db.execute("UPDATE runs SET demands = ?, stop = 0 WHERE run_id = ?",
                       (dump_demands(_merged([*demands, demand])), run_id))
            return
        db.execute(
            "INSERT INTO runs (run_id, config, versions, created_at, status, demands, ticket) "
            "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run_id) DO UPDATE SET status = excluded.status, "
            "demands = excluded.demands, ticket = excluded.ticket, stop = 0, message = '', phase = '', progress = '{}'",
            (run_id, config.canonical_json(), json.dumps(versions), time.time(), QUEUED, dump_demands([demand]),
             _next_ticket(db)))

    def _covers(self, asked: Sequence[tuple[str, RunConfig, Demand]]) -> bool:
        # A class that presses the same button need not wait for the disk fifty times.
        with self._read() as db:
            live = _live(db, {run_id for run_id, *_ in asked})
        return all(run_id in live and _merged([*live[run_id], demand]) == list(live[run_id])
                   for run_id, _, demand in asked)

    def ask_to_stop(self, run_id: str) -> None:
        """Stop a run: at once if it waits, within one batch if it trains."""
        with self._write() as db:
            if db.execute("UPDATE runs SET status = ?, demands = '[]' WHERE run_id = ? AND status = ?",
                          (STOPPED, run_id, QUEUED)).rowcount:
                forget_wishes(db, run_id)
            db.execute("UPDATE runs SET stop = 1 WHERE run_id = ? AND status = ?", (run_id, RUNNING))

    # -- writing while training -----------------------------------------------------------------------

    def write_progress(self, run_id: str, attempt: int, phase: str, progress: dict[str, int]) -> None:
        """Raises: StaleAttempt: another attempt has the run."""
        with self._write() as db:
            self._hold(db, run_id, attempt)
            db.execute("UPDATE runs SET phase = ?, progress = ? WHERE run_id = ?",
                       (phase, json.dumps(progress), run_id))

    def write_epoch(self, run_id: str, attempt: int, metrics: dict[str, Any]) -> None:
        """Store one epoch; the same epoch again replaces it.

        Raises:
            StaleAttempt: another attempt has the run.
        """
        with self._write() as db:
            self._hold(db, run_id, attempt)
            new = db.execute("SELECT 1 FROM epochs WHERE run_id = ? AND epoch = ?",
                             (run_id, metrics["epoch"])).fetchone() is None
            db.execute(_KEEP_EPOCH,
                       (run_id, metrics["epoch"], dump_metrics(metrics)))
            if new:
                # What was told last is of this epoch, or of one before it: quick epochs are not all told of.
                db.execute("UPDATE runs SET seconds = seconds + ?, progress = '{}' WHERE run_id = ?",
                           (metrics["seconds"], run_id))

    def write_score(self, run_id: str, attempt: int, metrics: dict[str, Any]) -> None:
        """Store the test score after an epoch. Raises: StaleAttempt."""
        with self._write() as db:
            self._hold(db, run_id, attempt)
            db.execute(_KEEP_SCORE,
                       (run_id, metrics["epoch"], dump_metrics(metrics)))

    def write_device(self, run_id: str, attempt: int, device: str, threads: int) -> None:
        """Store what a run is trained on. Raises: StaleAttempt."""
        with self._write() as db:
            self._hold(db, run_id, attempt)
            db.execute("UPDATE runs SET device = ?, threads = ? WHERE run_id = ?", (device, threads, run_id))

    def end(self, run_id: str, attempt: int, status: str, message: str = "", peak_mb: float = 0.0,
            obeyed: bool = False, score: dict[str, Any] | None = None, best: dict[str, Any] | None = None) -> bool:
        """Close an attempt.

        Its test scores are stored in the same moment, so that nobody sees a run that is done and has not ended.

        A demand that grew while the last epoch was computed sends a finished run back into the queue, and so does
        one that was made after a stop had been sent and before it was obeyed.

        Args:
            obeyed: whether it ends because it was told to stop.
            score, best: test scores after its last epoch and after its best one, see `write_score`.

        Returns:
            Whether this attempt still had the run.
        """
        with self._write(lasting=True) as db:
            row = db.execute("SELECT status, attempt, demands, stop FROM runs WHERE run_id = ?", (run_id,)).fetchone()
            if row is None or row["attempt"] != attempt or row["status"] != RUNNING:
                return False
            for one in filter(None, (best, score)):
                db.execute(_KEEP_SCORE, (run_id, one["epoch"], dump_metrics(one)))
            curve = [metrics.get("val_crossentropy") for metrics in epochs_of(db, run_id)]
            taken_back = status == STOPPED and obeyed and not row["stop"]
            if (status == FINISHED or taken_back) and not satisfied(curve, read_demands(row["demands"])):
                db.execute("UPDATE runs SET status = ?, ticket = ?, phase = '', progress = '{}' WHERE run_id = ?",
                           (QUEUED, _next_ticket(db), run_id))
                db.execute("UPDATE wishes SET served = 0 WHERE run_id = ?", (run_id,))
            else:
                # The phase stays: it tells in which one a run failed.
                db.execute(
                    "UPDATE runs SET status = ?, message = ?, demands = '[]', stop = 0, progress = '{}', "
                    "peak_mb = CASE WHEN peak_mb < ? THEN ? ELSE peak_mb END WHERE run_id = ?",
                    (status, message, peak_mb, peak_mb, run_id))
                _event(db, run_id, status, message)
                forget_wishes(db, run_id)
        return True

    def interrupt(self, owner: str, message: str) -> list[str]:
        """Mark what a dead owner had running; its epochs stay, and it can be continued."""
        with self._write() as db:
            rows = db.execute("SELECT run_id FROM runs WHERE status = ? AND owner = ?", (RUNNING, owner)).fetchall()
            for row in rows:
                db.execute(
                    "UPDATE runs SET status = ?, message = ?, demands = '[]', stop = 0, attempt = attempt + 1, "
                    "phase = '', progress = '{}' WHERE run_id = ?", (INTERRUPTED, message, row["run_id"]))
                _event(db, row["run_id"], INTERRUPTED, message)
                forget_wishes(db, row["run_id"])
        return [row["run_id"] for row in rows]

    # -- its size ------------------------------------------------------------------------------------

    def prune(self, most: int, spared: Callable[[], Collection[str]] = tuple) -> list[str]:
        """Delete runs with all that is known of them until no more than so many are left, or none more may go.

        Those that nobody has asked for for the longest time go first; none that waits or trains goes. The room in the
        file is used again.

        Args:
            spared: asked for runs that go last, if there is anything to delete.

        Returns:
            Those that are gone, some hundreds at most; the next call goes on.
        """
        with self._read() as db:
            excess = db.execute("SELECT COUNT(*) FROM runs").fetchone()[0] - most
            if excess <= 0:
                return []
            ended = [row["run_id"] for row in db.execute(
                "SELECT run_id FROM runs WHERE status NOT IN (?, ?) ORDER BY ticket, created_at, run_id",
                (QUEUED, RUNNING))]
        last = set(spared())
        chosen = sorted(ended, key=lambda run_id: run_id in last)[:min(excess, MAX_DELETED)]
        gone = []
        with self._write() as db:
            for run_id in chosen:
                # Somebody may have asked for it meanwhile.
                if db.execute("DELETE FROM runs WHERE run_id = ? AND status NOT IN (?, ?)",
                              (run_id, QUEUED, RUNNING)).rowcount:
                    for table in ("epochs", "scores", "events", "wishes"):
                        db.execute(f"DELETE FROM {table} WHERE run_id = ?", (run_id,))
                    gone.append(run_id)
        return gone

    # -- from store to store --------------------------------------------------------------------------

    def adopt(self, runs: Iterable[ExportedRun]) -> dict[str, str]:
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
                here = epochs_of(db, run.run_id)
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

    def _take_over(self, db: Any, run: ExportedRun, keep_scores: bool) -> None:
        db.execute("INSERT INTO runs (run_id, config, versions, created_at, status) VALUES (?, ?, ?, ?, ?) "
                   "ON CONFLICT DO NOTHING",
                   (run.run_id, run.config, json.dumps(run.versions), run.created_at, run.status))
        # One attempt more: it is not to be mistaken for a run that nobody has begun.
        db.execute("UPDATE runs SET status = ?, message = ?, device = ?, threads = ?, seconds = ?, peak_mb = ?, "
                   "attempt = attempt + 1, demands = '[]', stop = 0, progress = '{}' WHERE run_id = ?",
                   (run.status, run.message, run.device, run.threads, run.seconds, run.peak_mb, run.run_id))
        db.execute("DELETE FROM epochs WHERE run_id = ?", (run.run_id,))
        if not keep_scores:
            db.execute("DELETE FROM scores WHERE run_id = ?", (run.run_id,))
        db.executemany("INSERT INTO epochs VALUES (?, ?, ?)",
                       [(run.run_id, row["epoch"], dump_metrics(row)) for row in run.epochs])
        db.executemany(_KEEP_SCORE,
                       [(run.run_id, epoch, dump_metrics(score)) for epoch, score in run.scores.items()])
        _event(db, run.run_id, "imported", f"{len(run.epochs)} epochs")

    @staticmethod
    def _hold(db: Any, run_id: str, attempt: int) -> None:
        row = db.execute("SELECT attempt, status FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        if row is None or row["attempt"] != attempt or row["status"] != RUNNING:
            raise StaleAttempt(f"run {run_id}: attempt {attempt} no longer has it")


def _merged(demands: Iterable[Demand]) -> list[Demand]:
    # Of demands that differ only in epochs, the longest covers the others.
    longest: dict[Hashable, Demand] = {}
    for demand in demands:
        key = demand.key(without=("epochs",))
        if key not in longest or longest[key].epochs < demand.epochs:
            longest[key] = demand
    return list(longest.values())


def _live(db: Any, run_ids: Collection[str]) -> dict[str, tuple[Demand, ...]]:
    """Those of some runs that wait or train, with what is asked of them."""
    marks = ", ".join("?" * len(run_ids))
    return {row["run_id"]: read_demands(row["demands"]) for row in db.execute(
        f"SELECT run_id, demands FROM runs WHERE run_id IN ({marks}) AND status IN (?, ?)",
        (*run_ids, QUEUED, RUNNING))}


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "seconds"}


def _next_ticket(db: Any) -> int:
    return db.execute("SELECT COALESCE(MAX(ticket), 0) + 1 FROM runs").fetchone()[0]


def _event(db: Any, run_id: str, kind: str, detail: str) -> None:
    db.execute("INSERT INTO events (run_id, at, kind, detail) VALUES (?, ?, ?, ?)",
               (run_id, time.time(), kind, detail))
    before = db.execute("SELECT id FROM events WHERE run_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?",
                        (run_id, MAX_EVENTS)).fetchone()
    if before:
        db.execute("DELETE FROM events WHERE run_id = ? AND id <= ?", (run_id, before["id"]))
