"""The sources' experiments and the embedded data, trained for real."""

from __future__ import annotations

from pathlib import Path

import pytest

from explorer import data, diagnosis, history
from explorer.config import Demand, RunConfig
from explorer.settings import Settings
from explorer.training import train

# TensorFlow Tutorial 7 (mazdah.github.io): the published history of its baseline.
PUBLISHED_BEST, PUBLISHED_BEST_EPOCH, PUBLISHED_LAST = 0.3285, 4, 0.3706


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def curve(config: RunConfig, settings: Settings, epochs: int):
    rows: list[dict] = []
    train(config, data.load(config, settings), lambda: [Demand(epochs)],
          lambda kind, values: rows.append(values) if kind == "epoch" else None, lambda: False)
    return history.table(rows)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_baseline_of_tutorial_7_comes_out_as_published(home, real_data, seed):
    config = RunConfig(dataset="imdb", num_words=1_000, optimizer="adam", validation="test", seed=seed)
    found = diagnosis.diagnose(curve(config, Settings(home=home, data_dir=real_data), 20))
    assert found.best_crossentropy == pytest.approx(PUBLISHED_BEST, abs=0.02)
    assert abs(found.best_epoch - PUBLISHED_BEST_EPOCH) <= 2
    assert found.phase == diagnosis.OVERFITTING


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
@pytest.mark.parametrize("validation", [0.2, "test"])
def test_the_generated_reviews_are_overfitted_as_imdb_is(home, optimizer, validation):
    config = RunConfig(dataset="reviews", optimizer=optimizer, validation=validation)
    curves = curve(config, Settings(home=home), 20)
    found = diagnosis.diagnose(curves)
    assert 0.86 <= curves["val_accuracy"].max() <= 0.90
    assert 2 <= found.best_epoch <= 5
    assert found.phase == diagnosis.OVERFITTING
    assert curves["val_crossentropy"].iloc[-1] > 1.5 * found.best_crossentropy
    assert curves["train_crossentropy"].iloc[-1] < 0.05
