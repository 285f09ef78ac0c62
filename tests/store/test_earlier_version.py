"""What the explorer of commit 534325c has left behind: a store with checkpoints, an export, addresses; all still good.

`fixtures/made_by_534325c.zip` was made by that commit's own command line: six short runs on the embedded data, among
them one with L2, one that early stopping ended, one that was stopped, one whose process was killed; the export of all
of them; and twenty addresses with the settings that they were read to.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qsl

import pytest

from explorer import data
from explorer.config import run_config as config_module
from explorer.config import url_params
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.engine.engine import Engine
from explorer.engine.run_view import DONE, look
from explorer.store import archive as run_archive
from explorer.store import checkpoints
from explorer.store.store import RunStore
from tests.engine.test_engine import ended

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "made_by_534325c.zip"
# What each run was asked for with, and how far it came.
L2 = RunConfig(dataset="digits", hidden=(12, 12), l2=0.001, regularize_output=True, optimizer="adam",
               learning_rate=0.003)
STOPPED_EARLY = RunConfig(dataset="digits", hidden=(24,), optimizer="momentum", learning_rate=0.3, validation="test")
EVERYTHING = RunConfig(
    dataset="reviews", num_words=60, train_samples=300, hidden=(8, 4), batch_norm=True, dropout=0.25, label_noise=0.1,
    optimizer="adamw", activation="gelu", initializer="he_normal", l1=0.0001, validation=0.3, batch_size=64, seed=7)
STOPPED = RunConfig(dataset="digits", hidden=(16, 8), optimizer="sgd", learning_rate=0.05, batch_size=32,
                    train_samples=800, validation=0.25)
KILLED = RunConfig(dataset="digits", hidden=(10,), optimizer="adam", batch_size=16, seed=3)
FINISHED = [(RunConfig(dataset="digits", hidden=(16,)), Demand(4), 4), (L2, Demand(5), 5),
            (STOPPED_EARLY, Demand(40, patience=2), 35), (EVERYTHING, Demand(3), 3)]
UNFINISHED = [(STOPPED, 7), (KILLED, 12)]


@pytest.fixture
def earlier(tmp_path, monkeypatch) -> SimpleNamespace:
    """The folder as it was left, on a machine with the libraries of that day."""
    with zipfile.ZipFile(FIXTURE) as archive:
        archive.extractall(tmp_path)
        said = json.loads(archive.read("addresses.json"))
    for module in (config_module, run_archive):
        monkeypatch.setattr(module, "library_versions", lambda: said["versions"])
    monkeypatch.setattr(config_module, "TRAINING_VERSION", said["training"])
    return SimpleNamespace(settings=Settings(home=tmp_path / "home", runs_at_once=1), archive=tmp_path / "runs.zip",
                           addresses=said["addresses"])


def _run_id(config: RunConfig, settings: Settings) -> str:
    return config.run_id(data.version(config.dataset, settings))


def test_every_run_is_found_as_known_and_nothing_is_set_aside(earlier):
    store = RunStore(earlier.settings.store_path, may_set_aside=True)
    assert store.set_aside is None and len(store.run_ids()) == len(FINISHED) + len(UNFINISHED)
    for config, demand, epochs in FINISHED:
        view = look(*store.snapshot(_run_id(config, earlier.settings)), demand)
        assert (view.state, len(view.epochs)) == (DONE, epochs) and view.run.config == config and view.score
    for config, epochs in UNFINISHED:
        view = look(*store.snapshot(_run_id(config, earlier.settings)), Demand(500))
        assert view.state in ("stopped", "interrupted") and view.reached == epochs
    assert [run_archive.unseen(carried, earlier.settings) for carried in run_archive.runs_of(store)] == [""] * 6


def test_what_was_not_finished_goes_on_from_its_checkpoint(earlier):
    engine = Engine(earlier.settings)
    try:
        for config, epochs in UNFINISHED:
            run_id, demand = _run_id(config, earlier.settings), Demand(epochs + 2)
            before = engine.store.epochs(run_id)
            kept = checkpoints.epoch_of(earlier.settings.checkpoints, run_id)
            assert 0 < kept <= epochs == len(before)
            assert engine.submit(config, demand) == run_id
            view = ended(engine, run_id, demand)
            assert view.state == DONE and len(view.epochs) == epochs + 2
            # An epoch that is trained again takes its own time: these, seconds and all, are those of that day.
            assert view.epochs[:kept] == before[:kept]
    finally:
        engine.close()


def test_its_export_is_taken_over_as_a_whole_and_seen_by_the_page(earlier, tmp_path):
    there = Settings(home=tmp_path / "elsewhere")
    store = RunStore(there.store_path)
    found = run_archive.read(earlier.archive, store, there)
    assert len(found.taken) == found.with_checkpoints == 6 and found.refused == found.unseen == ()
    assert set(found.taken) == {_run_id(config, there) for config, *_ in (*FINISHED, *UNFINISHED)}
    # And what is written of it today says the same.
    assert run_archive.write(tmp_path / "again.zip", store, there) == (6, 6, [])
    with zipfile.ZipFile(earlier.archive) as before, zipfile.ZipFile(tmp_path / "again.zip") as after:
        for run_id in found.taken:
            one, other = (json.loads(archive.read(f"runs/{run_id}.json")) for archive in (before, after))
            assert {**one, "message": ""} == other  # what was said on another machine stays there


def test_its_addresses_lead_to_the_very_same_runs(earlier):
    assert len(earlier.addresses) == 20
    for one in earlier.addresses:
        parsed = url_params.parse(dict(parse_qsl(one["address"])))
        assert parsed.errors == [] and parsed.demand == Demand(**one["demand"])
        assert parsed.config.canonical_json() == one["config"] and parsed.config.run_id(one["data"]) == one["run_id"]
        assert url_params.query(parsed.config, parsed.demand) == dict(parse_qsl(one["address"]))
