"""What is said of a run whose training process has ended by itself, by how it ended."""

from __future__ import annotations

import signal

from explorer.config.settings import Settings
from explorer.store.sqlite import DamagedStore
from explorer.workers.trainer import DAMAGED_STORE, NO_SPACE, TOO_LARGE

KEPT = "Every finished epoch is kept; Continue goes on from there."

NOT_UNDERSTOOD = f"An answer of the process that trained this run could not be understood. {KEPT}"


def of_child(code: int, settings: Settings) -> str:
    """What is said of a run whose child ended with this exit code and has not closed it."""
    if code == NO_SPACE:
        return f"The disk became full, or failed, while this run was training: free some space on it. {KEPT}"
    if code == DAMAGED_STORE:
        return str(DamagedStore(settings.store_path))
    if code == TOO_LARGE and not settings.max_memory_mb:  # a limit of the machine where it was trained
        return ("The training process took more memory than one may take on its machine: use fewer units, fewer words "
                "or fewer training examples.")
    if code == TOO_LARGE:
        return (f"The training process took more than {settings.max_memory_mb:,} MB of memory, the most that one may "
                "take here: use fewer units, fewer words or fewer training examples.")
    if code != 0:
        return f"The training process {_cause(code)}. {KEPT}"
    # An orderly child closes its run; this one could not reach the store.
    return f"The training process ended without a result. {KEPT}"


def of_worker(code: int) -> str:
    """What is said of the runs of a worker that ended with this exit code."""
    return f"The process that trains {_cause(code)}."


def of_silence(seconds: int) -> str:
    """What is said of a run that has shown no sign of going on for so long."""
    return f"Training showed no sign of going on for {seconds:,} seconds and was ended. {KEPT}"


def of_holding(seconds: float) -> str:
    """What is said of a run that has kept all others from the store for so long."""
    return (f"Training hung in the middle of writing an epoch, which for {seconds:.0f} seconds kept all others from "
            f"writing theirs, and was ended. {KEPT}")


def _cause(code: int) -> str:
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        return f"was killed (signal {-code}, {name})"
    return f"ended unexpectedly (exit code {code})"
