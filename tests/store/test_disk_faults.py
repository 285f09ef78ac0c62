"""A server that is killed, two on one store, a disk that is full, files that are locked or damaged: no run is lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from explorer import data
from explorer.config.run_config import Demand, RunConfig, library_versions
from explorer.config.settings import Settings
from explorer.engine.engine import Engine
from explorer.engine.run_view import DONE, UNKNOWN, RunView, look
from explorer.store import checkpoints
from explorer.store.store import RunStore
from tests._server import Server, outliving
from tests.engine.test_engine import CONFIG, LONG, ended, in_the_middle, numbers, wait_for

ROOT = Path(__file__).resolve().parents[2]
# With batches as small as these a run takes a few seconds, and can be caught in the middle.
SLOW = CONFIG.with_(batch_size=16)
LOCKED_SECONDS = 30


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Another installation, in which nothing goes wrong."""
    engine = Engine(Settings(home=tmp_path_factory.mktemp("sound"), runs_at_once=1))
    yield engine
    engine.close()


# -- a store that another program holds, while the tests below go on ----------------------------------------------

HOLD = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
db.execute("ROLLBACK")
"""


@pytest.fixture(scope="module", autouse=True)
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """An installation whose store is locked for half a minute in the middle of a run; the time passes meanwhile."""
    engine = Engine(Settings(home=tmp_path_factory.mktemp("locked"), runs_at_once=2))
    found = SimpleNamespace(engine=engine, error=None)

    def story() -> None:
        try:
            found.first = engine.submit(SLOW, LONG)
            in_the_middle(engine, found.first)
            holder = subprocess.Popen([sys.executable, "-c", HOLD, str(engine.settings.store_path),
                                       str(LOCKED_SECONDS)], stdout=subprocess.PIPE, text=True)
            with holder:
                holder.stdout.readline()
                began = time.monotonic()
                found.before = engine.look(found.first, LONG)  # it can be read all the time
                found.read = time.monotonic() - began
                found.second = engine.submit(SLOW.with_(seed=1), Demand(epochs=3))
                found.waited = time.monotonic() - began
            wait_for(lambda: engine.look(found.first, LONG).reached > found.before.reached + 1)
            engine.stop(found.first)
        except BaseException as error:  # told by the test below
            found.error = error

    thread = threading.Thread(target=story)
    thread.start()
    found.join = thread.join
    yield found
    thread.join(120)
    engine.close()


# -- servers ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"), EXPLORER_RUNS_AT_ONCE="1")
    yield server
    assert server.stop() == []


def _identity(config: RunConfig) -> str:
    return config.run_id(data.version(config.dataset, Settings(home=Path("nowhere"))))


def _ask(store: RunStore, configs: list[RunConfig], demand: Demand) -> list[str]:
    """As a page does."""
    for config in configs:
        store.request(_identity(config), config, demand, library_versions(), "somebody")
    return [_identity(config) for config in configs]


def _see(store: RunStore, run_id: str, demand: Demand) -> RunView:
    return look(*store.snapshot(run_id), demand)


def _all_ended(store: RunStore, ids: list[str]) -> bool:
    return not any(store.run(run_id).is_live for run_id in ids)


def _same_curve(view: RunView, undisturbed: Engine, config: RunConfig, demand: Demand) -> None:
    undisturbed.submit(config, demand)
    whole = ended(undisturbed, _identity(config), demand)
    assert view.state == whole.state == DONE
    assert numbers(view) == numbers(whole) and view.score == whole.score


def test_a_server_killed_in_the_middle_of_ten_runs_goes_on_when_it_is_started_again(server, undisturbed):
    configs, demand = [SLOW.with_(seed=seed) for seed in range(10)], Demand(epochs=6)
    store = server.store
    ids = _ask(store, configs, demand)
    wait_for(lambda: store.counts().get("finished", 0) >= 2)
    wait_for(lambda: any(len(store.epochs(run.run_id)) >= 2 for run in store.with_status("running")))
    assert outliving(server.kill()) == []  # nobody goes on training for nobody
    before = {run_id: store.epochs(run_id) for run_id in ids}
    # Its child may have had the time to say so itself.
    [caught] = [run.run_id for run in store.with_status("running", "interrupted")]
    assert 2 <= store.counts()["finished"] < 9
    server.start()
    wait_for(lambda: _all_ended(store, ids))
    view = _see(store, caught, demand)
    assert view.state == "interrupted" and view.run.message == "The explorer ended while this run was training."
    assert {run_id: store.epochs(run_id)[: len(rows)] for run_id, rows in before.items()} == before
    for run_id in ids:
        if run_id != caught:  # what waited has been trained without anybody asking again
            assert _see(store, run_id, demand).state == DONE and store.run(run_id).attempt == 1
    config = configs[ids.index(caught)]
    _ask(store, [config], demand)
    wait_for(lambda: _all_ended(store, [caught]))
    _same_curve(_see(store, caught, demand), undisturbed, config, demand)


def test_two_servers_on_one_store_train_each_run_once_and_take_over_from_one_another(server, undisturbed, tmp_path):
    store, demand = server.store, Demand(epochs=3)
    other = Server(tmp_path, EXPLORER_RUNS_AT_ONCE="1", EXPLORER_HOME=str(server.home))
    try:
        wait_for(lambda: _health(other)[1].get("worker") == "ready")
        configs = [SLOW.with_(seed=seed) for seed in range(30, 40)]
        ids = _ask(store, configs, demand)
        wait_for(lambda: _all_ended(store, ids))
        runs = [store.run(run_id) for run_id in ids]
        assert [(run.status, run.attempt) for run in runs] == [("finished", 1)] * 10
        assert len({run.owner for run in runs}) == 2, "both have trained some of them"
        assert all([kind for kind, _ in store.events(run_id)] == ["requested", "finished"] for run_id in ids)

        longer = [SLOW.with_(seed=seed) for seed in (40, 41)]
        ids = _ask(store, longer, LONG)
        wait_for(lambda: all(len(store.epochs(run_id)) >= 2 for run_id in ids))
        assert outliving(other.kill()) == []
        wait_for(lambda: not all(store.run(run_id).is_live for run_id in ids))
        [caught] = [run_id for run_id in ids if not store.run(run_id).is_live]
        view = _see(store, caught, LONG)
        assert view.state == "interrupted" and "ended while this run was training" in view.run.message
        [left] = set(ids) - {caught}
        reached = len(store.epochs(left))
        wait_for(lambda: len(store.epochs(left)) > reached)
        assert store.run(left).attempt == 1
        store.ask_to_stop(left)
        more = Demand(epochs=view.reached + 2)
        config = longer[ids.index(caught)]
        _ask(store, [config], more)
        wait_for(lambda: _all_ended(store, [caught]))
        after = _see(store, caught, more)
        assert numbers(after)[: view.reached] == numbers(view)
        _same_curve(after, undisturbed, config, more)
    finally:
        other.stop()


def _health(server: Server) -> tuple[int, dict]:
    try:
        with urllib.request.urlopen(f"{server.address}/healthz", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_store_damaged_under_a_running_server_is_told_and_set_aside_when_it_is_started_again(server):
    _ask(server.store, [SLOW.with_(seed=50)], LONG)
    wait_for(lambda: len(server.store.epochs(_identity(SLOW.with_(seed=50)))) >= 2)
    path = server.home / "runs.sqlite3"
    kept = path.stat().st_size
    with open(path, "r+b") as file:
        file.write(os.urandom(kept))
    # What has been written last lies beside the file, and is as good as gone without it.
    with open(f"{path}-wal", "r+b") as file:
        file.write(os.urandom(os.path.getsize(f"{path}-wal")))
    wait_for(lambda: _health(server) == (503, {"status": "store cannot be used"}))
    assert outliving(server.kill()) == []
    damaged = path.read_bytes()
    server.start()
    [aside] = server.home.glob("*damaged*.sqlite3")
    found = aside.read_bytes()
    # Told by page: a picture of how so many random bytes differ would take the rest of the day.
    pages = range(0, max(len(found), len(damaged)), 4096)
    assert (len(found), [at for at in pages if found[at:at + 4096] != damaged[at:at + 4096]]) == (len(damaged), []), \
        "it is kept as it is"
    wait_for(lambda: _health(server)[0] == 200)
    store, demand = server.store, Demand(epochs=2)
    assert store.counts() == {}, "nothing of what cannot be trusted is shown"
    [run_id] = _ask(store, [SLOW.with_(seed=50)], demand)
    wait_for(lambda: _all_ended(store, [run_id]))
    assert _see(store, run_id, demand).state == DONE


# -- files --------------------------------------------------------------------------------------------------------

FULL = """
import json, os, resource, sys
from pathlib import Path
from explorer.config.run_config import Demand
from explorer.engine.engine import Engine
from explorer.config.settings import Settings
from tests._server import descendants
from tests.store.test_disk_faults import SLOW
from tests.engine.test_engine import LONG, ended, in_the_middle, numbers, wait_for

