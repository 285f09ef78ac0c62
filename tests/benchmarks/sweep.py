"""A grid of eight small runs asked for at once, beside the same runs one after another; in turn, on the real IMDB.

Use: python -m explorer bench --sweep; needs EXPLORER_DATA_DIR. Both go through the engine to a warm worker and end with
the last epoch in the store.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.engine.engine import Engine

BASE = RunConfig(dataset="imdb", validation="test")
STRENGTHS = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
EPOCHS = 20
LOOK_SECONDS = 0.05


def wait(engine: Engine, run_ids: list[str], demand: Demand) -> None:
    while any(engine.look(run_id, demand).is_live for run_id in run_ids):
        time.sleep(LOOK_SECONDS)
    states = {engine.look(run_id, demand).state for run_id in run_ids}
    if states != {"done"}:
        raise SystemExit(f"the runs ended as {states}")


def grid(seed: int) -> list[RunConfig]:
    return [replace(BASE, l2=strength, seed=seed) for strength in STRENGTHS]


def main(rounds: int, data_dir: Path) -> None:
    """Measure in turn and print medians."""
    demand = Demand(EPOCHS)
    with tempfile.TemporaryDirectory() as home:
        engine = Engine(Settings(home=Path(home), data_dir=data_dir))
        try:
            wait(engine, [engine.submit(replace(BASE, hidden=(4,), seed=9), Demand(2))], Demand(2))
            apart, together = [], []
            for number in range(rounds):
                began = time.perf_counter()
                for config in grid(seed=2 * number):
                    wait(engine, [engine.submit(config, demand)], demand)
                apart.append(time.perf_counter() - began)
                began = time.perf_counter()
                wait(engine, engine.submit_all(grid(seed=2 * number + 1), demand), demand)
                together.append(time.perf_counter() - began)
                print(f"round {number + 1}: one after another {apart[-1]:.2f} s, at once {together[-1]:.2f} s, "
                      f"{apart[-1] / together[-1]:.2f} times as fast", flush=True)
            ratio = statistics.median(a / b for a, b in zip(apart, together, strict=True))
            print(f"\n8 runs of 10,000 × 16-16, {EPOCHS} epochs: one after another {statistics.median(apart):.2f} s, "
                  f"at once {statistics.median(together):.2f} s, {ratio:.2f} times as fast (wanted: 2.5)")
        finally:
            engine.close()
