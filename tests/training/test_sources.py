"""The sources' experiments and the embedded data, trained for real."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from explorer import data
from explorer.analysis import diagnosis, history
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.lessons import reference_curves
from explorer.lessons.reference_curves import Published
from explorer.training.graph_cache import GraphCache
from explorer.training.train import train

# How far a best validation value may lie from the published one, as it was published, and a best epoch where the
# minimum is sharp.
WITHIN, EPOCHS_WITHIN = 0.02, 2
SHARP = ("baseline", "original", "bigger")
SEEDS = (0, 1, 2)
# The minimum of a large network comes at once, so that a few epochs tell when. The largest takes seconds an epoch, and
# its curve jumps: with seed 1 it comes no nearer than 0.046, and as far as plain Keras has been asked (three epochs:
# 0.366, 0.338, 0.590, and here 0.366, 0.339, 0.598) no nearer there. So it is held with one seed.
FEW_EPOCHS = {(512, 512): 6, (1024, 1024): 4}
ONE_SEED = (1024, 1024)
# With four units, one that dies at the start costs a quarter of the network: its best value hangs on the seed.
CASES = [(one, seed) for one in reference_curves.histories() if one.source in ("tf-tutorial-7", "dlwp-4.4")
         and one.config.hidden != (4, 4) for seed in (SEEDS[:1] if one.config.hidden == ONE_SEED else SEEDS)]

Curve = Callable[[RunConfig, Settings, int], pd.DataFrame]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def curve() -> Iterator[Curve]:
    """Trains a run; the graph of a shape and the rows of a data set serve all tests that want them."""
    courses, libraries = GraphCache(), {}

    def trained(config: RunConfig, settings: Settings, epochs: int) -> pd.DataFrame:
        rows: list[dict] = []
        library = libraries.setdefault(settings, data.Library(settings))
        train(config, library.load(config), lambda: [Demand(epochs)],
              lambda kind, values: rows.append(values) if kind == "epoch" else None, lambda: False, way=courses)
        return history.table(rows)

    yield trained
    courses.forget()


def test_eleven_experiments_were_published_that_hang_on_no_seed():
    assert len({(one.source, one.experiment) for one, _ in CASES}) == 11


@pytest.mark.slow
@pytest.mark.parametrize(("one", "seed"), CASES,
                         ids=[f"{one.source} {one.experiment} {seed}" for one, seed in CASES])
def test_an_experiment_comes_out_as_published(one: Published, seed: int, curve: Curve, home: Path, real_data: Path):
    measured = curve(one.config.with_(seed=seed), Settings(home=home, data_dir=real_data),
                     FEW_EPOCHS.get(one.config.hidden, one.epochs))
    found = reference_curves.distance(one, measured)
    assert abs(found.measured_best - one.history[one.measure].min()) <= WITHIN, found
    if one.experiment in SHARP:
        assert abs(found.measured_best_epoch - int(one.history[one.measure].idxmin()) - 1) <= EPOCHS_WITHIN, found
        assert diagnosis.diagnose(measured).phase == diagnosis.OVERFITTING or len(measured) < one.epochs


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
@pytest.mark.parametrize("validation", [0.2, "test"])
def test_the_generated_reviews_are_overfitted_as_imdb_is(home, curve, optimizer, validation):
    config = RunConfig(dataset="reviews", optimizer=optimizer, validation=validation)
    curves = curve(config, Settings(home=home), 20)
    found = diagnosis.diagnose(curves)
    assert 0.86 <= curves["val_accuracy"].max() <= 0.90
    assert 2 <= found.best_epoch <= 5
    assert found.phase == diagnosis.OVERFITTING
    assert curves["val_crossentropy"].iloc[-1] > 1.5 * found.best_crossentropy
    assert curves["train_crossentropy"].iloc[-1] < 0.05
