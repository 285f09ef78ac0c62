"""The estimate of a wait: from measured times or not at all."""

from __future__ import annotations

import pytest

from explorer.config.run_config import RunConfig
from explorer.engine.eta import NEAR, MeasuredSpeeds, forecast, seconds_left, work
from explorer.store.store import Work

BASE = RunConfig(dataset="digits", hidden=(16,))


def _done(config: RunConfig = BASE, pace: float = 0.5, epochs: int = 10, name: str = "done") -> Work:
    return Work(name, config, 0, epochs, pace * epochs)


def _asked(name: str, epochs: int = 20, config: RunConfig | None = BASE, reached: int = 0, seconds: float = 0) -> Work:
    return Work(name, config, epochs, reached, seconds)


def test_the_pace_of_the_same_shape_is_the_median_whatever_the_penalties_and_the_seed():
    paces = MeasuredSpeeds([_done(pace=pace) for pace in (0.2, 0.4, 9.0)])
    assert paces.of(BASE.with_(l2=0.01, dropout=0.5, seed=7)) == pytest.approx(0.4)


def test_the_nearest_stands_for_a_shape_that_was_not_measured_and_one_far_away_for_none():
    wide = BASE.with_(hidden=(32,))
    paces = MeasuredSpeeds([_done(pace=0.5), _done(BASE.with_(hidden=(512, 512)), pace=8.0)])
    assert work(wide) < NEAR * work(BASE) and paces.of(wide) == 0.5
    assert paces.of(BASE.with_(hidden=(400, 400))) == 8.0
    assert paces.of(BASE.with_(hidden=(1,), train_samples=50)) is None
    assert MeasuredSpeeds([]).of(BASE) is None


def test_what_tells_nothing_is_left_out():
    paces = MeasuredSpeeds([_done(None), _done(epochs=0), _done(pace=0.0)])
    assert paces.of(BASE) is None


def test_a_run_that_trains_is_judged_by_its_own_epochs_and_one_that_goes_on_by_what_is_left():
    paces = MeasuredSpeeds([_done(pace=0.5)])
    assert seconds_left(_asked("a", 20), paces) == 10
    assert seconds_left(_asked("a", 20, reached=5, seconds=10), paces) == 30
    assert seconds_left(_asked("a", 20, reached=25, seconds=10), paces) == 0
    assert seconds_left(_asked("a", 20, config=None), paces) is None


def test_each_place_takes_the_next_when_it_is_free():
    paces = MeasuredSpeeds([_done(pace=1.0)])
    training = [_asked("t1", 20, reached=10, seconds=10), _asked("t2", 40, reached=10, seconds=10)]
    queued = [_asked("q1", 5), _asked("q2", 50), _asked("q3", 5)]
    assert forecast(training, queued, paces, 2) == {"q1": (0, 10), "q2": (1, 15), "q3": (2, 30)}
    assert forecast([], queued, paces, 2) == {"q1": (0, 0), "q2": (1, 0), "q3": (2, 5)}
    assert forecast(training, queued, paces, 1)["q1"] == (0, 40)


def test_a_stack_takes_what_its_members_take_together():
    stack = [_asked(f"t{number}", 10, reached=5, seconds=5) for number in range(4)]
    assert forecast(stack, [_asked("q")], MeasuredSpeeds([_done(pace=1.0)]), 1) == {"q": (0, 20)}
    assert forecast(stack, [_asked("q")], MeasuredSpeeds([_done(pace=1.0)]), 2) == {"q": (0, 10)}


def test_behind_what_is_like_nothing_measured_there_is_no_estimate_but_a_place():
    odd = BASE.with_(hidden=(1024, 1024))
    queued = [_asked("q1"), _asked("odd", config=odd), _asked("q2")]
    assert forecast([], queued, MeasuredSpeeds([_done(pace=1.0)]), 1) == {"q1": (0, 0), "odd": (1, 20), "q2": (2, None)}
    assert forecast([_asked("t", config=odd)], queued, MeasuredSpeeds([_done()]), 1)["q1"] == (0, None)
