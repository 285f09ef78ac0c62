"""RunConfig: one run, one identity; and what is refused, with words that help."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.config import labels
from explorer.config import run_config as config_module
from explorer.config.datasets import DATASETS
from explorer.config.run_config import (
    ACTIVATIONS,
    DECAYING,
    DEMAND_KINDS,
    INITIALIZERS,
    KINDS,
    OPTIMIZERS,
    Demand,
    FieldError,
    RunConfig,
)

# A config in which every setting acts, and another value for each.
BASE = RunConfig(l1=0.001, l2=0.001, optimizer="sgd")
OTHER = {
    "dataset": "imdb", "num_words": 9_999, "train_samples": 5_000, "label_noise": 0.1, "validation": 0.3,
    "hidden": (16, 17), "activation": "tanh", "batch_norm": True, "l1": 0.002, "l2": 0.002,
    "regularize_output": True, "dropout": 0.5, "initializer": "he_normal", "optimizer": "momentum",
    "learning_rate": 0.02, "weight_decay": 0.01, "batch_size": 256, "seed": 1,
}
FIELDS = [field.name for field in dataclasses.fields(RunConfig)]


def _strength() -> st.SearchStrategy[float]:
    return st.just(0.0) | st.floats(1e-6, 1)


@st.composite
def sound_configs(draw: st.DrawFn) -> RunConfig:
    """Any config that may be asked for."""
    info = DATASETS[draw(st.sampled_from(sorted(DATASETS)))]
    validation = draw(st.just("test") | st.floats(0.02, 0.5))
    room = RunConfig(dataset=info.name, validation=validation).available_rows
    optimizer = draw(st.sampled_from(OPTIMIZERS))
    return RunConfig(
        dataset=info.name, validation=validation, optimizer=optimizer,
        num_words=draw(st.none() | st.integers(10, info.vocabulary)) if info.is_words else None,
        train_samples=draw(st.none() | st.integers(50, room)),
        label_noise=draw(st.floats(0, 0.5)),
        hidden=tuple(draw(st.lists(st.integers(1, 4_096), min_size=1, max_size=8))),
        activation=draw(st.sampled_from(ACTIVATIONS)),
        batch_norm=draw(st.booleans()),
        l1=draw(_strength()), l2=draw(_strength()),
        regularize_output=draw(st.booleans()),
        dropout=draw(st.floats(0, 0.9)),
        initializer=draw(st.sampled_from(INITIALIZERS)),
        learning_rate=draw(st.none() | st.floats(1e-6, 10)),
        weight_decay=draw(st.none() | _strength()) if optimizer in DECAYING else None,
        batch_size=draw(st.integers(8, 8_192)),
        seed=draw(st.integers(0, 2**31 - 1)),
    )


# -- identity ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIELDS)
def test_another_value_of_any_setting_is_another_run(name):
    other = BASE.with_(**{name: OTHER[name]})
    assert getattr(other, name) == OTHER[name] != getattr(BASE, name)
    assert other.run_id("d") != BASE.run_id("d")


@pytest.mark.parametrize("name, given, same", [
    ("l2", 1, 1.0), ("dropout", 0, 0.0), ("dropout", "0.50", 0.5), ("label_noise", "-0", 0), ("dropout", -0.0, 0),
    ("batch_size", 512.0, "512"), ("hidden", [16, 16.0], "16-16"), ("learning_rate", None, 0.001),
    ("num_words", None, 10_000), ("train_samples", None, 20_000), ("seed", "1e3", 1000), ("validation", "0.2", 0.2),
    ("batch_norm", "yes", True),
])
def test_the_same_value_written_another_way_is_the_same_run(name, given, same):
    assert RunConfig(**{name: given}).run_id("d") == RunConfig(**{name: same}).run_id("d")


@pytest.mark.parametrize("one, other", [
    (RunConfig(regularize_output=True), RunConfig()),
    (RunConfig(optimizer="adam", weight_decay=0.1), RunConfig(optimizer="adam")),
    (RunConfig(dataset="digits", num_words=500), RunConfig(dataset="digits")),
], ids=["output penalty without a penalty", "decay that Adam has not", "words of images"])
def test_a_setting_that_does_not_act_is_no_other_run(one, other):
    assert one == other and one.run_id("d") == other.run_id("d")


def test_how_far_a_run_is_wanted_is_no_part_of_its_identity():
    # The demand is no field of the config, so it cannot enter the identity.
    assert not {field.name for field in dataclasses.fields(Demand)} & set(FIELDS)


def test_other_data_are_another_run():
    assert BASE.run_id("reviews-1") != BASE.run_id("reviews-2")


@pytest.mark.parametrize("library", ["tensorflow", "keras"])
def test_other_libraries_are_another_run(library, monkeypatch):
    before, versions = BASE.run_id("d"), config_module.library_versions()
    assert versions[library][0].isdigit()
    monkeypatch.setattr(config_module, "library_versions", lambda: {**versions, library: "0.0.1"})
    assert BASE.run_id("d") != before


def test_another_way_of_training_is_another_run(monkeypatch):
    before = BASE.run_id("d")
    monkeypatch.setattr(config_module, "TRAINING_VERSION", config_module.TRAINING_VERSION + 1)
    assert BASE.run_id("d") != before


def test_a_run_id_is_sixteen_hexadecimal_digits():
    assert len(BASE.run_id("d")) == 16 and int(BASE.run_id("d"), 16) >= 0


@given(sound_configs())
def test_a_stored_config_reads_back_as_the_same_run(config):
    again = RunConfig.from_json(config.canonical_json())
    assert again == config and again.run_id("d") == config.run_id("d")


# -- defaults and sizes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer, rate, decay", [
    ("adam", 0.001, 0), ("rmsprop", 0.001, 0), ("sgd", 0.01, 0), ("momentum", 0.01, 0), ("adamw", 0.001, 0.004),
])
def test_defaults_follow_the_optimizer(optimizer, rate, decay):
    for config in (RunConfig(optimizer=optimizer), RunConfig(optimizer="adamw").with_(optimizer=optimizer)):
        assert (config.learning_rate, config.weight_decay) == (rate, decay)


def test_defaults_follow_the_data_set():
    config = RunConfig(num_words=500, train_samples=15_000).with_(dataset="digits")
    assert (config.num_words, config.inputs, config.outputs, config.rows) == (None, 64, 10, 1_038)
    assert config.with_(dataset="imdb").num_words == 10_000


@pytest.mark.parametrize("changes, parameters", [
    ({"num_words": 1_000, "hidden": (16, 16)}, 16_305),
    ({"num_words": 1_000, "hidden": (4, 4)}, 4_029),
    ({"num_words": 1_000, "hidden": (512, 512)}, 775_681),
    ({"num_words": 1_000, "hidden": (16, 16), "batch_norm": True}, 16_369),
    ({"dataset": "mnist", "hidden": (32,)}, 25_450),
])
def test_the_number_of_parameters_is_the_one_that_keras_counts(changes, parameters):
    assert RunConfig(**{"dataset": "imdb", **changes}).parameters == parameters


@pytest.mark.parametrize("l1, l2, name", [(0, 0, "none"), (0.1, 0, "l1"), (0, 0.1, "l2"), (0.1, 0.1, "l1_l2")])
def test_the_regularizer_follows_the_strengths(l1, l2, name):
    assert RunConfig(l1=l1, l2=l2).regularizer == name


# -- what is refused --------------------------------------------------------------------------------------

OUT_OF_LIMITS = {
    "dataset": "cifar", "num_words": 9, "train_samples": 49, "label_noise": 0.51, "validation": 0.6,
    "hidden": "16-0", "activation": "swish", "batch_norm": "perhaps", "l1": 1.1, "l2": -1, "regularize_output": 2,
    "dropout": 0.95, "initializer": "zeros", "optimizer": "lion", "learning_rate": 0, "weight_decay": 2,
    "batch_size": 7, "seed": -1,
}
DEMAND_OUT = {"epochs": 0, "patience": 1_001, "device": "tpu"}
OPTIONAL = {"num_words", "train_samples", "learning_rate", "weight_decay", "patience"}
WHOLE = {"num_words", "train_samples", "batch_size", "seed", "epochs", "patience"}


def _cases():
    for name, value in (OUT_OF_LIMITS | DEMAND_OUT).items():
        yield name, value
        yield from ((name, bad) for bad in (math.nan, "nan", math.inf, "-inf", "", "x" * 100_000, "9" * 10_000, b"1",
                                            {}, object(), 10**400))
        if name not in OPTIONAL:
            yield name, None
        if name not in ("batch_norm", "regularize_output"):
            yield name, True
        if name in WHOLE:
            yield name, 64.5


def _refused(name, value) -> FieldError:
    owner = Demand if name in DEMAND_KINDS else RunConfig
    with pytest.raises(FieldError) as caught:
        owner(**{name: value})
    return caught.value


@pytest.mark.parametrize("name, value", _cases(), ids=lambda value: str(value)[:12].split(" at ")[0])
def test_an_unsound_value_is_refused_with_its_name_the_limits_and_what_came(name, value):
    error = _refused(name, value)
    assert error.field == name
    assert str(error).startswith(f"{name}: expected {(KINDS | DEMAND_KINDS)[name].allowed}, received ")
    assert str(value)[:20] in str(error)
    assert len(str(error)) < 300


def test_a_number_too_long_to_print_is_refused_like_any_other():
    assert _refused("seed", 10**5_000).nearest == 2**31 - 1


@pytest.mark.parametrize("name, value, nearest", [
    ("dropout", 2, 0.9), ("dropout", -math.inf, 0.0), ("batch_size", 7.5, 8), ("batch_size", 100.4, 100),
    ("seed", math.inf, 2**31 - 1), ("l2", 1e-9, 0.0), ("l2", 9e-7, 1e-6), ("hidden", "16-99999", (16, 4_096)),
    ("hidden", "-".join(["9"] * 9), (9,) * 8), ("optimizer", " Adam ", "adam"), ("validation", 0.001, 0.02),
    ("learning_rate", 0, 1e-6), ("dropout", "lots", None), ("dropout", math.nan, None), ("hidden", (), None),
])
def test_an_error_knows_the_nearest_value_that_is_allowed(name, value, nearest):
    assert _refused(name, value).nearest == nearest


def test_limits_that_hang_on_the_data_set_name_its_numbers():
    with pytest.raises(FieldError, match="train_samples: expected all or a whole number from 50 to 1,038"):
        RunConfig(dataset="digits", train_samples=1_039)
    with pytest.raises(FieldError, match="num_words: expected a whole number from 10 to 10,000"):
        RunConfig(dataset="reviews", num_words=10_001)
    assert RunConfig(dataset="imdb", num_words=88_587).inputs == 88_587


def test_a_short_name_tells_what_was_done_against_overfitting():
    config = RunConfig(hidden=(8, 4), l2=0.001, dropout=0.5, label_noise=0.2, train_samples=500, batch_norm=True)
    assert labels.short(config, "en") == "8-4 · batch norm · L2 0.001 · dropout 0.5 · 20% labels flipped · 500 examples"
