"""The address bar: a link reopens exactly what it was made from, and no address breaks the page."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.config.fields import FieldError
from explorer.config.run_config import DEMAND_KINDS, KINDS, Demand, RunConfig
from explorer.config.url_params import parse, query
from tests.config.test_run_config import sound_configs

ALL = KINDS | DEMAND_KINDS
DEMANDS = st.builds(
    Demand, epochs=st.integers(1, 100_000), patience=st.none() | st.integers(1, 1_000),
    device=st.sampled_from(["auto", "cpu", "gpu:0", "gpu:15"]))

_text = st.text(max_size=40) | st.text(st.characters(categories=["Cc", "Cs", "Cf", "Zl", "Co"]), max_size=10)
_near = st.sampled_from([
    "nan", "inf", "-inf", "1e400", "-1", "0", "2", "16-99999", "16--16", "-", "all", "test", "default", "off", "true",
    "gpu:99", "../../etc/passwd", "<script>alert(1)</script>", "' OR 1=1 --", "１６", "٣", "1_000", "0x10", "9" * 5_000,
    "16-" * 3_000, "digits", "imdb"])
_value = _near | _text | st.floats() | st.integers() | st.booleans() | st.none()
HOSTILE = st.dictionaries(st.sampled_from(sorted(ALL)) | _text, _value | st.lists(_value, max_size=3), max_size=12)


def _taken(value) -> str:
    """What the page reads of a parameter: the last of several, cut."""
    if isinstance(value, list):
        value = value[-1] if value else ""
    return str(value)[:200]


@given(sound_configs(), DEMANDS)
def test_a_link_reopens_the_very_request_it_was_made_from(config, demand):
    found = parse(query(config, demand))
    assert (found.config, found.demand, found.messages) == (config, demand, [])


@given(sound_configs(), DEMANDS, st.sampled_from(["imdb", "digits"]))
def test_a_link_means_the_same_on_a_machine_that_opens_with_other_data(config, demand, dataset):
    found = parse(query(config, demand), RunConfig(dataset=dataset))
    assert (found.config, found.demand) == (config, demand)


def test_a_link_holds_only_what_differs_from_the_defaults():
    assert query(RunConfig(), Demand()) == {"dataset": "reviews"}
    assert query(RunConfig(l2=0.001, hidden=(8,)), Demand(epochs=50, patience=3)) == {
        "dataset": "reviews", "hidden": "8", "l2": "0.001", "epochs": "50", "patience": "3"}
    # Another optimizer brings its own learning rate and weight decay along.
    assert query(RunConfig(optimizer="adamw"), Demand()) == {"dataset": "reviews", "optimizer": "adamw"}
    assert query(RunConfig(optimizer="adamw", weight_decay=0), Demand())["weight_decay"] == "0"


def test_an_empty_address_gives_the_defaults_without_a_word():
    assert parse({}) == parse({"utm_source": "mail", "__proto__": "x"})
    assert (parse({}).config, parse({}).demand, parse({}).messages) == (RunConfig(), Demand(), [])


@given(HOSTILE)
def test_no_address_breaks_the_page_and_each_unsound_value_is_told(params):
    found = parse(params)
    assert RunConfig(**dataclasses.asdict(found.config)) == found.config
    assert Demand(**dataclasses.asdict(found.demand)) == found.demand
    told = [message.split(":")[0] for message in found.messages]
    assert len(set(told)) == len(told)
    assert set(told) <= set(params) & set(ALL)
    for message in found.messages:
        assert len(message) < 400 and message.isprintable()
    for name, kind in ALL.items():
        if name not in params:
            continue
        try:
            kind.check(name, _taken(params[name]))
        except FieldError:
            # What is allowed may be narrower than the field itself: it can hang on the data set.
            message = found.messages[told.index(name)]
            limits = "a whole number from" if name in ("num_words", "train_samples") else kind.allowed
            came = _taken(params[name])
            assert message.startswith(f"{name}: expected ") and limits in message
            assert f", received {came if len(came) <= 60 else came[:57] + '…'!r}. " in message
            assert message.endswith(" is used instead.")


@pytest.mark.parametrize("name, text, used", [
    ("dropout", "2", 0.9), ("dropout", "-1", 0.0), ("dropout", "1e999", 0.9), ("dropout", "nan", 0.0),
    ("dropout", "lots", 0.0), ("dropout", "", 0.0), ("epochs", "0", 1), ("epochs", "1e9", 100_000),
    ("epochs", "20.4", 20), ("hidden", "16-99999", (16, 4_096)), ("hidden", "0", (1,)), ("hidden", "a-b", (16, 16)),
    ("num_words", "5", 10), ("num_words", "20000", 10_000), ("patience", "-3", 1), ("optimizer", "Adam", "adam"),
    ("optimizer", "lion", "rmsprop"), ("dataset", "imdb2", "reviews"), ("validation", "0.9", 0.5),
    ("batch_norm", "perhaps", False), ("device", "gpu:99", "auto"), ("seed", "-1", 0), ("l2", "1e-12", 0.0),
])
def test_the_nearest_sound_value_stands_for_an_unsound_one(name, text, used):
    found = parse({name: text})
    assert getattr(found.demand if name in DEMAND_KINDS else found.config, name) == used
    (message,) = found.messages
    assert message.startswith(f"{name}: expected ") and f"received '{text}'." in message


def test_more_examples_than_the_data_set_has_means_all_of_them():
    found = parse({"dataset": "digits", "train_samples": "5000"})
    assert found.config.rows == 1_038 and found.config.train_samples is None
    (message,) = found.messages
    assert message == ("train_samples: expected all or a whole number from 50 to 1,038, received '5000'. "
                       "1038 is used instead.")


@pytest.mark.parametrize("params, used", [
    ({"dataset": "digits", "train_samples": "1000000"}, "1038"), ({"num_words": "1000000"}, "10000"),
])
def test_a_value_beyond_two_limits_gets_one_message_with_what_came_and_what_is_used(params, used):
    (message,) = parse(params).messages
    assert "received '1000000'." in message and message.endswith(f" {used} is used instead.")


def test_the_last_of_several_values_counts():
    assert parse({"dropout": ["0.1", "0.3"]}).config.dropout == 0.3


def test_words_of_an_image_set_are_no_mistake():
    found = parse({"dataset": "mnist", "num_words": "500"})
    assert found.config.num_words is None and found.messages == []
