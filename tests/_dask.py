"""A Dask cluster of separate processes with separate homes, on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests._server import alive, descendants, free_port, outliving

ROOT = Path(__file__).resolve().parents[1]


class LocalCluster:
    """A scheduler and its workers, started by the programs that docs/cluster.md names.

    Args:
        folder: for homes and logs.
        security: environment variables with certificates; plain TCP without.
    """

    def __init__(self, folder: Path, security: dict[str, str] | None = None):
        self.folder, self._security = folder, security or {}
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.address = f"{'tls' if security else 'tcp'}://127.0.0.1:{self.port}"
        self.scheduler: subprocess.Popen | None = None
        self.workers: dict[str, subprocess.Popen] = {}
        self._ports: dict[str, int] = {}
        self._seen: set[int] = set()

    def start_scheduler(self) -> None:
        # It has no explorer.
        self.scheduler = self._start("scheduler", "--port", str(self.port), "--protocol", self.address[:3])

    def start_worker(self, name: str, resources: str = "TRAIN=1", **variables: str) -> None:
        self._ports.setdefault(name, free_port())
        self.workers[name] = self._start(
            "worker", self.address, "--worker-port", str(self._ports[name]), "--no-nanny", "--nthreads", "1",
            "--resources", resources, "--local-directory", str(self.folder / name), "--memory-limit", "0",
            log=name, PYTHONPATH=str(ROOT), EXPLORER_HOME=str(self.home(name)), **variables)

    def home(self, name: str) -> Path:
        return self.folder / name / "home"

    def worker_at(self, address: str) -> str:
        """The name of a worker by its address."""
        return next(name for name, port in self._ports.items() if address.endswith(f":{port}"))

    def kill(self, process: subprocess.Popen) -> list[int]:
        """kill -9. Returns: the processes that it had below it."""
        below = descendants(process.pid)
        self._seen.update(below)
        process.kill()
        process.wait()
        return below

    def close(self) -> list[int]:
        """End everything. Returns: processes that have outlived it."""
        for processes in (list(self.workers.values()), [self.scheduler] if self.scheduler else []):
            for process in processes:
                self._seen.update(descendants(process.pid))
                process.terminate()
            for process in processes:
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        left = outliving(list(self._seen))
        for pid in filter(alive, left):
            os.kill(pid, 9)
        return left

    def _start(self, program: str, *arguments: str, log: str = "scheduler", **variables: str) -> subprocess.Popen:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("EXPLORER_")}
        environment.pop("PYTHONPATH", None)
        environment |= {**self._security, **variables}
        with open(self.folder / f"{log}.log", "ab") as stream:
            return subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.dask_{program}", *arguments, "--host", "127.0.0.1",
                 "--no-dashboard"], cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=stream,
                stderr=stream)
