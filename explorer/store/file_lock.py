"""Locks on files, held by a process and dropped by the operating system when it ends, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
    import msvcrt


def take(file: IO, wait: bool = False) -> None:
    """Lock an open file.

    Raises:
        OSError: another process has it and `wait` is false.
    """
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    else:
        msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock file for a while; waits for its turn."""
    with open(path, "w") as file:
        take(file, wait=True)
        yield
