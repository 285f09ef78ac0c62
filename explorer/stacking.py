"""Which runs may be trained together as one stack (`explorer.stack`); asked by whoever deals out the queue."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from explorer import calls
from explorer.config import ALWAYS_IDENTIFYING, RunConfig
from explorer.store import Run

# Wider networks keep the cores busy by themselves.
MOST_UNITS = 64
# Beyond this the matrices of a step no longer fit into the caches.
MOST_MEMBERS = 16
# The settings that `explorer.stack` carries out. A run that sets another, one that was added after them, is trained
# alone, by the very calls of Keras: in a stack it would be trained as if it were not set.
UNDERSTOOD = ALWAYS_IDENTIFYING
# What is each member's own: its penalties and its dropout.
OWN = {"l1": 0.0, "l2": 0.0, "regularize_output": False, "dropout": 0.0}
# A stack of fewer is not divided any further.
FEW_MEMBERS = 2


def key(config: RunConfig) -> Hashable | None:
    """What the members of one stack have in common; `None` for a run that is better trained alone."""
    if max(config.hidden) > MOST_UNITS or not UNDERSTOOD.issuperset(config.identifying()):
        return None
    return config.with_(**OWN)  # the seed stays: one draws one order of the rows


def shape(members: Sequence[RunConfig], rows: int, device: str) -> Hashable:
    """What a traced graph has built in: members that agree in it can use the same `explorer.stack.Stack` after others.

    Args:
        members: configs that agree in `key`.
    """
    return (calls.shape(members[0].with_(**OWN), rows, device), tuple(config.dropout for config in members),
            *(any(getattr(config, name) for config in members) for name in ("l1", "l2")))


def graph(configs: Sequence[RunConfig], device: str) -> Hashable:
    """What the graph has built in that runs of one job are trained with, be it one run or a stack."""
    first, *others = configs
    return shape(configs, first.rows, device) if others else calls.shape(first, first.rows, device)


def alike(first: Run, other: Run) -> bool:
    """Whether a waiting run can join one that has just been taken from the queue.

    Both begin with their first epoch, and are wanted for as long: nobody's network is carried along for nothing.
    """
    shared = key(first.config)
    return (shared is not None and key(other.config) == shared and first.attempt == 1 and other.attempt == 0
            and _epochs(first) == _epochs(other) and first.demands[-1].device == other.demands[-1].device)


def share(rivals: int) -> int:
    """How many runs of one person may go into a stack while so many others wait (`explorer.turns`), at least 1."""
    return max(1, MOST_MEMBERS // (rivals + 1))


def shares(runs: Sequence[Run], places: int) -> list[list[Run]]:
    """Alike runs divided evenly into stacks that are trained side by side, each with its share of the threads.

    Two stacks of four on a thread each take two thirds of the time that one of eight on two threads takes: their
    operations are too small to be worth dividing.

    Args:
        places: how many stacks may train at once, at least 1.
    """
    count = max(1, min(places, len(runs) // FEW_MEMBERS), -(-len(runs) // MOST_MEMBERS))
    return [list(runs[len(runs) * i // count:len(runs) * (i + 1) // count]) for i in range(count)]


def _epochs(run: Run) -> int:
    return max(demand.epochs for demand in run.demands)
