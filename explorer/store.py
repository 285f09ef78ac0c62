"""The store: every run, its epochs, scores and queue, in an SQLite file or a PostgreSQL database. No more."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
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
# Of one run: what happened to it last is kept, and of those who want it so many. Who comes later watches it all the
# same.
MOST_EVENTS, MOST_WISHES = 100, 500
# Runs that are deleted in one go: others want to write, too.
MOST_DELETED = 500
# The numbers of an epoch by which runs are compared.
BRIEF = ("epoch", "train_crossentropy", "val_crossentropy", "val_accuracy")

# What of a row of `runs` goes along to another store.
_CARRIED = ("run_id", "config", "versions", "created_at", "status", "message", "device", "threads", "seconds",
            "peak_mb")
# The same once more replaces what was there.
_KEEP_EPOCH, _KEEP_SCORE = (
    f"INSERT INTO {table} VALUES (?, ?, ?) ON CONFLICT (run_id, epoch) DO UPDATE SET metrics = excluded.metrics"
    for table in ("epochs", "scores"))


class Superseded(RuntimeError):
    """A writer whose attempt at a run has been given to another."""


class RunStore:
    """The runs in one file or one database. The SQL is what SQLite and PostgreSQL both understand.

    Args:
        place: a file, see `explorer.database.Database`, or an address, see `explorer.postgres.Postgres`.
        patience: how long to wait for a database that does not answer, in seconds.
    """

    def __init__(self, place: Path | str, patience: float = 0.0):
        if str(place).startswith(("postgresql:", "postgres:")):
            from explorer.postgres import Postgres

            self.database: Any = Postgres(str(place), patience)
        else:
            self.database = Database(Path(place))
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
            if db.execute("SELECT COUNT(*) FROM wishes WHERE run_id = ?", (run_id,)).fetchone()[0] < MOST_WISHES:
                db.execute("INSERT INTO wishes (run_id, person, at, first) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                           (run_id, person, time.time(), int(not is_live)))
                # Who comes joins the ring at its end; who is in it keeps their place, however often they ask.
                db.execute("INSERT INTO persons VALUES (?, ?) ON CONFLICT DO NOTHING", (person, _next_turn(db)))
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

    def claim(self, owner: str, only: Iterable[str] | None = None, most_training: int | None = None,
              fits: Callable[[Run], bool] = lambda run: True) -> Run | None:
        """Take the next run of the queue; of several that ask at once, one gets it.

        It is the turn of one of those who want it, see `explorer.turns`.

        Args:
            owner: who takes it.
            only: runs to choose from; all of them by default.
            most_training: a person who has so many places lets others go first.
            fits: whether the owner can train a run; one that does not fit is left to other owners.
        """
        with self._write() as db:
            for run_id, person in _order(db, only, most_training):
                run = _readable(db, run_id)
                if run is None or not fits(run):
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
            served = db.execute("SELECT person FROM wishes WHERE run_id = ? AND served = 1", (first.run_id,)).fetchone()
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
            served = db.execute("SELECT person FROM wishes WHERE run_id = ? AND served = 1", (run_id,)).fetchone()
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
            db.execute(_KEEP_EPOCH,
                       (run_id, metrics["epoch"], dump_metrics(metrics)))
            if new:
                db.execute("UPDATE runs SET seconds = seconds + ? WHERE run_id = ?", (metrics["seconds"], run_id))

    def write_score(self, run_id: str, attempt: int, metrics: dict[str, Any]) -> None:
        """Store the test score after an epoch. Raises: Superseded."""
        with self._write() as db:
            self._hold(db, run_id, attempt)
            db.execute(_KEEP_SCORE,
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
                db.execute(_KEEP_SCORE,
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
                    "peak_mb = CASE WHEN peak_mb < ? THEN ? ELSE peak_mb END WHERE run_id = ?",
                    (status, message, peak_mb, peak_mb, run_id))
                _event(db, run_id, status, message)
                _forget_wishes(db, run_id)
        return True

    def put_back(self, run_id: str, attempt: int) -> None:
        """Return a run that never began to its old place in the queue, and its turn to whoever had it."""
        with self._write() as db:
            if db.execute("UPDATE runs SET status = ?, owner = '', phase = '' WHERE run_id = ? AND attempt = ? "
                          "AND status = ?", (QUEUED, run_id, attempt, RUNNING)).rowcount:
                db.execute("UPDATE persons SET turn = wishes.turn FROM wishes WHERE run_id = ? AND served = 1 "
                           "AND wishes.person = persons.person AND wishes.turn < persons.turn", (run_id,))
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
        if not configs:
            return {}
        marks, wanted = ", ".join("?" * len(configs)), list(configs)
        with self._read() as db:
            db.execute("BEGIN")
            rows = {row["run_id"]: row for row in db.execute(f"SELECT * FROM runs WHERE run_id IN ({marks})", wanted)}
            further = _further(db, {run_id: held.get(run_id, 0) for run_id in wanted}, BRIEF[1:])
            scores: dict[str, dict[int, Any]] = {}
            for run_id, epoch in db.execute(f"SELECT run_id, epoch FROM scores WHERE run_id IN ({marks})", wanted):
                scores.setdefault(run_id, {})[epoch] = {}
        return {run_id: (read_run(rows[run_id], config), [dict(zip(BRIEF, epoch)) for epoch in further[run_id]],
                         scores.get(run_id, {})) for run_id, config in configs.items() if run_id in rows}

    def latest(self, most: int, held: Mapping[str, tuple[str, int, int]]) -> list[Latest]:
        """The runs that were asked for last, as of one moment, for who looks at them again and again.

        Args:
            most: how many, at most.
            held: for each run that the asker has: its state, its ticket and how many epochs, as he saw them; of one
                that has ended since without being asked for again nothing is read.

        Returns:
            The latest first; each with its later epochs alone.
        """
        with self._read() as db:
            db.execute("BEGIN")
            found = {row["run_id"]: Latest(*row) for row in db.execute(
                "SELECT run_id, status, ticket FROM runs ORDER BY ticket DESC LIMIT ?", (most,))}
            changed = {}
            for run_id, one in found.items():
                *before, epochs = held.get(run_id, ("", 0, 0))
                if one.is_live or before != [one.status, one.ticket]:
                    changed[run_id] = epochs
            if changed:
                marks = ", ".join("?" * len(changed))
                further = _further(db, changed, ("val_crossentropy",))
                for row in db.execute(f"SELECT run_id, status, ticket, config, demands FROM runs "
                                      f"WHERE run_id IN ({marks})", list(changed)):
                    found[row["run_id"]] = Latest(*row[:4], read_demands(row["demands"]), tuple(further[row["run_id"]]))
        return list(found.values())

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
        if not wanted:
            return {}
        marks = ", ".join("?" * len(wanted))
        with self._read() as db:
            rows = db.execute(f"SELECT run_id, MAX(epoch) AS epochs FROM epochs WHERE run_id IN ({marks}) "
                              "GROUP BY run_id", wanted).fetchall()
        return {row["run_id"]: row["epochs"] for row in rows}

    def waiting_for(self, person: str) -> int:
        """How many runs wait because this person was the first to ask for them."""
        with self._read() as db:
            return db.execute("SELECT COUNT(*) FROM runs JOIN wishes USING (run_id) WHERE status = ? AND person = ? "
                              "AND first = 1", (QUEUED, person)).fetchone()[0]

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
        chosen = sorted(ended, key=lambda run_id: run_id in last)[:min(excess, MOST_DELETED)]
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

    def _take_over(self, db: Any, run: Carried, keep_scores: bool) -> None:
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
            raise Superseded(f"run {run_id}: attempt {attempt} no longer has it")


def _merged(demands: Iterable[Demand]) -> list[Demand]:
    # Of demands that differ only in epochs, the longest covers the others.
    longest: dict[tuple, Demand] = {}
    for demand in demands:
        key = (demand.patience, demand.device)
        if key not in longest or longest[key].epochs < demand.epochs:
            longest[key] = demand
    return list(longest.values())


def _epochs(db: Any, run_id: str) -> list[dict[str, Any]]:
    rows = db.execute("SELECT metrics FROM epochs WHERE run_id = ? ORDER BY epoch", (run_id,))
    return [json.loads(row["metrics"]) for row in rows]


def _further(db: Any, held: Mapping[str, int], names: Iterable[str]) -> dict[str, list[tuple]]:
    """Of each of several runs the epochs after those that are held, each with its number and these of its metrics.

    It is one question, however many runs there are: a database may be a long way off.
    """
    marks = ", ".join("(?, ?)" for _ in held)
    columns = "".join(f", json_extract(metrics, '$.{name}')" for name in names)
    found: dict[str, list[tuple]] = {run_id: [] for run_id in held}
    for run_id, *values in db.execute(
            f"WITH held (run_id, known) AS (VALUES {marks}) SELECT epochs.run_id, epoch{columns} FROM held "
            "CROSS JOIN epochs WHERE epochs.run_id = held.run_id AND epoch > known ORDER BY epochs.run_id, epoch",
            [value for pair in held.items() for value in pair]):
        found[run_id].append(tuple(values))
    return found


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "seconds"}


def _next_ticket(db: Any) -> int:
    return db.execute("SELECT COALESCE(MAX(ticket), 0) + 1 FROM runs").fetchone()[0]


def _next_turn(db: Any) -> int:
    return db.execute("SELECT COALESCE(MAX(turn), 0) + 1 FROM persons").fetchone()[0]


def _wishes(db: Any, only: Iterable[str] | None) -> list[tuple[str, str]]:
    """Each run that waits with each person who wants it; one that nobody is known to want is the nameless person's."""
    rows = db.execute("SELECT run_id, COALESCE(person, '') FROM runs LEFT JOIN wishes USING (run_id) "
                      "WHERE status = ? ORDER BY ticket, person", (QUEUED,)).fetchall()
    chosen = None if only is None else set(only)
    return [tuple(row) for row in rows if chosen is None or row[0] in chosen]


