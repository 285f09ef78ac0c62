"""Runs on a Dask cluster: post that is lost or late, and real schedulers and workers that are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dask
import distributed  # noqa: F401  its settings are there before some are changed
import numpy as np
import pytest

from explorer.cli import doctor_checks
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import SettingError, Settings
from explorer.engine.engine import Engine
from explorer.engine.run_view import DONE
from explorer.i18n import translated
from explorer.store import checkpoints
from explorer.store.store import RunStore
from explorer.workers import remote_store
from explorer.workers.channel import WorkerChannel
from explorer.workers.dask import client as dask_client
from explorer.workers.dask import remote as dask_remote
from explorer.workers.dask.client import DaskCluster
from explorer.workers.dask.job import DaskJob
from explorer.workers.dask.mailbox import Inbox, Outbox
from explorer.workers.devices import Gpu, Hardware
from explorer.workers.trainer import job_of
from tests._dask import LocalCluster
from tests._server import descendants, free_port, outliving
from tests.engine.test_engine import ended, numbers, wait_for

CONFIG = RunConfig(dataset="digits", hidden=(32, 16), batch_norm=True, dropout=0.3, optimizer="adam", batch_size=16)
# Long enough to be caught in the middle, on any machine.
LONG = Demand(epochs=500)
RUN_ID = "0123456789abcdef"


# -- post -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_post_is_read_once_and_in_order_whatever_is_lost_late_or_repeated(seed):
    chance = random.Random(seed)
    outbox, inbox, read = Outbox(), Inbox(), []
    under_way: list[tuple[int, dict]] = []
    for number in range(1, 201):
        under_way.append((outbox.add({"n": number}), {"n": number}))
        chance.shuffle(under_way)
        while under_way and chance.random() < 0.6:
            letter = under_way.pop()
            if chance.random() < 0.8:  # else it is lost
                read += inbox.take(*letter)
            if chance.random() < 0.2:
                under_way.append(letter)
        if chance.random() < 0.05:
            for letter in outbox.after(inbox.seen):
                read += inbox.take(*letter)
    for letter in outbox.after(inbox.seen):
        read += inbox.take(*letter)
    assert [message["n"] for message in read] == list(range(1, 201))
    assert not inbox.has_gap and outbox.after(inbox.seen) == []


def test_a_missing_message_is_noticed_and_what_has_arrived_is_forgotten():
    outbox, inbox = Outbox(), Inbox()
    for number in range(3):
        outbox.add({"n": number})
    assert inbox.take(2, {"n": 1}) == [] and inbox.has_gap and inbox.seen == 0
    assert inbox.take(1, {"n": 0}) == [{"n": 0}, {"n": 1}] and not inbox.has_gap
    assert outbox.after(2) == [(3, {"n": 2})] and outbox.after(0) == [(3, {"n": 2})]


# -- what a child without a store tells -----------------------------------------------------------------------


def test_no_folder_and_no_password_of_the_pages_machine_goes_to_a_cluster(tmp_path):
    store = RunStore(tmp_path / "runs.sqlite3")
    store.request(RUN_ID, CONFIG, Demand(3), {})
    settings = Settings(home=tmp_path, store="postgresql://user:secret@host/name")
    job = remote_store.brief(job_of([run := store.claim("test")], "cpu", "CPU", 1, settings), [run], store)
    sent = json.dumps(DaskJob(None, job, "topic").order)
    assert RUN_ID in sent and "secret" not in sent and "postgresql" not in sent and str(tmp_path) not in sent


def test_what_a_reporter_tells_stands_in_the_store_as_if_it_had_been_written_there(tmp_path):
    store = RunStore(tmp_path / "runs.sqlite3")
    store.request(RUN_ID, CONFIG, Demand(3), {})
    run = store.claim("test")
    job = remote_store.brief(job_of([run], "cpu", "CPU", 1, Settings(home=tmp_path)), [run], store)
    ours, theirs = socket.socketpair()
    told = WorkerChannel(theirs)
    away = remote_store.RemoteStore(job, told)
    assert away.run(RUN_ID).demands == (Demand(3),) and away.epochs(RUN_ID) == []
    away.write_device(RUN_ID, 1, "CPU (1 core)", 1)
    for epoch, loss in ((1, 0.5), (2, float("nan"))):
        away.write_epoch(RUN_ID, 1, {"epoch": epoch, "val_crossentropy": loss, "seconds": 0.5})
    away.write_progress(RUN_ID, 1, "training", {"epoch": 3, "step": 2, "steps": 3})
    away.kept(RUN_ID, 1, 2)
    # A demand that grows meanwhile reaches it.
    ours.sendall(b'{"do": "demands", "run_id": "%s", "attempt": 1, "demands": [{"epochs": 9}]}\n' % RUN_ID.encode())
    assert away.run(RUN_ID).demands == (Demand(9),)
    away.end(RUN_ID, 1, "stopped", "enough", peak_mb=12.0)
    theirs.close()
    messages = [json.loads(line) for line in ours.makefile()]
    for message in messages[:-1]:
        remote_store.write(store, message)
    run, epochs, _ = store.snapshot(RUN_ID)
    assert (run.phase, run.progress["step"], run.device, run.seconds) == ("training", 2, "CPU (1 core)", 1.0)
    assert [row["val_crossentropy"] for row in epochs] == [0.5, None]
    remote_store.write(store, messages[-1])
    assert (store.run(RUN_ID).status, store.run(RUN_ID).message) == ("stopped", "enough")
    ours.close()


def test_a_message_larger_than_the_line_holds_arrives_as_a_whole():
    ours, theirs = socket.socketpair()
    ours.setblocking(True)  # whatever the default is at this moment
    with subprocess.Popen(["wc", "-c"], stdin=ours, stdout=subprocess.PIPE, text=True) as reader:
        ours.close()
        WorkerChannel(theirs).tell({"text": "x" * 3_000_000})
        theirs.close()
        assert int(reader.stdout.read()) == 3_000_013


def test_a_checkpoint_from_elsewhere_is_taken_only_as_numbers_of_its_run(tmp_path):
    checkpoints.save(tmp_path, RUN_ID, 7, [np.ones(3, np.float32)])
    content = checkpoints.path_of(tmp_path, RUN_ID).read_bytes()
    assert checkpoints.epoch_in(content, RUN_ID) == checkpoints.epoch_of(tmp_path, RUN_ID) == 7
    checkpoints.receive(tmp_path / "other", RUN_ID, content)
    assert checkpoints.load(tmp_path / "other", RUN_ID)[0] == 7
    np.savez(tmp_path / "odd.npz", about=np.array(json.dumps({"run_id": RUN_ID, "epoch": 1, "arrays": 1})),
             v0000=np.array([object()]))
    for bad, run_id in ((content, "f" * 16), (content[:-200], RUN_ID), (b"", RUN_ID),
                        ((tmp_path / "odd.npz").read_bytes(), RUN_ID)):
        with pytest.raises(ValueError, match="cannot be used"):
            checkpoints.epoch_in(bad, run_id)
    for name in ("../../etc/passwd", "", "0123456789ABCDEF"):
        with pytest.raises(ValueError, match="run_id: expected 16 hexadecimal digits"):
            dask_remote._sound(name)


# -- settings, hardware, what is said -------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["tcp://10.0.0.5:8786", "tls://dask.example.org:8786", "tcp://[::1]:8786"])
def test_the_scheduler_is_named_by_its_address(address):
    settings = Settings.from_environment({"EXPLORER_SCHEDULER": f" {address} "})
    assert settings.scheduler == address and Settings.from_dict(settings.as_dict()) == settings


@pytest.mark.parametrize("address", ["10.0.0.5:8786", "http://10.0.0.5:8786", "tcp://10.0.0.5", "tcp://a b:1", "on"])
def test_what_is_no_address_is_refused_by_its_name(address):
    with pytest.raises(SettingError, match="EXPLORER_SCHEDULER: expected the address .* received"):
        Settings.from_environment({"EXPLORER_SCHEDULER": address})


def test_without_distributed_it_is_said_what_to_install(settings, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingError, match="EXPLORER_SCHEDULER: .* pip install 'distributed"):
        Engine(replace(settings, scheduler="tcp://127.0.0.1:1"))


def test_the_page_shows_one_card_for_all_that_are_offered():
    def worker(offers, cards=()):
        return dask_client.DaskWorkerInfo("tcp://x:1", "", offers, Hardware("A CPU", 8, 16_000, tuple(cards)))

    cpu, gpu = worker({"TRAIN": 1}), worker({"TRAIN": 1, "GPU": 1}, [Gpu(0, "H100", 81_920)])
    assert dask_client.merged([cpu, cpu]).names == ["cpu"] and "2 × A CPU" in dask_client.merged([cpu, cpu]).cpu
    assert dask_client.merged([cpu, gpu]).label("gpu:0") == "GPU 0 (H100, 80 GB)"
    # A card that is not offered to Dask is nobody's.
    assert dask_client.merged([worker({"TRAIN": 1}, [Gpu(0, "H100", 81_920)])]).names == ["cpu"]


def test_a_scheduler_that_does_not_answer_is_said_in_both_languages(settings, monkeypatch):
    monkeypatch.setattr(dask_client, "CONNECT_SECONDS", 0.2)
    monkeypatch.setattr("explorer.engine.engine.MAX_PAUSE", 0.1)
    address = f"tcp://127.0.0.1:{free_port()}"
    engine = Engine(replace(settings, scheduler=address))
    try:
        run_id = engine.submit(CONFIG, Demand(1))
        view = ended(engine, run_id, Demand(1))
        assert view.state == "failed" and engine.is_broken
        assert f"{address} (EXPLORER_SCHEDULER) does not answer" in view.run.message == engine.why_broken
        assert "응답하지 않습니다" in translated(view.run.message, "ko")
    finally:
        engine.close()


# -- real clusters --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster_of_two(tmp_path_factory) -> Iterator[LocalCluster]:
    made = LocalCluster(tmp_path_factory.mktemp("dask"))
    made.start_scheduler()
    made.start_worker("a")
    made.start_worker("b")
    yield made
    assert made.close() == []


@pytest.fixture
def engine(cluster_of_two, tmp_path) -> Iterator[Engine]:
    engine = Engine(Settings(home=tmp_path / "engine", scheduler=cluster_of_two.address))
    wait_for(lambda: engine.places == 2)
    yield engine
    engine.close()


def where(engine: Engine, run_id: str) -> str:
    """The address of the Dask worker that trains a run."""
    return engine._charges[run_id, engine.store.run(run_id).attempt].worker


def reached(engine: Engine, run_id: str, epochs: int) -> None:
    """Wait until so many epochs are there, of a run that goes on."""
    wait_for(lambda: engine.look(run_id, LONG).reached >= epochs)
    assert engine.look(run_id, LONG).state == "running"


def at_home(engine: Engine, run_id: str) -> int:
    """Wait for a checkpoint. Returns: its epoch."""
    wait_for(lambda: checkpoints.epoch_of(engine.settings.checkpoints, run_id))
    return checkpoints.epoch_of(engine.settings.checkpoints, run_id)


def whole(engine: Engine, run_id: str) -> list[dict]:
    """The epochs of a run, of which none is missing."""
    epochs = engine.store.epochs(run_id)
    assert [row["epoch"] for row in epochs] == list(range(1, len(epochs) + 1))
    return epochs


def test_doctor_says_of_a_scheduler_that_does_not_answer_what_to_do(settings, monkeypatch):
    monkeypatch.setattr(dask_client, "CONNECT_SECONDS", 0.2)
    amiss: list[str] = []
    doctor_checks._cluster(settings, amiss)
    assert amiss == []
    address = f"tcp://127.0.0.1:{free_port()}"
    doctor_checks._cluster(replace(settings, scheduler=address), amiss)
    assert len(amiss) == 1 and f"{address} (EXPLORER_SCHEDULER) does not answer" in amiss[0]


@pytest.mark.slow
def test_runs_spread_stop_and_continue_as_they_do_here(engine, cluster_of_two, tmp_path, capsys):
    first, second = engine.submit_all([CONFIG, CONFIG.with_(seed=1)], LONG)
    for run_id in (first, second):
        reached(engine, run_id, 3)  # live: the epochs come while it trains
    assert {cluster_of_two.worker_at(where(engine, run_id)) for run_id in (first, second)} == {"a", "b"}
    amiss: list[str] = []
    doctor_checks._cluster(engine.settings, amiss)
    assert amiss == [] and f"{cluster_of_two.address}: 2 runs at a time" in capsys.readouterr().out
    for run_id in (first, second):
        asked = time.monotonic()
        engine.stop(run_id)
        assert ended(engine, run_id, LONG).state == "stopped"
        assert time.monotonic() - asked < 5
        assert at_home(engine, run_id) == len(whole(engine, run_id))
    before = whole(engine, first)
    more = Demand(epochs=len(before) + 3)
    # Asked for more while it trains, it goes on to that.
    engine.submit(CONFIG, Demand(epochs=len(before) + 2))
    engine.submit(CONFIG, more)
    view = ended(engine, first, more)
    assert view.state == DONE and view.reached == more.epochs and view.score
    assert whole(engine, first)[:len(before)] == before, "it went on from its checkpoint"
    here = Engine(Settings(home=tmp_path / "here"))
    try:
        here.submit(CONFIG, more)
        assert numbers(ended(here, first, more)) == numbers(view)
        assert here.look(first, more).score == view.score
    finally:
        here.close()


@pytest.mark.slow
def test_a_killed_worker_and_a_killed_scheduler_cost_no_epoch_and_the_run_goes_on(engine, cluster_of_two):
    run_id = engine.submit(CONFIG.with_(seed=2), LONG)
    reached(engine, run_id, 3)
    kept = at_home(engine, run_id)
    name = cluster_of_two.worker_at(where(engine, run_id))
    below = cluster_of_two.kill(cluster_of_two.workers.pop(name))
    before = whole(engine, run_id)
    assert outliving(below) == [], "nobody trains on for nobody"
    # It is in hand a moment after it has been taken from the queue.
    wait_for(lambda: (run_id, 2) in engine._charges and where(engine, run_id))
    assert cluster_of_two.worker_at(where(engine, run_id)) != name
    wait_for(lambda: engine.look(run_id, LONG).reached > len(before) + 3)
    assert whole(engine, run_id)[:kept] == before[:kept], "it went on from its checkpoint"

    kept, before = at_home(engine, run_id), whole(engine, run_id)
    cluster_of_two.kill(cluster_of_two.scheduler)
    # Dask's workers end with their scheduler, and whoever has started them starts them again.
    for worker in cluster_of_two.workers.values():
        worker.wait(60)
    wait_for(lambda: engine.look(run_id, LONG).state == "queued")
    cluster_of_two.start_scheduler()
    cluster_of_two.start_worker(name)
    wait_for(lambda: engine.look(run_id, LONG).reached > len(before) + 3)
    assert whole(engine, run_id)[:kept] == before[:kept] and engine.store.run(run_id).attempt == 3
    engine.stop(run_id)
    assert ended(engine, run_id, LONG).state == "stopped"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    """A folder with an authority's certificate and one of it for everybody."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=authority",
            "-keyout", "ca-key.pem", "-out", "ca.pem")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=explorer", "-keyout", "key.pem",
            "-out", "request.pem")
    openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial",
            "-days", "2", "-out", "cert.pem")
    return folder


