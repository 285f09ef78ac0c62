"""The engine with a real worker: requests, stops, deaths and restarts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from explorer.config.fields import FieldError
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.engine.engine import Engine, QueueFull
from explorer.engine.run_view import DONE, UNKNOWN, RunView
from explorer.store import checkpoints

ROOT = Path(__file__).resolve().parents[2]
CONFIG = RunConfig(dataset="digits", hidden=(32, 16), batch_norm=True, dropout=0.3, optimizer="adam", batch_size=64)
# Long enough to be caught in the middle, on any machine.
LONG = Demand(epochs=400)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = Engine(settings)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One for all tests that leave its worker as it is: starting one takes longer than most of them."""
    engine = Engine(Settings(home=tmp_path_factory.mktemp("shared")))
    yield engine
    engine.close()


@pytest.fixture
def config(shared: Engine) -> RunConfig:
    """A run that no other test has asked the shared engine for."""
    return CONFIG.with_(seed=100 + len(shared.store.run_ids()))


def wait_for(condition: Callable[[], object], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def ended(engine: Engine, run_id: str, demand: Demand) -> RunView:
    wait_for(lambda: not engine.look(run_id, demand).is_live)
    return engine.look(run_id, demand)


def numbers(view: RunView) -> list[dict]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in view.epochs]


def in_the_middle(engine: Engine, run_id: str, epochs: int = 5) -> int:
    """Wait until some epochs are there; gives the child's process number."""
    wait_for(lambda: engine.look(run_id, LONG).reached >= epochs)
    return engine._charges[run_id, engine.store.run(run_id).attempt].pid


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_run_is_trained_kept_and_known_at_once_afterwards(shared, config):
    demand = Demand(epochs=3)
    assert shared.look(shared.run_id(config), demand).state == UNKNOWN
    run_id = shared.submit(config, demand)
    view = ended(shared, run_id, demand)
    assert view.state == DONE
    assert [row["epoch"] for row in view.epochs] == [1, 2, 3]
    assert 0 < view.score["test_accuracy"] <= 1
    assert view.run.device.startswith("CPU") and view.run.threads == shared.settings.threads and view.run.peak_mb > 100
    # Asked again, also for less, nothing is trained.
    assert shared.submit(config, demand) == shared.submit(config, Demand(epochs=2)) == run_id
    assert shared.look(run_id, demand).state == DONE and shared.store.run(run_id).attempt == 1
    assert numbers(shared.look(run_id, Demand(epochs=2))) == numbers(view)[:2]


def test_raising_the_epochs_continues_and_equals_one_go_also_when_the_worker_was_killed(engine, tmp_path):
    run_id = engine.submit(CONFIG, Demand(epochs=10))
    ended(engine, run_id, Demand(epochs=10))
    worker = engine._worker.pid
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: not alive(worker))
    engine.submit(CONFIG, Demand(epochs=20))
    continued = ended(engine, run_id, Demand(epochs=20))
    other = Engine(Settings(home=tmp_path / "other"))
    try:
        other.submit(CONFIG, Demand(epochs=20))
        whole = ended(other, run_id, Demand(epochs=20))
    finally:
        other.close()
    assert whole.run.attempt == 1 and continued.run.attempt >= 2
    assert len(numbers(whole)) == 20
    assert numbers(continued) == numbers(whole)
    assert continued.score == whole.score


def test_stop_keeps_what_was_reached_and_continue_goes_on(shared, config):
    run_id = shared.submit(config, LONG)
    in_the_middle(shared, run_id)
    asked = time.monotonic()
    shared.stop(run_id)
    view = ended(shared, run_id, LONG)
    assert time.monotonic() - asked < 3
    assert view.state == "stopped" and 5 <= view.reached < LONG.epochs
    more = Demand(epochs=view.reached + 2)
    shared.submit(config, more)
    assert numbers(ended(shared, run_id, more))[: view.reached] == numbers(view)


def test_a_killed_child_is_said_and_continue_works(shared, config):
    run_id = shared.submit(config, LONG)
    os.kill(in_the_middle(shared, run_id), signal.SIGKILL)
    view = ended(shared, run_id, LONG)
    assert view.state == "failed" and "killed (signal 9" in view.run.message and "Continue" in view.run.message
    assert [row["epoch"] for row in view.epochs] == list(range(1, view.reached + 1)) and view.reached >= 5
    more = Demand(epochs=view.reached + 2)
    shared.submit(config, more)
    after = ended(shared, run_id, more)
    assert after.state == DONE and numbers(after)[: view.reached] == numbers(view)


