"""How often what moves on the page is drawn anew: quickly for a few, more slowly the more visitors follow at a time.

One process serves all visitors, and every one of them would have it draw three times a second. Beyond a class it would
do nothing else, and a press would wait. So it takes a share of one core for this at most, by what a drawing has cost
lately.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.scriptrunner import get_script_run_ctx

QUICKEST, SLOWEST = 0.3, 3.0
# Of one core, for drawing anew.
SHARE = 0.5
# So few visitors are never slowed down, whatever else the process has been doing.
FEW = 5
# Who has not been drawn for so long has gone, or follows no run any more.
GONE_SECONDS = 2 * SLOWEST
WINDOW_SECONDS = 2.0
# A drawing costs between these; what is measured besides is other work of the process.
CHEAPEST, DEAREST = 0.002, 0.05
# Intervals differ by this factor, so that they do not change with every measurement.
STEP = 1.25


class Pace:
    """How long between two drawings, for all visitors of this process.

    Args:
        clock: seconds that only go on.
        spent: seconds of processor time that the process has taken.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, spent: Callable[[], float] = time.process_time):
        self._clock, self._spent, self._lock = clock, spent, threading.Lock()
        self._seen: dict[str, float] = {}
        self._cost, self._drawn = 0.01, 0
        self._began, self._spent_before = clock(), spent()
        self._seconds = QUICKEST

    def drawn(self, visitor: str) -> float:
        """Note that a visitor's page has been drawn. Returns: seconds until it is to be drawn again."""
        with self._lock:
            now = self._clock()
            self._seen[visitor] = now
            self._drawn += 1
            if now - self._began >= WINDOW_SECONDS:
                self._measure(now)
            return self._seconds

    @property
    def seconds(self) -> float:
        """Between two drawings."""
        return self._seconds

    def _measure(self, now: float) -> None:
        spent = self._spent()
        cost = min(DEAREST, max(CHEAPEST, (spent - self._spent_before) / self._drawn))
        self._cost = (self._cost + cost) / 2
        self._began, self._spent_before, self._drawn = now, spent, 0
        self._seen = {visitor: at for visitor, at in self._seen.items() if now - at < GONE_SECONDS}
        self._seconds = interval(len(self._seen), self._cost)


def interval(visitors: int, cost: float) -> float:
    """Seconds between two drawings for so many visitors, each of whose drawings takes so many seconds of a core."""
    wanted = visitors * cost / SHARE
    found = QUICKEST
    while visitors > FEW and found < wanted and found < SLOWEST:
        found *= STEP
    return min(found, SLOWEST)


def keep(seconds: float) -> None:
    """In a part of the page that its timer draws: let the timer ring at this pace from now on.

    Streamlit has no word for that; where its own means are not there, the pace changes with the next run of the page.
    """
    try:
        from streamlit.runtime.scriptrunner_utils.script_run_context import ThreadState

        message = ForwardMsg()
        message.auto_rerun.fragment_id = ThreadState.get().fragment_id
        message.auto_rerun.interval = seconds
        get_script_run_ctx().enqueue(message)
    except (ImportError, AttributeError, TypeError):
        pass
