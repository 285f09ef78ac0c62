"""The store: one SQLite file with every run, its epochs, scores and queue. It knows nothing else."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from explorer import turns
from explorer.config import Demand, RunConfig
from explorer.database import Database
from explorer.stopping import satisfied
from explorer.stored import (
    DIVERGED,
    FAILED,
    FINISHED,
    INTERRUPTED,
    QUEUED,
    RUNNING,
    STOPPED,
    Carried,
    Latest,
    Run,
    Work,
    dump_demands,
    dump_metrics,
    read_demands,
    read_run,
    read_work,
)

__all__ = ["DIVERGED", "FAILED", "FINISHED", "INTERRUPTED", "QUEUED", "RUNNING", "STOPPED", "Carried", "Latest", "Run",
           "RunStore", "Superseded", "Work"]

# What becomes of a run that comes from another store, see `RunStore.adopt`.
NEW, LONGER, OTHER, KNOWN, BUSY = "new", "longer", "other", "known", "busy"
# The numbers of an epoch by which runs are compared.
BRIEF = ("epoch", "train_crossentropy", "val_crossentropy", "val_accuracy")

# What of a row of `runs` goes along to another store.
_CARRIED = ("run_id", "config", "versions", "created_at", "status", "message", "device", "threads", "seconds",
            "peak_mb")

class Superseded(RuntimeError):
    """A writer whose attempt at a run has been given to another."""


class RunStore(Database):
    """The runs in one file; see `Database`."""

    # -- requests -------------------------------------------------------------------------------------

    def request(self, run_id: str, config: RunConfig, demand: Demand, versions: dict[str, str],
                person: str = "") -> Run:
        """Ask for a run; one that is queued or running already takes the further demand along.

        Args:
            person: who asks; any text that is the same for all wishes of one person, and no other's.
        """
        with self._write(lasting=not self._covers(run_id, demand)) as db:
            found = db.execute("SELECT status, demands FROM runs WHERE run_id = ?", (run_id,)).fetchone()
            if found and found["status"] in (QUEUED, RUNNING):
                demands = _merged([*read_demands(found["demands"]), demand])
                # Who asks for it now takes back a stop that is not yet carried out; `end` heeds it.
                db.execute("UPDATE runs SET demands = ?, stop = 0 WHERE run_id = ?", (dump_demands(demands), run_id))
            elif found:
                db.execute(
                    "UPDATE runs SET status = ?, demands = ?, ticket = ?, stop = 0, message = '', phase = '', "
                    "progress = '{}' WHERE run_id = ?", (QUEUED, dump_demands([demand]), _next_ticket(db), run_id))
            else:
                db.execute(
                    "INSERT INTO runs (run_id, config, versions, created_at, status, demands, ticket) "
                    "VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (run_id, config.canonical_json(), json.dumps(versions), time.time(), QUEUED,
                     dump_demands([demand]), _next_ticket(db)))
            is_live = bool(found) and found["status"] in (QUEUED, RUNNING)
            db.execute("INSERT OR IGNORE INTO wishes (run_id, person, at, first) VALUES (?, ?, ?, ?)",
                       (run_id, person, time.time(), not is_live))
            # Who comes joins the ring at its end; who is in it keeps their place, however often they ask.
            db.execute("INSERT OR IGNORE INTO persons VALUES (?, ?)", (person, _next_turn(db)))
            _event(db, run_id, "requested", json.dumps(asdict(demand)))
        return self.run(run_id)

    def _covers(self, run_id: str, demand: Demand) -> bool:
        """Whether a run waits or trains already for as much: a class that presses the same button need not wait for
        the disk fifty times."""
        with self._read() as db:
            found = db.execute("SELECT status, demands FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        if not found or found["status"] not in (QUEUED, RUNNING):
            return False
        known = list(read_demands(found["demands"]))
        return _merged([*known, demand]) == known

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
                       (run_id, metrics["epoch"], dump_metrics(metrics)))
            if new:
                db.execute("UPDATE runs SET seconds = seconds + ? WHERE run_id = ?", (metrics["seconds"], run_id))

    def write_score(self, run_id: str, attempt: int, metrics: dict[str, Any]) -> None:
        """Store the test score after an epoch. Raises: Superseded."""
        with self._write() as db:
            self._hold(db, run_id, attempt)
            db.execute("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)",
                       (run_id, metrics["epoch"], dump_metrics(metrics)))

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
                db.execute("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)",
                           (run_id, score["epoch"], dump_metrics(score)))
            curve = [metrics.get("val_crossentropy") for metrics in _epochs(db, run_id)]
            taken_back = status == STOPPED and obeyed and not row["stop"]
            if (status == FINISHED or taken_back) and not satisfied(curve, read_demands(row["demands"])):
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
        return None if row is None else read_run(row)

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
            return read_run(row), _epochs(db, run_id), {s["epoch"]: json.loads(s["metrics"]) for s in scores}

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
                found[run_id] = (read_run(row, config), [dict(zip(BRIEF, epoch)) for epoch in epochs],
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
                found.append(Latest(run_id, status, ticket, config, read_demands(demands), tuple(map(tuple, further))))
        return found

    def with_status(self, *statuses: str) -> list[Run]:
        """Runs in these states, in the order of their tickets."""
        marks = ", ".join("?" * len(statuses))
        with self._read() as db:
            rows = db.execute(f"SELECT * FROM runs WHERE status IN ({marks}) ORDER BY ticket", statuses).fetchall()
        return [read_run(row) for row in rows]

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
        return [read_work(row) for row in training], [read_work(row) for row in waiting]

    def measured(self, most: int) -> list[Work]:
        """The runs that were finished latest, with their epochs and what those took."""
        with self._read() as db:
            rows = db.execute(
                "SELECT run_id, config, '[]' AS demands, seconds, "
                "(SELECT MAX(epoch) FROM epochs WHERE epochs.run_id = runs.run_id) AS epochs "
                "FROM runs WHERE status = ? ORDER BY ticket DESC LIMIT ?", (FINISHED, most)).fetchall()
        return [read_work(row) for row in rows if row["epochs"]]

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
                       [(run.run_id, row["epoch"], dump_metrics(row)) for row in run.epochs])
        db.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)",
                       [(run.run_id, epoch, dump_metrics(score)) for epoch, score in run.scores.items()])
        _event(db, run.run_id, "imported", f"{len(run.epochs)} epochs")

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
        return read_run(db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone())
    except (ValueError, TypeError, KeyError) as error:
        db.execute("UPDATE runs SET status = ?, message = ? WHERE run_id = ?",
                   (FAILED, f"This version of the explorer cannot read the run's settings ({error}).", run_id))
        _forget_wishes(db, run_id)
        return None


def _taken(db: sqlite3.Connection, run_id: str, owner: str) -> Run:
    db.execute("UPDATE runs SET status = ?, owner = ?, attempt = attempt + 1, phase = 'starting', progress = '{}' "
               "WHERE run_id = ?", (RUNNING, owner, run_id))
    return read_run(db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone())


def _forget_wishes(db: sqlite3.Connection, run_id: str) -> None:
    """A run has ended: nobody waits for it any more, and who wants nothing else leaves the ring."""
    db.execute("DELETE FROM wishes WHERE run_id = ?", (run_id,))
    db.execute("DELETE FROM persons WHERE person NOT IN (SELECT person FROM wishes)")


def _event(db: sqlite3.Connection, run_id: str, kind: str, detail: str) -> None:
    db.execute("INSERT INTO events (run_id, at, kind, detail) VALUES (?, ?, ?, ?)",
               (run_id, time.time(), kind, detail))
