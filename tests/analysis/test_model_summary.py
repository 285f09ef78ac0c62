"""The layer table: the sources' numbers of parameters, and Keras's own count."""

from __future__ import annotations

import pytest

from explorer.analysis import model_summary
from explorer.config import labels
from explorer.config.run_config import RunConfig

TUTORIAL = {"dataset": "imdb", "num_words": 1_000}
CONFIGS = [
    RunConfig(**TUTORIAL), RunConfig(dataset="reviews", hidden=(6,), dropout=0.5), RunConfig(dataset="digits"),
    RunConfig(dataset="mnist", hidden=(128, 128), batch_norm=True, activation="elu"),
    RunConfig(dataset="digits", hidden=(9, 8, 7), batch_norm=True, dropout=0.25, l2=0.1)]


@pytest.mark.parametrize("hidden, parameters", [((16, 16), 16_305), ((4, 4), 4_029), ((512, 512), 775_681)])
def test_the_three_networks_of_tutorial_7_have_their_published_parameters(hidden, parameters):
    made = model_summary.table(RunConfig(**TUTORIAL, hidden=hidden))
    assert made.iloc[-1].to_dict() == {
        "layer": model_summary.TOTAL, "shape": "", "parameters": parameters, "sum": "", "fixed": 0}
    assert made["parameters"].iloc[:-1].sum() == parameters


def test_each_layer_has_its_row():
    made = model_summary.table(RunConfig(**TUTORIAL, hidden=(16,), batch_norm=True, dropout=0.5))
    assert made.values.tolist() == [
        ["Dense", "(None, 16)", 16_016, "1,000 × 16 + 16", 0], ["BatchNormalization", "(None, 16)", 32, "16 + 16", 32],
        ["Activation (relu)", "(None, 16)", 0, "", 0], ["Dropout (0.5)", "(None, 16)", 0, "", 0],
        ["Dense (sigmoid)", "(None, 1)", 17, "16 × 1 + 1", 0], ["total", "", 16_065, "", 32]]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.dataset} {labels.short(config, 'en')}")
def test_the_total_is_what_the_page_counts(config):
    assert model_summary.table(config)["parameters"].iloc[-1] == config.parameters


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.dataset} {labels.short(config, 'en')}")
def test_keras_counts_the_same_layer_by_layer(config):
    pytest.importorskip("keras")
    from explorer.training.model import network

    model, made = network(config), model_summary.table(config)
    rows = made.iloc[:-1]
    assert [name.split(" ")[0] for name in rows["layer"]] == [type(layer).__name__ for layer in model.layers]
    assert rows["shape"].tolist() == [str(layer.output.shape) for layer in model.layers]
    assert (rows["parameters"] + rows["fixed"]).tolist() == [layer.count_params() for layer in model.layers]
    total = made.iloc[-1]
    assert total["parameters"] + total["fixed"] == model.count_params()
    assert total["parameters"] == sum(int(weight.shape.num_elements()) if hasattr(weight.shape, "num_elements")
                                      else weight.numpy().size for weight in model.trainable_weights)
