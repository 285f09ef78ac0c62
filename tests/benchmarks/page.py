"""What a visitor waits for, and what it costs: a real server, a real browser, medians of several rounds.

Use: python -m tests.benchmarks.page [rounds]; set EXPLORER_DATA_DIR to the folder of imdb.npz. With `cold` after the
rounds: only the way from the start of a server to the first epoch, for who comes at once and for who comes later.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from explorer import data
from explorer.config.run_config import Demand, RunConfig, library_versions
from explorer.config.settings import Settings
from explorer.store.store import RunStore
from tests.benchmarks.visitors import Visitor

ROOT = Path(__file__).resolve().parents[2]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
# Validation points of the cross-entropy chart; one exists as soon as the first epoch is drawn.
POINT = ".stVegaLiteChart .mark-symbol.role-mark path"
CLICKS = 15
DATA_DIR = Path(os.environ["EXPLORER_DATA_DIR"]) if os.environ.get("EXPLORER_DATA_DIR") else None
DATASET = "imdb" if os.environ.get("EXPLORER_DATA_DIR") else "reviews"


class Server:
    """`streamlit run` on a home of its own."""

    def __init__(self, home: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        # A user's Python keeps the bytecode of this project's modules; the first start of all makes it.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self.home, self.began = home, time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.port", str(self.port),
             "--server.headless", "true"],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**environment, "EXPLORER_HOME": str(home)})
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                break
            except OSError:
                time.sleep(0.02)

    def address(self, **settings: object) -> str:
        query = "&".join(f"{name}={value}" for name, value in settings.items())
        return f"http://127.0.0.1:{self.port}/?dataset={DATASET}&{query}"

    def worker(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        found = subprocess.run(["pgrep", "-P", str(self.process.pid), "-f", "explorer.worker"],
                               capture_output=True, text=True).stdout.split()
        return int(found[0]) if found else int(children.read_text().split()[0])

    def close(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def resident_mb(pid: int, peak: bool = True) -> float:
    name = "VmHWM" if peak else "VmRSS"
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    return 0.0


def waited(page: Page, selector: str, since: float) -> float:
    page.wait_for_selector(selector, timeout=120_000, state="attached")
    return time.perf_counter() - since


def stored(home: Path, epochs: int) -> None:
    """Wait until the store holds so many epochs, whatever the page shows."""
    with closing(sqlite3.connect(f"file:{Settings(home=home).store_path}?mode=ro", uri=True)) as store:
        while store.execute("SELECT count(*) FROM epochs").fetchone()[0] < epochs:
            time.sleep(0.01)


# From the click on a switch to the number of parameters that it changes, as the browser's own clock sees it.
CLICK_AND_WATCH = """async () => {
    const side = document.querySelector('section[data-testid=stSidebar]');
    const shown = () => [...side.querySelectorAll('[data-testid=stCaptionContainer]')]
        .map(element => element.innerText).find(text => text.includes('trainable'));
    const before = shown(), box = side.querySelector('.st-key-batch_norm input');
    const began = performance.now();
    box.click();
    while (shown() === before) await new Promise(done => setTimeout(done, 2));
    return (performance.now() - began) / 1000;
}"""

# From Enter in the field of the seed to the moved points of another known run, by the same clock.
TYPE_AND_WATCH = """async ([value, where]) => {
    const point = () => document.querySelector(where).getAttribute('transform');
    const before = point(), field = document.querySelector('.st-key-seed input');
    field.focus();
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(field, value);
    field.dispatchEvent(new Event('input', {bubbles: true}));
    await new Promise(done => setTimeout(done, 100));
    const began = performance.now();
    field.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', code: 'Enter', keyCode: 13, bubbles: true}));
    while (point() === before) await new Promise(done => setTimeout(done, 2));
    const took = (performance.now() - began) / 1000;
    await new Promise(done => setTimeout(done, 500));
    return took;
}"""


def answers(page: Page) -> float:
    """How long the page takes to answer a control: a median over clicks that come as a person's do."""
    taken = []
    for number in range(CLICKS):
        time.sleep(0.1 + 0.01 * number)  # not in step with what the page draws by itself
        taken.append(page.evaluate(CLICK_AND_WATCH))
    return statistics.median(taken)


