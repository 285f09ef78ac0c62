"""What the store tells: one run with its epochs and scores, or many at a glance for who looks again and again."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

from explorer.config.run_config import RunConfig
from explorer.store.models import FINISHED, RUNNING, ExportedRun, Latest, Run, Work, read_demands, read_run, read_work

# The numbers of an epoch by which runs are compared.
BRIEF = ("epoch", "train_crossentropy", "val_crossentropy", "val_accuracy")
# What of a row of `runs` goes along to another store.
_CARRIED = ("run_id", "config", "versions", "created_at", "status", "message", "device", "threads", "seconds",
            "peak_mb")


class RunQueries:
    """As much of a store as only reads; for `explorer.store.store.RunStore`, which says how."""

    _read: Callable[[], AbstractContextManager[Any]]

    def run(self, run_id: str) -> Run | None:
        """A run, or `None` where it is not known."""
        with self._read() as db:
            row = db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone()
        return None if row is None else read_run(row)

    def epochs(self, run_id: str) -> list[dict[str, Any]]:
        """The stored epochs in order, one dictionary each (see `explorer.config.metrics.COLUMNS`)."""
        with self._read() as db:
            return epochs_of(db, run_id)

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
            return read_run(row), epochs_of(db, run_id), {s["epoch"]: json.loads(s["metrics"]) for s in scores}

    def snapshots(self, configs: Mapping[str, RunConfig],
                  held: Mapping[str, int]) -> dict[str, tuple[Run, list[dict[str, Any]], dict[int, Any]]]:
        """What `snapshot` tells, for many runs as of one moment and in brief, for who looks at them again and again.

        Args:
            configs: the runs that are asked for, by their `run_id`.
            held: how many epochs of each the asker has; only later ones are read.

        Returns:
            Those that are known: the run, its further epochs with the numbers in `BRIEF` alone, and its scores.
        """
        if not configs:
            return {}
        marks, wanted = ", ".join("?" * len(configs)), list(configs)
        with self._read() as db:
            db.execute("BEGIN")
            rows = {row["run_id"]: row for row in db.execute(f"SELECT * FROM runs WHERE run_id IN ({marks})", wanted)}
            further = _further(db, {run_id: held.get(run_id, 0) for run_id in wanted}, BRIEF[1:])
            scores: dict[str, dict[int, Any]] = {}
            for run_id, epoch, metrics in db.execute(
                    f"SELECT run_id, epoch, metrics FROM scores WHERE run_id IN ({marks})", wanted):
                scores.setdefault(run_id, {})[epoch] = json.loads(metrics)
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

    def events(self, run_id: str) -> list[tuple[str, str]]:
        """What happened to a run, as (kind, detail), oldest first."""
        with self._read() as db:
            rows = db.execute("SELECT kind, detail FROM events WHERE run_id = ? ORDER BY id", (run_id,)).fetchall()
        return [(row["kind"], row["detail"]) for row in rows]

    def counts(self) -> dict[str, int]:
        """Number of runs by state."""
        with self._read() as db:
            rows = db.execute("SELECT status, COUNT(*) AS n FROM runs GROUP BY status").fetchall()
        return {row["status"]: row["n"] for row in rows}

    def run_ids(self) -> list[str]:
        """Every run, the oldest first."""
        with self._read() as db:
            return [row["run_id"] for row in db.execute("SELECT run_id FROM runs ORDER BY created_at, run_id")]

    def carried(self, run_id: str) -> ExportedRun | None:
        """A run with all that is known of it as of one moment, or `None` where it is not known."""
        with self._read() as db:
            db.execute("BEGIN")
            row = db.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone()
            if row is None:
                return None
            scores = db.execute("SELECT epoch, metrics FROM scores WHERE run_id = ?", (run_id,)).fetchall()
            return ExportedRun(
                *(row[name] if name != "versions" else json.loads(row[name]) for name in _CARRIED),
                epochs_of(db, run_id), {score["epoch"]: json.loads(score["metrics"]) for score in scores})


def epochs_of(db: Any, run_id: str) -> list[dict[str, Any]]:
    """The stored epochs of a run in order."""
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