def test_a_killed_worker_interrupts_its_runs_and_another_takes_over(engine):
    run_id = engine.submit(CONFIG, LONG)
    child = in_the_middle(engine, run_id)
    os.kill(engine._worker.pid, signal.SIGKILL)
    view = ended(engine, run_id, LONG)
    assert view.state == "interrupted" and "killed" in view.run.message and view.reached >= 5
    wait_for(lambda: not alive(child))  # nobody goes on training for nobody
    more = Demand(epochs=view.reached + 2)
    engine.submit(CONFIG, more)
    assert ended(engine, run_id, more).state == DONE


def test_a_damaged_checkpoint_costs_time_only(shared, config):
    run_id = shared.submit(config, Demand(epochs=3))
    before = ended(shared, run_id, Demand(epochs=3))
    path = checkpoints.path_of(shared.settings.checkpoints, run_id)
    path.write_bytes(path.read_bytes()[:1000])
    shared.submit(config, Demand(epochs=5))
    after = ended(shared, run_id, Demand(epochs=5))
    assert after.state == DONE and numbers(after)[:3] == numbers(before)


def test_a_killed_server_loses_no_epoch_and_the_next_one_says_so(settings):
    code = ("import sys, time\n"
            "from pathlib import Path\n"
            "from explorer.engine.engine import Engine\n"
            "from explorer.config.settings import Settings\n"
            "from tests.engine.test_engine import CONFIG, LONG\n"
            f"engine = Engine(Settings(home=Path({str(settings.home)!r})))\n"
            "print(engine.submit(CONFIG, LONG), flush=True)\n"
            "while engine._worker is None: time.sleep(0.05)\n"
            "print(engine._worker.pid, flush=True)\n"
            "time.sleep(600)\n")
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        run_id, worker = server.stdout.readline().strip(), int(server.stdout.readline())
        # It takes no runs but its own: the other's is the other's to train.
        watching = Engine(settings, warm=False, own_only=True)
        try:
            wait_for(lambda: watching.look(run_id, LONG).reached >= 5)
            server.kill()
            server.wait()
            view = ended(watching, run_id, LONG)
            assert view.state == "interrupted" and view.reached >= 5
            wait_for(lambda: not alive(worker))
            more = Demand(epochs=view.reached + 1)
            watching.submit(CONFIG, more)
            after = ended(watching, run_id, more)
            assert after.state == DONE and numbers(after)[: view.reached] == numbers(view)
        finally:
            watching.close()
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def test_runs_wait_their_turn_and_a_waiting_one_can_be_taken_back(tmp_path):
    engine = Engine(Settings(home=tmp_path, runs_at_once=1, max_queue=2))
    try:
        first = engine.submit(CONFIG, LONG)
        in_the_middle(engine, first, 1)
        second = engine.submit(CONFIG.with_(seed=1), Demand(epochs=2))
        third = engine.submit(CONFIG.with_(seed=2), Demand(epochs=2))
        assert engine.look(second, LONG).place == 0 and engine.look(third, LONG).place == 1
        with pytest.raises(QueueFull, match="2 runs are waiting"):
            engine.submit(CONFIG.with_(seed=3), Demand(epochs=2))
        engine.stop(second)
        assert engine.look(second, LONG).state == "stopped"
        engine.stop(first)
        assert ended(engine, third, Demand(epochs=2)).state == DONE
    finally:
        engine.close()


def test_the_same_run_asked_for_twice_is_trained_once_to_the_longer_demand(engine):
    run_id = engine.submit(CONFIG, Demand(epochs=3))
    assert engine.submit(CONFIG, Demand(epochs=6)) == run_id
    view = ended(engine, run_id, Demand(epochs=6))
    assert view.state == DONE and view.run.attempt == 1


def test_two_engines_on_one_store_train_a_run_once(settings):
    engines = [Engine(settings), Engine(settings)]
    try:
        ids = {engine.submit(CONFIG, Demand(epochs=5)) for engine in engines}
        assert len(ids) == 1
        view = ended(engines[1], ids.pop(), Demand(epochs=5))
        assert view.state == DONE and view.run.attempt == 1
    finally:
        for engine in engines:
            engine.close()


def test_limits_hold_in_the_engine_whatever_the_page_lets_through(tmp_path):
    engine = Engine(Settings(home=tmp_path, max_parameters=1_000, max_epochs=5, max_samples=500), warm=False)
    try:
        for config, demand, field in [
            (RunConfig(dataset="digits", hidden=(64,), train_samples=400), Demand(epochs=2), "hidden"),
            (RunConfig(dataset="digits", hidden=(4,), train_samples=400), Demand(epochs=6), "epochs"),
            (RunConfig(dataset="digits", hidden=(4,), train_samples=600), Demand(epochs=2), "train_samples"),
        ]:
            with pytest.raises(FieldError, match=f"^{field}: expected .* received"):
                engine.submit(config, demand)
        assert engine.store.counts() == {}
    finally:
        engine.close()


