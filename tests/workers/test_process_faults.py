"""Processes that die, hang, or want more memory than there is, and a clock that goes back: nothing finished is lost."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.engine.engine import Engine
from explorer.engine.run_view import DONE, RunView
from explorer.engine.watchdog import MAX_AT_ONCE, StallTimer
from explorer.workers import trainer
from explorer.workers.priority import NICENESS
from tests.engine.test_engine import CONFIG, LONG, alive, ended, in_the_middle, numbers, wait_for

# More than there is, wherever less has been allowed.
LARGE = RunConfig(num_words=10_000, hidden=(1024, 512), train_samples=500, validation=0.02)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(Settings(home=tmp_path_factory.mktemp("faulty"), runs_at_once=2))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Another installation, in which nothing goes wrong."""
    engine = Engine(Settings(home=tmp_path_factory.mktemp("sound"), runs_at_once=1))
    yield engine
    engine.close()


@pytest.fixture
def setting(engine: Engine) -> Iterator:
    """Change settings of the engine for one test; a worker started meanwhile has them too."""
    before = engine.settings

    def change(**values: int) -> None:
        engine.settings = engine._charges.settings = replace(before, **values)

    yield change
    change()


@pytest.fixture
def neighbor(engine: Engine, request: pytest.FixtureRequest) -> Iterator[str]:
    """A run in the other place, which is not to notice anything."""
    config = CONFIG.with_(seed=1_000 + len(request.node.name), batch_size=8)
    run_id = engine.submit(config, Demand(epochs=engine.settings.max_epochs), "neighbor")
    in_the_middle(engine, run_id, 2)
    yield run_id
    engine.stop(run_id)
    wait_for(lambda: not engine._charges)


def goes_on(engine: Engine, run_id: str, attempt: int = 1) -> None:
    """It trains in the attempt that it was in, and further."""
    reached = len(engine.store.epochs(run_id))
    wait_for(lambda: len(engine.store.epochs(run_id)) > reached or not engine.store.run(run_id).is_live)
    run = engine.store.run(run_id)
    assert run.attempt == attempt and run.status in ("running", "finished")


def continues_to_the_same_curve(engine: Engine, undisturbed: Engine, config: RunConfig, before: RunView) -> None:
    """Continue goes on from what was reached, and the whole is what it would have been without the fault."""
    assert [row["epoch"] for row in before.epochs] == list(range(1, before.reached + 1))
    more = Demand(epochs=before.reached + 2)
    run_id = engine.submit(config, more)
    undisturbed.submit(config, more)
    after, whole = ended(engine, run_id, more), ended(undisturbed, run_id, more)
    assert after.state == whole.state == DONE and after.run.message == ""
    assert numbers(after)[: before.reached] == numbers(before)
    assert numbers(after) == numbers(whole) and after.score == whole.score


@pytest.mark.skipif(not hasattr(os, "nice"), reason="needs Unix's priorities")
def test_what_trains_steps_back_for_the_page(engine):
    run_id = engine.submit(CONFIG.with_(seed=60), LONG)
    child_pid = in_the_middle(engine, run_id)
    own = os.getpriority(os.PRIO_PROCESS, 0)
    for pid in (child_pid, engine._worker.pid):
        assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, own + NICENESS)
    engine.stop(run_id)


def test_a_killed_child_ends_its_own_run_only(engine, undisturbed, neighbor):
    config = CONFIG.with_(seed=1)
    run_id = engine.submit(config, LONG)
    os.kill(in_the_middle(engine, run_id), signal.SIGKILL)
    view = ended(engine, run_id, LONG)
    assert view.state == "failed" and view.reached >= 5
    assert view.run.message == ("The training process was killed (signal 9, SIGKILL). Every finished epoch is kept; "
                                "Continue goes on from there.")
    goes_on(engine, neighbor)
    continues_to_the_same_curve(engine, undisturbed, config, view)


