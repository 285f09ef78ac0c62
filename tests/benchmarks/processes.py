"""What processes use (Linux): memory, processor time, open files, of the page's process and of all below it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests._server import alive, descendants

TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Use:
    """What one process uses.

    Attributes:
        role: `page`, `worker`, or `child` for one that trains.
        pss_mb: resident memory, what is shared with others divided among them.
        rss_mb: resident memory, what is shared with others in full.
        cpu: seconds of processor time since it began.
        files: open files.
    """

    pid: int
    role: str
    pss_mb: float
    rss_mb: float
    cpu: float
    files: int


def look(page: int) -> list[Use]:
    """The page's process first, then all below it; what ends meanwhile is left out."""
    found = []
    for pid in [page, *descendants(page)]:
        try:
            found.append(use(pid, _role(pid, page)))
        except OSError:
            continue
    return found


def use(pid: int, role: str = "") -> Use:
    """Raises: OSError: there is no such process any more."""
    folder = Path(f"/proc/{pid}")
    memory = {line.split(":")[0]: int(line.split()[1]) / 1024
              for line in (folder / "smaps_rollup").read_text().splitlines()[1:] if line.endswith("kB")}
    return Use(pid, role, memory["Pss"], memory["Rss"], cpu(pid), len(os.listdir(folder / "fd")))


def cpu(pid: int) -> float:
    """Seconds of processor time that a process has taken. Raises: OSError."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def shares(page: int, own: int) -> Callable[[float], dict[str, float]]:
    """Begin to measure. Returns: what gives, after so many seconds, the cores that each role has taken meanwhile.

    Args:
        own: the program that measures; its role is `load`.
    """
    def taken() -> dict[int, tuple[str, float]]:
        found = {own: ("load", cpu(own))}
        for pid in [page, *descendants(page)]:
            try:
                found[pid] = _role(pid, page), cpu(pid)
            except OSError:
                continue
        return found

    before = taken()

    def since(seconds: float) -> dict[str, float]:
        used = dict.fromkeys(("page", "worker", "child", "load"), 0.0)
        for pid, (role, spent) in taken().items():
            used[role] += (spent - before.get(pid, ("", 0.0))[1]) / seconds
        return used

    return since


def _role(pid: int, page: int) -> str:
    if pid == page:
        return "page"
    parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return "worker" if parent == page else "child"


__all__ = ["Use", "alive", "cpu", "descendants", "look", "shares", "use"]