def test_a_run_that_takes_too_long_is_stopped_and_can_be_continued(tmp_path):
    engine = Engine(Settings(home=tmp_path, max_seconds=2))
    try:
        config = CONFIG.with_(batch_size=8, hidden=(64, 64))
        run_id = engine.submit(config, LONG)
        view = ended(engine, run_id, LONG)
        assert view.state == "stopped" and "2 seconds" in view.run.message
    finally:
        engine.close()


def test_a_diverged_run_ends_and_is_known(shared):
    config = RunConfig(dataset="digits", optimizer="sgd", learning_rate=10, l2=1.0, batch_size=32)
    run_id = shared.submit(config, Demand(epochs=200))
    view = ended(shared, run_id, Demand(epochs=200))
    assert view.state == DONE and view.run.status == "diverged" and "learning rate" in view.run.message
    attempt = view.run.attempt
    shared.submit(config, Demand(epochs=200))
    assert shared.store.run(run_id).attempt == attempt


def test_data_that_cannot_be_had_fail_with_the_remedy_and_other_runs_go_on(no_keras_home, engine):
    no_keras_home.joinpath("datasets").mkdir(parents=True)
    (no_keras_home / "datasets" / "imdb.npz").write_bytes(b"not a zip file")
    run_id = engine.submit(RunConfig(dataset="imdb"), Demand(epochs=1))
    view = ended(engine, run_id, Demand(epochs=1))
    assert view.state == "failed" and view.run.phase == "preparing"
    assert "imdb.npz" in view.run.message and "Delete it or put a sound copy" in view.run.message
    other = engine.submit(CONFIG, Demand(epochs=1))
    assert ended(engine, other, Demand(epochs=1)).state == DONE


def test_closing_leaves_no_process_behind(settings):
    engine = Engine(settings)
    run_id = engine.submit(CONFIG, LONG)
    child, worker = in_the_middle(engine, run_id), engine._worker.pid
    engine.close()
    assert not alive(child) and not alive(worker)
    assert engine.store.run(run_id).status == "interrupted"
    assert not list((settings.home / "engines").iterdir())


def test_asked_for_again_at_once_each_attempt_ends_for_itself(shared, config):
    # A run is known a moment before the process that trained it has gone.
    for epochs in range(1, 9):
        demand = Demand(epochs=epochs)
        run_id = shared.submit(config, demand)
        assert ended(shared, run_id, demand).state == DONE


def test_a_store_that_cannot_be_written_for_a_while_leaves_no_run_hanging(shared, config):
    run_id = shared.submit(config, LONG)
    child = in_the_middle(shared, run_id)
    with shared.store._write():  # another program has the store
        os.kill(child, signal.SIGKILL)
        wait_for(lambda: not alive(child))
        time.sleep(0.5)
    assert ended(shared, run_id, LONG).state == "failed"
    assert ended(shared, shared.submit(config.with_(hidden=(16,)), Demand(epochs=1)), Demand(epochs=1)).state == DONE


def test_settings_that_cannot_be_read_fail_alone(engine):
    with engine.store._write() as db:
        db.execute("INSERT INTO runs (run_id, config, versions, created_at, status, demands, ticket) "
                   "VALUES ('odd', '{\"dropout\": 7}', '{}', 0, 'queued', '[]', 0)")
    good = engine.submit(CONFIG, Demand(epochs=1))
    assert ended(engine, good, Demand(epochs=1)).state == DONE
    assert engine.store.counts() == {"failed": 1, "finished": 1}


def test_a_program_that_will_not_stay_takes_no_runs_of_others(settings):
    guest = Engine(settings, own_only=True)
    try:
        store = guest.store
        store.request("someone-else", CONFIG.with_(seed=5), Demand(epochs=1), {})
        run_id = guest.submit(CONFIG, Demand(epochs=2))
        assert ended(guest, run_id, Demand(epochs=2)).state == DONE
    finally:
        guest.close()
    assert store.run("someone-else").status == "queued"


def test_asked_for_again_before_a_stop_is_obeyed_it_trains_on(shared, config):
    run_id = shared.submit(config, LONG)
    in_the_middle(shared, run_id)
    shared.stop(run_id)
    more = Demand(epochs=shared.look(run_id, LONG).reached + 30)
    shared.submit(config, more)
    wait_for(lambda: shared.look(run_id, more).state == DONE)


