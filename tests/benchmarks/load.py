"""A class at one page: many visitors press Train at once and follow live runs, measured as they see it.

Use: python -m tests.benchmarks.load [visitors] [--distinct 10] [--within 1] [--seconds 60] [--epochs 150] [--imdb]
     [--browser] [--json FILE]

A server is started as a host starts it, with a store of its own. All visitors open the page, each with a configuration
in the address: ten with one each of their own, the others all with the same eleventh. Then each presses Train, at its
own moment within a second, and follows its run. They speak Streamlit's protocol as the browser does, timers included,
but draw nothing; with `--browser` one real Chromium is among them. Linux only. The program's own share of the processor
is told: it runs on the same machine.

- *answer*: from the press until the visitor has received the page that shows the run as one that waits or trains.
- *delay*: from the moment at which an epoch was written, as the store itself notes it, until a visitor's chart has it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from explorer.config.run_config import Demand, RunConfig
from explorer.config.url_params import query
from explorer.store.store import FINISHED
from tests._server import BROWSER_OPTIONS, Server, chromium
from tests.benchmarks import processes
from tests.benchmarks.visitors import Visitor

# The store itself notes when an epoch is written, within the transaction that writes it; twice, should it be written
# twice.
NOTES = """
    CREATE TABLE IF NOT EXISTS load_notes (run_id TEXT NOT NULL, epoch INTEGER NOT NULL, at REAL NOT NULL);
    CREATE TRIGGER IF NOT EXISTS load_note AFTER INSERT ON epochs BEGIN
        INSERT INTO load_notes VALUES (NEW.run_id, NEW.epoch, (julianday('now') - 2440587.5) * 86400.0);
    END;
