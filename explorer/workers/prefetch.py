"""Prepare the data that a page opens with: a process that fills the compact cache while everything else starts.

It is forked from the worker while that imports TensorFlow; elsewhere than on Linux there is none, and the first run
that needs the data prepares them.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Iterable

from explorer import data
from explorer.config.settings import Settings


class Preparer:
    """One that has been started.

    Args:
        pid: its process.
        dataset: what it prepares.
    """

    def __init__(self, pid: int, dataset: str):
        self._pid, self._dataset = pid, dataset

    def wait_for(self, dataset: str) -> None:
        """Wait until it has ended, if this is what it prepares: a child would read the same file beside it."""
        if dataset == self._dataset:
            os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)

    def has_ended(self) -> bool:
        """Whether it has; it is to be asked until then, and no more."""
        return os.waitpid(self._pid, os.WNOHANG)[0] != 0

    def end(self) -> None:
        """End it, whatever it has reached."""
        os.kill(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)


def start(settings: Settings, inherited: Iterable[int]) -> Preparer | None:
    """Start one, if there is anything to prepare.

    Args:
        inherited: open files that would hide the end of whoever starts it if they were kept open there.
    """
    dataset = data.default_dataset(settings)
    if sys.platform != "linux" or data.is_prepared(dataset, settings):
        return None
    pid = os.fork()
    if pid == 0:
        try:
            for number in inherited:
                os.close(number)
            gc.disable()  # millions of numbers are read, and nothing among them is to be collected
            data.Library(settings).prepare(dataset)
        except data.DataError:
            pass  # the run that needs them will say so
        finally:
            os._exit(0)
    return Preparer(pid, dataset)
