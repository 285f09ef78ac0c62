"""A setting that is added later: it changes no identity at its default, and lends its value to nobody's run."""

from __future__ import annotations

import ast
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import pytest

from explorer import data
from explorer.config import cost_model, stacking
from explorer.config import run_config as config_module
from explorer.config.fields import Number
from explorer.config.run_config import ALWAYS_IDENTIFYING, KINDS, Demand, RunConfig, identity, library_versions
from explorer.config.settings import Settings
from explorer.engine import eta, scheduler
from explorer.store.store import QUEUED, Run, RunStore
from explorer.training.graph_cache import GraphCache

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Later(RunConfig):
    """As a version to come has it: two settings more, the second with a default that hangs on the optimizer."""

    made_up: float = 0.0
    follows: float | None = None

    def __post_init__(self) -> None:
        _begin(self)


@dataclass(frozen=True)
class Reversed(RunConfig):
    """The same settings, declared the other way round."""

    follows: float | None = None
    made_up: float = 0.0

    def __post_init__(self) -> None:
        _begin(self)


def _begin(config: Later | Reversed) -> None:
    RunConfig.__post_init__(config)
    if config.follows is None:
        object.__setattr__(config, "follows", 0.9 if config.optimizer == "momentum" else 0.0)


CONFIG = {"dataset": "digits", "hidden": (8,), "l2": 0.001, "batch_size": 100}


@pytest.fixture(autouse=True)
def to_come(monkeypatch):
    """The explorer of that version."""
    monkeypatch.setitem(KINDS, "made_up", Number(0, 1))
    monkeypatch.setitem(KINDS, "follows", Number(0, 1, empty="default"))
    monkeypatch.setattr(config_module, "RunConfig", Later)


# -- identity -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["rmsprop", "momentum"])
def test_at_its_default_it_changes_no_identity(optimizer):
    before = RunConfig(**CONFIG, optimizer=optimizer)
    after = Later(**CONFIG, optimizer=optimizer)
    assert after.run_id("d") == before.run_id("d") and after.canonical_json() == before.canonical_json()
    given = Later(**CONFIG, optimizer=optimizer, made_up=0, follows=after.follows)
    assert given == after and given.run_id("d") == before.run_id("d")


def test_each_other_value_is_a_run_of_its_own():
    configs = [Later(**CONFIG), Later(**CONFIG, made_up=0.5), Later(**CONFIG, made_up=0.25),
               Later(**CONFIG, follows=0.5), Later(**CONFIG, made_up=0.5, follows=0.5),
               Later(**CONFIG, optimizer="momentum"), Later(**CONFIG, optimizer="momentum", follows=0.0)]
    assert len({config.run_id("d") for config in configs}) == len(configs)
    for config in configs:
        again = Later.from_json(config.canonical_json())
        assert again == config and again.run_id("d") == config.run_id("d")


def test_the_order_in_which_settings_are_declared_does_not_matter():
    assert [field.name for field in fields(Reversed)][-2:] == ["follows", "made_up"]
    for changes in ({}, {"made_up": 0.5}, {"follows": 0.5, "made_up": 0.25}, {"optimizer": "momentum"}):
        assert Reversed(**CONFIG, **changes).run_id("d") == Later(**CONFIG, **changes).run_id("d")


@pytest.mark.parametrize("changes", [{}, {"made_up": 0.5}, {"optimizer": "momentum", "follows": 0.5}])
def test_settings_from_elsewhere_have_the_same_identity_with_and_without_what_is_at_its_default(changes):
    config = Later(**CONFIG, **changes)
    whole, sparse = json.loads(json.dumps(asdict(config))), json.loads(config.canonical_json())
    assert set(whole) - set(sparse) == {"made_up", "follows"} - set(changes)
    for given in (whole, sparse):
        assert identity(given, "d", config_module.TRAINING_VERSION, library_versions()) == config.run_id("d")


def test_settings_that_this_version_does_not_know_keep_the_identity_they_came_with():
    versions = library_versions()
    newer = {**json.loads(RunConfig(**CONFIG).canonical_json()), "not_yet": 3}
    assert identity(newer, "d", 2, versions) != identity({**newer, "not_yet": 4}, "d", 2, versions)
    unreadable = {**newer, "optimizer": "lion"}
    assert identity(unreadable, "d", 2, versions) != identity(newer, "d", 2, versions)


def test_what_has_always_made_an_identity_goes_on_to_do_so():
    assert {field.name for field in fields(RunConfig)} >= ALWAYS_IDENTIFYING and len(ALWAYS_IDENTIFYING) == 18


