"""How much memory the whole server takes, held to a limit, and how soon its page can be used after a cold start.

Use: python -m tests.benchmarks.memory [hidden …]; set EXPLORER_DATA_DIR to the folder of imdb.npz for IMDB besides the
embedded data. The server, its worker and their children are opened in a browser, train, and are watched to the end.
Where a cgroup of one's own can be made (version 2, with its memory controller), the kernel holds them to the limit.
Elsewhere the processes' proportional shares of memory are added up twenty times a second, and all are killed once they
are above it.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests._server import descendants
from tests.benchmarks.page import FLAGS, Server, waited

# Megabytes of 1,000,000 bytes.
CASES = {"reviews": 1_000, "imdb": 1_500}
EVERY_SECONDS = 0.05
CGROUPS = Path("/sys/fs/cgroup")


class Watched:
    """A process with all below it, held to a limit by looking at them."""

    how = "the sum of proportional shares, looked at every 50 ms, and killed above the limit"

    def __init__(self, pid: int, most_mb: float):
        self._pid, self._most = pid, most_mb
        self.peak_mb, self.parts, self.was_killed = 0.0, {}, False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            pids = [self._pid, *descendants(self._pid)]
            shares = {pid: share_mb(pid) for pid in pids}
            if sum(shares.values()) > self.peak_mb:
                self.peak_mb, self.parts = sum(shares.values()), shares
            if self.peak_mb > self._most:
                self.was_killed = True
                for pid in pids:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        continue
                return


class Confined:
    """A process with all below it, held to a limit by the kernel."""

    how = "a cgroup with memory.max, enforced by the kernel; what it counts holds cached files besides"

    def __init__(self, pid: int, most_mb: float):
        self._group = CGROUPS / f"explorer-{pid}"
        self._group.mkdir()
        (self._group / "memory.max").write_text(str(int(most_mb * 1e6)))
        (self._group / "cgroup.procs").write_text(str(pid))
        self.parts: dict[int, float] = {}

    @staticmethod
    def is_possible() -> bool:
        try:
            return ("memory" in (CGROUPS / "cgroup.subtree_control").read_text().split()
                    and os.access(CGROUPS / "cgroup.procs", os.W_OK))
        except OSError:
            return False

    def close(self) -> None:
        self.peak_mb = int((self._group / "memory.peak").read_text()) / 1e6
        events = dict(line.split() for line in (self._group / "memory.events").read_text().splitlines())
        self.was_killed = events["oom_kill"] != "0"


def share_mb(pid: int) -> float:
    """What a process has to itself, and its share of what it has together with others."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024 / 1e6
    except OSError:
        pass  # it has just ended
    return 0.0


def until_trained(page, server: Server, seconds: float = 300.0) -> None:
    """Raises: RuntimeError: the server has gone, or it takes longer."""
    deadline = time.monotonic() + seconds
    while not page.query_selector("text=Test accuracy"):
        if server.process.poll() is not None:
            raise RuntimeError("the server is gone")
        if time.monotonic() > deadline:
            raise RuntimeError(f"it has not been trained in {seconds:.0f} s")
        page.wait_for_timeout(100)


def case(browser, dataset: str, hidden: str, most_mb: float) -> bool:
    """Returns: whether all went well below the limit."""
    home = Path(tempfile.mkdtemp())
    server = Server(home)
    confine = Confined if Confined.is_possible() else Watched
    watch = confine(server.process.pid, most_mb)
    try:
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        address = server.address(hidden=hidden, num_words=10_000).replace(f"dataset={DEFAULT}", f"dataset={dataset}")
        page.goto(address)
        usable = waited(page, "button:has-text('Train')", server.began)
        page.get_by_role("button", name="Train", exact=True).click()
        until_trained(page, server)
        trained = time.perf_counter() - server.began
        page.close()
    except Exception as error:  # the browser's own words for a server that is gone
        usable, trained = float("nan"), float("nan")
        print(f"    {str(error).splitlines()[0]}")
    finally:
        watch.close()
        if server.process.poll() is None:
            server.close()
        shutil.rmtree(home, ignore_errors=True)
    well = trained == trained and not watch.was_killed and watch.peak_mb <= most_mb
    parts = ", ".join(f"{part:.0f}" for part in watch.parts.values())
    print(f"  {dataset}, 10,000 words × {hidden}, 20 epochs: peak {watch.peak_mb:.0f} MB of {most_mb:.0f}"
          f"{f' ({parts})' if parts else ''}; page usable {usable:.1f} s after `streamlit run`, trained after "
          f"{trained:.1f} s: {'well' if well else 'KILLED' if watch.was_killed else 'FAILED'}")
    return well


DEFAULT = "imdb" if os.environ.get("EXPLORER_DATA_DIR") else "reviews"


def main() -> int:
    print(f"limit: {(Confined if Confined.is_possible() else Watched).how}")
    print("cold: a new process on an empty folder (no store, no cache of data); the system may hold the files of the "
          "libraries in memory")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        well = [case(browser, dataset, hidden, CASES[dataset])
                for dataset in dict.fromkeys(("reviews", DEFAULT)) for hidden in sys.argv[1:] or ["16-16"]]
        browser.close()
    return 0 if all(well) else 1


if __name__ == "__main__":
    sys.exit(main())
