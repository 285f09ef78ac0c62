"""The suggestion: the cause that curve and settings show, one setting changed within the limits, and nothing untrue."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer import i18n
from explorer.analysis import causes
from explorer.analysis.causes import CAUSES, Case
from explorer.analysis.diagnosis import (
    DIVERGED,
    GOOD,
    NOISY,
    NOISY_SHARE,
    OVERFITTING,
    PHASES,
    TOO_SHORT,
    UNDERFITTING,
    UNSTABLE,
    Diagnosis,
)
from explorer.analysis.run_diff import number
from explorer.analysis.suggestion import suggest
from explorer.config.limits import problems
from explorer.config.run_config import ACTIVATIONS, DEFAULT_LEARNING_RATE, OPTIMIZERS, Demand, RunConfig
from explorer.config.settings import Settings

LIMITS = Settings(home=Path("unused"))
TIGHT = Settings(home=Path("unused"), max_parameters=300_000, max_epochs=30, max_samples=2_000, max_words=1_000)
LN2 = math.log(2)

# Twenty epochs of a run with two classes; each of them is only varied in what its sign is about.
BASE = Diagnosis(GOOD, 20, best_epoch=18, best_crossentropy=0.3, rise=0.0, last_rise=0.0, limit=0.02, slope=-1e-4,
                 train_slope=-1e-4, window=5, noise=0.001, train_noise=0.001, train=0.25, guessing=LN2)
OVERFITTED = replace(BASE, phase=OVERFITTING, best_epoch=4, onset=5, rise=0.2, last_rise=0.2, slope=0.01, train=0.01)
IMPROVING = replace(BASE, phase=UNDERFITTING, best_epoch=20, slope=-0.01, train_slope=-0.01)
POORLY = replace(IMPROVING, best_crossentropy=0.5, train=0.5)
STUCK = replace(BASE, phase=UNDERFITTING, best_epoch=3, is_stuck=True, best_crossentropy=0.692, train=0.69)
SETTLED = replace(BASE, best_crossentropy=0.5, train=0.5)
BROKEN = replace(BASE, phase=DIVERGED, best_epoch=1, best_crossentropy=0.7, train=20.0)
LOST = replace(BASE, phase=UNSTABLE, best_epoch=3, train=0.69, last_rise=0.4)
RISING = replace(BASE, phase=NOISY, best_epoch=5, is_unsettled=True, rise=0.1, train_slope=0.01, slope=0.01)
JUMPY = replace(BASE, phase=NOISY, best_epoch=7, noise=0.06, train_noise=0.05)
SMOOTH = replace(JUMPY, train_noise=0.001)
LAGGING = replace(BASE, phase=TOO_SHORT, is_lagging=True, train=2.0, best_crossentropy=2.0)
FOUND = (OVERFITTED, IMPROVING, POORLY, STUCK, SETTLED, BROKEN, LOST, RISING, JUMPY, SMOOTH, LAGGING)

DIGITS = {"dataset": "digits"}
FEW = {**DIGITS, "train_samples": 50, "batch_norm": True}


# -- what is suggested ---------------------------------------------------------------------------------------

# Diagnosis, settings → the cause that is named, the setting that changes, its new value.
USUAL = [
    (LAGGING, FEW, "more_steps", "batch_size", 8),
    (replace(LAGGING, epochs=5), FEW, "no_batch_norm", "batch_norm", False),
    (BROKEN, {"learning_rate": 3.0}, "slower", "learning_rate", 0.001),
    (BROKEN, {}, "slower", "learning_rate", 0.0001),
    (LOST, {"learning_rate": 0.01}, "keep", "learning_rate", 0.001),
    (RISING, {"learning_rate": 0.05}, "rising", "learning_rate", 0.001),
    (RISING, {}, "rising", "learning_rate", 0.000333),
    (STUCK, {"l1": 0.005}, "weaker", "l1", 0.0005),
    (STUCK, {"l1": 0.1}, "weaker", "l1", 0.001),
    (SETTLED, {"l1": 0.002}, "weaker", "l1", 0.0002),
    (STUCK, {"l2": 1.0}, "weaker", "l2", 0.01),
    (POORLY, {"l2": 0.03}, "weaker", "l2", 0.003),
    (STUCK, {"optimizer": "momentum", "weight_decay": 1.0}, "less_decay", "weight_decay", 0.0),
    (STUCK, {"dropout": 0.9}, "less_dropout", "dropout", 0.45),
    (POORLY, {"dropout": 0.8}, "less_dropout", "dropout", 0.4),
    (STUCK, {"num_words": 10}, "more_words", "num_words", 1_000),
    (SETTLED, {"num_words": 100}, "more_words", "num_words", 1_000),
    (STUCK, {"learning_rate": 1.0}, "too_fast", "learning_rate", 0.001),
    (STUCK, {"learning_rate": 1e-5}, "too_slow", "learning_rate", 0.001),
    (POORLY, {"learning_rate": 1e-4}, "too_slow", "learning_rate", 0.001),
    (STUCK, {"hidden": (16,) * 3, "activation": "sigmoid", "optimizer": "sgd"}, "unsaturated", "activation", "tanh"),
    (STUCK, {"hidden": (16,) * 6, "activation": "sigmoid"}, "unsaturated", "activation", "relu"),
    (STUCK, {"optimizer": "sgd"}, "adaptive", "optimizer", "adam"),
    (POORLY, {"optimizer": "sgd"}, "adaptive", "optimizer", "adam"),
    (STUCK, {"hidden": (16,) * 6}, "batch_norm", "batch_norm", True),
    (STUCK, {"hidden": (64, 2)}, "wider", "hidden", (64, 16)),
    (SETTLED, {"hidden": (2, 2)}, "wider", "hidden", (16, 16)),
    (STUCK, DIGITS, "few_steps", "batch_size", 256),
    (IMPROVING, {}, "longer", "epochs", 40),
    (IMPROVING, {"optimizer": "sgd", "num_words": 10, "hidden": (2,)}, "longer", "epochs", 40),
    (SMOOTH, {**DIGITS, "validation": 0.02, "learning_rate": 0.05}, "more_validation", "validation", 0.2),
    (JUMPY, {"learning_rate": 0.05}, "calmer", "learning_rate", 0.001),
    (SMOOTH, {"learning_rate": 0.05}, "calmer", "learning_rate", 0.001),
    (replace(IMPROVING, noise=0.06), {"learning_rate": 0.05}, "calmer", "learning_rate", 0.001),
    (JUMPY, {"batch_size": 64}, "larger_batch", "batch_size", 256),
    (JUMPY, {**DIGITS, "batch_size": 128}, "larger_batch", "batch_size", 256),
    (replace(SMOOTH, train=0.001), {"batch_size": 64}, "larger_batch", "batch_size", 256),
    (JUMPY, {"train_samples": 500}, "calmer", "learning_rate", 0.000333),
    (OVERFITTED, {"label_noise": 0.2, "train_samples": 500}, "clean_labels", "label_noise", 0.0),
    (OVERFITTED, {"train_samples": 500}, "more_data", "train_samples", 1_000),
    (OVERFITTED, {"train_samples": 15_000}, "more_data", "train_samples", None),
    (OVERFITTED, {"hidden": (512, 512)}, "smaller", "hidden", (256, 256)),
    (OVERFITTED, {"hidden": (128, 6)}, "smaller", "hidden", (64, 4)),
    (OVERFITTED, {}, "l2", "l2", 0.001),
    (OVERFITTED, {"l2": 0.001}, "dropout", "dropout", 0.5),
    (OVERFITTED, {"l1": 0.0001}, "dropout", "dropout", 0.5),
    (OVERFITTED, {"optimizer": "adamw"}, "dropout", "dropout", 0.5),
    (OVERFITTED, {"l2": 0.001, "dropout": 0.5}, "stronger", "l2", 0.01),
    (OVERFITTED, {"l1": 0.0001, "dropout": 0.5}, "stronger", "l1", 0.001),
    (OVERFITTED, {"l2": 0.1, "dropout": 0.5}, "smaller", "hidden", (8, 8)),
    (OVERFITTED, {"l2": 0.1, "dropout": 0.5, "hidden": (4, 4)}, "stop_early", "patience", 5),
]


@pytest.mark.parametrize("found, changes, key, field, value", USUAL)
def test_the_cause_that_curve_and_settings_show_is_named(found, changes, key, field, value):
    offered = suggest(found, RunConfig(**changes), Demand(20), LIMITS)
    assert (offered.key, offered.field) == (key, field)
    assert getattr(offered.demand if field in ("epochs", "patience") else offered.config, field) == value


@pytest.mark.parametrize("found, changes", [
    (BASE, {}), (replace(BASE, phase=TOO_SHORT, epochs=2), {}),
    # Nothing is known to hold these back: that they would do with more units or epochs would be a guess.
    (STUCK, {}), (STUCK, {"hidden": (64, 64), "dropout": 0.3, "l2": 0.01, "l1": 0.001}),
    (STUCK, {"hidden": (16,) * 6, "batch_norm": True}), (SETTLED, {}),
    # Neither batch size nor rate: training is smooth, the validation set is not small.
    (SMOOTH, {"batch_size": 64}),
    # Not to be told from the jitter, but the jitter is small: nothing jumps.
    (replace(JUMPY, noise=0.01), {"learning_rate": 0.05}),
    # The slope falls, but the last epoch lies far above it: it was not falling when training ended.
    (replace(IMPROVING, last_rise=0.1), {}),
    (replace(IMPROVING, train_slope=0.001), {}),
    # Stopping five epochs after the best one would not have ended it sooner.
    (replace(OVERFITTED, best_epoch=16), {"l2": 0.1, "dropout": 0.5, "hidden": (4, 4)}),
])
def test_where_no_cause_is_known_nothing_is_said(found, changes):
    assert suggest(found, RunConfig(**changes), Demand(20), LIMITS) is None


def test_a_run_that_was_stopped_while_it_improved_is_not_told_to_train_longer_than_wanted():
    found = replace(IMPROVING, epochs=7, best_epoch=7)
    assert suggest(found, RunConfig(), Demand(20), LIMITS) is None
    # Patience was set, but somebody ended the run: it had just improved.
    assert suggest(found, RunConfig(), Demand(20, patience=2), LIMITS) is None
    offered = suggest(replace(found, best_epoch=5), RunConfig(), Demand(20, patience=2), LIMITS)
    assert (offered.field, offered.demand) == ("patience", Demand(20, patience=4))


def test_what_an_installation_does_not_allow_is_cut_or_left_out():
    assert suggest(IMPROVING, RunConfig(num_words=1_000), Demand(20), TIGHT) is None
    small = RunConfig(num_words=1_000, train_samples=1_500)
    assert suggest(IMPROVING, small, Demand(20), TIGHT).demand.epochs == 30
    ended = suggest(replace(IMPROVING, epochs=30, best_epoch=30), small, Demand(30), TIGHT)
    assert (ended.key, ended.field) == ("faster", "learning_rate")
    assert suggest(OVERFITTED, small, Demand(20), TIGHT).config.train_samples == 2_000
    assert suggest(OVERFITTED, small.with_(train_samples=2_000), Demand(20), TIGHT).field == "l2"
    few = small.with_(num_words=10)
    assert suggest(STUCK, few, Demand(20), replace(TIGHT, max_words=500)).config.num_words == 500
    assert suggest(STUCK, few.with_(batch_size=32), Demand(20), replace(TIGHT, max_words=100)) is None


# -- whatever the run ----------------------------------------------------------------------------------------

_configs = st.builds(
    RunConfig, dataset=st.sampled_from(["reviews", "digits", "imdb", "mnist"]),
    train_samples=st.sampled_from([None, 50, 500, 600]), label_noise=st.sampled_from([0.0, 0.2]),
    validation=st.sampled_from([0.02, 0.2, 0.5, "test"]),
    hidden=st.lists(st.sampled_from([1, 4, 16, 100, 4_096]), min_size=1, max_size=8).map(tuple),
    activation=st.sampled_from(ACTIVATIONS), batch_norm=st.booleans(),
    l1=st.sampled_from([0.0, 1e-6, 0.001, 0.1, 1.0]), l2=st.sampled_from([0.0, 1e-6, 0.001, 0.003, 0.1, 1.0]),
    regularize_output=st.booleans(), dropout=st.sampled_from([0.0, 0.3, 0.5, 0.9]),
    optimizer=st.sampled_from(OPTIMIZERS), learning_rate=st.sampled_from([None, 1e-6, 0.0003, 0.02, 10.0]),
    weight_decay=st.sampled_from([None, 0.0, 1.0]), batch_size=st.sampled_from([8, 100, 512, 8_192]))
_words = st.sampled_from([10, 100, 1_000, 10_000])
_wordy = st.builds(lambda config, count: config.with_(num_words=count) if config.info.is_words else config,
                   _configs, _words)
_demands = st.builds(Demand, epochs=st.integers(1, 500), patience=st.sampled_from([None, 1, 20, 1_000]))
_losses = st.sampled_from([math.nan, 0.0, 0.01, 0.3, 0.69, 2.3, 50.0])
_found = st.builds(
    Diagnosis, phase=st.sampled_from(PHASES), epochs=st.integers(1, 500), best_epoch=st.integers(1, 20),
    best_crossentropy=_losses, train=_losses, slope=st.sampled_from([math.nan, -0.1, 0.0, 0.1]),
    train_slope=st.sampled_from([math.nan, -0.1, 0.0, 0.1]), noise=_losses, train_noise=_losses, rise=_losses,
    last_rise=_losses, limit=_losses, guessing=st.sampled_from([LN2, math.log(10)]), is_stuck=st.booleans(),
    is_unsettled=st.booleans(), is_lagging=st.booleans())
_settings = st.sampled_from([LIMITS, TIGHT])

# A network reads its default rate and decay from its optimizer.
FOLLOWS = {"optimizer": {"learning_rate", "weight_decay"}, "l1": {"regularize_output"}, "l2": {"regularize_output"}}


def _differing(offered, config, demand) -> list[str]:
    before, after = ({**asdict(one), **asdict(other)} for one, other in (
        (config, demand), (offered.config, offered.demand)))
    return [name for name in before if before[name] != after[name] and name not in FOLLOWS.get(offered.field, ())]


@given(_found, _wordy, _demands, _settings)
def test_one_setting_changes_and_the_rest_stays(found, config, demand, settings):
    offered = suggest(found, config, demand, settings)
    if offered is not None:
        assert _differing(offered, config, demand) == [offered.field]
        assert not problems(offered.config, offered.demand, settings)
        for language in i18n.LANGUAGES:
            label, why = offered.label(language), offered.why(language)
            assert label and why and "{" not in label + why


@given(st.sampled_from(FOUND), _wordy, _demands)
def test_advice_that_is_followed_comes_to_an_end_and_never_in_a_circle(found, config, demand):
    tried = {(config, demand)}
    for _ in range(80):
        offered = suggest(replace(found, epochs=demand.epochs), config, demand, LIMITS)
        if offered is None:
            break
        config, demand = offered.config, offered.demand
        assert (config, demand) not in tried
        tried.add((config, demand))
    else:
        raise AssertionError("still advising after 80 steps")


@given(_wordy)
def test_no_penalty_is_raised_beyond_the_strongest_that_helps(config):
    offered = suggest(OVERFITTED, config, Demand(20), LIMITS)
    if offered is not None and offered.field in ("l1", "l2"):
        most = causes.STRONGEST_L1 if offered.field == "l1" else causes.STRONGEST_L2
        assert getattr(config, offered.field) < getattr(offered.config, offered.field) <= most


# -- what it says is true ------------------------------------------------------------------------------------

def _rate(config: RunConfig) -> float:
    return config.learning_rate / DEFAULT_LEARNING_RATE[config.optimizer]


def _steps(found: Diagnosis, config: RunConfig) -> int:
    return found.epochs * math.ceil(config.rows / config.batch_size)


def _falls(found: Diagnosis) -> bool:
    """Both losses, on and on until the last epoch, and the verdict says so."""
    return (found.phase == UNDERFITTING and not found.is_stuck and found.slope < 0 and found.train_slope < 0
            and not found.last_rise > found.limit)


def _is_poor(found: Diagnosis) -> bool:
    """Training itself is far from what a network can do."""
    return found.phase in (UNDERFITTING, GOOD) and found.train > 0.1 * found.guessing


def _jumps(found: Diagnosis) -> bool:
    return found.noise > NOISY_SHARE * found.best_crossentropy


# What each reason says, read anew: found, settings before, demand, what is offered → whether it is so.
SAID = {
    "more_steps": lambda f, c, d, o: f.is_lagging and _steps(f, c) < 100 <= _steps(f, o.config),
    "no_batch_norm": lambda f, c, d, o: f.is_lagging and c.batch_norm,
    "slower": lambda f, c, d, o: f.phase == DIVERGED and o.config.learning_rate < c.learning_rate,
    "keep": lambda f, c, d, o: f.phase == UNSTABLE and o.config.learning_rate < c.learning_rate,
    "rising": lambda f, c, d, o: f.is_unsettled and o.config.learning_rate < c.learning_rate,
    "weaker": lambda f, c, d, o: _is_poor(f) and getattr(o.config, o.field) < getattr(c, o.field),
    "less_decay": lambda f, c, d, o: _is_poor(f) and o.config.weight_decay < c.weight_decay,
    "less_dropout": lambda f, c, d, o: _is_poor(f) and o.config.dropout < c.dropout >= 0.5,
    "more_words": lambda f, c, d, o: _is_poor(f) and c.num_words <= 100 < o.config.num_words,
    "too_fast": lambda f, c, d, o: _is_poor(f) and _rate(c) >= 5 and _rate(o.config) == 1,
    "too_slow": lambda f, c, d, o: _is_poor(f) and _rate(c) <= 0.1 and _rate(o.config) == 1,
    "unsaturated": lambda f, c, d, o: _is_poor(f) and c.activation == "sigmoid" and len(c.hidden) >= 2,
    "adaptive": lambda f, c, d, o: _is_poor(f) and c.optimizer == "sgd" and _rate(o.config) == 1,
    "batch_norm": lambda f, c, d, o: _is_poor(f) and len(c.hidden) >= 4 and not c.batch_norm,
    "wider": lambda f, c, d, o: _is_poor(f) and min(c.hidden) <= 2 < min(o.config.hidden),
    "few_steps": lambda f, c, d, o: _is_poor(f) and _steps(f, c) < 100 <= _steps(f, o.config),
    "longer": lambda f, c, d, o: _falls(f) and f.epochs >= d.epochs < o.demand.epochs,
    "patience": lambda f, c, d, o: _falls(f) and f.epochs < d.epochs and f.epochs - f.best_epoch >= d.patience,
    "faster": lambda f, c, d, o: _falls(f) and f.epochs >= d.epochs and o.config.learning_rate > c.learning_rate,
    "more_validation": lambda f, c, d, o: (_jumps(f) and f.train_noise < f.noise / 2
                                           and c.held_out < o.config.held_out and c.held_out < 200),
    "calmer": lambda f, c, d, o: _jumps(f) and o.config.learning_rate < c.learning_rate,
    "larger_batch": lambda f, c, d, o: _jumps(f) and o.config.batch_size > c.batch_size,
    "clean_labels": lambda f, c, d, o: f.phase == OVERFITTING and c.label_noise > 0,
    "more_data": lambda f, c, d, o: f.phase == OVERFITTING and o.config.rows > c.rows,
    "smaller": lambda f, c, d, o: f.phase == OVERFITTING and o.config.parameters < c.parameters,
    "l2": lambda f, c, d, o: f.phase == OVERFITTING and c.l2 == 0 < o.config.l2,
    "dropout": lambda f, c, d, o: f.phase == OVERFITTING and c.dropout < o.config.dropout,
    "stronger": lambda f, c, d, o: f.phase == OVERFITTING and 0 < getattr(c, o.field) < getattr(o.config, o.field),
    "stop_early": lambda f, c, d, o: f.phase == OVERFITTING and f.best_epoch + o.demand.patience < f.epochs,
}


@given(_found, _wordy, _demands, _settings)
def test_every_sentence_is_true_of_the_run(found, config, demand, settings):
    offered = suggest(found, config, demand, settings)
    if offered is not None:
        assert SAID[offered.key](found, config, demand, offered), offered.why()


@pytest.mark.parametrize("sign", FOUND, ids=lambda found: Case(found, RunConfig(), Demand(), LIMITS).sign)
def test_no_cause_is_named_that_the_curve_contradicts(sign):
    """The settings of every cause with the curve of every other: only what both show is said."""
    for config in (RunConfig(**changes) for _, changes, *_ in USUAL):
        for demand in (Demand(20), Demand(30, patience=2)):
            offered = suggest(sign, config, demand, LIMITS)
            if offered is not None:
                assert SAID[offered.key](sign, config, demand, offered), offered.why()


@pytest.mark.parametrize("found, changes, key, field, value", USUAL)
def test_a_reason_has_the_numbers_of_its_run(found, changes, key, field, value):
    offered = suggest(found, RunConfig(**changes), Demand(20), LIMITS)
    for language in i18n.LANGUAGES:
        for name, shown in (("train", number(found.train)), ("guessing", number(found.guessing)),
                            ("noise", number(found.noise)), ("best", str(found.best_epoch))):
            if name in i18n.fields(i18n.texts(language)[f"suggestion.{key}.why"]):
                assert shown in offered.why(language)


# -- in words ------------------------------------------------------------------------------------------------

KEYS = {cause.key for cause in CAUSES}


def test_every_cause_is_here():
    named = {(key, field) for _, _, key, field, _ in USUAL} | {("patience", "patience"), ("faster", "learning_rate")}
    assert named == {(cause.key, cause.setting) for cause in CAUSES}
    assert set(SAID) == KEYS


@pytest.mark.parametrize("language", i18n.LANGUAGES)
def test_every_suggestion_has_its_label_and_its_reason_and_no_text_is_left_over(language):
    found = {key for key in i18n.texts(language) if key.startswith("suggestion.")}
    assert found == {f"suggestion.{key}{end}" for key in KEYS for end in ("", ".why")}


def test_the_label_has_the_values_before_and_after():
    offered = suggest(OVERFITTED, RunConfig(hidden=(512, 512)), Demand(20), LIMITS)
    for language in i18n.LANGUAGES:
        assert "512-512" in offered.label(language) and "256-256" in offered.label(language)
    offered = suggest(OVERFITTED, RunConfig(train_samples=15_000), Demand(20), LIMITS)
    assert offered.label() == "Train on 20,000 examples instead of 15,000"
    offered = suggest(OVERFITTED, RunConfig(l2=0.001, dropout=0.5), Demand(20), LIMITS)
    assert offered.label() == "Strengthen the L2 penalty: 0.01 instead of 0.001"
    offered = suggest(STUCK, RunConfig(optimizer="sgd", learning_rate=0.005), Demand(20), LIMITS)
    assert offered.label() == "Use Adam instead of plain SGD, at its default rate of 0.001"
