"""The trainer against plain Keras, against itself, and against a stop in the middle."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from explorer import data
from explorer.config import cost_model, labels
from explorer.config.run_config import Demand, RunConfig
from explorer.config.settings import Settings
from explorer.data.rows import WordRows
from explorer.training.batching import fit_order
from explorer.training.model import network
from explorer.training.train import State, train
from tests.reference.plain import Batches

REFERENCE = Path(__file__).resolve().parents[1] / "reference" / "plain_keras.py"
# Small enough for seconds, and with everything on that has a state of its own.
DIGITS = RunConfig(dataset="digits", hidden=(32, 16), batch_norm=True, dropout=0.3, optimizer="adam",
                   l2=0.001, batch_size=64)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def curve(config: RunConfig, settings: Settings, epochs: int, resume: State | None = None, patience: int | None = None,
          known=(), should_stop=lambda: False):
    rows, told = [], []

    def emit(kind, values):
        told.append((kind, dict(values)))
        if kind == "epoch":
            rows.append({name: value for name, value in values.items() if name != "seconds"})

    outcome = train(config, data.load(config, settings), lambda: [Demand(epochs, patience)], emit, should_stop,
                    resume=resume, known=known)
    return rows, outcome, told


def plain(config: RunConfig, settings: Settings, epochs: int, folder: Path, fits: int = 1) -> list[dict]:
    prepared = data.load(config, settings)
    file = folder / f"{config.dataset}.npz"
    np.savez(file, x=prepared.train.x.dense(), y=prepared.train.y,
             x_val=prepared.validation.x.dense(), y_val=prepared.validation.y)
    given = {"file": str(file), "classes": config.info.classes, "seed": config.seed, "hidden": config.hidden,
             "l2": config.l2, "batch_norm": config.batch_norm, "dropout": config.dropout,
             "optimizer": config.optimizer, "batch_size": config.batch_size, "epochs": epochs,
             "fits": fits}
    answer = subprocess.run(
        [sys.executable, str(REFERENCE), json.dumps(given)], capture_output=True, text=True, check=True,
        cwd=folder, env={**os.environ, "PYTHONPATH": ""})
    return json.loads(answer.stdout.splitlines()[-1])


def assert_same_curve(ours: list[dict], theirs: list[dict], within: float = 1e-3) -> None:
    assert len(ours) == len(theirs)
    for mine, reference in zip(ours, theirs):
        for name, value in reference.items():
            assert mine[name] == pytest.approx(value, abs=within), (mine["epoch"], name)


@pytest.mark.parametrize("config", [
    RunConfig(dataset="digits", hidden=(16,), optimizer="adam", batch_size=64, seed=3),
    RunConfig(dataset="digits", hidden=(16, 8), batch_norm=True, dropout=0.2, l2=0.001, batch_size=100, seed=4,
              validation="test"),
    RunConfig(dataset="reviews", num_words=500, train_samples=2_000, hidden=(16, 16), batch_size=256, seed=5),
], ids=["digits", "digits-all", "reviews"])
def test_plain_keras_with_the_same_seed_gives_the_same_curve(config, home, tmp_path):
    settings = Settings(home=home)
    ours, _, _ = curve(config, settings, 4)
    assert_same_curve(ours, plain(config, settings, 4, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [64, 2_000], ids=["batches", "one batch"])
def test_a_second_fit_of_plain_keras_gives_the_epochs_that_follow(batch_size, home, tmp_path):
    """Its epochs 1 to 4 are the epochs 5 to 8 of one run."""
    settings, config = Settings(home=home), RunConfig(dataset="digits", hidden=(16, 16), dropout=0.5, l2=0.001,
                                                      batch_size=batch_size, seed=8)
    ours, _, _ = curve(config, settings, 8)
    assert_same_curve(ours, plain(config, settings, 4, tmp_path, fits=2))


@pytest.mark.parametrize("config", [
    RunConfig(dataset="imdb", num_words=300, train_samples=4_000, hidden=(16, 16), dropout=0.5, seed=6),
    RunConfig(dataset="mnist", train_samples=3_000, hidden=(16,), optimizer="adam", batch_size=128, seed=7),
], ids=["imdb", "mnist"])
def test_plain_keras_gives_the_same_curve_on_the_real_data(config, home, tmp_path, real_data):
    settings = Settings(home=home, data_dir=real_data)
    ours, _, _ = curve(config, settings, 3)
    assert_same_curve(ours, plain(config, settings, 3, tmp_path))


def test_the_same_config_gives_the_same_history_to_the_last_bit(home):
    settings = Settings(home=home)
    first, one, _ = curve(DIGITS, settings, 4)
    second, two, _ = curve(DIGITS, settings, 4)
    assert first == second
    assert all(np.array_equal(a, b) for a, b in zip(one.state.arrays, two.state.arrays))
    other, _, _ = curve(DIGITS.with_(seed=1), settings, 4)
    assert other != first


@pytest.mark.parametrize("changes", [{}, {"optimizer": "rmsprop"}, {"optimizer": "momentum", "batch_norm": False},
                                     {"optimizer": "adamw", "activation": "gelu"}], ids=lambda c: str(c or "adam"))
def test_ten_and_ten_epochs_are_twenty(home, changes):
    config = DIGITS.with_(**changes)
    settings = Settings(home=home)
    whole, end, _ = curve(config, settings, 20)
    first, middle, _ = curve(config, settings, 10)
    known = [row["val_crossentropy"] for row in first]
    second, again, _ = curve(config, settings, 20, resume=middle.state, known=known)
    assert first + second == whole
    assert all(np.array_equal(a, b) for a, b in zip(end.state.arrays, again.state.arrays))


def test_a_stop_acts_within_one_batch_and_keeps_whole_epochs_only(home, monkeypatch):
    # A network large enough that each batch is a call of its own; asked after each, and after each measuring.
    monkeypatch.setattr(cost_model, "CALL_WORK", 1)
    settings = Settings(home=home)
    an_epoch = 17 + 17 + 1  # 1,038 rows in batches of 64, fitted and measured; validation in one large batch
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2 * an_epoch + 5

    rows, outcome, told = curve(DIGITS, settings, 50, should_stop=should_stop)
    assert outcome.reason == "stopped"
    assert asked == 2 * an_epoch + 6
    assert outcome.state.epoch == len(rows) == 2
    assert not [kind for kind, _ in told if kind == "score"]
    whole, _, _ = curve(DIGITS, settings, 4)
    known = [row["val_crossentropy"] for row in rows]
    rest, _, _ = curve(DIGITS, settings, 4, resume=outcome.state, known=known)
    assert rows + rest == whole


def test_one_call_into_the_graph_is_short_for_every_size_of_network():
    for hidden, steps, wanted in [((16, 16), 49, 1), ((512, 512), 49, 5), ((1024, 1024), 49, 10)]:
        config = RunConfig(dataset="imdb", num_words=10_000, hidden=hidden)
        taken = cost_model.steps_per_call(config, "cpu", steps)
        assert 1 <= taken <= steps and -(-steps // taken) >= wanted


def test_progress_inside_the_epoch_is_told_and_the_test_set_scored_once_at_the_end(home):
    _, _, told = curve(DIGITS, Settings(home=home), 3)
    assert ("progress", {"epoch": 1, "step": 0, "steps": 17}) in told
    assert [kind for kind, _ in told].count("score") == 1
    assert told[-1][0] == "score" and 0.1 < told[-1][1]["test_accuracy"] <= 1


def test_early_stopping_ends_where_its_rule_says(home):
    from explorer.config.plan import stopping_epoch

    config = RunConfig(dataset="digits", hidden=(64,), train_samples=200, learning_rate=0.02, batch_size=32)
    rows, _, _ = curve(config, Settings(home=home), 100, patience=2)
    assert len(rows) < 100
    assert stopping_epoch([row["val_crossentropy"] for row in rows], 2) == len(rows)


def test_a_run_that_diverges_says_so_and_ends(home):
    config = RunConfig(dataset="digits", hidden=(32, 32), optimizer="sgd", learning_rate=10, l2=1.0, batch_size=32)
    rows, outcome, told = curve(config, Settings(home=home), 200)
    assert outcome.reason == "diverged"
    assert len(rows) < 200
    assert not [kind for kind, _ in told if kind == "score"]


def test_the_penalty_is_in_val_loss_and_not_in_the_crossentropy(home):
    rows, _, _ = curve(DIGITS.with_(l1=0.001, dropout=0.0), Settings(home=home), 2)
    for row in rows:
        assert row["penalty"] > 0.05
        assert row["val_loss"] == pytest.approx(row["val_crossentropy"] + row["penalty"], rel=1e-4)


def test_training_metrics_are_measured_in_inference_mode(home):
    # With heavy dropout, Keras's running training loss lies far above the honest one.
    rows, _, _ = curve(RunConfig(dataset="digits", hidden=(64,), dropout=0.8, optimizer="adam", batch_size=64),
                       Settings(home=home), 15)
    assert rows[-1]["loss"] > rows[-1]["train_crossentropy"] + 0.3


@pytest.mark.parametrize("config", [
    RunConfig(dataset="imdb", num_words=1_000, hidden=(16, 16)),
    RunConfig(dataset="imdb", num_words=1_000, hidden=(4, 4)),
    RunConfig(dataset="imdb", num_words=1_000, hidden=(512, 512)),
    RunConfig(dataset="mnist", hidden=(128, 128), batch_norm=True),
    RunConfig(dataset="digits", hidden=(100,) * 6, dropout=0.2, initializer="he_normal"),
], ids=lambda config: labels.short(config, "en"))
def test_the_parameters_shown_are_those_that_keras_counts(config):
    model = network(config)
    assert config.parameters == sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def test_layers_stand_in_the_order_dense_norm_activation_dropout():
    model = network(DIGITS.with_(regularize_output=True))
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds == ["Dense", "BatchNormalization", "Activation", "Dropout"] * 2 + ["Dense"]
    assert model.layers[-1].kernel_regularizer is not None
    assert network(DIGITS).layers[-1].kernel_regularizer is None
    assert model.layers[-1].activation is keras.activations.softmax


def test_batches_are_the_dense_rows_in_the_order_of_fit():
    random = np.random.RandomState(0)
    dense = (random.random_sample((10, 7)) < 0.4).astype(np.float32)
    indptr = np.concatenate([[0], np.cumsum(dense.sum(1))]).astype(np.int64)
    rows = WordRows(indptr, np.nonzero(dense)[1].astype(np.int32), 7)
    examples = data.rows.Examples(rows, np.arange(10, dtype=np.uint8) % 2)
    order = fit_order(10, 11)
    seen = [(x.numpy(), y.numpy()) for x, y in Batches(examples, 4, binary=True, order=order).dataset()]
    assert [len(x) for x, _ in seen] == [4, 4, 2]
    assert np.array_equal(np.concatenate([x for x, _ in seen]), dense[order])
    assert np.array_equal(np.concatenate([y for _, y in seen])[:, 0], examples.y[order])


def test_fit_visits_the_rows_in_that_order_in_every_epoch():
    visited = []

    class Spy(keras.Model):
        def call(self, x):
            return x * 0.0

        def train_step(self, batch):
            visited.extend(batch[0].numpy()[:, 0].astype(int).tolist())
            return {"loss": keras.ops.zeros(())}

    model = Spy()
    model.compile(run_eagerly=True)
    order = fit_order(23, 5).tolist()
    keras.utils.set_random_seed(5)
    model.fit(np.arange(23, dtype=np.float32)[:, None], np.zeros(23), batch_size=4, epochs=3, verbose=0)
    assert visited == order * 3
