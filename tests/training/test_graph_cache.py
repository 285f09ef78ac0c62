"""Traced graphs that are used again: the next run is, to the last bit, what it would have been in a new process."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from explorer import data
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.training import graph_loop, train_stacked
from explorer.training.graph_cache import GraphCache, warm_up
from explorer.training.stacked import StackedSession
from explorer.training.train import train

WORDS = RunConfig(num_words=1_000, train_samples=2_000, l2=1e-3, dropout=0.3, batch_norm=True, optimizer="adam")
# What a graph does not have built in, and one run after another may change.
CHANGES = [
    {"l2": 1e-2}, {"seed": 7}, {"learning_rate": 0.01}, {"label_noise": 0.2}, {"train_samples": 1_990},
    {"validation": "test"}, {"seed": 7, "l2": 0.1, "learning_rate": 0.003}]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"))


def curve(config: RunConfig, settings: Settings, way, epochs: int = 3, stop_after: int | None = None) -> list[dict]:
    """The stored epochs less their seconds, and the test score."""
    told: list[dict] = []

    def emit(kind: str, values: dict) -> None:
        if kind in ("epoch", "score"):
            told.append({name: value for name, value in values.items() if name != "seconds"})

    train(config, data.load(config, settings), lambda: [Demand(epochs)], emit,
          lambda: stop_after is not None and len(told) >= stop_after, way=way)
    return told


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: "-".join(change))
def test_a_graph_used_again_gives_the_very_numbers_of_a_new_one(settings, change, monkeypatch):
    again = RunConfig(**{**{name: getattr(WORDS, name) for name in WORDS.__dataclass_fields__}, **change})
    reference = curve(again, settings, graph_loop.TrainingSession)
    courses = GraphCache()
    curve(WORDS, settings, courses, stop_after=2)  # left in the middle of an epoch, as Stop does
    # Nothing is traced anew: a step that were would ask for the batch in Python again.
    monkeypatch.setattr(graph_loop.Looped, "batch", lambda *_: pytest.fail("traced again"))
    assert curve(again, settings, courses) == reference


@pytest.mark.parametrize("change", [{"dropout": 0.2}, {"hidden": (8, 8)}, {"l1": 1e-4}, {"optimizer": "rmsprop"},
                                    {"batch_size": 100}, {"activation": "tanh"}, {"batch_norm": False}])
def test_what_a_graph_has_built_in_makes_another(settings, change):
    other = RunConfig(**{**{name: getattr(WORDS, name) for name in WORDS.__dataclass_fields__}, **change})
    courses = GraphCache()
    curve(WORDS, settings, courses, epochs=1)
    assert curve(other, settings, courses, epochs=2) == curve(other, settings, graph_loop.TrainingSession, epochs=2)


def test_pixels_are_used_again_too(settings):
    config = RunConfig(dataset="digits", hidden=(16,), batch_size=100)
    courses = GraphCache()
    curve(config, settings, courses)
    other = RunConfig(dataset="digits", hidden=(16,), batch_size=100, seed=4)
    assert curve(other, settings, courses) == curve(other, settings, graph_loop.TrainingSession)


def test_only_the_latest_graphs_are_kept(settings):
    courses = GraphCache(most=2)
    made = [courses(RunConfig(dataset="digits", hidden=(units,)), data.load(RunConfig(dataset="digits"), settings))
            for units in (4, 5, 4, 6, 4, 5)]
    assert made[0] is made[2] is made[4] and made[5] is not made[1]


def test_a_network_that_is_saved_after_it_was_used_again_has_its_own_settings(settings, tmp_path: Path):
    courses = GraphCache()
    curve(WORDS, settings, courses)
    again = RunConfig(**{**{name: getattr(WORDS, name) for name in WORDS.__dataclass_fields__}, "l2": 0.05, "seed": 3})
    prepared = data.load(again, settings)
    course = courses(again, prepared)
    course.model.fit(course.dataset(), epochs=1, verbose=0, shuffle=False)
    course.network.save(tmp_path / "model.keras")
    opened = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert opened.layers[0].kernel_regularizer.l2 == pytest.approx(0.05)
    assert np.allclose([float(loss) for loss in opened.losses], [float(loss) for loss in course.network.losses])


def test_warming_up_leaves_no_trace_in_the_numbers(settings):
    config = RunConfig(num_words=500, train_samples=1_000, dropout=0.5, seed=2)
    cold = curve(config, settings, graph_loop.TrainingSession)
    warm_up()
    tf.random.normal((3,))
    assert curve(config, settings, graph_loop.TrainingSession) == cold


def test_data_are_not_copied_in_every_step_of_a_later_run(settings):
    courses = GraphCache()
    for seed in (0, 1):
        config = RunConfig(dataset="digits", seed=seed)
        course = courses(config, data.load(config, settings))
        reads = [np.asarray(memoryview(course.model._held[1].read_value())) for _ in range(2)]
        assert np.shares_memory(*reads)


@pytest.mark.parametrize("change", [{"seed": 7}, {"train_samples": 1_990}, {"learning_rate": 0.01}],
                         ids=lambda change: "-".join(change))
def test_a_stack_used_again_gives_the_very_numbers_of_a_new_one(settings, change, monkeypatch):
    def curves(members: list[RunConfig], way) -> list[list[dict]]:
        told: list[list[dict]] = [[] for _ in members]

        def teller(rows: list[dict]):
            return lambda kind, values: rows.append(
                {name: value for name, value in values.items() if name != "seconds"}) if kind == "epoch" else None

        stacked = [train_stacked.StackedRun(config, lambda: [Demand(3)], teller(rows), lambda: False,
                                            lambda state: None, lambda outcome: None)
                   for config, rows in zip(members, told, strict=True)]
        train_stacked.train(stacked, data.load(members[0], settings), way=way)
        return told

    members = [WORDS.with_(l2=l2, dropout=dropout) for l2, dropout in ((1e-3, 0.3), (1e-2, 0.0))]
    others = [config.with_(l2=config.l2 / 3, **change) for config in members]
    reference = curves(others, StackedSession)
    courses = GraphCache()
    curves(members, courses.stack)
    monkeypatch.setattr(graph_loop.Looped, "batch", lambda *_: pytest.fail("traced again"))
    assert curves(others, courses.stack) == reference
