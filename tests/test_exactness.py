"""The fast path against the plain one for every row of the benchmark's table, with every kind of regularization."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from explorer import data, fast, plain
from explorer.config import RunConfig
from explorer.data.prepare import Prepared
from explorer.model import make_optimizer, network
from explorer.settings import Settings
from tests.benchmarks import drift
from tests.benchmarks.trainer import ROWS

CASES = {f"{title}, {name}": variant for title, config, *_ in ROWS for name, variant in drift.variants(config).items()}
SMALL = [name for name, config in CASES.items() if config.hidden == (16, 16)]
# Networks of so many parameters take seconds a step on the plain path.
LARGE = 900_000
EXACT = drift.EXACT
LOSSES = [drift.NAMES.index(name) for name in drift.NAMES if "accuracy" not in name]
ACCURACIES = [drift.NAMES.index(name) for name in drift.NAMES if "accuracy" in name]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, real_data: Path) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"), data_dir=real_data)


@pytest.fixture
def doubles():
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")


def gradients(config: RunConfig, settings: Settings, way) -> list[np.ndarray]:
    """Gradients of the first step on one batch of the real data, by the path's own `fit`.

    After one step from rest at rate 1, momentum holds minus the gradient, to the last bit.
    """
    config = replace(config, optimizer="momentum", learning_rate=1, weight_decay=0, train_samples=config.batch_size)
    course = way(config, data.load(config, settings))
    assert course.steps == 1
    course.model.fit(course.dataset(), epochs=1, shuffle=False, verbose=0)
    return [-np.array(momentum) for momentum in course.model.optimizer.momentums]


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=[pytest.mark.slow] if config.parameters > LARGE else []) for name, config in CASES.items()])
def test_gradients_of_one_step_are_those_of_dense(name, settings):
    ours, reference = (gradients(CASES[name], settings, way) for way in (fast.Course, plain.Course))
    for index, (mine, dense) in enumerate(zip(ours, reference, strict=True)):
        scale = np.abs(dense).max()
        if CASES[name].batch_norm and index % 4 == 1 and index < len(reference) - 1:
            # A bias before batch normalisation has no gradient but rounding: that of its kernel is the measure.
            scale = np.abs(reference[index - 1]).max()
        assert np.abs(mine - dense).max() <= 1e-6 * scale, (index, dense.shape)


@pytest.mark.parametrize("name", ["rmsprop", "adam"])
def test_updates_are_those_of_kerass_optimizer(name, settings):
    """Gradients of every size, some of them rare, over as many steps as five epochs have."""
    config = RunConfig(dataset="imdb", num_words=1_000, train_samples=600, optimizer=name)
    own = fast.Course(config, data.load(config, settings)).model.optimizer
    random = np.random.RandomState(0)
    steps, weights = 245, 1_000
    given = random.standard_normal((steps, weights)) * 10.0 ** random.uniform(-7, -1, weights)
    given *= random.random_sample((steps, weights)) < random.choice([0.02, 0.1, 1], weights)
    ends = []
    for optimizer in (type(own).from_config(own.get_config()), make_optimizer(config)):
        variable = keras.Variable(np.zeros(weights), dtype="float32")
        optimizer.build([variable])
        update = tf.function(lambda gradient, o=optimizer, v=variable: o.apply([gradient], [v]), autograph=False)
        path = []
        for gradient in given.astype(np.float32):
            update(tf.constant(gradient))
            path.append(np.array(variable))
        ends.append(np.array(path))
    ours, reference = ends
    assert np.abs(ours[0] - reference[0]).max() <= 1e-6 * np.abs(reference[0]).max()
    assert np.abs(ours - reference).max() <= 1e-6 * np.abs(reference).max()


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_whole_curves_agree_in_double_precision(name, settings, doubles, monkeypatch):
    # Four batches or more, the last one short; so many validation rows that they are measured in two pieces.
    config = replace(CASES[name], train_samples=1_600)
    if not config.info.is_words:
        # The plain path divides bytes in single precision: by a power of two that is exact.
        load = data.load
        monkeypatch.setattr(data, "load", lambda *given: Prepared(*(
            replace(part, x=replace(part.x, scale=256))
            for part in (lambda found: (found.train, found.validation, found.test))(load(*given)))))
    ours, reference = (drift.curve(config, settings, way, 3, measured=5_100) for way in (fast.Course, plain.Course))
    assert np.abs(ours - reference).max() < 1e-9
