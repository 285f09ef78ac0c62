"""The progress bar of a terminal, one for every command that trains."""

from __future__ import annotations

import sys

WIDTH = 24


class Bar:
    """A progress bar on a terminal; nothing anywhere else.

    Args:
        enabled: `False` leaves it out on a terminal too.
    """

    def __init__(self, enabled: bool = True):
        self._enabled, self._drawn = enabled and sys.stderr.isatty(), False

    def draw(self, fraction: float, text: str) -> None:
        if not self._enabled:
            return
        done = round(fraction * WIDTH)
        print(f"\r\033[K[{'█' * done}{'·' * (WIDTH - done)}] {text}", end="", file=sys.stderr, flush=True)
        self._drawn = True

    def clear(self) -> None:
        """Make room for a line."""
        if self._drawn:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
            self._drawn = False