def test_a_child_that_hangs_is_ended_though_nobody_stops_it(engine, undisturbed, neighbor, setting):
    config = CONFIG.with_(seed=2)
    run_id = engine.submit(config, LONG)
    pid = in_the_middle(engine, run_id)
    setting(max_silent_seconds=2)
    os.kill(pid, signal.SIGSTOP)
    view = ended(engine, run_id, LONG)
    wait_for(lambda: not alive(pid))
    assert view.state == "failed" and view.reached >= 5
    assert view.run.message == ("Training showed no sign of going on for 2 seconds and was ended. Every finished epoch "
                                "is kept; Continue goes on from there.")
    goes_on(engine, neighbor)
    setting()
    continues_to_the_same_curve(engine, undisturbed, config, view)


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs to be told who writes")
@pytest.mark.parametrize("silent, holding, why", [
    (2, 300.0, "Training showed no sign of going on for 2 seconds and was ended."),
    (300, 2.0, "Training hung in the middle of writing an epoch, which for 2 seconds kept all others from writing "
               "theirs, and was ended.")])
def test_a_child_that_hangs_while_it_writes_keeps_nobody_from_writing(
        engine, undisturbed, neighbor, setting, monkeypatch, silent, holding, why):
    monkeypatch.setattr("explorer.engine.jobs.MAX_HOLDING_SECONDS", holding)
    config = CONFIG.with_(seed=30 + silent)
    run_id = engine.submit(config, LONG)
    pid = in_the_middle(engine, run_id)
    setting(max_silent_seconds=silent)

    def is_caught() -> bool:
        os.kill(pid, signal.SIGSTOP)
        wait_for(lambda: Path(f"/proc/{pid}/stat").read_text().split()[2] == "T")
        if engine.store.database.writer() == pid:
            return True
        os.kill(pid, signal.SIGCONT)
        return False

    wait_for(is_caught)
    began = time.monotonic()
    # Whoever presses Train meanwhile waits no longer than until it is ended.
    other = engine.submit(CONFIG.with_(seed=40 + silent), Demand(epochs=2))
    assert time.monotonic() - began < 30
    view = ended(engine, run_id, LONG)
    assert view.state == "failed" and view.reached >= 5 and not alive(pid)
    assert view.run.message == f"{why} Every finished epoch is kept; Continue goes on from there."
    setting()  # what starts now may be silent for longer than that on a busy machine
    goes_on(engine, neighbor)
    assert ended(engine, other, Demand(epochs=2)).state == DONE
    continues_to_the_same_curve(engine, undisturbed, config, view)


def test_a_worker_that_hangs_is_replaced(engine, setting, monkeypatch):
    monkeypatch.setattr("explorer.engine.jobs.GRACE_SECONDS", 1.0)
    first = CONFIG.with_(seed=3)
    run_id = engine.submit(first, LONG)
    in_the_middle(engine, run_id)
    worker = engine._worker.pid
    os.kill(worker, signal.SIGSTOP)
    engine.stop(run_id)  # the order comes no further than to the worker
    wait_for(lambda: not alive(worker))
    view = ended(engine, run_id, LONG)
    assert view.state == "interrupted" and "Continue" in view.run.message and view.reached >= 5
    other = engine.submit(CONFIG.with_(seed=4), Demand(epochs=2))
    assert ended(engine, other, Demand(epochs=2)).state == DONE


def test_a_killed_worker_costs_no_epoch_and_what_waits_goes_on(engine, undisturbed):
    configs = [CONFIG.with_(seed=seed) for seed in (5, 6)]
    run_ids = [engine.submit(config, LONG) for config in configs]
    children = [in_the_middle(engine, run_id) for run_id in run_ids]
    demand = Demand(epochs=3)
    waiting = engine.submit(CONFIG.with_(seed=7), demand)
    os.kill(engine._worker.pid, signal.SIGKILL)
    views = [ended(engine, run_id, LONG) for run_id in run_ids]
    wait_for(lambda: not any(map(alive, children)))
    assert [view.state for view in views] == ["interrupted"] * 2 and all(view.reached >= 5 for view in views)
    assert all("killed (signal 9, SIGKILL). Every finished epoch is kept; Continue" in view.run.message
               for view in views)
    assert ended(engine, waiting, demand).state == DONE
    for config, view in zip(configs, views):
        continues_to_the_same_curve(engine, undisturbed, config, view)


