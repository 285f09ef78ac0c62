"""Leases: which engine a running run belongs to, and whether that engine is still alive."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

from explorer.store.file_lock import take
from explorer.store.sqlite import Database

# An engine that has lost its database takes its lock anew within a second or two of the database's return: only one
# that is missed for longer is dead. Its connection is looked after once in so many seconds.
MISSED_SECONDS, KEEP_SECONDS = 4.0, 1.0


def new_lease(database: Any, folder: Path) -> Lease | SharedLease:
    """The owner that an engine on this store is: of one machine with a file, of several with a database."""
    return Lease(folder) if isinstance(database, Database) else SharedLease(database)


class Lease:
    """A name for one engine, alive exactly as long as its process holds the lock on a file of that name.

    The operating system drops the lock with the process, kill -9 included, whatever the clock says.
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.name = uuid.uuid4().hex
        self._folder, self._path = folder, folder / self.name
        self._file = open(self._path, "w")  # noqa: SIM115  held as long as the engine lives
        take(self._file)

    def keep(self) -> None:
        """Nothing to do: the lock cannot be lost."""

    def is_alive(self, name: str) -> bool:
        """Whether the engine of that name still runs."""
        return is_alive(self._folder, name)

    def release(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


class SharedLease:
    """A name for one engine among those of several machines, alive as long as a connection holds the lock of that name.

    Args:
        database: `explorer.store.postgres.Postgres`.
    """

    def __init__(self, database: Any):
        self.name = uuid.uuid4().hex
        self._database, self._hold, self._kept = database, database.hold(self.name), time.monotonic()
        self._missed: dict[str, float] = {}

    def keep(self) -> None:
        """See to it that the lock is held; to be called again and again.

        Raises:
            StoreError: the database does not answer; until it does, nothing is to be taken on.
        """
        if time.monotonic() - self._kept >= KEEP_SECONDS:
            self._hold.keep()
            self._kept = time.monotonic()

    def is_alive(self, name: str) -> bool:
        """Whether the engine of that name still runs, or may come back in a moment."""
        if self._database.is_held(name):
            self._missed.pop(name, None)
            return True
        now = time.monotonic()
        return now - self._missed.setdefault(name, now) < MISSED_SECONDS

    def release(self) -> None:
        self._hold.release()


def lives(database: Any, folder: Path, name: str) -> bool:
    """Whether the engine of that name runs at this moment, for who is no owner."""
    return is_alive(folder, name) if isinstance(database, Database) else database.is_held(name)


def is_alive(folder: Path, name: str) -> bool:
    """Whether the engine of that name still runs; a dead one's file is removed."""
    path = folder / name
    try:
        with open(path, "r+") as file:
            take(file)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    path.unlink(missing_ok=True)
    return False

