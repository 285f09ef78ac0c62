"""The store: whatever was finished is there afterwards, and each run has one writer."""

import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from explorer.config.run_config import Demand, RunConfig
from explorer.engine.run_view import look
from explorer.store import sqlite
from explorer.store.queue import QueueFull
from explorer.store.sqlite import DamagedStore
from explorer.store.store import (
    DIVERGED,
    FAILED,
    FINISHED,
    INTERRUPTED,
    QUEUED,
    RUNNING,
    STOPPED,
    RunStore,
    StaleAttempt,
)

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = {"keras": "3"}


@pytest.fixture
def store(place: Path | str) -> RunStore:
    return RunStore(place)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "home" / "runs.sqlite3"


@pytest.fixture
def file_store(path: Path) -> RunStore:
    return RunStore(path)


def _ask(store: RunStore, run_id: str = "a", demand: Demand | None = None, **config):
    return store.request(run_id, RunConfig(**config), demand or Demand(), VERSIONS)


def _epoch(number: int, **changes) -> dict:
    return {"epoch": number, "loss": 0.5, "val_crossentropy": 1 / number, "seconds": 0.5, **changes}


def _claimed(store: RunStore, run_id: str = "a", epochs: int = 0, **config):
    _ask(store, run_id, **config)
    run = store.claim("owner")
    assert run.run_id == run_id
    for number in range(1, epochs + 1):
        store.write_epoch(run_id, run.attempt, _epoch(number))
    return run


# -- what was written is there ----------------------------------------------------------------------------


def test_everything_finished_is_there_after_reopening(store, place):
    run = _claimed(store, epochs=3, l2=0.01)
    store.write_device("a", run.attempt, "CPU (2 cores)", 2)
    store.write_score("a", run.attempt, {"epoch": 3, "test_accuracy": 0.875})
    store.write_progress("a", run.attempt, "testing", {"epoch": 4, "step": 1, "steps": 9})
    assert store.end("a", run.attempt, STOPPED, "Stopped.", peak_mb=512.5)

    again = RunStore(place)
    found, epochs, scores = again.snapshot("a")
    assert found.config == RunConfig(l2=0.01)
    assert (found.status, found.message, found.peak_mb, found.device, found.threads) == (
        STOPPED, "Stopped.", 512.5, "CPU (2 cores)", 2)
    assert (found.phase, found.progress, found.seconds) == ("testing", {}, 1.5)
    assert epochs == [_epoch(1), _epoch(2), _epoch(3)] == again.epochs("a")
    assert scores == {3: {"epoch": 3, "test_accuracy": 0.875}} == again.scores("a")
    assert [kind for kind, _ in again.events("a")] == ["requested", STOPPED]
    assert again.counts() == {STOPPED: 1} and again.set_aside is None


def test_an_unknown_run_is_none(store):
    assert store.run("x") is None and store.snapshot("x") == (None, [], {}) and store.claim("o") is None


def test_the_same_epoch_again_replaces_and_takes_no_further_time(store):
    run = _claimed(store, epochs=2)
    store.write_epoch("a", run.attempt, _epoch(2, loss=0.25))
    assert [row["loss"] for row in store.epochs("a")] == [0.5, 0.25]
    assert store.run("a").seconds == 1.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_read_as_none(store, value):
    run = _claimed(store)
    store.write_epoch("a", run.attempt, _epoch(1, val_crossentropy=value))
    store.write_score("a", run.attempt, {"epoch": 1, "test_crossentropy": value})
    assert store.epochs("a")[0]["val_crossentropy"] is None
    assert store.scores("a")[1]["test_crossentropy"] is None


def test_epochs_come_in_order_whatever_order_they_were_written_in(store):
    run = _claimed(store)
    for number in (2, 10, 1):
        store.write_epoch("a", run.attempt, _epoch(number))
    assert [row["epoch"] for row in store.epochs("a")] == [1, 2, 10]


# -- the queue --------------------------------------------------------------------------------------------


def test_runs_are_taken_in_the_order_they_were_asked_for(store):
    for run_id in "cab":
        _ask(store, run_id)
    assert [store.place(run_id) for run_id in "cab"] == [0, 1, 2]
    assert [run.run_id for run in store.with_status(QUEUED)] == ["c", "a", "b"]
    assert store.claim("o").run_id == "c"
    assert [store.place(run_id) for run_id in "ab"] == [0, 1]


