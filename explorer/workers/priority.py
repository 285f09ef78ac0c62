"""Lower the priority of processes that train, so that the page answers at once."""

from __future__ import annotations

import os

NICENESS = 10


def step_back() -> None:
    """Lower the priority of this process, and of those that it starts from now on."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