"""


@dataclass
class Report:
    """What a load came to; seconds, megabytes, cores."""

    visitors: int
    distinct: int
    load_before: float
    opened: list[float] = field(default_factory=list)
    answers: list[float] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    browser: dict[str, float] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    cores: dict[str, float] = field(default_factory=dict)
    idle_page_mb: float = 0.0
    uses: list[processes.Use] = field(default_factory=list)
    refreshes: float = 0.0
    interval: float = 0.0
    live_share: float = 0.0
    lag: float = 0.0
    runs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def page_mb(self) -> float:
        return next((one.rss_mb for one in self.uses if one.role == "page"), 0.0)

    @property
    def is_once(self) -> bool:
        """Whether each distinct configuration was trained exactly once, and nothing else."""
        return len(self.runs) == self.distinct and all(run["once"] for run in self.runs)


def configs(distinct: int, dataset: str) -> list[RunConfig]:
    """As many configurations as asked for, as a class varies them that is told to try regularizers; the last is the one
    that all others press."""
    base = RunConfig(dataset=dataset, num_words=10_000)
    varied = [base.with_(l2=round(0.0005 * (place // 2 + 1), 4)) if place % 2 else
              base.with_(dropout=round(0.05 * (place // 2 + 1), 2))
              for place in range(distinct - 1)]
    return [*varied, base]


async def measure(server: Server, report: Report, dataset: str, within: float, seconds: float, epochs: int,
                  browser: bool) -> None:
    """Let the visitors come, press and follow; the report is filled in."""
    wanted = configs(report.distinct, dataset)
    demand = Demand(epochs)
    chosen = [wanted[min(place, len(wanted) - 1)] for place in range(report.visitors)]
    visitors = [Visitor(server.port, "&".join(f"{name}={value}" for name, value in query(config, demand).items()),
                        config.canonical_json()) for config in chosen]
    store = server.home / "runs.sqlite3"
    await warm(server)
    with closing(sqlite3.connect(store)) as db:
        db.executescript(NOTES)
    report.idle_page_mb = processes.look(server.process.pid)[0].rss_mb
    watched = asyncio.create_task(_lag(report))
    shown = asyncio.create_task(_browser(server, visitors[-1].query, report)) if browser else None
    try:
        # One after another, as people come.
        for visitor in visitors:
            began = time.time()
            await visitor.come()
            if not await visitor.until(lambda one: one.button("train") and not one.is_running):
                report.failures.append("the page did not open within a minute")
            report.opened.append(time.time() - began)
        _say(f"{len(visitors)} visitors have come")
        await asyncio.sleep(2)
        random.Random(1).shuffle(visitors)
        began, refreshed = time.time(), sum(one.runs_of_script[1] for one in visitors)
        taken = processes.shares(server.process.pid, os.getpid())
        await asyncio.gather(*(_press(one, within * place / len(visitors)) for place, one in enumerate(visitors)))
        live = []
        while time.time() < began + seconds:
            await asyncio.sleep(1)
            live.append(statistics.mean(one.is_live for one in visitors))
        passed = time.time() - began
        _say(f"followed for {passed:.0f} s")
        report.cores = taken(passed)
        report.uses = processes.look(server.process.pid)
        report.refreshes = (sum(one.runs_of_script[1] for one in visitors) - refreshed) / passed
        report.interval = max((one.interval for one in visitors), default=0.0)
        report.live_share = statistics.mean(live) if live else 0.0
        await _all_end(store, report)
        _say("all runs have ended")
        # The last epochs are to be shown too.
        ended = await asyncio.gather(*(one.until(lambda one: not one.is_live and not one.is_running, 30)
                                       for one in visitors))
        report.failures += ["a page does not show that its run has ended"] * ended.count(False)
        if shown:
            await shown
    finally:
        watched.cancel()
        for visitor in visitors:
            visitor.leave()
    report.answers = [one.answered_at - one.pressed_at for one in visitors if one.answered_at]
    report.failures += [failure for one in visitors for failure in one.failures]
    report.failures += ["a press was not answered"] * sum(not one.answered_at for one in visitors)
    _read(store, report, visitors, wanted, epochs)
    await asyncio.sleep(0.2)


async def warm(server: Server) -> None:
    """Until the worker is ready, and somebody has seen the page: that is not what is measured."""
    first = Visitor(server.port, "")
    await first.come()
    await first.until(lambda one: one.is_drawn)
    deadline = time.time() + 120
    while time.time() < deadline:
        # Its timer looks for the hardware: the worker is ready when it has stopped.
        if await first.until(lambda one: not one.is_waiting and not one.is_running, 1):
            break
    first.leave()
    await asyncio.sleep(2)


async def _press(visitor: Visitor, later: float) -> None:
    await asyncio.sleep(later)
    if visitor.press("train"):
        await visitor.until(lambda one: one.answered_at, 60)


def _say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}", file=sys.stderr)


async def _lag(report: Report) -> None:
    """How late this program itself hears, at most."""
    while True:
        due = time.perf_counter() + 0.02
        await asyncio.sleep(0.02)
        report.lag = max(report.lag, time.perf_counter() - due)


async def _all_end(store: Path, report: Report, seconds: float = 600) -> None:
    deadline = time.time() + seconds
    with closing(sqlite3.connect(store)) as db:
        while db.execute("SELECT COUNT(*) FROM runs WHERE status IN ('queued', 'running')").fetchone()[0]:
            if time.time() > deadline:
                report.failures.append("runs did not end within ten minutes")
                return
            await asyncio.sleep(0.5)


def _read(store: Path, report: Report, visitors: Sequence[Visitor], wanted: Sequence[RunConfig], epochs: int) -> None:
    """What the store tells: when each epoch was written, and that each run was trained once."""
    with closing(sqlite3.connect(store)) as db:
        written: dict[str, dict[int, list[float]]] = {}
        for run_id, epoch, at in db.execute("SELECT run_id, epoch, at FROM load_notes"):
            written.setdefault(run_id, {}).setdefault(epoch, []).append(at)
        by_config = {}
        for run_id, config, status, attempt in db.execute("SELECT run_id, config, status, attempt FROM runs"):
            by_config[config] = run_id
            ends = db.execute("SELECT COUNT(*) FROM events WHERE run_id = ? AND kind != 'requested'",
                              (run_id,)).fetchone()[0]
            asked = db.execute("SELECT COUNT(*) FROM events WHERE run_id = ? AND kind = 'requested'",
                               (run_id,)).fetchone()[0]
            notes = written.get(run_id, {})
            report.runs.append({
                "status": status, "attempts": attempt, "asked": asked, "ends": ends,
                "epochs": len(notes), "written": sum(map(len, notes.values())), "config": config,
                "once": status == FINISHED and attempt == ends == 1 and sorted(notes) == list(range(1, epochs + 1))
                and all(len(times) == 1 for times in notes.values())
                and config in {one.canonical_json() for one in wanted}})
    for visitor in visitors:
        notes = written.get(by_config.get(visitor.name, ""), {})
        missing = [epoch for epoch in notes if epoch not in visitor.shown]
        if missing:
            report.failures.append(f"{len(missing)} epochs were never shown")
        report.delays += [visitor.shown[epoch] - times[0] for epoch, times in notes.items() if epoch in visitor.shown]


# As a person sees it: from the click until the button says Stop; and the epochs that the status names, when it does.
WATCH = """() => {
    const named = text => [...document.querySelectorAll('button')].find(b => b.innerText.includes(text));
    window.seen = [];
    const train = named('Train'), began = Date.now();
    new MutationObserver(() => {
        if (!window.answered && named('Stop')) window.answered = Date.now() - began;
        const found = /Epoch (\\d+) of/.exec(document.querySelector('.stProgress')?.innerText || '');
        if (found && +found[1] - 1 > (window.seen.at(-1)?.[0] || 0)) window.seen.push([+found[1] - 1, Date.now()]);
    }).observe(document.body, {subtree: true, childList: true, characterData: true});
    train.click();
}"""


async def _browser(server: Server, address: str, report: Report) -> None:
    """One person with a real browser, who does the same as the others."""
    from playwright.async_api import async_playwright

    async with async_playwright() as play:
        opened = await play.chromium.launch(executable_path=chromium(), args=BROWSER_OPTIONS)
        page = await opened.new_page()
        await page.goto(f"{server.address}/?{address}")
        await page.wait_for_selector("button:has-text('Train')", timeout=60_000)
        while len(report.opened) < report.visitors:
            await asyncio.sleep(0.1)
        await asyncio.sleep(2 + random.random() / 2)
        await page.evaluate(WATCH)
        await page.wait_for_function("window.answered", timeout=60_000)
        report.browser["answer"] = await page.evaluate("window.answered") / 1_000
        await page.wait_for_selector("button:has-text('Trained')", timeout=600_000)
        seen = await page.evaluate("window.seen")
        with closing(sqlite3.connect(server.home / "runs.sqlite3")) as db:
            name = configs(report.distinct, "imdb" if "imdb" in address else "reviews")[-1].canonical_json()
            written = dict(db.execute("SELECT epoch, at FROM load_notes JOIN runs USING (run_id) WHERE config = ?",
                                      (name,)).fetchall())
        delays = [at / 1_000 - written[epoch] for epoch, at in seen if epoch in written]
        report.browser |= {"epochs seen": len(seen), "delay p50": quantile(delays, 50),
                           "delay p95": quantile(delays, 95)}
        await opened.close()


def quantile(values: Sequence[float], percent: int) -> float:
    """The smallest value that so many of them do not exceed; NaN of none."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else float("nan")


