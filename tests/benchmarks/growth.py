"""What an epoch and a look at the store cost as the work grows, beside what this machine could do at best.

Use: python -m explorer bench --growth; needs EXPLORER_DATA_DIR. Writes the picture of docs/performance.md with
`--picture FILE`.

Each point is trained by a process of its own. Its physical floor is the larger of two times: the bytes that an epoch
must move over the measured bandwidth of the caches and the memory, and the operations that it must do over the measured
rate of a matrix product. An epoch here is what the explorer does in one: the training pass, and the inference passes
over the training and the validation rows.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from explorer.config.run_config import Demand, RunConfig, library_versions
from explorer.config.settings import Settings
from explorer.store.store import RunStore

ROOT = Path(__file__).resolve().parents[2]
BASE = RunConfig(dataset="imdb", validation="test")
EPOCHS = 6
# What grows, and the values it takes; the others stay as in BASE.
GROWTH = {
    "words": [BASE.with_(num_words=words) for words in (100, 300, 1_000, 3_000, 10_000, 20_000)],
    "units": [BASE.with_(hidden=(units, units)) for units in (4, 16, 64, 256, 1_024)],
    "training examples": [BASE.with_(train_samples=rows) for rows in (1_000, 3_000, 8_000, None)],
}
AMOUNT = {"words": lambda config: config.num_words, "units": lambda config: config.hidden[0],
          "training examples": lambda config: config.rows}
STORED = (10, 1_000, 100_000)
EPOCHS_A_RUN = 5
FLOAT = 4
# Bytes: of a core's own cache, of the one that cores share, of memory.
WORKING_SETS = (2**20, 2**23, 2**24, 2**29)


def measure_point(config: RunConfig, data_dir: Path, home: Path) -> dict[str, float]:
    """Seconds per epoch and memory of one config, in a process of its own."""
    answer = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.growth", "--point", config.canonical_json(), str(data_dir), str(home)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True, cwd=ROOT)
    return json.loads(answer.stdout.splitlines()[-1])


def _point(config: RunConfig, settings: Settings) -> dict[str, float]:
    import tensorflow as tf

    from explorer import data
    from explorer.training import graph_loop, train
    from explorer.training.graph_cache import warm_up
    from explorer.workers import devices

    devices.prepare("cpu", settings.threads, tf)
    warm_up()
    before = _resident_mb()
    prepared = data.load(config, settings)
    seconds: list[float] = []
    train.train(config, prepared, lambda: [Demand(EPOCHS)],
                lambda kind, values: seconds.append(values["seconds"]) if kind == "epoch" else None, lambda: False,
                way=graph_loop.TrainingSession)
    words = sum(len(part.x.indices) for part in (prepared.train, prepared.validation))
    return {"seconds": statistics.median(seconds[1:]), "memory": _resident_mb(peak=True) - before,
            "trained_words": len(prepared.train.x.indices), "words": words,
            "measured_rows": len(prepared.train) + len(prepared.validation)}


def bandwidths() -> dict[int, float]:
    """Bytes a second that this machine reads over and over with two threads, by the bytes that it goes over.

    What fits into a cache comes many times as fast as what has to come from memory.
    """
    from concurrent.futures import ThreadPoolExecutor

    found = {}
    with ThreadPoolExecutor(2) as pool:
        for size in WORKING_SETS:
            halves = np.split(np.ones(size // FLOAT, np.float32), 2)
            passes = max(1, 2**28 // size)

            def read(half: np.ndarray, passes: int = passes) -> None:
                for _ in range(passes):
                    half.dot(half)

            best = 0.0
            for _ in range(7):
                began = time.perf_counter()
                list(pool.map(read, halves))
                best = max(best, passes * size / (time.perf_counter() - began))
            found[size] = best
    return found


def product_rate() -> float:
    """Operations a second of a large single-precision matrix product, the best of several."""
    import tensorflow as tf

    a = tf.random.normal((2_048, 2_048))
    best = 0.0
    for _ in range(7):
        began = time.perf_counter()
        (a @ a).numpy()
        best = max(best, 2 * 2_048**3 / (time.perf_counter() - began))
    return best


def floor(config: RunConfig, point: dict[str, float], rates: dict[int, float], operations_a_second: float) -> float:
    """Seconds that an epoch must take at least: for moving or for computing, whichever is more.

    The first layer reads one row of its kernel for each word (forward), and adds to one for each word (backward:
    read and write); an update reads weights, gradient and one slot and writes two of them. These stay in a cache where
    they fit into one; the words themselves come from memory. Later layers are dense.
    """
    first, steps = config.hidden[0], -(-config.rows // config.batch_size)
    dense = config.parameters - (config.inputs + 1) * first

    def rate(working_set: float) -> float:
        return next((rates[size] for size in sorted(rates) if size >= working_set), rates[max(rates)])

    kernel = FLOAT * config.inputs * first
    moving = FLOAT * (point["words"] + point["trained_words"]) / rates[max(rates)]
    moving += FLOAT * first * (point["words"] + point["trained_words"] * 3) / rate(kernel)
    moving += FLOAT * 5 * config.parameters * steps / rate(3 * kernel)
    operations = 2 * first * (point["words"] + point["trained_words"] * 2)
    operations += 2 * dense * (point["measured_rows"] + 3 * config.rows)
    return max(moving, operations / operations_a_second)


def _resident_mb(peak: bool = False) -> float:
    name = "VmHWM" if peak else "VmRSS"
    text = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith(name))


def fill(store: RunStore, runs: int) -> None:
    """Put so many finished runs into a store, as training would have left them."""
    config, versions = BASE.canonical_json(), json.dumps(library_versions())
    row = {"loss": 0.4, "accuracy": 0.8, "train_crossentropy": 0.35, "train_accuracy": 0.86, "val_loss": 0.41,
           "val_crossentropy": 0.41, "val_accuracy": 0.83, "penalty": 0.0, "seconds": 0.08}
    metrics = [json.dumps({"epoch": epoch, **row}) for epoch in range(1, EPOCHS_A_RUN + 1)]
    with store._write() as db:
        names = [f"{number:016x}" for number in range(runs)]
        db.executemany(
            "INSERT INTO runs (run_id, config, versions, created_at, status, ticket, attempt) "
            "VALUES (?, ?, ?, 0, 'finished', ?, 1)",
            ((name, config, versions, ticket) for ticket, name in enumerate(names, start=1)))
        db.executemany("INSERT INTO epochs VALUES (?, ?, ?)", (
            (name, epoch, text) for name in names for epoch, text in enumerate(metrics, start=1)))
        db.executemany("INSERT INTO scores VALUES (?, ?, ?)", ((name, EPOCHS_A_RUN, metrics[-1]) for name in names))


def stored(runs: int, home: Path) -> dict[str, float]:
    """Milliseconds of what a page and an engine ask of a store of so many runs; medians."""
    store = RunStore(Settings(home=home).store_path)
    fill(store, runs)
    began = time.perf_counter()
    store = RunStore(store.database.path)
    opening = time.perf_counter() - began
    middle = f"{runs // 2:016x}"
    steps = {"look up a known run": lambda: store.snapshot(middle),
             "look up an unknown run": lambda: store.snapshot("-"),
             "see whether anything waits": lambda: store.any_waiting(None)}
    found = {"open": opening * 1_000}
    for name, step in steps.items():
        found[name] = _median_ms(step)
    many = {f"{number:016x}": BASE for number in range(min(64, runs))}
    held = dict.fromkeys(many, EPOCHS_A_RUN - 1)
    found["look at 64 runs of a sweep"] = _median_ms(lambda: store.snapshots(many, held))
    asked = iter(range(10**6))
    found["ask for a run"] = _median_ms(
        lambda: store.request(f"new-{next(asked)}", BASE.with_(seed=next(asked)), Demand(), library_versions()))
    store.close()
    found["size MB"] = store.database.path.stat().st_size / 2**20
    return found


def _median_ms(step) -> float:
    times = []
    for _ in range(21):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1_000


def first_paint(runs: int, rounds: int) -> float:
    """Seconds from opening the page to its Train button over a store of so many runs; median, in a real browser."""
    import shutil

    from playwright.sync_api import sync_playwright

    from tests.benchmarks.page import FLAGS, Server, waited

    with tempfile.TemporaryDirectory() as home, sync_playwright() as playwright:
        fill(RunStore(Settings(home=Path(home)).store_path), runs)
        server = Server(Path(home))
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        try:
            times = []
            for number in range(rounds + 1):
                page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
                began = time.perf_counter()
                page.goto(server.address(seed=number))
                times.append(waited(page, "button:has-text('Train')", began))
                page.close()
                time.sleep(6 if number == 0 else 0.5)  # the worker imports meanwhile; that is measured elsewhere
            return statistics.median(times[1:])
        finally:
            browser.close()
            server.close()


def picture(points: pd.DataFrame, store: pd.DataFrame, path: Path) -> None:
    """Seconds per epoch and memory against what grows, the floor dashed; and the store's answers beside them.

    Args:
        points: columns what, amount, measured, floor (seconds) and memory (megabytes).
        store: columns runs, paint (seconds) and lookup (milliseconds).
    """
    import altair as alt

    def x(field: str, title: str) -> alt.X:
        return alt.X(f"{field}:Q", title=title, scale=alt.Scale(type="log"), axis=alt.Axis(format="~s", tickCount=4))

    def panel(upper: alt.Chart, lower: alt.Chart) -> alt.VConcatChart:
        return alt.vconcat(upper.properties(width=210, height=170), lower.properties(width=210, height=110))

    panels = []
    for name in GROWTH:
        rows = points[points["what"] == name]
        seconds = (
            alt.Chart(rows).transform_fold(["measured", "floor"], as_=["which", "s"])
            .mark_line(point=True, color="#3987e5")
            .encode(x=x("amount", name), y=alt.Y("s:Q", title="seconds per epoch", scale=alt.Scale(type="log")),
                    strokeDash=alt.StrokeDash("which:N", title=None, scale=alt.Scale(
                        domain=["measured", "floor"], range=[[1, 0], [4, 4]]), legend=alt.Legend(orient="top"))))
        memory = (
            alt.Chart(rows).mark_line(point=True, color="#d9822b")
            .encode(x=x("amount", name), y=alt.Y("memory:Q", title="MB above an idle process")))
        panels.append(panel(seconds, memory))
    line = alt.Chart(store).mark_line(point=True, color="#3f9142")
    panels.append(panel(
        line.encode(x=x("runs", "runs in the store"), y=alt.Y("paint:Q", title="first paint, seconds")),
        line.encode(x=x("runs", "runs in the store"), y=alt.Y("lookup:Q", title="a known run, ms"))))
    alt.hconcat(*panels).configure(background="white").save(str(path), scale_factor=2)


def main(data_dir: Path, rounds: int, picture_file: Path | None) -> None:
    """Measure everything and print the tables."""
    rates, operations_a_second = bandwidths(), product_rate()
    print("This machine reads " + ", ".join(
        f"{rate / 1e9:.0f} GB/s within {size / 2**20:.0f} MB" for size, rate in rates.items())
        + f", and does {operations_a_second / 1e9:.0f} GFLOP/s.\n")
    print("| what grows | | s per epoch | floor s | times the floor | MB above an idle process |")
    print("| --- " * 6 + "|")
    points = []
    with tempfile.TemporaryDirectory() as home:
        measure_point(BASE, data_dir, Path(home))  # puts the data into the compact cache
        for name, configs in GROWTH.items():
            for config in configs:
                found = [measure_point(config, data_dir, Path(home)) for _ in range(rounds)]
                seconds = statistics.median(point["seconds"] for point in found)
                memory = statistics.median(point["memory"] for point in found)
                least = floor(config, found[0], rates, operations_a_second)
                amount = AMOUNT[name](config)
                points.append({"what": name, "amount": amount, "measured": seconds, "floor": least, "memory": memory})
                print(f"| {name} | {amount:,} | {seconds:.3f} | {least:.4f} | {seconds / least:.1f} | {memory:.0f} |",
                      flush=True)
    print("\n| runs in the store | first paint s | open ms | look up a known run ms | look up an unknown run ms | "
          "see whether anything waits ms | look at 64 runs of a sweep ms | ask for a run ms | size MB |")
    print("| --- " * 9 + "|")
    answers = []
    for runs in STORED:
        with tempfile.TemporaryDirectory() as home:
            found = stored(runs, Path(home))
        paint = first_paint(runs, rounds)
        answers.append({"runs": runs, "paint": paint, "lookup": found["look up a known run"]})
        print(f"| {runs:,} | {paint:.2f} | " + " | ".join(f"{value:.1f}" for value in found.values()) + " |",
              flush=True)
    if picture_file:
        picture(pd.DataFrame(points), pd.DataFrame(answers), picture_file)


if __name__ == "__main__":
    _, _, config_text, data_text, home_text = sys.argv
    given = RunConfig.from_json(config_text)
    print(json.dumps(_point(given, Settings(home=Path(home_text), data_dir=Path(data_text)))))
