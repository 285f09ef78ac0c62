"""The store on PostgreSQL: what a database can do that a file cannot, and what it may never tell."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from explorer.__main__ import main
from explorer.cli import doctor_checks
from explorer.config.run_config import Demand, RunConfig, library_versions
from explorer.config.settings import SettingError, Settings, shown_address, unusable_store
from explorer.engine.engine import Engine
from explorer.engine.jobs import JobTable
from explorer.i18n import translated
from explorer.store import leases, postgres, sqlite
from explorer.store.leases import SharedLease, new_lease
from explorer.store.sqlite import StoreError
from explorer.store.store import FAILED, FINISHED, INTERRUPTED, QUEUED, RUNNING, STOPPED, RunStore
from explorer.workers.run_recorder import RunRecorder
from explorer.workers.trainer import job_of
from tests._server import Server, descendants
from tests._stores import GUARDED, PASSWORD, Cluster
from tests.benchmarks.visitors import Visitor
from tests.engine.test_engine import CONFIG, LONG, wait_for
from tests.store.test_fair_queue import _dealt, _Worker

ROOT = Path(__file__).resolve().parents[2]
AWAY = "the database that EXPLORER_STORE names does not answer"


@pytest.fixture
def store(address: str) -> RunStore:
    made = RunStore(address)
    yield made
    made.close()


def ask(store: RunStore, run_id: str = "a", **config) -> None:
    store.request(run_id, RunConfig(**config), Demand(), {})


def epoch(number: int) -> dict:
    return {"epoch": number, "val_crossentropy": 1 / number, "seconds": 0.1}


def guarded(cluster: Cluster, name: str, password: str = PASSWORD) -> str:
    return cluster.address(name, f"{GUARDED}:{password}")


# -- the address ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address, shown", [
    ("postgresql://ada:pass@db.example:5433/runs?sslmode=require", "postgresql://ada@db.example:5433/runs"),
    ("postgres://ada@db/runs", "postgres://ada@db/runs"),
    ("postgresql://ada:p%40ss@[::1]:5433,other/runs", "postgresql://ada@[::1]:5433,other/runs"),
    ("postgresql:///runs?host=/tmp/socket&password=pass", "postgresql:///runs"),
])
def test_an_address_is_taken_and_shown_without_its_password(address, shown):
    settings = Settings.from_environment({"EXPLORER_STORE": f" {address} ", "HOME": "/h"})
    assert settings.store == settings.store_place == address and shown_address(address) == shown
    for told in (repr(settings), str(settings), json.dumps(settings.as_dict()),
                 str(unusable_store(settings, StoreError("no")))):
        assert "pass" not in told.replace("password@host", "")


@pytest.mark.parametrize("address", [
    "sqlite:///runs", "mysql://ada:pass@db/runs", "pass", "postgresql://ada:pa@ss@db/runs",
    "postgresql://ada:pa/ss@db/runs", "postgresql://ada:pa#ss@db/runs", "postgresql://ada:pa?ss@db/runs",
    "postgresql://ada:pa ss@db/runs", "postgresql://ada:pass", "postgresql://ada:pa:ss@db/runs"])
def test_what_is_no_address_is_refused_and_not_shown(address, tmp_path):
    with pytest.raises(SettingError) as caught:
        Settings.from_environment({"EXPLORER_STORE": address})
    assert str(caught.value).startswith("EXPLORER_STORE: expected postgresql://user:password@host/database, with %40")
    assert "ss@" not in str(caught.value) and "ada" not in str(caught.value)
    assert "ss" not in shown_address(address)


def test_without_it_the_store_is_a_file_in_home(tmp_path):
    settings = Settings.from_environment({"EXPLORER_HOME": str(tmp_path)})
    assert settings.store == "" and settings.store_place == settings.store_path == tmp_path / "runs.sqlite3"


def test_the_password_goes_to_the_trainer_through_a_pipe_and_on_no_command_line():
    settings = Settings(home=Path("/h"), store="postgresql://ada:pass@db/runs")
    assert "pass" not in json.dumps(settings.as_dict())
    job = json.loads(json.dumps(job_of([], "cpu", "CPU", 1, settings)))
    assert Settings.from_dict({**job["settings"], "store": job["store"]}) == settings


def test_a_wrong_password_is_said_and_neither_is_shown(cluster, address, tmp_path, monkeypatch, capsys):
    name = address.split("/")[3].split("?")[0]
    RunStore(guarded(cluster, name)).close()
    monkeypatch.setenv("EXPLORER_HOME", str(tmp_path))
    monkeypatch.setenv("EXPLORER_STORE", guarded(cluster, name, "wrong-word"))
    assert main(["runs", "list"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"EXPLORER_STORE: expected a PostgreSQL database that can be used, received "
                           f"'postgresql://{GUARDED}@/{name}'") and "password authentication failed" in said
    assert "wrong-word" not in said and PASSWORD not in said and "Traceback" not in said


def test_what_libpq_says_is_told_without_the_password(store):
    store.database._address = "postgresql://ada:p%40ss@db/runs"
    said = store.database.failure(Exception("no host p%40ss, tried p@ss")).why
    assert "p@ss" not in said and "p%40ss" not in said and said.startswith(store.database.where)


def test_without_psycopg_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(postgres, "psycopg", None)
    monkeypatch.setenv("EXPLORER_HOME", str(tmp_path))
    monkeypatch.setenv("EXPLORER_STORE", "postgresql://ada:pass@db/runs")
    assert main(["runs", "list"]) == 2
    said = capsys.readouterr().err
    assert 'pip install "psycopg[binary]>=3.2,<4"' in said and "pass" not in said


# -- the content ----------------------------------------------------------------------------------------------


def test_numbers_keep_every_digit(store):
    ask(store)
    run = store.claim("o")
    value = 0.1 + 0.2
    store.write_epoch("a", run.attempt, {"epoch": 1, "val_crossentropy": value, "seconds": value})
    store.end("a", run.attempt, "stopped", peak_mb=1234.5678901234567)
    found = store.run("a")
    assert (found.seconds, found.peak_mb) == (value, 1234.5678901234567) and time.time() - found.created_at < 60
    assert store.snapshots({"a": RunConfig()}, {})["a"][1][0]["val_crossentropy"] == value


def test_a_look_sees_one_moment_while_others_write(store):
    ask(store)
    attempt = store.claim("o").attempt
    store.write_epoch("a", attempt, epoch(1))
    with store._read() as db:
        db.execute("BEGIN")
        before = db.execute("SELECT COUNT(*) FROM epochs").fetchone()[0]
        store.write_epoch("a", attempt, epoch(2))
        assert db.execute("SELECT COUNT(*) FROM epochs").fetchone()[0] == before == 1
    assert len(store.epochs("a")) == 2


def test_a_transaction_that_fails_leaves_nothing_and_keeps_nobody_waiting(store):
    with pytest.raises(RuntimeError), store._write() as db:
        db.execute("INSERT INTO persons VALUES (?, ?)", ("x", 1))
        raise RuntimeError
    with pytest.raises(StoreError, match="refuses.*does not exist"), store._write() as db:
        db.execute("INSERT INTO persons VALUES (?, ?)", ("x", 1))
        db.execute("SELECT * FROM nothing")
    ask(store)
    with store._read() as db:
        assert db.execute("SELECT person FROM persons").fetchall() == [("",)]


def test_who_hangs_in_the_middle_of_writing_keeps_nobody_from_it(address, store, monkeypatch):
    monkeypatch.setattr(sqlite, "MAX_HOLDING_SECONDS", 1.0)
    hanging = RunStore(address)
    with pytest.raises(StoreError), hanging.database.write() as db:
        db.execute("UPDATE runs SET stop = 1")
        began = time.monotonic()
        store.request("b", CONFIG, Demand(epochs=2), library_versions())
        waited = time.monotonic() - began
        db.execute("SELECT 1")
    assert 0.5 < waited < 20
    hanging.close()


def test_many_threads_share_few_connections(cluster, store):
    ask(store)
    attempt, failed = store.claim("o").attempt, []

    def write(first: int) -> None:
        try:
            for number in range(first, 201, 20):
                store.write_epoch("a", attempt, epoch(number))
                assert store.run("a").attempt == attempt
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(first,)) for first in range(1, 21)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed and [row["epoch"] for row in store.epochs("a")] == list(range(1, 201))
    assert connections(cluster, store) <= postgres.MAX_CONNECTIONS
    store.close()
    wait_for(lambda: connections(cluster, store) == 0, 10)
    assert len(store.epochs("a")) == 200, "calls after it work as before"


def test_a_store_of_a_newer_explorer_is_refused_and_left_alone(store, address):
    ask(store)
    with store._write() as db:
        db.execute("UPDATE store_version SET version = 99")
    with pytest.raises(StoreError, match="newer version of the explorer"):
        RunStore(address)
    assert store.run("a").status == QUEUED


def test_a_store_of_an_earlier_version_is_brought_up_to_date_and_keeps_its_queue(address, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "SCHEMA", sqlite.SCHEMA[:2])
        early = RunStore(address)
    with early._write() as db:
        db.execute("INSERT INTO runs (run_id, config, versions, created_at, status, demands, ticket) "
                   "VALUES ('x', ?, '{}', 0, 'queued', ?, 1)", (RunConfig().canonical_json(), '[{"epochs": 3}]'))
    store = RunStore(address)
    ask(store, "new")
    assert [store.claim("o").run_id for _ in range(2)] == ["x", "new"]


def test_runs_move_from_the_file_to_the_database_and_back_with_two_commands(address, tmp_path, monkeypatch, capsys):
    from tests.store.test_archive import keep

    here, there, back = (Settings(home=tmp_path / name, store=store)
                         for name, store in (("here", ""), ("there", address), ("back", "")))
    run_id = keep(here)
    before = RunStore(here.store_place).carried(run_id)
    for number, (one, two) in enumerate(((here, there), (there, back))):
        for settings, command in ((one, "export"), (two, "import")):
            monkeypatch.setenv("EXPLORER_HOME", str(settings.home))
            monkeypatch.setenv("EXPLORER_STORE", settings.store)
            assert main(["runs", command, str(tmp_path / f"{number}.zip")]) == 0
        assert RunStore(two.store_place).carried(run_id) == before
    assert "1 run taken over, 1 with a checkpoint" in capsys.readouterr().out
    monkeypatch.setenv("EXPLORER_STORE", address)
    assert main(["runs", "list"]) == 0 and f"1 run in {shown_address(address)}" in capsys.readouterr().out


def test_doctor_tells_which_store_is_used_and_whether_it_answers(cluster, store, address, settings, capsys):
    ask(store)
    amiss: list[str] = []
    doctor_checks._store(replace(settings, store=guarded(cluster, named(store))), amiss)
    said = capsys.readouterr().out
    assert f"postgresql://{GUARDED}@/{named(store)}, " in said and "1 queued" in said and not amiss
    doctor_checks._store(replace(settings, store=guarded(cluster, "nowhere")), amiss)
    [remedy] = amiss
    assert remedy.startswith("EXPLORER_STORE: expected") and '"nowhere" does not exist' in remedy
    assert PASSWORD not in said + remedy


# -- a database that goes away ----------------------------------------------------------------------------------


def connections(cluster: Cluster, store: RunStore) -> int:
    return cluster.tell(f"SELECT COUNT(*) FROM pg_stat_activity WHERE datname = '{named(store)}'")[0][0]


def named(store: RunStore) -> str:
    return store.database.where.rpartition("/")[2]


def cut(cluster: Cluster, store: RunStore) -> None:
    """End every connection to its database."""
    cluster.tell(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{named(store)}'")
    wait_for(lambda: connections(cluster, store) == 0, 10)


def test_a_connection_that_was_lost_is_replaced_and_nobody_notices(cluster, store):
    ask(store)
    attempt = store.claim("o").attempt
    for number in range(1, 4):
        cut(cluster, store)
        store.write_epoch("a", attempt, epoch(number))
        cut(cluster, store)
        assert len(store.epochs("a")) == number


def test_an_outage_is_one_sentence_and_a_trainer_waits_for_its_end(cluster, address, store):
    name = named(store)
    guest, trainer = RunStore(guarded(cluster, name)), RunStore(address, patience=60)
    ask(store)
    attempt = trainer.claim("o").attempt
    cluster.stop()
    try:
        with pytest.raises(StoreError) as caught:
            guest.counts()
        assert str(caught.value) == AWAY and shown_address(address) not in AWAY
        assert f"postgresql://{GUARDED}@/{name}" in caught.value.why and PASSWORD not in caught.value.why
        told = translated(str(caught.value), "ko")
        assert told != AWAY and "EXPLORER_STORE" in told
        writer = threading.Thread(target=trainer.write_epoch, args=("a", attempt, epoch(1)))
        writer.start()
    finally:
        cluster.start()
    writer.join(30)
    assert not writer.is_alive() and guest.epochs("a") == [epoch(1)]


def test_the_page_says_it_and_goes_on_afterwards(cluster, address, tmp_path):
    pytest.importorskip("streamlit")
    from tests.ui.test_app import TINY, _Page, _plain, sound

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "_start_worker", lambda engine: None)  # nothing is trained
        page = _Page(tmp_path, patch, EXPLORER_STORE=guarded(cluster, address.split("/")[3].split("?")[0]))
        try:
            at = sound(page.open_run(TINY, Demand(2)))
            cluster.stop()
            try:
                at.run()
                told = [_plain(error.value) for error in at.error]
                assert not at.exception and told and all(AWAY in one for one in told)
                assert PASSWORD not in str(at.main)
            finally:
                cluster.start()
            sound(at.run())
            # So it does where the server starts while the database is away.
            page.close()
            cluster.stop()
            try:
                at = page.open({"lang": "ko"})
                [told] = [_plain(error.value) for error in at.error]
                assert not at.exception and "EXPLORER_STORE" in told and not set(told) & set("@/")
            finally:
                cluster.start()
            sound(at.run())
        finally:
            page.close()


# -- whose a run is --------------------------------------------------------------------------------------------


_OWNER = """
import sys
from explorer.store.leases import new_lease
from explorer.store.store import RunStore
owner = new_lease(RunStore(sys.argv[1]).database, None)
print(owner.name, flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def owner(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> SharedLease:
    monkeypatch.setattr(leases, "MISSED_SECONDS", 0.0)
    monkeypatch.setattr(leases, "KEEP_SECONDS", 0.0)
    made = new_lease(store.database, Path("/nowhere"))
    yield made
    made.release()


def test_an_engine_lives_until_it_lets_go(store, owner):
    other = new_lease(store.database, Path("/nowhere"))
    assert owner.name != other.name and owner.is_alive(other.name) and other.is_alive(owner.name)
    assert owner.is_alive(other.name), "asking does not take it away"
    other.release()
    wait_for(lambda: not owner.is_alive(other.name), 10)
    assert not owner.is_alive("nobody") and owner.is_alive(owner.name)


def test_a_killed_engine_is_dead_and_a_missed_one_may_come_back(store, owner, address, monkeypatch):
    process = subprocess.Popen([sys.executable, "-c", _OWNER, address], cwd=ROOT, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True)
    name = process.stdout.readline().strip()
    assert owner.is_alive(name)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    wait_for(lambda: not owner.is_alive(name), 10)
    monkeypatch.setattr(leases, "MISSED_SECONDS", 60.0)
    assert new_lease(store.database, Path("/nowhere")).is_alive(name), "for a while"


def test_an_engine_whose_connection_was_lost_takes_its_name_anew_before_it_goes_on(cluster, store, owner):
    other = new_lease(store.database, Path("/nowhere"))
    cut(cluster, store)
    assert not other.is_alive(owner.name)
    owner.keep()
    assert other.is_alive(owner.name)
    cluster.stop()
    try:
        with pytest.raises(StoreError, match=AWAY):
            owner.keep()
    finally:
        cluster.start()
    owner.keep()
    assert other.is_alive(owner.name)


@pytest.fixture
def idle(settings: Settings, address: str) -> Engine:
    """An engine that takes nothing by itself."""
    engine = Engine(replace(settings, store=address), warm=False)
    engine._take_on = lambda: None
    engine._charges.look_after = lambda *_: None
    yield engine
    engine.close()


def test_a_server_takes_only_what_it_can_train(idle, no_keras_home):
    foreign = "0" * 16  # asked for where other data lie, or with other libraries
    idle.store.request(foreign, CONFIG, Demand(2), library_versions(), "b")
    elsewhere = RunConfig(dataset="mnist", hidden=(8,))  # nobody has to fetch what others have
    idle.store.request(idle.run_id(elsewhere), elsewhere, Demand(2), library_versions(), "a")
    on_card = CONFIG.with_(seed=8)
    idle.store.request(idle.run_id(on_card), on_card, Demand(2, device="gpu:0"), library_versions(), "c")
    run_id = idle.run_id(CONFIG)
    idle.store.request(run_id, CONFIG, Demand(2), library_versions(), "d")
    assert _dealt(idle) == [[run_id]]
    assert {run.run_id for run in idle.store.with_status(QUEUED)} == {
        foreign, idle.run_id(elsewhere), idle.run_id(on_card)}


def test_a_server_whose_training_does_not_start_leaves_the_others_runs_alone(idle):
    idle.store.request(idle.run_id(CONFIG), CONFIG, Demand(2), library_versions())
    idle._worker, idle._deaths = _Worker(), 99
    assert idle.is_broken
    Engine._take_on(idle)
    assert idle.store.run(idle.run_id(CONFIG)).status == QUEUED
    idle._mine.add(idle.run_id(CONFIG))
    Engine._take_on(idle)
    assert idle.store.run(idle.run_id(CONFIG)).status == FAILED


def test_a_run_that_was_taken_from_a_server_is_no_longer_trained_there(idle):
    run_id = idle.submit(CONFIG, LONG)
    [[told]] = _dealt(idle)
    said = []
    idle._worker.say = lambda **order: said.append(order) or True
    JobTable.look_after(idle._charges, idle._worker)
    assert told == run_id and not said
    idle.store.interrupt(idle._owner.name, "")
    idle.store.request(run_id, CONFIG, LONG, library_versions())
    assert idle.store.claim("another server").attempt > 1
    JobTable.look_after(idle._charges, idle._worker)
    assert said == [{"do": "stop", "run_id": run_id, "attempt": 1}]
    idle._charges.clear()


# -- two servers -----------------------------------------------------------------------------------------------

_SERVER = """
import json, sys
from explorer.config.run_config import Demand, RunConfig, library_versions
from explorer.engine.engine import Engine
from explorer.config.settings import Settings
engine = Engine(Settings.from_environment())
print(json.dumps(engine._owner.name), flush=True)
for line in sys.stdin:
    do, seed, epochs = json.loads(line)
    config, demand = RunConfig(dataset="digits", hidden=(32, 16), dropout=0.3, seed=seed), Demand(epochs)
    run_id, answer = engine.run_id(config), None
    if do == "submit":
        answer = engine.submit(config, demand)
    elif do == "stop":
        engine.stop(run_id)
    elif do == "look":
        view = engine.look(run_id, demand)
        answer = [view.state, [{k: v for k, v in row.items() if k != "seconds"} for row in view.epochs]]
    elif do == "wall":
        answer = [point.config.seed for point in engine.wall.points()]
    print(json.dumps(answer), flush=True)
engine.close()
"""


class _Explorer:
    """An engine in a process with a home of its own, as a page server has it."""

    def __init__(self, home: Path, store: str):
        self.home = home
        home.mkdir()
        with open(home / "log", "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _SERVER], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, env=os.environ | {"EXPLORER_HOME": str(home), "EXPLORER_STORE": store,
                                              "EXPLORER_THREADS": "1", "EXPLORER_MAX_EPOCHS": "50000",
                                              "EXPLORER_RUNS_AT_ONCE": "1"})

    def tell(self, do: str, seed: int = 0, epochs: int = 1) -> None:
        self.process.stdin.write(json.dumps([do, seed, epochs]) + "\n")
        self.process.stdin.flush()

    def hear(self):
        return json.loads(self.process.stdout.readline())

    def ask(self, do: str, seed: int = 0, epochs: int = 1):
        self.tell(do, seed, epochs)
        return self.hear()

    def wait(self, state: str, seed: int, epochs: int) -> list[dict]:
        wait_for(lambda: self.ask("look", seed, epochs)[0] == state)
        return self.ask("look", seed, epochs)[1]

    def below(self) -> list[int]:
        return descendants(self.process.pid)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_word_that_was_cut_off_is_told_again(cluster, address, store, settings):
    ask(store)
    run = store.claim("o")
    record = RunRecorder(RunStore(address, patience=30), settings, None, "a", run.attempt, run.config)
    told = record.store.database.write

    @contextmanager
    def cut_off(lasting: bool = False):
        record.store._write = told
        with told() as db:
            yield db
            cut(cluster, store)  # before it is committed

    record.store._write = cut_off
    record.emit("epoch", epoch(1))
    record.store._write = cut_off
    record.close(STOPPED, "")
    assert store.epochs("a") == [epoch(1)] and store.run("a").status == STOPPED and store.run("a").seconds == 0.1


@pytest.mark.slow
def test_two_servers_on_one_database_share_runs_queue_and_wall(cluster, address, store, tmp_path):
    given = guarded(cluster, named(store))
    servers = [_Explorer(tmp_path / name, given) for name in ("one", "two")]
    one, two = servers
    try:
        names = [server.hear() for server in servers]
        # Both are asked at once; it is trained once, and both see it.
        for server in servers:
            server.tell("submit", 1, 6)
        [run_id] = {server.hear() for server in servers}
        seen = [server.wait("done", 1, 6) for server in servers]
        assert seen[0] == seen[1] and [row["epoch"] for row in seen[0]] == list(range(1, 7))
        run, kinds = store.run(run_id), [kind for kind, _ in store.events(run_id)]
        assert run.attempt == 1 and run.owner in names and kinds.count(FINISHED) == 1
        assert [server.ask("wall") for server in servers] == [[1], [1]]
        # What speaks to the database is in the worker, for all its children, and not read anew in each.
        workers = [pid for server in servers for pid in server.below()
                   if _parent(pid) == server.process.pid]
        assert len(workers) == 2 and all("psycopg" in Path(f"/proc/{pid}/maps").read_text() for pid in workers)

        # A database that is started anew interrupts nothing. What one server trains, the other stops.
        run_id = one.ask("submit", 2, 50_000)
        wait_for(lambda: len(store.epochs(run_id)) >= 3)
        cluster.stop()
        cluster.start()
        before = len(store.epochs(run_id))
        wait_for(lambda: len(store.epochs(run_id)) > before + 3)
        assert store.run(run_id).status == RUNNING
        servers[store.run(run_id).owner == names[0]].ask("stop", 2)
        rows = two.wait("stopped", 2, 50_000)
        assert before < len(rows) < 50_000 and [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
        assert store.run(run_id).attempt == 1

        # A whole machine dies with a run in hand; the other tells so, and goes on.
        run_id = two.ask("submit", 3, 400)
        wait_for(lambda: len(store.epochs(run_id)) >= 20)
        place = names.index(store.run(run_id).owner)
        dead, alive = servers[place], servers[1 - place]
        pids = [dead.process.pid, *dead.below()]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        dead.process.wait()
        before = alive.wait(INTERRUPTED, 3, 400)
        assert store.run(run_id).message == "The explorer ended while this run was training." and len(before) >= 20
        alive.ask("submit", 3, len(before) + 4)
        after = alive.wait("done", 3, len(before) + 4)
        assert after[:len(before)] == before and [row["epoch"] for row in after] == list(range(1, len(before) + 5))

        for pid in [alive.process.pid, *alive.below()]:
            assert PASSWORD not in Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
    finally:
        for server in servers:
            if server.process.poll() is None:
                server.close()
    for log in [*tmp_path.glob("*/log"), *tmp_path.glob("*/worker.log")]:
        assert PASSWORD not in log.read_text(errors="replace")


@pytest.mark.slow
def test_visitors_of_two_page_servers_who_press_at_once_watch_one_run(address, store, tmp_path):
    servers = [Server(tmp_path / name, EXPLORER_STORE=address) for name in ("one", "two")]
    try:
        asyncio.run(_press_on_all(servers, "dataset=digits&hidden=16-16&epochs=12&seed=5"))
        wait_for(lambda: store.counts() == {FINISHED: 1})  # a moment after its last epoch is on the pages
        [run] = store.with_status(FINISHED)
        kinds = [kind for kind, _ in store.events(run.run_id)]
        assert run.attempt == 1 and kinds.count("requested") == 2 and kinds.count(FINISHED) == 1
        assert len(store.epochs(run.run_id)) == 12
    finally:
        for server in servers:
            assert server.stop() == []


async def _press_on_all(servers: list[Server], query: str) -> None:
    """A visitor of each presses Train in the same moment and watches until the last epoch."""
    visitors = [Visitor(server.port, query) for server in servers]
    for visitor in visitors:
        await visitor.come()
    for visitor in visitors:
        assert await visitor.until(lambda one: one.button("train") and not one.is_running)
    assert all(visitor.press("train") for visitor in visitors)
    for visitor in visitors:
        assert await visitor.until(lambda one: len(one.shown) == 12)
        assert visitor.failures == []
        visitor.leave()