def limit(size):
    for pid in (os.getpid(), *descendants(os.getpid())):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def fill(path):
    if sys.argv[2] == "limit":
        return limit(1)
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass

home = Path(sys.argv[1])
engine = Engine(Settings(home=home / "home", runs_at_once=2))
found = {}
try:
    run_id = engine.submit(SLOW, LONG)
    in_the_middle(engine, run_id)
    fill(home / "filler")
    found["free"] = os.statvfs(home).f_bavail
    wait_for(lambda: engine.trouble)
    found["trouble"] = engine.trouble
    reached = engine.look(run_id, LONG)
    found["state meanwhile"] = reached.state
    try:
        engine.submit(SLOW.with_(seed=1), Demand(epochs=2))
    except Exception as error:
        found["refused"] = str(error)
    if sys.argv[2] == "limit":
        limit(resource.RLIM_INFINITY)
    else:
        (home / "filler").unlink()
    view = ended(engine, run_id, LONG)
    found["message"], found["state"] = view.run.message, view.state
    found["epochs"] = [row["epoch"] for row in view.epochs]
    found["kept"] = numbers(view)[: reached.reached] == numbers(reached)
    other = engine.submit(SLOW.with_(seed=1), Demand(epochs=2))
    found["other"] = ended(engine, other, Demand(epochs=2)).state
    more = Demand(epochs=view.reached + 2)
    engine.submit(SLOW, more)
    after = ended(engine, run_id, more)
    found["continued"] = numbers(after)
