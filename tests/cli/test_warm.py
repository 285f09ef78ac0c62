"""The lessons' runs trained ahead: each once, what is known not again, and on from where it was stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from explorer.cli import warm
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.lessons import Part, presets
from explorer.store.store import FINISHED, RunStore

ROOT = Path(__file__).resolve().parents[2]
TINY = RunConfig(dataset="digits", hidden=(4,), batch_size=512)
LESSONS = {
    "one": (Part("", ((TINY, Demand(2)), (TINY.with_(l2=0.01), Demand(2))), ()),),
    "two": (Part("", ((TINY, Demand(3)), (TINY.with_(dropout=0.5), Demand(5, patience=2))), (), again=(1, 0)),),
}
# The same command as a program of its own, with these lessons in place of the page's.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background
from explorer.lessons import presets
from tests.cli import test_warm
presets.LESSONS = test_warm.{lessons}
from explorer.__main__ import main
sys.exit(main(["warm", *sys.argv[1:]]))
"""
LONG = {"long": (Part("", ((TINY.with_(hidden=(100,)), Demand(3_000)), (TINY.with_(seed=1), Demand(2))), ()),)}


@pytest.fixture
def lessons(monkeypatch: pytest.MonkeyPatch, no_keras_home: Path) -> dict:
    monkeypatch.setattr(presets, "LESSONS", LESSONS)
    return LESSONS


def started(home: Path, lessons: str, *arguments: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(lessons=lessons), *arguments], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env={**os.environ, "EXPLORER_HOME": str(home), "EXPLORER_MAX_EPOCHS": "3000", **environment})


def test_each_run_is_wanted_once_as_far_as_any_lesson_shows_it(lessons, settings: Settings):
    pieces = warm.wanted(["one", "two", "one"], 1, settings)
    assert {piece.config: piece.demands for piece in pieces} == {
        TINY: [Demand(4)], TINY.with_(l2=0.01): [Demand(2)], TINY.with_(dropout=0.5): [Demand(5, patience=2)]}
    assert len({piece.name for piece in pieces}) == 3
    assert {piece.config.seed for piece in warm.wanted(["one"], 3, settings)} == {0, 1, 2}
    assert len(warm.wanted(["one"], 3, settings)) == 6


def test_the_lessons_of_the_page_are_wanted_with_embedded_data_where_theirs_are_not_here(
        settings: Settings, no_keras_home: Path):
    pieces = warm.wanted(presets.LESSONS, 1, settings)
    assert {piece.config.dataset for piece in pieces} == {"reviews", "digits"}
    assert len({piece.config for piece in pieces}) == len(pieces) > 20
    # One run is wanted by two rules: twenty epochs, and until it has stopped improving.
    assert max(len(piece.demands) for piece in pieces) == 2


def test_what_is_known_is_not_trained_again_and_the_end_says_so(tmp_path):
    first = started(tmp_path, "LESSONS")
    out, err = first.communicate(timeout=240)
    assert first.returncode == 0, err
    assert "3 runs: 3 trained, 0 known already, 0 failed" in out and len(out.splitlines()) == 4
    store = RunStore(Settings(home=tmp_path).store_path)
    assert {run.config: len(store.epochs(run.run_id)) for run in store.with_status(FINISHED)}[TINY] == 4
    again = started(tmp_path, "LESSONS", "--lesson", "one", "--lesson", "two")
    out, err = again.communicate(timeout=60)
    assert again.returncode == 0 and out.startswith("3 runs: 0 trained, 3 known already, 0 failed")
    assert all(run.attempt == 1 for run in store.with_status(FINISHED))


def test_ctrl_c_keeps_what_was_reached_and_a_second_call_goes_on(tmp_path):
    first = started(tmp_path, "LONG")
    store = RunStore(Settings(home=tmp_path).store_path)
    deadline = time.monotonic() + 120
    while not any(len(store.epochs(run_id)) > 20 for run_id in store.run_ids()):
        assert time.monotonic() < deadline and first.poll() is None
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGINT)  # as a terminal sends it: to everyone
    out, err = first.communicate(timeout=60)
    assert first.returncode == 1 and "left for another time" in out and "Traceback" not in err
    # The short one beside it may have come to its end by then, or not.
    [stopped] = [run for run in store.with_status("stopped") if run.config.hidden == (100,)]
    reached = len(store.epochs(stopped.run_id))
    assert 20 < reached < 3_000 and not store.with_status("running", "queued")
    second = started(tmp_path, "LONG")
    while len(store.epochs(stopped.run_id)) <= reached:
        assert time.monotonic() < deadline + 60 and second.poll() is None
        time.sleep(0.05)
    os.killpg(second.pid, signal.SIGINT)
    second.communicate(timeout=60)
    assert store.run(stopped.run_id).attempt == 2  # it went on; it did not start over


def test_a_run_beyond_the_limits_here_fails_alone(tmp_path):
    done = started(tmp_path, "LESSONS", EXPLORER_MAX_EPOCHS="4")
    out, err = done.communicate(timeout=240)
    assert done.returncode == 1 and "2 trained, 0 known already, 1 failed" in out
    assert "epochs: expected at most 4 here" in err and "Traceback" not in err


def test_an_unknown_lesson_is_named(tmp_path):
    done = started(tmp_path, "LESSONS", "--lesson", "three")
    _, err = done.communicate(timeout=60)
    assert done.returncode == 2 and "three" in err and "one" in err