def test_a_run_asked_for_again_goes_to_the_end_of_the_queue(store):
    run = _claimed(store, "a")
    store.end("a", run.attempt, FAILED, "out of memory")
    _ask(store, "b")
    found = _ask(store, "a")
    assert (found.status, found.message, found.phase) == (QUEUED, "", "") and store.place("a") == 1


def test_a_claimed_run_is_running_in_a_new_attempt(store):
    _ask(store)
    run = store.claim("o")
    assert (run.status, run.owner, run.attempt, run.phase, run.is_live) == (RUNNING, "o", 1, "starting", True)
    assert store.claim("o") is None


@pytest.mark.parametrize("further, demands", [
    (Demand(epochs=50), (Demand(epochs=50),)),
    (Demand(epochs=5), (Demand(epochs=20),)),
    (Demand(epochs=50, patience=3), (Demand(epochs=20), Demand(epochs=50, patience=3))),
])
@pytest.mark.parametrize("claimed", [False, True])
def test_a_further_wish_is_taken_along_by_a_run_that_waits_or_trains(store, further, demands, claimed):
    _ask(store)
    if claimed:
        store.claim("o")
    run = _ask(store, demand=further)
    assert run.demands == demands and run.status == (RUNNING if claimed else QUEUED)
    assert store.counts() == {run.status: 1}


def test_a_waiting_run_stops_at_once_and_is_not_taken(store):
    _ask(store)
    store.ask_to_stop("a")
    run = store.run("a")
    assert (run.status, run.demands) == (STOPPED, ()) and store.claim("o") is None


def test_a_training_run_is_told_to_stop_and_a_new_request_takes_that_back(store):
    _claimed(store)
    store.ask_to_stop("a")
    assert (store.run("a").status, store.run("a").stop) == (RUNNING, True)
    assert _ask(store).stop is False


@pytest.mark.parametrize("status", [FINISHED, STOPPED, FAILED, DIVERGED])
def test_stopping_what_has_ended_changes_nothing(store, status):
    run = _claimed(store, epochs=20)
    store.end("a", run.attempt, status, "m")
    before = store.run("a")
    store.ask_to_stop("a")
    assert store.run("a") == before and before.status == status


# -- the end of an attempt --------------------------------------------------------------------------------


def test_a_wish_that_grew_meanwhile_sends_a_finished_run_back_into_the_queue(store):
    run = _claimed(store, epochs=20)
    _ask(store, demand=Demand(epochs=30))
    assert store.end("a", run.attempt, FINISHED)
    found = store.run("a")
    assert (found.status, found.demands) == (QUEUED, (Demand(epochs=30),))
    assert store.claim("o").attempt == run.attempt + 1 and len(store.epochs("a")) == 20


def test_a_finished_run_is_not_sent_back_where_early_stopping_ended_it(store):
    _ask(store, demand=Demand(epochs=100, patience=2))
    run = store.claim("o")
    for number, value in enumerate((0.5, 0.6, 0.7), start=1):
        store.write_epoch("a", run.attempt, _epoch(number, val_crossentropy=value))
    assert store.end("a", run.attempt, FINISHED)
    assert (store.run("a").status, store.run("a").demands) == (FINISHED, ())


def test_a_stopped_run_stays_stopped_however_far_it_was_wanted(store):
    run = _claimed(store, epochs=3)
    store.end("a", run.attempt, STOPPED)
    assert store.run("a").status == STOPPED and store.claim("o") is None


def test_what_a_dead_engine_had_running_is_interrupted_and_keeps_its_epochs(store):
    mine, other = _claimed(store, "a", epochs=4), _ask(store, "b") and store.claim("another")
    _ask(store, "c")
    assert store.interrupt("owner", "The explorer was ended.") == ["a"]
    found = store.run("a")
    assert (found.status, found.message, found.demands) == (INTERRUPTED, "The explorer was ended.", ())
    assert len(store.epochs("a")) == 4
    assert (store.run("b").status, store.run("c").status) == (RUNNING, QUEUED)
    store.write_epoch("b", other.attempt, _epoch(1))
    with pytest.raises(StaleAttempt):
        store.write_epoch("a", mine.attempt, _epoch(5))
    assert _ask(store, "a").status == QUEUED