def _order(db: Any, only: Iterable[str] | None, most: int | None) -> list[tuple[str, str]]:
    wishes = _wishes(db, only)
    if not wishes:
        return []
    standing = dict(db.execute("SELECT person, turn FROM persons").fetchall())
    training = dict(db.execute("SELECT person, COUNT(*) FROM runs JOIN wishes USING (run_id) WHERE status = ? AND "
                               "served = 1 GROUP BY person", (RUNNING,)).fetchall())
    return turns.order(wishes, standing, training, most)


def _readable(db: Any, run_id: str) -> Run | None:
    """A waiting run; one whose settings cannot be read is given up instead."""
    try:
        return read_run(db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone())
    except (ValueError, TypeError, KeyError) as error:
        db.execute("UPDATE runs SET status = ?, message = ? WHERE run_id = ?",
                   (FAILED, f"This version of the explorer cannot read the run's settings ({error}).", run_id))
        _forget_wishes(db, run_id)
        return None


def _taken(db: Any, run_id: str, owner: str) -> Run:
    db.execute("UPDATE runs SET status = ?, owner = ?, attempt = attempt + 1, phase = 'starting', progress = '{}' "
               "WHERE run_id = ?", (RUNNING, owner, run_id))
    return read_run(db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone())


def _forget_wishes(db: Any, run_id: str) -> None:
    """A run has ended: nobody waits for it any more, and who wants nothing else leaves the ring."""
    db.execute("DELETE FROM wishes WHERE run_id = ?", (run_id,))
    db.execute("DELETE FROM persons WHERE person NOT IN (SELECT person FROM wishes)")


def _event(db: Any, run_id: str, kind: str, detail: str) -> None:
    db.execute("INSERT INTO events (run_id, at, kind, detail) VALUES (?, ?, ?, ?)",
               (run_id, time.time(), kind, detail))
    before = db.execute("SELECT id FROM events WHERE run_id = ? ORDER BY id DESC LIMIT 1 OFFSET ?",
                        (run_id, MOST_EVENTS)).fetchone()
    if before:
        db.execute("DELETE FROM events WHERE run_id = ? AND id <= ?", (run_id, before["id"]))
