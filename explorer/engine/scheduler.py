"""Which waiting runs are trained together, and how they are divided among the free places."""

from __future__ import annotations

from collections.abc import Sequence

from explorer.config.stacking import MAX_MEMBERS, key
from explorer.store.store import Run

# A stack of fewer is not divided any further.
FEW_MEMBERS = 2


def alike(first: Run, other: Run) -> bool:
    """Whether a waiting run can join one that has just been taken from the queue.

    Both begin with their first epoch, and are wanted for as long: nobody's network is carried along for nothing.
    """
    shared = key(first.config)
    return (shared is not None and key(other.config) == shared and first.attempt == 1 and other.attempt == 0
            and _epochs(first) == _epochs(other) and first.demands[-1].device == other.demands[-1].device)


def share(rivals: int) -> int:
    """How many runs of one person may go into a stack while so many others wait (`store.fair_queue`), at least 1."""
    return max(1, MAX_MEMBERS // (rivals + 1))


def shares(runs: Sequence[Run], places: int) -> list[list[Run]]:
    """Alike runs divided evenly into stacks that are trained side by side, each with its share of the threads.

    Two stacks of four on a thread each take two thirds of the time that one of eight on two threads takes: their
    operations are too small to be worth dividing.

    Args:
        places: how many stacks may train at once, at least 1.
    """
    count = max(1, min(places, len(runs) // FEW_MEMBERS), -(-len(runs) // MAX_MEMBERS))
    return [list(runs[len(runs) * i // count:len(runs) * (i + 1) // count]) for i in range(count)]


def _epochs(run: Run) -> int:
    return max(demand.epochs for demand in run.demands)