def answers_without_browser(server: Server, seed: int) -> float:
    """How long the server takes for the same: from the moved slider to the last of what it sends for it."""
    taken = []

    async def visit() -> None:
        visitor = Visitor(server.port, f"dataset={DATASET}&seed={seed}")
        await visitor.come()
        assert await visitor.until(lambda one: one.is_drawn)
        for number in range(CLICKS):
            await asyncio.sleep(0.1 + 0.01 * number)
            began = time.perf_counter()
            assert await visitor.slide("dropout", 0.1 + 0.05 * (number % 2)) and not visitor.failures
            taken.append(time.perf_counter() - began)
        visitor.leave()

    asyncio.run(visit())
    return statistics.median(taken)


def answers_under_load(page_at, server: Server, seed: int) -> dict[str, float]:
    """How long the page takes to answer a control while nothing trains, while two wide runs use all cores, and while
    the same browser also draws their curves on two other pages."""
    found = {}
    page = page_at(seed=seed)
    page.get_by_text("More about the network").click()
    page.wait_for_selector(".st-key-batch_norm input", state="attached")
    time.sleep(2)
    found["a control's answer, nothing trains [s]"] = answers(page)
    settings, wide = Settings(home=server.home, data_dir=DATA_DIR), {}
    store = RunStore(settings.store_path)
    for other in (seed + 1, seed + 2):
        config = RunConfig(dataset=DATASET, hidden=(1024, 1024), seed=other)
        run_id = config.run_id(data.version(DATASET, settings))
        store.request(run_id, config, Demand(epochs=100), library_versions(), f"somebody {other}")
        wide[run_id] = other
    while not all(map(store.epochs, wide)):
        time.sleep(0.1)
    found["a control's answer, two wide runs train on all cores [s]"] = answers(page)
    with ThreadPoolExecutor() as threads:  # the test tool's loop runs in this one
        found["the same, of the server alone [s]"] = threads.submit(answers_without_browser, server, seed).result()
    busy = [page_at(seed=other, hidden="1024-1024", epochs=100) for other in wide.values()]
    for other in busy:
        waited(other, POINT, 0.0)
    found["a control's answer, the same, and two pages of the same browser follow them [s]"] = answers(page)
    for run_id in wide:
        assert store.run(run_id).status == "running", "they were to train all the time"
        store.ask_to_stop(run_id)
    for other in busy:
        other.wait_for_selector("button:has-text('Continue')", timeout=60_000)
        other.close()
    page.close()
    return found