# -- one writer -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("write", [
    lambda store, attempt: store.write_epoch("a", attempt, _epoch(1)),
    lambda store, attempt: store.write_score("a", attempt, {"epoch": 1}),
    lambda store, attempt: store.write_progress("a", attempt, "training", {"step": 1}),
    lambda store, attempt: store.write_device("a", attempt, "CPU", 1),
], ids=["epoch", "score", "progress", "device"])
def test_a_writer_whose_run_was_given_to_another_is_turned_away(store, write):
    old = _claimed(store)
    store.interrupt("owner", "")
    _ask(store)
    new = store.claim("another")
    before = store.snapshot("a")
    with pytest.raises(StaleAttempt):
        write(store, old.attempt)
    assert store.snapshot("a") == before
    write(store, new.attempt)
    assert store.end("a", old.attempt, FAILED, "late") is False and store.run("a").status == RUNNING
    store.end("a", new.attempt, STOPPED)
    with pytest.raises(StaleAttempt):  # nor does anybody write once it has ended
        write(store, new.attempt)
    assert store.end("a", new.attempt, FAILED, "late") is False and store.run("a").status == STOPPED


def _python(code: str, *arguments: object) -> subprocess.Popen:
    """Another process on the same store; it tells that it is ready and starts when it is told."""
    start = "import sys; from explorer.store.store import *; print('ready', flush=True); sys.stdin.readline()\n"
    return subprocess.Popen([sys.executable, "-c", start + code, *map(str, arguments)], cwd=ROOT, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _together(code: str, *arguments: object) -> list[str]:
    """What four processes say that run the same at the same time."""
    processes = [_python(code, *arguments) for _ in range(4)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said
    return [out for out, _ in said]


def test_of_several_processes_exactly_one_gets_each_run(store, place):
    wanted = [f"run-{number}" for number in range(60)]
    for run_id in wanted:
        _ask(store, run_id)
    taken = _together("""
store = RunStore(sys.argv[1])
while run := store.claim('owner'):
    store.write_epoch(run.run_id, run.attempt, {'epoch': 1, 'seconds': 1})
    print(run.run_id)
""", place)
    assert sorted(" ".join(taken).split()) == sorted(wanted)
    assert all(store.run(run_id).attempt == 1 and len(store.epochs(run_id)) == 1 for run_id in wanted)


def test_several_processes_may_make_the_store_at_once_and_ask_for_one_run(place, tmp_path):
    _together("""
from explorer.config.run_config import *
store = RunStore(sys.argv[1])
for epochs in range(1, 21):
    store.request('a', RunConfig(), Demand(epochs=epochs), {})
assert store.set_aside is None
""", place)
    store = RunStore(place)
    assert store.counts() == {QUEUED: 1} and store.run("a").demands == (Demand(epochs=20),)
    assert len(store.events("a")) == 80 and list(tmp_path.rglob("*damaged*")) == []


# -- several at once ------------------------------------------------------------------------------------------


def _batch(name: str, count: int, demand: Demand = Demand()) -> list[tuple[str, RunConfig, Demand]]:  # noqa: B008
    return [(f"{name}{number}", RunConfig(seed=number), demand) for number in range(count)]


def test_a_batch_is_asked_for_as_a_whole_or_not_at_all(store):
    store.request_all(_batch("a", 3), VERSIONS, "ada", most=5, most_own=4)
    with pytest.raises(QueueFull, match="^3 runs are waiting, and 5 may wait here. Try again in a while.$"):
        store.request_all(_batch("b", 3), VERSIONS, "bo", most=5, most_own=4)
    with pytest.raises(QueueFull, match="^Expected at most 4 waiting runs of one person, received 2 more beside 3 that "
                                        "wait. Wait until some of them are trained, stop some, or ask for fewer.$"):
        store.request_all(_batch("b", 2), VERSIONS, "ada", most=5, most_own=4)
    # What waits or trains already counts for nothing, and is wanted further all the same.
    store.request_all(_batch("a", 4, Demand(epochs=99)), VERSIONS, "ada", most=4, most_own=4)
    store.request_all(_batch("a", 4, Demand(epochs=100)), VERSIONS, "bo", most=1, most_own=0)
    assert store.counts() == {QUEUED: 4}
    assert {run.demands for run in store.with_status(QUEUED)} == {(Demand(epochs=100),)}


def test_a_batch_may_want_runs_as_far_as_each_is_wanted_and_one_in_two_ways(store):
    [(one, config, _), (other, another, _)] = _batch("a", 2)
    asked = [(one, config, Demand(epochs=9)), (other, another, Demand(epochs=3)), (one, config, Demand(20, patience=2))]
    with pytest.raises(QueueFull):
        store.request_all(asked, VERSIONS, "ada", most=1)
    assert store.run_ids() == []
    store.request_all(asked, VERSIONS, "ada", most=2)
    assert store.run(one).demands == (Demand(epochs=9), Demand(20, patience=2))
    assert store.run(other).demands == (Demand(epochs=3),) and store.waiting_for("ada") == 2


@pytest.mark.parametrize("broken_at", [0, 1, 2])
def test_a_batch_that_fails_in_the_middle_leaves_none_of_it(store, monkeypatch, broken_at):
    _ask(store, "b0", Demand(epochs=3))
    before, events, asked = store.run("b0"), store.events("b0"), []

    def one(*arguments):
        if len(asked) == broken_at:
            raise OSError("the machine has gone")
        asked.append(write(*arguments))

    write = store._request
    monkeypatch.setattr(store, "_request", one)
    with pytest.raises(OSError):
        store.request_all(_batch("b", 3, Demand(epochs=9)), VERSIONS, "ada")
    assert store.run_ids() == ["b0"] and store.run("b0") == before and store.events("b0") == events
    assert store.waiting_for("ada") == 0


def test_a_process_killed_in_the_middle_of_a_batch_leaves_none_of_it(store, place):
    process = _python("""
import os
from explorer.config.run_config import *
store, write = RunStore(sys.argv[1]), RunStore._request
def last(db, run_id, *rest):
    write(db, run_id, *rest)
    if run_id == 'c2':
        os.kill(os.getpid(), 9)
store._request = last
store.request_all([(f'c{n}', RunConfig(seed=n), Demand()) for n in range(4)], {}, 'ada')
""", place)
    process.communicate("go\n", timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert store.run_ids() == [] and store.waiting() == 0
    store.request_all(_batch("c", 4), VERSIONS, "ada")  # nobody is held up by it
    assert store.waiting_for("ada") == 4


@pytest.mark.parametrize(("most", "own", "person"), [(25, 1_000, "str(os.getpid())"), (1_000, 13, "'ada'")],
                         ids=["of all", "of one person"])
def test_processes_that_ask_at_once_never_exceed_a_limit_together(store, place, most, own, person):
    said = _together(f"""
import os
from explorer.config.run_config import *
from explorer.store.queue import QueueFull
store = RunStore(sys.argv[1])
for batch in range(12):
    try:
        store.request_all([(f'{{os.getpid()}}-{{batch}}-{{n}}', RunConfig(seed=n), Demand()) for n in range(3)], {{}},
                          {person}, {most}, {own})
        print('taken')
    except QueueFull:
        print('full')
""", place)
    counts = "".join(said).split()
    limit = min(most, own)
    # Not one more than may wait, no part of a batch, and as many batches as there is room for.
    assert counts.count("taken") == limit // 3 and store.counts() == {QUEUED: limit // 3 * 3}
    assert len(counts) == 4 * 12


def test_a_writer_killed_in_the_middle_leaves_whole_epochs_and_a_sound_file(store, place):
    _ask(store, demand=Demand(epochs=100_000))
    writer = _python("""
store, epoch = RunStore(sys.argv[1]), 0
run = store.claim('writer')
while True:
    epoch += 1
    store.write_epoch('a', run.attempt, {'epoch': epoch, 'seconds': 1, 'blob': 'x' * 2000})
    print(epoch, flush=True)
""", place)
    assert writer.stdout.readline() == "ready\n"
    writer.stdin.write("go\n")
    writer.stdin.flush()
    for _ in range(50):
        told = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    writer.communicate(timeout=10)

    again = RunStore(place)
    epochs = again.epochs("a")
    assert again.set_aside is None and told == 50 <= len(epochs)
    assert [row["epoch"] for row in epochs] == list(range(1, len(epochs) + 1))
    assert all(len(row["blob"]) == 2_000 for row in epochs)
    assert again.run("a").seconds == len(epochs)
    if isinstance(place, Path):
        with sqlite3.connect(place) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert again.interrupt("writer", "gone") == ["a"]


# -- the file ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [
    lambda sound: b"this is no database\n" * 500,
    lambda sound: sound[: len(sound) // 2],
    lambda sound: sound[:4_096] + os.urandom(8_192) + sound[12_288:],
    lambda sound: sound[:200] + bytes(3_000) + sound[3_200:],
], ids=["text", "cut in half", "noise inside", "a hole in the first page"])
def test_a_damaged_file_is_set_aside_as_it_is_and_the_store_goes_on(file_store, path, damage):
    for number in range(30):
        _claimed(file_store, f"r{number}", epochs=5)
    file_store.close()
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    with pytest.raises(DamagedStore, match=re.escape(f"is damaged: {path}. It was left as it is. Start the")):
        RunStore(path)
    assert path.read_bytes() == damaged and not list(path.parent.glob("*-damaged-*"))
    found = RunStore(path, may_set_aside=True)
    assert found.set_aside.parent == path.parent and found.set_aside.read_bytes() == damaged
    assert "damaged" in found.set_aside.name and found.counts() == {}
    _claimed(found, "new", epochs=2)
    again = RunStore(path)
    assert len(again.epochs("new")) == 2 and again.set_aside is None


def test_a_damaged_store_is_kept_as_it_is_and_so_is_what_was_written_last(tmp_path):
    path = tmp_path / "runs.sqlite3"
    # Killed, its last words are in the journal beside the file.
    subprocess.run([sys.executable, "-c", (
        "import os, sqlite3, sys\n"
        "from explorer.store.store import RunStore\n"
        "store = RunStore(sys.argv[1])\n"
        "db = sqlite3.connect(sys.argv[1])\n"
        "db.execute('CREATE TABLE filler (x)')\n"
        "db.executemany('INSERT INTO filler VALUES (?)', [(os.urandom(3000),)] * 50)\n"
        "db.commit()\n"
        "db.execute('PRAGMA wal_checkpoint(TRUNCATE)')\n"
        "db.execute('CREATE TABLE last (x)')\n"
        "db.commit()\n"
        "os._exit(0)\n"), str(path)], check=True, cwd=ROOT)
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(os.urandom(30_000))
    before = [Path(f"{path}{ending}").read_bytes() for ending in ("", "-wal")]
    assert before[1]
    aside = RunStore(path, may_set_aside=True).set_aside
    assert [Path(f"{aside}{ending}").read_bytes() for ending in ("", "-wal")] == before


def test_of_several_processes_that_find_it_damaged_one_sets_it_aside_and_all_go_on(file_store, path):
    for number in range(30):
        _claimed(file_store, f"r{number}", epochs=3)
    file_store.close()
    sound = path.read_bytes()
    damaged = sound[: len(sound) // 2]
    path.write_bytes(damaged)
    _together("""
import os
from explorer.config.run_config import *
RunStore(sys.argv[1], may_set_aside=True).request(f'new-{os.getpid()}', RunConfig(), Demand(), {})
""", path)
    (aside,) = path.parent.glob("*damaged*.sqlite3")
    assert aside.read_bytes() == damaged and RunStore(path).counts() == {QUEUED: 4}


def test_all_is_in_one_file_when_the_last_has_left(file_store, path, tmp_path):
    other = RunStore(path)
    _claimed(file_store, "r", epochs=5)
    file_store.close()
    _claimed(file_store, "afterwards", epochs=2)
    other.close()
    copy = tmp_path / "copy.sqlite3"
    copy.write_bytes(path.read_bytes())
    assert not path.with_name(f"{path.name}-wal").exists()
    assert [len(RunStore(copy).epochs(run_id)) for run_id in ("r", "afterwards")] == [5, 2]


def test_an_empty_file_becomes_a_store(path):
    path.parent.mkdir()
    path.touch()
    store = RunStore(path)
    assert store.set_aside is None and store.counts() == {}


@pytest.mark.parametrize("folder", ["home", "malformed"])
def test_a_store_of_a_newer_explorer_is_refused_and_left_alone(tmp_path, folder):
    path = tmp_path / folder / "runs.sqlite3"
    _ask(RunStore(path))
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(sqlite3.OperationalError, match="newer version of the explorer; set EXPLORER_HOME"):
        RunStore(path)
    assert list(path.parent.glob("*damaged*")) == []
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT run_id FROM runs").fetchall() == [("a",)]


def test_a_store_that_is_only_busy_is_not_taken_for_damaged(file_store, path, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        RunStore(path)
    other.execute("ROLLBACK")
    assert RunStore(path).set_aside is None and list(path.parent.glob("*damaged*")) == []


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs to be told who writes")
def test_who_writes_is_known_without_disturbing_it(file_store, path):
    assert file_store.database.writer() == 0
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert file_store.database.writer() == os.getpid()
    impatient = sqlite3.connect(path, isolation_level=None, timeout=0)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        impatient.execute("BEGIN IMMEDIATE")
    other.execute("ROLLBACK")
    assert file_store.database.writer() == 0


def test_readers_are_not_held_up_by_a_writer(file_store, path):
    run = _claimed(file_store, epochs=2)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("DELETE FROM epochs")
    assert len(file_store.snapshot("a")[1]) == 2  # and none of what is not committed
    other.execute("ROLLBACK")
    file_store.write_epoch("a", run.attempt, _epoch(3))


def test_what_was_told_of_an_epoch_is_over_once_a_later_one_is_stored(store):
    run = _claimed(store)
    store.write_progress("a", run.attempt, "training", {"epoch": 1, "step": 4, "steps": 8})
    # Quick epochs are not all told of: a run that does well is not one that computes again what was lost.
    for number in (1, 2, 3):
        store.write_epoch("a", run.attempt, _epoch(number))
    assert look(*store.snapshot("a"), Demand(9)).epoch == 4
    store.write_progress("a", run.attempt, "training", {"epoch": 2, "step": 4, "steps": 8})
    assert look(*store.snapshot("a"), Demand(9)).epoch == 2
    store.write_epoch("a", run.attempt, _epoch(2))
    assert look(*store.snapshot("a"), Demand(9)).epoch == 2, "it is computed again"


# -- limits -----------------------------------------------------------------------------------------------


def _finished(store: RunStore, *run_ids: str) -> None:
    for run_id in run_ids:
        run = _claimed(store, run_id, epochs=3)
        store.end(run_id, run.attempt, STOPPED, score={"epoch": 3, "test_accuracy": 0.5})


def test_what_nobody_has_asked_for_for_the_longest_time_goes_first(store):
    _finished(store, *"abcde")
    _finished(store, "a")  # somebody wants it again
    assert store.prune(5) == [] and store.prune(3) == ["b", "c"]
    assert sorted(store.run_ids()) == ["a", "d", "e"]
    assert store.snapshot("b") == (None, [], {}) and store.events("b") == []
    assert [len(store.epochs(run_id)) for run_id in "ade"] == [3, 3, 3] and len(store.scores("e")) == 1
    # One that is gone is asked for as if it had never been there.
    _finished(store, "b")
    assert store.run("b").attempt == 1 and len(store.epochs("b")) == 3


def test_lessons_go_last_and_what_waits_or_trains_stays(store):
    _finished(store, *"abc")
    _claimed(store, "training", epochs=1)
    _ask(store, "waiting")
    assert store.prune(4, spared=lambda: ["a", "b"]) == ["c"]
    assert store.prune(3, spared=lambda: ["a", "b"]) == ["a"]
    assert store.prune(1, spared=lambda: ["a", "b"]) == ["b"]
    assert sorted(store.run_ids()) == ["training", "waiting"] and store.prune(1) == []
    assert store.counts() == {RUNNING: 1, QUEUED: 1} and len(store.epochs("training")) == 1


def test_a_store_at_its_limit_grows_no_further_on_disk(file_store, path):
    sizes = []
    for round in range(5):
        for number in range(20):
            _finished(file_store, f"{round}-{number}")
        file_store.prune(20)
        with sqlite3.connect(path) as db:
            sizes.append(db.execute("PRAGMA page_count").fetchone()[0])
    assert len(file_store.run_ids()) == 20
    assert max(sizes[2:]) <= 1.1 * sizes[1]


def test_asking_again_and_again_leaves_a_bounded_trace(store, monkeypatch):
    monkeypatch.setattr("explorer.store.store.MAX_EVENTS", 10)
    monkeypatch.setattr("explorer.store.queue.MAX_WISHES", 20)
    for number in range(60):
        store.request("a", RunConfig(), Demand(epochs=1 + number % 40), VERSIONS, f"person {number}")
    assert len(store.events("a")) == 10 and store.run("a").demands == (Demand(epochs=40),)
    with store.database.read() as db:
        for table in ("wishes", "persons"):
            assert db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] == 20
    assert store.claim("o").run_id == "a"
