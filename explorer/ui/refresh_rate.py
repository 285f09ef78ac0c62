"""How often what moves on the page is drawn anew: quickly for a few, more slowly the more visitors follow at a time.

One process draws for all visitors, three times a second for each. Beyond a class it would do nothing else: a press
would wait, and a drawing that is not sent before the next one begins is thrown away, so that in the end nobody would
see anything. So drawing takes a share of one core at most, by what it has cost lately; no visitor's next drawing is
asked for before the last one can have come; and one is drawn after another, for threads that draw side by side are no
quicker and keep the one that sends from its work.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.scriptrunner import get_script_run_ctx

QUICKEST, SLOWEST = 0.3, 3.0
# Of one core, for drawing anew.
SHARE = 0.6
# So few visitors are never slowed down by what drawing costs.
FEW = 5
# Besides the thread that draws, another prepares and sends what is drawn: the process spends this many times as much.
WHOLE = 1.8
# The next drawing comes so many times later than the last one had to wait for its turn.
PATIENCE = 2.0
# Who has not been drawn for so long has gone, or follows no run any more.
GONE_SECONDS = 2 * SLOWEST
# Of the latest drawing in what is known of cost and waiting.
WEIGHT = 0.05
# Whoever has waited so long for a turn draws without one: what is drawn now may hang on a store that does not answer.
MAX_WAIT = 2.0
# Intervals differ by this factor, so that they do not change with every measurement.
STEP = 1.2


class Pace:
    """How long between two drawings, for all visitors of this process.

    Args:
        clock: seconds that only go on.
        spent: seconds of processor time that the thread has taken which asks.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, spent: Callable[[], float] = time.thread_time):
        self._clock, self._spent = clock, spent
        self._turn, self._lock, self._thread = threading.Lock(), threading.Lock(), threading.local()
        self._seen: dict[str, float] = {}
        self._cost = self._waited = 0.0
        self._seconds = QUICKEST

    @property
    def seconds(self) -> float:
        """Between two drawings, as things stand."""
        return self._seconds

    @contextmanager
    def turn(self, visitor: str) -> Iterator[None]:
        """Draw for a visitor when it is his turn."""
        came = self._clock()
        is_held = self._turn.acquire(timeout=MAX_WAIT)
        waited = self._clock() - came
        try:
            yield
        finally:
            if is_held:
                self._turn.release()
            self._note(visitor, waited)

    def _note(self, visitor: str, waited: float) -> None:
        # A thread is begun for the drawing, as a rule: what it has spent before belongs to it.
        spent = self._spent()
        cost, self._thread.spent = spent - getattr(self._thread, "spent", 0.0), spent
        with self._lock:
            now = self._clock()
            self._seen[visitor] = now
            if len(self._seen) > FEW:
                self._seen = {one: at for one, at in self._seen.items() if now - at < GONE_SECONDS}
            self._cost += (WHOLE * cost - self._cost) * (WEIGHT if self._cost else 1.0)
            self._waited += (waited - self._waited) * WEIGHT
            self._seconds = interval(len(self._seen), self._cost, self._waited, self._seconds)


def interval(visitors: int, cost: float, waited: float = 0.0, before: float = QUICKEST) -> float:
    """Seconds between two drawings.

    Args:
        visitors: who are drawn for.
        cost: seconds of a core that one drawing takes.
        waited: seconds for which one has waited for its turn.
        before: what it was; it stays where it is about right.
    """
    wanted = max(visitors * cost / SHARE if visitors > FEW else 0.0, PATIENCE * waited, QUICKEST)
    if before / STEP <= wanted <= before and before > QUICKEST:
        return before
    found = QUICKEST
    while found < wanted and found < SLOWEST:
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
