"""The explorer's trainer beside the tutorials' plain code, in turn, on the real IMDB and MNIST.

Use: python -m explorer bench [--rounds 3] [--row 0 --row 2 …]; needs EXPLORER_DATA_DIR.

The explorer's seconds run from the request to a warm worker until the last epoch is in the store, everything that the
page records included. The plain code's seconds are those of `fit` alone: its import, its reading and its making of the
matrix are not counted.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

from explorer.config import Demand, RunConfig
from explorer.engine import Engine
from explorer.settings import Settings

# Looking costs time on the cores that train: as often as a page does for the curve, and seldom for the memory.
LOOK_SECONDS, MEMORY_SECONDS = 0.05, 0.25
ROOT = Path(__file__).resolve().parents[2]
# (title, config, epochs, most time as a share of the plain code's, most megabytes above an idle worker)
ROWS = [
    ("10,000 × 16-16, RMSprop", RunConfig(dataset="imdb", validation="test"), 20, 1 / 8, 250),
    ("10,000 × 1024-1024, RMSprop", RunConfig(dataset="imdb", validation="test", hidden=(1024, 1024)), 5, 1 / 3.5, 600),
    ("1,000 × 16-16, Adam", RunConfig(dataset="imdb", validation="test", num_words=1_000, optimizer="adam"),
     20, 1 / 3.5, 200),
    ("1,000 × 512-512, Adam", RunConfig(dataset="imdb", validation="test", num_words=1_000, optimizer="adam",
                                        hidden=(512, 512)), 20, 1 / 1.5, 250),
    ("100 × 1024-512-512-512, Adam", RunConfig(dataset="imdb", validation="test", num_words=100, optimizer="adam",
                                               hidden=(1024, 512, 512, 512), batch_size=500), 5, 1, 300),
    ("MNIST × 128-128, batch norm", RunConfig(dataset="mnist", validation="test", optimizer="adam", hidden=(128, 128),
                                              batch_norm=True, batch_size=128), 5, 1 / 1.5, 400),
]


def ours(engine: Engine, config: RunConfig, epochs: int) -> dict[str, float]:
    """One run through the engine: seconds to the last epoch, to the first, steady pace, memory of its own."""
    demand = Demand(epochs)
    began = time.perf_counter()
    run_id = engine.submit(config, demand)
    memory, done = [0.0], threading.Event()
    watcher = threading.Thread(target=_watch_memory, args=(engine, run_id, memory, done), daemon=True)
    watcher.start()
    first = last = 0.0
    while True:
        view = engine.look(run_id, demand)
        first = first or (time.perf_counter() - began if view.reached else 0.0)
        if view.reached >= epochs and not last:
            last = time.perf_counter() - began
        if not view.is_live:
            break
        time.sleep(LOOK_SECONDS)
    done.set()
    watcher.join()
    if view.state != "done":
        raise SystemExit(f"the run {view.state}: {view.run.message}")
    steady = statistics.median(row["seconds"] for row in view.epochs[1:])
    return {"seconds": last, "first": first, "steady": steady, "memory": memory[0]}


def _watch_memory(engine: Engine, run_id: str, memory: list[float], done: threading.Event) -> None:
    # What a forked child has for itself: pages that it shares with the worker are the worker's.
    while not done.wait(MEMORY_SECONDS):
        charge = engine._charges.get((run_id, engine.store.run(run_id).attempt))
        if charge and charge.pid:
            try:
                text = Path(f"/proc/{charge.pid}/smaps_rollup").read_text()
            except OSError:
                continue
            private = sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))
            memory[0] = max(memory[0], private / 1024)


def plain(config: RunConfig, epochs: int, folder: Path) -> dict[str, float]:
    """The same run as a notebook would do it."""
    given = {"file": str(folder / config.info.file), "num_words": config.num_words, "hidden": config.hidden,
             "batch_norm": config.batch_norm, "optimizer": config.optimizer, "batch_size": config.batch_size,
             "epochs": epochs, "seed": config.seed}
    answer = subprocess.run([sys.executable, str(ROOT / "tests/benchmarks/plain_notebook.py"), json.dumps(given)],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return json.loads(answer.stdout.splitlines()[-1])


def main(rounds: int, chosen: list[int], data_dir: Path) -> None:
    """Run the rows in turn and print medians."""
    with tempfile.TemporaryDirectory() as home:
        engine = Engine(Settings(home=Path(home), data_dir=data_dir))
        try:
            # Both data sets into the compact cache, and the worker warm.
            for dataset in ("imdb", "mnist"):
                ours(engine, RunConfig(dataset=dataset, hidden=(4,), train_samples=500, seed=9), 2)
            print("| IMDB words × layers | epochs | explorer s | plain `fit` s | share | wanted | first epoch s | "
                  "s per epoch | plain s per epoch | memory MB | wanted | plain peak MB |")
            print("| --- " * 12 + "|")
            for number in chosen or range(len(ROWS)):
                title, config, epochs, share, most = ROWS[number]
                pairs = [(ours(engine, replace(config, seed=seed), epochs), plain(config, epochs, data_dir))
                         for seed in range(rounds)]

                def median(side: int, name: str, pairs: list = pairs) -> float:
                    return statistics.median(pair[side][name] for pair in pairs)

                ratio = statistics.median(mine["seconds"] / theirs["fit"] for mine, theirs in pairs)
                print(f"| {title} | {epochs} | {median(0, 'seconds'):.2f} | {median(1, 'fit'):.2f} "
                      f"| 1/{1 / ratio:.1f} | 1/{1 / share:.1f} | {median(0, 'first'):.2f} "
                      f"| {median(0, 'steady'):.3f} | {median(1, 'steady'):.3f} | {median(0, 'memory'):.0f} | {most} "
                      f"| {median(1, 'peak_mb'):.0f} |", flush=True)
        finally:
            engine.close()