def one_round(browser, figures: dict[str, list[float]], seed: int) -> None:
    home = Path(tempfile.mkdtemp())
    server = Server(home)
    try:
        def page_at(**settings: object) -> Page:
            page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
            page.goto(server.address(**settings))
            return page

        def note(name: str, value: float) -> None:
            figures.setdefault(name, []).append(value)

        page = page_at(seed=seed)
        ready = waited(page, "button:has-text('Train')", server.began)
        note("from `streamlit run` to a page that can be used [s]", ready)
        began = time.perf_counter()
        page.get_by_role("button", name="Train", exact=True).click()
        stored(home, 1)
        note("from `streamlit run` to the first epoch stored, cold (Train pressed as soon as it is there) [s]",
             time.perf_counter() - server.began)
        note("Train to the first point, cold (worker just started, data never read) [s]", waited(page, POINT, began))
        page.wait_for_selector("text=Test accuracy", timeout=300_000)
        page.close()

        began = time.perf_counter()
        page = page_at(seed=seed + 1)
        note("opening the page again, warm [s]", waited(page, "button:has-text('Train')", began))
        began = time.perf_counter()
        page.get_by_role("button", name="Train", exact=True).click()
        stored(home, 20 + 1)  # those of the run before are all there
        note("Train to the first epoch stored, warm [s]", time.perf_counter() - began)
        note("Train to the first point, warm [s]", waited(page, POINT, began))
        page.wait_for_selector("text=Test accuracy", timeout=300_000)
        page.close()

        began = time.perf_counter()
        page = page_at(seed=seed)
        note("a known run, from opening its address to its points [s]", waited(page, POINT, began))
        # From one known run to another by a control: the seed is typed in.
        page.get_by_text("More about training").click()
        page.wait_for_selector(".st-key-seed input", state="attached")
        time.sleep(1)
        note("a known run, from the control to its points [s]", statistics.median(
            page.evaluate(TYPE_AND_WATCH, [str(seed + number % 2), POINT]) for number in range(1, 10)))
        page.close()
        for name, seconds in answers_under_load(page_at, server, seed).items():
            note(name, seconds)
        note("peak memory of the page's process [MB]", resident_mb(server.process.pid))
        note("peak memory of the idle worker [MB]", resident_mb(server.worker()))
        store = RunStore(Settings(home=home).store_path)
        note(f"peak memory of the training process, {DATASET} 10,000 words × 16-16 (shared with the worker: most) [MB]",
             max(run.peak_mb for run in store.with_status("finished")))
    finally:
        server.close()
        shutil.rmtree(home, ignore_errors=True)


def far_away(figures: dict[str, list[float]], seed: int) -> None:
    """From the start of a server to the first epoch, for a visitor whose browser takes none of these cores."""
    home = Path(tempfile.mkdtemp())
    server = Server(home)

    async def visit() -> None:
        visitor = Visitor(server.port, f"dataset={DATASET}&seed={seed}")
        await visitor.come()
        assert await visitor.until(lambda one: one.button("train") and not one.is_running)
        assert visitor.press("train")
        await asyncio.to_thread(stored, home, 1)
        visitor.leave()

    try:
        asyncio.run(visit())
        figures.setdefault("from its start, pressed by a program in place of a browser, to the first epoch stored [s]",
                           []).append(time.perf_counter() - server.began)
    finally:
        server.close()
        shutil.rmtree(home, ignore_errors=True)


def cold(browser, figures: dict[str, list[float]], seed: int) -> None:
    """From the start of a server to the first epoch: for who comes at once, on a machine that has never read the data
    and on one that has, and for who comes a little later."""
    home = Path(tempfile.mkdtemp())
    try:
        for name, wait, known in (("from its start", 0, 0), ("from its second start (data read before)", 0, 1),
                                  ("first visit 10 s after its third start", 10, 2)):
            server = Server(home)
            try:
                time.sleep(wait)
                came = time.perf_counter() if wait else server.began
                page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
                page.goto(server.address(seed=seed + known, epochs=1))
                figures.setdefault(f"{name}, to a page that can be used [s]", []).append(
                    waited(page, "button:has-text('Train')", came))
                page.get_by_role("button", name="Train", exact=True).click()
                stored(home, known + 1)
                figures.setdefault(f"{name}, to the first epoch stored [s]", []).append(time.perf_counter() - came)
                page.wait_for_selector("text=Test accuracy", timeout=60_000)
                page.close()
            finally:
                server.close()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    figures: dict[str, list[float]] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for number in range(rounds):
            (cold if "cold" in sys.argv else one_round)(browser, figures, 100 + 2 * number)
        browser.close()
    for number in range(rounds if "cold" in sys.argv else 0):
        far_away(figures, 100 + 2 * number)
    print(f"{rounds} rounds; median (least to most)")
    for name, values in figures.items():
        print(f"  {statistics.median(values):8.2f} ({min(values):.2f} to {max(values):.2f})  {name}")


if __name__ == "__main__":
    main()
