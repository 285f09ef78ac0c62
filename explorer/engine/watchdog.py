"""How long something that is watched has shown no progress, counted only while somebody looks."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass

# Time in which nobody looked is counted up to this: where the whole machine, or the whole program, was halted, a job
# cannot have shown anything, and it is given time to do so.
MAX_AT_ONCE = 5.0


@dataclass
class _Job:
    sign: Hashable
    looked: float
    seconds: float = 0.0


class StallTimer:
    """Signs of life by job, as seen from look to look.

    Args:
        clock: seconds that only go on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._jobs: dict[Hashable, _Job] = {}

    def seconds(self, job: Hashable, sign: Hashable, counts: bool = True) -> float:
        """How long the job has given this very sign, and no other, as far as somebody looked.

        Args:
            counts: whether the time since the last look is the job's own doing.
        """
        now = self._clock()
        known = self._jobs.get(job)
        if known is None or known.sign != sign:
            self._jobs[job] = _Job(sign, now)
            return 0.0
        if counts:
            known.seconds += min(now - known.looked, MAX_AT_ONCE)
        known.looked = now
        return known.seconds

    def keep(self, jobs: Collection[Hashable]) -> None:
        """Forget all others."""
        self._jobs = {job: known for job, known in self._jobs.items() if job in jobs}
