"""The command line, as a person runs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from explorer.cli import doctor
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.config.url_params import parse
from explorer.store.store import RunStore

ROOT = Path(__file__).resolve().parents[2]
SMALL = ("--dataset", "digits", "--hidden", "8", "--batch-size", "128", "--seed", "3")


def explorer(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "explorer", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=300,
        env={**os.environ, "EXPLORER_HOME": str(home), **environment})


def test_train_prints_one_json_object_an_epoch_and_a_last_one_and_keeps_the_run(tmp_path):
    done = explorer(tmp_path, "train", *SMALL, "--epochs", "3", "--l2", "0.001", "--json")
    assert done.returncode == 0, done.stderr
    *rows, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    for row in rows:
        assert {"epoch", "loss", "accuracy", "val_loss", "val_crossentropy", "val_accuracy", "train_crossentropy",
                "train_accuracy", "penalty", "seconds"} <= set(row)
        assert row["penalty"] > 0
    assert {"run_id", "test_crossentropy", "test_accuracy", "parameters", "device", "seconds"} <= set(last)
    best = min(rows, key=lambda row: row["val_crossentropy"])["epoch"]
    scores = RunStore(Settings(home=tmp_path).store_path).scores(last["run_id"])
    assert set(scores) == {best, 3} and last["best_epoch"] == best
    for name in ("test_crossentropy", "test_accuracy"):
        assert last[name] == scores[3][name] and last[f"best_{name}"] == scores[best][name]
    assert last["peak_mb"] > 100  # stored with the run's end, a moment after the last numbers
    store = RunStore(Settings(home=tmp_path).store_path)
    assert store.epochs(last["run_id"]) == rows
    assert store.run(last["run_id"]).config.regularizer == "l2"  # follows from which strength is given
    # The same again is known: the very same numbers, the seconds included.
    again = explorer(tmp_path, "train", *SMALL, "--epochs", "3", "--l2", "0.001", "--json")
    assert again.stdout == done.stdout


def test_train_for_people_shows_the_curve_the_sentence_and_the_score(tmp_path):
    done = explorer(tmp_path, "train", *SMALL, "--epochs", "3")
    assert done.returncode == 0, done.stderr
    assert "epoch   3/3" in done.stdout and "Best at epoch" in done.stdout
    best = re.search(r"Best at epoch (\d+)", done.stdout)[1]
    number = r"[\d.]+"
    said = re.findall(rf"After epoch (\d+), the (.+) one: test cross-entropy {number}, test accuracy {number}\.",
                      done.stdout)
    assert said == ([("3", "best and last")] if best == "3" else [(best, "best"), ("3", "last")])


@pytest.mark.parametrize(("option", "value"), [
    ("--dropout", "1.5"), ("--epochs", "0"), ("--hidden", "16-x"), ("--dataset", "cifar"), ("--l1", "-1"),
    ("--learning-rate", "nan"), ("--validation", "0.9"), ("--batch-norm", "perhaps")])
def test_bad_options_end_with_exit_code_2_and_the_message_of_the_page(tmp_path, option, value):
    done = explorer(tmp_path, "train", option, value)
    assert done.returncode == 2 and done.stdout == ""
    name = option[2:].replace("-", "_")
    [shown] = parse({name: value}).messages
    assert done.stderr.strip() and shown.startswith(done.stderr.strip())
    assert "Traceback" not in done.stderr


def test_a_graphics_card_that_is_not_here_is_named(tmp_path):
    done = explorer(tmp_path, "train", *SMALL, "--device", "gpu:7")
    assert done.returncode == 2 and "device: expected auto or one of cpu" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_home_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("no folder")
    done = explorer(tmp_path / "file" / "home", "train", *SMALL)
    assert done.returncode == 2 and done.stderr.startswith("EXPLORER_HOME: expected a folder")
    assert "Traceback" not in done.stderr


def test_limits_of_the_installation_hold_here_too(tmp_path):
    done = explorer(tmp_path, "train", "--dataset", "digits", "--epochs", "9", EXPLORER_MAX_EPOCHS="5")
    assert done.returncode == 2 and "epochs: expected at most 5 here, received '9'." in done.stderr


def test_every_field_of_a_request_is_an_option(tmp_path):
    done = explorer(tmp_path, "train", "--help")
    assert done.returncode == 0
    for field in (*fields(RunConfig), *fields(Demand)):
        assert f"--{field.name.replace('_', '-')} " in done.stdout + " "


def test_doctor_tells_what_is_there_and_ends_well(tmp_path):
    done = explorer(tmp_path, "doctor", EXPLORER_DATA_DIR="", KERAS_HOME=str(tmp_path / "keras"))
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("tensorflow", "streamlit", "cores", "reviews: embedded", "imdb: not here", "runs.sqlite3",
                 "All is well"):
        assert word in done.stdout


def test_doctor_names_a_graphics_card_that_tensorflow_does_not_find(tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho NVIDIA H200\n")
    program.chmod(0o755)
    done = explorer(tmp_path, "doctor", EXPLORER_DATA_DIR="", KERAS_HOME=str(tmp_path / "keras"),
                    PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert "NVIDIA H200: not used" in done.stdout and "pip install 'tensorflow[and-cuda]'" in done.stdout
    assert done.returncode == 0 and "no graphics card" not in done.stdout


def test_doctor_says_what_to_do_about_a_damaged_file_and_a_damaged_store(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mnist.npz").write_bytes(b"PK\x03\x04 cut short")
    (tmp_path / "runs.sqlite3").write_bytes(b"this is no database" * 100)
    done = explorer(tmp_path, "doctor", EXPLORER_DATA_DIR=str(tmp_path / "data"), KERAS_HOME=str(tmp_path / "keras"))
    assert done.returncode == 1
    assert "mnist.npz" in done.stdout and "Delete it or put a sound copy" in done.stdout
    assert "store of runs is damaged" in done.stdout and not list(tmp_path.glob("runs-damaged-*"))
    assert "Traceback" not in done.stderr


def test_an_unusable_setting_is_named(tmp_path):
    done = explorer(tmp_path, "doctor", EXPLORER_MAX_EPOCHS="many")
    assert done.returncode == 2 and "EXPLORER_MAX_EPOCHS: expected a whole number" in done.stderr


def test_doctor_names_what_is_missing_and_what_is_of_another_version(tmp_path, capsys):
    wanted = tmp_path / "requirements.txt"
    wanted.write_text("# the page\nnumpy>=1.0,<1.1\npandas>=1.0\nno-such-package>=1\n")
    amiss: list[str] = []
    assert doctor._versions(wanted, amiss) is False
    assert amiss[0] == "Missing: no-such-package. Run: pip install -r requirements.txt"
    assert "numpy>=1.0,<1.1 (found " in amiss[1] and "pandas" not in amiss[1]


def test_doctor_runs_where_the_others_cannot_be_imported(tmp_path):
    (tmp_path / "pandas.py").write_text("raise ImportError('not here')\n")
    (tmp_path / "numpy.py").write_text("raise ImportError('not here')\n")
    done = subprocess.run(
        [sys.executable, "-c", "import sys\nfrom importlib import metadata\nreal = metadata.version\n"
         "def version(name):\n    if name in ('numpy', 'pandas'): raise metadata.PackageNotFoundError(name)\n"
         "    return real(name)\nmetadata.version = version\n"
         "from explorer.__main__ import main\nsys.exit(main(['doctor']))"],
        capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "EXPLORER_HOME": str(tmp_path)})
    assert done.returncode == 1 and "Missing: numpy, pandas. Run: pip install -r requirements.txt" in done.stdout
    assert done.stderr == ""


def test_a_variable_that_means_nothing_is_named(tmp_path):
    done = explorer(tmp_path, "runs", "list", EXPLORER_MAX_EPOCH="2", EXPLORER_DATA_DIR=str(tmp_path / "gone"))
    assert done.returncode == 0
    first, second = done.stderr.splitlines()
    assert first == ("EXPLORER_MAX_EPOCH means nothing to the explorer and has no effect; EXPLORER_MAX_EPOCHS would "
                     "have one.")
    assert second.startswith("EXPLORER_DATA_DIR: expected a folder") and "gone" in second


@pytest.mark.parametrize(("command", "code"), [
    ("runs list", 2), ("runs export x.zip", 2), ("train --dataset digits --epochs 1", 2), ("warm --lesson capacity", 2),
    ("doctor", 1)])
def test_no_command_sets_a_damaged_store_aside(tmp_path, command, code):
    path = tmp_path / "runs.sqlite3"
    path.write_bytes(b"no database" * 1_000)
    done = explorer(tmp_path, *command.split())
    assert done.returncode == code and "Traceback" not in done.stderr
    assert (f"The store of runs is damaged: {path}. It was left as it is. Start the explorer's server anew, which "
            "keeps this file under another name and begins a new store.") in done.stderr + done.stdout
    assert path.read_bytes() == b"no database" * 1_000 and list(tmp_path.glob("*-damaged-*")) == []