@pytest.mark.slow
def test_encrypted_a_dead_child_is_said_other_data_are_refused_and_closing_leaves_nothing(certificates, tmp_path):
    authority = str(certificates / "ca.pem")
    mine = {what: str(certificates / f"{what}.pem") for what in ("cert", "key")}
    everybody = {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": authority} | {
        f"DASK_DISTRIBUTED__COMM__TLS__{role}__{what.upper()}": mine[what] for role in ("SCHEDULER", "WORKER")
        for what in mine}
    made = LocalCluster(tmp_path / "dask", everybody)
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "mnist.npz").write_bytes(b"not what Keras has")
    try:
        made.start_scheduler()
        made.start_worker("a", KERAS_HOME=str(tmp_path / "nothing"))
        # As the same variables would, set before this process began.
        with dask.config.set({"distributed.comm.tls.ca-file": authority, **{
                f"distributed.comm.tls.client.{what}": path for what, path in mine.items()}}):
            engine = Engine(Settings(home=tmp_path / "engine", scheduler=made.address, data_dir=data_dir))
            wait_for(lambda: engine.places == 1)
        try:
            run_id = engine.submit(CONFIG, LONG)
            reached(engine, run_id, 3)
            child = engine._charges[run_id, 1].pid
            os.kill(child, signal.SIGKILL)
            view = ended(engine, run_id, LONG)
            assert view.state == "failed" and "killed (signal 9" in view.run.message
            other = ended(engine, engine.submit(RunConfig(dataset="mnist", hidden=(4,)), Demand(1)), Demand(1))
            assert other.state == "failed" and "has other data for mnist" in other.run.message
            assert "다릅니다" in translated(other.run.message, "ko")
            engine.submit(CONFIG, LONG)
            reached(engine, run_id, view.reached + 3)
            child = engine._charges[run_id, 2].pid
        finally:
            engine.close()
        assert engine.store.run(run_id).status == "interrupted"
        assert len(whole(engine, run_id)) >= at_home(engine, run_id) >= view.reached
        # The Dask worker waits for the next, with all that it has warm.
        assert child in descendants(made.workers["a"].pid)
    finally:
        assert made.close() == []


def test_jobs_that_cannot_be_given_are_said_to_be_lost_when_the_cluster_ends(settings, monkeypatch):
    monkeypatch.setattr(dask_client, "CONNECT_SECONDS", 0.2)
    heard = []
    line = DaskCluster(replace(settings, scheduler=f"tcp://127.0.0.1:{free_port()}"), heard.append)
    wait_for(lambda: heard)
    assert heard[0]["event"] == "died" and not line.say(do="stop", run_id=RUN_ID, attempt=1)
    line.close()