def test_a_run_that_takes_more_memory_than_it_may_is_told_so(engine, setting):
    small = CONFIG.with_(seed=8, batch_size=8)
    beside = engine.submit(small, LONG)
    most = int(trainer.resident_mb(in_the_middle(engine, beside))) + 100
    setting(max_memory_mb=most)
    run_id = engine.submit(LARGE, Demand(epochs=1))
    view = ended(engine, run_id, Demand(epochs=1))
    assert view.state == "failed"
    assert view.run.message == (f"The training process took more than {most:,} MB of memory, the most that one may "
                                "take here: use fewer units, fewer words or fewer training examples.")
    goes_on(engine, beside)
    engine.stop(beside)
    setting()
    engine.submit(LARGE, Demand(epochs=1))
    assert ended(engine, run_id, Demand(epochs=1)).state == DONE


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="needs Linux's limits for another process")
def test_a_child_that_gets_no_memory_says_so_in_words(engine, neighbor):
    first = engine.submit(LARGE.with_(hidden=(16,)), LONG)
    pid = in_the_middle(engine, first)
    # The system itself gives it no more than it has.
    has = next(int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
               if line.startswith("VmData"))
    resource.prlimit(pid, resource.RLIMIT_DATA, (has * 1024 + 20_000_000,) * 2)
    engine.stop(first)
    wait_for(lambda: not engine.store.run(first).is_live)
    run_id = engine.submit(LARGE.with_(seed=1), Demand(epochs=3))
    view = ended(engine, run_id, Demand(epochs=3))
    assert view.state == "failed"
    assert view.run.message == ("The device ran out of memory: use fewer units, fewer words or a smaller batch size.")
    goes_on(engine, neighbor)


def _with_another_worker(engine: Engine) -> None:
    """What has been set for workers holds for one that is started now."""
    wait_for(lambda: not engine._charges)
    before = engine._worker.pid
    os.kill(before, signal.SIGKILL)
    wait_for(lambda: engine._worker is not None and engine._worker.pid != before)


def test_a_clock_that_is_set_back_changes_neither_order_nor_numbers(engine, undisturbed, tmp_path, monkeypatch):
    hours = tmp_path / "hours"
    hours.write_text("0")
    # Every process of the explorer that is started now asks this clock, and so does this one.
    (tmp_path / "sitecustomize.py").write_text(
        "import time\n"
        "real = time.time\n"
        f"time.time = lambda: real() + 3600 * float(open({str(hours)!r}).read() or 0)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600 * float(hours.read_text() or 0))
    _with_another_worker(engine)
    first, second, *others = [CONFIG.with_(seed=seed) for seed in range(20, 25)]
    ids = [engine.submit(config, LONG) for config in (first, second)]
    for run_id in ids:
        in_the_middle(engine, run_id)
    demand = Demand(epochs=3)
    waiting = [engine.submit(others[0], demand)]
    hours.write_text("-48")
    waiting += [engine.submit(config, demand) for config in others[1:]]
    assert [engine.store.place(run_id) for run_id in waiting] == [0, 1, 2]
    for run_id in ids:
        goes_on(engine, run_id)
    engine.stop(ids[0])
    view = ended(engine, ids[0], LONG)
    assert view.state == "stopped" and all(row["seconds"] > 0 for row in view.epochs)
    assert [ended(engine, run_id, demand).state for run_id in waiting] == [DONE] * 3
    assert [one.run_id for one in engine.store.latest(3, {})] == waiting[::-1]
    continues_to_the_same_curve(engine, undisturbed, first, view)
    engine.stop(ids[1])
    continues_to_the_same_curve(engine, undisturbed, second, ended(engine, ids[1], LONG))


# -- signs of life --------------------------------------------------------------------------------------------


def test_silence_is_counted_while_somebody_looks():
    now = [0.0]
    silence = StallTimer(clock=lambda: now[0])

    def look(seconds: float, sign: str, job: int = 1) -> float:
        now[0] += seconds
        return silence.seconds(job, sign)

    assert [look(1, "epoch 1"), look(1, "epoch 1"), look(2, "epoch 1")] == [0, 1, 3]
    assert [look(1, "epoch 2"), look(1, "epoch 2")] == [0, 1]
    # The whole machine was asleep: nobody could have shown anything.
    assert look(10_000, "epoch 2") == 1 + MAX_AT_ONCE
    assert look(1, "epoch 2", job=2) == 0
    # Another was in its way.
    now[0] += 3
    assert silence.seconds(2, "epoch 2", counts=False) == 0
    silence.keep([2])
    assert look(1, "epoch 2") == 0 and look(0, "epoch 2", job=2) == 1
