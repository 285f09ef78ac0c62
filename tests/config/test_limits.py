"""The limits of an installation: nothing beyond them is trained, and the nearest request is offered."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.config import limits
from explorer.config.run_config import Demand, FieldError, RunConfig
from explorer.config.settings import SettingError, Settings
from tests.config.test_run_config import sound_configs


@pytest.mark.parametrize("limit, most, config, demand, field, received, nearest", [
    ("max_words", 500, RunConfig(), Demand(), "num_words", "10,000", 500),
    ("max_samples", 1_000, RunConfig(), Demand(), "train_samples", "20,000", 1_000),
    ("max_samples", 1_000, RunConfig(train_samples=1_001), Demand(), "train_samples", "1,001", 1_000),
    ("max_epochs", 10, RunConfig(), Demand(epochs=11), "epochs", "11", 10),
])
def test_what_exceeds_a_limit_is_refused_and_the_limit_itself_is_used(
        settings, limit, most, config, demand, field, received, nearest):
    settings = replace(settings, **{limit: most})
    with pytest.raises(FieldError) as caught:
        limits.require(config, demand, settings)
    error = caught.value
    assert str(error) == f"{field}: expected at most {nearest:,} here, received '{received}'."
    assert (error.field, error.nearest) == (field, nearest)
    config, demand, found = limits.nearest(config, demand, settings)
    assert getattr(demand if field == "epochs" else config, field) == nearest
    assert [str(problem) for problem in found] == [str(error)]
    limits.require(config, demand, settings)


def test_a_network_too_large_keeps_its_layers_and_becomes_narrower(settings):
    settings = replace(settings, max_parameters=100_000)
    config = RunConfig(hidden=(64, 32), num_words=2_000)
    with pytest.raises(FieldError, match="hidden: expected a network of at most 100,000 parameters here, "
                                         "received '64-32 with 130,177 parameters'."):
        limits.require(config, Demand(), settings)
    found, _, _ = limits.nearest(config, Demand(), settings)
    first, second = found.hidden
    assert found.parameters <= 100_000 and found.with_(hidden=(64, 32)) == config
    # Nearest: not a tenth narrower than need be, and still shaped as asked for.
    assert found.parameters > 80_000 and first / second == pytest.approx(2, rel=0.1)


def test_what_is_within_the_limits_stays_as_it_is(settings):
    settings = replace(settings, max_parameters=16_305, max_epochs=20, max_samples=20_000, max_words=1_000)
    config = RunConfig(num_words=1_000)
    assert limits.nearest(config, Demand(), settings) == (config, Demand(), [])
    limits.require(config, Demand(), settings)


def test_fewer_words_may_be_enough_to_make_a_network_fit(settings):
    settings = replace(settings, max_words=1_000, max_parameters=20_000)
    found, _, problems = limits.nearest(RunConfig(), Demand(), settings)
    assert (found.num_words, found.hidden) == (1_000, (16, 16))
    assert {problem.field for problem in problems} == {"num_words", "hidden"}


@given(sound_configs(), st.integers(1, 100_000))
def test_the_nearest_request_always_passes(config, epochs):
    settings = Settings(home=None, max_parameters=300_000)  # type: ignore[arg-type]
    limits.require(*limits.nearest(config, Demand(epochs=epochs), settings)[:2], settings)


@pytest.mark.parametrize("name, text", [("EXPLORER_MAX_SAMPLES", "10"), ("EXPLORER_MAX_WORDS", "5"),
                                        ("EXPLORER_MAX_PARAMETERS", "1"), ("EXPLORER_MAX_EPOCHS", "1")])
def test_a_limit_below_the_smallest_run_is_refused_at_start_or_lived_with(name, text):
    try:
        settings = Settings.from_environment({name: text, "HOME": "/h"})
    except SettingError as error:
        assert name in str(error) and text in str(error)
        return
    limits.nearest(RunConfig(), Demand(), settings)