def test_a_slice_of_a_run_that_others_train_on_is_known_at_once(shared, config):
    run_id = shared.submit(config, LONG)
    in_the_middle(shared, run_id)
    assert shared.look(run_id, Demand(epochs=2)).state == DONE
    assert shared.look(run_id, LONG).state == "running"
    shared.stop(run_id)
    assert ended(shared, run_id, LONG).state == "stopped"


def test_a_training_process_that_never_starts_is_said(settings, monkeypatch):
    monkeypatch.setattr("explorer.engine.engine.MAX_PAUSE", 0.1)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    # A file that hides TensorFlow: importing it fails, as on a machine where it is not installed.
    hidden = settings.home.parent / "hidden"
    hidden.mkdir()
    (hidden / "tensorflow.py").write_text("raise ImportError('not here')")
    monkeypatch.setenv("PYTHONPATH", str(hidden))
    engine = Engine(settings)
    try:
        run_id = engine.submit(CONFIG, Demand(epochs=1))
        view = ended(engine, run_id, Demand(epochs=1))
        assert view.state == "failed" and "doctor" in view.run.message
    finally:
        engine.close()


@pytest.fixture
def heard(settings) -> Engine:
    """An engine that hears what its worker would say, and has none."""
    engine = Engine(settings, warm=False)
    engine._start_worker = lambda: None
    yield engine
    engine.close()


READY = {"event": "ready", "hardware": {"cpu": "one", "cores": 1, "memory_mb": 1_000, "gpus": []}}
DIED = {"event": "died", "code": 1}


def test_a_worker_that_was_ready_once_and_no_longer_starts_is_broken_until_one_is_ready_again(heard):
    for _ in range(2):
        heard._heed(READY)
        assert heard.is_ready and not heard.is_broken
        for deaths in range(1, 5):
            heard._heed(DIED)
            assert not heard.is_ready and heard.is_broken == (deaths >= 3)


def test_a_worker_that_dies_now_and_then_without_a_run_is_not_broken(heard):
    for _ in range(10):
        heard._heed(READY)
        heard._heed(DIED)
        assert not heard.is_broken and heard._not_before - time.monotonic() < 2


def test_a_worker_that_is_ready_and_dies_of_every_run_is_broken_once_and_tried_again(heard):
    """What waits is given up after so many deaths, and not handed out for ever."""
    heard._heed(READY)
    run_id = heard.submit(CONFIG, Demand(epochs=1))
    run = heard.store.claim(heard._owner.name)
    for deaths in range(1, 4):
        heard._charges.take([run], "cpu")
        heard._heed(READY)  # it was handed the run before it was ready
        heard._heed(DIED)
        assert heard.is_broken == (deaths >= 3) and heard.store.run(run_id).status == "queued"
        if deaths < 3:
            run = heard.store.claim(heard._owner.name)
    heard._take_on()
    assert heard.store.run(run_id).status == "failed" and "does not start" in heard.store.run(run_id).message
    heard._heed(READY)
    assert not heard.is_broken
    heard._charges.take([run], "cpu")
    heard._heed({"event": "started", "run_id": run.run_id, "attempt": run.attempt, "pid": 1})
    assert heard._deaths == 0
    heard._charges.clear()


def test_where_no_process_can_be_started_it_is_as_bad_as_one_that_dies(settings, monkeypatch, capsys):
    def none(*_):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("explorer.engine.engine.MAX_PAUSE", 0.05)
    monkeypatch.setattr("explorer.engine.engine.WorkerProcess", none)
    engine = Engine(settings)
    try:
        wait_for(lambda: engine.is_broken)
        run_id = engine.submit(CONFIG, Demand(epochs=1))
        view = ended(engine, run_id, Demand(epochs=1))
        assert view.state == "failed" and "does not start" in view.run.message
        assert "cannot be started ([Errno 11] Resource temporarily unavailable)" in capsys.readouterr().err
    finally:
        engine.close()


GRID = [RunConfig(num_words=500, train_samples=1_000, hidden=(8,), l2=l2, dropout=dropout)
        for l2 in (0.0, 1e-3) for dropout in (0.0, 0.4)]


