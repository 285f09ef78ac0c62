"""The engine's end of the channel to its worker: start it, send to it, notice its death."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

# A log that has grown beyond this is started afresh.
MAX_LOG_BYTES = 5_000_000


class WorkerProcess:
    """One worker program.

    Args:
        log: file for what libraries print.
        arguments: of the worker program.
        hear: is called with each message of the worker, in a thread of its own; at its end with
            `{"event": "died", "code": …}`.
    """

    def __init__(self, log: Path, arguments: list[str], hear: Callable[[dict[str, Any]], None]):
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log
        self.trim()
        environment = os.environ | {
            # The package is found from whichever folder the page was started in.
            "PYTHONPATH": os.pathsep.join(filter(None, [
                str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")])),
            "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
        }
        with open(log, "a", encoding="utf-8") as stream:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "explorer.workers.fork_server", *arguments],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=stream, env=environment)
        self._hear = hear
        self._speaking = threading.Lock()
        self._listener = threading.Thread(target=self._listen, name="worker-listener", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def say(self, **order: Any) -> bool:
        """Send an order. Returns: whether the worker was there to take it."""
        try:
            with self._speaking:
                self._process.stdin.write(json.dumps(order).encode() + b"\n")
                self._process.stdin.flush()
            return True
        except (OSError, ValueError):
            return False

    def trim(self) -> None:
        """Empty a log that has grown too long; what is written to it next stands at its beginning."""
        try:
            if self._log.stat().st_size > MAX_LOG_BYTES:
                os.truncate(self._log, 0)
        except OSError:
            pass  # there is none yet, or it cannot be written, which the worker will find out

    def kill(self) -> None:
        """End one that does not answer; its children notice, and end too."""
        self._process.kill()

    def close(self, patience: float = 10.0) -> None:
        """End the worker and its children; they keep their checkpoints first."""
        try:
            self._process.stdin.close()
        except OSError:
            pass
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._listener.join(patience)

    def _listen(self) -> None:
        for line in self._process.stdout:
            self._hear(json.loads(line))
        self._hear({"event": "died", "code": self._process.wait()})
        self._process.stdout.close()
