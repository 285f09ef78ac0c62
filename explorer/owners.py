"""Owners: which engine a running run belongs to, and whether that engine is still alive."""

from __future__ import annotations

import uuid
from pathlib import Path

from explorer.locks import take


class Owner:
    """A name for one engine, alive exactly as long as its process holds the lock on a file of that name.

    The operating system drops the lock with the process, kill -9 included, whatever the clock says.
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.name = uuid.uuid4().hex
        self._path = folder / self.name
        self._file = open(self._path, "w")  # noqa: SIM115  held as long as the engine lives
        take(self._file)

    def release(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


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

