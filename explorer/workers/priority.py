"""Priority: training takes what cores are free, and steps back for the page that answers people."""

from __future__ import annotations

import os

NICENESS = 10


def step_back() -> None:
    """Lower the priority of this process, and of those that it starts from now on."""
    if hasattr(os, "nice"):
        os.nice(NICENESS)
