"""The worker where it may not fork: children are fresh processes, and serve one run after another."""

from __future__ import annotations

import io
import json
import select
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from explorer import data
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.store.store import RunStore
from explorer.workers import fork_server
from explorer.workers.trainer import job_of

ROOT = Path(__file__).resolve().parents[2]
CONFIG = RunConfig(dataset="digits", hidden=(8,), batch_size=128)
# As elsewhere than on Linux.
WITHOUT_FORKS = """
from explorer.workers import fork_server as worker
worker.FORKS = False
worker.main()
"""


def test_where_processes_cannot_be_forked_children_are_fresh_and_do_the_same(tmp_path):
    settings = Settings(home=tmp_path)
    store = RunStore(settings.store_path)
    process = subprocess.Popen([sys.executable, "-c", WITHOUT_FORKS, json.dumps(settings.as_dict())],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT)
    try:
        assert json.loads(process.stdout.readline())["event"] == "ready"

        def order(**what) -> None:
            process.stdin.write(json.dumps(what).encode() + b"\n")
            process.stdin.flush()

        def start(run_id: str, epochs: int) -> int:
            store.request(run_id, CONFIG, Demand(epochs), {})
            run = store.claim("test")
            order(do="train", job=job_of([run], "cpu", "CPU", settings.threads, settings))
            started = json.loads(process.stdout.readline())
            assert started["event"] == "started" and started["run_id"] == run_id
            return started["pid"]

        children = [start("short", 3)]
        ended = json.loads(process.stdout.readline())
        assert (ended["event"], ended["code"]) == ("ended", 0)
        assert store.run("short").status == "finished" and len(store.epochs("short")) == 3
        children.append(start("long", 5_000))
        assert children[0] == children[1]
        while len(store.epochs("long")) < 3:
            time.sleep(0.05)
        order(do="stop", run_id="long", attempt=1)
        assert json.loads(process.stdout.readline())["event"] == "ended"
        # Told to stop, though nobody had asked the store for it: it goes back into the queue.
        assert store.run("long").status == "queued"
        assert [row["val_crossentropy"] for row in store.epochs("long")[:3]] == [
            row["val_crossentropy"] for row in store.epochs("short")]
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()
    for pid in children:
        assert not Path(f"/proc/{pid}").exists()


# The data are prepared when a file is there.
PREPARING = """
import os, time
from explorer import data
from explorer.workers import fork_server as worker
prepare = data.Library.prepare
def when_told(library, dataset):
    while not os.path.exists({go!r}):
        time.sleep(0.02)
    prepare(library, dataset)
data.Library.prepare = when_told
worker.main()
"""


@pytest.fixture
def preparing(tmp_path, no_keras_home):
    """A worker that prepares data until it is told to go on: its process, its settings, and how to tell it."""
    settings, go = Settings(home=tmp_path), tmp_path / "go"
    process = subprocess.Popen(
        [sys.executable, "-c", PREPARING.format(go=str(go)), json.dumps(settings.as_dict()), "ahead"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT)
    try:
        assert json.loads(process.stdout.readline())["event"] == "ready"
        yield process, settings, go.touch
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is prepared ahead")
def test_while_data_are_prepared_other_runs_are_trained_and_those_that_need_them_wait(preparing):
    process, settings, go = preparing
    store = RunStore(settings.store_path)

    def ask(config: RunConfig) -> None:
        run_id = config.run_id(data.version(config.dataset, settings))
        store.request(run_id, config, Demand(1), {})
        job = job_of([store.claim("test")], "cpu", "CPU", settings.threads, settings)
        process.stdin.write(json.dumps({"do": "train", "job": job}).encode() + b"\n")
        process.stdin.flush()

    def hear() -> str:
        return json.loads(process.stdout.readline())["event"]

    ask(CONFIG)
    assert (hear(), hear()) == ("started", "ended") and not data.is_prepared("reviews", settings)
    ask(RunConfig(dataset="reviews", hidden=(2,), train_samples=200))
    assert not select.select([process.stdout], [], [], 0.5)[0]
    go()
    assert hear() == "started" and data.is_prepared("reviews", settings)
    assert hear() == "ended"
    assert [run.status for run in store.with_status("finished")] == ["finished"] * 2


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is prepared ahead")
def test_a_child_warms_up_once_the_data_are_there(preparing):
    process, settings, go = preparing

    def children() -> list[str]:
        return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()

    before = children()
    assert len(before) == 1  # the one that prepares
    go()
    deadline = time.monotonic() + 60
    while len(children()) != 1 or children() == before:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert data.is_prepared("reviews", settings)


def test_children_with_a_share_of_the_threads_are_dismissed_when_no_grid_comes(tmp_path):
    here = fork_server.Worker(replace(Settings(home=tmp_path), threads=2), io.StringIO())
    lines = [socket.socketpair() for _ in range(3)]
    here._children = [fork_server._Child(0, ours, networks={("a",)}, setup=("cpu", threads))
                      for (ours, _), threads in zip(lines, (1, 1, 2))]
    here._children[0].keys = [("run", 1)]
    assert 0 < here._patience() <= fork_server.SHARE_IDLE_SECONDS
    for one in here._children:
        one.idle_since -= fork_server.SHARE_IDLE_SECONDS
    assert here._patience() == 0
    here._dismiss()
    # The first is at work, the third is for single runs.
    assert [one.leaving for one in here._children] == [False, True, False]
    assert lines[1][1].recv(1) == b"", "it is told by the end of its line"
    assert here._patience() is None
    for pair in lines:
        for end in pair:
            end.close()