def test_a_grid_is_trained_together_and_each_run_is_kept_as_its_own(engine):
    demand = Demand(epochs=3)
    run_ids = engine.submit_all(GRID, demand)
    assert run_ids == [engine.run_id(config) for config in GRID]
    views = [ended(engine, run_id, demand) for run_id in run_ids]
    assert [view.state for view in views] == [DONE] * 4
    assert [len(view.epochs) for view in views] == [3] * 4 and all(view.score for view in views)
    # Each is what its strengths make of it.
    assert views[0].epochs[-1]["penalty"] == 0 < views[2].epochs[-1]["penalty"]
    assert len({view.epochs[-1]["val_crossentropy"] for view in views}) == 4
    # Known now, and continued alone as any other.
    assert engine.submit_all(GRID, demand) == run_ids and engine.store.counts() == {"finished": 4}
    longer = Demand(epochs=5)
    engine.submit(GRID[3], longer)
    view = ended(engine, run_ids[3], longer)
    assert view.state == DONE and numbers(view)[:3] == numbers(views[3]) and view.reached == 5


def test_one_of_a_grid_is_stopped_and_the_others_go_on(engine):
    run_ids = engine.submit_all(GRID, Demand(epochs=60))
    wait_for(lambda: all(engine.look(run_id, LONG).reached >= 2 for run_id in run_ids))
    pids = [engine._charges[run_id, 1].pid for run_id in run_ids]
    if engine.settings.runs_at_once == 2:
        assert pids[0] == pids[1] != pids[2] == pids[3], "they are two stacks, side by side"
        assert {engine.store.run(run_id).threads for run_id in run_ids} == {max(1, engine.settings.threads // 2)}
    engine.stop(run_ids[1])
    wait_for(lambda: engine.store.run(run_ids[1]).status == "stopped")
    views = [ended(engine, run_id, Demand(epochs=60)) for run_id in run_ids]
    assert [view.state for view in views] == [DONE, "stopped", DONE, DONE]
    assert 2 <= views[1].reached < 60


def test_a_process_that_dies_with_a_grid_loses_no_epoch_of_any(engine):
    demand = Demand(epochs=150)
    run_ids = engine.submit_all(GRID, demand)
    wait_for(lambda: all(engine.look(run_id, LONG).reached >= 3 for run_id in run_ids))
    for pid in {engine._charges[run_id, 1].pid for run_id in run_ids}:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: engine.store.counts() == {"failed": 4})
    reached = {run_id: numbers(engine.look(run_id, demand)) for run_id in run_ids}
    shorter = Demand(epochs=len(reached[run_ids[2]]) + 2)
    engine.submit(GRID[2], shorter)
    view = ended(engine, run_ids[2], shorter)
    assert view.state == DONE and view.reached == shorter.epochs
    # From a checkpoint, or alone from the start where there was none yet: the same within rounding.
    for now, before in zip(numbers(view), reached[run_ids[2]], strict=False):
        assert now == pytest.approx(before, abs=1e-5)


def test_a_grid_is_taken_as_a_whole_or_not_at_all(settings):
    engine = Engine(replace(settings, max_queue=3), warm=False)
    try:
        with pytest.raises(QueueFull):
            engine.submit_all(GRID, Demand(epochs=3))
        with pytest.raises(FieldError):
            engine.submit_all([GRID[0], replace(GRID[1], hidden=(10_000, 10_000))], Demand(epochs=3))
        assert engine.store.counts() == {}
    finally:
        engine.close()


@pytest.mark.parametrize("limit", ["max_queue", "max_queued_per_person"])
def test_engines_that_are_asked_at_once_exceed_no_limit_together(settings, place, limit):
    """Two servers on one store, each asked by many visitors at a time."""
    settings = replace(settings, **{limit: 9}, **({} if isinstance(place, Path) else {"store": place}))
    if isinstance(place, Path):
        settings = replace(settings, home=place.parent)
    engines = [Engine(settings, warm=False) for _ in range(2)]
    said: list[str] = []

    def ask(number: int) -> None:
        batch = [CONFIG.with_(seed=10 * number + one) for one in range(2)]
        try:
            engines[number % 2].submit_all(batch, Demand(epochs=1), "ada")
            said.append("taken")
        except QueueFull as error:
            said.append(str(error))

    try:
        for engine in engines:
            engine._take_on = lambda: None  # all go on waiting
        time.sleep(0.6)  # one that has begun before is over
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert said.count("taken") == 4 and engines[0].store.counts() == {"queued": 8}
        assert len(said) == 12 and all("9 may wait here" in one or "at most 9 waiting" in one
                                       for one in said if one != "taken")
    finally:
        for engine in engines:
            engine.close()


def test_the_next_run_is_trained_by_the_same_process(engine):
    demand = Demand(epochs=400)
    first = engine.submit(CONFIG, demand)
    pid = in_the_middle(engine, first)
    engine.stop(first)
    wait_for(lambda: engine.store.run(first).status == "stopped" and not engine._charges)
    other = engine.submit(CONFIG.with_(seed=5), demand)
    assert in_the_middle(engine, other) == pid
    engine.stop(other)
