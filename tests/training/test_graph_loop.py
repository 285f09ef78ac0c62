"""The fast path against the plain one: the same gradients, the same curves, an ordinary Keras model."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from explorer import data
from explorer.config import cost_model
from explorer.config.cost_model import BITS, BYTES, MATRICES
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.training import graph_loop
from explorer.training.batching import fit_order
from explorer.training.model import compiled
from explorer.training.train import train
from tests.benchmarks.trainer import ROWS
from tests.reference import plain

# Every kind of layer and penalty, on words (both products), on few words (dense inside the graph) and on pixels.
KINDS = {
    "16-16 rmsprop": RunConfig(num_words=2_000, train_samples=3_000, hidden=(16, 16)),
    "16-16 adam": RunConfig(num_words=1_000, train_samples=3_000, hidden=(16, 16), optimizer="adam"),
    "64-64 adam": RunConfig(num_words=1_000, train_samples=3_000, hidden=(64, 64), optimizer="adam"),
    "l1 and l2": RunConfig(num_words=1_000, train_samples=3_000, l1=1e-4, l2=1e-3, regularize_output=True),
    "dropout": RunConfig(num_words=1_000, train_samples=3_000, dropout=0.5),
    "batch norm": RunConfig(num_words=1_000, train_samples=3_000, hidden=(32,), batch_norm=True, optimizer="adam"),
    "100 words": RunConfig(num_words=100, train_samples=3_000, hidden=(64, 32), optimizer="adam", batch_size=500),
    "digits": RunConfig(dataset="digits", hidden=(32, 32), batch_norm=True, dropout=0.2, optimizer="adam",
                        batch_size=100),
    "adamw": RunConfig(num_words=500, train_samples=2_000, optimizer="adamw", activation="gelu"),
    "momentum": RunConfig(num_words=500, train_samples=2_000, optimizer="momentum", hidden=(40,)),
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("home"))


def curve(config: RunConfig, settings: Settings, way, epochs: int) -> np.ndarray:
    """One row an epoch: loss, both cross-entropies, the penalty."""
    rows: list[dict] = []
    train(config, data.load(config, settings), lambda: [Demand(epochs)],
          lambda kind, values: rows.append(values) if kind == "epoch" else None, lambda: False, way=way)
    return np.array([[row[name] for name in ("loss", "train_crossentropy", "val_crossentropy", "penalty")]
                     for row in rows])


@pytest.mark.parametrize("name", KINDS)
def test_gradients_of_one_step_are_those_of_dense(name, settings):
    config = KINDS[name]
    prepared = data.load(config, settings)
    course = graph_loop.TrainingSession(config, prepared)
    x, y = course.model.batch(tf.constant(0))
    dense = prepared.train.x.take(fit_order(len(prepared.train), config.seed)[:config.batch_size]).dense()

    def same_masks() -> None:
        for layer in course.network.layers:
            if isinstance(layer, keras.layers.Dropout):
                layer.seed_generator.state.assign(np.array([1, 2], np.uint32))

    same_masks()
    ours, loss, _ = course.model.gradients(x, y)
    same_masks()
    keras_way = compiled(course.network, config)
    with tf.GradientTape() as tape:
        reference_loss = keras_way.compute_loss(x=None, y=y, y_pred=keras_way(dense, training=True))
    reference = tape.gradient(reference_loss, keras_way.trainable_variables)
    assert float(loss) == pytest.approx(float(reference_loss), rel=1e-6)
    # As one vector: a bias before batch normalization has no gradient but rounding.
    ours, reference = (np.concatenate([np.ravel(part) for part in parts]) for parts in (ours, reference))
    assert np.linalg.norm(ours - reference) <= 1e-6 * np.linalg.norm(reference)


@pytest.mark.parametrize("name", KINDS)
def test_whole_curves_agree_in_double_precision(name, settings, doubles):
    config = KINDS[name]
    ours, reference = (curve(config, settings, way, 4) for way in (graph_loop.TrainingSession, plain.TrainingSession))
    assert np.abs(ours - reference).max() < 1e-9


@pytest.mark.parametrize("name", ["16-16 rmsprop", "16-16 adam", "l1 and l2", "dropout"])
def test_small_networks_agree_in_single_precision_over_five_epochs(name, settings):
    config = KINDS[name]
    ours, reference = (curve(config, settings, way, 5) for way in (graph_loop.TrainingSession, plain.TrainingSession))
    assert np.abs(ours - reference).max() < 1e-5


def test_the_trained_network_is_saved_and_opened_by_plain_keras(settings, tmp_path: Path):
    config = KINDS["16-16 adam"]
    prepared = data.load(config, settings)
    course = graph_loop.TrainingSession(config, prepared)
    course.model.fit(course.dataset(), epochs=2, verbose=0, shuffle=False)
    assert type(course.network) is keras.Sequential
    course.network.save(tmp_path / "model.keras")
    opened = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    predicted = opened.predict(prepared.validation.x.dense(), verbose=0)[:, 0]
    accuracy = ((predicted > 0.5) == prepared.validation.y).mean()
    assert accuracy == pytest.approx(course.measure("validation")[1], abs=1e-6)


@pytest.mark.parametrize(("config", "device", "kind"), [
    (RunConfig(num_words=10_000), "cpu", MATRICES), (RunConfig(num_words=1_000), "cpu", MATRICES),
    (RunConfig(num_words=100), "cpu", BYTES), (RunConfig(num_words=10_000), "gpu:0", BITS),
    (RunConfig(num_words=100), "gpu:1", BYTES), (RunConfig(dataset="digits"), "cpu", BYTES),
    (RunConfig(dataset="digits"), "gpu:0", BYTES)])
def test_how_inputs_are_multiplied_is_chosen_by_size_and_device(config, device, kind):
    assert cost_model.kind(config, device) == kind


@pytest.mark.parametrize("words", [1_000, 1_003])  # a row of bits ends with a byte, or within one
def test_on_a_graphics_card_reviews_are_multiplied_as_dense_rows_with_the_same_result(words, settings):
    config = KINDS["16-16 adam"].with_(num_words=words)
    prepared = data.load(config, settings)
    ours, reference = (graph_loop.TrainingSession(config, prepared, device) for device in ("gpu:0", "cpu"))
    for course in (ours, reference):
        course.model.fit(course.dataset(), epochs=1, verbose=0, shuffle=False)
    assert ours.measure("validation") == pytest.approx(reference.measure("validation"), abs=1e-6)


def test_reviews_lie_on_a_graphics_card_as_a_bit_a_word_and_leave_as_the_multi_hot_rows(settings):
    config = RunConfig(num_words=1_003, train_samples=300, batch_size=128)
    course = graph_loop.TrainingSession(config, data.load(config, settings), "gpu:0")
    x, _ = course.model.batch(tf.constant(2))
    rows = data.load(config, settings).train.x.take(fit_order(300, config.seed)[256:])
    assert np.array_equal(x.numpy(), rows.dense()) and x.shape == (44, 1_003)
    assert course.model._held[1].shape[1] == 126 and course.model._held[1].dtype == tf.uint8


@pytest.mark.parametrize(("row", "cores", "suits"), [
    (0, 2, False), (0, 16, False), (1, 16, True), (1, 2, True), (4, 16, True), (5, 4, False), (5, 16, False)])
def test_networks_large_enough_for_a_graphics_card_are_told_from_those_that_a_processor_trains_faster(
        row, cores, suits):
    config = ROWS[row][1]
    assert cost_model.suits_card([config], cores) is suits


def test_small_networks_side_by_side_add_up_to_what_suits_a_graphics_card():
    config = RunConfig(dataset="mnist", hidden=(64, 64), batch_size=512)
    assert not cost_model.suits_card([config], 8) and cost_model.suits_card([config] * 8, 8)


def test_calls_on_a_graphics_card_are_short_for_every_size_of_network():
    # Seconds of a step there, a row of the table: 1.5 ms of 16-16, 3.5 ms of 1024-1024, 2.2 ms of MNIST on an H200.
    for row, seconds in ((0, 0.0015), (1, 0.0035), (5, 0.0022)):
        config = ROWS[row][1]
        steps = -(-config.rows // config.batch_size)
        taken = cost_model.steps_per_call(config, "gpu:0", steps)
        assert 1 <= taken <= steps and taken * seconds <= 0.12


def test_small_batches_of_many_words_keep_no_transposes_and_give_the_same(settings):
    config = RunConfig(num_words=3_000, train_samples=500, batch_size=16, l2=1e-3)
    course = graph_loop.TrainingSession(config, data.load(config, settings))
    assert len(course.model._held) == 2  # labels and matrices
    ours, reference = (curve(config, settings, way, 2) for way in (graph_loop.TrainingSession, plain.TrainingSession))
    assert np.abs(ours - reference).max() < 1e-5