def test_the_store_of_an_earlier_version_finds_the_run_again(place):
    store, config = RunStore(place), Later(**CONFIG)
    store.request(config.run_id("d"), config, Demand(3), library_versions())
    [run] = store.with_status(QUEUED)
    # Both read it, each with its own settings.
    assert run.config == RunConfig(**CONFIG) and run.config.run_id("d") == run.run_id
    assert Later.from_json(store.carried(run.run_id).config) == config


def test_an_earlier_version_leaves_a_run_alone_that_sets_what_it_does_not_know(place):
    store, known, unknown = RunStore(place), Later(**CONFIG), Later(**CONFIG, made_up=0.5)
    for config in (unknown, known, unknown.with_(seed=1)):
        store.request(config.run_id("d"), config, Demand(3), library_versions())
    first = store.claim("earlier")
    assert first.run_id == known.run_id("d")
    assert store.claim("earlier") is None and store.claim_alike("earlier", first, lambda run: True, 9) == []
    assert {run.run_id for run in store.with_status(QUEUED)} == {
        config.run_id("d") for config in (unknown, unknown.with_(seed=1))}


# -- what runs share ----------------------------------------------------------------------------------------------

SHARED = {
    "a graph": lambda config: cost_model.shape(config, 1_000, "cpu"),
    "a process that has the graph": lambda config: stacking.graph([config], "cpu"),
    "the rows": lambda config: config.key(without=data.NOT_IN_DATA),
    "a data set": lambda config: config.key(without=data.NOT_IN_A_CUT),
    "a pace": eta.shape,
}


@pytest.fixture
def both():
    return Later(**CONFIG), Later(**CONFIG, made_up=0.5)


@pytest.mark.parametrize("what", SHARED)
def test_nothing_is_shared_across_the_values_of_a_setting_that_nobody_has_thought_of(both, what):
    same, other = both
    assert SHARED[what](same) == SHARED[what](Later(**CONFIG))
    assert SHARED[what](same) != SHARED[what](other)


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"))


def test_a_graph_of_one_value_is_not_handed_out_for_another(both, settings):
    same, other = both
    courses, library = GraphCache(), data.Library(settings)
    rows = library.load(same)
    made = courses(same, rows)
    assert courses(other, rows) is not made and courses(same.with_(seed=3, l2=0.1), rows) is made


def test_rows_of_one_value_are_not_handed_out_for_another(both, settings):
    same, other = both
    library = data.Library(settings)
    rows = library.load(same)
    cut = library._cut
    assert library.load(same.with_(hidden=(9,), seed=5, learning_rate=0.1)) is rows
    assert library.load(other) is not rows and library._cut is not cut


def _run(config: RunConfig, attempt: int) -> Run:
    return Run("r", config, 0.0, QUEUED, "", (Demand(5),), 1, "", attempt, False, "", 0, "", {}, 0.0, 0.0)


def test_no_stack_trains_what_it_does_not_know(both):
    same, other = both
    assert stacking.key(same) == stacking.key(same.with_(l2=0.5)) is not None
    assert scheduler.alike(_run(same, 1), _run(same.with_(dropout=0.5), 0))
    # Not beside other values, and not beside the same one either: the stack would train it as if it were not set.
    assert stacking.key(other) is None
    assert not scheduler.alike(_run(same, 1), _run(other, 0)) and not scheduler.alike(_run(other, 1), _run(other, 0))


def test_every_exception_is_a_setting():
    known = {field.name for field in fields(RunConfig)}
    for names in (cost_model.NOT_IN_A_GRAPH, eta.NOT_IN_A_PACE, data.NOT_IN_DATA, data.NOT_IN_A_CUT,
                  tuple(stacking.OWN), tuple(stacking.UNDERSTOOD)):
        assert set(names) <= known and len(set(names)) == len(names)
    with pytest.raises(ValueError, match="hiden: no fields of RunConfig"):
        RunConfig().key(without=("seed", "hiden"))


def test_a_demand_that_differs_in_more_than_epochs_is_not_covered(place):
    store = RunStore(place)
    for demand in (Demand(5), Demand(9), Demand(3, patience=2), Demand(3, device="cpu")):
        store.request("r", RunConfig(**CONFIG), demand, {})
    assert set(store.run("r").demands) == {Demand(9), Demand(3, patience=2), Demand(3, device="cpu")}


def test_no_key_is_written_by_hand():
    """Three settings side by side in a tuple are somebody's list of what matters, which the next setting is not on."""
    known = {field.name for field in fields(RunConfig)}
    found = []
    for path in sorted((ROOT / "explorer").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Tuple):
                named = [one.attr for one in node.elts if isinstance(one, ast.Attribute) and one.attr in known
                         and "config" in ast.unparse(one.value)]
                found += [f"{path.name}:{node.lineno}"] if len(named) >= 3 else []
    assert found == []