finally:
    engine.close()
print(json.dumps(found))
"""


# A disk of its own for one test, small enough to be filled.
PRIVATE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c",
           "mount -t tmpfs -o size=12m none \"$0\" && exec \"$@\""]


def _on_a_small_disk(folder: Path) -> tuple[list[str], str]:
    """How a program is started on one, and how it is filled; where none may be mounted, files that may not grow come
    nearest to it."""
    try:
        if subprocess.run([*PRIVATE, folder, "true"], capture_output=True).returncode == 0:
            return [*PRIVATE, str(folder)], "disk"
    except OSError:
        pass  # there is no such command
    return [], "limit"


def test_a_disk_that_becomes_full_is_told_and_costs_no_epoch(undisturbed, tmp_path):
    start, how = _on_a_small_disk(tmp_path)
    done = subprocess.run([*start, sys.executable, "-c", FULL, str(tmp_path), how], cwd=ROOT, capture_output=True,
                          text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    words = "full" if how == "disk" else "I/O"
    assert words in found["trouble"] and words in found["refused"] and (how == "limit" or found["free"] == 0)
    assert found["state"] == "failed"
    assert found["message"] == ("The disk became full, or failed, while this run was training: free some space on it. "
                                "Every finished epoch is kept; Continue goes on from there.")
    assert found["kept"] and found["other"] == DONE and found["epochs"] == list(range(1, len(found["epochs"]) + 1))
    more = Demand(epochs=len(found["epochs"]) + 2)
    undisturbed.submit(SLOW, more)
    assert numbers(ended(undisturbed, _identity(SLOW), more)) == found["continued"]


def test_a_damaged_checkpoint_costs_time_only_and_that_of_its_own_run(undisturbed):
    engine, config, demand = undisturbed, CONFIG.with_(seed=60), Demand(epochs=6)
    run_id = engine.submit(config, demand)
    before = ended(engine, run_id, demand)
    path = checkpoints.path_of(engine.settings.checkpoints, run_id)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF  # one byte of one weight
    path.write_bytes(content)
    more = Demand(epochs=8)
    engine.submit(config, more)
    other = engine.submit(CONFIG.with_(seed=61), demand)
    after = ended(engine, run_id, more)
    assert after.state == DONE and len(after.epochs) == 8 and numbers(after)[:6] == numbers(before)
    assert ended(engine, other, demand).state == DONE
    assert checkpoints.load(engine.settings.checkpoints, run_id)[0] == 8


def _mnist(path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    np.savez(path, **{f"{kind}_{split}": values for split, rows in (("train", 60_000), ("test", 10_000))
                      for kind, values in (("x", random.integers(0, 256, (rows, 28, 28), np.uint8)),
                                           ("y", random.integers(0, 10, rows, np.uint8)))})


def test_a_data_file_changed_under_a_running_engine_makes_no_run_another(tmp_path, no_keras_home):
    folder = tmp_path / "data"
    folder.mkdir()
    file, first, second = (folder / name for name in ("mnist.npz", "first", "second.npz"))
    _mnist(file, 1)
    _mnist(second, 2)
    shutil.copy(file, first)
    config = RunConfig(dataset="mnist", hidden=(4,), train_samples=2_000, batch_size=32)
    demand, blocker = Demand(epochs=2), SLOW.with_(seed=70)
    engine = Engine(Settings(home=tmp_path / "home", data_dir=folder, runs_at_once=1))
    try:
        known = engine.submit(config, LONG)
        in_the_middle(engine, known, 2)
        with open(file, "r+b") as stream:  # a bad disk, a copy that was broken off
            stream.seek(1_000_000)
            stream.write(os.urandom(100_000))
            stream.truncate(20_000_000)
        assert engine.run_id(config) != known and engine.look(engine.run_id(config), LONG).state == UNKNOWN
        engine.stop(known)
        before = ended(engine, known, LONG)
        assert before.state == "stopped" and before.reached >= 2
        broken = engine.submit(config, demand)
        beside = engine.submit(blocker, demand)
        view = ended(engine, broken, demand)
        assert view.state == "failed" and not view.epochs
        assert "mnist.npz" in view.run.message and "Delete it or put a sound copy" in view.run.message
        assert ended(engine, beside, demand).state == DONE

        # Sound when it was asked for, and another by the time its turn comes.
        shutil.copy(first, file)
        engine.submit(blocker, LONG)
        in_the_middle(engine, beside, 3)
        waiting = engine.submit(config.with_(seed=1), demand)
        shutil.copy(second, file)
        engine.stop(beside)
        view = ended(engine, waiting, demand)
        assert view.state == "failed" and not view.epochs
        assert view.run.message == ("The data file of MNIST digits, 28×28 was changed after this run had been asked "
                                    "for: trained now, it would not be what it is called. Press Train again.")
        again = engine.submit(config.with_(seed=1), demand)
        assert again != waiting and ended(engine, again, demand).state == DONE

        shutil.copy(first, file)
        more = Demand(epochs=before.reached + 2)
        assert engine.submit(config, more) == known
        after = ended(engine, known, more)
        assert after.state == DONE and numbers(after)[: before.reached] == numbers(before)
        engine.submit(config.with_(seed=1), demand)
        ended(engine, waiting, demand)
        curves = [engine.look(run_id, demand).epochs[-1]["val_crossentropy"] for run_id in (waiting, again)]
        assert curves[0] != curves[1], "each is what its data make of it"
    finally:
        engine.close()


def test_a_store_that_was_locked_for_half_a_minute_has_lost_nothing(locked, undisturbed):
    locked.join(120)
    assert locked.error is None
    engine = locked.engine
    assert locked.read < 5 and LOCKED_SECONDS - 5 < locked.waited < 60
    view = ended(engine, locked.first, LONG)
    assert view.state == "stopped" and view.run.attempt == 1, "it has gone on by itself"
    assert numbers(view)[: locked.before.reached] == numbers(locked.before)
    demand = Demand(epochs=3)
    assert ended(engine, locked.second, demand).state == DONE
    more = Demand(epochs=view.reached + 2)
    engine.submit(SLOW, more)
    after = ended(engine, locked.first, more)
    assert numbers(after)[: view.reached] == numbers(view)
    _same_curve(after, undisturbed, SLOW, more)
