"""The trainer's end of the channel to its worker: jobs and stops in, reports out, one line of JSON each."""

from __future__ import annotations

import json
import select
import socket
from collections import deque
from typing import Any

from explorer.store.store import INTERRUPTED, STOPPED

FOREVER = 3_600.0


class WorkerChannel:
    """What the worker says is read whenever something is asked here; a line that is closed says that nobody is left."""

    def __init__(self, line: socket.socket):
        line.setblocking(False)
        self._line = line
        self._text, self._jobs, self._stops = b"", deque(), set()
        self._wishes: dict[tuple[str, int], list[dict[str, Any]]] = {}
        self._closed = False

    def has_job(self, patience: float) -> bool:
        """Whether a job comes within so many seconds, or has come, or none will ever come."""
        self._read()
        if not self._jobs and not self._closed:
            select.select([self._line], [], [], patience)
            self._read()
        return bool(self._jobs) or self._closed

    def next_job(self) -> dict[str, Any] | None:
        """The next job, or `None` where there will be none."""
        while not self.has_job(FOREVER):
            pass
        return None if self._closed else self._jobs.popleft()

    def asked(self, key: tuple[str, int]) -> str | None:
        """`STOPPED` or `INTERRUPTED` once a run in hand is to end, else `None`."""
        self._read()
        if key in self._stops:
            return STOPPED
        return INTERRUPTED if self._closed else None

    def wished(self, key: tuple[str, int]) -> list[dict[str, Any]] | None:
        """The demands on a run in hand as they were told since its job came; `None` where nothing was."""
        self._read()
        return self._wishes.get(key)

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message; waits where the other end is slow to read."""
        text = memoryview(json.dumps(message).encode() + b"\n")
        while text and not self._closed:
            try:
                text = text[self._line.send(text):]
            except BlockingIOError:
                select.select([], [self._line], [])
            except OSError:
                self._closed = True

    def done(self, again: bool) -> None:
        """Say that the job in hand has ended, and whether this process will take another."""
        self.tell({"done": True, "again": again})
        self._stops.clear()
        self._wishes.clear()

    def _read(self) -> None:
        while not self._closed:
            try:
                piece = self._line.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                piece = b""
            if not piece:
                self._closed = True
                return
            *lines, self._text = (self._text + piece).split(b"\n")
            for order in map(json.loads, lines):
                if order["do"] == "train":
                    self._jobs.append(order["job"])
                elif order["do"] == "demands":
                    self._wishes[order["run_id"], order["attempt"]] = order["demands"]
                else:
                    self._stops.add((order["run_id"], order["attempt"]))
