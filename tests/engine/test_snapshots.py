"""A run that many follow: read once for all of them, never older than a moment, and made into pictures once."""

from __future__ import annotations

import threading
from pathlib import Path

from explorer.config.run_config import Demand, RunConfig
from explorer.engine.run_view import UNKNOWN
from explorer.engine.snapshots import FRESH_SECONDS, KEPT_SECONDS, RunSnapshot, SnapshotCache
from explorer.store.store import RunStore

CONFIG = RunConfig(dataset="digits")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Counted:
    """A store's snapshots, and how often they were asked for."""

    def __init__(self, *epochs: float):
        self.asked, self.epochs = 0, [{"epoch": number + 1, "val_crossentropy": value}
                                      for number, value in enumerate(epochs)]

    def __call__(self, run_id: str):
        self.asked += 1
        return None, list(self.epochs), {}


def test_the_store_is_read_once_for_all_who_look_at_a_moment():
    clock, store = Clock(), Counted(0.5)
    sights = SnapshotCache(store, clock)
    seen = [sights.of("run") for _ in range(50)]
    assert store.asked == 1 and len(set(map(id, seen))) == 1
    sights.of("another")
    assert store.asked == 2


def test_nobody_sees_what_is_older_than_a_moment():
    clock, store = Clock(), Counted(0.5)
    sights = SnapshotCache(store, clock)
    sights.of("run")
    store.epochs.append({"epoch": 2, "val_crossentropy": 0.4})
    clock.now += FRESH_SECONDS
    assert len(sights.of("run").epochs) == 2


def test_what_was_just_asked_for_is_seen_at_once_and_by_all(tmp_path: Path):
    store = RunStore(tmp_path / "runs.sqlite3")
    sights = SnapshotCache(store.snapshot, Clock())
    assert sights.of("run").view(Demand(3)).state == UNKNOWN
    store.request("run", CONFIG, Demand(3), {})
    assert sights.of("run", fresh=True).view(Demand(3)).is_live
    assert sights.of("run").view(Demand(3)).is_live
    store.close()


def test_what_is_made_of_the_epochs_is_made_once_until_another_comes():
    clock, store, made = Clock(), Counted(0.5), []

    def best(epochs: list[dict], scale: int) -> float:
        made.append(len(epochs))
        return scale * min(row["val_crossentropy"] for row in epochs)

    sights = SnapshotCache(store, clock)
    assert [sights.of("run").once(best, 2) for _ in range(9)] == [1.0] * 9 and made == [1]
    clock.now += FRESH_SECONDS  # read anew, and nothing has come
    assert sights.of("run").once(best, 2) == 1.0 and made == [1]
    assert sights.of("run").once(best, 4) == 2.0 and made == [1, 1]
    store.epochs.append({"epoch": 2, "val_crossentropy": 0.25})
    clock.now += FRESH_SECONDS
    assert sights.of("run").once(best, 2) == 0.5 and made == [1, 1, 2]


def test_of_many_who_come_at_once_one_makes_it():
    sight, made, ready = RunSnapshot((None, [], {})), [], threading.Barrier(8)

    def make(epochs: list) -> str:
        made.append(1)
        return "picture"

    def come() -> None:
        ready.wait()
        assert sight.once(make) == "picture"

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]


def test_runs_that_nobody_follows_any_more_are_forgotten():
    clock = Clock()
    sights = SnapshotCache(Counted(), clock)
    for number in range(500):
        sights.of(f"run {number}")
        clock.now += 1.0
    assert len(sights._held) <= KEPT_SECONDS + 1
