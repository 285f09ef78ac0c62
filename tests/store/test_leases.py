"""Owners: an engine counts as alive exactly as long as its process lives."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from explorer.store.leases import Lease, is_alive

ROOT = Path(__file__).resolve().parents[2]


def _other(folder: Path) -> tuple[subprocess.Popen, str]:
    process = subprocess.Popen([sys.executable, "-c", """
import sys, pathlib
from explorer.store.leases import Lease
owner = Lease(pathlib.Path(sys.argv[1]))
print(owner.name, flush=True)
sys.stdin.readline()
""", str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def test_an_engine_is_alive_until_it_lets_go(tmp_path):
    owner = Lease(tmp_path / "owners")
    assert is_alive(tmp_path / "owners", owner.name)
    assert is_alive(tmp_path / "owners", owner.name)  # asking does not take it away
    owner.release()
    assert not is_alive(tmp_path / "owners", owner.name) and list((tmp_path / "owners").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_an_engine_that_was_killed_is_dead_at_once_and_leaves_no_file(tmp_path, number):
    process, name = _other(tmp_path)
    assert is_alive(tmp_path, name)
    process.send_signal(number)
    process.communicate(timeout=10)
    assert not is_alive(tmp_path, name)
    assert list(tmp_path.iterdir()) == [] and not is_alive(tmp_path, name)


def test_each_engine_has_a_name_of_its_own(tmp_path):
    mine = Lease(tmp_path)
    process, name = _other(tmp_path)
    assert name != mine.name and is_alive(tmp_path, name) and is_alive(tmp_path, mine.name)
    process.communicate("\n", timeout=10)
    assert not is_alive(tmp_path, name) and is_alive(tmp_path, mine.name)
    mine.release()


def test_a_name_that_was_never_given_is_dead(tmp_path):
    assert not is_alive(tmp_path, "nobody") and not is_alive(tmp_path / "nowhere", "nobody")
