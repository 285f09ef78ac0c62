"""The suggestion: one setting changed, within the limits, and never the same thing for ever."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer import suggestion, words
from explorer.config import ACTIVATIONS, OPTIMIZERS, Demand, RunConfig
from explorer.diagnosis import DIVERGED, GOOD, NOISY, OVERFITTING, PHASES, TOO_SHORT, UNDERFITTING, Diagnosis
from explorer.limits import problems
from explorer.settings import Settings
from explorer.suggestion import suggest

LIMITS = Settings(home=Path("unused"))
TIGHT = Settings(home=Path("unused"), max_parameters=300_000, max_epochs=30, max_samples=2_000, max_words=1_000)

OVERFITTED = Diagnosis(OVERFITTING, 20, best_epoch=4, onset=5)
IMPROVING = Diagnosis(UNDERFITTING, 20, best_epoch=20)
STUCK = Diagnosis(UNDERFITTING, 20, best_epoch=3, is_stuck=True)
BROKEN = Diagnosis(DIVERGED, 20, best_epoch=1)
JUMPY = Diagnosis(NOISY, 20, best_epoch=7)


# -- what is suggested ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("found, changes, field, value", [
    (OVERFITTED, {"train_samples": 500}, "train_samples", 1_000),
    (OVERFITTED, {"train_samples": 15_000}, "train_samples", None),
    (OVERFITTED, {"label_noise": 0.2}, "label_noise", 0.0),
    (OVERFITTED, {"hidden": (512, 512)}, "hidden", (256, 256)),
    (OVERFITTED, {"hidden": (128, 6)}, "hidden", (64, 4)),
    (OVERFITTED, {}, "l2", 0.001),
    (OVERFITTED, {"l2": 0.001}, "dropout", 0.5),
    (OVERFITTED, {"l1": 0.0001}, "dropout", 0.5),
    (OVERFITTED, {"optimizer": "adamw"}, "dropout", 0.5),
    (OVERFITTED, {"l2": 0.001, "dropout": 0.5}, "l2", 0.01),
    (OVERFITTED, {"l1": 0.0001, "dropout": 0.5}, "l1", 0.001),
    (OVERFITTED, {"l2": 0.1, "dropout": 0.5}, "hidden", (8, 8)),
    (IMPROVING, {}, "epochs", 40),
    (STUCK, {"l2": 0.1}, "l2", 0.01),
    (STUCK, {"dropout": 0.9}, "dropout", 0.45),
    (STUCK, {"learning_rate": 1e-5}, "learning_rate", 1e-4),
    (STUCK, {"learning_rate": 1.0}, "learning_rate", 0.1),
    (STUCK, {"hidden": (16,) * 6, "activation": "sigmoid"}, "activation", "relu"),
    (STUCK, {"hidden": (16,) * 6}, "batch_norm", True),
    (STUCK, {"hidden": (2, 2)}, "hidden", (4, 4)),
    (BROKEN, {"learning_rate": 3.0}, "learning_rate", 0.3),
    (JUMPY, {"learning_rate": 0.05}, "learning_rate", 0.005),
    (JUMPY, {"batch_size": 64}, "batch_size", 128),
    (JUMPY, {"train_samples": 500}, "learning_rate", 0.000333),
])
def test_the_usual_remedy_is_suggested(found, changes, field, value):
    offered = suggest(found, RunConfig(**changes), Demand(20), LIMITS)
    assert offered.field == field
    assert getattr(offered.demand if field in ("epochs", "patience") else offered.config, field) == value


@pytest.mark.parametrize("found", [Diagnosis(GOOD, 20, best_epoch=18), Diagnosis(TOO_SHORT, 2, best_epoch=2)])
def test_nothing_is_suggested_where_nothing_need_change_or_it_is_too_early(found):
    assert suggest(found, RunConfig(), Demand(20), LIMITS) is None


def test_a_run_that_was_stopped_while_it_improved_is_not_told_to_train_longer_than_wanted():
    assert suggest(Diagnosis(UNDERFITTING, 7, best_epoch=7), RunConfig(), Demand(20), LIMITS) is None
    offered = suggest(Diagnosis(UNDERFITTING, 7, best_epoch=7), RunConfig(), Demand(20, patience=2), LIMITS)
    assert (offered.field, offered.demand) == ("patience", Demand(20, patience=4))


def test_what_an_installation_does_not_allow_is_cut_or_left_out():
    assert suggest(IMPROVING, RunConfig(num_words=1_000), Demand(20), TIGHT) is None
    small = RunConfig(num_words=1_000, train_samples=1_500)
    assert suggest(IMPROVING, small, Demand(20), TIGHT).demand.epochs == 30
    assert suggest(Diagnosis(UNDERFITTING, 30, best_epoch=30), small, Demand(30), TIGHT).field == "learning_rate"
    assert suggest(OVERFITTED, small, Demand(20), TIGHT).config.train_samples == 2_000
    assert suggest(OVERFITTED, small.with_(train_samples=2_000), Demand(20), TIGHT).field == "l2"


# -- whatever the run ----------------------------------------------------------------------------------------

_configs = st.builds(
    RunConfig, dataset=st.sampled_from(["reviews", "digits", "imdb", "mnist"]),
    train_samples=st.sampled_from([None, 50, 500, 600]), label_noise=st.sampled_from([0.0, 0.2]),
    validation=st.sampled_from([0.2, 0.5, "test"]),
    hidden=st.lists(st.sampled_from([1, 4, 16, 100, 4_096]), min_size=1, max_size=8).map(tuple),
    activation=st.sampled_from(ACTIVATIONS), batch_norm=st.booleans(),
    l1=st.sampled_from([0.0, 1e-6, 0.001, 0.1, 1.0]), l2=st.sampled_from([0.0, 1e-6, 0.001, 0.003, 0.1, 1.0]),
    regularize_output=st.booleans(), dropout=st.sampled_from([0.0, 0.3, 0.5, 0.9]),
    optimizer=st.sampled_from(OPTIMIZERS), learning_rate=st.sampled_from([None, 1e-6, 0.0003, 0.02, 10.0]),
    batch_size=st.sampled_from([8, 100, 512, 8_192]))
_demands = st.builds(Demand, epochs=st.integers(1, 500), patience=st.sampled_from([None, 1, 20, 1_000]))
_found = st.builds(Diagnosis, phase=st.sampled_from(PHASES), epochs=st.integers(1, 500), best_epoch=st.just(1),
                   is_stuck=st.booleans())


def _differing(offered, config, demand) -> list[str]:
    before, after = ({**asdict(one), **asdict(other)} for one, other in (
        (config, demand), (offered.config, offered.demand)))
    return [name for name in before if before[name] != after[name]]


@given(_found, _configs, _demands, st.sampled_from([LIMITS, TIGHT]))
def test_one_setting_changes_and_the_rest_stays(found, config, demand, settings):
    offered = suggest(found, config, demand, settings)
    if offered is not None:
        assert _differing(offered, config, demand) == [offered.field]
        assert not problems(offered.config, offered.demand, settings)
        for language in words.LANGUAGES:
            label, why = offered.label(language), offered.why(language)
            assert label and why and "{" not in label + why


@given(st.sampled_from([OVERFITTED, IMPROVING, STUCK, BROKEN, JUMPY]), _configs, _demands)
def test_advice_that_is_followed_comes_to_an_end_and_never_in_a_circle(found, config, demand):
    tried = {(config, demand)}
    for _ in range(80):
        offered = suggest(Diagnosis(found.phase, demand.epochs, 1, is_stuck=found.is_stuck), config, demand, LIMITS)
        if offered is None:
            break
        config, demand = offered.config, offered.demand
        assert (config, demand) not in tried
        tried.add((config, demand))
    else:
        raise AssertionError("still advising after 80 steps")
    if found is OVERFITTED:
        assert demand.patience is not None or len(tried) == 1


@given(_configs)
def test_no_penalty_is_raised_beyond_the_strongest_that_helps(config):
    offered = suggest(OVERFITTED, config, Demand(20), LIMITS)
    if offered is not None and offered.field in ("l1", "l2"):
        most = suggestion.STRONGEST_L1 if offered.field == "l1" else suggestion.STRONGEST_L2
        assert getattr(config, offered.field) < getattr(offered.config, offered.field) <= most


# -- in words ------------------------------------------------------------------------------------------------

KEYS = set(re.findall(r'yield "(\w+)"', Path(suggestion.__file__).read_text(encoding="utf-8")))


@pytest.mark.parametrize("language", words.LANGUAGES)
def test_every_suggestion_has_its_label_and_its_reason_and_no_text_is_left_over(language):
    text = (Path(words.__file__).parent / language / "suggestion.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^## (\S+)$", text, re.M)) == {f"suggestion.{key}{end}" for key in KEYS
                                                         for end in ("", ".why")}


def test_the_label_has_the_values_before_and_after():
    offered = suggest(OVERFITTED, RunConfig(hidden=(512, 512)), Demand(20), LIMITS)
    for language in words.LANGUAGES:
        assert "512-512" in offered.label(language) and "256-256" in offered.label(language)
    offered = suggest(OVERFITTED, RunConfig(train_samples=15_000), Demand(20), LIMITS)
    assert offered.label() == "Fit 20,000 examples instead of 15,000"
    offered = suggest(OVERFITTED, RunConfig(l2=0.001, dropout=0.5), Demand(20), LIMITS)
    assert offered.label() == "Strengthen the L2 penalty: 0.01 instead of 0.001"
