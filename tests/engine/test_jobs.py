"""The watch over runs in hand: who is ended for not answering, and who is only kept from being heard."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace

import pytest

from explorer.config.run_config import Demand, library_versions
from explorer.engine import jobs
from explorer.engine.engine import Engine
from explorer.engine.jobs import JobTable
from explorer.store.store import QUEUED, STOPPED
from tests.engine.test_engine import CONFIG, LONG
from tests.store.test_fair_queue import _dealt, idle  # noqa: F401


@pytest.fixture
def watched(idle: Engine) -> tuple[Engine, str, list[dict]]:  # noqa: F811
    """An engine with one run in hand that shows nothing, and what is said to its worker."""
    run_id = idle.submit(CONFIG, LONG)
    assert _dealt(idle) == [[run_id]]
    said: list[dict] = []
    idle._worker.say = lambda **order: said.append(order) or True
    idle._worker.kill = lambda: said.append({"do": "kill the worker"})
    yield idle, run_id, said
    idle._charges.clear()


def look(engine: Engine, *unread: dict, times: int = 3) -> None:
    for _ in range(times):
        time.sleep(0.01)
        JobTable.look_after(engine._charges, engine._worker, unread)


def about(run_id: str, **message: object) -> dict:
    return {"run_id": run_id, "attempt": 1, **message}


def test_who_shows_nothing_is_ended_and_whose_end_is_not_yet_read_is_left_alone(watched, monkeypatch):
    engine, run_id, said = watched
    monkeypatch.setattr(jobs, "GRACE_SECONDS", 0.0)
    engine._charges.settings = replace(engine.settings, max_silent_seconds=0)
    look(engine, about(run_id, event="ended", code=70))
    look(engine, {"event": "died", "code": 1})
    assert said == []
    look(engine)
    assert [order["do"] for order in said][:2] == ["kill", "kill the worker"]


def test_epochs_that_cannot_be_written_yet_are_a_sign_of_life(watched):
    engine, run_id, said = watched
    engine._charges.settings = replace(engine.settings, max_silent_seconds=0)
    epochs = [about(run_id, event="told", tell="epoch", values={}) for _ in range(9)]
    for number in range(9):
        look(engine, *epochs[:number], times=1)
    assert said == []


def test_who_keeps_all_from_writing_is_known_before_its_beginning_is_read(watched, monkeypatch):
    engine, run_id, said = watched
    monkeypatch.setattr(jobs, "MAX_HOLDING_SECONDS", 0.005)
    monkeypatch.setattr(engine.store.database, "writer", lambda: 4711)
    look(engine)
    assert said == []
    look(engine, about(run_id, event="started", pid=4711))
    assert said[0] == {"do": "kill", "run_id": run_id, "attempt": 1}


def test_who_waits_for_a_slow_disk_is_waited_for(watched, monkeypatch):
    engine, run_id, said = watched
    monkeypatch.setattr(jobs, "MAX_HOLDING_SECONDS", 0.005)
    monkeypatch.setattr(engine.store.database, "writer", lambda: 4711)
    engine._charges.started(about(run_id, pid=4711))
    with monkeypatch.context() as patch:
        patch.setattr(jobs, "_waits_for_disk", lambda pid: True)
        look(engine)
    assert said == [] and not jobs._waits_for_disk(os.getpid())
    look(engine)
    assert said[0]["do"] == "kill"


def test_who_cannot_write_that_it_obeyed_has_time(watched, monkeypatch):
    engine, run_id, said = watched
    monkeypatch.setattr(jobs, "GRACE_SECONDS", 0.0)
    engine.stop(run_id)
    with monkeypatch.context() as patch:
        patch.setattr(engine.store.database, "writer", lambda: 4711)  # another, and nobody here knows it
        look(engine)
    assert [order["do"] for order in said] == ["stop"]
    look(engine)
    assert [order["do"] for order in said][1] == "kill"


def test_who_asks_again_after_a_stop_is_not_disappointed_by_the_end_of_the_one_that_hung(watched, monkeypatch):
    engine, run_id, said = watched
    monkeypatch.setattr(jobs, "GRACE_SECONDS", 0.0)
    engine.stop(run_id)
    look(engine)
    assert said[-1]["do"] in ("kill", "kill the worker")
    engine.store.request(run_id, CONFIG, LONG, library_versions())
    engine._charges.ended(about(run_id, code=-9))
    assert engine.store.run(run_id).status == QUEUED


def test_what_was_stopped_before_it_began_does_not_wait_again(idle):  # noqa: F811
    run_id = idle.submit(CONFIG, Demand(epochs=2))
    attempt = idle.store.claim("o").attempt
    idle.store.ask_to_stop(run_id)
    idle.store.put_back(run_id, attempt)
    assert idle.store.run(run_id).status == STOPPED and idle.store.waiting() == 0
    idle.submit(CONFIG, Demand(epochs=2))
    assert idle.store.run(run_id).status == QUEUED and not idle.store.run(run_id).stop


def test_a_log_that_cannot_be_written_ends_nothing(settings, monkeypatch):
    class Full:
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    engine, fails = Engine(settings, warm=False), []
    try:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", Full())
            patch.setattr(engine._owner, "keep", lambda: fails.append(1) or 1 / 0)
            engine._wake.set()
            deadline = time.monotonic() + 20
            while not fails and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.05)
        assert fails and all(thread.is_alive() for thread in engine._threads)
    finally:
        engine.close()
