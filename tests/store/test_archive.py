"""Runs carried in one file: the same on both sides, and nothing of a hostile file gets in."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from explorer import data
from explorer.__main__ import main
from explorer.config.run_config import TRAINING_VERSION, Demand, RunConfig, identity, library_versions
from explorer.config.settings import Settings
from explorer.store import archive as run_archive
from explorer.store import archive_checks, checkpoints
from explorer.store.store import DIVERGED, FINISHED, STOPPED, RunStore

CONFIG = RunConfig(dataset="digits", hidden=(4,), optimizer="sgd")
NUMBERS = ("loss", "accuracy", "train_crossentropy", "train_accuracy", "val_loss", "val_crossentropy", "val_accuracy",
           "penalty", "weights", "zeros", "seconds")


def row(number: int, **changes: object) -> dict:
    return {"epoch": number, **dict.fromkeys(NUMBERS, 0.5 / number), **changes}


def store_of(settings: Settings) -> RunStore:
    return RunStore(settings.store_place)


def keep(settings: Settings, config: RunConfig = CONFIG, epochs: int = 3, status: str = FINISHED,
         versions: dict | None = None, **changes: object) -> str:
    """A run as a child leaves it, with a checkpoint."""
    versions = versions or library_versions()
    run_id = identity(json.loads(config.canonical_json()), data.version(config.dataset, settings), TRAINING_VERSION,
                      versions)
    store = store_of(settings)
    store.request(run_id, config, Demand(epochs), versions)
    attempt = store.claim("owner", [run_id]).attempt
    store.write_device(run_id, attempt, "AMD EPYC, 2 threads", 2)
    for number in range(1, epochs + 1):
        store.write_epoch(run_id, attempt, row(number, **changes))
    score = {"epoch": epochs, "test_crossentropy": 0.25, "test_accuracy": 0.9}
    store.end(run_id, attempt, status, peak_mb=700, score=score if status == FINISHED else None)
    widths = (config.inputs, *config.hidden, config.outputs)
    arrays = [array for one, two in zip(widths, widths[1:])
              for array in (np.ones((one, two), np.float32), np.zeros(two, np.float32))]
    checkpoints.save(settings.checkpoints, run_id, epochs, [*arrays, np.array(7)])
    return run_id


@pytest.fixture
def there(tmp_path: Path, no_keras_home: Path) -> Settings:
    return Settings(home=tmp_path / "there")


@pytest.fixture
def either(there: Settings, place: Path | str) -> Settings:
    """As `there`; once with a file as its store, once with a database."""
    return replace(there, store=place) if isinstance(place, str) else there


@pytest.fixture
def file(settings: Settings, no_keras_home: Path, tmp_path: Path) -> Path:
    """A sound file with one run."""
    keep(settings)
    run_archive.write(tmp_path / "runs.zip", store_of(settings), settings)
    return tmp_path / "runs.zip"


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in content.items():
            archive.writestr(name, text)
    return path


def changed(path: Path, **changes: object) -> Path:
    """The file with some values of its run changed."""
    content = members(path)
    [name] = [name for name in content if name.startswith("runs/")]
    content[name] = json.dumps(json.loads(content[name]) | changes).encode()
    return rewritten(path, content)


def tree(settings: Settings) -> set[Path]:
    return {path for path in settings.home.rglob("*") if path.suffix not in (".lock", ".sqlite3")}


# -- there and back --------------------------------------------------------------------------------------------


def test_every_run_arrives_with_all_that_is_known_of_it(settings: Settings, either: Settings, tmp_path: Path, capsys):
    ids = [keep(settings), keep(settings, CONFIG.with_(l2=0.01), 5, STOPPED),
           keep(settings, CONFIG.with_(learning_rate=9.0), 2, DIVERGED, loss=float("nan"))]
    path = tmp_path / "runs.zip"
    assert run_archive.write(path, store_of(settings), settings) == (3, 3, [])
    found = run_archive.read(path, store_of(either), either)
    assert set(found.taken) == set(ids) and found.with_checkpoints == 3 and not found.refused and not found.unseen
    for run_id in ids:
        before, after = store_of(settings).carried(run_id), store_of(either).carried(run_id)
        assert replace(before, message="") == replace(after, message="")
        assert (after.message != "") == (after.status == DIVERGED)
        one, two = checkpoints.load(settings.checkpoints, run_id), checkpoints.load(either.checkpoints, run_id)
        assert one[0] == two[0] and all(np.array_equal(a, b) for a, b in zip(one[1], two[1], strict=True))
    again = run_archive.read(path, store_of(either), either)
    assert not again.taken and set(again.kept) == set(ids)


def test_without_checkpoints_the_curves_go_alone(settings: Settings, either: Settings, tmp_path: Path):
    run_id = keep(settings)
    assert run_archive.write(tmp_path / "f", store_of(settings), settings, with_checkpoints=False) == (1, 0, [])
    assert run_archive.read(tmp_path / "f", store_of(either), either).with_checkpoints == 0
    assert len(store_of(either).epochs(run_id)) == 3 and not either.checkpoints.exists()


def test_a_longer_run_stays_and_a_shorter_one_grows(settings: Settings, either: Settings, tmp_path: Path):
    run_id = keep(settings, epochs=3)
    run_archive.write(tmp_path / "short", store_of(settings), settings)
    keep(either, epochs=6)
    assert run_archive.read(tmp_path / "short", store_of(either), either).kept == (run_id,)
    assert len(store_of(either).epochs(run_id)) == 6
    run_archive.write(tmp_path / "long", store_of(either), either)
    assert run_archive.read(tmp_path / "long", store_of(settings), settings).taken == (run_id,)
    assert len(store_of(settings).epochs(run_id)) == 6
    assert set(store_of(settings).scores(run_id)) == {3, 6}  # the same curve, so the earlier score is of it


def test_a_longer_run_that_went_another_way_brings_its_own_state_only(settings, either, tmp_path):
    run_id = keep(settings, epochs=6, loss=0.7)
    run_archive.write(tmp_path / "f", store_of(settings), settings, with_checkpoints=False)
    keep(either, epochs=3)
    run_archive.read(tmp_path / "f", store_of(either), either)
    assert set(store_of(either).scores(run_id)) == {6} and checkpoints.load(either.checkpoints, run_id) is None


def test_a_run_that_waits_here_is_left_alone(either: Settings, file: Path):
    run_id = CONFIG.run_id(data.version("digits", either))
    store_of(either).request(run_id, CONFIG, Demand(9), library_versions())
    assert run_archive.read(file, store_of(either), either).busy == (run_id,)
    assert store_of(either).run(run_id).status == "queued" and not store_of(either).epochs(run_id)


def test_runs_of_other_library_versions_arrive_and_are_said_to_be_unseen(
        settings, either, tmp_path, monkeypatch, capsys):
    run_id = keep(settings, versions={"tensorflow": "2.20.0", "keras": "3.10.0"})
    monkeypatch.setenv("EXPLORER_HOME", str(settings.home))
    path = str(tmp_path / "runs.zip")
    assert main(["runs", "export", path]) == 0 and main(["runs", "list"]) == 0
    listed = capsys.readouterr().out
    assert run_id in listed and "(!) 1 run: trained with keras 3.10.0, tensorflow 2.20.0; here is" in listed
    monkeypatch.setenv("EXPLORER_HOME", str(either.home))
    monkeypatch.setenv("EXPLORER_STORE", either.store)
    assert main(["runs", "import", path]) == 0
    said = capsys.readouterr().out
    assert "1 run taken over" in said and "the page on this machine does not find them" in said
    assert len(store_of(either).epochs(run_id)) == 3


# -- hostile files ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + 18 * b"\0", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_one_sentence_and_changes_nothing(there, tmp_path, monkeypatch, capsys, content):
    monkeypatch.setenv("EXPLORER_HOME", str(there.home))
    (tmp_path / "f").write_bytes(content)
    assert main(["runs", "import", str(tmp_path / "f")]) == 1
    [said] = capsys.readouterr().err.splitlines()
    assert said.endswith("Nothing has been changed.") and not store_of(there).run_ids()
    assert main(["runs", "import", str(tmp_path / "nowhere")]) == 1
    assert "No such file" in capsys.readouterr().err


def test_a_file_cut_anywhere_or_with_a_byte_changed_does_no_harm(file: Path, there: Settings):
    whole = file.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        for text in (whole[:place], whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1:]):
            file.write_bytes(text)
            try:
                run_archive.read(file, store_of(there), there)
            except run_archive.CorruptArchive:
                continue
    assert all(row == {**row, "loss": 0.5 / row["epoch"]} for run_id in store_of(there).run_ids()
               for row in store_of(there).epochs(run_id))


@pytest.mark.parametrize("name", [
    "../evil.json", "/etc/evil", "runs/../../evil.json", "runs/0123456789abcdef.json/../x", "runs\\evil.json",
    "checkpoints/../../0123456789abcdef.npz", "runs/0123456789ABCDEF.json", "payload.pkl"])
def test_a_name_that_is_no_part_of_such_a_file_is_refused_and_nothing_is_written(file, there, tmp_path, name):
    rewritten(file, members(file) | {name: b"evil"})
    before = {path for path in tmp_path.rglob("*") if there.home not in path.parents}
    with pytest.raises(run_archive.CorruptArchive, match="no part of such a file"):
        run_archive.read(file, store_of(there), there)
    assert not store_of(there).run_ids()
    assert {path for path in tmp_path.rglob("*") if there.home not in path.parents} - before <= {there.home}


def test_more_than_such_a_file_may_hold_is_refused_before_it_is_unpacked(file, there, monkeypatch):
    monkeypatch.setattr(archive_checks, "MAX_RUN", 100)
    found = run_archive.read(file, store_of(there), there)
    assert "would unpack to" in found.refused[0][1] and not store_of(there).run_ids()
    monkeypatch.setattr(run_archive, "MAX_TEXT", 100)
    with pytest.raises(run_archive.CorruptArchive, match="would unpack"):
        run_archive.read(file, store_of(there), there)
    monkeypatch.setattr(run_archive, "MAX_RUNS", 0)
    with pytest.raises(run_archive.CorruptArchive, match="more than 0 runs"):
        run_archive.read(file, store_of(there), there)
    monkeypatch.setattr(run_archive, "MAX_FILE", 10)
    with pytest.raises(run_archive.CorruptArchive, match="larger than"):
        run_archive.read(file, store_of(there), there)


@pytest.mark.parametrize(("changes", "why"), [
    ({"config": {**json.loads(CONFIG.canonical_json()), "l2": 0.5}}, "identity"),
    ({"config": {**json.loads(CONFIG.canonical_json()), "dropout": 7}}, "dropout"),
    ({"config": {**json.loads(CONFIG.canonical_json()), "hidden": [10**9]}}, "hidden"),
    ({"config": {**json.loads(CONFIG.canonical_json()), "batch_size": "512"}}, "canonical"),
    ({"config": {**json.loads(CONFIG.canonical_json()), "__class__": "os.system"}}, "config"),
    ({"config": []}, "config"), ({"run_id": "0" * 16}, "identity"), ({"run_id": 5}, "identity"),
    ({"training": TRAINING_VERSION + 1}, "newer"), ({"training": True}, "training"), ({"data": "../x"}, "data"),
    ({"versions": {"tensorflow": "9", "keras": "9"}}, "identity"), ({"versions": {"keras": "3"}}, "versions"),
    ({"epochs": []}, "epochs"), ({"epochs": "many"}, "epochs"), ({"epochs": [row(2)]}, "epochs"),
    ({"epochs": [row(1, loss="<script>")]}, "loss"), ({"epochs": [row(1, loss=True)]}, "loss"),
    ({"epochs": [row(1, val_accuracy=1.5)]}, "val_accuracy"), ({"epochs": [row(1, seconds=None)]}, "seconds"),
    ({"epochs": [row(1, loss=float("nan"))]}, "NaN"), ({"epochs": [row(1, loss=float("inf"))]}, "Infinity"),
    ({"epochs": [row(1, loss=10**400)]}, "loss"), ({"epochs": [row(1, more=1)]}, "epoch 1"),
    ({"epochs": [{"epoch": 1}]}, "epoch 1"), ({"scores": [{"epoch": 9}]}, "scores"),
    ({"scores": [{"epoch": 9, "test_crossentropy": 1, "test_accuracy": 1}]}, "epoch"),
    ({"status": "running"}, "status"), ({"status": ["finished"]}, "status"), ({"device": 3}, "device"),
    ({"device": 300 * "x"}, "device"), ({"threads": -1}, "threads"), ({"seconds": -1}, "seconds"),
    ({"created_at": "now"}, "created_at"), ({"peak_mb": None}, "peak_mb")])
def test_a_value_that_is_not_sound_refuses_its_run(file: Path, there: Settings, changes: dict, why: str):
    found = run_archive.read(changed(file, **changes), store_of(there), there)
    [(_, reason)] = found.refused
    assert why in reason and not found.taken and not store_of(there).run_ids() and not there.checkpoints.exists()


def test_texts_of_the_file_bring_no_markup_to_the_page(file: Path, there: Settings):
    [run_id] = run_archive.read(changed(file, device="![x](http://evil/p.png)<b>`GPU`", message="[here](http://evil)"),
                                store_of(there), there).taken
    run = store_of(there).run(run_id)
    assert not set("![]<>`") & set(run.device) and "GPU" in run.device and run.message == ""


def test_deep_nesting_is_refused(file: Path, there: Settings):
    content = members(file)
    [name] = [name for name in content if name.startswith("runs/")]
    rewritten(file, content | {name: b"[" * 200_000})
    assert "no JSON" in run_archive.read(file, store_of(there), there).refused[0][1]


def hostile(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def about(**changes: object) -> np.ndarray:
    run_id = CONFIG.run_id(data.version("digits", Settings(home=Path("nowhere"))))
    return np.array(json.dumps({"run_id": run_id, "epoch": 3, "arrays": 1} | changes))


class _Evil:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


@pytest.mark.parametrize("state", [
    b"", b"no zip", pickle.dumps(_Evil()), hostile(about=np.array([_Evil()], object)),
    hostile(about=about(), v0000=np.array([_Evil()], object)), hostile(about=about(), v0000=np.array(["text"])),
    hostile(about=about(), v0000=np.zeros((3, 3))), hostile(about=about(epoch=99), v0000=np.zeros((64, 4))),
    hostile(about=about(arrays=10**9)), hostile(about=about(arrays="../x")), hostile(about=np.array("[]")),
    hostile(about=about(run_id="f" * 16), v0000=np.zeros((64, 4))),
    hostile(about=about(), v0000=np.zeros((4096, 4096)))])
def test_a_hostile_checkpoint_refuses_its_run_and_executes_nothing(file, there, tmp_path, monkeypatch, state):
    monkeypatch.chdir(tmp_path)
    content = members(file)
    [name] = [name for name in content if name.endswith(".npz")]
    found = run_archive.read(rewritten(file, content | {name: state}), store_of(there), there)
    assert "checkpoint" in found.refused[0][1] or "whole number" in found.refused[0][1]
    assert not found.taken and not store_of(there).run_ids() and not there.checkpoints.exists()
    assert not (tmp_path / "executed").exists()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8)


@profile(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(("config", "versions", "data", "training", "epochs", "scores", "status", "device",
                             "threads", "seconds", "created_at", "peak_mb", "run_id")), value=_JSON)
def test_whatever_stands_in_a_value_there_is_a_verdict(file, there, name, value):
    content = json.loads(next(text for member, text in members(file).items() if member.startswith("runs/")))
    try:
        archive_checks.run(content | {name: value}, content["run_id"])
    except archive_checks.InvalidRun:
        pass
