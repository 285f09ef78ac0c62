"""Runs trained as one stack equal the same runs alone: curves, states, stops, ends."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from explorer import data
from explorer.config import stacking
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.engine import scheduler
from explorer.training import graph_loop, train_stacked
from explorer.training.train import State, train

SMALL = RunConfig(num_words=1_000, train_samples=2_000)
MEMBERS = {
    "penalties": [replace(SMALL, l2=l2, l1=l1, regularize_output=out) for l1, l2, out in
                  ((0, 0, False), (0, 1e-3, False), (1e-4, 0, True), (1e-5, 1e-2, True))],
    "dropout": [replace(SMALL, dropout=rate, optimizer="adam") for rate in (0.0, 0.2, 0.5)],
    "batch norm": [replace(SMALL, batch_norm=True, dropout=rate, l2=1e-4) for rate in (0.0, 0.3)],
    "momentum": [replace(SMALL, optimizer="momentum", hidden=(40,), l2=l2) for l2 in (0.0, 0.01)],
    "adamw": [replace(SMALL, optimizer="adamw", activation="tanh", hidden=(8, 8, 8), dropout=rate)
              for rate in (0.0, 0.1)],
    "few words": [replace(SMALL, num_words=100, dropout=rate) for rate in (0.0, 0.5)],
    "digits": [RunConfig(dataset="digits", hidden=(32, 16), batch_size=100, dropout=rate, l2=1e-4)
               for rate in (0.0, 0.2)],
}
COLUMNS = ("loss", "accuracy", "train_crossentropy", "train_accuracy", "val_loss", "val_crossentropy", "val_accuracy",
           "penalty", "weights")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"))


class Watched:
    """A member with everything it was told."""

    def __init__(self, config: RunConfig, demand: Demand, stop_after: int | None = None):
        self.epochs: list[dict] = []
        self.scores: list[dict] = []
        self.ends: list[str] = []
        self.states: list[State] = []
        self.member = train_stacked.StackedRun(
            config, lambda: [demand], self.emit, lambda: stop_after is not None and len(self.epochs) >= stop_after,
            self.states.append, lambda outcome: self.ends.append((outcome.reason, outcome.state.epoch)))

    def emit(self, kind: str, values: dict) -> None:
        if kind in ("epoch", "score"):
            (self.epochs if kind == "epoch" else self.scores).append(values)

    def curve(self) -> np.ndarray:
        return np.array([[row[name] for name in COLUMNS] for row in self.epochs])


def alone(config: RunConfig, settings: Settings, demand: Demand) -> Watched:
    watched = Watched(config, demand)
    train(config, data.load(config, settings), lambda: [demand], watched.emit, lambda: False, watched.states.append,
          way=graph_loop.TrainingSession)
    return watched


def stacked(configs: list[RunConfig], settings: Settings, demands: list[Demand], **stops: int) -> list[Watched]:
    assert len({stacking.key(config) for config in configs}) == 1
    watched = [Watched(config, demand, stops.get(f"m{i}")) for i, (config, demand) in enumerate(
        zip(configs, demands, strict=True))]
    train_stacked.train([one.member for one in watched], data.load(configs[0], settings))
    return watched


@pytest.mark.parametrize("name", MEMBERS)
def test_whole_curves_and_states_equal_those_alone_in_double_precision(name, settings, doubles):
    demands = [Demand(3)] * len(MEMBERS[name])
    for one, config in zip(stacked(MEMBERS[name], settings, demands), MEMBERS[name], strict=True):
        reference = alone(config, settings, Demand(3))
        assert np.abs(one.curve() - reference.curve()).max() < 1e-9
        assert one.scores[0] == pytest.approx(reference.scores[0], abs=1e-9)
        for mine, theirs in zip(one.states[-1].arrays, reference.states[-1].arrays, strict=True):
            assert mine.shape == theirs.shape and np.abs(mine.astype(float) - theirs.astype(float)).max() < 1e-9


@pytest.mark.parametrize("name", ["penalties", "dropout"])
def test_small_networks_agree_with_those_alone_in_single_precision(name, settings):
    demands = [Demand(5)] * len(MEMBERS[name])
    for one, config in zip(stacked(MEMBERS[name], settings, demands), MEMBERS[name], strict=True):
        prepared = data.load(config, settings)
        apart = dict(zip(COLUMNS, np.abs(one.curve() - alone(config, settings, Demand(5)).curve()).max(0), strict=True))
        for column, difference in apart.items():
            if column.endswith("accuracy"):
                # Rounding decides on which side a row falls that lies on the boundary.
                difference *= len(prepared.validation if column.startswith("val") else prepared.train)
                assert difference < 1.5, column
            else:
                assert difference < 1e-5, column


def test_a_member_goes_on_alone_from_its_state(settings):
    [_, one] = stacked(MEMBERS["batch norm"], settings, [Demand(2)] * 2)
    config, rest = MEMBERS["batch norm"][1], Watched(MEMBERS["batch norm"][1], Demand(4))
    train(config, data.load(config, settings), lambda: [Demand(4)], rest.emit, lambda: False, resume=one.states[-1],
          known=[row["val_crossentropy"] for row in one.epochs])
    reference = alone(config, settings, Demand(4))
    assert np.abs(rest.curve() - reference.curve()[2:]).max() < 1e-4


def test_stopping_one_member_leaves_the_others_alone(settings):
    configs = MEMBERS["penalties"][:3]
    first, second, third = stacked(configs, settings, [Demand(4), Demand(4), Demand(2)], m1=1)
    assert first.ends == [("finished", 4)] and len(first.epochs) == 4 and len(first.scores) == 1
    assert second.ends == [("stopped", 1)] and len(second.epochs) == 1 and second.scores == []
    assert third.ends == [("finished", 2)] and third.scores[0]["epoch"] == 2
    assert np.abs(first.curve() - alone(configs[0], settings, Demand(4)).curve()).max() < 1e-5


def test_early_stopping_ends_each_member_by_its_own_curve(settings):
    configs = [replace(SMALL, l2=l2, learning_rate=0.02) for l2 in (0.0, 0.3)]
    watched = stacked(configs, settings, [Demand(30, patience=2)] * 2)
    reference = [alone(config, settings, Demand(30, patience=2)) for config in configs]
    assert [len(one.epochs) for one in watched] == [len(one.epochs) for one in reference]
    assert len(watched[0].epochs) < 30


def test_a_member_that_diverges_does_not_take_the_others_along(settings):
    # An enormous penalty with plain SGD throws its own weights out, and nobody else's.
    configs = [replace(SMALL, optimizer="sgd", learning_rate=1.0, l2=l2) for l2 in (0.0, 1.0)]
    configs = [replace(config, learning_rate=3.0) for config in configs]
    calm, wild = stacked(configs, settings, [Demand(3)] * 2)
    assert wild.ends[0][0] == "diverged" and calm.ends == [("finished", 3)]
    assert np.isfinite(calm.curve()).all()


@pytest.mark.parametrize("change", [{"seed": 1}, {"hidden": (8,)}, {"optimizer": "adam"}, {"batch_size": 64},
                                    {"train_samples": 1_000}, {"label_noise": 0.1}, {"learning_rate": 0.01}])
def test_what_does_not_share_data_and_shapes_is_not_stacked(change):
    assert stacking.key(SMALL.with_(**change)) != stacking.key(SMALL)


def test_wide_networks_are_trained_alone():
    assert stacking.key(SMALL.with_(hidden=(512, 16))) is None
    assert stacking.key(SMALL.with_(l2=0.1, dropout=0.5)) == stacking.key(SMALL)


def test_a_grid_is_divided_evenly_among_the_places_that_are_free():
    def sizes(runs: int, places: int) -> list[int]:
        given = list(range(runs))
        found = scheduler.shares(given, places)
        assert [run for share in found for run in share] == given
        return [len(share) for share in found]

    assert sizes(8, 2) == [4, 4] and sizes(9, 2) == [4, 5] and sizes(8, 1) == [8]
    assert sizes(1, 2) == [1] and sizes(3, 2) == [3], "too few to be divided"
    assert max(sizes(64, 2)) <= stacking.MAX_MEMBERS
