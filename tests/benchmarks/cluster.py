"""What a run on a Dask cluster takes longer than on this machine's own worker; in turn, on embedded data.

Use: python -m tests.benchmarks.cluster [ROUNDS]. Scheduler and worker are on this machine too, so that both sides
compute with the same cores. Each run has a seed of its own and a network that the process which trains has seen before;
from the request to the first epoch, and to the end, in the store.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.engine.engine import Engine
from tests._dask import LocalCluster

CONFIG = RunConfig(dataset="digits", hidden=(16, 16))
EPOCHS = 20
LOOK_SECONDS = 0.002
# The process that has just trained a run is ready for the next a moment after the run has ended.
REST_SECONDS = 0.5


def seconds(engine: Engine, seed: int) -> tuple[float, float]:
    """Seconds from the request to the first epoch and to the end."""
    config, demand = replace(CONFIG, seed=seed), Demand(EPOCHS)
    time.sleep(REST_SECONDS)
    began, first = time.perf_counter(), 0.0
    run_id = engine.submit(config, demand)
    while True:
        run = engine.store.run(run_id)
        if not first and engine.store.epochs(run_id):
            first = time.perf_counter() - began
        if not run.is_live:
            break
        time.sleep(LOOK_SECONDS)
    whole = time.perf_counter() - began
    if run.status != "finished":
        raise SystemExit(f"the run {run.status}: {run.message}")
    return first, whole


def main(rounds: int) -> None:
    """Measure in turn and print medians."""
    with tempfile.TemporaryDirectory() as folder:
        cluster = LocalCluster(Path(folder) / "dask")
        cluster.start_scheduler()
        cluster.start_worker("a")
        here = Engine(Settings(home=Path(folder) / "here"))
        there = Engine(Settings(home=Path(folder) / "there", scheduler=cluster.address))
        try:
            for engine in (here, there):
                seconds(engine, seed=10_000)
            pairs = []
            for seed in range(rounds):
                order = (here, there) if seed % 2 else (there, here)
                taken = {engine: seconds(engine, seed) for engine in order}
                pairs.append((taken[here], taken[there]))
                (first, whole), (first_there, whole_there) = pairs[-1]
                print(f"round {seed + 1}: first epoch {first:.3f} s here, {first_there:.3f} s there; {EPOCHS} epochs "
                      f"{whole:.3f} s here, {whole_there:.3f} s there", flush=True)
        finally:
            for engine in (here, there):
                engine.close()
            cluster.close()
    first = statistics.median(there[0] - here[0] for here, there in pairs)
    later = statistics.median(
        ((there[1] - there[0]) - (here[1] - here[0])) / (EPOCHS - 1) for here, there in pairs)
    steady = statistics.median((here[1] - here[0]) / (EPOCHS - 1) for here, _ in pairs)
    print(f"\nmedians of {rounds} pairs: the first epoch comes {1000 * first:.0f} ms later, each further one takes "
          f"{1000 * later:.1f} ms more than {1000 * steady:.0f} ms")
    for number, what in enumerate(("first epoch", f"{EPOCHS} epochs")):
        best = [1000 * min(pair[side][number] for pair in pairs) for side in (0, 1)]
        print(f"best of {rounds}: {what} {best[0]:.0f} ms here, {best[1]:.0f} ms there")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
