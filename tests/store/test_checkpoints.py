"""Checkpoints: the whole state or none, of the right run, within a limit of disk space."""

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from explorer.config.settings import Settings
from explorer.engine.engine import Engine
from explorer.lessons import protected
from explorer.store import checkpoints

ROOT = Path(__file__).resolve().parents[2]
ARRAYS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(7, np.int64), np.array([], np.float32),
          *(np.full(2, number, np.uint32) for number in range(20))]


def _is(found, epoch, arrays=ARRAYS) -> bool:
    return found[0] == epoch and len(found[1]) == len(arrays) and all(
        one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
        for one, other in zip(found[1], arrays))


def test_what_was_saved_comes_back_to_the_last_bit_and_in_order(tmp_path):
    checkpoints.save(tmp_path / "new" / "folder", "abc", 12, ARRAYS)
    assert _is(checkpoints.load(tmp_path / "new" / "folder", "abc"), 12)


def test_a_later_state_replaces_the_earlier(tmp_path):
    checkpoints.save(tmp_path, "abc", 1, ARRAYS)
    checkpoints.save(tmp_path, "abc", 2, ARRAYS[:1])
    assert _is(checkpoints.load(tmp_path, "abc"), 2, ARRAYS[:1])
    assert [path.name for path in tmp_path.iterdir()] == ["abc.npz"]


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoints.load(tmp_path / "nowhere", "abc") is None


def test_a_save_that_fails_leaves_the_older_state_and_nothing_half_written(tmp_path):
    checkpoints.save(tmp_path, "abc", 1, ARRAYS)
    with pytest.raises(Exception, match="pickle"):  # an array that cannot be written, after others that were
        checkpoints.save(tmp_path, "abc", 2, [*ARRAYS, np.array([lambda: 0], dtype=object)])
    assert _is(checkpoints.load(tmp_path, "abc"), 1)
    assert [path.name for path in tmp_path.iterdir()] == ["abc.npz"]


def test_a_process_killed_while_saving_leaves_a_whole_state(tmp_path):
    writer = subprocess.Popen([sys.executable, "-c", """
import sys, pathlib, numpy as np
from explorer.store import checkpoints
for epoch in range(1, 10_000):
    checkpoints.save(pathlib.Path(sys.argv[1]), "abc", epoch, [np.full(500_000, epoch, np.float32)] * 3)
    print(epoch, flush=True)
""", str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    for _ in range(5):
        told = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    writer.communicate(timeout=10)
    epoch, arrays, _ = checkpoints.load(tmp_path, "abc")
    assert epoch >= told == 5 and len(arrays) == 3 and all((array == epoch).all() for array in arrays)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"no archive", b"\x93NUMPY\x01\x00"],
                         ids=["empty", "empty archive", "text", "a broken array"])
def test_a_file_that_is_no_checkpoint_is_told_as_damaged(tmp_path, content):
    checkpoints.path_of(tmp_path, "abc").write_bytes(content)
    with pytest.raises(ValueError, match="the checkpoint of run abc is damaged"):
        checkpoints.load(tmp_path, "abc")


def test_a_single_array_instead_of_an_archive_is_told_as_damaged(tmp_path):
    with open(checkpoints.path_of(tmp_path, "abc"), "wb") as stream:
        np.save(stream, np.arange(3))
    with pytest.raises(ValueError, match="the checkpoint of run abc is damaged"):
        checkpoints.load(tmp_path, "abc")


def test_a_truncated_checkpoint_is_told_as_damaged(tmp_path):
    checkpoints.save(tmp_path, "abc", 3, ARRAYS)
    path = checkpoints.path_of(tmp_path, "abc")
    sound = path.read_bytes()
    for length in range(0, len(sound), 97):
        path.write_bytes(sound[:length])
        with pytest.raises(ValueError, match="damaged"):
            checkpoints.load(tmp_path, "abc")


