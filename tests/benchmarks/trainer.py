"""The explorer's trainer beside the tutorials' plain code and what else a person might use, in turn, on IMDB and MNIST.

Use: python -m explorer bench [--rounds 3] [--row 0 --row 2 …]; needs EXPLORER_DATA_DIR.

The explorer's seconds run from the request to a warm worker until the last epoch is in the store, everything that the
page records included. Each round has a worker of its own, so that the architecture is new to it; then the same
architecture is asked for again with other seeds. Memory is what the worker and its children hold at most, above what
they hold before anything has been asked of them, read in a run of its own.

The plain code's seconds are those of `fit` alone: its import, its reading and its making of the matrix are not counted.
The same holds for PyTorch and scikit-learn (`alternatives.py`), which the benchmark can do without. Of all these only
the explorer also measures the training rows in inference mode, in every epoch.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.engine.engine import Engine

# Looking costs time on the cores that train: often until the first epoch, whose time is a fraction of a second; then
# as often as a page does for the curve.
FIRST_LOOK_SECONDS, LOOK_SECONDS, MEMORY_SECONDS = 0.01, 0.05, 0.05
# After so many a run has taken all that it will take.
MEMORY_EPOCHS = 3
# So long between two looks at a worker that is still warming up.
IDLE_SECONDS = 2.0
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
# What a person might use instead: the name in alternatives.py and the head of its column. The first three are what
# PyTorch does by itself.
ALTERNATIVES = {"embedding_bag": "PyTorch EmbeddingBag", "csr": "PyTorch CSR", "dense": "PyTorch dense",
                "csr_transposed": "PyTorch CSR, own gradient", "sklearn": "scikit-learn"}
BY_ITSELF = ("embedding_bag", "csr", "dense")
# Steady pace: at most this share of the better PyTorch's, in these rows.
MAX_OF_PYTORCH = {0: 1 / 2}
# A float32 matrix of so many words is a matter of course; beyond it takes gigabytes.
DENSE_WORDS = 1_000
# Networks so large take seconds an epoch, and their pace is clear after a few.
LARGE, FEW_EPOCHS = 500_000, 4
# With more than this at work already, times are not worth much.
QUIET_LOAD = 0.5
# How long a later request of a known architecture is trained, for the pace that its start is reckoned with, and how
# often it is asked for. An epoch of seconds varies by more than such a start takes: large networks are started on so
# few examples.
AGAIN_EPOCHS, AGAIN_TIMES, START_SAMPLES = 3, 3, 2_500
NOT_FOR_THESE = "–"
WARM_UP_SEEDS = count(1_000)

Answer = dict[str, Any]


def ours(engine: Engine, config: RunConfig, epochs: int) -> Answer:
    """One run through the engine: seconds to the last epoch, to the first, of each later one, and their median."""
    demand = Demand(epochs)
    began = time.perf_counter()
    run_id = engine.submit(config, demand)
    first = last = 0.0
    while True:
        view = engine.look(run_id, demand)
        first = first or (time.perf_counter() - began if view.reached else 0.0)
        if view.reached >= epochs and not last:
            last = time.perf_counter() - began
        if not view.is_live:
            break
        time.sleep(LOOK_SECONDS if first else FIRST_LOOK_SECONDS)
    if view.state != "done":
        raise SystemExit(f"the run {view.state}: {view.run.message}")
    later = [row["seconds"] for row in view.epochs[1:]]
    steady = statistics.median(later or [math.nan])
    return {"seconds": last, "first": first, "steady": steady, "later": later}


def start(answers: list[Answer]) -> float:
    """Seconds of the first epoch above a later one: medians over all runs, for epochs of seconds vary by more."""
    return middle(answers, "first") - statistics.median([seconds for one in answers for seconds in one["later"]])


def memory(settings: Settings, config: RunConfig, epochs: int) -> float:
    """Megabytes that a run takes at most, above a worker that nothing has been asked of.

    Not measured in a run whose time is: looking at a process stops it for milliseconds.
    """
    engine, most, done = Engine(settings), [0.0], threading.Event()
    try:
        idle = settled(engine)
        _warm_up(engine, config)
        watcher = threading.Thread(target=_watch_memory, args=(engine, most, done), daemon=True)
        watcher.start()
        ours(engine, replace(config, seed=next(WARM_UP_SEEDS)), epochs)
        done.set()
        watcher.join()
    finally:
        engine.close()
    return most[0] - idle


def _watch_memory(engine: Engine, most: list[float], done: threading.Event) -> None:
    while not done.wait(MEMORY_SECONDS):
        most[0] = max(most[0], held(engine))


def held(engine: Engine) -> float:
    """Megabytes of the worker and its children, what they share counted once; 0 where the system does not tell."""
    total, pids = 0.0, [engine._worker.pid] if engine._worker else []
    for pid in pids:
        try:
            pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue  # it has just ended
        total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return total / 1024


def settled(engine: Engine) -> float:
    """Megabytes of a worker that has nothing to do, once it has warmed up."""
    before, now = -1.0, held(engine)
    while engine.hardware is None or abs(now - before) > 1:
        time.sleep(IDLE_SECONDS)
        before, now = now, held(engine)
    return now


def plain(config: RunConfig, epochs: int, folder: Path) -> Answer:
    """The same run as a notebook would do it."""
    return json.loads(_run("plain_notebook.py", _given(config, epochs, folder)).splitlines()[-1])


def applies(way: str, config: RunConfig) -> bool:
    """Whether an alternative is one for this data set and size."""
    if way == "dense":
        return config.num_words is None or config.num_words <= DENSE_WORDS
    return config.num_words is not None or way == "sklearn"


def alternative(way: str, config: RunConfig, epochs: int, folder: Path) -> Answer:
    """The same run with another library.

    Returns:
        What it measured, `fit` reckoned for all epochs; or `missing`, `lacks` or `failed` and why.
    """
    few = min(epochs, FEW_EPOCHS) if config.parameters > LARGE else epochs
    try:
        answer = json.loads(_run("alternatives.py", {**_given(config, few, folder), "way": way}).splitlines()[-1])
    except subprocess.CalledProcessError as error:
        # One that runs out of memory is not to take an hour's measurements with it.
        print(f"{way}: {error.stderr}", file=sys.stderr)
        return {"failed": error.returncode}
    if "fit" in answer:
        answer["fit"] += (epochs - few) * answer["steady"]
        answer["accuracy"] = answer["val_accuracy"][-1]
    return answer


def _given(config: RunConfig, epochs: int, folder: Path) -> dict[str, Any]:
    return {"file": str(folder / config.info.file), "num_words": config.num_words, "hidden": config.hidden,
            "batch_norm": config.batch_norm, "optimizer": config.optimizer, "batch_size": config.batch_size,
            "epochs": epochs, "seed": config.seed}


def _run(script: str, given: dict[str, Any]) -> str:
    return subprocess.run([sys.executable, str(ROOT / "tests/benchmarks" / script), json.dumps(given)],
                          capture_output=True, text=True, check=True).stdout


def middle(answers: list[Answer], name: str) -> float:
    """Median over the rounds; not a number where nothing was measured."""
    return statistics.median([answer[name] for answer in answers if name in answer] or [math.nan])


def instead(answers: list[Answer], config: RunConfig) -> str:
    """What a cell says where an alternative has no numbers, and after them where it did not quite do the same."""
    if not answers:
        return NOT_FOR_THESE
    for answer in answers:
        if "missing" in answer:
            return "not installed"
        if "lacks" in answer:
            return f"no {answer['lacks']}"
        if "failed" in answer:
            return "failed"
    used = answers[0]["optimizer"]
    return "" if used == config.optimizer else f" ({used})"


def share(mine: float, theirs: float) -> str:
    if math.isnan(mine / theirs):
        return NOT_FOR_THESE
    return f"1/{theirs / mine:.1f}" if mine <= theirs else f"{mine / theirs:.1f}"


def cells(title: str, epochs: int, config: RunConfig, wanted: float | None, mine: list[Answer], notebook: list[Answer],
          others: dict[str, list[Answer]]) -> tuple[list[str], list[str]]:
    """One row of the table of paces and one of the table of whole fits."""
    paces, fits = [], []
    for way in ALTERNATIVES:
        note = instead(others.get(way, []), config)
        if note and not note.startswith(" "):
            paces.append(note)
            fits.append(note)
            continue
        fit, peak, accuracy = (middle(others[way], name) for name in ("fit", "peak_mb", "accuracy"))
        paces.append(f"{middle(others[way], 'steady'):.3f}{note}")
        fits.append(f"{fit:.2f} s, {peak:.0f} MB, {accuracy:.3f}{note}")
    pace = middle(mine, "steady")

    def better(ways: tuple[str, ...]) -> float:
        found = [middle(others.get(way, []), "steady") for way in ways]
        return min([seconds for seconds in found if not math.isnan(seconds)], default=math.nan)

    by_itself = better(BY_ITSELF)
    any_pytorch = better((*BY_ITSELF, "csr_transposed"))
    return ([title, f"{pace:.3f}", f"{middle(notebook, 'steady'):.3f}", *paces, share(pace, by_itself),
             f"1/{1 / wanted:.1f}" if wanted else NOT_FOR_THESE, share(pace, any_pytorch)],
            [title, str(epochs), f"{middle(mine, 'seconds'):.2f} s",
             f"{middle(notebook, 'fit'):.2f} s, {middle(notebook, 'peak_mb'):.0f} MB", *fits])


def _line(row: list[str]) -> str:
    return "| " + " | ".join(row) + " |"


def _print_table(title: str, head: list[str], rows: list[list[str]]) -> None:
    print(f"\n{title}\n")
    print("\n".join(_line(row) for row in (head, ["---"] * len(head), *rows)), flush=True)


def main(rounds: int, chosen: list[int], data_dir: Path, alternatives: bool = True) -> None:
    """Run the rows in turn and print medians."""
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > QUIET_LOAD:
        print(f"The machine is at work already (load {os.getloadavg()[0]:.1f}): times are not worth much, PyTorch's "
              "least of all.", file=sys.stderr)
    print(_line(["IMDB words × layers", "epochs", "explorer s", "plain `fit` s", "share", "wanted", "first epoch s",
                 "start s", "start again s", "s per epoch", "plain s per epoch", "memory MB", "wanted",
                 "plain peak MB"]))
    print(_line(["---"] * 14))
    paces: list[list[str]] = []
    fits: list[list[str]] = []
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(home=Path(home), data_dir=data_dir)
        try:
            for number in chosen or range(len(ROWS)):
                title, config, epochs, most_share, most = ROWS[number]
                mine, starts, again, notebook = [], [], [], []
                others: dict[str, list[Answer]] = {way: [] for way in ALTERNATIVES if applies(way, config)}
                for seed in range(rounds):
                    one = replace(config, seed=seed)
                    other = rounds + AGAIN_TIMES * seed
                    first, later = _explorer(settings, one, epochs, other)
                    mine.append(first)
                    if config.parameters > LARGE:
                        short = replace(one, train_samples=START_SAMPLES)
                        first, later = _explorer(settings, short, AGAIN_EPOCHS, other)
                    starts.append(first)
                    again += later
                    notebook.append(plain(one, epochs, data_dir))
                    for way in others if alternatives else ():
                        others[way].append(alternative(way, one, epochs, data_dir))
                most_memory = memory(settings, config, min(epochs, MEMORY_EPOCHS))
                ratio = statistics.median(one["seconds"] / its["fit"] for one, its in zip(mine, notebook))
                print(_line([
                    title, str(epochs), f"{middle(mine, 'seconds'):.2f}", f"{middle(notebook, 'fit'):.2f}",
                    f"1/{1 / ratio:.1f}", f"1/{1 / most_share:.1f}", f"{middle(mine, 'first'):.2f}",
                    f"{start(starts):.2f}", f"{start(again):.2f}", f"{middle(mine, 'steady'):.3f}",
                    f"{middle(notebook, 'steady'):.3f}", f"{most_memory:.0f}", str(most),
                    f"{middle(notebook, 'peak_mb'):.0f}"]), flush=True)
                pace, fit = cells(title, epochs, config, MAX_OF_PYTORCH.get(number), mine, notebook, others)
                paces.append(pace)
                fits.append(fit)
        finally:
            # Who interrupts it after half an hour wants to see what there is.
            if alternatives and paces:
                ways = list(ALTERNATIVES.values())
                _print_table("Seconds per epoch, steady", [
                    "IMDB words × layers", "explorer", "plain", *ways, "share of the better PyTorch by itself",
                    "wanted", "share of the best PyTorch"], paces)
                _print_table("Whole `fit`, peak memory from when the data lie ready, validation accuracy at the end", [
                    "IMDB words × layers", "epochs", "explorer", "plain", *ways], fits)


def _explorer(settings: Settings, config: RunConfig, epochs: int, other_seed: int) -> tuple[Answer, list[Answer]]:
    """A run on a warm worker that does not know the architecture, then the same architecture with other seeds."""
    engine = Engine(settings)
    try:
        settled(engine)
        _warm_up(engine, config)
        first = ours(engine, config, epochs)
        return first, [ours(engine, replace(config, seed=other_seed + number), AGAIN_EPOCHS)
                       for number in range(AGAIN_TIMES)]
    finally:
        engine.close()


def _warm_up(engine: Engine, config: RunConfig) -> None:
    # The data into the compact cache, and the worker warm. No two of these may be the same run: the second would be
    # known, and warm nothing.
    ours(engine, RunConfig(dataset=config.dataset, hidden=(4,), train_samples=500, seed=next(WARM_UP_SEEDS)), 2)
