"""Messages between machines: numbered, kept until they have arrived, and read once and in order."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

Message = dict[str, Any]


class Outbox:
    """The sender's end; any thread may use it."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, Message]] = deque()
        self._last, self._lock = 0, threading.Lock()

    def add(self, message: Message) -> int:
        """Keep a message. Returns: its number, from 1 on."""
        with self._lock:
            self._last += 1
            self._kept.append((self._last, message))
            return self._last

    def after(self, seen: int) -> list[tuple[int, Message]]:
        """What has not arrived; all up to the number that the receiver has seen is forgotten."""
        with self._lock:
            while self._kept and self._kept[0][0] <= seen:
                self._kept.popleft()
            return list(self._kept)


class Inbox:
    """The receiver's end.

    Attributes:
        seen: all up to this number have been read.
    """

    def __init__(self) -> None:
        self.seen = 0
        self._early: dict[int, Message] = {}

    def take(self, number: int, message: Message) -> list[Message]:
        """Put a message in its place. Returns: what can be read now; nothing where an earlier one is missing."""
        if number > self.seen:
            self._early.setdefault(number, message)
        ready = []
        while self.seen + 1 in self._early:
            self.seen += 1
            ready.append(self._early.pop(self.seen))
        return ready

    @property
    def has_gap(self) -> bool:
        """Whether a message is missing that others have overtaken."""
        return bool(self._early)