def test_no_flipped_byte_gives_another_state_or_another_error(tmp_path):
    arrays = [np.arange(5, dtype=np.float32), np.arange(5, 10, dtype=np.float32)]
    checkpoints.save(tmp_path, "abc", 3, arrays)
    path = checkpoints.path_of(tmp_path, "abc")
    sound = path.read_bytes()
    for position in range(len(sound)):
        for mask in (0x01, 0x08, 0xFF):
            path.write_bytes(sound[:position] + bytes([sound[position] ^ mask]) + sound[position + 1:])
            try:
                found = checkpoints.load(tmp_path, "abc")
            except ValueError:
                continue
            assert _is(found, 3, arrays), f"byte {position}"


def test_the_checkpoint_of_another_run_is_refused(tmp_path):
    checkpoints.save(tmp_path, "other", 3, ARRAYS)
    checkpoints.path_of(tmp_path, "other").rename(checkpoints.path_of(tmp_path, "abc"))
    with pytest.raises(ValueError, match="run abc is damaged: it belongs to another run"):
        checkpoints.load(tmp_path, "abc")


def test_a_checkpoint_with_a_pickle_is_refused(tmp_path):
    np.savez(checkpoints.path_of(tmp_path, "abc"), about=np.array('{"run_id": "abc", "epoch": 1}'),
             v0000=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="damaged"):
        checkpoints.load(tmp_path, "abc")


@pytest.fixture
def four(tmp_path):
    """Four checkpoints of a megabyte, the oldest first."""
    for age, run_id in enumerate("abcd"):
        checkpoints.save(tmp_path, run_id, 1, [np.zeros(250_000, np.float32)])
        os.utime(checkpoints.path_of(tmp_path, run_id), (1_000 + age, 1_000 + age))
    return tmp_path


@pytest.mark.parametrize("most_mb, keep, left", [
    (5, "d", "abcd"), (4, "d", "bcd"), (3, "d", "cd"), (3, "a", "ad"), (1, "b", "b"), (0, "x", ""),
])
def test_the_oldest_checkpoints_go_until_the_rest_fits(four, most_mb, keep, left):
    # A checkpoint is a little larger than its megabyte of numbers.
    checkpoints.prune(four, most_mb, {keep})
    assert "".join(sorted(path.stem for path in four.iterdir())) == left


def test_pruning_a_folder_that_is_not_there_is_no_fault(tmp_path):
    checkpoints.prune(tmp_path / "nowhere", 1, {"a"})


def test_checkpoints_of_lessons_go_last_and_are_asked_for_only_when_something_goes(four):
    checkpoints.prune(four, 3, {"d"}, spared=lambda: ["a"])
    assert "".join(sorted(path.stem for path in four.iterdir())) == "ad"

    def asked() -> list[str]:
        raise AssertionError("everything fits")

    checkpoints.prune(four, 3, {"d"}, spared=asked)
    checkpoints.prune(four, 1, {"d"}, spared=lambda: ["a"])
    assert [path.stem for path in four.iterdir()] == ["d"]


def test_an_installation_spares_its_lessons(four, tmp_path, monkeypatch):
    settings = Settings(home=tmp_path / "home", checkpoint_mb=3)
    settings.checkpoints.mkdir(parents=True)
    for path in list(four.glob("*.npz")):
        path.rename(settings.checkpoints / path.name)
    monkeypatch.setattr(protected, "run_ids", lambda given: {"a"} if given == settings else set())
    engine = Engine(settings, warm=False, protected=protected.run_ids)
    try:
        deadline = time.monotonic() + 60
        while len(left := sorted(path.stem for path in settings.checkpoints.iterdir())) > 2:
            assert time.monotonic() < deadline, left
            time.sleep(0.02)
    finally:
        engine.close()
    assert left == ["a", "d"]


@pytest.mark.parametrize("path", sorted((ROOT / "explorer").rglob("*.py")), ids=lambda path: path.stem)
def test_every_engine_of_the_page_and_the_command_line_spares_the_lessons(path):
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)
             and isinstance(node.func, ast.Name) and node.func.id == "Engine"]
    assert all("protected" in {given.arg for given in call.keywords} for call in calls)


def test_a_checkpoint_that_is_deleted_is_no_more(four):
    checkpoints.delete(four, "b")
    checkpoints.delete(four, "b")
    assert checkpoints.load(four, "b") is None and checkpoints.load(four, "a") is not None
