"""What the store's own work takes, in a file and in a database, side by side.

Use: python -m tests.benchmarks.stores [rounds]. Both stores hold as many finished runs; a PostgreSQL of its own is
started for it on this machine, reached through a socket, which waits for the disk as one in service does. Each step is
done once with one and once with the other, in turn, so that both meet the same hours of the machine.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

from explorer.config.run_config import Demand
from explorer.store.store import RunStore
from tests._stores import Cluster
from tests.benchmarks.growth import BASE, EPOCHS_A_RUN, fill

RUNS = 1_000
ROW = {"loss": 0.41, "accuracy": 0.83, "train_crossentropy": 0.35, "train_accuracy": 0.86, "val_loss": 0.41,
       "val_crossentropy": 0.41, "val_accuracy": 0.83, "penalty": 0.01, "weights": 1.5, "zeros": 0.2, "seconds": 0.08}


class _Subject:
    """One store with a run in training, and the steps that are measured on it."""

    def __init__(self, place: Path | str):
        self.place, self.store, self._asked, self._epochs = place, RunStore(place), count(), count(1)
        fill(self.store, RUNS)
        self.store.request("live", BASE, Demand(10_000), {})
        self._attempt = self.store.claim("owner").attempt
        self._sweep = {f"{number:016x}": BASE for number in range(64)}
        self._held = dict.fromkeys(self._sweep, EPOCHS_A_RUN - 1)

    def write_an_epoch(self) -> None:
        self.store.write_epoch("live", self._attempt, ROW | {"epoch": next(self._epochs)})

    def look_at_a_run(self) -> None:
        assert len(self.store.snapshot(f"{RUNS // 2:016x}")[1]) == EPOCHS_A_RUN

    def look_at_64_runs(self) -> None:
        assert len(self.store.snapshots(self._sweep, self._held)) == 64

    def see_whether_anything_waits(self) -> None:
        self.store.any_waiting()

    def ask_and_take_back(self) -> None:
        run_id = f"asked-{next(self._asked)}"
        self.store.request(run_id, BASE, Demand(), {})
        self.store.ask_to_stop(run_id)

    def open_it(self) -> None:
        RunStore(self.place).close()


STEPS = (("an epoch is written", _Subject.write_an_epoch), ("a look at a known run", _Subject.look_at_a_run),
         ("a look at a sweep of 64", _Subject.look_at_64_runs),
         ("whether anything waits", _Subject.see_whether_anything_waits),
         ("a run is asked for and taken back", _Subject.ask_and_take_back), ("the store is opened", _Subject.open_it))


def main(rounds: int) -> None:
    """Measure in turn and print medians and ninetieth percentiles in milliseconds."""
    cluster = Cluster(lasting=True)
    try:
        with tempfile.TemporaryDirectory() as home:
            subjects = [_Subject(Path(home) / "runs.sqlite3"), _Subject(cluster.new())]
            print("| ms, median (90%) | SQLite | PostgreSQL |\n| --- | --- | --- |")
            for name, step in STEPS:
                taken: list[list[float]] = [[], []]
                for _ in range(rounds):
                    for times, subject in zip(taken, subjects, strict=True):
                        began = time.perf_counter()
                        step(subject)
                        times.append(1_000 * (time.perf_counter() - began))
                told = (f"{statistics.median(times):.2g} ({statistics.quantiles(times, n=10)[-1]:.2g})"
                        for times in taken)
                print(f"| {name} | {' | '.join(told)} |", flush=True)
            for subject in subjects:
                subject.store.close()
    finally:
        cluster.end()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
