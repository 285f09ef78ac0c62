"""The page's real server as a program of its own, and what a browser is started with."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from explorer.store.store import RunStore

ROOT = Path(__file__).resolve().parents[1]
BROWSER_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                   "--disable-background-networking", "--disable-component-update", "--disable-sync"]


def chromium() -> str | None:
    """Path of the browser, or `None` where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path:
            return path
    return "/usr/bin/chromium" if Path("/usr/bin/chromium").exists() else None


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    """Every process below one, the nearest first (Linux)."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            nearest = [int(child) for child in task.read_text().split()]
        except OSError:
            continue
        for child in nearest:
            found += [child, *descendants(child)]
    return found


class Server:
    """`streamlit run streamlit_app.py` on a free port, with a home of its own.

    Args:
        folder: home, log, and empty data folders go here.
    """

    def __init__(self, folder: Path, **variables: str):
        self.folder, self.home = folder, folder / "home"
        self.port = free_port()
        # Where the page is; a host may put it below a path of its own.
        base = variables.get("STREAMLIT_SERVER_BASE_URL_PATH", "").strip("/")
        self.address = f"http://127.0.0.1:{self.port}" + (f"/{base}" if base else "")
        self._variables = variables
        self.process: subprocess.Popen | None = None
        self.start()

    def start(self) -> None:
        (self.folder / "nothing").mkdir(parents=True, exist_ok=True)
        environment = os.environ | {
            "EXPLORER_HOME": str(self.home), "EXPLORER_DATA_DIR": str(self.folder / "nothing"),
            "KERAS_HOME": str(self.folder / "nothing"), "PYTHONUNBUFFERED": "1", **self._variables}
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.port", str(self.port),
                 "--server.address", "127.0.0.1", "--server.headless", "true"],
                cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(f"{self.address}/_stcore/health", timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                assert self.process.poll() is None, self.log
                time.sleep(0.05)
        raise AssertionError(f"the server did not answer within a minute: {self.log}")

    @property
    def log(self) -> str:
        return (self.folder / "server.log").read_text(errors="replace")

    @property
    def store(self) -> RunStore:
        return RunStore(self.home / "runs.sqlite3")

    def kill(self) -> list[int]:
        """kill -9. Returns: the processes that it had below it."""
        below = descendants(self.process.pid)
        self.process.kill()
        self.process.wait()
        return below

    def stop(self) -> list[int]:
        """End it as Ctrl-C would. Returns: processes below it that have outlived it."""
        if self.process.poll() is not None:
            return []
        below = descendants(self.process.pid)
        self.process.send_signal(signal.SIGINT if os.name == "posix" else signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        return outliving(below)


def outliving(pids: list[int], seconds: float = 15) -> list[int]:
    """Which of these processes still run after a while."""
    deadline = time.monotonic() + seconds
    while any(map(alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return [pid for pid in pids if alive(pid)]
