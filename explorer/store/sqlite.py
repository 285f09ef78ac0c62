"""The SQLite file that the store is: opened, brought up to date, set aside when damaged, read, written, and by whom."""

from __future__ import annotations

import os
import re
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from explorer.store.file_lock import held


class StoreError(Exception):
    """A database that does not answer, or refuses.

    Args:
        said: what may be shown to anybody.
        why: more for the operator; no password in it.

    Attributes:
        says_all: whether it is whole sentences, with what to do, that need nothing around them.
    """

    says_all = False

    def __init__(self, said: str, why: str = ""):
        super().__init__(said)
        self.why = why or said


class DamagedStore(StoreError):
    """A file that is no sound database any more; it lies where it lay, as it is.

    Args:
        path: the file.
    """

    says_all = True
    BEGINS = "The store of runs is damaged"

    def __init__(self, path: Path):
        super().__init__(f"{self.BEGINS}: {path}. It was left as it is. Start the explorer's server anew, which keeps "
                         "this file under another name and begins a new store.")


# What a store raises that cannot be read or written just now, be it a file or a database.
STORE_ERRORS = (sqlite3.Error, StoreError)


def insist(act: Callable[..., Any], *arguments: Any) -> Any:
    """Do something with a store once more where the database went away in the middle of it.

    Before it begins, a store waits by itself (`RunStore`, `patience`). For what may be done twice.
    """
    try:
        return act(*arguments)
    except StoreError:
        return act(*arguments)


BUSY_SECONDS = 60.0
# A transaction takes milliseconds. Who hangs in the middle of one keeps everybody from writing, and is ended before the
# others lose patience: by `explorer.engine.jobs`, and in PostgreSQL by the server itself.
MAX_HOLDING_SECONDS = 20.0
# Where in its shared memory SQLite locks the right to write, see "WAL-mode file format".
WRITE_LOCK_BYTE = 120
# Checking the whole file takes a tenth of a second for this size; a larger one would delay the page.
MAX_CHECKED = 64_000_000

SCHEMA = (
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
    # Who has asked for each run that waits or trains, and where they stand among those who wait (`store.fair_queue`).
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


class Database:
    """One SQLite file (WAL; one host, local disk).

    An instance may be used by several threads and processes at a time; each call opens its own short
    transaction.

    Args:
        path: the file; it and its folder are made if need be.
        may_set_aside: whether a file that is damaged is set aside under another name, never deleted, and a new one
            begun; `set_aside` then holds that name. That is for a server that starts: it alone can say so to all who
            come, while whoever opens the file beside it would take it from under those that write to it.

    Raises:
        DamagedStore: the file is damaged, and is left as it is.
    """

    def __init__(self, path: Path, may_set_aside: bool = False):
        self.path = Path(path)
        self.where = str(path)
        self.set_aside: Path | None = None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # One at a time: SQLite does not wait for another that switches to WAL, and of several that find the file
        # damaged, one sets it aside.
        with held(self.path.with_suffix(".lock")):
            try:
                self._open()
            except sqlite3.OperationalError:
                raise  # locked, read-only, out of space or too new: nothing is wrong with the content
            except (sqlite3.DatabaseError, DamagedStore) as error:
                if not may_set_aside:
                    raise DamagedStore(self.path) from error
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

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        db.row_factory = sqlite3.Row
        db.execute("PRAGMA synchronous = NORMAL")
        return db

    def size(self) -> int:
        """Bytes that the runs take."""
        return self.path.stat().st_size

    def writer(self) -> int:
        """The process that is in the middle of writing; 0 where there is none, or where the system does not tell."""
        try:
            file = os.stat(f"{self.path}-shm").st_ino
            # Not asked of the file itself: who closes it again lets go of all locks that his process has on it.
            locks = Path("/proc/locks").read_text()
        except OSError:
            return 0
        held = rf"^\d+: POSIX .* WRITE (\d+) \S+:{file} {WRITE_LOCK_BYTE} {WRITE_LOCK_BYTE}$"
        found = re.search(held, locks, re.MULTILINE)
        return int(found[1]) if found else 0

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        db = None
        try:
            db = self._connect()
            yield db
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise DamagedStore(self.path) from error
            raise
        finally:
            if db is not None:
                db.close()

    @contextmanager
    def write(self, lasting: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction; it outlives its process in any case, and the machine's power where it is to be lasting."""
        with self.read() as db:
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

    def _check(self) -> None:
        # Read-only: what is damaged is to be kept as it is, and another connection that is the last to close would
        # write the journal back into it and remove the journal.
        with closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", BUSY_SECONDS, uri=True)) as db:
            db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            small = self.path.stat().st_size <= MAX_CHECKED
            if small and db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("malformed")

    def _open(self) -> None:
        if self.path.exists():
            self._check()
        with self.read() as db:
            db.execute("PRAGMA journal_mode = WAL")
        with self.write() as db:
            known = db.execute("PRAGMA user_version").fetchone()[0]
            if known > len(SCHEMA):
                raise sqlite3.OperationalError(
                    f"{self.path} was written by a newer version of the explorer; set EXPLORER_HOME to another folder")
            for step in SCHEMA[known:]:
                for statement in step.split(";"):
                    if statement.strip():
                        db.execute(statement)
            db.execute(f"PRAGMA user_version = {len(SCHEMA)}")

    def _put_aside(self) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        name = f"{self.path.stem}-damaged-{stamp}-{uuid.uuid4().hex[:8]}{self.path.suffix}"
        self.set_aside = self.path.with_name(name)
        for ending in ("", "-wal", "-shm"):
            part = Path(f"{self.path}{ending}")
            if part.exists():
                part.rename(f"{self.set_aside}{ending}")
