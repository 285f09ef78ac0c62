"""Snapshots of runs: read once for all visitors who follow a run, with what is derived from them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from explorer.config.run_config import Demand
from explorer.engine.run_view import RunView, look
from explorer.store.store import Run

# However many follow a run, the store is asked for it no more often.
FRESH_SECONDS = 0.1
# Of what is made of one run, so much is kept.
MAX_MADE = 50
# A run that nobody has looked at for so long is forgotten.
KEPT_SECONDS = 10.0

Snapshot = tuple[Run | None, list[dict[str, Any]], dict[int, dict[str, Any]]]


class RunSnapshot:
    """A run, its epochs and its scores as of one moment; nobody may change them.

    Args:
        snapshot: as from `RunStore.snapshot`.
        before: what was seen a moment ago. While no epoch has come, what was made of them is still good.
    """

    def __init__(self, snapshot: Snapshot, before: RunSnapshot | None = None):
        self.run, self.epochs, self.scores = snapshot
        is_same = before is not None and before.epochs == self.epochs
        self._made: dict[Any, Any] = before._made if is_same else {}
        self._making = before._making if is_same else threading.RLock()

    def view(self, demand: Demand) -> RunView:
        """How the run stands with regard to what is wanted of it."""
        return look(self.run, self.epochs, self.scores, demand)

    def once(self, make: Callable[..., Any], *args: Any) -> Any:
        """What `make(epochs, *args)` gives; for the same arguments it is made once, and nobody may change it."""
        key = (make, args)
        with self._making:
            if key not in self._made:
                while len(self._made) >= MAX_MADE:  # an address can ask for any number of epochs
                    del self._made[next(iter(self._made))]
                self._made[key] = make(self.epochs, *args)
            return self._made[key]


class SnapshotCache:
    """The runs that are being followed.

    Args:
        snapshot: as `RunStore.snapshot`.
        clock: seconds that only go on.
    """

    def __init__(self, snapshot: Callable[[str], Snapshot], clock: Callable[[], float] = time.monotonic):
        self._snapshot, self._clock = snapshot, clock
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}

    def of(self, run_id: str, fresh: bool = False) -> RunSnapshot:
        """A run as it was a tenth of a second ago at most.

        Args:
            fresh: as it is now.

        Raises:
            sqlite3.Error, StoreError: the store cannot be read.
        """
        with self._lock:
            held = self._held.get(run_id)
            if held is None:
                self._forget()
                held = self._held[run_id] = _Held()
            held.asked_at = self._clock()
        with held.reading:  # of several who come at once, one reads
            if fresh or held.sight is None or self._clock() - held.read_at >= FRESH_SECONDS:
                began = self._clock()
                held.sight = RunSnapshot(self._snapshot(run_id), held.sight)
                held.read_at = began
            return held.sight

    def _forget(self) -> None:
        now = self._clock()
        self._held = {run_id: held for run_id, held in self._held.items() if now - held.asked_at < KEPT_SECONDS}


class _Held:
    def __init__(self) -> None:
        self.reading = threading.Lock()
        self.sight: RunSnapshot | None = None
        self.read_at = self.asked_at = 0.0
