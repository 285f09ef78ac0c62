"""Does a server that is used for long keep what it should let go: memory, processes, open files, the store's journal?

Use: python -m tests.benchmarks.soak [sessions] [--runs 500] [--seconds 420] [--json FILE]

Visitors come one after another, train short runs of their own, two or three each, and leave. What the page's process
and the worker hold is sampled meanwhile and compared with what they held after a warm-up. Streamlit keeps the session
of a tab that was closed for two minutes, should it come back: the warm-up is over when the first ones are forgotten,
and open files are counted when the last ones are. Takes ten minutes. Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from explorer.config.run_config import Demand, RunConfig
from explorer.config.url_params import query
from explorer.store.store import FINISHED
from tests._server import Server, alive
from tests.benchmarks import processes
from tests.benchmarks.load import warm
from tests.benchmarks.visitors import Visitor

SAMPLE_SECONDS = 5.0
# Streamlit forgets a session so many seconds after it has lost its tab, once another one comes.
FORGOTTEN_SECONDS = 125.0
EPOCHS = 3
# Wanted: at the end no more than so much of what it was after the warm-up.
MAX_GROWTH = 1.1


@dataclass
class Sample:
    """What is held at a moment.

    Attributes:
        at: seconds since the first session.
        left: sessions that have come and gone.
    """

    at: float
    left: int
    page_mb: float
    page_files: int
    worker_mb: float
    worker_files: int
    children: int
    children_mb: float
    journal_mb: float


@dataclass
class Report:
    """What a soak came to."""

    sessions: int
    runs: int
    before: Sample | None = None
    samples: list[Sample] = field(default_factory=list)
    after: Sample | None = None
    warm_at: float = FORGOTTEN_SECONDS
    seconds: float = 0.0
    trained: int = 0
    failures: list[str] = field(default_factory=list)

    def growth(self, name: str) -> tuple[float, float]:
        """A quantity after the warm-up and at the end, each the median of some samples."""
        later = [sample for sample in self.samples if sample.at >= self.warm_at] or self.samples
        some = max(1, len(later) // 5)
        return tuple(statistics.median(getattr(sample, name) for sample in part)
                     for part in (later[:some], later[-some:]))


async def soak(server: Server, report: Report, seconds: float) -> None:
    """Let the visitors come and go in so many seconds; the report is filled in."""
    await warm(server)
    store = server.store
    known = len(store.latest(10 * report.runs, {}))
    began, left, seeds = time.time(), [0], iter(range(report.runs))

    def look() -> Sample:
        found = processes.look(server.process.pid)
        by_role: dict[str, list[processes.Use]] = {}
        for one in found:
            by_role.setdefault(one.role, []).append(one)
        children, journal = by_role.get("child", []), server.home / "runs.sqlite3-wal"
        [page], workers = by_role["page"], by_role.get("worker", [])
        return Sample(time.time() - began, left[0], page.rss_mb, page.files, sum(one.rss_mb for one in workers),
                      sum(one.files for one in workers), len(children), sum(one.pss_mb for one in children),
                      journal.stat().st_size / 1e6 if journal.exists() else 0.0)

    async def sample() -> None:
        while True:
            report.samples.append(look())
            await asyncio.sleep(SAMPLE_SECONDS)

    async def visit(place: int) -> None:
        await asyncio.sleep(place * seconds / report.sessions)
        visitor = Visitor(server.port, _address(next(seeds)))
        await visitor.come()
        own = report.runs // report.sessions + (place % report.sessions < report.runs % report.sessions)
        for number in range(own):
            if number:
                await visitor.go(_address(next(seeds)))
            if not await visitor.until(lambda one: one.button("train") and not one.is_running):
                report.failures.append("a page did not open within a minute")
                break
            visitor.press("train")
            done = await visitor.until(
                lambda one: one.answered_at and not one.is_live and not one.is_running, 120)
            if not done:
                report.failures.append(f"a run did not end within two minutes: {visitor.texts('progress')}")
                break
        report.failures.extend(visitor.failures)
        visitor.leave()
        left[0] += 1

    report.before = look()
    sampled = asyncio.create_task(sample())
    await asyncio.gather(*map(visit, range(report.sessions)))
    report.seconds = time.time() - began
    sampled.cancel()
    print(f"{report.seconds:.0f} s; now the sessions are forgotten", file=sys.stderr)
    report.warm_at = min(FORGOTTEN_SECONDS, report.seconds / 3)
    await asyncio.sleep(FORGOTTEN_SECONDS)
    for _ in range(2):  # who comes now has Streamlit forget them
        last = Visitor(server.port, "")
        await last.come()
        await last.until(lambda one: one.is_drawn)
        last.leave()
        await asyncio.sleep(2)
    report.after = look()
    found = store.latest(10 * report.runs, {})
    store.close()
    if len(found) - known != report.runs:
        report.failures.append(f"{len(found) - known} new runs in the store, {report.runs} asked for")
    report.trained = sum(one.status == FINISHED and len(one.further) == EPOCHS for one in found)


def _address(seed: int) -> str:
    config = RunConfig(dataset="digits", hidden=(16,), seed=seed)
    return "&".join(f"{name}={value}" for name, value in query(config, Demand(EPOCHS)).items())


def run(sessions: int = 200, runs: int = 500, seconds: float = 420.0) -> Report:
    """One soak on a server of its own."""
    report = Report(sessions, runs)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        try:
            asyncio.run(soak(server, report, seconds))
        finally:
            below = processes.descendants(server.process.pid)
            server.stop()
            report.failures += [f"process {pid} has outlived the server" for pid in below if alive(pid)]
            if "Traceback" in server.log:
                report.failures.append(f"the server's log: {server.log[server.log.index('Traceback'):][:600]}")
    return report


def table(report: Report) -> str:
    """The report to be read."""
    lines = [f"{report.runs} runs by {report.sessions} sessions in {report.seconds:.0f} s; "
             f"{report.trained} trained to their end",
             f"{'':<34}{'before':>9}{'warm':>9}{'end':>9}{'end/warm':>10}{'after':>9}"]
    for name, title in (("page_mb", "page, MB resident"), ("page_files", "page, open files"),
                        ("worker_mb", "worker, MB resident"), ("worker_files", "worker, open files"),
                        ("children", "processes that train"), ("children_mb", "their own share, MB"),
                        ("journal_mb", "the store's journal, MB")):
        first, last = report.growth(name)
        lines.append(f"{title:<34}{getattr(report.before, name):9.1f}{first:9.1f}{last:9.1f}"
                     f"{last / first if first else float('nan'):10.2f}{getattr(report.after, name):9.1f}")
    lines += [f"failures: {len(report.failures)}", *(f"  {text}" for text in sorted(set(report.failures))[:20])]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sessions", nargs="?", type=int, default=200)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=420.0, help="in which they come")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the server is ended then too
    report = run(given.sessions, given.runs, given.seconds)
    print(table(report))
    if given.json:
        given.json.write_text(json.dumps(asdict(report), indent=1))
    has_grown = any(last > MAX_GROWTH * first for first, last in map(report.growth, ("page_mb", "worker_mb")))
    sys.exit(bool(report.failures) or has_grown)


if __name__ == "__main__":
    main()