def run(visitors: int = 50, distinct: int = 11, within: float = 1.0, seconds: float = 60.0, epochs: int = 150,
        dataset: str = "reviews", browser: bool = False) -> Report:
    """One load on a server of its own."""
    report = Report(visitors, min(distinct, visitors), os.getloadavg()[0])
    with tempfile.TemporaryDirectory() as folder:
        variables = {"EXPLORER_DATA_DIR": os.environ["EXPLORER_DATA_DIR"]} if dataset == "imdb" else {}
        server = Server(Path(folder), **variables)
        try:
            asyncio.run(measure(server, report, dataset, within, seconds, epochs, browser))
        finally:
            left = server.stop()
            report.failures += [f"process {pid} has outlived the server" for pid in left]
            if "Traceback" in server.log:
                report.failures.append(f"the server's log: {server.log[server.log.index('Traceback'):][:600]}")
    return report


def table(report: Report) -> str:
    """The report to be read."""
    def row(name: str, values: Sequence[float], unit: float = 1.0) -> str:
        found = [quantile(values, percent) * unit for percent in (50, 95, 100)]
        return f"{name:<34}" + "".join(f"{value:10.3f}" for value in found) + f"   ({len(values)})"

    lines = [f"{report.visitors} visitors, {report.distinct} configurations; "
             f"load of the machine before: {report.load_before:.2f}",
             f"{'seconds':<34}{'p50':>10}{'p95':>10}{'max':>10}",
             row("opening the page, one by one", report.opened), row("press → answer", report.answers),
             row("delay of an epoch behind the store", report.delays)]
    if report.browser:
        lines.append("one real browser among them: " + ", ".join(f"{name} {value:.3f}"
                                                                 for name, value in report.browser.items()))
    lines += [f"followed live runs: {report.live_share:.0%} of the time; {report.refreshes:.0f} refreshes a second, "
              f"each visitor's every {report.interval:.2f} s at last, "
              f"{1_000 * report.cores['page'] / max(report.refreshes, 1e-9):.1f} ms of the page's process for each",
              "cores: " + ", ".join(f"{role} {share:.2f}" for role, share in report.cores.items()),
              f"page before the visitors: {report.idle_page_mb:.0f} MB resident",
              *(f"  {one.role:<7} {one.pid:>7}  {one.rss_mb:6.0f} MB resident, {one.pss_mb:6.0f} MB its own share, "
                f"{one.files} open files" for one in report.uses),
              f"this program heard at most {report.lag:.3f} s late",
              f"each of {len(report.runs)} configurations trained exactly once: {'yes' if report.is_once else 'NO'}",
              *(f"  {run}" for run in report.runs if not run["once"]),
              f"failures: {len(report.failures)}", *(f"  {text}" for text in sorted(set(report.failures))[:20])]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("visitors", nargs="?", type=int, default=50)
    parser.add_argument("--distinct", type=int, default=11, help="configurations; the last is pressed by all others")
    parser.add_argument("--within", type=float, default=1.0, help="seconds in which all press")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long they are watched")
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--imdb", action="store_true", help="the real IMDB; needs EXPLORER_DATA_DIR")
    parser.add_argument("--browser", action="store_true", help="one real Chromium among them")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the server is ended then too
    if given.imdb and not os.environ.get("EXPLORER_DATA_DIR"):
        parser.error("--imdb needs EXPLORER_DATA_DIR, the folder of imdb.npz")
    report = run(given.visitors, given.distinct, given.within, given.seconds, given.epochs,
                 "imdb" if given.imdb else "reviews", given.browser)
    print(table(report))
    if given.json:
        given.json.write_text(json.dumps(vars(report) | {"uses": [vars(one) for one in report.uses]}, indent=1))
    sys.exit(bool(report.failures) or not report.is_once)


if __name__ == "__main__":
    main()
